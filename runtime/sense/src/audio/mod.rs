//! 16-bit sound to the feature tensor of a model, frame by frame as it arrives or a clip at a time.

mod convention;
mod frame;
mod loudest;
mod mel;
mod runs;
mod spec;
mod stft;
mod stream;
mod windows;

pub use convention::{Convention, CosineScale, FloorRule, Logarithm, Padding, Sides, Spectrum, WindowFunction};
pub use loudest::loudest_window;
pub use runs::Runs;
pub use spec::{AudioRecord, AudioSpec, Features, MAX_BANDS, MelNorm, MelScale, PerBand};
pub use stft::Stft;
pub use stream::FeatureStream;
pub use windows::{FeatureWindows, Window};
