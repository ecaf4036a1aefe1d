//! Comparisons of two tensors.

use core::cmp::Ordering;

use super::movement::advance;
use crate::plan::step::Compare;
use crate::plan::{DType, MAX_RANK};

/// See [`Compare`]; `None` where a side ends before the result, or where elements of `dtype` are not compared.
#[must_use]
pub fn compare(s: &Compare, dtype: DType, a: &[u8], b: &[u8], y: &mut [u8]) -> Option<()> {
    match dtype {
        DType::F32 => rows(s, a, b, y, f32::from_le_bytes),
        DType::I32 => rows(s, a, b, y, i32::from_le_bytes),
        DType::I64 => rows(s, a, b, y, i64::from_le_bytes),
        DType::Bool => rows(s, a, b, y, |[byte]: [u8; 1]| byte != 0),
        _ => None,
    }
}

#[inline(always)]
fn rows<const SIZE: usize, E: PartialOrd>(
    s: &Compare,
    a: &[u8],
    b: &[u8],
    y: &mut [u8],
    read: impl Fn([u8; SIZE]) -> E,
) -> Option<()> {
    let [a, b] = [a, b].map(|bytes| bytes.as_chunks::<SIZE>().0);
    let [dims @ .., length] = s.dims;
    let [a_strides, b_strides] = [s.a_strides, s.b_strides].map(|strides| strides.map(|stride| stride as usize));
    let ([a_strides @ .., a_step], [b_strides @ .., b_step]) = (a_strides, b_strides);
    let (mut index, mut places) = ([0; MAX_RANK - 1], [0; 2]);
    for y in y.chunks_exact_mut((length as usize).max(1)) {
        let [mut at_a, mut at_b] = places;
        for y in y {
            let holds = match read(*a.get(at_a)?).partial_cmp(&read(*b.get(at_b)?)) {
                Some(Ordering::Less) => 1,
                Some(Ordering::Equal) => 2,
                Some(Ordering::Greater) => 4,
                None => 8,
            };
            *y = u8::from(s.comparison as u32 & holds != 0);
            (at_a, at_b) = (at_a + a_step, at_b + b_step);
        }
        advance(&mut index, &dims, &mut places, &[a_strides, b_strides]);
    }
    Some(())
}
