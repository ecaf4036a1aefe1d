//! Convolution of int16 with int8 weights: weights widened to 16 bits and multiplied in pairs, by VPMADDWD or, with
//! AVX-512-VNNI, by VPDPWSSD, which adds up too.
//!
//! A few rows times 16 output channels in registers. A register holds two partial sums for each of its channels; they
//! meet when a block is finished, or where sums must go on in 64 bits.

use core::arch::x86_64::*;

use crate::kernels::portable::conv_i16::{store, store_wide};
use crate::kernels::rows::{Reach, Rows, Tile, for_each_rows};
use crate::kernels::{Bias, ConvI16Args};
use crate::weights::{BLOCK, GROUP, block_width};

/// [`crate::plan::step::ConvI16`] with AVX2.
pub(super) fn conv_avx2(args: ConvI16Args<'_>) {
    // SAFETY: this function stands only in kernels that `available` gives out where AVX2 is there.
    for_each_rows(args, |args, rows, weights| unsafe { avx2::all(args, rows, weights) });
}

/// [`crate::plan::step::ConvI16`] with AVX-512-VNNI.
pub(super) fn conv_avx512(args: ConvI16Args<'_>) {
    // SAFETY: this function stands only in kernels that `available` gives out where AVX-512 with VNNI is there.
    for_each_rows(args, |args, rows, weights| unsafe { avx512::all(args, rows, weights) });
}

/// The walk over tiles and blocks for an instruction set: its rows at once, and the products of a full block.
macro_rules! walk {
    ($module:ident, $features:literal, rows: $rows:literal, $full:ident) => {
        mod $module {
            use super::*;

            #[target_feature(enable = $features)]
            pub fn all(args: &mut ConvI16Args<'_>, rows: &Rows<'_, i16>, weights: &[u8]) {
                rows.for_each_tile::<$rows>(|tile| match tile.count {
                    1 => blocks::<1>(args, tile, rows.group, weights),
                    2 => blocks::<2>(args, tile, rows.group, weights),
                    3 => blocks::<3>(args, tile, rows.group, weights),
                    _ => blocks::<$rows>(args, tile, rows.group, weights),
                });
            }

            #[target_feature(enable = $features)]
            fn blocks<const R: usize>(
                args: &mut ConvI16Args<'_>,
                tile: &Tile<'_, $rows, i16>,
                group: usize,
                weights: &[u8],
            ) {
                let (group_out, out_c) = (args.window.group_out(), args.window.out_c as usize);
                let reach = tile.reach;
                // A tile of fewer rows multiplies its last one again.
                let rows: [*const i16; R] = core::array::from_fn(|row| tile.pointer(row.min(tile.count - 1)));
                let mut rest = weights;
                for start in (0..group_out).step_by(BLOCK) {
                    let width = block_width(start, group_out);
                    let (block, behind) = rest.split_at(width * reach.packed_len());
                    rest = behind;
                    let (channel, lanes) = (group * group_out + start, width.min(group_out - start));
                    let multipliers = args.multipliers.slice(channel, lanes);
                    let place = |row: usize| (tile.first + row) * out_c + channel;
                    match args.bias {
                        Bias::I32(bias) => {
                            // SAFETY: the rows can be read as far as the reach, and the block has weights for it.
                            let sums = unsafe { products::<R>(rows, &reach, block.as_ptr(), width) };
                            for (row, sums) in sums.iter().enumerate().take(tile.count) {
                                store(&mut args.y, place(row), sums, bias.slice(channel, lanes), multipliers);
                            }
                        }
                        Bias::I64(bias) => {
                            let mut totals = [[0_i64; BLOCK]; R];
                            reach.for_each_run(|offset, run, first| {
                                let rows = rows.map(|row| row.wrapping_add(offset));
                                let weights = block.as_ptr().wrapping_add(first * width * GROUP);
                                // SAFETY: the run is a part of the reach.
                                let sums = unsafe { products::<R>(rows, run, weights, width) };
                                for (total, sum) in totals.iter_mut().flatten().zip(sums.iter().flatten()) {
                                    *total += i64::from(*sum);
                                }
                            });
                            for (row, sums) in totals.iter().enumerate().take(tile.count) {
                                let bias = bias.slice(channel, lanes);
                                store_wide(&mut args.y, place(row), sums, bias, multipliers);
                            }
                        }
                    }
                }
            }

            /// # Safety
            /// As for [`narrow`].
            #[target_feature(enable = $features)]
            #[inline]
            unsafe fn products<const R: usize>(
                rows: [*const i16; R],
                reach: &Reach,
                weights: *const u8,
                width: usize,
            ) -> [[i32; BLOCK]; R] {
                // SAFETY: the caller's promise.
                unsafe {
                    match width {
                        BLOCK => $full(rows, reach, weights),
                        12 => narrow::<R, 3>(rows, reach, weights),
                        8 => narrow::<R, 2>(rows, reach, weights),
                        _ => narrow::<R, 1>(rows, reach, weights),
                    }
                }
            }
        }
    };
}

walk!(avx2, "avx2", rows: 3, full_avx2);
walk!(avx512, "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2", rows: 8, full_avx512);

/// `Σ x·w` of `R` rows with the 16 channels of a full block.
///
/// # Safety
/// As for [`narrow`].
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn full_avx2<const R: usize>(rows: [*const i16; R], reach: &Reach, weights: *const u8) -> [[i32; BLOCK]; R] {
    // SAFETY: the caller's promise.
    unsafe { narrow::<R, 4>(rows, reach, weights) }
}

/// `Σ x·w` of `R` rows with `P` times four channels; 0 for the others.
///
/// # Safety
/// The rows can be read as far as the reach, and there are weights for it.
#[target_feature(enable = "avx2")]
unsafe fn narrow<const R: usize, const P: usize>(
    rows: [*const i16; R],
    reach: &Reach,
    weights: *const u8,
) -> [[i32; BLOCK]; R] {
    let mut sums = [[_mm256_setzero_si256(); P]; R];
    let mut w = weights;
    reach.for_each_segment(|offset| {
        for quad in 0..reach.quads {
            // SAFETY: the segment has `quads` groups of four elements.
            let x = rows.map(|row| unsafe {
                _mm256_set1_epi64x(row.add(offset + quad * GROUP).cast::<i64>().read_unaligned())
            });
            for part in 0..P {
                // SAFETY: each group has four weights for each channel.
                let w = _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(w.add(part * 16).cast()) });
                for (sums, x) in sums.iter_mut().zip(&x) {
                    sums[part] = _mm256_add_epi32(sums[part], _mm256_madd_epi16(*x, w));
                }
            }
            w = w.wrapping_add(P * 16);
        }
    });
    sums.map(|sums| {
        let mut out = [0; BLOCK];
        for (sums, out) in sums.iter().zip(out.as_chunks_mut::<4>().0) {
            // Pairs of partial sums.
            let [low, high] = [_mm256_castsi256_si128(*sums), _mm256_extracti128_si256::<1>(*sums)];
            // SAFETY: `out` has the four words that are written.
            unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), _mm_hadd_epi32(low, high)) };
        }
        out
    })
}

/// [`full_avx2`] in registers of 64 bytes.
///
/// # Safety
/// As for [`narrow`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2")]
unsafe fn full_avx512<const R: usize>(rows: [*const i16; R], reach: &Reach, weights: *const u8) -> [[i32; BLOCK]; R] {
    let mut sums = [[_mm512_setzero_si512(); 2]; R];
    let mut w = weights;
    reach.for_each_segment(|offset| {
        for quad in 0..reach.quads {
            // SAFETY: each group has four weights for each of 16 channels.
            let widened = [0, 32].map(|from| unsafe { _mm512_cvtepi8_epi16(_mm256_loadu_si256(w.add(from).cast())) });
            w = w.wrapping_add(BLOCK * GROUP);
            for (sums, row) in sums.iter_mut().zip(&rows) {
                // SAFETY: the segment has `quads` groups of four elements.
                let x = unsafe { row.add(offset + quad * GROUP).cast::<i64>().read_unaligned() };
                let x = _mm512_set1_epi64(x);
                sums[0] = _mm512_dpwssd_epi32(sums[0], x, widened[0]);
                sums[1] = _mm512_dpwssd_epi32(sums[1], x, widened[1]);
            }
        }
    });
    // Even words of both registers, and odd ones.
    let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    sums.map(|[low, high]| {
        let pairs = [even, odd].map(|order| _mm512_permutex2var_epi32(low, order, high));
        let mut out = [0; BLOCK];
        // SAFETY: `out` has the 16 words that are written.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), _mm512_add_epi32(pairs[0], pairs[1])) };
        out
    })
}
