//! The products of attention in tiles that stay in vector registers: each result is one chain of products that are rounded,
//! then added in order, as in the portable kernel.

use core::marker::PhantomData;

use super::Vector;
use crate::kernels::portable::attention::{Plain, Products, TILE, Values, WIDTH};

/// With vectors `V`.
pub struct InVectors<V>(PhantomData<V>);

impl<V: Vector> Products for InVectors<V> {
    #[inline(always)]
    unsafe fn scores(scale: f32, columns: &[f32], tile: &[f32], scores: &mut [f32]) {
        let (blocks, queries) = (columns.as_chunks::<WIDTH>().0, tile.as_chunks::<TILE>().0);
        let stored = scores.len() / TILE;
        for (block, columns) in blocks.chunks_exact(queries.len().max(1)).enumerate() {
            if (block + 1) * WIDTH > stored {
                return;
            }
            // SAFETY: the caller's promise; there are as many columns of `WIDTH` keys as queries' elements, and `WIDTH`
            // scores of each query from the block's first on.
            unsafe {
                let to = scores.as_mut_ptr().add(block * WIDTH);
                match V::ATTENTION_REGISTERS {
                    4 => score_block::<V, 4>(scale, columns, queries, to, stored),
                    _ => score_block::<V, 2>(scale, columns, queries, to, stored),
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn means(values: &Values<'_>, start: usize, left: usize, sums: &mut [[f32; WIDTH]; TILE]) -> usize {
        let width = V::ATTENTION_REGISTERS * V::LANES;
        let keys = values.weights.iter().map(|weights| weights.len()).min().unwrap_or(0);
        let last = start + keys.saturating_sub(1) * values.step + width;
        if left < width || width > WIDTH || last > values.elements.len() {
            // SAFETY: no instruction set is needed.
            return unsafe { Plain::means(values, start, left, sums) };
        }
        // SAFETY: the caller's promise; `width` elements of each value lie inside, as just seen.
        unsafe {
            match V::ATTENTION_REGISTERS {
                4 => sum_values::<V, 4>(values, start, keys, sums),
                _ => sum_values::<V, 2>(values, start, keys, sums),
            }
        }
        width
    }
}

/// Scores of [`TILE`] queries with [`WIDTH`] keys, `N` registers of keys at a time.
///
/// # Safety
/// That of `V`; as many columns as queries' elements; [`WIDTH`] scores from `to` on, and `stored` further on for each query.
#[inline(always)]
unsafe fn score_block<V: Vector, const N: usize>(
    scale: f32,
    columns: &[[f32; WIDTH]],
    queries: &[[f32; TILE]],
    to: *mut f32,
    stored: usize,
) {
    for first in (0..WIDTH).step_by(N * V::LANES) {
        // SAFETY: the caller's promise; `first` and the registers behind it are below `WIDTH`.
        unsafe {
            let mut sums = [[V::splat(0.0); N]; TILE];
            for (keys, queries) in columns.iter().zip(queries) {
                let keys: [V; N] = core::array::from_fn(|index| V::load(keys.as_ptr().add(first + index * V::LANES)));
                for (sums, query) in sums.iter_mut().zip(queries) {
                    let query = V::splat(*query);
                    for (sum, keys) in sums.iter_mut().zip(keys) {
                        *sum = sum.add_product(query, keys);
                    }
                }
            }
            for (query, sums) in sums.into_iter().enumerate() {
                for (index, sum) in sums.into_iter().enumerate() {
                    sum.multiply(V::splat(scale)).store(to.add(query * stored + first + index * V::LANES));
                }
            }
        }
    }
}

/// `N` registers of sums of values for each of [`TILE`] queries.
///
/// # Safety
/// That of `V`; each query has `keys` weights, and as many values have `N` registers of elements from `start` on.
#[inline(always)]
unsafe fn sum_values<V: Vector, const N: usize>(
    values: &Values<'_>,
    start: usize,
    keys: usize,
    to: &mut [[f32; WIDTH]; TILE],
) {
    // SAFETY: the caller's promise; `N` registers have at most `WIDTH` elements.
    unsafe {
        let mut sums = [[V::splat(0.0); N]; TILE];
        let mut from = values.elements.as_ptr().add(start);
        for key in 0..keys {
            let value: [V; N] = core::array::from_fn(|index| V::load(from.add(index * V::LANES)));
            for (sums, weights) in sums.iter_mut().zip(values.weights) {
                let weight = V::splat(*weights.get_unchecked(key));
                for (sum, value) in sums.iter_mut().zip(value) {
                    *sum = sum.add_product(weight, value);
                }
            }
            from = from.wrapping_add(values.step);
        }
        for (to, sums) in to.iter_mut().zip(sums) {
            for (index, sum) in sums.into_iter().enumerate() {
                sum.store(to.as_mut_ptr().add(index * V::LANES));
            }
        }
    }
}
