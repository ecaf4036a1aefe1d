//! Files mapped into memory.

use std::fs::File;
use std::io;

use memmap2::Mmap;

/// Maps a whole file to be read.
///
/// # Errors
/// What the system says.
pub(crate) fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the bytes must not change while they are mapped. We only read; that others leave the file alone is the
    // documented duty of the caller, as for every program that is mapped and run.
    unsafe { Mmap::map(file) }
}
