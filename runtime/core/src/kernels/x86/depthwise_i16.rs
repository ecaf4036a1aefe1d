//! Depthwise convolution of int16 with int8 weights, 16 or 32 channels at a time: two taps are interleaved word by word,
//! and VPMADDWD multiplies both and adds the products, or VPDPWSSD, which adds up too.

use core::arch::x86_64::*;

use super::finish_i16::{Finish256, Finish512};
use super::pairs::{add_pairs, add_pairs_256, add_pairs_512, add_pairs_vnni};
use crate::kernels::ConvI16Args;
use crate::kernels::channel_blocks::{Block, for_each_block_of};
use crate::kernels::source::Source;
use crate::weights::BLOCK;

/// Pairs of taps that there is room for.
const MOST_PAIRS: usize = 32;

/// Whether all blocks can be read, and the taps have room.
fn suits(args: &ConvI16Args<'_>) -> bool {
    let window = args.window;
    let readable = window.in_c >= 16 || Source::of_depthwise(window) == Source::Lines;
    window.out_c == window.in_c && readable && window.taps() <= 2 * MOST_PAIRS
}

/// [`crate::plan::step::DepthwiseI16`] with AVX2.
pub(super) fn depthwise_avx2(args: ConvI16Args<'_>) {
    if suits(&args) { avx2::all_blocks(args) } else { super::avx2::depthwise_i16(args) }
}

/// [`crate::plan::step::DepthwiseI16`] with AVX-VNNI.
pub(super) fn depthwise_vnni(args: ConvI16Args<'_>) {
    if suits(&args) { avx_vnni::all_blocks(args) } else { super::avx2::depthwise_i16(args) }
}

/// [`crate::plan::step::DepthwiseI16`] with AVX-512-VNNI.
pub(super) fn depthwise_avx512(args: ConvI16Args<'_>) {
    match args.window.in_c {
        _ if !suits(&args) => super::avx512::depthwise_i16(args),
        0..32 => avx512_of_16::all_blocks(args),
        _ => avx512::all_blocks(args),
    }
}

/// The walk over blocks for an instruction set: its registers, and how it multiplies and adds up.
macro_rules! walk {
    ($module:ident, $features:literal, $registers:ident, $multiply:path) => {
        mod $module {
            use super::$registers::{Finish, Register, WIDTH, interleaved, widened, zero};
            use super::*;

            /// Stands only in kernels that `available` gives out where the features are there.
            pub fn all_blocks(args: ConvI16Args<'_>) {
                let block = match args.window.taps() {
                    9 => block::<5>,
                    25 => block::<13>,
                    _ => block::<MOST_PAIRS>,
                };
                // SAFETY: the features are there.
                for_each_block_of::<WIDTH, _>(args, |args, these| unsafe { block(args, these) });
            }

            /// A block with a window of up to `PAIRS` pairs of taps; exactly so many where that is not the most.
            #[target_feature(enable = $features)]
            fn block<const PAIRS: usize>(args: &mut ConvI16Args<'_>, block: &Block<'_, i16>) {
                let pairs = if PAIRS == MOST_PAIRS { args.window.taps().div_ceil(2) } else { PAIRS };
                let mut weights = [[zero(); 2]; PAIRS];
                let mut offsets = [[0; 2]; PAIRS];
                for (pair, (weights, offsets)) in weights.iter_mut().zip(&mut offsets).enumerate().take(pairs) {
                    (*weights, *offsets) = pair_of_taps(args, block, pair);
                }
                let finish = Finish::new(args, block.channel, block.lanes);
                let out_c = args.window.out_c as usize;
                let step = args.window.stride_w as usize * args.window.in_c as usize;
                let mut place = block.first * out_c + block.channel;
                for line in 0..block.lines {
                    let mut x = block.pointer(line, 0);
                    for _ in 0..block.columns {
                        let mut sums = [zero(); 2];
                        for (weights, offsets) in weights.iter().zip(&offsets).take(pairs) {
                            // SAFETY: the elements of every tap of every position can be read as far as a block is
                            // wide, as `for_each_block_of` has seen.
                            let (first, second) = unsafe {
                                let first = x.add(offsets[0]).cast::<Register>();
                                (first.read_unaligned(), x.add(offsets[1]).cast::<Register>().read_unaligned())
                            };
                            let x = interleaved([first, second]);
                            sums = [$multiply(sums[0], x[0], weights[0]), $multiply(sums[1], x[1], weights[1])];
                        }
                        // SAFETY: `block` has this position.
                        unsafe { finish.store(place, sums) };
                        x = x.wrapping_add(step);
                        place += out_c;
                    }
                }
            }

            /// Weights of a pair of taps as [`interleaved`] has the elements, and where the taps are; where there is but
            /// one, the weights of the second are 0.
            #[target_feature(enable = $features)]
            fn pair_of_taps(
                args: &ConvI16Args<'_>,
                block: &Block<'_, i16>,
                pair: usize,
            ) -> ([Register; 2], [usize; 2]) {
                let columns = args.window.kernel_w as usize;
                let [first, second] = [2 * pair, 2 * pair + 1];
                let offset = |tap: usize| tap / columns * block.row_step + tap % columns * block.column_step;
                let left = widened(&block.weights(args, first));
                if second < args.window.taps() {
                    let right = widened(&block.weights(args, second));
                    return (interleaved([left, right]), [offset(first), offset(second)]);
                }
                (interleaved([left, zero()]), [offset(first); 2])
            }
        }
    };
}

walk!(avx2, "avx2", ymm, add_pairs);
walk!(avx_vnni, "avx2,avxvnni", ymm, add_pairs_vnni);
walk!(avx512_of_16, "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2", ymm, add_pairs_256);
walk!(avx512, "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2", zmm, add_pairs_512);

/// 16 channels in a register of 32 bytes.
mod ymm {
    use super::*;

    pub const WIDTH: usize = BLOCK;
    pub type Register = __m256i;

    #[target_feature(enable = "avx2")]
    #[inline]
    pub fn zero() -> Register {
        _mm256_setzero_si256()
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    pub fn widened(weights: &[i8; WIDTH]) -> Register {
        // SAFETY: 16 bytes.
        _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(weights.as_ptr().cast()) })
    }

    /// The words of two registers, one by one: those of channels 0 to 3 and 8 to 11, then the others.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub fn interleaved([a, b]: [Register; 2]) -> [Register; 2] {
        [_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b)]
    }

    /// Bias, multipliers and results.
    pub struct Finish(Finish256);

    impl Finish {
        #[target_feature(enable = "avx2")]
        #[inline]
        pub fn new(args: &mut ConvI16Args<'_>, channel: usize, lanes: usize) -> Self {
            Self(Finish256::new(args, channel, lanes))
        }

        /// Stores the results of sums as [`interleaved`] has the channels.
        ///
        /// # Safety
        /// As for [`Finish256::store`].
        #[target_feature(enable = "avx2")]
        #[inline]
        pub unsafe fn store(&self, place: usize, [a, b]: [Register; 2]) {
            let sums = [_mm256_permute2x128_si256::<0x20>(a, b), _mm256_permute2x128_si256::<0x31>(a, b)];
            // SAFETY: the caller's promise.
            unsafe { self.0.store(place, sums) };
        }
    }
}

/// 32 channels in a register of 64 bytes.
mod zmm {
    use super::*;

    pub const WIDTH: usize = 2 * BLOCK;
    pub type Register = __m512i;

    #[target_feature(enable = "avx512f")]
    #[inline]
    pub fn zero() -> Register {
        _mm512_setzero_si512()
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    pub fn widened(weights: &[i8; WIDTH]) -> Register {
        // SAFETY: 32 bytes.
        _mm512_cvtepi8_epi16(unsafe { _mm256_loadu_si256(weights.as_ptr().cast()) })
    }

    /// The words of two registers, one by one: those of the first four of each eight channels, then the others.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    pub fn interleaved([a, b]: [Register; 2]) -> [Register; 2] {
        [_mm512_unpacklo_epi16(a, b), _mm512_unpackhi_epi16(a, b)]
    }

    /// Bias, multipliers and results.
    pub struct Finish([Finish512; 2]);

    impl Finish {
        /// A block has all its channels.
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
        #[inline]
        pub fn new(args: &mut ConvI16Args<'_>, channel: usize, _: usize) -> Self {
            Self([Finish512::new(args, channel, BLOCK), Finish512::new(args, channel + BLOCK, BLOCK)])
        }

        /// Stores the results of sums as [`interleaved`] has the channels.
        ///
        /// # Safety
        /// As for [`Finish512::store`].
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
        #[inline]
        pub unsafe fn store(&self, place: usize, [a, b]: [Register; 2]) {
            let low = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
            let high = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
            // SAFETY: the caller's promise.
            unsafe {
                self.0[0].store(place, _mm512_permutex2var_epi64(a, low, b));
                self.0[1].store(place + BLOCK, _mm512_permutex2var_epi64(a, high, b));
            }
        }
    }
}
