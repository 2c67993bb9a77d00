//! Sealing with a key file, where there is no DPAPI.
//!
//! AES-256-GCM (NIST SP 800-38D) with a random nonce for every write; the header, which names the
//! version and the key, is additional data. Danger: a key that is made anew over a cache that an
//! older one has sealed loses every sign-in; a damaged file that is taken for another key's sends
//! the administrator looking for the wrong thing. Rule: a key is made only where nothing is sealed
//! yet, two processes that start at once end with one, and the header says whose key it was.

use std::io::{self, Read, Write};
use std::path::Path;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::{Zeroize, Zeroizing};

use crate::platform;

/// What a sealed file begins with; no JSON and no DPAPI blob does.
pub(super) const MAGIC: &[u8] = b"authbridge cache";

/// Of this layout: magic, version, key id, nonce, sealed text with its tag.
const VERSION: u8 = 1;

/// Enough to tell keys apart, and nothing about them.
const KEY_ID_BYTES: usize = 8;

const HEADER_BYTES: usize = MAGIC.len() + 1 + KEY_ID_BYTES + NONCE_LEN;

const KEY_BYTES: usize = 32;

/// Far above 64 hexadecimal digits with white space.
const MAX_KEY_FILE_BYTES: u64 = 1024;

/// Keys are pasted from many tools: with or without padding.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// What the key file holds.
pub(super) struct Key(Zeroizing<[u8; KEY_BYTES]>);

/// Why a sealed cache is not opened or made. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum SealError {
    /// There is a sealed cache, but no key.
    #[error(
        "its key {0} (Proxy.Tokens.KeyFile) does not exist; put the key file back, or delete the \
         cache and sign the accounts in again"
    )]
    NoKey(String),
    /// The key file can't be read or made.
    #[error("its key {0} (Proxy.Tokens.KeyFile) can't be {1}: {2}")]
    KeyFile(String, &'static str, io::Error),
    /// The key file holds something else.
    #[error(
        "the key file {0} (Proxy.Tokens.KeyFile) does not hold 32 bytes as base64, hexadecimal \
         digits or as they are; put the right one back, or delete key file and cache and sign the \
         accounts in again"
    )]
    NoKeyInFile(String),
    /// Another key's.
    #[error(
        "another key than {0} (Proxy.Tokens.KeyFile) has sealed it; put that key back, or delete \
         the cache and sign the accounts in again"
    )]
    OtherKey(String),
    /// The tag does not match.
    #[error(
        "it is damaged: its key fits, its content was changed or cut off; restore it from a \
         backup, or delete it and sign the accounts in again"
    )]
    Damaged,
    /// A later version's.
    #[error("a newer version of authbridge has sealed it; use that version, or delete the cache")]
    Newer,
    /// The system has no random numbers, or the text is larger than the cipher takes.
    #[error("the system's cryptography does not work")]
    Cryptography,
}

/// Opens a sealed file.
pub(super) fn open(sealed: &[u8], key_file: &Path) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let header = sealed.get(..HEADER_BYTES).ok_or(SealError::Damaged)?;
    if header[MAGIC.len()] != VERSION {
        return Err(SealError::Newer);
    }
    let key = Key::read(key_file)?.ok_or_else(|| SealError::NoKey(shown(key_file)))?;
    if header[MAGIC.len() + 1..][..KEY_ID_BYTES] != key.id() {
        return Err(SealError::OtherKey(shown(key_file)));
    }
    let nonce = &header[HEADER_BYTES - NONCE_LEN..];
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Damaged)?;
    let mut text = Zeroizing::new(sealed[HEADER_BYTES..].to_vec());
    let opened = key.cipher()?.open_in_place(nonce, Aad::from(header), &mut text);
    let length = opened.map_err(|_| SealError::Damaged)?.len();
    // What is cut off is the tag, no secret.
    text.truncate(length);
    Ok(text)
}

/// Seals with the key of that file, which is made when there is none.
pub(super) fn seal(text: &[u8], key_file: &Path) -> Result<Vec<u8>, SealError> {
    let key = Key::read_or_make(key_file)?;
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).map_err(|_| SealError::Cryptography)?;
    let header = [MAGIC, &[VERSION], &key.id(), &nonce].concat();
    // With room for the tag, so that growing leaves no copy of the text behind.
    let mut sealed = Zeroizing::new(Vec::with_capacity(text.len() + AES_256_GCM.tag_len()));
    sealed.extend_from_slice(text);
    let nonce = Nonce::assume_unique_for_key(nonce);
    key.cipher()?
        .seal_in_place_append_tag(nonce, Aad::from(&header), &mut *sealed)
        .map_err(|_| SealError::Cryptography)?;
    Ok([&header[..], &sealed[..]].concat())
}

impl Key {
    /// `None` when there is no such file.
    fn read(path: &Path) -> Result<Option<Self>, SealError> {
        let file = match platform::open_regular(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(SealError::KeyFile(shown(path), "read", error)),
        };
        let failed = |error| SealError::KeyFile(shown(path), "read", error);
        let metadata = file.metadata().map_err(failed)?;
        if platform::is_planted(&metadata, super::file::folder_of(path)) {
            let planted = "another user has put it into a folder in which everybody may make files";
            return Err(failed(io::Error::other(planted)));
        }
        let mut content = Zeroizing::new(Vec::with_capacity(2048));
        file.take(MAX_KEY_FILE_BYTES).read_to_end(&mut content).map_err(failed)?;
        let key = Self::parse(&content).ok_or_else(|| SealError::NoKeyInFile(shown(path)))?;
        Ok(Some(key))
    }

    fn read_or_make(path: &Path) -> Result<Self, SealError> {
        if let Some(key) = Self::read(path)? {
            return Ok(key);
        }
        let failed = |error| SealError::KeyFile(shown(path), "made", error);
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        SystemRandom::new().fill(&mut key[..]).map_err(|_| SealError::Cryptography)?;
        match make(path, &key) {
            Ok(()) => Ok(Self(key)),
            // Another process has made one first.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Self::read(path)?.ok_or_else(|| failed(error))
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn parse(content: &[u8]) -> Option<Self> {
        if let Ok(raw) = <[u8; KEY_BYTES]>::try_from(content) {
            return Some(Self(Zeroizing::new(raw)));
        }
        let text = std::str::from_utf8(content).ok()?.trim();
        let bytes = Zeroizing::new(match text.len() == 2 * KEY_BYTES {
            true => hexadecimal(text)?,
            false => BASE64.decode(text).or_else(|_| BASE64_URL.decode(text)).ok()?,
        });
        bytes.as_slice().try_into().ok().map(|key| Self(Zeroizing::new(key)))
    }

    fn id(&self) -> [u8; KEY_ID_BYTES] {
        let mut hashed = Zeroizing::new(b"authbridge key id ".to_vec());
        hashed.reserve_exact(KEY_BYTES);
        hashed.extend_from_slice(&self.0[..]);
        let mut id = [0; KEY_ID_BYTES];
        id.copy_from_slice(&digest(&SHA256, &hashed).as_ref()[..KEY_ID_BYTES]);
        id
    }

    fn cipher(&self) -> Result<LessSafeKey, SealError> {
        let key =
            UnboundKey::new(&AES_256_GCM, &self.0[..]).map_err(|_| SealError::Cryptography)?;
        Ok(LessSafeKey::new(key))
    }
}

/// Complete before it has its name, so that nobody reads half a key; never over another one.
fn make(path: &Path, key: &[u8; KEY_BYTES]) -> io::Result<()> {
    let folder = super::file::folder_of(path);
    platform::create_private_directory(folder)?;
    let mut file = tempfile::Builder::new().prefix(".authbridge-key.").tempfile_in(folder)?;
    let mut line = BASE64.encode(key);
    line.push('\n');
    let written = file.write_all(line.as_bytes());
    line.zeroize();
    written?;
    platform::belong_to_folder(file.as_file(), folder)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|refused| refused.error)?;
    platform::sync_directory(folder)
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks_exact(2);
    let byte = |pair: &[u8]| u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok();
    pairs.map(byte).collect()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("folder")
    }

    #[test]
    fn what_is_sealed_is_opened_and_never_looks_the_same() {
        let folder = folder();
        let key = folder.path().join("new/state/tokens.key");
        let one = seal(b"hunter2", &key).expect("sealed");
        let other = seal(b"hunter2", &key).expect("sealed");
        assert_ne!(one, other);
        assert!(!one.windows(7).any(|window| window == b"hunter2"));
        for sealed in [one, other] {
            assert_eq!(*open(&sealed, &key).expect("opened"), b"hunter2");
        }
        let line = std::fs::read_to_string(&key).expect("made");
        assert_eq!((line.len(), line.ends_with('\n')), (45, true));
        let facts = std::fs::metadata(&key).expect("there");
        assert!(!platform::others_may_read(&facts));
        let names = std::fs::read_dir(key.parent().expect("folder")).expect("listed").count();
        assert_eq!(names, 1, "nothing temporary is left");
    }

    #[test]
    fn every_changed_octet_is_noticed() {
        let folder = folder();
        let key = folder.path().join("key");
        let sealed = seal(b"{}", &key).expect("sealed");
        for index in MAGIC.len()..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert!(open(&changed, &key).is_err(), "octet {index}");
        }
        for length in 0..sealed.len() {
            assert!(open(&sealed[..length], &key).is_err(), "{length} octets");
        }
    }

    #[test]
    fn another_key_is_told_from_damage_and_from_no_key() {
        let folder = folder();
        let (key, other) = (folder.path().join("key"), folder.path().join("other"));
        let sealed = seal(b"{}", &key).expect("sealed");
        seal(b"{}", &other).expect("sealed");
        let error = open(&sealed, &other).expect_err("other").to_string();
        assert!(error.contains("another key than") && error.contains("KeyFile"), "{error}");
        let mut damaged = sealed.clone();
        damaged[HEADER_BYTES] ^= 1;
        let error = open(&damaged, &key).expect_err("damaged").to_string();
        assert!(error.contains("damaged") && !error.contains("another key"), "{error}");
        let gone = folder.path().join("gone");
        let error = open(&sealed, &gone).expect_err("no key").to_string();
        assert!(error.contains("gone (Proxy.Tokens.KeyFile) does not exist"), "{error}");
        assert!(!gone.exists(), "reading makes no key");
        let mut newer = sealed;
        newer[MAGIC.len()] = 9;
        assert!(matches!(open(&newer, &key), Err(SealError::Newer)));
    }

    #[test]
    fn keys_are_read_as_administrators_write_them() {
        let raw: Vec<u8> = (200..232).collect();
        let hex: String = raw.iter().map(|byte| format!("{byte:02X}")).collect();
        let padded = BASE64.encode(&raw);
        let unpadded = padded.trim_end_matches('=').to_owned();
        let url = BASE64_URL.encode(&raw);
        let good = [raw.clone(), hex.into(), padded.into(), unpadded.into(), url.into()];
        for content in &good {
            for end in ["", "\n", "\r\n"].iter().take(if content.len() == 32 { 1 } else { 3 }) {
                let content = [content, end.as_bytes()].concat();
                let key = Key::parse(&content).map(|key| key.0.to_vec());
                assert_eq!(key.as_ref(), Some(&raw), "{content:?}");
            }
        }
        for bad in ["", "\n", "c2hvcnQ=", "zz", &"0".repeat(63), &"x".repeat(64), &"A".repeat(100)]
        {
            assert!(Key::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_key_file_that_holds_none_is_named_and_kept() {
        let folder = folder();
        let key = folder.path().join("key");
        std::fs::write(&key, "hunter2").expect("written");
        let error = seal(b"{}", &key).map(|_| ()).expect_err("refused").to_string();
        assert!(error.contains("(Proxy.Tokens.KeyFile) does not hold 32 bytes"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        assert_eq!(std::fs::read_to_string(&key).expect("kept"), "hunter2");
        let error = seal(b"{}", folder.path()).map(|_| ()).expect_err("a folder").to_string();
        assert!(error.contains("can't be read"), "{error}");
    }

    #[test]
    fn two_that_start_at_once_end_with_one_key() {
        let folder = folder();
        let key = folder.path().join("key");
        let sealed: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| seal(b"x", &key).expect("sealed"))).collect();
            threads.into_iter().map(|thread| thread.join().expect("ended")).collect()
        });
        for sealed in sealed {
            assert_eq!(*open(&sealed, &key).expect("the same key"), b"x");
        }
    }
}
