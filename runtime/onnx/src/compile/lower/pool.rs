//! [MaxPool](https://onnx.ai/onnx/operators/onnx__MaxPool.html) and [AveragePool](https://onnx.ai/onnx/operators/onnx__AveragePool.html).

use cygnet_core::plan::DType;
use cygnet_core::plan::step::{Pool, PoolKind, Step};

use super::conv::Sliding;
use super::{Kind, Lowered, Lowering, Val, no_step, wrong};
use crate::compile::layout::Layout;
use crate::model::Node;

impl Lowering<'_> {
    pub(super) fn pool(&mut self, node: &Node) -> Lowered {
        let mut x = self.tensor(node, 0)?;
        if node.output(1).is_some() {
            return no_step("the indices of MaxPool have no step");
        }
        if node.ints("kernel_shape").is_none() {
            return wrong("its kernel_shape is missing");
        }
        let shape = x.layout.shape.clone();
        let sliding = Sliding::of(node, &shape, None)?;
        let is_max = node.op_type == "MaxPool";
        let kind = match (is_max, node.int("count_include_pad").unwrap_or(0)) {
            (true, _) => PoolKind::Max,
            (false, 0) => PoolKind::Average,
            (false, _) => PoolKind::AverageIncludingPad,
        };
        let name = node.output(0).unwrap_or("").to_string();
        let target = if x.is_quantized() && !is_max { self.target(&name) } else { None };
        let limited = target.as_ref().is_some_and(|target| (target.low, target.high) != (-128, 127));
        let target = target.filter(|_| !limited);
        if x.is_quantized() && !is_max && target.is_none() && sliding.is_global() {
            return self.reduce(&Node { op_type: "GlobalAveragePool".into(), ..node.clone() });
        }
        let stays = is_max && matches!(x.kind, Kind::Quantized { table: None } | Kind::Stored { .. });
        if target.is_none() && !stays {
            x = self.float(x)?;
        }
        let order = Layout::channels_last_order(shape.len());
        let x = self.ordered(&x, &order)?;
        let out_shape = sliding.output_shape(&shape, shape[1]);
        Self::check_size(&out_shape)?;
        let layout = Layout::ordered(&out_shape, &order);
        let draft = self.builder.draft(x.tensor).clone();
        let (quantization, multiplier) = match &target {
            Some(target) => {
                (Some((target.scale, target.zero_point)), draft.quantization.map_or(1.0, |q| q.0) / target.scale)
            }
            None => (draft.quantization, 1.0),
        };
        let dtype = if target.is_some() { DType::I8 } else { draft.dtype };
        let y = self.new_tensor(dtype, &layout, quantization, &name);
        let step = Pool {
            x: x.tensor,
            y,
            window: sliding.window(shape[0], shape[1], shape[1], 1),
            kind,
            multiplier,
            pad_end: sliding.after.map(|pad| pad as u32),
        };
        self.builder.step(Step::Pool(step), &node.label());
        match &target {
            Some(target) => self.bind_result(node, Some(target), y, layout),
            None => self.bind(node, 0, Val { tensor: y, layout, kind: x.kind }),
        }
        Ok(())
    }
}
