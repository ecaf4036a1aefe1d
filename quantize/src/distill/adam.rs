//! The optimizer: Adam, Kingma and Ba, <https://arxiv.org/abs/1412.6980>, with a rate that falls along a cosine.

/// Decay of the mean and of the mean square of the gradient.
const DECAY: (f32, f32) = (0.9, 0.999);
/// Keeps the division from 0.
const EPSILON: f32 = 1e-8;
/// A longer gradient over all parameters is shortened to this.
const LONGEST: f64 = 1.0;

/// Means of the gradients so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Adam {
    mean: Vec<f32>,
    square: Vec<f32>,
    steps: i32,
}

impl Adam {
    /// The step against `gradient` at `rate`, in place of the gradient.
    pub(super) fn step(&mut self, gradient: &mut [f32], rate: f32) {
        self.mean.resize(gradient.len(), 0.0);
        self.square.resize(gradient.len(), 0.0);
        self.steps = self.steps.saturating_add(1);
        let length = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        let shorten = if length > LONGEST { (LONGEST / length) as f32 } else { 1.0 };
        let (mean_so_far, square_so_far) = (1.0 - DECAY.0.powi(self.steps), 1.0 - DECAY.1.powi(self.steps));
        for ((gradient, mean), square) in gradient.iter_mut().zip(&mut self.mean).zip(&mut self.square) {
            let g = *gradient * shorten;
            *mean = DECAY.0 * *mean + (1.0 - DECAY.0) * g;
            *square = DECAY.1 * *square + (1.0 - DECAY.1) * g * g;
            *gradient = -rate * (*mean / mean_so_far) / ((*square / square_so_far).sqrt() + EPSILON);
        }
    }
}

/// The share of the rate at `step` of `steps`: rises over the first twentieth, then falls along a cosine to 0.
pub(super) fn share_of_rate(step: usize, steps: usize) -> f32 {
    let rise = (steps / 20).max(1);
    if step < rise {
        return (step + 1) as f32 / rise as f32;
    }
    let done = (step - rise) as f64 / (steps - rise).max(1) as f64;
    (0.5 * (1.0 + (std::f64::consts::PI * done).cos())) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_is_the_rate_against_the_sign() {
        // With both means divided by what they have of the first gradient, mean / √square is its sign.
        let mut gradient = [0.5, -0.001, 0.0];
        Adam::default().step(&mut gradient, 0.01);
        for (step, expected) in gradient.iter().zip([-0.01, 0.01, 0.0]) {
            assert!((step - expected).abs() < 1e-6, "{gradient:?}");
        }
    }

    #[test]
    fn a_parabola_is_descended() {
        let (mut adam, mut x) = (Adam::default(), 3.0f32);
        for step in 0..500 {
            let mut gradient = [2.0 * (x - 1.0)];
            adam.step(&mut gradient, 0.1 * share_of_rate(step, 500));
            x += gradient[0];
        }
        assert!((x - 1.0).abs() < 1e-3, "{x}");
    }

    #[test]
    fn the_rate_rises_and_falls() {
        assert_eq!((share_of_rate(0, 100), share_of_rate(4, 100), share_of_rate(5, 100)), (0.2, 1.0, 1.0));
        assert!(share_of_rate(99, 100) < 0.001);
        assert_eq!(share_of_rate(0, 1), 1.0);
    }
}
