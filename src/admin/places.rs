//! Places for connections: how many there are, and who may have them.
//!
//! Danger: whoever opens connections and says nothing shuts out the administrator, and the probe at
//! whose failure the whole proxy is restarted; each of them is a socket less for mail. Rule: there
//! are few in all; this machine has places of its own, which nobody else can take; elsewhere one
//! address gets no more than a browser or two need.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// For this machine: a browser opens six, a probe or a scraper one.
const HERE: usize = 64;

/// For all others together.
const ELSEWHERE: usize = 64;

/// For one address of theirs.
const OF_ONE_ADDRESS: usize = 16;

/// All places; clones are the same.
#[derive(Clone, Default)]
pub(super) struct Places {
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One; given back when it is dropped.
pub(super) struct Place {
    places: Places,
    network: IpAddr,
}

impl Places {
    /// A place for a connection from there, if there is one.
    pub fn take(&self, address: IpAddr) -> Option<Place> {
        let network = network(address);
        let mut taken = self.taken();
        let own = taken.get(&network).copied().unwrap_or(0);
        let is_free = match network.is_loopback() {
            true => own < HERE,
            false => own < OF_ONE_ADDRESS && elsewhere(&taken) < ELSEWHERE,
        };
        if !is_free {
            return None;
        }
        taken.insert(network, own + 1);
        drop(taken);
        Some(Place { places: self.clone(), network })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        match taken.get_mut(&self.network) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                taken.remove(&self.network);
            }
        }
    }
}

fn elsewhere(taken: &HashMap<IpAddr, usize>) -> usize {
    taken.iter().filter(|(network, _)| !network.is_loopback()).map(|(_, count)| count).sum()
}

/// An IPv6 host owns a /64, a local program all of 127.0.0.0/8.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        local if local.is_loopback() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & (u128::MAX << 64)).into()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn strangers_take_no_place_of_this_machine() {
        let places = Places::default();
        let mut theirs = Vec::new();
        for number in 0..=255 {
            theirs.extend((0..3).filter_map(|_| places.take(IpAddr::from([192, 0, 2, number]))));
        }
        assert_eq!(theirs.len(), ELSEWHERE);
        for local in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(places.take(ip(local)).is_some(), "{local}");
        }
        theirs.pop();
        assert!(places.take(ip("198.51.100.1")).is_some(), "one was given back");
        let ours: Vec<Place> = (0..1000).filter_map(|_| places.take(ip("127.0.0.9"))).collect();
        assert_eq!(ours.len(), HERE);
        assert!(places.take(ip("::1")).is_none(), "one machine");
    }

    #[test]
    fn one_address_gets_few_and_nothing_is_left_behind() {
        let places = Places::default();
        let taken: Vec<Place> =
            (0..100).filter_map(|host| places.take(ip(&format!("2001:db8::{host:x}")))).collect();
        assert_eq!(taken.len(), OF_ONE_ADDRESS, "one /64");
        assert!(places.take(ip("2001:db8:0:1::1")).is_some());
        drop(taken);
        assert!(places.take(ip("2001:db8::1")).is_some());
        assert!(places.taken().is_empty());
    }
}
