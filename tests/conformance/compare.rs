//! Answers beside expected ones, as ONNX's own test runner compares them, and with the rounding of float32: ONNX
//! computes some cases in float64.

use std::collections::BTreeMap;

use cygnet_onnx::model::{DType, Tensor};

/// What a float32 sum may be off, relative to the greatest expected value, or to 1, the greatest value of gates:
/// sixteen steps.
const ROUNDING: f64 = 16.0 * f32::EPSILON as f64;
/// The same for float16: one step.
const ROUNDING_F16: f64 = 1.0 / 1024.0;

/// `|found - expected| ≤ absolute + relative · |expected| + ROUNDING · max(greatest, 1)`.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Times the expected value.
    pub relative: f64,
    /// In units of the value.
    pub absolute: f64,
}

/// Compares all outputs.
///
/// # Errors
/// The first difference, as text.
pub fn compare(
    found: &BTreeMap<String, Tensor>,
    expected: &BTreeMap<String, Tensor>,
    tolerance: Tolerance,
) -> Result<(), String> {
    for (name, expected) in expected {
        let Some(found) = found.get(name) else { return Err(format!("there is no output \"{name}\"")) };
        if found.dtype != expected.dtype || found.shape != expected.shape {
            let (dtype, shape) = (expected.dtype, &expected.shape);
            return Err(format!("\"{name}\" is {} {:?} instead of {dtype} {shape:?}", found.dtype, found.shape));
        }
        let (values, wanted) = (numbers(found)?, numbers(expected)?);
        let finite = wanted.iter().filter(|value| value.is_finite());
        let greatest = finite.fold(1.0, |greatest: f64, value| greatest.max(value.abs()));
        let rounding = match expected.dtype {
            DType::F16 => ROUNDING_F16 * greatest,
            dtype if dtype.is_float() => ROUNDING * greatest,
            _ => 0.0,
        };
        for (index, (value, wanted)) in values.into_iter().zip(wanted).enumerate() {
            let near = (value - wanted).abs() <= tolerance.absolute + rounding + tolerance.relative * wanted.abs();
            if !(near || value == wanted || value.is_nan() && wanted.is_nan()) {
                return Err(format!("\"{name}\"[{index}] is {value} instead of {wanted}"));
            }
        }
    }
    Ok(())
}

fn numbers(tensor: &Tensor) -> Result<Vec<f64>, String> {
    if !tensor.dtype.is_float() {
        let whole = tensor.to_i64s().map_err(|error| error.to_string())?;
        return Ok(whole.into_iter().map(|value| value as f64).collect());
    }
    let values = tensor.to_f32s().map_err(|error| error.to_string())?;
    Ok(values.into_iter().map(f64::from).collect())
}
