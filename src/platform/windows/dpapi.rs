//! The Data Protection API (dpapi.h): `CryptProtectData` and `CryptUnprotectData`.
//!
//! Danger: the functions answer with memory that is ours to free and to wipe, and may show a dialog
//! that nobody sees in a service. Rule: the answer is copied, wiped and freed in one place, and
//! dialogs are forbidden in every call.

// The two functions and `LocalFree` exist in this form only; each block has its proof.
#![allow(unsafe_code)]

use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_INVALID_DATA, GetLastError, LocalFree};
use windows_sys::Win32::Security::Cryptography::{
    CRYPT_INTEGER_BLOB, CRYPTPROTECT_LOCAL_MACHINE, CRYPTPROTECT_UI_FORBIDDEN, CryptProtectData,
    CryptUnprotectData,
};
use zeroize::{Zeroize, Zeroizing};

use super::super::{DpapiError, DpapiScope};

pub(in super::super) const HAS_DPAPI: bool = true;

/// `NTE_BAD_KEY_STATE`.
const BAD_KEY_STATE: u32 = 0x8009_000B;

pub(in super::super) fn dpapi_protect(
    data: &[u8],
    scope: DpapiScope,
) -> Result<Vec<u8>, DpapiError> {
    let scope = match scope {
        DpapiScope::User => 0,
        DpapiScope::Machine => CRYPTPROTECT_LOCAL_MACHINE,
    };
    let input = borrowed(data)?;
    let mut output = empty();
    // SAFETY: `input` points to `data`, which outlives the call and is only read (dpapi.h: pDataIn is
    // _In_). The optional pointers may be null, and `output` is a valid blob to be filled.
    let done = unsafe {
        CryptProtectData(
            &raw const input,
            ptr::null(),
            ptr::null(),
            ptr::null(),
            ptr::null(),
            CRYPTPROTECT_UI_FORBIDDEN | scope,
            &raw mut output,
        )
    };
    Ok(answer(done, output)?.to_vec())
}

pub(in super::super) fn dpapi_open(blob: &[u8]) -> Result<Zeroizing<Vec<u8>>, DpapiError> {
    let input = borrowed(blob)?;
    let mut output = empty();
    // SAFETY: as above; a null description pointer means that it is not wanted.
    let done = unsafe {
        CryptUnprotectData(
            &raw const input,
            ptr::null_mut(),
            ptr::null(),
            ptr::null(),
            ptr::null(),
            CRYPTPROTECT_UI_FORBIDDEN,
            &raw mut output,
        )
    };
    answer(done, output)
}

/// The functions take mutable pointers and only read.
fn borrowed(data: &[u8]) -> Result<CRYPT_INTEGER_BLOB, DpapiError> {
    let length = u32::try_from(data.len()).map_err(|_| DpapiError::Damaged)?;
    Ok(CRYPT_INTEGER_BLOB { cbData: length, pbData: data.as_ptr().cast_mut() })
}

fn empty() -> CRYPT_INTEGER_BLOB {
    CRYPT_INTEGER_BLOB { cbData: 0, pbData: ptr::null_mut() }
}

/// Copies, wipes and frees.
fn answer(done: i32, output: CRYPT_INTEGER_BLOB) -> Result<Zeroizing<Vec<u8>>, DpapiError> {
    if done == 0 {
        // SAFETY: reads this thread's last error; no precondition.
        return Err(explain(unsafe { GetLastError() }));
    }
    if output.pbData.is_null() {
        return Ok(Zeroizing::default());
    }
    let length = usize::try_from(output.cbData).unwrap_or(0);
    // SAFETY: on success the function has filled `output` with memory of that length that only we
    // know of, and that stays until `LocalFree` (dpapi.h).
    let bytes = unsafe { std::slice::from_raw_parts_mut(output.pbData, length) };
    let copy = Zeroizing::new(bytes.to_vec());
    bytes.zeroize();
    // SAFETY: allocated by `LocalAlloc` in the call, freed once, and `bytes` is not used any more.
    unsafe { LocalFree(output.pbData.cast()) };
    Ok(copy)
}

fn explain(code: u32) -> DpapiError {
    match code {
        BAD_KEY_STATE => DpapiError::OtherKey,
        ERROR_INVALID_DATA => DpapiError::Damaged,
        code => DpapiError::Refused(code),
    }
}
