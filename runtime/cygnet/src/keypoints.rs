//! The points of a body that a model found in a picture.

/// A point of a body.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BodyPoint {
    /// Its number among the names of the card, from 0.
    pub number: usize,
    /// Its name.
    pub name: String,
    /// Across, in pixels.
    pub x: f32,
    /// Down, in pixels.
    pub y: f32,
    /// How sure the model is, where it tells that.
    pub score: Option<f32>,
}
