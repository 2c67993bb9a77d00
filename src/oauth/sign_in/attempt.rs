//! One attempt to sign in: the `state` that guards it, and the one code that it takes.
//!
//! Danger: every program and every web page of this machine can call the redirect address; a code
//! of somebody else's would sign the role in as a stranger (RFC 6749 section 10.12). Rule: without
//! the attempt's own `state` nothing that arrives has any effect, a parameter that is there twice
//! counts as missing, and one answer ends the attempt. Nothing that arrives is ever logged.

use std::sync::{Arc, Mutex, PoisonError};

use oauth2::url::form_urlencoded;
use tokio::sync::oneshot;

use crate::oauth::{Error, entra_error};
use crate::secret::Secret;

/// An address has 2 to 4 KiB with a code in it.
const MAX_PASTED: usize = 16 << 10;

/// A code, or why there is none.
pub(super) type Answer = Result<Secret, Error>;

/// What guards an attempt.
pub(super) struct Attempt {
    role: String,
    state: Secret,
    /// Empty once there is an answer.
    slot: Mutex<Option<oneshot::Sender<Answer>>>,
}

/// What has become of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It is the attempt's answer.
    Taken,
    /// The attempt has had its answer.
    Over,
    /// Its `state` is missing or another one.
    Stranger,
    /// It holds neither a code nor an error.
    Empty,
}

/// Takes the address at which a browser has ended, from a person who copied it.
#[derive(Clone)]
pub struct Paster {
    attempt: Arc<Attempt>,
}

/// The parameters of RFC 6749 sections 4.1.2 and 4.1.2.1.
#[derive(Default)]
struct Parameters {
    state: Option<Secret>,
    code: Option<Secret>,
    error: Option<String>,
    description: String,
}

impl Attempt {
    /// The attempt, and where its answer comes out.
    pub fn new(role: &str, state: Secret) -> (Arc<Self>, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        let slot = Mutex::new(Some(sender));
        (Arc::new(Self { role: role.to_owned(), state, slot }), receiver)
    }

    /// Takes the query of a callback.
    pub fn arrive(&self, query: &str) -> Arrival {
        let parameters = Parameters::of(query);
        if parameters.state.as_ref() != Some(&self.state) {
            return Arrival::Stranger;
        }
        match self.answer(parameters) {
            Some(answer) => self.end(answer),
            None => Arrival::Empty,
        }
    }

    fn answer(&self, parameters: Parameters) -> Option<Answer> {
        if let Some(error) = parameters.error {
            let error = entra_error::explain_callback(&self.role, &error, &parameters.description);
            return Some(Err(error));
        }
        parameters.code.map(Ok)
    }

    fn end(&self, answer: Answer) -> Arrival {
        let sender = self.slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        match sender.map(|sender| sender.send(answer)) {
            Some(Ok(())) => Arrival::Taken,
            // Nobody waits any more, or somebody was faster.
            Some(Err(_)) | None => Arrival::Over,
        }
    }

    fn wrong(&self, text: &str) -> Error {
        Error::person(format!("{}: {text}", self.role))
    }
}

impl Paster {
    pub(super) fn new(attempt: &Arc<Attempt>) -> Self {
        Self { attempt: Arc::clone(attempt) }
    }

    /// Takes the whole address, its query, or `code=…&state=…`; an error says what is wrong with
    /// it, and another may be pasted.
    pub fn paste(&self, address: &str) -> Result<(), Error> {
        let wrong = |text: &str| Err(self.attempt.wrong(text));
        if address.len() > MAX_PASTED {
            return wrong("what was pasted is far too long: copy the browser's address alone");
        }
        // Terminals and mail programs wrap long lines.
        let text: String =
            address.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
        let query = query_of(text.trim_matches(['"', '\'', '<', '>']));
        let parameters = Parameters::of(query);
        if parameters.code.is_none() && parameters.error.is_none() {
            return wrong(without_code(query));
        }
        match &parameters.state {
            None => return wrong(PARTIAL),
            Some(state) if *state != self.attempt.state => return wrong(FOREIGN),
            Some(_) => {}
        }
        // After an error the page can be opened again, so the attempt goes on.
        let Some(code) = self.attempt.answer(parameters).transpose()? else {
            return wrong(without_code(query));
        };
        match self.attempt.end(Ok(code)) {
            Arrival::Taken => Ok(()),
            _ => wrong("this sign-in is over already: start it again if it has not succeeded"),
        }
    }
}

const PARTIAL: &str = "the part after state= is missing: copy the whole address that the browser \
                       shows after the sign-in, from its first to its last character";

const FOREIGN: &str = "this address belongs to another sign-in (its state differs): open the page \
                       of this sign-in, and paste the address at which that one ends";

fn without_code(query: &str) -> &'static str {
    if query.is_empty() {
        return "nothing was pasted: copy the whole address that the browser shows after the \
                sign-in";
    }
    if query.contains("code_challenge=") {
        return "this is the address of the sign-in page: sign in there first, then copy the \
                address at which the browser ends";
    }
    "there is no code= in it: copy the whole address that the browser shows after the sign-in, \
     from its first to its last character"
}

/// Of an address, or of what was copied of it.
fn query_of(text: &str) -> &str {
    let query = text.split_once('?').map_or(text, |(_, query)| query);
    query.split('#').next().unwrap_or_default()
}

impl Parameters {
    fn of(query: &str) -> Self {
        Self {
            state: once(query, "state").map(Secret::new),
            code: once(query, "code").map(Secret::new),
            error: once(query, "error"),
            description: once(query, "error_description").unwrap_or_default(),
        }
    }
}

/// A parameter that is there exactly once and not empty (RFC 6749 section 3.1).
fn once(query: &str, name: &str) -> Option<String> {
    let pairs = form_urlencoded::parse(query.as_bytes());
    let mut values = pairs.filter(|(key, _)| key == name).map(|(_, value)| value);
    let value = values.next().filter(|value| !value.is_empty())?;
    values.next().is_none().then(|| value.into_owned())
}

/// Shows neither state nor code.
impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt").field("role", &self.role).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Paster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Paster")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &str = "st4te/+=";
    const ENCODED: &str = "st4te%2F%2B%3D";

    fn attempt() -> (Arc<Attempt>, oneshot::Receiver<Answer>) {
        Attempt::new("jo@example.com", Secret::new(STATE))
    }

    fn code(receiver: &mut oneshot::Receiver<Answer>) -> Option<String> {
        let answer = receiver.try_recv().ok()?;
        Some(answer.expect("a code").expose().to_owned())
    }

    #[test]
    fn callbacks_are_told_apart() {
        for (query, arrival, found) in [
            (format!("code=c0de&state={ENCODED}"), Arrival::Taken, Some("c0de")),
            (format!("state={ENCODED}&code=a%2Bb&session_state=x"), Arrival::Taken, Some("a+b")),
            ("code=c0de".to_owned(), Arrival::Stranger, None),
            ("code=c0de&state=".to_owned(), Arrival::Stranger, None),
            ("code=c0de&state=st4te".to_owned(), Arrival::Stranger, None),
            (format!("code=c0de&state={ENCODED}&state={ENCODED}"), Arrival::Stranger, None),
            ("error=access_denied&state=other".to_owned(), Arrival::Stranger, None),
            (String::new(), Arrival::Stranger, None),
            (format!("state={ENCODED}"), Arrival::Empty, None),
            (format!("code=&state={ENCODED}"), Arrival::Empty, None),
            (format!("code=a&code=b&state={ENCODED}"), Arrival::Empty, None),
        ] {
            let (attempt, mut receiver) = attempt();
            assert_eq!(attempt.arrive(&query), arrival, "{query}");
            assert_eq!(code(&mut receiver).as_deref(), found, "{query}");
        }
    }

    #[test]
    fn an_error_ends_the_attempt_with_its_explanation() {
        for (query, word, code) in [
            ("error=access_denied", "declined", "AADSTS65004"),
            (
                "error=x&error_description=AADSTS50105%3A+no.+Trace+ID%3A+t-1",
                "Enterprise",
                "AADSTS50105",
            ),
            ("error=server_error&code=ignored", "server_error", "server_error"),
        ] {
            let (attempt, mut receiver) = attempt();
            assert_eq!(attempt.arrive(&format!("{query}&state={ENCODED}")), Arrival::Taken);
            let error = receiver.try_recv().expect("answered").expect_err("refused");
            assert!(error.text.starts_with("jo@example.com: "), "{error}");
            assert!(error.text.contains(word), "{error}");
            assert_eq!(error.code.as_deref(), Some(code));
        }
    }

    #[test]
    fn one_answer_is_taken() {
        let (attempt, mut receiver) = attempt();
        let query = format!("code=first&state={ENCODED}");
        assert_eq!(attempt.arrive(&query), Arrival::Taken);
        assert_eq!(attempt.arrive(&query.replace("first", "second")), Arrival::Over);
        assert_eq!(attempt.arrive(&format!("error=x&state={ENCODED}")), Arrival::Over);
        let late = Paster::new(&attempt).paste(&query).expect_err("over");
        assert!(late.text.contains("over already"), "{late}");
        assert_eq!(code(&mut receiver).as_deref(), Some("first"));
    }

    #[test]
    fn nothing_is_taken_when_nobody_waits() {
        let (attempt, receiver) = attempt();
        drop(receiver);
        assert_eq!(attempt.arrive(&format!("code=c&state={ENCODED}")), Arrival::Over);
    }

    #[test]
    fn what_people_copy_is_understood() {
        let whole = format!("https://login.example/nativeclient?code=c0de&state={ENCODED}");
        for text in [
            whole.clone(),
            format!("{whole}&session_state=1#"),
            format!("  \"{whole}\"\r\n"),
            format!("<{whole}>"),
            whole.replace("c0de", "c0\r\n  de"),
            format!("msal1://auth/?state={ENCODED}&code=c0de"),
            format!("?code=c0de&state={ENCODED}"),
            format!("code=c0de&state={ENCODED}"),
            format!("http://localhost:8400/?x=1&code=c0de&state={ENCODED}"),
        ] {
            let (attempt, mut receiver) = attempt();
            Paster::new(&attempt).paste(&text).expect(&text);
            assert_eq!(code(&mut receiver).as_deref(), Some("c0de"), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_and_another_may_be_pasted() {
        let long = "x".repeat(MAX_PASTED + 1);
        let declined = format!("http://x/?error=access_denied&state={ENCODED}");
        let (attempt, mut receiver) = attempt();
        let paster = Paster::new(&attempt);
        for (text, word) in [
            ("", "nothing was pasted"),
            (" \r\n", "nothing was pasted"),
            ("https://login.example/nativeclient", "no code="),
            ("s3cret", "no code="),
            ("https://l/authorize?state=a&code_challenge=b", "sign-in page"),
            ("https://l/?code=s3cret", "state= is missing"),
            ("https://l/?code=s3cret&state=s3cret2", "another sign-in"),
            ("https://l/?error=s3cret&state=s3cret2", "another sign-in"),
            (declined.as_str(), "declined"),
            (long.as_str(), "too long"),
        ] {
            let error = paster.paste(text).expect_err(text);
            assert!(error.text.contains(word), "{text}: {error}");
            assert!(error.text.starts_with("jo@example.com: "), "{error}");
            assert!(!error.text.contains("s3cret"), "{error}");
        }
        paster.paste(&format!("code=c0de&state={ENCODED}")).expect("good");
        assert_eq!(code(&mut receiver).as_deref(), Some("c0de"));
        let shown = format!("{attempt:?} {paster:?}");
        assert!(!shown.contains("st4te") && !shown.contains("c0de"), "{shown}");
    }
}
