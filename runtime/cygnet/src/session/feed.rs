//! Setting the inputs of a session.

use cygnet_core::DType;
use cygnet_core::kernels::view;
use cygnet_core::plan::{self, Tensor};
use cygnet_sense::{ImageSpec, Layout, Output, Pixels, Quantization};

use super::{Port, Session, find, shape};
use crate::error::Error;
use crate::input::resampled;
use crate::model::Preparation;

/// Buffers that are kept from one input to the next.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub values: Vec<f32>,
    pub bytes: Vec<u8>,
    scratch: Vec<u8>,
    sound_scratch: Vec<f32>,
}

impl Session {
    /// The number of an input.
    ///
    /// # Errors
    /// [`Error::NoSuchPort`].
    pub fn input_index<'n>(&self, input: impl Into<Port<'n>>) -> Result<usize, Error> {
        let plan = self.model.plan();
        let names = (0..plan.input_count()).filter_map(|index| plan.input(index)).map(|port| plan.text(port.name));
        find(input.into(), "input", names)
    }

    /// Sets an input from numbers in the order of its ONNX shape. They are quantized where the model takes
    /// int8 inside; an input that is declared as whole numbers takes whole numbers.
    ///
    /// # Errors
    /// [`Error::NoSuchPort`], [`Error::ElementCount`], [`Error::Value`].
    pub fn set_f32<'n>(&mut self, input: impl Into<Port<'n>>, values: &[f32]) -> Result<(), Error> {
        let index = self.input_index(input)?;
        let plan = self.model.plan();
        let Some(port) = plan.input(index) else { return Ok(()) };
        if values.len() != port.len() {
            return Err(self.count(index, &port, port.len(), values.len()));
        }
        if port.dtype == DType::F32 {
            return Ok(self.engine()?.write_f32(index, values)?);
        }
        let mut bytes = std::mem::take(&mut self.room.bytes);
        bytes.clear();
        for (place, &value) in values.iter().enumerate() {
            if !push_number(&mut bytes, port.dtype, value) {
                self.room.bytes = bytes;
                let name = self.model.plan().text(port.name).to_string();
                return Err(Error::Value { name, dtype: port.dtype, index: place, value });
            }
        }
        let written = self.engine()?.write_bytes(index, &bytes);
        self.room.bytes = bytes;
        Ok(written?)
    }

    /// Sets an input from the bytes of an ONNX tensor of the declared type, row-major, little-endian.
    ///
    /// # Errors
    /// [`Error::NoSuchPort`], [`Error::ElementCount`].
    pub fn set_bytes<'n>(&mut self, input: impl Into<Port<'n>>, bytes: &[u8]) -> Result<(), Error> {
        let index = self.input_index(input)?;
        let plan = self.model.plan();
        let Some(port) = plan.input(index) else { return Ok(()) };
        if bytes.len() != port.len() * port.dtype.bytes() {
            return Err(self.count(index, &port, port.len(), bytes.len() / port.dtype.bytes()));
        }
        Ok(self.engine()?.write_bytes(index, bytes)?)
    }

    /// Sets the image input from a picture of any size: resized, cropped and normalised as the card says.
    ///
    /// # Errors
    /// [`Error::NotPrepared`] where no card says how, [`Error::Prepare`], [`Error::ElementCount`] where
    /// the card does not fit the model.
    pub fn set_image(&mut self, pixels: &Pixels<'_>) -> Result<(), Error> {
        let find = |preparation: &Preparation| match preparation {
            Preparation::Image(spec) => Some(*spec),
            _ => None,
        };
        let Some((index, spec)) = self.prepared(find) else {
            return Err(Error::NotPrepared { what: "a picture", kind: "image" });
        };
        let plan = self.model.plan();
        let port = plan.input(index);
        let Some((port, tensor)) = port.and_then(|port| Some((port, plan.tensor(port.tensor)?))) else {
            return Ok(());
        };
        if spec.tensor_len() != port.len() {
            return Err(self.count(index, &port, port.len(), spec.tensor_len()));
        }
        let mut scratch = std::mem::take(&mut self.room.scratch);
        scratch.resize(spec.scratch_bytes(pixels.width(), pixels.height()), 0);
        let done = match in_place_layout(&spec, &port, &tensor) {
            Some(layout) => self.engine().and_then(|mut engine| {
                let bytes = engine.input_bytes(index)?;
                let mut out = if tensor.dtype == DType::I8 {
                    let quantization = Quantization { scale: tensor.scale, zero_point: tensor.zero_point };
                    Output::I8(view::i8s_mut(bytes), quantization)
                } else {
                    Output::F32(view::f32s_mut(bytes))
                };
                Ok(spec.prepare(pixels, &mut out, layout, &mut scratch)?)
            }),
            None => {
                let mut values = std::mem::take(&mut self.room.values);
                values.resize(spec.tensor_len(), 0.0);
                let prepared = spec.prepare(pixels, &mut Output::F32(&mut values), spec.layout, &mut scratch);
                let done = prepared.map_err(Error::from).and_then(|()| self.set_f32(index, &values));
                self.room.values = values;
                done
            }
        };
        self.room.scratch = scratch;
        done
    }

    /// Sets the audio input from mono sound at `rate` samples a second: resampled, cut to the loudest part or
    /// padded, and turned into features as the card says.
    ///
    /// # Errors
    /// [`Error::NotPrepared`] where no card says how, [`Error::Prepare`], [`Error::ElementCount`] where
    /// the card does not fit the model.
    pub fn set_audio(&mut self, samples: &[i16], rate: u32) -> Result<(), Error> {
        let find = |preparation: &Preparation| match preparation {
            Preparation::Audio(spec) => Some(spec.clone()),
            _ => None,
        };
        let Some((index, spec)) = self.prepared(find) else {
            return Err(Error::NotPrepared { what: "sound", kind: "audio" });
        };
        let plan = self.model.plan();
        let Some(port) = plan.input(index) else { return Ok(()) };
        if spec.tensor_len() != port.len() {
            return Err(self.count(index, &port, port.len(), spec.tensor_len()));
        }
        let samples = resampled(samples, rate, spec.sample_rate)?;
        let mut values = std::mem::take(&mut self.room.values);
        values.resize(spec.tensor_len(), 0.0);
        self.room.sound_scratch.resize(spec.scratch_len(), 0.0);
        let prepared = spec.prepare(&samples, &mut Output::F32(&mut values), &mut self.room.sound_scratch);
        let done = prepared.map_err(Error::from).and_then(|()| self.set_f32(index, &values));
        self.room.values = values;
        done
    }

    fn prepared<T>(&self, find: impl Fn(&Preparation) -> Option<T>) -> Option<(usize, T)> {
        let inputs = self.model.plan().input_count();
        (0..inputs).find_map(|index| Some((index, find(self.model.preparation(index))?)))
    }

    fn count(&self, index: usize, port: &plan::Port, expected: usize, given: usize) -> Error {
        let plan = self.model.plan();
        let name = plan.input(index).map_or("", |port| plan.text(port.name)).to_string();
        Error::ElementCount { name, shape: shape(port), expected, given }
    }
}

/// The layout in which a picture can be written straight to its place; `None` where it must go round.
fn in_place_layout(spec: &ImageSpec, port: &plan::Port, tensor: &Tensor) -> Option<Layout> {
    if port.dtype != DType::F32 || !matches!(tensor.dtype, DType::I8 | DType::F32) {
        return None;
    }
    if port.in_order() {
        return Some(spec.layout);
    }
    (spec.layout == Layout::Nchw && port.dims().len() == 4 && port.order[..4] == [0, 2, 3, 1]).then_some(Layout::Nhwc)
}

/// Appends a value as an element of a type other than float32; `false` where it is no such number.
fn push_number(bytes: &mut Vec<u8>, dtype: DType, value: f32) -> bool {
    let (low, high) = match dtype {
        DType::F16 => {
            bytes.extend(half::f16::from_f32(value).to_le_bytes());
            return true;
        }
        DType::F64 => {
            bytes.extend(f64::from(value).to_le_bytes());
            return true;
        }
        DType::Bool => (0.0, 1.0),
        DType::U8 => (0.0, 255.0),
        DType::I8 => (-128.0, 127.0),
        DType::I16 => (-32_768.0, 32_767.0),
        // The greatest floats within the type.
        DType::I32 => (-2_147_483_648.0, 2_147_483_520.0),
        DType::I64 => (-9_223_372_036_854_775_808.0, 9_223_371_487_098_961_920.0),
        DType::U16 => (0.0, 65_535.0),
        DType::U32 => (0.0, 4_294_967_040.0),
        DType::U64 => (0.0, 18_446_742_974_197_923_840.0),
        _ => return false,
    };
    if value.fract() != 0.0 || !(low..=high).contains(&value) {
        return false;
    }
    match dtype {
        DType::I64 => bytes.extend((value as i64).to_le_bytes()),
        DType::I32 => bytes.extend((value as i32).to_le_bytes()),
        DType::I8 => bytes.extend((value as i8).to_le_bytes()),
        DType::I16 => bytes.extend((value as i16).to_le_bytes()),
        DType::U16 => bytes.extend((value as u16).to_le_bytes()),
        DType::U32 => bytes.extend((value as u32).to_le_bytes()),
        DType::U64 => bytes.extend((value as u64).to_le_bytes()),
        _ => bytes.push(value as u8),
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_taken_and_others_refused() {
        let mut bytes = Vec::new();
        let cases =
            [(DType::U8, 255.0), (DType::I8, -128.0), (DType::Bool, 1.0), (DType::I32, -2.0), (DType::I64, 3.0)];
        for (dtype, value) in cases {
            assert!(push_number(&mut bytes, dtype, value), "{dtype} {value}");
        }
        assert_eq!(bytes, [255, 0x80, 1, 0xfe, 0xff, 0xff, 0xff, 3, 0, 0, 0, 0, 0, 0, 0]);
        let refused = [
            (DType::U8, 256.0),
            (DType::U8, 0.5),
            (DType::I8, f32::NAN),
            (DType::Bool, 2.0),
            (DType::I32, 2147483648.0),
        ];
        for (dtype, value) in refused {
            assert!(!push_number(&mut bytes, dtype, value), "{dtype} {value}");
        }
    }
}
