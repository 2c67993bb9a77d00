//! A client that sends exactly what a test says and reads lines and octets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::harness::PATIENCE;

/// A connection without TLS. Reading longer than [`PATIENCE`] fails the test.
pub struct Talk {
    stream: BufReader<TcpStream>,
}

impl Talk {
    pub fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    pub fn send(&mut self, text: &str) {
        self.send_octets(text.as_bytes());
    }

    pub fn send_octets(&mut self, octets: &[u8]) {
        self.stream.get_mut().write_all(octets).unwrap();
    }

    /// A line without its CRLF; empty at the end of the stream.
    pub fn line(&mut self) -> String {
        let line = self.raw_line();
        let text = String::from_utf8_lossy(&line);
        assert!(line.is_empty() || line.ends_with(b"\r\n"), "half a line: {text}");
        text.trim_end_matches("\r\n").to_owned()
    }

    /// A line with its end.
    pub fn raw_line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).unwrap();
        line
    }

    /// Lines up to and with the first one that starts so.
    pub fn until(&mut self, start: &str) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        while !lines.last().is_some_and(|line| line.starts_with(start)) {
            let line = self.raw_line();
            assert!(!line.is_empty(), "closed before {start:?}: {lines:?}");
            lines.push(String::from_utf8_lossy(&line).trim_end_matches("\r\n").to_owned());
        }
        lines
    }

    /// Sends a line and reads one.
    pub fn ask(&mut self, line: &str) -> String {
        self.send(&format!("{line}\r\n"));
        self.line()
    }

    pub fn exact(&mut self, octets: usize) -> Vec<u8> {
        let mut read = vec![0; octets];
        self.stream.read_exact(&mut read).unwrap();
        read
    }

    /// Everything up to the end of the stream.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).unwrap();
        rest
    }

    /// As [`Talk::send`], to somebody who may close in the middle.
    pub fn send_what_is_taken(&mut self, octets: &[u8]) {
        let _ = self.stream.get_mut().write_all(octets);
    }

    /// As [`Talk::finish`], likewise.
    pub fn finish_if_open(&mut self) {
        let _ = self.stream.get_ref().shutdown(Shutdown::Write);
    }

    /// Everything up to the end or a reset of the stream.
    pub fn rest_or_reset(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        if let Err(error) = self.stream.read_to_end(&mut rest) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
        rest
    }

    /// The other side closes or resets the connection; what it still says is dropped. If it does
    /// not, reading fails the test.
    pub fn assert_closed(&mut self) {
        self.rest_or_reset();
    }

    /// Says that nothing more will be sent.
    pub fn finish(&mut self) {
        self.stream.get_ref().shutdown(Shutdown::Write).unwrap();
    }
}
