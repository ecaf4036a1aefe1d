//! Second moments of what layers read on the device, and means of what they read there and in the float model.
//!
//! For the rows `x` that a layer reads, `Σ x xᵀ` tells the squared error of the layer's output for any weights. Rows are
//! taken at a bounded number of positions and samples, so memory and time do not grow with the data.

use std::collections::BTreeMap;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

use crate::Quantized;
use crate::data::Data;
use crate::error::QuantizeError;
use crate::judge::is_held_out;
use crate::layers::Layer;
use crate::taps::{Sessions, Taps, Values};

/// Rows per weight of an output channel, if there are as many.
const ROWS_PER_WEIGHT: usize = 6;
/// Rows of a layer at least and at most.
const ROWS: std::ops::Range<usize> = 2048..8192;
/// Samples that rows are taken from at most.
pub const SAMPLES: usize = 256;
/// Layers with more weights per output channel than this keep no moments.
const DEEPEST: usize = 2304;
/// Columns of moments that are summed together.
const BLOCK: usize = 192;
/// Numbers that the moments of the layers of one pass may take together.
const PASS: usize = 24 << 20;

/// Sums over the rows of one group of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// `Σ x_q x_qᵀ`, `[depth, depth]`.
    pub near: Array2<f32>,
    /// `Σ x_q`.
    pub near_sum: Vec<f64>,
    /// `Σ x`; 0 where the float model was not run.
    pub real_sum: Vec<f64>,
}

/// Sums over the rows of one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// Number of rows.
    pub rows: usize,
    /// One for each group of channels.
    pub groups: Vec<Group>,
}

impl Moments {
    /// Makes the sums whole: rows are added to the part on and above the diagonal.
    fn complete(mut self) -> Moments {
        for Group { near, .. } in &mut self.groups {
            for row in 0..near.nrows() {
                for column in 0..row {
                    near[[row, column]] = near[[column, row]];
                }
            }
        }
        self
    }

    fn new(layer: &Layer) -> Moments {
        let group = || Group {
            near: Array2::zeros((layer.depth, layer.depth)),
            near_sum: vec![0.0; layer.depth],
            real_sum: vec![0.0; layer.depth],
        };
        Moments { rows: 0, groups: (0..layer.groups).map(|_| group()).collect() }
    }

    /// Adds rows `[groups][n][depth]`; `real` may be empty.
    fn add(&mut self, depth: usize, real: &[f32], near: &[f32]) {
        let n = near.len() / depth / self.groups.len();
        if n == 0 {
            return;
        }
        self.rows += n;
        for (group, real) in self.groups.iter_mut().zip(real.chunks(n * depth)) {
            real.chunks(depth).for_each(|row| add_to(&mut group.real_sum, row));
        }
        for (group, near) in self.groups.iter_mut().zip(near.chunks(n * depth)) {
            near.chunks(depth).for_each(|row| add_to(&mut group.near_sum, row));
            if let Ok(near) = ArrayView2::from_shape((n, depth), near) {
                add_squares(&near, &mut group.near);
            }
        }
    }
}

/// Adds `rowsᵀ rows` to `sums` on and above the diagonal, block by block.
fn add_squares(rows: &ArrayView2<f32>, sums: &mut Array2<f32>) {
    let depth = rows.ncols();
    for first in (0..depth).step_by(BLOCK) {
        let last = (first + BLOCK).min(depth);
        let block = rows.slice(s![.., first..last]);
        let mut sums = sums.slice_mut(s![first..last, first..]);
        general_mat_mul(1.0, &block.t(), &rows.slice(s![.., first..]), 1.0, &mut sums);
    }
}

fn add_to(sums: &mut [f64], row: &[f32]) {
    sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
}

/// The layers that moments are kept of, cut into passes whose moments fit into memory together.
pub fn passes(layers: Vec<Layer>) -> Vec<Vec<Layer>> {
    let mut passes: Vec<Vec<Layer>> = vec![Vec::new()];
    let mut taken = 0;
    for layer in layers.into_iter().filter(|l| l.depth <= DEEPEST) {
        let size = layer.groups * layer.depth * layer.depth;
        if taken + size > PASS && taken > 0 {
            passes.push(Vec::new());
            taken = 0;
        }
        taken += size;
        if let Some(pass) = passes.last_mut() {
            pass.push(layer);
        }
    }
    passes
}

/// The moments of `layers` by label, from the int8 model `quantized`, and `with_float` from the float model too.
///
/// # Errors
/// [`QuantizeError`] where either model cannot be run.
pub fn collect(
    quantized: &Quantized,
    layers: &[Layer],
    data: &Data,
    with_float: bool,
) -> Result<BTreeMap<String, Moments>, QuantizeError> {
    let mut tensors: Vec<String> = layers.iter().map(|layer| layer.input.clone()).collect();
    tensors.sort();
    tensors.dedup();
    let taps = Taps::of(quantized, &tensors, with_float)?;
    let mut chosen = spread(data.len(), SAMPLES);
    chosen.retain(|&index| !is_held_out(index, data.len()));
    let mut all: Vec<Sums> = layers.iter().map(|layer| Sums::of(layer, &tensors, chosen.len())).collect();
    let threads = rayon::current_num_threads();
    let mut sessions = (0..threads).map(|_| taps.sessions()).collect::<Result<Vec<_>, _>>()?;
    for (batch, indices) in chosen.chunks(threads).enumerate() {
        let run = |(sessions, index): (&mut Sessions, &usize)| taps.run(sessions, &data.sample(*index)?);
        let values: Vec<Values> = sessions.par_iter_mut().zip(indices).map(run).collect::<Result<_, _>>()?;
        // Every layer adds the samples in their order: the sums do not depend on the number of threads.
        all.par_iter_mut().for_each(|sums| {
            values.iter().enumerate().for_each(|(place, values)| sums.add(values, batch * threads + place));
        });
    }
    Ok(all.into_iter().map(|sums| (sums.layer.label.clone(), sums.moments.complete())).collect())
}

/// At most `most` of `count` things, evenly spread.
pub fn spread(count: usize, most: usize) -> Vec<usize> {
    let taken = count.min(most);
    (0..taken).map(|number| number * count / taken).collect()
}

/// The moments of one layer while they grow.
struct Sums<'l> {
    layer: &'l Layer,
    moments: Moments,
    /// The number of the layer's input among the tapped tensors.
    tap: usize,
    /// Rows to take from each sample.
    rows: usize,
}

impl<'l> Sums<'l> {
    fn of(layer: &'l Layer, tensors: &[String], samples: usize) -> Sums<'l> {
        let wanted = (ROWS_PER_WEIGHT * layer.depth).clamp(ROWS.start, ROWS.end);
        let tap = tensors.iter().position(|t| *t == layer.input).unwrap_or_default();
        let rows = wanted.div_ceil(samples.max(1)).min(layer.positions());
        Sums { layer, moments: Moments::new(layer), tap, rows }
    }

    fn add(&mut self, values: &Values, sample: usize) {
        let positions = self.layer.positions();
        // Another offset in each sample, so that together they cover all positions.
        let offset = sample as f64 * 0.618_033_988_749_895 % 1.0;
        let place = |row: usize| ((row as f64 + offset) * positions as f64 / self.rows as f64) as usize;
        let places: Vec<usize> = (0..self.rows).map(|row| place(row).min(positions - 1)).collect();
        let (mut real, mut near) = (Vec::new(), Vec::new());
        if let Some(values) = values.real.get(self.tap) {
            self.layer.rows(values, &places, &mut real);
        }
        self.layer.rows(&values.near[self.tap], &places, &mut near);
        self.moments.add(self.layer.depth, &real, &near);
    }
}
