//! A strict reader of Prometheus's text format, version 0.0.4, for tests.
//!
//! Danger: a scraper drops a page for one bad line, and nobody notices before the alert that never
//! came. Rule: whatever the format's description does not allow is an error here, and so is what
//! `promtool check metrics` complains about: missing HELP, wrong suffixes.

use std::collections::{BTreeMap, HashSet};

/// One line: labels in order, value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// All lines under one TYPE.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Family {
    pub kind: String,
    pub help: String,
    pub samples: Vec<Sample>,
}

/// What is wrong, and the line.
pub(crate) type Fault = String;

/// The families of a page, by name.
pub(crate) fn read(page: &str) -> Result<BTreeMap<String, Family>, Fault> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let (mut current, mut seen) = (String::new(), HashSet::new());
    if !page.is_empty() && !page.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    for line in page.lines().filter(|line| !line.is_empty()) {
        let fault = |what: &str| format!("{what}: {line}");
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or_else(|| fault("no text"))?;
            current = name.to_owned();
            let new = Family { help: help.to_owned(), ..Family::default() };
            if !is_name(name) || families.insert(current.clone(), new).is_some() {
                return Err(fault("a bad name, or HELP twice"));
            }
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or_else(|| fault("no kind"))?;
            let family = families.get_mut(name).filter(|_| name == current);
            let family = family.ok_or_else(|| fault("TYPE without HELP before it"))?;
            if !["counter", "gauge", "histogram"].contains(&kind) || !family.kind.is_empty() {
                return Err(fault("an unknown kind, or TYPE twice"));
            }
            if (kind == "counter") != name.ends_with("_total") {
                return Err(fault("_total is for counters"));
            }
            family.kind = kind.to_owned();
        } else if line.starts_with('#') {
            return Err(fault("a comment that is neither HELP nor TYPE"));
        } else {
            let sample = sample(line).map_err(fault)?;
            let family = families.get_mut(&current).filter(|family| !family.kind.is_empty());
            let family = family.ok_or_else(|| fault("a sample without TYPE"))?;
            if !belongs(&sample, &current, &family.kind) {
                return Err(fault("a sample of another family"));
            }
            if !seen.insert((sample.name.clone(), sample.labels.clone())) {
                return Err(fault("the same sample twice"));
            }
            family.samples.push(sample);
        }
    }
    families.values().try_for_each(check_buckets)?;
    Ok(families)
}

fn is_name(name: &str) -> bool {
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    first && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn belongs(sample: &Sample, family: &str, kind: &str) -> bool {
    let Some(rest) = sample.name.strip_prefix(family) else { return false };
    match (kind, rest) {
        ("counter", "") => sample.value >= 0.0,
        ("gauge", "") => !sample.labels.contains_key("le"),
        ("histogram", "_bucket") => sample.labels.contains_key("le"),
        ("histogram", "_sum" | "_count") => !sample.labels.contains_key("le"),
        _ => false,
    }
}

/// `name [ "{" label *("," label) "}" ] SP value`.
fn sample(line: &str) -> Result<Sample, &'static str> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (key, quoted) = rest.split_once("=\"").ok_or("a label without value")?;
            let (value, after) = unquoted(quoted)?;
            if !is_name(key) || labels.insert(key.to_owned(), value).is_some() {
                return Err("a bad label, or one twice");
            }
            match after.as_bytes().first() {
                Some(b',') => rest = &after[1..],
                Some(b'}') => {
                    rest = &after[1..];
                    break;
                }
                _ => return Err("labels have no end"),
            }
        }
    }
    let text = rest.strip_prefix(' ').ok_or("no space before the value")?;
    let value = text.parse().map_err(|_| "the value is no number")?;
    match is_name(name) {
        true => Ok(Sample { name: name.to_owned(), labels, value }),
        false => Err("a bad name"),
    }
}

/// A label's value, its escapes resolved, and what follows the closing quote.
fn unquoted(text: &str) -> Result<(String, &str), &'static str> {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => value.push(match chars.next() {
                Some((_, 'n')) => '\n',
                Some((_, c @ ('"' | '\\'))) => c,
                _ => return Err("an unknown escape"),
            }),
            c => value.push(c),
        }
    }
    Err("a value without end")
}

/// Buckets grow, end with +Inf, and that one is the count.
fn check_buckets(family: &Family) -> Result<(), Fault> {
    let mut last: BTreeMap<BTreeMap<String, String>, (f64, f64)> = BTreeMap::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        let le = labels.remove("le").and_then(|le| le.replace("+Inf", "inf").parse().ok());
        let known = last.get(&labels).copied();
        match (le, known) {
            (Some(le), Some((before, count))) if le <= before || sample.value < count => {
                return Err(format!("buckets that do not grow: {sample:?}"));
            }
            (Some(le), _) => {
                last.insert(labels, (le, sample.value));
            }
            (None, Some((end, count))) if sample.name.ends_with("_count") => {
                if end != f64::INFINITY || count != sample.value {
                    return Err(format!("the last bucket is not the count: {sample:?}"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

#[test]
fn what_the_format_does_not_allow_is_refused() {
    let good = "# HELP a_total x y\n# TYPE a_total counter\na_total{b=\"c\\\"\\\\\\n\"} 1\n\n";
    let families = read(good).expect("valid");
    assert_eq!(families["a_total"].samples[0].labels["b"], "c\"\\\n");
    let histogram = "# HELP h x\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 2\n\
                     h_sum 1.5\nh_count 2\n";
    assert_eq!(read(histogram).expect("valid")["h"].samples.len(), 4);
    for (from, to) in [
        ("# HELP a_total x y\n", ""),
        ("# TYPE a_total counter\n", ""),
        ("counter", "gauge"),
        ("counter", "summary"),
        ("{b=", "{1b="),
        ("\\n\"", "\\q\""),
        ("\"} 1", "\"}1"),
        ("\"} 1", "\"} one"),
        ("a_total{", "b_total{"),
        ("\n\n", "\na_total{b=\"c\\\"\\\\\\n\"} 2\n"),
        ("\n\n", "\n# HELP a_total again\n"),
        ("\n\n", "\n# note\n"),
    ] {
        let page = good.replacen(from, to, 1);
        assert!(read(&page).is_err(), "{page}");
    }
    assert!(read(good.trim_end()).is_err(), "the last line must end");
    for (from, to) in [("\"1\"} 2", "\"1\"} 3"), ("h_count 2", "h_count 3"), ("+Inf", "0.5")] {
        assert!(read(&histogram.replacen(from, to, 1)).is_err(), "{to}");
    }
}
