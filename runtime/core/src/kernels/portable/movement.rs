//! Steps that move elements without changing them.

use crate::bytes::U32s;
use crate::kernels::view;
use crate::plan::MAX_RANK;
use crate::plan::step::{Copy, Gather};

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
