//! Pruning: takes whole channels out of a float model and fits the rest to what it computed before.
//!
//! Channels that residuals, concatenations, depthwise convolutions and flattenings tie together go together
//! ([`crate::channels`]). Those go first that contribute least to the layers that read them, for what they cost.

mod choose;
mod cost;
mod cut;
mod least_squares;
mod refit;
mod saliency;

use cygnet_onnx::model::Model;

use crate::channels::{Channels, Purpose};
use crate::data::Data;
use crate::equalize::watch;
use crate::error::QuantizeError;
use crate::facts::{Dims, Facts};
use crate::graph::drop_unused;
pub use cost::Cost;

/// What pruning did.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Pruned {
    /// Channels that could have gone.
    pub channels: usize,
    /// Channels that went.
    pub removed: usize,
    /// Layers that were fitted again.
    pub refitted: usize,
    /// Multiply-accumulates of one sample before.
    pub macs_before: u64,
    /// The same after.
    pub macs_after: u64,
    /// Weights before.
    pub weights_before: u64,
    /// The same after.
    pub weights_after: u64,
}

/// Removes channels that make up `share` (0 … 1) of the cost of a folded float model: the mean of their share of the
/// multiply-accumulates and of their share of the weights.
///
/// # Errors
/// [`QuantizeError::Data`] naming the sample that does not fit.
pub fn prune(model: &mut Model, facts: &Facts, dims: &Dims, share: f64, data: &Data) -> Result<Pruned, QuantizeError> {
    let channels = Channels::of(model, facts, Purpose::Remove);
    let read = channels.uses.iter().filter(|part| part.reads.is_some());
    let mut tensors: Vec<String> = read.filter_map(|part| model.nodes[part.node].input(0)).map(Into::into).collect();
    tensors.sort_unstable();
    tensors.dedup();
    let seen = watch(model, &channels, &tensors, dims, data.samples(), || ())?;
    let layers = cost::layers(model, facts, &channels);
    let saliency = saliency::saliency(model, &channels, &seen);
    let gone = choose::choose(&channels, &layers, &saliency, share);
    let whole = model.clone();
    cut::cut(model, facts, &channels, &gone)?;
    let pair = refit::Pair { whole: &whole, whole_facts: facts, channels: &channels, gone: &gone, dims };
    let pruned_facts = crate::facts::infer(model, dims)?;
    let refitted = refit::refit(&pair, model, &pruned_facts, data)?;
    drop_unused(model);
    let (before, after) = (choose::total(&layers, &Default::default()), choose::total(&layers, &gone));
    Ok(Pruned {
        channels: channels.classes.iter().filter(|class| class.pinned.is_none()).count(),
        removed: gone.len(),
        refitted,
        macs_before: before.macs as u64,
        macs_after: after.macs as u64,
        weights_before: before.weights as u64,
        weights_after: after.weights as u64,
    })
}
