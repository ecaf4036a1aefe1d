//! Reductions, ArgMax and Softmax: operators along one run of elements.

use cygnet_core::bytes::Span;
use cygnet_core::math::exp;
use cygnet_core::plan::DType;
use cygnet_core::plan::step::{ArgMax, Reduce, ReduceKind, Softmax, Step};

use super::{Kind, Lowered, Lowering, Val, identity, no_step, wrong};
use crate::compile::layout::Layout;
use crate::model::Node;

/// A tensor seen as `[outer, n, inner]`.
struct Run {
    val: Val,
    outer: usize,
    n: usize,
    inner: usize,
    /// The order of axes in memory.
    order: Vec<usize>,
}

impl Lowering<'_> {
    /// Brings the given axes into one run of memory.
    fn run_of(&mut self, val: &Val, axes: &[usize]) -> Lowered<Run> {
        let mut val = self.plain(val)?;
        let rank = val.layout.shape.len();
        let in_run = |order: &[usize], shape: &[usize]| {
            let places: Vec<usize> = order
                .iter()
                .filter(|&&axis| shape[axis] != 1)
                .enumerate()
                .filter(|(_, axis)| axes.contains(axis))
                .map(|(place, _)| place)
                .collect();
            places.windows(2).all(|pair| pair[0] + 1 == pair[1])
        };
        let mut order = val.layout.memory_order().unwrap_or_else(|| identity(rank));
        if !in_run(&order, &val.layout.shape) {
            order = (0..rank).filter(|axis| !axes.contains(axis)).chain(axes.iter().copied()).collect();
            val = self.ordered(&val, &order)?;
        }
        let shape = &val.layout.shape;
        let n = axes.iter().map(|&axis| shape[axis]).product();
        let place = |axis: usize| order.iter().position(|&other| other == axis).unwrap_or(0);
        let first = axes.iter().filter(|&&axis| shape[axis] != 1).map(|&axis| place(axis)).min();
        let outer: usize = match first {
            Some(first) => order[..first].iter().map(|&axis| shape[axis]).product(),
            None => val.layout.len(),
        };
        let inner = val.layout.len() / (outer * n);
        Ok(Run { val, outer, n, inner, order })
    }

    pub(super) fn reduce(&mut self, node: &Node) -> Lowered {
        let x = self.tensor(node, 0)?;
        let rank = x.layout.shape.len();
        let global = node.op_type.starts_with("Global");
        let kind = match node.op_type.as_str() {
            "GlobalAveragePool" | "ReduceMean" => ReduceKind::Mean,
            "GlobalMaxPool" | "ReduceMax" => ReduceKind::Max,
            "ReduceSum" => ReduceKind::Sum,
            "ReduceMin" => ReduceKind::Min,
            "ReduceProd" => ReduceKind::Product,
            "ReduceL1" => ReduceKind::L1,
            "ReduceL2" => ReduceKind::L2,
            _ => ReduceKind::SumSquare,
        };
        let axes: Vec<usize> = if global {
            (2..rank).collect()
        } else {
            let mut axes = match self.ints(node, "axes", 1)? {
                Some(axes) if !axes.is_empty() => {
                    axes.iter().map(|&axis| Self::axis(axis, rank)).collect::<Lowered<Vec<_>>>()?
                }
                _ if node.int("noop_with_empty_axes").unwrap_or(0) != 0 => {
                    if matches!(kind, ReduceKind::L1 | ReduceKind::L2 | ReduceKind::SumSquare) {
                        return no_step("this reduction of no axis has no step");
                    }
                    let value = self.value(node, 0)?;
                    self.bind_value(node, 0, value);
                    return Ok(());
                }
                _ => identity(rank),
            };
            axes.sort_unstable();
            axes.dedup();
            axes
        };
        let keep = global || node.int("keepdims").unwrap_or(1) != 0;
        let name = node.output(0).unwrap_or("").to_string();
        let native = matches!(kind, ReduceKind::Mean | ReduceKind::Sum | ReduceKind::Max | ReduceKind::Min);
        let target = if x.is_quantized() && native { self.target(&name) } else { None };
        let target = target.filter(|target| (target.low, target.high) == (-128, 127));
        // What is read as real numbers comes straight from the sums.
        let sums = x.is_quantized() && native;
        let x = if sums { x } else { self.float(x)? };
        let run = self.run_of(&x, &axes)?;
        let mut shape = run.val.layout.shape.clone();
        axes.iter().for_each(|&axis| shape[axis] = 1);
        let mut layout = Layout::ordered(&shape, &run.order);
        if !keep {
            let left: Vec<usize> = (0..rank).filter(|axis| !axes.contains(axis)).map(|axis| shape[axis]).collect();
            layout = match layout.reshaped(&left) {
                Some(layout) => layout,
                None => return no_step("the axes that are left cannot be told apart"),
            };
        }
        let scale = self.quantization(&run.val).0;
        let (dtype, quantization, ratio) = match &target {
            Some(target) => (DType::I8, Some((target.scale, target.zero_point)), scale / target.scale),
            None => (DType::F32, None, scale),
        };
        let multiplier = match kind {
            _ if !sums => 1.0,
            ReduceKind::Mean => ratio / run.n as f32,
            _ => ratio,
        };
        let y = self.new_tensor(dtype, &layout, quantization, &name);
        let (outer, n, inner) = (run.outer as u32, run.n as u32, run.inner as u32);
        let step = Reduce { x: run.val.tensor, y, kind, outer, n, inner, multiplier };
        let step = if sums && target.is_none() { Step::ReduceToFloat(step) } else { Step::Reduce(step) };
        self.builder.step(step, &node.label());
        self.bind_result(node, target.as_ref(), y, layout);
        Ok(())
    }

    pub(super) fn arg_max(&mut self, node: &Node) -> Lowered {
        let x = self.tensor(node, 0)?;
        let x = if x.is_quantized() || matches!(x.kind, Kind::Stored { .. }) { x } else { self.float(x)? };
        let rank = x.layout.shape.len();
        let axis = Self::axis(node.int("axis").unwrap_or(0), rank)?;
        let run = self.run_of(&x, &[axis])?;
        let mut shape = run.val.layout.shape.clone();
        shape[axis] = 1;
        let mut layout = Layout::ordered(&shape, &run.order);
        if node.int("keepdims").unwrap_or(1) == 0 {
            shape.remove(axis);
            layout = match layout.reshaped(&shape) {
                Some(layout) => layout,
                None => return no_step("the axes that are left cannot be told apart"),
            };
        }
        let y = self.new_tensor(DType::I64, &layout, None, node.output(0).unwrap_or(""));
        let step = ArgMax {
            x: run.val.tensor,
            y,
            outer: run.outer as u32,
            n: run.n as u32,
            inner: run.inner as u32,
            least: u32::from(node.op_type == "ArgMin"),
            last: u32::from(node.int("select_last_index").unwrap_or(0) != 0),
        };
        self.builder.step(Step::ArgMax(step), &node.label());
        self.bind(node, 0, Val { tensor: y, layout, kind: Kind::Plain });
        Ok(())
    }

    pub(super) fn softmax(&mut self, node: &Node) -> Lowered {
        let x = self.tensor(node, 0)?;
        let shape = x.layout.shape.clone();
        let old = self.model.opset() < 13 && node.domain.is_empty();
        let axis = Self::axis(node.int("axis").unwrap_or(if old { 1 } else { -1 }), shape.len().max(1))?;
        // Before opset 13 all axes from this one on count as one.
        let axes: Vec<usize> = if old { (axis..shape.len()).collect() } else { vec![axis] };
        let name = node.output(0).unwrap_or("").to_string();
        let log = node.op_type == "LogSoftmax";
        let target = if x.is_quantized() && !log { self.target(&name) } else { None };
        let target = target.filter(|target| (target.low, target.high) == (-128, 127));
        let x = if target.is_some() { x } else { self.float(x)? };
        if shape.is_empty() {
            return wrong("it needs at least one axis");
        }
        let run = self.run_of(&x, &axes)?;
        let layout = run.val.layout.clone();
        let (dtype, quantization, table) = match &target {
            Some(target) => {
                let scale = self.quantization(&run.val).0;
                let entry = |d: u32| cygnet_core::math::round(exp(-(d as f32) * scale) * 8_388_608.0) as u32;
                let table: Vec<u32> = (0..256).map(entry).collect();
                (DType::I8, Some((target.scale, target.zero_point)), self.builder.constant_u32(&table))
            }
            None => (DType::F32, None, Span::NONE),
        };
        let y = self.new_tensor(dtype, &layout, quantization, &name);
        let step = Softmax {
            x: run.val.tensor,
            y,
            outer: run.outer as u32,
            n: run.n as u32,
            inner: run.inner as u32,
            table,
            log: u32::from(log),
        };
        self.builder.step(Step::Softmax(step), &node.label());
        self.bind_result(node, target.as_ref(), y, layout);
        Ok(())
    }
}
