//! Cortex-M: cores with the DSP extension and an FPU.
//!
//! Firmware links what the crate's features name, and gives out what the CPU has.

#[cfg(feature = "dsp")]
mod dsp;

use super::Kernels;

/// What the features of this crate name.
#[cfg(feature = "dsp")]
pub(super) const FOR_TARGET: Kernels = dsp::DSP;
/// What the features of this crate name.
#[cfg(not(feature = "dsp"))]
pub(super) const FOR_TARGET: Kernels = Kernels::PORTABLE;

/// The sets that this CPU can run, the slowest first.
pub(super) fn available() -> impl Iterator<Item = &'static Kernels> {
    #[cfg(feature = "dsp")]
    let dsp = dsp::available();
    #[cfg(not(feature = "dsp"))]
    let dsp = None;
    dsp.into_iter()
}
