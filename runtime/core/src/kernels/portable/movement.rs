//! Steps that move elements without changing them.

use crate::bytes::{F32s, U32s};
use crate::kernels::view;
use crate::plan::MAX_RANK;
use crate::plan::step::{Copy, Gather, Lookup};

/// Moves an index of `dims` on by one in row-major order, and `places` with it by their strides; false behind the last.
#[inline(always)]
pub(crate) fn advance<const AXES: usize, const PLACES: usize>(
    index: &mut [u32; AXES],
    dims: &[u32; AXES],
    places: &mut [usize; PLACES],
    strides: &[[usize; AXES]; PLACES],
) -> bool {
    for (axis, (index, &dim)) in index.iter_mut().zip(dims).enumerate().rev() {
        *index += 1;
        let steps = if *index < dim { 1 } else { 1_usize.wrapping_sub(*index as usize) };
        for (place, strides) in places.iter_mut().zip(strides) {
            let stride = strides.get(axis).copied().unwrap_or(0);
            *place = place.wrapping_add(stride.wrapping_mul(steps));
        }
        if *index < dim {
            return true;
        }
        *index = 0;
    }
    false
}

/// See [`struct@Copy`]; elements of `size` bytes.
pub fn copy(s: &Copy, x: &[u8], y: &mut [u8], size: usize, table: &[u8]) {
    // Negative strides wrap, as do the sums.
    let [x_strides @ .., x_stride] = s.x_strides.map(|stride| stride as isize as usize);
    let [y_strides @ .., y_stride] = s.y_strides.map(|stride| stride as usize);
    let ([dims @ .., length], strides) = (&s.dims, [x_strides, y_strides]);
    let length = *length as usize;
    let table = <&[u8; 256]>::try_from(table).ok();
    let (mut index, mut places) = ([0; MAX_RANK - 1], [s.x_offset as usize, s.y_offset as usize]);
    loop {
        let [from, to] = places;
        if x_stride == 1 && y_stride == 1 || length == 1 {
            view::copy(view::part_mut(y, to * size, length * size), view::part(x, from * size, length * size));
        } else {
            match size {
                1 => strided::<1>(x, from, x_stride, y, to, y_stride, length),
                2 => strided::<2>(x, from, x_stride, y, to, y_stride, length),
                4 => strided::<4>(x, from, x_stride, y, to, y_stride, length),
                _ => strided::<8>(x, from, x_stride, y, to, y_stride, length),
            }
        }
        if let Some(table) = table {
            for element in 0..length {
                if let Some(slot) = y.get_mut(to + y_stride * element) {
                    *slot = table[usize::from(*slot ^ 0x80)];
                }
            }
        }
        if !advance(&mut index, dims, &mut places, &strides) {
            return;
        }
    }
}

/// One strided run of elements of `SIZE` bytes.
fn strided<const SIZE: usize>(
    x: &[u8],
    mut from: usize,
    x_stride: usize,
    y: &mut [u8],
    mut to: usize,
    y_stride: usize,
    length: usize,
) {
    let (x, y) = (x.as_chunks::<SIZE>().0, y.as_chunks_mut::<SIZE>().0);
    for _ in 0..length {
        if let (Some(from), Some(to)) = (x.get(from), y.get_mut(to)) {
            *to = *from;
        }
        (from, to) = (from.wrapping_add(x_stride), to.wrapping_add(y_stride));
    }
}

/// See [`crate::plan::step::Fill`].
pub fn fill([low, high]: [u32; 2], y: &mut [u8], size: usize) {
    let bytes = (u64::from(high) << 32 | u64::from(low)).to_le_bytes();
    for element in y.chunks_exact_mut(size.max(1)) {
        element.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    }
}

/// [`gather`] of single elements of four bytes.
fn gather_words(n: usize, x: &[u8], indices: U32s<'_>, y: &mut [u8]) {
    let (x, y) = (x.as_chunks::<4>().0, y.as_chunks_mut::<4>().0);
    for (x, out) in x.chunks_exact(n.max(1)).zip(y.chunks_exact_mut(indices.len().max(1))) {
        for (index, out) in indices.iter().zip(out) {
            if let Some(element) = x.get(index as usize) {
                *out = *element;
            }
        }
    }
}

/// See [`Gather`]; elements of `size` bytes.
pub fn gather(s: &Gather, x: &[u8], indices: U32s<'_>, y: &mut [u8], size: usize) {
    let inner = (s.inner as usize * size).max(1);
    if inner == 4 {
        return gather_words(s.n as usize, x, indices, y);
    }
    let plane = s.n as usize * inner;
    for (outer, out) in y.chunks_exact_mut((indices.len() * inner).max(1)).enumerate() {
        for (index, out) in indices.iter().zip(out.chunks_exact_mut(inner)) {
            view::copy(out, view::part(x, outer * plane + index as usize * inner, inner));
        }
    }
}

/// See [`Lookup`]: elements of `size` bytes; `index` gives each index as it is stored. False where one lies outside the
/// axis.
pub fn lookup(s: &Lookup, x: &[u8], index: impl Iterator<Item = i64> + Clone, y: &mut [u8], size: usize) -> bool {
    let inner = (s.inner as usize * size).max(1);
    let plane = s.n as usize * inner;
    let places = index.map(|index| row_of(index, s.n));
    if places.clone().any(|place| place.is_none()) {
        return false;
    }
    let count = places.clone().count();
    for (outer, out) in y.chunks_exact_mut((count * inner).max(1)).enumerate() {
        for (place, out) in places.clone().flatten().zip(out.chunks_exact_mut(inner)) {
            view::copy(out, view::part(x, outer * plane + place * inner, inner));
        }
    }
    true
}

/// [`lookup`] of constant int8 rows with a scale each.
pub fn lookup_scaled(s: &Lookup, x: &[i8], scales: F32s<'_>, index: impl Iterator<Item = i64>, y: &mut [f32]) -> bool {
    let inner = (s.inner as usize).max(1);
    for (index, out) in index.zip(y.chunks_exact_mut(inner)) {
        let Some(place) = row_of(index, s.n) else { return false };
        let scale = scales.get(place);
        let row = view::part(x, place * inner, inner);
        out.iter_mut().zip(row).for_each(|(to, level)| *to = f32::from(*level) * scale);
    }
    true
}

/// The row that an index names; negative ones count from the end.
fn row_of(index: i64, n: u32) -> Option<usize> {
    let counted = if index < 0 { index + i64::from(n) } else { index };
    (0..i64::from(n)).contains(&counted).then_some(counted as usize)
}

/// One row of a [`Select`](crate::plan::step::Select): sides, where the row starts in them, and their strides.
pub struct SelectRow<'a> {
    /// Bools.
    pub condition: &'a [u8],
    /// Elements taken where the condition holds.
    pub a: &'a [u8],
    /// Elements taken elsewhere.
    pub b: &'a [u8],
    /// First element of condition, `a` and `b`.
    pub places: [usize; 3],
    /// Elements from one to the next.
    pub steps: [usize; 3],
}

/// Fills a row of elements of `size` bytes; `None` where a side ends before it.
pub fn select(row: &SelectRow<'_>, y: &mut [u8], size: usize) -> Option<()> {
    let [mut condition, mut a, mut b] = row.places;
    let [condition_step, a_step, b_step] = row.steps;
    for y in y.chunks_exact_mut(size.max(1)) {
        let (side, place) = if *row.condition.get(condition)? != 0 { (row.a, a) } else { (row.b, b) };
        view::copy(y, side.get(place.checked_mul(size)?..)?.get(..size)?);
        (condition, a, b) = (condition + condition_step, a + a_step, b + b_step);
    }
    Some(())
}
