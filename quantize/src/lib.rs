//! Compresses float ONNX models to int8: the passes behind the program `quantize`.
//!
//! The way of a model: [`fold`] makes it small, [`placement`] decides what becomes an integer, [`calibrate`] watches
//! the float model on real samples, [`ranges`] draws scales from that, [`insert`] writes QuantizeLinear and
//! DequantizeLinear. The result is standard ONNX. [`quantize`] does all of it. [`engine`] makes the result a plan, and
//! [`evaluate`] compares it with the float model.

pub mod calibrate;
pub mod data;
pub mod engine;
pub mod error;
pub mod evaluate;
pub mod facts;
pub mod fold;
pub mod graph;
pub mod insert;
pub mod operators;
pub mod opset;
pub mod params;
pub mod placement;
pub mod ranges;
pub mod report;

use cygnet_onnx::model::Model;

use data::Data;
use error::QuantizeError;
use facts::{Dims, dims_of, infer};
use params::Activations;
use ranges::Ranges;

/// How to quantize.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// How activation ranges are drawn.
    pub ranges: Ranges,
    /// The integer type of activations.
    pub activations: Activations,
}

impl Default for Options {
    fn default() -> Options {
        Options { ranges: Ranges::MinMax, activations: Activations::Uint8 }
    }
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
    /// What was inserted.
    pub inserted: insert::Inserted,
    /// Extents of open axes as the samples have them.
    pub dims: Dims,
    /// What calibration saw.
    pub seen: calibrate::Distributions,
}

/// Folds, calibrates on all samples of `data` and quantizes. `step` is called after each sample.
///
/// # Errors
/// [`QuantizeError`] naming the node, tensor or sample and the mend.
pub fn quantize(
    mut model: Model,
    data: &Data,
    options: Options,
    step: impl FnMut(),
) -> Result<Quantized, QuantizeError> {
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
    let placement = placement::place(&model, &facts)?;
    let seen = calibrate::calibrate(&model, &placement.observed(&model), &dims, data.samples(), step)?;
    let params = ranges::parameters(&model, &placement, &seen, options.ranges, options.activations)?;
    let float = model.clone();
    let inserted = insert::insert(&mut model, &placement, &params)?;
    model.producer = "cygnet quantize".into();
    Ok(Quantized { model, float, folded, inserted, dims, seen })
}
