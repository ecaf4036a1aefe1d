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

use std::collections::{BTreeMap, BTreeSet};

use cygnet_onnx::model::Model;

use crate::channels::{Channels, Purpose};
use crate::data::Data;
use crate::error::QuantizeError;
use crate::facts::{Dims, Facts, infer};
use crate::graph::drop_unused;
pub use cost::Cost;

/// Channels go in this many rounds, each of which fits what is left and judges it anew.
const ROUNDS: usize = 3;

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
    let whole = Whole { model: model.clone(), facts, channels: Channels::of(model, facts, Purpose::Remove), dims };
    let layers = cost::layers(model, facts, &whole.channels);
    let before = choose::total(&layers, &BTreeSet::new());
    let mut gone = BTreeSet::new();
    let mut refitted = 0;
    for round in 1..=ROUNDS {
        let facts = infer(model, dims)?;
        let channels = Channels::of(model, &facts, Purpose::Remove);
        let layers = cost::layers(model, &facts, &channels);
        let saliency = saliency::saliency(model, &facts, dims, &channels, data)?;
        let going = choose::choose(&channels, &layers, &saliency, before, share * round as f64 / ROUNDS as f64);
        if going.is_empty() {
            continue;
        }
        let first = whole.classes(&channels, &gone);
        gone.extend(going.iter().filter_map(|class| first.get(class)));
        cut::cut(model, &facts, &channels, &going)?;
        let facts = infer(model, dims)?;
        refitted = refit::refit(&whole, &gone, model, &facts, data)?;
        drop_unused(model);
    }
    let after = choose::total(&layers, &gone);
    Ok(Pruned {
        channels: whole.channels.classes.iter().filter(|class| class.pinned.is_none()).count(),
        removed: gone.len(),
        refitted,
        macs_before: before.macs as u64,
        macs_after: after.macs as u64,
        weights_before: before.weights as u64,
        weights_after: after.weights as u64,
    })
}

/// The model before pruning.
struct Whole<'m> {
    model: Model,
    facts: &'m Facts,
    channels: Channels,
    dims: &'m Dims,
}

impl Whole<'_> {
    /// For each class of the model without the classes in `gone` its number in the whole model.
    fn classes(&self, channels: &Channels, gone: &BTreeSet<usize>) -> BTreeMap<usize, usize> {
        let mut first = BTreeMap::new();
        for (tensor, labels) in &channels.of {
            let whole = self.channels.of.get(tensor).map(|labels| labels.marks()).unwrap_or_default();
            let left: Vec<usize> = whole.iter().copied().filter(|class| !gone.contains(class)).collect();
            if left.len() == labels.marks().len() {
                first.extend(labels.marks().iter().copied().zip(left));
            }
        }
        first
    }
}
