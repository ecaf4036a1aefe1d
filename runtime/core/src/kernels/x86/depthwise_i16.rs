//! Depthwise convolution of int16 with int8 weights, 16 channels at a time: two taps are interleaved word by word, and
//! VPMADDWD multiplies both and adds the products, or VPDPWSSD, which adds up too.

use core::arch::x86_64::*;

use super::conv_i16::{add_pairs, add_pairs_256, add_pairs_vnni};
use super::finish_i16::Finish256;
use crate::kernels::ConvI16Args;
use crate::kernels::channel_blocks::{Block, for_each_block};
use crate::kernels::source::Source;

/// Pairs of taps that there is room for.
const MOST_PAIRS: usize = 32;

/// Whether all blocks can be read, and the taps have room.
fn suits(args: &ConvI16Args<'_>) -> bool {
    let window = args.window;
    let readable = window.in_c >= 16 || Source::of_depthwise(window) == Source::Lines;
    window.out_c == window.in_c && readable && window.taps() <= 2 * MOST_PAIRS
}

/// The walk over blocks for an instruction set: how it multiplies and adds up, and the portable kernel.
macro_rules! walk {
    ($(#[$doc:meta])* $name:ident, $module:ident, $features:literal, $multiply:path, $portable:path) => {
        $(#[$doc])*
        pub(super) fn $name(args: ConvI16Args<'_>) {
            if !suits(&args) {
                return $portable(args);
            }
            let block = match args.window.taps() {
                9 => $module::block::<5>,
                25 => $module::block::<13>,
                _ => $module::block::<MOST_PAIRS>,
            };
            // SAFETY: this function stands only in kernels that `available` gives out where the features are there.
            for_each_block(args, |args, these| unsafe { block(args, these) });
        }

        mod $module {
            use super::*;

            /// A block with a window of up to `PAIRS` pairs of taps; exactly so many where that is not the most.
            #[target_feature(enable = $features)]
            pub fn block<const PAIRS: usize>(args: &mut ConvI16Args<'_>, block: &Block<'_, i16>) {
                let pairs = if PAIRS == MOST_PAIRS { args.window.taps().div_ceil(2) } else { PAIRS };
                let mut weights = [[_mm256_setzero_si256(); 2]; PAIRS];
                let mut offsets = [[0; 2]; PAIRS];
                for (pair, (weights, offsets)) in weights.iter_mut().zip(&mut offsets).enumerate().take(pairs) {
                    (*weights, *offsets) = pair_of_taps(args, block, pair);
                }
                let finish = Finish256::new(args, block.channel, block.lanes);
                let out_c = args.window.out_c as usize;
                let step = args.window.stride_w as usize * args.window.in_c as usize;
                let mut place = block.first * out_c + block.channel;
                for line in 0..block.lines {
                    let mut x = block.pointer(line, 0);
                    for _ in 0..block.columns {
                        let mut sums = [_mm256_setzero_si256(); 2];
                        for (weights, offsets) in weights.iter().zip(&offsets).take(pairs) {
                            // SAFETY: 16 elements of every tap of every position can be read, as `for_each_block` has
                            // seen.
                            let (first, second) = unsafe {
                                (x.add(offsets[0]).cast::<__m256i>(), x.add(offsets[1]).cast::<__m256i>())
                            };
                            // SAFETY: as above.
                            let x = interleaved(unsafe { [first.read_unaligned(), second.read_unaligned()] });
                            sums = [$multiply(sums[0], x[0], weights[0]), $multiply(sums[1], x[1], weights[1])];
                        }
                        // SAFETY: `block` has this position.
                        unsafe { finish.store(place, in_order(sums)) };
                        x = x.wrapping_add(step);
                        place += out_c;
                    }
                }
            }
        }
    };
}

/// Weights of a pair of taps as [`interleaved`] has the elements, and where the taps are; where there is but one, the
/// weights of the second are 0.
#[target_feature(enable = "avx2")]
fn pair_of_taps(args: &ConvI16Args<'_>, block: &Block<'_, i16>, pair: usize) -> ([__m256i; 2], [usize; 2]) {
    let columns = args.window.kernel_w as usize;
    let [first, second] = [2 * pair, 2 * pair + 1];
    let offset = |tap: usize| tap / columns * block.row_step + tap % columns * block.column_step;
    // SAFETY: an array of 16 bytes.
    let weights =
        |tap: usize| unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(block.weights(args, tap).as_ptr().cast())) };
    if second < args.window.taps() {
        return (interleaved([weights(first), weights(second)]), [offset(first), offset(second)]);
    }
    (interleaved([weights(first), _mm256_setzero_si256()]), [offset(first); 2])
}

/// The words of two registers, one by one: those of channels 0 to 3 and 8 to 11, then the others.
#[target_feature(enable = "avx2")]
#[inline]
fn interleaved([a, b]: [__m256i; 2]) -> [__m256i; 2] {
    [_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b)]
}

/// Sums of channels as [`interleaved`] has them, in their order.
#[target_feature(enable = "avx2")]
#[inline]
fn in_order([a, b]: [__m256i; 2]) -> [__m256i; 2] {
    [_mm256_permute2x128_si256::<0x20>(a, b), _mm256_permute2x128_si256::<0x31>(a, b)]
}

walk!(
    /// [`crate::plan::step::DepthwiseI16`] with AVX2.
    depthwise_avx2,
    avx2,
    "avx2",
    add_pairs,
    super::avx2::depthwise_i16
);
walk!(
    /// [`crate::plan::step::DepthwiseI16`] with AVX-VNNI.
    depthwise_vnni,
    avx_vnni,
    "avx2,avxvnni",
    add_pairs_vnni,
    super::avx2::depthwise_i16
);
walk!(
    /// [`crate::plan::step::DepthwiseI16`] with AVX-512-VNNI.
    depthwise_avx512,
    avx512,
    "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2",
    add_pairs_256,
    super::avx512::depthwise_i16
);
