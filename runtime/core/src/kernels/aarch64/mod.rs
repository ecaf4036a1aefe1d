//! AArch64: NEON, which every such CPU has, and NEON with the dot product instructions.
//!
//! The portable kernels are compiled with NEON as they are; what is written by hand are convolutions,
//! additions and sums over pixels.

mod add;
mod blocks;
mod conv_i16;
mod cpu;
mod depthwise;
mod depthwise_dot;
mod depthwise_i16;
mod dot;
mod expand;
mod fallback;
mod finish;
mod finish_i16;
mod float;
mod long;
mod pool;

use super::{Kernels, KernelsI16};

static NEON: Kernels = Kernels {
    name: "neon",
    conv_i8: long::conv,
    depthwise_i8: depthwise::depthwise,
    expand_indexed: expand::indexed,
    expand_sparse: expand::sparse,
    conv_f32: float::conv,
    depthwise_f32: float::depthwise,
    matmul_f32: float::matmul,
    attention: float::attention,
    unary: super::portable::elementwise::unary_vectorised,
    add_i8: add::add,
    pool_i8: pool::pool,
    reduce_i8: pool::reduce,
    i16: KernelsI16 { conv: conv_i16::conv, depthwise: depthwise_i16::depthwise, ..super::portable::PORTABLE.i16 },
    ..super::portable::PORTABLE
};

static NEON_DOTPROD: Kernels = Kernels {
    name: "neon-dotprod",
    conv_i8: dot::conv,
    depthwise_i8: depthwise_dot::depthwise,
    i16: KernelsI16 { conv: conv_i16::conv_dot, ..NEON.i16 },
    ..NEON
};

/// What every such CPU runs, for builds that leave the portable set out.
#[cfg(not(feature = "reference"))]
pub(super) static FIRST: &Kernels = &NEON;

/// The sets that this CPU can run beside the first one, the slowest first.
pub(super) fn available() -> impl Iterator<Item = &'static Kernels> {
    let neon = cfg!(feature = "reference").then_some(&NEON);
    let dotprod = cpu::has_dotprod().then_some(&NEON_DOTPROD);
    neon.into_iter().chain(dotprod)
}
