//! [Gemm](https://onnx.ai/onnx/operators/onnx__Gemm.html) and [MatMul](https://onnx.ai/onnx/operators/onnx__MatMul.html).

use std::rc::Rc;

use cygnet_core::plan::DType;
use cygnet_core::plan::step::{BinaryOp, MatMul, Step, Window};

use super::binary::broadcast;
use super::conv::Weights;
use super::{Constant, Held, Kind, Lowered, Lowering, Val, Value, identity, no_step, wrong};
use crate::compile::layout::Layout;
use crate::model::{Node, Tensor};

/// A constant right side of `k` rows and `n` columns.
pub(super) struct Matrix {
    pub k: usize,
    pub n: usize,
    /// Stored by columns.
    pub transposed: bool,
    /// The result is wanted transposed: only its layout changes.
    pub flip: bool,
}

/// Whether a bias is the same for every row of `n` columns.
fn is_row(shape: &[usize], n: usize) -> bool {
    let columns = shape.last().copied().unwrap_or(1);
    shape.iter().rev().skip(1).all(|&dim| dim == 1) && [1, n].contains(&columns)
}

impl Lowering<'_> {
    pub(super) fn gemm(&mut self, node: &Node) -> Lowered {
        let mut x = self.tensor(node, 0)?;
        let Some(w) = self.constant(node, 1)? else { return wrong("its input B is missing") };
        let bias = self.constant(node, 2)?;
        if x.layout.shape.len() != 2 || w.tensor.shape.len() != 2 {
            return wrong("its inputs must be matrices");
        }
        if node.int("transA").unwrap_or(0) != 0 {
            x.layout = x.layout.transposed(&[1, 0]);
        }
        let transposed = node.int("transB").unwrap_or(0) != 0;
        let (k, n) =
            if transposed { (w.tensor.shape[1], w.tensor.shape[0]) } else { (w.tensor.shape[0], w.tensor.shape[1]) };
        let (alpha, beta) = (node.float("alpha").unwrap_or(1.0), node.float("beta").unwrap_or(1.0));
        let matrix = Matrix { k, n, transposed, flip: false };
        if let Some(bias) = bias.as_ref().filter(|bias| !is_row(&bias.tensor.shape, n)) {
            let rows = x.layout.shape[0];
            if broadcast(&bias.tensor.shape, &[rows, n])? != [rows, n] {
                return wrong(format!("a bias of shape {:?} does not fit the result", bias.tensor.shape));
            }
            // A bias with several rows: an addition of its own, in float.
            let x = self.float(x)?;
            let name = node.output(0).unwrap_or("").to_string();
            let part = Node { outputs: vec![self.fresh(&format!("{name}/product"))], ..node.clone() };
            self.product(&part, x, &w, matrix, None, (alpha, beta))?;
            let product = self.any(&part.outputs[0])?;
            let scaled: Vec<f32> = bias.to_f32s()?.iter().map(|value| value * beta).collect();
            let bias = Constant::plain(Tensor::from_f32(bias.tensor.shape.clone(), &scaled));
            return self.pair(node, BinaryOp::Add, Value::Val(product), Value::Constant(Rc::new(bias)), &name);
        }
        self.product(node, x, &w, matrix, bias.as_deref(), (alpha, beta))
    }

    /// `x · w` along the last axis of `x`.
    pub(super) fn product(
        &mut self,
        node: &Node,
        x: Val,
        w: &Constant,
        Matrix { k, n, transposed, flip }: Matrix,
        bias: Option<&Constant>,
        (alpha, beta): (f32, f32),
    ) -> Lowered {
        let rank = x.layout.shape.len();
        if x.layout.shape[rank - 1] != k {
            return wrong(format!("{} columns do not fit {k} rows of weights", x.layout.shape[rank - 1]));
        }
        // Elements of a row may lie in any order: the weights follow.
        let (x, order) = match x.layout.innermost_index(rank - 1) {
            Some(order) if x.layout.outer_is_row_major(rank - 1) => (x, order),
            _ => (self.ordered(&x, &identity(rank))?, identity(k)),
        };
        let rows: usize = x.layout.shape[..rank - 1].iter().product();
        let window = Window {
            batch: 1,
            in_h: 1,
            in_w: rows as u32,
            in_c: k as u32,
            out_h: 1,
            out_w: rows as u32,
            out_c: n as u32,
            kernel_h: 1,
            kernel_w: 1,
            stride_h: 1,
            stride_w: 1,
            dilation_h: 1,
            dilation_w: 1,
            pad_top: 0,
            pad_left: 0,
            groups: 1,
        };
        let mut shape = x.layout.shape.clone();
        shape[rank - 1] = n;
        let layout = Layout::row_major(&shape);
        let layout = if flip { layout.transposed(&[1, 0]) } else { layout };
        let weights = Weights {
            constant: w,
            index: &|column, _, _, place| {
                let row = order[place];
                if transposed { column * k + row } else { row * n + column }
            },
            channel_axis: usize::from(!transposed),
            bias,
            factors: &[],
            alpha,
            beta,
        };
        self.convolution(node, x, window, &weights, layout)
    }

    pub(super) fn matmul(&mut self, node: &Node) -> Lowered {
        let (a, b) = (self.value(node, 0)?, self.value(node, 1)?);
        match (a, b) {
            (Value::Val(x), Value::Constant(w)) if w.tensor.shape.len() == 2 && x.layout.shape.len() >= 2 => {
                let (k, n) = (w.tensor.shape[0], w.tensor.shape[1]);
                let matrix = Matrix { k, n, transposed: false, flip: false };
                match self.bias_behind(node, n) {
                    Some((sum, bias)) => {
                        let whole = Node { outputs: self.model.nodes[sum].outputs.clone(), ..node.clone() };
                        self.product(&whole, x, &w, matrix, Some(&bias), (1.0, 1.0))?;
                        self.done[sum] = true;
                        Ok(())
                    }
                    None => self.product(node, x, &w, matrix, None, (1.0, 1.0)),
                }
            }
            (Value::Constant(w), Value::Val(x)) if w.tensor.shape.len() == 2 && x.layout.shape.len() == 2 => {
                // (W·X)ᵀ = Xᵀ·Wᵀ: both transposes are only layouts.
                let (n, k) = (w.tensor.shape[0], w.tensor.shape[1]);
                let x = Val { layout: x.layout.transposed(&[1, 0]), ..x };
                self.product(node, x, &w, Matrix { k, n, transposed: true, flip: true }, None, (1.0, 1.0))
            }
            _ => self.matmul_of_activations(node),
        }
    }

    /// The addition of a constant row of `n` that alone reads the result of a node, and the row.
    fn bias_behind(&self, node: &Node, n: usize) -> Option<(usize, Rc<Constant>)> {
        let name = node.output(0).filter(|name| !self.outputs.contains(name))?;
        let [sum] = self.consumers.get(name)?[..] else { return None };
        let add = &self.model.nodes[sum];
        let other = match &add.inputs[..] {
            [a, b] if add.is("Add") && a == name => b,
            [a, b] if add.is("Add") && b == name => a,
            _ => return None,
        };
        match self.values.get(other) {
            Some(Value::Constant(bias)) if bias.tensor.shape.len() == 1 && is_row(&bias.tensor.shape, n) => {
                Some((sum, bias.clone()))
            }
            _ => None,
        }
    }

    fn matmul_of_activations(&mut self, node: &Node) -> Lowered {
        let (mut a, mut b) = (self.tensor(node, 0)?, self.tensor(node, 1)?);
        let a_is_vector = a.layout.shape.len() == 1;
        let b_is_vector = b.layout.shape.len() == 1;
        if a.layout.shape.is_empty() || b.layout.shape.is_empty() {
            return wrong("its inputs must have at least one axis");
        }
        if a_is_vector {
            a.layout = Layout::row_major(&[1, a.layout.shape[0]]);
        }
        if b_is_vector {
            b.layout = Layout::row_major(&[b.layout.shape[0], 1]);
        }
        let name = node.output(0).unwrap_or("").to_string();
        let target = if a.is_integer() && b.is_integer() { self.target(&name) } else { None };
        let narrow = a.is_quantized() && b.is_quantized();
        let target = target.filter(|target| narrow || target.held == Held::I16);
        (a, b) = match &target {
            Some(target) if target.held == Held::I16 => {
                (self.widened(&a, &node.label())?, self.widened(&b, &node.label())?)
            }
            Some(_) => (a, b),
            None => (self.float(a)?, self.float(b)?),
        };
        let (a, b) =
            (self.ordered(&a, &identity(a.layout.shape.len()))?, self.ordered(&b, &identity(b.layout.shape.len()))?);
        let (a, b) = self.with_same_batch(node, a, b)?;
        let (a_shape, b_shape) = (&a.layout.shape, &b.layout.shape);
        let (m, k) = (a_shape[a_shape.len() - 2], a_shape[a_shape.len() - 1]);
        let (b_k, n) = (b_shape[b_shape.len() - 2], b_shape[b_shape.len() - 1]);
        if k != b_k {
            return wrong(format!("{k} columns do not fit {b_k} rows"));
        }
        let (a_batch, b_batch) = (&a_shape[..a_shape.len() - 2], &b_shape[..b_shape.len() - 2]);
        let (a_count, b_count): (usize, usize) = (a_batch.iter().product(), b_batch.iter().product());
        let batch_shape = broadcast(a_batch, b_batch)?;
        let batch: usize = batch_shape.iter().product();
        let mut shape = batch_shape;
        if !a_is_vector {
            shape.push(m);
        }
        if !b_is_vector {
            shape.push(n);
        }
        Self::check_size(&shape)?;
        let layout = Layout::row_major(&shape);
        let (dtype, quantization, multiplier) = match &target {
            Some(target) => {
                let (sa, sb) = (self.quantization(&a).0, self.quantization(&b).0);
                (target.held.dtype(), Some((target.scale, target.zero_point)), (sa * sb) / target.scale)
            }
            None => (DType::F32, None, 1.0),
        };
        if target.as_ref().is_some_and(|target| !target.is_whole() || target.held != Held::I16 && k > 33_000) {
            return no_step("a product of two activations with a fused limit has no step");
        }
        let y = self.new_tensor(dtype, &layout, quantization, &name);
        let step = MatMul {
            a: a.tensor,
            b: b.tensor,
            y,
            batch: batch as u32,
            a_stride: if a_count == 1 { 0 } else { (m * k) as u32 },
            b_stride: if b_count == 1 { 0 } else { (k * n) as u32 },
            m: m as u32,
            k: k as u32,
            n: n as u32,
            multiplier,
        };
        self.builder.step(Step::MatMul(step), &node.label());
        match target {
            Some(target) => {
                self.bind_target(&target, &Val { tensor: y, layout, kind: Kind::Stored(target.held) });
            }
            None => self.bind(node, 0, Val { tensor: y, layout, kind: Kind::Float }),
        }
        Ok(())
    }

    /// Repeats matrices until both sides have the same batch, or one of them a single matrix.
    fn with_same_batch(&mut self, node: &Node, a: Val, b: Val) -> Lowered<(Val, Val)> {
        let batch = |val: &Val| val.layout.shape[..val.layout.shape.len() - 2].to_vec();
        let (a_batch, b_batch) = (batch(&a), batch(&b));
        let single = |batch: &[usize]| batch.iter().product::<usize>() == 1;
        let trim = |shape: &[usize]| shape.iter().copied().skip_while(|&dim| dim == 1).collect::<Vec<_>>();
        if single(&a_batch) || single(&b_batch) || trim(&a_batch) == trim(&b_batch) {
            return Ok((a, b));
        }
        let common = broadcast(&a_batch, &b_batch)?;
        let mut repeat = |val: Val| {
            let rank = common.len() + 2;
            let val = Val { layout: val.layout.with_rank(rank), ..val };
            let mut repeats: Vec<usize> = common.iter().zip(&val.layout.shape).map(|(new, old)| new / old).collect();
            repeats.extend([1, 1]);
            let val = self.repeated(&val, &repeats, node)?;
            self.ordered(&val, &identity(rank))
        };
        Ok((repeat(a)?, repeat(b)?))
    }
}
