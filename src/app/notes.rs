//! What is configured and not in effect in this version.
//!
//! Danger: a setting that is read, checked and then silently without effect is trusted. Rule: each
//! such setting has its sentence here, is said at start, and goes from here when its work is done.

use crate::config::{Config, SendingKind, SendingRole};

/// One sentence for each setting.
pub fn not_in_effect(config: &Config) -> Vec<String> {
    let mut notes = Vec::new();
    if config.store.is_some() {
        let text = "Proxy.Store: this version keeps its state in SQLite in the state folder only";
        notes.push(text.to_owned());
    }
    for role in &config.sending {
        sending(role, &mut notes);
    }
    notes
}

fn sending(role: &SendingRole, notes: &mut Vec<String>) {
    let name = &role.name;
    if let SendingKind::Microsoft365 { smtp: Some(server), save_to_sent_items: false, .. } =
        &role.kind
    {
        notes.push(format!(
            "{name}.Microsoft365.SaveToSentItems: False has no effect on large messages, which {} \
             sends over SMTP: Exchange itself decides about a copy",
            server.host
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::loaded;

    fn notes(toml: &str) -> Vec<String> {
        not_in_effect(&loaded(toml).config)
    }

    const GRAPH: &str = "Mail.Sending.ServerType = 'Microsoft365'\n\
        Mail.Sending.Microsoft365.IntegrationType = 'Confidential'\n\
        Mail.Sending.Microsoft365.ConfidentialApp.ClientId = '11111111-2222-3333-4444-555555555555'\n\
        Mail.Sending.Microsoft365.ConfidentialApp.TenantId = 'example.com'\n\
        Mail.Sending.Microsoft365.ConfidentialApp.Secret = 'x'\n\
        Mail.Sending.Microsoft365.ConfidentialApp.UserObjectId = 'a@example.com'\n";

    #[test]
    fn what_is_in_effect_has_no_note() {
        for line in [
            "",
            "Proxy.Spool.Mode = 'always'",
            "Mail.Sending.Pace.PerMinute = 10",
            "Mail.Sending.Sender.Policy = 'Reject'",
            "Proxy.Pickup.iis.Directory = '/p'",
            "Mail.Sending.Microsoft365.LargeMessages = 'Smtp'",
        ] {
            let toml = format!("{line}\n{GRAPH}");
            assert_eq!(notes(&toml), Vec::<String>::new(), "{line}");
        }
    }

    #[test]
    fn each_setting_without_effect_is_said() {
        for (line, expected) in [
            (
                "Mail.Sending.Microsoft365.LargeMessages = 'Smtp'\n\
                 Mail.Sending.Microsoft365.SaveToSentItems = false",
                "smtp.office365.com:587",
            ),
            ("Proxy.Store = 'postgres://h/d'", "Proxy.Store"),
        ] {
            let found = notes(&format!("{line}\n{GRAPH}"));
            assert!(found.iter().any(|note| note.contains(expected)), "{line}: {found:?}");
        }
    }
}
