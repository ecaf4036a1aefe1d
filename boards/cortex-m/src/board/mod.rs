//! What is soldered on: one module for each board on a desk, one for QEMU's.
//!
//! Each has `start`, which gives a `Board` once, and the types of its lamp and of the wires to its sensor.

#[cfg(not(on_desk))]
mod emulated;
#[cfg(feature = "nrf52840-dk")]
mod nrf52840_dk;
#[cfg(feature = "nucleo-f446re")]
mod nucleo_f446re;
#[cfg(feature = "pico2")]
mod pico2;

#[cfg(not(on_desk))]
pub use emulated::*;
#[cfg(feature = "nrf52840-dk")]
pub use nrf52840_dk::*;
#[cfg(feature = "nucleo-f446re")]
pub use nucleo_f446re::*;
#[cfg(feature = "pico2")]
pub use pico2::*;
