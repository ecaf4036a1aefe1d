//! Convolution: positions × blocks of output channels.

use core::ops::Range;

use super::{Shape, Vector, pointwise};
use crate::kernels::ConvF32Args;
use crate::kernels::portable::pool::inside;
use crate::weights::{F32_BLOCK, packed_f32_len};

/// What positions in the padding read.
static ZEROS: [f32; 256] = [0.0; 256];

/// Input elements that are gone through with all blocks of weights before the next ones: they stay in a
/// second-level cache.
const CACHED: usize = 1 << 15;

/// Most blocks of a strip.
pub const STRIP_BLOCKS: usize = 4;

/// Up to [`STRIP_BLOCKS`] blocks of output channels of one group.
pub struct Strip<'a> {
    pub(super) shape: &'a Shape<'a>,
    /// Input, from the first channel of the group on.
    pub(super) x: *const f32,
    /// Result, from the first channel of the strip on.
    pub(super) y: *mut f32,
    pub(super) weights: *const f32,
    pub(super) block_len: usize,
    pub(super) bias: [f32; STRIP_BLOCKS * F32_BLOCK],
    /// Output channels.
    pub(super) channels: usize,
    pub(super) low: f32,
    pub(super) high: f32,
}

impl Strip<'_> {
    /// Registers for one position: whole blocks, or as much of one block as a power of two.
    pub fn registers<V: Vector>(&self) -> usize {
        match self.channels {
            channels @ ..F32_BLOCK => channels.div_ceil(V::LANES).next_power_of_two(),
            channels => channels.div_ceil(F32_BLOCK) * (F32_BLOCK / V::LANES),
        }
    }
}

/// See [`crate::plan::step::ConvF32`].
///
/// # Safety
/// The CPU has the instruction set of `V`.
#[inline(always)]
pub unsafe fn conv<V: Vector>(mut args: ConvF32Args<'_>) {
    let w = args.window;
    let shape = Shape::checked(&args, packed_f32_len(w));
    let positions = w.positions();
    if packs(&shape) {
        let length = w.taps() * w.in_c as usize;
        let mut windows = [0.0; PACKED_POSITIONS * PACKED_LENGTH];
        for first in (0..positions).step_by(PACKED_POSITIONS) {
            let count = PACKED_POSITIONS.min(positions - first);
            for (index, packed) in windows.chunks_exact_mut(length).take(count).enumerate() {
                pack(&shape, args.x, first + index, packed);
            }
            let window = pointwise(count as u32, length as u32, w.out_c);
            let shape = Shape { window: &window, rows: 0..0, columns: 0..0 };
            // SAFETY: the caller's promise; there are `count` windows, and results from `first` on.
            unsafe { strips::<V>(&mut args, &shape, windows.as_ptr(), first, 0..count) };
        }
        return;
    }
    let per_position = w.in_c as usize * w.stride_h as usize * w.stride_w as usize;
    let cached = (CACHED / per_position.max(1)).max(1).next_multiple_of(24);
    for first in (0..positions).step_by(cached) {
        let x = args.x.as_ptr();
        // SAFETY: the caller's promise; `Shape::checked` has compared all lengths.
        unsafe { strips::<V>(&mut args, &shape, x, 0, first..positions.min(first + cached)) };
    }
}

/// Most elements of a window that is packed.
const PACKED_LENGTH: usize = 64;

/// Windows that are packed at once.
const PACKED_POSITIONS: usize = 24;

/// Whether windows are brought together first: small ones in an image so narrow that each tile sees padding.
fn packs(shape: &Shape<'_>) -> bool {
    let w = shape.window;
    let narrow = w.out_w <= 12 && shape.columns.len() < w.out_w as usize;
    narrow && w.groups == 1 && w.dilation_w == 1 && (1..=PACKED_LENGTH).contains(&(w.taps() * w.in_c as usize))
}

/// Copies the window of an output position; zeros in the padding.
#[inline(always)]
fn pack(shape: &Shape<'_>, x: &[f32], position: usize, packed: &mut [f32]) {
    let w = shape.window;
    let (out_h, out_w, in_c) = (w.out_h as usize, w.out_w as usize, w.in_c as usize);
    let corner = shape.corner(position / out_w % out_h, position % out_w);
    let pixel = shape.pixel(position / (out_w * out_h), corner);
    let rows = inside(corner[0], w.kernel_h as usize, w.dilation_h as usize, w.in_h as usize);
    let columns = inside(corner[1], w.kernel_w as usize, 1, w.in_w as usize);
    packed.fill(0.0);
    for (tap_row, line) in packed.chunks_exact_mut(w.kernel_w as usize * in_c).enumerate() {
        if (rows.0..rows.1).contains(&tap_row) && columns.0 < columns.1 {
            let line = &mut line[columns.0 * in_c..columns.1 * in_c];
            let offset = (tap_row * w.dilation_h as usize * w.in_w as usize + columns.0) * in_c;
            let from = &x[(pixel + offset as isize) as usize..][..line.len()];
            line.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        }
    }
}

/// All output channels of the positions `range` of `shape`, whose input is `x`; the results stand from position
/// `place` on.
///
/// # Safety
/// The CPU has the instruction set of `V`; input, weights and results are as long as `shape` says.
#[inline(always)]
unsafe fn strips<V: Vector>(
    args: &mut ConvF32Args<'_>,
    shape: &Shape<'_>,
    x: *const f32,
    place: usize,
    range: Range<usize>,
) {
    let w = shape.window;
    let (group_in, group_out) = (w.group_in(), w.group_out());
    let blocks = group_out.div_ceil(F32_BLOCK);
    let block_len = w.taps() * group_in * F32_BLOCK;
    for group in 0..w.groups as usize {
        let mut block = 0;
        while block < blocks {
            let start = block * F32_BLOCK;
            let count = V::strip_blocks(blocks - block, w.positions());
            let channels = (group_out - start).min(count * F32_BLOCK);
            let channel = group * group_out + start;
            let mut bias = [0.0; STRIP_BLOCKS * F32_BLOCK];
            bias.iter_mut().zip(args.bias.slice(channel, channels).iter()).for_each(|(to, from)| *to = from);
            let weights = args.weights.bytes((group * blocks + block) * block_len, count * block_len);
            let strip = Strip {
                shape,
                x: x.wrapping_add(group * group_in),
                y: args.y[place * w.out_c as usize + channel..].as_mut_ptr(),
                weights: weights.as_ptr().cast(),
                block_len,
                bias,
                channels,
                low: args.low,
                high: args.high,
            };
            // SAFETY: the caller's promise.
            unsafe { V::strip(&strip, range.clone()) };
            block += count;
        }
    }
}

/// The size of the next tile, of `sizes` (falling, the last is 1), and where it starts: a remainder of `range`
/// is computed together with positions in front of it once more rather than in smaller tiles.
#[inline(always)]
pub fn next_tile(range: &mut Range<usize>, sizes: &[usize]) -> Option<(usize, usize)> {
    let left = range.len();
    if left == 0 {
        return None;
    }
    let enough = sizes.iter().rev().find(|&&size| size >= left && size <= range.end);
    let size = *enough.or_else(|| sizes.iter().find(|&&size| size <= left))?;
    let first = range.start.min(range.end - size);
    range.start = first + size;
    Some((size, first))
}

/// Computes positions `first..first + R` of a strip with `N` registers for each.
///
/// # Safety
/// The CPU has the instruction set of `V`, the positions are there, and `N` is [`Strip::registers`].
#[inline(always)]
pub unsafe fn tile<V: Vector, const R: usize, const N: usize>(strip: &Strip<'_>, first: usize) {
    let w = strip.shape.window;
    let (corners, pixels, interior) = positions::<R>(strip.shape, first);
    let group_in = w.group_in();
    let row_len = w.in_w as usize * w.in_c as usize;
    // Taps of a row lie next to each other as the weights do: they are gone through as one.
    let joined = interior && w.groups == 1 && w.dilation_w == 1;
    let (runs, run) = if joined { (1, w.kernel_w as usize * group_in) } else { (w.kernel_w as usize, group_in) };
    // SAFETY: an interior tile reads its taps inside the image; any other looks at each tap of each position
    // and takes zeros outside. Weights are there for every tap, results for every position.
    unsafe {
        let mut sums = [[V::splat(0.0); N]; R];
        for (index, bias) in strip.bias.chunks_exact(V::LANES).take(N).enumerate() {
            let bias = V::load(bias.as_ptr());
            sums.iter_mut().for_each(|sums| sums[index] = bias);
        }
        let mut weights = strip.weights;
        for tap_row in 0..w.kernel_h as usize {
            // The columns of the first taps, far outside where the row is.
            let mut lefts = [0; R];
            for (to, [top, left]) in lefts.iter_mut().zip(corners) {
                let row = top + (tap_row * w.dilation_h as usize) as isize;
                *to = if (row as usize) < w.in_h as usize { left } else { isize::MAX / 2 };
            }
            for tap_column in 0..runs {
                let (down, right) = (tap_row * w.dilation_h as usize, tap_column * w.dilation_w as usize);
                let offset = (down * row_len + right * w.in_c as usize) as isize;
                let mut x = [strip.x; R];
                for (x, pixel) in x.iter_mut().zip(pixels) {
                    *x = x.wrapping_offset(pixel + offset);
                }
                if interior {
                    V::accumulate(&mut sums, x, weights, strip.block_len, run);
                } else {
                    let mut padded = [false; R];
                    for (padded, left) in padded.iter_mut().zip(lefts) {
                        *padded = (left + right as isize) as usize >= w.in_w as usize;
                    }
                    for start in (0..run).step_by(ZEROS.len()) {
                        let mut piece = [ZEROS.as_ptr(); R];
                        for ((piece, x), padded) in piece.iter_mut().zip(x).zip(padded) {
                            if !padded {
                                *piece = x.wrapping_add(start);
                            }
                        }
                        let count = ZEROS.len().min(run - start);
                        V::accumulate(&mut sums, piece, weights.add(start * F32_BLOCK), strip.block_len, count);
                    }
                }
                weights = weights.add(run * F32_BLOCK);
            }
        }
        let (low, high) = (V::splat(strip.low), V::splat(strip.high));
        for (index, sums) in sums.into_iter().enumerate() {
            let y = strip.y.add((first + index) * w.out_c as usize);
            for (register, sum) in sums.into_iter().enumerate() {
                let (sum, start) = (sum.clamp(low, high), register * V::LANES);
                if start + V::LANES <= strip.channels {
                    sum.store(y.add(start));
                } else if start < strip.channels {
                    sum.store_first(y.add(start), strip.channels - start);
                }
            }
        }
    }
}

/// The corners of `R` positions, the elements in front of them, and whether all their windows lie inside.
#[inline(always)]
fn positions<const R: usize>(shape: &Shape<'_>, first: usize) -> ([[isize; 2]; R], [isize; R], bool) {
    let w = shape.window;
    let (mut corners, mut pixels, mut interior) = ([[0; 2]; R], [0; R], true);
    if w.is_pointwise() {
        for (index, pixel) in pixels.iter_mut().enumerate() {
            *pixel = ((first + index) * w.in_c as usize) as isize;
        }
        return (corners, pixels, true);
    }
    let (out_h, out_w) = (w.out_h as usize, w.out_w as usize);
    let (mut image, mut row, mut column) = (first / (out_h * out_w), first / out_w % out_h, first % out_w);
    for (corner, pixel) in corners.iter_mut().zip(&mut pixels) {
        *corner = shape.corner(row, column);
        *pixel = shape.pixel(image, *corner);
        interior &= shape.rows.contains(&row) && shape.columns.contains(&column);
        column += 1;
        if column == out_w {
            (row, column) = (row + 1, 0);
        }
        if row == out_h {
            (image, row) = (image + 1, 0);
        }
    }
    (corners, pixels, interior)
}
