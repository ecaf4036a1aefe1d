//! ONNX operators as functions of the library's tensors, each with the library's gradient.

mod movement;
mod spatial;

use candle_core::{Error, Result, Tensor};
use cygnet_onnx::model::{Model, Node};

use super::steps::clamp;
use crate::graph::constant;
use crate::operators::bounds;

/// The operators that [`apply`] knows, of the standard domain.
const KNOWN: &[&str] = &[
    "Add",
    "AveragePool",
    "Clip",
    "Concat",
    "Conv",
    "Div",
    "Elu",
    "Flatten",
    "Gather",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "LeakyRelu",
    "LogSoftmax",
    "MatMul",
    "MaxPool",
    "Mul",
    "Pad",
    "ReduceMean",
    "Relu",
    "Reshape",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Split",
    "Squeeze",
    "Sub",
    "Tanh",
    "Transpose",
    "Unsqueeze",
];

/// Whether there is a gradient for the node's operator.
pub(super) fn is_known(node: &Node) -> bool {
    node.domain.is_empty() && KNOWN.contains(&node.op_type.as_str())
}

/// A node with the values that it reads.
pub(super) struct Call<'a> {
    /// For constants that are no values: shapes, axes, bounds.
    pub model: &'a Model,
    /// The operator and its attributes.
    pub node: &'a Node,
    /// Float operands by position; `None` where one is absent or no float.
    pub operands: Vec<Option<Tensor>>,
}

impl Call<'_> {
    /// The float operand at `index`.
    fn operand(&self, index: usize) -> Result<&Tensor> {
        let operand = self.operands.get(index).and_then(Option::as_ref);
        operand.ok_or_else(|| wrong(format!("input {index} is absent or holds no floats")))
    }

    /// The whole numbers of the constant at `index`; `None` where it is absent.
    fn integers(&self, index: usize) -> Result<Option<Vec<i64>>> {
        if self.node.input(index).is_none() {
            return Ok(None);
        }
        let integers = constant(self.model, self.node, index).and_then(|c| c.to_i64s().ok());
        integers.map(Some).ok_or_else(|| wrong(format!("input {index} must be a constant of whole numbers")))
    }

    /// Axes given as attribute or as the constant at `index`, counted from the front of `rank` axes.
    fn axes(&self, index: usize, rank: usize) -> Result<Option<Vec<usize>>> {
        let given = match self.node.ints("axes") {
            Some(axes) => Some(axes.to_vec()),
            None => self.integers(index)?,
        };
        given.map(|axes| axes.iter().map(|&a| axis_of(a, rank)).collect()).transpose()
    }
}

fn wrong(problem: impl Into<String>) -> Error {
    Error::Msg(problem.into())
}

/// `axis`, which may count from the end, as a position among `rank` axes.
fn axis_of(axis: i64, rank: usize) -> Result<usize> {
    let from_front = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(from_front).ok().filter(|&a| a < rank).ok_or_else(|| wrong(format!("there is no axis {axis}")))
}

/// Computes the node's outputs.
pub(super) fn apply(call: &Call) -> Result<Vec<Tensor>> {
    let node = call.node;
    let x = call.operand(0)?;
    let one = match node.op_type.as_str() {
        "Identity" => x.clone(),
        "Conv" => spatial::conv(call)?,
        "MaxPool" | "AveragePool" => spatial::pool(call)?,
        "GlobalAveragePool" | "GlobalMaxPool" => spatial::global_pool(call)?,
        "Gemm" => gemm(call)?,
        "MatMul" => x.broadcast_matmul(call.operand(1)?)?,
        "Add" => x.broadcast_add(call.operand(1)?)?,
        "Sub" => x.broadcast_sub(call.operand(1)?)?,
        "Mul" => x.broadcast_mul(call.operand(1)?)?,
        "Div" => x.broadcast_div(call.operand(1)?)?,
        "Relu" | "Clip" => {
            let (low, high) = bounds(call.model, node).ok_or_else(|| wrong("its bounds must be constants"))?;
            clamp(x, low, high)?
        }
        "LeakyRelu" => {
            let slope = f64::from(node.float("alpha").unwrap_or(0.01));
            (clamp(x, 0.0, f32::INFINITY)? + (clamp(x, f32::NEG_INFINITY, 0.0)? * slope)?)?
        }
        "Elu" => {
            let alpha = f64::from(node.float("alpha").unwrap_or(1.0));
            let below = clamp(x, f32::NEG_INFINITY, 0.0)?.exp()?.affine(alpha, -alpha)?;
            (clamp(x, 0.0, f32::INFINITY)? + below)?
        }
        // By the hyperbolic tangent: no overflow on either side.
        "Sigmoid" => (x * 0.5)?.tanh()?.affine(0.5, 0.5)?,
        "Tanh" => x.tanh()?,
        "HardSigmoid" => {
            let (alpha, beta) = (node.float("alpha").unwrap_or(0.2), node.float("beta").unwrap_or(0.5));
            clamp(&x.affine(f64::from(alpha), f64::from(beta))?, 0.0, 1.0)?
        }
        "HardSwish" => (x * clamp(&x.affine(1.0 / 6.0, 0.5)?, 0.0, 1.0)?)?,
        "Softmax" => log_softmax(x, axis_of(node.int("axis").unwrap_or(-1), x.rank())?)?.exp()?,
        "LogSoftmax" => log_softmax(x, axis_of(node.int("axis").unwrap_or(-1), x.rank())?)?,
        "ReduceMean" => {
            let axes = call.axes(1, x.rank())?.unwrap_or_else(|| (0..x.rank()).collect());
            let keeps = node.int("keepdims").unwrap_or(1) != 0;
            if keeps { x.mean_keepdim(axes)? } else { x.mean(axes)? }
        }
        "Split" => return movement::split(call),
        _ => movement::apply(call)?,
    };
    Ok(vec![one])
}

/// Logarithms of shares of the exponentials along `axis`.
pub(super) fn log_softmax(x: &Tensor, axis: usize) -> Result<Tensor> {
    // The largest is subtracted so that nothing overflows; it has no part in the gradient.
    let shifted = x.broadcast_sub(&x.detach().max_keepdim(axis)?)?;
    shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(axis)?.log()?)
}

fn gemm(call: &Call) -> Result<Tensor> {
    let node = call.node;
    let turned = |x: &Tensor, name: &str| if node.int(name).unwrap_or(0) != 0 { x.t() } else { Ok(x.clone()) };
    let product = turned(call.operand(0)?, "transA")?.matmul(&turned(call.operand(1)?, "transB")?)?;
    let product = scaled(product, node.float("alpha").unwrap_or(1.0))?;
    match node.input(2) {
        None => Ok(product),
        Some(_) => product.broadcast_add(&scaled(call.operand(2)?.clone(), node.float("beta").unwrap_or(1.0))?),
    }
}

fn scaled(x: Tensor, factor: f32) -> Result<Tensor> {
    if factor == 1.0 { Ok(x) } else { x * f64::from(factor) }
}
