//! Whether the calibration set covers what the evaluation set shows: values beyond the calibrated range saturate.

use cygnet_onnx::model::Model;

use crate::calibrate::{Distributions, Seen, observe};
use crate::data::Sample;
use crate::error::QuantizeError;
use crate::facts::Dims;
use crate::graph::makers;

/// From this share of values beyond the calibrated range on a tensor counts as not covered.
const NOTABLE: f64 = 0.001;

/// A tensor whose values in evaluation lie beyond what calibration saw.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Uncovered {
    /// The tensor.
    pub tensor: String,
    /// The node that makes it; nothing for an input of the model.
    pub node: Option<String>,
    /// The share of its values beyond the calibrated range, 0 … 1, to the width of a histogram's bin.
    pub share: f64,
    /// Least and largest value in calibration.
    pub calibrated: (f32, f32),
    /// Least and largest value in evaluation.
    pub evaluated: (f32, f32),
}

/// Tensors of the float model that `samples` drive beyond the range that calibration saw, the worst first.
///
/// # Errors
/// [`QuantizeError`] as in calibration.
pub fn uncovered(
    model: &Model,
    dims: &Dims,
    calibrated: &Distributions,
    samples: impl Iterator<Item = Result<Sample, QuantizeError>>,
) -> Result<Vec<Uncovered>, QuantizeError> {
    let tensors: Vec<String> = calibrated.keys().cloned().collect();
    let mut seen = Seen::none_of(&tensors);
    observe(model, dims, samples, &mut seen, None, |_| ())?;
    let makers = makers(model);
    let compare = |(tensor, before): (&String, &crate::calibrate::Distribution)| {
        let now = seen.distributions.get(tensor)?;
        let share = now.share_beyond(before.low, before.high);
        (share >= NOTABLE).then(|| Uncovered {
            tensor: tensor.clone(),
            node: makers.get(tensor).map(|index| model.nodes[*index].label()),
            share,
            calibrated: (before.low, before.high),
            evaluated: (now.low, now.high),
        })
    };
    let mut uncovered: Vec<Uncovered> = calibrated.iter().filter_map(compare).collect();
    uncovered.sort_by(|a, b| b.share.total_cmp(&a.share));
    Ok(uncovered)
}
