//! Armv8.1-M cores with Helium, the M-profile vector extension with floats: Cortex-M55 and M85.
//!
//! VMLADAVA multiplies 16 bytes with 16 others and adds the products to one general register; a gathering VLDRW
//! picks 16 weights of one channel, four by four, out of the one layout of weights. Of int16 it multiplies eight, and a
//! gathering VLDRB makes weights as wide.

mod conv;
mod conv_i16;
mod copy;
mod depthwise;
mod elementwise;
mod octets;
mod pack;
mod patch;
mod piece;
mod pool;
mod taps;
mod tile;

use crate::kernels::portable::PORTABLE;
use crate::kernels::{Kernels, KernelsI16};

static KERNELS: Kernels = HELIUM;

/// The set, for whoever knows that the CPU has the instructions.
pub(super) const HELIUM: Kernels = Kernels {
    name: "helium",
    conv_i8: conv::conv,
    depthwise_i8: depthwise::depthwise,
    add_i8: elementwise::add,
    mul_i8: elementwise::mul,
    table: elementwise::table,
    pool_i8: pool::pool,
    reduce_i8: pool::reduce,
    i16: KernelsI16 { conv: conv_i16::conv, ..PORTABLE.i16 },
    ..PORTABLE
};

/// The set, where the CPU has the instructions.
pub(super) fn available() -> Option<&'static Kernels> {
    is_present().then_some(&KERNELS)
}

/// Whether the CPU has vectors of integers and floats.
fn is_present() -> bool {
    /// Media and VFP feature register 1 of Armv8.1-M; reads as zero on cores without a floating point unit.
    const MVFR1: *const u32 = core::ptr::without_provenance(0xe000_ef44);
    /// Bits of the field that names the vector extension, and its value for integers and floats.
    const MVE: (u32, u32) = (8, 2);
    // SAFETY: the register is there on every Armv7-M and Armv8-M core with the same address, and only read.
    let features = unsafe { MVFR1.read_volatile() };
    features >> MVE.0 & 0xf == MVE.1
}
