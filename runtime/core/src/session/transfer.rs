//! Tensors on their way between the caller's order and the arena's.

use core::array;

use crate::error::Error;
use crate::kernels::portable::movement::advance;
use crate::kernels::view;
use crate::plan::{DType, MAX_RANK, Port, Tensor};
use crate::quantization::{Target, dequantize, quantize};

/// Calls `visit(element in memory, its place in the ONNX order)` for all elements of `memory`.
fn pairs<T>(port: &Port, memory: impl Iterator<Item = T>, mut visit: impl FnMut(T, usize)) {
    if port.in_order() {
        memory.enumerate().for_each(|(place, element)| visit(element, place));
        return;
    }
    let rank = port.dims().len();
    let mut strides = [0_usize; MAX_RANK];
    let mut stride = 1;
    for (slot, &dim) in strides.iter_mut().zip(port.dims()).rev() {
        *slot = stride;
        stride *= dim as usize;
    }
    // As the axes follow each other in memory.
    let axis = |place: usize| port.order.get(place).filter(|_| place < rank).map(|&axis| axis as usize);
    let mut dims: [u32; MAX_RANK] =
        array::from_fn(|place| axis(place).map_or(1, |axis| *port.shape.get(axis).unwrap_or(&1)));
    let strides: [usize; MAX_RANK] =
        array::from_fn(|place| axis(place).map_or(0, |axis| *strides.get(axis).unwrap_or(&0)));
    // Along the last axis one step after the other, along the others row by row.
    let last = rank.saturating_sub(1);
    let length = dims.get_mut(last).map_or(1, |dim| core::mem::replace(dim, 1));
    let step = strides.get(last).copied().unwrap_or(0);
    let (mut index, mut place, mut left) = ([0; MAX_RANK], [0], 0);
    let mut at = 0;
    for element in memory {
        if left == 0 {
            (at, left) = (place[0], length);
            advance(&mut index, &dims, &mut place, &[strides]);
        }
        visit(element, at);
        at += step;
        left -= 1;
    }
}

fn counted(expected: usize, given: usize) -> Result<(), Error> {
    if expected == given { Ok(()) } else { Err(Error::ElementCount { expected, given }) }
}

/// What turns int8 into uint8 and back.
fn shift(port: &Port, tensor: &Tensor) -> u8 {
    if port.dtype == DType::U8 && tensor.dtype == DType::I8 { 0x80 } else { 0 }
}

/// A kernel that makes int8 of real numbers; see [`crate::kernels::Kernels::quantize`].
pub(super) type Quantize = fn(&[f32], f32, &mut [i8], Target);

/// Whether there is a system: without one, size counts more.
const HAS_SYSTEM: bool = cfg!(not(target_os = "none"));

/// Real numbers of each channel that are made int8 together.
const TOGETHER: usize = 128;

/// Channels of a picture.
const COLOURS: usize = 3;

/// How often memory has the channels of a position one after the other, how many positions and channels those are: where
/// memory has the ONNX order but for the second axis, which comes last, or just that order, with one channel.
fn channels_last(port: &Port) -> Option<[usize; 3]> {
    let count = |dims: &[u32]| dims.iter().map(|&dim| dim as usize).product();
    let dims = port.dims();
    if port.in_order() {
        return Some([1, count(dims), 1]);
    }
    let [first, channels, positions @ ..] = dims else { return None };
    let order = port.order.get(..dims.len())?;
    let expected = core::iter::once(0).chain(2..dims.len()).chain([1]);
    let is_last = order.iter().map(|&axis| axis as usize).eq(expected);
    is_last.then_some([*first as usize, count(positions), *channels as usize])
}

/// Writes an input of real numbers as int8. Whether memory has an order that this takes.
fn write_levels(quantize: Quantize, port: &Port, tensor: &Tensor, bytes: &mut [u8], values: &[f32]) -> bool {
    let Some([images, positions, channels]) = channels_last(port).filter(|_| HAS_SYSTEM) else { return false };
    let target = Target::whole(tensor.zero_point);
    let to = view::part_mut(view::i8s_mut(bytes), 0, images * positions * channels);
    if channels == 1 {
        quantize(values, tensor.scale, to, target);
        return true;
    }
    let mut levels = [[0; TOGETHER]; COLOURS];
    for (image, to) in to.chunks_exact_mut((positions * channels).max(1)).enumerate() {
        for (part, to) in to.chunks_mut(TOGETHER * channels.max(1)).enumerate() {
            let count = to.len() / channels.max(1);
            for channel in 0..channels {
                let place = (image * channels + channel) * positions + part * TOGETHER;
                let Some(levels) = levels.get_mut(channel % COLOURS) else { continue };
                let levels = view::part_mut(levels, 0, count);
                quantize(view::part(values, place, count), tensor.scale, levels, target);
                if channels == COLOURS {
                    continue;
                }
                for (to, level) in to.iter_mut().skip(channel).step_by(channels).zip(levels) {
                    *to = *level;
                }
            }
            if channels == COLOURS {
                // One store for all of them, in place of one for each.
                let [red, green, blue] = &levels;
                for (((to, red), green), blue) in to.as_chunks_mut().0.iter_mut().zip(red).zip(green).zip(blue) {
                    *to = [*red, *green, *blue];
                }
            }
        }
    }
    true
}

pub(super) fn write_f32(
    port: &Port,
    tensor: &Tensor,
    bytes: &mut [u8],
    values: &[f32],
    quantizer: Option<Quantize>,
) -> Result<(), Error> {
    counted(port.len(), values.len())?;
    if port.dtype != DType::F32 {
        return Err(Error::ElementType { expected: port.dtype });
    }
    let value = |place: usize| values.get(place).copied().unwrap_or_default();
    if tensor.dtype == DType::I8 {
        if quantizer.is_some_and(|quantizer| write_levels(quantizer, port, tensor, bytes, values)) {
            return Ok(());
        }
        let stored = |value| quantize::<i8>(value, tensor.scale, tensor.zero_point);
        pairs(port, view::i8s_mut(bytes).iter_mut(), |to, place| *to = stored(value(place)));
    } else if tensor.dtype == DType::I16 {
        let stored = |value| quantize::<i16>(value, tensor.scale, tensor.zero_point);
        pairs(port, view::i16s_mut(bytes).iter_mut(), |to, place| *to = stored(value(place)));
    } else {
        let numbers = view::f32s_mut(bytes);
        counted(values.len(), numbers.len())?;
        pairs(port, numbers.iter_mut(), |to, place| *to = value(place));
    }
    Ok(())
}

pub(super) fn write_bytes(
    port: &Port,
    tensor: &Tensor,
    bytes: &mut [u8],
    values: &[u8],
    quantizer: Option<Quantize>,
) -> Result<(), Error> {
    let size = port.dtype.bytes();
    counted(port.len() * size, values.len())?;
    let reals = crate::bytes::F32s::new(values);
    match (port.dtype, tensor.dtype) {
        (DType::F32, DType::I8) => {
            // Where they can be read as they are; nearly always.
            let aligned = if cfg!(target_endian = "little") { view::f32s(values) } else { &[] };
            if aligned.len() == reals.len()
                && quantizer.is_some_and(|quantizer| write_levels(quantizer, port, tensor, bytes, aligned))
            {
                return Ok(());
            }
            let stored = |value| quantize::<i8>(value, tensor.scale, tensor.zero_point);
            pairs(port, view::i8s_mut(bytes).iter_mut(), |to, place| *to = stored(reals.get(place)));
            return Ok(());
        }
        (DType::F32, DType::I16) => {
            let stored = |value| quantize::<i16>(value, tensor.scale, tensor.zero_point);
            pairs(port, view::i16s_mut(bytes).iter_mut(), |to, place| *to = stored(reals.get(place)));
            return Ok(());
        }
        _ => {}
    }
    let shift = shift(port, tensor);
    counted(values.len(), bytes.len())?;
    pairs(port, bytes.chunks_exact_mut(size.max(1)), |to, place| {
        to.iter_mut().zip(view::part(values, place * size, size)).for_each(|(to, from)| *to = from ^ shift);
    });
    Ok(())
}

pub(super) fn read_f32(port: &Port, tensor: &Tensor, bytes: &[u8], values: &mut [f32]) -> Result<(), Error> {
    counted(port.len(), values.len())?;
    if !port.dtype.is_computed() {
        return Err(Error::ElementType { expected: port.dtype });
    }
    let mut keep = |place: usize, value: f32| {
        if let Some(to) = values.get_mut(place) {
            *to = value;
        }
    };
    match (tensor.dtype, port.dtype) {
        (DType::I8, DType::U8) => {
            pairs(port, bytes.iter(), |from, place| keep(place, f32::from(from ^ 0x80)));
        }
        (DType::I8, DType::F32) => pairs(port, bytes.iter(), |from, place| {
            keep(place, dequantize(from.cast_signed(), tensor.scale, tensor.zero_point));
        }),
        (DType::I16, DType::F32) => pairs(port, view::i16s(bytes).iter(), |&from, place| {
            keep(place, dequantize(from, tensor.scale, tensor.zero_point));
        }),
        (DType::F32, _) => pairs(port, view::f32s(bytes).iter(), |&from, place| keep(place, from)),
        (dtype, _) => pairs(port, bytes.chunks_exact(dtype.bytes().max(1)), |from, place| {
            let mut number = [0; 4];
            crate::kernels::portable::cast(from, dtype, &mut number, DType::F32);
            keep(place, f32::from_le_bytes(number));
        }),
    }
    Ok(())
}

pub(super) fn read_bytes(port: &Port, tensor: &Tensor, bytes: &[u8], values: &mut [u8]) -> Result<(), Error> {
    let size = port.dtype.bytes();
    counted(port.len() * size, values.len())?;
    if port.dtype == DType::F32 && matches!(tensor.dtype, DType::I8 | DType::I16) {
        let numbers = values.as_chunks_mut::<4>().0;
        let mut keep = |place: usize, value: f32| {
            if let Some(to) = numbers.get_mut(place) {
                *to = value.to_le_bytes();
            }
        };
        let (scale, zero_point) = (tensor.scale, tensor.zero_point);
        if tensor.dtype == DType::I8 {
            pairs(port, view::i8s(bytes).iter(), |&from, place| keep(place, dequantize(from, scale, zero_point)));
        } else {
            pairs(port, view::i16s(bytes).iter(), |&from, place| keep(place, dequantize(from, scale, zero_point)));
        }
        return Ok(());
    }
    let shift = shift(port, tensor);
    counted(values.len(), bytes.len())?;
    pairs(port, bytes.chunks_exact(size.max(1)), |from, place| {
        view::part_mut(values, place * size, size).iter_mut().zip(from).for_each(|(to, from)| *to = from ^ shift);
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;
    use crate::bytes::Span;
    use crate::plan::TensorId;

    #[test]
    fn channels_last_memory_meets_the_onnx_order() {
        // An image of 2 channels, 2 rows and 3 columns: numpy.arange(12).reshape(1, 2, 2, 3).transpose(0, 2, 3, 1).ravel().
        let expected = [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11];
        let (shape, order) = ([1, 2, 2, 3, 7, 7], [0, 2, 3, 1, 9, 9]);
        let port = Port { tensor: TensorId(0), dtype: DType::I8, rank: 4, shape, order, name: Span::NONE };
        let mut found = Vec::new();
        pairs(&port, 0..12, |memory, place| {
            assert_eq!(memory, found.len());
            found.push(place);
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn levels_are_those_of_single_numbers() {
        let (few, many) = (crate::kernels::Kernels::portable().quantize, crate::kernels::Kernels::best().quantize);
        // Images with channels last, several of them, more positions than are made int8 together; in order; other orders.
        let cases: [([u32; 6], [u32; 6], u32, bool); 5] = [
            ([2, 3, 9, 31, 7, 7], [0, 2, 3, 1, 9, 9], 4, true),
            ([1, 5, 257, 7, 7, 7], [0, 2, 1, 9, 9, 9], 3, true),
            ([1, 3, 8, 20, 7, 7], [0, 1, 2, 3, 9, 9], 4, true),
            ([300, 7, 7, 7, 7, 7], [0, 9, 9, 9, 9, 9], 1, true),
            ([2, 3, 4, 5, 7, 7], [0, 3, 2, 1, 9, 9], 4, false),
        ];
        for (shape, order, rank, takes) in cases {
            let port = Port { tensor: TensorId(0), dtype: DType::F32, rank, shape, order, name: Span::NONE };
            let mut values: Vec<f32> = (0..port.len()).map(|at| (at as f32 * 0.37).sin() * 20.0).collect();
            values[port.len() / 2] = f32::NAN;
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            let (dtype, offset, scale, zero_point, name) = (DType::I8, 0, 0.11, -7, Span::NONE);
            let tensor = Tensor { offset, dtype, rank, shape, scale, zero_point, first: 0, last: 1, name };
            let written = |quantizer| {
                let mut memory = [std::vec![99; port.len()], std::vec![99; port.len()]];
                write_f32(&port, &tensor, &mut memory[0], &values, quantizer).unwrap();
                write_bytes(&port, &tensor, &mut memory[1], &bytes, quantizer).unwrap();
                assert_eq!(memory[0], memory[1]);
                memory[0].clone()
            };
            assert_eq!(channels_last(&port).is_some(), takes);
            let expected = written(None);
            assert_eq!(written(Some(few)), expected, "{shape:?}");
            assert_eq!(written(Some(many)), expected, "{shape:?}");
        }
    }
}
