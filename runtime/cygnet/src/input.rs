//! Files to model input: pictures, WAV recordings, NumPy arrays, and whole sets of them.
//!
//! Nothing here needs a compiled model: calibration and evaluation read their data through [`DataSet`] too.

mod array;
mod boxes;
mod data_set;
mod folder;
mod frames;
mod npy;
mod picture;
mod sound;
mod sound_stream;
#[cfg(feature = "text")]
pub(crate) mod text;

use std::path::{Path, PathBuf};

pub(crate) use array::real;
pub use array::{Array, ElementType, read_arrays};
pub use boxes::LabelledBox;
pub use data_set::{DataSet, InputSpec, Sample};
pub(crate) use npy::write_header as npy_header;
pub use picture::Picture;
pub use sound::{Sound, resampled};
pub use sound_stream::SoundStream;
#[cfg(feature = "text")]
pub use text::Words;

/// Why a file with input cannot be used. Every message names the file and says the mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The file or folder cannot be opened or read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A picture cannot be read.
    #[error("{}: the picture cannot be read: {problem}", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// Why, and the mend.
        problem: String,
    },
    /// A recording cannot be read.
    #[error("{}: the recording cannot be read: {problem}", path.display())]
    Sound {
        /// The file.
        path: PathBuf,
        /// Why, and the mend.
        problem: String,
    },
    /// An array cannot be read or does not fit.
    #[error("{}: array \"{array}\": {problem}", path.display())]
    Array {
        /// The file.
        path: PathBuf,
        /// Its name inside the file.
        array: String,
        /// Why, and the mend.
        problem: String,
    },
    /// `labels.csv` cannot be used.
    #[error("{}, line {line}: {problem}", path.display())]
    Labels {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// Why, and the mend.
        problem: String,
    },
    /// The data as a whole does not suit the model.
    #[error("{}: {problem}", path.display())]
    Data {
        /// The file or folder.
        path: PathBuf,
        /// Why, and the mend.
        problem: String,
    },
    /// The card does not suit the model.
    #[error("the card does not fit the model: {0}")]
    Card(String),
}

impl InputError {
    fn file(path: &Path) -> impl FnOnce(std::io::Error) -> InputError {
        let path = path.to_path_buf();
        move |source| InputError::File { path, source }
    }

    fn data(path: &Path, problem: impl Into<String>) -> InputError {
        InputError::Data { path: path.to_path_buf(), problem: problem.into() }
    }

    fn array(path: &Path, array: &str, problem: impl Into<String>) -> InputError {
        InputError::Array { path: path.to_path_buf(), array: array.into(), problem: problem.into() }
    }
}

/// What a file holds, by the end of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileKind {
    Picture,
    Sound,
    Arrays,
    /// Of any kind, for models that take the bytes.
    Other,
}

impl FileKind {
    fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        Some(match extension.as_str() {
            "png" | "jpg" | "jpeg" | "bmp" | "webp" | "pgm" | "ppm" | "pnm" | "pbm" => Self::Picture,
            "wav" | "wave" => Self::Sound,
            "npy" | "npz" => Self::Arrays,
            _ => return None,
        })
    }
}
