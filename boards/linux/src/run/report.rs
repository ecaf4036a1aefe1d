//! What `cygnet run` tells of each sample.

use cygnet::{Area, BodyPoint, Found};
use serde::Serialize;

use crate::table;

/// What is told of a run, as `--json` prints it.
#[derive(Serialize)]
pub struct Report {
    pub model: String,
    pub kernels: &'static str,
    pub samples: Vec<Answered>,
    pub failed: Vec<Failed>,
    /// Samples with a label, and how many of them the model got right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labelled: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correct: Option<usize>,
}

/// A sample that could not be run, and why.
#[derive(Serialize)]
pub struct Failed {
    pub name: String,
    pub error: String,
}

/// The answer for one sample.
#[derive(Serialize)]
pub struct Answered {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<Class>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boxes: Option<Vec<Boxed>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<Vec<Covered>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keypoints: Option<Vec<Point>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<Read>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speech: Option<Vec<Speech>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Summary>,
    /// Cosine of its features and those of the first sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub similarity: Option<f32>,
}

impl Answered {
    /// No answer yet.
    pub fn of(name: String, label: Option<usize>) -> Self {
        let (top, outputs) = (Vec::new(), Vec::new());
        Self {
            name,
            label,
            top,
            boxes: None,
            mask: None,
            keypoints: None,
            read: None,
            speech: None,
            outputs,
            similarity: None,
        }
    }

    /// The answer as it is printed, one sample alone or one of many.
    pub fn text(&self, is_alone: bool) -> String {
        let class = |class: &Class| format!("{:.4} {}", class.score, class.label);
        let mut text = String::new();
        if is_alone {
            for one in &self.top {
                text += &format!("{}\n", class(one));
            }
        } else if !self.top.is_empty() {
            let classes: Vec<_> = self.top.iter().map(class).collect();
            text += &format!("{}: {}\n", self.name, classes.join(", "));
        }
        let before = if is_alone { String::new() } else { format!("{}: ", self.name) };
        if let Some(Read { text: read, .. }) = &self.read {
            text += &format!("{before}{read}\n");
        }
        for Boxed { label, score, left, top, right, bottom, .. } in self.boxes.iter().flatten() {
            let (width, height) = (right - left, bottom - top);
            text += &format!("{before}{score:.4} {label} at {left:.0},{top:.0} size {width:.0}×{height:.0}\n");
        }
        for Covered { label, area, .. } in self.mask.iter().flatten() {
            text += &format!("{before}{:.2} % {label}\n", 100.0 * area);
        }
        if self.mask.as_ref().is_some_and(Vec::is_empty) {
            text += &format!("{before}no object\n");
        }
        for Point { name, x, y, score, .. } in self.keypoints.iter().flatten() {
            let score = score.map(|score| format!("{score:.4} ")).unwrap_or_default();
            text += &format!("{before}{score}{name} at {x:.1},{y:.1}\n");
        }
        if self.keypoints.as_ref().is_some_and(Vec::is_empty) {
            text += &format!("{before}no point\n");
        }
        for Speech { start, end, score } in self.speech.iter().flatten() {
            text += &format!("{before}{start:.3} to {end:.3} s: speech {score:.4}\n");
        }
        if let Some(speech) = &self.speech
            && speech.is_empty()
        {
            text += &format!("{before}no speech\n");
        }
        if let Some(similarity) = self.similarity {
            text += &format!("{}: {similarity:.4} like the first\n", self.name);
        }
        for Summary { name, shape, min, max, mean, first } in &self.outputs {
            let dots = if shape.iter().product::<u32>() as usize > first.len() { " …" } else { "" };
            let first: Vec<_> = first.iter().map(|value| format!("{value:.4}")).collect();
            let shape = table::shape(shape);
            let first = first.join(" ");
            text += &format!("{before}{name} {shape} min {min:.4} max {max:.4} mean {mean:.4}: {first}{dots}\n");
        }
        text
    }
}

/// One class in the answer.
#[derive(Serialize)]
pub struct Class {
    pub class: usize,
    pub label: String,
    pub score: f32,
}

/// One box, in pixels of the picture.
#[derive(Serialize)]
pub struct Boxed {
    pub class: usize,
    pub label: String,
    pub score: f32,
    pub left: f32,
    pub top: f32,
    pub right: f32,
    pub bottom: f32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keypoints: Vec<(f32, f32)>,
}

impl From<Found> for Boxed {
    fn from(found: Found) -> Self {
        let Found { class, label, score, left, top, right, bottom, keypoints, .. } = found;
        Self { class, label, score, left, top, right, bottom, keypoints }
    }
}

/// How much of a picture a class has.
#[derive(Serialize)]
pub struct Covered {
    pub class: usize,
    pub label: String,
    pub pixels: u64,
    /// Share of all pixels.
    pub area: f64,
}

impl From<Area> for Covered {
    fn from(Area { class, label, pixels, share, .. }: Area) -> Self {
        Self { class, label, pixels, area: share }
    }
}

/// A point of a body, in pixels of the picture.
#[derive(Serialize)]
pub struct Point {
    pub point: usize,
    pub name: String,
    pub x: f32,
    pub y: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
}

impl From<BodyPoint> for Point {
    fn from(BodyPoint { number, name, x, y, score, .. }: BodyPoint) -> Self {
        Self { point: number, name, x, y, score }
    }
}

/// Text that was read or heard.
#[derive(Serialize)]
pub struct Read {
    pub text: String,
    pub score: f32,
    /// Where words were heard.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<Word>,
}

/// A word that was heard, in seconds.
#[derive(Serialize)]
pub struct Word {
    pub label: String,
    pub score: f32,
    pub start: f64,
    pub end: f64,
}

/// Where somebody speaks, in seconds.
#[derive(Serialize)]
pub struct Speech {
    pub start: f64,
    pub end: f64,
    pub score: f32,
}

/// One output in short.
#[derive(Serialize)]
pub struct Summary {
    pub name: String,
    pub shape: Vec<u32>,
    pub min: f32,
    pub max: f32,
    pub mean: f64,
    pub first: Vec<f32>,
}
