//! Cortex-M cores with instructions for several bytes at once.

#[cfg(feature = "helium")]
mod helium;

use super::Kernels;

/// The sets that this CPU can run, the slowest first.
pub(super) fn available() -> impl Iterator<Item = &'static Kernels> {
    #[cfg(feature = "helium")]
    let helium = helium::available();
    #[cfg(not(feature = "helium"))]
    let helium = None;
    helium.into_iter()
}
