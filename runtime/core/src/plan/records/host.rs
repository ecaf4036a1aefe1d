//! The record of steps without a native kernel.

use crate::bytes::Span;
use crate::plan::TensorId;

/// Tensors that a [`HostStep`] may read, and as many that it may write.
pub const MAX_HOST_TENSORS: usize = 12;

crate::record! {
    /// Nodes without a native step, kept as an ONNX model for a host that can run them.
    HostStep {
        /// Tensors read; the first [`TensorId::NONE`] ends the list.
        inputs: [TensorId; MAX_HOST_TENSORS],
        /// Tensors written; the first [`TensorId::NONE`] ends the list.
        outputs: [TensorId; MAX_HOST_TENSORS],
        /// A complete ONNX model of the nodes.
        model: Span,
    }
}

impl HostStep {
    /// The tensors read.
    pub fn input_ids(&self) -> impl Iterator<Item = TensorId> + use<> {
        self.inputs.into_iter().take_while(|&id| id != TensorId::NONE)
    }

    /// The tensors written.
    pub fn output_ids(&self) -> impl Iterator<Item = TensorId> + use<> {
        self.outputs.into_iter().take_while(|&id| id != TensorId::NONE)
    }
}
