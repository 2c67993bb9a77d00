//! Receiving roles of type `MAPI`, which are left to the application.
//!
//! Danger: a login attempt that ends in silence or in "wrong password" sends people looking in the
//! wrong place. Rule: nothing is opened, and the answer says who talks to Exchange.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::config::MAPI_NOTICE;
use crate::mail::{self, Kind, Opened, Protocol};

/// A role that is not ours to open.
#[derive(Debug)]
pub struct MapiUpstream {
    role: String,
}

impl MapiUpstream {
    /// For the role of that name.
    pub fn new(role: &str) -> Self {
        Self { role: role.to_owned() }
    }
}

impl mail::Upstream for MapiUpstream {
    fn open<'a>(
        &'a self,
        _login: &'a str,
        _protocol: Protocol,
    ) -> BoxFuture<'a, Result<Opened, mail::Error>> {
        let text = format!("{}: {MAPI_NOTICE}", self.role);
        let error = mail::Error::new(Kind::Unsupported, text).with_hint(MAPI_NOTICE);
        async move { Err(error) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Upstream as _;

    #[tokio::test]
    async fn a_login_is_told_who_talks_to_exchange() {
        let upstream = MapiUpstream::new("Mail.Receiving");
        for protocol in [Protocol::Imap, Protocol::Pop3] {
            let error = upstream.open("jane", protocol).await.err().expect("refused");
            assert_eq!(error.kind, Kind::Unsupported);
            assert!(error.text.contains("keeps talking to Exchange itself"), "{}", error.text);
            assert_eq!(error.hint, Some(MAPI_NOTICE));
        }
    }
}
