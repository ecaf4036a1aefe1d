//! Scores of every place of a picture to the class that each pixel belongs to.

use core::fmt;

use crate::image::Placement;

/// The form of an output that tells a class for each place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "card", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "card", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum MaskForm {
    /// Scores `[classes, rows, columns]`: the class with the greatest, the lower one where several are equal.
    Planes,
    /// Scores `[rows, columns, classes]`: the same.
    Pixels,
    /// One score for each place, `[rows, columns]`: class 0 where it reaches the threshold, else none.
    Threshold,
    /// Numbers of classes, `[rows, columns]`: those of the nearest place.
    Classes,
}

impl MaskForm {
    /// The name in the card.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Planes => "planes",
            Self::Pixels => "pixels",
            Self::Threshold => "threshold",
            Self::Classes => "classes",
        }
    }

    /// Rows and columns of an output of this shape, where it is one of the form for so many classes. Axes of one element
    /// may stand in front, and where there is one number for each place also behind.
    #[must_use]
    pub fn places(self, shape: &[u32], classes: usize) -> Option<(usize, usize)> {
        let is_one = |before: &[u32]| before.iter().all(|&extent| extent == 1);
        let (rows, columns) = match (self, shape) {
            (Self::Planes, [before @ .., planes, rows, columns])
            | (Self::Pixels, [before @ .., rows, columns, planes])
                if is_one(before) && *planes as usize == classes =>
            {
                (rows, columns)
            }
            (Self::Threshold | Self::Classes, [before @ .., rows, columns]) if is_one(before) => (rows, columns),
            (Self::Threshold | Self::Classes, [before @ .., rows, columns, 1]) if is_one(before) => (rows, columns),
            _ => return None,
        };
        (*rows > 0 && *columns > 0).then_some((*rows as usize, *columns as usize))
    }
}

/// An output has a number of elements that does not fit the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaskError {
    /// Elements of the output.
    pub given: usize,
    /// Elements of the form.
    pub needed: usize,
}

impl fmt::Display for MaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { given, needed } = self;
        write!(f, "the output has {given} numbers, where a mask of this form has {needed}; mend the card")
    }
}

impl core::error::Error for MaskError {}

/// Turns an output into a class for each pixel. Between the middles of places scores are interpolated linearly across and
/// down, as PyTorch's `interpolate` does it with `mode = "bilinear"` and `align_corners = False`.
///
/// ```
/// use cygnet_sense::{ImageSpec, Colour, mask::{MaskDecoder, MaskForm}};
/// // Two places, side by side, of an input of 4 × 2 pixels; the right one is an object.
/// let decoder = MaskDecoder { form: MaskForm::Threshold, classes: 1, columns: 2, rows: 1, width: 4, height: 2, threshold: 0.5 };
/// let placement = ImageSpec::new(4, 2, Colour::Rgb).placement(8, 1)?;
/// let mut mask = [None; 8];
/// decoder.paint(&[0.0, 1.0], &placement, |x, _, class| mask[x as usize] = class)?;
/// assert_eq!(mask, [None, None, None, None, Some(0), Some(0), Some(0), Some(0)]);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaskDecoder {
    /// The form of the output.
    pub form: MaskForm,
    /// Number of classes.
    pub classes: usize,
    /// Columns of the output.
    pub columns: usize,
    /// Rows of the output.
    pub rows: usize,
    /// Width of the input, pixels.
    pub width: u32,
    /// Height of the input, pixels.
    pub height: u32,
    /// With [`MaskForm::Threshold`]: the least score of the class.
    pub threshold: f32,
}

/// A place between two of an axis: the lower one, the upper one, and how far the way to the upper one is gone.
type Between = (usize, usize, f32);

impl MaskDecoder {
    /// Whether the output has as many numbers as the form.
    ///
    /// # Errors
    /// [`MaskError`].
    pub fn check(&self, output: &[f32]) -> Result<(), MaskError> {
        let needed = self.columns.saturating_mul(self.rows).saturating_mul(self.planes());
        if output.len() != needed || needed == 0 {
            return Err(MaskError { given: output.len(), needed });
        }
        Ok(())
    }

    /// Calls `paint` with column, row and class of each pixel of the picture that `placement` is of, row after row. What
    /// the model did not see, and what belongs to no class, has none.
    ///
    /// # Errors
    /// [`MaskError`].
    pub fn paint(
        &self,
        output: &[f32],
        placement: &Placement,
        mut paint: impl FnMut(u32, u32, Option<u32>),
    ) -> Result<(), MaskError> {
        self.check(output)?;
        let inside = |place: f32, length: u32| (0.0..length as f32).contains(&place);
        for row in 0..placement.source_height {
            for column in 0..placement.source_width {
                let (x, y) = placement.to_tensor(column as f32 + 0.5, row as f32 + 0.5);
                let seen = inside(x, self.width) && inside(y, self.height);
                paint(column, row, if seen { self.class_at(output, x, y) } else { None });
            }
        }
        Ok(())
    }

    /// The class at a point of the input, in pixels from its left upper corner.
    #[must_use]
    pub fn class_at(&self, output: &[f32], x: f32, y: f32) -> Option<u32> {
        let across = between(x * self.columns as f32 / self.width as f32, self.columns);
        let down = between(y * self.rows as f32 / self.height as f32, self.rows);
        match self.form {
            MaskForm::Threshold => (self.score(output, 0, across, down)? >= self.threshold).then_some(0),
            MaskForm::Classes => {
                let nearest = |(lower, upper, part): Between| if part < 0.5 { lower } else { upper };
                let class = *output.get(nearest(down) * self.columns + nearest(across))?;
                (class >= 0.0 && (class as usize) < self.classes).then_some(class as u32)
            }
            MaskForm::Planes | MaskForm::Pixels => {
                let mut best: Option<(u32, f32)> = None;
                for class in 0..self.classes {
                    let score = self.score(output, class, across, down)?;
                    if best.is_none_or(|(_, most)| score > most) && !score.is_nan() {
                        best = Some((class as u32, score));
                    }
                }
                best.map(|(class, _)| class)
            }
        }
    }

    /// Numbers of each place.
    const fn planes(&self) -> usize {
        match self.form {
            MaskForm::Planes | MaskForm::Pixels => self.classes,
            MaskForm::Threshold | MaskForm::Classes => 1,
        }
    }

    /// The score of a class between four places.
    fn score(&self, output: &[f32], class: usize, across: Between, down: Between) -> Option<f32> {
        let at = |row: usize, column: usize| {
            let place = row * self.columns + column;
            let index = match self.form {
                MaskForm::Pixels => place * self.classes + class,
                _ => class * self.rows * self.columns + place,
            };
            output.get(index).copied()
        };
        let (left, right, to_right) = across;
        let row = |row: usize| Some(at(row, left)? + (at(row, right)? - at(row, left)?) * to_right);
        let (upper, lower, to_lower) = down;
        Some(row(upper)? + (row(lower)? - row(upper)?) * to_lower)
    }
}

/// The places around a point of an axis of `count` places, each with its middle half a place from its edge.
fn between(point: f32, count: usize) -> Between {
    let last = count.saturating_sub(1);
    let from_middle = (point - 0.5).clamp(0.0, last as f32);
    let lower = from_middle as usize;
    (lower, (lower + 1).min(last), from_middle - lower as f32)
}
