//! Samples for calibration and evaluation.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{IntoIter, sync_channel};

use cygnet::Card;
use cygnet::input::{DataSet, InputSpec, read_arrays};
use cygnet_onnx::model::{DType, Dim, Model, Tensor, ValueInfo};

use crate::error::QuantizeError;

/// What the model is fed once.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What messages call it: the file, and the number where a file holds many.
    pub name: String,
    /// One tensor for each model input, in the model's order.
    pub inputs: Vec<Tensor>,
    /// The right answer, where the data have one.
    pub label: Option<i64>,
}

/// A set of samples on disk, see [`DataSet`].
#[derive(Clone, Debug)]
pub struct Data {
    path: PathBuf,
    set: Arc<DataSet>,
    /// Type and shape of every input.
    inputs: Arc<[(DType, InputSpec)]>,
}

/// The samples of a set, read ahead by a thread.
pub type Samples = IntoIter<Result<Sample, QuantizeError>>;

impl Data {
    /// Opens `path` and checks that it suits the inputs of `model`; `card` says how pictures and sound become its
    /// input.
    ///
    /// # Errors
    /// [`QuantizeError::Input`] telling what does not fit, [`QuantizeError::Data`] where a folder needs a card.
    pub fn open(path: &Path, model: &Model, card: Option<&Card>) -> Result<Data, QuantizeError> {
        let inputs: Vec<_> = match model.inputs.iter().map(known).collect::<Option<_>>() {
            Some(known) => known,
            None => as_data_have_it(path, model, card)?,
        };
        let specs = inputs.iter().map(|(_, spec)| spec.clone()).collect();
        let set = DataSet::open(path, card, specs).map_err(|error| match card {
            None if path.is_dir() => QuantizeError::data(
                path.display().to_string(),
                "no card says how the files of this folder become the model's input; put MODEL.toml beside the model \
                 or give --card FILE.toml, or give an .npz of tensors instead",
            ),
            _ => error.into(),
        })?;
        Ok(Data { path: path.into(), set: set.into(), inputs: inputs.into() })
    }

    /// The number of samples.
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Whether every sample has a label.
    pub fn has_labels(&self) -> bool {
        self.set.is_labelled()
    }

    /// The file or folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All samples in order. The thread that reads them ends when the iterator is dropped.
    pub fn samples(&self) -> Samples {
        let (sender, receiver) = sync_channel(4);
        let data = self.clone();
        std::thread::spawn(move || {
            for index in 0..data.len() {
                // A send fails when nobody listens any more: then there is nothing left to do.
                if sender.send(data.sample(index)).is_err() {
                    break;
                }
            }
        });
        receiver.into_iter()
    }

    /// The sample of this number.
    ///
    /// # Errors
    /// [`QuantizeError::Data`] or [`QuantizeError::Input`] naming the sample where it cannot be read or does not fit.
    pub fn sample(&self, index: usize) -> Result<Sample, QuantizeError> {
        let cygnet::input::Sample { name, inputs, label, .. } = self.set.sample(index)?;
        let tensor = |(values, (dtype, spec)): (&Vec<f32>, &(DType, InputSpec))| {
            as_type(values, *dtype, &spec.shape).ok_or_else(|| {
                QuantizeError::data(&name, format!("input \"{}\" takes {dtype}, and it holds other numbers", spec.name))
            })
        };
        let inputs = inputs.iter().zip(&*self.inputs).map(tensor).collect::<Result<_, _>>()?;
        Ok(Sample { name, inputs, label: label.map(|label| label as i64) })
    }
}

/// Type and shape where only the batch, the first axis, is open.
fn known(input: &ValueInfo) -> Option<(DType, InputSpec)> {
    let extent = |(axis, dim): (usize, &Dim)| match dim {
        Dim::Known(extent) => Some(*extent),
        Dim::Symbol(_) => (axis == 0).then_some(1),
    };
    let shape = input.shape.as_ref()?.iter().enumerate().map(extent).collect::<Option<_>>()?;
    Some((input.dtype, InputSpec { name: input.name.clone(), shape }))
}

/// Types and shapes with the open axes as the card makes the input or as the arrays have it.
fn as_data_have_it(path: &Path, model: &Model, card: Option<&Card>) -> Result<Vec<(DType, InputSpec)>, QuantizeError> {
    let open = |input: &ValueInfo| {
        let problem = format!("the shape of the model's input \"{}\" is open, and the data do not tell it", input.name);
        QuantizeError::data(path.display().to_string(), format!("{problem}; give an .npz of tensors"))
    };
    let is_files = path.is_dir() || path.extension().is_none_or(|end| end != "npz" && end != "npy");
    let arrays = if is_files { Vec::new() } else { read_arrays(path)? };
    let of = |input: &ValueInfo| {
        if let Some(known) = known(input) {
            return Ok(known);
        }
        let array = arrays.iter().find(|a| a.name == input.name);
        let array = array.or_else(|| arrays.iter().find(|a| a.name == "x" && model.inputs.len() == 1));
        let found = match array {
            Some(array) => array.shape.get(1..).map(<[usize]>::to_vec),
            None => card.and_then(made_by),
        };
        let found = found.ok_or_else(|| open(input))?;
        let wanted = input.shape.clone().unwrap_or_else(|| vec![Dim::Symbol(String::new()); found.len() + 1]);
        // A model without a batch axis takes the sample as it is.
        let shape = if wanted.len() == found.len() { found } else { [&[1], &found[..]].concat() };
        let fits = |(dim, extent): (&Dim, &usize)| matches!(dim, Dim::Symbol(_)) || *dim == Dim::Known(*extent);
        if shape.len() != wanted.len() || !wanted.iter().zip(&shape).all(fits) {
            let wanted: Vec<_> =
                wanted.iter().map(|d| if let Dim::Known(d) = d { d.to_string() } else { "?".into() }).collect();
            let problem = format!(
                "samples have the shape {shape:?}, the model's input \"{}\" wants [{}]; store the tensors as the \
                 model wants them",
                input.name,
                wanted.join(", ")
            );
            return Err(QuantizeError::data(path.display().to_string(), problem));
        }
        Ok((input.dtype, InputSpec { name: input.name.clone(), shape }))
    };
    model.inputs.iter().map(of).collect()
}

/// The shape that a card's preparation makes, without the batch.
fn made_by(card: &Card) -> Option<Vec<usize>> {
    if let Some(image) = card.image_spec() {
        let (height, width) = (image.height as usize, image.width as usize);
        let is_planar = image.layout == cygnet_sense::Layout::Nchw;
        let channels = image.channels();
        return Some(if is_planar { vec![channels, height, width] } else { vec![height, width, channels] });
    }
    let audio = card.audio_spec()?;
    Some(vec![audio.frames(), audio.row_len()])
}

/// Numbers as a tensor of `dtype`; `None` where they are no such numbers.
fn as_type(values: &[f32], dtype: DType, shape: &[usize]) -> Option<Tensor> {
    if dtype == DType::F32 {
        return Some(Tensor::from_f32(shape.to_vec(), values));
    }
    let (low, high) = match dtype {
        DType::Bool => (0.0, 1.0),
        DType::U8 => (0.0, 255.0),
        DType::I8 => (-128.0, 127.0),
        // Every whole f32 up to here is exact.
        DType::I32 | DType::I64 => (-16_777_216.0, 16_777_216.0),
        _ => return None,
    };
    if !values.iter().all(|value| value.fract() == 0.0 && (low..=high).contains(value)) {
        return None;
    }
    let bytes = dtype.size_bytes();
    let data = values.iter().flat_map(|value| (*value as i64).to_le_bytes().into_iter().take(bytes)).collect();
    Some(Tensor { dtype, shape: shape.to_vec(), data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_keep_their_bytes() {
        let bytes = |values: &[f32], dtype| as_type(values, dtype, &[values.len()]).map(|tensor| tensor.data);
        assert_eq!(bytes(&[-2.0], DType::I32), Some(vec![0xfe, 0xff, 0xff, 0xff]));
        assert_eq!(bytes(&[255.0, 0.0], DType::U8), Some(vec![255, 0]));
        assert_eq!(bytes(&[-128.0], DType::I8), Some(vec![0x80]));
        assert_eq!(bytes(&[0.5], DType::I64), None);
        assert_eq!(bytes(&[256.0], DType::U8), None);
        assert_eq!(bytes(&[f32::NAN], DType::I32), None);
    }
}
