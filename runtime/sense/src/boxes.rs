//! A detector's outputs to boxes and keypoints.
//!
//! A box is told by a row of its own, by the cell of a grid that its centre lies in, or by what it differs from an anchor.

use core::fmt;

mod ssd;

pub use ssd::{AnchorLevel, AnchorSpec, MAX_CELL_ANCHORS, MAX_LEVELS, OffsetOrder, ScoreForm};

use crate::answers::{Detection, non_maximum_suppression};

/// The form of a detector's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "card", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "card", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum BoxForm {
    /// One output `[rows, columns]`: four numbers, the sureness of an object if there is one, a score for each class.
    Rows,
    /// The grid of FastestDet, one output `[1 + 4 + classes, rows, columns]`: the sureness of an object, the centre's
    /// offset from its cell (tanh) and the size (sigmoid), and the classes. The score is `object^0.6 · class^0.4`.
    /// <https://github.com/dog-qiuqiu/FastestDet>
    FastestDet,
    /// The grids of CenterFace, a cell for 4 × 4 pixels: sureness `[1, rows, columns]`, logarithm of height and width
    /// in cells `[2, …]`, the centre's offset down and across `[2, …]`, and five points `[10, …]`, each down and
    /// across in shares of the box. <https://github.com/Star-Clouds/CenterFace>
    CenterFace,
    /// The lists of YuNet for cells of 8, 16 and 32 pixels: three outputs of class scores `[cells, 1]`, three of the
    /// sureness of an object, three of boxes `[cells, 4]` (the centre's offset and the logarithm of the size, in cells)
    /// and three of five points `[cells, 10]`. The score is `√(class · object)`. Wu et al., «YuNet: a tiny
    /// millisecond-level face detector», 2023.
    Yunet,
    /// Boxes by anchors: an output `[anchors, 4]` and one of scores `[anchors, classes]`, in either order where their
    /// lengths tell which is which, else boxes first; see [`AnchorSpec`]. Each anchor gives the box of its surest class.
    Ssd,
}

/// Four numbers that are a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "card", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "card", serde(rename_all = "lowercase"))]
pub enum Corners {
    /// Left, upper, right and lower edge.
    #[default]
    Xyxy,
    /// Left and upper edge, width and height.
    Xywh,
    /// The centre, width and height.
    Cxcywh,
    /// Upper, left, lower and right edge, as TensorFlow has them.
    Yxyx,
}

impl Corners {
    /// Left, upper, right and lower edge.
    const fn edges(self, [a, b, c, d]: [f32; 4]) -> [f32; 4] {
        match self {
            Self::Xyxy => [a, b, c, d],
            Self::Xywh => [a, b, a + c, b + d],
            Self::Cxcywh => [a - c / 2.0, b - d / 2.0, a + c / 2.0, b + d / 2.0],
            Self::Yxyx => [b, a, d, c],
        }
    }
}

/// The unit of boxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "card", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "card", serde(rename_all = "lowercase"))]
pub enum BoxUnits {
    /// Pixels of the input.
    #[default]
    Pixels,
    /// Shares of its width and height.
    Share,
}

/// Why outputs are no boxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BoxError {
    /// There are fewer outputs than the form has.
    Outputs {
        /// Outputs of the form.
        needed: usize,
        /// Outputs given.
        given: usize,
    },
    /// An output has a number of elements that does not fit the form.
    Length {
        /// Its index.
        output: usize,
        /// Its elements.
        given: usize,
        /// Elements come in multiples of this.
        of: usize,
    },
}

impl fmt::Display for BoxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outputs { needed, given } => {
                write!(f, "the model has {given} outputs, boxes of this form have {needed}; mend the card")
            }
            Self::Length { output, given, of } => {
                write!(f, "output {output} has {given} numbers, where rows or planes of boxes have {of}; mend the card")
            }
        }
    }
}

impl core::error::Error for BoxError {}

/// Turns outputs into boxes in pixels of the input tensor.
///
/// ```
/// use cygnet_sense::{BoxDecoder, BoxForm, Detection};
/// // Two classes; two boxes that are nearly the same.
/// let rows = [10.0, 10.0, 20.0, 20.0, 0.1, 0.9, 11.0, 10.0, 20.0, 20.0, 0.2, 0.7];
/// let mut found = [Detection::default(); 8];
/// let count = BoxDecoder::new(BoxForm::Rows, 2, 64, 48).decode(&[&rows], &mut found)?;
/// assert_eq!((count, found[0].class, found[0].score), (1, 1, 0.9));
/// # Ok::<(), cygnet_sense::BoxError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoxDecoder {
    /// The form of the outputs.
    pub form: BoxForm,
    /// With [`BoxForm::Rows`], and for anchors that an output tells: what the four numbers are.
    pub corners: Corners,
    /// With both: their unit.
    pub units: BoxUnits,
    /// With [`BoxForm::Rows`]: whether the sureness of an object stands between the box and the classes.
    pub objectness: bool,
    /// With [`BoxForm::Rows`]: whether the output is `[columns, rows]`.
    pub transposed: bool,
    /// With [`BoxForm::Ssd`]: the anchors.
    pub anchors: AnchorSpec,
    /// Number of classes.
    pub classes: usize,
    /// Width of the input, pixels.
    pub width: u32,
    /// Height of the input, pixels.
    pub height: u32,
    /// Boxes with a lower score are dropped.
    pub score_threshold: f32,
    /// Of boxes of a class with a larger intersection over union the best stays.
    pub iou_threshold: f32,
}

/// Pixels of a cell of CenterFace.
const CENTER_FACE_CELL: usize = 4;
/// Pixels of the cells of YuNet.
const YUNET_CELLS: [usize; 3] = [8, 16, 32];
/// Keypoints of a face.
const FACE_POINTS: usize = 5;

impl BoxDecoder {
    /// Plain rows or grids, boxes from a score of 0.01 on, an intersection over union of at most 0.5.
    #[must_use]
    pub const fn new(form: BoxForm, classes: usize, width: u32, height: u32) -> Self {
        Self {
            form,
            corners: Corners::Xyxy,
            units: BoxUnits::Pixels,
            objectness: false,
            transposed: false,
            anchors: AnchorSpec::NONE,
            classes,
            width,
            height,
            score_threshold: 0.01,
            iou_threshold: 0.5,
        }
    }

    /// Fills `found` with the boxes, the best first, and gives their number. `outputs` are all outputs of the model
    /// in order, their elements in the order of the ONNX shape. Where more boxes reach the score than `found` has
    /// room for, the best are looked at.
    ///
    /// # Errors
    /// [`BoxError`].
    pub fn decode(&self, outputs: &[&[f32]], found: &mut [Detection]) -> Result<usize, BoxError> {
        let mut best = Best { found, count: 0, least: self.score_threshold };
        match self.form {
            BoxForm::Rows => self.rows(outputs, &mut best)?,
            BoxForm::FastestDet => self.fastest_det(outputs, &mut best)?,
            BoxForm::CenterFace => self.center_face(outputs, &mut best)?,
            BoxForm::Yunet => self.yunet(outputs, &mut best)?,
            BoxForm::Ssd => self.ssd(outputs, &mut best)?,
        }
        let count = best.count;
        Ok(non_maximum_suppression(found.get_mut(..count).unwrap_or_default(), self.iou_threshold))
    }

    /// Number of keypoints of each box.
    #[must_use]
    pub const fn keypoints(&self) -> usize {
        match self.form {
            BoxForm::CenterFace | BoxForm::Yunet => FACE_POINTS,
            BoxForm::Rows | BoxForm::FastestDet | BoxForm::Ssd => 0,
        }
    }

    /// Keypoint `index` of a box that [`decode`](Self::decode) found in these outputs, in pixels of the input; `None`
    /// where there is none.
    #[must_use]
    pub fn keypoint(&self, outputs: &[&[f32]], found: &Detection, index: usize) -> Option<(f32, f32)> {
        if index >= self.keypoints() {
            return None;
        }
        let place = found.place as usize;
        match self.form {
            BoxForm::CenterFace => {
                let points = outputs.get(3)?;
                let cells = outputs.first()?.len();
                let at = |plane: usize| points.get(plane * cells + place).copied();
                let (width, height) = (found.x2 - found.x1, found.y2 - found.y1);
                Some((found.x1 + at(2 * index + 1)? * width, found.y1 + at(2 * index)? * height))
            }
            BoxForm::Yunet => {
                let (level, cell) = self.yunet_cell(place)?;
                let size = *YUNET_CELLS.get(level)?;
                let columns = self.width as usize / size;
                let points = outputs.get(9 + level)?.get(cell * 2 * FACE_POINTS + 2 * index..)?;
                let [x, y, ..] = points else { return None };
                let (column, row) = (cell % columns, cell / columns);
                Some(((x + column as f32) * size as f32, (y + row as f32) * size as f32))
            }
            BoxForm::Rows | BoxForm::FastestDet | BoxForm::Ssd => None,
        }
    }

    fn rows(&self, outputs: &[&[f32]], best: &mut Best<'_>) -> Result<(), BoxError> {
        let columns = 4 + usize::from(self.objectness) + self.classes;
        let [output] = first(outputs)?;
        let count = groups(output, 0, columns)?;
        let at = |row: usize, column: usize| {
            let place = if self.transposed { column * count + row } else { row * columns + column };
            output.get(place).copied().unwrap_or(f32::NAN)
        };
        for row in 0..count {
            let Some((class, sure)) = greatest((columns - self.classes..columns).map(|column| at(row, column))) else {
                continue;
            };
            let score = if self.objectness { sure * at(row, 4) } else { sure };
            best.offer(self.cornered([0, 1, 2, 3].map(|column| at(row, column))), score, class, row);
        }
        Ok(())
    }

    /// The four numbers of a row as edges in pixels.
    fn cornered(&self, numbers: [f32; 4]) -> [f32; 4] {
        let [x1, y1, x2, y2] = self.corners.edges(numbers);
        let (across, down) = match self.units {
            BoxUnits::Pixels => (1.0, 1.0),
            BoxUnits::Share => (self.width as f32, self.height as f32),
        };
        [x1 * across, y1 * down, x2 * across, y2 * down]
    }

    fn fastest_det(&self, outputs: &[&[f32]], best: &mut Best<'_>) -> Result<(), BoxError> {
        let planes = 5 + self.classes;
        let [output] = first(outputs)?;
        let cells = groups(output, 0, planes)?;
        let (width, height) = (self.width as f32, self.height as f32);
        // As many columns to rows as the input is wide to high.
        let columns = libm::round(libm::sqrt(cells as f64 * f64::from(self.width) / f64::from(self.height))) as usize;
        if columns == 0 || !cells.is_multiple_of(columns) {
            return Err(BoxError::Length { output: 0, given: output.len(), of: planes });
        }
        let rows = cells / columns;
        let sigmoid = |x: f32| 1.0 / (1.0 + libm::expf(-x));
        for cell in 0..cells {
            let at = |plane: usize| output.get(plane * cells + cell).copied().unwrap_or(f32::NAN);
            let Some((class, sure)) = greatest((5..planes).map(at)) else { continue };
            let x = ((cell % columns) as f32 + libm::tanhf(at(1))) / columns as f32 * width;
            let y = ((cell / columns) as f32 + libm::tanhf(at(2))) / rows as f32 * height;
            let (half_width, half_height) = (sigmoid(at(3)) * width / 2.0, sigmoid(at(4)) * height / 2.0);
            let score = libm::powf(at(0).max(0.0), 0.6) * libm::powf(sure.max(0.0), 0.4);
            best.offer([x - half_width, y - half_height, x + half_width, y + half_height], score, class, cell);
        }
        Ok(())
    }

    fn center_face(&self, outputs: &[&[f32]], best: &mut Best<'_>) -> Result<(), BoxError> {
        let [scores, sizes, offsets, points] = first(outputs)?;
        let columns = self.width as usize / CENTER_FACE_CELL;
        let cells = columns * (self.height as usize / CENTER_FACE_CELL);
        for (output, (values, planes)) in
            [(scores, 1), (sizes, 2), (offsets, 2), (points, 2 * FACE_POINTS)].into_iter().enumerate()
        {
            if values.len() != cells * planes || cells == 0 {
                return Err(BoxError::Length { output, given: values.len(), of: cells * planes });
            }
        }
        let cell_size = CENTER_FACE_CELL as f32;
        for (cell, &score) in scores.iter().enumerate().filter(|(_, score)| **score >= self.score_threshold) {
            let at = |planes: &[f32], plane: usize| planes.get(plane * cells + cell).copied().unwrap_or(f32::NAN);
            let [height, width] = [0, 1].map(|plane| libm::expf(at(sizes, plane)) * cell_size);
            let y = ((cell / columns) as f32 + at(offsets, 0) + 0.5) * cell_size;
            let x = ((cell % columns) as f32 + at(offsets, 1) + 0.5) * cell_size;
            best.offer([x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0], score, 0, cell);
        }
        Ok(())
    }

    fn yunet(&self, outputs: &[&[f32]], best: &mut Best<'_>) -> Result<(), BoxError> {
        let outputs: [&[f32]; 12] = first(outputs)?;
        let mut start = 0;
        for (level, size) in YUNET_CELLS.into_iter().enumerate() {
            let (columns, rows) = (self.width as usize / size, self.height as usize / size);
            let cells = columns * rows;
            for (kind, numbers) in [1, 1, 4, 2 * FACE_POINTS].into_iter().enumerate() {
                let (output, needed) = (3 * kind + level, cells * numbers);
                let given = outputs.get(output).map_or(0, |values| values.len());
                if given != needed {
                    return Err(BoxError::Length { output, given, of: needed });
                }
            }
            let list = |kind: usize| outputs.get(3 * kind + level).copied().unwrap_or_default();
            let (boxes, _) = list(2).as_chunks::<4>();
            let cell_size = size as f32;
            for (cell, ((&class, &object), [x, y, width, height])) in list(0).iter().zip(list(1)).zip(boxes).enumerate()
            {
                let score = libm::sqrtf(class.clamp(0.0, 1.0) * object.clamp(0.0, 1.0));
                let (x, y) = (((cell % columns) as f32 + x) * cell_size, ((cell / columns) as f32 + y) * cell_size);
                let [half_width, half_height] = [width, height].map(|side| libm::expf(*side) * cell_size / 2.0);
                let corners = [x - half_width, y - half_height, x + half_width, y + half_height];
                best.offer(corners, score, 0, start + cell);
            }
            start += cells;
        }
        Ok(())
    }

    /// Level and cell of a place among the cells of all levels.
    fn yunet_cell(&self, mut place: usize) -> Option<(usize, usize)> {
        for (level, size) in YUNET_CELLS.into_iter().enumerate() {
            let cells = (self.width as usize / size) * (self.height as usize / size);
            if place < cells {
                return Some((level, place));
            }
            place -= cells;
        }
        None
    }
}

/// The first `N` outputs.
fn first<'o, const N: usize>(outputs: &[&'o [f32]]) -> Result<[&'o [f32]; N], BoxError> {
    outputs.first_chunk::<N>().copied().ok_or(BoxError::Outputs { needed: N, given: outputs.len() })
}

/// How often an output holds `of` numbers.
fn groups(values: &[f32], output: usize, of: usize) -> Result<usize, BoxError> {
    if values.is_empty() || !values.len().is_multiple_of(of) {
        return Err(BoxError::Length { output, given: values.len(), of });
    }
    Ok(values.len() / of)
}

/// The class with the greatest score, and the score.
fn greatest(scores: impl Iterator<Item = f32>) -> Option<(u32, f32)> {
    let best = scores.enumerate().reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map(|(class, score)| (class as u32, score))
}

/// The best boxes so far, in no order.
struct Best<'f> {
    found: &'f mut [Detection],
    count: usize,
    least: f32,
}

impl Best<'_> {
    fn offer(&mut self, [x1, y1, x2, y2]: [f32; 4], score: f32, class: u32, place: usize) {
        // NaN reaches nothing.
        if score.is_nan() || score < self.least {
            return;
        }
        let next = Detection { x1, y1, x2, y2, score, class, place: place as u32 };
        if let Some(slot) = self.found.get_mut(self.count) {
            *slot = next;
            self.count += 1;
            return;
        }
        let worst = self.found.iter_mut().min_by(|a, b| a.score.total_cmp(&b.score));
        if let Some(worst) = worst.filter(|worst| worst.score < score) {
            *worst = next;
        }
    }
}
