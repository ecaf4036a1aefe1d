//! Decoders that take what they know of the tokens before as inputs `past_key_values.N.key` and `.value`, and give it, with
//! the new tokens behind, as outputs `present.N.key` and `.value`, as Hugging Face's exporters write them.
//!
//! Shapes of a plan are fixed: all that is kept has the card's length from the beginning. A Concat of the past and the new
//! becomes a `CacheRows` step, and the attention that reads it sees the slots up to each query's position. Positions are an
//! input that the session counts; masks of padding are all ones, for there is none.

use std::collections::{BTreeMap, BTreeSet};

use cygnet_core::plan::MetadataKind;

use super::builder::Builder;
use super::recognise::{CACHE, DOMAIN};
use super::{CompileError, Options, card, lower};
use crate::model::{DType, Dim, Model, Node, Tensor, ValueInfo};
use crate::reference;

/// The input that holds positions, where the model has none.
const POSITIONS: &str = "position_ids";

/// Positions for which tables are made where the oldest tokens make room for more.
const SLIDING_POSITIONS: usize = 8192;

/// What a model keeps of the tokens before.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    /// Inputs with the past, and the outputs that go on with them.
    pairs: Vec<(String, String)>,
    /// Slots: the greatest number of tokens.
    length: usize,
    slides: bool,
    /// Tokens of a run.
    tokens: usize,
}

impl Cache {
    /// `None` where the model keeps nothing.
    pub fn of(model: &Model, options: &Options) -> Result<Option<Self>, CompileError> {
        let pairs: Vec<_> = model.inputs.iter().filter_map(|input| pair(model, input)).collect();
        let Some((first, _)) = pairs.first() else { return Ok(None) };
        let card = card(model, options)?;
        let told = card.as_ref().and_then(|card| card.cache.as_ref());
        let mut dims: BTreeMap<String, usize> = options.dims.clone();
        dims.extend(card.iter().flat_map(|card| &card.dims).map(|(name, &extent)| (name.clone(), extent as usize)));
        let tokens = tokens(model, &dims);
        let past =
            model.inputs.iter().find(|input| input.name == *first).and_then(|input| input.shape.as_ref()?.get(2));
        let length = match (told, past) {
            (Some(told), _) => told.length as usize,
            (None, Some(Dim::Known(past))) => past + tokens,
            _ => {
                return Err(CompileError::Input {
                    input: first.clone(),
                    problem: "it is what the model keeps of the tokens before; say in the card how many it may keep: \
                              `length = 256` in the table [cache]"
                        .into(),
                });
            }
        };
        let slides = told.is_some_and(|told| told.slides);
        if tokens > length || slides && tokens > 1 {
            let problem = format!(
                "it keeps {length} tokens and a run has {tokens}: a run may have no more, and one where it slides"
            );
            return Err(CompileError::Card(problem));
        }
        Ok(Some(Self { pairs, length, slides, tokens }))
    }

    /// The model with all extents known: the past is what is left of the length, batches are single.
    pub fn fixed(&self, mut model: Model) -> Model {
        let open = open_tokens(&model);
        for input in &mut model.inputs {
            let is_past = self.pairs.iter().any(|(past, _)| *past == input.name);
            for (axis, dim) in input.shape.iter_mut().flatten().enumerate() {
                match dim {
                    _ if is_past && axis == 2 => *dim = Dim::Known(self.length - self.tokens),
                    Dim::Symbol(_) if axis == 0 => *dim = Dim::Known(1),
                    Dim::Symbol(name) if Some(&*name) == open.as_ref() => *dim = Dim::Known(self.tokens),
                    _ => {}
                }
            }
        }
        let given = [
            ("attention_mask", Tensor::from_i64(vec![1, self.length], &vec![1; self.length])),
            ("use_cache_branch", Tensor { dtype: DType::Bool, shape: vec![1], data: vec![1] }),
        ];
        for (name, value) in given {
            if let Some(place) = model.inputs.iter().position(|input| input.name == name) {
                model.inputs.remove(place);
                model.initializers.insert(name.into(), value);
            }
        }
        let shape = Some(vec![Dim::Known(1), Dim::Known(self.tokens)]);
        let positions = ValueInfo { name: POSITIONS.into(), dtype: DType::I64, shape };
        match model.inputs.iter_mut().find(|input| input.name == POSITIONS) {
            Some(input) => *input = positions,
            None => model.inputs.push(positions),
        }
        model
    }

    /// The model with what it keeps written where it stays, constants computed, and angles of positions as tables.
    ///
    /// # Errors
    /// [`CompileError`] naming the node that cannot be one of a decoder's.
    pub fn written(&self, mut model: Model, options: &Options) -> Result<Model, CompileError> {
        count_positions(&mut model, &self.pairs);
        for (past, present) in &self.pairs {
            self.write_pair(&mut model, past, present)?;
        }
        let constants = lower::constants(&model, options)?;
        model.nodes.retain(|node| !node.outputs.iter().all(|name| name.is_empty() || constants.contains_key(name)));
        model.initializers.extend(constants);
        let positions = if self.slides { SLIDING_POSITIONS.max(self.length) } else { self.length };
        evaluate_positions(&mut model, positions, self.tokens);
        Ok(model)
    }

    fn write_pair(&self, model: &mut Model, past: &str, present: &str) -> Result<(), CompileError> {
        let reads = |node: &Node| node.inputs.iter().any(|name| name == past);
        let refused = |node: &Node, problem: &str| CompileError::Node {
            node: node.label(),
            op_type: node.op_type.clone(),
            problem: format!("it reads \"{past}\", what the model keeps of the tokens before, {problem}"),
        };
        let Some(input) = model.inputs.iter_mut().find(|input| input.name == past) else { return Ok(()) };
        let extents: Option<Vec<usize>> = input.shape.iter().flatten().map(known).collect();
        let Some(mut shape) = extents.filter(|shape| shape.len() == 4 && shape[0] == 1) else {
            let problem = "it must have the axes batch, head, token, element, and only tokens may be open".to_string();
            return Err(CompileError::Input { input: past.into(), problem });
        };
        let before = format!("{past}/before");
        model.initializers.insert(before.clone(), Tensor::from_f32(shape.clone(), &vec![0.0; shape.iter().product()]));
        shape[2] = self.length;
        input.shape = Some(shape.into_iter().map(Dim::Known).collect());
        let mut written = None;
        for node in model.nodes.iter_mut().filter(|node| reads(node)) {
            if node.is("Shape") {
                node.inputs[0].clone_from(&before);
            } else if node.is("Concat") && node.inputs.len() == 2 && node.inputs[0] == past && written.is_none() {
                if !matches!(node.int("axis"), Some(2 | -2)) {
                    return Err(refused(node, "and must put the new tokens behind it along axis 2"));
                }
                let new = node.inputs[1].clone();
                let mut cache = Node::new(CACHE, &node.label(), &[past, &new, POSITIONS], &[]);
                cache.outputs.clone_from(&node.outputs);
                cache.domain = DOMAIN.into();
                cache = cache.with("in_turns", crate::model::Attribute::Int(i64::from(self.slides)));
                written = node.outputs.first().cloned();
                *node = cache;
            } else {
                return Err(refused(node, "in another way than a Concat with the new tokens"));
            }
        }
        // Outputs are given another name, or copied, by Identity.
        let mut end = present.to_string();
        while let Some(node) = model.nodes.iter().find(|node| node.is("Identity") && node.output(0) == Some(&end)) {
            end = node.inputs[0].clone();
        }
        if written.as_ref() == Some(&end) {
            return Ok(());
        }
        let problem = format!("what is put behind it must be the output \"{present}\"");
        Err(CompileError::Input { input: past.into(), problem })
    }

    /// Refuses what is kept to be read by anything but attention, which knows how much of it there is.
    pub fn check(&self, model: &Model) -> Result<(), CompileError> {
        let of_cache = |node: &&Node| node.domain == DOMAIN && node.op_type == CACHE;
        let mut kept: BTreeSet<&String> = model.nodes.iter().filter(of_cache).flat_map(|node| &node.outputs).collect();
        for node in &model.nodes {
            if !node.inputs.iter().any(|name| kept.contains(name)) {
                continue;
            }
            if node.is("Identity") {
                kept.extend(&node.outputs);
            } else if node.domain != DOMAIN || node.op_type != "Attention" || node.input(4).is_none() {
                return Err(CompileError::Node {
                    node: node.label(),
                    op_type: node.op_type.clone(),
                    problem: "it reads the keys or values of all tokens outside of an attention that is known here: \
                              softmax(q·kᵀ · scale + mask)·v, the mask hiding later tokens only"
                        .into(),
                });
            }
        }
        Ok(())
    }

    /// Notes what the session counts.
    pub fn note(&self, builder: &mut Builder) {
        let Some(index) = builder.inputs.iter().position(|port| port.name == POSITIONS) else { return };
        let words = [self.length as u32, u32::from(self.slides)];
        let data = words.into_iter().flat_map(u32::to_le_bytes).collect();
        builder.metadata.push((MetadataKind::Positions, index as u32, data));
        builder.positions = Some(index);
    }
}

fn known(dim: &Dim) -> Option<usize> {
    if let Dim::Known(extent) = dim { Some(*extent) } else { None }
}

/// An input with the past, and the output that goes on with it.
fn pair(model: &Model, input: &ValueInfo) -> Option<(String, String)> {
    let rest = input.name.strip_prefix("past_key_values.")?;
    let names = [format!("present.{rest}"), format!("present_key_values.{rest}")];
    let output = model.outputs.iter().find(|output| names.contains(&output.name))?;
    Some((input.name.clone(), output.name.clone()))
}

/// The name of the axis of a run's tokens: the second of the first input.
fn open_tokens(model: &Model) -> Option<String> {
    let names = ["input_ids", "inputs_embeds"];
    let input = model.inputs.iter().find(|input| names.contains(&&*input.name)).or(model.inputs.first())?;
    match input.shape.as_ref()?.get(1)? {
        Dim::Symbol(name) => Some(name.clone()),
        Dim::Known(_) => None,
    }
}

/// Tokens of a run: 1 where nothing says it.
fn tokens(model: &Model, dims: &BTreeMap<String, usize>) -> usize {
    if let Some(name) = open_tokens(model) {
        return dims.get(&name).copied().unwrap_or(1).max(1);
    }
    let input = model.inputs.iter().find(|input| input.name == "input_ids").or(model.inputs.first());
    input.and_then(|input| known(input.shape.as_ref()?.get(1)?)).unwrap_or(1).max(1)
}

/// Puts the positions in the place of ranges that begin at the length of the past.
fn count_positions(model: &mut Model, pairs: &[(String, String)]) {
    let mut shapes: BTreeSet<String> = BTreeSet::new();
    let mut lengths: BTreeSet<String> = BTreeSet::new();
    let mut flat = None;
    let whole = |model: &Model, name: Option<&str>| {
        name.and_then(|name| model.initializers.get(name)).and_then(|tensor| tensor.to_i64s().ok())
    };
    let mut nodes = std::mem::take(&mut model.nodes);
    for node in &mut nodes {
        let Some(x) = node.input(0).map(str::to_string) else { continue };
        let reads_length = lengths.contains(&x);
        match node.op_type.as_str() {
            "Shape" if pairs.iter().any(|(past, _)| *past == x) => {
                let set =
                    if node.int("start") == Some(2) && node.int("end") == Some(3) { &mut lengths } else { &mut shapes };
                set.extend(node.outputs.iter().cloned());
            }
            "Gather"
                if shapes.contains(&x) && whole(model, node.input(1)).is_some_and(|at| matches!(at[..], [2 | -2])) =>
            {
                lengths.extend(node.outputs.iter().cloned());
            }
            "Slice" if shapes.contains(&x) => {
                let (from, to) = (whole(model, node.input(1)), whole(model, node.input(2)));
                if from.as_deref() == Some(&[2]) && to.as_deref() == Some(&[3]) {
                    lengths.extend(node.outputs.iter().cloned());
                }
            }
            "Squeeze" | "Unsqueeze" | "Reshape" | "Cast" | "Identity" if reads_length => {
                lengths.extend(node.outputs.iter().cloned());
            }
            "Range" if reads_length => {
                let shape = flat.get_or_insert_with(|| format!("{POSITIONS}/shape")).clone();
                let outputs = std::mem::take(&mut node.outputs);
                *node = Node::new("Reshape", &node.name, &[POSITIONS, &shape], &[]);
                node.outputs = outputs;
            }
            _ => {}
        }
    }
    model.nodes = nodes;
    if let Some(shape) = flat {
        model.initializers.insert(shape, Tensor::from_i64(vec![1], &[-1]));
    }
}

/// Evaluates what depends on positions alone, for all of them at once. Sines and cosines become tables with a row for each;
/// masks that hide later tokens and nothing else become masks that hide nothing, for attention hides those by itself.
fn evaluate_positions(model: &mut Model, positions: usize, tokens: usize) {
    let run: Vec<i64> = (0..positions as i64).collect();
    let mut known: BTreeMap<String, Tensor> = BTreeMap::new();
    known.insert(POSITIONS.into(), Tensor::from_i64(vec![1, positions], &run));
    let mut nodes = Vec::new();
    for mut node in std::mem::take(&mut model.nodes) {
        let reads = |name: &String| known.contains_key(name) || model.initializers.contains_key(name);
        let follows = node.inputs.iter().any(|name| known.contains_key(name)) && node.inputs.iter().all(reads);
        if !follows || !node.domain.is_empty() || node.is("Gather") || node.outputs.len() != 1 {
            nodes.push(node);
            continue;
        }
        let values = node
            .inputs
            .iter()
            .filter_map(|name| Some((name.as_str(), known.get(name).or_else(|| model.initializers.get(name))?)));
        let Some(made) = reference::evaluate(&node, &model.opsets, &values.collect::<Vec<_>>()).ok() else {
            nodes.push(node);
            continue;
        };
        let (Some(tensor), Some(output)) = (made.into_iter().next(), node.output(0).map(str::to_string)) else {
            continue;
        };
        // Rows stand behind the batch, one for each position.
        let is_table = tensor.shape.len() == 3 && tensor.shape[..2] == [1, positions];
        if let Some(open) = without_causality(&tensor, positions, tokens) {
            model.initializers.insert(output.clone(), open);
        } else if is_table && (node.is("Cos") || node.is("Sin")) {
            let name = format!("{output}/table");
            let table = Tensor { shape: tensor.shape[1..].to_vec(), ..tensor.clone() };
            model.initializers.insert(name.clone(), table);
            node = Node::new("Gather", &node.name, &[&name, POSITIONS], &[&output]);
            nodes.push(node);
        } else {
            nodes.push(node);
        }
        known.insert(output, tensor);
    }
    model.nodes = nodes;
}

/// What a mask `[…, positions, slots]` is for the tokens of a run where it is the same for the slots up to each position,
/// and for those behind it hides: 0 and far below it, or one truth and the other.
fn without_causality(mask: &Tensor, positions: usize, tokens: usize) -> Option<Tensor> {
    let (&slots, rest) = mask.shape.split_last()?;
    let (&rows, outer) = rest.split_last()?;
    if rows != positions || slots < 2 || outer.iter().any(|&extent| extent != 1) {
        return None;
    }
    let values: Vec<f32> = match mask.dtype {
        DType::F32 => mask.to_f32s().ok()?,
        DType::Bool => mask.data.iter().map(|&byte| f32::from(byte != 0)).collect(),
        _ => return None,
    };
    let seen = *values.first()?;
    let hides = |value: f32| if mask.dtype == DType::F32 { value <= -1e4 } else { value != seen };
    let fits = values.chunks_exact(slots).enumerate().all(|(position, row)| {
        let (before, behind) = row.split_at(slots.min(position + 1));
        before.iter().all(|&value| value == seen) && behind.iter().all(|&value| hides(value))
    });
    if !fits || mask.dtype == DType::F32 && seen != 0.0 {
        return None;
    }
    let mut shape = mask.shape.clone();
    let place = shape.len() - 2;
    shape[place] = tokens;
    let bytes = mask.dtype.size_bytes();
    Some(Tensor { dtype: mask.dtype, data: mask.data.get(..bytes)?.repeat(tokens * slots), shape })
}
