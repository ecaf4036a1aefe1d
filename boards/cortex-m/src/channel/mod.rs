//! Where text goes: the emulator by semihosting, or a debug probe by RTT.

#[cfg(feature = "rtt")]
mod rtt;
#[cfg(all(feature = "semihosting", not(feature = "rtt")))]
mod semihosting;

#[cfg(feature = "rtt")]
pub use rtt::{Channel, end};
#[cfg(all(feature = "semihosting", not(feature = "rtt")))]
pub use semihosting::{Channel, end};
