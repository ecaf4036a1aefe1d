//! Weights from a table of 16 levels for the whole layer.
//!
//! The table with the least squared error is found exactly, not by Lloyd's iteration: along a line the best `k` levels
//! follow from the best `k - 1` (Wang & Song, «Ckmeans.1d.dp: optimal k-means clustering in one dimension by dynamic
//! programming», 2011), and here levels are whole numbers.

use super::{Grid, Layout, Narrow, nearest, weight_of};
use crate::params::Weights;

/// Entries of the table.
const ENTRIES: usize = 16;
/// The greatest level.
const GREATEST: i32 = 127;
/// Levels that an entry may be.
const LEVELS: usize = 2 * GREATEST as usize + 1;
/// Times that table and scales are fitted to each other.
const ROUNDS: usize = 4;

/// See [`Narrow::of`].
pub(super) fn narrow(weights: &[f32], layout: Layout<'_>, least: &[f32], importance: &[f32]) -> Narrow {
    let mut scales = Weights::of(weights, layout.shape, layout.channel_axis, least).scales;
    let mut table = table(weights, layout, &scales, importance);
    for _ in 1..ROUNDS {
        refit(&mut scales, &table, weights, layout, least, importance);
        table = self::table(weights, layout, &scales, importance);
    }
    let level = |(index, &weight): (usize, &f32)| nearest(&table, weight / scales[layout.channel(index)]);
    let levels = weights.iter().enumerate().map(level).collect();
    Narrow { levels, scales, grid: Grid::Table(table), factor_of: Vec::new() }
}

/// The scale of each channel that suits the levels which its weights have by now, where it makes none too large.
fn refit(scales: &mut [f32], table: &[i8], weights: &[f32], layout: Layout<'_>, least: &[f32], importance: &[f32]) {
    let mut sums = vec![(0_f64, 0_f64); scales.len()];
    for (index, &weight) in weights.iter().enumerate() {
        let channel = layout.channel(index);
        let level = f64::from(nearest(table, weight / scales[channel]));
        let of = weight_of(importance, index);
        sums[channel].0 += of * level * f64::from(weight);
        sums[channel].1 += of * level * level;
    }
    for (channel, (scale, (product, square))) in scales.iter_mut().zip(sums).enumerate() {
        let fitted = (product / square) as f32;
        if fitted.is_normal() && fitted > 0.0 {
            *scale = fitted.max(least.get(channel).copied().unwrap_or(0.0));
        }
    }
}

/// Weighted sums over all weights below a place on the line of levels.
#[derive(Clone, Copy, Default)]
struct Moments {
    weight: f64,
    first: f64,
    second: f64,
}

impl Moments {
    /// `Σ weight · (value - level)²` of what lies between two places.
    fn error(&self, below: &Moments, level: f64) -> f64 {
        let weight = self.weight - below.weight;
        let (first, second) = (self.first - below.first, self.second - below.second);
        (second - 2.0 * level * first + level * level * weight).max(0.0)
    }
}

/// The table for weights in units of their scales.
fn table(weights: &[f32], layout: Layout<'_>, scales: &[f32], importance: &[f32]) -> Vec<i8> {
    // Two levels meet half way between them: sums up to every half.
    let mut below = [Moments::default(); 2 * LEVELS];
    for (index, &weight) in weights.iter().enumerate() {
        let scale = scales[layout.channel(index)];
        let value = (f64::from(weight) / f64::from(scale)).clamp(f64::from(-GREATEST), f64::from(GREATEST));
        let of = weight_of(importance, index) * f64::from(scale).powi(2);
        // A value belongs to the half that it ends in.
        let half = ((value + f64::from(GREATEST)) * 2.0).floor() as usize + 1;
        let moments = &mut below[half.min(2 * LEVELS - 1)];
        moments.weight += of;
        moments.first += of * value;
        moments.second += of * value * value;
    }
    for half in 1..below.len() {
        let (before, moments) = (below[half - 1], &mut below[half]);
        moments.weight += before.weight;
        moments.first += before.first;
        moments.second += before.second;
    }
    best_levels(&below)
}

/// The levels, 0 among them, with the least error for values whose sums up to each half are given.
fn best_levels(below: &[Moments; 2 * LEVELS]) -> Vec<i8> {
    let level = |place: usize| f64::from(place as i32 - GREATEST);
    let zero = GREATEST as usize;
    let end = below[2 * LEVELS - 1];
    // Error of all values between two neighbouring entries of the table.
    let between = |a: usize, b: usize| {
        let middle = &below[a + b];
        middle.error(&below[2 * a], level(a)) + below[2 * b].error(middle, level(b))
    };
    // The least error below entry `place` when it is the `count`-th, and the entry before it.
    let mut best = vec![[(f64::INFINITY, 0_usize); LEVELS]; ENTRIES];
    for (place, first) in best[0].iter_mut().enumerate().take(zero + 1) {
        first.0 = below[2 * place].error(&Moments::default(), level(place));
    }
    let mut costs = vec![[0.0; LEVELS]; LEVELS];
    for (a, costs) in costs.iter_mut().enumerate() {
        // 0 is never skipped.
        for (b, cost) in costs.iter_mut().enumerate().filter(|&(b, _)| a < b && !(a < zero && zero < b)) {
            *cost = between(a, b);
        }
    }
    for count in 1..ENTRIES {
        for b in 1..LEVELS {
            for a in (0..b).filter(|&a| !(a < zero && zero < b)) {
                let error = best[count - 1][a].0 + costs[a][b];
                if error < best[count][b].0 {
                    best[count][b] = (error, a);
                }
            }
        }
    }
    let whole = |count: usize, place: usize| best[count][place].0 + end.error(&below[2 * place], level(place));
    let (mut count, mut place) = (0, zero);
    for (tried, at) in (0..ENTRIES).flat_map(|count| (zero..LEVELS).map(move |place| (count, place))) {
        if whole(tried, at) < whole(count, place) {
            (count, place) = (tried, at);
        }
    }
    let mut table = vec![(place as i32 - GREATEST) as i8];
    while count > 0 {
        place = best[count][place].1;
        count -= 1;
        table.push((place as i32 - GREATEST) as i8);
    }
    table.reverse();
    table
}
