//! Where in a sound there is speech.

use cygnet_sense::speech::{SpeechDetector, SpeechSpec};
use cygnet_sense::{AudioSpec, FeatureWindows, Output, Segment, Window};

use crate::error::Error;
use crate::input::resampled;
use crate::model::Model;
use crate::session::Session;

/// How many zeros are pushed at once.
const SILENCE: [i16; 64] = [0; 64];

/// What a [`SpeechStream`] works with: how the model's input is made, and memory.
#[derive(Debug, Clone)]
pub struct SpeechMemory {
    input: usize,
    audio: AudioSpec,
    speech: SpeechSpec,
    class: usize,
    windows: Vec<f32>,
    tensor: Vec<f32>,
    scores: Vec<f32>,
}

impl SpeechMemory {
    /// Room for a model whose card says how its output tells speech (`[speech]`); `None` where it does not.
    ///
    /// # Errors
    /// [`Error::NotPrepared`] where no input takes sound.
    pub fn new(model: &Model) -> Result<Option<Self>, Error> {
        let card = model.card().and_then(|card| Some((card.speech.as_ref()?.class, card.speech_spec()?)));
        let Some((class, speech)) = card else { return Ok(None) };
        let (input, audio) = model.sound_input()?;
        Ok(Some(Self {
            input,
            audio: audio.clone(),
            speech,
            class: class as usize,
            windows: vec![0.0; FeatureWindows::scratch_len(audio)],
            tensor: vec![0.0; audio.tensor_len()],
            scores: Vec::new(),
        }))
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
        self.audio.sample_rate
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
    windows: FeatureWindows<'a>,
    frames: Frames<'a>,
    hop: u64,
}

/// The model, frame by frame.
#[derive(Debug)]
struct Frames<'a> {
    session: &'a mut Session,
    detector: SpeechDetector,
    input: usize,
    class: usize,
    hop: u64,
    tensor: &'a mut [f32],
    scores: &'a mut Vec<f32>,
    samples: u64,
    count: u64,
}

impl<'a> SpeechStream<'a> {
    /// Begins a sound: what the session keeps from run to run is reset.
    ///
    /// # Errors
    /// [`Error::Prepare`] where the rule cannot be used, [`Error::Session`].
    pub fn new(session: &'a mut Session, memory: &'a mut SpeechMemory) -> Result<Self, Error> {
        session.reset()?;
        let SpeechMemory { input, audio, speech, class, windows, tensor, scores } = memory;
        let detector = SpeechDetector::new(speech)?;
        let hop = u64::from(speech.hop);
        let frames =
            Frames { session, detector, input: *input, class: *class, hop, tensor, scores, samples: 0, count: 0 };
        let mut windows = FeatureWindows::new(audio, speech.hop as usize, windows)?;
        // In front of the first frame lies silence. It completes no frame.
        let mut missing = audio.clip_samples.saturating_sub(speech.hop) as usize;
        while missing > 0 {
            let block = SILENCE.get(..missing).unwrap_or(&SILENCE);
            windows.push(block, |_| {});
            missing -= block.len();
        }
        Ok(Self { windows, frames, hop })
    }

    /// Takes samples at the model's rate and calls `tell` for each frame that they complete.
    ///
    /// # Errors
    /// [`Error::Session`] where the model fails, [`Error::NoScores`] where it has no such output.
    pub fn push(&mut self, samples: &[i16], tell: impl FnMut(Spoken)) -> Result<(), Error> {
        self.frames.samples += samples.len() as u64;
        self.hear(samples, tell)
    }

    fn hear(&mut self, samples: &[i16], mut tell: impl FnMut(Spoken)) -> Result<(), Error> {
        let Self { windows, frames, .. } = self;
        let mut done = Ok(());
        windows.push(samples, |window| {
            if done.is_ok() {
                done = frames.hear(&window).map(&mut tell);
            }
        });
        done
    }

    /// Ends the sound. Its last frame is filled with silence.
    ///
    /// # Errors
    /// As [`push`](SpeechStream::push).
    pub fn finish(mut self, mut tell: impl FnMut(Spoken)) -> Result<Option<Segment>, Error> {
        let samples = self.frames.samples;
        let mut missing = (samples.next_multiple_of(self.hop) - samples) as usize;
        while missing > 0 {
            let block = SILENCE.get(..missing).unwrap_or(&SILENCE);
            self.hear(block, &mut tell)?;
            missing -= block.len();
        }
        Ok(self.frames.detector.finish(samples))
    }
}

impl Frames<'_> {
    fn hear(&mut self, window: &Window<'_>) -> Result<Spoken, Error> {
        window.write(&mut Output::F32(self.tensor));
        self.session.set_f32(self.input, self.tensor)?;
        self.session.run()?;
        self.session.output_f32(0, self.scores)?;
        let probability = *self.scores.get(self.class).ok_or(Error::NoScores)?;
        self.count += 1;
        let segment = self.detector.push(probability);
        let heard = (self.count * self.hop).min(self.samples);
        Ok(Spoken { heard, probability, is_speech: self.detector.is_speech(), segment })
    }
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
