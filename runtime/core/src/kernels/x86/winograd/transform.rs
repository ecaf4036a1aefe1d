//! What is multiplied by minimal filtering: transformed input and weights.

#![allow(clippy::needless_range_loop, reason = "rows become columns, and closures over arrays are not always inlined")]

use core::arch::x86_64::*;
use core::ops::Range;

use super::{CHUNK, SIDE, WORDS, Weights};
use crate::kernels::x86::pairs::pair_of;
use crate::weights::{BLOCK, GROUP};

/// `Bᵀ·d·B` of one tile: element `e` of all channels goes to `to + e·step`.
///
/// # Safety
/// `channels` bytes of each of the 36 places can be read, and as many words written for each element.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) unsafe fn transform_input(
    (lines, columns): ([*const i8; SIDE], [usize; SIDE]),
    channels: usize,
    to: *mut i16,
    step: usize,
) {
    for channel in (0..channels).step_by(WORDS) {
        let mut rows = [[_mm256_setzero_si256(); SIDE]; SIDE];
        for column in 0..SIDE {
            let mut d = [_mm256_setzero_si256(); SIDE];
            for line in 0..SIDE {
                // SAFETY: the caller's promise.
                d[line] = unsafe { widened(lines[line].add(columns[column] + channel).cast()) };
            }
            let d = input_of(d);
            for row in 0..SIDE {
                rows[row][column] = d[row];
            }
        }
        for row in 0..SIDE {
            let words = input_of(rows[row]);
            for column in 0..SIDE {
                // SAFETY: the caller's promise.
                unsafe { _mm256_storeu_si256(to.add((SIDE * row + column) * step + channel).cast(), words[column]) };
            }
        }
    }
}

/// `Bᵀ·d`, of numbers up to 128 ten times as much at most.
#[target_feature(enable = "avx2")]
#[inline]
fn input_of([a, b, c, d, e, f]: [__m256i; SIDE]) -> [__m256i; SIDE] {
    let four = |x| _mm256_slli_epi16::<2>(x);
    let (even, odd) = (_mm256_sub_epi16(e, four(c)), _mm256_sub_epi16(d, four(b)));
    let near = _mm256_sub_epi16(e, c);
    let twice = _mm256_slli_epi16::<1>(_mm256_sub_epi16(d, b));
    [
        _mm256_add_epi16(four(_mm256_sub_epi16(a, c)), near),
        _mm256_add_epi16(even, odd),
        _mm256_sub_epi16(even, odd),
        _mm256_add_epi16(near, twice),
        _mm256_sub_epi16(near, twice),
        _mm256_sub_epi16(_mm256_sub_epi16(f, d), _mm256_add_epi16(twice, twice)),
    ]
}

/// `G'·g`, of numbers up to 128 twelve times as much at most; the signs of the second and third are turned.
#[target_feature(enable = "avx2")]
#[inline]
fn weights_of([a, b, c]: [__m256i; 3]) -> [__m256i; SIDE] {
    let six = _mm256_set1_epi16(6);
    let (outer, inner) = (_mm256_slli_epi16::<2>(_mm256_add_epi16(a, c)), _mm256_slli_epi16::<2>(b));
    let (far, twice) = (_mm256_add_epi16(a, _mm256_slli_epi16::<2>(c)), _mm256_add_epi16(b, b));
    [
        _mm256_mullo_epi16(a, six),
        _mm256_add_epi16(outer, inner),
        _mm256_sub_epi16(outer, inner),
        _mm256_add_epi16(far, twice),
        _mm256_sub_epi16(far, twice),
        _mm256_mullo_epi16(c, six),
    ]
}

/// 16 bytes as 16-bit numbers.
///
/// # Safety
/// 16 bytes from `bytes` on can be read.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn widened(bytes: *const u8) -> __m256i {
    // SAFETY: the caller's promise.
    _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(bytes.cast()) })
}

/// `G'·g·G'ᵀ` of some input channels of a block that has `channels`: by element, pair of input channels, output channel,
/// channel of the pair.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn transform_weights(block: &[u8], channels: usize, range: Range<usize>, to: &mut Weights) {
    const QUAD: usize = BLOCK * GROUP;
    let (all, quads) = (channels / GROUP, range.len() / GROUP);
    assert!(range.end <= channels && block.len() >= 9 * all * QUAD && quads <= CHUNK / GROUP);
    let block = &block[range.start / GROUP * QUAD..];
    let to = to.as_mut_ptr().cast::<i16>();
    for quad in 0..quads {
        // Eight output channels and two input channels at a time.
        for part in 0..4 {
            let (half, pair) = (part / 2, part % 2);
            let mut lines = [[_mm256_setzero_si256(); 3]; SIDE];
            for column in 0..3 {
                let mut g = [_mm256_setzero_si256(); 3];
                for row in 0..3 {
                    let at = ((3 * row + column) * all + quad) * QUAD + half * 32;
                    // SAFETY: 9 taps of `all` groups are in the block, as asserted.
                    let bytes = unsafe { _mm256_loadu_si256(block.as_ptr().add(at).cast()) };
                    g[row] = if pair == 0 { pair_of::<0>(bytes) } else { pair_of::<1>(bytes) };
                }
                let g = weights_of(g);
                for row in 0..SIDE {
                    lines[row][column] = g[row];
                }
            }
            for row in 0..SIDE {
                let words = weights_of(lines[row]);
                for column in 0..SIDE {
                    let at = ((SIDE * row + column) * range.len() + quad * GROUP + 2 * pair) * BLOCK + half * 16;
                    // SAFETY: there is room for 36 elements of as many channels times 16 words.
                    unsafe { _mm256_storeu_si256(to.add(at).cast(), words[column]) };
                }
            }
        }
    }
}
