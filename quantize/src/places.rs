//! How well an int8 detector finds the float model's boxes again, as its card makes boxes of the answers.
//!
//! A box is there or not by a threshold, and stands a little off where the answers are a little off. An error of the answers
//! tells neither: most places show nothing, whatever the threshold. So boxes are held against boxes.

use cygnet_onnx::model::Model;
use cygnet_sense::BoxDecoder;
use cygnet_sense::answers::Detection;
use rayon::prelude::*;

use crate::data::Data;
use crate::engine::{self, Engine, Session};
use crate::error::QuantizeError;
use crate::evaluate::boxes::boxes;
use crate::facts::Dims;
use crate::moments::spread;

/// Samples at most.
const SAMPLES: usize = 128;
/// The score that makes a box, as shares of the card's: what is near it on either side counts too, so that few samples tell
/// more.
const THRESHOLDS: [f32; 3] = [0.9, 1.0, 1.1];
/// A box is found again where it overlaps so much.
const FOUND: f32 = 0.5;
/// With fewer boxes of the float model nothing is told: it would be chance.
const FEWEST: usize = 24;

/// The boxes of one sample at each threshold.
type Found = [Vec<Detection>; THRESHOLDS.len()];

/// Samples and the boxes that the float model finds in them.
#[derive(Debug)]
pub struct Places<'d> {
    data: &'d Data,
    decoder: BoxDecoder,
    samples: Vec<usize>,
    float: Vec<Found>,
}

impl<'d> Places<'d> {
    /// Runs the float model on samples of `data`, evenly spread over it. `None` where `decoder` does not fit the answers, or
    /// too few boxes are found for a judgement.
    ///
    /// # Errors
    /// [`QuantizeError`] where the model cannot be run or a sample cannot be read.
    pub fn of(
        model: &Model,
        dims: &Dims,
        data: &'d Data,
        decoder: BoxDecoder,
    ) -> Result<Option<Places<'d>>, QuantizeError> {
        let samples = spread(data.len(), SAMPLES);
        let mut places = Places { data, decoder, samples, float: Vec::new() };
        let engine = Engine::new(engine::plan(model, dims, None)?)?;
        let Some(float) = places.found(&engine)? else { return Ok(None) };
        let count: usize = float.iter().flatten().map(Vec::len).sum();
        if count < FEWEST * THRESHOLDS.len() {
            log::warn!(
                "too few boxes in the samples of --calib to tell what int8 does to them: give pictures with objects"
            );
            return Ok(None);
        }
        places.float = float;
        Ok(Some(places))
    }

    /// The boxes of the float model.
    pub fn boxes(&self) -> usize {
        self.float.iter().map(|found| found[1].len()).sum()
    }

    /// How well the boxes of an `int8` model agree with the float model's: twice the sum of the intersections over union of pairs, as
    /// a share of all boxes of both models. 1 where they are the same; a box that has none in the other counts 0.
    ///
    /// # Errors
    /// [`QuantizeError`] where the model cannot be run.
    pub fn agreement(&self, int8: &Engine) -> Result<f64, QuantizeError> {
        let int8 = self.found(int8)?.unwrap_or_default();
        let pairs = self.float.iter().flatten().zip(int8.iter().flatten());
        let (overlap, count) = pairs.fold((0.0, 0), |(overlap, count), (float, int8)| {
            (overlap + overlaps(float, int8), count + float.len() + int8.len())
        });
        Ok(2.0 * overlap / count.max(1) as f64)
    }

    /// The boxes of every sample; `None` where the decoder does not fit.
    fn found(&self, engine: &Engine) -> Result<Option<Vec<Found>>, QuantizeError> {
        let of_sample = |session: &mut Result<Session, QuantizeError>, &index: &usize| {
            let session = session.as_mut().map_err(|error| QuantizeError::Unsuitable(error.to_string()))?;
            let outputs = session.outputs(&self.data.sample(index)?)?;
            let mut found = Found::default();
            for (share, found) in THRESHOLDS.into_iter().zip(&mut found) {
                let score_threshold = share * self.decoder.score_threshold;
                match boxes(&BoxDecoder { score_threshold, ..self.decoder }, &outputs) {
                    Ok(boxes) => *found = boxes,
                    Err(problem) => {
                        log::warn!("boxes are not compared: {problem}");
                        return Ok(None);
                    }
                }
            }
            Ok(Some(found))
        };
        self.samples.par_iter().map_init(|| engine.session(), of_sample).collect()
    }
}

/// The sum of the intersections over union of the boxes of `float` with those of the same class that are nearest and not
/// taken yet.
fn overlaps(float: &[Detection], int8: &[Detection]) -> f64 {
    let mut left = int8.to_vec();
    let mut sum = 0.0;
    for one in float {
        let own = left.iter().enumerate().filter(|(_, other)| other.class == one.class);
        let overlaps = own.map(|(place, other)| (place, one.intersection_over_union(other)));
        let best = overlaps.reduce(|best, next| if next.1 > best.1 { next } else { best });
        if let Some((place, overlap)) = best.filter(|(_, overlap)| *overlap >= FOUND) {
            left.swap_remove(place);
            sum += f64::from(overlap);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_of_a_class_are_paired_once() {
        let boxed = |class, x1: f32, y2| Detection { x1, y1: 0.0, x2: x1 + 10.0, y2, score: 1.0, class, place: 0 };
        let float = [boxed(0, 0.0, 10.0), boxed(0, 0.0, 8.0), boxed(1, 50.0, 10.0), boxed(2, 90.0, 10.0)];
        // The first is found again by 8 of 10 rows and no other is left for the second; of the third the class is another's,
        // of the fourth less than half.
        let int8 = [boxed(0, 0.0, 8.0), boxed(0, 50.0, 10.0), boxed(2, 90.0, 4.0)];
        assert!((overlaps(&float, &int8) - 0.8).abs() < 1e-6);
        assert!((overlaps(&float, &float) - 4.0).abs() < 1e-6);
    }
}
