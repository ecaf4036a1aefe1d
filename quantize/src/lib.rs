//! Compresses float ONNX models to int8: the passes behind the program `quantize`.
//!
//! The way of a model, in three stages: [`prepare`] makes the float model small ([`fold`]); [`calibrate`] watches it on real
//! samples; [`build`] decides what becomes an integer ([`placement`], by a [`recipe`], but for its [`tail`]), draws scales ([`ranges`]) and writes
//! QuantizeLinear and DequantizeLinear ([`insert`]). The result is standard ONNX. [`quantize`] does all of it. [`engine`]
//! makes the result a plan, and [`evaluate`] compares it with the float model.

pub mod cache;
pub mod calibrate;
pub mod channels;
pub mod choose;
pub mod coverage;
pub mod data;
#[cfg(feature = "distill")]
pub mod distill;
pub mod engine;
pub mod equalize;
pub mod error;
pub mod evaluate;
pub mod facts;
pub mod files;
pub mod float;
pub mod fold;
pub mod graph;
pub mod insert;
pub mod interrupt;
pub mod islands;
pub mod judge;
pub mod layers;
pub mod moments;
pub mod narrow;
pub mod operators;
pub mod opset;
pub mod params;
pub mod placement;
pub mod prune;
pub mod random;
pub mod ranges;
pub mod recipe;
pub mod repair;
pub mod report;
pub mod rounding;
pub mod search;
pub mod spectrum;
pub mod synthetic;
pub mod tail;
pub mod taps;

use std::collections::BTreeMap;
use std::path::PathBuf;

use cygnet_onnx::model::Model;

use calibrate::Distributions;
use data::Data;
use error::QuantizeError;
use facts::{Dims, Facts, dims_of, infer};
use judge::{Judge, Loss};
use params::{Activations, Params};
use placement::Placement;
use ranges::Ranges;
use recipe::{Precision, Recipe};
use repair::{Rounded, Rounding};
use tail::Outputs;

/// How much work goes into accuracy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    /// Ranges only: seconds
    Fast,
    /// Repairs and rounding of weights by their layer's output
    #[default]
    Normal,
    /// Ranges tensor by tensor and biases layer after layer too, first layers on 16 bits where that saves much: minutes
    Best,
}

/// An equalized model is taken where less than this share of the loss remains: its channels fill their ranges, so what was
/// not seen in calibration is cut off sooner.
const EQUALIZED: f64 = 0.85;

/// Biases that make up for the mean error of what their layers read are taken where less than this share of the loss
/// remains: means over few samples are chance too.
const SEQUENTIAL: f64 = 0.95;

/// More bits for the first layers have to leave less than this share of the loss.
const WIDER: f64 = 0.75;
/// So many layers at most get them, if those are no more than this part of all multiplications.
const FIRST: usize = 5;
const SMALL_PART: f64 = 0.15;

/// So many ways to draw ranges are tried on the equalized model, those best without: the rest takes time and wins rarely.
const FINALISTS: usize = 2;

/// How to quantize.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// How activation ranges are drawn.
    pub ranges: Ranges,
    /// The integer type of activations.
    pub activations: Activations,
    /// The form of the answers.
    pub outputs: Outputs,
    /// How much work goes into accuracy.
    pub effort: Effort,
    /// What becomes of each layer.
    pub recipe: Recipe,
    /// The share of the cost that channels taken out make up, 0 … 1; see [`prune::prune`].
    pub prune: f64,
    /// Whether first layers that lose much compute on 16 bits, see [`Quantizer::of`].
    pub mixed: bool,
    /// Whether channels are made equally wide across layers where that lowers noise, see [`equalize`].
    pub equalize: bool,
    /// Threads to work on; the result does not depend on it.
    pub threads: usize,
    /// The folder that keeps what calibration saw, see [`cache`].
    pub cache: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            ranges: Ranges::Auto,
            activations: Activations::Uint8,
            outputs: Outputs::default(),
            effort: Effort::default(),
            recipe: Recipe::default(),
            prune: 0.0,
            mixed: true,
            equalize: true,
            cache: None,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// A float model that is ready to be quantized.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The folded model.
    pub model: Model,
    /// Type and shape of its tensors.
    pub facts: Facts,
    /// Extents of open axes as the samples have them.
    pub dims: Dims,
    /// What folding did.
    pub folded: fold::Folded,
    /// What pruning did.
    pub pruned: Option<prune::Pruned>,
    /// What equalization did.
    pub equalized: equalize::Equalized,
}

/// An int8 model and how it came about.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// Standard ONNX with QuantizeLinear and DequantizeLinear.
    pub model: Model,
    /// The float model after folding: what the int8 model's answers are to be compared with.
    pub original: Model,
    /// The same after all that was done to it in float: what the int8 model's layers are to be compared with.
    pub float: Model,
    /// What pruning did.
    pub pruned: Option<prune::Pruned>,
    /// What folding did.
    pub folded: fold::Folded,
    /// What equalization did.
    pub equalized: equalize::Equalized,
    /// What was inserted.
    pub inserted: insert::Inserted,
    /// What calibration saw; empty where only [`build`] was called.
    pub seen: Distributions,
    /// How the range of each tensor was drawn.
    pub ranges: BTreeMap<String, Ranges>,
    /// Extents of open axes as the samples have them.
    pub dims: Dims,
}

/// Folds, calibrates on all samples of `data` and quantizes. `step` is called after each sample.
///
/// # Errors
/// [`QuantizeError`] naming the node, tensor or sample and the mend.
pub fn quantize(model: Model, data: &Data, options: &Options, step: impl FnMut()) -> Result<Quantized, QuantizeError> {
    Ok(Quantizer::of(model, data, options, step)?.1.quantized)
}

/// A model that was quantized once, and all it takes to do it again by another recipe.
#[derive(Debug)]
pub struct Quantizer<'d> {
    data: &'d Data,
    options: Options,
    original: Model,
    prepared: Prepared,
    seen: Distributions,
    judge: Judge,
    /// The ways to draw ranges, the best of the first time first.
    ranges: Vec<Ranges>,
}

impl<'d> Quantizer<'d> {
    /// Folds, calibrates on all samples of `data` and quantizes by the recipe of `options`; gives what was made too. `step`
    /// is called after each sample.
    ///
    /// With [`Effort::Best`] and [`Options::mixed`] the first layers compute on 16 bits where that takes much of the loss away and they are a small
    /// part of the work: what they lose all others build on, and of a spectrum 8 bits keep too little.
    ///
    /// # Errors
    /// [`QuantizeError`] naming the node, tensor or sample and the mend.
    pub fn of(
        model: Model,
        data: &'d Data,
        options: &Options,
        step: impl FnMut(),
    ) -> Result<(Quantizer<'d>, Built), QuantizeError> {
        let mut prepared = prepare(model, data)?;
        let original = prepared.model.clone();
        if options.prune > 0.0 {
            let Prepared { model, facts, dims, pruned, .. } = &mut prepared;
            *pruned = Some(prune::prune(model, facts, dims, options.prune, data)?);
            *facts = infer(model, dims)?;
        }
        let variants = variants(prepared, data, options, step)?;
        // Calibration has found the bad samples; and all variants compute the same in float.
        let Some((first, _)) = variants.first() else {
            return Err(QuantizeError::Unsuitable("nothing was tried".into()));
        };
        let judge = Judge::of(first, data)?;
        let mut candidates = Ranges::candidates(options.effort).to_vec();
        let options = options.clone();
        let mut best: Option<(Built, Prepared, Distributions)> = None;
        for (prepared, seen) in variants {
            let built = build(&prepared, &seen, &judge, data, &candidates, &options)?;
            if options.effort < Effort::Best {
                candidates = built.ranges.iter().take(FINALISTS).copied().collect();
            }
            if best.as_ref().is_none_or(|(best, ..)| built.loss.is_below(EQUALIZED, &best.loss)) {
                best = Some((built, prepared, seen));
            }
        }
        let best = best.ok_or_else(|| QuantizeError::Unsuitable("nothing was tried".into()));
        let (mut built, prepared, seen) = best?;
        let ranges = built.ranges.clone();
        (built.quantized.original, built.quantized.seen) = (original.clone(), seen.clone());
        let mut quantizer = Quantizer { data, options, original, prepared, seen, judge, ranges };
        if let Some(recipe) = quantizer.wider()? {
            let wider = quantizer.made(&recipe, Ranges::candidates(quantizer.options.effort))?;
            if wider.loss.is_below(WIDER, &built.loss) {
                (quantizer.options.recipe, built) = (recipe, wider);
            }
        }
        Ok((quantizer, built))
    }

    /// The recipe with more bits for the first layers, where those promise much and cost little.
    fn wider(&self) -> Result<Option<Recipe>, QuantizeError> {
        let Options { recipe, mixed, effort, activations, .. } = &self.options;
        if !mixed
            || *effort < Effort::Best
            || *activations == Activations::Int16
            || recipe.usual.precision != Precision::Int8
        {
            return Ok(None);
        }
        let layers = search::layers(&self.prepared);
        let all: usize = layers.iter().map(layers::Layer::multiply_accumulates).sum();
        let (mut wider, mut work) = (search::listed(&self.prepared, &self.options)?, 0);
        let mut least = self.glance(recipe)?;
        let mut best = None;
        // Depthwise layers take long on 16 bits.
        for layer in layers.iter().take(FIRST).take_while(|layer| layer.groups == 1) {
            work += layer.multiply_accumulates();
            if work as f64 > SMALL_PART * all as f64 || recipe.layers.contains_key(&layer.label) {
                break;
            }
            wider.layers.entry(layer.label.clone()).or_default().precision = Precision::Int16;
            let loss = self.glance(&wider)?;
            log::debug!("{} and those before it on 16 bits: loss {:.6}", layer.label, loss.all);
            if loss.is_below(WIDER, &least) {
                (least, best) = (loss, Some(wider.clone()));
            }
        }
        Ok(best)
    }

    /// The recipe that was taken.
    pub fn recipe(&self) -> &Recipe {
        &self.options.recipe
    }

    /// The float model as it is quantized.
    pub fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// Quantizes by another recipe.
    ///
    /// # Errors
    /// [`QuantizeError`] naming the node or tensor and the mend.
    pub fn by(&self, recipe: &Recipe) -> Result<Built, QuantizeError> {
        self.made(recipe, &self.ranges[..self.ranges.len().min(FINALISTS)])
    }

    fn made(&self, recipe: &Recipe, candidates: &[Ranges]) -> Result<Built, QuantizeError> {
        let options = Options { recipe: recipe.clone(), ..self.options.clone() };
        let seen = self.seen_for(recipe)?;
        let mut built = build(&self.prepared, &seen, &self.judge, self.data, candidates, &options)?;
        (built.quantized.original, built.quantized.seen) = (self.original.clone(), seen);
        Ok(built)
    }

    /// What is lost by another recipe with the weights at their nearest levels: a quick look.
    ///
    /// # Errors
    /// As [`Quantizer::by`].
    pub fn glance(&self, recipe: &Recipe) -> Result<Loss, QuantizeError> {
        let Options { ranges, activations, outputs, .. } = &self.options;
        let placement = placement::place(&self.prepared.model, &self.prepared.facts, recipe, *outputs)?;
        let ranges = self.ranges.first().copied().unwrap_or(*ranges);
        let seen = self.seen_for(recipe)?;
        let params = ranges::parameters(&self.prepared.model, &placement, &seen, ranges, *activations)?;
        self.judge.loss(&assemble(&self.prepared, &placement, &params, &Rounded::new())?)
    }

    /// What calibration saw, of all tensors that `recipe` makes integers.
    fn seen_for(&self, recipe: &Recipe) -> Result<Distributions, QuantizeError> {
        let Prepared { model, facts, dims, .. } = &self.prepared;
        let mut observed = placement::place(model, facts, recipe, self.options.outputs)?.observed(model);
        observed.retain(|tensor| !self.seen.contains_key(tensor));
        let mut seen = self.seen.clone();
        if !observed.is_empty() {
            seen.extend(calibrate::calibrate(model, &observed, dims, self.data.samples(), None, || ())?);
        }
        Ok(seen)
    }
}

/// The model as it is, and equalized where that changes it, with what calibration saw of both.
fn variants(
    prepared: Prepared,
    data: &Data,
    options: &Options,
    step: impl FnMut(),
) -> Result<Vec<(Prepared, Distributions)>, QuantizeError> {
    // Equalization trusts that channels reach no farther than on the samples; made ones do not show that.
    let equalizes = options.equalize && !data.is_synthetic();
    let analysis = equalizes.then(|| equalize::Analysis::of(&prepared.model, &prepared.facts)).transpose()?;
    let mut watch = analysis.as_ref().map(|analysis| analysis.watch(&prepared.facts));
    let placement = placement::place(&prepared.model, &prepared.facts, &options.recipe, options.outputs)?;
    let mut observed = placement.observed(&prepared.model);
    let folder = options.cache.as_deref();
    let seen = cache::calibrated(&prepared, &observed, data, folder, watch.as_mut(), step)?;
    let mut variants = vec![(prepared, seen)];
    if let (Some(analysis), Some(watch), [(plain, seen)]) = (analysis, watch, &variants[..]) {
        let mut prepared = plain.clone();
        prepared.equalized = equalize::apply(&mut prepared.model, &analysis, &watch.ranges());
        if !prepared.equalized.sets.is_empty() {
            let mut seen = seen.clone();
            observed.retain(|tensor| prepared.equalized.changed.contains(tensor));
            if !observed.is_empty() {
                seen.extend(cache::calibrated(&prepared, &observed, data, folder, None, || ())?);
            }
            variants.push((prepared, seen));
        }
    }
    Ok(variants)
}

/// Makes the float model small and takes open extents from the first sample of `data`.
///
/// # Errors
/// [`QuantizeError`] where the model is quantized already or tract cannot follow it.
pub fn prepare(model: Model, data: &Data) -> Result<Prepared, QuantizeError> {
    if let Some(node) = model.nodes.iter().find(|n| n.op_type == "QuantizeLinear" || n.op_type.starts_with("QLinear")) {
        return Err(QuantizeError::node(node, "the model is quantized already; give the float model"));
    }
    let dims = match data.samples().next() {
        Some(sample) => dims_of(&model, &sample?.inputs),
        None => Dims::new(),
    };
    let mut model = resolved(model, &dims)?;
    let facts = infer(&model, &dims)?;
    opset::raise(&mut model, &facts)?;
    let folded = fold::fold(&mut model, &dims)?;
    graph::name_apart(&mut model);
    let facts = infer(&model, &dims)?;
    Ok(Prepared { model, facts, dims, folded, pruned: None, equalized: equalize::Equalized::default() })
}

/// The model with branches (`If`) taken where shapes decide: then open axes but the batch have the extents of `dims`.
fn resolved(model: Model, dims: &Dims) -> Result<Model, QuantizeError> {
    if !model.nodes.iter().any(|node| node.is("If")) {
        return Ok(model);
    }
    let mut options = cygnet_onnx::compile::Options::default();
    options.dims.clone_from(dims);
    let mut resolved = cygnet_onnx::compile::resolved(&model, &options)?;
    for (input, open) in resolved.inputs.iter_mut().zip(&model.inputs) {
        if let (Some(batch), Some(open)) = (input.shape.iter_mut().flatten().next(), open.shape.iter().flatten().next())
        {
            batch.clone_from(open);
        }
    }
    Ok(resolved)
}

/// Quantizes with the recipe, the ranges and the repairs that `options` tell; gives what is lost too.
/// What [`build`] makes.
#[derive(Clone, Debug)]
pub struct Built {
    /// What is lost.
    pub loss: Loss,
    /// The int8 model.
    pub quantized: Quantized,
    /// The ways to draw ranges that were tried, the best first.
    pub ranges: Vec<Ranges>,
}

/// Quantizes with the recipe, the ranges and the repairs that `options` tell; [`Ranges::Auto`] chooses from `candidates`.
///
/// # Errors
/// [`QuantizeError`] naming the node or tensor and the mend.
pub fn build(
    prepared: &Prepared,
    seen: &Distributions,
    judge: &Judge,
    data: &Data,
    candidates: &[Ranges],
    options: &Options,
) -> Result<Built, QuantizeError> {
    let placement = placement::place(&prepared.model, &prepared.facts, &options.recipe, options.outputs)?;
    let chosen = choose::ranges(judge, prepared, &placement, seen, candidates, options)?;
    log::debug!("ranges: {:?}, {:?}", choose::counted(&chosen.ranges), chosen.loss);
    let mut best: Option<(Loss, Quantized)> = None;
    for &rounding in Rounding::tried(options.effort) {
        let quantized = repair::repaired(prepared, &placement, &chosen.params, data, rounding)?;
        let loss = if rounding == Rounding::Nearest { chosen.loss } else { judge.loss(&quantized)? };
        log::debug!("rounding {rounding:?}: {loss:?}");
        let share = if rounding == Rounding::Sequential { SEQUENTIAL } else { 1.0 };
        if best.as_ref().is_none_or(|(least, _)| loss.held_out < share * least.held_out) {
            best = Some((loss, quantized));
        }
    }
    let (loss, mut best) = best.ok_or_else(|| QuantizeError::Unsuitable("nothing was tried".into()))?;
    let groups = placement.groups.iter().zip(&chosen.ranges);
    best.ranges = groups.flat_map(|(group, &ranges)| group.tensors.iter().map(move |t| (t.clone(), ranges))).collect();
    Ok(Built { loss, quantized: best, ranges: chosen.tried })
}

fn assemble(
    prepared: &Prepared,
    placement: &Placement,
    params: &[Params],
    rounded: &Rounded,
) -> Result<Quantized, QuantizeError> {
    let Prepared { model: float, dims, folded, pruned, equalized, .. } = prepared;
    let mut model = float.clone();
    let inserted = insert::insert(&mut model, placement, params, &placement.forms, rounded)?;
    model.producer = "cygnet quantize".into();
    Ok(Quantized {
        model,
        original: float.clone(),
        float: float.clone(),
        folded: *folded,
        pruned: pruned.clone(),
        equalized: equalized.clone(),
        inserted,
        seen: Distributions::new(),
        ranges: BTreeMap::new(),
        dims: dims.clone(),
    })
}
