//! Scores to labelled answers.

use cygnet_core::Plan;
use cygnet_core::plan::step::Access;
use cygnet_core::plan::{Step, TensorId};

/// One class and how sure the model is of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Index in the output.
    pub class: usize,
    /// The label, or the index in digits where the model has none.
    pub label: String,
    /// A probability.
    pub score: f32,
}

/// The `n` greatest scores, the greatest first; equal ones in the order of their index, NaN left out.
pub(crate) fn best(scores: &[f32], n: usize) -> Vec<(usize, f32)> {
    let mut order: Vec<_> = scores.iter().copied().enumerate().filter(|(_, score)| !score.is_nan()).collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    order.truncate(n);
    order
}

/// Whether the numbers look like probabilities: within 0..=1 and adding up to 1, give or take the steps of
/// an 8-bit output.
pub(crate) fn are_probabilities(scores: &[f32]) -> bool {
    let sum: f32 = scores.iter().sum();
    scores.iter().all(|score| (0.0..=1.0).contains(score)) && (sum - 1.0).abs() < 0.03
}

/// Whether the last step that changes the values of the first output is a softmax (not its logarithm).
pub(crate) fn ends_in_softmax(plan: &Plan<'_>) -> bool {
    let Some(port) = plan.output(0) else { return false };
    let steps: Vec<_> = plan.steps().map(|record| record.step).collect();
    let mut wanted = port.tensor;
    for step in steps.iter().rev() {
        let (mut reads, mut writes) = (None, false);
        step.visit_tensors(&mut |id: TensorId, access| match access {
            Access::Read => reads = Some(id),
            Access::Write => writes |= id == wanted,
            Access::Scratch => {}
        });
        match (writes, step, reads) {
            (false, ..) => {}
            (true, Step::Softmax(softmax), _) => return softmax.log == 0,
            (true, Step::Dequantize(_) | Step::Quantize(_) | Step::Copy(_), Some(from)) => wanted = from,
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_come_first_and_nan_never() {
        assert_eq!(best(&[0.1, f32::NAN, 0.7, 0.7, -1.0], 3), [(2, 0.7), (3, 0.7), (0, 0.1)]);
        assert_eq!(best(&[], 3), []);
    }

    #[test]
    fn probabilities_are_told_from_other_scores() {
        assert!(are_probabilities(&[0.25, 0.75, 0.0]));
        assert!(!are_probabilities(&[0.25, 0.25]));
        assert!(!are_probabilities(&[1.5, -0.5]));
        assert!(!are_probabilities(&[f32::NAN, 1.0]));
        assert!(!are_probabilities(&[]));
    }
}
