//! Steps that move elements without changing them.

use crate::bytes::U32s;
use crate::plan::MAX_RANK;
use crate::plan::step::{Copy, Gather};

/// See [`struct@Copy`]; elements of `size` bytes.
pub fn copy(s: &Copy, x: &[u8], y: &mut [u8], size: usize, table: &[u8]) {
    let last = MAX_RANK - 1;
    let length = s.dims[last] as usize;
    let dense = s.x_strides[last] == 1 && s.y_strides[last] == 1 || length == 1;
    let mut index = [0_u32; MAX_RANK];
    let (mut from, mut to) = (i64::from(s.x_offset), s.y_offset as usize);
    loop {
        if dense {
            let source = &x[from as usize * size..][..length * size];
            y[to * size..][..length * size].copy_from_slice(source);
        } else {
            strided(x, from, i64::from(s.x_strides[last]), y, to, s.y_strides[last] as usize, length, size);
        }
        if table.len() == 256 {
            for element in 0..length {
                let slot = &mut y[to + element * s.y_strides[last] as usize];
                *slot = table[usize::from(*slot ^ 0x80)];
            }
        }
        let mut axis = last;
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            index[axis] += 1;
            from += i64::from(s.x_strides[axis]);
            to += s.y_strides[axis] as usize;
            if index[axis] < s.dims[axis] {
                break;
            }
            from -= i64::from(s.x_strides[axis]) * i64::from(index[axis]);
            to -= s.y_strides[axis] as usize * index[axis] as usize;
            index[axis] = 0;
        }
    }
}

#[allow(clippy::too_many_arguments, reason = "both sides of one strided run")]
fn strided(x: &[u8], from: i64, x_stride: i64, y: &mut [u8], to: usize, y_stride: usize, length: usize, size: usize) {
    for element in 0..length {
        let source = (from + x_stride * element as i64) as usize * size;
        let target = (to + y_stride * element) * size;
        match size {
            1 => y[target] = x[source],
            4 => y[target..][..4].copy_from_slice(&x[source..][..4]),
            _ => y[target..][..size].copy_from_slice(&x[source..][..size]),
        }
    }
}

/// See [`crate::plan::step::Fill`].
pub fn fill(value: [u32; 2], y: &mut [u8], size: usize) {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&value[0].to_le_bytes());
    bytes[4..].copy_from_slice(&value[1].to_le_bytes());
    for element in y.chunks_exact_mut(size) {
        element.copy_from_slice(&bytes[..size]);
    }
}

/// See [`Gather`]; elements of `size` bytes.
pub fn gather(s: &Gather, x: &[u8], indices: U32s<'_>, y: &mut [u8], size: usize) {
    let inner = s.inner as usize * size;
    let plane = s.n as usize * inner;
    for (outer, out) in y.chunks_exact_mut(indices.len().max(1) * inner).enumerate() {
        for (index, out) in indices.iter().zip(out.chunks_exact_mut(inner)) {
            out.copy_from_slice(&x[outer * plane + index as usize * inner..][..inner]);
        }
    }
}
