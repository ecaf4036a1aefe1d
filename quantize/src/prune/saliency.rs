//! How much each channel contributes to the layers that read it.

use cygnet_onnx::model::Model;

use crate::channels::Channels;
use crate::equalize::ChannelRanges;

/// For each class the sum, over all layers that mix it with others, of its share in the variance of their output.
///
/// The mean of a channel does not count: a bias takes its place.
pub(super) fn saliency(model: &Model, channels: &Channels, seen: &ChannelRanges) -> Vec<f64> {
    let mut saliency = vec![0.0; channels.classes.len()];
    for part in &channels.uses {
        let (Some(makes), Some(reads)) = (&part.makes, &part.reads) else { continue };
        let node = &model.nodes[part.node];
        let weights = node.input(part.input).and_then(|name| model.initializers.get(name));
        let ranges = node.input(0).and_then(|name| seen.get(name));
        let (Some(weights), Some(ranges), false) = (weights, ranges, makes == reads) else { continue };
        let Ok(values) = weights.to_f32s() else { continue };
        let mut shares = vec![0.0; channels.classes.len()];
        for (class, &weight) in reads.elements(&weights.shape).into_iter().zip(&values) {
            let variance = ranges.get(&class).map_or(0.0, |range| range.variance());
            shares[class] += f64::from(weight).powi(2) * variance;
        }
        let whole: f64 = shares.iter().sum();
        if whole > 0.0 {
            saliency.iter_mut().zip(&shares).for_each(|(sum, share)| *sum += share / whole);
        }
    }
    saliency
}
