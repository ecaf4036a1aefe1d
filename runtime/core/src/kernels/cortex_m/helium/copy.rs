//! Bytes from one place to another, 16 at a time.

use core::arch::naked_asm;

use super::is_present;

/// Copies as many bytes as both have. Without Helium it is what every other core does.
pub(in crate::kernels) fn copy(from: &[i8], to: &mut [i8]) {
    let count = from.len().min(to.len());
    if !is_present() {
        return to[..count].copy_from_slice(&from[..count]);
    }
    // SAFETY: the CPU has Helium, and both places have so many bytes.
    unsafe { copy_all(from.as_ptr(), to.as_mut_ptr(), count) };
}

/// Copies `count` bytes.
///
/// # Safety
/// The CPU has Helium; both places have so many bytes and do not overlap.
#[unsafe(naked)]
unsafe extern "C" fn copy_all(from: *const i8, to: *mut i8, count: usize) {
    naked_asm!(
        ".arch armv8.1-m.main",
        ".arch_extension mve.fp",
        "push {{r4, lr}}",
        "wlstp.8 lr, r2, 3f",
        "2:",
        "vldrb.u8 q0, [r0], #16",
        "vstrb.8 q0, [r1], #16",
        "letp lr, 2b",
        "3:",
        "pop {{r4, pc}}",
    )
}
