//! The samples whose answer is another in int8.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use cygnet::Card;
use cygnet_onnx::model::Tensor;
use cygnet_onnx::reference::Reference;
use cygnet_sense::answers::{are_probabilities, argmax};
use cygnet_sense::softmax_in_place;
use serde::Serialize;

use super::occlusion::{self, Map};
use super::preview::{Preview, View};
use crate::data::{Data, Sample};
use crate::engine::{Engine, Session};
use crate::error::QuantizeError;
use crate::{Quantized, facts};

/// How many are shown.
const SHOWN: usize = 8;

/// The samples on which the two models differ.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Flips {
    /// Samples that both models answered.
    pub samples: usize,
    /// Float is right, int8 is not.
    pub lost: usize,
    /// Int8 is right, float is not.
    pub won: usize,
    /// Neither is right, and their answers differ; or nobody knows what is right.
    pub other: usize,
    /// Some of them: first the lost ones, then the won ones, the surest float answers first.
    pub shown: Vec<Flip>,
}

impl Flips {
    /// All samples whose answer changed.
    pub fn count(&self) -> usize {
        self.lost + self.won + self.other
    }
}

/// One sample.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Flip {
    /// Its name.
    pub sample: String,
    /// The right answer, where it is known.
    pub label: Option<String>,
    /// What the float model says.
    pub float: Verdict,
    /// What the int8 model says.
    pub int8: Verdict,
    /// What the sample looks like.
    pub preview: Option<Preview>,
}

/// What one model says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// Its answer.
    pub answer: String,
    /// The answer's probability.
    pub score: f32,
    /// The probability of the other model's answer.
    pub other: f32,
    /// Where in the sample it finds its answer.
    pub map: Option<Map>,
}

/// Who is right, in the order in which samples are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Lost,
    Won,
    Other,
}

/// The answers of both models to one sample, as classes with probabilities.
struct Pair {
    label: Option<i64>,
    float: Vec<f32>,
    int8: Vec<f32>,
    classes: (usize, usize),
}

/// Place in the order of what is shown: who is right, how unsure float is, the sample's number.
type Place = (Change, u32, usize);

/// Finds them among all samples of `data`, on `threads` threads. `step` is called after each sample.
///
/// # Errors
/// [`QuantizeError`] for samples that cannot be read or run.
pub fn flips(
    quantized: &Quantized,
    engine: &Engine,
    data: &Data,
    card: Option<&Card>,
    threads: usize,
    step: &(dyn Fn() + Sync),
) -> Result<Flips, QuantizeError> {
    let float = Reference::with_dims(&quantized.original, &[], &quantized.dims)?;
    let view = View::of(&quantized.original, &facts::infer(&quantized.original, &quantized.dims)?, card);
    let ask = Ask { float: &float, labels: card.map_or(&[], |card| &card.labels), view };
    let found = Mutex::new((Flips::default(), BTreeMap::<Place, ()>::new()));
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), QuantizeError> {
        let mut session = engine.session()?;
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= data.len() {
                return Ok(());
            }
            let pair = ask.pair(&mut session, &data.sample(index)?)?;
            let (flips, places) = &mut *found.lock().unwrap_or_else(PoisonError::into_inner);
            flips.samples += 1;
            if let Some(place) = pair.place(index) {
                *match place.0 {
                    Change::Lost => &mut flips.lost,
                    Change::Won => &mut flips.won,
                    Change::Other => &mut flips.other,
                } += 1;
                places.insert(place, ());
                if places.len() > SHOWN {
                    places.pop_last();
                }
            }
            step();
        }
    };
    on_threads(threads, &work)?;
    let (mut flips, places) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    let places: Vec<usize> = places.into_keys().map(|(_, _, index)| index).collect();
    let (next, shown) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let show = || -> Result<(), QuantizeError> {
        let mut session = engine.session()?;
        while let Some((rank, &index)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|r| Some((r, places.get(r)?)))
        {
            let flip = ask.flip(&mut session, &data.sample(index)?)?;
            shown.lock().unwrap_or_else(PoisonError::into_inner).insert(rank, flip);
        }
        Ok(())
    };
    on_threads(threads, &show)?;
    flips.shown = shown.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect();
    Ok(flips)
}

/// Does `work` on every thread; the first error, where several fail.
fn on_threads(threads: usize, work: &(dyn Fn() -> Result<(), QuantizeError> + Sync)) -> Result<(), QuantizeError> {
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        // A thread that panics is a mistake of ours: it must not pass for success.
        running
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

impl Pair {
    fn place(&self, index: usize) -> Option<Place> {
        let (float, int8) = self.classes;
        if float == int8 {
            return None;
        }
        let is_right = |class: usize| self.label == i64::try_from(class).ok();
        let change = match (is_right(float), is_right(int8)) {
            (true, _) => Change::Lost,
            (_, true) => Change::Won,
            _ => Change::Other,
        };
        let unsure = 1.0 - self.float.get(float).copied().unwrap_or(0.0).clamp(0.0, 1.0);
        // The bits of numbers that are not negative are in the order of the numbers.
        Some((change, unsure.to_bits(), index))
    }
}

/// Both models and how to look at samples.
struct Ask<'a> {
    float: &'a Reference,
    labels: &'a [String],
    view: Option<View>,
}

impl Ask<'_> {
    fn float(&self, sample: &Sample) -> Result<Vec<f32>, QuantizeError> {
        let outputs = self.float.run(&sample.inputs).map_err(|e| QuantizeError::data(&sample.name, e.to_string()))?;
        Ok(probabilities(outputs.first().map(Tensor::to_f32s).transpose()?.unwrap_or_default()))
    }

    fn pair(&self, session: &mut Session, sample: &Sample) -> Result<Pair, QuantizeError> {
        let (float, int8) = (self.float(sample)?, probabilities(session.run(sample)?));
        let class = |scores: &[f32]| argmax(scores).unwrap_or(0);
        let classes = (class(&float), class(&int8));
        Ok(Pair { label: sample.label, float, int8, classes })
    }

    fn flip(&self, session: &mut Session, sample: &Sample) -> Result<Flip, QuantizeError> {
        let pair = self.pair(session, sample)?;
        let (f, i) = pair.classes;
        let name = |class: usize| self.labels.get(class).cloned().unwrap_or_else(|| format!("class {class}"));
        let at = |scores: &[f32], class: usize| scores.get(class).copied().unwrap_or(0.0);
        let mut float = Verdict { answer: name(f), score: at(&pair.float, f), other: at(&pair.float, i), map: None };
        let mut int8 = Verdict { answer: name(i), score: at(&pair.int8, i), other: at(&pair.int8, f), map: None };
        let mut preview = None;
        if let Some(view) = &self.view {
            preview = view.preview(sample);
            float.map = occlusion::map(view, sample, float.score, |s| Ok(at(&self.float(s)?, f)))?;
            int8.map = occlusion::map(view, sample, int8.score, |s| Ok(at(&probabilities(session.run(s)?), i)))?;
        }
        let label = pair.label.map(|label| usize::try_from(label).map_or_else(|_| label.to_string(), name));
        Ok(Flip { sample: sample.name.clone(), label, float, int8, preview })
    }
}

/// Scores as probabilities.
fn probabilities(mut scores: Vec<f32>) -> Vec<f32> {
    if !are_probabilities(&scores) {
        softmax_in_place(&mut scores);
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_answers_come_first_and_the_surest_of_them() {
        let pair = |label, float: [f32; 3], int8: [f32; 3]| {
            let classes = (argmax(&float).unwrap(), argmax(&int8).unwrap());
            Pair { label, float: float.to_vec(), int8: int8.to_vec(), classes }
        };
        let cases = [
            pair(Some(1), [0.6, 0.4, 0.0], [0.4, 0.6, 0.0]), // won
            pair(Some(0), [0.6, 0.4, 0.0], [0.4, 0.6, 0.0]), // lost
            pair(Some(0), [0.9, 0.1, 0.0], [0.4, 0.6, 0.0]), // lost, and float was surer
            pair(Some(2), [0.6, 0.4, 0.0], [0.4, 0.6, 0.0]), // both wrong
            pair(None, [0.7, 0.3, 0.0], [0.4, 0.6, 0.0]),    // nobody knows, and surer
            pair(Some(0), [0.6, 0.4, 0.0], [0.5, 0.4, 0.1]), // the same answer
        ];
        let mut places: Vec<_> = cases.iter().enumerate().filter_map(|(index, pair)| pair.place(index)).collect();
        places.sort();
        assert_eq!(places.iter().map(|place| place.2).collect::<Vec<_>>(), [2, 1, 0, 4, 3]);
        assert_eq!(places.iter().map(|place| place.0).filter(|change| *change == Change::Lost).count(), 2);
    }
}
