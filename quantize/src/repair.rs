//! Makes up for the errors of quantization, layer by layer: weights are rounded by what their layer answers.

use std::collections::BTreeMap;

use cygnet_onnx::model::{Model, Tensor};

use crate::data::Data;
use crate::error::QuantizeError;
use crate::graph::constant;
use crate::layers::Layer;
use crate::moments::{self, Moments};
use crate::narrow::{Layout, Narrow};
use crate::params::{Params, least_scale};
use crate::placement::Placement;
use crate::recipe::WeightForm;
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
    forms: &BTreeMap<String, WeightForm>,
    data: &Data,
    rounded: &mut Rounded,
) -> Result<(), QuantizeError> {
    for pass in moments::passes(layers.to_vec()) {
        let moments = moments::collect(quantized, &pass, data)?;
        for layer in &pass {
            let scale = placement.group_of.get(&layer.input).and_then(|&group| params.get(group));
            if let Some((moments, input)) = moments.get(&layer.label).zip(scale) {
                let form = forms.get(&layer.label).copied().unwrap_or_default();
                let weights = round_layer(&quantized.float, layer, moments, input.scale, form)?;
                rounded.insert(layer.label.clone(), weights);
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
    form: WeightForm,
) -> Result<LayerWeights, QuantizeError> {
    let node = &model.nodes[layer.node];
    let weights = layer.weights(model)?;
    let bias = constant(model, node, 2).map(Tensor::to_f32s).transpose()?;
    let least: Vec<f32> = bias.iter().flatten().map(|&b| least_scale(b, input_scale)).collect();
    // Errors weigh as much as the mean square of the input that they meet.
    let square = |place: usize| {
        let group = &moments.groups[place / layer.depth * layer.groups / layer.outputs];
        let index = place % layer.depth;
        group.near[[index, index]] / moments.rows.max(1) as f32
    };
    let importance: Vec<f32> = (0..weights.len()).map(square).collect();
    let stored = constant(model, node, 1).map_or(&[][..], |tensor| &tensor.shape);
    let layout = Layout::of(stored, layer.channel_axis());
    let narrow = Narrow::of(form, &layer.stored(&weights), layout, &least, &layer.stored(&importance));
    let float = FloatLayer { weights, bias, takes_bias: !node.is("MatMul") };
    Ok(round(layer, &float, narrow, moments, SWEEPS))
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
