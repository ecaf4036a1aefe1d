//! Any bytes as a plan, checksum and length made right: refused, or run without a panic.
#![no_main]

use cygnet_core::bytes::checksum;
use cygnet_core::plan::CHECKSUM_FROM;
use cygnet_core::{Plan, Session};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    if bytes.len() > CHECKSUM_FROM {
        let length = (bytes.len() as u32).to_le_bytes();
        bytes[8..12].copy_from_slice(&length);
        let sum = checksum(&bytes[CHECKSUM_FROM..]).to_le_bytes();
        bytes[12..16].copy_from_slice(&sum);
    }
    let Ok(plan) = Plan::parse(&bytes) else { return };
    if plan.arena_bytes() > 1 << 24 {
        return;
    }
    let mut arena = vec![0_u8; plan.arena_bytes() + 16];
    let start = arena.as_ptr().align_offset(16);
    let Ok(mut session) = Session::new(plan, &mut arena[start..]) else { return };
    let _ = session.run();
});
