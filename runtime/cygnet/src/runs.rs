//! A model that hears sound of any length, run by run.

use cygnet_sense::audio::Runs;
use cygnet_sense::{AudioSpec, FeatureWindows, Output};

use crate::error::Error;
use crate::model::Model;
use crate::session::Session;

/// How many zeros are pushed at once.
const SILENCE: [i16; 64] = [0; 64];

/// How the input is made, and memory for it.
#[derive(Debug, Clone)]
pub(crate) struct RunMemory {
    input: usize,
    audio: AudioSpec,
    runs: Runs,
    windows: Vec<f32>,
    tensor: Vec<f32>,
    scores: Vec<f32>,
}

impl RunMemory {
    pub(crate) fn new(model: &Model, runs: Runs) -> Result<Self, Error> {
        let (input, audio) = model.sound_input()?;
        Ok(Self {
            input,
            audio: audio.clone(),
            runs,
            windows: vec![0.0; FeatureWindows::scratch_len(audio)],
            tensor: vec![0.0; audio.tensor_len()],
            scores: Vec::new(),
        })
    }

    /// Samples a second that the model takes.
    pub(crate) fn sample_rate(&self) -> u32 {
        self.audio.sample_rate
    }
}

/// A run that is done.
#[derive(Debug)]
pub(crate) struct Done<'a> {
    /// How many runs of this sound were before.
    pub number: u64,
    /// The sample behind the last one of the sound that was heard.
    pub heard: u64,
    /// The first output.
    pub scores: &'a mut Vec<f32>,
}

/// A sound that is heard as it comes. What runs there are does not depend on how it is cut. Nothing is allocated after the
/// first run.
#[derive(Debug)]
pub(crate) struct RunStream<'a> {
    windows: FeatureWindows<'a>,
    model: Hearing<'a>,
    runs: Runs,
}

#[derive(Debug)]
struct Hearing<'a> {
    session: &'a mut Session,
    input: usize,
    hop: u64,
    tensor: &'a mut [f32],
    scores: &'a mut Vec<f32>,
    samples: u64,
    count: u64,
}

impl<'a> RunStream<'a> {
    /// Begins a sound: what the session keeps from run to run is reset.
    pub(crate) fn new(session: &'a mut Session, memory: &'a mut RunMemory) -> Result<Self, Error> {
        session.reset()?;
        let RunMemory { input, audio, runs, windows, tensor, scores } = memory;
        runs.check(audio)?;
        let mut windows = FeatureWindows::new(audio, runs.rows(audio), windows)?;
        // It completes no run.
        silence(runs.silence_before(audio) as u64, |block| {
            windows.push(block, |_| {});
            Ok(())
        })?;
        let hop = u64::from(runs.hop);
        let model = Hearing { session, input: *input, hop, tensor, scores, samples: 0, count: 0 };
        Ok(Self { windows, model, runs: *runs })
    }

    /// Samples of the sound so far.
    pub(crate) fn samples(&self) -> u64 {
        self.model.samples
    }

    /// Takes samples at the model's rate and calls `done` after each run that they complete.
    pub(crate) fn push(
        &mut self,
        samples: &[i16],
        done: impl FnMut(Done<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.model.samples += samples.len() as u64;
        self.hear(samples, done)
    }

    /// Hears the silence behind the sound.
    pub(crate) fn finish(&mut self, mut done: impl FnMut(Done<'_>) -> Result<(), Error>) -> Result<(), Error> {
        silence(self.runs.silence_behind(self.model.samples), |block| self.hear(block, &mut done))
    }

    fn hear(&mut self, samples: &[i16], mut done: impl FnMut(Done<'_>) -> Result<(), Error>) -> Result<(), Error> {
        let Self { windows, model, .. } = self;
        let mut result = Ok(());
        windows.push(samples, |window| {
            if result.is_ok() {
                window.write(&mut Output::F32(model.tensor));
                result = model.run().and_then(&mut done);
            }
        });
        result
    }
}

impl Hearing<'_> {
    fn run(&mut self) -> Result<Done<'_>, Error> {
        self.session.set_f32(self.input, self.tensor)?;
        self.session.run()?;
        self.session.output_f32(0, self.scores)?;
        let number = self.count;
        self.count += 1;
        let heard = (self.count * self.hop).min(self.samples);
        Ok(Done { number, heard, scores: self.scores })
    }
}

/// Calls `push` with so many zeros in all.
fn silence(samples: u64, mut push: impl FnMut(&[i16]) -> Result<(), Error>) -> Result<(), Error> {
    let mut missing = samples;
    while missing > 0 {
        let block = SILENCE.get(..missing as usize).unwrap_or(&SILENCE);
        push(block)?;
        missing -= block.len() as u64;
    }
    Ok(())
}
