//! The card's `[evaluation]`: how answers are measured.

use std::string::String;
use std::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Boxes;

/// How answers are measured: `[evaluation]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// What is measured: `top1` for classification and `cosine` for all else when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<MetricName>,
    /// Only with `keyword`: the labels that are no keyword, as `silence` and `unknown`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub negatives: Vec<String>,
    /// Only with `auc`: what the anomaly score is; `reconstruction` when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anomaly: Option<Anomaly>,
    /// The same as `[boxes]`, as older cards have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boxes: Option<Boxes>,
}

/// What is measured on labelled samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MetricName {
    /// Share of right first answers.
    Top1,
    /// The same, and how often something else is taken for a keyword.
    Keyword,
    /// How well the anomaly score tells label 0 (normal) from all others: the area under the receiver operating
    /// characteristic.
    Auc,
    /// Mean average precision of boxes, at an intersection over union of 0.5 and over 0.5 to 0.95, as COCO does it.
    AveragePrecision,
    /// The int8 model's output against the float model's; needs no labels.
    Cosine,
}

/// How an output becomes an anomaly score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Anomaly {
    /// Mean squared difference between the first input and the first output, which has its size.
    #[default]
    Reconstruction,
    /// The first number of the first output.
    Output,
}
