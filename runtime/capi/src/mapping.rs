//! Plans in files, where there are files.

use core::ffi::{CStr, c_char};

use crate::boundary::{Outcome, check};
use crate::status::CygnetStatus;

/// A file that is mapped as long as this lives.
#[cfg(feature = "std")]
pub(crate) type Mapping = memmap2::Mmap;
/// There is none.
#[cfg(not(feature = "std"))]
pub(crate) enum Mapping {}

/// Maps the file of a name.
///
/// # Safety
/// A name that is not null ends in a zero. Nobody changes the file as long as it is mapped.
pub(crate) unsafe fn map(path: *const c_char) -> Outcome<Mapping> {
    check(path)?;
    // SAFETY: the caller's duty.
    let path = unsafe { CStr::from_ptr(path) };
    open(path)
}

#[cfg(feature = "std")]
fn open(path: &CStr) -> Outcome<Mapping> {
    let refused = |_| CygnetStatus::File;
    #[cfg(unix)]
    let path = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(path.to_bytes());
    #[cfg(not(unix))]
    let path = path.to_str().map_err(|_| CygnetStatus::File)?;
    let file = std::fs::File::open(path).map_err(refused)?;
    // SAFETY: that the file stays as it is, is the duty of the caller.
    unsafe { Mapping::map(&file) }.map_err(refused)
}

#[cfg(not(feature = "std"))]
fn open(_: &CStr) -> Outcome<Mapping> {
    Err(CygnetStatus::NoFiles)
}

/// The bytes of a file, for as long as it stays mapped.
#[cfg(feature = "std")]
pub(crate) fn bytes(mapping: &Mapping) -> &[u8] {
    mapping
}

#[cfg(not(feature = "std"))]
pub(crate) fn bytes(mapping: &Mapping) -> &[u8] {
    match *mapping {}
}
