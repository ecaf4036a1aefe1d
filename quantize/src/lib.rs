//! Compresses float ONNX models to int8: the passes behind the program `quantize`.
//!
//! The way of a model, in three stages: [`prepare`] makes the float model small ([`fold`]); [`calibrate`] watches it on real
//! samples; [`build`] decides what becomes an integer ([`placement`], by a [`recipe`], but for its [`tail`]), draws scales ([`ranges`]) and writes
//! QuantizeLinear and DequantizeLinear ([`insert`]). The result is standard ONNX. [`quantize`] does all of it. [`engine`]
//! makes the result a plan, and [`evaluate`] compares it with the float model.

pub mod calibrate;
pub mod channels;
pub mod data;
pub mod engine;
pub mod equalize;
pub mod error;
pub mod evaluate;
pub mod facts;
pub mod fold;
pub mod graph;
pub mod insert;
pub mod layers;
pub mod moments;
pub mod operators;
pub mod opset;
pub mod params;
pub mod placement;
pub mod ranges;
pub mod recipe;
pub mod repair;
pub mod rounding;
pub mod tail;
pub mod taps;

use cygnet_onnx::model::Model;

use calibrate::Distributions;
use data::Data;
use error::QuantizeError;
use facts::{Dims, Facts, dims_of, infer};
use layers::Layer;
use params::{Activations, Params};
use placement::Placement;
use ranges::Ranges;
use recipe::Recipe;
use repair::Rounded;
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
    /// Several rounds of that, and ranges chosen by the model's output: minutes
    Best,
}

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
    /// Whether channels are made equally wide across layers where that lowers noise, see [`equalize`].
    pub equalize: bool,
    /// Threads to work on; the result does not depend on it.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            ranges: Ranges::MinMax,
            activations: Activations::Uint8,
            outputs: Outputs::default(),
            effort: Effort::default(),
            recipe: Recipe::default(),
            equalize: true,
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
    /// What equalization did.
    pub equalized: equalize::Equalized,
}

/// An int8 model and how it came about.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// Standard ONNX with QuantizeLinear and DequantizeLinear.
    pub model: Model,
    /// The float model after folding: what the int8 model is to be compared with.
    pub float: Model,
    /// What folding did.
    pub folded: fold::Folded,
    /// What equalization did.
    pub equalized: equalize::Equalized,
    /// What was inserted.
    pub inserted: insert::Inserted,
    /// Extents of open axes as the samples have them.
    pub dims: Dims,
}

/// Folds, calibrates on all samples of `data` and quantizes. `step` is called after each sample.
///
/// # Errors
/// [`QuantizeError`] naming the node, tensor or sample and the mend.
pub fn quantize(model: Model, data: &Data, options: &Options, step: impl FnMut()) -> Result<Quantized, QuantizeError> {
    let mut prepared = prepare(model, data)?;
    if options.equalize {
        let Prepared { model, facts, dims, .. } = &mut prepared;
        prepared.equalized = equalize::equalize(model, facts, dims, data.samples(), || ())?;
    }
    let placement = placement::place(&prepared.model, &prepared.facts, &options.recipe, options.outputs)?;
    let observed = placement.observed(&prepared.model);
    let seen = calibrate::calibrate(&prepared.model, &observed, &prepared.dims, data.samples(), step)?;
    build(&prepared, &seen, data, options)
}

/// Makes the float model small and takes open extents from the first sample of `data`.
///
/// # Errors
/// [`QuantizeError`] where the model is quantized already or tract cannot follow it.
pub fn prepare(mut model: Model, data: &Data) -> Result<Prepared, QuantizeError> {
    if let Some(node) = model.nodes.iter().find(|n| n.op_type == "QuantizeLinear" || n.op_type.starts_with("QLinear")) {
        return Err(QuantizeError::node(node, "the model is quantized already; give the float model"));
    }
    let dims = match data.samples().next() {
        Some(sample) => dims_of(&model, &sample?.inputs),
        None => Dims::new(),
    };
    let facts = infer(&model, &dims)?;
    opset::raise(&mut model, &facts)?;
    let folded = fold::fold(&mut model, &dims)?;
    let facts = infer(&model, &dims)?;
    Ok(Prepared { model, facts, dims, folded, equalized: equalize::Equalized::default() })
}

/// Quantizes with the recipe, the ranges and the repairs that `options` tell.
///
/// # Errors
/// [`QuantizeError`] naming the node or tensor and the mend.
pub fn build(
    prepared: &Prepared,
    seen: &Distributions,
    data: &Data,
    options: &Options,
) -> Result<Quantized, QuantizeError> {
    let placement = placement::place(&prepared.model, &prepared.facts, &options.recipe, options.outputs)?;
    let params = ranges::parameters(&prepared.model, &placement, seen, options.ranges, options.activations)?;
    let layers = Layer::all(&prepared.model, &prepared.facts, &placement);
    let mut quantized = assemble(prepared, &placement, &params, &Rounded::new())?;
    let mut rounded = Rounded::new();
    for stage in repair::stages(&layers, options.effort) {
        repair::round_layers(&quantized, stage, &placement, &params, data, &mut rounded)?;
        quantized = assemble(prepared, &placement, &params, &rounded)?;
    }
    Ok(quantized)
}

fn assemble(
    prepared: &Prepared,
    placement: &Placement,
    params: &[Params],
    rounded: &Rounded,
) -> Result<Quantized, QuantizeError> {
    let Prepared { model: float, dims, folded, equalized, .. } = prepared;
    let mut model = float.clone();
    let inserted = insert::insert(&mut model, placement, params, rounded)?;
    model.producer = "cygnet quantize".into();
    Ok(Quantized {
        model,
        float: float.clone(),
        folded: *folded,
        equalized: equalized.clone(),
        inserted,
        dims: dims.clone(),
    })
}
