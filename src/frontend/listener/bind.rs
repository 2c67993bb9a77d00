//! Opens the listening sockets.
//!
//! Danger: a port that is taken, and a message that says "os error 98". Rule: every address that
//! can't be listened on is named at once, with its key and the fix.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol as Transport, Socket, Type};
use tokio::net::TcpListener;

use super::{Bound, Listeners, Protocol};
use crate::config::Listen;
use crate::platform;

/// Connections that wait to be accepted; an application that starts opens many at once.
const BACKLOG: i32 = 1024;

/// Addresses that can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{}", .problems.join("\n"))]
pub struct ListenError {
    /// One sentence for each, with the fix.
    pub problems: Vec<String>,
}

/// An address as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// The last word of its key.
    key: &'static str,
    pub protocol: Protocol,
    pub tls: bool,
    /// Port 0 stands for any.
    pub address: SocketAddr,
}

/// A socket that accepts nothing yet.
#[derive(Debug)]
pub(super) struct Opened {
    pub asked: Asked,
    pub socket: TcpListener,
    pub bound: Bound,
}

pub(super) fn all(listen: &Listen) -> Result<Listeners, ListenError> {
    let opened = open_all(asked(listen), &[])?;
    let bound = opened.iter().map(|opened| opened.bound).collect();
    Ok(Listeners { opened, bound })
}

/// Every address that is configured.
pub(super) fn asked(listen: &Listen) -> Vec<Asked> {
    let row = |(key, protocol, tls, addresses): Row<'_>| {
        let asked = |address: &SocketAddr| Asked { key, protocol, tls, address: *address };
        addresses.iter().map(asked).collect::<Vec<_>>()
    };
    table(listen).into_iter().flat_map(row).collect()
}

/// All of them, or each one that fails. `going`: where we still listen, but not for long.
pub(super) fn open_all(
    asked: Vec<Asked>,
    going: &[SocketAddr],
) -> Result<Vec<Opened>, ListenError> {
    let (mut opened, mut problems) = (Vec::new(), Vec::new());
    for asked in asked {
        match open(asked.address) {
            Ok((socket, address)) => {
                let bound = Bound { protocol: asked.protocol, tls: asked.tls, address };
                opened.push(Opened { asked, socket, bound });
            }
            Err(error) => problems.push(problem(asked.key, asked.address, &error, going)),
        }
    }
    if problems.is_empty() { Ok(opened) } else { Err(ListenError { problems }) }
}

type Row<'a> = (&'static str, Protocol, bool, &'a [SocketAddr]);

fn table(listen: &Listen) -> [Row<'_>; 6] {
    [
        ("Smtp", Protocol::Smtp, false, &listen.smtp),
        ("Smtps", Protocol::Smtp, true, &listen.smtps),
        ("Imap", Protocol::Imap, false, &listen.imap),
        ("Imaps", Protocol::Imap, true, &listen.imaps),
        ("Pop3", Protocol::Pop3, false, &listen.pop3),
        ("Pop3s", Protocol::Pop3, true, &listen.pop3s),
    ]
}

fn open(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Transport::TCP))?;
    if address.is_ipv6() {
        // `[::]` and `0.0.0.0` are two addresses, on every system.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(platform::REUSE_ADDRESS)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into())?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// True when a socket at one keeps another from the other. `[::]` and `0.0.0.0` have nothing in
/// common, see [`open`].
fn overlap(one: &SocketAddr, other: &SocketAddr) -> bool {
    let same_family = one.is_ipv4() == other.is_ipv4();
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    same_family && one.port() == other.port() && (any || one.ip() == other.ip())
}

/// It can't be bound before the other is closed, and what is closed first is lost when the new one
/// can't be had: a reload that fails must have changed nothing.
fn in_the_way(key: &str, address: SocketAddr, going: SocketAddr) -> String {
    format!(
        "can't listen on {address} while authbridge itself listens on {going}, which overlaps: \
         restart it, or take {going} out of the configuration first and put Proxy.Listen.{key} = \
         {address} in by a second change"
    )
}

fn problem(key: &str, address: SocketAddr, error: &io::Error, going: &[SocketAddr]) -> String {
    let is_taken = error.kind() == io::ErrorKind::AddrInUse;
    let ours = going.iter().find(|going| is_taken && overlap(going, &address));
    if let Some(ours) = ours {
        return in_the_way(key, address, *ours);
    }
    let fix = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another program listens there already; stop it, or choose another port in \
             Proxy.Listen.{key}"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "the system does not allow it; ports below 1024 need a privilege \
             (CAP_NET_BIND_SERVICE), or choose a higher one in Proxy.Listen.{key}"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine has no such address; correct Proxy.Listen.{key}")
        }
        _ => format!("correct Proxy.Listen.{key}"),
    };
    format!("can't listen on {address} ({error}): {fix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_address_gets_its_protocol_and_a_real_port() {
        let any: Vec<SocketAddr> = vec!["127.0.0.1:0".parse().expect("an address")];
        let listen = Listen {
            smtp: any.clone(),
            smtps: any.clone(),
            imap: [any.clone(), any.clone()].concat(),
            imaps: any.clone(),
            pop3: any.clone(),
            pop3s: any,
        };
        let listeners = Listeners::bind(&listen).expect("bound");
        let bound: Vec<_> = listeners.bound().iter().map(|b| (b.protocol, b.tls)).collect();
        assert_eq!(
            bound,
            [
                (Protocol::Smtp, false),
                (Protocol::Smtp, true),
                (Protocol::Imap, false),
                (Protocol::Imap, false),
                (Protocol::Imap, true),
                (Protocol::Pop3, false),
                (Protocol::Pop3, true),
            ]
        );
        assert!(listeners.bound().iter().all(|bound| bound.address.port() != 0));
    }

    #[test]
    fn addresses_of_one_family_and_port_overlap_where_one_is_any() {
        for (one, other, expected) in [
            ("0.0.0.0:25", "127.0.0.1:25", true),
            ("127.0.0.1:25", "0.0.0.0:25", true),
            ("[::]:25", "[::1]:25", true),
            ("127.0.0.1:25", "127.0.0.1:25", true),
            ("0.0.0.0:25", "127.0.0.1:26", false),
            ("127.0.0.2:25", "127.0.0.1:25", false),
            ("[::]:25", "127.0.0.1:25", false),
        ] {
            let (one, other) = (one.parse().expect("one"), other.parse().expect("another"));
            assert_eq!(overlap(&one, &other), expected, "{one} {other}");
        }
    }

    #[tokio::test]
    async fn each_address_that_is_taken_is_named_with_its_key() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = taken.local_addr().expect("address");
        let nowhere: SocketAddr = "192.0.2.1:0".parse().expect("an address");
        let listen =
            Listen { imap: vec![address], pop3s: vec![nowhere, address], ..Listen::default() };
        let error = Listeners::bind(&listen).expect_err("taken");
        assert_eq!(error.problems.len(), 3, "{error}");
        let (text, address) = (error.to_string(), address.to_string());
        for part in [address.as_str(), "Proxy.Listen.Imap", "Proxy.Listen.Pop3s", "no such address"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
