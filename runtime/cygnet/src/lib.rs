//! Runs compressed models on Linux machines: load a model, feed it a picture, a recording or tensors,
//! read the answer.
//!
//! ```no_run
//! use cygnet::{Model, input::Picture};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let model = Model::load("objects.int8.onnx")?;
//! let mut session = model.session()?;
//! session.set_image(&Picture::open("photo.jpg".as_ref())?.pixels()?)?;
//! session.run()?;
//! for answer in session.top(3)? {
//!     println!("{} {:.3}", answer.label, answer.score);
//! }
//! # Ok(()) }
//! ```
//!
//! A [`Model`] is cheap to clone and shared by threads; each thread has its own [`Session`], which owns the
//! memory that the model runs in. How pictures and sound become tensors is told by the model's *card*
//! ([`Card`]): the one given, else `MODEL.toml` beside the model, else what the model's own metadata says.
//!
//! `.onnx` files are compiled when they are loaded (feature `onnx`, on by default). Plans (`.cyg`) are
//! mapped into memory and run at once; without the feature, tract is not linked.
//!
//! A session works on as many threads as there are physical cores, or on as many as it is told
//! ([`Model::session_on`]; feature `threads`, on by default). The bits do not depend on their number.
//!
//! PNG, JPEG, WAV and `.npy` are always read; BMP, PNM and WebP by the feature `pictures`, `.npz` by `npz` (both on by
//! default).
//!
//! The environment variable `CYGNET_ISA` chooses the kernels by name (`portable`, …), to compare them; all
//! give the same bits. On AArch64 `portable` is there by the feature `reference` (on by default).
#![deny(missing_docs)]

mod answer;
mod arena;
pub mod boards;
mod draw;
mod error;
mod found;
pub mod input;
mod keypoints;
mod mask;
mod mmap;
mod model;
pub mod output;
mod runs;
mod session;
mod speech;
mod text;
#[cfg(feature = "threads")]
mod threads;

pub use answer::Answer;
pub use cygnet_core as core;
pub use cygnet_sense as sense;
pub use cygnet_sense::Card;
pub use draw::{write_drawing, write_keypoints, write_mask};
pub use error::Error;
pub use found::Found;
pub use keypoints::BodyPoint;
pub use mask::{Area, Mask};
pub use model::{Model, Preparation};
pub use session::{Port, Session};
pub use speech::{SpeechMemory, SpeechStream, Spoken};
pub use text::{TextMemory, TextStream, Word};
#[cfg(feature = "threads")]
pub use threads::{Threads, physical_cores};
