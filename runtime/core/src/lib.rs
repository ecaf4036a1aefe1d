//! Cygnet's engine: it executes a *plan* inside memory that the caller owns.
//!
//! A plan (`.cyg`) is one flat file: steps, tensor table, constants and metadata, with every
//! buffer's place already decided by the compiler. [`Plan::parse`] verifies the bytes once and
//! reads them in place; a [`Session`] borrows an arena of [`Plan::arena_bytes`] bytes and runs
//! the steps. Nothing here allocates, and no bytes, however broken, lead to more than an error.
//!
//! ```
//! # fn main() -> Result<(), cygnet_core::Error> {
//! # let bytes: &[u8] = &[];
//! # if bytes.is_empty() { return Ok(()); }
//! use cygnet_core::{Arena, Plan, Session};
//! let plan = Plan::parse(bytes)?;
//! let mut arena = Arena::<{ 64 * 1024 }>::new();
//! let mut session = Session::new(plan, arena.bytes())?;
//! session.write_f32(0, &[0.0; 490])?;
//! session.run()?;
//! let mut scores = [0.0; 12];
//! session.read_f32(0, &mut scores)?;
//! # Ok(()) }
//! ```
#![no_std]

#[cfg(target_endian = "big")]
compile_error!("plans are little-endian and read in place: Cygnet needs a little-endian target");

pub mod bytes;
mod error;
pub mod kernels;
mod kinds;
pub mod math;
pub mod plan;
pub mod quantization;
mod session;
mod team;
mod verify;
pub mod weights;

pub use error::Error;
pub use plan::{DType, Plan};
pub use session::{Arena, Host, HostTensor, NoHost, Session};
pub use team::Team;
