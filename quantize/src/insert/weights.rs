//! Weights as int8 with one scale per channel, biases as int32.

use cygnet_onnx::model::{Attribute, Model, Node, Tensor};

use super::store::Store;
use crate::error::QuantizeError;
use crate::graph::constant;
use crate::params::{Weights, bias_level};
use crate::rounding::LayerWeights;

/// Replaces weights and bias of the node at `index` by integers and DequantizeLinear nodes, which go to `ahead`.
///
/// `rounded` are the integers; without it each weight takes its nearest level.
pub(super) fn quantize(
    model: &mut Model,
    store: &mut Store,
    ahead: &mut Vec<Node>,
    index: usize,
    channel_axis: usize,
    input_scale: f32,
    rounded: Option<&LayerWeights>,
) -> Result<(), QuantizeError> {
    let node = model.nodes[index].clone();
    let Some(weights) = constant(model, &node, 1).cloned() else { return Ok(()) };
    let values = weights.to_f32s()?;
    let bias = constant(model, &node, 2).map(Tensor::to_f32s).transpose()?;
    if !values.iter().chain(bias.iter().flatten()).all(|v| v.is_finite()) {
        return Err(QuantizeError::node(&node, "its weights or bias hold NaN or infinity; the training went astray"));
    }
    let LayerWeights { levels, scales, bias } = match rounded {
        Some(rounded) => rounded.clone(),
        None => {
            let Weights { levels, scales } =
                Weights::for_bias(&values, &weights.shape, channel_axis, bias.as_deref(), input_scale);
            LayerWeights { levels, scales, bias }
        }
    };
    let levels = Tensor::from_i8(weights.shape, &levels);
    let zero_point = Some(Tensor::from_i8(vec![scales.len()], &vec![0; scales.len()]));
    let constant = Constant { name: &node.inputs[1], levels, scales: &scales, zero_point, axis: channel_axis };
    model.nodes[index].inputs[1] = constant.dequantize(model, store, ahead);
    if let Some(bias) = bias {
        // One f32 multiplication, as the engine does it.
        let scales: Vec<f32> = scales.iter().map(|s| input_scale * s).collect();
        let levels: Vec<i32> = bias.iter().zip(&scales).map(|(&b, &s)| bias_level(b, s)).collect();
        let levels = Tensor::from_i32(vec![levels.len()], &levels);
        let name = match node.input(2) {
            Some(name) => name.to_string(),
            None => store.name(&node.inputs[1], "b"),
        };
        let constant = Constant { name: &name, levels, scales: &scales, zero_point: None, axis: 0 };
        let dequantized = constant.dequantize(model, store, ahead);
        model.nodes[index].inputs.truncate(2);
        model.nodes[index].inputs.push(dequantized);
    }
    Ok(())
}

/// Levels with one scale per index of `axis`.
struct Constant<'a> {
    name: &'a str,
    levels: Tensor,
    scales: &'a [f32],
    zero_point: Option<Tensor>,
    axis: usize,
}

impl Constant<'_> {
    /// Stores levels and parameters and returns the name of the float tensor that they make.
    fn dequantize(self, model: &mut Model, store: &mut Store, ahead: &mut Vec<Node>) -> String {
        let name = self.name;
        let scales = Tensor::from_f32(vec![self.scales.len()], self.scales);
        let channels = self.scales.len();
        let mut inputs = vec![store.levels(model, name, self.levels), store.scale(model, name, scales)];
        inputs.extend(self.zero_point.map(|zeros| store.shared(model, &format!("z0x{channels}"), zeros)));
        let output = store.name(name, "dq");
        let node =
            Node { op_type: "DequantizeLinear".into(), inputs, outputs: vec![output.clone()], ..Node::default() };
        ahead.push(node.with("axis", Attribute::Int(self.axis as i64)));
        output
    }
}
