//! Questions to whoever sits at the terminal, and lines that are typed unasked.
//!
//! Danger: a question on a machine without a person waits for ever; a line that is read by two
//! readers reaches the wrong one. Rule: questions are asked on a terminal only, their answer
//! otherwise is the careful one; one thread reads standard input, and only from the moment on at
//! which somebody wants a line.

use std::io::{BufRead, IsTerminal, Read, Write};

use tokio::sync::mpsc;

use crate::secret::Secret;

/// Longest line: an address with a code in it has some 2 KiB.
const MAX_LINE_OCTETS: u64 = 16 << 10;

/// Standard input, and whether a person types it.
pub(in crate::cli) struct Console {
    is_terminal: bool,
    lines: Option<mpsc::Receiver<Secret>>,
}

impl Console {
    /// That of this process. Nothing is read yet.
    pub fn new() -> Self {
        // An answer that nobody sees asked for is none.
        let is_terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        Self { is_terminal, lines: None }
    }

    /// True when there is somebody to ask.
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// The next line; `None` at the end of input.
    pub async fn line(&mut self) -> Option<Secret> {
        self.lines.get_or_insert_with(|| read(std::io::stdin)).recv().await
    }

    /// Asks, and takes one line; `None` at the end of input and where nobody can be asked.
    pub async fn ask(&mut self, question: &str) -> Option<String> {
        if !self.is_terminal {
            return None;
        }
        // What was typed before the question is no answer to it.
        while self.lines.as_mut().is_some_and(|lines| lines.try_recv().is_ok()) {}
        tell_inline(question);
        let answer = self.line().await;
        if answer.is_none() {
            tell("");
        }
        Some(answer?.expose().trim().to_owned())
    }

    /// Asks, and is told yes only by a Y.
    pub async fn is_agreed(&mut self, question: &str) -> bool {
        self.ask(question).await.is_some_and(|answer| answer.eq_ignore_ascii_case("y"))
    }
}

/// Reads lines on a thread of its own, which ends with the process: a read can't be given up.
fn read<R: Read>(open: impl FnOnce() -> R + Send + 'static) -> mpsc::Receiver<Secret> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut input = std::io::BufReader::new(open());
        while let Some(line) = next_line(&mut input) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A line without its end; `None` at the end of input, at what is no text, and at a line without
/// end.
fn next_line(input: &mut impl BufRead) -> Option<Secret> {
    let mut line = zeroize::Zeroizing::new(String::new());
    let octets = input.by_ref().take(MAX_LINE_OCTETS).read_line(&mut line).ok()?;
    let is_cut = octets as u64 == MAX_LINE_OCTETS && !line.ends_with('\n');
    (octets > 0 && !is_cut).then(|| Secret::new(line.trim_end_matches(['\r', '\n'])))
}

/// Says something beside the result. Nobody has to listen.
pub(in crate::cli) fn tell(text: &str) {
    tell_inline(&format!("{text}\n"));
}

fn tell_inline(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

#[cfg(test)]
impl Console {
    /// One at which these lines are typed.
    pub fn typed(is_terminal: bool, lines: &[&str]) -> Self {
        let (sender, receiver) = mpsc::channel(lines.len().max(1));
        for line in lines {
            sender.try_send(Secret::new(*line)).expect("there is room");
        }
        Self { is_terminal, lines: Some(receiver) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_read_to_the_end_of_input() {
        let mut lines = read(|| &b"one\r\n\n two \nlast"[..]);
        for expected in [Some("one"), Some(""), Some(" two "), Some("last"), None] {
            assert_eq!(lines.recv().await.as_ref().map(Secret::expose), expected);
        }
    }

    #[test]
    fn a_line_without_end_is_the_end() {
        let endless = vec![b'x'; usize::try_from(MAX_LINE_OCTETS).expect("small") + 1];
        assert_eq!(next_line(&mut endless.as_slice()), None);
        assert_eq!(next_line(&mut &b"\xff\xfe\n"[..]), None);
        assert_eq!(next_line(&mut &b""[..]), None);
        let long = [vec![b'x'; 9000], vec![b'\n']].concat();
        assert_eq!(next_line(&mut long.as_slice()).map(|line| line.expose().len()), Some(9000));
    }

    #[tokio::test]
    async fn without_a_terminal_nothing_is_asked() {
        let mut console = Console::typed(false, &["y"]);
        assert_eq!(console.ask("Sure? ").await, None);
        assert!(!console.is_agreed("Sure? ").await);
        // The line is still there for whoever reads without asking.
        assert_eq!(console.line().await.as_ref().map(Secret::expose), Some("y"));
    }

    #[tokio::test]
    async fn only_a_y_is_a_yes() {
        for (answer, agreed) in [("Y", true), (" y ", true), ("yes", false), ("", false)] {
            let (sender, lines) = mpsc::channel(1);
            let mut console = Console { is_terminal: true, lines: Some(lines) };
            let answering = async {
                tokio::task::yield_now().await;
                sender.send(Secret::new(answer)).await
            };
            let (said, sent) = tokio::join!(console.is_agreed("Sure? "), answering);
            assert!(sent.is_ok());
            assert_eq!(said, agreed, "{answer:?}");
        }
    }

    #[tokio::test]
    async fn what_was_typed_before_a_question_is_no_answer() {
        let mut console = Console::typed(true, &["y", "y"]);
        // The queue is emptied, and its other end is gone: nobody answers.
        assert!(!console.is_agreed("Sure? ").await);
    }
}
