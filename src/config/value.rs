//! The types of values: how a text becomes a number, a duration, a host, an address.
//!
//! Danger: each reader with its own idea of `"True"` or `10MB`. Rule: one function per type, used
//! by the loader and by the schema alike; a refusal says what is wrong without repeating the
//! value, so that the caller can decide whether it may be shown.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use super::password_hash;
use super::role::{Host, Network};

/// Why a text is not a value of its type: continues a sentence that begins with the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Such as `is not a whole number`.
    pub problem: String,
    /// What to write instead.
    pub fix: String,
}

fn wrong<T>(problem: impl Into<String>, fix: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { problem: problem.into(), fix: fix.into() })
}

/// What a key's value must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A file or folder.
    Path,
    /// A file name without a folder.
    FileName,
    /// True or False.
    Boolean,
    /// A whole number, from 1 up.
    Count,
    /// A whole number, from 0 up.
    Number,
    /// Octets, with a unit or without.
    Size,
    /// A time with a unit, or seconds.
    Duration,
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// `host` or `host:port`.
    Host,
    /// An address with a path.
    Url,
    /// An address without a path.
    BaseUrl,
    /// The same, but with TLS or within this machine.
    PrivateBaseUrl,
    /// An OAuth redirect address of any scheme.
    RedirectUri,
    /// A GUID.
    Guid,
    /// A GUID, a domain, or one of Entra's words for several tenants.
    Tenant,
    /// An e-mail address, a GUID, or a text with `{login}`.
    Account,
    /// An e-mail address, or a text with `{login}`.
    Address,
    /// An Argon2 hash in PHC form.
    Hash,
    /// Addresses to listen on.
    Listen,
    /// Ranges of client addresses.
    Networks,
    /// Addresses or `*@domain`.
    Senders,
    /// The name of a role.
    Role,
    /// A day, such as `2027-05-01`.
    Date,
    /// `sqlite` or a database address.
    Store,
    /// A log level or filter.
    Level,
}

impl Kind {
    /// What the type is called in the documentation.
    pub fn word(self) -> String {
        match self {
            Self::Text => "text".into(),
            Self::Path => "path".into(),
            Self::FileName => "file name".into(),
            Self::Boolean => "boolean".into(),
            Self::Count => "whole number from 1".into(),
            Self::Number => "whole number".into(),
            Self::Size => "size".into(),
            Self::Duration => "duration".into(),
            Self::Choice(words) => format!("`{}`", words.join("`, `")),
            Self::Host => "host[:port]".into(),
            Self::Url | Self::BaseUrl | Self::PrivateBaseUrl | Self::RedirectUri => "URL".into(),
            Self::Guid => "GUID".into(),
            Self::Tenant => "GUID or domain".into(),
            Self::Account => "GUID or address".into(),
            Self::Address => "address".into(),
            Self::Hash => "Argon2 hash".into(),
            Self::Listen => "address:port, or a list".into(),
            Self::Networks => "networks".into(),
            Self::Senders => "addresses".into(),
            Self::Role => "role".into(),
            Self::Date => "date".into(),
            Self::Store => "`sqlite` or URL".into(),
            Self::Level => "level or filter".into(),
        }
    }

    /// True when several values may be given.
    pub fn is_list(self) -> bool {
        matches!(self, Self::Listen | Self::Networks | Self::Senders)
    }

    /// Checks one value (of a list: one element).
    pub fn check(self, text: &str) -> Result<(), Wrong> {
        match self {
            Self::Text | Self::Path | Self::Role => Ok(()),
            Self::FileName => file_name(text).map(drop),
            Self::Boolean => boolean(text).map(drop),
            Self::Count => count(text).map(drop),
            Self::Number => number(text).map(drop),
            Self::Size => size(text).map(drop),
            Self::Duration => duration(text).map(drop),
            Self::Choice(words) => choice(text, words).map(drop),
            Self::Host => host(text, 1).map(drop),
            Self::Url => url(text).map(drop),
            Self::BaseUrl => base_url(text).map(drop),
            Self::PrivateBaseUrl => private_base_url(text).map(drop),
            Self::RedirectUri => redirect_uri(text).map(drop),
            Self::Guid => guid(text).map(drop),
            Self::Tenant => tenant(text).map(drop),
            Self::Account => account(text).map(drop),
            Self::Address => address(text).map(drop),
            Self::Hash => hash(text).map(drop),
            Self::Listen => listen(text).map(drop),
            Self::Networks => network(text).map(drop),
            Self::Senders => sender(text).map(drop),
            Self::Date => date(text).map(drop),
            Self::Store => store(text).map(drop),
            Self::Level => level(text).map(drop),
        }
    }
}

/// `True`, `false`, `1`, `0`: what .NET's `Boolean.Parse` and `XmlConvert` take, in any case.
pub fn boolean(text: &str) -> Result<bool, Wrong> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => wrong("is neither True nor False", "write True or False"),
    }
}

/// A whole number; .NET's `Int32.Parse` takes a leading sign too.
pub fn number(text: &str) -> Result<u32, Wrong> {
    match text.parse::<u32>() {
        Ok(value) => Ok(value),
        Err(_) => wrong("is not a whole number", "write a number such as 3"),
    }
}

/// A whole number, at least 1.
pub fn count(text: &str) -> Result<u32, Wrong> {
    match number(text)? {
        0 => wrong("is too small", "write at least 1"),
        value => Ok(value),
    }
}

/// `150 MiB`, `10MB`, or plain octets.
pub fn size(text: &str) -> Result<u64, Wrong> {
    const FIX: &str = "write octets, or a number and a unit, such as 150 MiB or 10MB";
    let (digits, unit) = split_number(text);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" | "k" => 1_000,
        "mb" | "m" => 1_000_000,
        "gb" | "g" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return wrong("is not a size", FIX),
    };
    match digits.parse::<u64>().ok().and_then(|count| count.checked_mul(factor)) {
        Some(0) => wrong("is too small", FIX),
        Some(octets) => Ok(octets),
        None => wrong("is not a size", FIX),
    }
}

/// A day of the calendar, as ISO 8601 writes it; its beginning in UTC.
pub fn date(text: &str) -> Result<SystemTime, Wrong> {
    let form = time::macros::format_description!("[year]-[month]-[day]");
    match time::Date::parse(text, form) {
        Ok(day) if day.year() >= 1970 => Ok(day.midnight().assume_utc().into()),
        _ => wrong("is not a date", "write year, month and day, such as 2027-05-01"),
    }
}

/// `2d`, `1h30m`, `20s`, `500ms`, or plain seconds.
pub fn duration(text: &str) -> Result<Duration, Wrong> {
    match sum_of_parts(text) {
        Some(Duration::ZERO) => wrong("is too short", "write a time above zero, such as 20s"),
        Some(duration) => Ok(duration),
        None => wrong("is not a duration", "write a number and a unit, such as 2d, 30m or 20s"),
    }
}

fn sum_of_parts(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let (digits, tail) = split_number(rest);
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let millis: u64 = match tail[..end].to_ascii_lowercase().as_str() {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            // Without a unit only when nothing else is there: in "1h30" the 30 is unclear.
            "" if rest.len() == text.len() && tail.is_empty() => 1_000,
            _ => return None,
        };
        let part = digits.parse::<u64>().ok()?.checked_mul(millis)?;
        sum = sum.checked_add(Duration::from_millis(part))?;
        rest = tail[end..].trim_start();
    }
    (!text.is_empty()).then_some(sum)
}

/// Leading digits, and what follows them without the space between.
fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// The word of the list that the text is, without regard to case.
pub fn choice(text: &str, words: &'static [&'static str]) -> Result<&'static str, Wrong> {
    match words.iter().find(|word| word.eq_ignore_ascii_case(text)) {
        Some(word) => Ok(word),
        None => {
            let problem = format!("is none of {}", words.join(", "));
            match nearest(text, words.iter().copied()) {
                Some(word) => wrong(problem, format!("did you mean {word}?")),
                None => wrong(problem, ""),
            }
        }
    }
}

/// The candidate that looks most like the text.
pub fn nearest<T: AsRef<str>>(text: &str, candidates: impl Iterator<Item = T>) -> Option<T> {
    let text = text.to_lowercase();
    candidates.min_by_key(|c| strsim::damerau_levenshtein(&text, &c.as_ref().to_lowercase()))
}

/// `host`, `host:port`, `[IPv6]:port`, or an IPv6 address alone.
pub fn host(text: &str, default_port: u16) -> Result<Host, Wrong> {
    const FIX: &str = "write host or host:port, such as smtp.example.com:465";
    if text.contains("://") {
        return wrong("is a URL, not a host", FIX);
    }
    let (name, port) = match split_port(text) {
        Some(parts) => parts,
        None => return wrong("is not a host with a port", FIX),
    };
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || "/@\\,;\"".contains(c)) {
        return wrong("is not a host", FIX);
    }
    match port.map(str::parse::<u16>) {
        None => Ok(Host { name: name.to_owned(), port: default_port }),
        Some(Ok(port)) if port > 0 => Ok(Host { name: name.to_owned(), port }),
        Some(_) => wrong("has a port that is not a number from 1 to 65535", FIX),
    }
}

/// Name without brackets, and the port's text if there is one.
fn split_port(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (name, tail) = rest.split_once(']')?;
        name.parse::<Ipv6Addr>().ok()?;
        return match tail {
            "" => Some((name, None)),
            tail => Some((name, Some(tail.strip_prefix(':')?))),
        };
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Some((text, None));
    }
    match text.split_once(':') {
        None => Some((text, None)),
        Some((_, port)) if port.contains(':') => None,
        Some((name, port)) => Some((name, Some(port))),
    }
}

/// An `http` or `https` address.
pub fn url(text: &str) -> Result<String, Wrong> {
    const FIX: &str = "write an address such as https://login.example.com/token";
    match text.parse::<http::Uri>() {
        Ok(uri) if is_web(&uri) => Ok(text.to_owned()),
        _ => wrong("is not an http or https address", FIX),
    }
}

/// An `http` or `https` address without a path; a final slash is taken off.
pub fn base_url(text: &str) -> Result<String, Wrong> {
    const FIX: &str = "write only scheme, host and port, such as https://localhost:9443";
    match text.parse::<http::Uri>() {
        Ok(uri) if !is_web(&uri) => wrong("is not an http or https address", FIX),
        Ok(uri) if uri.path() != "/" || uri.query().is_some() => {
            wrong("has a path, which the proxy adds itself", FIX)
        }
        Ok(_) => Ok(text.trim_end_matches('/').to_owned()),
        Err(_) => wrong("is not an http or https address", FIX),
    }
}

/// A [`base_url`] to which secrets and tokens go: `https`, or within this machine.
pub fn private_base_url(text: &str) -> Result<String, Wrong> {
    let url = base_url(text)?;
    let uri: http::Uri = url.parse().unwrap_or_default();
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_near = host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match uri.scheme_str() == Some("https") || is_near {
        true => Ok(url),
        false => wrong(
            "is reached without TLS, and secrets and tokens are not sent that way",
            "write https://",
        ),
    }
}

fn is_web(uri: &http::Uri) -> bool {
    matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|h| !h.is_empty())
}

/// What an application registration calls a redirect URI; desktop ones have schemes of their own.
pub fn redirect_uri(text: &str) -> Result<String, Wrong> {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    let valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        && text.len() > scheme.len() + 1
        && !text.contains(|c: char| c.is_whitespace() || c.is_control())
        && (text.contains("://") || scheme.eq_ignore_ascii_case("urn"));
    match valid {
        true => Ok(text.to_owned()),
        false => wrong(
            "is not a redirect address",
            "write it exactly as the app registration has it, such as http://localhost",
        ),
    }
}

/// A GUID, braces allowed as .NET allows them; given back without.
pub fn guid(text: &str) -> Result<String, Wrong> {
    let bare = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
    match uuid::Uuid::try_parse(bare) {
        Ok(_) if bare.len() == 36 => Ok(bare.to_owned()),
        _ => wrong(
            "is not a GUID",
            "copy it from the app's Overview page in the Entra admin center; it looks like \
             11111111-2222-3333-4444-555555555555",
        ),
    }
}

/// Entra's words for "any tenant", which only a signed-in user can resolve.
pub const SHARED_TENANTS: [&str; 3] = ["common", "organizations", "consumers"];

/// A tenant: GUID, verified domain, or one of [`SHARED_TENANTS`].
pub fn tenant(text: &str) -> Result<String, Wrong> {
    if SHARED_TENANTS.iter().any(|word| word.eq_ignore_ascii_case(text)) {
        return Ok(text.to_ascii_lowercase());
    }
    if let Ok(guid) = guid(text) {
        return Ok(guid);
    }
    match text.contains('.') && is_domain(text) {
        true => Ok(text.to_owned()),
        false => wrong(
            "is neither a GUID nor a domain",
            "copy the Directory (tenant) ID from the app's Overview page, or write a verified \
             domain such as contoso.onmicrosoft.com",
        ),
    }
}

fn is_domain(text: &str) -> bool {
    !text.starts_with('.')
        && !text.ends_with('.')
        && !text.contains("..")
        && text.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '.' || c == '_')
}

/// A mailbox in Entra: object id or address.
pub fn account(text: &str) -> Result<String, Wrong> {
    if text.contains("{login}") {
        return Ok(text.to_owned());
    }
    if let Ok(guid) = guid(text) {
        return Ok(guid);
    }
    match address(text) {
        Ok(address) => Ok(address),
        Err(_) => wrong(
            "is neither a GUID nor an address",
            "write the mailbox's object id or address, such as erp@example.com",
        ),
    }
}

/// An e-mail address: one that could not be mistaken for anything else, no more.
pub fn address(text: &str) -> Result<String, Wrong> {
    let shape = match text.rsplit_once('@') {
        Some((local, domain)) => !local.is_empty() && !domain.is_empty(),
        None => text.contains("{login}"),
    };
    let clean = !text.contains(|c: char| c.is_whitespace() || c.is_control() || "<>,;".contains(c));
    match shape && clean {
        true => Ok(text.to_owned()),
        false => wrong("is not an e-mail address", "write it such as erp@example.com"),
    }
}

/// An address in lower case, or `*@domain`.
pub fn sender(text: &str) -> Result<String, Wrong> {
    match address(text) {
        Ok(address) if !address.contains('*') || address.starts_with("*@") => {
            Ok(address.to_lowercase())
        }
        _ => wrong("is not a sender", "write an address, or *@example.com for a whole domain"),
    }
}

/// A password's Argon2 hash in PHC form.
pub fn hash(text: &str) -> Result<String, Wrong> {
    match password_hash::cost(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(problem) => wrong(problem, "run \"authbridge passwd LOGIN\" and copy its line"),
    }
}

/// An address to listen on. Names other than `localhost` could mean any interface: refused.
pub fn listen(text: &str) -> Result<SocketAddr, Wrong> {
    let numeric = match text.get(..10) {
        Some(name) if name.eq_ignore_ascii_case("localhost:") => {
            format!("{}:{}", Ipv4Addr::LOCALHOST, &text[10..])
        }
        _ => text.to_owned(),
    };
    match numeric.parse() {
        Ok(address) => Ok(address),
        Err(_) => wrong(
            "is not an address with a port",
            "write 127.0.0.1:2525 for this machine alone, 0.0.0.0:2525 for every interface, \
             [::1]:2525 for IPv6",
        ),
    }
}

/// `10.0.0.0/8`, or a single address.
pub fn network(text: &str) -> Result<Network, Wrong> {
    if let Ok(network) = text.parse::<Network>() {
        return Ok(network.trunc());
    }
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(address.into()),
        Err(_) => wrong("is not a network", "write it such as 10.1.0.0/16 or 192.0.2.7"),
    }
}

/// A file name without a folder.
pub fn file_name(text: &str) -> Result<String, Wrong> {
    match text == "." || text == ".." || text.contains(['/', '\\', ':']) {
        false => Ok(text.to_owned()),
        true => wrong("is not a plain file name", "put the folder into MSAL.Cache.Folder"),
    }
}

/// A database address; `None`: the built-in SQLite.
pub fn store(text: &str) -> Result<Option<String>, Wrong> {
    match text.split_once("://") {
        None if text.eq_ignore_ascii_case("sqlite") => Ok(None),
        Some(("postgres" | "postgresql", rest)) if !rest.is_empty() => Ok(Some(text.to_owned())),
        _ => wrong("is not a store", "write sqlite, or postgres://user:password@host/database"),
    }
}

/// A log level, or a filter such as `info,authbridge=debug`.
pub fn level(text: &str) -> Result<String, Wrong> {
    const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "off"];
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    // Its parser panics at some numerals that are no ASCII digits (tracing-subscriber 0.3.23).
    let is_filter = text.is_ascii() && tracing_subscriber::EnvFilter::builder().parse(text).is_ok();
    // Without `=` the filter language takes any word for a module, and logs nothing.
    let words_fit = text.split(',').all(|part| part.contains('=') || is_level(part.trim()));
    match is_filter && words_fit {
        true => Ok(text.to_owned()),
        false => wrong("is not a log level", format!("write one of {}", LEVELS.join(", "))),
    }
}

/// The parts of a list written as one text: separated by commas, semicolons or spaces.
pub fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c == ';' || c.is_whitespace()).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_and_numbers_as_dotnet_writes_them() {
        for (text, value) in
            [("True", Some(true)), ("FALSE", Some(false)), ("1", Some(true)), ("yes", None)]
        {
            assert_eq!(boolean(text).ok(), value, "{text}");
        }
        for (text, value) in
            [("3", Some(3)), ("+3", Some(3)), ("003", Some(3)), ("-1", None), ("", None)]
        {
            assert_eq!(number(text).ok(), value, "{text}");
        }
        assert!(count("0").is_err());
    }

    #[test]
    fn sizes_take_both_kinds_of_units() {
        for (text, value) in [
            ("150 MiB", Some(157_286_400)),
            ("10MB", Some(10_000_000)),
            ("1 kib", Some(1024)),
            ("2G", Some(2_000_000_000)),
            ("77", Some(77)),
            ("5 b", Some(5)),
            ("0", None),
            ("MiB", None),
            ("1.5 MiB", None),
            ("99999999999 GiB", None),
            ("-1", None),
        ] {
            assert_eq!(size(text).ok(), value, "{text}");
        }
    }

    #[test]
    fn durations_take_units_and_sums() {
        for (text, millis) in [
            ("2d", Some(172_800_000)),
            ("30m", Some(1_800_000)),
            ("20s", Some(20_000)),
            ("500ms", Some(500)),
            ("1h30m", Some(5_400_000)),
            ("1 h 30 min", Some(5_400_000)),
            ("45", Some(45_000)),
            ("1h30", None),
            ("", None),
            ("0s", None),
            ("m", None),
            ("2 weeks", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(duration(text).ok(), millis.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn hosts_take_ports_and_brackets() {
        for (text, value) in [
            ("h", Some(("h", 7))),
            ("smtp.example.com:465", Some(("smtp.example.com", 465))),
            ("[::1]:993", Some(("::1", 993))),
            ("[::1]", Some(("::1", 7))),
            ("::1", Some(("::1", 7))),
            ("192.0.2.1:25", Some(("192.0.2.1", 25))),
            ("h:0", None),
            ("h:70000", None),
            ("h:", None),
            (":25", None),
            ("a b", None),
            ("h/x", None),
            ("imaps://h", None),
            ("[::1", None),
            ("[x]:1", None),
            ("a:b:c", None),
        ] {
            let host = host(text, 7).ok();
            assert_eq!(host.as_ref().map(|h| (h.name.as_str(), h.port)), value, "{text}");
        }
    }

    #[test]
    fn addresses_on_the_web() {
        for (text, value) in [
            ("https://localhost:9443", Some("https://localhost:9443")),
            ("https://graph.microsoft.com/", Some("https://graph.microsoft.com")),
            ("http://u:p@proxy:3128", Some("http://u:p@proxy:3128")),
            ("https://graph.microsoft.com/v1.0", None),
            ("https://h/?q", None),
            ("ftp://h", None),
            ("h", None),
            ("", None),
        ] {
            assert_eq!(base_url(text).ok().as_deref(), value, "{text}");
        }
        for (text, valid) in [
            ("https://graph.microsoft.com", true),
            ("http://localhost:9443", true),
            ("http://127.0.0.1", true),
            ("http://[::1]:80", true),
            ("http://graph.microsoft.com", false),
            ("http://localhost.example.com", false),
        ] {
            assert_eq!(private_base_url(text).is_ok(), valid, "{text}");
        }
        for (text, valid) in [
            ("http://localhost", true),
            ("msal1234://auth", true),
            ("https://login.microsoftonline.com/common/oauth2/nativeclient", true),
            ("urn:ietf:wg:oauth:2.0:oob", true),
            ("localhost", false),
            ("localhost:8080", false),
            ("http://a b", false),
        ] {
            assert_eq!(redirect_uri(text).is_ok(), valid, "{text}");
        }
        assert!(url("https://oauth2.googleapis.com/token").is_ok() && url("token").is_err());
    }

    #[test]
    fn identities_of_entra() {
        const GUID: &str = "11111111-2222-3333-4444-555555555555";
        assert_eq!(guid(&format!("{{{GUID}}}")).as_deref(), Ok(GUID));
        assert!(guid("11111111222233334444555555555555").is_err());
        for (text, valid) in [
            (GUID, true),
            ("contoso.com", true),
            ("common", true),
            ("contoso", false),
            (".com", false),
            ("https://contoso.com", false),
        ] {
            assert_eq!(tenant(text).is_ok(), valid, "{text}");
        }
        for (text, valid) in
            [(GUID, true), ("a@b.c", true), ("{login}", true), ("me", false), ("a b@c", false)]
        {
            assert_eq!(account(text).is_ok(), valid, "{text}");
        }
    }

    #[test]
    fn places_to_listen_and_networks() {
        for (text, valid) in [
            ("127.0.0.1:2525", true),
            ("[::]:25", true),
            ("LocalHost:0", true),
            ("*:25", false),
            ("2525", false),
            ("host:25", false),
        ] {
            assert_eq!(listen(text).is_ok(), valid, "{text}");
        }
        for (text, value) in [
            ("10.1.2.3/8", Some("10.0.0.0/8")),
            ("192.0.2.7", Some("192.0.2.7/32")),
            ("::1", Some("::1/128")),
            ("10.0.0.0/33", None),
            ("x", None),
        ] {
            assert_eq!(network(text).ok().map(|n| n.to_string()).as_deref(), value, "{text}");
        }
    }

    #[test]
    fn the_remaining_types() {
        for (kind, text, valid) in [
            (Kind::Senders, "*@example.com", true),
            (Kind::Senders, "*", false),
            (Kind::Senders, "a*@example.com", false),
            (Kind::FileName, "cache.dat", true),
            (Kind::FileName, "../cache.dat", false),
            (Kind::Store, "SQLite", true),
            (Kind::Store, "postgres://h/d", true),
            (Kind::Store, "mysql://h/d", false),
            (Kind::Level, "WARN", true),
            (Kind::Level, "info,authbridge=debug", true),
            (Kind::Level, " 0\u{12470}=", false),
            (Kind::Level, "verbose", false),
            (Kind::Hash, "$2b$10$abcdefghijklmnopqrstuv", false),
            (Kind::Hash, "$argon2id$v=19$m=19456,t=2,p=1$AAECAwQFBgcICQoLDA0ODw", false),
            (Kind::Choice(&["A", "B"]), "b", true),
            (Kind::Choice(&["A", "B"]), "c", false),
        ] {
            assert_eq!(kind.check(text).is_ok(), valid, "{kind:?} {text}");
        }
        assert_eq!(list("a, b;c  d").collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    }
}
