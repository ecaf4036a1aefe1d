//! What the int8 model has to be: the flags of the search.

use quantize::Quantized;
use quantize::data::Data;
use quantize::engine::Engine;
use quantize::error::QuantizeError;
use quantize::evaluate::{self, Evaluation, Metric};
use quantize::search::Quality;

/// Points below 100.
pub fn points(text: &str) -> Result<f64, String> {
    let points: f64 = text.parse().map_err(|_| "is no number".to_string())?;
    if (0.0..100.0).contains(&points) {
        Ok(points)
    } else {
        Err("must be at least 0 and below 100, such as 0.5".into())
    }
}

/// A number of bytes, with a unit or without.
pub fn bytes(text: &str) -> Result<usize, String> {
    let (number, factor) = match text.char_indices().last() {
        Some((end, 'k' | 'K')) => (&text[..end], 1e3),
        Some((end, 'm' | 'M')) => (&text[..end], 1e6),
        _ => (text, 1.0),
    };
    let number: f64 = number.parse().map_err(|_| "is no number of bytes, such as 100000, 100k or 1.5M".to_string())?;
    let bytes = number * factor;
    if (1.0..1e15).contains(&bytes) { Ok(bytes as usize) } else { Err("must be 1 or more".into()) }
}

/// How good `engine` is on `data`.
pub fn quality(
    quantized: &Quantized,
    engine: &Engine,
    metric: &Metric,
    data: &Data,
    threads: usize,
) -> Result<Quality, QuantizeError> {
    let Quantized { original, dims, .. } = quantized;
    let evaluation = evaluate::evaluate(original, engine, dims, metric, data.samples(), threads, || ())?;
    Ok(Quality {
        drop: drop(&evaluation),
        agreement: evaluation.measure("same answer").map(|measure| measure.int8.value),
        accuracy: evaluation.accuracy.map(|accuracy| accuracy.int8_top1()),
    })
}

/// What is lost of the first figure: against the float model, or of 1 where the figure compares both.
fn drop(evaluation: &Evaluation) -> f64 {
    let first = evaluation.measures.first();
    first.map_or(0.0, |measure| measure.float.map_or(1.0, |float| float.value) - measure.int8.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_may_have_a_unit() {
        assert_eq!(bytes("100000"), Ok(100_000));
        assert_eq!(bytes("64k"), Ok(64_000));
        assert_eq!(bytes("1.5M"), Ok(1_500_000));
        for wrong in ["", "k", "0", "-3", "many", "1e30", "NaN"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn drops_are_points() {
        assert_eq!(points("0.5"), Ok(0.5));
        for wrong in ["-1", "100", "half", "NaN"] {
            assert!(points(wrong).is_err(), "{wrong}");
        }
    }
}
