//! What to change in the application, key by key, ready to be pasted into its `appSettings`.

use std::fmt::Write;

use super::NewClient;
use crate::config::{Config, ListenAddress, ReceivingKind};

/// The text for standard output; it holds the new passwords, and is the only place that does.
pub(super) fn advice(config: &Config, clients: &[NewClient]) -> String {
    let mut text = String::from(
        "Change these keys in the application, then restart it. The passwords are shown only \
         now.\n",
    );
    for role in &config.sending {
        if let Some(client) = client_of(clients, &role.name, "Mail.Sending") {
            sending(&mut text, config, &role.name, client);
        }
    }
    for role in &config.receiving {
        // A role without a login of its own inherits all, in the application as in the proxy.
        if let Some(client) = client_of(clients, &role.name, "Mail.Receiving") {
            receiving(&mut text, config, &role.name, &role.kind, client);
        }
    }
    text
}

/// The login made for that role.
fn client_of<'c>(clients: &'c [NewClient], role: &str, main: &str) -> Option<&'c NewClient> {
    clients.iter().find(|client| match &client.role {
        Some((_, own)) => own.eq_ignore_ascii_case(role),
        None => role.eq_ignore_ascii_case(main),
    })
}

fn sending(text: &mut String, config: &Config, role: &str, client: &NewClient) {
    let _ = writeln!(text, "\n{role}:");
    let server = local(&config.listen.smtp, "Proxy.Listen.Smtp");
    add(text, &format!("{role}.ServerType"), "Smtp");
    add(text, &format!("{role}.Smtp.Server"), &server);
    add(text, &format!("{role}.Smtp.UseAuth"), "True");
    add(text, &format!("{role}.Smtp.UseSsl"), "False");
    login(text, &format!("{role}.Smtp"), client);
}

fn receiving(
    text: &mut String,
    config: &Config,
    role: &str,
    kind: &ReceivingKind,
    client: &NewClient,
) {
    let _ = writeln!(text, "\n{role}:");
    let (server_type, group, listener) = match kind {
        ReceivingKind::Mapi => {
            let _ = writeln!(text, "  nothing to change: {}", crate::config::MAPI_NOTICE);
            return;
        }
        ReceivingKind::Pop3(_) => ("POP3", "Pop3", local(&config.listen.pop3, "Proxy.Listen.Pop3")),
        ReceivingKind::Imap(_) | ReceivingKind::Microsoft365 { .. } => {
            ("IMAP", "Imap", local(&config.listen.imap, "Proxy.Listen.Imap"))
        }
    };
    if role.ends_with(".EmailClient") {
        add(text, &format!("{role}.Server"), &listener);
        return login(text, role, client);
    }
    add(text, &format!("{role}.ServerType"), server_type);
    add(text, &format!("{role}.{group}.Server"), &listener);
    add(text, &format!("{role}.{group}.UseSSL"), "False");
    login(text, &format!("{role}.{group}"), client);
}

fn login(text: &mut String, prefix: &str, client: &NewClient) {
    add(text, &format!("{prefix}.AuthType"), "BasicAuth");
    add(text, &format!("{prefix}.Login"), &client.login);
    add(text, &format!("{prefix}.Password"), client.password.expose());
}

fn add(text: &mut String, key: &str, value: &str) {
    let value = value.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    let _ = writeln!(text, "  <add key=\"{key}\" value=\"{value}\" />");
}

/// Where the application reaches the listener from this machine.
fn local(addresses: &[ListenAddress], key: &str) -> String {
    match addresses.first() {
        Some(address) if address.ip().is_unspecified() => format!("127.0.0.1:{}", address.port()),
        Some(address) => address.to_string(),
        None => format!("(set {key} first)"),
    }
}
