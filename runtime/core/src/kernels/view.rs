//! Bytes seen as numbers in place, and parts of slices.
//!
//! The verifier has proven that a step's parts are inside. Where the compiler does not know it, an empty part stands in
//! the place of a panic: firmware has no code that leads to one.

use core::cell::Cell;

/// The `len` elements from `start` on; none when not all are inside.
#[must_use]
#[inline(always)]
pub(crate) fn part<T>(elements: &[T], start: usize, len: usize) -> &[T] {
    elements.get(start..).and_then(|behind| behind.get(..len)).unwrap_or_default()
}

/// [`part`], to write.
#[must_use]
#[inline(always)]
pub(crate) fn part_mut<T>(elements: &mut [T], start: usize, len: usize) -> &mut [T] {
    elements.get_mut(start..).and_then(|behind| behind.get_mut(..len)).unwrap_or_default()
}

/// The `N` elements from `start` on.
#[must_use]
#[inline(always)]
pub(crate) fn chunk<const N: usize, T>(elements: &[T], start: usize) -> Option<&[T; N]> {
    elements.get(start..)?.first_chunk()
}

/// Copies as many elements as both sides have.
#[inline(always)]
pub(crate) fn copy<T: Copy>(to: &mut [T], from: &[T]) {
    let len = to.len().min(from.len());
    if let (Some(to), Some(from)) = (to.get_mut(..len), from.get(..len)) {
        to.copy_from_slice(from);
    }
}

/// Sets the elements of a range, as far as they are inside.
#[inline(always)]
pub(crate) fn fill<T: Copy>(elements: &mut [T], range: core::ops::Range<usize>, value: T) {
    if let Some(part) = elements.get_mut(range) {
        part.fill(value);
    }
}

/// Bytes as int8.
#[must_use]
pub fn i8s(bytes: &[u8]) -> &[i8] {
    // SAFETY: u8 and i8 have the same size and alignment, and every bit pattern is valid for both.
    unsafe { core::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
}

/// Bytes as int8, to write.
#[must_use]
pub fn i8s_mut(bytes: &mut [u8]) -> &mut [i8] {
    // SAFETY: as in `i8s`; the exclusive borrow passes on.
    unsafe { core::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len()) }
}

/// Bytes as f32, without a remainder; empty when they are not aligned.
#[must_use]
pub fn f32s(bytes: &[u8]) -> &[f32] {
    // SAFETY: every bit pattern is a valid f32; align_to keeps to alignment and length.
    let (before, values, _) = unsafe { bytes.align_to::<f32>() };
    if before.is_empty() { values } else { &[] }
}

/// Bytes as f32, to write, without a remainder; empty when they are not aligned.
#[must_use]
pub fn f32s_mut(bytes: &mut [u8]) -> &mut [f32] {
    // SAFETY: every bit pattern is valid for f32 and for u8; align_to_mut keeps to alignment and length.
    let (before, values, _) = unsafe { bytes.align_to_mut::<f32>() };
    if before.is_empty() { values } else { &mut [] }
}

/// Bytes as int16, without a remainder; empty when they are not aligned.
#[must_use]
pub fn i16s(bytes: &[u8]) -> &[i16] {
    // SAFETY: every bit pattern is a valid i16; align_to keeps to alignment and length.
    let (before, values, _) = unsafe { bytes.align_to::<i16>() };
    if before.is_empty() { values } else { &[] }
}

/// Bytes as int16, to write, without a remainder; empty when they are not aligned.
#[must_use]
pub fn i16s_mut(bytes: &mut [u8]) -> &mut [i16] {
    // SAFETY: every bit pattern is valid for i16 and for u8; align_to_mut keeps to alignment and length.
    let (before, values, _) = unsafe { bytes.align_to_mut::<i16>() };
    if before.is_empty() { values } else { &mut [] }
}

/// The int16 that lie whole inside bytes at any address, to write.
#[must_use]
pub(crate) fn i16s_inside(bytes: &mut [u8]) -> &mut [i16] {
    // SAFETY: as in `i16s_mut`.
    unsafe { bytes.align_to_mut::<i16>().1 }
}

/// The f32 that lie whole inside bytes at any address, to write.
#[must_use]
pub(crate) fn f32s_inside(bytes: &mut [u8]) -> &mut [f32] {
    // SAFETY: as in `f32s_mut`.
    unsafe { bytes.align_to_mut::<f32>().1 }
}

/// Shared writable bytes as int16, without a remainder; empty when they are not aligned.
#[must_use]
pub fn i16_cells(bytes: &[Cell<u8>]) -> &[Cell<i16>] {
    // SAFETY: Cell<i16> has the layout of i16, for which every bit pattern is valid.
    let (before, values, _) = unsafe { bytes.align_to::<Cell<i16>>() };
    if before.is_empty() { values } else { &[] }
}

/// Shared writable bytes as int8.
#[must_use]
pub fn i8_cells(bytes: &[Cell<u8>]) -> &[Cell<i8>] {
    // SAFETY: Cell<u8> and Cell<i8> have the same layout, and every bit pattern is valid for both.
    unsafe { core::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
}

/// Shared writable bytes as f32, without a remainder; empty when they are not aligned.
#[must_use]
pub fn f32_cells(bytes: &[Cell<u8>]) -> &[Cell<f32>] {
    // SAFETY: Cell<f32> has the layout of f32, for which every bit pattern is valid.
    let (before, values, _) = unsafe { bytes.align_to::<Cell<f32>>() };
    if before.is_empty() { values } else { &[] }
}
