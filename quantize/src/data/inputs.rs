//! Types and shapes of a model's inputs, as its samples have them.

use std::collections::BTreeMap;
use std::path::Path;

use cygnet::Card;
use cygnet::input::{InputSpec, read_arrays};
use cygnet_onnx::model::{DType, Dim, Model, Tensor, ValueInfo};

use super::SYNTHETIC;
use crate::engine;
use crate::error::QuantizeError;
use crate::facts::dims_of;

/// The model with the extents that the card tells, and batches of 1 wherever an input has the same open axis.
pub(super) fn with_known_dims(model: &Model, card: Option<&Card>) -> Model {
    let batch = |input: &ValueInfo| match input.shape.as_deref() {
        Some([Dim::Symbol(batch), ..]) if !batch.is_empty() => Some((batch.clone(), 1)),
        _ => None,
    };
    let mut dims: BTreeMap<String, usize> = model.inputs.iter().filter_map(batch).collect();
    dims.extend(card.into_iter().flat_map(|card| &card.dims).map(|(name, extent)| (name.clone(), *extent as usize)));
    let mut known = model.clone();
    cygnet_onnx::compile::fix_dims(&mut known, &dims);
    known
}

/// Marks the inputs that samples may come without because no step reads them, as the rate of a model for one rate.
pub(super) fn mark_unread(inputs: &mut [(DType, InputSpec)], model: &Model) -> Result<(), QuantizeError> {
    let shapes: Vec<Tensor> = inputs
        .iter()
        .map(|(dtype, spec)| Tensor { dtype: *dtype, shape: spec.shape.clone(), data: Vec::new() })
        .collect();
    let plan = cygnet::Model::from_plan_bytes(engine::plan(model, &dims_of(model, &shapes), None)?)?;
    for ((_, spec), found) in inputs.iter_mut().zip(plan.inputs()) {
        spec.kept |= found.kept;
    }
    Ok(())
}

/// Type and shape where only the batch, the first axis, is open.
pub(super) fn known(input: &ValueInfo) -> Option<(DType, InputSpec)> {
    let extent = |(axis, dim): (usize, &Dim)| match dim {
        Dim::Known(extent) => Some(*extent),
        Dim::Symbol(_) => (axis == 0).then_some(1),
    };
    let shape = input.shape.as_ref()?.iter().enumerate().map(extent).collect::<Option<_>>()?;
    Some((input.dtype, InputSpec { name: input.name.clone(), shape, kept: false }))
}

/// Types and shapes with the open axes as the card makes the input or as the arrays have it.
pub(super) fn as_data_have_it(
    path: &Path,
    model: &Model,
    card: Option<&Card>,
) -> Result<Vec<(DType, InputSpec)>, QuantizeError> {
    let open = |input: &ValueInfo| {
        let problem = format!("the shape of the model's input \"{}\" is open, and the data do not tell it", input.name);
        QuantizeError::data(path.display().to_string(), format!("{problem}; give an .npz of tensors"))
    };
    let is_files = path == Path::new(SYNTHETIC)
        || path.is_dir()
        || path.extension().is_none_or(|end| end != "npz" && end != "npy");
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
        Ok((input.dtype, InputSpec { name: input.name.clone(), shape, kept: false }))
    };
    model.inputs.iter().map(of).collect()
}

/// The shape that a card's preparation makes, without the batch.
pub(super) fn made_by(card: &Card) -> Option<Vec<usize>> {
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
pub fn as_type(values: &[f32], dtype: DType, shape: &[usize]) -> Option<Tensor> {
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
