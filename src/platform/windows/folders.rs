//! Folders on Windows that strangers can't look into.
//!
//! Danger: what is made below `C:\ProgramData` may be read, and added to, by every local user. Rule:
//! the first folder that we make gets a list of its own, which those below it inherit; one that is
//! there stays as its administrator has made it.

// `CreateDirectoryW` takes an access list, the standard library none; each block has its proof.
#![allow(unsafe_code)]

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{PSECURITY_DESCRIPTOR, SECURITY_ATTRIBUTES};
use windows_sys::Win32::Storage::FileSystem::CreateDirectoryW;

/// Protected from what is inherited: SYSTEM, Administrators and the owner, for all that is inside.
const CLOSED: &str = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;OW)";

pub(in super::super) fn create_private_directory(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let missing = path.ancestors().take_while(|above| !above.as_os_str().is_empty());
    let first = missing.take_while(|above| !above.is_dir()).last();
    if let Some(first) = first {
        match create_closed(first) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            done => done?,
        }
    }
    fs::create_dir_all(path)
}

fn create_closed(path: &Path) -> io::Result<()> {
    let (list, name) = (wide(OsStr::new(CLOSED)), wide(path.as_os_str()));
    let mut descriptor: PSECURITY_DESCRIPTOR = ptr::null_mut();
    // SAFETY: `list` ends with a zero and outlives the call; the size may be null (sddl.h).
    let made = unsafe {
        ConvertStringSecurityDescriptorToSecurityDescriptorW(
            list.as_ptr(),
            SDDL_REVISION_1,
            &raw mut descriptor,
            ptr::null_mut(),
        )
    };
    if made == 0 {
        return Err(io::Error::last_os_error());
    }
    let attributes = SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: descriptor,
        bInheritHandle: 0,
    };
    // SAFETY: `name` ends with a zero; `attributes` and its descriptor are valid until freed below.
    let done = unsafe { CreateDirectoryW(name.as_ptr(), &raw const attributes) };
    let result = if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
    // SAFETY: allocated by the conversion, freed once, not used afterwards.
    unsafe { LocalFree(descriptor) };
    result
}

fn wide(text: &OsStr) -> Vec<u16> {
    text.encode_wide().chain([0]).collect()
}
