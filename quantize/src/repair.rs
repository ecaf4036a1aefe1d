//! Makes up for the errors of quantization, layer by layer: weights are rounded by what their layer answers.

use std::collections::BTreeMap;

use cygnet_onnx::model::{Model, Tensor};

use crate::data::Data;
use crate::error::QuantizeError;
use crate::graph::constant;
use crate::layers::Layer;
use crate::moments::{self, Moments};
use crate::params::{Params, Weights};
use crate::placement::Placement;
use crate::rounding::{FloatLayer, LayerWeights, round};
use crate::{Effort, Quantized};

/// Rounds over all weights of a layer at most.
const SWEEPS: usize = 8;

/// Integer weights by the label of their layer.
pub type Rounded = BTreeMap<String, LayerWeights>;

/// Rounds the weights of `layers` so that their outputs come nearest to the float model's, given what they read in
/// `quantized`; the result is added to `rounded`.
///
/// # Errors
/// [`QuantizeError`] where a model cannot be run or a sample cannot be read.
pub fn round_layers(
    quantized: &Quantized,
    layers: &[Layer],
    placement: &Placement,
    params: &[Params],
    data: &Data,
    rounded: &mut Rounded,
) -> Result<(), QuantizeError> {
    for pass in moments::passes(layers.to_vec()) {
        let moments = moments::collect(quantized, &pass, data)?;
        for layer in &pass {
            let scale = placement.group_of.get(&layer.input).and_then(|&group| params.get(group));
            if let Some((moments, input)) = moments.get(&layer.label).zip(scale) {
                rounded.insert(layer.label.clone(), round_layer(&quantized.float, layer, moments, input.scale)?);
            }
        }
    }
    Ok(())
}

fn round_layer(
    model: &Model,
    layer: &Layer,
    moments: &Moments,
    input_scale: f32,
) -> Result<LayerWeights, QuantizeError> {
    let node = &model.nodes[layer.node];
    let weights = layer.weights(model)?;
    let bias = constant(model, node, 2).map(Tensor::to_f32s).transpose()?;
    let shape = [layer.outputs, layer.depth];
    let Weights { scales, .. } = Weights::for_bias(&weights, &shape, 0, bias.as_deref(), input_scale);
    let float = FloatLayer { weights, bias, takes_bias: !node.is("MatMul") };
    let nearest = |_: usize, _: usize, value: f32| value.round_ties_even().clamp(-127.0, 127.0) as i8;
    Ok(round(layer, &float, &scales, moments, SWEEPS, &nearest))
}

/// The layers in stages. Those of one stage are rounded together, with what they read once all stages before are rounded.
pub fn stages(layers: &[Layer], effort: Effort) -> impl Iterator<Item = &[Layer]> {
    let stages = match effort {
        Effort::Fast => 0,
        Effort::Normal => 8,
        Effort::Best => layers.len(),
    };
    let length = layers.len().div_ceil(stages.max(1)).max(1);
    layers.chunks(length).take(stages)
}
