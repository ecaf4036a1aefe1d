//! Float convolutions in tiles that stay in vector registers, for any instruction set that fuses
//! multiplication and addition.
//!
//! Every result is one chain of fused multiply-additions, from the bias on in the order of the taps and
//! their channels, so that no bit depends on the tile that a result is computed in.

use core::ops::Range;

use super::ConvF32Args;
use super::portable::pool::inside;
use crate::plan::step::Window;
use crate::weights::{F32_BLOCK, packed_f32_len};

/// A register of float32 lanes.
///
/// # Safety
/// The functions may only be called where the CPU has the instruction set, and from functions compiled for
/// it. Pointers need no alignment; as many elements as each function says must be valid behind them.
pub(super) trait Vector: Copy {
    /// Lanes of the register; divides [`F32_BLOCK`].
    const LANES: usize;

    /// `value` in all lanes.
    unsafe fn splat(value: f32) -> Self;
    /// Reads [`Self::LANES`] elements.
    unsafe fn load(from: *const f32) -> Self;
    /// Writes [`Self::LANES`] elements.
    unsafe fn store(self, to: *mut f32);
    /// Writes the first `count` lanes.
    unsafe fn store_first(self, to: *mut f32, count: usize);
    /// `self + x·w`, rounded once.
    unsafe fn multiply_add(self, x: Self, w: Self) -> Self;
    /// The lanes limited to `low..=high`.
    unsafe fn clamp(self, low: Self, high: Self) -> Self;
    /// How many blocks a strip takes of `blocks` that are left, for so many positions.
    fn strip_blocks(blocks: usize, positions: usize) -> usize;
    /// Computes positions `range` of a strip by [`tiles`], in sizes that fill the registers.
    unsafe fn strip(strip: &Strip<'_>, range: Range<usize>);

    /// Adds `count` input channels of `R` positions, times their rows of the weights.
    #[inline(always)]
    unsafe fn accumulate<const R: usize, const N: usize>(
        sums: &mut [[Self; N]; R],
        x: [*const f32; R],
        weights: *const f32,
        block_len: usize,
        count: usize,
    ) {
        for channel in 0..count {
            // SAFETY: the caller's promise: `count` channels of each position, as many rows of each block.
            unsafe {
                let mut row = [Self::splat(0.0); N];
                for (index, row) in row.iter_mut().enumerate() {
                    *row = Self::load(weights.add(channel * F32_BLOCK + place::<Self>(index, block_len)));
                }
                for (sums, x) in sums.iter_mut().zip(x) {
                    let x = Self::splat(*x.add(channel));
                    for (sum, row) in sums.iter_mut().zip(row) {
                        *sum = sum.multiply_add(x, row);
                    }
                }
            }
        }
    }
}

/// Where register `index` of a row of weights starts, `block_len` being the length of a block.
#[inline(always)]
pub(super) fn place<V: Vector>(index: usize, block_len: usize) -> usize {
    let registers = F32_BLOCK / V::LANES;
    index / registers * block_len + index % registers * V::LANES
}

/// What positions in the padding read.
static ZEROS: [f32; 256] = [0.0; 256];

/// Input elements that are gone through with all blocks of weights before the next ones: they stay in a
/// second-level cache.
const CACHED: usize = 1 << 15;

/// Most blocks of a strip.
const STRIP_BLOCKS: usize = 4;

/// A window with what follows from it.
struct Shape<'a> {
    window: &'a Window,
    /// Output rows whose windows lie inside the image.
    rows: Range<usize>,
    /// Output columns whose windows lie inside the image.
    columns: Range<usize>,
}

impl<'a> Shape<'a> {
    /// # Panics
    /// When a slice is shorter than the window says, or the window is none that the verifier lets pass: all
    /// unsafe code here relies on it.
    fn checked(args: &ConvF32Args<'a>, weights: usize) -> Self {
        let w = args.window;
        let fields = [w.kernel_h, w.kernel_w, w.stride_h, w.stride_w, w.dilation_h, w.dilation_w, w.groups];
        assert!(fields.iter().all(|field| (1..1 << 16).contains(field)) && w.pad_top.max(w.pad_left) < 1 << 16);
        let fits = |len: usize, sizes: [u32; 4]| {
            let needed = sizes.iter().try_fold(1, |len: usize, &size| len.checked_mul(size as usize));
            needed.is_some_and(|needed| needed <= len)
        };
        assert!(fits(args.x.len(), [w.batch, w.in_h, w.in_w, w.in_c]));
        assert!(fits(args.y.len(), [w.batch, w.out_h, w.out_w, w.out_c]));
        assert!(args.weights.len() >= weights && args.bias.len() >= w.out_c as usize);
        let inner = |out: u32, stride: u32, pad: u32, reach: u32, length: u32| {
            let end = (length as usize + pad as usize)
                .checked_sub(reach as usize)
                .map_or(0, |room| (room / stride as usize + 1).min(out as usize));
            (pad.div_ceil(stride) as usize).min(end)..end
        };
        let (reach_h, reach_w) = ((w.kernel_h - 1) * w.dilation_h + 1, (w.kernel_w - 1) * w.dilation_w + 1);
        Self {
            window: w,
            rows: inner(w.out_h, w.stride_h, w.pad_top, reach_h, w.in_h),
            columns: inner(w.out_w, w.stride_w, w.pad_left, reach_w, w.in_w),
        }
    }

    /// The input row and column of the first tap of an output row and column; outside in the padding.
    #[inline(always)]
    fn corner(&self, row: usize, column: usize) -> [isize; 2] {
        let w = self.window;
        let top = (row * w.stride_h as usize) as isize - w.pad_top as isize;
        [top, (column * w.stride_w as usize) as isize - w.pad_left as isize]
    }

    /// Elements in front of an input pixel.
    #[inline(always)]
    fn pixel(&self, image: usize, [row, column]: [isize; 2]) -> isize {
        let w = self.window;
        (((image * w.in_h as usize) as isize + row) * w.in_w as isize + column) * w.in_c as isize
    }
}

/// Up to [`STRIP_BLOCKS`] blocks of output channels of one group.
pub(super) struct Strip<'a> {
    shape: &'a Shape<'a>,
    /// Input, from the first channel of the group on.
    x: *const f32,
    /// Result, from the first channel of the strip on.
    y: *mut f32,
    weights: *const f32,
    block_len: usize,
    bias: [f32; STRIP_BLOCKS * F32_BLOCK],
    /// Output channels.
    channels: usize,
    low: f32,
    high: f32,
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
pub(super) unsafe fn conv<V: Vector>(args: ConvF32Args<'_>) {
    let w = args.window;
    let shape = Shape::checked(&args, packed_f32_len(w));
    let (group_in, group_out) = (w.group_in(), w.group_out());
    let blocks = group_out.div_ceil(F32_BLOCK);
    let block_len = w.taps() * group_in * F32_BLOCK;
    let per_position = w.in_c as usize * w.stride_h as usize * w.stride_w as usize;
    let cached = (CACHED / per_position.max(1)).next_multiple_of(24);
    let positions = w.positions();
    for first in (0..positions).step_by(cached) {
        let range = first..positions.min(first + cached);
        for group in 0..w.groups as usize {
            let mut block = 0;
            while block < blocks {
                let start = block * F32_BLOCK;
                let count = V::strip_blocks(blocks - block, positions);
                let channels = (group_out - start).min(count * F32_BLOCK);
                let channel = group * group_out + start;
                let mut bias = [0.0; STRIP_BLOCKS * F32_BLOCK];
                bias.iter_mut().zip(args.bias.slice(channel, channels).iter()).for_each(|(to, from)| *to = from);
                let weights = args.weights.bytes((group * blocks + block) * block_len, count * block_len);
                let strip = Strip {
                    shape: &shape,
                    x: args.x[group * group_in..].as_ptr(),
                    y: args.y[channel..].as_mut_ptr(),
                    weights: weights.as_ptr().cast(),
                    block_len,
                    bias,
                    channels,
                    low: args.low,
                    high: args.high,
                };
                // SAFETY: the caller's promise; `Shape::checked` has compared all lengths.
                unsafe { V::strip(&strip, range.clone()) };
                block += count;
            }
        }
    }
}

/// The size of the next tile, of `sizes` (falling, the last is 1), and where it starts: a remainder of `range`
/// is computed together with positions in front of it once more rather than in smaller tiles.
#[inline(always)]
pub(super) fn next_tile(range: &mut Range<usize>, sizes: &[usize]) -> Option<(usize, usize)> {
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
pub(super) unsafe fn tile<V: Vector, const R: usize, const N: usize>(strip: &Strip<'_>, first: usize) {
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
                    for (padded, [top, left]) in padded.iter_mut().zip(corners) {
                        let (row, column) = (top + down as isize, left + right as isize);
                        *padded = row as usize >= w.in_h as usize || column as usize >= w.in_w as usize;
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

/// Weights of a depthwise convolution that stay in the first-level cache over all positions.
const CACHED_WEIGHTS: usize = 1 << 12;

/// Neighbouring output columns of one row: what they read.
struct Taps<'a> {
    shape: &'a Shape<'a>,
    /// Elements in front of the corner of the first position.
    pixel: isize,
    /// Rows of the window inside the image.
    rows: Range<usize>,
    /// Columns of the window inside the image; in tiles of joint windows, of all windows together.
    columns: Range<usize>,
    /// Output position of the first column.
    position: usize,
}

/// Output columns of a depthwise tile.
const COLUMNS: usize = 4;

/// Most input columns that the windows of a depthwise tile see together.
const JOINT_COLUMNS: usize = (COLUMNS - 1) * 2 + 5;

/// See [`crate::plan::step::DepthwiseF32`]; there are as many output as input channels, and at least
/// [`Vector::LANES`].
///
/// # Safety
/// The CPU has the instruction set of `V`.
#[inline(always)]
pub(super) unsafe fn depthwise<V: Vector>(mut args: ConvF32Args<'_>) {
    let w = args.window;
    let shape = Shape::checked(&args, w.taps() * w.out_c as usize);
    let channels = w.in_c as usize;
    assert!(w.out_c == w.in_c && channels >= V::LANES);
    let (out_w, inner) = (w.out_w as usize, &shape.columns);
    let [kernel_w, stride_w, dilation_w] = [w.kernel_w, w.stride_w, w.dilation_w].map(|field| field as usize);
    let joint = dilation_w == 1 && matches!((kernel_w, stride_w), (3 | 5, 1 | 2)) && out_w >= COLUMNS;
    let cached = (CACHED_WEIGHTS / w.taps()).next_multiple_of(2 * V::LANES);
    for start in (0..channels).step_by(cached) {
        let range = start..channels.min(start + cached);
        for line in 0..w.batch as usize * w.out_h as usize {
            let (image, row) = (line / w.out_h as usize, line % w.out_h as usize);
            let mut column = 0;
            while column < out_w {
                let wide = joint || inner.contains(&column) && inner.len() >= COLUMNS;
                let (count, end) = if wide { (COLUMNS, if joint { out_w } else { inner.end }) } else { (1, out_w) };
                let first = column.min(end - count);
                let padded = !inner.contains(&first) || !inner.contains(&(first + count - 1));
                let seen = if joint { (COLUMNS - 1) * stride_w + kernel_w } else { kernel_w };
                let corner = shape.corner(row, first);
                let (top, bottom) = inside(corner[0], w.kernel_h as usize, w.dilation_h as usize, w.in_h as usize);
                let (left, right) = inside(corner[1], seen, dilation_w, w.in_w as usize);
                let (pixel, position) = (shape.pixel(image, corner), line * out_w + first);
                let taps = Taps { shape: &shape, pixel, rows: top..bottom, columns: left..right, position };
                macro_rules! joint {
                    ($(($kernel_w:literal, $stride_w:literal)),*) => {
                        match (wide, joint, padded, kernel_w, stride_w) {
                            $(
                                (_, true, false, $kernel_w, $stride_w) => {
                                    depthwise_channels::<V, COLUMNS, $kernel_w, $stride_w, false>(&mut args, &taps, &range)
                                }
                                (_, true, true, $kernel_w, $stride_w) => {
                                    depthwise_channels::<V, COLUMNS, $kernel_w, $stride_w, true>(&mut args, &taps, &range)
                                }
                            )*
                            (true, ..) => depthwise_channels::<V, COLUMNS, 0, 0, false>(&mut args, &taps, &range),
                            (false, ..) => depthwise_channels::<V, 1, 0, 0, false>(&mut args, &taps, &range),
                        }
                    };
                }
                // SAFETY: the caller's promise; `Shape::checked` has compared lengths. The taps lie inside the image
                // for all columns: they are inner ones, or looked at one by one, or there is just one.
                unsafe { joint!((3, 1), (3, 2), (5, 1), (5, 2)) };
                column = first + count;
            }
        }
    }
}

/// Channels `range` of `R` positions, for windows of `K` columns and stride `S` with padding (`P`) or without, or
/// any windows without where `K` is 0.
///
/// # Safety
/// As for [`depthwise`]; the taps can be read for all positions.
#[inline(always)]
unsafe fn depthwise_channels<V: Vector, const R: usize, const K: usize, const S: usize, const P: bool>(
    args: &mut ConvF32Args<'_>,
    taps: &Taps<'_>,
    range: &Range<usize>,
) {
    let mut channel = range.start;
    // SAFETY: the caller's promise; channels end where the last ones do.
    unsafe {
        while channel + 2 * V::LANES <= range.end {
            depthwise_tile::<V, R, 2, K, S, P>(args, taps, channel);
            channel += 2 * V::LANES;
        }
        while channel < range.end {
            // The last register takes channels in front of it once more.
            depthwise_tile::<V, R, 1, K, S, P>(args, taps, channel.min(args.window.in_c as usize - V::LANES));
            channel += V::LANES;
        }
    }
}

/// `N` registers of channels from `channel` on of `R` positions.
///
/// # Safety
/// As for [`depthwise_channels`]; the channels are there.
#[inline(always)]
unsafe fn depthwise_tile<V: Vector, const R: usize, const N: usize, const K: usize, const S: usize, const P: bool>(
    args: &mut ConvF32Args<'_>,
    taps: &Taps<'_>,
    channel: usize,
) {
    let w = taps.shape.window;
    let channels = w.in_c as usize;
    let corner = args.x.as_ptr().wrapping_offset(taps.pixel + channel as isize);
    let bias = args.bias.bytes(channel, N * V::LANES).as_ptr().cast::<f32>();
    let weights = args.weights.bytes(channel, args.weights.len()).as_ptr().cast::<f32>();
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[V::splat(0.0); N]; R];
        for register in 0..N {
            let bias = V::load(bias.add(register * V::LANES));
            sums.iter_mut().for_each(|sums| sums[register] = bias);
        }
        for tap_row in taps.rows.clone() {
            let line = corner.wrapping_add(tap_row * w.dilation_h as usize * w.in_w as usize * channels);
            let weights = weights.wrapping_add(tap_row * w.kernel_w as usize * channels);
            if K > 0 {
                joint_row::<V, R, N, K, S, P>(&mut sums, line, &taps.columns, weights, channels);
                continue;
            }
            for tap_column in taps.columns.clone() {
                let x = line.wrapping_add(tap_column * w.dilation_w as usize * channels);
                for register in 0..N {
                    let weight = V::load(weights.wrapping_add(tap_column * channels + register * V::LANES));
                    for (index, sums) in sums.iter_mut().enumerate() {
                        let x = x.wrapping_add(index * w.stride_w as usize * channels + register * V::LANES);
                        sums[register] = sums[register].multiply_add(V::load(x), weight);
                    }
                }
            }
        }
        let (low, high) = (V::splat(args.low), V::splat(args.high));
        for (index, sums) in sums.into_iter().enumerate() {
            for (register, sum) in sums.into_iter().enumerate() {
                let place = (taps.position + index) * channels + channel + register * V::LANES;
                sum.clamp(low, high).store(args.y.as_mut_ptr().add(place));
            }
        }
    }
}

/// Adds one row of `K` taps of `R` positions `S` columns apart. Each input column is loaded once; those outside of
/// `inside` are zeros.
///
/// # Safety
/// As for [`depthwise_tile`]; `x` and `weights` are those of the first tap of the row.
#[inline(always)]
unsafe fn joint_row<V: Vector, const R: usize, const N: usize, const K: usize, const S: usize, const P: bool>(
    sums: &mut [[V; N]; R],
    x: *const f32,
    inside: &Range<usize>,
    weights: *const f32,
    channels: usize,
) {
    const { assert!((R - 1) * S + K <= JOINT_COLUMNS) };
    for register in 0..N {
        // SAFETY: the caller's promise.
        unsafe {
            let mut columns = [V::splat(0.0); JOINT_COLUMNS];
            for (index, column) in columns[..(R - 1) * S + K].iter_mut().enumerate() {
                if !P || inside.contains(&index) {
                    *column = V::load(x.wrapping_add(index * channels + register * V::LANES));
                }
            }
            for tap in 0..K {
                let weight = V::load(weights.wrapping_add(tap * channels + register * V::LANES));
                for (index, sums) in sums.iter_mut().enumerate() {
                    sums[register] = sums[register].multiply_add(columns[index * S + tap], weight);
                }
            }
        }
    }
}
