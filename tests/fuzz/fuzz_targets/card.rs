//! Any text as a card, any bytes as the specifications that plans hold.
#![no_main]

use cygnet_sense::{AudioSpec, Card, ImageSpec};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = ImageSpec::from_bytes(bytes);
    let _ = AudioSpec::from_bytes(bytes);
    if let Ok(text) = core::str::from_utf8(bytes) {
        let _ = Card::parse(text);
    }
});
