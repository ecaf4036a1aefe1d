//! Compressed weights to packed ones.

use crate::kernels::IndexedArgs;
use crate::kernels::view::part;
use crate::weights::compressed::{Factors, LEVELS, PIECE};
use crate::weights::{BLOCK, GROUP};

/// Weights of [`crate::plan::step::IndexedConvI8`].
pub(crate) fn indexed(args: IndexedArgs<'_>) {
    levels_of(args.indices, args.levels, args.out);
    multiply(args.factors, args.width, args.out);
}

/// Looks up indices in pairs.
pub(crate) fn levels_of(indices: &[u8], levels: &[u8; LEVELS], out: &mut [u8]) {
    let level = |index: u8| levels.get(usize::from(index & 15)).copied().unwrap_or(0);
    for (pair, indices) in out.chunks_mut(2 * PIECE).zip(indices.chunks(PIECE)) {
        let (first, second) = pair.split_at_mut_checked(PIECE).unwrap_or_default();
        first.iter_mut().zip(indices).for_each(|(weight, &index)| *weight = level(index));
        second.iter_mut().zip(indices).for_each(|(weight, &index)| *weight = level(index >> 4));
    }
}

/// Multiplies the weights of a block of `width` channels by their factors, if there are any.
#[inline(always)]
pub(crate) fn multiply(factors: Factors<'_>, width: usize, weights: &mut [u8]) {
    if factors.values.is_empty() {
        return;
    }
    let row = (width * GROUP).max(1);
    let rows = row.saturating_mul(factors.quads).max(1);
    for (weights, factors) in weights.chunks_mut(rows).zip(factors.values.chunks(width.max(1))) {
        // One for each weight of a row. The low eight bits of a product do not depend on signs.
        let mut spread = [0_u8; BLOCK * GROUP];
        for (quad, factor) in spread.as_chunks_mut::<GROUP>().0.iter_mut().zip(factors) {
            *quad = [*factor; GROUP];
        }
        let spread = part(&spread, 0, row);
        for row in weights.chunks_exact_mut(row) {
            row.iter_mut().zip(spread).for_each(|(weight, factor)| *weight = weight.wrapping_mul(*factor));
        }
    }
}

/// Weights of [`crate::plan::step::SparseConvI8`]; gives how many stored bytes they are.
pub(crate) fn sparse(stored: &[u8], out: &mut [u8]) -> usize {
    let mut rest = stored;
    for piece in out.chunks_mut(PIECE) {
        let Some((mask, bytes)) = rest.split_first_chunk() else { break };
        let mask = u16::from_le_bytes(*mask);
        let mut next = 0;
        for (bit, weight) in piece.iter_mut().enumerate() {
            let there = mask >> bit & 1;
            // Read in any case: faster than to ask.
            let byte = bytes.get(next).copied().unwrap_or(0);
            *weight = byte & (there as u8).wrapping_neg();
            next += usize::from(there);
        }
        rest = bytes.get(next..).unwrap_or_default();
    }
    stored.len() - rest.len()
}
