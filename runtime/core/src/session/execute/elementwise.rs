//! Element-wise steps and conversions.

use core::cell::Cell;

use super::executors::executors;
use super::{PIECE, Place};
use crate::bytes::F32s;
use crate::kernels::portable;
use crate::kernels::view::{f32_cells, f32s, f32s_mut, i8_cells, i8s, i8s_mut, i16_cells, i16s, i16s_mut};
use crate::kernels::{Operand, Row, RowI8};
use crate::plan::MAX_RANK;
use crate::plan::step::BinaryOp;
use crate::quantization::{Target, TargetI16};

executors! {
    binary_i8(context, s: Binary) {
        let refused = context.refused();
        let (a, y) = (context.tensor(s.a)?, context.tensor(s.y)?);
        let b = s.b.map(|id| context.tensor(id)).transpose()?;
        let kernels = context.kernels;
        let constant = context.plan.constant(s.constant);
        let cells = Cell::from_mut(&mut *context.arena).as_slice_of_cells();
        let bytes = |place: &Place| cells.get(place.range.clone()).ok_or(refused);
        let last = MAX_RANK - 1;
        let length = s.dims[last] as usize;
        // A stride of 0 along the last dimension repeats one element.
        let count = |stride: u32| if stride == 0 { 1 } else { length };
        let (a_count, b_count) = (count(s.a_strides[last]), count(s.b_strides[last]));
        let zero_points = [a.zero_point, s.b_zero_point];
        let target = Target::new(y.zero_point, s.low, s.high);
        let a = Operand::Shared(i8_cells(bytes(&a)?));
        let b = match &b {
            Some(b) => Operand::Shared(i8_cells(bytes(b)?)),
            None => Operand::Constant(i8s(constant)),
        };
        let y = i8_cells(bytes(&y)?);
        let kernel = match s.op {
            BinaryOp::Add => Some(kernels.add_i8),
            BinaryOp::Mul => Some(kernels.mul_i8),
            _ => None,
        };
        let mut failed = false;
        portable::for_each_row(&s.dims, &s.a_strides, &s.b_strides, |at, a_at, b_at| {
            match (a.row(a_at, a_count), b.row(b_at, b_count), y.get(at..at + length)) {
                (Some(a), Some(b), Some(y)) => {
                    let multipliers = [s.a_multiplier, s.b_multiplier];
                    let row = RowI8 { a, b, y, zero_points, multipliers, target };
                    match kernel {
                        Some(kernel) => kernel(&row),
                        None => (kernels.binary_i8)(s.op, &row),
                    }
                }
                _ => failed = true,
            }
        });
        if failed {
            return Err(refused);
        }
    }
    binary_f32(context, s: Binary) {
        let refused = context.refused();
        let (a, y) = (context.tensor(s.a)?, context.tensor(s.y)?);
        let b = s.b.map(|id| context.tensor(id)).transpose()?;
        let constant = context.plan.constant(s.constant);
        let cells = Cell::from_mut(&mut *context.arena).as_slice_of_cells();
        let bytes = |place: &Place| cells.get(place.range.clone()).ok_or(refused);
        let last = MAX_RANK - 1;
        let length = s.dims[last] as usize;
        let count = |stride: u32| if stride == 0 { 1 } else { length };
        let (a_count, b_count) = (count(s.a_strides[last]), count(s.b_strides[last]));
        let values = f32s(constant);
        // An empty view of a constant means that the plan lies at an odd address: it is read piece by piece.
        let pieces = (s.b.is_none() && values.is_empty()).then_some(F32s::new(constant));
        let a = Operand::Shared(f32_cells(bytes(&a)?));
        let b = match &b {
            Some(b) => Operand::Shared(f32_cells(bytes(b)?)),
            None => Operand::Constant(values),
        };
        let y = f32_cells(bytes(&y)?);
        let mut failed = false;
        portable::for_each_row(&s.dims, &s.a_strides, &s.b_strides, |at, a_at, b_at| {
            let Some(constant) = pieces else {
                match (a.row(a_at, a_count), b.row(b_at, b_count), y.get(at..at + length)) {
                    (Some(a), Some(b), Some(y)) => portable::binary_f32(s.op, &a, &b, y),
                    _ => failed = true,
                }
                return;
            };
            for start in (0..length).step_by(PIECE) {
                let len = PIECE.min(length - start);
                let mut piece = [0.0_f32; PIECE];
                let from = if b_count == 1 { b_at } else { b_at + start };
                let count = if b_count == 1 { 1 } else { len };
                piece.iter_mut().zip(constant.slice(from, count).iter()).for_each(|(to, from)| *to = from);
                let a = if a_count == 1 { a.row(a_at, 1) } else { a.row(a_at + start, len) };
                match (a, y.get(at + start..at + start + len), piece.get(..count)) {
                    (Some(a), Some(y), Some(piece)) => portable::binary_f32(s.op, &a, &Operand::Constant(piece), y),
                    _ => failed = true,
                }
            }
        });
        if failed {
            return Err(refused);
        }
    }
    binary_i16(context, s: Binary) {
        let refused = context.refused();
        let (a, y) = (context.tensor(s.a)?, context.tensor(s.y)?);
        let b = s.b.map(|id| context.tensor(id)).transpose()?;
        let kernel = context.kernels.i16.binary;
        let constant = context.plan.constant(s.constant).as_chunks::<2>().0;
        let cells = Cell::from_mut(&mut *context.arena).as_slice_of_cells();
        let bytes = |place: &Place| cells.get(place.range.clone()).ok_or(refused);
        let last = MAX_RANK - 1;
        let length = s.dims[last] as usize;
        let (zero_points, multipliers) = ([a.zero_point, s.b_zero_point], [s.a_multiplier, s.b_multiplier]);
        let target = TargetI16::new(y.zero_point, s.low, s.high);
        let a = Operand::Shared(i16_cells(bytes(&a)?));
        let b = b.map(|b| bytes(&b).map(|b| Operand::Shared(i16_cells(b)))).transpose()?;
        let y = i16_cells(bytes(&y)?);
        let mut failed = false;
        let ([.., a_stride], [.., b_stride]) = (s.a_strides, s.b_strides);
        portable::for_each_row(&s.dims, &s.a_strides, &s.b_strides, |at, a_at, b_at| {
            // A constant may lie at an odd address: it is read piece by piece.
            let size = if b.is_some() { length } else { PIECE };
            for start in (0..length).step_by(size.max(1)) {
                let len = size.min(length - start);
                // A stride of 0 along the last dimension repeats one element.
                let part = |stride: u32, at: usize| if stride == 0 { (at, 1) } else { (at + start, len) };
                let (a_at, a_count) = part(a_stride, a_at);
                let (b_at, b_count) = part(b_stride, b_at);
                let mut piece = [0; PIECE];
                let b = match &b {
                    Some(b) => b.row(b_at, b_count),
                    None => {
                        let from = constant.get(b_at..b_at + b_count).unwrap_or_default();
                        piece.iter_mut().zip(from).for_each(|(to, from)| *to = i16::from_le_bytes(*from));
                        piece.get(..from.len()).filter(|piece| !piece.is_empty()).map(Operand::Constant)
                    }
                };
                match (a.row(a_at, a_count), b, y.get(at + start..at + start + len)) {
                    (Some(a), Some(b), Some(y)) => kernel(s.op, &Row { a, b, y, zero_points, multipliers, target }),
                    _ => failed = true,
                }
            }
        });
        if failed {
            return Err(refused);
        }
    }
    table_i8(context, s: Table) {
        let kernel = context.kernels.table;
        let table = context.plan.constant(s.table).first_chunk::<256>().ok_or(context.refused())?;
        let [x, y] = context.shared_pair(s.x, s.y)?;
        kernel(i8_cells(x), i8_cells(y), table);
    }
    table_f32(context, s: Table) {
        let table = F32s::new(context.plan.constant(s.table));
        let (_, _, x, y) = context.pair(s.x, s.y)?;
        portable::table_f32(i8s(x), f32s_mut(y), table);
    }
    table_i16(context, s: Table) {
        let table = context.plan.constant(s.table);
        let (_, _, x, y) = context.pair(s.x, s.y)?;
        portable::table_i16(i8s(x), i16s_mut(y), table);
    }
    unary(context, s: Unary) {
        let kernel = context.kernels.unary;
        let [x, y] = context.shared_pair(s.x, s.y)?;
        kernel(f32_cells(x), f32_cells(y), s.function, s.alpha, s.beta);
    }
    quantize_i8(context, s: Quantize) {
        let kernel = context.kernels.quantize;
        let (_, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        kernel(f32s(x_bytes), y.scale, i8s_mut(y_bytes), Target::whole(y.zero_point));
    }
    quantize_i16(context, s: Quantize) {
        let kernel = context.kernels.i16.quantize;
        let (_, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        kernel(f32s(x_bytes), y.scale, i16s_mut(y_bytes), TargetI16::whole(y.zero_point));
    }
    dequantize_i8(context, s: Dequantize) {
        let kernel = context.kernels.dequantize;
        let (x, _, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        kernel(i8s(x_bytes), x.scale, x.zero_point, f32s_mut(y_bytes));
    }
    dequantize_i16(context, s: Dequantize) {
        let kernel = context.kernels.i16.dequantize;
        let (x, _, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        kernel(i16s(x_bytes), x.scale, x.zero_point, f32s_mut(y_bytes));
    }
    requantize_i8(context, s: Requantize) {
        let kernel = context.kernels.i16.requantize_i8;
        let (x, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        kernel(i16s(x_bytes), x.zero_point, s.multiplier, i8s_mut(y_bytes), Target::whole(y.zero_point));
    }
    requantize_i16(context, s: Requantize) {
        let kernel = context.kernels.i16.requantize;
        let (x, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        kernel(i16s(x_bytes), x.zero_point, s.multiplier, i16s_mut(y_bytes), TargetI16::whole(y.zero_point));
    }
    cast(context, s: Cast) {
        let (x, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        portable::cast(x_bytes, x.dtype, y_bytes, y.dtype);
    }
}
