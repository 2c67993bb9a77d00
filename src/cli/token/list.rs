//! `authbridge token list`: who has signed in, and how the sign-ins fare.
//!
//! Danger: a sign-in that lapses next week, or has been refused since yesterday, looks like any
//! other. Rule: expiry, last use and last error stand beside each account, and who a role names but
//! has not signed in is listed too.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::plan::{self, Mailbox};
use super::{Failure, Installation, Place, shown};
use crate::cli::run::print;
use crate::oauth::AccountStatus;
use crate::oauth::msal::Protection;

/// List who has signed in, with expiry, last use and last error
///
/// Reads the account cache and connects to nothing. "Token" is the access token, which the proxy
/// renews by itself; "lapses" is when the sign-in dies if nobody uses it until then. Mailboxes that
/// a role names and that are not signed in are listed below the table.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  authbridge token list\n  authbridge token list --json")]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
    /// Print JSON: cache, accounts, missing
    #[arg(long)]
    json: bool,
}

/// What there is to show.
struct Listing {
    path: String,
    protection: Option<Protection>,
    accounts: Vec<AccountStatus>,
    /// Mailboxes that roles name and that are not signed in.
    missing: Vec<Mailbox>,
}

/// Runs the command.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let installation = Installation::open(&args.place)?;
    let failed = |error: crate::oauth::Error| Failure::Failed(error.into());
    let accounts = installation.accounts.list().await.map_err(failed)?;
    let cache = installation.accounts.cache();
    let mut missing = plan::all(&plan::public_roles(&installation.config)).mailboxes;
    missing.retain(|mailbox| !accounts.iter().any(|status| mailbox.is_signed_in_as(status)));
    let listing = Listing {
        path: cache.path().display().to_string(),
        protection: cache.protection().await.map_err(failed)?,
        accounts,
        missing,
    };
    print(&match args.json {
        true => shown::machine_text(&listing.json()),
        false => listing.text(SystemTime::now()),
    });
    Ok(())
}

/// Titles of the table's columns.
const TITLES: [&str; 9] = [
    "ACCOUNT",
    "NAME",
    "TENANT",
    "APPLICATION",
    "PERMISSIONS",
    "TOKEN",
    "LAPSES",
    "LAST USE",
    "LAST ERROR",
];

impl Listing {
    fn text(&self, now: SystemTime) -> String {
        let mut text = match self.accounts.is_empty() {
            true => "Nobody is signed in yet: authbridge token add\n".to_owned(),
            false => {
                let rows = self.accounts.iter().map(|status| row(status, now));
                let titles = TITLES.map(str::to_owned);
                let table = table(&std::iter::once(titles).chain(rows).collect::<Vec<_>>());
                let protection = self.protection.map(|kind| format!(" ({kind})"));
                format!("{table}\nAccount cache: {}{}\n", self.path, protection.unwrap_or_default())
            }
        };
        for mailbox in &self.missing {
            let account = mailbox.account.as_deref().unwrap_or_default();
            let roles = mailbox.roles.join(", ");
            text.push_str(&format!(
                "Not signed in: {account}, for {roles}: authbridge token add {account}\n"
            ));
        }
        text
    }

    fn json(&self) -> Value {
        let accounts: Vec<Value> = self.accounts.iter().map(account).collect();
        let missing: Vec<Value> = self.missing.iter().map(missing).collect();
        json!({
            "cache": {
                "file": self.path,
                "protection": self.protection.map(|kind| kind.to_string()),
            },
            "accounts": accounts,
            "missing": missing,
        })
    }
}

fn account(status: &AccountStatus) -> Value {
    let time = |time: Option<SystemTime>| time.and_then(shown::timestamp);
    let error = status
        .last_error
        .as_ref()
        .map(|(at, text)| json!({ "at": shown::timestamp(*at), "text": text }));
    json!({
        "account": status.username,
        "name": status.name,
        "tenant": status.tenant,
        "client_id": status.client_id,
        "scopes": status.scopes,
        "token_expires": time(status.token_expires),
        "renewed_at": time(status.renewed_at),
        "lapses_at": time(status.lapses_at),
        "last_used": time(status.last_used),
        "last_error": error,
    })
}

fn missing(mailbox: &Mailbox) -> Value {
    json!({
        "account": mailbox.account,
        "client_id": mailbox.app.client_id,
        "roles": mailbox.roles,
    })
}

fn row(status: &AccountStatus, now: SystemTime) -> [String; 9] {
    let time = |time: Option<SystemTime>| {
        time.map_or_else(|| "-".to_owned(), |time| shown::relative(time, now))
    };
    let token = match status.token_expires {
        Some(end) if end <= now => "ended".to_owned(),
        other => time(other),
    };
    let lapses = match status.lapses_at {
        Some(end) if end <= now => "lapsed".to_owned(),
        other => time(other),
    };
    let error = status.last_error.as_ref().map_or_else(
        || "-".to_owned(),
        |(at, text)| format!("{}: {}", shown::relative(*at, now), shown::plain(text)),
    );
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    [
        or_dash(shown::plain(&status.username)),
        or_dash(shown::plain(status.name.as_deref().unwrap_or_default())),
        or_dash(shown::plain(&status.tenant)),
        or_dash(shown::plain(&status.client_id)),
        or_dash(shown::permissions(&status.scopes)),
        token,
        lapses,
        time(status.last_used),
        error,
    ]
}

/// Columns as wide as their widest cell; the last one ends where its text does.
fn table(rows: &[[String; 9]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..TITLES.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Cloud;
    use crate::oauth::{PublicApp, Service};

    const HOUR: Duration = Duration::from_secs(3600);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }

    fn status(username: &str) -> AccountStatus {
        AccountStatus {
            username: username.to_owned(),
            name: Some("Änna".to_owned()),
            tenant: "tenant-id".to_owned(),
            client_id: "client-id".to_owned(),
            scopes: vec!["https://graph.microsoft.com/Mail.Send".to_owned()],
            token_expires: Some(now() + HOUR),
            renewed_at: Some(now() - HOUR),
            lapses_at: Some(now() + 24 * 80 * HOUR),
            last_used: Some(now() - 2 * HOUR),
            last_error: None,
        }
    }

    fn listing(accounts: Vec<AccountStatus>) -> Listing {
        Listing {
            path: "/state/cache.dat".to_owned(),
            protection: Some(Protection::Sealed),
            accounts,
            missing: Vec::new(),
        }
    }

    fn unsigned() -> Mailbox {
        Mailbox {
            app: PublicApp {
                client_id: "client-id".to_owned(),
                tenant_id: "common".to_owned(),
                authority_url: Cloud::Global.authority().to_owned(),
                cloud: Cloud::Global,
                redirect_uri: "http://localhost".to_owned(),
            },
            account: Some("new@contoso.example".to_owned()),
            services: vec![Service::GraphSending],
            roles: vec!["Mail.Sending".to_owned()],
        }
    }

    #[test]
    fn the_table_has_a_row_for_each_account() {
        let failing = AccountStatus {
            name: None,
            token_expires: Some(now() - HOUR),
            lapses_at: Some(now()),
            last_used: None,
            last_error: Some((now() - HOUR, "AADSTS50173: sign\nin again".to_owned())),
            ..status("a-much-longer-name@contoso.example")
        };
        let text = listing(vec![status("erp@contoso.example"), failing]).text(now());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("ACCOUNT "), "{text}");
        let column = |title: &str| lines[0].find(title).expect("there");
        let cell = |line: &str, at: usize| line.chars().skip(at).collect::<String>();
        for (title, first, second) in [
            ("NAME", "Änna ", "- "),
            ("PERMISSIONS", "Mail.Send ", "Mail.Send "),
            ("TOKEN", "in 1 hour ", "ended "),
            ("LAPSES", "in 80 days ", "lapsed "),
            ("LAST USE", "2 hours ago ", "- "),
            ("LAST ERROR", "-", "1 hour ago: AADSTS50173: sign?in again"),
        ] {
            assert!(cell(lines[1], column(title)).starts_with(first), "{title}:\n{text}");
            assert!(cell(lines[2], column(title)).starts_with(second), "{title}:\n{text}");
        }
        assert!(
            text.ends_with(
                "\n\nAccount cache: /state/cache.dat (sealed with Proxy.Tokens.KeyFile)\n"
            )
        );
    }

    #[test]
    fn who_is_not_signed_in_is_said_with_what_to_do() {
        assert_eq!(
            listing(Vec::new()).text(now()),
            "Nobody is signed in yet: authbridge token add\n"
        );
        let listing = Listing { missing: vec![unsigned()], ..listing(Vec::new()) };
        assert!(listing.text(now()).ends_with(
            "Not signed in: new@contoso.example, for Mail.Sending: authbridge token add \
             new@contoso.example\n"
        ));
        assert_eq!(
            listing.json()["missing"][0],
            json!({
                "account": "new@contoso.example",
                "client_id": "client-id",
                "roles": ["Mail.Sending"]
            })
        );
    }

    #[test]
    fn json_holds_whole_scopes_and_times_for_machines() {
        let failing = AccountStatus {
            last_error: Some((now(), "AADSTS50173".to_owned())),
            last_used: None,
            ..status("erp@contoso.example")
        };
        let json = listing(vec![failing]).json();
        let account = &json["accounts"][0];
        for (pointer, value) in [
            ("/account", json!("erp@contoso.example")),
            ("/scopes/0", json!("https://graph.microsoft.com/Mail.Send")),
            ("/token_expires", json!("2023-11-14T23:13:20Z")),
            ("/last_used", Value::Null),
            ("/last_error/at", json!("2023-11-14T22:13:20Z")),
            ("/last_error/text", json!("AADSTS50173")),
        ] {
            assert_eq!(account.pointer(pointer), Some(&value), "{pointer}");
        }
        assert_eq!(json["cache"]["file"], "/state/cache.dat");
        assert_eq!(json["cache"]["protection"], "sealed with Proxy.Tokens.KeyFile");
    }

    #[test]
    fn json_can_not_steer_a_terminal_and_says_the_same() {
        let name = "a\u{1b}\u{9b}31m\u{7f}\u{202e}\u{e4}";
        let text = shown::machine_text(&listing(vec![status(name)]).json());
        assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{7f}', '\u{202e}']), "{text:?}");
        assert!(text.contains("\u{e4}") && text.ends_with("}\n"), "{text}");
        let read: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(read["accounts"][0]["account"], name);
    }
}
