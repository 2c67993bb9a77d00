//! The octets of SMTP, both ways.

use bytes::{BufMut as _, BytesMut};

use super::{has_bare_line_end, pieces, split_seed};
use crate::protocol::smtp::command::{self, Command};
use crate::protocol::smtp::data::{DataDecoder, DotStuffer, LineEnds};
use crate::protocol::smtp::line::{Expected, LineFault, LineReader};
use crate::protocol::smtp::reply::{Extensions, Reply, ReplyDecoder, ReplyError};

/// Lines out of a stream, and commands out of lines: the cuts of the network change nothing, and no
/// line end or control gets into a command's arguments.
pub fn smtp_command(data: &[u8]) {
    let (seed, stream) = split_seed(data);
    let lines = lines(&[stream]);
    assert_eq!(lines, self::lines(&pieces(stream, seed)), "lines depend on how they arrive");
    for line in lines.iter().flatten() {
        assert!(!line.contains(&b'\r') && !line.contains(&b'\n'), "a line end within a line");
        check_command(line);
    }
}

fn lines(pieces: &[&[u8]]) -> Vec<Result<BytesMut, LineFault>> {
    let (mut reader, mut input) = (LineReader::default(), BytesMut::new());
    let mut lines = Vec::new();
    for piece in pieces {
        input.put_slice(piece);
        while let Some(line) = reader.next(&mut input, Expected::Command) {
            lines.push(line);
        }
    }
    lines
}

fn check_command(line: &[u8]) {
    let path = match command::parse(line) {
        Ok(Command::Mail(mail)) => mail.path,
        Ok(Command::Rcpt(rcpt)) => rcpt.path,
        Ok(Command::Auth { mechanism, .. }) => {
            assert!(mechanism.bytes().all(|byte| byte.is_ascii_graphic()), "{mechanism:?}");
            return;
        }
        Ok(_) => return,
        Err(fault) => {
            assert!((500..600).contains(&fault.reply().0));
            return;
        }
    };
    assert!(!path.contains(char::is_control), "a control in {path:?}");
    assert!(path.contains('"') || !path.contains(['<', '>']), "two addresses in {path:?}");
}

/// The parameters of delivery status notifications (RFC 3461): whatever is let through is one word.
pub fn smtp_dsn(data: &[u8]) {
    let words = [
        [b"MAIL FROM:<a@b> RET=HDRS ENVID=", data].concat(),
        [b"RCPT TO:<a@b> NOTIFY=DELAY ORCPT=rfc822;", data].concat(),
        [b"RCPT TO:<a@b> NOTIFY=", data].concat(),
    ];
    for line in &words {
        let values = match command::parse(line) {
            Ok(Command::Mail(mail)) => vec![mail.envid],
            Ok(Command::Rcpt(rcpt)) => vec![rcpt.notify, rcpt.orcpt],
            _ => continue,
        };
        for value in values.into_iter().flatten() {
            assert!(value.bytes().all(|byte| byte.is_ascii_graphic()), "{value:?} is no word");
            assert!(!value.is_empty() && value.len() < 1000, "{value:?} has no bound");
        }
    }
}

/// The octets between DATA and its end. They end at the first CRLF.CRLF and nowhere else, never hold
/// a bare CR or LF afterwards, and arrive unchanged at whoever decodes what we send on.
pub fn smtp_data(data: &[u8]) {
    let (seed, stream) = split_seed(data);
    let (message, used, ended) = decoded(&[stream]);
    let cut = decoded(&pieces(stream, seed));
    assert_eq!((&message, used, ended), (&cut.0, cut.1, cut.2), "depends on how it arrives");
    assert!(!has_bare_line_end(&message), "a bare line end in the message");
    let whole = [b"\r\n", stream].concat();
    let end = memchr::memmem::find(&whole, b"\r\n.\r\n").map(|at| at + 3);
    assert_eq!(ended.then_some(used), end, "it ends elsewhere than at CRLF.CRLF");
    check_onward(&message, seed);
    check_chunk(stream, seed);
}

fn decoded(pieces: &[&[u8]]) -> (Vec<u8>, usize, bool) {
    let (mut decoder, mut message, mut used) = (DataDecoder::default(), Vec::new(), 0);
    for piece in pieces {
        let fed = decoder.feed(piece, &mut |octets| message.extend_from_slice(octets));
        used += fed.used;
        if fed.ended {
            return (message, used, true);
        }
    }
    (message, used, false)
}

/// What goes to the next server is the same message, and nothing more.
fn check_onward(message: &[u8], seed: u8) {
    let (mut stuffer, mut wire) = (DotStuffer::new(), BytesMut::new());
    pieces(message, seed).into_iter().for_each(|piece| stuffer.feed(piece, &mut wire));
    stuffer.finish(&mut wire);
    let (again, used, ended) = decoded(&[&wire]);
    assert!(ended && used == wire.len(), "the next server sees commands in the message");
    let line_end: &[u8] =
        if message.is_empty() || message.ends_with(b"\r\n") { b"" } else { b"\r\n" };
    assert_eq!(again, [message, line_end].concat(), "the message changes on its way");
}

/// BDAT's octets: line ends are made clean, however they are cut, and nothing else is touched.
fn check_chunk(stream: &[u8], seed: u8) {
    let clean = |pieces: &[&[u8]]| {
        let (mut ends, mut out) = (LineEnds::default(), Vec::new());
        pieces.iter().for_each(|piece| ends.feed(piece, &mut |o| out.extend_from_slice(o)));
        ends.finish(&mut |octets| out.extend_from_slice(octets));
        out
    };
    let whole = clean(&[stream]);
    assert_eq!(whole, clean(&pieces(stream, seed)), "line ends depend on how they arrive");
    assert!(!has_bare_line_end(&whole));
    let text = |octets: &[u8]| -> Vec<u8> {
        octets.iter().copied().filter(|octet| !matches!(octet, b'\r' | b'\n')).collect()
    };
    assert_eq!(text(&whole), text(stream), "text is lost or added");
}

/// What a service answers: the cuts change nothing, and what we show of it is one printable line.
pub fn smtp_reply(data: &[u8]) {
    let (seed, stream) = split_seed(data);
    let whole = replies(&[stream]);
    assert_eq!(whole, replies(&pieces(stream, seed)), "replies depend on how they arrive");
    for reply in whole.iter().flatten() {
        assert!((200..600).contains(&reply.code));
        let shown = reply.to_string();
        assert!(!shown.contains(char::is_control), "a control in {shown:?}");
        assert!(!reply.text().contains(char::is_control));
        let _ = Extensions::from_reply(reply).offers_auth("XOAUTH2");
    }
}

fn replies(pieces: &[&[u8]]) -> Vec<Result<Reply, ReplyError>> {
    let (mut decoder, mut input) = (ReplyDecoder::new(), BytesMut::new());
    let mut replies = Vec::new();
    for piece in pieces {
        input.put_slice(piece);
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(reply)) => replies.push(Ok(reply)),
                Ok(None) => break,
                Err(error) => {
                    replies.push(Err(error));
                    return replies;
                }
            }
        }
    }
    replies
}
