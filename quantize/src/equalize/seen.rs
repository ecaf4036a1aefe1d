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

/// Keeps the range of every class in some tensors; memory does not grow with the number of samples.
#[derive(Debug)]
pub struct Watch {
    tensors: Vec<String>,
    /// For each of them its classes, and what was seen of them.
    seen: Vec<(Option<Classes>, BTreeMap<usize, ChannelRange>)>,
}

impl Watch {
    /// Nothing yet of `tensors`.
    pub fn of(channels: &Channels, facts: &Facts, tensors: Vec<String>) -> Watch {
        let classes = |tensor: &String| {
            let shape = facts.get(tensor).map_or(&[][..], |(_, shape)| shape);
            channels.of.get(tensor).map(|labels| Classes::of(labels, shape))
        };
        let seen = tensors.iter().map(|tensor| (classes(tensor), BTreeMap::new())).collect();
        Watch { tensors, seen }
    }

    /// The tensors whose values are wanted.
    pub fn tensors(&self) -> &[String] {
        &self.tensors
    }

    /// Adds the values of samples in their order: of each sample those of [`Watch::tensors`].
    pub fn add(&mut self, samples: &[Vec<&[f32]>]) {
        self.seen.par_iter_mut().enumerate().for_each(|(place, (classes, ranges))| {
            let Some(classes) = classes else { return };
            samples.iter().filter_map(|values| values.get(place)).for_each(|values| classes.add(values, ranges));
        });
    }

    /// Runs `model` over `samples` and adds what it computes.
    ///
    /// # Errors
    /// [`QuantizeError::Data`] naming the sample that does not fit.
    pub fn run(
        &mut self,
        model: &Model,
        dims: &Dims,
        mut samples: impl Iterator<Item = Result<Sample, QuantizeError>>,
    ) -> Result<(), QuantizeError> {
        let float = Float::of(model, dims, &self.tensors)?;
        let mut sessions = float.sessions()?;
        loop {
            let batch = samples.by_ref().take(sessions.len()).collect::<Result<Vec<_>, _>>()?;
            if batch.is_empty() {
                return Ok(());
            }
            let values = float.run_all(&mut sessions, &batch)?;
            self.add(&values.iter().map(|values| values.iter().map(Vec::as_slice).collect()).collect::<Vec<_>>());
        }
    }

    /// What was seen.
    pub fn ranges(self) -> ChannelRanges {
        self.tensors.into_iter().zip(self.seen.into_iter().map(|(_, ranges)| ranges)).collect()
    }
}

/// The classes of the elements of a tensor.
#[derive(Debug)]
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
