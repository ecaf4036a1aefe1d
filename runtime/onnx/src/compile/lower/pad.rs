//! [Pad](https://onnx.ai/onnx/operators/onnx__Pad.html).

use cygnet_core::bytes::Span;
use cygnet_core::plan::step::{Fill, Step};
use cygnet_core::quantization;

use super::movement::Part;
use super::{Held, Kind, Lowered, Lowering, Val, dense, identity, wrong};
use crate::compile::layout::Layout;
use crate::model::Node;

impl Lowering<'_> {
    pub(super) fn pad(&mut self, node: &Node) -> Lowered {
        let val = self.tensor(node, 0)?;
        let shape = val.layout.shape.clone();
        let rank = shape.len();
        let Some(pads) = self.ints(node, "pads", 1)? else { return wrong("its pads are missing") };
        if pads.iter().any(|pad| pad.unsigned_abs() > 1 << 29) {
            return wrong(format!("pads {pads:?} are too large"));
        }
        let axes: Vec<usize> = match self.constant(node, 3)? {
            Some(axes) => axes.tensor.to_i64s()?.iter().map(|&axis| Self::axis(axis, rank)).collect::<Lowered<_>>()?,
            None => identity(rank),
        };
        if pads.len() != axes.len() * 2 {
            return wrong(format!("{} pads do not fit {} axes", pads.len(), axes.len()));
        }
        let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
        for (index, &axis) in axes.iter().enumerate() {
            (before[axis], after[axis]) = (pads[index], pads[index + axes.len()]);
        }
        let new: Vec<i64> = (0..rank).map(|axis| shape[axis] as i64 + before[axis] + after[axis]).collect();
        if new.iter().any(|&dim| !(1..1 << 29).contains(&dim)) {
            return wrong(format!("pads {pads:?} do not fit {shape:?}"));
        }
        Self::check_size(&new.iter().map(|&dim| dim as usize).collect::<Vec<_>>())?;
        let name = node.output(0).unwrap_or("").to_string();
        let mode = node.string("mode").unwrap_or("constant");
        if mode != "constant" {
            let mut val = self.plain(&val)?;
            for axis in 0..rank {
                if (before[axis], after[axis]) == (0, 0) {
                    continue;
                }
                let dim = shape[axis] as i64;
                let source = |place: i64| match mode {
                    "edge" => Ok(place.clamp(0, dim - 1)),
                    "wrap" => Ok(place.rem_euclid(dim)),
                    "reflect" if dim == 1 => Ok(0),
                    "reflect" => {
                        let folded = place.rem_euclid(2 * (dim - 1));
                        Ok(if folded < dim { folded } else { 2 * (dim - 1) - folded })
                    }
                    other => wrong(format!("mode \"{other}\" is not known")),
                };
                let indices = (-before[axis]..dim + after[axis])
                    .map(|place| source(place).map(|place| place as u32))
                    .collect::<Lowered<Vec<u32>>>()?;
                val = self.gathered(&val, axis, &indices, &name)?;
            }
            self.bind(node, 0, val);
            return Ok(());
        }
        let constant = self.constant(node, 2)?;
        let whole = constant.as_ref().and_then(|constant| constant.tensor.as_scalar_i64()).unwrap_or(0);
        let value = match constant {
            Some(constant) => constant.scalar()?,
            None => node.float("value").unwrap_or(0.0),
        };
        // The stored element that stands for the value, or float where there is none.
        let val = match &val.kind {
            Kind::Quantized { table: None } => {
                let (scale, zero_point) = self.quantization(&val);
                let stored = quantization::quantize::<i8>(value, scale, zero_point);
                let exact = quantization::dequantize(stored, scale, zero_point) == value;
                if exact { val } else { self.float(val)? }
            }
            Kind::Quantized { .. } => self.float(val)?,
            Kind::Wide => {
                let (scale, zero_point) = self.quantization(&val);
                let stored = quantization::quantize::<i16>(value, scale, zero_point);
                let exact = quantization::dequantize(stored, scale, zero_point) == value;
                if exact { val } else { self.float(val)? }
            }
            _ => val,
        };
        let draft_quantization = self.builder.draft(val.tensor).quantization;
        let fill = match (&val.kind, draft_quantization) {
            (Kind::Quantized { .. }, Some((scale, zero_point))) => {
                [u32::from(quantization::quantize::<i8>(value, scale, zero_point).cast_unsigned()), 0]
            }
            (Kind::Wide, Some((scale, zero_point))) => {
                [u32::from(quantization::quantize::<i16>(value, scale, zero_point).cast_unsigned()), 0]
            }
            (Kind::Float, _) => [value.to_bits(), 0],
            (Kind::Stored(Held::U8), _) => [u32::from(value as u8 ^ 0x80), 0],
            (Kind::Stored(Held::I8), _) => [u32::from((value as i8).cast_unsigned()), 0],
            _ => {
                let bits = whole.cast_unsigned();
                [bits as u32, (bits >> 32) as u32]
            }
        };
        // Negative pads cut.
        let parts: Vec<Part> = (0..rank)
            .map(|axis| {
                let start = (-before[axis]).max(0) as usize;
                let end = (-after[axis]).max(0) as usize;
                Part { start, step: 1, count: shape[axis].saturating_sub(start + end) }
            })
            .collect();
        let val = self.part(&val, &parts, &name)?;
        let shape: Vec<usize> = new.iter().map(|&dim| dim as usize).collect();
        if shape == val.layout.shape {
            self.bind(node, 0, val);
            return Ok(());
        }
        let order = val.layout.memory_order().unwrap_or_else(|| identity(rank));
        let layout = Layout::ordered(&shape, &order);
        let draft = self.builder.draft(val.tensor).clone();
        let y = self.new_tensor(draft.dtype, &layout, draft.quantization, &name);
        self.builder.step(Step::Fill(Fill { y, value: fill }), &node.label());
        let out_dims: Vec<usize> = order.iter().map(|&axis| shape[axis]).collect();
        let y_strides = dense(&out_dims);
        let dims: Vec<usize> = order.iter().map(|&axis| val.layout.shape[axis]).collect();
        let offset = order.iter().zip(&y_strides).map(|(&axis, stride)| before[axis].max(0) as usize * stride).sum();
        let x_strides: Vec<i64> = dense(&dims).iter().map(|&stride| stride as i64).collect();
        let label = node.label();
        self.copy(Some(val.tensor), Span::NONE, y, &dims, 0, &x_strides, offset, &y_strides, Span::NONE, &label)?;
        self.bind(node, 0, Val { tensor: y, layout, kind: val.kind });
        Ok(())
    }
}
