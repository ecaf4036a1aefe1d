//! Finds samples that cannot be used, or tell nothing, while they stream by.
//!
//! Each sample is judged once, in order; later passes over the same data go by that judgement, so that every pass
//! sees the same samples. What is kept is a mark and a 16-byte digest for each sample.

use std::collections::{BTreeMap, BTreeSet};

use cygnet_onnx::model::{DType, Tensor};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Sample;
use crate::error::QuantizeError;

/// How many bad samples are named; the others are counted.
const NAMED: usize = 10;
/// Unless it is asked to go on, more than this part of broken samples (one in five) ends the work.
const MOST_BROKEN: usize = 5;

/// What becomes of samples that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum BadSamples {
    /// Go on without them, however many they are
    Skip,
    /// Stop at the first
    Refuse,
}

/// What samples are for; it decides which of them are bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// As they come: the first that cannot be read ends the work, and nothing else is asked.
    Anything,
    /// Ranges are drawn from them: what tells nothing new is left out.
    Calibration,
    /// Answers are counted on them: what can be read counts, and is named where it is constant or twice there.
    Evaluation,
}

/// Why a sample is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flaw {
    /// It cannot be read, has another size or type, or holds NaN or infinity.
    Broken,
    /// All its values are the same. Sound may be: silence is.
    Constant,
    /// Its values are those of a sample before it.
    Duplicate,
}

impl Flaw {
    fn plural(self) -> &'static str {
        match self {
            Flaw::Broken => "broken",
            Flaw::Constant => "constant",
            Flaw::Duplicate => "duplicate",
        }
    }
}

/// A sample that is bad.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadSample {
    /// The file, and the number where a file holds many.
    pub name: String,
    /// What kind of flaw.
    pub flaw: Flaw,
    /// What is wrong.
    pub problem: String,
    /// Whether it was left out.
    pub left_out: bool,
}

/// What was found in the samples that have passed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// Samples judged.
    pub samples: usize,
    /// Samples left out.
    pub left_out: usize,
    /// How many have each flaw.
    pub counts: BTreeMap<Flaw, usize>,
    /// The first ten.
    pub first: Vec<BadSample>,
}

impl Findings {
    /// One line: how many samples have which flaw. Empty where none has.
    pub fn line(&self) -> String {
        let counts: Vec<_> = self.counts.iter().map(|(flaw, count)| format!("{count} {}", flaw.plural())).collect();
        if counts.is_empty() {
            return String::new();
        }
        format!("{} of {} samples, {} left out", counts.join(", "), self.samples, self.left_out)
    }
}

/// The identity of a sample's values.
type ContentHash = [u8; 16];

/// The judgements on the samples of one set so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Screening {
    findings: Findings,
    left_out: BTreeSet<usize>,
    /// The samples that are like none before them.
    unlike: Vec<(ContentHash, u32)>,
}

/// Judges the samples of one set.
#[derive(Debug)]
pub(super) struct Screen {
    purpose: Purpose,
    rule: Option<BadSamples>,
    total: usize,
    is_sound: bool,
    seen: BTreeMap<ContentHash, u32>,
    known: Screening,
}

impl Screen {
    pub fn new(purpose: Purpose, rule: Option<BadSamples>, total: usize, is_sound: bool) -> Screen {
        Screen { purpose, rule, total, is_sound, seen: BTreeMap::new(), known: Screening::default() }
    }

    pub fn findings(&self) -> &Findings {
        &self.known.findings
    }

    pub fn screening(&self) -> &Screening {
        &self.known
    }

    /// What decides over a sample beside its values.
    pub fn rules(&self) -> (Purpose, Option<BadSamples>) {
        (self.purpose, self.rule)
    }

    pub fn restore(&mut self, screening: Screening) {
        if screening.findings.samples > self.known.findings.samples && screening.findings.samples <= self.total {
            self.seen = screening.unlike.iter().copied().collect();
            self.known = screening;
        }
    }

    /// Whether sample `index` is known to be left out.
    ///
    /// # Errors
    /// Where too many are.
    pub fn leaves_out(&self, index: usize) -> Result<bool, QuantizeError> {
        let is_out = self.known.left_out.contains(&index);
        if is_out {
            self.stop_where_too_many_are_broken()?;
        }
        Ok(is_out)
    }

    /// Where the sample lies that is number `index` of those that are not left out.
    pub fn place(&self, index: usize) -> usize {
        self.known.left_out.iter().fold(index, |place, out| if *out <= place { place + 1 } else { place })
    }

    /// How many samples of `self` are in `other` too, as far as both have passed.
    pub fn shared_with(&self, other: &Screen) -> usize {
        self.seen.keys().filter(|hash| other.seen.contains_key(*hash)).count()
    }

    /// Judges sample `index` as it was read: `None` where it is left out.
    ///
    /// # Errors
    /// Where the work must not go on.
    pub fn judge(
        &mut self,
        index: usize,
        name: &dyn Fn(usize) -> String,
        read: Result<Sample, QuantizeError>,
    ) -> Result<Option<Sample>, QuantizeError> {
        let is_known = index < self.known.findings.samples;
        if self.purpose == Purpose::Anything || is_known {
            return read.map(Some);
        }
        let (flaw, problem) = match &read {
            // Decoders' messages run over several lines.
            Err(error) => (Flaw::Broken, error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")),
            Ok(sample) => match self.flaw(index, name, sample) {
                None => {
                    self.known.findings.samples += 1;
                    return read.map(Some);
                }
                Some(found) => found,
            },
        };
        let left_out = flaw == Flaw::Broken || self.purpose == Purpose::Calibration;
        let bad = BadSample { name: name(index), flaw, problem, left_out };
        if self.rule == Some(BadSamples::Refuse) {
            let mend = "take it out, or let --bad-samples skip go on without it";
            return Err(read
                .err()
                .unwrap_or_else(|| QuantizeError::data(bad.name, format!("{}; {mend}", bad.problem))));
        }
        self.note(index, bad);
        self.stop_where_too_many_are_broken()?;
        Ok(read.ok().filter(|_| !left_out))
    }

    fn note(&mut self, index: usize, bad: BadSample) {
        self.known.findings.samples += 1;
        *self.known.findings.counts.entry(bad.flaw).or_default() += 1;
        if bad.left_out {
            self.known.findings.left_out += 1;
            self.known.left_out.insert(index);
        }
        if self.known.findings.first.len() < NAMED {
            let what = if bad.left_out { "left out" } else { "counted all the same" };
            log::warn!("sample {}: {} ({what})", bad.name, bad.problem);
            self.known.findings.first.push(bad);
        }
    }

    /// A flaw of a sample that was read.
    fn flaw(&mut self, index: usize, name: &dyn Fn(usize) -> String, sample: &Sample) -> Option<(Flaw, String)> {
        if let Some(value) = constant(&sample.inputs) {
            if self.is_sound {
                return None;
            }
            return Some((Flaw::Constant, format!("all its values are {value}")));
        }
        let hash = content_hash(&sample.inputs);
        let first = *self.seen.entry(hash).or_insert(index as u32) as usize;
        if first == index {
            self.known.unlike.push((hash, index as u32));
        }
        (first != index).then(|| (Flaw::Duplicate, format!("it is the same as {}", name(first))))
    }

    fn stop_where_too_many_are_broken(&self) -> Result<(), QuantizeError> {
        let broken = self.known.findings.counts.get(&Flaw::Broken).copied().unwrap_or(0);
        let goes_on = self.rule == Some(BadSamples::Skip) || broken * MOST_BROKEN <= self.total;
        if goes_on {
            return Ok(());
        }
        let problem = format!(
            "{broken} of {} samples are broken, more than one in {MOST_BROKEN}; mend them, or let --bad-samples skip \
             go on without them",
            self.total
        );
        Err(self.refusal(problem))
    }

    /// Says at the end of a pass what was found; `Err` where nothing is left.
    pub fn end(&mut self) -> Result<(), QuantizeError> {
        if self.known.findings.left_out == self.total && self.total > 0 {
            return Err(self.refusal("no sample is left; give real examples of what the model will see".into()));
        }
        let named = self.known.findings.first.len();
        let bad: usize = self.known.findings.counts.values().sum();
        if bad > named {
            log::warn!("and {} samples more: {}", bad - named, self.known.findings.line());
        }
        Ok(())
    }

    fn refusal(&self, problem: String) -> QuantizeError {
        let first = self.known.findings.first.first();
        let name = first.map_or_else(|| "the data".into(), |bad| bad.name.clone());
        let example = first.map_or_else(String::new, |bad| format!("{}: ", bad.problem));
        QuantizeError::data(name, format!("{example}{problem}"))
    }
}

/// The one value of all floats, where the inputs hold several and no other.
fn constant(inputs: &[Tensor]) -> Option<f32> {
    let mut floats = inputs.iter().filter(|tensor| tensor.dtype == DType::F32).peekable();
    let value = first_value(floats.peek()?)?;
    let mut several = false;
    for tensor in floats {
        let mut values = tensor.data.chunks_exact(4);
        several |= values.len() > 1;
        let first = first_value(tensor)?.to_le_bytes();
        if !values.all(|bytes| bytes == first) {
            return None;
        }
    }
    several.then_some(value)
}

fn first_value(tensor: &Tensor) -> Option<f32> {
    tensor.data.first_chunk().map(|bytes| f32::from_le_bytes(*bytes))
}

fn content_hash(inputs: &[Tensor]) -> ContentHash {
    let mut hasher = Sha256::new();
    for tensor in inputs {
        hasher.update((tensor.data.len() as u64).to_le_bytes());
        hasher.update(&tensor.data);
    }
    let mut short = ContentHash::default();
    short.copy_from_slice(&hasher.finalize()[..16]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(values: &[f32]) -> Result<Sample, QuantizeError> {
        let inputs = vec![Tensor::from_f32(vec![1, values.len()], values)];
        Ok(Sample { name: String::new(), inputs, label: None })
    }

    fn broken() -> Result<Sample, QuantizeError> {
        Err(QuantizeError::data("x", "it ends early"))
    }

    /// Lets all through a screen: which come out, or the error.
    fn pass(screen: &mut Screen, samples: Vec<Result<Sample, QuantizeError>>) -> Result<Vec<usize>, String> {
        let mut out = Vec::new();
        for (index, read) in samples.into_iter().enumerate() {
            if screen.judge(index, &|index| format!("s{index}"), read).map_err(|e| e.to_string())?.is_some() {
                out.push(index);
            }
        }
        screen.end().map_err(|e| e.to_string())?;
        Ok(out)
    }

    fn six() -> Vec<Result<Sample, QuantizeError>> {
        let (a, b) = ([1.0, 2.0], [3.0, 4.0]);
        vec![sample(&a), broken(), sample(&b), sample(&a), sample(&[5.0, 5.0]), sample(&[2.0, 1.0])]
    }

    #[test]
    fn calibration_leaves_out_what_tells_nothing_and_evaluation_counts_it() {
        let mut screen = Screen::new(Purpose::Calibration, None, 6, false);
        assert_eq!(pass(&mut screen, six()).unwrap(), [0, 2, 5]);
        let findings = screen.findings();
        let flaws: Vec<_> = findings.first.iter().map(|bad| (bad.name.as_str(), bad.flaw)).collect();
        assert_eq!(flaws, [("s1", Flaw::Broken), ("s3", Flaw::Duplicate), ("s4", Flaw::Constant)]);
        assert_eq!(findings.line(), "1 broken, 1 constant, 1 duplicate of 6 samples, 3 left out");
        let mut screen = Screen::new(Purpose::Evaluation, None, 6, false);
        assert_eq!(pass(&mut screen, six()).unwrap(), [0, 2, 3, 4, 5]);
        assert_eq!(screen.findings().left_out, 1);
    }

    #[test]
    fn refusing_stops_at_the_first_and_skipping_never() {
        let message =
            pass(&mut Screen::new(Purpose::Calibration, Some(BadSamples::Refuse), 6, false), six()).unwrap_err();
        assert_eq!(message, "x: it ends early");
        let mostly_broken = || vec![broken(), sample(&[1.0, 2.0]), broken()];
        // Two of three are more than one in five.
        let mut screen = Screen::new(Purpose::Evaluation, None, 3, false);
        let message = pass(&mut screen, mostly_broken()).unwrap_err();
        assert!(screen.leaves_out(0).is_err(), "a second pass stops too");
        assert!(message.contains("1 of 3 samples are broken") && message.contains("--bad-samples skip"), "{message}");
        let mut screen = Screen::new(Purpose::Evaluation, Some(BadSamples::Skip), 3, false);
        assert_eq!(pass(&mut screen, mostly_broken()).unwrap(), [1]);
        let message = pass(&mut Screen::new(Purpose::Calibration, Some(BadSamples::Skip), 1, false), vec![broken()]);
        assert!(message.unwrap_err().contains("no sample is left"));
    }

    #[test]
    fn a_second_pass_goes_by_the_first() {
        let mut screen = Screen::new(Purpose::Calibration, None, 6, false);
        pass(&mut screen, six()).unwrap();
        let before = screen.findings().clone();
        let left_out: Vec<usize> = (0..6).filter(|index| screen.leaves_out(*index).unwrap()).collect();
        assert_eq!(left_out, [1, 3, 4]);
        assert_eq!([0, 1, 2].map(|index| screen.place(index)), [0, 2, 5]);
        assert!(screen.judge(5, &|_| String::new(), sample(&[2.0, 1.0])).unwrap().is_some());
        assert_eq!(*screen.findings(), before);
    }

    #[test]
    fn silence_is_no_flaw() {
        let silences = || vec![sample(&[-2.0, -2.0]), sample(&[1.0, 2.0]), sample(&[-2.0, -2.0])];
        let mut screen = Screen::new(Purpose::Calibration, None, 3, true);
        assert_eq!(pass(&mut screen, silences()).unwrap(), [0, 1, 2]);
    }

    #[test]
    fn one_number_is_not_constant() {
        assert_eq!(constant(&[Tensor::from_f32(vec![1], &[0.0])]), None);
        assert_eq!(constant(&[Tensor::from_f32(vec![2], &[0.5, 0.5])]), Some(0.5));
        // The state of a recurrent net is often all zeros beside a real signal.
        let zeros = Tensor::from_f32(vec![2], &[0.0, 0.0]);
        assert_eq!(constant(&[zeros, Tensor::from_f32(vec![2], &[1.0, 2.0])]), None);
        assert_eq!(constant(&[]), None);
    }

    #[test]
    fn samples_of_both_sets_are_counted() {
        let (mut one, mut other) =
            (Screen::new(Purpose::Calibration, None, 6, false), Screen::new(Purpose::Evaluation, None, 2, false));
        pass(&mut one, six()).unwrap();
        pass(&mut other, vec![sample(&[3.0, 4.0]), sample(&[9.0, 4.0])]).unwrap();
        assert_eq!(other.shared_with(&one), 1);
    }
}
