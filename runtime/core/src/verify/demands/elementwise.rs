//! What element-wise steps and conversions demand.

use super::operands::{
    REAL, broadcast, constant, converts, limits, pair, require, same_type, sized, stored, tensor, typed,
};
use super::rules;
use crate::plan::{DType, MAX_RANK};

rules! {
    binary(plan, s: Binary) {
        let (a, y) = pair(plan, s.a, s.y)?;
        same_type(&a, &y, REAL)?;
        sized(&y, &s.dims)?;
        broadcast(&s.dims, &s.a_strides, a.len())?;
        let b_len = match s.b {
            Some(id) => {
                let b = tensor(plan, id)?;
                same_type(&a, &b, REAL)?;
                b.len()
            }
            None => {
                let bytes = s.constant.of(plan.bytes()).ok_or("a constant lies outside the file")?.len();
                bytes / a.dtype.bytes()
            }
        };
        broadcast(&s.dims, &s.b_strides, b_len)?;
        require(s.a_strides[MAX_RANK - 1] <= 1 && s.b_strides[MAX_RANK - 1] <= 1, "its rows are not contiguous")?;
        limits(&y, s.low, s.high)?;
        require(stored(a.dtype).contains(&s.b_zero_point), "a zero point is not usable")?;
        // Far below the greatest float, so that no sum of products is infinite.
        require(s.a_multiplier.abs() <= 1e30 && s.b_multiplier.abs() <= 1e30, "a multiplier is not usable")
    }
    table(plan, s: Table) {
        let (x, y) = pair(plan, s.x, s.y)?;
        typed(&x, DType::I8)?;
        let known = matches!(y.dtype, DType::I8 | DType::U8 | DType::I16 | DType::F32);
        require(known, "its output is neither of bytes nor int16 nor float32")?;
        require(x.len() == y.len(), "input and output differ in size")?;
        constant(plan, s.table, Some(256 * y.dtype.bytes())).map(|_| ())
    }
    unary(plan, s: Unary) {
        let (x, y) = pair(plan, s.x, s.y)?;
        same_type(&x, &y, &[DType::F32])?;
        require(x.len() == y.len(), "input and output differ in size")
    }
    select(plan, s: Select) {
        let (condition, y) = pair(plan, s.condition, s.y)?;
        typed(&condition, DType::Bool)?;
        sized(&y, &s.dims)?;
        broadcast(&s.dims, &s.condition_strides, condition.len())?;
        for (side, span, strides) in [(s.a, s.a_constant, &s.a_strides), (s.b, s.b_constant, &s.b_strides)] {
            let len = match side {
                Some(id) => {
                    let side = tensor(plan, id)?;
                    typed(&side, y.dtype)?;
                    side.len()
                }
                None => span.of(plan.bytes()).ok_or("a constant lies outside the file")?.len() / y.dtype.bytes(),
            };
            broadcast(&s.dims, strides, len)?;
        }
        Ok(())
    }
    compare(plan, s: Compare) {
        let (a, y) = pair(plan, s.a, s.y)?;
        require(matches!(a.dtype, DType::F32 | DType::I32 | DType::I64 | DType::Bool), "it compares another type")?;
        typed(&y, DType::Bool)?;
        sized(&y, &s.dims)?;
        broadcast(&s.dims, &s.a_strides, a.len())?;
        let len = match s.b {
            Some(id) => {
                let b = tensor(plan, id)?;
                typed(&b, a.dtype)?;
                b.len()
            }
            None => s.constant.of(plan.bytes()).ok_or("a constant lies outside the file")?.len() / a.dtype.bytes(),
        };
        broadcast(&s.dims, &s.b_strides, len)
    }
    quantize(plan, s: Quantize) {
        converts(plan, s.x, s.y, &[DType::F32], &[DType::I8, DType::I16])
    }
    dequantize(plan, s: Dequantize) {
        converts(plan, s.x, s.y, &[DType::I8, DType::I16], &[DType::F32])
    }
    requantize(plan, s: Requantize) {
        require(s.multiplier.is_finite() && s.multiplier >= 0.0, "a multiplier is not usable")?;
        converts(plan, s.x, s.y, &[DType::I16], &[DType::I8, DType::I16])
    }
    quantize_dynamic(plan, s: QuantizeDynamic) {
        let parameters = tensor(plan, s.parameters)?;
        typed(&parameters, DType::F32)?;
        require(parameters.len() == 2, "its parameters are not two")?;
        converts(plan, s.x, s.y, &[DType::F32], &[DType::I8])
    }
    cast(plan, s: Cast) {
        let (x, y) = pair(plan, s.x, s.y)?;
        require(
            x.dtype.is_computed() && y.dtype.is_computed(),
            "it converts a type that steps do not compute with",
        )?;
        require(x.len() == y.len(), "input and output differ in size")
    }
}
