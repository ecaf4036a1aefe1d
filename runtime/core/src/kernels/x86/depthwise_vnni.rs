//! Int8 depthwise convolution with VPDPBUSD, 16 channels at a time: up to four rows of a column are interleaved to
//! one group of four bytes for each channel, once for all positions that see the column.
//!
//! As in [`super::vnni`] 128 is added to the input and `128·Σw` taken off again.

use core::arch::x86_64::*;

use super::finish::Finish512;
use crate::kernels::ConvI8Args;
use crate::kernels::channel_blocks::{Block, for_each_block};
use crate::kernels::source::Source;
use crate::weights::BLOCK;

/// [`crate::plan::step::ConvI8`], depthwise.
pub(super) fn depthwise(args: ConvI8Args<'_>) {
    let window = args.window;
    let readable = window.in_c >= 16 || Source::of_depthwise(window) == Source::Lines;
    let fits = window.out_c == window.in_c && args.weight_zero_points.is_empty() && readable && window.dilation_w == 1;
    let slide = match (window.kernel_h, window.kernel_w, window.stride_w) {
        (3, 3, 1) if fits => slide::<3, 1, 3, 1>,
        (3, 3, 2) if fits => slide::<3, 1, 3, 2>,
        (5, 5, 1) if fits => slide::<5, 2, 5, 1>,
        (5, 5, 2) if fits => slide::<5, 2, 5, 2>,
        _ => return super::avx512::depthwise_i8(args),
    };
    // SAFETY: this function stands only in kernels that `available` gives out where VNNI is there.
    for_each_block(args, |args, block| unsafe { slide(args, block) });
}

/// A block with a window of `H` rows in `G` groups of four and `W` columns, `STRIDE` columns apart.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2")]
fn slide<const H: usize, const G: usize, const W: usize, const STRIDE: usize>(
    args: &mut ConvI8Args<'_>,
    block: &Block<'_>,
) {
    let mut weights = [[_mm512_setzero_si512(); G]; W];
    let mut totals = _mm512_setzero_si512();
    for (column, weights) in weights.iter_mut().enumerate() {
        let mut rows = [_mm_setzero_si128(); H];
        for (row, out) in rows.iter_mut().enumerate() {
            // SAFETY: an array of 16 bytes.
            *out = unsafe { _mm_loadu_si128(block.weights::<BLOCK>(args, row * W + column).as_ptr().cast()) };
        }
        *weights = interleave::<H, G>(rows);
        for group in weights {
            totals = _mm512_dpbusd_epi32(totals, _mm512_set1_epi8(1), *group);
        }
    }
    let finish = Finish512::new(args, block.channel, block.lanes);
    let bias = _mm512_sub_epi32(finish.bias, _mm512_slli_epi32::<7>(totals));
    let out_c = args.window.out_c as usize;
    for line in 0..block.lines {
        let rows: [*const i8; H] = core::array::from_fn(|row| block.pointer(line, row));
        let mut at = 0;
        let mut next = || {
            let mut column = [_mm_setzero_si128(); H];
            for (row, out) in column.iter_mut().enumerate() {
                // SAFETY: 16 bytes of every tap of every position can be read, as `for_each_block` has seen.
                *out = unsafe { _mm_loadu_si128(rows[row].add(at).cast()) };
            }
            at += block.column_step;
            let mut groups = interleave::<H, G>(column);
            for group in &mut groups {
                *group = _mm512_xor_si512(*group, _mm512_set1_epi8(-128));
            }
            groups
        };
        let mut window = [[_mm512_setzero_si512(); G]; W];
        for column in &mut window[STRIDE..] {
            *column = next();
        }
        let mut place = (block.first + line * block.columns) * out_c + block.channel;
        for _ in 0..block.columns {
            for column in 0..W - STRIDE {
                window[column] = window[column + STRIDE];
            }
            for column in &mut window[W - STRIDE..] {
                *column = next();
            }
            // Two chains of sums.
            let mut sums = [bias, _mm512_setzero_si512()];
            for column in 0..W {
                for group in 0..G {
                    let chain = &mut sums[(column * G + group) % 2];
                    *chain = _mm512_dpbusd_epi32(*chain, window[column][group], weights[column][group]);
                }
            }
            // SAFETY: `block` has this position.
            unsafe { finish.store(place, _mm512_add_epi32(sums[0], sums[1])) };
            place += out_c;
        }
    }
}

/// Puts the bytes of up to four rows of a channel next to each other, for each of 16 channels.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2")]
#[inline]
fn interleave<const H: usize, const G: usize>(rows: [__m128i; H]) -> [__m512i; G] {
    let quarters = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    let bytes = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    let mut groups = [_mm512_setzero_si512(); G];
    for (group, out) in groups.iter_mut().enumerate() {
        let row = |index: usize| rows.get(4 * group + index).copied();
        let mut all = _mm512_zextsi128_si512(rows[4 * group]);
        if let Some(row) = row(1) {
            all = _mm512_inserti32x4::<1>(all, row);
        }
        if let Some(row) = row(2) {
            all = _mm512_inserti32x4::<2>(all, row);
        }
        if let Some(row) = row(3) {
            all = _mm512_inserti32x4::<3>(all, row);
        }
        *out = _mm512_shuffle_epi8(_mm512_permutexvar_epi32(quarters, all), bytes);
    }
    groups
}
