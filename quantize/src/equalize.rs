//! Cross-layer equalization: makes the channels of a tensor equally wide, so that the 256 levels that they share suit
//! all of them.
//!
//! A channel is divided by a factor where it is made, weights and bias, and multiplied by it where it is read. Between
//! the two stand only operators with `f(s·x) = s·f(x)`, so the model computes the same (Nagel et al.,
//! <https://arxiv.org/abs/1906.04721>). Factors are powers of two: not even the last bit changes.
//! Wide channels become narrow at the price of large weights in the layer behind; which balance is best
//! (Xiao et al., <https://arxiv.org/abs/2211.10438>) is decided for each set of tensors by the noise expected.

mod descent;
mod noise;
mod seen;

use std::collections::{BTreeMap, BTreeSet};

use cygnet_onnx::model::{Model, Tensor};

use crate::channels::{Channels, Labels, Purpose};
use crate::data::Data;
use crate::error::QuantizeError;
use crate::facts::{Dims, Facts};
use crate::graph::{Names, Readers, drop_unused};
use crate::placement::{Placement, place};
use crate::recipe::Recipe;
use crate::tail::Outputs;
use noise::Cluster;
pub use seen::{ChannelRange, ChannelRanges, Watch};

/// Factors lie between 2^-LARGEST and 2^LARGEST.
const LARGEST: i32 = 8;
/// A channel that is 0 on all samples is widened as if it reached this share of the widest.
const DEAD: f64 = 1.0 / 16.0;
/// How much farther than on the samples a channel may reach before an enlarged one is cut off by a bound.
const MARGIN: f64 = 1.5;
/// A set is changed where its noise falls below this share.
const WORTH: f64 = 0.95;

/// What equalization did.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Equalized {
    /// The sets of tensors that were changed.
    pub sets: Vec<EqualizedSet>,
    /// Sets that were looked at and left.
    pub left: usize,
    /// All tensors whose values are others than before.
    #[serde(skip)]
    pub changed: BTreeSet<String>,
}

/// Tensors whose channels were made equally wide.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct EqualizedSet {
    /// The tensors that are narrower now.
    pub tensors: Vec<String>,
    /// The number of channels that could be scaled.
    pub channels: usize,
    /// The number of channels that were.
    pub scaled: usize,
    /// Expected noise as a share of the output of the layers that read the set, before.
    pub noise_before: f64,
    /// The same after.
    pub noise_after: f64,
}

/// What is known of a model before it is equalized.
#[derive(Clone, Debug)]
pub struct Analysis {
    channels: Channels,
    placement: Placement,
}

impl Analysis {
    /// Follows the channels of a folded float model.
    ///
    /// # Errors
    /// [`QuantizeError::Unsuitable`] where nothing can be quantized.
    pub fn of(model: &Model, facts: &Facts) -> Result<Analysis, QuantizeError> {
        let placement = place(model, facts, &Recipe::default(), Outputs::default())?;
        Ok(Analysis { channels: Channels::of(model, facts, Purpose::Scale), placement })
    }

    /// Watches the tensors whose channels have to be known.
    pub fn watch(&self, facts: &Facts) -> Watch {
        Watch::of(&self.channels, facts, self.observed())
    }

    fn observed(&self) -> Vec<String> {
        let has_free = |labels: &Labels| labels.marks().iter().any(|&class| self.channels.is_free(class));
        let shared = self.placement.groups.iter().map(|group| &group.sources);
        let shared = shared.filter(|t| t.iter().any(|t| self.channels.of.get(t).is_some_and(has_free))).flatten();
        let limited = self.channels.limits.iter().map(|limit| &limit.output);
        let tensors: BTreeSet<&String> = shared.chain(limited).collect();
        tensors.into_iter().filter(|tensor| self.channels.of.contains_key(*tensor)).cloned().collect()
    }
}

/// Watches the channels of `model` on all samples of `data` and equalizes it.
///
/// # Errors
/// [`QuantizeError::Data`] naming the sample that does not fit.
pub fn equalize(model: &mut Model, facts: &Facts, dims: &Dims, data: &Data) -> Result<Equalized, QuantizeError> {
    let analysis = Analysis::of(model, facts)?;
    let mut watch = analysis.watch(facts);
    watch.run(model, dims, data.samples())?;
    Ok(apply(model, &analysis, &watch.ranges()))
}

/// Equalizes `model` by what was `seen` of its channels.
///
/// The result computes the same, except that a value that passes a bound (`Clip`) on the samples nowhere near may be
/// cut off earlier than before.
pub fn apply(model: &mut Model, analysis: &Analysis, seen: &ChannelRanges) -> Equalized {
    let Analysis { channels, placement } = analysis;
    let limits = limits(channels, seen);
    let mut equalized = Equalized::default();
    let mut factors = vec![1f32; channels.classes.len()];
    let chosen = noise::clusters(model, channels, placement, seen, |cluster| {
        let chosen = choose(&cluster, &limits);
        (cluster.classes, chosen)
    });
    for (classes, chosen) in chosen {
        let Some((exponents, before, after)) = chosen else {
            equalized.left += 1;
            continue;
        };
        for (&class, &exponent) in classes.iter().zip(&exponents) {
            factors[class] = 2f32.powi(exponent);
        }
        equalized.sets.push(EqualizedSet {
            tensors: tensors_of(channels, placement, &factors, &classes),
            channels: classes.len(),
            scaled: exponents.iter().filter(|exponent| **exponent != 0).count(),
            noise_before: before,
            noise_after: after,
        });
    }
    scale(model, channels, &factors);
    let is_changed = |labels: &Labels| labels.marks().iter().any(|&class| factors[class] != 1.0);
    equalized.changed = channels.of.iter().filter(|(_, labels)| is_changed(labels)).map(|(t, _)| t.clone()).collect();
    equalized
}

fn tensors_of(channels: &Channels, placement: &Placement, factors: &[f32], classes: &[usize]) -> Vec<String> {
    let is_scaled = |class: &usize| factors[*class] != 1.0 && classes.binary_search(class).is_ok();
    let is_changed = |tensor: &&String| channels.of.get(*tensor).is_some_and(|l| l.marks().iter().any(is_scaled));
    placement.groups.iter().flat_map(|group| &group.sources).filter(is_changed).cloned().collect()
}

/// The least exponent allowed for classes that pass a bound; `None` for those that reach it.
fn limits(channels: &Channels, seen: &ChannelRanges) -> BTreeMap<usize, Option<i32>> {
    let mut limits: BTreeMap<usize, Option<i32>> = BTreeMap::new();
    for limit in &channels.limits {
        let (low, high) = (f64::from(limit.bounds.0), f64::from(limit.bounds.1));
        let watched = seen.get(&limit.output);
        for &class in channels.of.get(&limit.output).map_or(&[][..], Labels::marks) {
            let least = watched.and_then(|ranges| ranges.get(&class)).and_then(|range| {
                // How far the channel may be enlarged: below by a bound that is not 0, above likewise.
                let room = |bound: f64, value: f64| {
                    if bound == 0.0 || bound.is_infinite() || value * bound <= 0.0 { 1e9 } else { bound / value }
                };
                let room = room(low, f64::from(range.low)).min(room(high, f64::from(range.high)));
                (range.count > 0 && room > 1.0).then(|| -(room / MARGIN).log2().floor().max(0.0) as i32)
            });
            let merged = match (limits.get(&class), least) {
                (None, least) => least,
                (Some(Some(other)), Some(least)) => Some(least.max(*other)),
                _ => None,
            };
            limits.insert(class, merged);
        }
    }
    limits
}

/// The exponents with the least noise, and the noise before and after; `None` where none is worth it.
fn choose(cluster: &Cluster, limits: &BTreeMap<usize, Option<i32>>) -> Option<(Vec<i32>, f64, f64)> {
    if !cluster.is_read() {
        return None;
    }
    let (reach, weight) = (cluster.reach(), cluster.weight());
    let bounds: Vec<(i32, i32)> = cluster
        .classes
        .iter()
        .map(|class| match limits.get(class) {
            None => (-LARGEST, LARGEST),
            Some(None) => (0, 0),
            Some(Some(least)) => ((*least).max(-LARGEST), LARGEST),
        })
        .collect();
    let noise = |exponents: &[i32]| cluster.noise(&exponents.iter().map(|&e| 2f64.powi(e)).collect::<Vec<_>>());
    let none = vec![0; bounds.len()];
    let before = noise(&none);
    let mut best = (before, none);
    for (by_reach, by_weight) in (0..=4).flat_map(|a| (0..=4).map(move |b| (a, b))).skip(1) {
        let exponent = |place: usize| {
            let reach = if reach[place] == 0.0 { DEAD } else { reach[place].max(2f64.powi(-LARGEST)) };
            let weight = weight[place].max(2f64.powi(-LARGEST));
            let exponent = reach.log2() * f64::from(by_reach) / 4.0 - weight.log2() * f64::from(by_weight) / 4.0;
            (exponent.round() as i32).clamp(bounds[place].0, bounds[place].1)
        };
        let exponents: Vec<i32> = (0..bounds.len()).map(exponent).collect();
        let noise = noise(&exponents);
        if noise < best.0 {
            best = (noise, exponents);
        }
    }
    let (_, mut exponents) = best;
    let after = descent::descend(cluster, &mut exponents, &bounds);
    (after < before * WORTH).then_some((exponents, before, after))
}

/// Divides every class by its factor where it is made, and multiplies by it where it is read.
fn scale(model: &mut Model, channels: &Channels, factors: &[f32]) {
    let mut names = Names::of(model);
    for part in &channels.uses {
        let Some(name) = model.nodes[part.node].input(part.input).map(str::to_string) else { continue };
        let Some(constant) = model.initializers.get(&name) else { continue };
        let of = |labels: &Option<Labels>| match labels {
            Some(labels) => labels.elements(&constant.shape).into_iter().map(|class| factors[class]).collect(),
            None => vec![1.0; constant.len()],
        };
        let (made, read) = (of(&part.makes), of(&part.reads));
        if made.iter().chain(&read).all(|&factor| factor == 1.0) {
            continue;
        }
        let Ok(values) = constant.to_f32s() else { continue };
        let scaled: Vec<f32> = values.iter().zip(made.iter().zip(read)).map(|(v, (m, r))| v * (r / m)).collect();
        let scaled = Tensor::from_f32(constant.shape.clone(), &scaled);
        // Another node may read the same constant.
        let is_shared = Readers::of(model).nodes(&name).len() > 1;
        let new = if is_shared { names.fresh(&format!("{name}_equalized")) } else { name };
        model.nodes[part.node].inputs[part.input] = new.clone();
        model.initializers.insert(new, scaled);
    }
    drop_unused(model);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::Class;
    use cygnet_onnx::model::Node;

    /// Two channels, the second a quarter as wide: by hand, it is made four times as large and read with a quarter.
    #[test]
    fn factors_go_into_makers_and_readers() {
        let mut model = Model::default();
        let mut give = |name: &str, shape: &[usize], values: &[f32]| {
            model.initializers.insert(name.into(), Tensor::from_f32(shape.to_vec(), values));
        };
        give("w1", &[1, 2], &[3.0, 0.5]);
        give("b1", &[2], &[1.0, -0.25]);
        give("w2", &[2, 1], &[5.0, 7.0]);
        model.nodes =
            vec![Node::new("Gemm", "", &["x", "w1", "b1"], &["a"]), Node::new("Gemm", "", &["a", "w2"], &["y"])];
        let class = |pinned: Option<&str>| Class { pinned: pinned.map(Into::into), set: 0 };
        let part = |node, input, makes, reads| crate::channels::Use { node, input, makes, reads };
        let channels = Channels {
            classes: vec![class(None), class(None), class(Some("x"))],
            uses: vec![
                part(0, 1, Some(Labels::along(2, 1, vec![0, 1])), Some(Labels::uniform(2, 2))),
                part(0, 2, Some(Labels::along(1, 0, vec![0, 1])), None),
                part(1, 1, Some(Labels::uniform(2, 2)), Some(Labels::along(2, 0, vec![0, 1]))),
            ],
            ..Channels::default()
        };
        scale(&mut model, &channels, &[1.0, 0.25, 1.0]);
        let values = |name: &str| model.initializers[name].to_f32s().unwrap();
        assert_eq!((values("w1"), values("b1"), values("w2")), (vec![3.0, 2.0], vec![1.0, -1.0], vec![5.0, 1.75]));
    }

    /// ReLU6: a channel up to 1.5 may double (four times would reach the bound, without margin); one at 6 must stay.
    #[test]
    fn bounds_hold_channels_back() {
        let range = |high: f32| ChannelRange { low: 0.0, high, count: 1, ..ChannelRange::default() };
        let seen = [("y".to_string(), [(0, range(6.0)), (1, range(1.5)), (2, range(0.0))].into())].into();
        let channels = Channels {
            of: [("y".to_string(), Labels::along(2, 1, vec![0, 1, 2]))].into(),
            limits: vec![crate::channels::Limit { output: "y".into(), bounds: (0.0, 6.0) }],
            ..Channels::default()
        };
        let limits = limits(&channels, &seen);
        assert_eq!((limits[&0], limits[&1]), (None, Some(-1)));
        assert!(limits[&2].is_some_and(|least| least < -LARGEST));
    }
}
