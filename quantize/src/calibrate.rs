//! Runs the float model over samples and keeps the range of every tensor that becomes an integer.
//!
//! Memory does not grow with the number of samples, and histograms do not depend on their order.

use std::collections::BTreeMap;

use cygnet_onnx::model::{DType, Model};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::data::Sample;
use crate::equalize::Watch;
use crate::error::QuantizeError;
use crate::facts::Dims;
use crate::float::Float;

/// Bins on each side of 0.
const BINS: usize = 2048;
/// Values of a tensor that are counted in one sample, about.
const COUNTED: usize = 1 << 17;
/// By so many values the first one counted moves from sample to sample: no tensor has a pattern of this length.
const OFFSET: usize = 617;
/// What a sample weighs in moving averages.
const MOMENTUM: f32 = 0.05;

/// Least, largest and distribution of all values that a tensor took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// The least value.
    #[serde(with = "bits")]
    pub low: f32,
    /// The largest value.
    #[serde(with = "bits")]
    pub high: f32,
    /// The histogram reaches from -reach to reach; a power of two, doubled when a value lies beyond it.
    #[serde(with = "bits")]
    reach: f32,
    below: Vec<u64>,
    above: Vec<u64>,
    /// Samples so far.
    samples: usize,
    /// Moving average of the least value of a sample; infinite before the first.
    #[serde(with = "bits")]
    moving_low: f32,
    /// The same of the largest.
    #[serde(with = "bits")]
    moving_high: f32,
}

impl Default for Distribution {
    fn default() -> Distribution {
        let (below, above) = (vec![0; BINS], vec![0; BINS]);
        Distribution {
            low: f32::INFINITY,
            high: f32::NEG_INFINITY,
            reach: f32::MIN_POSITIVE,
            below,
            above,
            samples: 0,
            moving_low: f32::INFINITY,
            moving_high: f32::NEG_INFINITY,
        }
    }
}

impl Distribution {
    /// Adds `values`; false, and nothing added, where one of them is not finite.
    pub fn add(&mut self, values: &[f32]) -> bool {
        let Some((low, high)) = extremes(values) else { return values.is_empty() };
        self.reach_out(low, high);
        self.count_all(values);
        true
    }

    fn reach_out(&mut self, low: f32, high: f32) {
        (self.low, self.high) = (self.low.min(low), self.high.max(high));
        let largest = self.high.max(-self.low);
        while self.reach < largest && self.reach <= f32::MAX / 2.0 {
            self.reach *= 2.0;
            halve(&mut self.below);
            halve(&mut self.above);
        }
    }

    fn count_all(&mut self, values: &[f32]) {
        let to_bin = BINS as f32 / self.reach;
        let bin = |value: f32| ((value.abs() * to_bin) as usize).min(BINS - 1);
        for value in values {
            let side = if *value < 0.0 { &mut self.below } else { &mut self.above };
            side[bin(*value)] += 1;
        }
    }

    /// The same for the values of one sample; samples in their order. The extremes are those of all values; of many
    /// values only some are counted, evenly spread and others in each sample.
    pub fn add_sample(&mut self, values: &[f32]) -> bool {
        let Some((low, high)) = extremes(values) else { return values.is_empty() };
        self.reach_out(low, high);
        let step = values.len().div_ceil(COUNTED).max(1);
        if step == 1 {
            self.count_all(values);
        } else {
            let offset = self.samples * OFFSET % step;
            let some: Vec<f32> = values.iter().skip(offset).step_by(step).copied().collect();
            self.count_all(&some);
        }
        self.samples += 1;
        if self.moving_low > self.moving_high {
            (self.moving_low, self.moving_high) = (low, high);
        }
        self.moving_low += MOMENTUM * (low - self.moving_low);
        self.moving_high += MOMENTUM * (high - self.moving_high);
        true
    }

    /// Moving averages of the least and of the largest value of a sample.
    pub fn moving(&self) -> (f32, f32) {
        if self.moving_low > self.moving_high { (self.low, self.high) } else { (self.moving_low, self.moving_high) }
    }

    /// The number of values counted.
    pub fn count(&self) -> u64 {
        self.below.iter().chain(&self.above).sum()
    }

    /// The range that holds `percent` of all values, the rest cut off evenly at both ends.
    pub fn percentile(&self, percent: f64) -> (f32, f32) {
        let cut = (self.count() as f64 * (100.0 - percent) / 200.0) as u64;
        let width = self.reach / BINS as f32;
        // From the outside in: bins below from the far end, then above from the near end; and mirrored.
        let end = |far: &[u64], near: &[u64]| {
            let mut left = cut;
            for (bin, &count) in far.iter().enumerate().rev() {
                if count > left {
                    return (bin + 1) as f32 * width;
                }
                left -= count;
            }
            for (bin, &count) in near.iter().enumerate() {
                if count > left {
                    return -(bin as f32 * width);
                }
                left -= count;
            }
            0.0
        };
        let low = (-end(&self.below, &self.above)).max(self.low);
        (low, end(&self.above, &self.below).min(self.high).max(low))
    }

    /// The share of values below `low` or above `high`, to the width of a bin; 0 where there is none.
    pub fn share_beyond(&self, low: f32, high: f32) -> f64 {
        if self.low >= low && self.high <= high {
            return 0.0;
        }
        let beyond: u64 = self.bins().filter(|(middle, _)| *middle < low || *middle > high).map(|(_, n)| n).sum();
        beyond as f64 / self.count().max(1) as f64
    }

    /// Middles of the bins and the number of values in each.
    pub fn bins(&self) -> impl Iterator<Item = (f32, u64)> + '_ {
        let width = self.reach / BINS as f32;
        let middle = move |bin: usize| (bin as f32 + 0.5) * width;
        let below = self.below.iter().enumerate().map(move |(bin, &n)| (-middle(bin), n));
        let above = self.above.iter().enumerate().map(move |(bin, &n)| (middle(bin), n));
        below.chain(above).filter(|(_, n)| *n > 0)
    }
}

/// An f32 by its bits: text has no infinity.
mod bits {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(value.to_bits())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
        u32::deserialize(deserializer).map(f32::from_bits)
    }
}

/// The least and the largest value; `None` where there is none, or one that is not finite.
fn extremes(values: &[f32]) -> Option<(f32, f32)> {
    // Side by side, so that the processor may take many values at once.
    let (mut low, mut high, mut odd) = ([f32::INFINITY; 16], [f32::NEG_INFINITY; 16], [0u32; 16]);
    for values in values.chunks(16) {
        for (lane, &value) in values.iter().enumerate() {
            low[lane] = if value < low[lane] { value } else { low[lane] };
            high[lane] = if value > high[lane] { value } else { high[lane] };
            odd[lane] |= u32::from(!value.is_finite());
        }
    }
    let (low, high) =
        (low.into_iter().fold(f32::INFINITY, f32::min), high.into_iter().fold(f32::NEG_INFINITY, f32::max));
    (odd == [0; 16] && low <= high).then_some((low, high))
}

/// Joins neighbouring bins when the reach doubles.
fn halve(bins: &mut [u64]) {
    for bin in 0..BINS / 2 {
        bins[bin] = bins[2 * bin] + bins[2 * bin + 1];
    }
    bins[BINS / 2..].fill(0);
}

/// The distributions of the observed tensors by name.
pub type Distributions = BTreeMap<String, Distribution>;

/// What was seen of so many samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// The samples, counted from the first.
    pub samples: usize,
    /// The values of each tensor.
    pub distributions: Distributions,
}

impl Seen {
    /// Nothing yet of `tensors`.
    pub fn none_of(tensors: &[String]) -> Seen {
        Seen { samples: 0, distributions: tensors.iter().map(|t| (t.clone(), Distribution::default())).collect() }
    }
}

/// Runs `model` over `samples` and observes `tensors`, and what `watch` wants. `step` is called after each sample.
///
/// # Errors
/// [`QuantizeError::Data`] naming the sample that does not fit or is not finite; [`QuantizeError`] for the model.
pub fn calibrate(
    model: &Model,
    tensors: &[String],
    dims: &Dims,
    samples: impl Iterator<Item = Result<Sample, QuantizeError>>,
    watch: Option<&mut Watch>,
    mut step: impl FnMut(),
) -> Result<Distributions, QuantizeError> {
    let mut seen = Seen::none_of(tensors);
    observe(model, dims, samples, &mut seen, watch, |_| step())?;
    Ok(seen.distributions)
}

/// Runs `model` over `samples` and adds what the tensors in `seen` take, and what those of `watch` do. `step` is called after each sample; an error
/// from `samples` leaves in `seen` what came before it.
///
/// # Errors
/// As [`calibrate`].
pub fn observe(
    model: &Model,
    dims: &Dims,
    mut samples: impl Iterator<Item = Result<Sample, QuantizeError>>,
    seen: &mut Seen,
    mut watch: Option<&mut Watch>,
    mut step: impl FnMut(&Seen),
) -> Result<(), QuantizeError> {
    let mut tensors: Vec<String> = seen.distributions.keys().cloned().collect();
    // Each tensor is read once, whoever wants it.
    let wanted = watch.as_ref().map_or(&[][..], |watch| watch.tensors());
    tensors.extend(wanted.iter().filter(|t| !seen.distributions.contains_key(*t)).cloned());
    let place = |tensor: &String| tensors.iter().position(|other| other == tensor).unwrap_or_default();
    let watched: Vec<usize> = wanted.iter().map(place).collect();
    let float = Float::of(model, dims, &tensors)?;
    let mut sessions = float.sessions()?;
    let goes_on = seen.samples > 0;
    let mut spread: BTreeMap<&str, (f32, f32)> = BTreeMap::new();
    let mut last = None;
    loop {
        let batch = samples.by_ref().take(sessions.len()).collect::<Result<Vec<_>, _>>()?;
        let Some(newest) = batch.last() else { break };
        last = Some(newest.name.clone());
        for sample in &batch {
            for (input, tensor) in model.inputs.iter().zip(&sample.inputs).filter(|(i, _)| i.dtype == DType::F32) {
                let values = tensor.to_f32s()?;
                if !values.iter().all(|v| v.is_finite()) {
                    return Err(QuantizeError::data(&sample.name, format!("\"{}\" holds NaN or infinity", input.name)));
                }
                let range = spread.entry(&input.name).or_insert((f32::INFINITY, f32::NEG_INFINITY));
                *range = values.iter().fold(*range, |(l, h), &v| (l.min(v), h.max(v)));
            }
        }
        let values = float.run_all(&mut sessions, &batch)?;
        // Each tensor sees the samples in their order, whatever the number of threads.
        let add = |(place, (tensor, distribution)): (usize, (&String, &mut Distribution))| {
            for (sample, values) in batch.iter().zip(&values) {
                if !distribution.add_sample(&values[place]) {
                    let problem = format!("the float model makes NaN or infinity of it in \"{tensor}\"");
                    return Err(QuantizeError::data(&sample.name, problem));
                }
            }
            Ok(())
        };
        let mut distributions: Vec<_> = seen.distributions.iter_mut().enumerate().collect();
        distributions
            .par_iter_mut()
            .map(|(place, (tensor, d))| add((*place, (*tensor, &mut **d))))
            .collect::<Result<(), _>>()?;
        if let Some(watch) = &mut watch {
            let mut taken = Vec::new();
            for values in &values {
                taken.push(watched.iter().map(|&place| values[place].as_slice()).collect());
            }
            watch.add(&taken);
        }
        for _ in &batch {
            seen.samples += 1;
            step(seen);
        }
    }
    if goes_on {
        return Ok(());
    }
    let Some(last) = last else {
        return Err(QuantizeError::data("calibration data", "there is no sample; give at least one, better 100"));
    };
    if !spread.is_empty() && spread.values().all(|(low, high)| low == high) {
        let problem = "all values of all samples are the same; give real examples of what the model will see";
        return Err(QuantizeError::data(format!("calibration data up to {last}"), problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_matter() {
        let values: Vec<f32> = (0..4000).map(|i| ((i * 7919) % 4001 - 1500) as f32 * 0.013).collect();
        let (mut one, mut other) = (Distribution::default(), Distribution::default());
        values.chunks(17).for_each(|c| assert!(one.add(c)));
        values.chunks(911).rev().for_each(|c| assert!(other.add(c)));
        assert_eq!(one, other);
        assert_eq!(one.count(), 4000);
    }

    #[test]
    fn values_beyond_a_range_are_counted() {
        let mut distribution = Distribution::default();
        // -2, -1 … 7: reach 8, bins 1/256 wide.
        assert!(distribution.add(&[-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]));
        assert_eq!(distribution.share_beyond(-1.5, 5.5), 0.3);
        assert_eq!(distribution.share_beyond(-2.0, 7.0), 0.0);
        assert_eq!(Distribution::default().share_beyond(0.0, 1.0), 0.0);
    }

    #[test]
    fn percentiles_cut_both_ends() {
        let mut distribution = Distribution::default();
        // 0, 1, … 999 and one far away: 99 % leaves five values off at each end.
        let mut values: Vec<f32> = (0..999).map(|v| v as f32).collect();
        values.push(50_000.0);
        assert!(distribution.add(&values));
        let (low, high) = distribution.percentile(99.0);
        // Bins are 65536 / 2048 = 32 wide.
        assert!((0.0..=5.0).contains(&low) && (995.0..=1024.0).contains(&high), "{low} … {high}");
        assert_eq!(distribution.percentile(100.0), (0.0, 50_000.0));
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        assert!(!Distribution::default().add(&[1.0, f32::NAN]));
        assert!(!Distribution::default().add(&[f32::NEG_INFINITY]));
    }
}
