//! What can go wrong in the passes.

use cygnet_onnx::model::ModelError;
use cygnet_onnx::reference::ReferenceError;

/// Why a model cannot be quantized.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// The model cannot be read, written or put in order.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The float model cannot be run.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The data cannot be read or do not suit the model.
    #[error(transparent)]
    Input(#[from] cygnet::input::InputError),
    /// The int8 model cannot become a plan.
    #[error(transparent)]
    Compile(#[from] cygnet_onnx::compile::CompileError),
    /// The engine cannot run the plan.
    #[error(transparent)]
    Engine(Box<cygnet::Error>),
    /// A node stands in the way.
    #[error("node \"{node}\": {problem}")]
    Node {
        /// The node's label.
        node: String,
        /// What is wrong, and the mend.
        problem: String,
    },
    /// The model as a whole stands in the way.
    #[error("{0}")]
    Unsuitable(String),
    /// The data cannot be used.
    #[error("{source_name}: {problem}")]
    Data {
        /// File and sample.
        source_name: String,
        /// What is wrong, and the mend.
        problem: String,
    },
    /// An output cannot be written.
    #[error("{}: cannot be written: {source}; {mend}", path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What the system says.
        source: std::io::Error,
        /// The mend.
        mend: String,
    },
    /// Ctrl-C was pressed.
    #[error("interrupted; no output was written")]
    Interrupted,
}

impl From<cygnet::Error> for QuantizeError {
    fn from(error: cygnet::Error) -> QuantizeError {
        QuantizeError::Engine(Box::new(error))
    }
}

impl QuantizeError {
    pub(crate) fn node(node: &cygnet_onnx::model::Node, problem: impl Into<String>) -> QuantizeError {
        QuantizeError::Node { node: node.label(), problem: problem.into() }
    }

    pub(crate) fn data(source_name: impl Into<String>, problem: impl Into<String>) -> QuantizeError {
        QuantizeError::Data { source_name: source_name.into(), problem: problem.into() }
    }
}
