//! Values of boxes of pictures, at as many places of each as the result has.

use core::ops::Range;

use crate::bytes::I64s;
use crate::kernels::view::part;
use crate::math::{ceil, maximum};
use crate::plan::step::RoiAlign;

/// Samples of a cell along an axis, at most: the greatest whole number up to which `f32` has them all.
const MOST_SAMPLES: usize = 1 << 24;

/// How far beyond the first line or column a sample still has the values of the border.
const MARGIN: f32 = 1.0;

/// One axis of a box: where the samples of its cells lie.
struct Axis {
    /// Where the box begins, in lines or columns of the picture.
    start: f32,
    /// Length of a cell of the result.
    cell: f32,
    /// Samples of a cell.
    samples: usize,
    /// Lines or columns of the picture.
    extent: usize,
}

/// A sample between two lines or columns: both, and the weight of each.
struct Between {
    low: usize,
    high: usize,
    low_weight: f32,
    high_weight: f32,
}

impl Axis {
    fn of(s: &RoiAlign, [low, high]: [f32; 2], cells: u32, extent: u32) -> Self {
        let offset = if s.half_pixel != 0 { 0.5 } else { 0.0 };
        let (start, end) = (low * s.scale - offset, high * s.scale - offset);
        let length = if s.half_pixel != 0 { end - start } else { maximum(end - start, 1.0) };
        let cell = length / cells as f32;
        let samples = if s.samples > 0 { s.samples as usize } else { (ceil(cell) as usize).min(MOST_SAMPLES) };
        Self { start, cell, samples, extent: extent as usize }
    }

    fn place(&self, cell: usize, sample: usize) -> f32 {
        self.start + cell as f32 * self.cell + (sample as f32 + 0.5) * self.cell / self.samples as f32
    }

    fn is_inside(&self, place: f32) -> bool {
        place >= -MARGIN && place <= self.extent as f32
    }

    /// The samples of a cell that may lie inside of the picture: a box may be far greater than that.
    fn near(&self, cell: usize) -> Range<usize> {
        // Places of a box whose edges are the wrong way round, or no numbers, do not grow.
        if self.cell <= 0.0 || self.cell.is_nan() {
            return 0..self.samples;
        }
        let first = |is_behind: &dyn Fn(f32) -> bool| {
            let mut range = 0..self.samples;
            while range.start < range.end {
                let middle = range.start + (range.end - range.start) / 2;
                if is_behind(self.place(cell, middle)) { range.end = middle } else { range.start = middle + 1 }
            }
            range.start
        };
        let extent = self.extent as f32;
        first(&|place| place >= -MARGIN)..first(&|place| place > extent)
    }

    fn between(&self, place: f32) -> Between {
        let place = maximum(place, 0.0);
        let (low, last) = (place as usize, self.extent.saturating_sub(1));
        if low >= last {
            return Between { low: last, high: last, low_weight: 1.0, high_weight: 0.0 };
        }
        let high_weight = place - low as f32;
        Between { low, high: low + 1, low_weight: 1.0 - high_weight, high_weight }
    }

    /// The samples of a cell inside of the picture.
    fn inside(&self, cell: usize) -> impl Iterator<Item = Between> {
        let places = self.near(cell).map(move |sample| self.place(cell, sample));
        places.filter(|place| self.is_inside(*place)).map(|place| self.between(place))
    }
}

/// See [`RoiAlign`]. Gives whether each box is one of a picture that is there.
#[must_use]
pub fn roi_align(s: &RoiAlign, x: &[f32], boxes: &[f32], images: I64s<'_>, y: &mut [f32]) -> bool {
    let channels = s.channels as usize;
    let image_len = s.in_h as usize * s.in_w as usize * channels;
    let lines = y.chunks_exact_mut((s.out_w as usize * channels).max(1));
    let mut lines = lines.enumerate();
    let height = (s.out_h as usize).max(1);
    for (&[left, top, right, bottom], image) in boxes.as_chunks::<4>().0.iter().zip(images.iter()) {
        let image = usize::try_from(image).ok().and_then(|image| x.chunks_exact(image_len.max(1)).nth(image));
        let Some(image) = image else { return false };
        let rows = Axis::of(s, [top, bottom], s.out_h, s.in_h);
        let columns = Axis::of(s, [left, right], s.out_w, s.in_w);
        for (line, y) in lines.by_ref().take(height) {
            for (column, y) in y.chunks_exact_mut(channels.max(1)).enumerate() {
                cell(s, image, (&rows, line % height), (&columns, column), y);
            }
        }
    }
    true
}

/// All channels of one element of the result.
fn cell(s: &RoiAlign, image: &[f32], (rows, row): (&Axis, usize), (columns, column): (&Axis, usize), y: &mut [f32]) {
    let channels = s.channels as usize;
    y.fill(if s.greatest != 0 { f32::NEG_INFINITY } else { 0.0 });
    let mut seen = 0_u64;
    for down in rows.inside(row) {
        for across in columns.inside(column) {
            seen += 1;
            let pixel = |line: usize, column: usize| part(image, (line * columns.extent + column) * channels, channels);
            let upper = pixel(down.low, across.low).iter().zip(pixel(down.low, across.high));
            let lower = pixel(down.high, across.low).iter().zip(pixel(down.high, across.high));
            let (upper_left, upper_right) = (down.low_weight * across.low_weight, down.low_weight * across.high_weight);
            let (lower_left, lower_right) =
                (down.high_weight * across.low_weight, down.high_weight * across.high_weight);
            for (y, ((a, b), (c, d))) in y.iter_mut().zip(upper.zip(lower)) {
                let [a, b, c, d] = [upper_left * a, upper_right * b, lower_left * c, lower_right * d];
                *y = if s.greatest != 0 {
                    maximum(*y, maximum(maximum(a, b), maximum(c, d)))
                } else {
                    *y + (((a + b) + c) + d)
                };
            }
        }
    }
    let all = rows.samples as u64 * columns.samples as u64;
    if s.greatest == 0 {
        let count = all.max(1) as f32;
        y.iter_mut().for_each(|y| *y /= count);
    } else if seen < all || all == 0 {
        // A sample outside is 0.
        y.iter_mut().for_each(|y| *y = maximum(*y, 0.0));
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;
    use crate::plan::TensorId;

    fn step() -> RoiAlign {
        let id = TensorId(0);
        RoiAlign {
            x: id,
            boxes: id,
            images: id,
            y: id,
            batch: 1,
            in_h: 2,
            in_w: 3,
            channels: 1,
            count: 1,
            out_h: 1,
            out_w: 1,
            samples: 1,
            scale: 1.0,
            half_pixel: 0,
            greatest: 0,
        }
    }

    fn run(s: &RoiAlign, x: &[f32], boxes: &[f32], image: i64) -> Option<Vec<f32>> {
        let mut y = std::vec![f32::NAN; (s.count * s.out_h * s.out_w * s.channels) as usize];
        let images: Vec<u8> = (0..s.count).flat_map(|_| image.to_le_bytes()).collect();
        roi_align(s, x, boxes, I64s::new(&images), &mut y).then_some(y)
    }

    const X: [f32; 6] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];

    #[test]
    fn hand_worked_places() {
        // The middle of the box (0, 0)…(2, 1) is column 1, half way between the lines: (1 + 4) / 2.
        assert_eq!(run(&step(), &X, &[0.0, 0.0, 2.0, 1.0], 0), Some(std::vec![2.5]));
        // Half a pixel to the left and up: column 0.5 of line 0.
        assert_eq!(run(&RoiAlign { half_pixel: 1, ..step() }, &X, &[0.0, 0.0, 2.0, 1.0], 0), Some(std::vec![0.5]));
        // The greatest of the weighted neighbours: half of 4.
        assert_eq!(run(&RoiAlign { greatest: 1, ..step() }, &X, &[0.0, 0.0, 2.0, 1.0], 0), Some(std::vec![2.0]));
    }

    #[test]
    fn boxes_that_make_no_sense_are_zero() {
        for greatest in [0, 1] {
            for half_pixel in [0, 1] {
                for samples in [0, 1, 3] {
                    let s = RoiAlign { greatest, half_pixel, samples, ..step() };
                    for edges in [[f32::NAN; 4], [f32::INFINITY; 4], [900.0, 900.0, 950.0, 950.0]] {
                        assert_eq!(run(&s, &X, &edges, 0), Some(std::vec![0.0]), "{s:?} {edges:?}");
                    }
                    // So large that only what lies inside may be looked at.
                    let all = [-1e30, -1e30, 1e30, 1e30];
                    assert!(run(&s, &X, &all, 0).is_some_and(|y| y[0].is_finite()), "{s:?}");
                }
            }
        }
    }

    #[test]
    fn pictures_that_are_not_there_are_told() {
        for image in [-1, 1, i64::MAX, i64::MIN] {
            assert_eq!(run(&step(), &X, &[0.0, 0.0, 2.0, 1.0], image), None);
        }
    }

    #[test]
    fn what_is_near_is_all_that_is_inside() {
        for (start, cell, samples) in [(-5.0, 20.0, 20), (-1.0, 1.0, 3), (2.5, 0.5, 1), (-40.0, 100.0, 7)] {
            let axis = Axis { start, cell, samples, extent: 6 };
            for cell in 0..3 {
                let inside: Vec<_> = (0..samples).filter(|&sample| axis.is_inside(axis.place(cell, sample))).collect();
                assert_eq!(axis.near(cell).collect::<Vec<_>>(), inside);
            }
        }
    }
}
