//! Where in a sound there is speech.

use cygnet_sense::Segment;
use cygnet_sense::speech::{SpeechDetector, SpeechSpec};

use crate::error::Error;
use crate::input::resampled;
use crate::model::Model;
use crate::runs::{Done, RunMemory, RunStream};
use crate::session::Session;

/// What a [`SpeechStream`] works with: how the model's input is made, and memory.
#[derive(Debug, Clone)]
pub struct SpeechMemory {
    runs: RunMemory,
    speech: SpeechSpec,
    class: usize,
}

impl SpeechMemory {
    /// Room for a model whose card says how its output tells speech (`[speech]`); `None` where it does not.
    ///
    /// # Errors
    /// [`Error::NotPrepared`] where no input takes sound.
    pub fn new(model: &Model) -> Result<Option<Self>, Error> {
        let card = model.card().and_then(|card| Some((card.speech.as_ref()?.class, card.speech_spec()?, card.runs()?)));
        let Some((class, speech, runs)) = card else { return Ok(None) };
        Ok(Some(Self { runs: RunMemory::new(model, runs)?, speech, class: class as usize }))
    }

    /// When speech begins and ends.
    pub fn spec(&self) -> &SpeechSpec {
        &self.speech
    }

    /// The same with another rule; its `hop` stays as the model wants it.
    #[must_use]
    pub fn with_spec(mut self, spec: SpeechSpec) -> Self {
        self.speech = SpeechSpec { hop: self.speech.hop, ..spec };
        self
    }

    /// Samples a second that the model takes.
    pub fn sample_rate(&self) -> u32 {
        self.runs.sample_rate()
    }
}

/// What a frame of sound has told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spoken {
    /// The sample behind the frame's last one, counted from the first one of the sound.
    pub heard: u64,
    /// How likely the frame holds speech.
    pub probability: f32,
    /// Whether there is speech now, and has been for long enough.
    pub is_speech: bool,
    /// Speech that is over.
    pub segment: Option<Segment>,
}

/// A model that tells speech in sound as it comes. What is told does not depend on how the sound is cut. Nothing is
/// allocated after the first frame.
#[derive(Debug)]
pub struct SpeechStream<'a> {
    runs: RunStream<'a>,
    detector: SpeechDetector,
    class: usize,
}

impl<'a> SpeechStream<'a> {
    /// Begins a sound: what the session keeps from run to run is reset.
    ///
    /// # Errors
    /// [`Error::Prepare`] where the rule cannot be used, [`Error::Session`].
    pub fn new(session: &'a mut Session, memory: &'a mut SpeechMemory) -> Result<Self, Error> {
        let SpeechMemory { runs, speech, class } = memory;
        let detector = SpeechDetector::new(speech)?;
        Ok(Self { runs: RunStream::new(session, runs)?, detector, class: *class })
    }

    /// Takes samples at the model's rate and calls `tell` for each frame that they complete.
    ///
    /// # Errors
    /// [`Error::Session`] where the model fails, [`Error::NoScores`] where it has no such output.
    pub fn push(&mut self, samples: &[i16], mut tell: impl FnMut(Spoken)) -> Result<(), Error> {
        let Self { runs, detector, class } = self;
        runs.push(samples, |done| hear(detector, *class, &done).map(&mut tell))
    }

    /// Ends the sound. Its last frame is filled with silence.
    ///
    /// # Errors
    /// As [`push`](SpeechStream::push).
    pub fn finish(mut self, mut tell: impl FnMut(Spoken)) -> Result<Option<Segment>, Error> {
        let Self { runs, detector, class } = &mut self;
        runs.finish(|done| hear(detector, *class, &done).map(&mut tell))?;
        Ok(detector.finish(runs.samples()))
    }
}

fn hear(detector: &mut SpeechDetector, class: usize, done: &Done<'_>) -> Result<Spoken, Error> {
    let probability = *done.scores.get(class).ok_or(Error::NoScores)?;
    let segment = detector.push(probability);
    Ok(Spoken { heard: done.heard, probability, is_speech: detector.is_speech(), segment })
}

impl Session {
    /// The segments of a whole sound that hold speech, in samples at the model's rate; `None` where the card does
    /// not say how the output tells speech. What the session keeps from run to run is reset before.
    ///
    /// # Errors
    /// [`Error::Prepare`] where the rate lies outside of 4 to 192 kHz, and those of [`SpeechStream::push`].
    pub fn speech(&mut self, samples: &[i16], rate: u32) -> Result<Option<Vec<Segment>>, Error> {
        let Some(mut memory) = SpeechMemory::new(&self.model().clone())? else { return Ok(None) };
        let samples = resampled(samples, rate, memory.sample_rate())?;
        let mut segments = Vec::new();
        let mut stream = SpeechStream::new(self, &mut memory)?;
        stream.push(&samples, |spoken| segments.extend(spoken.segment))?;
        let last = stream.finish(|_| {})?;
        segments.extend(last);
        Ok(Some(segments))
    }
}
