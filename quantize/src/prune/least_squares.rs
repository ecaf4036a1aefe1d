//! Weights and bias that come nearest to given outputs on given inputs.

/// Rows that are summed in f32 before they go to the f64 sums.
const BLOCK: usize = 64;

/// Σ x xᵀ and Σ y xᵀ over rows x and outputs y; a 1 is appended to each row for the bias.
#[derive(Clone, Debug)]
pub(super) struct LeastSquares {
    /// Values of a row without the 1.
    inputs: usize,
    outputs: usize,
    /// (inputs + 1)², the upper half.
    squares: Vec<f64>,
    /// outputs × (inputs + 1).
    products: Vec<f64>,
    /// Rows that wait for the next block to be full, each with its 1.
    rows: Vec<f32>,
    /// Their outputs.
    targets: Vec<f32>,
}

impl LeastSquares {
    /// No rows yet.
    pub(super) fn new(inputs: usize, outputs: usize) -> LeastSquares {
        let width = inputs + 1;
        LeastSquares {
            inputs,
            outputs,
            squares: vec![0.0; width * width],
            products: vec![0.0; outputs * width],
            rows: Vec::with_capacity(BLOCK * width),
            targets: Vec::with_capacity(BLOCK * outputs),
        }
    }

    /// Adds a row and what is to be made of it.
    pub(super) fn add(&mut self, row: &[f32], targets: &[f32]) {
        self.rows.extend_from_slice(row);
        self.rows.push(1.0);
        self.targets.extend_from_slice(targets);
        if self.rows.len() >= BLOCK * (self.inputs + 1) {
            self.sum();
        }
    }

    fn sum(&mut self) {
        let width = self.inputs + 1;
        let mut line = vec![0f32; width];
        for first in 0..width {
            let line = &mut line[first..];
            line.fill(0.0);
            for row in self.rows.chunks_exact(width).filter(|row| row[first] != 0.0) {
                let factor = row[first];
                line.iter_mut().zip(&row[first..]).for_each(|(sum, value)| *sum += factor * value);
            }
            let sums = &mut self.squares[first * width + first..(first + 1) * width];
            sums.iter_mut().zip(line).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        for output in 0..self.outputs {
            line.fill(0.0);
            for (row, targets) in self.rows.chunks_exact(width).zip(self.targets.chunks_exact(self.outputs)) {
                let factor = targets[output];
                line.iter_mut().zip(row).for_each(|(sum, value)| *sum += factor * value);
            }
            let sums = &mut self.products[output * width..(output + 1) * width];
            sums.iter_mut().zip(&line).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        self.rows.clear();
        self.targets.clear();
    }

    /// The covariance of the inputs, inputs × inputs.
    pub(super) fn covariance(mut self) -> Vec<f64> {
        self.sum();
        let (inputs, width) = (self.inputs, self.inputs + 1);
        let count = self.squares[width * width - 1].max(1.0);
        let mean = |index: usize| self.squares[index * width + inputs] / count;
        let mut covariance = vec![0.0; inputs * inputs];
        for row in 0..inputs {
            for column in row..inputs {
                let value = self.squares[row * width + column] / count - mean(row) * mean(column);
                covariance[row * inputs + column] = value;
                covariance[column * inputs + row] = value;
            }
        }
        covariance
    }

    /// Weights (outputs × inputs) and bias with the least Σ |y − W x − b|² + ridge · |W − W₀|², where the ridge is
    /// `ridge` times the mean square of the inputs; `None` where that is no number.
    ///
    /// `bias` tells whether a bias may be chosen; without, it is 0.
    pub(super) fn solve(mut self, start: &[f32], ridge: f64, bias: bool) -> Option<(Vec<f32>, Vec<f32>)> {
        self.sum();
        let (inputs, width) = (self.inputs, self.inputs + 1);
        let size = if bias { width } else { inputs };
        let mean: f64 = (0..inputs).map(|i| self.squares[i * width + i]).sum::<f64>() / inputs.max(1) as f64;
        let pull = ridge * mean + f64::MIN_POSITIVE;
        let mut matrix = vec![0.0; size * size];
        for row in 0..size {
            for column in row..size {
                matrix[column * size + row] = self.squares[row * width + column];
            }
            if row < inputs {
                matrix[row * size + row] += pull;
            }
        }
        factorize(&mut matrix, size)?;
        let (mut weights, mut biases) = (Vec::with_capacity(start.len()), Vec::with_capacity(self.outputs));
        for output in 0..self.outputs {
            let mut right = self.products[output * width..][..size].to_vec();
            let old = &start[output * inputs..(output + 1) * inputs];
            right.iter_mut().zip(old).for_each(|(sum, old)| *sum += pull * f64::from(*old));
            substitute(&matrix, size, &mut right);
            weights.extend(right[..inputs].iter().map(|v| *v as f32));
            biases.push(if bias { right[inputs] as f32 } else { 0.0 });
        }
        weights.iter().chain(&biases).all(|v| v.is_finite()).then_some((weights, biases))
    }
}

/// The inverse of a symmetric positive matrix, after `ridge` times the mean of its diagonal was added to that.
pub(super) fn inverse(mut matrix: Vec<f64>, size: usize, ridge: f64) -> Option<Vec<f64>> {
    let mean: f64 = (0..size).map(|i| matrix[i * size + i]).sum::<f64>() / size.max(1) as f64;
    (0..size).for_each(|i| matrix[i * size + i] += ridge * mean + f64::MIN_POSITIVE);
    factorize(&mut matrix, size)?;
    let mut inverse = vec![0.0; size * size];
    for (index, line) in inverse.chunks_mut(size).enumerate() {
        line[index] = 1.0;
        substitute(&matrix, size, line);
    }
    Some(inverse)
}

/// Cholesky: makes the lower half of a symmetric positive matrix `L` with `L Lᵀ` equal to it.
fn factorize(matrix: &mut [f64], size: usize) -> Option<()> {
    for row in 0..size {
        for column in 0..=row {
            let (one, other) = (&matrix[row * size..][..column], &matrix[column * size..][..column]);
            let value = matrix[row * size + column] - dot(one, other);
            matrix[row * size + column] = if row != column {
                value / matrix[column * size + column]
            } else if value > 0.0 {
                value.sqrt()
            } else {
                return None;
            };
        }
    }
    Some(())
}

/// Solves `L Lᵀ x = right` in place.
fn substitute(matrix: &[f64], size: usize, right: &mut [f64]) {
    for row in 0..size {
        let value = right[row] - dot(&matrix[row * size..][..row], &right[..row]);
        right[row] = value / matrix[row * size + row];
    }
    for row in (0..size).rev() {
        right[row] /= matrix[row * size + row];
        let value = right[row];
        let line = &matrix[row * size..][..row];
        right[..row].iter_mut().zip(line).for_each(|(sum, factor)| *sum -= value * factor);
    }
}

/// The sum of products in eight strands, added in a fixed order.
fn dot(one: &[f64], other: &[f64]) -> f64 {
    let mut strands = [0.0; 8];
    let (one_blocks, other_blocks) = (one.chunks_exact(8), other.chunks_exact(8));
    let rest: f64 = one_blocks.remainder().iter().zip(other_blocks.remainder()).map(|(a, b)| a * b).sum();
    for (one, other) in one_blocks.zip(other_blocks) {
        for (strand, (a, b)) in strands.iter_mut().zip(one.iter().zip(other)) {
            *strand += a * b;
        }
    }
    strands.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// y = 2·a − b + 3 is found again from four points.
    #[test]
    fn a_plane_is_found() {
        let mut sums = LeastSquares::new(2, 1);
        for (a, b) in [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (2.0, 5.0)] {
            sums.add(&[a, b], &[2.0 * a - b + 3.0]);
        }
        let (weights, bias) = sums.clone().solve(&[0.0, 0.0], 0.0, true).unwrap();
        let expected = [2.0, -1.0, 3.0];
        assert!(weights.iter().chain(&bias).zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{weights:?} {bias:?}");
        // A ridge without end leaves the weights where they were; the bias then is the mean of what is missing:
        // targets 3, 5, 2, 2, and 1·a is 0, 1, 0, 2 of them.
        let (weights, bias) = sums.solve(&[1.0, 0.0], 1e12, true).unwrap();
        assert!((weights[0] - 1.0).abs() < 1e-5 && weights[1].abs() < 1e-5, "{weights:?}");
        assert!((bias[0] - (12.0 - 3.0) / 4.0).abs() < 1e-4, "{bias:?}");
    }
}
