//! `authbridge passwd`: a client's password becomes the lines that go into the configuration.
//!
//! Danger: a password on the command line stays in the shell's history and in the process list.
//! Rule: it is typed without echo, twice, or comes as one line on stdin; only its hash is printed.

use std::io::{BufRead, IsTerminal};

use anyhow::{Context, bail};
use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::PasswordHash;

use super::Failure;
use super::import::one_line;
use super::run::print;
use crate::secret::Secret;

/// Ask for a client's password and print its lines for proxy.toml
///
/// On a terminal the password is asked for twice, without showing it; otherwise it is read as one
/// line from standard input. What is printed is a block for the end of proxy.toml with the Argon2id
/// hash of the password; the password itself is stored nowhere. Such a hash is also what
/// Proxy.Admin.PasswordHash takes, the password of the web page.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The login that the application will use, such as erp or erp@example.com
    #[arg(value_name = "LOGIN")]
    pub login: String,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    if args.login.trim() != args.login || args.login.is_empty() {
        let error = anyhow::anyhow!("LOGIN must be a name without spaces around it");
        return Err(Failure::Usage(error));
    }
    let stdin = std::io::stdin();
    let password = match stdin.is_terminal() {
        true => ask()?,
        false => read_line(stdin.lock())?,
    };
    print(&block(&args.login, &password)?);
    Ok(())
}

fn ask() -> anyhow::Result<Secret> {
    let first = Secret::new(rpassword::prompt_password("Password: ")?);
    let second = Secret::new(rpassword::prompt_password("Again: ")?);
    match first == second {
        true => not_empty(first),
        false => bail!("the two passwords differ; nothing was made, try again"),
    }
}

fn read_line(mut input: impl BufRead) -> anyhow::Result<Secret> {
    let mut line = String::new();
    input.read_line(&mut line).context("the password can't be read from standard input")?;
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    not_empty(Secret::new(line))
}

fn not_empty(password: Secret) -> anyhow::Result<Secret> {
    match password.is_empty() {
        true => bail!("the password is empty; nothing was made"),
        false => Ok(password),
    }
}

/// A table rather than dotted keys: it may stand at the end of any file.
fn block(login: &str, password: &Secret) -> anyhow::Result<String> {
    let (login, hash) = (one_line(login), hash(password)?);
    Ok(format!("[Proxy.Client.{login}]\nPasswordHash = \"{hash}\"\n"))
}

/// Argon2id with the parameters of OWASP's first choice: 19 MiB, two passes, one lane.
pub(super) fn hash(password: &Secret) -> anyhow::Result<String> {
    let hash: PasswordHash = Argon2::default()
        .hash_password(password.expose().as_bytes())
        .map_err(|error| anyhow::anyhow!("the password can't be hashed: {error}"))?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::PasswordVerifier;

    use super::*;

    #[test]
    fn one_line_is_the_password() {
        for (input, password) in
            [("a b\n", Some("a b")), ("x\r\ny\n", Some("x")), ("z", Some("z")), ("\n", None)]
        {
            let read = read_line(input.as_bytes()).ok();
            assert_eq!(read.as_ref().map(Secret::expose), password, "{input:?}");
        }
    }

    #[test]
    fn the_block_is_toml_with_the_right_hash() {
        for login in ["erp", "Jane.Doe@example.com", "a\"b", "*@example.com"] {
            let text = block(login, &"secret".into()).expect("hashed");
            let table: toml::Table = text.parse().expect("TOML");
            let hash = table["Proxy"]["Client"][login]["PasswordHash"].as_str().expect("text");
            assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
            let parsed = PasswordHash::new(hash).expect("PHC");
            assert!(Argon2::default().verify_password(b"secret", &parsed).is_ok());
            assert!(Argon2::default().verify_password(b"Secret", &parsed).is_err());
        }
    }
}
