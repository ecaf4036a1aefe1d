//! Product of two activations: the right side is brought into the layout of convolution weights, strip by strip.

use super::conv::{STRIP_BLOCKS, Strip};
use super::{Shape, Vector, pointwise};
use crate::plan::step::MatMul;
use crate::weights::F32_BLOCK;

/// Elements of a packed strip of the right side.
const PANEL: usize = 1 << 13;

/// Whether [`matmul`] takes these matrices: there are enough rows to pay for the packing, and a block fits.
pub fn packs(s: &MatMul) -> bool {
    s.m >= 4 && s.k as usize <= PANEL / F32_BLOCK
}

/// See [`MatMul`]; [`packs`] is true.
///
/// # Safety
/// The CPU has the instruction set of `V`.
#[inline(always)]
pub unsafe fn matmul<V: Vector>(s: &MatMul, a: &[f32], b: &[f32], y: &mut [f32]) {
    let (m, k, n) = (s.m as usize, s.k as usize, s.n as usize);
    let most = PANEL / (k * F32_BLOCK).max(1);
    let window = pointwise(s.m, s.k, s.n);
    let shape = Shape { window: &window, rows: 0..0, columns: 0..0 };
    let mut panel = [0.0; PANEL];
    for (batch, y) in y.chunks_exact_mut((m * n).max(1)).enumerate() {
        let a = &a[batch * s.a_stride as usize..][..m * k];
        let b = &b[batch * s.b_stride as usize..][..k * n];
        let mut start = 0;
        while start < n {
            let count = V::strip_blocks((n - start).div_ceil(F32_BLOCK), m).min(most);
            let columns = (n - start).min(count * F32_BLOCK);
            pack(b, n, start..start + columns, &mut panel[..count * k * F32_BLOCK]);
            let strip = Strip {
                shape: &shape,
                x: a.as_ptr(),
                y: y[start..].as_mut_ptr(),
                weights: panel.as_ptr(),
                block_len: k * F32_BLOCK,
                bias: [0.0; STRIP_BLOCKS * F32_BLOCK],
                channels: columns,
                low: f32::NEG_INFINITY,
                high: f32::INFINITY,
            };
            // SAFETY: the caller's promise; the slices have `m` rows of `k` elements, `k` rows of each block, and
            // `m` rows of `n` results.
            unsafe { V::strip(&strip, 0..m) };
            start += columns;
        }
    }
}

/// Copies `columns` of the rows of `b`, of `n` elements each, to `[block][row][16]`; zeros behind the last one.
#[inline(always)]
fn pack(b: &[f32], n: usize, columns: core::ops::Range<usize>, panel: &mut [f32]) {
    let block_len = b.len() / n * F32_BLOCK;
    for (block, first) in columns.clone().step_by(F32_BLOCK).enumerate() {
        let width = F32_BLOCK.min(columns.end - first);
        let rows = panel[block * block_len..][..block_len].as_chunks_mut::<F32_BLOCK>().0;
        for (packed, row) in rows.iter_mut().zip(b.chunks_exact(n)) {
            match row[first..].first_chunk::<F32_BLOCK>() {
                Some(row) if width == F32_BLOCK => *packed = *row,
                _ => {
                    packed.fill(0.0);
                    packed.iter_mut().zip(&row[first..first + width]).for_each(|(to, from)| *to = *from);
                }
            }
        }
    }
}
