//! Mean average precision as COCO defines it, <https://cocodataset.org/#detection-eval>.

use std::cmp::Ordering;

use cygnet_sense::answers::Detection;

/// Thresholds of the intersection over union: 0.5, 0.55 … 0.95.
pub const THRESHOLDS: usize = 10;
/// Most boxes that count in a picture, for each class.
const MOST: usize = 100;
/// Recalls at which precision is read: 0, 0.01 … 1.
const RECALLS: usize = 101;

/// One found box of a class: where, how sure, and at which thresholds it is right.
#[derive(Clone, Copy, Debug)]
struct Match {
    sample: usize,
    score: f32,
    is_right: [bool; THRESHOLDS],
}

/// All boxes of one class.
#[derive(Clone, Debug, Default)]
struct Class {
    /// By falling score.
    matches: Vec<Match>,
    /// True boxes of each sample that has some.
    truth: Vec<(usize, u32)>,
}

/// What a model found in a set of pictures, held against the truth.
#[derive(Clone, Debug, Default)]
pub struct Matches {
    classes: Vec<Class>,
}

impl Matches {
    /// Matches the boxes that were found in each picture with the true ones.
    pub fn of<'b>(pictures: impl Iterator<Item = (&'b [Detection], &'b [Detection])>) -> Matches {
        let mut matches = Matches::default();
        for (sample, (found, truth)) in pictures.enumerate() {
            let classes = found.iter().chain(truth).map(|one| one.class as usize + 1).max().unwrap_or(0);
            if classes > matches.classes.len() {
                matches.classes.resize(classes, Class::default());
            }
            for (number, class) in matches.classes.iter_mut().enumerate() {
                class.add(sample, &of_class(found, number), &of_class(truth, number));
            }
        }
        for class in &mut matches.classes {
            class.matches.sort_by(|a, b| falling(a.score, b.score));
        }
        matches
    }

    /// The mean over all classes that are in the truth: at the threshold 0.5, and over all thresholds. `times` says how
    /// often each picture counts. 0 where there is no truth.
    pub fn average_precision(&self, times: &[u32]) -> (f64, f64) {
        let known: Vec<[f64; THRESHOLDS]> =
            self.classes.iter().filter_map(|class| class.average_precision(times)).collect();
        let classes = known.len().max(1) as f64;
        let at_half = known.iter().map(|class| class[0]).sum::<f64>() / classes;
        let over_all = known.iter().flatten().sum::<f64>() / (classes * THRESHOLDS as f64);
        (at_half, over_all)
    }
}

fn falling(a: f32, b: f32) -> Ordering {
    b.total_cmp(&a)
}

/// The boxes of a class by falling score.
fn of_class(boxes: &[Detection], class: usize) -> Vec<Detection> {
    let mut own: Vec<Detection> = boxes.iter().filter(|one| one.class as usize == class).copied().collect();
    own.sort_by(|a, b| falling(a.score, b.score));
    own
}

impl Class {
    fn add(&mut self, sample: usize, found: &[Detection], truth: &[Detection]) {
        let mut taken = vec![[false; THRESHOLDS]; truth.len()];
        for one in found.iter().take(MOST) {
            let mut is_right = [false; THRESHOLDS];
            for (step, is_right) in is_right.iter_mut().enumerate() {
                let threshold = 0.5 + 0.05 * step as f32;
                let free = truth.iter().enumerate().filter(|(place, _)| !taken[*place][step]);
                let overlaps = free.map(|(place, other)| (place, one.intersection_over_union(other)));
                let best = overlaps
                    .filter(|(_, overlap)| *overlap >= threshold)
                    .reduce(|best, next| if next.1 > best.1 { next } else { best });
                if let Some((place, _)) = best {
                    taken[place][step] = true;
                    *is_right = true;
                }
            }
            self.matches.push(Match { sample, score: one.score, is_right });
        }
        if !truth.is_empty() {
            self.truth.push((sample, truth.len() as u32));
        }
    }

    /// At each threshold; `None` where no true box counts.
    fn average_precision(&self, times: &[u32]) -> Option<[f64; THRESHOLDS]> {
        let truth: u64 = self.truth.iter().map(|(sample, boxes)| u64::from(times[*sample] * boxes)).sum();
        if truth == 0 {
            return None;
        }
        let mut precisions = [0.0; THRESHOLDS];
        for (step, precision) in precisions.iter_mut().enumerate() {
            let (mut right, mut all) = (0u64, 0u64);
            let mut curve: Vec<(f64, f64)> = Vec::new();
            for one in self.matches.iter().filter(|one| times[one.sample] > 0) {
                let count = u64::from(times[one.sample]);
                all += count;
                right += if one.is_right[step] { count } else { 0 };
                curve.push((right as f64 / truth as f64, right as f64 / all as f64));
            }
            // Precision at a recall is the best at that recall or a higher one.
            for place in (1..curve.len()).rev() {
                curve[place - 1].1 = curve[place - 1].1.max(curve[place].1);
            }
            let at = |recall: f64| {
                let place = curve.partition_point(|(reached, _)| *reached < recall);
                curve.get(place).map_or(0.0, |(_, precision)| *precision)
            };
            *precision = (0..RECALLS).map(|step| at(step as f64 / 100.0)).sum::<f64>() / RECALLS as f64;
        }
        Some(precisions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(class: u32, [x, y, width, height]: [f32; 4], score: f32) -> Detection {
        Detection { x1: x, y1: y, x2: x + width, y2: y + height, score, class, place: 0 }
    }

    #[test]
    fn precision_is_that_of_pycocotools() {
        // pycocotools 2.0, COCOeval "bbox" on these boxes: AP = 0.35937294, AP50 = 0.780033.
        let truth = [
            vec![
                boxed(0, [10.0, 10.0, 20.0, 20.0], 1.0),
                boxed(0, [40.0, 40.0, 20.0, 20.0], 1.0),
                boxed(1, [5.0, 50.0, 30.0, 10.0], 1.0),
            ],
            vec![boxed(0, [0.0, 0.0, 50.0, 50.0], 1.0), boxed(1, [60.0, 60.0, 20.0, 30.0], 1.0)],
            vec![boxed(1, [10.0, 10.0, 10.0, 10.0], 1.0)],
        ];
        let found = [
            vec![
                boxed(0, [12.0, 11.0, 20.0, 20.0], 0.9),
                boxed(0, [41.0, 38.0, 22.0, 20.0], 0.6),
                boxed(0, [11.0, 9.0, 19.0, 22.0], 0.7),
                boxed(1, [8.0, 50.0, 30.0, 12.0], 0.5),
            ],
            vec![
                boxed(0, [5.0, 5.0, 45.0, 50.0], 0.8),
                boxed(0, [70.0, 0.0, 10.0, 10.0], 0.95),
                boxed(1, [60.0, 62.0, 20.0, 25.0], 0.4),
            ],
            vec![
                boxed(0, [10.0, 10.0, 10.0, 10.0], 0.3),
                boxed(1, [11.0, 11.0, 10.0, 10.0], 0.85),
                boxed(1, [30.0, 30.0, 10.0, 10.0], 0.45),
            ],
        ];
        let pictures = || found.iter().map(Vec::as_slice).zip(truth.iter().map(Vec::as_slice));
        let (half, all) = Matches::of(pictures()).average_precision(&[1; 3]);
        assert!((half - 0.780033).abs() < 1e-6 && (all - 0.35937294).abs() < 1e-6, "{half} {all}");
        // A picture that counts twice is two pictures.
        let twice = Matches::of(pictures().chain(pictures().take(1))).average_precision(&[1; 4]);
        let weighted = Matches::of(pictures()).average_precision(&[2, 1, 1]);
        assert!((twice.1 - weighted.1).abs() < 1e-12 && (twice.1 - all).abs() > 1e-3, "{twice:?} {weighted:?}");
        assert_eq!(Matches::of(std::iter::empty()).average_precision(&[]), (0.0, 0.0));
    }
}
