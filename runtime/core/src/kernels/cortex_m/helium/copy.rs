//! Bytes from one place to another, 16 at a time.

use core::arch::naked_asm;

/// Copies as many bytes as both places have room for, on a CPU with Helium.
pub(super) fn copy(to: &mut [i8], from: &[i8]) {
    // SAFETY: both places have so many bytes, and `to` is nobody else's.
    unsafe { copy_all(to.as_mut_ptr(), from.as_ptr(), to.len().min(from.len())) };
}

/// Copies `count` bytes.
///
/// # Safety
/// The CPU has Helium; both places have so many bytes and do not overlap.
#[unsafe(naked)]
unsafe extern "C" fn copy_all(to: *mut i8, from: *const i8, count: usize) {
    naked_asm!(
        ".arch armv8.1-m.main",
        ".arch_extension mve.fp",
        "push {{r4, lr}}",
        "wlstp.8 lr, r2, 3f",
        "2:",
        "vldrb.u8 q0, [r1], #16",
        "vstrb.8 q0, [r0], #16",
        "letp lr, 2b",
        "3:",
        "pop {{r4, pc}}",
    )
}
