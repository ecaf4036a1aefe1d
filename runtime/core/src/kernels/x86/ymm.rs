//! Int8 convolution in registers of 32 bytes: up to 6 rows times 16 output channels.
//!
//! - AVX-VNNI: VPDPBUSD, as in [`super::vnni`].
//! - AVX2: VPMADDUBSW of `|x|` and `w` with the sign of `x`, whose sums of two products fit 16 bits, then VPMADDWD with
//!   ones. Where a row meets many channels, absolute values and signs are made ready for all of them; see [`panel`]. Where
//!   many rows meet the same weights, see [`paired`]; where they are short, [`words`].

use core::arch::x86_64::*;

use super::finish::Finish256;
use super::{paired, panel, winograd, words};
use crate::kernels::rows::{Reach, Rows, for_each_rows};
use crate::kernels::{ConvI8Args, border};
use crate::weights::{BLOCK, GROUP, LANES, block_width};

/// Rows multiplied at once.
const ROWS: usize = 6;

/// [`crate::plan::step::ConvI8`] with AVX-VNNI.
pub(super) fn conv_vnni(mut args: ConvI8Args<'_>) {
    if !args.weight_zero_points.is_empty() {
        // Rare: the sums of the rows are needed too.
        return super::avx2::conv_i8(args);
    }
    if border::pays(&args) {
        return border::conv(args, conv_vnni);
    }
    // SAFETY: this function stands only in kernels that `available` gives out where AVX-VNNI is there.
    for_each_rows(&mut args, |args, rows, weights| unsafe { avx_vnni::all_blocks(args, rows, weights) });
}

/// [`crate::plan::step::ConvI8`] with AVX2.
pub(super) fn conv_avx2(mut args: ConvI8Args<'_>) {
    if border::pays(&args) {
        return border::conv(args, conv_avx2);
    }
    let panels = panel::fits(args.window) && (panel::pays(args.window) || !args.narrow);
    if !args.weight_zero_points.is_empty() || !(panels || args.narrow) {
        // Rare: the sums of the rows are needed too, or a row is very long.
        return super::avx2::conv_i8(args);
    }
    // SAFETY: this function stands only in kernels that `available` gives out where AVX2 is there.
    for_each_rows(&mut args, |args, rows, weights| unsafe {
        if winograd::pays(args, rows) {
            winograd::all_tiles(args, rows, weights);
        } else if words::pays(args, rows) {
            words::all_blocks(args, rows, weights);
        } else if panels {
            paired::all_blocks(args, rows, weights);
        } else {
            signs::all_blocks(args, rows, weights);
        }
    });
}

/// A block of channels, for all rows.
struct Blocks {
    reach: Reach,
    /// Bytes from one row to the next.
    step: usize,
    weights: *const u8,
    /// Bytes of weights from one group of four along the reduction axis to the next.
    quad_step: usize,
    /// The words of weights that are there, of a block that is not full.
    masks: [__m256i; 2],
    finish: Finish256,
    /// Elements of the output from one position to the next.
    y_step: usize,
}

/// The words of weights that are there, in a block of `width` channels.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn masks_of(width: usize) -> [__m256i; 2] {
    [mask(width), mask(width.saturating_sub(2 * LANES))]
}

/// All ones in the first `count` words.
#[target_feature(enable = "avx2")]
fn mask(count: usize) -> __m256i {
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), lanes)
}

/// Stores the sums of the first `$rows` rows. Written out: as a loop it would move all sums to memory, and keep them
/// there throughout.
macro_rules! store {
    ($blocks:ident, $sums:ident, $place:ident, $rows:ident, $($row:literal)*) => {$(
        if $row < $rows {
            // SAFETY: the caller's promise.
            unsafe { $blocks.finish.store($place + $row * $blocks.y_step, $sums[$row]) };
        }
    )*};
}

/// The weights of one group of four along the reduction axis.
///
/// # Safety
/// `PARTS` times 32 bytes can be read, or those that the masks let be read.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) unsafe fn weights_of<const PARTS: usize, const FULL: bool>(
    w: *const u8,
    masks: &[__m256i; 2],
) -> [__m256i; PARTS] {
    let mut weights = [_mm256_setzero_si256(); PARTS];
    for (part, weights) in weights.iter_mut().enumerate() {
        let w = w.wrapping_add(32 * part);
        // SAFETY: the caller's promise.
        *weights =
            unsafe { if FULL { _mm256_loadu_si256(w.cast()) } else { _mm256_maskload_epi32(w.cast(), masks[part]) } };
    }
    weights
}

/// The walk over rows and blocks for an instruction set: how many rows at once, what is made of the input and of the bias
/// for a row, how they are multiplied, and what is taken off the bias for each weight.
macro_rules! walk {
    ($module:ident, $features:literal, $rows:expr, $prepare:path, $start:path, $multiply:path, $bias:path) => {
        mod $module {
            use super::*;

            #[target_feature(enable = $features)]
            pub fn all_blocks(args: &mut ConvI8Args<'_>, rows: &Rows<'_>, weights: &[u8]) {
                let group_out = args.window.group_out();
                let mut rest = weights;
                for start in (0..group_out).step_by(BLOCK) {
                    let width = block_width(start, group_out);
                    let (block, behind) = rest.split_at(width * rows.reach.packed_len());
                    rest = behind;
                    match width {
                        BLOCK => one_block::<2, true>(args, rows, start, block, width),
                        8 => one_block::<1, true>(args, rows, start, block, width),
                        4 => one_block::<1, false>(args, rows, start, block, width),
                        _ => one_block::<2, false>(args, rows, start, block, width),
                    }
                }
            }

            #[target_feature(enable = $features)]
            fn one_block<const PARTS: usize, const FULL: bool>(
                args: &mut ConvI8Args<'_>,
                rows: &Rows<'_>,
                start: usize,
                weights: &[u8],
                width: usize,
            ) {
                let y_step = args.y_step;
                let group_out = args.window.group_out();
                let channel = rows.group * group_out + start;
                let mut finish = Finish256::new(args, channel, (group_out - start).min(BLOCK));
                let masks = masks_of(width);
                let quad_step = width * GROUP;
                for weights in weights.chunks_exact(quad_step) {
                    // SAFETY: a chunk has the words that the masks let be read.
                    let w = unsafe { weights_of::<PARTS, FULL>(weights.as_ptr(), &masks) };
                    for part in 0..PARTS {
                        finish.bias[part] = $bias(finish.bias[part], w[part]);
                    }
                }
                let (reach, step) = (rows.reach, rows.step);
                let blocks = Blocks { reach, step, weights: weights.as_ptr(), quad_step, masks, finish, y_step };
                rows.for_each_run::<{ $rows }>(|x, count, position| {
                    let multiply = match count {
                        1 => products::<1, PARTS, FULL>,
                        2 => products::<2, PARTS, FULL>,
                        3 => products::<3, PARTS, FULL>,
                        4 => products::<4, PARTS, FULL>,
                        5 => products::<5, PARTS, FULL>,
                        _ => products::<ROWS, PARTS, FULL>,
                    };
                    // SAFETY: the rows can be read as far as the reach, and the output has their positions.
                    unsafe { multiply(&blocks, x, position * y_step + channel) };
                });
            }

            /// Multiplies `R` rows from `x` on, and stores the results from element `place` of the output on.
            ///
            /// # Safety
            /// The rows can be read as far as the reach; the output has their positions.
            #[target_feature(enable = $features)]
            #[inline(never)]
            unsafe fn products<const R: usize, const PARTS: usize, const FULL: bool>(
                blocks: &Blocks,
                x: *const i8,
                place: usize,
            ) {
                let reach = &blocks.reach;
                let mut sums = [blocks.finish.bias; R];
                for (row, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: the caller's promise.
                    *sums = unsafe { $start(x.add(row * blocks.step), reach, *sums) };
                }
                let mut w = blocks.weights;
                reach.for_each_segment(|offset| {
                    for quad in 0..reach.quads {
                        // SAFETY: the block has weights for each quad of each segment.
                        let weights = unsafe { weights_of::<PARTS, FULL>(w, &blocks.masks) };
                        w = w.wrapping_add(blocks.quad_step);
                        for (row, sums) in sums.iter_mut().enumerate() {
                            // SAFETY: the segment has `quads` groups of 4 bytes.
                            let x = unsafe { $prepare(x.add(row * blocks.step + offset + quad * GROUP), reach) };
                            for (sums, weights) in sums.iter_mut().zip(weights) {
                                *sums = $multiply(*sums, x, weights);
                            }
                        }
                    }
                });
                store!(blocks, sums, place, R, 0 1 2 3 4 5);
            }
        }
    };
}

/// Four bytes in all lanes.
///
/// # Safety
/// 4 bytes from `x` on can be read.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) unsafe fn four(x: *const i8) -> __m256i {
    // SAFETY: the caller's promise.
    _mm256_set1_epi32(unsafe { x.cast::<i32>().read_unaligned() })
}

/// The bias for rows that need nothing else.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn same_start(_: *const i8, _: &Reach, bias: [__m256i; 2]) -> [__m256i; 2] {
    bias
}

/// Four bytes in all lanes, 128 added to each.
///
/// # Safety
/// 4 bytes from `x` on can be read.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn offset(x: *const i8, _: &Reach) -> __m256i {
    // SAFETY: the caller's promise.
    _mm256_xor_si256(unsafe { four(x) }, _mm256_set1_epi8(-128))
}

#[target_feature(enable = "avx2,avxvnni")]
#[inline]
fn dot(sum: __m256i, x: __m256i, w: __m256i) -> __m256i {
    _mm256_dpbusd_avx_epi32(sum, x, w)
}

/// Takes off `128·w`.
#[target_feature(enable = "avx2,avxvnni")]
#[inline]
fn bias_of_offset(bias: __m256i, w: __m256i) -> __m256i {
    let total = _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), w);
    _mm256_sub_epi32(bias, _mm256_slli_epi32::<7>(total))
}

/// Four bytes in all lanes, and their absolute values.
///
/// # Safety
/// 4 bytes from `x` on can be read.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn with_absolute(x: *const i8, _: &Reach) -> [__m256i; 2] {
    // SAFETY: the caller's promise.
    let x = unsafe { four(x) };
    [x, _mm256_abs_epi8(x)]
}

/// `|x|·(w with the sign of x)`: without -128 each pair of products is at most 2·128·127, which fits 16 bits.
#[target_feature(enable = "avx2")]
#[inline]
fn dot_of_signs(sum: __m256i, [x, absolute]: [__m256i; 2], w: __m256i) -> __m256i {
    let pairs = _mm256_maddubs_epi16(absolute, _mm256_sign_epi8(w, x));
    _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}

#[target_feature(enable = "avx2")]
#[inline]
fn same_bias(bias: __m256i, _: __m256i) -> __m256i {
    bias
}

walk!(avx_vnni, "avx2,avxvnni", ROWS, offset, same_start, dot, bias_of_offset);
walk!(signs, "avx2", 4, with_absolute, same_start, dot_of_signs, same_bias);
