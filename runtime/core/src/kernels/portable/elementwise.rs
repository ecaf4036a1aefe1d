//! Element-wise steps.

use core::cell::Cell;

use crate::bytes::F32s;
use crate::kernels::portable::SMALL;
use crate::kernels::portable::movement::advance;
use crate::kernels::view::copy;
use crate::kernels::{Operand, Row, RowI8};
use crate::math::{Function, maximum, minimum, pow};
use crate::plan::step::BinaryOp;
use crate::plan::{DType, MAX_RANK};
use crate::quantization::{self, Multiplier, Stored, TargetOf};

/// `f(a[i], b[i])` into `y[i]`; a side of one element is repeated.
#[inline(always)]
fn rows<T: Copy + Default>(a: &Operand<'_, T>, b: &Operand<'_, T>, y: &[Cell<T>], f: impl Fn(T, T) -> T) {
    use Operand::{Constant, Shared};
    let each = |a: &dyn Fn(usize) -> T, b: &dyn Fn(usize) -> T| {
        y.iter().enumerate().for_each(|(index, y)| y.set(f(a(index), b(index))));
    };
    match (a, b) {
        (Shared(a), Shared(b)) if a.len() == y.len() && b.len() == y.len() => {
            let (y_rest, a_rest, b_rest) = several(y, a, b, |a, b| f(a.get(), b.get()));
            y_rest.iter().zip(a_rest).zip(b_rest).for_each(|((y, a), b)| y.set(f(a.get(), b.get())));
        }
        (Shared(a), Constant(b)) if a.len() == y.len() && b.len() == y.len() => {
            let (y_rest, a_rest, b_rest) = several(y, a, b, |a, &b| f(a.get(), b));
            y_rest.iter().zip(a_rest).zip(b_rest).for_each(|((y, a), &b)| y.set(f(a.get(), b)));
        }
        (Shared(a), b) if a.len() == y.len() && b.len() == 1 => {
            let b = b.get(0);
            let (y_rest, a_rest, _) = several(y, a, a, |a, _| f(a.get(), b));
            y_rest.iter().zip(a_rest).for_each(|(y, a)| y.set(f(a.get(), b)));
        }
        (a, Shared(b)) if b.len() == y.len() && a.len() == 1 => {
            let a = a.get(0);
            y.iter().zip(*b).for_each(|(y, b)| y.set(f(a, b.get())));
        }
        _ => {
            let at = |side: &Operand<'_, T>, index: usize| side.get(if side.len() == 1 { 0 } else { index });
            each(&|index| at(a, index), &|index| at(b, index));
        }
    }
}

/// `f(a[i], b[i])` into `y[i]`, several at once: all are read before one is written, as `a` or `b` may be `y`. Gives what
/// is left at the ends.
#[inline(always)]
fn several<'s, T: Copy + Default, A, B>(
    y: &'s [Cell<T>],
    a: &'s [A],
    b: &'s [B],
    f: impl Fn(&A, &B) -> T,
) -> (&'s [Cell<T>], &'s [A], &'s [B]) {
    const LANES: usize = 16;
    if SMALL {
        return (y, a, b);
    }
    let ((y, y_rest), (a, a_rest), (b, b_rest)) =
        (y.as_chunks::<LANES>(), a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for ((y, a), b) in y.iter().zip(a).zip(b) {
        let mut results = [T::default(); LANES];
        results.iter_mut().zip(a).zip(b).for_each(|((result, a), b)| *result = f(a, b));
        y.iter().zip(results).for_each(|(y, result)| y.set(result));
    }
    (y_rest, a_rest, b_rest)
}

/// `stored - zero_point`, which f32 holds exactly.
#[inline(always)]
fn levels<E: Stored>(stored: E, zero_point: i32) -> f32 {
    let stored: i32 = stored.into();
    (stored - zero_point) as f32
}

#[inline(always)]
fn real<E: Stored>(row: &Row<'_, E>, f: impl Fn(f32, f32) -> f32) {
    let ([za, zb], [ma, mb]) = (row.zero_points, row.multipliers);
    rows(&row.a, &row.b, row.y, |a, b| row.target.store(f(levels(a, za) * ma, levels(b, zb) * mb)));
}

/// See [`BinaryOp::Add`].
#[inline(always)]
pub(crate) fn add_i8(row: &RowI8<'_>) {
    real(row, |a, b| a + b);
}

/// See [`BinaryOp::Mul`].
#[inline(always)]
pub(crate) fn mul_i8(row: &RowI8<'_>) {
    let [za, zb] = row.zero_points;
    let multiplier = Multiplier::new(row.multipliers[0]);
    rows(&row.a, &row.b, row.y, |a, b| row.target.requantize((i32::from(a) - za) * (i32::from(b) - zb), multiplier));
}

/// One int8 row of any operation.
pub fn binary_i8(op: BinaryOp, row: &RowI8<'_>) {
    match op {
        BinaryOp::Mul => mul_i8(row),
        op => binary(op, row),
    }
}

/// One int16 row of any operation.
#[inline(always)]
pub(crate) fn binary_i16(op: BinaryOp, row: &Row<'_, i16>) {
    binary(op, row);
}

/// One row of any operation. A product of two levels in f32 is their exact product rounded once.
#[inline(always)]
fn binary<E: Stored>(op: BinaryOp, row: &Row<'_, E>) {
    let ([za, zb], [ma, mb]) = (row.zero_points, row.multipliers);
    match op {
        BinaryOp::Add => real(row, |a, b| a + b),
        BinaryOp::Mul => {
            rows(&row.a, &row.b, row.y, |a, b| row.target.store(levels(a, za) * levels(b, zb) * ma));
        }
        BinaryOp::Sub => real(row, |a, b| a - b),
        BinaryOp::Max => real(row, maximum),
        BinaryOp::Min => real(row, minimum),
        BinaryOp::Div => real(row, |a, b| a / b),
        BinaryOp::Pow => real(row, pow),
        BinaryOp::PRelu => {
            rows(&row.a, &row.b, row.y, |a, b| {
                let a = levels(a, za);
                row.target.store(if a >= 0.0 { a * ma } else { a * levels(b, zb) * mb })
            });
        }
    }
}

/// One float32 row of any operation.
pub fn binary_f32(op: BinaryOp, a: &Operand<'_, f32>, b: &Operand<'_, f32>, y: &[Cell<f32>]) {
    match op {
        BinaryOp::Add => rows(a, b, y, |a, b| a + b),
        BinaryOp::Sub => rows(a, b, y, |a, b| a - b),
        BinaryOp::Mul => rows(a, b, y, |a, b| a * b),
        BinaryOp::PRelu => rows(a, b, y, |a, b| if a < 0.0 { a * b } else { a }),
        BinaryOp::Div => rows(a, b, y, |a, b| a / b),
        BinaryOp::Max => rows(a, b, y, maximum),
        BinaryOp::Min => rows(a, b, y, minimum),
        BinaryOp::Pow => rows(a, b, y, pow),
    }
}

/// See [`crate::plan::step::Table`].
#[inline(always)]
pub(crate) fn table(x: &[Cell<i8>], y: &[Cell<i8>], table: &[u8; 256]) {
    for (x, y) in x.iter().zip(y) {
        y.set(table[usize::from(x.get().cast_unsigned() ^ 0x80)].cast_signed());
    }
}

/// [`crate::plan::step::Table`] with float32 results.
pub fn table_f32(x: &[i8], y: &mut [f32], table: F32s<'_>) {
    for (x, y) in x.iter().zip(y) {
        *y = table.get(usize::from(x.cast_unsigned() ^ 0x80));
    }
}

/// [`crate::plan::step::Table`] with int16 results, of which the table has 256.
pub fn table_i16(x: &[i8], y: &mut [i16], table: &[u8]) {
    let table = table.as_chunks::<2>().0;
    for (x, y) in x.iter().zip(y) {
        *y = table.get(usize::from(x.cast_unsigned() ^ 0x80)).map_or(0, |entry| i16::from_le_bytes(*entry));
    }
}

/// See [`crate::plan::step::Unary`]: small, for flash memory.
pub(crate) fn unary(x: &[Cell<f32>], y: &[Cell<f32>], function: Function, alpha: f32, beta: f32) {
    match function {
        Function::Clip => apply(x, y, |x| Function::Clip.apply(x, alpha, beta)),
        _ => x.iter().zip(y).for_each(|(x, y)| y.set(function.apply_any(x.get(), alpha, beta))),
    }
}

/// [`unary`] for cores with vectors of f64, the same bits.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
pub(crate) fn unary_vectorised(x: &[Cell<f32>], y: &[Cell<f32>], function: Function, alpha: f32, beta: f32) {
    // Those that are worth a loop of their own: the compiler sees which one it is.
    macro_rules! each {
        ($($name:ident),*) => {
            match function {
                $(Function::$name => apply(x, y, |x| Function::$name.apply(x, alpha, beta)),)*
                _ => unary(x, y, function, alpha, beta),
            }
        };
    }
    each!(
        Clip,
        HardSigmoid,
        HardSwish,
        LeakyRelu,
        Gelu,
        GeluTanh,
        Erf,
        Abs,
        Neg,
        Sqrt,
        Sigmoid,
        Swish,
        Tanh,
        Exp,
        Elu,
        AddConstant,
        MulConstant
    );
}

/// `f(x)` into `y`, several at once: all are read before one is written, as `x` may be `y`.
#[inline(always)]
fn apply(x: &[Cell<f32>], y: &[Cell<f32>], f: impl Fn(f32) -> f32) {
    const LANES: usize = 16;
    let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (x, y) in x.iter().zip(y) {
        let mut values = [0.0; LANES];
        values.iter_mut().zip(x).for_each(|(value, x)| *value = f(x.get()));
        y.iter().zip(values).for_each(|(y, value)| y.set(value));
    }
    x_rest.iter().zip(y_rest).for_each(|(x, y)| y.set(f(x.get())));
}

/// See [`crate::plan::step::Quantize`].
#[inline(always)]
pub(crate) fn quantize<E: Stored>(x: &[f32], scale: f32, y: &mut [E], target: TargetOf<E>) {
    for (x, y) in x.iter().zip(y) {
        *y = target.store(if x.is_nan() { 0.0 } else { x / scale });
    }
}

/// The least and the greatest of `x` and 0; what is no number is left out.
#[inline(always)]
pub(crate) fn extent(x: &[f32]) -> [f32; 2] {
    [-greatest(x, |x| -x), greatest(x, |x| x)]
}

/// The greatest of `f(x)` and 0.
#[inline(always)]
fn greatest(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    const LANES: usize = 32;
    let larger = |most: &mut f32, x: f32| *most = if x > *most { x } else { *most };
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(most, x)| larger(most, f(*x)));
    }
    let mut most = 0.0;
    rest.iter().for_each(|x| larger(&mut most, f(*x)));
    lanes.into_iter().for_each(|x| larger(&mut most, x));
    most
}

/// See [`crate::plan::step::Dequantize`].
#[inline(always)]
pub(crate) fn dequantize<E: Stored>(x: &[E], scale: f32, zero_point: i32, y: &mut [f32]) {
    for (x, y) in x.iter().zip(y) {
        *y = quantization::dequantize(*x, scale, zero_point);
    }
}

/// See [`crate::plan::step::Requantize`].
#[inline(always)]
pub(crate) fn requantize<E: Stored>(x: &[i16], zero_point: i32, multiplier: f32, y: &mut [E], target: TargetOf<E>) {
    let multiplier = Multiplier::new(multiplier);
    for (x, y) in x.iter().zip(y) {
        *y = target.requantize(i32::from(*x) - zero_point, multiplier);
    }
}

/// A number on its way from one type to another.
enum Number {
    Whole(i64),
    Real(f32),
}

/// See [`crate::plan::step::Cast`]; the slices hold as many elements of their types.
pub fn cast(x: &[u8], from: DType, y: &mut [u8], to: DType) {
    if let (DType::I64, DType::F32, false) = (from, to, SMALL) {
        // Masks of transformers: a loop of its own is worth it.
        let (x, y) = (x.as_chunks::<8>().0, y.as_chunks_mut::<4>().0);
        x.iter().zip(y).for_each(|(x, y)| *y = (i64::from_le_bytes(*x) as f32).to_le_bytes());
        return;
    }
    for (x, y) in x.chunks_exact(from.bytes().max(1)).zip(y.chunks_exact_mut(to.bytes().max(1))) {
        let mut word = [0; 8];
        word.iter_mut().zip(x).for_each(|(to, from)| *to = *from);
        let low = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        let number = match from {
            DType::I8 => Number::Whole(i64::from(word[0].cast_signed())),
            DType::I16 => Number::Whole(i64::from(low as i16)),
            DType::U8 | DType::Bool => Number::Whole(i64::from(word[0])),
            DType::I32 => Number::Whole(i64::from(low.cast_signed())),
            DType::I64 => Number::Whole(i64::from_le_bytes(word)),
            DType::F32 => Number::Real(f32::from_bits(low)),
            // The verifier lets no other type come here.
            _ => Number::Whole(0),
        };
        let whole = match number {
            Number::Whole(value) => value,
            Number::Real(value) => value as i64,
        };
        let truth = match number {
            Number::Whole(value) => value != 0,
            Number::Real(value) => value != 0.0,
        };
        let real = match number {
            Number::Whole(value) => value as f32,
            Number::Real(value) => value,
        };
        match to {
            DType::I8 => copy(y, &[(whole as i8).cast_unsigned()]),
            DType::U8 => copy(y, &[whole as u8]),
            DType::I16 => copy(y, &(whole as i16).to_le_bytes()),
            DType::Bool => copy(y, &[u8::from(truth)]),
            DType::I32 => {
                let value = match number {
                    Number::Whole(value) => value as i32,
                    Number::Real(value) => value as i32,
                };
                copy(y, &value.to_le_bytes());
            }
            DType::I64 => copy(y, &whole.to_le_bytes()),
            DType::F32 => copy(y, &real.to_le_bytes()),
            _ => {}
        }
    }
}

/// Walks the rows of a broadcast operation: calls `row(place of y, place of a, place of b)` for each
/// run along the last dimension.
pub(crate) fn for_each_row(
    dims: &[u32; MAX_RANK],
    a_strides: &[u32; MAX_RANK],
    b_strides: &[u32; MAX_RANK],
    mut row: impl FnMut(usize, usize, usize),
) {
    let [dims @ .., length] = dims;
    let strides = [a_strides, b_strides].map(|[strides @ .., _]| strides.map(|stride| stride as usize));
    let (mut index, mut y, mut places) = ([0; MAX_RANK - 1], 0, [0; 2]);
    loop {
        row(y, places[0], places[1]);
        y += *length as usize;
        if !advance(&mut index, dims, &mut places, &strides) {
            return;
        }
    }
}
