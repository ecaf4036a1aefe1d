//! The compiler: an ONNX model, float or int8, to a plan.
//!
//! 1. `normalize` rewrites operators that carry their quantization inside (`QLinearConv` …) as
//!    DequantizeLinear → operator → QuantizeLinear, so that there is one form.
//!    `recognise` puts operators together that exporters take apart.
//! 2. `lower` walks the nodes in order. Constants are folded, moves of elements become
//!    `layout::Layout`s, an operator between dequantized inputs and a QuantizeLinear becomes one
//!    int8 step, others float steps, and what has no step a step for the ONNX fallback.
//! 3. `builder` drops what nobody reads, `join` lets convolutions write into what they are put together to, `strips` saves memory where it is short, `memory` places the tensors, and the
//!    bytes are written.

mod branches;
mod builder;
mod cache;
mod compress;
mod dims;
mod join;
mod layout;
mod lower;
mod memory;
mod normalize;
pub mod recognise;
mod states;
mod strips;

use std::collections::BTreeMap;

use cygnet_core::Plan;
pub use dims::fix_dims;
pub use states::states;

use crate::model::{Model, ModelError};

/// When weights are stored in fewer bits: the plan is smaller, its steps are slower, and the arena has room to expand the
/// weights, within [`Options::scratch_bytes`] where that is enough for 16 channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Never.
    Never,
    /// Where the model asks for it: it has constants of 4 bits, or a note under [`WEIGHTS_KEY`].
    #[default]
    AsAsked,
    /// Wherever that is much smaller.
    Smallest,
}

/// What [`compile`] is asked for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The card (TOML) to embed; `None` takes the one in the model's metadata, if any.
    pub card: Option<String>,
    /// Whether nodes without a step may become steps for the ONNX fallback of machines with `std`.
    pub fallback: bool,
    /// Bytes of the arena that a convolution may take to bring more lines of its input into scratch at once
    /// than it must: more is faster.
    pub scratch_bytes: usize,
    /// Bytes of RAM that the arena should not exceed: for it, scratch becomes less, then chains of steps run in strips.
    /// The arena is larger where neither is enough.
    pub arena_bytes: Option<usize>,
    /// Whether weights of dense int8 convolutions are stored in fewer bits where their values allow it.
    pub compress: Compression,
    /// Extents of open axes, by the name of the axis or `input:axis`; those that the card tells need not be here.
    pub dims: BTreeMap<String, usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            card: None,
            fallback: true,
            scratch_bytes: 64 << 10,
            arena_bytes: None,
            compress: Compression::default(),
            dims: BTreeMap::new(),
        }
    }
}

/// A compiled model.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Compiled {
    /// The bytes of a `.cyg` file.
    pub plan: Vec<u8>,
    /// Bytes of weights that [`Compression::Smallest`] would save beside what was saved.
    pub compressible_bytes: usize,
}

/// Why a model cannot be compiled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The model breaks a rule of ONNX.
    #[error(transparent)]
    Onnx(#[from] ModelError),
    /// A node cannot be lowered and may not, or cannot, run through the fallback.
    #[error("node \"{node}\" ({op_type}): {problem}")]
    Node {
        /// Its label.
        node: String,
        /// Its operator.
        op_type: String,
        /// What is wrong, and the mend.
        problem: String,
    },
    /// A model input cannot be used.
    #[error("input \"{input}\": {problem}")]
    Input {
        /// Its name.
        input: String,
        /// What is wrong, and the mend.
        problem: String,
    },
    /// The model as a whole cannot be used.
    #[error("{0}")]
    Model(String),
    /// The card cannot be used.
    #[error("the model's card: {0}")]
    Card(String),
    /// The plan that was made does not pass the verifier: a defect of the compiler.
    #[error("the compiler made a plan that the runtime refuses ({0}); please report this model")]
    Refused(cygnet_core::Error),
}

/// Compiles a model to a plan.
///
/// Open axes get the extents that `options` or the card tell; an open batch becomes 1.
///
/// # Errors
/// [`CompileError`] naming the node, tensor or input and the mend.
pub fn compile(model: &Model, options: &Options) -> Result<Compiled, CompileError> {
    let mut model = normalize::normalize(model)?;
    let cache = cache::Cache::of(&model, options)?;
    if let Some(cache) = &cache {
        model = cache.fixed(model);
    }
    model = resolved(&model, options)?;
    if let Some(cache) = &cache {
        model = cache.written(model, options)?;
    }
    if cache.is_none() && recognise::hides_attention(&model) {
        let constants = lower::constants(&model, options)?;
        model.nodes.retain(|node| !node.outputs.iter().all(|name| name.is_empty() || constants.contains_key(name)));
        model.initializers.extend(constants);
    }
    let model = recognise::recognise(model);
    if let Some(cache) = &cache {
        cache.check(&model)?;
    }
    let lowered = |options: &Options| -> Result<builder::Builder, CompileError> {
        let mut builder = lower::lower(&model, options)?;
        builder.sweep();
        join::in_place(&mut builder, options.arena_bytes.is_some());
        Ok(builder)
    };
    let mut builder = lowered(options)?;
    if let Some(limit) = options.arena_bytes {
        let mut less = options.clone();
        while memory::live(&builder.buffers()).bytes > limit && less.scratch_bytes > 0 {
            less.scratch_bytes = if less.scratch_bytes > 256 { less.scratch_bytes / 2 } else { 0 };
            builder = lowered(&less)?;
        }
        strips::fit(&mut builder, limit, less.scratch_bytes);
        builder.sweep();
    }
    for &(input, output) in &builder.states {
        let data = (output as u32).to_le_bytes().to_vec();
        builder.metadata.push((cygnet_core::plan::MetadataKind::State, input as u32, data));
    }
    if let Some(cache) = &cache {
        cache.note(&mut builder);
    }
    metadata(&model, options, &mut builder)?;
    let compressible_bytes = builder.compressible_bytes;
    let plan = builder.finish()?;
    Plan::parse(&plan).map_err(CompileError::Refused)?;
    Ok(Compiled { plan, compressible_bytes })
}

/// The model with open axes fixed, and without `If` nodes whose condition follows from shapes.
///
/// # Errors
/// As [`compile`].
pub fn resolved(model: &Model, options: &Options) -> Result<Model, CompileError> {
    let mut model = model.clone();
    let card = card(&model, options)?;
    let mut dims: BTreeMap<String, usize> =
        card.into_iter().flat_map(|card| card.dims).map(|(name, extent)| (name, extent as usize)).collect();
    dims.extend(options.dims.clone());
    fix_dims(&mut model, &dims);
    branches::inlined(model, options)
}

/// The card that counts: that of `options`, or the model's own.
fn card(model: &Model, options: &Options) -> Result<Option<cygnet_sense::Card>, CompileError> {
    let text = options.card.as_ref().or_else(|| model.metadata.get(CARD_KEY));
    let parsed = text.map(|text| cygnet_sense::Card::parse(text)).transpose();
    parsed.map_err(|error| CompileError::Card(error.to_string()))
}

/// The key under which quantize keeps a model's card in its ONNX metadata.
pub const CARD_KEY: &str = "cygnet.card";

/// The key under which quantize notes the forms of weights in a model's ONNX metadata, with commas between them: `int8`,
/// `int4`, `clustered`, `sparse`.
pub const WEIGHTS_KEY: &str = "cygnet.weights";

fn metadata(model: &Model, options: &Options, builder: &mut builder::Builder) -> Result<(), CompileError> {
    use cygnet_core::plan::MetadataKind;
    let inputs: Vec<String> = builder.inputs.iter().map(|port| port.name.clone()).collect();
    let mut add = |kind, index, bytes: Vec<u8>| builder.metadata.push((kind, index, bytes));
    let Some(text) = options.card.as_ref().or_else(|| model.metadata.get(CARD_KEY)) else {
        add(MetadataKind::Name, 0, model.graph_name.clone().into_bytes());
        return Ok(());
    };
    let card = cygnet_sense::Card::parse(text).map_err(|error| CompileError::Card(error.to_string()))?;
    add(MetadataKind::Name, 0, card.name.clone().into_bytes());
    if !card.labels.is_empty() {
        add(MetadataKind::Labels, 0, card.labels.join("\n").into_bytes());
    }
    let input = match card.input_name() {
        None => 0,
        Some(name) => inputs.iter().position(|input| input == name).ok_or_else(|| {
            let known: Vec<String> = inputs.iter().map(|input| format!("\"{input}\"")).collect();
            CompileError::Card(format!("`input.name` is \"{name}\"; the model's inputs are {}", known.join(", ")))
        })? as u32,
    };
    if let Some(spec) = card.image_spec() {
        add(MetadataKind::Image, input, spec.to_bytes().to_vec());
    }
    if let Some(spec) = card.audio_spec() {
        add(MetadataKind::Audio, input, spec.to_bytes().to_vec());
    }
    add(MetadataKind::Card, 0, text.clone().into_bytes());
    Ok(())
}
