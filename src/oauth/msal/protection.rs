//! In which protection a cache file lies (facts/msal-cache.md section 4).
//!
//! Danger: a file that is taken for empty, or is written back in another protection, ends the
//! sign-ins of every program that shares it. Rule: a file is recognised by its first bytes, what is
//! not recognised is refused with the reason, and what is written is protected as it was found.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::sealed::{self, SealError};
use crate::platform::{self, DpapiError, DpapiScope};

/// What every DPAPI blob begins with: version 1 and the provider
/// `df9d8cd0-1501-11d1-8c7a-00c04fc297eb`, little-endian.
const DPAPI: &[u8] = &[
    0x01, 0x00, 0x00, 0x00, 0xD0, 0x8C, 0x9D, 0xDF, 0x01, 0x15, 0xD1, 0x11, 0x8C, 0x7A, 0x00, 0xC0,
    0x4F, 0xC2, 0x97, 0xEB,
];

/// The same as base64, as far as its first 18 bytes decide it.
const DPAPI_BASE64: &[u8] = b"AQAAANCMnd8BFdERjHoAwE/C";

/// Where the blob's flags stand, and the one that says LocalMachine.
const DPAPI_FLAGS_AT: usize = 40;
const DPAPI_MACHINE: u8 = 0x4;

/// The mark that some editors put before UTF-8.
pub(super) const BYTE_ORDER_MARK: &[u8] = &[0xEF, 0xBB, 0xBF];

/// ADAL's own format: a version as a little-endian number, then the count of entries.
const ADAL_VERSIONS: std::ops::RangeInclusive<u8> = 2..=3;

/// How the file is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Plain JSON: whoever can read the file can read mail.
    Plain,
    /// Sealed with `Proxy.Tokens.KeyFile` (AES-256-GCM).
    Sealed,
    /// DPAPI of one Windows user.
    DpapiUser,
    /// DPAPI of the computer.
    DpapiMachine,
}

impl Protection {
    /// That of a new file.
    pub(super) const NEW: Self =
        if platform::HAS_DPAPI { Self::DpapiMachine } else { Self::Sealed };
}

impl std::fmt::Display for Protection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain JSON",
            Self::Sealed => "sealed with Proxy.Tokens.KeyFile",
            Self::DpapiUser => "DPAPI, one user",
            Self::DpapiMachine => "DPAPI, this computer",
        })
    }
}

/// Why a file is not opened or not made. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProtectionError {
    /// The key file's.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// DPAPI on a system that has none.
    #[error(
        "it was protected with DPAPI on a Windows computer and can be opened only there; sign the \
         accounts in again here, into another file (CacheFileName)"
    )]
    DpapiElsewhere,
    /// Windows refuses.
    #[error(
        "DPAPI does not open it: {0}; run authbridge as the user who has made the file, or sign \
         the accounts in again into another file (CacheFileName)"
    )]
    Dpapi(DpapiError),
    /// Windows refuses to protect.
    #[error("DPAPI does not protect it: {0}")]
    Protect(DpapiError),
    /// An old library's.
    #[error(
        "it is a cache of ADAL, which MSAL has replaced; let the program that has made it move to \
         MSAL, or sign the accounts in again into another file (CacheFileName)"
    )]
    Adal,
    /// None of the above.
    #[error(
        "it is neither MSAL's JSON nor protected by DPAPI or authbridge: perhaps another program's \
         own encryption; sign the accounts in again into another file (CacheFileName)"
    )]
    Unknown,
}

/// The protection, and whether the blob is written as base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wrapping {
    pub protection: Protection,
    pub is_base64: bool,
}

impl Wrapping {
    /// That of a new file.
    pub(super) const NEW: Self = Self { protection: Protection::NEW, is_base64: false };

    /// From the first bytes; `None` for a file without content, which counts as new.
    pub(super) fn recognise(content: &[u8]) -> Result<Option<Self>, ProtectionError> {
        let plain = Self { protection: Protection::Plain, is_base64: false };
        let text = content.strip_prefix(BYTE_ORDER_MARK).unwrap_or(content).trim_ascii_start();
        if text.is_empty() {
            return Ok(None);
        }
        if content.starts_with(sealed::MAGIC) {
            return Ok(Some(Self { protection: Protection::Sealed, ..plain }));
        }
        if content.starts_with(DPAPI) {
            return Ok(Some(Self { protection: scope(content), ..plain }));
        }
        if text.starts_with(DPAPI_BASE64) {
            let protection = scope(&decode(text)?);
            return Ok(Some(Self { protection, is_base64: true }));
        }
        match content {
            // Whether it is MSAL's is for the parser to say.
            _ if matches!(text[0], b'{' | b'[') => Ok(Some(plain)),
            [version, 0, 0, 0, ..] if ADAL_VERSIONS.contains(version) => Err(ProtectionError::Adal),
            _ => Err(ProtectionError::Unknown),
        }
    }

    /// What is inside.
    pub(super) fn open(
        self,
        content: &[u8],
        key_file: &Path,
    ) -> Result<Zeroizing<Vec<u8>>, ProtectionError> {
        match self.protection {
            Protection::Plain => Ok(Zeroizing::new(content.to_vec())),
            Protection::Sealed => Ok(sealed::open(content, key_file)?),
            Protection::DpapiUser | Protection::DpapiMachine => {
                let opened = match self.is_base64 {
                    true => platform::dpapi_open(&decode(content)?),
                    false => platform::dpapi_open(content),
                };
                let text = opened.map_err(|error| match error {
                    DpapiError::Absent => ProtectionError::DpapiElsewhere,
                    error => ProtectionError::Dpapi(error),
                })?;
                match text.as_slice() {
                    [version, 0, 0, 0, ..] if ADAL_VERSIONS.contains(version) => {
                        Err(ProtectionError::Adal)
                    }
                    _ => Ok(text),
                }
            }
        }
    }

    /// What is to be written.
    pub(super) fn close(
        self,
        json: &[u8],
        key_file: &Path,
    ) -> Result<Zeroizing<Vec<u8>>, ProtectionError> {
        let scope = match self.protection {
            Protection::Plain => return Ok(Zeroizing::new(json.to_vec())),
            Protection::Sealed => return Ok(Zeroizing::new(sealed::seal(json, key_file)?)),
            Protection::DpapiUser => DpapiScope::User,
            Protection::DpapiMachine => DpapiScope::Machine,
        };
        let blob = platform::dpapi_protect(json, scope).map_err(ProtectionError::Protect)?;
        Ok(Zeroizing::new(match self.is_base64 {
            true => STANDARD.encode(blob).into_bytes(),
            false => blob,
        }))
    }
}

/// The blob says who can open it, without being opened.
fn scope(blob: &[u8]) -> Protection {
    match blob.get(DPAPI_FLAGS_AT) {
        Some(flags) if flags & DPAPI_MACHINE != 0 => Protection::DpapiMachine,
        _ => Protection::DpapiUser,
    }
}

/// Base64 in one line or in many.
fn decode(text: &[u8]) -> Result<Vec<u8>, ProtectionError> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let digits: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STANDARD.decode(digits).map_err(|_| ProtectionError::Dpapi(DpapiError::Damaged))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A blob's header, with those flags.
    pub(in super::super) fn blob(flags: u8) -> Vec<u8> {
        let mut blob = DPAPI.to_vec();
        blob.resize(DPAPI_FLAGS_AT, 7);
        blob.extend([flags, 0, 0, 0, 2, 0, 0, 0, 0, 0]);
        blob
    }

    #[test]
    fn files_are_recognised_by_their_first_bytes() {
        use Protection::*;
        let base64 = |flags| STANDARD.encode(blob(flags)).into_bytes();
        let is = |protection, is_base64| Some(Wrapping { protection, is_base64 });
        for (content, expected) in [
            (b"".to_vec(), None),
            (b" \r\n".to_vec(), None),
            (b"\xEF\xBB\xBF".to_vec(), None),
            (b"{}".to_vec(), is(Plain, false)),
            (b"\xEF\xBB\xBF\r\n {".to_vec(), is(Plain, false)),
            (b"[".to_vec(), is(Plain, false)),
            (b"authbridge cache\x01".to_vec(), is(Sealed, false)),
            (blob(0), is(DpapiUser, false)),
            (blob(4), is(DpapiMachine, false)),
            (blob(0x14), is(DpapiMachine, false)),
            (base64(4), is(DpapiMachine, true)),
            ([b"\n", &base64(0)[..40], b"\r\n", &base64(0)[40..]].concat(), is(DpapiUser, true)),
            (DPAPI.to_vec(), is(DpapiUser, false)),
        ] {
            let found = Wrapping::recognise(&content).expect("recognised");
            assert_eq!(found, expected, "{content:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused_with_the_fix() {
        for (content, word) in [
            (&b"\x03\x00\x00\x00\x01\x00\x00\x00"[..], "ADAL"),
            (b"\x02\x00\x00\x00", "ADAL"),
            (b"\x04\x00\x00\x00", "neither"),
            (b"CfDJ8N", "neither"),
            (b"\x01\x00\x00\x00\xD0\x8C", "neither"),
            (b"<xml>", "neither"),
        ] {
            let error = Wrapping::recognise(content).expect_err("refused").to_string();
            assert!(error.contains(word) && error.contains("another file"), "{error}");
        }
    }

    #[test]
    fn a_new_file_opens_again() {
        let folder = tempfile::tempdir().expect("folder");
        let key = folder.path().join("key");
        let plain = Wrapping { protection: Protection::Plain, is_base64: false };
        for wrapping in [Wrapping::NEW, plain] {
            let closed = wrapping.close(b"{\"a\":1}", &key).expect("closed");
            let found = Wrapping::recognise(&closed).expect("recognised");
            assert_eq!(found, Some(wrapping));
            assert_eq!(**wrapping.open(&closed, &key).expect("opened"), *b"{\"a\":1}");
        }
    }

    #[test]
    fn dpapi_is_explained_where_there_is_none_and_kept_where_there_is() {
        let key = Path::new("no/key");
        for (flags, is_base64) in [(0, false), (4, false), (0, true), (4, true)] {
            let wrapping = Wrapping { protection: scope(&blob(flags)), is_base64 };
            if !platform::HAS_DPAPI {
                let content = match is_base64 {
                    true => STANDARD.encode(blob(flags)).into_bytes(),
                    false => blob(flags),
                };
                let error = wrapping.open(&content, key).expect_err("elsewhere").to_string();
                assert!(error.contains("DPAPI on a Windows computer"), "{error}");
                assert!(wrapping.close(b"{}", key).is_err());
                continue;
            }
            let closed = wrapping.close(b"{}", key).expect("protected");
            assert_eq!(Wrapping::recognise(&closed).expect("recognised"), Some(wrapping));
            assert_eq!(**wrapping.open(&closed, key).expect("opened"), *b"{}");
        }
    }
}
