//! The base subject (RFC 5256 section 2.1): what replies and forwards have in common.
//!
//! Danger: a subject of ten thousand `[x]` must not be looked through ten thousand times. Rule:
//! each pass begins where the last one ended; only the ends of the text move.

/// The base subject of a decoded subject, and whether it is one of a reply or forward.
pub(super) fn base_subject(decoded: &str) -> (String, bool) {
    // Step 1.
    let subject: Vec<&str> = decoded.split([' ', '\t', '\r', '\n']).collect();
    let subject: Vec<&str> = subject.into_iter().filter(|word| !word.is_empty()).collect();
    let subject = subject.join(" ");
    let mut rest = subject.as_str();
    let mut is_reply = false;
    loop {
        // Step 2.
        while let Some(shorter) = without_suffix(rest, "(fwd)") {
            rest = shorter;
            is_reply = true;
        }
        // Steps 3 to 5.
        rest = without_leaders(rest, &mut is_reply);
        // Step 6.
        match without_prefix(rest, "[fwd:").and_then(|inner| inner.strip_suffix(']')) {
            Some(inner) => rest = inner.trim(),
            None => return (rest.to_owned(), is_reply),
        }
        is_reply = true;
    }
}

/// Removes `subj-leader` and `subj-blob` in front, as long as something is left of a subject that
/// is nothing but a `subj-blob`.
fn without_leaders<'a>(subject: &'a str, is_reply: &mut bool) -> &'a str {
    let mut rest = subject.trim_start();
    loop {
        let mut last = rest;
        let mut behind = rest;
        while let Some(shorter) = without_blob(behind) {
            last = behind;
            behind = shorter;
        }
        match without_refwd(behind) {
            Some(shorter) => {
                rest = shorter;
                *is_reply = true;
            }
            None if behind.is_empty() => return last,
            None => return behind,
        }
    }
}

/// `subj-blob = "[" *BLOBCHAR "]" *WSP`
fn without_blob(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('[')?;
    let end = inner.find(['[', ']'])?;
    inner[end..].strip_prefix(']').map(str::trim_start)
}

/// `subj-refwd = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":"`
fn without_refwd(text: &str) -> Option<&str> {
    let rest = ["re", "fwd", "fw"].iter().find_map(|word| without_prefix(text, word))?;
    let rest = rest.trim_start();
    let rest = without_blob(rest).unwrap_or(rest);
    rest.strip_prefix(':').map(str::trim_start)
}

fn without_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let start = text.get(..prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

fn without_suffix<'a>(text: &'a str, suffix: &str) -> Option<&'a str> {
    let start = text.len().checked_sub(suffix.len())?;
    let is_there = text.get(start..)?.eq_ignore_ascii_case(suffix);
    is_there.then(|| text[..start].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_replies_and_forwards_add_is_removed() {
        for (subject, base, is_reply) in [
            ("", "", false),
            ("hello", "hello", false),
            ("Re: hello", "hello", true),
            ("RE : hello", "hello", true),
            ("re[2]: hello", "hello", true),
            ("Re [2] : hello", "hello", true),
            ("fw: fwd: FWD:hello", "hello", true),
            ("Re: [list] Fwd: x (fwd)", "x", true),
            ("[list] x", "x", false),
            ("[a] [b] x", "x", false),
            ("[a] [b]", "[b]", false),
            ("[a]", "[a]", false),
            ("Re: [a]", "[a]", true),
            ("[a] re: [b] fw: x", "x", true),
            ("x (fwd) (FWD)", "x", true),
            ("(fwd)", "", true),
            ("Re:", "", true),
            ("Re: re:", "", true),
            ("[fwd: re: x]", "x", true),
            ("[Fwd: [Fwd: [a] x (fwd)]]", "x", true),
            ("Re: [FWD: c]", "c", true),
            ("[fwd: x", "[fwd: x", false),
            ("[fwd:]", "", true),
            ("[foo] Fwd: [bar] Re: fw: b (fWd)  (fwd)", "b", true),
            ("b (a)", "b (a)", false),
            ("a \t b\r\n  c", "a b c", false),
            ("regarding: x", "regarding: x", false),
            ("re x", "re x", false),
            ("[a[b] x", "[a[b] x", false),
            ("Re: \u{e9}t\u{e9}", "\u{e9}t\u{e9}", true),
            ("\u{e9}", "\u{e9}", false),
        ] {
            assert_eq!(base_subject(subject), (base.to_owned(), is_reply), "{subject:?}");
        }
    }

    #[test]
    fn long_subjects_cost_one_pass() {
        let started = std::time::Instant::now();
        let blobs = "[a] ".repeat(200_000);
        assert_eq!(base_subject(&format!("{blobs}x")).0, "x");
        let nested = "[fwd: ".repeat(100_000) + &"]".repeat(100_000);
        assert_eq!(base_subject(&nested), (String::new(), true));
        assert_eq!(base_subject(&"re: [a".repeat(100_000)).0.len(), 599_996);
        assert_eq!(base_subject(&"x(fwd)".repeat(100_000)).0.len(), 599_995);
        assert!(started.elapsed() < std::time::Duration::from_secs(5));
    }
}
