//! Softmax.

use crate::bytes::U32s;
use crate::kernels::ReduceI8Args;
use crate::math::{exp, ln, maximum};
use crate::plan::step::Softmax;

/// See [`Softmax`]; `table` holds 256 u32, `inverse_scale` is `1/sy`.
#[inline(always)]
pub(crate) fn softmax_i8(args: ReduceI8Args<'_, Softmax>, table: &[u8], inverse_scale: f32) {
    let s = args.step;
    let (n, inner) = (s.n as usize, s.inner as usize);
    let table = U32s::new(table);
    for place in 0..s.outer as usize * inner {
        let start = place / inner * n * inner + place % inner;
        let elements = |index: usize| start + index * inner;
        let greatest = (0..n).map(|index| args.x[elements(index)]).max().unwrap_or(i8::MIN);
        let weight = |index: usize| table.get((i32::from(greatest) - i32::from(args.x[elements(index)])) as usize);
        let total: u64 = (0..n).map(|index| u64::from(weight(index))).sum();
        let multiplier = inverse_scale / total as f32;
        for index in 0..n {
            args.y[elements(index)] = args.target.store(weight(index) as f32 * multiplier);
        }
    }
}

/// [`Softmax`] of float32, or its logarithm.
pub fn softmax_f32(s: &Softmax, x: &[f32], y: &mut [f32]) {
    let (n, inner) = (s.n as usize, s.inner as usize);
    for place in 0..s.outer as usize * inner {
        let start = place / inner * n * inner + place % inner;
        let elements = |index: usize| start + index * inner;
        let greatest = (0..n).map(|index| x[elements(index)]).fold(f32::NEG_INFINITY, maximum);
        let mut total = 0.0_f64;
        for index in 0..n {
            let value = exp(x[elements(index)] - greatest);
            y[elements(index)] = value;
            total += f64::from(value);
        }
        for index in 0..n {
            let place = elements(index);
            y[place] = if s.log == 1 { x[place] - greatest - ln(total as f32) } else { y[place] / total as f32 };
        }
    }
}
