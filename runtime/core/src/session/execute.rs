//! One step: its tensors found in the arena and handed to the kernel.

use core::cell::Cell;
use core::ops::Range;

use crate::bytes::{F32s, I32s, U32s};
use crate::error::Error;
use crate::kernels::portable::{self, movement};
use crate::kernels::view::{f32_cells, f32s, f32s_mut, i8_cells, i8s, i8s_mut};
use crate::kernels::{ConvF32Args, ConvI8Args, ConvOutput, Kernels, Operand, ReduceI8Args, RowI8};
use crate::plan::step::{Binary, BinaryOp, ConvI8, HostStep, MAX_HOST_TENSORS, MatMul, Step, StepRecord};
use crate::plan::{DType, MAX_RANK, Plan, Tensor, TensorId};
use crate::quantization::Target;
use crate::session::{Host, HostTensor};
use crate::team::{self, Team};

/// The bytes of a tensor in the arena.
#[inline]
pub(super) fn range(tensor: &Tensor) -> Range<usize> {
    let start = tensor.offset as usize;
    // The verifier has seen that the product is below 2³¹ and that dimensions behind the rank are 1.
    let elements = tensor.shape.iter().fold(1_usize, |product, &dim| product.wrapping_mul(dim as usize));
    start..start.wrapping_add(elements.wrapping_mul(tensor.dtype.bytes()))
}

/// Elements of an unaligned constant that are read at once.
const PIECE: usize = 32;

/// What the verifier has ruled out.
const REFUSED: &str = "its tensors overlap or are not there";

struct Context<'c, 'p> {
    plan: &'c Plan<'p>,
    arena: &'c mut [u8],
    kernels: &'static Kernels,
    team: Option<&'c dyn Team>,
    index: u32,
}

/// A step's input and output: their table entries and their bytes.
type Pair<'a> = (Tensor, Tensor, &'a [u8], &'a mut [u8]);

impl<'p> Context<'_, 'p> {
    fn refused(&self) -> Error {
        Error::Step { index: self.index, rule: REFUSED }
    }

    #[inline]
    fn tensor(&self, id: TensorId) -> Result<Tensor, Error> {
        self.plan.tensor(id).ok_or(self.refused())
    }

    /// Input and output, with their bytes.
    #[inline]
    fn pair(&mut self, x: TensorId, y: TensorId) -> Result<Pair<'_>, Error> {
        let refused = self.refused();
        let (x, y) = (self.tensor(x)?, self.tensor(y)?);
        let [x_bytes, y_bytes] = self.arena.get_disjoint_mut([range(&x), range(&y)]).map_err(|_| refused)?;
        Ok((x, y, x_bytes, y_bytes))
    }

    /// Input and output that may be one place.
    fn shared_pair(&mut self, x: TensorId, y: TensorId) -> Result<[&[Cell<u8>]; 2], Error> {
        let refused = self.refused();
        let (x, y) = (self.tensor(x)?, self.tensor(y)?);
        let cells = Cell::from_mut(&mut *self.arena).as_slice_of_cells();
        Ok([cells.get(range(&x)).ok_or(refused)?, cells.get(range(&y)).ok_or(refused)?])
    }

    fn conv_i8(&mut self, s: &ConvI8, dense: bool, kernel: fn(ConvI8Args<'_>)) -> Result<(), Error> {
        let team = self.team;
        let refused = self.refused();
        let (x, y) = (self.tensor(s.x)?, self.tensor(s.y)?);
        let scratch = match s.scratch {
            Some(id) => range(&self.tensor(id)?),
            None => 0..0,
        };
        let plan = self.plan;
        let [x_bytes, y_bytes, scratch] =
            self.arena.get_disjoint_mut([range(&x), range(&y), scratch]).map_err(|_| refused)?;
        let args = ConvI8Args {
            window: &s.window,
            x: i8s(x_bytes),
            x_zero_point: x.zero_point as i8,
            y: match y.dtype {
                DType::F32 => ConvOutput::F32(f32s_mut(y_bytes)),
                _ => ConvOutput::I8(i8s_mut(y_bytes), Target::new(y.zero_point, s.low, s.high)),
            },
            scratch: i8s_mut(scratch),
            weights: plan.constant(s.weights),
            multipliers: F32s::new(plan.constant(s.multipliers)),
            bias: I32s::new(plan.constant(s.bias)),
            weight_zero_points: I32s::new(plan.constant(s.weight_zero_points)),
            narrow: s.narrow != 0,
        };
        team::conv_i8(team, dense, args, kernel);
        Ok(())
    }

    fn binary(&mut self, s: &Binary) -> Result<(), Error> {
        let refused = self.refused();
        let (a, y) = (self.tensor(s.a)?, self.tensor(s.y)?);
        let b = s.b.map(|id| self.tensor(id)).transpose()?;
        let kernels = self.kernels;
        let constant = self.plan.constant(s.constant);
        let cells = Cell::from_mut(&mut *self.arena).as_slice_of_cells();
        let bytes = |tensor: &Tensor| cells.get(range(tensor)).ok_or(refused);
        let last = MAX_RANK - 1;
        let length = s.dims[last] as usize;
        // A stride of 0 along the last dimension repeats one element.
        let count = |stride: u32| if stride == 0 { 1 } else { length };
        let (a_count, b_count) = (count(s.a_strides[last]), count(s.b_strides[last]));
        let mut failed = false;
        if y.dtype == DType::F32 {
            let values = f32s(constant);
            let a = Operand::Shared(f32_cells(bytes(&a)?));
            let b = match &b {
                Some(b) => Operand::Shared(f32_cells(bytes(b)?)),
                None => Operand::Constant(values),
            };
            let y = f32_cells(bytes(&y)?);
            if s.b.is_none() && values.is_empty() {
                // The plan lies at an odd address: the constant is read piece by piece.
                let constant = F32s::new(constant);
                portable::for_each_row(&s.dims, &s.a_strides, &s.b_strides, |at, a_at, b_at| {
                    for start in (0..length).step_by(PIECE) {
                        let len = PIECE.min(length - start);
                        let mut piece = [0.0_f32; PIECE];
                        let from = if b_count == 1 { b_at } else { b_at + start };
                        let count = if b_count == 1 { 1 } else { len };
                        piece.iter_mut().zip(constant.slice(from, count).iter()).for_each(|(to, from)| *to = from);
                        let a = if a_count == 1 { a.row(a_at, 1) } else { a.row(a_at + start, len) };
                        match (a, y.get(at + start..at + start + len)) {
                            (Some(a), Some(y)) => {
                                portable::binary_f32(s.op, &a, &Operand::Constant(&piece[..count]), y);
                            }
                            _ => failed = true,
                        }
                    }
                });
                return if failed { Err(refused) } else { Ok(()) };
            }
            portable::for_each_row(&s.dims, &s.a_strides, &s.b_strides, |at, a_at, b_at| {
                match (a.row(a_at, a_count), b.row(b_at, b_count), y.get(at..at + length)) {
                    (Some(a), Some(b), Some(y)) => portable::binary_f32(s.op, &a, &b, y),
                    _ => failed = true,
                }
            });
        } else {
            let zero_points = [a.zero_point, s.b_zero_point];
            let target = Target::new(y.zero_point, s.low, s.high);
            let a = Operand::Shared(i8_cells(bytes(&a)?));
            let b = match &b {
                Some(b) => Operand::Shared(i8_cells(bytes(b)?)),
                None => Operand::Constant(i8s(constant)),
            };
            let y = i8_cells(bytes(&y)?);
            let kernel = match s.op {
                BinaryOp::Add => kernels.add_i8,
                BinaryOp::Mul => kernels.mul_i8,
                _ => |_: &RowI8<'_>| {},
            };
            let native = matches!(s.op, BinaryOp::Add | BinaryOp::Mul);
            portable::for_each_row(&s.dims, &s.a_strides, &s.b_strides, |at, a_at, b_at| {
                match (a.row(a_at, a_count), b.row(b_at, b_count), y.get(at..at + length)) {
                    (Some(a), Some(b), Some(y)) => {
                        let multipliers = [s.a_multiplier, s.b_multiplier];
                        let row = RowI8 { a, b, y, zero_points, multipliers, target };
                        if native { kernel(&row) } else { portable::binary_i8(s.op, &row) }
                    }
                    _ => failed = true,
                }
            });
        }
        if failed { Err(refused) } else { Ok(()) }
    }

    fn matmul(&mut self, s: &MatMul) -> Result<(), Error> {
        let refused = self.refused();
        let (a, b, y) = (self.tensor(s.a)?, self.tensor(s.b)?, self.tensor(s.y)?);
        let same = s.a == s.b;
        let other = if same { 0..0 } else { range(&b) };
        let [a_bytes, b_bytes, y_bytes] =
            self.arena.get_disjoint_mut([range(&a), other, range(&y)]).map_err(|_| refused)?;
        let (a_bytes, b_bytes): (&[u8], &[u8]) = if same { (a_bytes, a_bytes) } else { (a_bytes, b_bytes) };
        if y.dtype == DType::F32 {
            (self.kernels.matmul_f32)(s, f32s(a_bytes), f32s(b_bytes), f32s_mut(y_bytes));
        } else {
            let target = Target::new(y.zero_point, -128, 127);
            let zero_points = [a.zero_point, b.zero_point];
            portable::matmul_i8(s, i8s(a_bytes), i8s(b_bytes), zero_points, i8s_mut(y_bytes), target);
        }
        Ok(())
    }

    fn host(&mut self, s: &HostStep, host: &mut dyn Host) -> Result<(), Error> {
        let refused = self.refused();
        let mut ids = heapless::Vec::<(TensorId, bool), { 2 * MAX_HOST_TENSORS }>::new();
        for (id, output) in s.input_ids().map(|id| (id, false)).chain(s.output_ids().map(|id| (id, true))) {
            ids.push((id, output)).map_err(|_| refused)?;
        }
        // The arena is cut from the front, so the tensors are taken in the order of their places.
        let mut order = heapless::Vec::<usize, { 2 * MAX_HOST_TENSORS }>::new();
        for index in 0..ids.len() {
            order.push(index).map_err(|_| refused)?;
        }
        let plan = self.plan;
        let offset = |index: usize| plan.tensor(ids[index].0).map_or(0, |tensor| tensor.offset);
        order.sort_unstable_by_key(|&index| offset(index));
        let mut slots: [Option<HostTensor<'_>>; 2 * MAX_HOST_TENSORS] = [const { None }; 2 * MAX_HOST_TENSORS];
        let (mut rest, mut at) = (&mut *self.arena, 0);
        for &index in &order {
            let tensor = plan.tensor(ids[index].0).ok_or(refused)?;
            let place = range(&tensor);
            let skip = place.start.checked_sub(at).ok_or(refused)?;
            let (_, behind) = rest.split_at_mut_checked(skip).ok_or(refused)?;
            let (bytes, behind) = behind.split_at_mut_checked(place.len()).ok_or(refused)?;
            (rest, at) = (behind, place.end);
            slots[index] = Some(HostTensor { tensor, bytes });
        }
        let mut inputs = heapless::Vec::<HostTensor<'_>, MAX_HOST_TENSORS>::new();
        let mut outputs = heapless::Vec::<HostTensor<'_>, MAX_HOST_TENSORS>::new();
        for (slot, &(_, output)) in slots.into_iter().zip(&ids) {
            let list = if output { &mut outputs } else { &mut inputs };
            list.push(slot.ok_or(refused)?).map_err(|_| refused)?;
        }
        host.run(self.index, plan.constant(s.model), &mut inputs, &mut outputs)
    }
}

/// Runs one step.
#[inline]
pub(super) fn step(
    plan: &Plan<'_>,
    arena: &mut [u8],
    kernels: &'static Kernels,
    team: Option<&dyn Team>,
    record: &StepRecord,
    host: &mut dyn Host,
) -> Result<(), Error> {
    let mut context = Context { plan, arena, kernels, team, index: record.index };
    // Most steps are these, and small models spend a good part of their time between steps.
    match &record.step {
        Step::ConvI8(s) => context.conv_i8(s, true, kernels.conv_i8),
        Step::DepthwiseI8(s) => context.conv_i8(s, false, kernels.depthwise_i8),
        step => other_step(context, step, host),
    }
}

#[inline(never)]
fn other_step(mut context: Context<'_, '_>, step: &Step, host: &mut dyn Host) -> Result<(), Error> {
    let (plan, kernels, team) = (context.plan, context.kernels, context.team);
    match step {
        Step::ConvI8(_) | Step::DepthwiseI8(_) => {}
        Step::ConvF32(s) => {
            let (_, _, x, y) = context.pair(s.x, s.y)?;
            let (weights, bias) = (F32s::new(plan.constant(s.weights)), F32s::new(plan.constant(s.bias)));
            let (x, y) = (f32s(x), f32s_mut(y));
            let args = ConvF32Args { window: &s.window, x, y, weights, bias, low: s.low, high: s.high };
            team::conv_f32(team, true, args, kernels.conv_f32);
        }
        Step::DepthwiseF32(s) => {
            let (_, _, x, y) = context.pair(s.x, s.y)?;
            let (weights, bias) = (F32s::new(plan.constant(s.weights)), F32s::new(plan.constant(s.bias)));
            let (x, y) = (f32s(x), f32s_mut(y));
            let args = ConvF32Args { window: &s.window, x, y, weights, bias, low: s.low, high: s.high };
            team::conv_f32(team, false, args, kernels.depthwise_f32);
        }
        Step::MatMul(s) => context.matmul(s)?,
        Step::Binary(s) => context.binary(s)?,
        Step::Table(s) => {
            let refused = context.refused();
            let table = plan.constant(s.table);
            if context.tensor(s.y)?.dtype == DType::F32 {
                let (_, _, x, y) = context.pair(s.x, s.y)?;
                portable::table_f32(i8s(x), f32s_mut(y), F32s::new(table));
            } else {
                let table = table.first_chunk::<256>().ok_or(refused)?;
                let [x, y] = context.shared_pair(s.x, s.y)?;
                (kernels.table)(i8_cells(x), i8_cells(y), table);
            }
        }
        Step::Unary(s) => {
            let [x, y] = context.shared_pair(s.x, s.y)?;
            (kernels.unary)(f32_cells(x), f32_cells(y), s.function, s.alpha, s.beta);
        }
        Step::Pool(s) => {
            let (x, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
            if y.dtype == DType::F32 {
                (kernels.pool_f32)(s, f32s(x_bytes), f32s_mut(y_bytes));
            } else {
                let target = Target::new(y.zero_point, -128, 127);
                let (x_zero_point, y) = (x.zero_point, i8s_mut(y_bytes));
                let args = ReduceI8Args { step: s, x: i8s(x_bytes), x_zero_point, y, target };
                team::pool_i8(team, args, kernels.pool_i8);
            }
        }
        Step::Reduce(s) => {
            let (x, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
            if y.dtype == DType::F32 {
                portable::reduce_f32(s, f32s(x_bytes), f32s_mut(y_bytes));
            } else {
                let target = Target::new(y.zero_point, -128, 127);
                let (x_zero_point, y) = (x.zero_point, i8s_mut(y_bytes));
                (kernels.reduce_i8)(ReduceI8Args { step: s, x: i8s(x_bytes), x_zero_point, y, target });
            }
        }
        Step::Softmax(s) => {
            let (x, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
            if y.dtype == DType::F32 {
                portable::softmax_f32(s, f32s(x_bytes), f32s_mut(y_bytes));
            } else {
                let target = Target::new(y.zero_point, -128, 127);
                let inverse_scale = 1.0 / y.scale;
                let args =
                    ReduceI8Args { step: s, x: i8s(x_bytes), x_zero_point: x.zero_point, y: i8s_mut(y_bytes), target };
                (kernels.softmax_i8)(args, plan.constant(s.table), inverse_scale);
            }
        }
        Step::Copy(s) => {
            let table = plan.constant(s.table);
            let refused = context.refused();
            if let Some(x) = s.x {
                let (_, y, x_bytes, y_bytes) = context.pair(x, s.y)?;
                movement::copy(s, x_bytes, y_bytes, y.dtype.bytes(), table);
            } else {
                let y = context.tensor(s.y)?;
                let bytes = context.arena.get_mut(range(&y)).ok_or(refused)?;
                movement::copy(s, plan.constant(s.constant), bytes, y.dtype.bytes(), table);
            }
        }
        Step::Fill(s) => {
            let refused = context.refused();
            let y = context.tensor(s.y)?;
            movement::fill(s.value, context.arena.get_mut(range(&y)).ok_or(refused)?, y.dtype.bytes());
        }
        Step::Gather(s) => {
            let (_, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
            movement::gather(s, x_bytes, U32s::new(plan.constant(s.indices)), y_bytes, y.dtype.bytes());
        }
        Step::ResizeLinear(s) => {
            let (x, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
            let (rows, columns) = (U32s::new(plan.constant(s.rows)), U32s::new(plan.constant(s.columns)));
            if y.dtype == DType::F32 {
                let (values, out) = (f32s(x_bytes), f32s_mut(y_bytes));
                portable::resize_linear(s, rows, columns, |at| values[at], |at, value| out[at] = value);
            } else {
                let (values, out) = (i8s(x_bytes), i8s_mut(y_bytes));
                let target = Target::new(y.zero_point, -128, 127);
                let real = |at: usize| (i32::from(values[at]) - x.zero_point) as f32;
                let store = |at: usize, value: f32| out[at] = target.store(value * s.multiplier);
                portable::resize_linear(s, rows, columns, real, store);
            }
        }
        Step::ArgMax(s) => {
            let (x, _, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
            if x.dtype == DType::F32 {
                let values = f32s(x_bytes);
                portable::arg_max(s, |at| values[at], y_bytes);
            } else {
                let values = i8s(x_bytes);
                portable::arg_max(s, |at| f32::from(values[at]), y_bytes);
            }
        }
        Step::Quantize(s) => {
            let (_, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
            (kernels.quantize)(f32s(x_bytes), y.scale, i8s_mut(y_bytes), Target::new(y.zero_point, -128, 127));
        }
        Step::Dequantize(s) => {
            let (x, _, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
            (kernels.dequantize)(i8s(x_bytes), x.scale, x.zero_point, f32s_mut(y_bytes));
        }
        Step::Cast(s) => {
            let (x, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
            portable::cast(x_bytes, x.dtype, y_bytes, y.dtype);
        }
        Step::HostStep(s) => context.host(s, host)?,
    }
    Ok(())
}
