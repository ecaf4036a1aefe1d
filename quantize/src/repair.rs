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
use crate::{Effort, Prepared, Quantized, assemble};

/// Rounds over all weights of a layer at most.
const SWEEPS: usize = 8;

/// Stages at most.
const STAGES: usize = 24;

/// Integer weights by the label of their layer.
pub type Rounded = BTreeMap<String, LayerWeights>;

/// Quantizes with weights rounded in the way of `rounding`.
///
/// # Errors
/// [`QuantizeError`] where a model cannot be run or a sample cannot be read.
pub fn repaired(
    prepared: &Prepared,
    placement: &Placement,
    params: &[Params],
    data: &Data,
    rounding: Rounding,
) -> Result<Quantized, QuantizeError> {
    let layers = Layer::all(&prepared.model, &prepared.facts, placement);
    let mut rounded = Rounded::new();
    let mut quantized = assemble(prepared, placement, params, &rounded)?;
    for stage in rounding.stages(&layers) {
        for pass in moments::passes(stage.to_vec()) {
            let moments = moments::collect(&quantized, &pass, data, rounding == Rounding::Sequential)?;
            for layer in &pass {
                let input = placement.read_as(layer.node, &layer.input).and_then(|group| params.get(group));
                if let Some((moments, &input)) = moments.get(&layer.label).zip(input) {
                    let form = placement.forms.get(&layer.label).copied().unwrap_or_default();
                    let weights = round_layer(&prepared.model, layer, moments, input, rounding, form)?;
                    rounded.insert(layer.label.clone(), weights);
                }
            }
        }
        quantized = assemble(prepared, placement, params, &rounded)?;
    }
    Ok(quantized)
}

fn round_layer(
    model: &Model,
    layer: &Layer,
    moments: &Moments,
    input: Params,
    rounding: Rounding,
    form: WeightForm,
) -> Result<LayerWeights, QuantizeError> {
    let node = &model.nodes[layer.node];
    let weights = layer.weights(model)?;
    let bias = constant(model, node, 2).map(Tensor::to_f32s).transpose()?;
    let least: Vec<f32> = bias.iter().flatten().map(|&b| least_scale(b, input)).collect();
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
    let float =
        FloatLayer { weights, bias, takes_bias: !node.is("MatMul"), corrects_input: rounding == Rounding::Sequential };
    Ok(round(layer, &float, narrow, moments, SWEEPS))
}

/// How weights are rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Rounding {
    /// Each to its nearest level.
    Nearest,
    /// By the output of their layer.
    Output,
    /// The same, and biases make up for the mean error of what the layers read: layer after layer, each with what it
    /// reads once those before have their final weights.
    Sequential,
}

impl Rounding {
    /// What is tried with `effort`.
    pub fn tried(effort: Effort) -> &'static [Rounding] {
        match effort {
            Effort::Fast => &[Rounding::Nearest],
            Effort::Normal => &[Rounding::Nearest, Rounding::Output],
            Effort::Best => &[Rounding::Nearest, Rounding::Output, Rounding::Sequential],
        }
    }

    /// The layers in stages that are rounded together.
    fn stages(self, layers: &[Layer]) -> impl Iterator<Item = &[Layer]> {
        let stages = match self {
            Rounding::Nearest => 0,
            Rounding::Output => 1,
            Rounding::Sequential => STAGES,
        };
        layers.chunks(layers.len().div_ceil(stages.max(1)).max(1)).take(stages)
    }
}
