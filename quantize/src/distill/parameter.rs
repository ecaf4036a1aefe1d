//! What is trained: weights on levels, and biases.

use crate::narrow::{Grid, Layout, Narrow};

/// A constant of the student that training changes.
///
/// Training works in units of the largest weight of a channel, so that one rate suits all layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its real values, not rounded.
    pub values: Vec<f32>,
    /// How it is rounded; `None` for biases, which have 32 bits, and in layers that stay in float.
    pub levels: Option<Levels>,
    /// What one unit of training is, for each channel; for all values where they are not rounded.
    units: Vec<f32>,
}

/// The levels that weights are rounded to. Which there are stays as it is; scales are trained where they may be.
#[derive(Clone, Debug, PartialEq)]
pub struct Levels {
    /// The axis of output channels.
    pub channel_axis: usize,
    /// Allowed levels and scales.
    pub narrow: Narrow,
    /// The least scale of each channel, see [`crate::params::least_scale`]; may be shorter.
    pub least: Vec<f32>,
}

impl Levels {
    /// Factors of blocks need scales whose products with them are exact: those are not trained.
    fn trains_scales(&self) -> bool {
        !matches!(&self.narrow.grid, Grid::Blocks { factors, .. } if !factors.is_empty())
    }
}

impl Parameter {
    /// Biases, and weights of layers that stay in float: not rounded.
    pub fn float(shape: &[usize], values: Vec<f32>) -> Parameter {
        let largest = values.iter().fold(0f32, |most, v| most.max(v.abs()));
        let units = vec![Some(largest).filter(|l| l.is_normal()).unwrap_or(1.0)];
        Parameter { shape: shape.to_vec(), values, levels: None, units }
    }

    /// Weights on levels.
    pub fn weights(shape: &[usize], values: Vec<f32>, levels: Levels) -> Parameter {
        let layout = Layout::of(shape, levels.channel_axis);
        let mut units = vec![0f32; layout.channels()];
        for (index, value) in values.iter().enumerate() {
            let channel = layout.channel(index);
            units[channel] = units[channel].max(value.abs());
        }
        units.iter_mut().filter(|unit| !unit.is_normal()).for_each(|unit| *unit = 1.0);
        Parameter { shape: shape.to_vec(), values, levels: Some(levels), units }
    }

    /// The values as the integer model will have them.
    pub fn rounded(&self) -> Vec<f32> {
        let Some(narrow) = self.integers() else { return self.values.clone() };
        let scale = |index: usize| narrow.scales[self.channel(index)];
        narrow.levels.iter().enumerate().map(|(index, &level)| f32::from(level) * scale(index)).collect()
    }

    /// The integers that the values become; `None` where they are not rounded.
    pub fn integers(&self) -> Option<Narrow> {
        let mut narrow = self.levels.as_ref()?.narrow.clone();
        let level = |(index, value): (usize, &f32)| narrow.nearest(index, value / narrow.scales[self.channel(index)]);
        let levels = self.values.iter().enumerate().map(level).collect();
        narrow.levels = levels;
        Some(narrow)
    }

    /// From the gradient by the rounded values to that by the trained numbers: the values in units, then the
    /// logarithms of the scales that are trained.
    ///
    /// Rounding passes the gradient through within the levels; a scale's is that of LSQ, Esser et al.,
    /// <https://arxiv.org/abs/1902.08153>.
    pub fn gradient(&self, by_rounded: &[f32]) -> Vec<f32> {
        let unit = |(index, gradient): (usize, &f32)| gradient * self.units[self.channel(index)];
        let mut by_value: Vec<f32> = by_rounded.iter().enumerate().map(unit).collect();
        let Some(levels) = &self.levels else { return by_value };
        let scales = &levels.narrow.scales;
        let mut by_scale = vec![0f64; scales.len()];
        for (index, (&value, gradient)) in self.values.iter().zip(&mut by_value).enumerate() {
            let channel = self.channel(index);
            let level = value / scales[channel];
            let allowed = levels.narrow.allowed(index);
            let [low, high] = [allowed.first(), allowed.last()].map(|end| end.map_or(0.0, |&end| f32::from(end)));
            let slope = if level < low || level > high {
                *gradient = 0.0;
                level.clamp(low, high)
            } else {
                f32::from(levels.narrow.nearest(index, level)) - level
            };
            by_scale[channel] += f64::from(by_rounded[index]) * f64::from(slope);
        }
        if levels.trains_scales() {
            by_value.extend(by_scale.iter().zip(scales).map(|(gradient, scale)| (gradient * f64::from(*scale)) as f32));
        }
        by_value
    }

    /// How many numbers [`Parameter::gradient`] has.
    pub fn trained_len(&self) -> usize {
        let scales = self.levels.as_ref().filter(|levels| levels.trains_scales());
        self.values.len() + scales.map_or(0, |levels| levels.narrow.scales.len())
    }

    /// Goes by `steps`, in the order of [`Parameter::gradient`].
    pub fn step(&mut self, steps: &[f32]) {
        for (index, step) in steps.iter().enumerate().take(self.values.len()) {
            self.values[index] += self.units[self.channel(index)] * step;
        }
        let count = self.values.len();
        let Some(levels) = self.levels.as_mut().filter(|levels| levels.trains_scales()) else { return };
        let least = levels.least.iter().copied().chain(std::iter::repeat(0.0));
        for ((scale, step), least) in levels.narrow.scales.iter_mut().zip(&steps[count..]).zip(least) {
            let stepped = (*scale * step.exp()).max(least);
            *scale = if stepped.is_normal() { stepped } else { *scale };
        }
    }

    /// The channel of the value at `index`; 0 where there is one unit for all.
    fn channel(&self, index: usize) -> usize {
        self.levels.as_ref().map_or(0, |levels| Layout::of(&self.shape, levels.channel_axis).channel(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::WeightForm;

    fn parameter(form: WeightForm, shape: &[usize], values: &[f32]) -> Parameter {
        let narrow = Narrow::of(form, values, Layout::of(shape, 0), &[], &[]);
        Parameter::weights(shape, values.to_vec(), Levels { channel_axis: 0, narrow, least: vec![0.0, 0.25] })
    }

    #[test]
    fn untrained_weights_are_those_of_the_pipeline() {
        let values: Vec<f32> = (0..256).map(|i| (((i * 73) % 199) as f32 / 199.0 - 0.5).powi(3)).collect();
        for form in [WeightForm::Int8, WeightForm::Int4, WeightForm::Clustered, WeightForm::Sparse] {
            let parameter = parameter(form, &[4, 64], &values);
            let narrow = Narrow::of(form, &values, Layout::of(&[4, 64], 0), &[], &[]);
            let apart = |(index, level): (usize, &i8)| (f32::from(*level) - f32::from(narrow.levels[index])).abs();
            let integers = parameter.integers().unwrap();
            // A table's weights may lie between two levels.
            assert!(integers.levels.iter().enumerate().map(apart).fold(0.0, f32::max) <= 1.0, "{form:?}");
            assert_eq!(integers.scales, narrow.scales, "{form:?}");
        }
    }

    #[test]
    fn steps_are_in_units_and_scales_stay_wide_enough() {
        let mut parameter = parameter(WeightForm::Int8, &[2, 2], &[0.5, -2.0, 0.1, 0.2]);
        parameter.step(&[0.1, 0.1, 0.1, 0.1, 0.0, -5.0]);
        let expected = [0.7, -1.8, 0.12, 0.22];
        assert!(parameter.values.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{parameter:?}");
        assert_eq!(parameter.levels.unwrap().narrow.scales, [2.0 / 127.0, 0.25]);
    }

    #[test]
    fn gradients_of_scales_are_those_of_the_paper() {
        // One channel, scale 1: level 0.4 → 0, and 200 → 127. By hand:
        // d/ds = 2 · (0 - 0.4) + 3 · 127 = 380.2; the value beyond has no gradient; a unit is the largest, 200.
        let mut parameter = parameter(WeightForm::Int8, &[1, 2], &[0.4, 200.0]);
        parameter.levels.as_mut().unwrap().narrow.scales = vec![1.0];
        let gradient = parameter.gradient(&[2.0, 3.0]);
        assert!((gradient[0] - 400.0).abs() < 1e-3 && gradient[1] == 0.0, "{gradient:?}");
        assert!((gradient[2] - 380.2).abs() < 1e-3, "{gradient:?}");
    }
}
