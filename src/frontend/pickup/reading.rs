//! A file becomes a message.
//!
//! Danger: a file may be anything: a database, a UTF-16 text, 10 GB of nothing; and a program may
//! go on writing to what we have taken. Rule: it is looked through before it is read, in pieces, by
//! threads that may wait; what is too large or holds a NUL octet is refused; one whose size or time
//! has changed meanwhile is not finished; one with a second name (a hard link) may be somebody else's
//! and is refused.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::dots::{Survey, Unstuff};
use super::{Failure, Folder};
use crate::frontend::Context;
use crate::frontend::smtp::receive::{Incoming, Problem};
use crate::mail::{MemoryBudget, Message};
use crate::platform::{self, FileVersion};
use crate::protocol::smtp::data::LineEnds;

/// Octets read at once.
const PIECE: usize = 64 << 10;
/// Some editors of Windows put it in front of UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";
/// The fields that these libraries write first, in lower case.
const ENVELOPE_FIELDS: [&[u8]; 2] = [b"x-sender", b"x-receiver"];

/// The largest message, and who says so.
#[derive(Clone, Debug)]
pub(super) struct Limit {
    octets: u64,
    whose: String,
}

impl Limit {
    /// The smaller one of ours and the service's, as over SMTP.
    pub fn of(folder: &Folder, context: &Context) -> Self {
        let own = context.limits.max_message_bytes;
        match folder.submission.features().max_size {
            Some(octets) if octets < own => {
                Self { octets, whose: format!("what the service of {} takes", folder.role) }
            }
            _ => Self { octets: own, whose: "Proxy.Limits.MaxMessageBytes".to_owned() },
        }
    }

    fn exceeded(&self, by: &str) -> Failure {
        Failure::Refused(format!(
            "it has {by} octets; {} are the limit: {}",
            self.octets, self.whose
        ))
    }
}

/// A file that was looked through.
#[derive(Debug)]
pub(super) struct Opened {
    file: File,
    version: FileVersion,
    facts: Facts,
}

/// What a look at the whole file tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Facts {
    has_bom: bool,
    is_stuffed: bool,
    has_nul: bool,
    is_eight_bit: bool,
}

impl Opened {
    /// Opens a file that is no link, and looks through it. Blocks.
    pub fn open(path: &Path, limit: &Limit) -> Result<Self, Failure> {
        let mut file = platform::open_no_link(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(Failure::Refused("it is no regular file".to_owned()));
        }
        if platform::has_other_names(&metadata) {
            let text = "it has a second name (a hard link), so that it may be somebody else's file";
            return Err(Failure::Refused(text.to_owned()));
        }
        if metadata.len() > limit.octets {
            return Err(limit.exceeded(&metadata.len().to_string()));
        }
        let facts = look_through(&mut file)?;
        if facts.has_nul {
            let text = "it holds NUL octets: it was not written to its end, or not as UTF-8";
            return Err(Failure::Refused(text.to_owned()));
        }
        Ok(Self { file, version: platform::file_version(&metadata), facts })
    }

    /// True when any octet is beyond ASCII.
    pub fn is_eight_bit(&self) -> bool {
        self.facts.is_eight_bit
    }

    /// The message, envelope fields included, lines ended by CRLF alone.
    pub async fn message(self, budget: &MemoryBudget, limit: &Limit) -> Result<Message, Failure> {
        let Self { mut file, version, facts } = self;
        let start = if facts.has_bom { BOM.len() as u64 } else { 0 };
        file.seek(SeekFrom::Start(start))?;
        let mut incoming = Incoming::new(budget, limit.octets);
        let mut dots = facts.is_stuffed.then(Unstuff::default);
        let mut ends = LineEnds::default();
        loop {
            let (returned, piece) = next_piece(file).await?;
            file = returned;
            if piece.is_empty() {
                break;
            }
            let mut clean =
                |octets: &[u8]| ends.feed(octets, &mut |octets: &[u8]| incoming.push(octets));
            match &mut dots {
                Some(dots) => dots.feed(&piece, &mut clean),
                None => clean(&piece),
            }
            incoming.settle().await;
        }
        ends.finish(&mut |octets| incoming.push(octets));
        if platform::file_version(&file.metadata()?) != version {
            return Err(Failure::Later("somebody is still writing to it".to_owned()));
        }
        match incoming.finish().await {
            Err(Problem::TooLarge) => Err(limit.exceeded("too many")),
            finished => Ok(finished.map_err(crate::mail::Error::from)?),
        }
    }
}

async fn next_piece(mut file: File) -> io::Result<(File, Vec<u8>)> {
    let read = tokio::task::spawn_blocking(move || {
        let mut piece = vec![0; PIECE];
        let length = read_some(&mut file, &mut piece)?;
        piece.truncate(length);
        Ok((file, piece))
    });
    read.await.map_err(io::Error::other)?
}

fn read_some(file: &mut File, piece: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn look_through(file: &mut File) -> io::Result<Facts> {
    let mut facts = Facts::default();
    let mut survey = None;
    let mut piece = vec![0; PIECE];
    loop {
        let length = read_some(file, &mut piece)?;
        let mut octets = &piece[..length];
        if octets.is_empty() {
            facts.is_stuffed = survey.flatten().is_some_and(|survey: Survey| survey.is_stuffed());
            return Ok(facts);
        }
        if survey.is_none() {
            facts.has_bom = octets.starts_with(BOM);
            octets = octets.strip_prefix(BOM).unwrap_or(octets);
            survey = Some(has_envelope(octets).then(Survey::default));
        }
        facts.has_nul |= memchr::memchr(0, octets).is_some();
        facts.is_eight_bit |= !octets.is_ascii();
        if let Some(Some(survey)) = &mut survey {
            survey.feed(octets);
        }
    }
}

fn has_envelope(octets: &[u8]) -> bool {
    ENVELOPE_FIELDS
        .iter()
        .any(|name| octets.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(octets: u64) -> Limit {
        Limit { octets, whose: "ours".to_owned() }
    }

    async fn read(content: &[u8], octets: u64) -> Result<(String, bool), Failure> {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.eml");
        std::fs::write(&path, content).expect("written");
        let limit = limit(octets);
        let opened = Opened::open(&path, &limit)?;
        let eight_bit = opened.is_eight_bit();
        let message = opened.message(&MemoryBudget::new(4 << 20), &limit).await?;
        let (mut reader, mut all) = (message.reader(), Vec::new());
        while let Some(piece) = reader.next().await.expect("readable") {
            all.extend_from_slice(&piece);
        }
        Ok((String::from_utf8(all).expect("UTF-8"), eight_bit))
    }

    #[tokio::test]
    async fn files_as_programs_write_them() {
        let table: [(&[u8], &str, bool); 6] = [
            (b"A: b\r\n\r\nx\r\n", "A: b\r\n\r\nx\r\n", false),
            (b"A: b\n\nx\n.\ny", "A: b\r\n\r\nx\r\n.\r\ny", false),
            (b"\xef\xbb\xbfA: \xc3\xbc\r\n\r\n", "A: \u{fc}\r\n\r\n", true),
            (b"X-Sender: a@b\r\n\r\n..x\r\n", "X-Sender: a@b\r\n\r\n.x\r\n", false),
            (b"X-Sender: a@b\r\n\r\n..x\r\n.y\r\n", "X-Sender: a@b\r\n\r\n..x\r\n.y\r\n", false),
            (b"From: a@b\r\n\r\n..x\r\n", "From: a@b\r\n\r\n..x\r\n", false),
        ];
        for (content, expected, eight_bit) in table {
            let found = read(content, 1000).await.expect("read");
            assert_eq!(found, (expected.to_owned(), eight_bit), "{content:?}");
        }
    }

    #[tokio::test]
    async fn a_large_file_is_read_in_pieces() {
        let line = "0123456789 0123456789 0123456789\n";
        let content = format!("A: b\n\n{}", line.repeat(100_000));
        let (found, _) = read(content.as_bytes(), 10 << 20).await.expect("read");
        assert_eq!(found, content.replace('\n', "\r\n"));
    }

    #[tokio::test]
    async fn what_is_no_message_is_refused() {
        let long = "A: b\r\n".repeat(200_000);
        for (content, limit) in [
            (&b"A: b\r\n\r\nx\0"[..], 1000),
            (b"\xff\xfeA\0:\0", 1000),
            (b"A: b\r\n\r\n12345", 12),
            (long.as_bytes(), 10 << 20),
        ] {
            let failure = read(content, limit).await.expect_err("refused");
            assert!(matches!(failure, Failure::Refused(_)), "{failure}");
        }
    }

    #[tokio::test]
    async fn a_file_that_changes_meanwhile_is_not_finished() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.eml");
        std::fs::write(&path, "A: b\r\n\r\nx").expect("written");
        let opened = Opened::open(&path, &limit(1000)).expect("opened");
        std::fs::write(&path, "A: b\r\n\r\nx and more").expect("written");
        let failure = opened.message(&MemoryBudget::new(4 << 20), &limit(1000)).await;
        assert!(matches!(failure, Err(Failure::Later(_))));
    }

    #[tokio::test]
    async fn line_ends_count() {
        let failure = read(b"A: b\n\n1\n2\n3\n4\n", 16).await.expect_err("refused");
        assert_eq!(failure.to_string(), "it has too many octets; 16 are the limit: ours");
    }

    #[test]
    fn a_hard_link_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.eml");
        std::fs::write(&path, "From: a@b\r\n\r\nnot yours").expect("written");
        std::fs::hard_link(&path, folder.path().join("b.eml")).expect("linked");
        let opened = Opened::open(&path, &limit(1000));
        let metadata = std::fs::metadata(&path).expect("there");
        assert_eq!(opened.is_err(), platform::has_other_names(&metadata), "where it can be told");
        std::fs::remove_file(folder.path().join("b.eml")).expect("removed");
        assert!(Opened::open(&path, &limit(1000)).is_ok());
    }

    #[test]
    fn a_folder_is_no_message() {
        let folder = tempfile::tempdir().expect("folder");
        assert!(Opened::open(folder.path(), &limit(1000)).is_err());
    }
}
