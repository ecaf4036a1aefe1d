//! Products of transformed input and weights, and their way back to results.

#![allow(clippy::needless_range_loop, reason = "rows become columns, and closures over arrays are not always inlined")]

use core::arch::x86_64::*;

use super::{ELEMENTS, NINTH, Products, SIDE, TILE, TILES};
use crate::kernels::x86::finish::Finish256;
use crate::kernels::x86::pairs::add_pairs;
use crate::weights::BLOCK;

/// Transformed operands.
pub(super) struct Product {
    /// Input channels of the input.
    pub channels: usize,
    /// Those of them that are multiplied.
    pub count: usize,
    /// Words from one element of the transformed input to the next.
    pub step: usize,
    pub weights: *const i16,
    /// Whether products are added to those of other channels.
    pub goes_on: bool,
}

impl Product {
    /// The products of up to [`TILES`] tiles from `x` on with 16 channels, for all elements.
    ///
    /// # Safety
    /// There are as many words of input and weights, and products, when they go on.
    #[target_feature(enable = "avx2")]
    pub unsafe fn tiles(&self, x: *const i16, products: &mut [Products]) {
        // SAFETY: the caller's promise.
        unsafe {
            match products.len() {
                1 => self.some::<1>(x, products),
                2 => self.some::<2>(x, products),
                3 => self.some::<3>(x, products),
                4 => self.some::<4>(x, products),
                5 => self.some::<5>(x, products),
                _ => self.some::<TILES>(x, products),
            }
        }
    }

    /// As [`Self::tiles`], of `R` tiles.
    ///
    /// # Safety
    /// As there.
    #[target_feature(enable = "avx2")]
    #[inline(never)]
    unsafe fn some<const R: usize>(&self, x: *const i16, products: &mut [Products]) {
        let (mut x, mut w) = (x, self.weights);
        for element in 0..ELEMENTS {
            let mut sums = [[_mm256_setzero_si256(); 2]; R];
            if self.goes_on {
                for (from, sums) in products.iter().zip(&mut sums) {
                    let from = from.0[element].as_ptr().cast::<__m256i>();
                    // SAFETY: 16 numbers are there, as the caller promises.
                    *sums = unsafe { [_mm256_load_si256(from), _mm256_load_si256(from.add(1))] };
                }
            }
            for pair in (0..self.count).step_by(2) {
                // SAFETY: the caller's promise.
                let weights = unsafe { [_mm256_loadu_si256(w.cast()), _mm256_loadu_si256(w.add(16).cast())] };
                w = w.wrapping_add(2 * BLOCK);
                for (row, sums) in sums.iter_mut().enumerate() {
                    let x = x.wrapping_add(row * self.channels + pair).cast::<i32>();
                    // SAFETY: as above.
                    let x = _mm256_set1_epi32(unsafe { x.read_unaligned() });
                    *sums = [add_pairs(sums[0], x, weights[0]), add_pairs(sums[1], x, weights[1])];
                }
            }
            for (to, sums) in products.iter_mut().zip(sums) {
                let to = to.0[element].as_mut_ptr().cast::<__m256i>();
                // SAFETY: there is room for 16 numbers.
                unsafe {
                    _mm256_store_si256(to, sums[0]);
                    _mm256_store_si256(to.add(1), sums[1]);
                }
            }
            x = x.wrapping_add(self.step);
        }
    }
}

/// The first and the third of `A'ᵀ·m`, or the second and the fourth, where the signs of the second and third `m` are turned.
#[target_feature(enable = "avx2")]
#[inline]
fn results_of<const ODD: bool>([a, b, c, d, e, f]: [__m256i; SIDE]) -> [__m256i; 2] {
    let four = |x| _mm256_slli_epi32::<2>(x);
    if ODD {
        let (near, far) = (_mm256_sub_epi32(b, c), _mm256_sub_epi32(d, e));
        let twice = _mm256_add_epi32(far, far);
        [_mm256_sub_epi32(twice, near), _mm256_sub_epi32(four(_mm256_add_epi32(twice, f)), near)]
    } else {
        let (near, far) = (_mm256_add_epi32(b, c), _mm256_add_epi32(d, e));
        [_mm256_add_epi32(_mm256_sub_epi32(a, near), far), _mm256_sub_epi32(four(far), near)]
    }
}

/// `Aᵀ·m·A` of one tile, requantized and stored at those of its positions that there are, from element `place` of the
/// output on; `steps` are elements from one line, and one position, to the next.
///
/// # Safety
/// The products have been written; the output has `extent` lines and columns.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn store(
    finish: &Finish256,
    products: &Products,
    place: usize,
    (line_step, step): (usize, usize),
    extent: (usize, usize),
) {
    let at = products.0.as_ptr().cast::<__m256i>();
    macro_rules! lines {
        ($odd:literal) => {
            // By line, column, half.
            let mut sums = [[[_mm256_setzero_si256(); 2]; TILE]; 2];
            for half in 0..2 {
                let mut lines = [[_mm256_setzero_si256(); SIDE]; 2];
                for column in 0..SIDE {
                    let mut m = [_mm256_setzero_si256(); SIDE];
                    for row in 0..SIDE {
                        // SAFETY: the caller's promise.
                        m[row] = unsafe { _mm256_load_si256(at.add(2 * (SIDE * row + column) + half)) };
                    }
                    let [first, second] = results_of::<$odd>(m);
                    (lines[0][column], lines[1][column]) = (first, second);
                }
                for line in 0..2 {
                    let [first, third] = results_of::<false>(lines[line]);
                    let [second, fourth] = results_of::<true>(lines[line]);
                    let results = [first, second, third, fourth];
                    for column in 0..TILE {
                        let product = _mm256_mullo_epi32(results[column], _mm256_set1_epi32(NINTH));
                        sums[line][column][half] = _mm256_add_epi32(finish.bias[half], _mm256_srai_epi32::<6>(product));
                    }
                }
            }
            for line in 0..2 {
                let row = 2 * line + $odd as usize;
                if row >= extent.0 {
                    break;
                }
                for column in [0, 2] {
                    let place = place + row * line_step + column * step;
                    // SAFETY: the output has these positions with these channels.
                    unsafe {
                        if column + 1 < extent.1 {
                            finish.store_two(place, step, [sums[line][column], sums[line][column + 1]]);
                        } else if column < extent.1 {
                            finish.store(place, sums[line][column]);
                        }
                    }
                }
            }
        };
    }
    lines!(false);
    lines!(true);
}
