//! Compressed weights to packed ones, 16 or 32 at a time: PSHUFB looks up 16 levels at once, and spreads the bytes that
//! are not 0 to their places.

use core::arch::x86_64::*;

use crate::kernels::portable::expand;
use crate::kernels::{IndexedArgs, sparse_places};
use crate::weights::compressed::PIECE;

/// Weights of [`crate::plan::step::IndexedConvI8`].
pub(super) fn indexed(args: IndexedArgs<'_>) {
    // SAFETY: this function stands only in kernels that `available` gives out where AVX2 is there.
    unsafe { indexed_avx2(args) };
}

#[target_feature(enable = "avx2")]
fn indexed_avx2(args: IndexedArgs<'_>) {
    let IndexedArgs { indices, levels, factors, width, out } = args;
    let whole = out.len() / (2 * PIECE) * (2 * PIECE);
    let (pairs, rest) = out.split_at_mut(whole);
    let (of_pairs, of_rest) = indices.split_at(whole / 2);
    // SAFETY: there are 16 levels.
    let table = unsafe { _mm_loadu_si128(levels.as_ptr().cast()) };
    let low = _mm_set1_epi8(15);
    for (pair, indices) in pairs.as_chunks_mut::<{ 2 * PIECE }>().0.iter_mut().zip(of_pairs.as_chunks::<PIECE>().0) {
        // SAFETY: 16 indices are read and 32 weights written, which the chunks have.
        unsafe {
            let both = _mm_loadu_si128(indices.as_ptr().cast());
            let first = _mm_shuffle_epi8(table, _mm_and_si128(both, low));
            let second = _mm_shuffle_epi8(table, _mm_and_si128(_mm_srli_epi16::<4>(both), low));
            let to = pair.as_mut_ptr();
            _mm_storeu_si128(to.cast(), first);
            _mm_storeu_si128(to.add(PIECE).cast(), second);
        }
    }
    expand::levels_of(of_rest, levels, rest);
    expand::multiply(factors, width, out);
}

/// Weights of [`crate::plan::step::SparseConvI8`].
pub(super) fn sparse(stored: &[u8], out: &mut [u8]) -> usize {
    // SAFETY: as for `indexed`.
    unsafe { sparse_avx2(stored, out) }
}

#[target_feature(enable = "avx2")]
fn sparse_avx2(stored: &[u8], out: &mut [u8]) -> usize {
    /// Bytes that are read at once.
    const HALF: usize = 8;
    let mut at = 0;
    for (index, piece) in out.as_chunks_mut::<PIECE>().0.iter_mut().enumerate() {
        let Some(mask) = stored.get(at..).and_then(|stored| stored.first_chunk()) else { break };
        let [low, high] = *mask;
        let (first, second) = (at + 2, at + 2 + low.count_ones() as usize);
        if second + HALF > stored.len() {
            // Eight bytes cannot be read to the end.
            return at + expand::sparse(&stored[at..], &mut out[index * PIECE..]);
        }
        // SAFETY: eight bytes can be read from both places, as asked for; eight are written to each half of the piece.
        unsafe {
            for (from, half, place) in [(first, low, 0), (second, high, HALF)] {
                let bytes = _mm_loadl_epi64(stored.as_ptr().add(from).cast());
                let places = _mm_loadl_epi64(sparse_places(half).as_ptr().cast());
                _mm_storel_epi64(piece.as_mut_ptr().add(place).cast(), _mm_shuffle_epi8(bytes, places));
            }
        }
        at = second + high.count_ones() as usize;
    }
    at
}
