//! From what calibration saw to scale and zero point of each group.

use std::collections::BTreeMap;

use cygnet_onnx::model::Model;
use rayon::prelude::*;

use crate::Effort;
use crate::calibrate::{Distribution, Distributions};
use crate::error::QuantizeError;
use crate::params::{Activations, Params};
use crate::placement::{Group, Placement};

/// How a range is drawn from what calibration saw.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Ranges {
    /// For each tensor the one of the others after which the model's answers are nearest to the float model's.
    Auto,
    /// From the least to the largest value.
    MinMax,
    /// From the least to the largest value of a sample, as a moving average over the samples.
    Moving,
    /// The range that holds this percentage of all values.
    Percentile(f64),
    /// The range within the least and largest value that gives the least squared error.
    LeastError,
    /// The range within the least and largest value whose levels tell most of the distribution (least Kullback-Leibler
    /// divergence; Migacz, 8-bit Inference with TensorRT, GTC 2017).
    Entropy,
}

impl Ranges {
    /// What [`Ranges::Auto`] chooses from. Not the moving average: it leaves loud samples out by design, and others than
    /// those seen are louder.
    pub fn candidates(effort: Effort) -> &'static [Ranges] {
        const ALL: [Ranges; 6] = [
            Ranges::MinMax,
            Ranges::Percentile(99.999),
            Ranges::Percentile(99.99),
            Ranges::LeastError,
            Ranges::Entropy,
            Ranges::Percentile(99.9),
        ];
        if effort == Effort::Best { &ALL } else { &ALL[..5] }
    }
}

impl std::fmt::Display for Ranges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ranges::Auto => f.write_str("auto"),
            Ranges::MinMax => f.write_str("minmax"),
            Ranges::Moving => f.write_str("moving"),
            Ranges::Percentile(percent) => write!(f, "percentile {percent}"),
            Ranges::LeastError => f.write_str("error"),
            Ranges::Entropy => f.write_str("entropy"),
        }
    }
}

/// Parameters of every group, in the order of [`Placement::groups`].
///
/// # Errors
/// [`QuantizeError::Model`] for constants that hold no numbers.
pub fn parameters(
    model: &Model,
    placement: &Placement,
    seen: &Distributions,
    ranges: Ranges,
    activations: Activations,
) -> Result<Vec<Params>, QuantizeError> {
    placement.groups.par_iter().map(|group| group_parameters(model, group, seen, ranges, activations)).collect()
}

fn group_parameters(
    model: &Model,
    group: &Group,
    seen: &Distributions,
    ranges: Ranges,
    activations: Activations,
) -> Result<Params, QuantizeError> {
    let activations = if group.is_wide { Activations::Int16 } else { activations };
    if group.is_unit {
        return Ok(Params::unit(activations));
    }
    let (mut low, mut high) = (0f32, 0f32);
    for source in &group.sources {
        let range = match model.initializers.get(source) {
            Some(constant) => constant.to_f32s()?.iter().fold((0f32, 0f32), |(l, h), &v| (l.min(v), h.max(v))),
            None => seen.get(source).map_or((0.0, 0.0), |d| range(d, ranges, activations)),
        };
        (low, high) = (low.min(range.0), high.max(range.1));
    }
    Ok(Params::of_range(low, high, activations))
}

fn range(seen: &Distribution, ranges: Ranges, activations: Activations) -> (f32, f32) {
    if seen.count() == 0 {
        return (0.0, 0.0);
    }
    match ranges {
        // So many levels need not be saved by cutting values off.
        _ if activations == Activations::Int16 => (seen.low, seen.high),
        Ranges::MinMax => (seen.low, seen.high),
        Ranges::Moving => seen.moving(),
        Ranges::Percentile(percent) => seen.percentile(percent),
        Ranges::LeastError | Ranges::Auto => shrunk(seen, |range| squared_error(seen, range, activations)),
        Ranges::Entropy => shrunk(seen, |range| divergence(seen, range, activations)),
    }
}

/// Tries ranges shrunk from both ends together and takes the one with the least `error`.
fn shrunk(seen: &Distribution, error: impl Fn((f32, f32)) -> f64) -> (f32, f32) {
    let shrunk = (20..=100).map(|percent| {
        let factor = percent as f32 / 100.0;
        (seen.low.min(0.0) * factor, seen.high.max(0.0) * factor)
    });
    // From narrow to wide: of equal errors the wider range wins.
    let best =
        shrunk.map(|range| (error(range), range)).reduce(|best, next| if next.0 <= best.0 { next } else { best });
    best.map_or((seen.low, seen.high), |(_, range)| range)
}

/// The squared error of all values in a range.
fn squared_error(seen: &Distribution, (low, high): (f32, f32), activations: Activations) -> f64 {
    let params = Params::of_range(low, high, activations);
    let (lowest, highest) = params.range();
    let width = f64::from(params.scale);
    let squared = |(value, count): (f32, u64)| {
        let beyond = f64::from((value - highest).max(lowest - value).max(0.0));
        // Within the range a value lies anywhere between two levels: the variance of that is width² / 12.
        count as f64 * (beyond * beyond + width * width / 12.0)
    };
    seen.bins().map(squared).sum::<f64>()
}

/// Kullback-Leibler divergence of what the levels of a range tell from the distribution that it leaves: what lies beyond
/// is put into the outermost bins, while the levels know only of what lies within, and all bins of a level that hold
/// something look alike to them.
fn divergence(seen: &Distribution, (low, high): (f32, f32), activations: Activations) -> f64 {
    let params = Params::of_range(low, high, activations);
    let (lowest, highest) = params.range();
    let mut bins: Vec<(f32, f64)> = seen.bins().map(|(value, count)| (value, count as f64)).collect();
    bins.sort_by(|one, other| one.0.total_cmp(&other.0));
    let total: f64 = bins.iter().map(|(_, count)| count).sum();
    let below: f64 = bins.iter().filter(|(value, _)| *value < lowest).map(|(_, count)| count).sum();
    let above: f64 = bins.iter().filter(|(value, _)| *value > highest).map(|(_, count)| count).sum();
    bins.retain(|(value, _)| (lowest..=highest).contains(value));
    let mut levels: BTreeMap<i32, (f64, f64)> = BTreeMap::new();
    for (value, count) in &bins {
        let (mass, number) = levels.entry(params.level(*value)).or_default();
        (*mass, *number) = (*mass + count, *number + 1.0);
    }
    let inside = total - below - above;
    let last = bins.len().saturating_sub(1);
    let of_bin = |(place, (value, count)): (usize, &(f32, f64))| {
        let (mass, number) = levels.get(&params.level(*value)).copied().unwrap_or((1.0, 1.0));
        let beyond = if place == 0 { below } else { 0.0 } + if place == last { above } else { 0.0 };
        let (p, q) = ((count + beyond) / total, mass / number / inside);
        p * (p / q).ln()
    };
    if bins.is_empty() { f64::INFINITY } else { bins.iter().enumerate().map(of_bin).sum() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_cuts_what_is_rare_and_far() {
        // Evenly spread over 0 … 1: whatever is cut is told by no level. A thousandth of a percent at 4: hardly missed.
        let mut seen = Distribution::default();
        let even: Vec<f32> = (0..1000).map(|v| v as f32 / 1000.0).collect();
        (0..100).for_each(|_| assert!(seen.add(&even)));
        let (low, high) = range(&seen, Ranges::Entropy, Activations::Uint8);
        assert!(low == 0.0 && high > 0.95, "{low} … {high}");
        assert!(seen.add(&[4.0]));
        let (low, high) = range(&seen, Ranges::Entropy, Activations::Uint8);
        assert!(low == 0.0 && (0.9..3.0).contains(&high), "{low} … {high}");
    }

    #[test]
    fn moving_averages_follow_the_samples() {
        let mut seen = Distribution::default();
        assert!(seen.add_sample(&[-1.0, 1.0]) && seen.add_sample(&[-1.0, 3.0]));
        // 1 + 0.05 · (3 - 1).
        let (low, high) = range(&seen, Ranges::Moving, Activations::Uint8);
        assert!(low == -1.0 && (high - 1.1).abs() < 1e-6, "{low} … {high}");
    }

    #[test]
    fn one_far_value_does_not_stretch_the_least_error_range() {
        let mut seen = Distribution::default();
        for _ in 0..1000 {
            assert!(seen.add(&(0..100).map(|v| v as f32 / 100.0).collect::<Vec<_>>()));
        }
        assert!(seen.add(&[4.0]));
        let (low, high) = range(&seen, Ranges::LeastError, Activations::Uint8);
        assert!(low == 0.0 && (0.9..4.0).contains(&high), "{low} … {high}");
        assert_eq!(range(&seen, Ranges::MinMax, Activations::Uint8), (0.0, 4.0));
    }
}
