//! Compressed weights to packed ones, 16 or 32 at a time: TBL looks up 16 levels at once, and spreads the bytes that are
//! not 0 to their places.

use core::arch::aarch64::*;

use crate::kernels::portable::expand;
use crate::kernels::{IndexedArgs, sparse_places};
use crate::weights::compressed::PIECE;

/// Weights of [`crate::plan::step::IndexedConvI8`].
pub(super) fn indexed(args: IndexedArgs<'_>) {
    let IndexedArgs { indices, levels, factors, width, out } = args;
    let whole = out.len() / (2 * PIECE) * (2 * PIECE);
    let (pairs, rest) = out.split_at_mut(whole);
    let (of_pairs, of_rest) = indices.split_at(whole / 2);
    // SAFETY: NEON is there on every AArch64; there are 16 levels.
    let table = unsafe { vld1q_u8(levels.as_ptr()) };
    for (pair, indices) in pairs.as_chunks_mut::<{ 2 * PIECE }>().0.iter_mut().zip(of_pairs.as_chunks::<PIECE>().0) {
        // SAFETY: NEON; 16 indices are read and 32 weights written, which the chunks have.
        unsafe {
            let both = vld1q_u8(indices.as_ptr());
            let first = vqtbl1q_u8(table, vandq_u8(both, vdupq_n_u8(15)));
            let second = vqtbl1q_u8(table, vshrq_n_u8::<4>(both));
            vst1q_u8(pair.as_mut_ptr(), first);
            vst1q_u8(pair.as_mut_ptr().add(PIECE), second);
        }
    }
    expand::levels_of(of_rest, levels, rest);
    expand::multiply(factors, width, out);
}

/// Weights of [`crate::plan::step::SparseConvI8`].
pub(super) fn sparse(stored: &[u8], out: &mut [u8]) -> usize {
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
        // SAFETY: NEON; eight bytes can be read from both places, as asked for; eight are written to each half of the
        // piece.
        unsafe {
            for (from, half, place) in [(first, low, 0), (second, high, HALF)] {
                let bytes = vld1_u8(stored.as_ptr().add(from));
                let places = vld1_u8(sparse_places(half).as_ptr());
                vst1_u8(piece.as_mut_ptr().add(place), vtbl1_u8(bytes, places));
            }
        }
        at = second + high.count_ones() as usize;
    }
    at
}
