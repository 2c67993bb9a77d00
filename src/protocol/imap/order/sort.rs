//! SORT (RFC 5256 section 3, RFC 5957).

use std::cmp::Ordering;

use super::super::request::{SortBy, SortKey};
use super::Sortable;

/// Sorts by the keys; what they hold equal stays in the order of the folder, REVERSE or not.
pub fn sort(keys: &[SortKey], messages: &mut [Sortable]) {
    messages.sort_by(|one, other| {
        let orders = keys.iter().map(|key| {
            let order = compare(key.by, one, other);
            if key.reverse { order.reverse() } else { order }
        });
        let first = orders.into_iter().find(|order| order.is_ne());
        first.unwrap_or_else(|| one.position.cmp(&other.position))
    });
}

fn compare(by: SortBy, one: &Sortable, other: &Sortable) -> Ordering {
    let (a, b) = (&one.facts, &other.facts);
    match by {
        SortBy::Arrival => one.arrival.cmp(&other.arrival),
        SortBy::Cc => a.cc.cmp(&b.cc),
        SortBy::Date => one.sent().cmp(&other.sent()),
        SortBy::From => a.from.cmp(&b.from),
        SortBy::Size => one.size.cmp(&other.size),
        SortBy::Subject => a.subject.cmp(&b.subject),
        SortBy::To => a.to.cmp(&b.to),
        SortBy::DisplayFrom => a.display_from.cmp(&b.display_from),
        SortBy::DisplayTo => a.display_to.cmp(&b.display_to),
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::super::Facts;
    use super::*;

    /// Messages with those headers, numbered from 1; arrival and size in descending order.
    fn messages(headers: &[&str]) -> Vec<Sortable> {
        let numbered = headers.iter().zip(1_u32..);
        let sortable = numbered.map(|(header, number)| Sortable {
            number,
            position: number,
            facts: Facts::of(format!("{header}\r\n\r\n").as_bytes()),
            arrival: OffsetDateTime::UNIX_EPOCH - time::Duration::days(number.into()),
            size: u64::from(100 - number),
        });
        sortable.collect()
    }

    fn sorted(headers: &[&str], keys: &[(SortBy, bool)]) -> Vec<u32> {
        let mut messages = messages(headers);
        // The order in which they come must not matter.
        messages.reverse();
        let keys: Vec<_> = keys.iter().map(|&(by, reverse)| SortKey { reverse, by }).collect();
        sort(&keys, &mut messages);
        messages.into_iter().map(|message| message.number).collect()
    }

    #[test]
    fn subjects_are_sorted_by_their_base() {
        let subjects = [
            "Subject: a",
            "Subject: C",
            "Subject: b",
            "Subject: _",
            "Subject: [foo] Fwd: [bar] Re: fw: b (fWd)  (fwd)",
            "Subject: b (a)",
            "Subject: Re: [FWD: c]",
            "Subject: [xyz]",
            "X: y",
        ];
        use SortBy::{Size, Subject};
        assert_eq!(sorted(&subjects, &[(Subject, false)]), [9, 1, 3, 5, 6, 2, 7, 8, 4]);
        assert_eq!(sorted(&subjects, &[(Subject, true)]), [4, 8, 2, 7, 6, 3, 5, 1, 9]);
        assert_eq!(
            sorted(&subjects, &[(Subject, false), (Size, false)]),
            [9, 1, 5, 3, 6, 7, 2, 8, 4]
        );
    }

    #[test]
    fn each_key_sorts_by_what_it_names() {
        let headers = [
            "From: Zoe <a@x>\r\nTo: b@x\r\nCc: C@x\r\nDate: 2 Jan 2024 00:00:00 -0100",
            "From: adam <B@x>\r\nTo: A@x\r\nDate: 2 Jan 2024 01:30:00 +0100",
            "From: b@y\r\nTo: Mia <c@x>\r\nCc: g: x@y;",
        ];
        for (by, reverse, expected) in [
            (SortBy::From, false, [1, 2, 3]),
            (SortBy::From, true, [2, 3, 1]),
            (SortBy::To, false, [2, 1, 3]),
            (SortBy::Cc, false, [2, 1, 3]),
            // The third has no date: it arrived in 1969.
            (SortBy::Date, false, [3, 2, 1]),
            (SortBy::Arrival, false, [3, 2, 1]),
            (SortBy::Size, false, [3, 2, 1]),
            (SortBy::Size, true, [1, 2, 3]),
            (SortBy::DisplayFrom, false, [2, 3, 1]),
            (SortBy::DisplayTo, false, [2, 1, 3]),
        ] {
            assert_eq!(sorted(&headers, &[(by, reverse)]), expected, "{by:?} {reverse}");
        }
        assert_eq!(sorted(&headers, &[]), [1, 2, 3]);
    }
}
