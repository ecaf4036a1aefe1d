//! The card's `[keypoints]`: how an output tells where the points of a body are.

use std::string::{String, ToString};
use std::vec::Vec;

use serde::{Deserialize, Serialize};

use super::error::Refusal;
use crate::boxes::BoxUnits;
use crate::keypoints::{CoordinateOrder, KeypointDecoder, KeypointForm, KeypointLayout, PlacePoint};

/// How the first output becomes points of one body in the picture: `[keypoints]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keypoints {
    /// The form of the output.
    pub form: KeypointForm,
    /// The names of the points in the order of the output.
    pub names: Vec<String>,
    /// Points between which a line is drawn, by their number from 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<[u32; 2]>,
    /// Points with a lower score are left out; none is when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
    /// With `coordinates`: their unit; `pixels` when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<BoxUnits>,
    /// With `coordinates`: their order; `xy` when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<CoordinateOrder>,
    /// With heat maps: the point that a place stands for; `middle` when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place_point: Option<PlacePoint>,
    /// With heat maps: whether points lie a quarter of a place nearer to the greater one of the neighbours on each axis.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quarter_shift: bool,
}

impl Keypoints {
    /// What cannot be used.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        let refuse = |field: &str, mend: &str| Some((std::format!("keypoints.{field}"), mend.to_string()));
        let points = self.names.len();
        let has_coordinates = self.form == KeypointForm::Coordinates;
        if points == 0 || points > usize::from(u16::MAX) {
            return refuse("names", "the names of 1 … 65,535 points");
        }
        let is_line = |&[from, to]: &[u32; 2]| from != to && (from as usize) < points && (to as usize) < points;
        if !self.pairs.iter().all(is_line) {
            return refuse("pairs", "pairs of two different numbers of `names`, from 0");
        }
        if self.threshold.is_some_and(|least| !least.is_finite()) {
            return refuse("threshold", "a finite number");
        }
        let maps = "left out where `form` is \"coordinates\"";
        let coordinates = "left out, or `form` be \"coordinates\"";
        match self {
            Self { units: Some(_), .. } if !has_coordinates => refuse("units", coordinates),
            Self { order: Some(_), .. } if !has_coordinates => refuse("order", coordinates),
            Self { place_point: Some(_), .. } if has_coordinates => refuse("place_point", maps),
            Self { quarter_shift: true, .. } if has_coordinates => refuse("quarter_shift", maps),
            _ => None,
        }
    }

    /// The decoder for an input of this size and an output of this shape; `None` where the shape is none of the form,
    /// or where it tells no scores and the card has a threshold.
    pub(super) fn decoder(&self, (width, height): (u32, u32), shape: &[u32]) -> Option<KeypointDecoder> {
        let layout = self.form.layout(shape, self.names.len())?;
        if self.threshold.is_some() && layout == (KeypointLayout::Rows { numbers: 2 }) {
            return None;
        }
        Some(KeypointDecoder {
            form: self.form,
            layout,
            points: self.names.len(),
            width,
            height,
            units: self.units.unwrap_or_default(),
            order: self.order.unwrap_or_default(),
            place_point: self.place_point.unwrap_or_default(),
            quarter_shift: self.quarter_shift,
            threshold: self.threshold,
        })
    }
}
