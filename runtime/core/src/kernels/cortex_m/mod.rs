//! Cortex-M: cores with the DSP extension and an FPU.
//!
//! Firmware links what the crate's features name, and gives out what the CPU has.

#[cfg(feature = "dsp")]
mod dsp;

use super::Kernels;

/// The sets that this CPU can run, the slowest first.
pub(super) fn available() -> impl Iterator<Item = &'static Kernels> {
    #[cfg(feature = "dsp")]
    let dsp = dsp::available();
    #[cfg(not(feature = "dsp"))]
    let dsp = None;
    dsp.into_iter()
}
