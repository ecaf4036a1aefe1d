//! What stands before and after a model: pixels and sound to tensors, scores to answers.
//!
//! The crate has no allocator and no `std` (feature `card` apart): the caller owns every buffer, and
//! each operation tells how much scratch it needs. The same input gives the same bits on every
//! machine: plain `f32`, `f64` and integer arithmetic in a fixed order, nothing fused, and the
//! functions of `libm` instead of the platform's.
//!
//! | room | from | to |
//! |---|---|---|
//! | [`image`] | [`Pixels`] of a camera or a file | the image tensor of an [`ImageSpec`] |
//! | [`audio`] | 16-bit sound | waveform, log-mel or MFCC rows of an [`AudioSpec`] |
//! | [`BytesSpec`] | the first and last bytes of a file | the tensor of a model that tells its kind |
//! | [`resample`] | 16-bit sound at one rate | the same sound at another |
//! | [`events`] | scores of overlapping windows | words with a beginning and an end |
//! | [`speech`] | how likely frames hold speech | segments of speech |
//! | [`answers`] | scores, boxes | the best classes, probabilities, boxes that remain, text |
//! | [`ctc`] | scores for each moment | the likeliest text |
//! | [`boxes`] | outputs of a detector | boxes and keypoints |
//! | [`mask`] | scores of every place | the class of each pixel |
//! | [`keypoints`] | heat maps, coordinates | the points of a body |
//! | `card` | `MODEL.toml` | the specs above, labels, source and accuracy |
//!
//! ```
//! use cygnet_sense::{Colour, Fit, ImageSpec, Layout, Output, Pixels};
//!
//! let spec = ImageSpec { fit: Fit::Stretch, ..ImageSpec::new(2, 2, Colour::Grey) };
//! let picture = [0u8, 255, 255, 0];
//! let pixels = Pixels::grey8(&picture, 2, 2)?;
//! let mut tensor = [0f32; 4];
//! let mut scratch = [0u8; 64];
//! spec.prepare(&pixels, &mut Output::F32(&mut tensor), Layout::Nhwc, &mut scratch)?;
//! assert_eq!(tensor, [0.0, 255.0, 255.0, 0.0]);
//! # Ok::<(), cygnet_sense::Error>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[cfg(feature = "card")]
extern crate std;

pub mod answers;
pub mod audio;
pub mod boxes;
mod bytes;
#[cfg(feature = "card")]
pub mod card;
pub mod ctc;
mod encoding;
mod error;
pub mod events;
pub mod image;
pub mod keypoints;
pub mod mask;
mod quantization;
pub mod resample;
pub mod speech;

pub use answers::{Detection, argmax, non_maximum_suppression, softmax_in_place, top_k};
pub use audio::{AudioSpec, FeatureStream, FeatureWindows, Features, MAX_BANDS, MelNorm, MelScale, PerBand, Window};
pub use boxes::{AnchorLevel, AnchorSpec, BoxDecoder, BoxError, BoxForm, BoxUnits, Corners, OffsetOrder, ScoreForm};
pub use bytes::BytesSpec;
#[cfg(feature = "card")]
pub use card::{Card, CardError};
pub use error::Error;
pub use events::{Change, Event, EventDetector, EventSpec};
pub use image::{Colour, Filter, Fit, ImageSpec, Layout, Packed, Pixels, Placement, Plane, Yuv420, YuvRange};
pub use quantization::{Output, Quantization};
pub use resample::Resampler;
pub use speech::{Segment, SpeechDetector, SpeechSpec};
