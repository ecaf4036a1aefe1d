//! Operators of two tensors, element by element with broadcasting.

use std::rc::Rc;

use cygnet_core::bytes::Span;
use cygnet_core::math::{Function, maximum, minimum, pow};
use cygnet_core::plan::step::{Binary, BinaryOp, Step};
use cygnet_core::plan::{DType, MAX_RANK, TensorId};

use super::quantize::Target;
use super::{Constant, Held, Kind, Lowered, Lowering, Val, Value, no_step, wrong};
use crate::compile::layout::Layout;
use crate::model::{self, Node, Tensor};

/// The right side of an operation.
enum Right {
    Val(Val),
    /// Elements of a constant as bytes of the left side's type, with its ONNX shape.
    Constant {
        data: Vec<u8>,
        shape: Vec<usize>,
        size: usize,
    },
}

impl Right {
    fn shape(&self) -> &[usize] {
        match self {
            Self::Val(val) => &val.layout.shape,
            Self::Constant { shape, .. } => shape,
        }
    }
}

/// Both sides of an operation on stored elements; `swapped` where the right one stands on the left in the graph.
struct Sides {
    x: Val,
    right: Right,
    b_scale: f32,
    b_zero_point: i32,
    swapped: bool,
}

/// Strides of an operation over the result in memory order.
struct Walk {
    layout: Layout,
    dims: [u32; MAX_RANK],
    a_strides: [u32; MAX_RANK],
    b_strides: [u32; MAX_RANK],
    b: Option<TensorId>,
    a: Val,
    constant: Span,
}

/// The shape of an operation between two shapes.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Lowered<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |shape: &[usize], axis: usize| {
        let missing = rank - shape.len();
        if axis < missing { 1 } else { shape[axis - missing] }
    };
    (0..rank)
        .map(|axis| match (at(a, axis), at(b, axis)) {
            (1, extent) | (extent, 1) => Ok(extent),
            (left, right) if left == right => Ok(left),
            _ => wrong(format!("shapes {a:?} and {b:?} cannot be broadcast")),
        })
        .collect()
}

fn operation(op_type: &str) -> Option<BinaryOp> {
    Some(match op_type {
        "Add" | "Sum" | "Mean" => BinaryOp::Add,
        "Sub" => BinaryOp::Sub,
        "Mul" => BinaryOp::Mul,
        "Div" => BinaryOp::Div,
        "Pow" => BinaryOp::Pow,
        "PRelu" => BinaryOp::PRelu,
        "Max" => BinaryOp::Max,
        "Min" => BinaryOp::Min,
        _ => return None,
    })
}

/// The same operation as a function of one side, the other being one number.
fn with_scalar(op: BinaryOp, scalar_is_left: bool) -> Option<Function> {
    Some(match (op, scalar_is_left) {
        (BinaryOp::Add, _) => Function::AddConstant,
        (BinaryOp::Sub, false) => Function::SubConstant,
        (BinaryOp::Sub, true) => Function::ConstantSub,
        (BinaryOp::Mul, _) => Function::MulConstant,
        (BinaryOp::Div, false) => Function::DivConstant,
        (BinaryOp::Div, true) => Function::ConstantDiv,
        (BinaryOp::Pow, false) => Function::PowConstant,
        (BinaryOp::PRelu, false) => Function::LeakyRelu,
        (BinaryOp::Max, _) => Function::MaxConstant,
        (BinaryOp::Min, _) => Function::MinConstant,
        _ => return None,
    })
}

fn apply(op: BinaryOp, a: f32, b: f32) -> f32 {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Pow => pow(a, b),
        BinaryOp::Max => maximum(a, b),
        BinaryOp::Min => minimum(a, b),
        BinaryOp::PRelu if a < 0.0 => a * b,
        _ => a,
    }
}

impl Lowering<'_> {
    /// Folds a product of whole numbers with nothing but zeros, by which exporters keep an input in the graph.
    fn zero_product(&mut self, node: &Node) -> Lowered<bool> {
        if node.op_type != "Mul" || node.inputs.len() != 2 {
            return Ok(false);
        }
        let (a, b) = (self.value(node, 0)?, self.value(node, 1)?);
        let ((Value::Constant(zeros), Value::Val(other)) | (Value::Val(other), Value::Constant(zeros))) = (a, b) else {
            return Ok(false);
        };
        let whole = matches!(other.kind, Kind::Plain) && zeros.quantization.is_none();
        if !whole || zeros.tensor.dtype == model::DType::Bool || zeros.tensor.data.iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
        let shape = broadcast(&zeros.tensor.shape, &other.layout.shape)?;
        Self::check_size(&shape)?;
        let bytes = shape.iter().product::<usize>() * zeros.tensor.dtype.size_bytes();
        self.bind_constant(node, 0, Tensor { dtype: zeros.tensor.dtype, shape, data: vec![0; bytes] });
        Ok(true)
    }

    pub(super) fn binary(&mut self, node: &Node) -> Lowered {
        if self.zero_product(node)? {
            return Ok(());
        }
        let Some(op) = operation(&node.op_type) else { return no_step("the operator has no step") };
        let count = node.inputs.len();
        if count == 0 {
            return wrong("it has no input");
        }
        if count != 2 && !matches!(node.op_type.as_str(), "Sum" | "Mean" | "Max" | "Min") {
            return wrong(format!("it has {count} inputs, and takes two"));
        }
        let name = node.output(0).unwrap_or("").to_string();
        if count == 1 {
            let value = self.value(node, 0)?;
            self.bind_value(node, 0, value);
            return Ok(());
        }
        if count == 2 && node.op_type != "Mean" {
            let (a, b) = (self.value(node, 0)?, self.value(node, 1)?);
            return self.pair(node, op, a, b, &name);
        }
        // More than two: one after the other in float.
        let mut sum = Value::Val(self.float_tensor(node, 0)?);
        for index in 1..count {
            let next = Value::Val(self.float_tensor(node, index)?);
            let part = if index + 1 == count && node.op_type != "Mean" {
                name.clone()
            } else {
                self.fresh(&format!("{name}/{index}"))
            };
            self.pair(node, op, sum, next, &part)?;
            sum = match self.values.get(&part) {
                Some(value) => value.clone(),
                None => return wrong("it has no result"),
            };
        }
        if node.op_type == "Mean"
            && let Value::Val(val) = sum
        {
            self.apply_function(node, val, (Function::DivConstant, count as f32, 0.0), &name)?;
        }
        Ok(())
    }

    /// `a op b` under the name `name`.
    pub(super) fn pair(&mut self, node: &Node, op: BinaryOp, a: Value, b: Value, name: &str) -> Lowered {
        // One number on one side: a function of the other.
        let scalar = |constant: &Constant, other: &Val| {
            constant.tensor.len() == 1 && constant.tensor.shape.len() <= other.layout.shape.len()
        };
        let found = match (&a, &b) {
            (Value::Val(x), Value::Constant(c)) if scalar(c, x) => with_scalar(op, false).map(|f| (x.clone(), f, c)),
            (Value::Constant(c), Value::Val(x)) if scalar(c, x) => with_scalar(op, true).map(|f| (x.clone(), f, c)),
            _ => None,
        };
        if let Some((x, function, constant)) = found
            && matches!(x.kind, Kind::Float | Kind::Quantized { .. } | Kind::Wide)
        {
            let value = constant.scalar()?;
            return self.apply_function(node, x, (function, value, 0.0), name);
        }
        // Both sides functions of the same int8 tensor: still one.
        if let (Value::Val(x), Value::Val(y)) = (&a, &b)
            && x.tensor == y.tensor
            && x.layout == y.layout
            && let (Some(left), Some(right)) = (self.real_table(x), self.real_table(y))
        {
            let table = std::array::from_fn(|index| apply(op, left[index], right[index]));
            let kind = Kind::Quantized { table: Some(Rc::new(table)) };
            self.values.insert(name.to_string(), Value::Val(Val { kind, ..x.clone() }));
            return Ok(());
        }
        if self.pair_i8(node, op, &a, &b, name)? || self.pair_i16(node, op, &a, &b, name)? {
            return Ok(());
        }
        self.pair_f32(node, op, a, b, name)
    }

    /// The int8 step, where both sides are int8 and the result is quantized.
    fn pair_i8(&mut self, node: &Node, op: BinaryOp, a: &Value, b: &Value, name: &str) -> Lowered<bool> {
        if matches!(op, BinaryOp::Div | BinaryOp::Pow) {
            return Ok(false);
        }
        let swapped = matches!(a, Value::Constant(_));
        let (left, right) = if swapped { (b, a) } else { (a, b) };
        if swapped && op == BinaryOp::PRelu {
            return Ok(false);
        }
        let Value::Val(x) = left else { return Ok(false) };
        if !x.is_quantized() {
            return Ok(false);
        }
        let (right, b_scale, b_zero_point) = match right {
            Value::Val(y) if y.is_quantized() => {
                let (scale, zero_point) = self.quantization(y);
                (Right::Val(y.clone()), scale, zero_point)
            }
            Value::Constant(constant) => match constant.to_i8s()? {
                Some((values, quantization, shift)) if quantization.scales.len() == 1 => {
                    let data = values.iter().map(|value| value.cast_unsigned()).collect();
                    let right = Right::Constant { data, shape: constant.tensor.shape.clone(), size: 1 };
                    (right, quantization.scales[0], quantization.zero_points[0] - shift)
                }
                _ => return Ok(false),
            },
            Value::Val(_) => return Ok(false),
        };
        let Some(target) = self.target(name).filter(|target| target.held != Held::I16) else { return Ok(false) };
        self.stored_pair(node, op, Sides { x: x.clone(), right, b_scale, b_zero_point, swapped }, &target, name)
            .map(|()| true)
    }

    /// The int16 step, where both sides are integers and the result is int16: int8 is widened, exactly.
    fn pair_i16(&mut self, node: &Node, op: BinaryOp, a: &Value, b: &Value, name: &str) -> Lowered<bool> {
        if matches!(op, BinaryOp::Div | BinaryOp::Pow) {
            return Ok(false);
        }
        let swapped = matches!(a, Value::Constant(_));
        let (left, right) = if swapped { (b, a) } else { (a, b) };
        let (false, Value::Val(x)) = (swapped && op == BinaryOp::PRelu, left) else { return Ok(false) };
        let Some(target) = self.target(name).filter(|target| target.held == Held::I16) else { return Ok(false) };
        if !x.is_integer() {
            return Ok(false);
        }
        let label = node.label();
        let (right, b_scale, b_zero_point) = match right {
            Value::Val(y) if y.is_integer() => {
                let y = self.widened(y, &label)?;
                let (scale, zero_point) = self.quantization(&y);
                (Right::Val(y), scale, zero_point)
            }
            Value::Constant(constant) => match constant.to_levels_i16()? {
                Some((levels, scale)) => {
                    let data = levels.iter().flat_map(|level| level.to_le_bytes()).collect();
                    (Right::Constant { data, shape: constant.tensor.shape.clone(), size: 2 }, scale, 0)
                }
                None => return Ok(false),
            },
            Value::Val(_) => return Ok(false),
        };
        let x = self.widened(x, &label)?;
        self.stored_pair(node, op, Sides { x, right, b_scale, b_zero_point, swapped }, &target, name).map(|()| true)
    }

    /// The step on stored elements of one type.
    fn stored_pair(&mut self, node: &Node, op: BinaryOp, sides: Sides, target: &Target, name: &str) -> Lowered {
        let Sides { x, right, b_scale, b_zero_point, swapped } = sides;
        let (a_scale, _) = self.quantization(&x);
        let (a_multiplier, b_multiplier) = match op {
            BinaryOp::Mul => ((a_scale * b_scale) / target.scale, 1.0),
            BinaryOp::PRelu => (a_scale / target.scale, (a_scale * b_scale) / target.scale),
            _ => (a_scale / target.scale, b_scale / target.scale),
        };
        // constant - x is -x + constant.
        let (op, a_multiplier) =
            if swapped && op == BinaryOp::Sub { (BinaryOp::Add, -a_multiplier) } else { (op, a_multiplier) };
        let walk = self.walk(x, right, op == BinaryOp::PRelu)?;
        let result = target.names.first().map_or(name, String::as_str);
        let quantization = Some((target.scale, target.zero_point));
        let y = self.new_tensor(target.held.dtype(), &walk.layout, quantization, result);
        let step = Binary {
            op,
            a: walk.a.tensor,
            b: walk.b,
            constant: walk.constant,
            y,
            dims: walk.dims,
            a_strides: walk.a_strides,
            b_strides: walk.b_strides,
            b_zero_point,
            a_multiplier,
            b_multiplier,
            low: target.low,
            high: target.high,
        };
        self.builder.step(Step::Binary(step), &node.label());
        self.bind_result(node, Some(target), y, walk.layout);
        Ok(())
    }

    fn pair_f32(&mut self, node: &Node, op: BinaryOp, a: Value, b: Value, name: &str) -> Lowered {
        let commutes = matches!(op, BinaryOp::Add | BinaryOp::Mul | BinaryOp::Max | BinaryOp::Min);
        let (a, b) = if commutes && matches!(a, Value::Constant(_)) { (b, a) } else { (a, b) };
        let a = match a {
            Value::Val(val) => val,
            Value::Constant(constant) => self.materialize(&constant, node.input(0).unwrap_or(name))?,
        };
        let a = self.float(a)?;
        let right = match b {
            Value::Val(val) => Right::Val(self.float(val)?),
            Value::Constant(constant) => {
                let plain = Tensor::from_f32(constant.tensor.shape.clone(), &constant.to_f32s()?);
                Right::Constant { data: plain.data, shape: plain.shape, size: 4 }
            }
        };
        let walk = self.walk(a, right, op == BinaryOp::PRelu)?;
        let y = self.new_tensor(DType::F32, &walk.layout, None, name);
        let step = Binary {
            op,
            a: walk.a.tensor,
            b: walk.b,
            constant: walk.constant,
            y,
            dims: walk.dims,
            a_strides: walk.a_strides,
            b_strides: walk.b_strides,
            b_zero_point: 0,
            a_multiplier: 1.0,
            b_multiplier: 1.0,
            low: -128,
            high: 127,
        };
        self.builder.step(Step::Binary(step), &node.label());
        let val = Val { tensor: y, layout: walk.layout, kind: Kind::Float };
        self.values.insert(name.to_string(), Value::Val(val));
        Ok(())
    }

    /// Lays both sides out along the result. `slope`: the right side of PRelu is broadcast one way, and a
    /// one-dimensional one counts channels in some exporters' files.
    fn walk(&mut self, a: Val, b: Right, slope: bool) -> Lowered<Walk> {
        let mut b = b;
        if slope && b.shape().len() == 1 && b.shape()[0] != 1 {
            let rank = a.layout.shape.len();
            let channels = rank > 2 && a.layout.shape[1] == b.shape()[0] && a.layout.shape[rank - 1] != b.shape()[0];
            if channels && let Right::Constant { shape, .. } = &mut b {
                shape.resize(rank - 1, 1);
            }
        }
        if let Right::Val(other) = &b
            && other.layout == a.layout
        {
            let mut dims = [1; MAX_RANK];
            dims[MAX_RANK - 1] = a.layout.len() as u32;
            let mut strides = [0; MAX_RANK];
            strides[MAX_RANK - 1] = u32::from(a.layout.len() != 1);
            let b = Some(other.tensor);
            let layout = a.layout.clone();
            return Ok(Walk { layout, dims, a_strides: strides, b_strides: strides, b, a, constant: Span::NONE });
        }
        let shape = broadcast(&a.layout.shape, b.shape())?;
        Self::check_size(&shape)?;
        let rank = shape.len();
        let raise = |val: Val| Val { layout: val.layout.with_rank(rank), ..val };
        let a = self.plain(&raise(a))?;
        if let Right::Val(val) = b {
            b = Right::Val(self.plain(&raise(val))?);
        }
        // The result lies as the side that has its shape.
        let order_of = |layout: &Layout| layout.memory_order().unwrap_or_else(|| super::identity(rank));
        let order = match &b {
            _ if a.layout.shape == shape => order_of(&a.layout),
            Right::Val(val) if val.layout.shape == shape => order_of(&val.layout),
            _ => super::identity(rank),
        };
        let a = self.ordered(&a, &order)?;
        let layout = Layout::ordered(&shape, &order);
        let stride_of =
            |layout: &Layout, axis: usize| layout.axis_strides(axis).first().map_or(0, |&(_, stride)| stride);
        let (b_tensor, constant, b_layout) = match b {
            Right::Val(val) => {
                let val = self.ordered(&val, &order)?;
                (Some(val.tensor), Span::NONE, val.layout)
            }
            Right::Constant { data, shape: given, size } => {
                let mut full = vec![1; rank - given.len()];
                full.extend_from_slice(&given);
                let from = Layout::row_major(&full);
                let to = Layout::ordered(&full, &order);
                let extents: Vec<usize> = order.iter().map(|&axis| full[axis]).collect();
                let strides: Vec<usize> = order.iter().map(|&axis| stride_of(&from, axis)).collect();
                let mut moved = Vec::with_capacity(data.len());
                for element in 0..to.len() {
                    let (mut rest, mut place) = (element, 0);
                    for (extent, stride) in extents.iter().zip(&strides).rev() {
                        place += rest % extent * stride;
                        rest /= extent;
                    }
                    moved.extend_from_slice(&data[place * size..][..size]);
                }
                (None, self.builder.constant(moved), to)
            }
        };
        let mut joined: Vec<(usize, usize, usize)> = Vec::new();
        for &axis in &order {
            if shape[axis] == 1 {
                continue;
            }
            let (extent, sa, sb) = (shape[axis], stride_of(&a.layout, axis), stride_of(&b_layout, axis));
            match joined.last_mut() {
                Some(last) if last.1 == sa * extent && last.2 == sb * extent => *last = (last.0 * extent, sa, sb),
                _ => joined.push((extent, sa, sb)),
            }
        }
        if joined.len() > MAX_RANK {
            return no_step("it broadcasts along more than 6 axes");
        }
        let (mut dims, mut a_strides, mut b_strides) = ([1; MAX_RANK], [0; MAX_RANK], [0; MAX_RANK]);
        for (slot, &(extent, sa, sb)) in (MAX_RANK - joined.len()..).zip(&joined) {
            (dims[slot], a_strides[slot], b_strides[slot]) = (extent as u32, sa as u32, sb as u32);
        }
        Ok(Walk { layout, dims, a_strides, b_strides, b: b_tensor, a, constant })
    }

    /// BatchNormalization that quantize did not fold: a product and a sum for each channel.
    pub(super) fn batch_normalization(&mut self, node: &Node) -> Lowered {
        if node.int("training_mode").unwrap_or(0) != 0 {
            return no_step("training mode has no step");
        }
        let mut parts = Vec::new();
        for index in 1..5 {
            match self.constant(node, index)? {
                Some(constant) => parts.push(constant.to_f32s()?),
                None => return wrong(format!("its input {index} is missing")),
            }
        }
        let epsilon = node.float("epsilon").unwrap_or(1e-5);
        let x = self.tensor(node, 0)?;
        let channels = x.layout.shape.get(1).copied().unwrap_or(1);
        if parts.iter().any(|part| part.len() != channels) {
            return wrong("its parameters do not fit the channels");
        }
        let factor = |c: usize| parts[0][c] / cygnet_core::math::sqrt(parts[3][c] + epsilon);
        let factors: Vec<f32> = (0..channels).map(factor).collect();
        let offsets: Vec<f32> = (0..channels).map(|c| parts[1][c] - parts[2][c] * factor(c)).collect();
        let mut shape = vec![channels];
        shape.extend(x.layout.shape.iter().skip(2).map(|_| 1));
        let constant =
            |values: &[f32]| Value::Constant(Rc::new(Constant::plain(Tensor::from_f32(shape.clone(), values))));
        let name = node.output(0).unwrap_or("").to_string();
        let scaled = self.fresh(&format!("{name}/scaled"));
        self.pair_f32(node, BinaryOp::Mul, Value::Val(x), constant(&factors), &scaled)?;
        let Some(product) = self.values.get(&scaled).cloned() else { return wrong("it has no result") };
        self.pair_f32(node, BinaryOp::Add, product, constant(&offsets), &name)
    }
}
