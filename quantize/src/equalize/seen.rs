//! What each channel of each tensor does on real samples.

use std::collections::BTreeMap;

use cygnet_onnx::model::Model;
use rayon::prelude::*;

use crate::channels::{Channels, Labels};
use crate::data::Sample;
use crate::error::QuantizeError;
use crate::facts::{Dims, Facts};
use crate::float::Float;

/// The values that one class takes in one tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelRange {
    /// The least value.
    pub low: f32,
    /// The largest value.
    pub high: f32,
    /// The sum of all squares.
    pub energy: f64,
    /// The number of values.
    pub count: u64,
    /// The number of values that are not 0.
    pub not_zero: u64,
}

impl Default for ChannelRange {
    fn default() -> ChannelRange {
        ChannelRange { low: f32::INFINITY, high: f32::NEG_INFINITY, energy: 0.0, count: 0, not_zero: 0 }
    }
}

impl ChannelRange {
    /// Adds values; those that are not finite are left out.
    fn add_all(&mut self, values: &[f32]) {
        // Sums side by side, always in the same order.
        let mut energy = [0f64; 8];
        for values in values.chunks(8) {
            for (energy, &value) in energy.iter_mut().zip(values) {
                let is_finite = value.is_finite();
                let value = if is_finite { value } else { 0.0 };
                *energy += f64::from(value) * f64::from(value);
                self.low = if is_finite { self.low.min(value) } else { self.low };
                self.high = if is_finite { self.high.max(value) } else { self.high };
                self.count += u64::from(is_finite);
                self.not_zero += u64::from(value != 0.0);
            }
        }
        self.energy += energy.iter().sum::<f64>();
    }

    /// The mean of all squares.
    pub fn mean_square(&self) -> f64 {
        self.energy / self.count.max(1) as f64
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
    (dims, facts): (&Dims, &Facts),
    mut samples: impl Iterator<Item = Result<Sample, QuantizeError>>,
    mut step: impl FnMut(),
) -> Result<ChannelRanges, QuantizeError> {
    let float = Float::of(model, dims, tensors)?;
    let mut sessions = float.sessions()?;
    let classes = |tensor: &String| {
        let shape = facts.get(tensor).map_or(&[][..], |(_, shape)| shape);
        channels.of.get(tensor).map(|labels| Classes::of(labels, shape))
    };
    let mut seen: Vec<(Option<Classes>, BTreeMap<usize, ChannelRange>)> =
        tensors.iter().map(|tensor| (classes(tensor), BTreeMap::new())).collect();
    loop {
        let batch = samples.by_ref().take(sessions.len()).collect::<Result<Vec<_>, _>>()?;
        if batch.is_empty() {
            break;
        }
        let values = float.run_all(&mut sessions, &batch)?;
        // Each tensor sees the samples in their order: the sums do not depend on the number of threads.
        seen.par_iter_mut().enumerate().for_each(|(place, (classes, ranges))| {
            let Some(classes) = classes else { return };
            values.iter().for_each(|values| classes.add(&values[place], ranges));
        });
        batch.iter().for_each(|_| step());
    }
    Ok(tensors.iter().cloned().zip(seen.into_iter().map(|(_, ranges)| ranges)).collect())
}

/// The classes of the elements of a tensor.
enum Classes {
    /// Rows of `length` elements of one class each, in turn.
    Rows { length: usize, classes: Vec<usize> },
    /// One for each element.
    Elements(Vec<usize>),
}

impl Classes {
    fn of(labels: &Labels, shape: &[usize]) -> Classes {
        let axis = labels.varying().first().copied().unwrap_or(0);
        let extent = shape.get(axis).copied().unwrap_or(1);
        match labels.along_axis(axis, extent) {
            Some(classes) => {
                let length = shape.iter().skip(axis + 1).product::<usize>().max(1);
                Classes::Rows { length, classes }
            }
            None => Classes::Elements(labels.elements(shape)),
        }
    }

    fn add(&self, values: &[f32], ranges: &mut BTreeMap<usize, ChannelRange>) {
        match self {
            Classes::Rows { length, classes } => {
                for (row, values) in values.chunks(*length).enumerate() {
                    ranges.entry(classes[row % classes.len()]).or_default().add_all(values);
                }
            }
            Classes::Elements(classes) => {
                for (class, value) in classes.iter().zip(values) {
                    ranges.entry(*class).or_default().add_all(std::slice::from_ref(value));
                }
            }
        }
    }
}
