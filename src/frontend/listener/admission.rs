//! Who may connect: limits in all and for each address.
//!
//! Danger: a count that is not taken back after a session locks everybody out in the end. Rule: an
//! [`Admitted`] takes its place back when it is dropped, however its session ends.

use std::collections::HashMap;
use std::io::Write;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpStream;

use super::{Bound, Protocol};
use crate::config::Limits;

/// The clients that are connected.
#[derive(Default)]
pub(super) struct Admission {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    #[error("Proxy.Limits.MaxConnections is reached")]
    All,
    #[error("Proxy.Limits.MaxConnectionsPerAddress is reached")]
    Address,
}

impl Admission {
    pub(super) fn count(&self) -> usize {
        self.counts().all
    }

    pub(super) fn admit(
        this: &Arc<Self>,
        address: SocketAddr,
        limits: &Limits,
    ) -> Result<Admitted, Full> {
        let address = owner(address.ip());
        let mut counts = this.counts();
        if counts.all >= limits.max_connections {
            return Err(Full::All);
        }
        let own = counts.by_address.get(&address).copied().unwrap_or_default();
        if own >= limits.max_connections_per_address {
            return Err(Full::Address);
        }
        counts.all += 1;
        counts.by_address.insert(address, own + 1);
        Ok(Admitted { admission: Arc::clone(this), address })
    }

    fn leave(&self, address: IpAddr) {
        let mut counts = self.counts();
        counts.all = counts.all.saturating_sub(1);
        if let Some(own) = counts.by_address.get_mut(&address) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                counts.by_address.remove(&address);
            }
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An IPv6 host owns 2^64 addresses, and must not get as many shares.
fn owner(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            IpAddr::V6((u128::from(v6) & (u128::MAX << 64)).into())
        }
        other => other,
    }
}

/// One client's place.
pub(super) struct Admitted {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.leave(self.address);
    }
}

/// Tells a client that it can't be served now, as far as that goes without waiting.
pub(super) fn refuse(stream: TcpStream, bound: Bound) {
    if bound.tls {
        return;
    }
    let text: &[u8] = match bound.protocol {
        Protocol::Smtp => b"421 4.7.0 too many connections, try again later\r\n",
        Protocol::Imap => b"* BYE [UNAVAILABLE] too many connections, try again later\r\n",
        Protocol::Pop3 => b"-ERR [SYS/TEMP] too many connections, try again later\r\n",
    };
    // A fresh socket has room for this. An error means that the client is gone already.
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(text);
        let _ = stream.shutdown(Shutdown::Write);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn places_are_counted_by_canonical_address_and_taken_back() {
        let limits = Limits {
            max_message_bytes: 1,
            max_cache_bytes: 1 << 20,
            max_connections: 3,
            max_connections_per_address: 2,
            idle_timeout: Duration::from_secs(1),
        };
        let admission = Arc::new(Admission::default());
        let admit = |text: &str| {
            let address = SocketAddr::new(text.parse().expect("an address"), 1);
            Admission::admit(&admission, address, &limits)
        };
        let first = admit("192.0.2.1").expect("place 1");
        let second = admit("::ffff:192.0.2.1").expect("place 2");
        assert_eq!(admit("192.0.2.1").err(), Some(Full::Address));
        let third = admit("192.0.2.2").expect("place 3");
        assert_eq!(admit("192.0.2.3").err(), Some(Full::All));
        drop(third);
        assert_eq!(admit("192.0.2.1").err(), Some(Full::Address));
        drop(first);
        let again = admit("192.0.2.1").expect("free again");
        assert_eq!(admission.count(), 2);
        assert_eq!(admission.counts().by_address.len(), 1);
        drop((second, again));
        let _two = ["2001:db8::1", "2001:db8::2"].map(|text| admit(text).expect("a place"));
        assert_eq!(admit("2001:db8::3").err(), Some(Full::Address));
        admit("2001:db8:0:1::3").expect("another network");
    }
}
