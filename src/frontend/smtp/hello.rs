//! What we offer: the greeting's follow-up to HELO and EHLO.
//!
//! Danger: a client uses what it was offered, and loses mail when that does not work; a password is
//! sent in the clear because AUTH was offered too early. Rule: the list is made from what the
//! client's own role can do, and AUTH is in it only where a password may cross the wire.

use crate::mail::Features;

/// What the EHLO list depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    /// Largest message, in octets.
    pub max_size: u64,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// AUTH may be used on this connection.
    pub auth: bool,
    /// STARTTLS may be used on this connection.
    pub start_tls: bool,
}

/// The lines of the answer to EHLO (RFC 5321 section 4.1.1.1).
pub(super) fn extensions(host: &str, offer: Offer) -> Vec<String> {
    let mut lines = vec![host.to_owned(), "PIPELINING".to_owned()];
    lines.push(format!("SIZE {}", offer.max_size));
    lines.extend(["8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING"].map(str::to_owned));
    if offer.dsn {
        lines.push("DSN".to_owned());
    }
    if offer.auth {
        lines.push("AUTH PLAIN LOGIN".to_owned());
        // Quirk of Outlook Express and Outlook before 2003, from drafts of RFC 2554.
        lines.push("AUTH=PLAIN LOGIN".to_owned());
    }
    if offer.start_tls {
        lines.push("STARTTLS".to_owned());
    }
    lines
}

/// What holds for every one of several roles, while it is not known which one the client gets: DSN
/// only where all have it, but the largest size, or a client would not even try.
pub(super) fn shared(roles: impl Iterator<Item = Features>) -> Features {
    roles
        .reduce(|one, other| Features {
            max_size: one.max_size.zip(other.max_size).map(|(one, other)| one.max(other)),
            dsn: one.dsn && other.dsn,
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_follows_the_offer() {
        let all = Offer { max_size: 1000, dsn: true, auth: true, start_tls: true };
        let expected = [
            "mail.local",
            "PIPELINING",
            "SIZE 1000",
            "8BITMIME",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
            "CHUNKING",
            "DSN",
            "AUTH PLAIN LOGIN",
            "AUTH=PLAIN LOGIN",
            "STARTTLS",
        ];
        assert_eq!(extensions("mail.local", all), expected);
        let none = Offer { dsn: false, auth: false, start_tls: false, ..all };
        assert_eq!(extensions("mail.local", none), expected[..7]);
    }

    #[test]
    fn roles_share_what_all_of_them_have() {
        let features = |max_size, dsn| Features { max_size, dsn };
        let table = [
            (vec![], features(None, false)),
            (vec![features(Some(5), true)], features(Some(5), true)),
            (vec![features(Some(5), true), features(Some(9), true)], features(Some(9), true)),
            (vec![features(Some(5), true), features(None, false)], features(None, false)),
        ];
        for (roles, expected) in table {
            assert_eq!(shared(roles.into_iter()), expected);
        }
    }
}
