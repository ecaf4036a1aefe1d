//! What a tensor of the graph is while it is lowered.

use std::rc::Rc;

use cygnet_core::plan::TensorId;

use super::{Lowered, wrong};
use crate::compile::layout::Layout;
use crate::model::{DType, Tensor, parameter_of};

/// A tensor of the graph.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Constant(Rc<Constant>),
    Val(Val),
}

/// A constant: plain, or dequantized from stored integers.
#[derive(Clone, Debug)]
pub(crate) struct Constant {
    /// The plain elements, or the stored ones.
    pub tensor: Tensor,
    /// Scales, zero points and their axis where the value is dequantized.
    pub quantization: Option<ConstantQuantization>,
}

/// How the real values of a constant follow from the stored ones.
#[derive(Clone, Debug)]
pub(crate) struct ConstantQuantization {
    /// One, or one for each index along `axis`, or one for each block of elements along it.
    pub scales: Vec<f32>,
    /// As many as scales.
    pub zero_points: Vec<i32>,
    pub axis: usize,
    /// Elements of a block; 0 where there are none.
    pub block: usize,
}

impl Constant {
    pub fn plain(tensor: Tensor) -> Self {
        Self { tensor, quantization: None }
    }

    /// Which scale and zero point element `index` has.
    pub(super) fn channel(&self, quantization: &ConstantQuantization, index: usize) -> usize {
        let ConstantQuantization { scales, axis, block, .. } = quantization;
        parameter_of(&self.tensor.shape, *axis, *block, scales.len(), index)
    }

    /// The same with stored values of 4 bits as int8, their zero points taken off.
    pub fn in_8_bits(mut self) -> Lowered<Self> {
        if !self.tensor.dtype.is_packed() {
            return Ok(self);
        }
        let stored = self.tensor.to_i64s()?;
        if let Some(mut quantization) = self.quantization.take() {
            let point = |index| quantization.zero_points[self.channel(&quantization, index)];
            let levels = stored.iter().enumerate().map(|(index, &value)| (value as i32 - point(index)) as i8);
            let tensor = Tensor::from_i8(self.tensor.shape.clone(), &levels.collect::<Vec<_>>());
            quantization.zero_points.fill(0);
            return Ok(Self { tensor, quantization: Some(quantization) });
        }
        Ok(Self { tensor: self.tensor.widened(), quantization: None })
    }

    /// The real values.
    pub fn to_f32s(&self) -> Lowered<Vec<f32>> {
        let Some(quantization) = &self.quantization else { return Ok(self.tensor.to_f32s()?) };
        let stored = self.tensor.to_i64s()?;
        Ok(stored
            .iter()
            .enumerate()
            .map(|(index, &value)| {
                let channel = self.channel(quantization, index);
                (value - i64::from(quantization.zero_points[channel])) as f32 * quantization.scales[channel]
            })
            .collect())
    }

    /// The value as an ONNX tensor.
    pub fn to_plain(&self) -> Lowered<Tensor> {
        match &self.quantization {
            None => Ok(self.tensor.clone().widened()),
            Some(_) => Ok(Tensor::from_f32(self.tensor.shape.clone(), &self.to_f32s()?)),
        }
    }

    /// Stored 8-bit values as int8 with their zero points, uint8 shifted by 128; `None` for others and for blocks.
    pub fn to_i8s(&self) -> Lowered<Option<(Vec<i8>, &ConstantQuantization, i32)>> {
        let Some(quantization) = &self.quantization else { return Ok(None) };
        let shift = match self.tensor.dtype {
            _ if quantization.block > 0 => return Ok(None),
            DType::I8 => 0,
            DType::U8 => 128,
            _ => return Ok(None),
        };
        let values = self.tensor.data.iter().map(|&byte| (byte ^ shift as u8).cast_signed()).collect();
        Ok(Some((values, quantization, shift)))
    }

    /// The only element as a real number.
    pub fn scalar(&self) -> Lowered<f32> {
        match self.to_f32s()?[..] {
            [value] => Ok(value),
            _ => wrong("a single number is needed where a constant has several"),
        }
    }
}

/// A tensor in the arena.
#[derive(Clone, Debug)]
pub(crate) struct Val {
    pub tensor: TensorId,
    pub layout: Layout,
    pub kind: Kind,
}

/// What the elements of an arena tensor mean in the graph.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Real numbers in float32.
    Float,
    /// Real numbers held as int8: dequantized, or those 256 values where a function of the stored
    /// value has been applied.
    Quantized { table: Option<Rc<[f32; 256]>> },
    /// The int8 or, shifted by 128, uint8 numbers themselves.
    Stored { unsigned: bool },
    /// Elements of any other type as they are.
    Plain,
}

impl Val {
    /// Whether the value is real and held as plain dequantized int8.
    pub fn is_quantized(&self) -> bool {
        matches!(self.kind, Kind::Quantized { table: None })
    }
}
