//! Tensors on their way between the caller's order and the arena's.

use crate::error::Error;
use crate::kernels::view;
use crate::plan::{DType, MAX_RANK, Port, Tensor};
use crate::quantization::{Target, dequantize};

/// Calls `visit(place in memory, place in the ONNX order)` for every element.
fn pairs(port: &Port, mut visit: impl FnMut(usize, usize)) {
    let len = port.len();
    if port.in_order() {
        (0..len).for_each(|index| visit(index, index));
        return;
    }
    let rank = port.dims().len();
    let mut strides = [0_usize; MAX_RANK];
    let mut stride = 1;
    for axis in (0..rank).rev() {
        strides[axis] = stride;
        stride *= port.shape[axis] as usize;
    }
    let mut index = [0_u32; MAX_RANK];
    let mut place = 0;
    for memory in 0..len {
        visit(memory, place);
        for axis in port.order[..rank].iter().rev().map(|&axis| axis as usize) {
            index[axis] += 1;
            place += strides[axis];
            if index[axis] < port.shape[axis] {
                break;
            }
            place -= strides[axis] * index[axis] as usize;
            index[axis] = 0;
        }
    }
}

fn counted(expected: usize, given: usize) -> Result<(), Error> {
    if expected == given { Ok(()) } else { Err(Error::ElementCount { expected, given }) }
}

pub(super) fn write_f32(port: &Port, tensor: &Tensor, bytes: &mut [u8], values: &[f32]) -> Result<(), Error> {
    counted(port.len(), values.len())?;
    if port.dtype != DType::F32 {
        return Err(Error::ElementType { expected: port.dtype });
    }
    if tensor.dtype == DType::I8 {
        let target = Target::new(tensor.zero_point, -128, 127);
        let bytes = view::i8s_mut(bytes);
        pairs(port, |memory, place| {
            let value = values[place];
            bytes[memory] = target.store(if value.is_nan() { 0.0 } else { value / tensor.scale });
        });
    } else {
        let bytes = view::f32s_mut(bytes);
        counted(values.len(), bytes.len())?;
        pairs(port, |memory, place| bytes[memory] = values[place]);
    }
    Ok(())
}

pub(super) fn write_bytes(port: &Port, tensor: &Tensor, bytes: &mut [u8], values: &[u8]) -> Result<(), Error> {
    let size = port.dtype.bytes();
    counted(port.len() * size, values.len())?;
    if port.dtype == DType::F32 && tensor.dtype == DType::I8 {
        let target = Target::new(tensor.zero_point, -128, 127);
        let values = crate::bytes::F32s::new(values);
        pairs(port, |memory, place| {
            let value = values.get(place);
            bytes[memory] = target.store(if value.is_nan() { 0.0 } else { value / tensor.scale }).cast_unsigned();
        });
        return Ok(());
    }
    let shift = if port.dtype == DType::U8 && tensor.dtype == DType::I8 { 0x80 } else { 0 };
    counted(values.len(), bytes.len())?;
    pairs(port, |memory, place| {
        let (to, from) = (&mut bytes[memory * size..][..size], &values[place * size..][..size]);
        to.iter_mut().zip(from).for_each(|(to, from)| *to = from ^ shift);
    });
    Ok(())
}

pub(super) fn read_f32(port: &Port, tensor: &Tensor, bytes: &[u8], values: &mut [f32]) -> Result<(), Error> {
    counted(port.len(), values.len())?;
    match (tensor.dtype, port.dtype) {
        (DType::I8, DType::U8) => {
            pairs(port, |memory, place| values[place] = f32::from(bytes[memory] ^ 0x80));
        }
        (DType::I8, DType::F32) => pairs(port, |memory, place| {
            values[place] = dequantize(bytes[memory].cast_signed(), tensor.scale, tensor.zero_point);
        }),
        (dtype, _) => {
            let size = dtype.bytes();
            pairs(port, |memory, place| {
                let mut number = [0; 4];
                crate::kernels::portable::cast(&bytes[memory * size..][..size], dtype, &mut number, DType::F32);
                values[place] = f32::from_le_bytes(number);
            });
        }
    }
    Ok(())
}

pub(super) fn read_bytes(port: &Port, tensor: &Tensor, bytes: &[u8], values: &mut [u8]) -> Result<(), Error> {
    let size = port.dtype.bytes();
    counted(port.len() * size, values.len())?;
    if port.dtype == DType::F32 && tensor.dtype == DType::I8 {
        pairs(port, |memory, place| {
            let value = dequantize(bytes[memory].cast_signed(), tensor.scale, tensor.zero_point);
            values[place * 4..][..4].copy_from_slice(&value.to_le_bytes());
        });
        return Ok(());
    }
    let shift = if port.dtype == DType::U8 && tensor.dtype == DType::I8 { 0x80 } else { 0 };
    counted(values.len(), bytes.len())?;
    pairs(port, |memory, place| {
        let (to, from) = (&mut values[place * size..][..size], &bytes[memory * size..][..size]);
        to.iter_mut().zip(from).for_each(|(to, from)| *to = from ^ shift);
    });
    Ok(())
}
