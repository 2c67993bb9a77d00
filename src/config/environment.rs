//! Reads settings from environment variables: `AUTHBRIDGE__Mail__Sending__Smtp__Password`.
//!
//! Danger: shells and service managers allow only letters, digits and `_` in names, so that a login
//! such as `erp@example.com` can't be part of one everywhere. Rule: `__` is a dot and nothing else
//! is changed: `AUTHBRIDGE__Proxy__Client__a__b__Password` is the login `a.b`. Other logins belong
//! into a file, where their password may still be `env:NAME`.

use super::diagnostic::Origin;
use super::written::{Setting, Value};
use crate::secret::Secret;

/// What our variables begin with, in any case, as Windows keeps none.
const PREFIX: &str = "AUTHBRIDGE__";

/// The variables that are ours, in the order of their names.
pub(super) fn read(environment: &[(String, Secret)]) -> Vec<Setting> {
    let mut settings: Vec<Setting> = environment.iter().filter_map(setting).collect();
    settings.sort_by(|a, b| a.dotted.cmp(&b.dotted));
    settings
}

fn setting((name, value): &(String, Secret)) -> Option<Setting> {
    let start = name.get(..PREFIX.len())?;
    start.eq_ignore_ascii_case(PREFIX).then(|| Setting {
        dotted: name[PREFIX.len()..].replace("__", "."),
        value: Value::One(value.clone()),
        origin: Origin::Environment(name.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_underscores_are_a_dot() {
        for (name, key) in [
            ("AUTHBRIDGE__Mail__Sending__Smtp__Password", Some("Mail.Sending.Smtp.Password")),
            ("authbridge__PROXY__LOG__LEVEL", Some("PROXY.LOG.LEVEL")),
            ("AUTHBRIDGE__Proxy__Client__a_b__c__Password", Some("Proxy.Client.a_b.c.Password")),
            ("AUTHBRIDGE_LOG", None),
            ("PATH", None),
            ("AUTHBRIDGE_\u{e4}x", None),
        ] {
            let read = read(&[(name.to_owned(), "v".into())]);
            assert_eq!(read.first().map(|setting| setting.dotted.as_str()), key, "{name}");
        }
    }
}
