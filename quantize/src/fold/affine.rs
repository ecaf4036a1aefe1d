//! Folds normalisations, scales and shifts into the weights of the layer before them.

use cygnet_onnx::model::{DType, Model, Node, Tensor};

use super::batch_norm;
use crate::graph::{Names, Readers, constant};

/// Folds until nothing is left to fold; returns how many nodes went.
pub(super) fn fold(model: &mut Model) -> usize {
    let mut folded = 0;
    while let Some((layer, follower, scale, shift)) = find(model) {
        absorb(model, layer, follower, &scale, &shift);
        folded += 1;
    }
    folded
}

/// The axis of the weights that counts output channels, where a layer of this kind can absorb a scale.
fn channel_axis(node: &Node) -> Option<usize> {
    if node.is("Conv") {
        Some(0)
    } else if node.is("ConvTranspose") && node.int("group").unwrap_or(1) == 1 {
        Some(1)
    } else if node.is("Gemm") && node.float("alpha").unwrap_or(1.0) == 1.0 && node.float("beta").unwrap_or(1.0) == 1.0 {
        Some(usize::from(node.int("transB").unwrap_or(0) == 0))
    } else {
        None
    }
}

type Found = (usize, usize, Vec<f64>, Vec<f64>);

fn find(model: &Model) -> Option<Found> {
    let readers = Readers::of(model);
    model.nodes.iter().enumerate().find_map(|(index, layer)| {
        let axis = channel_axis(layer)?;
        let weights = constant(model, layer, 1).filter(|w| w.dtype == DType::F32)?;
        let channels = *weights.shape.get(axis)?;
        if layer.input(2).is_some() {
            constant(model, layer, 2).filter(|b| b.dtype == DType::F32 && b.len() == channels)?;
        }
        let spatial = if layer.is("Gemm") { 0 } else { weights.shape.len().checked_sub(2)? };
        let follower = readers.only(layer.output(0)?)?;
        let (scale, shift) = affine(model, &model.nodes[follower], layer.output(0)?, channels, spatial)?;
        (scale.len() == channels && shift.len() == channels).then_some((index, follower, scale, shift))
    })
}

/// `node` as `scale * x + shift` per channel of its input `x`.
fn affine(model: &Model, node: &Node, x: &str, channels: usize, spatial: usize) -> Option<(Vec<f64>, Vec<f64>)> {
    if let Some(norm) = batch_norm(model, node) {
        return (node.input(0)? == x).then_some(norm);
    }
    if !node.domain.is_empty() || node.inputs.len() != 2 {
        return None;
    }
    let position = node.inputs.iter().position(|i| i != x)?;
    let values = per_channel(constant(model, node, position)?, channels, spatial)?;
    let (ones, zeros) = (vec![1.0; channels], vec![0.0; channels]);
    match (node.op_type.as_str(), position) {
        ("Add", _) => Some((ones, values)),
        ("Sub", 1) => Some((ones, values.iter().map(|v| -v).collect())),
        ("Mul", _) => Some((values, zeros)),
        ("Div", 1) if values.iter().all(|v| *v != 0.0) => Some((values.iter().map(|v| 1.0 / v).collect(), zeros)),
        _ => None,
    }
}

/// The operand as one value per channel, if it broadcasts along batch and space only.
fn per_channel(operand: &Tensor, channels: usize, spatial: usize) -> Option<Vec<f64>> {
    let values: Vec<f64> = operand.to_f32s().ok()?.into_iter().map(f64::from).collect();
    if operand.shape.len() > spatial + 2 {
        return None;
    }
    if let [value] = values[..] {
        return Some(vec![value; channels]);
    }
    let mut shape = vec![1; (spatial + 2).checked_sub(operand.shape.len())?];
    shape.extend(&operand.shape);
    let others = shape.iter().enumerate().filter(|(axis, _)| *axis != 1);
    (shape[1] == channels && others.into_iter().all(|(_, &d)| d == 1)).then_some(values)
}

fn absorb(model: &mut Model, layer: usize, follower: usize, scale: &[f64], shift: &[f64]) {
    let mut names = Names::of(model);
    let node = model.nodes[layer].clone();
    let (Some(axis), Some(weights)) = (channel_axis(&node), constant(model, &node, 1)) else { return };
    let inner: usize = weights.shape[axis + 1..].iter().product();
    let values = weights.to_f32s().unwrap_or_default();
    let scaled = values.iter().enumerate().map(|(i, &w)| (f64::from(w) * scale[i / inner % scale.len()]) as f32);
    let weights = Tensor::from_f32(weights.shape.clone(), &scaled.collect::<Vec<_>>());
    let bias = constant(model, &node, 2).and_then(|b| b.to_f32s().ok()).unwrap_or_else(|| vec![0.0; scale.len()]);
    let bias: Vec<f32> = bias.iter().zip(scale).zip(shift).map(|((&b, s), t)| (f64::from(b) * s + t) as f32).collect();

    let stem = model.nodes[layer].inputs[1].clone();
    let weights_name = names.fresh(&format!("{stem}_folded"));
    let bias_stem = node.input(2).map_or(format!("{stem}_bias"), str::to_string);
    let bias_name = names.fresh(&format!("{bias_stem}_folded"));
    model.initializers.insert(weights_name.clone(), weights);
    model.initializers.insert(bias_name.clone(), Tensor::from_f32(vec![scale.len()], &bias));
    let output = model.nodes[follower].outputs[0].clone();
    model.nodes[layer].inputs = vec![node.inputs[0].clone(), weights_name, bias_name];
    model.nodes[layer].outputs[0] = output;
    model.nodes.remove(follower);
    crate::graph::drop_unused(model);
}

#[cfg(test)]
mod tests {
    use super::*;
    use cygnet_onnx::model::{Attribute, ValueInfo};

    /// Two channels, 1×1, worked by hand from the formula on ONNX's page.
    #[test]
    fn a_norm_behind_a_convolution_goes_into_its_weights() {
        let mut model = Model::default();
        let mut give = |name: &str, shape: &[usize], values: &[f32]| {
            model.initializers.insert(name.into(), Tensor::from_f32(shape.to_vec(), values));
        };
        give("w", &[2, 1, 1, 1], &[2.0, -3.0]);
        give("b", &[2], &[1.0, 0.0]);
        give("gamma", &[2], &[4.0, 1.0]);
        give("beta", &[2], &[0.5, -1.0]);
        give("mean", &[2], &[3.0, 2.0]);
        give("variance", &[2], &[3.75, 0.0]);
        let norm = ["c", "gamma", "beta", "mean", "variance"];
        model.nodes = vec![
            Node::new("Conv", "conv", &["x", "w", "b"], &["c"]),
            Node::new("BatchNormalization", "", &norm, &["y"]).with("epsilon", Attribute::Float(0.25)),
        ];
        model.outputs = vec![ValueInfo { name: "y".into(), dtype: DType::F32, shape: None }];
        assert_eq!(fold(&mut model), 1);
        let node = &model.nodes[0];
        // scale: 4 / sqrt(3.75 + 0.25) = 2 and 1 / sqrt(0.25) = 2; shift: 0.5 - 3·2 = -5.5 and -1 - 2·2 = -5.
        assert_eq!(constant(&model, node, 1).unwrap().to_f32s().unwrap(), [4.0, -6.0]);
        assert_eq!(constant(&model, node, 2).unwrap().to_f32s().unwrap(), [1.0 * 2.0 - 5.5, -5.0]);
        assert_eq!((node.outputs[0].as_str(), model.nodes.len()), ("y", 1));
    }

    #[test]
    fn operands_that_vary_over_space_stay() {
        assert_eq!(per_channel(&Tensor::from_f32(vec![2, 1, 1], &[1.0, 2.0]), 2, 2), Some(vec![1.0, 2.0]));
        assert_eq!(per_channel(&Tensor::from_f32(vec![2], &[1.0, 2.0]), 2, 2), None);
        assert_eq!(per_channel(&Tensor::from_f32(vec![2], &[1.0, 2.0]), 2, 0), Some(vec![1.0, 2.0]));
        assert_eq!(per_channel(&Tensor::scalar_f32(3.0), 2, 2), Some(vec![3.0, 3.0]));
    }
}
