//! What steps demand that make one element of many: pooling, reductions, softmax, normalisation.

use super::operands::{
    Elements, FLOAT_OR_INT8, REAL, constant, pair, require, same_type, sized, tensor, typed, widest, window,
};
use super::{Rule, rules};
use crate::bytes::U32s;
use crate::plan::DType;
use crate::plan::step::{Reduce, ReduceKind};
use crate::verify::product;

rules! {
    pool(plan, s: Pool) {
        let (x, y) = window(plan, &s.window, s.x, s.y)?;
        same_type(&x, &y, REAL)?;
        require(s.window.in_c == s.window.out_c, "pooling keeps the channels")?;
        let area = product(&[s.window.kernel_h, s.window.kernel_w, widest(x.dtype)]);
        require(area.is_some(), "an accumulator could overflow")?;
        require(s.pad_end.iter().all(|&pad| pad < 1 << 16), "its padding is too great")?;
        require(s.multiplier.is_finite() && s.multiplier >= 0.0, "a multiplier is not usable")
    }
    reduce(plan, s: Reduce) {
        let (x, y) = pair(plan, s.x, s.y)?;
        same_type(&x, &y, REAL)?;
        check_reduce(s, &x, &y)
    }
    reduce_to_float(plan, s: ReduceToFloat) {
        let (x, y) = pair(plan, s.x, s.y)?;
        typed(&x, DType::I8)?;
        typed(&y, DType::F32)?;
        check_reduce(s, &x, &y)
    }
    softmax(plan, s: Softmax) {
        let (x, y) = pair(plan, s.x, s.y)?;
        same_type(&x, &y, FLOAT_OR_INT8)?;
        sized(&x, &[s.outer, s.n, s.inner])?;
        require(x.len() == y.len(), "input and output differ in size")?;
        if x.dtype == DType::I8 {
            require(s.log == 0, "the logarithm of a softmax is float32 only")?;
            let table = U32s::new(constant(plan, s.table, Some(1024))?);
            require(table.get(0) > 0, "its table is not usable")?;
            require(table.iter().all(|entry| entry <= 1 << 23), "its table is not usable")?;
        }
        Ok(())
    }
    arg_max(plan, s: ArgMax) {
        let (x, y) = pair(plan, s.x, s.y)?;
        require(REAL.contains(&x.dtype), "its input is neither int8 nor int16 nor float32")?;
        typed(&y, DType::I64)?;
        sized(&x, &[s.outer, s.n, s.inner])?;
        sized(&y, &[s.outer, s.inner])
    }
    layer_norm(plan, s: LayerNorm) {
        let (x, y) = pair(plan, s.x, s.y)?;
        same_type(&x, &y, &[DType::F32])?;
        sized(&x, &[s.rows, s.n])?;
        sized(&y, &[s.rows, s.n])?;
        if let Some(residual) = s.residual {
            let residual = tensor(plan, residual)?;
            typed(&residual, DType::F32)?;
            require(residual.len() == x.len(), "input and residual differ in size")?;
        }
        for span in [s.scale, s.bias] {
            constant(plan, span, if span.is_none() { Some(0) } else { (s.n as usize).checked_mul(4) })?;
        }
        require(s.epsilon.is_finite() && s.epsilon >= 0.0, "its epsilon is not usable")
    }
}

#[inline(never)]
fn check_reduce(s: &Reduce, x: &Elements, y: &Elements) -> Rule {
    sized(x, &[s.outer, s.n, s.inner])?;
    sized(y, &[s.outer, s.inner])?;
    use ReduceKind::{Max, Mean, Min, Sum};
    let known = x.dtype == DType::F32 || matches!(s.kind, Mean | Sum | Max | Min);
    require(known, "this reduction works on float32 only")?;
    require(product(&[s.n, widest(x.dtype)]).is_some(), "an accumulator could overflow")?;
    require(s.multiplier.is_finite() && s.multiplier >= 0.0, "a multiplier is not usable")
}
