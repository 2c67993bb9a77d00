//! `authbridge demo`: the whole way on one machine, with a make-believe cloud.
//!
//! Danger: a demo that takes short cuts shows what users won't get. Rule: the sandbox refuses what
//! the real services refuse, the proxy is built from a configuration file like anybody's, and the
//! mail goes through sockets only ([`client`]).

mod client;
mod person;
mod setup;

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use tokio_util::sync::CancellationToken;

use self::client::Account;
use self::setup::{
    ANNA, Demo, IMAP_LOGIN, OFFICE, OFFICE_LOGIN, PASSWORD, POP3_LOGIN, SALES, SALES_LOGIN,
};
use super::Failure;
use crate::admin;
use crate::app::App;
use crate::frontend::listener::{Bound, Protocol};
use crate::platform;

/// Try everything on this machine: a make-believe cloud, the proxy before it, mail through both
///
/// Starts Entra, Graph, Google and Gmail in memory on loopback and the proxy in front of them, and
/// signs a mailbox in by device code. Sends a message through SMTP for three roles (Microsoft 365
/// with an application's secret, Microsoft 365 with the signed-in user, Gmail with a service
/// account) and reads each back through IMAP and POP3. Then it stays up, so that you can point a
/// mail client at it and look at the web page. Nothing leaves this machine.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Stop after the messages have gone round: exit code 0 when they came back whole, else 1
    #[arg(long)]
    pub once: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new().context("the runtime can't start")?;
    Ok(runtime.block_on(demo(args.once))?)
}

async fn demo(once: bool) -> Result<()> {
    let demo = Demo::start().await?;
    let app = App::start(&demo.config).await.context("the proxy can't start")?;
    let ports = Ports::of(app.bound())?;
    let page = app.admin_bound().first().map(admin::address).context("the web page is missing")?;
    println!("sandbox cloud: {}", demo.summary());
    println!("proxy: SMTP {}, IMAP {}, POP3 {}\n", ports.smtp, ports.imap, ports.pop3);
    let stop = CancellationToken::new();
    let serving = tokio::spawn(app.serve(stop.clone().cancelled_owned()));
    let went_round = sign_in_and_go_round(&demo, &ports).await;
    if went_round.is_ok() && !once {
        invite(&ports, &page);
        platform::stop_requested().await?;
    }
    stop.cancel();
    serving.await.context("the proxy has failed")?;
    went_round
}

struct Ports {
    smtp: SocketAddr,
    imap: SocketAddr,
    pop3: SocketAddr,
}

impl Ports {
    fn of(bound: &[Bound]) -> Result<Self> {
        let find = |protocol| {
            let found = bound.iter().find(|bound| bound.protocol == protocol && !bound.tls);
            found.map(|bound| bound.address).context("a listener is missing")
        };
        Ok(Self {
            smtp: find(Protocol::Smtp)?,
            imap: find(Protocol::Imap)?,
            pop3: find(Protocol::Pop3)?,
        })
    }
}

async fn sign_in_and_go_round(demo: &Demo, ports: &Ports) -> Result<()> {
    person::sign_in(&demo.config).await.context("signing in failed")?;
    go_round(ports).await
}

/// A message by way of each sending role to all mailboxes, read back from each in each way.
async fn go_round(ports: &Ports) -> Result<()> {
    let account = |login| Account { login, password: PASSWORD };
    let (imap, pop3, office) = (account(IMAP_LOGIN), account(POP3_LOGIN), account(OFFICE_LOGIN));
    let sales = account(SALES_LOGIN);
    for (role, sender, from) in [
        ("Microsoft 365", &office, OFFICE),
        ("Signed-in user", &sales, SALES),
        ("Gmail", &imap, ANNA),
    ] {
        let message = message(role, from);
        let reply = client::send(ports.smtp, sender, from, &[ANNA, OFFICE, SALES], &message)
            .await
            .with_context(|| format!("{role}: sending failed"))?;
        println!("{role}: sent {} octets by SMTP as {from}: {reply}", message.len());
        for (way, read) in [
            ("Gmail by IMAP", client::read_imap(ports.imap, &imap).await),
            ("Gmail by POP3", client::read_pop3(ports.pop3, &pop3).await),
            ("Microsoft 365 by IMAP", client::read_imap(ports.imap, &office).await),
            ("Microsoft 365 by POP3", client::read_pop3(ports.pop3, &office).await),
            ("the signed-in user by IMAP", client::read_imap(ports.imap, &sales).await),
            ("the signed-in user by POP3", client::read_pop3(ports.pop3, &sales).await),
        ] {
            let read = read.with_context(|| format!("{role}: reading from {way} failed"))?;
            same(&message, &read).with_context(|| format!("{role}, {way}"))?;
            println!("{role}: read back from {way}: {} octets, the same", read.len());
        }
    }
    println!("\nThe message that went last:\n");
    for line in message("Gmail", ANNA).lines() {
        println!("    {line}");
    }
    Ok(())
}

fn same(sent: &str, read: &[u8]) -> Result<()> {
    if sent.as_bytes() == read {
        return Ok(());
    }
    let at = sent.bytes().zip(read).take_while(|(sent, read)| sent == *read).count();
    ensure!(read.len() >= at, "the message came back shorter");
    bail!(
        "the message came back changed from octet {at} on (sent {}, read {}): {:?}",
        sent.len(),
        read.len(),
        String::from_utf8_lossy(&read[at..read.len().min(at + 80)])
    )
}

/// Text, an attachment and what breaks careless relays: dots, 8-bit text, a long line.
fn message(role: &str, from: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    // One process, one demo: the id is the same for the copy that is shown.
    static ID: std::sync::OnceLock<u128> = std::sync::OnceLock::new();
    let id = ID.get_or_init(|| now);
    let word = role.split(' ').next().unwrap_or(role);
    format!(
        "From: Demo <{from}>\r\nTo: Anna <{ANNA}>, Office <{OFFICE}>, Sales <{SALES}>\r\n\
         Subject: Hello from an old application ({role})\r\n\
         Date: Tue, 24 Nov 2026 09:00:00 +0000\r\nMessage-ID: <{word}.{id}@demo.example>\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"part\"\r\n\r\n\
         --part\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
         Grüße! This application knows a login and a password, nothing else.\r\n\
         .\r\n..two dots\r\n{long}\r\n\
         --part\r\nContent-Type: application/octet-stream; name=\"list.bin\"\r\n\
         Content-Disposition: attachment; filename=\"list.bin\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\nAAECAwQFBgcICQoLDA0ODw==\r\n--part--\r\n",
        long = "long ".repeat(150)
    )
}

fn invite(ports: &Ports, page: &str) {
    let office = format!(
        "login {OFFICE_LOGIN} (Microsoft 365), {SALES_LOGIN} (Microsoft 365, the signed-in user) or"
    );
    println!(
        "\nThe demo stays up. Point a mail client at it, without TLS or with STARTTLS:\n\
         \n  SMTP {}   {office} {IMAP_LOGIN} (Gmail)\
         \n  IMAP {}   {office} {IMAP_LOGIN} (Gmail)\
         \n  POP3 {}   {office} {POP3_LOGIN} (Gmail)\
         \n  password {PASSWORD}; mail to {OFFICE}, {SALES} and {ANNA} arrives\n\
         \nWeb page: {page}   password {PASSWORD}\n\nCtrl-C ends it.",
        ports.smtp, ports.imap, ports.pop3
    );
}
