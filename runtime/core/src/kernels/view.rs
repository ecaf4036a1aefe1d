//! Bytes seen as numbers in place.

use core::cell::Cell;

/// Bytes as int8.
#[must_use]
pub fn i8s(bytes: &[u8]) -> &[i8] {
    // Safety: u8 and i8 have the same size and alignment, and every bit pattern is valid for both.
    unsafe { core::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
}

/// Bytes as int8, to write.
#[must_use]
pub fn i8s_mut(bytes: &mut [u8]) -> &mut [i8] {
    // Safety: as in `i8s`; the exclusive borrow passes on.
    unsafe { core::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len()) }
}

/// Bytes as f32, without a remainder; empty when they are not aligned.
#[must_use]
pub fn f32s(bytes: &[u8]) -> &[f32] {
    // Safety: every bit pattern is a valid f32; align_to keeps to alignment and length.
    let (before, values, _) = unsafe { bytes.align_to::<f32>() };
    if before.is_empty() { values } else { &[] }
}

/// Bytes as f32, to write, without a remainder; empty when they are not aligned.
#[must_use]
pub fn f32s_mut(bytes: &mut [u8]) -> &mut [f32] {
    // Safety: every bit pattern is valid for f32 and for u8; align_to_mut keeps to alignment and length.
    let (before, values, _) = unsafe { bytes.align_to_mut::<f32>() };
    if before.is_empty() { values } else { &mut [] }
}

/// Shared writable bytes as int8.
#[must_use]
pub fn i8_cells(bytes: &[Cell<u8>]) -> &[Cell<i8>] {
    // Safety: Cell<u8> and Cell<i8> have the same layout, and every bit pattern is valid for both.
    unsafe { core::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
}

/// Shared writable bytes as f32, without a remainder; empty when they are not aligned.
#[must_use]
pub fn f32_cells(bytes: &[Cell<u8>]) -> &[Cell<f32>] {
    // Safety: Cell<f32> has the layout of f32, for which every bit pattern is valid.
    let (before, values, _) = unsafe { bytes.align_to::<Cell<f32>>() };
    if before.is_empty() { values } else { &[] }
}
