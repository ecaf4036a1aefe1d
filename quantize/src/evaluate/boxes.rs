//! From a detector's outputs to boxes, as the card says.

use cygnet_sense::answers::{Detection, non_maximum_suppression};
use cygnet_sense::card::{BoxDecoder, BoxUnits, Boxes, Card, Corners};

/// Most boxes before overlapping ones are taken out.
const MOST: usize = 1000;

/// Turns outputs into boxes in pixels of the input tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoder {
    boxes: Boxes,
    classes: usize,
    width: f32,
    height: f32,
}

impl Decoder {
    /// For a model of pictures; `Err` says what the card lacks.
    pub fn of_card(card: &Card) -> Result<Decoder, String> {
        let boxes = card.evaluation.as_ref().and_then(|wanted| wanted.boxes.clone());
        let boxes = boxes.ok_or("the card does not say how outputs become boxes; add [evaluation.boxes]")?;
        let spec = card.image_spec().ok_or("the card's input is no picture; boxes need one")?;
        if card.labels.is_empty() {
            return Err("the card has no labels, and boxes need their number".into());
        }
        Ok(Decoder { boxes, classes: card.labels.len(), width: spec.width as f32, height: spec.height as f32 })
    }

    /// The boxes in the first output; `Err` says what does not fit.
    pub fn decode(&self, outputs: &[Vec<f32>]) -> Result<Vec<Detection>, String> {
        let output = outputs.first().ok_or("the model has no output")?;
        let mut found = match self.boxes.decoder {
            BoxDecoder::Rows => self.rows(output)?,
            BoxDecoder::FastestDet => self.fastest_det(output)?,
        };
        found.retain(|one| one.score >= self.boxes.score_threshold);
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        found.truncate(MOST);
        let kept = non_maximum_suppression(&mut found, self.boxes.iou_threshold);
        found.truncate(kept);
        Ok(found)
    }

    /// Rows of four numbers, the sureness of an object where there is one, and a score for each class.
    fn rows(&self, output: &[f32]) -> Result<Vec<Detection>, String> {
        let columns = 4 + usize::from(self.boxes.objectness) + self.classes;
        let count = output.len() / columns;
        if count * columns != output.len() {
            return Err(format!(
                "the output has {} numbers, rows of boxes have {columns}; mend the card",
                output.len()
            ));
        }
        let at = |row: usize, column: usize| {
            output[if self.boxes.transposed { column * count + row } else { row * columns + column }]
        };
        let row = |row: usize| {
            let [a, b, c, d] = [0, 1, 2, 3].map(|column| at(row, column));
            let [x1, y1, x2, y2] = match self.boxes.corners {
                Corners::Xyxy => [a, b, c, d],
                Corners::Xywh => [a, b, a + c, b + d],
                Corners::Cxcywh => [a - c / 2.0, b - d / 2.0, a + c / 2.0, b + d / 2.0],
            };
            let (across, down) = match self.boxes.units {
                BoxUnits::Pixels => (1.0, 1.0),
                BoxUnits::Share => (self.width, self.height),
            };
            let scores = (columns - self.classes..columns).map(|column| at(row, column));
            let (class, best) = best(scores)?;
            let score = if self.boxes.objectness { best * at(row, 4) } else { best };
            Some(Detection { x1: x1 * across, y1: y1 * down, x2: x2 * across, y2: y2 * down, score, class })
        };
        Ok((0..count).filter_map(row).collect())
    }

    /// FastestDet's grid, <https://github.com/dog-qiuqiu/FastestDet>: planes of the sureness of an object, of the
    /// centre's offset from its cell (tanh) and the size (sigmoid), and of the classes. The score is object^0.6 · class^0.4.
    fn fastest_det(&self, output: &[f32]) -> Result<Vec<Detection>, String> {
        let planes = 5 + self.classes;
        let cells = output.len() / planes;
        let ratio = f64::from(self.width) / f64::from(self.height);
        let columns = (cells as f64 * ratio).sqrt().round() as usize;
        if cells * planes != output.len() || columns == 0 || !cells.is_multiple_of(columns) {
            return Err(format!("the output has {} numbers, no grid of {planes} planes; mend the card", output.len()));
        }
        let rows = cells / columns;
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        let cell = |cell: usize| {
            let at = |plane: usize| output[plane * cells + cell];
            let (class, best) = best((5..planes).map(at))?;
            let x = ((cell % columns) as f32 + at(1).tanh()) / columns as f32 * self.width;
            let y = ((cell / columns) as f32 + at(2).tanh()) / rows as f32 * self.height;
            let (half_width, half_height) = (sigmoid(at(3)) * self.width / 2.0, sigmoid(at(4)) * self.height / 2.0);
            let score = at(0).max(0.0).powf(0.6) * best.max(0.0).powf(0.4);
            let (x1, y1, x2, y2) = (x - half_width, y - half_height, x + half_width, y + half_height);
            Some(Detection { x1, y1, x2, y2, score, class })
        };
        Ok((0..cells).filter_map(cell).collect())
    }
}

/// The class with the greatest score, and the score.
fn best(scores: impl Iterator<Item = f32>) -> Option<(u32, f32)> {
    let best = scores.enumerate().reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map(|(class, score)| (class as u32, score))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoder(boxes: &str) -> Decoder {
        let text = "name = \"x\"\ntask = \"detection\"\nlabels = [\"a\", \"b\"]\n[input]\nkind = \"image\"\n\
                    width = 80\nheight = 40\n[evaluation]\nmetric = \"average-precision\"\n[evaluation.boxes]\n";
        Decoder::of_card(&Card::parse(&format!("{text}{boxes}")).unwrap()).unwrap()
    }

    fn corners(found: &[Detection]) -> Vec<([f32; 4], u32)> {
        found.iter().map(|one| ([one.x1, one.y1, one.x2, one.y2], one.class)).collect()
    }

    #[test]
    fn rows_become_boxes() {
        // Two boxes, the second hardly sure; centre, size, object, two classes.
        let rows = [20.0, 10.0, 8.0, 4.0, 0.5, 0.2, 0.8, 5.0, 5.0, 2.0, 2.0, 0.01, 0.1, 0.1];
        let plain = decoder("decoder = \"rows\"\ncorners = \"cxcywh\"\nobjectness = true\nscore_threshold = 0.05");
        let found = plain.decode(&[rows.to_vec()]).unwrap();
        assert_eq!(corners(&found), [([16.0, 8.0, 24.0, 12.0], 1)]);
        assert_eq!(found[0].score, 0.4);
        // The same number of columns, transposed, as shares of the input.
        let shared = decoder("decoder = \"rows\"\ncorners = \"xyxy\"\nunits = \"share\"\ntransposed = true");
        let turned = [0.1, 0.5, 0.25, 0.5, 0.2, 0.75, 0.5, 1.0, 0.9, 0.3, 0.1, 0.6];
        let found = shared.decode(&[turned.to_vec()]).unwrap();
        assert_eq!(corners(&found), [([8.0, 10.0, 16.0, 20.0], 0), ([40.0, 20.0, 60.0, 40.0], 1)]);
        assert!(plain.decode(&[vec![0.0; 13]]).unwrap_err().contains("rows of boxes have 7"));
    }

    #[test]
    fn a_grid_becomes_boxes() {
        // Two columns, one row; the second cell is sure. tanh(0) = 0, sigmoid(0) = 1/2: half the input wide and high.
        let planes = [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.25, 0.0, 0.5];
        let found = decoder("decoder = \"fastest-det\"").decode(&[planes.to_vec()]).unwrap();
        assert_eq!(corners(&found), [([20.0, -10.0, 60.0, 10.0], 1)]);
        // 1^0.6 · 0.5^0.4.
        assert!((found[0].score - 0.757_858_3).abs() < 1e-6, "{}", found[0].score);
    }
}
