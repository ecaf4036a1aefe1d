//! What runs each kind of step, in a table.

use core::cell::Cell;

use super::{Context, PIECE, Place, compressed, dynamic, range, recurrent, transformer};
use crate::bytes::{F32s, I32s, I64s, U32s};
use crate::error::Error;
use crate::kernels::portable::{self, movement};
use crate::kernels::view::{f32_cells, f32s, f32s_mut, i8_cells, i8s, i8s_mut, i16_cells, i16s, i16s_mut};
use crate::kernels::{Bias, ConvF32Args, ConvI16Args, ConvI16Output, Operand, ReduceArgs, ReduceI8Args, Row, RowI8};
use crate::plan::step::{BinaryOp, ConvI16, MAX_HOST_TENSORS, Step, opcode};
use crate::plan::{DType, Form, MAX_RANK, TensorId};
use crate::quantization::{Target, TargetI16};
use crate::session::{Host, HostTensor};
use crate::team;

/// Runs one step of its kind.
pub(crate) type Executor = fn(&mut Context<'_, '_>, &Step, &mut dyn Host) -> Result<(), Error>;

/// By opcode and [`Form`].
pub(crate) type Executors = [[Executor; Form::COUNT]; opcode::COUNT];

/// All of them. Int8 convolutions run without a look at the table.
pub(crate) const ALL: Executors = {
    let mut table: Executors = [[refuse; Form::COUNT]; opcode::COUNT];
    table[opcode::ConvF32] = [conv_f32, refuse, refuse];
    table[opcode::DepthwiseF32] = [depthwise_f32, refuse, refuse];
    table[opcode::MatMul] = [matmul_i8, matmul_f32, matmul_i16];
    table[opcode::Binary] = [binary_i8, binary_f32, binary_i16];
    table[opcode::Table] = [table_i8, table_f32, table_i16];
    table[opcode::Unary] = [unary, refuse, refuse];
    table[opcode::Pool] = [pool_i8, pool_f32, pool_i16];
    table[opcode::Reduce] = [reduce_i8, reduce_f32, reduce_i16];
    table[opcode::Softmax] = [softmax_i8, softmax_f32, refuse];
    table[opcode::Copy] = [copy, refuse, refuse];
    table[opcode::Fill] = [fill, refuse, refuse];
    table[opcode::Gather] = [gather, refuse, refuse];
    table[opcode::ResizeLinear] = [resize_i8, resize_f32, resize_i16];
    table[opcode::ArgMax] = [arg_max_i8, arg_max_f32, arg_max_i16];
    table[opcode::Quantize] = [quantize_i8, refuse, quantize_i16];
    table[opcode::Dequantize] = [dequantize_i8, refuse, dequantize_i16];
    table[opcode::Cast] = [cast, refuse, refuse];
    table[opcode::HostStep] = [host, refuse, refuse];
    table[opcode::ConvI16] = [conv_i16, refuse, refuse];
    table[opcode::DepthwiseI16] = [depthwise_i16, refuse, refuse];
    table[opcode::Requantize] = [requantize_i8, refuse, requantize_i16];
    table[opcode::IndexedConvI8] = [compressed::indexed, refuse, refuse];
    table[opcode::SparseConvI8] = [compressed::sparse, refuse, refuse];
    table[opcode::ReduceToFloat] = [reduce_to_float, refuse, refuse];
    table[opcode::Lstm] = [refuse, recurrent::lstm_f32, recurrent::lstm_i16];
    table[opcode::Gru] = [refuse, recurrent::gru_f32, recurrent::gru_i16];
    table[opcode::Rnn] = [refuse, recurrent::rnn_f32, recurrent::rnn_i16];
    table[opcode::Lookup] = [transformer::lookup, refuse, refuse];
    table[opcode::Select] = [transformer::select, refuse, refuse];
    table[opcode::LayerNorm] = [transformer::layer_norm, refuse, refuse];
    table[opcode::Attention] = [transformer::attention, refuse, refuse];
    table[opcode::QuantizeDynamic] = [dynamic::quantize, refuse, refuse];
    table[opcode::ConvI8Dynamic] = [dynamic::conv_i8, refuse, refuse];
    table
};

/// Runs a step that is no int8 convolution.
#[inline(never)]
pub(super) fn run(context: &mut Context<'_, '_>, step: &Step, host: &mut dyn Host) -> Result<(), Error> {
    let form = match step.deciding_tensor() {
        Some(id) => Form::of(Some(context.tensor(id)?.dtype)),
        None => Form::I8,
    };
    let executor = context.kernels.kinds.executor(step, form);
    executor(context, step, host)
}

/// Stands for the kinds that are left out.
pub(crate) fn refuse(context: &mut Context<'_, '_>, _: &Step, _: &mut dyn Host) -> Result<(), Error> {
    Err(Error::NoKernel { step: context.index })
}

/// Functions for the table, each with the fields of its kind of step.
macro_rules! executors {
    ($($name:ident($context:ident, $s:ident: $variant:ident) $body:block)*) => {
        $(
            fn $name($context: &mut Context<'_, '_>, step: &Step, _: &mut dyn Host) -> Result<(), Error> {
                let Step::$variant($s) = step else { return Err($context.refused()) };
                $body
                Ok(())
            }
        )*
    };
}

executors! {
    conv_f32(context, s: ConvF32) {
        let (plan, team, kernel) = (context.plan, context.team, context.kernels.conv_f32);
        let (_, _, x, y) = context.pair(s.x, s.y)?;
        let (weights, bias) = (F32s::new(plan.constant(s.weights)), F32s::new(plan.constant(s.bias)));
        let (x, y) = (f32s(x), f32s_mut(y));
        let args = ConvF32Args { window: &s.window, x, y, weights, bias, low: s.low, high: s.high };
        team::conv_f32(team, true, args, kernel);
    }
    depthwise_f32(context, s: DepthwiseF32) {
        let (plan, team, kernel) = (context.plan, context.team, context.kernels.depthwise_f32);
        let (_, _, x, y) = context.pair(s.x, s.y)?;
        let (weights, bias) = (F32s::new(plan.constant(s.weights)), F32s::new(plan.constant(s.bias)));
        let (x, y) = (f32s(x), f32s_mut(y));
        let args = ConvF32Args { window: &s.window, x, y, weights, bias, low: s.low, high: s.high };
        team::conv_f32(team, false, args, kernel);
    }
    conv_i16(context, s: ConvI16) {
        context.conv_i16(s, true, context.kernels.i16.conv)?;
    }
    depthwise_i16(context, s: DepthwiseI16) {
        context.conv_i16(s, false, context.kernels.i16.depthwise)?;
    }
    matmul_i16(context, s: MatMul) {
        let kernel = context.kernels.i16.matmul;
        let [a, b, y] = [s.a, s.b, s.y].map(|id| context.tensor(id));
        let (a, b, y) = (a?, b?, y?);
        let (a_bytes, b_bytes, y_bytes) = context.sides(&a, &b, s.a == s.b, &y)?;
        let target = TargetI16::whole(y.zero_point);
        kernel(s, i16s(a_bytes), i16s(b_bytes), [a.zero_point, b.zero_point], i16s_mut(y_bytes), target);
    }
    matmul_i8(context, s: MatMul) {
        let [a, b, y] = [s.a, s.b, s.y].map(|id| context.tensor(id));
        let (a, b, y) = (a?, b?, y?);
        let (a_bytes, b_bytes, y_bytes) = context.sides(&a, &b, s.a == s.b, &y)?;
        let target = Target::new(y.zero_point, -128, 127);
        let zero_points = [a.zero_point, b.zero_point];
        portable::matmul_i8(s, i8s(a_bytes), i8s(b_bytes), zero_points, i8s_mut(y_bytes), target);
    }
    matmul_f32(context, s: MatMul) {
        let kernel = context.kernels.matmul_f32;
        let [a, b, y] = [s.a, s.b, s.y].map(|id| context.tensor(id));
        let (a, b, y) = (a?, b?, y?);
        let (a_bytes, b_bytes, y_bytes) = context.sides(&a, &b, s.a == s.b, &y)?;
        kernel(s, f32s(a_bytes), f32s(b_bytes), f32s_mut(y_bytes));
    }
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
    table_i8(context, s: Table) {
        let kernel = context.kernels.table;
        let table = context.plan.constant(s.table).first_chunk::<256>().ok_or(context.refused())?;
        let [x, y] = context.shared_pair(s.x, s.y)?;
        kernel(i8_cells(x), i8_cells(y), table);
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
    table_i16(context, s: Table) {
        let table = context.plan.constant(s.table);
        let (_, _, x, y) = context.pair(s.x, s.y)?;
        portable::table_i16(i8s(x), i16s_mut(y), table);
    }
    table_f32(context, s: Table) {
        let table = F32s::new(context.plan.constant(s.table));
        let (_, _, x, y) = context.pair(s.x, s.y)?;
        portable::table_f32(i8s(x), f32s_mut(y), table);
    }
    unary(context, s: Unary) {
        let kernel = context.kernels.unary;
        let [x, y] = context.shared_pair(s.x, s.y)?;
        kernel(f32_cells(x), f32_cells(y), s.function, s.alpha, s.beta);
    }
    pool_i8(context, s: Pool) {
        let (team, kernel) = (context.team, context.kernels.pool_i8);
        let (x, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        let target = Target::new(y.zero_point, -128, 127);
        let (x_zero_point, y) = (x.zero_point, i8s_mut(y_bytes));
        team::pool(team, ReduceI8Args { step: s, x: i8s(x_bytes), x_zero_point, y, target }, kernel);
    }
    pool_i16(context, s: Pool) {
        let (team, kernel) = (context.team, context.kernels.i16.pool);
        let (x, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        let target = TargetI16::whole(y.zero_point);
        let (x_zero_point, y) = (x.zero_point, i16s_mut(y_bytes));
        team::pool(team, ReduceArgs { step: s, x: i16s(x_bytes), x_zero_point, y, target }, kernel);
    }
    pool_f32(context, s: Pool) {
        let kernel = context.kernels.pool_f32;
        let (_, _, x, y) = context.pair(s.x, s.y)?;
        kernel(s, f32s(x), f32s_mut(y));
    }
    reduce_i8(context, s: Reduce) {
        let kernel = context.kernels.reduce_i8;
        let (x, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        let target = Target::new(y.zero_point, -128, 127);
        let (x_zero_point, y) = (x.zero_point, i8s_mut(y_bytes));
        kernel(ReduceI8Args { step: s, x: i8s(x_bytes), x_zero_point, y, target });
    }
    reduce_i16(context, s: Reduce) {
        let kernel = context.kernels.i16.reduce;
        let (x, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        let target = TargetI16::whole(y.zero_point);
        let (x_zero_point, y) = (x.zero_point, i16s_mut(y_bytes));
        kernel(ReduceArgs { step: s, x: i16s(x_bytes), x_zero_point, y, target });
    }
    reduce_f32(context, s: Reduce) {
        let (_, _, x, y) = context.pair(s.x, s.y)?;
        portable::reduce_f32(s, f32s(x), f32s_mut(y));
    }
    reduce_to_float(context, s: ReduceToFloat) {
        let kernel = context.kernels.reduce_to_float;
        let (x, _, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        kernel(s, i8s(x_bytes), x.zero_point, f32s_mut(y_bytes));
    }
    softmax_i8(context, s: Softmax) {
        let (kernel, table) = (context.kernels.softmax_i8, context.plan.constant(s.table));
        let (x, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        let target = Target::new(y.zero_point, -128, 127);
        let (x_zero_point, inverse_scale, y) = (x.zero_point, 1.0 / y.scale, i8s_mut(y_bytes));
        kernel(ReduceI8Args { step: s, x: i8s(x_bytes), x_zero_point, y, target }, table, inverse_scale);
    }
    softmax_f32(context, s: Softmax) {
        let (_, _, x, y) = context.pair(s.x, s.y)?;
        portable::softmax_f32(s, f32s(x), f32s_mut(y));
    }
    copy(context, s: Copy) {
        let table = context.plan.constant(s.table);
        let refused = context.refused();
        if let Some(x) = s.x {
            let (_, y, x_bytes, y_bytes) = context.pair(x, s.y)?;
            movement::copy(s, x_bytes, y_bytes, y.dtype.bytes(), table);
        } else {
            let y = context.tensor(s.y)?;
            let bytes = context.arena.get_mut(y.range.clone()).ok_or(refused)?;
            movement::copy(s, context.plan.constant(s.constant), bytes, y.dtype.bytes(), table);
        }
    }
    fill(context, s: Fill) {
        let refused = context.refused();
        let y = context.tensor(s.y)?;
        movement::fill(s.value, context.arena.get_mut(y.range.clone()).ok_or(refused)?, y.dtype.bytes());
    }
    gather(context, s: Gather) {
        let indices = U32s::new(context.plan.constant(s.indices));
        let (_, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        movement::gather(s, x_bytes, indices, y_bytes, y.dtype.bytes());
    }
    resize_i8(context, s: ResizeLinear) {
        let plan = context.plan;
        let (rows, columns) = (U32s::new(plan.constant(s.rows)), U32s::new(plan.constant(s.columns)));
        let (x, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        let (values, out) = (i8s(x_bytes), i8s_mut(y_bytes));
        let target = Target::new(y.zero_point, -128, 127);
        let real = |at: usize| values.get(at).map_or(0.0, |&value| (i32::from(value) - x.zero_point) as f32);
        let stored = out.iter_mut().map(|y| move |value: f32| *y = target.store(value * s.multiplier));
        portable::resize_linear(s, rows, columns, real, stored);
    }
    resize_i16(context, s: ResizeLinear) {
        let plan = context.plan;
        let (rows, columns) = (U32s::new(plan.constant(s.rows)), U32s::new(plan.constant(s.columns)));
        let (x, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        let (values, out) = (i16s(x_bytes), i16s_mut(y_bytes));
        let target = TargetI16::whole(y.zero_point);
        let real = |at: usize| values.get(at).map_or(0.0, |&value| (i32::from(value) - x.zero_point) as f32);
        let stored = out.iter_mut().map(|y| move |value: f32| *y = target.store(value * s.multiplier));
        portable::resize_linear(s, rows, columns, real, stored);
    }
    resize_f32(context, s: ResizeLinear) {
        let plan = context.plan;
        let (rows, columns) = (U32s::new(plan.constant(s.rows)), U32s::new(plan.constant(s.columns)));
        let (_, _, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        let (values, out) = (f32s(x_bytes), f32s_mut(y_bytes));
        let real = |at: usize| values.get(at).map_or(0.0, |&value| value);
        portable::resize_linear(s, rows, columns, real, out.iter_mut().map(|y| move |value| *y = value));
    }
    arg_max_i8(context, s: ArgMax) {
        let (_, _, x, y) = context.pair(s.x, s.y)?;
        let values = i8s(x);
        portable::arg_max(s, |at| values.get(at).map_or(0.0, |&value| f32::from(value)), y);
    }
    arg_max_i16(context, s: ArgMax) {
        let (_, _, x, y) = context.pair(s.x, s.y)?;
        let values = i16s(x);
        portable::arg_max(s, |at| values.get(at).map_or(0.0, |&value| f32::from(value)), y);
    }
    arg_max_f32(context, s: ArgMax) {
        let (_, _, x, y) = context.pair(s.x, s.y)?;
        let values = f32s(x);
        portable::arg_max(s, |at| values.get(at).map_or(0.0, |&value| value), y);
    }
    quantize_i16(context, s: Quantize) {
        let kernel = context.kernels.i16.quantize;
        let (_, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        kernel(f32s(x_bytes), y.scale, i16s_mut(y_bytes), TargetI16::whole(y.zero_point));
    }
    dequantize_i16(context, s: Dequantize) {
        let kernel = context.kernels.i16.dequantize;
        let (x, _, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        kernel(i16s(x_bytes), x.scale, x.zero_point, f32s_mut(y_bytes));
    }
    requantize_i16(context, s: Requantize) {
        let kernel = context.kernels.i16.requantize;
        let (x, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        kernel(i16s(x_bytes), x.zero_point, s.multiplier, i16s_mut(y_bytes), TargetI16::whole(y.zero_point));
    }
    requantize_i8(context, s: Requantize) {
        let kernel = context.kernels.i16.requantize_i8;
        let (x, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        kernel(i16s(x_bytes), x.zero_point, s.multiplier, i8s_mut(y_bytes), Target::whole(y.zero_point));
    }
    quantize_i8(context, s: Quantize) {
        let kernel = context.kernels.quantize;
        let (_, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        kernel(f32s(x_bytes), y.scale, i8s_mut(y_bytes), Target::whole(y.zero_point));
    }
    dequantize_i8(context, s: Dequantize) {
        let kernel = context.kernels.dequantize;
        let (x, _, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        kernel(i8s(x_bytes), x.scale, x.zero_point, f32s_mut(y_bytes));
    }
    cast(context, s: Cast) {
        let (x, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        portable::cast(x_bytes, x.dtype, y_bytes, y.dtype);
    }
}

impl Context<'_, '_> {
    fn conv_i16(&mut self, s: &ConvI16, dense: bool, kernel: fn(ConvI16Args<'_>)) -> Result<(), Error> {
        let (team, plan, refused) = (self.team, self.plan, self.refused());
        let (x, y) = (self.tensor(s.x)?, self.tensor(s.y)?);
        let scratch = match s.scratch {
            Some(id) => self.tensor(id)?.range,
            None => 0..0,
        };
        let [x_bytes, y_bytes, scratch] =
            self.arena.get_disjoint_mut([x.range.clone(), y.range.clone(), scratch]).map_err(|_| refused)?;
        let bias = plan.constant(s.bias);
        let args = ConvI16Args {
            window: &s.window,
            x: i16s(x_bytes),
            x_zero_point: x.zero_point as i16,
            y: match y.dtype {
                DType::F32 => ConvI16Output::F32(f32s_mut(y_bytes)),
                DType::I16 => ConvI16Output::I16(i16s_mut(y_bytes), TargetI16::new(y.zero_point, s.low, s.high)),
                _ => ConvI16Output::I8(i8s_mut(y_bytes), Target::new(y.zero_point, s.low, s.high)),
            },
            scratch: i16s_mut(scratch),
            weights: plan.constant(s.weights),
            multipliers: F32s::new(plan.constant(s.multipliers)),
            bias: if s.wide == 0 { Bias::I32(I32s::new(bias)) } else { Bias::I64(I64s::new(bias)) },
        };
        team::conv_i16(team, dense, args, kernel);
        Ok(())
    }
}

fn host(context: &mut Context<'_, '_>, step: &Step, host: &mut dyn Host) -> Result<(), Error> {
    let Step::HostStep(s) = step else { return Err(context.refused()) };
    let refused = context.refused();
    let plan = context.plan;
    let place = |id: TensorId| plan.tensor(id).map(|tensor| range(&tensor));
    let ids = || s.input_ids().chain(s.output_ids());
    // The arena is cut from the front, so the tensors are taken in the order of their places.
    let mut parts: [Option<&mut [u8]>; 2 * MAX_HOST_TENSORS] = [const { None }; 2 * MAX_HOST_TENSORS];
    let (mut rest, mut at) = (&mut *context.arena, 0);
    for _ in ids() {
        let left = ids().zip(&mut parts).filter(|(_, part)| part.is_none());
        let next = left.filter_map(|(id, part)| Some((place(id)?, part))).min_by_key(|(place, _)| place.start);
        let (place, part) = next.ok_or(refused)?;
        let skip = place.start.checked_sub(at).ok_or(refused)?;
        let (_, behind) = rest.split_at_mut_checked(skip).ok_or(refused)?;
        let (bytes, behind) = behind.split_at_mut_checked(place.len()).ok_or(refused)?;
        (rest, at) = (behind, place.end);
        *part = Some(bytes);
    }
    let mut inputs = heapless::Vec::<HostTensor<'_>, MAX_HOST_TENSORS>::new();
    let mut outputs = heapless::Vec::<HostTensor<'_>, MAX_HOST_TENSORS>::new();
    let count = s.input_ids().count();
    for (index, (id, part)) in ids().zip(parts).enumerate() {
        let list = if index < count { &mut inputs } else { &mut outputs };
        let tensor = plan.tensor(id).ok_or(refused)?;
        list.push(HostTensor { tensor, bytes: part.ok_or(refused)? }).map_err(|_| refused)?;
    }
    host.run(context.index, plan.constant(s.model), &mut inputs, &mut outputs)
}
