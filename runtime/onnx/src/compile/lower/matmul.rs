//! [Gemm](https://onnx.ai/onnx/operators/onnx__Gemm.html) and [MatMul](https://onnx.ai/onnx/operators/onnx__MatMul.html).

use cygnet_core::plan::DType;
use cygnet_core::plan::step::{MatMul, Step, Window};

use super::conv::Weights;
use super::{Constant, Kind, Lowered, Lowering, Val, Value, identity, no_step, wrong};
use crate::compile::layout::Layout;
use crate::model::Node;

/// A constant right side of `k` rows and `n` columns.
struct Matrix {
    k: usize,
    n: usize,
    /// Stored by columns.
    transposed: bool,
    /// The result is wanted transposed: only its layout changes.
    flip: bool,
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
        let (k, n) = if transposed {
            (w.tensor.shape[1], w.tensor.shape[0])
        } else {
            (w.tensor.shape[0], w.tensor.shape[1])
        };
        if let Some(bias) = &bias {
            let shape = &bias.tensor.shape;
            let rows = if shape.len() == 2 { shape[0] } else { 1 };
            let columns = shape.last().copied().unwrap_or(1);
            if rows != 1 || ![1, n].contains(&columns) {
                return no_step("a bias with several rows has no step");
            }
        }
        let (alpha, beta) = (node.float("alpha").unwrap_or(1.0), node.float("beta").unwrap_or(1.0));
        self.product(node, x, &w, Matrix { k, n, transposed, flip: false }, bias.as_deref(), (alpha, beta))
    }

    /// `x · w` along the last axis of `x`.
    fn product(
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
                self.product(node, x, &w, Matrix { k, n, transposed: false, flip: false }, None, (1.0, 1.0))
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
        let target = if a.is_quantized() && b.is_quantized() { self.target(&name) } else { None };
        if target.is_none() {
            (a, b) = (self.float(a)?, self.float(b)?);
        }
        let (a, b) = (
            self.ordered(&a, &identity(a.layout.shape.len()))?,
            self.ordered(&b, &identity(b.layout.shape.len()))?,
        );
        let (a_shape, b_shape) = (&a.layout.shape, &b.layout.shape);
        let (m, k) = (a_shape[a_shape.len() - 2], a_shape[a_shape.len() - 1]);
        let (b_k, n) = (b_shape[b_shape.len() - 2], b_shape[b_shape.len() - 1]);
        if k != b_k {
            return wrong(format!("{k} columns do not fit {b_k} rows"));
        }
        let (a_batch, b_batch) = (&a_shape[..a_shape.len() - 2], &b_shape[..b_shape.len() - 2]);
        let (a_count, b_count): (usize, usize) = (a_batch.iter().product(), b_batch.iter().product());
        let batch_shape = if a_count >= b_count && a_batch.len() >= b_batch.len() { a_batch } else { b_batch };
        let batch = a_count.max(b_count);
        let trim = |shape: &[usize]| shape.iter().copied().skip_while(|&dim| dim == 1).collect::<Vec<_>>();
        if a_count != 1 && b_count != 1 && trim(a_batch) != trim(b_batch) {
            return no_step("batches that are broadcast against each other have no step");
        }
        let mut shape = batch_shape.to_vec();
        if !a_is_vector {
            shape.push(m);
        }
        if !b_is_vector {
            shape.push(n);
        }
        let layout = Layout::row_major(&shape);
        let (dtype, quantization, multiplier) = match &target {
            Some(target) => {
                let (sa, sb) = (self.quantization(&a).0, self.quantization(&b).0);
                (DType::I8, Some((target.scale, target.zero_point)), (sa * sb) / target.scale)
            }
            None => (DType::F32, None, 1.0),
        };
        if target.as_ref().is_some_and(|target| (target.low, target.high) != (-128, 127)) || k > 33_000 {
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
                self.bind_target(&target, &Val { tensor: y, layout, kind: Kind::Stored { unsigned: target.unsigned } });
            }
            None => self.bind(node, 0, Val { tensor: y, layout, kind: Kind::Float }),
        }
        Ok(())
    }
}
