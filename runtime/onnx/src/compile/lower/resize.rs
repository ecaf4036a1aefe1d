//! [Resize](https://onnx.ai/onnx/operators/onnx__Resize.html) and its forerunner Upsample.

use cygnet_core::plan::DType;
use cygnet_core::plan::step::{ResizeLinear, Step};

use super::quantize::Target;
use super::{Kind, Lowered, Lowering, Val, no_step, wrong};
use crate::compile::layout::Layout;
use crate::model::Node;

/// How places of the result are found in the input.
struct Mapping {
    coordinates: String,
    nearest: String,
}

/// One axis: extents and the factor between them.
#[derive(Clone, Copy)]
struct Axis {
    input: usize,
    output: usize,
    scale: f32,
}

impl Mapping {
    /// The place in the input that an index of the result comes from.
    fn source(&self, index: usize, axis: Axis) -> Lowered<f32> {
        let at = index as f32;
        let (input, output) = (axis.input as f32, axis.output as f32);
        Ok(match self.coordinates.as_str() {
            _ if axis.scale == 1.0 && axis.input == axis.output => at,
            "half_pixel" => (at + 0.5) / axis.scale - 0.5,
            "half_pixel_symmetric" => {
                let adjustment = output / (axis.scale * input);
                input / 2.0 * (1.0 - adjustment) + (at + 0.5) / axis.scale - 0.5
            }
            "pytorch_half_pixel" if axis.output > 1 => (at + 0.5) / axis.scale - 0.5,
            "pytorch_half_pixel" => 0.0,
            "align_corners" if axis.output > 1 => {
                // The extent before it is rounded down: scales may make a fraction.
                let exact = axis.scale * input;
                let extent = if (exact - output).abs() < 1e-3 { output } else { exact };
                at * (input - 1.0) / (extent - 1.0)
            }
            "align_corners" => 0.0,
            "asymmetric" => at / axis.scale,
            other => return no_step(format!("coordinate_transformation_mode \"{other}\" has no step")),
        })
    }

    fn nearest(&self, index: usize, axis: Axis) -> Lowered<u32> {
        let source = self.source(index, axis)?;
        let rounded = match self.nearest.as_str() {
            "round_prefer_floor" => (source - 0.5).ceil(),
            "round_prefer_ceil" => (source + 0.5).floor(),
            "floor" => source.floor(),
            "ceil" => source.ceil(),
            // Opset 10: up rounds down, down rounds up.
            "simple" if axis.scale < 1.0 => source.ceil(),
            "simple" => source.floor(),
            other => return wrong(format!("nearest_mode \"{other}\" is not known")),
        };
        Ok(rounded.clamp(0.0, axis.input as f32 - 1.0) as u32)
    }

    /// `(first, second, weight of the second)` as words.
    fn linear(&self, index: usize, axis: Axis) -> Lowered<[u32; 3]> {
        let source = self.source(index, axis)?.clamp(0.0, axis.input as f32 - 1.0);
        let first = source as u32;
        let second = (first + 1).min(axis.input as u32 - 1);
        Ok([first, second, (source - first as f32).to_bits()])
    }
}

impl Lowering<'_> {
    pub(super) fn resize(&mut self, node: &Node) -> Lowered {
        let val = self.tensor(node, 0)?;
        let shape = val.layout.shape.clone();
        let rank = shape.len();
        let old = node.op_type == "Upsample" || self.model.opset() < 11;
        if node.int("antialias").unwrap_or(0) != 0 {
            return no_step("antialias has no step");
        }
        if node.string("keep_aspect_ratio_policy").unwrap_or("stretch") != "stretch" {
            return no_step("keep_aspect_ratio_policy has no step");
        }
        let axes: Vec<usize> = match node.ints("axes") {
            Some(axes) => axes.iter().map(|&axis| Self::axis(axis, rank)).collect::<Lowered<_>>()?,
            None => (0..rank).collect(),
        };
        let scales = match node.floats("scales") {
            Some(scales) => Some(scales.to_vec()),
            None => self.constant(node, if old { 1 } else { 2 })?.map(|c| c.to_f32s()).transpose()?,
        };
        let scales = scales.filter(|scales| !scales.is_empty());
        let sizes = if old { None } else { self.ints(node, "", 3)?.filter(|sizes| !sizes.is_empty()) };
        let mut out = shape.clone();
        let mut factors = vec![1.0_f32; rank];
        match (&sizes, &scales) {
            (Some(sizes), _) if sizes.len() == axes.len() => {
                for (&axis, &size) in axes.iter().zip(sizes) {
                    out[axis] = usize::try_from(size).unwrap_or(0);
                    factors[axis] = out[axis] as f32 / shape[axis] as f32;
                }
            }
            (None, Some(scales)) if scales.len() == axes.len() => {
                for (&axis, &scale) in axes.iter().zip(scales) {
                    out[axis] = (shape[axis] as f32 * scale).floor() as usize;
                    factors[axis] = scale;
                }
            }
            _ => return wrong("its scales or sizes do not fit its axes"),
        }
        if out.contains(&0) || factors.iter().any(|factor| !(factor.is_finite() && *factor > 0.0)) {
            return wrong(format!("it would make {out:?} of {shape:?}"));
        }
        Self::check_size(&out)?;
        let default = if old { "asymmetric" } else { "half_pixel" };
        let mapping = Mapping {
            coordinates: node.string("coordinate_transformation_mode").unwrap_or(default).to_string(),
            nearest: node
                .string("nearest_mode")
                .unwrap_or(if old { "simple" } else { "round_prefer_floor" })
                .to_string(),
        };
        let axis_of = |axis: usize| Axis { input: shape[axis], output: out[axis], scale: factors[axis] };
        match node.string("mode").unwrap_or("nearest") {
            "nearest" => {
                let mut val = self.plain(&val)?;
                for (axis, &extent) in out.iter().enumerate() {
                    let indices = (0..extent)
                        .map(|index| mapping.nearest(index, axis_of(axis)))
                        .collect::<Lowered<Vec<u32>>>()?;
                    val = self.gathered(&val, axis, &indices, node.output(0).unwrap_or(""))?;
                }
                self.bind(node, 0, val);
                Ok(())
            }
            "linear" | "bilinear" => {
                if !(3..=4).contains(&rank) || out[..2] != shape[..2] || factors[0] != 1.0 || factors[1] != 1.0 {
                    return no_step("linear resize of other axes than rows and columns has no step");
                }
                let table = |axis: usize| -> Lowered<Vec<u32>> {
                    let entries = (0..out[axis]).map(|index| mapping.linear(index, axis_of(axis)));
                    Ok(entries.collect::<Lowered<Vec<_>>>()?.concat())
                };
                let columns = table(rank - 1)?;
                let rows = if rank == 4 { table(2)? } else { vec![0, 0, 0] };
                self.resize_linear(node, val, &out, &rows, &columns)
            }
            other => no_step(format!("mode \"{other}\" has no step")),
        }
    }

    fn resize_linear(&mut self, node: &Node, val: Val, out: &[usize], rows: &[u32], columns: &[u32]) -> Lowered {
        let name = node.output(0).unwrap_or("").to_string();
        let target = self.target_like(&val, &name).filter(Target::is_whole);
        let val = if target.is_some() { val } else { self.float(val)? };
        let rank = out.len();
        let order = Layout::channels_last_order(rank);
        let x = self.ordered(&val, &order)?;
        let shape = x.layout.shape.clone();
        let layout = Layout::ordered(out, &order);
        let (dtype, quantization, multiplier) = match &target {
            Some(target) => {
                let multiplier = self.quantization(&x).0 / target.scale;
                (target.held.dtype(), Some((target.scale, target.zero_point)), multiplier)
            }
            None => (DType::F32, None, 1.0),
        };
        let y = self.new_tensor(dtype, &layout, quantization, &name);
        let height = |shape: &[usize]| if rank == 4 { shape[2] as u32 } else { 1 };
        let step = ResizeLinear {
            x: x.tensor,
            y,
            batch: shape[0] as u32,
            in_h: height(&shape),
            in_w: shape[rank - 1] as u32,
            out_h: height(out),
            out_w: out[rank - 1] as u32,
            channels: shape[1] as u32,
            rows: self.builder.constant_u32(rows),
            columns: self.builder.constant_u32(columns),
            multiplier,
        };
        self.builder.step(Step::ResizeLinear(step), &node.label());
        match &target {
            Some(target) => self.bind_result(node, Some(target), y, layout),
            None => self.bind(node, 0, Val { tensor: y, layout, kind: Kind::Float }),
        }
        Ok(())
    }
}
