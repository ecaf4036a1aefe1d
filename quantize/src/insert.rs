//! Writes QuantizeLinear and DequantizeLinear into the float model.
//!
//! The pattern is the one that integer runtimes fuse: every integer layer stands between a DequantizeLinear for each
//! input (weights and bias too) and a QuantizeLinear behind it or behind its activation.
//!
//! Names are short, because in small models they weigh as much as the weights: of tensor `t`, `t_q` holds the
//! levels, `t_dq` the value again, `t_s` the scale; `z7` is the zero point 7. Long names are shortened to their end,
//! equal scales are one, named after the first tensor that has it.

pub mod dynamic;
mod store;
mod weights;

use std::collections::{BTreeMap, BTreeSet};

use cygnet_onnx::compile::WEIGHTS_KEY;
use cygnet_onnx::model::{DType, Model, Node, Tensor};

use crate::error::QuantizeError;
use crate::graph::{constant, drop_unused, redirect, redirect_others, remove_nodes};
use crate::operators::{Role, activation_inputs, bounds};
use crate::opset;
use crate::params::{Activations, Params};
use crate::placement::Placement;
use crate::recipe::WeightForm;
use crate::rounding::LayerWeights;
use store::Store;

/// What was inserted.
#[derive(Clone, Debug, Default)]
pub struct Inserted {
    /// Layers with int8 weights.
    pub weighted: usize,
    /// Those of them that read levels of 16 bits, by [`Node::label`].
    pub wide: Vec<String>,
    /// Layers with channels that took another scale than their weights ask for.
    pub guarded: Vec<Guarded>,
    /// Activations dropped because the integer range cuts off by itself.
    pub dropped_activations: usize,
    /// For every tensor that became an integer: the tensor in the new model that holds its value again.
    pub dequantized: BTreeMap<String, String>,
}

/// A layer with channels whose scale does not come from their weights alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guarded {
    /// Its [`Node::label`].
    pub layer: String,
    /// Channels without any weight but 0: their scale is 1, or the bias's.
    pub dead: usize,
    /// Channels whose weights are so small beside their bias that it would leave 32 bits: their scale is the least with
    /// which it fits, see [`crate::params::least_scale`].
    pub held_up: usize,
    /// All of its channels.
    pub channels: usize,
}

/// Inserts the pairs for `placement` with one of `params` for each group, and weights in the form that `forms` has for the
/// [`Node::label`] of their layer; `rounded` are the integer weights of layers, the others take the nearest levels.
///
/// # Errors
/// [`QuantizeError`] for weights that are not finite, and where the result has a flaw (a mistake of ours).
pub fn insert(
    model: &mut Model,
    placement: &Placement,
    params: &[Params],
    forms: &BTreeMap<String, WeightForm>,
    rounded: &BTreeMap<String, LayerWeights>,
) -> Result<Inserted, QuantizeError> {
    let mut inserted = Inserted::default();
    let of = |tensor: &str| placement.group_of.get(tensor).and_then(|&g| params.get(g)).copied();
    let mut store = Store::of(model);
    let weighted: Vec<(usize, usize, Params)> = model
        .nodes
        .iter()
        .enumerate()
        .filter_map(|(index, node)| match placement.roles.get(index) {
            Some(&Role::Weighted { channel_axis }) => {
                let group = placement.read_as(index, node.input(0)?)?;
                Some((index, channel_axis, *params.get(group)?))
            }
            _ => None,
        })
        .collect();
    let mut ahead = Vec::new();
    for (index, channel_axis, input) in weighted {
        let label = model.nodes[index].label();
        let form = forms.get(&label).copied().unwrap_or_default();
        let rounded = rounded.get(&label);
        let wanted = weights::Wanted { channel_axis, input, form, rounded };
        let guarded = weights::quantize(model, &mut store, &mut ahead, index, wanted)?;
        inserted.guarded.extend(guarded.filter(|guarded| guarded.dead + guarded.held_up > 0));
        inserted.weighted += 1;
        if placement.wide.contains(&index) {
            inserted.wide.push(label);
        }
    }
    note_forms(model, forms);
    for index in (0..model.nodes.len()).filter(|&index| placement.roles.get(index) == Some(&Role::Recurrent)) {
        weights::quantize_recurrent(model, &mut store, &mut ahead, index)?;
        inserted.weighted += 1;
    }
    for index in 0..model.nodes.len() {
        if is_embedding(model, &model.nodes[index], placement) {
            weights::quantize_rows(model, &mut store, &mut ahead, index)?;
        }
    }
    narrow(model, &mut store, placement, params);
    let states = state_readers(model, placement);
    drop_redundant(model, placement, &of, &mut inserted);
    let outputs: BTreeSet<String> = model.outputs.iter().map(|o| o.name.clone()).collect();
    let inputs: BTreeSet<String> = model.inputs.iter().map(|i| i.name.clone()).collect();
    let made: BTreeSet<String> = model.nodes.iter().flat_map(|n| n.outputs.clone()).collect();
    for tensor in placement.group_of.keys() {
        let Some(params) = of(tensor) else { continue };
        if let Some(values) = model.initializers.get(tensor).cloned() {
            let dequantized = constant_pair(model, &mut store, &mut ahead, tensor, &values, params)?;
            inserted.dequantized.insert(tensor.clone(), dequantized);
        } else if made.contains(tensor) || inputs.contains(tensor) {
            let is_output = outputs.contains(tensor) && made.contains(tensor);
            let dequantized = pair(model, &mut store, tensor, params, is_output, &placement.islands);
            inserted.dequantized.insert(tensor.clone(), dequantized);
        }
    }
    for node in &mut model.nodes {
        let Some(inputs) = node.output(0).and_then(|output| states.get(output)) else { continue };
        node.inputs.clone_from(inputs);
    }
    model.nodes.splice(0..0, ahead);
    let is_packed = model.initializers.values().any(|tensor| tensor.dtype.is_packed());
    if is_packed || params.iter().any(|params| params.activations == Activations::Int16) {
        opset::raise_to_21(model)?;
    }
    model.value_info.clear();
    drop_unused(model);
    model.sort()?;
    Ok(inserted)
}

/// Notes in which forms weights are, where some are not int8: the compiler keeps what was asked for.
fn note_forms(model: &mut Model, forms: &BTreeMap<String, WeightForm>) {
    let names: BTreeSet<&str> = forms.values().map(|form| form.name()).collect();
    let plain = WeightForm::Int8.name();
    if names.iter().any(|&name| name != plain) {
        let names: Vec<&str> = names.into_iter().collect();
        model.metadata.insert(WEIGHTS_KEY.into(), names.join(","));
    }
}

/// What the nodes of states read now, by their first output; outputs of the model, which are renamed where they are
/// rounded, are no part of that.
fn state_readers(model: &Model, placement: &Placement) -> BTreeMap<String, Vec<String>> {
    let is_output = |tensor: &String| model.outputs.iter().any(|output| output.name == *tensor);
    let states = placement.states.iter().filter_map(|&index| model.nodes.get(index));
    let states = states.filter(|node| !node.inputs.iter().any(is_output));
    states.filter_map(|node| Some((node.output(0)?.to_string(), node.inputs.clone()))).collect()
}

/// Whether a node of an island picks rows of a large constant table by indices that are computed.
fn is_embedding(model: &Model, node: &Node, placement: &Placement) -> bool {
    node.output(0).is_some_and(|output| placement.islands.contains(output)) && is_table(model, node)
}

/// Whether a node picks rows of a large constant table by indices that are computed.
fn is_table(model: &Model, node: &Node) -> bool {
    let computed = node.input(1).is_some_and(|indices| !model.initializers.contains_key(indices));
    let table = constant(model, node, 0);
    let large = table.is_some_and(|table| {
        table.dtype == DType::F32 && table.shape.len() == 2 && table.len() >= EMBEDDING && table.shape[1] > 1
    });
    computed && large && node.is("Gather") && node.int("axis").unwrap_or(0) == 0
}

/// Elements from which on a table's rows become int8.
const EMBEDDING: usize = 1 << 14;

/// Makes layers of 8 bits read levels of 8 bits where their inputs have 16.
fn narrow(model: &mut Model, store: &mut Store, placement: &Placement, params: &[Params]) {
    let mut narrowed: BTreeMap<String, String> = BTreeMap::new();
    let mut pairs = Vec::new();
    for index in 0..model.nodes.len() {
        for input in activation_inputs(&model.nodes[index]) {
            let Some(tensor) = model.nodes[index].inputs.get(input).cloned() else { continue };
            let group =
                placement.read_as(index, &tensor).filter(|group| placement.group_of.get(&tensor) != Some(group));
            let Some(&params) = group.and_then(|group| params.get(group)) else { continue };
            let name = narrowed.entry(tensor.clone()).or_insert_with(|| {
                let [quantized, dequantized] = ["q8", "dq8"].map(|suffix| store.name(&tensor, suffix));
                pairs.extend(both(model, store, [&tensor, &quantized, &dequantized], params));
                dequantized
            });
            model.nodes[index].inputs[input].clone_from(name);
        }
    }
    model.nodes.extend(pairs);
}

/// QuantizeLinear and DequantizeLinear of a tensor: names of its value, its levels, and its value again.
fn both(model: &mut Model, store: &mut Store, [float, quantized, dequantized]: [&str; 3], params: Params) -> [Node; 2] {
    let [scale, zero_point] = parameters(model, store, float, params);
    [
        Node::new("QuantizeLinear", "", &[float, &scale, &zero_point], &[quantized]),
        Node::new("DequantizeLinear", "", &[quantized, &scale, &zero_point], &[dequantized]),
    ]
}

/// Drops activations whose bounds the integers cannot pass anyway.
fn drop_redundant(
    model: &mut Model,
    placement: &Placement,
    of: &dyn Fn(&str) -> Option<Params>,
    inserted: &mut Inserted,
) {
    let mut gone = BTreeSet::new();
    for (&layer, &activation) in &placement.fused {
        let node = &model.nodes[activation];
        let known = bounds(model, node).zip(node.output(0).and_then(of));
        let Some(((low, high), params)) = known else { continue };
        let (lowest, highest) = params.range();
        // Half a level beyond the bound still rounds to the level on it.
        let slack = params.scale / 2.0;
        if lowest > low - slack && highest < high + slack {
            model.nodes[layer].outputs[0] = model.nodes[activation].outputs[0].clone();
            gone.insert(activation);
        }
    }
    inserted.dropped_activations = gone.len();
    remove_nodes(model, &gone);
}

/// A scale and a zero point as initializers; returns their names.
fn parameters(model: &mut Model, store: &mut Store, tensor: &str, params: Params) -> [String; 2] {
    let scale = store.scale(model, tensor, Tensor::scalar_f32(params.scale));
    let zero_point = params.activations.tensor(Vec::new(), &[params.zero_point]);
    let bits = if params.activations == Activations::Int16 { "w" } else { "" };
    [scale, store.shared(model, &format!("z{}{bits}", params.zero_point), zero_point)]
}

/// Quantizes and dequantizes `tensor` and makes all its readers but those of `islands` read the result; returns the result's
/// name.
fn pair(
    model: &mut Model,
    store: &mut Store,
    tensor: &str,
    params: Params,
    is_output: bool,
    islands: &BTreeSet<String>,
) -> String {
    let quantized = store.name(tensor, "q");
    let (float, dequantized) = if is_output {
        // The output's name belongs to what leaves the model.
        let float = store.name(tensor, "f");
        for output in model.nodes.iter_mut().flat_map(|n| &mut n.outputs).filter(|o| *o == tensor) {
            *output = float.clone();
        }
        (float, tensor.to_string())
    } else {
        let dequantized = store.name(tensor, "dq");
        redirect_others(model, tensor, &dequantized, islands);
        (tensor.to_string(), dequantized)
    };
    let nodes = both(model, store, [&float, &quantized, &dequantized], params);
    model.nodes.extend(nodes);
    dequantized
}

/// Replaces a constant by its levels and a DequantizeLinear; returns the name of the latter's output.
fn constant_pair(
    model: &mut Model,
    store: &mut Store,
    ahead: &mut Vec<Node>,
    tensor: &str,
    values: &Tensor,
    params: Params,
) -> Result<String, QuantizeError> {
    let [scale, zero_point] = parameters(model, store, tensor, params);
    let levels: Vec<i32> = values.to_f32s()?.iter().map(|&v| params.level(v)).collect();
    let levels = params.activations.tensor(values.shape.clone(), &levels);
    let quantized = store.levels(model, tensor, levels);
    let dequantized = store.name(tensor, "dq");
    ahead.push(Node::new("DequantizeLinear", "", &[&quantized, &scale, &zero_point], &[&dequantized]));
    redirect(model, tensor, &dequantized);
    Ok(dequantized)
}
