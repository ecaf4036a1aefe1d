//! The size of a model's input numbers, guessed from the model itself.

use std::fmt;

use cygnet::input::InputSpec;
use cygnet_onnx::model::{DType, Model, Tensor};
use cygnet_onnx::reference::Reference;

use crate::error::QuantizeError;
use crate::facts::Dims;
use crate::operators::{Role, role};

/// Samples on which a guess is tried.
const TRIED: usize = 4;

/// The size of an input's numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amplitude {
    /// From the first to the second: pictures.
    Span(f32, f32),
    /// Around 0 with this deviation.
    Deviation(f32),
}

impl fmt::Display for Amplitude {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Amplitude::Span(low, high) => write!(f, "a picture from {low} to {high}"),
            Amplitude::Deviation(deviation) => write!(f, "smooth noise of deviation {deviation}"),
        }
    }
}

/// What pictures are scaled to in practice.
const SPANS: [Amplitude; 5] = [
    Amplitude::Span(0.0, 1.0),
    Amplitude::Span(-1.0, 1.0),
    Amplitude::Span(-2.1, 2.6),
    Amplitude::Span(0.0, 255.0),
    Amplitude::Span(-128.0, 127.0),
];
/// Deviations of other tensors.
const DEVIATIONS: [Amplitude; 6] = [
    Amplitude::Deviation(0.25),
    Amplitude::Deviation(1.0),
    Amplitude::Deviation(4.0),
    Amplitude::Deviation(16.0),
    Amplitude::Deviation(64.0),
    Amplitude::Deviation(256.0),
];

/// Where the axes of a picture lie in a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureShape {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    channels: usize,
    is_planar: bool,
}

impl PictureShape {
    /// Where element `element` of the tensor comes from in `[height, width, 3]`; one channel takes green.
    pub fn place(&self, element: usize) -> usize {
        let PictureShape { width, height, channels, is_planar } = *self;
        let (pixel, channel) = if is_planar {
            (element % (width * height), element / (width * height))
        } else {
            (element / channels, element % channels)
        };
        3 * pixel + if channels == 1 { 1 } else { channel }
    }
}

/// The picture in a tensor of one sample, where its shape is that of one: one or three channels, first or last, of at
/// least 16 by 16 pixels that are not much longer than wide.
pub fn picture_shape(shape: &[usize]) -> Option<PictureShape> {
    let [1, a, b, c] = *shape else { return None };
    let looks = |width: usize, height: usize| width.min(height) >= 16 && width.max(height) <= 3 * width.min(height);
    match (a, b, c) {
        (1 | 3, height, width) if looks(width, height) => {
            Some(PictureShape { width, height, channels: a, is_planar: true })
        }
        (height, width, 1 | 3) if looks(width, height) => {
            Some(PictureShape { width, height, channels: c, is_planar: false })
        }
        _ => None,
    }
}

/// For each input the amplitude at which the model's layers have the most natural deviations. All inputs that are
/// pictures get one span, all others one deviation; `sample` makes a sample with given amplitudes.
pub fn amplitudes(
    model: &Model,
    inputs: &[(DType, InputSpec)],
    sample: impl Fn(&[Amplitude], usize) -> Result<Vec<Vec<f32>>, QuantizeError>,
) -> Result<Vec<Amplitude>, QuantizeError> {
    let is_picture = |spec: &InputSpec| picture_shape(&spec.shape).is_some();
    let has_picture = inputs.iter().any(|(_, spec)| is_picture(spec));
    let choices = if has_picture { &SPANS[..] } else { &DEVIATIONS[..] };
    let weighted = model.nodes.iter().filter(|node| matches!(role(model, node), Role::Weighted { .. }));
    let layers: Vec<String> = weighted.filter_map(|node| node.output(0)).map(str::to_string).collect();
    let reference = Reference::with_dims(model, &layers, &Dims::new())?;
    let mut best: Option<(f64, Vec<Amplitude>)> = None;
    for choice in choices {
        let of = |(_, spec): &(DType, InputSpec)| {
            if is_picture(spec) == has_picture { *choice } else { Amplitude::Deviation(1.0) }
        };
        let tried: Vec<Amplitude> = inputs.iter().map(of).collect();
        let mut oddness = 0.0;
        for index in 0..TRIED {
            let values = sample(&tried, index)?;
            let tensors: Option<Vec<Tensor>> = values
                .iter()
                .zip(inputs)
                .map(|(values, (dtype, spec))| crate::data::as_type(values, *dtype, &spec.shape))
                .collect();
            let Some(tensors) = tensors else { continue };
            let outputs = reference.run(&tensors)?;
            for output in outputs.iter().skip(model.outputs.len()) {
                oddness += oddness_of(&output.to_f32s()?);
            }
        }
        if best.as_ref().is_none_or(|(least, _)| oddness < *least) {
            best = Some((oddness, tried));
        }
    }
    Ok(best.map(|(_, amplitudes)| amplitudes).unwrap_or_default())
}

/// How far a deviation lies from 1, up or down: |ln deviation|.
fn oddness_of(values: &[f32]) -> f64 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
    let variance = values.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>() / count;
    (variance.max(1e-24).ln() / 2.0).abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_of_pictures_are_known() {
        let planar = picture_shape(&[1, 3, 32, 48]).unwrap();
        assert_eq!((planar.width, planar.height), (48, 32));
        // Channel 2 of the pixel in row 1, column 5.
        assert_eq!(planar.place(2 * 32 * 48 + 48 + 5), 3 * (48 + 5) + 2);
        let grey = picture_shape(&[1, 28, 28, 1]).unwrap();
        assert_eq!(grey.place(29), 3 * 29 + 1);
        // Mel pictures of speech, vectors, recurrent states.
        for shape in [&[1, 49, 10, 1][..], &[1, 640], &[1, 30, 1, 40], &[2, 1, 128]] {
            assert_eq!(picture_shape(shape), None, "{shape:?}");
        }
    }

    #[test]
    fn unit_deviation_is_natural() {
        assert_eq!(oddness_of(&[1.0, -1.0]), 0.0);
        assert!((oddness_of(&[10.0, -10.0]) - 10f64.ln()).abs() < 1e-12);
    }
}
