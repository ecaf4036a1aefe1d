//! Scores to labelled answers.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_come_first_and_nan_never() {
        assert_eq!(best(&[0.1, f32::NAN, 0.7, 0.7, -1.0], 3), [(2, 0.7), (3, 0.7), (0, 0.1)]);
        assert_eq!(best(&[], 3), []);
    }
}
