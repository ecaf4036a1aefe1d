//! Where in a sample a model finds its answer: a grey patch slides over it, and the drop of the answer's score is noted
//! (Zeiler and Fergus, "Visualizing and understanding convolutional networks", arXiv 1311.2901, section 4.2).

use std::ops::Range;

use cygnet_onnx::model::Tensor;
use serde::Serialize;

use super::preview::{Kind, View};
use crate::data::Sample;
use crate::error::QuantizeError;

/// Positions of the patch along a side.
const POSITIONS: usize = 8;
/// Cells of a map along a side, at most.
const CELLS: usize = 24;

/// How much of the answer's score is lost where.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Map {
    /// Cells across.
    pub columns: usize,
    /// Cells down.
    pub rows: usize,
    /// The mean drop of the score over all patches that cover the cell, row by row as the preview shows it; negative
    /// where the score rises.
    pub drops: Vec<f32>,
}

impl Map {
    /// The largest drop, and where: 0 … 1 from the left and from the top.
    pub fn largest(&self) -> (f32, f32, f32) {
        let largest =
            self.drops.iter().copied().enumerate().reduce(|most, next| if next.1 > most.1 { next } else { most });
        let (index, drop) = largest.unwrap_or_default();
        let middle = |cell: usize, cells: usize| (cell as f32 + 0.5) / cells.max(1) as f32;
        (drop, middle(index % self.columns.max(1), self.columns), middle(index / self.columns.max(1), self.rows))
    }
}

/// The map of `sample`, whose answer has the score `score`; `ask` gives that answer's score for another sample.
///
/// # Errors
/// Those of `ask`, and [`QuantizeError::Model`] for inputs that hold no numbers.
pub fn map(
    view: &View,
    sample: &Sample,
    score: f32,
    mut ask: impl FnMut(&Sample) -> Result<f32, QuantizeError>,
) -> Result<Option<Map>, QuantizeError> {
    let Some(whole) = sample.inputs.get(view.input).filter(|tensor| tensor.dtype.is_float()) else { return Ok(None) };
    let values = whole.to_f32s()?;
    let [rows, columns, channels] = view.extents;
    if values.len() != rows * columns * channels || values.is_empty() {
        return Ok(None);
    }
    let (across, down) = (patches(columns, view.kind), patches(rows, view.kind));
    let (width, height) = (columns.min(CELLS), rows.min(CELLS));
    let mut sums = vec![(0f64, 0u32); width * height];
    let (mut covered, grey) = (sample.clone(), view.grey(&values));
    for down in &down {
        for across in &across {
            let mut patched = values.clone();
            for (row, column) in down.clone().flat_map(|row| across.clone().map(move |column| (row, column))) {
                for (channel, grey) in (0..channels).zip(grey.iter().cycle()) {
                    patched[view.index(row, column, channel)] = *grey;
                }
            }
            covered.inputs[view.input] = Tensor::from_f32(whole.shape.clone(), &patched);
            let drop = f64::from(score - ask(&covered)?);
            for row in cells(down.clone(), rows, height) {
                for column in cells(across.clone(), columns, width) {
                    // Low bands stand at the bottom.
                    let row = if view.kind == Kind::Spectrogram { height - 1 - row } else { row };
                    let (sum, count) = &mut sums[row * width + column];
                    *sum += drop;
                    *count += 1;
                }
            }
        }
    }
    let drops = sums.iter().map(|(sum, count)| (sum / f64::from((*count).max(1))) as f32).collect();
    Ok(Some(Map { columns: width, rows: height, drops }))
}

/// The patches along one side of `side` elements. Their middles lie evenly over it, so that the outer ones hang over the
/// ends: else the ends would be covered only together with what lies further in.
fn patches(side: usize, kind: Kind) -> Vec<Range<usize>> {
    // Along a line there is one side only: smaller patches, more places.
    let finer = if kind == Kind::Line { 3 } else { 1 };
    let patch = side.div_ceil(4 * finer).max(1);
    let positions = (POSITIONS * finer).min(side);
    let middles = (0..positions).map(|position| (2 * position + 1) * side / (2 * positions));
    middles.map(|middle| middle.saturating_sub(patch / 2)..(middle + patch.div_ceil(2)).min(side)).collect()
}

/// The cells, of `cells` along `side` elements, whose middle lies in `patch`.
fn cells(patch: Range<usize>, side: usize, cells: usize) -> impl Iterator<Item = usize> {
    (0..cells).filter(move |cell| patch.contains(&((2 * cell + 1) * side / (2 * cells))))
}

#[cfg(test)]
mod tests {
    use cygnet_onnx::model::{DType, Model, ValueInfo};

    use super::*;
    use crate::facts::Facts;

    /// A view of `[1, rows, columns]`... as a grey picture without a card.
    fn view(shape: &[usize]) -> View {
        let model =
            Model { inputs: vec![ValueInfo { name: "x".into(), dtype: DType::F32, shape: None }], ..Model::default() };
        let facts = Facts::from([("x".to_string(), (DType::F32, shape.to_vec()))]);
        View::of(&model, &facts, None).unwrap()
    }

    #[test]
    fn the_map_is_high_where_the_answer_is() {
        // The score is the pixel in row 3, column 12 of 16 × 16: its loss is seen there and nowhere else.
        let view = view(&[1, 16, 16, 1]);
        let mut values = vec![0f32; 256];
        values[3 * 16 + 12] = 1.0;
        let sample =
            Sample { name: "s".into(), inputs: vec![Tensor::from_f32(vec![1, 16, 16, 1], &values)], label: None };
        let ask = |sample: &Sample| Ok(sample.inputs[0].to_f32s()?[3 * 16 + 12]);
        let map = map(&view, &sample, 1.0, ask).unwrap().unwrap();
        assert_eq!((map.columns, map.rows), (16, 16));
        let (drop, x, y) = map.largest();
        // Grey is the mean, 1/256.
        assert!((drop - 255.0 / 256.0).abs() < 1e-6, "{drop}");
        assert!((x - 12.5 / 16.0).abs() < 0.1 && (y - 3.5 / 16.0).abs() < 0.1, "{x} {y}");
        assert_eq!(map.drops[15 * 16], 0.0);
        assert!(map.drops.iter().all(|drop| drop.is_finite()));
    }

    #[test]
    fn every_cell_is_covered() {
        for side in 1..100 {
            for kind in [Kind::Picture, Kind::Line] {
                let patches = patches(side, kind);
                for cell in 0..side.min(CELLS) {
                    let is_covered =
                        |patch: &Range<usize>| cells(patch.clone(), side, side.min(CELLS)).any(|c| c == cell);
                    assert!(patches.iter().any(is_covered), "cell {cell} of {side}, {kind:?}");
                }
                assert!(patches.iter().all(|patch| patch.end <= side && !patch.is_empty()), "{side}");
            }
        }
    }
}
