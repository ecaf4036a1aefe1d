//! What a model found for each pixel of a picture.

use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A class for each pixel of a picture.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Mask {
    /// Width of the picture, pixels.
    pub width: u32,
    /// Height of the picture, pixels.
    pub height: u32,
    /// The class of each pixel, row after row; `None` where there is no object or the model did not look.
    pub classes: Vec<Option<u16>>,
    /// How much of the picture each class has, the largest first; classes without a pixel are left out.
    pub areas: Vec<Area>,
}

/// How much of a picture a class has.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Area {
    /// Index of the class.
    pub class: usize,
    /// The label, or the index in digits where the model has none.
    pub label: String,
    /// Its pixels.
    pub pixels: u64,
    /// Its share of all pixels of the picture, 0 to 1.
    pub share: f64,
}

impl Mask {
    /// A mask and its areas; equal ones in the order of their classes.
    pub(crate) fn new(width: u32, height: u32, classes: Vec<Option<u16>>, label: impl Fn(usize) -> String) -> Self {
        let mut counts = BTreeMap::new();
        for class in classes.iter().flatten() {
            *counts.entry(usize::from(*class)).or_insert(0_u64) += 1;
        }
        let all = classes.len().max(1) as f64;
        let area = |(class, pixels)| Area { class, label: label(class), pixels, share: pixels as f64 / all };
        let mut areas: Vec<_> = counts.into_iter().map(area).collect();
        areas.sort_by_key(|area| Reverse(area.pixels));
        Self { width, height, classes, areas }
    }
}
