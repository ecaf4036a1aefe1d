//! Decides which tensors become integers, and which of them share scale and zero point.

use std::collections::{BTreeMap, BTreeSet};

use cygnet_onnx::model::{DType, Model};

use crate::error::QuantizeError;
use crate::facts::Facts;
use crate::functions::{Function, functions};
use crate::graph::{Readers, makers};
use crate::islands::Islands;
use crate::narrow::forms;
use crate::operators::{Role, activation_inputs, bounds, fuses_activation, role};
use crate::recipe::{Precision, Recipe, WeightForm};
use crate::spectrum::Spectra;
use crate::tail::{Outputs, Tail};

/// Tensors with one scale and zero point.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// All tensors of the group, in the order of their names.
    pub tensors: Vec<String>,
    /// Those where values come in; the others only move them.
    pub sources: Vec<String>,
    /// Whether all values lie between 0 and 1 by definition.
    pub is_unit: bool,
    /// Whether the levels have 16 bits.
    pub is_wide: bool,
}

/// Which tensors become integers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Placement {
    /// What each node of the model does, by its position.
    pub roles: Vec<Role>,
    /// How the weights of layers are stored, by the layer's label; the others as int8.
    pub forms: BTreeMap<String, WeightForm>,
    /// Groups of tensors.
    pub groups: Vec<Group>,
    /// The group of each tensor that becomes an integer.
    pub group_of: BTreeMap<String, usize>,
    /// Activations computed together with the node before them: the activation's position by the node's.
    pub fused: BTreeMap<usize, usize>,
    /// For groups of 16 bits that layers of 8 bits read: the group, without tensors of its own, whose levels they read.
    pub narrowed: BTreeMap<usize, usize>,
    /// Positions of the nodes that read levels of 16 bits.
    pub wide: BTreeSet<usize>,
    /// Positions of the nodes that bring the state of recurrent layers to outputs: they read no rounded values.
    pub states: Vec<usize>,
    /// The first outputs of nodes that read real values even where others read levels.
    pub islands: BTreeSet<String>,
}

impl Placement {
    /// The group in which the node at a position reads a tensor.
    pub fn read_as(&self, node: usize, tensor: &str) -> Option<usize> {
        let group = *self.group_of.get(tensor)?;
        let integer = !matches!(self.roles.get(node), None | Some(Role::Float | Role::Move));
        let narrowed = self.narrowed.get(&group).filter(|_| integer && !self.wide.contains(&node));
        Some(narrowed.copied().unwrap_or(group))
    }

    /// Tensors to observe in calibration: the sources of all groups that are no constants and have no fixed range.
    pub fn observed(&self, model: &Model) -> Vec<String> {
        let open = self.groups.iter().filter(|g| !g.is_unit).flat_map(|g| &g.sources);
        open.filter(|t| !model.initializers.contains_key(*t)).cloned().collect()
    }
}

/// Decides for the whole model. `recipe` tells which layers stay in float, and which compute on levels of 16 bits: those
/// read 16 bits, and what they make has as many as its readers want, or 16 where none of them is an integer layer. What
/// has no weights and is not listed computes on 16 bits where all of its inputs have them.
/// `outputs` tells whether the model's tail stays in float.
///
/// # Errors
/// [`QuantizeError::Unsuitable`] where nothing can be quantized.
pub fn place(model: &Model, facts: &Facts, recipe: &Recipe, outputs: Outputs) -> Result<Placement, QuantizeError> {
    let role_of = |node| match recipe.form(node).precision {
        Precision::Float => Role::Float,
        _ => role(model, node),
    };
    let mut roles: Vec<Role> = model.nodes.iter().map(role_of).collect();
    float_activations(model, recipe, &mut roles);
    let spectra = Spectra::of(model, &roles);
    spectra.nodes.iter().for_each(|&node| roles[node] = Role::Float);
    let functions = functions_of_levels(model, &roles, recipe, &spectra);
    let joining = nodes_of(functions.iter().filter(|function| function.joins));
    let islands = Islands::of(model, &roles, &joining);
    // Where normalisations stay in float, so do the roots of their variances.
    let tables = if islands.nodes.is_empty() { nodes_of(functions.iter()) } else { joining };
    islands.nodes.iter().chain(&tables).for_each(|&node| roles[node] = Role::Float);
    islands.biases.values().filter(|sum| !islands.nodes.contains(sum)).for_each(|&sum| roles[sum] = Role::Bias);
    let tail = match outputs {
        Outputs::Float => Tail::of(model, facts, &roles),
        Outputs::Int8 => Tail::default(),
    };
    tail.nodes.iter().for_each(|&node| roles[node] = Role::Float);
    let states = state_nodes(model, &roles);
    states.iter().for_each(|&node| roles[node] = Role::Float);
    let wide = wide_nodes(model, &roles, recipe, &spectra.readers);
    let mut fused = fused_activations(model, &roles);
    fused.extend(&islands.biases);
    let readers = Readers::of(model);
    let mut inside: BTreeSet<&str> = fused.keys().filter_map(|&node| model.nodes[node].output(0)).collect();
    let layers = roles.iter().enumerate().filter(|(_, role)| matches!(role, Role::Weighted { .. } | Role::Bias));
    let made = layers.filter_map(|(index, _)| model.nodes[index].output(0));
    inside.extend(made.filter(|tensor| islands.alone_read(&readers, tensor)));
    let is_float = |t: &str| facts.get(t).is_some_and(|(dtype, _)| *dtype == DType::F32);
    let mut sets = Sets::default();
    let mut active = Vec::new();
    for (node, role) in model.nodes.iter().zip(&roles) {
        let read = activation_inputs(node).filter_map(|i| node.input(i));
        let made = node.outputs.iter().map(String::as_str).filter(|o| !o.is_empty());
        let touched: Vec<&str> = match role {
            Role::Float => continue,
            Role::Weighted { .. } => node.input(0).into_iter().chain(made).collect(),
            Role::Recurrent => node.input(0).into_iter().collect(),
            Role::Bias => made.collect(),
            _ => read.chain(made).collect(),
        };
        let stays = |t: &str| inside.contains(t) || tail.tensors.contains(t) || spectra.tensors.contains(t);
        let touched: Vec<&str> = touched.into_iter().filter(|t| is_float(t) && !stays(t)).collect();
        let moves = *role == Role::Move;
        if moves && let [first, rest @ ..] = &touched[..] {
            rest.iter().for_each(|other| sets.join(first, other));
        }
        if !moves || node.is("MaxPool") || node.is("GlobalMaxPool") {
            active.extend(touched);
        }
    }
    let active: BTreeSet<usize> = active.into_iter().map(|t| sets.find(t)).collect();
    if active.is_empty() {
        let problem = "no layer of this model has an integer form: it would stay as it is";
        return Err(QuantizeError::Unsuitable(problem.into()));
    }
    let forms = forms(model, &roles, recipe);
    let mut placement = Placement { forms, ..collect(model, roles, fused, &mut sets, &active) };
    placement.wide = wide;
    placement.states = states;
    placement.islands = islands.outputs(model);
    widen(model, &mut placement);
    Ok(placement)
}

/// Functions of one tensor of 8-bit levels: they become tables. What cuts off the values of a layer is one with the layer.
fn functions_of_levels(model: &Model, roles: &[Role], recipe: &Recipe, spectra: &Spectra) -> Vec<Function> {
    if recipe.usual.precision != Precision::Int8 {
        return Vec::new();
    }
    let variable =
        |node: usize, place| model.nodes[node].input(place).is_some_and(|t| !model.initializers.contains_key(t));
    let is_layer = |node: usize| matches!(roles[node], Role::Weighted { .. }) || variable(node, 0) && variable(node, 1);
    let cuts: BTreeSet<usize> = cut_layers(model).filter(|(layer, _)| is_layer(*layer)).map(|(_, cut)| cut).collect();
    functions(model, |node| {
        let told = recipe.layers.contains_key(&model.nodes[node].label());
        !told && !cuts.contains(&node) && !spectra.nodes.contains(&node)
    })
}

fn nodes_of<'f>(functions: impl Iterator<Item = &'f Function>) -> BTreeSet<usize> {
    functions.flat_map(|function| function.nodes.iter().copied()).collect()
}

/// Positions of the nodes that bring the state of recurrent layers from their output to an output of the model: what is
/// fed back stays in float, or its error would be too.
fn state_nodes(model: &Model, roles: &[Role]) -> Vec<usize> {
    let (mut made, mut behind) = (BTreeSet::new(), Vec::new());
    for (index, (node, role)) in model.nodes.iter().zip(roles).enumerate() {
        let reads = node.inputs.iter().any(|input| made.contains(input.as_str()));
        if *role == Role::Recurrent || reads && !matches!(role, Role::Weighted { .. }) {
            made.extend(node.outputs.iter().map(String::as_str));
            behind.push(index);
        }
    }
    let mut wanted: BTreeSet<&str> = model.outputs.iter().map(|output| output.name.as_str()).collect();
    let mut nodes = Vec::new();
    for index in behind.into_iter().rev() {
        let node = &model.nodes[index];
        if roles[index] != Role::Recurrent && node.outputs.iter().any(|output| wanted.contains(output.as_str())) {
            wanted.extend(node.inputs.iter().filter(|input| made.contains(input.as_str())).map(String::as_str));
            nodes.push(index);
        }
    }
    nodes
}

/// Positions of the nodes that compute on levels of 16 bits. What has no weights and is not listed in the recipe does so
/// where all of its inputs have 16 bits; what reads a spectrum does whatever is listed.
fn wide_nodes(model: &Model, roles: &[Role], recipe: &Recipe, spectra: &BTreeSet<usize>) -> BTreeSet<usize> {
    let usual = recipe.usual.precision == Precision::Int16;
    let mut made: BTreeSet<&str> = BTreeSet::new();
    let mut nodes = BTreeSet::new();
    for (index, (node, role)) in model.nodes.iter().zip(roles).enumerate() {
        let computed = |tensor: &&str| !model.initializers.contains_key(*tensor);
        let read = || activation_inputs(node).filter_map(|i| node.input(i)).filter(computed);
        let follows = read().any(|tensor| made.contains(tensor));
        let follows_all = follows && read().all(|tensor| made.contains(tensor));
        let wide = match (role, recipe.layers.get(&node.label())) {
            (Role::Float, _) => false,
            _ if spectra.contains(&index) => true,
            (Role::Move, _) => follows,
            (_, Some(form)) => form.precision == Precision::Int16,
            (Role::Weighted { .. } | Role::Recurrent, None) => usual,
            (_, None) => usual || follows_all,
        };
        if wide {
            made.extend(node.outputs.iter().map(String::as_str));
            nodes.insert(index);
        }
    }
    nodes
}

/// Finds the groups of 16 bits, and those of them that layers of 8 bits read.
fn widen(model: &Model, placement: &mut Placement) {
    let (mut wanted, mut made, mut narrow) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let group = |tensor: &String| placement.group_of.get(tensor).copied();
    for (index, node) in model.nodes.iter().enumerate() {
        if matches!(placement.roles[index], Role::Float | Role::Move) {
            continue;
        }
        let inputs = activation_inputs(node).filter_map(|i| node.inputs.get(i)).filter_map(group);
        let outputs = node.outputs.iter().filter_map(group);
        // An activation that is computed together with its layer is as wide as the layer.
        let fused = placement.fused.iter().find(|(_, activation)| **activation == index).map(|(layer, _)| *layer);
        let wide = placement.wide.contains(&fused.unwrap_or(index));
        if wide {
            wanted.extend(inputs);
            made.extend(outputs);
        } else {
            narrow.extend(inputs);
        }
    }
    let wanted: BTreeSet<usize> = made.difference(&narrow).chain(&wanted).copied().collect();
    for number in wanted {
        placement.groups[number].is_wide = true;
        if narrow.contains(&number) {
            let group = Group { tensors: Vec::new(), is_wide: false, ..placement.groups[number].clone() };
            placement.groups.push(group);
            placement.narrowed.insert(number, placement.groups.len() - 1);
        }
    }
}

/// What alone reads a layer that is told to stay in float and cuts its values off stays in float with it.
fn float_activations(model: &Model, recipe: &Recipe, roles: &mut [Role]) {
    for (layer, activation) in cut_layers(model) {
        if recipe.form(&model.nodes[layer]).precision == Precision::Float {
            roles[activation] = Role::Float;
        }
    }
}

/// Integer layers and the cutting activation that alone reads their output.
fn fused_activations(model: &Model, roles: &[Role]) -> BTreeMap<usize, usize> {
    cut_layers(model).filter(|(layer, _)| roles[*layer] != Role::Float).collect()
}

/// Pairs of a node and the cutting activation that alone reads its output.
fn cut_layers(model: &Model) -> impl Iterator<Item = (usize, usize)> {
    let readers = Readers::of(model);
    model.nodes.iter().enumerate().filter_map(move |(index, node)| {
        let activation = readers.only(node.output(0)?)?;
        let follows = &model.nodes[activation];
        let is_data = follows.input(0) == node.output(0);
        (fuses_activation(node) && is_data && bounds(model, follows).is_some()).then_some((index, activation))
    })
}

fn collect(
    model: &Model,
    roles: Vec<Role>,
    fused: BTreeMap<usize, usize>,
    sets: &mut Sets,
    active: &BTreeSet<usize>,
) -> Placement {
    let makers = makers(model);
    let mut placement = Placement { roles, fused, ..Placement::default() };
    let mut number_of = BTreeMap::new();
    for tensor in sets.names() {
        let set = sets.find(&tensor);
        if !active.contains(&set) {
            continue;
        }
        let number = *number_of.entry(set).or_insert_with(|| {
            placement.groups.push(Group { tensors: Vec::new(), sources: Vec::new(), is_unit: true, is_wide: false });
            placement.groups.len() - 1
        });
        let maker = makers.get(&tensor).map(|&index| placement.roles[index]);
        let group = &mut placement.groups[number];
        if maker != Some(Role::Move) {
            group.is_unit &= maker == Some(Role::ComputeUnit);
            group.sources.push(tensor.clone());
        }
        group.tensors.push(tensor.clone());
        placement.group_of.insert(tensor, number);
    }
    placement
}

/// Disjoint sets of tensors.
#[derive(Default)]
struct Sets {
    number: BTreeMap<String, usize>,
    parent: Vec<usize>,
}

impl Sets {
    fn find(&mut self, tensor: &str) -> usize {
        let fresh = self.parent.len();
        let mut set = *self.number.entry(tensor.into()).or_insert(fresh);
        if set == fresh {
            self.parent.push(fresh);
        }
        while self.parent[set] != set {
            self.parent[set] = self.parent[self.parent[set]];
            set = self.parent[set];
        }
        set
    }

    fn join(&mut self, one: &str, other: &str) {
        let (one, other) = (self.find(one), self.find(other));
        self.parent[one.max(other)] = one.min(other);
    }

    fn names(&self) -> Vec<String> {
        self.number.keys().cloned().collect()
    }
}
