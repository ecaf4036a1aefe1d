//! An output to the points of one body, hand or face: where each of its joints lies in a picture.

use core::fmt;

use crate::boxes::BoxUnits;

/// The form of an output that tells where points are: each of them once, so of one body in the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "card", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "card", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum KeypointForm {
    /// Heat maps `[points, rows, columns]`: a point is where its scores are greatest, at the first of equal ones row
    /// after row.
    Planes,
    /// Heat maps `[rows, columns, points]`: the same.
    Pixels,
    /// `[points, 2]`, across and down, or with a score `[points, 3]`; also in one row.
    Coordinates,
}

impl KeypointForm {
    /// The name in the card.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Planes => "planes",
            Self::Pixels => "pixels",
            Self::Coordinates => "coordinates",
        }
    }

    /// How an output of this shape is laid out, where it is one of the form for so many points. Axes of one element may
    /// stand in front.
    #[must_use]
    pub fn layout(self, shape: &[u32], points: usize) -> Option<KeypointLayout> {
        let is_one = |before: &[u32]| before.iter().all(|&extent| extent == 1);
        let extent = |extent: u32| extent as usize;
        match (self, shape) {
            (Self::Planes, [before @ .., planes, rows, columns])
            | (Self::Pixels, [before @ .., rows, columns, planes])
                if is_one(before) && extent(*planes) == points && *rows > 0 && *columns > 0 =>
            {
                Some(KeypointLayout::Places { rows: extent(*rows), columns: extent(*columns) })
            }
            (Self::Coordinates, [before @ .., count, numbers @ 2..=3])
                if is_one(before) && extent(*count) == points =>
            {
                Some(KeypointLayout::Rows { numbers: extent(*numbers) })
            }
            (Self::Coordinates, [before @ .., all]) if is_one(before) => {
                let numbers = (2..=3).find(|numbers| points.checked_mul(*numbers) == Some(extent(*all)))?;
                Some(KeypointLayout::Rows { numbers })
            }
            _ => None,
        }
    }
}

/// The extents of an output that tells points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeypointLayout {
    /// A map of each point.
    Places {
        /// Rows of a map.
        rows: usize,
        /// Columns of a map.
        columns: usize,
    },
    /// Numbers of each point.
    Rows {
        /// 2, or 3 with a score.
        numbers: usize,
    },
}

/// Which of two coordinates comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "card", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "card", serde(rename_all = "lowercase"))]
pub enum CoordinateOrder {
    /// Across, then down.
    #[default]
    Xy,
    /// Down, then across.
    Yx,
}

/// The point that a place of a heat map stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "card", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "card", serde(rename_all = "lowercase"))]
pub enum PlacePoint {
    /// Its middle.
    #[default]
    Middle,
    /// Its left upper corner.
    Corner,
}

/// An output has a number of elements that does not fit the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeypointError {
    /// Elements of the output.
    pub given: usize,
    /// Elements of the form.
    pub needed: usize,
}

impl fmt::Display for KeypointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { given, needed } = self;
        write!(f, "the output has {given} numbers, where keypoints of this form have {needed}; mend the card")
    }
}

impl core::error::Error for KeypointError {}

/// A point in pixels from the left upper corner of the input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Keypoint {
    /// Across.
    pub x: f32,
    /// Down.
    pub y: f32,
    /// How sure the model is, where the output tells it.
    pub score: Option<f32>,
}

/// Turns an output into points.
///
/// ```
/// use cygnet_sense::keypoints::{CoordinateOrder, KeypointDecoder, KeypointForm, PlacePoint};
/// // One map of 1 × 4 places for an input of 16 × 4 pixels: the third place ends at 12.
/// let form = KeypointForm::Planes;
/// let layout = form.layout(&[1, 1, 1, 4], 1).unwrap();
/// let decoder = KeypointDecoder {
///     form, layout, points: 1, width: 16, height: 4, units: Default::default(), order: CoordinateOrder::Xy,
///     place_point: PlacePoint::Middle, quarter_shift: false, threshold: None,
/// };
/// let point = decoder.point(&[0.0, 0.25, 0.75, 0.5], 0).unwrap();
/// assert_eq!((point.x, point.y, point.score), (10.0, 2.0, Some(0.75)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeypointDecoder {
    /// The form of the output.
    pub form: KeypointForm,
    /// Its extents.
    pub layout: KeypointLayout,
    /// Number of points.
    pub points: usize,
    /// Width of the input, pixels.
    pub width: u32,
    /// Height of the input, pixels.
    pub height: u32,
    /// With [`KeypointForm::Coordinates`]: their unit.
    pub units: BoxUnits,
    /// With [`KeypointForm::Coordinates`]: their order.
    pub order: CoordinateOrder,
    /// With heat maps: the point that a place stands for.
    pub place_point: PlacePoint,
    /// With heat maps: whether a point lies a quarter of a place nearer to the greater one of the neighbours on each axis
    /// (Newell et al., Stacked hourglass networks for human pose estimation, arXiv 1603.06937, section 3.3; the form for
    /// each axis is that of Xiao et al., arXiv 1804.06208). At the edge of the map it stays.
    pub quarter_shift: bool,
    /// Points with a lower score are none.
    pub threshold: Option<f32>,
}

impl KeypointDecoder {
    /// Whether the output has as many numbers as the form.
    ///
    /// # Errors
    /// [`KeypointError`].
    pub fn check(&self, output: &[f32]) -> Result<(), KeypointError> {
        let each = match self.layout {
            KeypointLayout::Places { rows, columns } => rows.saturating_mul(columns),
            KeypointLayout::Rows { numbers } => numbers,
        };
        let needed = self.points.saturating_mul(each);
        if output.len() != needed || needed == 0 {
            return Err(KeypointError { given: output.len(), needed });
        }
        Ok(())
    }

    /// The point of this number; `None` where its score is below the threshold, or where the output tells no numbers.
    #[must_use]
    pub fn point(&self, output: &[f32], index: usize) -> Option<Keypoint> {
        if index >= self.points {
            return None;
        }
        let point = match self.layout {
            KeypointLayout::Places { rows, columns } => self.greatest(output, index, rows, columns)?,
            KeypointLayout::Rows { numbers } => self.told(output, index, numbers)?,
        };
        let Keypoint { x, y, score } = point;
        let is_sure = score.is_none_or(|score| !score.is_nan() && self.threshold.is_none_or(|least| score >= least));
        (x.is_finite() && y.is_finite() && is_sure).then_some(point)
    }

    fn told(&self, output: &[f32], index: usize, numbers: usize) -> Option<Keypoint> {
        let row = output.chunks_exact(numbers).nth(index)?;
        let (&first, &second) = (row.first()?, row.get(1)?);
        let (x, y) = match self.order {
            CoordinateOrder::Xy => (first, second),
            CoordinateOrder::Yx => (second, first),
        };
        let (across, down) = match self.units {
            BoxUnits::Pixels => (1.0, 1.0),
            BoxUnits::Share => (self.width as f32, self.height as f32),
        };
        Some(Keypoint { x: x * across, y: y * down, score: row.get(2).copied() })
    }

    fn greatest(&self, output: &[f32], index: usize, rows: usize, columns: usize) -> Option<Keypoint> {
        let at = |row: usize, column: usize| {
            let place = row * columns + column;
            let index = match self.form {
                KeypointForm::Pixels => place * self.points + index,
                _ => index * rows * columns + place,
            };
            output.get(index).copied()
        };
        let mut best: Option<(usize, usize, f32)> = None;
        for row in 0..rows {
            for column in 0..columns {
                let score = at(row, column)?;
                if best.is_none_or(|(_, _, most)| score > most) && !score.is_nan() {
                    best = Some((row, column, score));
                }
            }
        }
        let (row, column, score) = best?;
        let nearer = |before: Option<f32>, behind: Option<f32>| match (before, behind) {
            (Some(before), Some(behind)) if self.quarter_shift && behind > before => 0.25,
            (Some(before), Some(behind)) if self.quarter_shift && behind < before => -0.25,
            _ => 0.0,
        };
        let left = column.checked_sub(1).and_then(|left| at(row, left));
        let right = Some(column + 1).filter(|&right| right < columns).and_then(|right| at(row, right));
        let above = row.checked_sub(1).and_then(|above| at(above, column));
        let below = Some(row + 1).filter(|&below| below < rows).and_then(|below| at(below, column));
        let inside = if self.place_point == PlacePoint::Middle { 0.5 } else { 0.0 };
        let x = (column as f32 + inside + nearer(left, right)) * self.width as f32 / columns as f32;
        let y = (row as f32 + inside + nearer(above, below)) * self.height as f32 / rows as f32;
        Some(Keypoint { x, y, score: Some(score) })
    }
}
