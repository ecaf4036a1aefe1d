//! Boxes that are told by what they differ from anchors: boxes of known places and sizes.
//!
//! Centre-size coding (Ren et al., «Faster R-CNN», 2015; Liu et al., «SSD: single shot multibox detector», 2016): with the
//! anchor's centre `(ax, ay)` and size `(aw, ah)` and the variances `v`, the box has its centre at
//! `(ax + v0·dx·aw, ay + v1·dy·ah)` and the size `(aw·exp(v2·dw), ah·exp(v3·dh))`.

use super::{Best, BoxDecoder, BoxError, Corners, greatest, groups};

/// Most levels of anchors.
pub const MAX_LEVELS: usize = 8;
/// Most anchors of one cell.
pub const MAX_CELL_ANCHORS: usize = 12;
/// The largest exponent of a size, ln(1000 / 16), as in torchvision: what is 62 times an anchor is larger than any picture.
const LARGEST_EXPONENT: f32 = 4.135_166_6;

/// How the sureness of a class stands in the output of scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "card", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "card", serde(rename_all = "lowercase"))]
pub enum ScoreForm {
    /// As it is.
    #[default]
    Plain,
    /// Each class through `1 / (1 + exp(-x))`.
    Sigmoid,
    /// All classes of an anchor through softmax, the background among them.
    Softmax,
}

/// The order of the four numbers that tell how a box differs from its anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "card", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "card", serde(rename_all = "lowercase"))]
pub enum OffsetOrder {
    /// Across, down, width, height: torchvision, Caffe.
    #[default]
    Xywh,
    /// Down, across, height, width: TensorFlow.
    Yxhw,
}

/// The anchors of a grid of cells: one for each scale and ratio in each cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnchorLevel {
    /// Pixels of the input from one cell to the next, across and down.
    pub stride: [f32; 2],
    /// Where in its cell the centre lies, in cells: 0.5 in the middle, 0 at the left upper corner.
    pub offset: f32,
    /// Number of anchors of a cell.
    pub count: usize,
    /// For each of them the side of a square of its area, in pixels of the input.
    pub scales: [f32; MAX_CELL_ANCHORS],
    /// For each of them width over height: it is `scale·√ratio` wide and `scale / √ratio` high.
    pub ratios: [f32; MAX_CELL_ANCHORS],
}

impl AnchorLevel {
    /// A level without anchors.
    pub const EMPTY: Self = Self {
        stride: [1.0; 2],
        offset: 0.5,
        count: 0,
        scales: [1.0; MAX_CELL_ANCHORS],
        ratios: [1.0; MAX_CELL_ANCHORS],
    };

    /// Columns and rows of cells over an input of this size; cells that the edge cuts count.
    fn cells(&self, width: u32, height: u32) -> [usize; 2] {
        let [across, down] = self.stride;
        let number = |length: u32, stride: f32| libm::ceilf(length as f32 / stride) as usize;
        [number(width, across), number(height, down)]
    }
}

/// What a detector with anchors needs to be told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnchorSpec {
    /// The anchors: level after level, row after row of cells, cell after cell. Without levels a third output
    /// `[anchors, 4]` tells them, in the form of [`BoxDecoder::corners`] and [`BoxDecoder::units`].
    pub levels: [AnchorLevel; MAX_LEVELS],
    /// Number of levels.
    pub count: usize,
    /// What offsets of the centre across and down and exponents of width and height are multiplied by.
    pub variances: [f32; 4],
    /// The order of the offsets.
    pub order: OffsetOrder,
    /// The form of the scores.
    pub scores: ScoreForm,
    /// Whether class 0 of the scores is none of the labels: the background.
    pub background: bool,
}

impl AnchorSpec {
    /// No levels, variances 0.1, 0.1, 0.2 and 0.2, plain scores without a background.
    pub const NONE: Self = Self {
        levels: [AnchorLevel::EMPTY; MAX_LEVELS],
        count: 0,
        variances: [0.1, 0.1, 0.2, 0.2],
        order: OffsetOrder::Xywh,
        scores: ScoreForm::Plain,
        background: false,
    };

    /// Centre and size `[x, y, width, height]` of all anchors over an input of this size, in pixels.
    pub fn anchors(&self, width: u32, height: u32) -> impl Iterator<Item = [f32; 4]> + '_ {
        self.levels.iter().take(self.count).flat_map(move |level| {
            let [columns, rows] = level.cells(width, height);
            (0..rows * columns).flat_map(move |cell| {
                let place = |index: usize, stride: f32| (index as f32 + level.offset) * stride;
                let (x, y) = (place(cell % columns, level.stride[0]), place(cell / columns, level.stride[1]));
                level.scales.iter().zip(&level.ratios).take(level.count).map(move |(scale, ratio)| {
                    let root = libm::sqrtf(*ratio);
                    [x, y, scale * root, scale / root]
                })
            })
        })
    }

    /// Number of anchors over an input of this size.
    fn total(&self, width: u32, height: u32) -> usize {
        let of_level = |level: &AnchorLevel| {
            let [columns, rows] = level.cells(width, height);
            columns.saturating_mul(rows).saturating_mul(level.count)
        };
        self.levels.iter().take(self.count).map(of_level).fold(0, usize::saturating_add)
    }
}

/// The outputs of a detector with anchors.
struct Outputs<'o> {
    /// `[anchors, 4]`.
    boxes: &'o [[f32; 4]],
    /// `[anchors, columns]`.
    scores: &'o [f32],
    columns: usize,
}

impl BoxDecoder {
    /// Boxes of all anchors, cut off at the edges of the input.
    pub(super) fn ssd(&self, outputs: &[&[f32]], best: &mut Best<'_>) -> Result<(), BoxError> {
        let columns = self.classes + usize::from(self.anchors.background);
        let [first, second, rest @ ..] = outputs else {
            return Err(BoxError::Outputs { needed: 2, given: outputs.len() });
        };
        if self.anchors.count > 0 {
            let total = self.anchors.total(self.width, self.height);
            let told = arranged(first, second, total, columns)?;
            self.offer_all(&told, self.anchors.anchors(self.width, self.height), best);
            return Ok(());
        }
        let [anchors, ..] = rest else {
            return Err(BoxError::Outputs { needed: 3, given: outputs.len() });
        };
        let told = arranged(first, second, groups(anchors, 2, 4)?, columns)?;
        let (anchors, _) = anchors.as_chunks::<4>();
        self.offer_all(&told, anchors.iter().map(|anchor| self.centred(*anchor)), best);
        Ok(())
    }

    /// An anchor of an output as centre and size in pixels.
    fn centred(&self, anchor: [f32; 4]) -> [f32; 4] {
        let [x1, y1, x2, y2] = self.cornered(anchor);
        [(x1 + x2) / 2.0, (y1 + y2) / 2.0, x2 - x1, y2 - y1]
    }

    fn offer_all(&self, told: &Outputs<'_>, anchors: impl Iterator<Item = [f32; 4]>, best: &mut Best<'_>) {
        let rows = told.boxes.iter().zip(told.scores.chunks_exact(told.columns));
        for (place, ((numbers, scores), anchor)) in rows.zip(anchors).enumerate() {
            let labels = scores.get(usize::from(self.anchors.background)..).unwrap_or_default();
            let Some((class, sure)) = greatest(labels.iter().copied()) else { continue };
            let score = match self.anchors.scores {
                ScoreForm::Plain => sure,
                ScoreForm::Sigmoid => 1.0 / (1.0 + libm::expf(-sure)),
                ScoreForm::Softmax => 1.0 / scores.iter().map(|other| libm::expf(other - sure)).sum::<f32>(),
            };
            // Most are background: their corners are not needed.
            if score >= self.score_threshold {
                best.offer(self.moved(anchor, *numbers), score, class, place);
            }
        }
    }

    /// The corners of an anchor that was moved and scaled, within the input.
    fn moved(&self, [x, y, width, height]: [f32; 4], numbers: [f32; 4]) -> [f32; 4] {
        let [dx, dy, dw, dh] = match (self.anchors.order, numbers) {
            (OffsetOrder::Xywh, numbers) => numbers,
            (OffsetOrder::Yxhw, [dy, dx, dh, dw]) => [dx, dy, dw, dh],
        };
        let [vx, vy, vw, vh] = self.anchors.variances;
        let (x, y) = (x + vx * dx * width, y + vy * dy * height);
        let width = width * libm::expf((vw * dw).min(LARGEST_EXPONENT));
        let height = height * libm::expf((vh * dh).min(LARGEST_EXPONENT));
        let corners = Corners::Cxcywh.edges([x, y, width, height]);
        let [x1, y1, x2, y2] = corners;
        let within = |place: f32, length: u32| place.clamp(0.0, length as f32);
        [within(x1, self.width), within(y1, self.height), within(x2, self.width), within(y2, self.height)]
    }
}

/// Boxes and scores of so many anchors: boxes first, or scores first where only that fits.
fn arranged<'o>(first: &'o [f32], second: &'o [f32], anchors: usize, columns: usize) -> Result<Outputs<'o>, BoxError> {
    let (needed_boxes, needed_scores) = (anchors.saturating_mul(4), anchors.saturating_mul(columns));
    let fits = |boxes: &[f32], scores: &[f32]| boxes.len() == needed_boxes && scores.len() == needed_scores;
    let (boxes, scores) = if fits(first, second) {
        (first, second)
    } else if fits(second, first) {
        (second, first)
    } else if first.len() == needed_boxes {
        return Err(BoxError::Length { output: 1, given: second.len(), of: needed_scores });
    } else {
        return Err(BoxError::Length { output: 0, given: first.len(), of: needed_boxes });
    };
    Ok(Outputs { boxes: boxes.as_chunks::<4>().0, scores, columns: columns.max(1) })
}
