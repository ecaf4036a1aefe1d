//! How deep the stack has been: its free part is painted, and looked at later.

use core::ptr;

/// What unused words hold.
const PAINT: u32 = 0xa5a5_5a5a;
/// Words below the painter's own frame that stay as they are.
const MARGIN: usize = 32;

unsafe extern "C" {
    /// Where the stack begins: above it is nothing. From the linker script of cortex-m-rt.
    static _stack_start: u32;
    /// The end of all statics.
    static __sheap: u32;
}

/// Paints the free part of the stack.
pub fn paint() {
    let here = 0_u32;
    let end = ptr::from_ref(&here).wrapping_sub(MARGIN);
    let mut word = (&raw const __sheap).cast_mut();
    while word.cast_const() < end {
        // SAFETY: from the end of the statics to below this frame nothing is used.
        unsafe { word.write_volatile(PAINT) };
        word = word.wrapping_add(1);
    }
}

/// Bytes of the stack that have been in use since [`paint`].
#[must_use]
pub fn high_water() -> usize {
    let start = &raw const _stack_start;
    let mut word = &raw const __sheap;
    // SAFETY: the words between the statics and the start of the stack can be read.
    while word < start && unsafe { word.read_volatile() } == PAINT {
        word = word.wrapping_add(1);
    }
    start.addr() - word.addr()
}
