//! What a detector found in a picture.

use cygnet_sense::{BoxDecoder, Detection, Placement};

/// Most boxes before overlapping ones are taken out.
const MOST: usize = 1000;

/// A box, with its label.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Found {
    /// Index of the class.
    pub class: usize,
    /// The label, or the index in digits where the model has none.
    pub label: String,
    /// How sure the model is.
    pub score: f32,
    /// Left edge, in pixels.
    pub left: f32,
    /// Upper edge.
    pub top: f32,
    /// Right edge.
    pub right: f32,
    /// Lower edge.
    pub bottom: f32,
    /// Points of the object, across and down; their meaning is the model's.
    pub keypoints: Vec<(f32, f32)>,
}

/// The boxes in all outputs of a model, the best first. With a placement they are in pixels of the picture, within it;
/// else in pixels of the input.
pub(crate) fn boxes(
    decoder: &BoxDecoder,
    outputs: &[Vec<f32>],
    placement: Option<&Placement>,
    label: impl Fn(usize) -> String,
) -> Result<Vec<Found>, cygnet_sense::BoxError> {
    let outputs: Vec<&[f32]> = outputs.iter().map(Vec::as_slice).collect();
    let mut found = vec![Detection::default(); MOST];
    let count = decoder.decode(&outputs, &mut found)?;
    let place = |x: f32, y: f32| match placement {
        None => (x, y),
        Some(placement) => placement.within(x, y),
    };
    let one = |one: &Detection| {
        let ((left, top), (right, bottom)) = (place(one.x1, one.y1), place(one.x2, one.y2));
        let points = (0..decoder.keypoints()).filter_map(|index| decoder.keypoint(&outputs, one, index));
        let (class, keypoints) = (one.class as usize, points.map(|(x, y)| place(x, y)).collect());
        Found { class, label: label(class), score: one.score, left, top, right, bottom, keypoints }
    };
    Ok(found.iter().take(count).map(one).collect())
}
