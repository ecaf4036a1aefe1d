//! The card's `[mask]`: how an output tells a class for each pixel.

use std::string::ToString;

use serde::{Deserialize, Serialize};

use super::error::Refusal;
use crate::mask::{MaskDecoder, MaskForm};

/// How the first output becomes a class for each pixel: `[mask]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mask {
    /// The form of the output.
    pub form: MaskForm,
    /// With `threshold`: the least score of the label; 0.5 when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
    /// The index of the label that stands for no object: neither counted nor painted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background: Option<u32>,
}

impl Mask {
    /// What cannot be used with so many labels.
    pub(super) fn refusal(&self, labels: usize) -> Option<Refusal> {
        let refuse = |field: &str, mend: &str| Some((field.to_string(), mend.to_string()));
        let has_threshold = self.form == MaskForm::Threshold;
        if labels == 0 || labels > usize::from(u16::MAX) {
            return refuse("labels", "the names of 1 … 65,535 classes where there is [mask]");
        }
        if has_threshold && labels != 1 {
            return refuse("labels", "one name where `mask.form` is \"threshold\"");
        }
        match self.threshold {
            Some(_) if !has_threshold => return refuse("mask.threshold", "left out, or `form` be \"threshold\""),
            Some(least) if !least.is_finite() => return refuse("mask.threshold", "a finite number"),
            _ => {}
        }
        match self.background {
            Some(_) if has_threshold => refuse("mask.background", "left out where `form` is \"threshold\""),
            Some(class) if class as usize >= labels => {
                refuse("mask.background", "the index of one of `labels`, from 0")
            }
            _ => None,
        }
    }

    /// The decoder for so many classes, an input of this size and an output of this shape; `None` where the shape is
    /// none of the form.
    pub(super) fn decoder(&self, classes: usize, (width, height): (u32, u32), shape: &[u32]) -> Option<MaskDecoder> {
        let (rows, columns) = self.form.places(shape, classes)?;
        let threshold = self.threshold.unwrap_or(0.5);
        Some(MaskDecoder { form: self.form, classes, columns, rows, width, height, threshold })
    }
}
