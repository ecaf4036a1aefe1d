//! Any bytes as a NumPy file or a recording.
#![no_main]

use cygnet::input::{Sound, read_arrays};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = tempfile::NamedTempFile::new() else { return };
    if std::fs::write(file.path(), bytes).is_ok() {
        let _ = read_arrays(file.path());
        let _ = Sound::open(file.path());
    }
});
