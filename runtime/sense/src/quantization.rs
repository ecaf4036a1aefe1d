use crate::Error;

/// How real numbers stand as `int8`: `real = (q - zero_point) * scale`, as ONNX QuantizeLinear has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantization {
    /// The step between two neighbouring integers.
    pub scale: f32,
    /// The integer that stands for 0.0, within -128..=127.
    pub zero_point: i32,
}

impl Quantization {
    /// `clamp(round_half_even(value / scale) + zero_point, -128, 127)`, the division in `f32`.
    /// NaN gives the zero point.
    pub fn quantize(&self, value: f32) -> i8 {
        // Far beyond int8, near enough for the sum to stay an i32.
        const FAR: f32 = 1_073_741_824.0;
        let steps = value / self.scale;
        let steps = if steps.is_nan() { 0.0 } else { libm::rintf(steps.clamp(-FAR, FAR)) };
        (steps as i32).saturating_add(self.zero_point).clamp(-128, 127) as i8
    }

    /// `(q - zero_point) * scale`.
    pub fn dequantize(&self, q: i8) -> f32 {
        i32::from(q).saturating_sub(self.zero_point) as f32 * self.scale
    }
}

/// Where a tensor is written: as it is, or quantized in the same pass.
#[derive(Debug)]
pub enum Output<'a> {
    /// A float tensor.
    F32(&'a mut [f32]),
    /// An int8 tensor, and how it stands for real numbers.
    I8(&'a mut [i8], Quantization),
}

impl Output<'_> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Output::F32(values) => values.len(),
            Output::I8(values, _) => values.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes `values` from element `start` on, quantizing where the output is int8. What would lie
    /// beyond the end is left out.
    pub fn write(&mut self, start: usize, values: &[f32]) {
        match self {
            Output::F32(out) => {
                for (to, &value) in out.iter_mut().skip(start).zip(values) {
                    *to = value;
                }
            }
            Output::I8(out, quantization) => {
                for (to, &value) in out.iter_mut().skip(start).zip(values) {
                    *to = quantization.quantize(value);
                }
            }
        }
    }

    pub(crate) fn check_len(&self, needed: usize) -> Result<(), Error> {
        if self.len() == needed { Ok(()) } else { Err(Error::OutputLength { needed, given: self.len() }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_the_even_neighbour() {
        let q = Quantization { scale: 2.0, zero_point: 3 };
        // By hand: 1/2 -> 0, 3/2 -> 2, 5/2 -> 2, -1/2 -> 0, -3/2 -> -2; then + 3.
        for (value, expected) in [(1.0, 3), (3.0, 5), (5.0, 5), (-1.0, 3), (-3.0, 1), (3.1, 5), (0.0, 3)] {
            assert_eq!(q.quantize(value), expected, "{value}");
        }
    }

    #[test]
    fn the_edges_saturate_and_nan_is_zero() {
        let q = Quantization { scale: 0.5, zero_point: -7 };
        assert_eq!(q.quantize(f32::INFINITY), 127);
        assert_eq!(q.quantize(f32::NEG_INFINITY), -128);
        assert_eq!(q.quantize(1e30), 127);
        assert_eq!(q.quantize(f32::NAN), -7);
        assert_eq!(q.quantize(-60.5), -128);
        assert_eq!(q.dequantize(-128), -60.5);
        assert_eq!(q.dequantize(-7), 0.0);
        let odd = Quantization { scale: 0.0, zero_point: i32::MAX };
        assert_eq!(odd.quantize(1.0), 127);
        assert_eq!(odd.quantize(0.0), 127);
    }
}
