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
pub mod functions;
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
pub mod places;
pub mod prune;
pub mod quantizer;
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
use cygnet_sense::BoxDecoder;

use calibrate::Distributions;
use data::Data;
use error::QuantizeError;
use facts::{Dims, Facts, dims_of, infer};
use judge::{Judge, Loss};
use params::{Activations, Params};
use placement::Placement;
pub use quantizer::Quantizer;
use ranges::Ranges;
use recipe::Recipe;
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
    /// Ranges tensor by tensor and biases layer after layer too: minutes
    Best,
}

/// Biases that make up for the mean error of what their layers read are taken where less than this share of the loss
/// remains: means over few samples are chance too.
const SEQUENTIAL: f64 = 0.95;

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
    /// Whether first layers that lose much, and detectors that lose boxes, compute on 16 bits, see [`Quantizer::of`].
    pub mixed: bool,
    /// How answers become boxes, where they do and shall be kept: with [`Options::mixed`], at [`Effort::Normal`] and above.
    pub boxes: Option<BoxDecoder>,
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
            boxes: None,
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
    /// How the boxes of a detector fare, where that was looked at.
    pub boxes: Option<quantizer::boxes::Boxes>,
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

/// Makes the float model small and takes open extents from the first sample of `data`.
///
/// # Errors
/// [`QuantizeError`] where the model is quantized already or tract cannot follow it.
pub fn prepare(model: Model, data: &Data) -> Result<Prepared, QuantizeError> {
    refuse_quantized(&model)?;
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

/// Refuses a model that is not float any more.
pub(crate) fn refuse_quantized(model: &Model) -> Result<(), QuantizeError> {
    let starts = ["QLinear", "QGemm", "QAttention", "DynamicQuantize"];
    let whole = ["QuantizeLinear", "MatMulInteger", "ConvInteger", "MatMulIntegerToFloat", "MatMulNBits"];
    let is_quantized =
        |op_type: &str| whole.contains(&op_type) || starts.iter().any(|start| op_type.starts_with(start));
    match model.nodes.iter().find(|node| is_quantized(&node.op_type)) {
        Some(node) => Err(QuantizeError::node(node, "the model is quantized already; give the float model")),
        None => Ok(()),
    }
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
        boxes: None,
        seen: Distributions::new(),
        ranges: BTreeMap::new(),
        dims: dims.clone(),
    })
}
