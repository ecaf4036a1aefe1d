//! The card's `[input]` of `kind = "image"`: how pictures are prepared.

use std::string::String;
use std::vec::Vec;

use serde::{Deserialize, Serialize};

use super::error::{Refusal, from_spec, refusal};
use super::input::{one, zero};
use crate::image::{Colour, Filter, Fit, ImageSpec, Layout};

/// `kind = "image"`; the fields are those of [`ImageSpec`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageInput {
    /// Which input of the model; the first when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Width of the tensor.
    pub width: u32,
    /// Height of the tensor.
    pub height: u32,
    /// Order of the channels: `rgb` when not given.
    #[serde(default)]
    pub colour: Colour,
    /// Layout of the tensor: `nchw` when not given.
    #[serde(default)]
    pub layout: Layout,
    /// How the aspect ratio is treated: `stretch` when not given.
    #[serde(default)]
    pub fit: FitName,
    /// Only with `fit = "crop"`: the larger of `width` and `height` when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize_shorter: Option<u32>,
    /// How pixels are resampled: `bilinear` when not given.
    #[serde(default)]
    pub filter: Filter,
    /// Taken from each pixel, one value or one per channel: 0 when not given.
    #[serde(default = "zero")]
    pub mean: Vec<f64>,
    /// Multiplied then, one value or one per channel: 1 when not given.
    #[serde(default = "one")]
    pub scale: Vec<f64>,
}

/// [`Fit`] as the card names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FitName {
    /// [`Fit::Stretch`].
    #[default]
    Stretch,
    /// [`Fit::Crop`].
    Crop,
    /// [`Fit::Pad`].
    Pad,
    /// [`Fit::Line`].
    Line,
}

impl ImageInput {
    pub(super) fn spec(&self) -> Result<ImageSpec, Refusal> {
        let larger = self.width.max(self.height);
        let fit = match (self.fit, self.resize_shorter) {
            (FitName::Crop, shorter) => Fit::Crop { resize_shorter: shorter.unwrap_or(larger) },
            (_, Some(_)) => return Err(refusal("resize_shorter", "left out, or `fit` be \"crop\"")),
            (FitName::Stretch, None) => Fit::Stretch,
            (FitName::Pad, None) => Fit::Pad,
            (FitName::Line, None) => Fit::Line,
        };
        let channels = |field, values: &[f64]| match *values {
            [all] => Ok([all as f32; 3]),
            [r, g, b] if self.colour != Colour::Grey => Ok([r as f32, g as f32, b as f32]),
            _ => Err(refusal(field, "one number, or one for each channel of `colour`")),
        };
        let spec = ImageSpec {
            width: self.width,
            height: self.height,
            colour: self.colour,
            layout: self.layout,
            fit,
            filter: self.filter,
            mean: channels("mean", &self.mean)?,
            scale: channels("scale", &self.scale)?,
        };
        spec.check().map_err(from_spec)?;
        Ok(spec)
    }
}
