//! `authbridge import`: an application's own settings become the proxy's.
//!
//! Danger: the new file holds every secret of the old one, and the application must not talk to
//! itself afterwards. Rule: the file is made for its owner only and never overwrites another; what
//! to change in the application is printed key by key; the new login's password is printed once
//! and stored only as a hash.

mod advice;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};

use super::run::print;
use super::{ConfigFiles, Failure, passwd};
use crate::config::load::read_file;
use crate::config::schema::{self, RoleKind};
use crate::config::value::Kind;
use crate::config::written::{Entry, Value, Written};
use crate::config::{Config, Diagnostics, Loaded};
use crate::platform;
use crate::secret::Secret;

/// Turn an application's web.config or app.config into proxy.toml
///
/// Reads the mail settings (keys that begin with Mail., MSAL., App. or Proxy.) from the appSettings
/// of a .NET configuration file and writes them into a new proxy.toml, secrets included, readable
/// for its owner only; an existing file is never overwritten. Then prints what to change in the
/// application, key by key, with a new login and password for it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The application's configuration file
    #[arg(value_name = "WEB.CONFIG")]
    pub source: PathBuf,
    /// The file to write
    #[arg(short, long, value_name = "FILE", default_value = "proxy.toml")]
    pub output: PathBuf,
    /// The login that the application will use at the proxy
    #[arg(long, value_name = "LOGIN", default_value = "application")]
    pub login: String,
}

/// A login for the application, made for one role or for the two main ones.
struct NewClient {
    login: String,
    password: Secret,
    /// `Sending` or `Receiving`, and the role.
    role: Option<(&'static str, String)>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    if args.output.exists() {
        let output = args.output.display();
        let text = format!("{output} exists and is not overwritten; name another file with -o");
        return Err(Failure::Usage(anyhow::anyhow!(text)));
    }
    let written = read(&args.source)?;
    let clients = new_clients(&written, &args.login)?;
    let text = render(&written, &args.source, &clients)?;
    platform::write_private_file(&args.output, text.as_bytes())
        .with_context(|| format!("{} can't be written", args.output.display()))?;
    print(&format!("{} has been written.\n", args.output.display()));
    let loaded = load(&args.output)?;
    for warning in &loaded.warnings {
        print(&format!("warning: {warning}\n"));
    }
    print(&format!("\n{}", advice::advice(&loaded.config, &clients)));
    Ok(())
}

/// The known settings; unknown ones are reported and left out.
fn read(source: &Path) -> Result<Written, Failure> {
    let mut notes = Vec::new();
    let settings = read_file(source, &mut notes).map_err(Diagnostics)?;
    let mut written = Written::default();
    written.add(settings, &mut notes);
    for note in &notes {
        eprintln!("{note}");
    }
    if written.in_order().is_empty() {
        return Err(Failure::Failed(anyhow::anyhow!(
            "{}: there is no key that begins with Mail., MSAL., App. or Proxy. in its appSettings",
            source.display()
        )));
    }
    Ok(written)
}

/// The new file, checked: what the application got away with may still be a mistake.
fn load(output: &Path) -> Result<Loaded, Failure> {
    let files = ConfigFiles { files: vec![output.to_owned()] };
    Config::load(&files.request()).map_err(|problems| {
        let told = "The file was written, but these mistakes came over from the application:";
        Failure::Usage(anyhow::anyhow!("{told}\n{problems}"))
    })
}

/// One login for `Mail.Sending` and `Mail.Receiving`, and one for every other role with keys.
fn new_clients(written: &Written, login: &str) -> anyhow::Result<Vec<NewClient>> {
    let mut clients =
        vec![NewClient { login: unused(written, login), password: password()?, role: None }];
    let mut seen = vec!["mail.sending".to_owned(), "mail.receiving".to_owned()];
    for entry in written.in_order() {
        let schema::Owner::Role(role) = &entry.owner else { continue };
        let id = role.text.to_lowercase();
        if seen.contains(&id) || !is_on(written, role) {
            continue;
        }
        let way = if role.kind == RoleKind::Sending { "Sending" } else { "Receiving" };
        clients.push(NewClient {
            login: unused(written, &format!("{login}-{}", id.replace('.', "-"))),
            password: password()?,
            role: Some((way, role.text.clone())),
        });
        seen.push(id);
    }
    Ok(clients)
}

/// The login, or one like it: the old file may have that client already.
fn unused(written: &Written, login: &str) -> String {
    let taken = |login: &str| {
        written.in_order().iter().any(|entry| match &entry.owner {
            schema::Owner::Named(name) => name.to_lowercase() == login.to_lowercase(),
            _ => false,
        })
    };
    let candidates = std::iter::once(login.to_owned()).chain((2..).map(|n| format!("{login}-{n}")));
    candidates.into_iter().find(|login| !taken(login)).unwrap_or_default()
}

fn is_on(written: &Written, role: &schema::RoleName) -> bool {
    let switch = role.base.as_ref().unwrap_or(&role.text);
    written.entry(&format!("{switch}.ServerType")).is_some_and(|entry| !entry.is_empty())
}

/// 144 bits in letters, digits, `-` and `_`: safe in XML, TOML and on a command line.
fn password() -> anyhow::Result<Secret> {
    let mut bytes = [0; 18];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow::anyhow!("no random numbers"))?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes)))
}

fn render(written: &Written, source: &Path, clients: &[NewClient]) -> anyhow::Result<String> {
    let mut text = format!(
        "# Made by \"authbridge import\" from {}.\n# Every key: docs/CONFIGURATION.md and \
         proxy.toml.example.\n",
        source.display().to_string().escape_debug()
    );
    let mut group = String::new();
    for entry in written.in_order() {
        let own = owner(entry);
        if own != group {
            text.push('\n');
            group = own;
        }
        let _ = writeln!(text, "{} = {}", toml_key(&entry.name), toml_value(entry, source));
    }
    text.push_str(
        "\n# What the application logs in with at the proxy. \"authbridge passwd LOGIN\" makes a \
         new hash.\n",
    );
    for client in clients {
        let key = toml_key(&format!("Proxy.Client.{}.", client.login));
        let hash = passwd::hash(&client.password)?;
        let _ = writeln!(text, "{key}PasswordHash = \"{hash}\"");
        if let Some((way, role)) = &client.role {
            let _ = writeln!(text, "{key}{way} = {}", toml::Value::from(role.as_str()));
        }
    }
    Ok(text)
}

fn owner(entry: &Entry) -> String {
    match &entry.owner {
        schema::Owner::Role(role) => role.text.clone(),
        schema::Owner::Named(name) => name.clone(),
        schema::Owner::Proxy => entry.name.split('.').take(2).collect(),
    }
}

/// The key with quotes around each part that TOML does not take bare. Logins stay in one piece.
fn toml_key(name: &str) -> String {
    for head in ["Proxy.Client.", "Proxy.Pickup."] {
        if let Some((login, last)) = name.strip_prefix(head).and_then(|rest| rest.rsplit_once('.'))
        {
            return format!("{head}{}.{last}", bare_or_quoted(login));
        }
    }
    name.split('.').map(bare_or_quoted).collect::<Vec<_>>().join(".")
}

fn bare_or_quoted(part: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match !part.is_empty() && part.chars().all(is_bare) {
        true => part.to_owned(),
        false => one_line(part),
    }
}

/// A TOML basic string on one line (TOML 1.0, section "String").
pub(super) fn one_line(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn toml_value(entry: &Entry, source: &Path) -> String {
    let text = match &entry.value {
        Value::One(text) => text.expose(),
        Value::Many(list) => {
            let items: Vec<String> = list.iter().map(|text| one_line(text.expose())).collect();
            return format!("[{}]", items.join(", "));
        }
        Value::Unreadable => "",
    };
    let plain = text.trim().to_ascii_lowercase();
    match entry.key.kind {
        Kind::Boolean if plain == "true" || plain == "false" => plain,
        Kind::Count | Kind::Number => match plain.parse::<u32>() {
            Ok(number) => number.to_string(),
            Err(_) => one_line(text),
        },
        Kind::Path if !text.trim().is_empty() => one_line(&moved_path(text.trim(), source)),
        _ => one_line(text),
    }
}

/// A relative path counts from the application's folder; the new file may lie elsewhere.
fn moved_path(text: &str, source: &Path) -> String {
    let is_windows = text.starts_with('\\') || text.get(1..2) == Some(":");
    let is_indirect = ["env:", "file:", "dpapi:"].iter().any(|prefix| text.starts_with(prefix));
    if is_windows || is_indirect || Path::new(text).is_absolute() {
        return text.to_owned();
    }
    let folder = source.parent().unwrap_or(Path::new(""));
    // ASP.NET's `~/` is the application's folder; a path with `\` was written on Windows.
    let inside = text.strip_prefix("~/").or_else(|| text.strip_prefix("~\\")).unwrap_or(text);
    let moved = folder.join(inside.replace('\\', std::path::MAIN_SEPARATOR_STR));
    std::path::absolute(&moved).unwrap_or(moved).display().to_string()
}

#[cfg(test)]
mod tests;
