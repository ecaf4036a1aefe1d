//! Cortex-M: cores with an FPU and the DSP extension or Helium.
//!
//! Firmware links what the crate's features name, and gives out what the CPU has.

#[cfg(feature = "dsp")]
mod dsp;
#[cfg(feature = "helium")]
mod helium;
#[cfg(any(feature = "dsp", feature = "helium"))]
mod joined;
#[cfg(any(feature = "dsp", feature = "helium"))]
mod plain;

use super::Kernels;

/// What the features of this crate name.
#[cfg(feature = "helium")]
pub(super) const FOR_TARGET: Kernels = helium::HELIUM;
/// What the features of this crate name.
#[cfg(all(feature = "dsp", not(feature = "helium")))]
pub(super) const FOR_TARGET: Kernels = dsp::DSP;
/// What the features of this crate name.
#[cfg(not(any(feature = "dsp", feature = "helium")))]
pub(super) const FOR_TARGET: Kernels = Kernels::PORTABLE;

/// The sets that this CPU can run, the slowest first.
pub(super) fn available() -> impl Iterator<Item = &'static Kernels> {
    #[cfg(feature = "dsp")]
    let dsp = dsp::available();
    #[cfg(not(feature = "dsp"))]
    let dsp = None;
    #[cfg(feature = "helium")]
    let helium = helium::available();
    #[cfg(not(feature = "helium"))]
    let helium = None;
    dsp.into_iter().chain(helium)
}
