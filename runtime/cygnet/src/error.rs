use std::path::PathBuf;

use crate::input::InputError;

/// Why a model cannot be loaded or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The plan is refused.
    #[error("{}{source}", of_file(path))]
    Plan {
        /// The file, when it came from one.
        path: Option<PathBuf>,
        /// Which rule it breaks.
        source: cygnet_core::Error,
    },
    /// The ONNX file cannot be read.
    #[cfg(feature = "onnx")]
    #[error("{}{source}", of_file(path))]
    Onnx {
        /// The file, when it came from one.
        path: Option<PathBuf>,
        /// What is wrong.
        source: cygnet_onnx::model::ModelError,
    },
    /// The ONNX model cannot be compiled.
    #[cfg(feature = "onnx")]
    #[error("{}{source}", of_file(path))]
    Compile {
        /// The file, when it came from one.
        path: Option<PathBuf>,
        /// Which node, and why.
        source: cygnet_onnx::compile::CompileError,
    },
    /// A step without a native kernel cannot be prepared.
    #[cfg(feature = "onnx")]
    #[error(transparent)]
    Fallback(#[from] cygnet_onnx::fallback::FallbackError),
    /// The file is an ONNX model, and this build reads plans only.
    #[error("{}: this build reads plans only; compile the model on a laptop with `quantize compile`", path.display())]
    OnnxLeftOut {
        /// The file.
        path: PathBuf,
    },
    /// The card cannot be used.
    #[error(transparent)]
    Card(#[from] cygnet_sense::CardError),
    /// A call does not fit the model.
    #[error(transparent)]
    Session(#[from] cygnet_core::Error),
    /// An input or output of the model has another number of elements than what was given.
    #[error("\"{name}\" has the shape {shape:?}, {expected} elements; given were {given}")]
    ElementCount {
        /// The input or output.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Its elements.
        expected: usize,
        /// Elements given.
        given: usize,
    },
    /// A value does not fit the type of a whole-number input.
    #[error("\"{name}\" takes {dtype}: element {index}, {value}, is no such number")]
    Value {
        /// The input.
        name: String,
        /// Its type.
        dtype: cygnet_core::DType,
        /// Which element.
        index: usize,
        /// What was given.
        value: f32,
    },
    /// A picture or a recording cannot become the model's tensor.
    #[error(transparent)]
    Prepare(#[from] cygnet_sense::Error),
    /// A file with input cannot be used.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The model has no input or output of this name or number.
    #[error("the model has no {what} {asked}; it has {there}")]
    NoSuchPort {
        /// "input" or "output".
        what: &'static str,
        /// What was asked for.
        asked: String,
        /// What there is.
        there: String,
    },
    /// The model's card does not tell how to prepare this kind of input.
    #[error("the model does not say how {what} becomes its input; give a card with `kind = \"{kind}\"`")]
    NotPrepared {
        /// "a picture" or "sound".
        what: &'static str,
        /// The card's word for it.
        kind: &'static str,
    },
    /// The system starts no more threads, or this build has none.
    #[error("{asked} threads: {reason}; ask for fewer")]
    Threads {
        /// How many were asked for.
        asked: usize,
        /// Why not.
        reason: String,
    },
    /// `CYGNET_ISA` names kernels that do not exist or that this CPU cannot run.
    #[error("CYGNET_ISA={asked}: this CPU can run {available}; choose one of them or unset the variable")]
    NoSuchKernels {
        /// The name asked for.
        asked: String,
        /// The names that there are.
        available: String,
    },
    /// The outputs are no boxes of the form that the card names.
    #[error(transparent)]
    Boxes(#[from] cygnet_sense::BoxError),
    /// The first output has another shape than the card says.
    #[error(
        "the output \"{output}\" has the shape {shape:?}, which is no mask of the form \"{form}\" with {classes} labels; \
         mend [mask] or `labels` in the card"
    )]
    NoMask {
        /// The output.
        output: String,
        /// Its shape.
        shape: Vec<u32>,
        /// The form that the card names.
        form: &'static str,
        /// How many labels the card has.
        classes: usize,
    },
    /// The first output is no mask of the form that the card names.
    #[error(transparent)]
    Mask(#[from] cygnet_sense::mask::MaskError),
    /// The first output has another shape than the card says.
    #[error(
        "the output \"{output}\" has the shape {shape:?}, which is none of the form \"{form}\" with {points} names{scores}; \
         mend [keypoints] in the card"
    )]
    NoKeypoints {
        /// The output.
        output: String,
        /// Its shape.
        shape: Vec<u32>,
        /// The form that the card names.
        form: &'static str,
        /// How many points the card names.
        points: usize,
        /// " and scores for `threshold`" where the card has a threshold.
        scores: &'static str,
    },
    /// The first output tells no points of the form that the card names.
    #[error(transparent)]
    Keypoints(#[from] cygnet_sense::keypoints::KeypointError),
    /// The answer cannot be given as labels.
    #[error("the first output of the model holds no scores: it has no elements")]
    NoScores,
}

fn of_file(path: &Option<PathBuf>) -> String {
    path.as_ref().map(|path| format!("{}: ", path.display())).unwrap_or_default()
}
