//! Int8 convolution: rows of the input are packed into scratch (or read in place) and multiplied
//! with blocks of weights.

use crate::kernels::view::i8s;
use crate::kernels::{ConvI8Args, ConvOutput};
use crate::plan::step::Window;
use crate::weights::{BLOCK, GROUP, Segments, block_width};

/// Rows multiplied at once: each weight loaded serves all of them.
const ROWS: usize = 4;

/// Rows of packed input, and where their results go.
#[derive(Clone, Copy)]
pub(crate) struct Tile<'a> {
    /// The rows, one behind the other.
    pub rows: &'a [i8],
    /// Bytes of one row.
    pub length: usize,
    /// The output position of the first row.
    pub first: usize,
    /// The channel group.
    pub group: usize,
}

impl Tile<'_> {
    /// Number of rows.
    #[inline(always)]
    pub fn count(&self) -> usize {
        self.rows.len() / self.length
    }
}

/// Packs the input, or takes it in place, and calls `multiply(args, tile, weights of the group)` for up to
/// `most` rows at a time.
#[inline(always)]
pub(crate) fn for_each_tile<'a>(
    mut args: ConvI8Args<'a>,
    most: usize,
    mut multiply: impl FnMut(&mut ConvI8Args<'a>, Tile<'_>, &'a [u8]),
) {
    let window = args.window;
    let segments = Segments::of(window);
    let length = segments.packed_len();
    let positions = window.positions();
    let group_bytes = length * window.group_out().next_multiple_of(crate::weights::LANES);
    let scratch = core::mem::take(&mut args.scratch);
    let in_place = scratch.is_empty();
    let size = if in_place { most } else { (scratch.len() / length).clamp(1, most) };
    for group in 0..window.groups as usize {
        let weights = &args.weights[group * group_bytes..][..group_bytes];
        for first in (0..positions).step_by(size) {
            let count = size.min(positions - first);
            let rows = if in_place {
                &args.x[first * length..][..count * length]
            } else {
                for (row, packed) in scratch.chunks_exact_mut(length).take(count).enumerate() {
                    pack_row(window, &segments, args.x, args.x_zero_point, first + row, group, packed);
                }
                &scratch[..count * length]
            };
            multiply(&mut args, Tile { rows, length, first, group }, weights);
        }
    }
}

/// See [`crate::plan::step::ConvI8`].
#[inline(always)]
pub(crate) fn conv(args: ConvI8Args<'_>) {
    for_each_tile(args, ROWS, |args, tile, weights| multiply(args, tile, weights));
}

/// Copies what output position `position` sees of the input, in the order of the weights; padding
/// gets `zero_point`, the end of a segment zeros.
#[inline(always)]
pub(crate) fn pack_row(
    window: &Window,
    segments: &Segments,
    x: &[i8],
    zero_point: i8,
    position: usize,
    group: usize,
    packed: &mut [i8],
) {
    let (out_h, out_w) = (window.out_h as usize, window.out_w as usize);
    let (in_h, in_w, in_c) = (window.in_h as usize, window.in_w as usize, window.in_c as usize);
    let column = position % out_w;
    let row = position / out_w % out_h;
    let image = &x[position / (out_w * out_h) * in_h * in_w * in_c..][..in_h * in_w * in_c];
    let top = (row * window.stride_h as usize) as isize - window.pad_top as isize;
    let left = (column * window.stride_w as usize) as isize - window.pad_left as isize;
    let kernel_w = window.kernel_w as usize;
    for (index, segment) in packed.chunks_exact_mut(segments.padded).enumerate() {
        let (segment, tail) = segment.split_at_mut(segments.len);
        tail.fill(0);
        let kernel_row = if segments.rows { index } else { index / kernel_w };
        let y = top + (kernel_row * window.dilation_h as usize) as isize;
        if y < 0 || y as usize >= in_h {
            segment.fill(zero_point);
            continue;
        }
        let line = &image[y as usize * in_w * in_c..][..in_w * in_c];
        if segments.rows {
            // Columns left of the image, inside, right of it.
            let before = (left.min(0).unsigned_abs()).min(kernel_w);
            let start = left.max(0) as usize;
            let inside = in_w.saturating_sub(start).min(kernel_w - before);
            let (pad, rest) = segment.split_at_mut(before * in_c);
            pad.fill(zero_point);
            let (data, pad) = rest.split_at_mut(inside * in_c);
            if inside > 0 {
                copy_run(data, &line[start * in_c..][..inside * in_c]);
            }
            pad.fill(zero_point);
        } else {
            let x = left + (index % kernel_w * window.dilation_w as usize) as isize;
            if x < 0 || x as usize >= in_w {
                segment.fill(zero_point);
            } else {
                copy_run(segment, &line[x as usize * in_c + group * segments.len..][..segments.len]);
            }
        }
    }
}

/// Copies a run of the same length: most are too short to be worth a call to memcpy.
#[inline(always)]
fn copy_run(to: &mut [i8], from: &[i8]) {
    let (to_16, to) = to.as_chunks_mut::<16>();
    let (from_16, from) = from.as_chunks::<16>();
    to_16.iter_mut().zip(from_16).for_each(|(to, from)| *to = *from);
    let (to_4, to) = to.as_chunks_mut::<4>();
    let (from_4, from) = from.as_chunks::<4>();
    to_4.iter_mut().zip(from_4).for_each(|(to, from)| *to = *from);
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
}

/// Multiplies up to [`ROWS`] rows with all blocks of a group and stores the results.
#[inline(always)]
fn multiply(args: &mut ConvI8Args<'_>, tile: Tile<'_>, weights: &[u8]) {
    let Tile { rows, length, first, group } = tile;
    let window = args.window;
    let group_out = window.group_out();
    let out_c = window.out_c as usize;
    let count = tile.count();
    let mut base = 0;
    for start in (0..group_out).step_by(BLOCK) {
        let width = block_width(start, group_out);
        let block = i8s(&weights[base..][..width * length]);
        base += width * length;
        let mut sums = [[0_i32; BLOCK]; ROWS];
        if width == BLOCK && count == ROWS {
            multiply_full(rows, length, block, &mut sums);
        } else {
            for (row, sums) in rows.chunks_exact(length).zip(&mut sums) {
                for (quad, weights) in row.as_chunks::<GROUP>().0.iter().zip(block.chunks_exact(width * GROUP)) {
                    for (sum, w) in sums.iter_mut().zip(weights.as_chunks::<GROUP>().0) {
                        *sum = dot(*sum, quad, w);
                    }
                }
            }
        }
        let channel = group * group_out + start;
        for (index, sums) in sums[..count].iter_mut().enumerate() {
            let row = &rows[index * length..][..length];
            let place = (first + index) * out_c + channel;
            let lanes = width.min(group_out - start);
            if !args.weight_zero_points.is_empty() {
                let total: i32 = row.iter().map(|&x| i32::from(x)).sum();
                for (lane, sum) in sums[..lanes].iter_mut().enumerate() {
                    *sum = sum.wrapping_sub(args.weight_zero_points.get(channel + lane).wrapping_mul(total));
                }
            }
            let bias = args.bias.slice(channel, lanes).iter();
            let scaled = sums.iter().zip(bias).zip(args.multipliers.slice(channel, lanes).iter());
            let scaled = scaled.map(|((sum, bias), m)| sum.wrapping_add(bias) as f32 * m);
            match &mut args.y {
                ConvOutput::I8(y, target) => {
                    y[place..][..lanes].iter_mut().zip(scaled).for_each(|(y, v)| *y = target.store(v));
                }
                ConvOutput::F32(y) => y[place..][..lanes].iter_mut().zip(scaled).for_each(|(y, v)| *y = v),
            }
        }
    }
}

#[inline(always)]
fn dot(sum: i32, x: &[i8; GROUP], w: &[i8; GROUP]) -> i32 {
    let product = |i: usize| i32::from(x[i]) * i32::from(w[i]);
    sum.wrapping_add(product(0) + product(1) + product(2) + product(3))
}

#[inline(always)]
fn multiply_full(rows: &[i8], length: usize, block: &[i8], sums: &mut [[i32; BLOCK]; ROWS]) {
    let (r0, rest) = rows.split_at(length);
    let (r1, rest) = rest.split_at(length);
    let (r2, r3) = rest.split_at(length);
    let quads = |row| <[i8]>::as_chunks::<GROUP>(row).0.iter();
    let rows = quads(r0).zip(quads(r1)).zip(quads(r2).zip(quads(r3)));
    for (((q0, q1), (q2, q3)), weights) in rows.zip(block.as_chunks::<{ BLOCK * GROUP }>().0) {
        for (lane, w) in weights.as_chunks::<GROUP>().0.iter().enumerate() {
            sums[0][lane] = dot(sums[0][lane], q0, w);
            sums[1][lane] = dot(sums[1][lane], q1, w);
            sums[2][lane] = dot(sums[2][lane], q2, w);
            sums[3][lane] = dot(sums[3][lane], q3, w);
        }
    }
}
