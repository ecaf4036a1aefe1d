//! One axis of a separable resize: which source pixels make an output pixel, with which weights.
//!
//! Positions and weights are computed in `f64` and rounded to 22 fractional bits in the order of
//! operations of Pillow, so that networks trained on pictures resized by it see the same pixels.

use super::Filter;

/// Fractional bits of a weight.
const WEIGHT_BITS: u32 = 22;
/// Bytes before the weights of an output pixel in a table: first source pixel and number of weights.
const HEAD: usize = 8;

/// `source` pixels become `resized`, of which `count` are wanted from `first` on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    pub source: usize,
    pub resized: usize,
    pub first: usize,
    pub count: usize,
    pub filter: Filter,
}

/// The source pixels of one output pixel.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Window {
    pub first: usize,
    pub count: usize,
}

impl Axis {
    /// Whether output pixels are source pixels.
    pub fn is_identity(&self) -> bool {
        self.source == self.resized
    }

    fn step(&self) -> f64 {
        self.source as f64 / self.resized as f64
    }

    fn support(&self) -> f64 {
        let radius = match self.filter {
            Filter::Nearest => 0.0,
            Filter::Bilinear => 1.0,
            Filter::Bicubic => 2.0,
        };
        radius * self.step().max(1.0)
    }

    /// The most weights an output pixel can have.
    pub fn most_weights(&self) -> usize {
        if self.is_identity() || self.filter == Filter::Nearest {
            1
        } else {
            libm::ceil(self.support()) as usize * 2 + 1
        }
    }

    /// Bytes of an output pixel's entry in a table.
    pub fn entry_bytes(&self) -> usize {
        HEAD + 4 * self.most_weights()
    }

    /// Bytes of the table of the wanted output pixels.
    pub fn table_bytes(&self) -> usize {
        self.count.saturating_mul(self.entry_bytes())
    }

    /// The source pixels of output pixel `at` (counted from the left of the whole picture).
    fn window(&self, at: usize) -> (Window, f64) {
        let centre = (at as f64 + 0.5) * self.step();
        let support = self.support();
        // The casts cut towards zero and saturate.
        let first = (centre - support + 0.5) as usize;
        let end = ((centre + support + 0.5) as usize).min(self.source);
        (Window { first, count: end.saturating_sub(first) }, centre)
    }

    fn weight(&self, offset: f64) -> f64 {
        let x = libm::fabs(offset * (1.0 / self.step().max(1.0)));
        match self.filter {
            Filter::Nearest => 1.0,
            Filter::Bilinear if x < 1.0 => 1.0 - x,
            Filter::Bicubic if x < 1.0 => ((-0.5 + 2.0) * x - (-0.5 + 3.0)) * x * x + 1.0,
            Filter::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5,
            Filter::Bilinear | Filter::Bicubic => 0.0,
        }
    }

    /// Writes the entry of output pixel `at` of a filtered axis; gives its source pixels.
    pub fn write_entry(&self, at: usize, entry: &mut [u8]) -> Window {
        let (window, centre) = self.window(at);
        let pixels = || (0..window.count).map(|k| self.weight((k + window.first) as f64 - centre + 0.5));
        let sum = pixels().fold(0.0, |sum, weight| sum + weight);
        let sum = if sum == 0.0 { 1.0 } else { sum };
        let one = f64::from(1u32 << WEIGHT_BITS);
        let fields = [window.first as u32, window.count as u32].into_iter().chain(pixels().map(|weight| {
            let scaled = weight / sum * one;
            let fixed = if scaled < 0.0 { scaled - 0.5 } else { scaled + 0.5 } as i32;
            fixed as u32
        }));
        for (to, field) in entry.as_chunks_mut().0.iter_mut().zip(fields) {
            *to = field.to_le_bytes();
        }
        window
    }

    /// Fills the table of a filtered axis.
    pub fn write_table(&self, table: &mut [u8]) {
        for (k, entry) in table.chunks_exact_mut(self.entry_bytes()).enumerate() {
            self.write_entry(self.first + k, entry);
        }
    }

    /// The source pixel of each wanted output pixel, without filter. The position is stepped by
    /// repeated addition because its rounding decides ties.
    pub fn nearest(&self) -> impl Iterator<Item = usize> {
        let (step, last) = (self.step(), self.source.saturating_sub(1));
        let mut position = step * 0.5;
        (0..self.first + self.count)
            .map(move |_| {
                let pixel = (position as usize).min(last);
                position += step;
                pixel
            })
            .skip(self.first)
    }
}

/// Source pixels and weights of an entry.
pub(super) fn read_entry(entry: &[u8]) -> (Window, impl Iterator<Item = i32>) {
    let (fields, _) = entry.as_chunks::<4>();
    let field = |k: usize| fields.get(k).map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize);
    let window = Window { first: field(0), count: field(1) };
    let weights = fields.iter().skip(HEAD / 4).take(window.count).map(|bytes| i32::from_le_bytes(*bytes));
    (window, weights)
}

/// Half a unit: where every weighted sum begins.
pub(super) const HALF: i32 = 1 << (WEIGHT_BITS - 1);

/// A weighted sum as a pixel.
pub(super) fn to_pixel(sum: i32) -> u8 {
    (sum >> WEIGHT_BITS).clamp(0, 255) as u8
}

/// Resizes one row of `C` interleaved channels by a table.
pub(super) fn horizontal<const C: usize>(row: &[u8], table: &[u8], entry_bytes: usize, out: &mut [u8]) {
    let (pixels, _) = row.as_chunks::<C>();
    for (to, entry) in out.as_chunks_mut::<C>().0.iter_mut().zip(table.chunks_exact(entry_bytes)) {
        let (window, weights) = read_entry(entry);
        let mut sums = [HALF; C];
        for (pixel, weight) in pixels.get(window.first..).unwrap_or_default().iter().zip(weights) {
            for (sum, &value) in sums.iter_mut().zip(pixel) {
                *sum = sum.wrapping_add(i32::from(value).wrapping_mul(weight));
            }
        }
        *to = sums.map(to_pixel);
    }
}

/// Resizes down a column: row `y` of the source lies in slot `y % slots` of `ring`, each of `row_len` bytes.
pub(super) fn vertical(ring: &[u8], row_len: usize, slots: usize, entry: &[u8], out: &mut [u8]) {
    /// Columns summed at a time; enough for the widest vector registers to be kept busy.
    const BLOCK: usize = 64;
    for (block, out) in out.chunks_mut(BLOCK).enumerate() {
        let mut sums = [HALF; BLOCK];
        let (window, weights) = read_entry(entry);
        for (k, weight) in weights.enumerate() {
            let begin = (window.first + k) % slots * row_len + block * BLOCK;
            let Some(values) = ring.get(begin..begin + out.len()) else { continue };
            for (sum, &value) in sums.iter_mut().zip(values) {
                *sum = sum.wrapping_add(i32::from(value).wrapping_mul(weight));
            }
        }
        for (to, &sum) in out.iter_mut().zip(&sums) {
            *to = to_pixel(sum);
        }
    }
}
