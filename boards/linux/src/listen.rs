//! `cygnet listen`: words, speech or text in sound as it comes.

mod hearing;
#[cfg(feature = "microphone")]
mod microphone;
mod screen;
mod source;
mod speech;
mod text;
mod words;

use anyhow::Context;
use clap::Args;
use cygnet::sense::audio::Features;
use cygnet::sense::events::BACKGROUND;
use cygnet::sense::speech::samples_of;
use cygnet::sense::{AudioSpec, EventSpec, Resampler, SpeechSpec};
use cygnet::{Model, Session, SpeechMemory, TextMemory};

use crate::StreamArguments;
use crate::retry::Retry;
use hearing::{Blocks, Ear, Ending, Teller};
use source::{Place, Sound};
use speech::SpeechEar;
use text::TextEar;
use words::{Memory, WordEar, Words};

/// What is heard where nobody says what to listen to.
const DEFAULT_SOURCE: &str = if cfg!(feature = "microphone") { "alsa:default" } else { "-" };
/// Hear words, speech, or text in sound as it comes: a line for each.
///
/// SOURCE is `-` for standard input, a WAV file, a named pipe, or `alsa:DEVICE` for a microphone. Sound from files
/// and pipes is WAV, or raw 16-bit samples (little-endian) where `--rate` is given. A named pipe or a microphone that
/// ends is opened again.
///
/// Each line is a JSON object: `label`, `score` (the greatest average probability), `start` and `end` (where in the
/// sound the middle of the model's window was while it heard the word, in seconds), `time` (when the word was told,
/// in seconds of sound).
///
/// A model whose card has a table `[speech]` tells where there is speech: `label` is "speech", `score` the mean
/// probability, `start` and `end` are its bounds.
///
/// A model whose card has a table `[text]` with a `hop` writes down what is said: `label` is a word, as soon as it is sure,
/// `score` the mean probability of its parts, `start` and `end` are where the model has told them.
#[derive(Args)]
pub struct Listen {
    #[command(flatten)]
    stream: StreamArguments,
    /// What is listened to.
    #[arg(default_value = DEFAULT_SOURCE)]
    source: String,
    /// Samples a second of raw sound.
    #[arg(long, value_name = "HZ", value_parser = clap::value_parser!(u32).range(4000..=192_000))]
    rate: Option<u32>,
    /// Interleaved channels of raw sound, which are averaged.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "rate",
        value_parser = clap::value_parser!(u16).range(1..=64))]
    channels: u16,
    /// How far the model's window moves each time [default: an eighth of its length]. For words, as `--average`, `--hold`
    /// and `--ignore`.
    #[arg(long, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    hop: Option<u32>,
    /// The average probability that makes a word, or the probability that makes speech, 0 to 1 [default: 0.5, or what
    /// the card says of speech].
    #[arg(long, value_name = "P")]
    threshold: Option<f32>,
    /// Shorter speech is none [default: 250, or what the card says].
    #[arg(long, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u32).range(0..=60_000))]
    least_speech: Option<u32>,
    /// Shorter silence belongs to the speech around it [default: 100, or what the card says].
    #[arg(long, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u32).range(0..=60_000))]
    least_silence: Option<u32>,
    /// How much is added at both ends of speech; at most half of the least silence [default: 30, or what the card says].
    #[arg(long, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u32).range(0..=60_000))]
    padding: Option<u32>,
    /// Over how much sound the windows are averaged [default: three eighths of the window's length].
    #[arg(long, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    average: Option<u32>,
    /// How long a word must be there, seen from the middle of the window [default: half of the window's length].
    ///
    /// Half a word at the edge of the window may look like another one, but not for long.
    #[arg(long, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    hold: Option<u32>,
    /// Labels that are no words [default: silence, unknown and what else such classes are called].
    #[arg(long, value_name = "LABEL,…", value_delimiter = ',')]
    ignore: Option<Vec<String>>,
    /// Also a line for each window, with its best class.
    #[arg(long)]
    windows: bool,
}

impl Listen {
    /// Does the work.
    pub fn run(&self) -> anyhow::Result<()> {
        let mut place = Place::new(&self.source, self.rate, self.channels)?;
        let mut session = self.stream.session()?;
        let model = session.model().clone();
        let teller = |line| Teller::new(self.stream.is_for_people(), self.windows, line);
        if let Some(memory) = SpeechMemory::new(&model)? {
            let memory = self.speech(memory)?;
            let teller = teller(self.stream.line.open(&[speech::LABEL.to_string()])?);
            return self.listen(&mut place, &mut SpeechEar::new(&mut session, memory, teller));
        }
        self.refuse("speech", &[("least-speech", &self.least_speech), ("least-silence", &self.least_silence)])?;
        self.refuse("speech", &[("padding", &self.padding)])?;
        if let Some(memory) = TextMemory::new(&model)? {
            self.refuse_words("text")?;
            anyhow::ensure!(
                self.threshold.is_none(),
                "--threshold: this model tells text, with no threshold: leave it out"
            );
            anyhow::ensure!(!self.windows, "--windows: this model tells text, word by word: leave it out");
            let labels: Vec<_> = model.labels().iter().map(|label| label.trim().to_string()).collect();
            let teller = teller(self.stream.line.open(&labels)?);
            return self.listen(&mut place, &mut TextEar::new(&mut session, memory, teller));
        }
        let teller = teller(self.stream.line.open(model.labels())?);
        self.words(&mut place, &mut session, &model, teller)
    }

    fn words(&self, place: &mut Place, session: &mut Session, model: &Model, teller: Teller) -> anyhow::Result<()> {
        let (input, spec) = model.sound_input()?;
        let ignored = self.ignored(model)?;
        let step_rows = self.step_rows(spec);
        let events = self.events(spec, step_rows as u64 * row_samples(spec));
        let classes = session.scores()?.len();
        let mut memory = Memory::new(spec, &events, classes);
        let words = Words { step_rows, events: &events, ignored: &ignored };
        let mut ear = WordEar::new(session, input, spec, &words, &mut memory, teller)?;
        self.listen(place, &mut ear)
    }

    /// The rule for speech: that of the card, but for what the command line says.
    fn speech(&self, memory: SpeechMemory) -> anyhow::Result<SpeechMemory> {
        self.refuse_words("speech")?;
        let samples = |given: Option<u32>, usual| given.map_or(usual, |ms| samples_of(ms, memory.sample_rate()));
        let usual = *memory.spec();
        let spec = SpeechSpec {
            threshold: self.threshold.unwrap_or(usual.threshold),
            release: self.threshold.map_or(usual.release, SpeechSpec::release_of),
            least_speech: samples(self.least_speech, usual.least_speech),
            least_silence: samples(self.least_silence, usual.least_silence),
            padding: samples(self.padding, usual.padding),
            ..usual
        };
        spec.check().map_err(cygnet::Error::from)?;
        Ok(memory.with_spec(spec))
    }

    /// Options that are for models that tell words of a window, where this one tells `what`.
    fn refuse_words(&self, what: &str) -> anyhow::Result<()> {
        self.refuse("words", &[("hop", &self.hop), ("average", &self.average), ("hold", &self.hold)])?;
        anyhow::ensure!(self.ignore.is_none(), "--ignore is for words, and this model tells {what}: leave it out");
        Ok(())
    }

    /// Options that are for models of another kind.
    fn refuse(&self, kind: &str, options: &[(&str, &Option<u32>)]) -> anyhow::Result<()> {
        match options.iter().find(|(_, value)| value.is_some()) {
            Some((option, _)) => {
                anyhow::bail!("--{option} is for {kind}, which this model does not tell: leave it out")
            }
            None => Ok(()),
        }
    }

    fn listen(&self, place: &mut Place, ear: &mut dyn Ear) -> anyhow::Result<()> {
        let mut retry = Retry::new();
        // What is not there in the beginning is a mistake, what is gone later may come back.
        let mut sound = Some(place.open(ear.sample_rate())?);
        let comes_back = place.comes_back();
        loop {
            let opened = match sound.take() {
                Some(sound) => Ok(sound),
                None => place.open(ear.sample_rate()),
            };
            let problem = match opened {
                Err(error) => format!("{error:#}"),
                Ok(mut sound) => match recording(ear, &mut sound, &mut || retry.works())? {
                    Ending::End if !comes_back => return finished(ear, &sound, place),
                    Ending::End => "it has ended".into(),
                    Ending::Lost(error) if !comes_back => {
                        return Err(error).with_context(|| place.to_string());
                    }
                    Ending::Lost(error) => format!("the sound is gone: {error}"),
                },
            };
            retry.wait(&place.to_string(), problem);
        }
    }

    /// How far the window moves, in rows.
    fn step_rows(&self, spec: &AudioSpec) -> usize {
        nearest_steps(samples(self.hop, spec, 1), row_samples(spec))
    }

    /// What makes a word, counted in windows that are `step` samples apart.
    fn events(&self, spec: &AudioSpec, step: u64) -> EventSpec {
        let threshold = self.threshold.unwrap_or(0.5);
        EventSpec {
            threshold,
            // Half of what it takes to begin: a word that fades is still the same word.
            release: threshold / 2.0,
            average: nearest_steps(samples(self.average, spec, 3), step),
            // Not less than was asked for.
            hold: nearest_steps(samples(self.hold, spec, 4).next_multiple_of(step), step),
        }
    }

    /// The classes that are no words.
    fn ignored(&self, model: &Model) -> anyhow::Result<Vec<usize>> {
        let labels = model.labels();
        let place = |label: &str| labels.iter().position(|there| there == label);
        let Some(asked) = &self.ignore else { return Ok(BACKGROUND.iter().filter_map(|label| place(label)).collect()) };
        asked
            .iter()
            .filter(|label| !label.is_empty())
            .map(|label| {
                place(label).with_context(|| {
                    format!("--ignore {label}: the model has no such label; it has {}", labels.join(", "))
                })
            })
            .collect()
    }
}

/// Samples from a row of features to the next.
fn row_samples(spec: &AudioSpec) -> u64 {
    if spec.features == Features::Waveform { 1 } else { u64::from(spec.hop.max(1)) }
}

/// A time in samples at the model's rate; `eighths` of the window where none is told.
fn samples(milliseconds: Option<u32>, spec: &AudioSpec, eighths: u64) -> u64 {
    match milliseconds {
        Some(milliseconds) => u64::from(milliseconds) * u64::from(spec.sample_rate) / 1000,
        None => u64::from(spec.clip_samples) * eighths / 8,
    }
}

/// The nearest number of steps, at least one.
fn nearest_steps(samples: u64, step: u64) -> usize {
    usize::try_from((samples + step / 2) / step).unwrap_or(usize::MAX).max(1)
}

/// Hears a recording to its end. `works` is called whenever sound comes.
fn recording(ear: &mut dyn Ear, sound: &mut Sound, works: &mut dyn FnMut()) -> anyhow::Result<Ending> {
    let mut scratch = vec![0.0; Resampler::scratch_len(sound.rate(), ear.sample_rate())?];
    let resampler = Resampler::new(sound.rate(), ear.sample_rate(), &mut scratch)?;
    let mut blocks = Blocks::new(sound, resampler, works);
    ear.recording(&mut blocks)?;
    Ok(blocks.ending())
}

fn finished(ear: &dyn Ear, sound: &Sound, place: &Place) -> anyhow::Result<()> {
    anyhow::ensure!(ear.has_heard(), "{place}: it has no samples; record it again");
    if sound.missing() > 0 {
        log::warn!("{place}: it ends {} bytes before its header says; what there was has been heard", sound.missing());
    }
    Ok(())
}
