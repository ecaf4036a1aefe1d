//! Int8 depthwise convolution with AVX2, 16 channels at a time: pairs of rows of a column are interleaved and widened
//! once, and VPMADDWD multiplies them for every position that sees the column. The last row is alone: it pairs with
//! itself, one column back.

use core::arch::x86_64::*;

use super::finish::Finish256;
use crate::kernels::ConvI8Args;
use crate::kernels::channel_blocks::{Block, for_each_block};
use crate::kernels::source::Source;
use crate::weights::BLOCK;

/// Pairs of rows of 16 channels, and the last row one column back and here: for each pair the first 8 channels, then the
/// others.
type Column<const G: usize> = [[__m256i; 2]; G];

/// [`crate::plan::step::ConvI8`], depthwise.
pub(super) fn depthwise(args: ConvI8Args<'_>) {
    let window = args.window;
    let readable = window.in_c >= 16 || Source::of_depthwise(window) == Source::Lines;
    let fits = window.out_c == window.in_c && args.weight_zero_points.is_empty() && readable && window.dilation_w == 1;
    let slide = match (window.kernel_h, window.kernel_w, window.stride_w) {
        (3, 3, 1) if fits => slide::<3, 2, 3, 1>,
        (3, 3, 2) if fits => slide::<3, 2, 3, 2>,
        (5, 5, 1) if fits => slide::<5, 3, 5, 1>,
        (5, 5, 2) if fits => slide::<5, 3, 5, 2>,
        _ => return super::avx2::depthwise_i8(args),
    };
    // SAFETY: this function stands only in kernels that `available` gives out where AVX2 is there.
    for_each_block(args, |args, block| unsafe { slide(args, block) });
}

/// Interleaves and widens the rows of a column; `back` is the last row, one column back.
#[target_feature(enable = "avx2")]
#[inline]
fn pairs<const H: usize, const G: usize>(rows: [__m128i; H], back: __m128i) -> Column<G> {
    let mut column = [[_mm256_setzero_si256(); 2]; G];
    for (pair, out) in column.iter_mut().enumerate() {
        let (first, second) = if 2 * pair + 1 < H { (rows[2 * pair], rows[2 * pair + 1]) } else { (back, rows[H - 1]) };
        out[0] = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(first, second));
        out[1] = _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(first, second));
    }
    column
}

/// Adds the products of the first `count` pairs of a tap.
#[target_feature(enable = "avx2")]
#[inline]
fn multiply<const G: usize>(sums: &mut [__m256i; 2], x: &Column<G>, w: &Column<G>, count: usize) {
    for (x, w) in x.iter().zip(w).take(count) {
        sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(x[0], w[0]));
        sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(x[1], w[1]));
    }
}

/// Pairs of a tap that count: the last row waits for a second column, or for the last one.
#[inline(always)]
fn pairs_of<const G: usize, const W: usize>(tap: usize) -> usize {
    G - usize::from(tap.is_multiple_of(2) && tap + 1 < W)
}

/// A block with a window of `H` rows in `G` pairs and `W` columns, `STRIDE` columns apart.
#[target_feature(enable = "avx2")]
fn slide<const H: usize, const G: usize, const W: usize, const STRIDE: usize>(
    args: &mut ConvI8Args<'_>,
    block: &Block<'_>,
) {
    let mut weights = [[[_mm256_setzero_si256(); 2]; G]; W];
    let mut back = _mm_setzero_si128();
    for (column, weights) in weights.iter_mut().enumerate() {
        let mut rows = [_mm_setzero_si128(); H];
        for (row, out) in rows.iter_mut().enumerate() {
            // SAFETY: an array of 16 bytes.
            *out = unsafe { _mm_loadu_si128(block.weights::<BLOCK>(args, row * W + column).as_ptr().cast()) };
        }
        let odd = !column.is_multiple_of(2);
        *weights = pairs::<H, G>(rows, if odd { back } else { _mm_setzero_si128() });
        back = rows[H - 1];
    }
    let finish = Finish256::new(args, block.channel, block.lanes);
    let out_c = args.window.out_c as usize;
    for line in 0..block.lines {
        let mut rows: [*const i8; H] = core::array::from_fn(|row| block.pointer(line, row));
        let mut place = (block.first + line * block.columns) * out_c + block.channel;
        let mut back = _mm_setzero_si128();
        let mut next = || {
            let mut column = [_mm_setzero_si128(); H];
            for (row, out) in rows.iter_mut().zip(&mut column) {
                // SAFETY: 16 bytes of every tap of every position can be read, as `for_each_block` has seen.
                *out = unsafe { _mm_loadu_si128(row.cast()) };
                *row = row.wrapping_add(block.column_step);
            }
            let pairs = pairs::<H, G>(column, back);
            back = column[H - 1];
            pairs
        };
        if STRIDE == 1 {
            // Sums of the position that a column is the last one of, and of those behind it.
            let mut open = [finish.bias; W];
            for seen in 1..block.columns + W {
                let column = next();
                for (tap, weights) in weights.iter().enumerate() {
                    multiply(&mut open[W - 1 - tap], &column, weights, pairs_of::<G, W>(tap));
                }
                if seen >= W {
                    // SAFETY: `block` has this position.
                    unsafe { finish.store(place, open[0]) };
                    place += out_c;
                }
                for index in 1..W {
                    open[index - 1] = open[index];
                }
                open[W - 1] = finish.bias;
            }
        } else {
            // The last columns of a position that the next one sees too.
            let mut shared = [[[_mm256_setzero_si256(); 2]; G]; W];
            for column in &mut shared[STRIDE..] {
                *column = next();
            }
            for _ in 0..block.columns {
                let mut sums = finish.bias;
                for index in 0..W {
                    let column = if index + STRIDE < W { shared[index + STRIDE] } else { next() };
                    shared[index] = column;
                    multiply(&mut sums, &column, &weights[index], pairs_of::<G, W>(index));
                }
                // SAFETY: `block` has this position.
                unsafe { finish.store(place, sums) };
                place += out_c;
            }
        }
    }
}
