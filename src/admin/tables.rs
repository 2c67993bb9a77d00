//! The tables of accounts, sessions and clients.
//!
//! Danger: logins, programs and addresses are texts from strangers. Rule: they go through maud and
//! nothing else; a table ends after [`MAX_ROWS`].

use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

use maud::{Markup, html};

use super::overview::MAX_ROWS;
use super::site::Site;
use super::units::{count, moment, moment_or, octets};
use crate::oauth::AccountStatus;
use crate::telemetry::activity::{ClientRow, PICKUP, SessionRow, Snapshot};

/// How many rows there are besides those shown.
pub(super) fn rest(all: usize) -> Markup {
    html! {
        @if all > MAX_ROWS {
            p.dim { "and " (count(all - MAX_ROWS, "more that is", "more that are")) " not shown" }
        }
    }
}

/// Who has signed in.
pub(super) async fn accounts(site: &Arc<Site>, now: SystemTime) -> Markup {
    let listed = site.page.accounts.list().await;
    let any_public = site.page.roles.iter().any(|role| role.sign_in.is_some());
    html! {
        @match &listed {
            Ok(rows) if rows.is_empty() && !any_public => {}
            Ok(rows) => (account_table(rows, now)),
            Err(error) => {
                section aria-labelledby="accounts-title" {
                    h2 #accounts-title { "Signed-in accounts" }
                    p.complaint { (error) }
                }
            }
        }
    }
}

fn account_table(rows: &[AccountStatus], now: SystemTime) -> Markup {
    html! {
        section aria-labelledby="accounts-title" {
            h2 #accounts-title { "Signed-in accounts" }
            div.scroll #accounts data-live {
                @if rows.is_empty() {
                    p.dim { "Nobody has signed in yet: open a role and press Sign in." }
                } @else {
                    table.stack {
                        thead { tr {
                            th scope="col" { "Account" } th scope="col" { "Application" }
                            th scope="col" { "Permissions" } th scope="col" { "Token" }
                            th scope="col" { "Renewed" } th scope="col" { "Last used" }
                            th scope="col" { "Last error" }
                        } }
                        tbody { @for row in rows.iter().take(MAX_ROWS) { (account_row(row, now)) } }
                    }
                    (rest(rows.len()))
                }
            }
        }
    }
}

fn account_row(row: &AccountStatus, now: SystemTime) -> Markup {
    html! {
        tr {
            th scope="row" {
                (row.username)
                @if let Some(name) = &row.name { div.dim { (name) } }
            }
            td data-label="Application" {
                code { (row.client_id) } div.dim { "tenant " code { (row.tenant) } }
            }
            td data-label="Permissions" { div.text { (permissions(&row.scopes)) } }
            td data-label="Token ends" { (moment_or(row.token_expires, now, "none yet")) }
            td data-label="Renewed" {
                (moment_or(row.renewed_at, now, "unknown"))
                @if let Some(at) = row.lapses_at { div.dim { "lapses unused " (moment(at, now)) } }
            }
            td data-label="Last used" { (moment_or(row.last_used, now, "unknown")) }
            td data-label="Last error" {
                @match &row.last_error {
                    Some((at, text)) => { (moment(*at, now)) div.text { (text) } }
                    None => { span.dim { "none" } }
                }
            }
        }
    }
}

/// Graph's permissions go by their names alone, as its documentation has them.
fn permissions(scopes: &[String]) -> String {
    let name = |scope: &String| {
        scope.strip_prefix("https://graph.microsoft.com/").unwrap_or(scope).to_owned()
    };
    scopes.iter().map(name).collect::<Vec<_>>().join(" ")
}

/// Open sessions.
pub(super) fn sessions(snapshot: &Snapshot, now: SystemTime) -> Markup {
    let rows = &snapshot.sessions;
    html! {
        section aria-labelledby="sessions-title" {
            h2 #sessions-title { "Open sessions" }
            div.scroll.long #sessions data-live tabindex="0" role="region"
                aria-labelledby="sessions-title" {
                @if rows.is_empty() {
                    p.dim { "None." }
                } @else {
                    table.stack {
                        thead { tr {
                            th scope="col" { "Login" } th scope="col" { "Role" }
                            th scope="col" { "Protocol" } th scope="col" { "Client" }
                            th scope="col" { "Since" } th.number scope="col" { "Messages" }
                            th.number scope="col" { "To client" }
                            th.number scope="col" { "From client" }
                        } }
                        tbody { @for row in rows.iter().take(MAX_ROWS) { (session_row(row, now)) } }
                    }
                    (rest(rows.len()))
                }
            }
        }
    }
}

fn session_row(row: &SessionRow, now: SystemTime) -> Markup {
    html! {
        tr {
            th scope="row" {
                (row.login.as_deref().unwrap_or("not logged in"))
                div.dim { "session " code { (row.id) } }
            }
            td data-label="Role" { (row.role.as_deref().unwrap_or("–")) }
            td data-label="Protocol" { (row.protocol) (security(row.tls)) }
            td data-label="Client" {
                (row.address)
                @if let Some(program) = &row.program { div.dim { (program) } }
            }
            td data-label="Since" { (moment(row.since, now)) }
            td.number data-label="Messages" { (row.messages) }
            td.number data-label="To client" { (octets(row.to_client)) }
            td.number data-label="From client" { (octets(row.from_client)) }
        }
    }
}

fn security(tls: bool) -> &'static str {
    match tls {
        true => ", TLS",
        false => ", no TLS",
    }
}

/// Who has been seen: the inventory of a migration. Configured logins that nobody has used stand
/// below it, as they can perhaps go.
pub(super) fn clients(site: &Arc<Site>, snapshot: &Snapshot, now: SystemTime) -> Markup {
    let rows = &snapshot.clients;
    // Each may be thousands: looked up, not compared one by one.
    let logins: HashSet<String> = rows.iter().map(|row| row.login.to_lowercase()).collect();
    let seen = |login: &String| logins.contains(&login.to_lowercase());
    let unseen: Vec<&str> = site
        .page
        .logins
        .iter()
        .filter(|login| !login.starts_with("*@") && !seen(login))
        .map(String::as_str)
        .take(MAX_ROWS)
        .collect();
    html! {
        section aria-labelledby="clients-title" {
            h2 #clients-title { "Clients seen" }
            p { a #clients-csv href="/clients.csv" { "Download all as CSV" } }
            div.scroll.long #clients data-live tabindex="0" role="region"
                aria-labelledby="clients-title" {
                @if rows.is_empty() {
                    p.dim { "None since the start." }
                } @else {
                    table.stack {
                        thead { tr {
                            th scope="col" { "Login" } th scope="col" { "Address" }
                            th scope="col" { "Protocol" } th scope="col" { "Program" }
                            th.number scope="col" { "Logins" } th.number scope="col" { "Refused" }
                            th.number scope="col" { "Messages" } th scope="col" { "First seen" }
                            th scope="col" { "Last seen" }
                        } }
                        tbody { @for row in rows.iter().take(MAX_ROWS) { (client_row(row, now)) } }
                    }
                    (rest(rows.len()))
                }
                @if !unseen.is_empty() {
                    p.dim { "Configured and not seen since the start: " (unseen.join(", ")) "." }
                }
            }
        }
    }
}

fn client_row(row: &ClientRow, now: SystemTime) -> Markup {
    html! {
        tr {
            th scope="row" {
                @if row.login.is_empty() { span.dim { "without a login" } } @else { (row.login) }
                @if !row.known { div.dim { "no such login is configured" } }
            }
            td data-label="Address" { (row.address) }
            td data-label="Protocol" {
                (row.protocol) " " (row.mechanism)
                @if row.protocol != PICKUP { (security(row.tls)) }
            }
            td data-label="Program" { (row.program.as_deref().unwrap_or("–")) }
            td.number data-label="Logins" { (row.logins) }
            td.number data-label="Refused" { (row.refusals) }
            td.number data-label="Messages" { (row.messages) }
            td data-label="First seen" { (moment(row.first_seen, now)) }
            td data-label="Last seen" { (moment(row.last_seen, now)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn client(login: &str) -> ClientRow {
        ClientRow {
            login: login.to_owned(),
            known: false,
            address: [192, 0, 2, 1].into(),
            protocol: "IMAP",
            mechanism: "PLAIN",
            tls: true,
            program: Some("<b>evil</b>".to_owned()),
            logins: 0,
            refusals: 4,
            messages: 0,
            first_seen: SystemTime::UNIX_EPOCH,
            last_seen: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn texts_of_strangers_are_escaped() {
        let row = client_row(&client("<script>alert(1)</script>"), SystemTime::now()).into_string();
        assert!(row.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{row}");
        assert!(row.contains("&lt;b&gt;evil&lt;/b&gt;"), "{row}");
        assert!(!row.contains("<script>") && !row.contains("<b>"), "{row}");
        assert!(row.contains("no such login is configured"), "{row}");
    }

    #[test]
    fn a_huge_table_is_cut_and_the_rest_counted() {
        let session = SessionRow {
            id: "s1".to_owned(),
            protocol: "SMTP",
            tls: false,
            address: ([127, 0, 0, 1], 5000).into(),
            login: Some("erp".to_owned()),
            role: None,
            program: None,
            since: SystemTime::UNIX_EPOCH + Duration::from_secs(1),
            messages: 3,
            to_client: 1500,
            from_client: 0,
        };
        let mut snapshot = Snapshot { sessions: vec![session; 1000], ..Snapshot::default() };
        let table = sessions(&snapshot, SystemTime::now()).into_string();
        assert_eq!(table.matches("SMTP, no TLS").count(), MAX_ROWS);
        assert!(table.contains("and 800 more that are not shown"), "{table}");
        assert!(table.contains("1.5 kB"), "{table}");
        snapshot.sessions.truncate(1);
        assert!(!sessions(&snapshot, SystemTime::now()).into_string().contains("not shown"));
    }

    #[test]
    fn an_account_says_when_it_lapses_and_what_is_wrong() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let row = AccountStatus {
            username: "jo@example.com".to_owned(),
            name: Some("Jo <Doe>".to_owned()),
            tenant: "t".to_owned(),
            client_id: "c".to_owned(),
            scopes: vec![
                "https://graph.microsoft.com/Mail.Send".to_owned(),
                "Mail.ReadWrite".to_owned(),
                "https://outlook.office.com/SMTP.Send".to_owned(),
            ],
            token_expires: Some(now + Duration::from_secs(600)),
            renewed_at: Some(now),
            lapses_at: Some(now + Duration::from_secs(86_400 * 90)),
            last_used: None,
            last_error: Some((now, "the password was changed; sign in again".to_owned())),
        };
        let table = account_table(&[row], now).into_string();
        for text in [
            "Jo &lt;Doe&gt;",
            ">Mail.Send Mail.ReadWrite https://outlook.office.com/SMTP.Send<",
            ">in 90 d<",
            ">in 10 min<",
            "sign in again",
        ] {
            assert!(table.contains(text), "{text}: {table}");
        }
        assert!(account_table(&[], now).into_string().contains("press Sign in"));
    }
}
