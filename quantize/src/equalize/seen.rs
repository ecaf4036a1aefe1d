//! What each channel of each tensor does on real samples.

use std::collections::BTreeMap;

use cygnet_onnx::model::{Model, Tensor};
use cygnet_onnx::reference::Reference;

use crate::channels::{Channels, Labels};
use crate::data::Sample;
use crate::error::QuantizeError;
use crate::facts::Dims;

/// The values that one class takes in one tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelRange {
    /// The least value.
    pub low: f32,
    /// The largest value.
    pub high: f32,
    /// The sum of all values.
    pub sum: f64,
    /// The sum of all squares.
    pub energy: f64,
    /// The number of values.
    pub count: u64,
    /// The number of values that are not 0.
    pub not_zero: u64,
}

impl Default for ChannelRange {
    fn default() -> ChannelRange {
        ChannelRange { low: f32::INFINITY, high: f32::NEG_INFINITY, sum: 0.0, energy: 0.0, count: 0, not_zero: 0 }
    }
}

impl ChannelRange {
    fn add(&mut self, value: f32) {
        if value.is_finite() {
            (self.low, self.high) = (self.low.min(value), self.high.max(value));
            self.sum += f64::from(value);
            self.energy += f64::from(value).powi(2);
            self.count += 1;
            self.not_zero += u64::from(value != 0.0);
        }
    }

    /// The mean of all squares.
    pub fn mean_square(&self) -> f64 {
        self.energy / self.count.max(1) as f64
    }

    /// The mean squared distance from the mean.
    pub fn variance(&self) -> f64 {
        (self.mean_square() - (self.sum / self.count.max(1) as f64).powi(2)).max(0.0)
    }

    /// The share of values that are not 0: 0 … 1.
    pub fn share(&self) -> f64 {
        self.not_zero as f64 / self.count.max(1) as f64
    }
}

/// Ranges by tensor and class.
pub type ChannelRanges = BTreeMap<String, BTreeMap<usize, ChannelRange>>;

/// Runs `model` over `samples` and keeps the range of every class in each of `tensors`; memory does not grow with
/// the number of samples. `step` is called after each.
///
/// # Errors
/// [`QuantizeError::Data`] naming the sample that does not fit.
pub fn watch(
    model: &Model,
    channels: &Channels,
    tensors: &[String],
    dims: &Dims,
    samples: impl Iterator<Item = Result<Sample, QuantizeError>>,
    mut step: impl FnMut(),
) -> Result<ChannelRanges, QuantizeError> {
    let is_input = |tensor: &String| model.inputs.iter().position(|input| input.name == *tensor);
    let taps: Vec<String> = tensors.iter().filter(|t| is_input(t).is_none()).cloned().collect();
    let reference = Reference::with_dims(model, &taps, dims)?;
    let mut seen: ChannelRanges = tensors.iter().map(|tensor| (tensor.clone(), BTreeMap::new())).collect();
    for sample in samples {
        let sample = sample?;
        let outputs = reference.run(&sample.inputs).map_err(|e| QuantizeError::data(&sample.name, e.to_string()))?;
        let tapped = taps.iter().zip(outputs.iter().skip(model.outputs.len()));
        let given = tensors.iter().filter_map(|tensor| Some((tensor, sample.inputs.get(is_input(tensor)?)?)));
        for (name, tensor) in tapped.chain(given) {
            if let (Some(ranges), Some(labels)) = (seen.get_mut(name), channels.of.get(name)) {
                add(ranges, labels, tensor)?;
            }
        }
        step();
    }
    Ok(seen)
}

fn add(ranges: &mut BTreeMap<usize, ChannelRange>, labels: &Labels, tensor: &Tensor) -> Result<(), QuantizeError> {
    let values = tensor.to_f32s()?;
    let axis = labels.varying().first().copied().unwrap_or(0);
    let extent = tensor.shape.get(axis).copied().unwrap_or(1);
    let inner: usize = tensor.shape.iter().skip(axis + 1).product();
    if let Some(along) = labels.along_axis(axis, extent) {
        for (row, values) in values.chunks(inner.max(1)).enumerate() {
            let range = ranges.entry(along[row % along.len()]).or_default();
            values.iter().for_each(|&value| range.add(value));
        }
    } else {
        for (class, &value) in labels.elements(&tensor.shape).into_iter().zip(&values) {
            ranges.entry(class).or_default().add(value);
        }
    }
    Ok(())
}
