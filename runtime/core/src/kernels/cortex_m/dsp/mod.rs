//! Armv7E-M and Armv8-M with the DSP extension and an FPU (Cortex-M4, M7, M33 and later).
//!
//! SMLAD multiplies two pairs of 16-bit numbers and adds both products; SXTB16 makes such a pair of bytes 0 and 2
//! of a word, and rotated by 8 of bytes 1 and 3. Loops are written in assembly: all registers but the stack pointer
//! are in use, and compilers give out fewer. Each function says `.cpu cortex-m33`, whose instructions of this kind are
//! those of M4 and M7, because the target thumbv8m.main has them only where the core is named.

mod add;
mod conv;
mod conv_i16;
mod copy;
mod depthwise;
mod depthwise_3x3;
mod depthwise_i16;
mod expand;
mod lines;
mod many;
mod operands;
mod pool;
mod single;
mod tile;

use crate::kernels::portable::PORTABLE;
use crate::kernels::{Kernels, KernelsI16};

static KERNELS: Kernels = DSP;

/// The set, for whoever knows that the CPU has the instructions.
pub(super) const DSP: Kernels = Kernels {
    name: "dsp",
    conv_i8: conv::conv,
    depthwise_i8: depthwise::depthwise,
    add_i8: add::add,
    pool_i8: pool::pool,
    reduce_i8: pool::reduce,
    i16: KernelsI16 { conv: conv_i16::conv, depthwise: depthwise_i16::depthwise, ..PORTABLE.i16 },
    ..PORTABLE
};

/// The set, when the CPU has the instructions.
pub(super) fn available() -> Option<&'static Kernels> {
    has_dsp().then_some(&KERNELS)
}

/// Whether there are SMLAD, SXTB16 and their like.
fn has_dsp() -> bool {
    // Registers of the Armv7-M and Armv8-M system control block: CPU identification, instruction set attributes 3.
    const CPUID: *const u32 = 0xe000_ed00 as *const u32;
    const ID_ISAR3: *const u32 = 0xe000_ed6c as *const u32;
    // SAFETY: the registers are there and can be read on every core that this module is compiled for.
    let (part, attributes) = unsafe { (CPUID.read_volatile() >> 4 & 0xfff, ID_ISAR3.read_volatile()) };
    // Every Cortex-M4 has them, though QEMU shows the attributes of an M3 for it.
    attributes >> 4 & 0xf == 3 || part == 0xc24
}
