//! The capability list that a client sees after login.
//!
//! Danger: an upstream's list offers what does not work through the relay: a second TLS, or an
//! authentication with our credentials' mechanisms. Rule: what concerns logging in is taken out,
//! everything else stays, since the bytes pass through unchanged.

/// What leads back to a state in which a client would have to log in upstream itself.
/// UNAUTHENTICATE (RFC 8437) does so after login.
const ABOUT_LOGIN: [&str; 4] = ["STARTTLS", "LOGINDISABLED", "SASL-IR", "UNAUTHENTICATE"];

/// The upstream's capabilities without those that concern logging in, each once, in their order.
pub fn rewrite(upstream: &[String]) -> Vec<String> {
    let mut kept: Vec<String> = Vec::with_capacity(upstream.len());
    for capability in upstream {
        let known = kept.iter().any(|seen| seen.eq_ignore_ascii_case(capability));
        if !known && is_safe(capability) && !is_about_login(capability) {
            kept.push(capability.clone());
        }
    }
    kept
}

fn is_about_login(capability: &str) -> bool {
    let upper = capability.to_ascii_uppercase();
    upper.starts_with("AUTH=") || ABOUT_LOGIN.contains(&upper.as_str())
}

/// True for an atom that can stand in a response code: no space, control or `]`
/// (`capability = ("AUTH=" auth-type) / atom`, RFC 3501 section 9).
fn is_safe(capability: &str) -> bool {
    !capability.is_empty() && capability.bytes().all(|byte| byte.is_ascii_graphic() && byte != b']')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(list: &str) -> String {
        rewrite(&list.split(',').map(str::to_owned).collect::<Vec<_>>()).join(" ")
    }

    #[test]
    fn takes_out_logins_and_keeps_the_rest() {
        for (upstream, seen) in [
            ("IMAP4rev1,IDLE,STARTTLS,LOGINDISABLED", "IMAP4rev1 IDLE"),
            ("IMAP4rev1,SASL-IR,AUTH=XOAUTH2,auth=plain,UIDPLUS", "IMAP4rev1 UIDPLUS"),
            ("IMAP4rev1,COMPRESS=DEFLATE,X-GM-EXT-1", "IMAP4rev1 COMPRESS=DEFLATE X-GM-EXT-1"),
            ("IMAP4rev1,IDLE,Idle,imap4rev1", "IMAP4rev1 IDLE"),
            ("IMAP4rev1,UNAUTHENTICATE,AUTHX", "IMAP4rev1 AUTHX"),
            ("A B,C\r\nD,E],,F\u{e9},G", "G"),
            ("", ""),
        ] {
            assert_eq!(rewritten(upstream), seen, "{upstream}");
        }
    }
}
