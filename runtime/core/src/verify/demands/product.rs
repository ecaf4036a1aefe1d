//! What products of activations demand.

use super::operands::{REAL, require, same_type, sized, tensor, typed};
use super::{Rule, rules};
use crate::plan::step::Attention;
use crate::plan::{DType, Plan};
use crate::verify::product;

rules! {
    matmul(plan, s: MatMul) {
        let (a, b, y) = (tensor(plan, s.a)?, tensor(plan, s.b)?, tensor(plan, s.y)?);
        same_type(&a, &y, REAL)?;
        same_type(&a, &b, REAL)?;
        sized(&y, &[s.batch, s.m, s.n])?;
        require(s.k > 0, "its matrices are empty")?;
        for (side, rows, columns, stride) in [(&a, s.m, s.k, s.a_stride), (&b, s.k, s.n, s.b_stride)] {
            let matrix = product(&[rows, columns]).ok_or("a matrix is too large")? as u64;
            let last = u64::from(s.batch.max(1) - 1) * u64::from(stride);
            require(last + matrix <= side.len() as u64, "its strides leave a tensor")?;
        }
        // Sums of int16 have 64 bits.
        let fits = y.dtype != DType::I8 || u64::from(s.k) * 255 * 255 < 1 << 31;
        require(fits, "an accumulator could overflow")?;
        require(s.multiplier.is_finite() && s.multiplier >= 0.0, "a multiplier is not usable")
    }
    attention(plan, s: Attention) {
        check_attention(plan, s)
    }
}

/// Whether the elements `[batch][heads][rows]` of `width` each, so far apart, are all among `len`.
pub(super) fn reaches(extents: [u32; 3], strides: [u32; 3], width: u32, len: usize) -> bool {
    let mut last = u64::from(width);
    for (extent, stride) in extents.into_iter().zip(strides) {
        last = last.saturating_add(u64::from(extent.saturating_sub(1)).saturating_mul(u64::from(stride)));
    }
    last <= len as u64
}

#[inline(never)]
pub(super) fn check_attention(plan: &Plan<'_>, s: &Attention) -> Rule {
    let sizes = [s.batch, s.heads, s.sharing, s.queries, s.keys, s.width, s.value_width];
    require(sizes.iter().all(|&size| (1..1 << 24).contains(&size)), "its sizes are not usable")?;
    require(s.heads.is_multiple_of(s.sharing), "its heads do not share keys evenly")?;
    let (queries, keys) = ([s.batch, s.heads, s.queries], [s.batch, s.heads / s.sharing.max(1), s.keys]);
    let operands = [
        (s.q, queries, s.q_strides, s.width),
        (s.k, keys, s.k_strides, s.width),
        (s.v, keys, s.v_strides, s.value_width),
        (s.y, queries, s.y_strides, s.value_width),
    ];
    for (id, extents, strides, width) in operands {
        let operand = tensor(plan, id)?;
        typed(&operand, DType::F32)?;
        require(reaches(extents, strides, width, operand.len()), "its strides leave a tensor")?;
    }
    if let Some(mask) = s.mask {
        let mask = tensor(plan, mask)?;
        typed(&mask, DType::F32)?;
        let [batch, head, query, key] = s.mask_strides;
        require(key <= 1, "its rows are not contiguous")?;
        let width = if key == 1 { s.keys } else { 1 };
        require(reaches(queries, [batch, head, query], width, mask.len()), "its strides leave a tensor")?;
    }
    let scratch = tensor(plan, s.scratch)?;
    typed(&scratch, DType::F32)?;
    require(s.scratch_len().is_some_and(|needed| scratch.len() >= needed), "its scratch is too small")?;
    require(s.scale.is_finite(), "its scale is not usable")
}
