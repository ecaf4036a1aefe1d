//! Passes that make the float model smaller without changing what it computes.
//!
//! They leave the shapes of layers that integer engines know: one weighted operator with bias, then an activation.

mod affine;
mod constants;
mod dense;
mod identity;
mod lone_norm;
mod transposed;
mod trivial;

use cygnet_onnx::model::{Attribute, DType, Model};

use crate::error::QuantizeError;
use crate::facts::{Dims, Facts, infer};
use crate::graph::drop_unused;

/// What the passes did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Folded {
    /// `Identity` and `Dropout` nodes removed, and others that do no more.
    pub identities: usize,
    /// Nodes on constants replaced by their value.
    pub constants: usize,
    /// `MatMul` and `Add` pairs made one `Gemm`.
    pub dense: usize,
    /// Normalisations, scales and shifts folded into the weights before them.
    pub affine: usize,
    /// Normalisations that stand alone, made a depthwise convolution or a scale and a shift.
    pub lone_norms: usize,
    /// Transposed convolutions made a convolution and a `DepthToSpace`.
    pub transposed: usize,
}

/// Replaces nodes that read constants only by their value; tells how many went.
pub fn constants(model: &mut Model) -> usize {
    constants::fold(model)
}

/// Runs all passes. `dims` fixes open axes, see [`crate::facts::dims_of`].
///
/// # Errors
/// [`QuantizeError`] where tract cannot follow the model.
pub fn fold(model: &mut Model, dims: &Dims) -> Result<Folded, QuantizeError> {
    let mut folded =
        Folded { identities: identity::remove(model), constants: constants::fold(model), ..Folded::default() };
    drop_unused(model);
    let facts = infer(model, dims)?;
    if trivial::replace(model, &facts) > 0 {
        folded.identities += identity::remove(model);
    }
    count_from_the_end(model, &facts);
    folded.dense = dense::fold(model, &facts);
    folded.affine = affine::fold(model);
    folded.transposed = transposed::replace(model, &facts);
    folded.lone_norms = lone_norm::replace(model, &facts)?;
    drop_unused(model);
    model.sort()?;
    Ok(folded)
}

/// Writes the last axis of a softmax as -1: what recognises attention knows no ranks.
fn count_from_the_end(model: &mut Model, facts: &Facts) {
    for node in model.nodes.iter_mut().filter(|node| node.is("Softmax")) {
        let last = node.input(0).and_then(|tensor| rank(facts, tensor)).map(|rank| rank as i64 - 1);
        if last.is_some() && node.int("axis") == last {
            node.attributes.insert("axis".into(), Attribute::Int(-1));
        }
    }
}

fn rank(facts: &Facts, tensor: &str) -> Option<usize> {
    facts.get(tensor).filter(|(dtype, _)| *dtype == DType::F32).map(|(_, shape)| shape.len())
}

/// Normalisation as `y = scale * x + shift` per channel, in f64.
///
/// ONNX: `y = gamma * (x - mean) / sqrt(variance + epsilon) + beta`,
/// <https://onnx.ai/onnx/operators/onnx__BatchNormalization.html>.
fn batch_norm(model: &Model, node: &cygnet_onnx::model::Node) -> Option<(Vec<f64>, Vec<f64>)> {
    let is_inference = node.int("training_mode").unwrap_or(0) == 0 && node.outputs.iter().skip(1).all(String::is_empty);
    if !node.is("BatchNormalization") || !is_inference || node.int("spatial").unwrap_or(1) != 1 {
        return None;
    }
    let epsilon = f64::from(node.float("epsilon").unwrap_or(1e-5));
    let mut parameters = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    for (index, values) in parameters.iter_mut().enumerate() {
        *values = model.initializers.get(node.input(index + 1)?)?.to_f32s().ok()?;
    }
    let [gamma, beta, mean, variance] = parameters;
    let scale: Vec<f64> =
        gamma.iter().zip(&variance).map(|(&g, &v)| f64::from(g) / (f64::from(v) + epsilon).sqrt()).collect();
    let shift = beta.iter().zip(&mean).zip(&scale).map(|((&b, &m), s)| f64::from(b) - f64::from(m) * s).collect();
    Some((scale, shift))
}
