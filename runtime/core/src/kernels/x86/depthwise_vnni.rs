//! Int8 depthwise convolution with VPDPBUSD: registers hold 64 channels of a line, or 32 or 16 of as many lines as fill
//! them. The rows of a column are interleaved to groups of four bytes, one for each channel, once for all positions that
//! see the column. The input is read where it is; only what stands for lines of padding lies in scratch.
//!
//! Interleaving stays within quarters of a register: of each quarter's 16 channels, register `part` of four gets channels
//! `4·part` to `4·part + 3`. Packing the results puts them in order again.
//!
//! As in [`super::vnni`] 128 is added to the input and `128·Σw` taken off again.

use core::arch::x86_64::*;

use super::finish::{FinishQuarters, QUARTERS, joined};
use crate::kernels::view::{fill, i8s};
use crate::kernels::{ConvI8Args, ConvOutput};
use crate::plan::step::Window;
use crate::weights::BLOCK;

/// Bytes of a register.
const REGISTER: usize = 64;

/// Groups of four rows of a column, in four registers each.
type Column<const G: usize> = [[__m512i; QUARTERS]; G];

/// [`crate::plan::step::ConvI8`], depthwise.
pub(super) fn depthwise(mut args: ConvI8Args<'_>) {
    let window = *args.window;
    let usual = window.out_c == window.in_c && args.weight_zero_points.is_empty() && window.dilation_w == 1;
    let fits = usual && matches!(args.y, ConvOutput::I8(..));
    macro_rules! widths {
        ($($parameters:literal)*) => {
            [block::<$($parameters,)* 64>, block::<$($parameters,)* 32>, block::<$($parameters,)* 16>]
        };
    }
    let blocks = match (window.kernel_h, window.kernel_w, window.stride_w) {
        (3, 3, 1) if fits => widths!(3 1 3 1 3),
        (3, 3, 2) if fits => widths!(3 1 3 2 2),
        (5, 5, 1) if fits => widths!(5 2 5 1 5),
        (5, 5, 2) if fits => widths!(5 2 5 2 3),
        _ => return super::avx512::depthwise_i8(args),
    };
    let channels = window.in_c as usize;
    let padding = core::mem::take(&mut args.scratch);
    let len = padding.len().min(columns_inside(&window) * channels);
    fill(padding, 0..len, args.x_zero_point);
    let image_len = window.in_h as usize * window.in_w as usize * channels;
    for (image, x) in args.x.chunks_exact(image_len.max(1)).enumerate().take(window.batch as usize) {
        let mut start = 0;
        while start < channels {
            let (index, width) = match (channels, channels - start) {
                (64.., 33..) => (0, 64),
                (32.., 17..) => (1, 32),
                _ => (2, BLOCK),
            };
            // The last block begins early enough to be full, if there are so many channels.
            let channel = start.min(channels.saturating_sub(width));
            let lanes = channels.min(width);
            let first = image * window.out_h as usize * window.out_w as usize;
            // SAFETY: this function stands only in kernels that `available` gives out where VNNI is there.
            unsafe { blocks[index](&mut args, &Block { window: &window, x, padding, channel, lanes, first }) };
            start += width;
        }
    }
}

/// Channels of an image.
struct Block<'a> {
    window: &'a Window,
    /// The image.
    x: &'a [i8],
    /// What stands for a line of padding, where there is one.
    padding: &'a [i8],
    /// First channel.
    channel: usize,
    /// How many.
    lanes: usize,
    /// The image's first output position.
    first: usize,
}

/// Columns of the image that a line of output sees, from the first one on.
fn columns_inside(window: &Window) -> usize {
    let seen = (window.out_w as usize - 1) * window.stride_w as usize + window.kernel_w as usize;
    seen.saturating_sub(window.pad_left as usize).min(window.in_w as usize)
}

impl Block<'_> {
    /// The first of these channels in what output line `line` sees of kernel row `row`. All columns of the image that it
    /// sees can be read from there.
    fn line(&self, line: usize, row: usize) -> *const i8 {
        let Window { in_h, in_w, in_c, stride_h, dilation_h, pad_top, .. } = *self.window;
        let line = line * stride_h as usize + row * dilation_h as usize;
        let inside = line.checked_sub(pad_top as usize).filter(|line| *line < in_h as usize);
        let (all, start) = match inside {
            Some(line) => (self.x, line * in_w as usize * in_c as usize),
            None => (self.padding, 0),
        };
        let len = columns_inside(self.window) * in_c as usize;
        assert!(start + len <= all.len() && self.channel + self.lanes <= in_c as usize);
        all.as_ptr().wrapping_add(start + self.channel)
    }
}

/// A block with a window of `H` rows in `G` groups of four and `W` columns, `STRIDE` columns apart, so that a column is
/// seen by up to `OPEN` positions; registers hold `WIDTH` channels of a line.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2")]
fn block<const H: usize, const G: usize, const W: usize, const STRIDE: usize, const OPEN: usize, const WIDTH: usize>(
    args: &mut ConvI8Args<'_>,
    block: &Block<'_>,
) {
    let (channel, lanes) = (block.channel, block.lanes);
    let mut weights = [[[_mm512_setzero_si512(); QUARTERS]; G]; W];
    let mut totals = [_mm512_setzero_si512(); QUARTERS];
    let out_c = block.window.out_c as usize;
    for (column, weights) in weights.iter_mut().enumerate() {
        let of_tap = |row: usize| &i8s(args.weights)[(row * W + column) * out_c + channel..][..lanes];
        let mut rows = [_mm512_setzero_si512(); H];
        for (row, to) in rows.iter_mut().enumerate() {
            *to = repeated::<WIDTH>(of_tap(row));
        }
        *weights = interleave::<H, G>(rows);
        for group in weights {
            for (total, w) in totals.iter_mut().zip(group) {
                *total = _mm512_dpbusd_epi32(*total, _mm512_set1_epi8(1), *w);
            }
        }
    }
    let finish = FinishQuarters::<WIDTH>::new(args, channel, lanes);
    let mut bias = finish.bias;
    for (bias, total) in bias.iter_mut().zip(totals) {
        *bias = _mm512_sub_epi32(*bias, _mm512_slli_epi32::<7>(total));
    }
    let Window { out_h, out_w, in_w, in_c, pad_left, .. } = *block.window;
    let (out_h, out_w, in_w, pad_left) = (out_h as usize, out_w as usize, in_w as usize, pad_left as usize);
    let outside = interleave::<H, G>([_mm512_set1_epi8(args.x_zero_point ^ -128); H]);
    let mask = u16::MAX >> BLOCK.saturating_sub(lanes);
    let together = REGISTER / WIDTH;
    for line in (0..out_h).step_by(together) {
        let lines = together.min(out_h - line);
        // Lines that are not there stand for the last one; their results are not stored.
        let mut rows = [[core::ptr::null(); QUARTERS]; H];
        for (row, lines_of_row) in rows.iter_mut().enumerate() {
            for (index, to) in lines_of_row.iter_mut().enumerate().take(together) {
                *to = block.line(line + index.min(lines - 1), row);
            }
        }
        let mut seen = 0_usize;
        let mut next = || {
            let at = seen.wrapping_sub(pad_left);
            seen += 1;
            if at >= in_w {
                return outside;
            }
            let at = at * in_c as usize;
            let mut column = [_mm512_setzero_si512(); H];
            for (to, rows) in column.iter_mut().zip(&rows) {
                // SAFETY: the column is inside the image and seen: `Block::line` lets it be read.
                let x = unsafe { load::<WIDTH>(rows, at, mask) };
                *to = _mm512_xor_si512(x, _mm512_set1_epi8(-128));
            }
            interleave::<H, G>(column)
        };
        // Sums of the positions that see a column, the first of them in front.
        let mut open = [bias; OPEN];
        let mut place = (block.first + line * out_w) * out_c + channel;
        for index in 0..out_w + OPEN - 1 {
            for phase in 0..STRIDE {
                if phase > (W - 1) % STRIDE && index + 1 == out_w + OPEN - 1 {
                    break;
                }
                let column = next();
                for back in 0..OPEN {
                    let tap = phase + back * STRIDE;
                    if tap < W {
                        multiply(&mut open[OPEN - 1 - back], &column, &weights[tap]);
                    }
                }
            }
            if index + 1 >= OPEN {
                // SAFETY: the image has this position on all of these lines.
                unsafe { finish.store(place, out_w * out_c, lines, open[0]) };
                place += out_c;
            }
            for index in 1..OPEN {
                open[index - 1] = open[index];
            }
            open[OPEN - 1] = bias;
        }
    }
}

#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
fn multiply<const G: usize>(sums: &mut [__m512i; QUARTERS], x: &Column<G>, w: &Column<G>) {
    for (x, w) in x.iter().zip(w) {
        for part in 0..QUARTERS {
            sums[part] = _mm512_dpbusd_epi32(sums[part], x[part], w[part]);
        }
    }
}

/// `WIDTH` channels of as many lines as fill a register, `at` bytes behind; of 16, only those that `mask` has.
///
/// # Safety
/// So many bytes can be read of each of those lines.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
unsafe fn load<const WIDTH: usize>(lines: &[*const i8; QUARTERS], at: usize, mask: u16) -> __m512i {
    let (a, b) = (lines[0].wrapping_add(at), lines[1].wrapping_add(at));
    let (c, d) = (lines[2].wrapping_add(at), lines[3].wrapping_add(at));
    // SAFETY: the caller's promise.
    unsafe {
        match WIDTH {
            64 => _mm512_loadu_si512(a.cast()),
            32 => {
                let first = _mm512_castsi256_si512(_mm256_loadu_si256(a.cast()));
                _mm512_inserti64x4::<1>(first, _mm256_loadu_si256(b.cast()))
            }
            _ => joined([
                _mm_maskz_loadu_epi8(mask, a),
                _mm_maskz_loadu_epi8(mask, b),
                _mm_maskz_loadu_epi8(mask, c),
                _mm_maskz_loadu_epi8(mask, d),
            ]),
        }
    }
}

/// `WIDTH` bytes, zeros behind those that are there, as often as a register holds them.
#[target_feature(enable = "avx512f")]
#[inline]
fn repeated<const WIDTH: usize>(bytes: &[i8]) -> __m512i {
    let mut all = [0; REGISTER];
    all[..bytes.len()].copy_from_slice(bytes);
    // SAFETY: an array of 64 bytes.
    let once = unsafe { _mm512_loadu_si512(all.as_ptr().cast()) };
    match WIDTH {
        64 => once,
        32 => _mm512_broadcast_i64x4(_mm512_castsi512_si256(once)),
        _ => _mm512_broadcast_i32x4(_mm512_castsi512_si128(once)),
    }
}

/// Puts the bytes of up to four rows of a channel next to each other, in each quarter. Behind the last row come zeros.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn interleave<const H: usize, const G: usize>(rows: [__m512i; H]) -> Column<G> {
    let zero = _mm512_setzero_si512();
    let mut groups = [[zero; QUARTERS]; G];
    for (group, out) in groups.iter_mut().enumerate() {
        let mut four = [zero; 4];
        for (index, to) in four.iter_mut().enumerate() {
            if 4 * group + index < H {
                *to = rows[4 * group + index];
            }
        }
        let [a, b, c, d] = four;
        let front = [_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b)];
        let back = [_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d)];
        *out = [
            _mm512_unpacklo_epi16(front[0], back[0]),
            _mm512_unpackhi_epi16(front[0], back[0]),
            _mm512_unpacklo_epi16(front[1], back[1]),
            _mm512_unpackhi_epi16(front[1], back[1]),
        ];
    }
    groups
}
