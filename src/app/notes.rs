//! What is configured and not in effect in this version.
//!
//! Danger: a setting that is read, checked and then silently without effect is trusted. Rule: each
//! such setting has its sentence here, is said at start, and goes from here when its work is done.

use crate::config::{Config, SenderPolicy, SendingKind, SendingRole, SpoolMode};

/// Pacing that a Microsoft 365 role has without being asked for.
const DEFAULT_PACE: Option<u32> = Some(30);

/// One sentence for each setting.
pub fn not_in_effect(config: &Config) -> Vec<String> {
    let mut notes: Vec<String> = spool(config.spool.mode).into_iter().collect();
    if config.store.is_some() {
        let text = "Proxy.Store: this version keeps its state in SQLite in the state folder only";
        notes.push(text.to_owned());
    }
    for pickup in &config.pickups {
        let key = format!("Proxy.Pickup.{}", pickup.name);
        notes.push(format!("{key}: this version watches no folders; nothing is sent from there"));
    }
    for role in &config.sending {
        sending(role, &mut notes);
    }
    notes
}

fn spool(mode: SpoolMode) -> Option<String> {
    let mode = match mode {
        SpoolMode::Off => return None,
        SpoolMode::Fallback => "fallback",
        SpoolMode::Always => "always",
    };
    Some(format!(
        "Proxy.Spool.Mode: {mode} acts as off in this version: a client gets the upstream's own \
         answer, and nothing is queued"
    ))
}

fn sending(role: &SendingRole, notes: &mut Vec<String>) {
    let name = &role.name;
    let graph = matches!(role.kind, SendingKind::Microsoft365 { .. });
    if role.sender_policy != SenderPolicy::Keep {
        notes.push(format!(
            "{name}.Sender.Policy acts as Keep in this version: the service decides about the sender"
        ));
    }
    if role.pace_per_minute != if graph { DEFAULT_PACE } else { None } {
        notes.push(format!(
            "{name}.Pace.PerMinute has no effect in this version: the service's own limits reach \
             the client"
        ));
    }
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
    use crate::config::{Defaults, LoadRequest};

    fn notes(toml: &str) -> Vec<String> {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("proxy.toml");
        std::fs::write(&file, toml).expect("written");
        let request = LoadRequest {
            files: vec![file],
            environment: Vec::new(),
            defaults: Defaults {
                state_directory: "s".into(),
                config_directory: "c".into(),
                open_dpapi: crate::cli::open_dpapi,
            },
        };
        not_in_effect(&Config::load(&request).expect("valid").config)
    }

    const GRAPH: &str = "Mail.Sending.ServerType = 'Microsoft365'\n\
        Mail.Sending.Microsoft365.IntegrationType = 'Confidential'\n\
        Mail.Sending.Microsoft365.ConfidentialApp.ClientId = '11111111-2222-3333-4444-555555555555'\n\
        Mail.Sending.Microsoft365.ConfidentialApp.TenantId = 'example.com'\n\
        Mail.Sending.Microsoft365.ConfidentialApp.Secret = 'x'\n\
        Mail.Sending.Microsoft365.ConfidentialApp.UserObjectId = 'a@example.com'\n";

    #[test]
    fn what_is_in_effect_has_no_note() {
        for line in ["", "Mail.Sending.Microsoft365.LargeMessages = 'Smtp'\n"] {
            let toml = format!("Proxy.Spool.Mode = 'off'\n{line}{GRAPH}");
            assert_eq!(notes(&toml), Vec::<String>::new(), "{line}");
        }
    }

    #[test]
    fn each_setting_without_effect_is_said() {
        for (line, expected) in [
            ("", "Proxy.Spool.Mode: fallback"),
            ("Proxy.Spool.Mode = 'always'", "Proxy.Spool.Mode: always"),
            ("Mail.Sending.Sender.Policy = 'Reject'", "Mail.Sending.Sender.Policy"),
            ("Mail.Sending.Pace.PerMinute = 10", "Mail.Sending.Pace.PerMinute"),
            (
                "Mail.Sending.Microsoft365.LargeMessages = 'Smtp'\n\
                 Mail.Sending.Microsoft365.SaveToSentItems = false",
                "smtp.office365.com:587",
            ),
            ("Proxy.Pickup.iis.Directory = '/p'", "Proxy.Pickup.iis"),
            ("Proxy.Store = 'postgres://h/d'", "Proxy.Store"),
        ] {
            let found = notes(&format!("{line}\n{GRAPH}"));
            assert!(found.iter().any(|note| note.contains(expected)), "{line}: {found:?}");
        }
    }
}
