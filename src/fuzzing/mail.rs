//! Addresses and logins.

use crate::mail::Address;
use crate::protocol::sasl as codec;
use crate::secret::Secret;

/// An address stays what was written, and is no two words on any wire.
pub fn address(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(address) = Address::parse(&text) else { return };
    assert_eq!(address.as_str(), text);
    assert!(!text.contains(char::is_control), "a control in {text:?}");
    assert!(text.contains('"') || !text.contains(['<', '>', ' ']), "brackets in {text:?}");
    assert!(text.ends_with(address.domain()));
    let again = Address::parse(&address.key());
    assert_eq!(again.as_ref().ok(), Some(&address), "its key is another mailbox");
}

/// The messages of SASL PLAIN and XOAUTH2.
pub fn sasl(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(message) = codec::decode_line(&text) {
        let _ = codec::decode_plain(&message);
    }
    let Some(given) = codec::decode_plain(&Secret::new(text.as_ref())) else { return };
    assert!(!given.login.is_empty(), "a login without a name");
    if let Some(encoded) = codec::encode_plain(&given.login, &given.password) {
        let message = codec::decode_line(encoded.expose()).expect("our own base64");
        let again = codec::decode_plain(&message).expect("our own message");
        assert_eq!(
            (again.login.as_str(), again.password.expose()),
            (given.login.as_str(), given.password.expose())
        );
    }
    if let Some(encoded) = codec::encode_xoauth2(&given.login, &given.password) {
        let message = codec::decode_line(encoded.expose()).expect("our own base64");
        let fields = message.expose().split('\u{1}').count();
        assert_eq!(fields, 4, "user or token brings a field of its own");
    }
}
