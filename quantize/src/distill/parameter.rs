//! What is trained: weights on levels, and biases.

use crate::params::Weights;

/// A constant of the student that training changes.
///
/// Training works in units of the largest weight of a channel, so that one rate suits all layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its real values, not rounded.
    pub values: Vec<f32>,
    /// How it is rounded; `None` for biases, which have 32 bits.
    pub levels: Option<Levels>,
    /// What one unit of training is, for each channel.
    units: Vec<f32>,
}

/// Symmetric levels with one scale per output channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Levels {
    /// The axis of output channels.
    pub axis: usize,
    /// The highest level: 127 for 8 bits, 7 for 4.
    pub highest: f32,
    /// The real width of a level, for each channel.
    pub scales: Vec<f32>,
    /// The least width of each channel, see [`crate::params::least_scale`]; may be shorter.
    pub least: Vec<f32>,
}

impl Parameter {
    /// Biases, and weights of layers that stay in float: not rounded.
    pub fn float(shape: &[usize], values: Vec<f32>) -> Parameter {
        let largest = values.iter().fold(0f32, |most, v| most.max(v.abs()));
        let units = vec![Some(largest).filter(|l| l.is_normal()).unwrap_or(1.0)];
        Parameter { shape: shape.to_vec(), values, levels: None, units }
    }

    /// Weights on levels up to `highest`, with scales not below `least`.
    pub fn weights(shape: &[usize], values: Vec<f32>, axis: usize, highest: f32, least: Vec<f32>) -> Parameter {
        // What scales int8 weights would have tells the largest weight of every channel.
        let units: Vec<f32> = Weights::of(&values, shape, axis, &[]).scales.iter().map(|s| s * 127.0).collect();
        let mut parameter = Parameter { shape: shape.to_vec(), values, levels: None, units };
        let scales = parameter.best_scales(axis, highest);
        parameter.levels = Some(Levels { axis, highest, scales, least });
        parameter.hold_least();
        parameter
    }

    /// The channel of the element at `index`.
    fn channel(&self, index: usize, axis: usize) -> usize {
        let inner: usize = self.shape.iter().skip(axis + 1).product();
        index / inner.max(1) % self.shape.get(axis).copied().unwrap_or(1).max(1)
    }

    /// What one unit is for the element at `index`.
    fn unit(&self, index: usize) -> f32 {
        let channel = self.levels.as_ref().map_or(0, |levels| self.channel(index, levels.axis));
        self.units.get(channel).copied().unwrap_or(1.0)
    }

    /// For each channel the scale with the least squared error.
    fn best_scales(&self, axis: usize, highest: f32) -> Vec<f32> {
        // With many levels the whole range is as good as any.
        let narrowest = if highest > 100.0 { 100 } else { 40 };
        let mut best = vec![(f64::INFINITY, 1.0f32); self.units.len()];
        for percent in (narrowest..=100).rev() {
            let scales: Vec<f32> = self.units.iter().map(|u| u * (percent as f32 / 100.0) / highest).collect();
            let mut errors = vec![0f64; scales.len()];
            for (index, &value) in self.values.iter().enumerate() {
                let channel = self.channel(index, axis);
                errors[channel] += f64::from(value - nearest(value, scales[channel], highest)).powi(2);
            }
            for ((best, error), scale) in best.iter_mut().zip(errors).zip(scales) {
                if error < best.0 {
                    *best = (error, scale);
                }
            }
        }
        best.into_iter().map(|(_, scale)| if scale.is_normal() { scale } else { 1.0 }).collect()
    }

    /// The values as the integer model will have them.
    pub fn rounded(&self) -> Vec<f32> {
        let Some(levels) = &self.levels else { return self.values.clone() };
        let value = |(index, &value): (usize, &f32)| {
            nearest(value, levels.scales[self.channel(index, levels.axis)], levels.highest)
        };
        self.values.iter().enumerate().map(value).collect()
    }

    /// From the gradient by the rounded values to that by the trained numbers: the values in units, then the
    /// logarithms of the scales.
    ///
    /// Rounding passes the gradient through within the levels; a scale's is that of LSQ, Esser et al.,
    /// <https://arxiv.org/abs/1902.08153>.
    pub fn gradient(&self, by_rounded: &[f32]) -> Vec<f32> {
        let mut by_value: Vec<f32> = by_rounded.iter().enumerate().map(|(index, g)| g * self.unit(index)).collect();
        let Some(levels) = &self.levels else { return by_value };
        let mut by_scale = vec![0f64; levels.scales.len()];
        for (index, (&value, gradient)) in self.values.iter().zip(&mut by_value).enumerate() {
            let channel = self.channel(index, levels.axis);
            let level = value / levels.scales[channel];
            let slope = if level.abs() > levels.highest {
                *gradient = 0.0;
                levels.highest.copysign(level)
            } else {
                level.round_ties_even() - level
            };
            by_scale[channel] += f64::from(by_rounded[index]) * f64::from(slope);
        }
        by_value.extend(by_scale.iter().zip(&levels.scales).map(|(g, s)| (g * f64::from(*s)) as f32));
        by_value
    }

    /// How many numbers [`Parameter::gradient`] has.
    pub fn trained_len(&self) -> usize {
        self.values.len() + self.levels.as_ref().map_or(0, |levels| levels.scales.len())
    }

    /// Goes by `steps`, in the order of [`Parameter::gradient`].
    pub fn step(&mut self, steps: &[f32]) {
        let units: Vec<f32> = (0..self.values.len()).map(|index| self.unit(index)).collect();
        for ((value, unit), step) in self.values.iter_mut().zip(units).zip(steps) {
            *value += unit * step;
        }
        let Some(levels) = &mut self.levels else { return };
        for (scale, step) in levels.scales.iter_mut().zip(&steps[self.values.len()..]) {
            let stepped = *scale * step.exp();
            *scale = if stepped.is_normal() { stepped } else { *scale };
        }
        self.hold_least();
    }

    /// Keeps biases within 32 bits.
    fn hold_least(&mut self) {
        let Some(levels) = &mut self.levels else { return };
        levels.scales.iter_mut().zip(&levels.least).for_each(|(scale, least)| *scale = scale.max(*least));
    }

    /// The levels of the weights, and their scales; `None` where they are not rounded.
    pub fn integers(&self) -> Option<(Vec<i8>, Vec<f32>)> {
        let levels = self.levels.as_ref()?;
        let level = |(index, &value): (usize, &f32)| {
            let scale = levels.scales[self.channel(index, levels.axis)];
            (value / scale).round_ties_even().clamp(-levels.highest, levels.highest) as i8
        };
        Some((self.values.iter().enumerate().map(level).collect(), levels.scales.clone()))
    }
}

/// The level next to `value`, as a real number.
fn nearest(value: f32, scale: f32, highest: f32) -> f32 {
    (value / scale).round_ties_even().clamp(-highest, highest) * scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn int8_weights_are_those_of_the_pipeline() {
        let values: Vec<f32> = (0..60).map(|i| ((i * 37) % 101) as f32 * 0.017 - 0.8).collect();
        let parameter = Parameter::weights(&[4, 15], values.clone(), 0, 127.0, vec![]);
        let Weights { levels, scales } = Weights::of(&values, &[4, 15], 0, &[]);
        let pipeline: Vec<f32> = levels.iter().enumerate().map(|(i, &l)| f32::from(l) * scales[i / 15]).collect();
        let rounded = parameter.rounded();
        assert!(rounded.iter().zip(&pipeline).all(|(a, b)| (a - b).abs() <= 1e-6), "{rounded:?}");
        assert_eq!(parameter.integers().unwrap(), (levels, scales));
    }

    #[test]
    fn four_bits_have_fifteen_levels() {
        let values: Vec<f32> = (0..200).map(|i| (((i * 73) % 199) as f32 / 199.0 - 0.5).powi(3)).collect();
        let mut parameter = Parameter::weights(&[2, 100], values, 0, 7.0, vec![0.0, 0.25]);
        parameter.step(&[[0.01; 200].as_slice(), &[0.5, -0.5]].concat());
        let (levels, scales) = parameter.integers().unwrap();
        assert!(levels.iter().all(|level| (-7..=7).contains(level)));
        assert_eq!(scales[1], 0.25);
        let real: Vec<f32> = levels.iter().enumerate().map(|(i, &l)| f32::from(l) * scales[i / 100]).collect();
        assert_eq!(parameter.rounded(), real);
    }

    #[test]
    fn gradients_of_scales_are_those_of_the_paper() {
        // One channel, scale 1, highest 7: levels 0.4 → 0 and 9 → 7. By hand:
        // d/ds = 2 · (0 - 0.4) + 3 · 7 = 20.2; the value beyond has no gradient; a unit is the largest weight, 9.
        let mut parameter = Parameter::weights(&[1, 2], vec![0.4, 9.0], 0, 7.0, vec![]);
        parameter.levels.as_mut().unwrap().scales = vec![1.0];
        let gradient = parameter.gradient(&[2.0, 3.0]);
        assert!((gradient[0] - 18.0).abs() < 1e-4 && gradient[1] == 0.0, "{gradient:?}");
        assert!((gradient[2] - 20.2).abs() < 1e-4, "{gradient:?}");
    }
}
