//! In which order layers are changed.

use crate::error::QuantizeError;
use crate::graph::constant;
use crate::layers::Layer;
use crate::narrow::is_spared;
use crate::operators::{Role, role};
use crate::recipe::{LayerForm, Precision, Recipe, WeightForm};
use crate::{Prepared, Quantizer};

/// A layer that may compute on more bits.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Widenable {
    /// Its [`cygnet_onnx::model::Node::label`].
    pub label: String,
    /// Whether something is won by it alone.
    pub wins: bool,
}

/// Layers that compute on int8, those first that win most for each multiplication on more bits.
pub(super) fn widenable(quantizer: &Quantizer<'_>, recipe: &Recipe) -> Result<Vec<Widenable>, QuantizeError> {
    let before = quantizer.glance(recipe)?.all;
    let mut found = Vec::new();
    for layer in layers(quantizer.prepared()) {
        if form(recipe, &layer.label).precision != Precision::Int8 {
            continue;
        }
        let after = with(quantizer, recipe, &layer.label, |of| of.precision = Precision::Int16)?;
        log::debug!("{} on 16 bits: loss {after:.6} of {before:.6}", layer.label);
        let cost = layer.multiply_accumulates();
        found.push(((before - after) / cost.max(1) as f64, Widenable { wins: after < before, label: layer.label }));
    }
    found.sort_by(|one, other| other.0.total_cmp(&one.0));
    Ok(found.into_iter().map(|(_, layer)| layer).collect())
}

/// Layers whose weights may take the form `to`, those first that lose least for each byte saved.
pub(super) fn narrowable(
    quantizer: &Quantizer<'_>,
    recipe: &Recipe,
    to: WeightForm,
) -> Result<Vec<String>, QuantizeError> {
    let before = quantizer.glance(recipe)?.all;
    let model = &quantizer.prepared().model;
    let mut found = Vec::new();
    for (number, layer) in layers(quantizer.prepared()).into_iter().enumerate() {
        let node = &model.nodes[layer.node];
        if number == 0 || is_spared(model, node) || form(recipe, &layer.label).weights == to {
            continue;
        }
        let after = with(quantizer, recipe, &layer.label, |of| of.weights = to)?;
        let weights = constant(model, node, 1).map_or(1, |weights| weights.len().max(1));
        found.push(((after - before) / weights as f64, layer.label));
    }
    found.sort_by(|one, other| one.0.total_cmp(&other.0));
    Ok(found.into_iter().map(|(_, label)| label).collect())
}

fn form(recipe: &Recipe, label: &str) -> LayerForm {
    recipe.layers.get(label).copied().unwrap_or(recipe.usual)
}

/// What is lost where one layer more is changed.
fn with(
    quantizer: &Quantizer<'_>,
    recipe: &Recipe,
    label: &str,
    change: impl Fn(&mut LayerForm),
) -> Result<f64, QuantizeError> {
    let mut recipe = recipe.clone();
    let usual = recipe.usual;
    change(recipe.layers.entry(label.into()).or_insert(usual));
    Ok(quantizer.glance(&recipe)?.all)
}

/// The layers with weights.
pub(crate) fn layers(prepared: &Prepared) -> Vec<Layer> {
    let Prepared { model, facts, .. } = prepared;
    let layer = |(index, node)| match role(model, node) {
        Role::Weighted { channel_axis } => Layer::of(model, facts, index, node, channel_axis),
        _ => None,
    };
    model.nodes.iter().enumerate().filter_map(layer).collect()
}
