//! Products with constant weights of activations that become int8 while the model runs: what
//! [`recognise`](crate::compile::recognise) finds, and onnxruntime's DynamicQuantizeMatMul.

use cygnet_core::bytes::Span;
use cygnet_core::kernels::source::useful_scratch;
use cygnet_core::plan::step::{ConvI8, ConvI8Dynamic, QuantizeDynamic, Step, Window};
use cygnet_core::plan::{DType, TensorId};
use cygnet_core::weights;

use super::{Kind, Lowered, Lowering, Val, identity, no_step, wrong};
use crate::compile::layout::Layout;
use crate::model::{self, Node};

impl Lowering<'_> {
    /// Inputs: x, weights `[k, n]`, their scale, their zero point, bias.
    pub(super) fn matmul_dynamic(&mut self, node: &Node) -> Lowered {
        let x = self.float_tensor(node, 0)?;
        let rank = x.layout.shape.len();
        let x = self.ordered(&x, &identity(rank))?;
        let (Some(w), Some(scale)) = (self.constant(node, 1)?, self.constant(node, 2)?) else {
            return wrong("its weights or their scale are missing");
        };
        let [k, n] = w.tensor.shape[..] else { return no_step("weights of other than two axes have no step") };
        let shift = match w.tensor.dtype {
            model::DType::I8 => 0,
            model::DType::U8 => 128,
            other => return no_step(format!("weights of type {other} have no step")),
        };
        if rank == 0 || x.layout.shape[rank - 1] != k || k * n == 0 {
            return wrong(format!("{:?} does not fit weights {:?}", x.layout.shape, w.tensor.shape));
        }
        let stored: Vec<i8> = w.tensor.data.iter().map(|&byte| (byte ^ shift as u8).cast_signed()).collect();
        let of_channels = |values: Vec<f32>, what: &str| match values.len() {
            1 => Ok(vec![values[0]; n]),
            len if len == n => Ok(values),
            len => wrong(format!("{len} {what} do not fit {n} columns")),
        };
        let scales = of_channels(scale.to_f32s()?, "scales")?;
        let zeros: Vec<i32> = match self.constant(node, 3)? {
            Some(zeros) => {
                of_channels(zeros.to_f32s()?, "zero points")?.iter().map(|&zero| zero as i32 - shift).collect()
            }
            None => vec![-shift; n],
        };
        let offsets = match self.constant(node, 4)? {
            Some(bias) => of_channels(bias.to_f32s()?, "biases")?,
            None => Vec::new(),
        };
        let (mut sums, mut magnitudes) = (vec![0_i64; n], vec![0_i64; n]);
        for (place, &level) in stored.iter().enumerate() {
            sums[place % n] += i64::from(level) - i64::from(zeros[place % n]);
            magnitudes[place % n] += i64::from(level).abs();
        }
        let fits = |column: usize| {
            (magnitudes[column] + i64::from(zeros[column]).abs() * k as i64 + sums[column].abs()) * 128 < 1 << 31
        };
        if !(0..n).all(fits) || scales.iter().any(|scale| !(scale.is_finite() && *scale >= 0.0)) {
            return no_step("its sums could pass 32 bits, or a scale is not usable");
        }
        let (levels, parameters) = self.levels(&x, node);
        let rows: usize = x.layout.shape[..rank - 1].iter().product();
        let window = row_window(rows, k, n);
        let mut packed = vec![0; weights::packed_bytes(&window)];
        weights::pack(&window, &mut |column, _, _, row| stored[row * n + column], &mut packed);
        let label = node.label();
        let scratch = useful_scratch(&window, false, self.options.scratch_bytes);
        let mut shape = x.layout.shape.clone();
        shape[rank - 1] = n;
        Self::check_size(&shape)?;
        let layout = Layout::row_major(&shape);
        let y = self.new_tensor(DType::F32, &layout, None, node.output(0).unwrap_or(""));
        let conv = ConvI8 {
            x: levels,
            y,
            scratch: scratch.map(|bytes| self.builder.scratch(bytes, &label)),
            window,
            narrow: u32::from(!packed.contains(&i8::MIN.cast_unsigned())),
            weights: self.builder.constant(packed),
            multipliers: self.builder.constant_f32(&scales),
            bias: self.builder.constant_i32(&sums.iter().map(|&sum| sum as i32).collect::<Vec<_>>()),
            weight_zero_points: match zeros.iter().all(|&zero| zero == 0) {
                true => Span::NONE,
                false => self.builder.constant_i32(&zeros),
            },
            low: -128,
            high: 127,
        };
        let room = self.builder.scratch(8 * n, &label);
        let absent = offsets.iter().all(|&offset| offset == 0.0);
        let offsets = if absent { Span::NONE } else { self.builder.constant_f32(&offsets) };
        self.builder.step(Step::ConvI8Dynamic(ConvI8Dynamic { conv, parameters, room, offsets }), &label);
        self.bind(node, 0, Val { tensor: y, layout, kind: Kind::Float });
        Ok(())
    }

    /// Levels of a float tensor and their parameters, made once.
    fn levels(&mut self, x: &Val, node: &Node) -> (TensorId, TensorId) {
        if let Some(&known) = self.dynamic.get(&x.tensor) {
            return known;
        }
        let draft = self.builder.draft(x.tensor).clone();
        let y = self.builder.tensor(DType::I8, draft.shape, None, &format!("{}/levels", draft.name));
        let parameters = self.builder.tensor(DType::F32, vec![2], None, &format!("{}/parameters", draft.name));
        let step = QuantizeDynamic { x: x.tensor, y, parameters };
        self.builder.step(Step::QuantizeDynamic(step), &node.label());
        self.dynamic.insert(x.tensor, (y, parameters));
        (y, parameters)
    }
}

/// A product as a convolution of one position for each row.
fn row_window(rows: usize, k: usize, n: usize) -> Window {
    Window {
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
    }
}
