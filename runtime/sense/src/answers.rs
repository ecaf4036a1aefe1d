//! Scores to answers: the best classes, probabilities, boxes that remain, text.

use core::cmp::Ordering;

use crate::ctc::CtcReader;

/// Greater scores first, NaN last.
fn best_first(a: f32, b: f32) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => b.partial_cmp(&a).unwrap_or(Ordering::Equal),
        (a, b) => a.cmp(&b),
    }
}

/// The `N` best scores with their indices, the best first; equal scores in the order of their indices,
/// NaN last. Fewer where there are fewer scores.
///
/// ```
/// use cygnet_sense::top_k;
/// assert_eq!(top_k::<2>(&[0.1, 0.7, 0.2])[..], [(1, 0.7), (2, 0.2)]);
/// ```
pub fn top_k<const N: usize>(scores: &[f32]) -> heapless::Vec<(usize, f32), N> {
    let mut best = heapless::Vec::<(usize, f32), N>::new();
    for (index, &score) in scores.iter().enumerate() {
        let place = best.partition_point(|&(_, other)| best_first(other, score).is_le());
        if place == N {
            continue;
        }
        if best.is_full() {
            best.pop();
        }
        // The place is within the vector, which has room now.
        let _ = best.insert(place, (index, score));
    }
    best
}

/// The index of the greatest score, the lowest where several are equal; `None` when there is none that
/// is a number.
pub fn argmax(scores: &[f32]) -> Option<usize> {
    top_k::<1>(scores).first().filter(|(_, score)| !score.is_nan()).map(|(index, _)| *index)
}

/// `exp(x - max) / Σ exp(x - max)`, summed from the first to the last. A NaN among the scores makes all
/// of them NaN.
pub fn softmax_in_place(scores: &mut [f32]) {
    let most = scores.iter().fold(f32::NEG_INFINITY, |most, &score| most.max(score));
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        // Infinities have no difference; equal ones share.
        *score = if *score == most { 1.0 } else { libm::expf(*score - most) };
        sum += *score;
    }
    for score in scores {
        *score /= sum;
    }
}

/// Whether the numbers look like probabilities: within 0..=1 and adding up to 1, give or take the steps of
/// an 8-bit output.
///
/// ```
/// use cygnet_sense::answers::are_probabilities;
/// assert!(are_probabilities(&[0.25, 0.75, 0.0]));
/// assert!(!are_probabilities(&[0.25, 0.25]) && !are_probabilities(&[1.5, -0.5]));
/// assert!(!are_probabilities(&[f32::NAN, 1.0]) && !are_probabilities(&[]));
/// ```
#[must_use]
pub fn are_probabilities(scores: &[f32]) -> bool {
    let sum: f32 = scores.iter().sum();
    scores.iter().all(|score| (0.0..=1.0).contains(score)) && (sum - 1.0).abs() < 0.03
}

/// A box with its class, in any unit of length.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Detection {
    /// Left edge.
    pub x1: f32,
    /// Upper edge.
    pub y1: f32,
    /// Right edge.
    pub x2: f32,
    /// Lower edge.
    pub y2: f32,
    /// How sure the model is; boxes with a score of NaN are dropped.
    pub score: f32,
    /// Index of the class.
    pub class: u32,
    /// The row or cell of the model's outputs that it was read from, where it was.
    pub place: u32,
}

impl Detection {
    /// `max(0, x2 - x1) * max(0, y2 - y1)`.
    pub fn area(&self) -> f32 {
        (self.x2 - self.x1).max(0.0) * (self.y2 - self.y1).max(0.0)
    }

    /// Area of the intersection over the area of the union, 0 when both are empty.
    pub fn intersection_over_union(&self, other: &Detection) -> f32 {
        let width = (self.x2.min(other.x2) - self.x1.max(other.x1)).max(0.0);
        let height = (self.y2.min(other.y2) - self.y1.max(other.y1)).max(0.0);
        let both = width * height;
        let union = self.area() + other.area() - both;
        if union > 0.0 { both / union } else { 0.0 }
    }

    /// A total order, so that the result does not depend on the order of the input.
    fn order(&self, other: &Detection) -> Ordering {
        best_first(self.score, other.score)
            .then(self.class.cmp(&other.class))
            .then(self.x1.total_cmp(&other.x1))
            .then(self.y1.total_cmp(&other.y1))
            .then(self.x2.total_cmp(&other.x2))
            .then(self.y2.total_cmp(&other.y2))
            .then(self.place.cmp(&other.place))
    }
}

/// Greedy suppression, class by class: a box goes when its intersection over union with a better box of
/// its class that stays is greater than `iou_threshold`. The boxes that stay are moved to the front, the
/// best first; their number is returned. Needs no memory; the time grows with the square of the number.
pub fn non_maximum_suppression(boxes: &mut [Detection], iou_threshold: f32) -> usize {
    boxes.sort_unstable_by(Detection::order);
    let mut kept = 0;
    for next in 0..boxes.len() {
        let (before, rest) = boxes.split_at_mut(next);
        let (Some(candidate), Some(stay)) = (rest.first(), before.get(..kept)) else { break };
        if candidate.score.is_nan() {
            break;
        }
        let covered = stay
            .iter()
            .any(|better| better.class == candidate.class && better.intersection_over_union(candidate) > iou_threshold);
        if !covered {
            boxes.swap(kept, next);
            kept += 1;
        }
    }
    kept
}

/// Reads a line of text, or spoken words, out of scores `[time, classes]`: the best class of each moment, repetitions as
/// one, `blank` left out (Graves et al., «Connectionist temporal classification», 2006). Calls `read` with each class and
/// its score where it first stands; equal scores count for the lower class.
///
/// ```
/// let scores = [0.1, 0.9, 0.0, 0.2, 0.8, 0.0, 0.7, 0.2, 0.1, 0.1, 0.3, 0.6];
/// let mut text = [0; 2];
/// let mut places = text.iter_mut();
/// cygnet_sense::answers::read_ctc(&scores, 3, 0, |class, _| *places.next().unwrap() = class);
/// assert_eq!(text, [1, 2]);
/// ```
pub fn read_ctc(scores: &[f32], classes: usize, blank: usize, mut read: impl FnMut(usize, f32)) {
    let mut reader = CtcReader::new(blank);
    for moment in scores.chunks_exact(classes.max(1)) {
        if let Some((class, score)) = reader.push(moment) {
            read(class, score);
        }
    }
}
