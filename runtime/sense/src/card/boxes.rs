//! The card's `[boxes]`: how the outputs of a detector become boxes.

use std::string::ToString;
use std::vec::Vec;

use serde::{Deserialize, Serialize};

use super::error::Refusal;
use crate::boxes::{
    AnchorLevel, AnchorSpec, BoxDecoder, BoxForm, BoxUnits, Corners, MAX_CELL_ANCHORS, MAX_LEVELS, OffsetOrder,
    ScoreForm,
};

/// How the outputs become boxes: `[boxes]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boxes {
    /// The form of the output.
    pub decoder: BoxForm,
    /// With `rows`, and for anchors that an output tells: what the four numbers are; `xyxy` when not given.
    #[serde(default)]
    pub corners: Corners,
    /// With both: their unit; `pixels` when not given.
    #[serde(default)]
    pub units: BoxUnits,
    /// With `rows`: whether the sureness of an object stands between the box and the classes.
    #[serde(default)]
    pub objectness: bool,
    /// With `rows`: whether the output is `[columns, rows]`.
    #[serde(default)]
    pub transposed: bool,
    /// Boxes with a lower score are dropped: 0.01 when not given. Within 0 and 1 where scores are.
    #[serde(default = "least_score")]
    pub score_threshold: f32,
    /// Of boxes of a class with a larger intersection over union the best stays, within 0 and 1: 0.5 when not given.
    #[serde(default = "half")]
    pub iou_threshold: f32,
    /// With `ssd`: the anchors, level after level; where they are not given, a third output tells them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anchors: Vec<Anchors>,
    /// With `ssd`: what offsets of the centre across and down and exponents of width and height are multiplied by; 0.1,
    /// 0.1, 0.2 and 0.2 when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variances: Option<[f32; 4]>,
    /// With `ssd`: the order of the offsets; `xywh` when not given.
    #[serde(default)]
    pub order: OffsetOrder,
    /// With `ssd`: the form of the scores; `plain` when not given.
    #[serde(default)]
    pub scores: ScoreForm,
    /// With `ssd`: whether class 0 of the scores is the background and none of `labels`.
    #[serde(default)]
    pub background: bool,
}

/// The anchors of a grid of cells: `[[boxes.anchors]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchors {
    /// Pixels of the input from one cell to the next: one number, or across and down.
    pub stride: Stride,
    /// Where in its cell the centre lies, in cells: 0.5 when not given.
    #[serde(default = "half")]
    pub offset: f32,
    /// For each anchor of a cell the side of a square of its area, in pixels of the input.
    pub scales: Vec<f32>,
    /// For each of them width over height.
    pub ratios: Vec<f32>,
}

/// The distance of cells, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Stride {
    /// Across as well as down.
    Both(f32),
    /// Across, and down.
    Each([f32; 2]),
}

impl Boxes {
    /// The decoder for so many classes and an input of this size.
    pub(super) fn decoder(&self, classes: usize, width: u32, height: u32) -> Result<BoxDecoder, Refusal> {
        let refuse = |field: &str, mend: &str| Err((std::format!("boxes.{field}"), mend.to_string()));
        let mut anchors = AnchorSpec {
            count: self.anchors.len(),
            variances: self.variances.unwrap_or(AnchorSpec::NONE.variances),
            order: self.order,
            scores: self.scores,
            background: self.background,
            ..AnchorSpec::NONE
        };
        if self.decoder != BoxForm::Ssd && !self.anchors.is_empty() {
            return refuse("anchors", "left out, or `decoder` be \"ssd\"");
        }
        // Not so for NaN either.
        if !(0.0..=1.0).contains(&self.iou_threshold) {
            return refuse("iou_threshold", "within 0 and 1");
        }
        if !self.scores_are_plain() && !(0.0..=1.0).contains(&self.score_threshold) {
            return refuse("score_threshold", "within 0 and 1");
        }
        if !self.score_threshold.is_finite() {
            return refuse("score_threshold", "a finite number");
        }
        if self.decoder != BoxForm::Ssd && self.variances.is_some() {
            return refuse("variances", "left out, or `decoder` be \"ssd\"");
        }
        if !usable(&anchors.variances) {
            return refuse("variances", "finite numbers above 0");
        }
        if self.anchors.len() > MAX_LEVELS {
            return refuse("anchors", &std::format!("at most {MAX_LEVELS} levels"));
        }
        for (level, told) in anchors.levels.iter_mut().zip(&self.anchors) {
            *level = match told.level() {
                Ok(level) => level,
                Err((field, mend)) => return refuse(&std::format!("anchors.{field}"), mend),
            };
        }
        Ok(BoxDecoder {
            corners: self.corners,
            units: self.units,
            objectness: self.objectness,
            transposed: self.transposed,
            anchors,
            score_threshold: self.score_threshold,
            iou_threshold: self.iou_threshold,
            ..BoxDecoder::new(self.decoder, classes, width, height)
        })
    }
}

impl Boxes {
    /// Whether scores are what the model makes of them, and not within 0 and 1 by their form.
    fn scores_are_plain(&self) -> bool {
        match self.decoder {
            BoxForm::Rows => true,
            BoxForm::Ssd => self.scores == ScoreForm::Plain,
            BoxForm::FastestDet | BoxForm::CenterFace | BoxForm::Yunet => false,
        }
    }
}

impl Anchors {
    /// The level, or the field that cannot be used and the mend.
    fn level(&self) -> Result<AnchorLevel, (&'static str, &'static str)> {
        let stride = match self.stride {
            Stride::Both(both) => [both; 2],
            Stride::Each(each) => each,
        };
        if !usable(&stride) || stride.iter().any(|stride| *stride < 1.0) {
            return Err(("stride", "at least one pixel"));
        }
        if !self.offset.is_finite() {
            return Err(("offset", "a finite number"));
        }
        if self.scales.is_empty() || self.scales.len() > MAX_CELL_ANCHORS || !usable(&self.scales) {
            return Err(("scales", "1 to 12 numbers above 0"));
        }
        if self.ratios.len() != self.scales.len() || !usable(&self.ratios) {
            return Err(("ratios", "as many numbers above 0 as `scales`"));
        }
        let mut level = AnchorLevel { stride, offset: self.offset, count: self.scales.len(), ..AnchorLevel::EMPTY };
        level.scales.iter_mut().zip(&self.scales).for_each(|(to, from)| *to = *from);
        level.ratios.iter_mut().zip(&self.ratios).for_each(|(to, from)| *to = *from);
        Ok(level)
    }
}

/// Whether all are finite numbers above 0.
fn usable(values: &[f32]) -> bool {
    values.iter().all(|value| value.is_finite() && *value > 0.0)
}

fn least_score() -> f32 {
    0.01
}

fn half() -> f32 {
    0.5
}
