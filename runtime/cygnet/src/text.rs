//! Text in a sound, word by word.

use cygnet_sense::answers::{are_probabilities, softmax_in_place};
use cygnet_sense::card::TextDecoder;
use cygnet_sense::ctc::CtcReader;
use cygnet_sense::speech::samples_of;

use crate::error::Error;
use crate::input::resampled;
use crate::model::Model;
use crate::runs::{Done, RunMemory, RunStream};
use crate::session::Session;

/// After how much time without a character a word is over, where the card does not say it.
const PAUSE_MS: u32 = 500;
/// What a class is called that has no label.
const UNKNOWN: &str = "\u{fffd}";

/// A word that somebody has said.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Word {
    /// Its characters.
    pub text: String,
    /// How sure the model is: the mean probability of its labels, each where it begins.
    pub score: f32,
    /// Where the moment of its first label begins, in samples from the beginning of the sound. A model may tell a label
    /// well after it was said.
    pub begin: u64,
    /// Where the moment of its last label ends.
    pub end: u64,
    /// The sample behind the last one that was heard when the word was sure.
    pub heard: u64,
}

/// What a [`TextStream`] works with: how the model's input is made, how its output is read, and memory.
#[derive(Debug, Clone)]
pub struct TextMemory {
    runs: RunMemory,
    hop: u64,
    classes: usize,
    blank: usize,
    labels: Vec<String>,
    /// Samples.
    pause: u64,
    word: Word,
}

impl TextMemory {
    /// Room for a model whose card says how its output tells text in sound (`[text]` with a `hop`); `None` where it does
    /// not.
    ///
    /// # Errors
    /// [`Error::NotPrepared`] where no input takes sound, [`Error::NoScores`] where there is no output.
    pub fn new(model: &Model) -> Result<Option<Self>, Error> {
        let card = model.card().and_then(|card| card.runs().zip(card.text.as_ref()));
        let Some((runs, text)) = card.filter(|(_, text)| text.decoder == TextDecoder::Ctc) else { return Ok(None) };
        let memory = RunMemory::new(model, runs)?;
        let classes = model.plan().output(0).and_then(|port| port.dims().last().copied()).unwrap_or(0) as usize;
        if classes == 0 {
            return Err(Error::NoScores);
        }
        let pause = samples_of(text.pause_ms.unwrap_or(PAUSE_MS), memory.sample_rate());
        Ok(Some(Self {
            runs: memory,
            hop: u64::from(runs.hop),
            classes,
            blank: text.blank as usize,
            labels: model.labels().to_vec(),
            pause: u64::from(pause),
            word: Word::default(),
        }))
    }

    /// Samples a second that the model takes.
    pub fn sample_rate(&self) -> u32 {
        self.runs.sample_rate()
    }
}

/// A model that writes down speech in sound as it comes. The words do not depend on how the sound is cut, and none is
/// taken back. Nothing is allocated after the first run but for words that are longer than all before.
///
/// A word is over where a label begins with a space, after a pause of the length that the card tells, and at the end of the
/// sound.
#[derive(Debug)]
pub struct TextStream<'a> {
    runs: RunStream<'a>,
    speller: Speller<'a>,
}

impl<'a> TextStream<'a> {
    /// Begins a sound: what the session keeps from run to run is reset.
    ///
    /// # Errors
    /// [`Error::Prepare`] where the input cannot be made so, [`Error::Session`].
    pub fn new(session: &'a mut Session, memory: &'a mut TextMemory) -> Result<Self, Error> {
        let TextMemory { runs, hop, classes, blank, labels, pause, word } = memory;
        word.text.clear();
        let word = Open { word, sum: 0.0, count: 0 };
        let (hop, classes, pause) = (*hop, *classes, *pause);
        let speller = Speller { reader: CtcReader::new(*blank), hop, classes, labels, pause, open: word };
        Ok(Self { runs: RunStream::new(session, runs)?, speller })
    }

    /// Takes samples at the model's rate and calls `tell` with each word that they make sure.
    ///
    /// # Errors
    /// [`Error::Session`] where the model fails.
    pub fn push(&mut self, samples: &[i16], mut tell: impl FnMut(&Word)) -> Result<(), Error> {
        let Self { runs, speller } = self;
        runs.push(samples, |done| {
            speller.hear(done, &mut tell);
            Ok(())
        })
    }

    /// Ends the sound.
    ///
    /// # Errors
    /// As [`push`](TextStream::push).
    pub fn finish(mut self, mut tell: impl FnMut(&Word)) -> Result<(), Error> {
        let Self { runs, speller } = &mut self;
        runs.finish(|done| {
            speller.hear(done, &mut tell);
            Ok(())
        })?;
        speller.open.close(runs.samples(), &mut tell);
        Ok(())
    }
}

/// Moments to words.
#[derive(Debug)]
struct Speller<'a> {
    reader: CtcReader,
    hop: u64,
    classes: usize,
    labels: &'a [String],
    pause: u64,
    open: Open<'a>,
}

/// The word that is being said; there is none where it has no text.
#[derive(Debug)]
struct Open<'a> {
    word: &'a mut Word,
    sum: f64,
    count: u32,
}

impl Speller<'_> {
    fn hear(&mut self, done: Done<'_>, tell: &mut impl FnMut(&Word)) {
        let Done { number, heard, scores } = done;
        let count = (scores.len() / self.classes) as u64;
        let place = |moment: u64| (number * count + moment) * self.hop / count.max(1);
        for (moment, scores) in (0..).zip(scores.chunks_exact_mut(self.classes)) {
            if !are_probabilities(scores) {
                softmax_in_place(scores);
            }
            let (begin, end) = (place(moment), place(moment + 1));
            match self.reader.push(scores) {
                Some((class, score)) => {
                    let label = self.labels.get(class).map_or(UNKNOWN, String::as_str);
                    self.open.write(label, score, (begin, end), heard, tell);
                }
                None if self.reader.goes_on() => self.open.word.end = end,
                None if end.saturating_sub(self.open.word.end) > self.pause => self.open.close(heard, tell),
                None => {}
            }
        }
    }
}

impl Open<'_> {
    /// Adds a label; spaces in it part words.
    fn write(&mut self, label: &str, score: f32, bounds: (u64, u64), heard: u64, tell: &mut impl FnMut(&Word)) {
        let (begin, end) = bounds;
        for (number, part) in label.split(char::is_whitespace).enumerate() {
            if number > 0 {
                self.close(heard, tell);
            }
            if part.is_empty() {
                continue;
            }
            if self.word.text.is_empty() {
                self.word.begin = begin;
            }
            self.word.text.push_str(part);
            self.word.end = end;
            self.sum += f64::from(score);
            self.count += 1;
        }
    }

    /// Tells the word, where there is one.
    fn close(&mut self, heard: u64, tell: &mut impl FnMut(&Word)) {
        if !self.word.text.is_empty() {
            self.word.score = (self.sum / f64::from(self.count)) as f32;
            // What is told after the end of a sound was made sure by its end.
            (self.word.heard, self.word.end) = (heard, self.word.end.min(heard));
            self.word.begin = self.word.begin.min(heard);
            tell(self.word);
        }
        self.word.text.clear();
        (self.sum, self.count) = (0.0, 0);
    }
}

impl Session {
    /// The words that are said in a whole sound; `None` where the card does not say how the output tells text in sound.
    /// What the session keeps from run to run is reset before.
    ///
    /// # Errors
    /// [`Error::Prepare`] where the rate lies outside of 4 to 192 kHz, and those of [`TextStream::push`].
    pub fn words(&mut self, samples: &[i16], rate: u32) -> Result<Option<Vec<Word>>, Error> {
        let Some(mut memory) = TextMemory::new(&self.model().clone())? else { return Ok(None) };
        let samples = resampled(samples, rate, memory.sample_rate())?;
        let mut words = Vec::new();
        let mut stream = TextStream::new(self, &mut memory)?;
        stream.push(&samples, |word| words.push(word.clone()))?;
        stream.finish(|word| words.push(word.clone()))?;
        Ok(Some(words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What labels make of moments, each of 10 samples, with a pause of 25 and one run for each moment.
    fn words(labels: &[&str], moments: &[usize]) -> Vec<(String, u64, u64, u64)> {
        let labels: Vec<String> = labels.iter().map(|label| label.to_string()).collect();
        let mut word = Word::default();
        let open = Open { word: &mut word, sum: 0.0, count: 0 };
        let (reader, classes) = (CtcReader::new(0), labels.len());
        let mut speller = Speller { reader, hop: 10, classes, labels: &labels, pause: 25, open };
        let mut told = Vec::new();
        let mut tell = |word: &Word| told.push((word.text.clone(), word.begin, word.end, word.heard));
        for (number, &class) in (0..).zip(moments) {
            let mut scores: Vec<f32> = (0..classes).map(|k| if k == class { 1.0 } else { 0.0 }).collect();
            speller.hear(Done { number, heard: 10 * (number + 1), scores: &mut scores }, &mut tell);
        }
        speller.open.close(10 * moments.len() as u64, &mut tell);
        told
    }

    fn word(text: &str, begin: u64, end: u64, heard: u64) -> (String, u64, u64, u64) {
        (text.into(), begin, end, heard)
    }

    #[test]
    fn words_end_with_spaces_pauses_and_the_sound() {
        // Letters: the space tells "no", the pause of three moments "on", the end "n".
        let letters = ["", " ", "n", "o"];
        let moments = [2, 2, 3, 0, 1, 3, 0, 2, 0, 0, 0, 0, 2];
        let expected = [word("no", 0, 30, 50), word("on", 50, 80, 110), word("n", 120, 130, 130)];
        assert_eq!(words(&letters, &moments), expected);
    }

    #[test]
    fn labels_may_be_whole_words() {
        let labels = ["", " yes", " no"];
        // The same word twice needs a moment between.
        let expected = [word("yes", 0, 20, 40), word("yes", 30, 40, 50), word("no", 40, 50, 60)];
        assert_eq!(words(&labels, &[1, 1, 0, 1, 2, 0]), expected);
        assert_eq!(words(&labels, &[0, 0, 0]), []);
    }
}
