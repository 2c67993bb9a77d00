//! Whole sessions at random, with fixed seeds: what no transcript thought of.
//!
//! A client keeps the numbering that the answers give it. Whatever it says, and whatever others do
//! meanwhile, each command has one answer, in order, and no number means two messages.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::super::Session;
use super::super::memory::{Memory, Outside, stage_with};
use super::{ONE, THREE, TWO};
use crate::frontend::attempts::References;
use crate::frontend::connected::Connected;
use crate::frontend::rehearsal::Stage;
use crate::frontend::stream::ClientStream;
use crate::mail::mailbox::{Flag, FlagChange, Flags, Folder as _};
use crate::mail::{Kind, SessionId};

const PATIENCE: Duration = Duration::from_secs(20);

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

struct Client {
    stream: BufReader<TcpStream>,
    session: JoinHandle<()>,
}

impl Client {
    async fn new(stage: &Stage, memory: &Arc<Memory>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("address");
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (near, far) = (near.expect("connected"), far.expect("accepted").0);
        // As the listener does: small answers must not wait for acknowledgements.
        far.set_nodelay(true).expect("TCP");
        let stream = ClientStream::Plain(far);
        let (idle, stopping) = (Duration::from_secs(60), stage.context.stopping.clone());
        let client = Connected::new(stream, Bytes::new(), idle, stopping);
        let references = References::new(SessionId::random());
        let mailbox = Arc::clone(memory) as Arc<dyn crate::mail::Mailbox>;
        let session = Session::new(&stage.context, mailbox, client, references);
        let session = tokio::spawn(session.run());
        Self { stream: BufReader::new(near), session }
    }

    async fn close(self) {
        drop(self.stream);
        self.session.await.expect("no panic");
    }

    async fn say(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).await.expect("written");
    }

    /// A response with its literals; `None` at the end.
    async fn hear(&mut self) -> Option<Vec<u8>> {
        let mut response = Vec::new();
        loop {
            let start = response.len();
            let reading = self.stream.read_until(b'\n', &mut response);
            let octets = tokio::time::timeout(PATIENCE, reading).await;
            if octets.expect("no session hangs").expect("read") == 0 {
                assert!(response.is_empty(), "cut off: {}", shown(&response));
                return None;
            }
            assert!(response.ends_with(b"\r\n"), "{}", shown(&response));
            let Some(length) = literal(&response[start..]) else { return Some(response) };
            let start = response.len();
            response.resize(start + length, 0);
            self.stream.read_exact(&mut response[start..]).await.expect("the literal");
        }
    }
}

fn mailbox() -> Arc<Memory> {
    let memory = Memory::new();
    for text in [ONE, TWO, THREE] {
        memory.folder("INBOX").deliver(text, Flags::default());
    }
    memory
}

fn shown(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

fn literal(line: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(line).ok()?.trim_end();
    text.strip_suffix('}')?.rsplit_once('{')?.1.parse().ok()
}

/// What the client believes.
#[derive(Default)]
struct Numbering {
    /// UIDs by number, where they were told.
    uids: Vec<Option<u32>>,
}

impl Numbering {
    /// `steady`: no number may shift.
    fn take(&mut self, response: &str, steady: bool) {
        let words: Vec<&str> = response.split_ascii_whitespace().collect();
        let number = || words[1].parse::<usize>().expect("a number");
        match words.get(1..3) {
            Some(["OK", "[CLOSED]"]) => self.uids.clear(),
            Some([_, "EXISTS"]) => {
                assert!(number() >= self.uids.len(), "{response}");
                self.uids.resize(number(), None);
            }
            Some([_, "EXPUNGE"]) => {
                assert!(!steady && number() <= self.uids.len(), "{response}");
                self.uids.remove(number() - 1);
            }
            Some(["VANISHED", set]) if *set != "(EARLIER)" => {
                assert!(!steady, "{response}");
                let ends =
                    set.split(',').map(|range| range.split_once(':').unwrap_or((range, range)));
                let size = |(from, to): (&str, &str)| {
                    to.parse::<usize>().expect("a UID") - from.parse::<usize>().expect("a UID") + 1
                };
                let left = self.uids.len().checked_sub(ends.map(size).sum::<usize>());
                self.uids = vec![None; left.expect("only what the client knows")];
            }
            Some([_, "FETCH"]) => {
                let known = self.uids.get_mut(number() - 1).expect("a message that it knows");
                let told = words.iter().position(|word| word.trim_start_matches('(') == "UID");
                let told = told.and_then(|at| words[at + 1].trim_end_matches(')').parse().ok());
                assert!(
                    told.is_none() || known.is_none() || *known == told,
                    "{response} {known:?}"
                );
                *known = told.or(*known);
            }
            _ => {}
        }
    }
}

fn command(random: &mut Random) -> String {
    let set = random.pick(&["1", "1:*", "2:3", "*", "4,1", "3:1,2", "$", "7:9,*", "900"]);
    let uid = random.pick(&["", "UID "]);
    let flags = random.pick(&["\\Seen", "(\\Deleted)", "(\\Flagged $New)", "($Other)", "()"]);
    match random.below(24) {
        0..=2 => "NOOP".to_owned(),
        3..=5 => {
            let items = random.pick(&[
                "FLAGS",
                "(UID FLAGS MODSEQ)",
                "FULL",
                "(UID BODY[])",
                "(BODY.PEEK[HEADER.FIELDS (SUBJECT)] UID)",
                "(BINARY[1] BINARY.SIZE[1] RFC822.SIZE)",
                "BODY[TEXT]<1.2>",
                "(FLAGS) (CHANGEDSINCE 9)",
                "(UID) (CHANGEDSINCE 3 VANISHED)",
            ]);
            format!("{uid}FETCH {set} {items}")
        }
        6..=8 => {
            let action =
                random.pick(&["+FLAGS", "-FLAGS", "FLAGS", "+FLAGS.SILENT", "FLAGS.SILENT"]);
            let condition = random.pick(&["", "", "(UNCHANGEDSINCE 12) "]);
            format!("{uid}STORE {set} {condition}{action} {flags}")
        }
        9..=11 => {
            let returns =
                random.pick(&["", "RETURN (SAVE) ", "RETURN (MIN MAX COUNT) ", "RETURN () "]);
            let keys = random.pick(&[
                "ALL",
                "NOT $",
                "DELETED OR SEEN NEW",
                "1:2 UID 1:*",
                "TEXT one",
                "MODSEQ 5",
                "LARGER 5 SUBJECT two",
                "KEYWORD $New",
            ]);
            format!("{uid}SEARCH {returns}{keys}")
        }
        12 => "EXPUNGE".to_owned(),
        13 => format!("UID EXPUNGE {set}"),
        14 => format!("{uid}COPY {set} {}", random.pick(&["Other", "INBOX", "None"])),
        15 => format!("{uid}MOVE {set} {}", random.pick(&["Other", "INBOX", "None"])),
        16 => format!("APPEND INBOX {flags} {{{}+}}\r\n{ONE}", ONE.len())
            .replace(" \\Seen ", " (\\Seen) "),
        17 => format!("{uid}SORT (REVERSE SUBJECT SIZE) UTF-8 ALL"),
        18 => format!("{uid}THREAD REFERENCES UTF-8 ALL"),
        19 => format!(
            "STATUS {} (MESSAGES UIDNEXT HIGHESTMODSEQ)",
            random.pick(&["INBOX", "Other", "{4+}\r\nNone"])
        ),
        20 => "IDLE\r\nDONE".to_owned(),
        21 => random
            .pick(&["CLOSE", "UNSELECT", "SELECT INBOX", "EXAMINE INBOX", "ENABLE QRESYNC"])
            .to_owned(),
        22 => "SELECT INBOX (QRESYNC (1000 2 1:9))".to_owned(),
        _ => random.pick(&["XYZZY", "FETCH", "STORE 1 x", "SEARCH (", "LIST \"\" %"]).to_owned(),
    }
}

/// Somebody else is at work.
fn interfere(random: &mut Random, memory: &Memory) {
    let inbox = memory.folder("INBOX");
    let messages = inbox.snapshot().messages.clone();
    let any = random.below(messages.len().max(1));
    let any = messages.get(any).map(|entry| entry.uid.number());
    match (random.below(6), any) {
        (0 | 1, _) if messages.len() < 12 => {
            inbox.outside(Outside::Arrive(random.pick(&[ONE, TWO, THREE]), Flags::default()));
        }
        (2, Some(uid)) => inbox.outside(Outside::Vanish(uid)),
        (3, Some(uid)) => {
            let change = FlagChange::Add(Flags::default().with(Flag::Flagged));
            inbox.outside(Outside::Flag(uid, change));
        }
        (4, _) => memory.fail_after(random.below(3), Kind::Unavailable),
        _ => inbox.publish(),
    }
}

#[tokio::test]
async fn any_commands_whatever_others_do() {
    let (stage, _) = stage_with(&[]);
    for seed in 1..=15_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let memory = mailbox();
        memory.add("Other", None);
        let mut client = Client::new(&stage, &memory).await;
        let mut numbering = Numbering::default();
        for batch in 0..40 {
            let count = 1 + random.below(5);
            let mut commands: Vec<String> = (0..count).map(|_| command(&mut random)).collect();
            if batch == 0 || random.below(5) == 0 {
                commands.insert(0, "SELECT INBOX".to_owned());
            }
            // Enough BADs in a row, as without a folder, would end the session.
            commands.push("NOOP".to_owned());
            interfere(&mut random, &memory);
            let written = commands.iter().enumerate().map(|(at, text)| format!("t{at} {text}\r\n"));
            client.say(written.collect::<String>().as_bytes()).await;
            for (at, command) in commands.iter().enumerate() {
                let by_number = ["FETCH", "STORE", "SEARCH", "SORT", "THREAD"];
                let steady = by_number.iter().any(|verb| command.starts_with(verb));
                loop {
                    let heard = client.hear().await;
                    assert!(heard.is_some(), "{seed} {commands:#?}: ended");
                    let response = shown(&heard.unwrap_or_default());
                    if let Some(tagged) = response.strip_prefix(&format!("t{at} ")) {
                        let known =
                            ["OK ", "NO ", "BAD "].iter().any(|word| tagged.starts_with(word));
                        assert!(known, "{seed} {command}: {response}");
                        if tagged.starts_with("OK")
                            && ["CLOSE", "UNSELECT"].contains(&command.as_str())
                        {
                            numbering.uids.clear();
                        }
                        break;
                    }
                    let untagged = response.starts_with("* ") || response.starts_with("+ ");
                    assert!(untagged, "{seed} {commands:#?} {at}: {response}");
                    numbering.take(&response, steady);
                }
            }
        }
        client.say(b"x LOGOUT\r\n").await;
        while client.hear().await.is_some() {}
        client.close().await;
    }
}

#[tokio::test]
async fn any_octets() {
    const WORDS: [&str; 40] = [
        "a ",
        "b1 ",
        "* ",
        "+ ",
        "\r\n",
        "\r\n",
        "\r\n",
        "\n",
        "\r",
        " ",
        "(",
        ")",
        "\"",
        "\\",
        "\0",
        "\u{e9}",
        "{5}\r\n",
        "{5+}\r\n",
        "{0+}\r\n",
        "~{3+}\r\n",
        "{99999999999999999999}\r\n",
        "{70000+}\r\n",
        "a APPEND INBOX ",
        "b APPEND INBOX (\\Seen) {5+}\r\nhello\r\n",
        "c UID FETCH 1:* ",
        "d SEARCH ",
        "e SELECT INBOX\r\n",
        "f IDLE\r\n",
        "DONE\r\n",
        "1:*",
        "BODY[",
        "]<0.1>",
        "HEADER.FIELDS ",
        "g LIST \"\" ",
        "NOT ",
        "OR ",
        "$",
        "CHARSET ",
        "h UID STORE 1 +FLAGS ",
        "\\Deleted",
    ];
    let (stage, _) = stage_with(&[]);
    for seed in 1..=100_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let memory = mailbox();
        let mut client = Client::new(&stage, &memory).await;
        let octets: String = (0..120).map(|_| random.pick(&WORDS)).collect();
        client.say(b"s SELECT INBOX\r\n").await;
        // The session may have ended it.
        let _ = client.stream.write_all(octets.as_bytes()).await;
        let _ = client.stream.get_mut().shutdown().await;
        while let Some(response) = client.hear().await {
            let text = shown(&response);
            let tag = text.split(' ').next().unwrap_or_default();
            let is_tag =
                tag.bytes().all(|byte| byte.is_ascii_graphic() && !b"(){%\"\\".contains(&byte));
            assert!(!tag.is_empty() && is_tag, "{seed} {octets:?}: {text}");
        }
        client.close().await;
    }
}
