//! The CAPA list that a client sees after login.
//!
//! Danger: as with IMAP, an upstream offers logins that would not work here. Rule: STLS, SASL and
//! USER are taken out, everything else stays.

/// Capabilities that concern logging in (RFC 2449 section 6, RFC 2595).
const ABOUT_LOGIN: [&str; 3] = ["STLS", "SASL", "USER"];

/// The upstream's capability lines without those that concern logging in, each name once.
pub fn rewrite(upstream: &[String]) -> Vec<String> {
    let mut kept: Vec<String> = Vec::with_capacity(upstream.len());
    for line in upstream {
        let known = kept.iter().any(|seen| name(seen).eq_ignore_ascii_case(name(line)));
        let about_login = ABOUT_LOGIN.iter().any(|word| word.eq_ignore_ascii_case(name(line)));
        if !known && !about_login && is_safe(line) {
            kept.push(line.clone());
        }
    }
    kept
}

/// The whole answer to CAPA: `+OK`, the lines, a dot (RFC 2449 section 5).
pub fn answer(lines: &[impl AsRef<str>]) -> String {
    let mut answer = String::from("+OK capabilities follow\r\n");
    for line in lines {
        answer.push_str(line.as_ref());
        answer.push_str("\r\n");
    }
    answer + ".\r\n"
}

fn name(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}

/// `capa-tag` starts with a letter or digit, so no line needs dot-stuffing; no controls.
fn is_safe(line: &str) -> bool {
    line.starts_with(|first: char| first.is_ascii_alphanumeric())
        && line.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_out_logins_and_keeps_the_rest() {
        let lines: Vec<String> = [
            "TOP",
            "USER",
            "SASL PLAIN XOAUTH2",
            "stls",
            "EXPIRE NEVER",
            "UIDL",
            "uidl",
            "",
            ".x",
            "A\r\nB",
            "IMPLEMENTATION Some Server",
            "USERS",
        ]
        .map(str::to_owned)
        .to_vec();
        let kept = rewrite(&lines);
        assert_eq!(kept, ["TOP", "EXPIRE NEVER", "UIDL", "IMPLEMENTATION Some Server", "USERS"]);
        assert_eq!(answer(&kept[..2]), "+OK capabilities follow\r\nTOP\r\nEXPIRE NEVER\r\n.\r\n");
        assert_eq!(answer(&rewrite(&[])), "+OK capabilities follow\r\n.\r\n");
    }
}
