//! Convolution of int16 with int8 weights: up to 10 rows times 32 output channels in registers.
//!
//! The four bytes of a channel in a group of weights become two pairs of words, each of which meets a pair of the
//! input, spread over a register: VPMADDWD multiplies and adds both, and VPDPWSSD adds up too. A word of a register
//! of sums is that of one channel. Sums go to memory, and from there with bias and multipliers to the results.

use core::arch::x86_64::*;

use super::finish_i16::{Finish256, Finish512};
use super::pairs::{add_pairs, add_pairs_512, add_pairs_vnni};
use crate::kernels::rows::{Reach, Rows, for_each_rows};
use crate::kernels::{Bias, ConvI16Args};
use crate::weights::{BLOCK, GROUP, LANES, WIDE_RUN, block_width};

/// [`crate::plan::step::ConvI16`] with AVX2.
pub(super) fn conv_avx2(mut args: ConvI16Args<'_>) {
    // SAFETY: this function stands only in kernels that `available` gives out where AVX2 is there.
    for_each_rows(&mut args, |args, rows, weights| unsafe { avx2::all_blocks(args, rows, weights) });
}

/// [`crate::plan::step::ConvI16`] with AVX-VNNI.
pub(super) fn conv_vnni(mut args: ConvI16Args<'_>) {
    // SAFETY: this function stands only in kernels that `available` gives out where AVX-VNNI is there.
    for_each_rows(&mut args, |args, rows, weights| unsafe { avx_vnni::all_blocks(args, rows, weights) });
}

/// [`crate::plan::step::ConvI16`] with AVX-512-VNNI.
pub(super) fn conv_avx512(mut args: ConvI16Args<'_>) {
    // SAFETY: this function stands only in kernels that `available` gives out where AVX-512 with VNNI is there.
    for_each_rows(&mut args, |args, rows, weights| unsafe { avx512::all_blocks(args, rows, weights) });
}

/// Room for the sums of up to 10 rows and two blocks.
type Sums = [[[i32; BLOCK]; 2]; 10];

/// One or two blocks of channels, for all rows.
struct Blocks<const B: usize, M> {
    /// Elements from one row to the next.
    step: usize,
    /// The words of a group of weights of the last block that are there; the others are full.
    mask: M,
    /// Bytes of weights of the last block from one group of four along the reduction axis to the next.
    quad_step: usize,
}

/// The walk over rows and blocks for an instruction set: its rows and blocks at once, and what it does with registers.
macro_rules! walk {
    (
        $module:ident, $features:literal, $registers:ident, $finish:ident, multiply: $multiply:path,
        blocks: $blocks:literal, rows: $rows:literal, fewer: $($count:literal)*
    ) => {
        mod $module {
            use super::$registers::{Mask, Register, full, mask, pairs_of, save, spread, zero};
            use super::*;

            #[target_feature(enable = $features)]
            pub fn all_blocks(args: &mut ConvI16Args<'_>, rows: &Rows<'_, i16>, weights: &[u8]) {
                let (group_out, len) = (args.window.group_out(), rows.reach.packed_len());
                let (mut rest, mut start) = (weights, 0);
                while start < group_out {
                    let count = if group_out - start > ($blocks - 1) * BLOCK { $blocks } else { 1 };
                    let last = start + (count - 1) * BLOCK;
                    let width = block_width(last, group_out);
                    let (these, behind) = rest.split_at((last - start + width) * len);
                    if count == $blocks {
                        blocks::<$blocks>(args, rows, start, these, width);
                    } else {
                        blocks::<1>(args, rows, start, these, width);
                    }
                    rest = behind;
                    start = last + BLOCK;
                }
            }

            /// All rows with `B` blocks of channels from `start` of the group on, the last of them `width` wide.
            #[target_feature(enable = $features)]
            fn blocks<const B: usize>(
                args: &mut ConvI16Args<'_>,
                rows: &Rows<'_, i16>,
                start: usize,
                weights: &[u8],
                width: usize,
            ) {
                let (group_out, out_c) = (args.window.group_out(), args.window.out_c as usize);
                let channel = rows.group * group_out + start;
                let lanes = |block: usize| BLOCK.min(group_out - start - block * BLOCK);
                let reach = rows.reach;
                let len = reach.packed_len();
                assert!(weights.len() >= ((B - 1) * BLOCK + width) * len);
                let mut finish = [$finish::new(args, channel, lanes(0)); B];
                if B == 2 {
                    finish[B - 1] = $finish::new(args, channel + BLOCK, lanes(B - 1));
                }
                let mask = if width == BLOCK { full() } else { mask(width) };
                let blocks = Blocks::<B, Mask> { step: rows.step, mask, quad_step: width * GROUP };
                let weights: [*const u8; B] = core::array::from_fn(|block| weights[block * BLOCK * len..].as_ptr());
                // Sums of so few products fit 32 bits without the bias, whatever they are.
                let at_once = matches!(args.bias, Bias::I32(_)) || len <= WIDE_RUN;
                let mut sums: Sums = [[[0; BLOCK]; 2]; 10];
                rows.for_each_run::<$rows>(|x, count, position| {
                    let multiply = match count {
                        $($count => products::<$count, B>,)*
                        _ => products::<$rows, B>,
                    };
                    let place = position * out_c + channel;
                    if at_once {
                        // SAFETY: the rows can be read as far as the reach, for which there are weights.
                        unsafe { multiply(&blocks, &reach, weights, x, &mut sums) };
                        for (block, finish) in finish.iter().enumerate() {
                            // SAFETY: the output has the positions of the rows.
                            unsafe { finish.store_rows(place + block * BLOCK, out_c, &sums[..count], block) };
                        }
                        return;
                    }
                    let mut totals = [[[0_i64; BLOCK]; B]; $rows];
                    reach.for_each_run(|offset, run, first| {
                        let weights = core::array::from_fn(|block| {
                            let width = if block + 1 == B { width } else { BLOCK };
                            weights[block].wrapping_add(first * width * GROUP)
                        });
                        // SAFETY: the run is a part of the reach.
                        unsafe { multiply(&blocks, run, weights, x.add(offset), &mut sums) };
                        for (totals, sums) in totals.iter_mut().zip(&sums).take(count) {
                            for (total, sum) in totals.iter_mut().flatten().zip(sums.iter().flatten()) {
                                *total += i64::from(*sum);
                            }
                        }
                    });
                    for (row, totals) in totals.iter().enumerate().take(count) {
                        for (block, (finish, totals)) in finish.iter().zip(totals).enumerate() {
                            // SAFETY: the output has the positions of the rows.
                            unsafe { finish.store_totals(place + row * out_c + block * BLOCK, totals) };
                        }
                    }
                });
            }

            /// `Σ x·w` of `R` rows from `x` on.
            ///
            /// # Safety
            /// The rows can be read as far as the reach, and there are weights for it.
            #[target_feature(enable = $features)]
            #[inline(never)]
            unsafe fn products<const R: usize, const B: usize>(
                blocks: &Blocks<B, Mask>,
                reach: &Reach,
                weights: [*const u8; B],
                x: *const i16,
                out: &mut Sums,
            ) {
                let mut sums = [[zero(); B]; R];
                let mut w = weights;
                reach.for_each_segment(|offset| {
                    for quad in 0..reach.quads {
                        let mut loaded = [[zero(); 2]; B];
                        for block in 0..B {
                            let is_last = block + 1 == B;
                            let mask = if is_last { blocks.mask } else { full() };
                            // SAFETY: there are weights for the reach, of the last block those that the mask lets
                            // be read.
                            loaded[block] = unsafe { pairs_of(w[block], mask) };
                            w[block] = w[block].wrapping_add(if is_last { blocks.quad_step } else { BLOCK * GROUP });
                        }
                        for (row, sums) in sums.iter_mut().enumerate() {
                            // SAFETY: the segment has `quads` groups of four elements.
                            let (first, second) = unsafe {
                                let quad = x.add(row * blocks.step + offset + quad * GROUP);
                                (spread(quad), spread(quad.add(2)))
                            };
                            for block in 0..B {
                                sums[block] = $multiply(sums[block], first, loaded[block][0]);
                                sums[block] = $multiply(sums[block], second, loaded[block][1]);
                            }
                        }
                    }
                });
                for (row, sums) in sums.into_iter().enumerate() {
                    for (block, sums) in sums.into_iter().enumerate() {
                        save(sums, &mut out[row][block]);
                    }
                }
            }

            const _: () = assert!($blocks <= 2 && $rows <= 10 && size_of::<Register>() > 0);
        }
    };
}

walk!(
    avx2, "avx2", ymm, Finish256, multiply: ymm::multiply,
    blocks: 1, rows: 4, fewer: 1 2 3
);
walk!(
    avx_vnni, "avx2,avxvnni", ymm, Finish256, multiply: ymm::multiply_vnni,
    blocks: 1, rows: 5, fewer: 1 2 3 4
);
walk!(
    avx512, "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2", zmm, Finish512, multiply: add_pairs_512,
    blocks: 2, rows: 10, fewer: 1 2 3 4 5 6 7 8 9
);

/// Which byte of a group of four becomes the high half of which word, of the first pair and of the second.
const PAIRS: [[i8; 16]; 2] = [
    [-1, 0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13],
    [-1, 2, -1, 3, -1, 6, -1, 7, -1, 10, -1, 11, -1, 14, -1, 15],
];

/// Sums of 16 channels in two registers of 32 bytes.
mod ymm {
    use super::*;

    pub type Register = [__m256i; 2];

    /// The words of both halves that are there; `None` where all are.
    pub type Mask = Option<[__m256i; 2]>;

    #[target_feature(enable = "avx2")]
    #[inline]
    pub fn full() -> Mask {
        None
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    pub fn mask(width: usize) -> Mask {
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let of = |count: usize| _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), lanes);
        Some([of(width), of(width.saturating_sub(2 * LANES))])
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    pub fn zero() -> Register {
        [_mm256_setzero_si256(); 2]
    }

    /// Two elements in all words.
    ///
    /// # Safety
    /// They can be read.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub unsafe fn spread(x: *const i16) -> __m256i {
        // SAFETY: the caller's promise.
        _mm256_set1_epi32(unsafe { x.cast::<i32>().read_unaligned() })
    }

    /// Both pairs of a group of weights of 16 channels.
    ///
    /// # Safety
    /// What the mask lets be read is there.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub unsafe fn pairs_of(weights: *const u8, mask: Mask) -> [Register; 2] {
        // SAFETY: the caller's promise.
        let [left, right] = unsafe {
            match mask {
                None => [_mm256_loadu_si256(weights.cast()), _mm256_loadu_si256(weights.add(32).cast())],
                Some([left, right]) => [
                    _mm256_maskload_epi32(weights.cast(), left),
                    _mm256_maskload_epi32(weights.wrapping_add(32).cast(), right),
                ],
            }
        };
        [[words(left, 0), words(right, 0)], [words(left, 1), words(right, 1)]]
    }

    /// Pair `pair` of each group of weights.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn words(weights: __m256i, pair: usize) -> __m256i {
        // SAFETY: a table of 16 bytes.
        let order = _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(PAIRS[pair].as_ptr().cast()) });
        _mm256_srai_epi16::<8>(_mm256_shuffle_epi8(weights, order))
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    pub fn multiply(sums: Register, x: __m256i, w: Register) -> Register {
        [add_pairs(sums[0], x, w[0]), add_pairs(sums[1], x, w[1])]
    }

    #[target_feature(enable = "avx2,avxvnni")]
    #[inline]
    pub fn multiply_vnni(sums: Register, x: __m256i, w: Register) -> Register {
        [add_pairs_vnni(sums[0], x, w[0]), add_pairs_vnni(sums[1], x, w[1])]
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    pub fn save(sums: Register, out: &mut [i32; BLOCK]) {
        // SAFETY: 16 words.
        unsafe {
            _mm256_storeu_si256(out.as_mut_ptr().cast(), sums[0]);
            _mm256_storeu_si256(out.as_mut_ptr().add(8).cast(), sums[1]);
        }
    }
}

/// Sums of 16 channels in one register of 64 bytes.
mod zmm {
    use super::*;

    pub type Register = __m512i;

    /// The words that are there.
    pub type Mask = u16;

    #[target_feature(enable = "avx512f")]
    #[inline]
    pub fn full() -> Mask {
        Mask::MAX
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    pub fn mask(width: usize) -> Mask {
        Mask::MAX >> (BLOCK - width)
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    pub fn zero() -> Register {
        _mm512_setzero_si512()
    }

    /// Two elements in all words.
    ///
    /// # Safety
    /// They can be read.
    #[target_feature(enable = "avx512f")]
    #[inline]
    pub unsafe fn spread(x: *const i16) -> __m512i {
        // SAFETY: the caller's promise.
        _mm512_set1_epi32(unsafe { x.cast::<i32>().read_unaligned() })
    }

    /// Both pairs of a group of weights of 16 channels.
    ///
    /// # Safety
    /// What the mask lets be read is there.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    pub unsafe fn pairs_of(weights: *const u8, mask: Mask) -> [Register; 2] {
        // SAFETY: the caller's promise.
        let all = unsafe { _mm512_maskz_loadu_epi32(mask, weights.cast()) };
        [words(all, 0), words(all, 1)]
    }

    /// Pair `pair` of each group of weights.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn words(weights: __m512i, pair: usize) -> __m512i {
        // SAFETY: a table of 16 bytes.
        let order = _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(PAIRS[pair].as_ptr().cast()) });
        _mm512_srai_epi16::<8>(_mm512_shuffle_epi8(weights, order))
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    pub fn save(sums: Register, out: &mut [i32; BLOCK]) {
        // SAFETY: 16 words.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sums) };
    }
}
