//! Softmax.

use crate::bytes::U32s;
use crate::kernels::ReduceI8Args;
use crate::math::{exp, ln, maximum};
use crate::plan::step::Softmax;

/// See [`Softmax`]; `table` holds 256 u32, `inverse_scale` is `1/sy`.
#[inline(always)]
pub(crate) fn softmax_i8(args: ReduceI8Args<'_, Softmax>, table: &[u8], inverse_scale: f32) {
    let s = args.step;
    let table = U32s::new(table);
    for_each_line(s, |start, inner| {
        let x = line(args.x, start, inner, s.n);
        let greatest = x.clone().max().copied().unwrap_or(i8::MIN);
        let weight = |x: i8| table.get((i32::from(greatest) - i32::from(x)) as usize);
        let total: u64 = x.clone().map(|&x| u64::from(weight(x))).sum();
        let multiplier = inverse_scale / total as f32;
        for (&x, y) in x.zip(line_mut(args.y, start, inner, s.n)) {
            *y = args.target.store(weight(x) as f32 * multiplier);
        }
    });
}

/// [`Softmax`] of float32, or its logarithm.
pub fn softmax_f32(s: &Softmax, x: &[f32], y: &mut [f32]) {
    for_each_line(s, |start, inner| {
        let x = line(x, start, inner, s.n);
        let greatest = x.clone().copied().fold(f32::NEG_INFINITY, maximum);
        let mut total = 0.0_f64;
        for (x, y) in x.clone().zip(line_mut(y, start, inner, s.n)) {
            *y = exp(x - greatest);
            total += f64::from(*y);
        }
        for (x, y) in x.zip(line_mut(y, start, inner, s.n)) {
            *y = if s.log == 1 { x - greatest - ln(total as f32) } else { *y / total as f32 };
        }
    });
}

/// Calls `visit` with the first element of each line, and the distance from one of its elements to the next.
#[inline(always)]
fn for_each_line(s: &Softmax, mut visit: impl FnMut(usize, usize)) {
    let inner = s.inner.max(1) as usize;
    for outer in 0..s.outer as usize {
        for place in 0..inner {
            visit(outer * s.n as usize * inner + place, inner);
        }
    }
}

/// The `n` elements of a line.
#[inline(always)]
fn line<T>(x: &[T], start: usize, inner: usize, n: u32) -> impl Iterator<Item = &T> + Clone {
    x.get(start..).unwrap_or_default().iter().step_by(inner.max(1)).take(n as usize)
}

/// [`line`], to write.
#[inline(always)]
fn line_mut<T>(y: &mut [T], start: usize, inner: usize, n: u32) -> impl Iterator<Item = &mut T> {
    y.get_mut(start..).unwrap_or_default().iter_mut().step_by(inner.max(1)).take(n as usize)
}
