//! The way from an ONNX file to a plan, with tract as front end.
//!
//! - [`model`]: ONNX files in our own types, read and written.
//! - [`compile`]: the compiler, float or int8 model in, plan out.
//! - [`mod@reference`]: models run by tract, for calibration, comparison and constant folding.
//! - [`transposed`]: transposed convolutions as convolutions.
//! - [`fallback`]: the host of a plan's steps that have no native kernel.
//!
//! tract's types stay inside [`model`] and [`mod@reference`].

pub mod compile;
pub mod fallback;
pub mod model;
pub mod reference;
pub mod transposed;
