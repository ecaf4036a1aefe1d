//! What quantization does with each ONNX operator.

use cygnet_onnx::model::{DType, Model, Node};

use crate::graph::constant;

/// How an operator takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Input 0 by constant int8 weights (input 1) with one scale per index of `channel_axis`, and an int32 bias.
    Weighted {
        /// The weights' axis of output channels.
        channel_axis: usize,
    },
    /// A recurrent layer: input 0 by constant int8 weights (inputs 1 and 2) with one scale per row; its state, and what it
    /// makes, are float.
    Recurrent,
    /// Computes on levels; inputs and outputs have parameters of their own.
    Compute,
    /// The same with outputs between 0 and 1.
    ComputeUnit,
    /// Adds a constant row of biases to the product of a layer, and is one with it.
    Bias,
    /// Only moves or selects values: inputs and outputs share their parameters.
    Move,
    /// No integer form: stays in float.
    Float,
}

/// The operator's role in this model.
pub fn role(model: &Model, node: &Node) -> Role {
    if !node.domain.is_empty() {
        return Role::Float;
    }
    match node.op_type.as_str() {
        "Conv" | "Gemm" | "MatMul" => weighted(model, node),
        "LSTM" | "GRU" | "RNN" => recurrent(model, node),
        "Add" | "Sub" | "Mul" | "Relu" | "LeakyRelu" | "Tanh" | "HardSwish" | "Elu" | "AveragePool"
        | "GlobalAveragePool" | "ReduceMean" => Role::Compute,
        "Clip" if bounds(model, node).is_some() => Role::Compute,
        "Sigmoid" | "HardSigmoid" | "Softmax" => Role::ComputeUnit,
        "MaxPool" | "GlobalMaxPool" if node.output(1).is_none() => Role::Move,
        "Reshape" | "Flatten" | "Transpose" | "Squeeze" | "Unsqueeze" | "Slice" | "Split" | "Gather" | "Concat"
        | "DepthToSpace" | "SpaceToDepth" | "Expand" | "Tile" | "Identity" => Role::Move,
        "Pad" if pads_with_zero(model, node) => Role::Move,
        "Resize" => match node.string("mode").unwrap_or("nearest") {
            "nearest" => Role::Move,
            "linear" => Role::Compute,
            _ => Role::Float,
        },
        _ => Role::Float,
    }
}

fn weighted(model: &Model, node: &Node) -> Role {
    let Some(weights) = constant(model, node, 1) else {
        // Two activations: a product of levels all the same.
        return if node.is("MatMul") && constant(model, node, 0).is_none() { Role::Compute } else { Role::Float };
    };
    let rank = weights.shape.len();
    let has_plain_bias = |channel_axis: usize| {
        let channels = weights.shape.get(channel_axis).copied();
        node.input(2).is_none()
            || constant(model, node, 2).is_some_and(|b| b.dtype == DType::F32 && Some(b.len()) == channels)
    };
    let is_activation = node.input(0).is_some_and(|x| !model.initializers.contains_key(x));
    let channel_axis = match node.op_type.as_str() {
        "Conv" if rank >= 3 => 0,
        "Gemm" if rank == 2 && is_plain_gemm(node) => usize::from(node.int("transB").unwrap_or(0) == 0),
        "MatMul" if rank == 2 => 1,
        _ => return Role::Float,
    };
    if weights.dtype == DType::F32 && is_activation && has_plain_bias(channel_axis) {
        Role::Weighted { channel_axis }
    } else {
        Role::Float
    }
}

fn recurrent(model: &Model, node: &Node) -> Role {
    let is_float = |index| constant(model, node, index).is_some_and(|w| w.dtype == DType::F32 && w.shape.len() == 3);
    let is_activation = node.input(0).is_some_and(|x| !model.initializers.contains_key(x));
    if is_float(1) && is_float(2) && is_activation { Role::Recurrent } else { Role::Float }
}

fn is_plain_gemm(node: &Node) -> bool {
    let is_one = |name: &str| node.float(name).unwrap_or(1.0) == 1.0;
    is_one("alpha") && is_one("beta") && node.int("transA").unwrap_or(0) == 0
}

fn pads_with_zero(model: &Model, node: &Node) -> bool {
    let is_constant = node.string("mode").unwrap_or("constant") == "constant";
    let value = match node.input(2) {
        None => Some(0.0),
        Some(_) => constant(model, node, 2).and_then(|v| v.as_scalar_f32()),
    };
    !is_constant || value == Some(0.0)
}

/// Positions of the inputs that carry activations; the others are shapes, axes and parameters.
pub fn activation_inputs(node: &Node) -> std::ops::Range<usize> {
    match node.op_type.as_str() {
        "Add" | "Sub" | "Mul" | "Concat" => 0..node.inputs.len(),
        "MatMul" => 0..2,
        _ => 0..1,
    }
}

/// The bounds of an activation that only cuts values off: `Relu`, or `Clip` with constant bounds.
pub fn bounds(model: &Model, node: &Node) -> Option<(f32, f32)> {
    let bound = |index: usize, open: f32| match node.input(index) {
        None => Some(open),
        Some(_) => constant(model, node, index)?.as_scalar_f32(),
    };
    if node.is("Relu") {
        Some((0.0, f32::INFINITY))
    } else if node.is("Clip") {
        Some((bound(1, f32::NEG_INFINITY)?, bound(2, f32::INFINITY)?))
    } else {
        None
    }
}

/// Whether an activation directly behind the operator is computed together with it, on its accumulators.
pub fn fuses_activation(node: &Node) -> bool {
    ["Conv", "Gemm", "MatMul", "Add", "Sub", "Mul"].iter().any(|op| node.is(op))
}
