//! Constants of 4 bits, and those with a scale per block, in forms that tract knows.

use std::borrow::Cow;

use crate::model::{Model, Node, Tensor, parameter_of};

/// The model with such constants in 8 bits, or in float where they are dequantized.
pub(super) fn widened(model: &Model) -> Cow<'_, Model> {
    if !model.initializers.values().any(|tensor| tensor.dtype.is_packed()) && !model.nodes.iter().any(is_blocked) {
        return Cow::Borrowed(model);
    }
    let mut wide = Model { nodes: Vec::new(), ..model.clone() };
    for node in &model.nodes {
        match dequantized(model, node) {
            Some(real) => {
                wide.initializers.insert(node.outputs[0].clone(), real);
            }
            None => wide.nodes.push(node.clone()),
        }
    }
    for tensor in wide.initializers.values_mut().filter(|tensor| tensor.dtype.is_packed()) {
        *tensor = std::mem::replace(tensor, Tensor::scalar_f32(0.0)).widened();
    }
    Cow::Owned(wide)
}

fn is_blocked(node: &Node) -> bool {
    node.is("DequantizeLinear") && node.int("block_size").unwrap_or(0) > 0
}

/// The real values of a constant that the node dequantizes from 4 bits or in blocks.
fn dequantized(model: &Model, node: &Node) -> Option<Tensor> {
    let constant = |index: usize| model.initializers.get(node.input(index)?);
    let stored = constant(0)?;
    if !node.is("DequantizeLinear") || !(stored.dtype.is_packed() || is_blocked(node)) {
        return None;
    }
    let rank = stored.shape.len() as i64;
    let axis = node.int("axis").unwrap_or(1);
    let axis = usize::try_from(if axis < 0 { axis + rank } else { axis }).ok()?;
    let block = usize::try_from(node.int("block_size").unwrap_or(0)).ok()?;
    let scales = constant(1)?.to_f32s().ok()?;
    let points = match constant(2) {
        Some(points) => points.to_i64s().ok()?,
        None => vec![0; scales.len()],
    };
    let real = |(index, value): (usize, i64)| {
        let place = parameter_of(&stored.shape, axis, block, scales.len(), index);
        Some((value - points.get(place)?) as f32 * scales.get(place)?)
    };
    let values = stored.to_i64s().ok()?.into_iter().enumerate().map(real).collect::<Option<Vec<f32>>>()?;
    Some(Tensor::from_f32(stored.shape.clone(), &values))
}
