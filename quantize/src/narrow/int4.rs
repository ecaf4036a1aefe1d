//! Weights of 4 bits: -7 to 7 times a factor for each block of inputs.

use super::{Grid, Layout, Narrow, weight_of};

/// Weights of a block along the input axis.
const BLOCK: usize = 32;
/// Inputs below which a layer has no blocks: the factors would weigh too much.
const LEAST_BLOCK: usize = 16;
/// The greatest factor: 7 · 18 is the greatest level.
pub(super) const FACTORS: usize = 18;
/// The greatest level before its factor.
const GREATEST: f32 = 7.0;
/// Scales that are tried, as parts of the one that cuts nothing off.
const TRIES: [f32; 9] = [1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5];
/// The same where blocks choose factors too.
const TRIES_OF_BLOCKS: [f32; 3] = [1.0, 0.85, 0.7];
/// Bits of a scale's mantissa that stay free, so that its product with a factor is exact.
const FREE_BITS: u32 = 5;

/// See [`Narrow::of`].
pub(super) fn narrow(weights: &[f32], layout: Layout<'_>, least: &[f32], importance: &[f32]) -> Narrow {
    let inputs = layout.shape.get(layout.input_axis).copied().unwrap_or(1);
    let block = if inputs >= LEAST_BLOCK { BLOCK.min(inputs) } else { 0 };
    let blocks = Blocks::of(layout, block);
    let mut scales = vec![1.0; layout.channels()];
    let mut factors = vec![1_u8; blocks.members.len()];
    for ((channel, scale), places) in scales.iter_mut().enumerate().zip(blocks.by_channel(layout)) {
        let least = least.get(channel).copied().unwrap_or(0.0);
        let value = |&index: &usize| (weights[index], weight_of(importance, index));
        let values: Vec<Vec<(f32, f64)>> =
            places.iter().map(|&place| blocks.members[place].iter().map(value).collect()).collect();
        let (best, of_channel) = fit(&values, least, block > 0);
        let divisor = of_channel.iter().fold(0, |divisor, &factor| common_divisor(divisor, factor)).max(1);
        *scale = best * f32::from(divisor);
        places.iter().zip(of_channel).for_each(|(&place, factor)| factors[place] = factor / divisor);
    }
    let mut levels = vec![0; weights.len()];
    let mut factor_of = vec![1; weights.len()];
    for (members, &factor) in blocks.members.iter().zip(&factors) {
        for &index in members {
            let step = scales[layout.channel(index)] * f32::from(factor);
            levels[index] = step_of(weights[index], step) as i8 * factor.cast_signed();
            factor_of[index] = factor;
        }
    }
    if block == 0 {
        return Narrow { levels, scales, grid: Grid::Blocks { block, factors: Vec::new() }, factor_of: Vec::new() };
    }
    Narrow { levels, scales, grid: Grid::Blocks { block, factors }, factor_of }
}

/// Which weights share a factor.
struct Blocks {
    /// Indices of weights, by block in the order of [`Grid::Blocks`]; without blocks by channel.
    members: Vec<Vec<usize>>,
}

impl Blocks {
    fn of(layout: Layout<'_>, block: usize) -> Blocks {
        let count = layout.shape.iter().product::<usize>();
        if block == 0 {
            let mut members = vec![Vec::new(); layout.channels()];
            (0..count).for_each(|index| members[layout.channel(index)].push(index));
            return Blocks { members };
        }
        let (inner, extent) = (layout.inner(layout.input_axis), layout.shape[layout.input_axis]);
        let along = extent.div_ceil(block);
        let mut members = vec![Vec::new(); count / extent * along];
        for index in 0..count {
            let (outer, place) = (index / (inner * extent), index / inner % extent);
            members[(outer * along + place / block) * inner + index % inner].push(index);
        }
        Blocks { members }
    }

    /// The blocks of each channel.
    fn by_channel(&self, layout: Layout<'_>) -> Vec<Vec<usize>> {
        let mut places = vec![Vec::new(); layout.channels()];
        for (place, members) in self.members.iter().enumerate() {
            if let Some(&first) = members.first() {
                places[layout.channel(first)].push(place);
            }
        }
        places
    }
}

/// The step of a value, -7 to 7.
fn step_of(value: f32, step: f32) -> f32 {
    (value / step).round_ties_even().clamp(-GREATEST, GREATEST)
}

/// Weighted squared error of values in multiples of `step`.
fn error(values: &[(f32, f64)], step: f32) -> f64 {
    values.iter().map(|&(value, weight)| weight * f64::from(value - step_of(value, step) * step).powi(2)).sum()
}

/// The scale of a channel and the factors of its blocks with the least error.
fn fit(blocks: &[Vec<(f32, f64)>], least: f32, with_factors: bool) -> (f32, Vec<u8>) {
    let largest = blocks.iter().flatten().map(|(value, _)| value.abs()).fold(0.0, f32::max);
    let divisor = if with_factors { FACTORS as f32 } else { 1.0 };
    let mut best: Option<(f64, f32, Vec<u8>)> = None;
    for &part in if with_factors { &TRIES_OF_BLOCKS[..] } else { &TRIES } {
        let scale = trimmed((largest * part / (GREATEST * divisor)).max(least));
        if !scale.is_normal() {
            continue;
        }
        let (mut total, mut factors) = (0.0, Vec::with_capacity(blocks.len()));
        for values in blocks {
            let tried = 1..=if with_factors { FACTORS as u8 } else { 1 };
            let errors = tried.map(|factor| (error(values, scale * f32::from(factor)), factor));
            let (error, factor) = errors.reduce(|a, b| if b.0 < a.0 { b } else { a }).unwrap_or((0.0, 1));
            total += error;
            factors.push(factor);
        }
        if best.as_ref().is_none_or(|(least, _, _)| total < *least) {
            best = Some((total, scale, factors));
        }
    }
    best.map_or_else(|| (1.0, vec![1; blocks.len()]), |(_, scale, factors)| (scale, factors))
}

/// `scale` with the last bits of its mantissa zero, not made smaller.
fn trimmed(scale: f32) -> f32 {
    let mask = (1_u32 << FREE_BITS) - 1;
    f32::from_bits(scale.to_bits().saturating_add(mask) & !mask)
}

fn common_divisor(a: u8, b: u8) -> u8 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}
