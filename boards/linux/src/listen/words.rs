//! Sound to words: in windows through the model, averaged.

use cygnet::sense::{AudioSpec, Change, Event, EventDetector, EventSpec, FeatureWindows, Output, Window, argmax};
use cygnet::{Error, Session};

use super::hearing::{Blocks, Ear, Teller, Word};
use crate::events::{Class, seconds};

/// Memory that a [`WordEar`] works in.
pub struct Memory {
    windows: Vec<f32>,
    events: Vec<f32>,
    tensor: Vec<f32>,
    scores: Vec<f32>,
}

impl Memory {
    /// Room for a model with so many classes.
    pub fn new(spec: &AudioSpec, events: &EventSpec, classes: usize) -> Self {
        Self {
            windows: vec![0.0; FeatureWindows::scratch_len(spec)],
            events: vec![0.0; EventDetector::scratch_len(events, classes)],
            tensor: vec![0.0; spec.tensor_len()],
            scores: vec![0.0; classes],
        }
    }
}

/// What counts as a word.
pub struct Words<'a> {
    /// Windows move by so many rows.
    pub step_rows: usize,
    /// When one begins and ends.
    pub events: &'a EventSpec,
    /// Classes that are none.
    pub ignored: &'a [usize],
}

/// A model that tells words.
pub struct WordEar<'a> {
    spec: &'a AudioSpec,
    step_rows: usize,
    windows: &'a mut [f32],
    model: Listener<'a>,
    /// Samples at the model's rate of all recordings before this one.
    before: u64,
}

/// What happens with a window.
struct Listener<'a> {
    session: &'a mut Session,
    input: usize,
    tensor: &'a mut [f32],
    scores: &'a mut Vec<f32>,
    detector: EventDetector<'a>,
    clock: Clock,
    teller: Teller,
}

/// Turns numbers of windows into seconds.
struct Clock {
    rate: f64,
    clip: f64,
    step: f64,
    average: f64,
    /// The number of the first window of this recording, and where it begins, in samples of all recordings.
    first: u64,
    begin: f64,
    /// Windows so far.
    count: u64,
}

impl Clock {
    /// Where a window begins, in samples.
    fn place(&self, window: u64) -> f64 {
        self.begin + window.saturating_sub(self.first) as f64 * self.step
    }

    /// The last sample of a window, in seconds.
    fn end(&self, window: u64) -> f64 {
        seconds(((self.place(window) + self.clip) / self.rate).max(0.0))
    }

    /// The middle of all windows whose average is that of `window`, in seconds.
    fn middle(&self, window: u64) -> f64 {
        let middle = self.place(window) + self.clip / 2.0 - (self.average - 1.0) / 2.0 * self.step;
        seconds((middle / self.rate).max(0.0))
    }
}

impl<'a> WordEar<'a> {
    /// The model's input `input` takes sound as `spec` has it.
    ///
    /// # Errors
    /// [`Error::Prepare`] where the options cannot be used.
    pub fn new(
        session: &'a mut Session,
        input: usize,
        spec: &'a AudioSpec,
        words: &Words<'a>,
        memory: &'a mut Memory,
        teller: Teller,
    ) -> Result<Self, Error> {
        let Words { step_rows, events, ignored } = *words;
        let Memory { windows, events: room, tensor, scores } = memory;
        let clock = Clock {
            rate: f64::from(spec.sample_rate),
            clip: f64::from(spec.clip_samples),
            step: step_rows as f64 * super::row_samples(spec) as f64,
            average: events.average as f64,
            first: 0,
            begin: 0.0,
            count: 0,
        };
        let detector = EventDetector::new(events, scores.len(), ignored, room)?;
        let model = Listener { session, input, tensor, scores, detector, clock, teller };
        Ok(Self { spec, step_rows, windows, model, before: 0 })
    }
}

impl Ear for WordEar<'_> {
    fn sample_rate(&self) -> u32 {
        self.spec.sample_rate
    }

    fn has_heard(&self) -> bool {
        self.before > 0
    }

    /// Before it and behind it there is silence as long as the window, so that words at its edges are heard whole.
    fn recording(&mut self, blocks: &mut Blocks<'_>) -> anyhow::Result<()> {
        let Self { spec, step_rows, windows, model, before } = self;
        let mut windows = FeatureWindows::new(spec, *step_rows, windows)?;
        let silence = vec![0; spec.clip_samples as usize];
        model.clock.first = model.clock.count;
        model.clock.begin = *before as f64 - f64::from(spec.clip_samples);
        model.hear(&mut windows, &silence)?;
        while let Some(block) = blocks.next() {
            *before += block.samples.len() as u64;
            model.hear(&mut windows, block.samples)?;
            model.teller.show(block.recorded)?;
        }
        model.hear(&mut windows, &silence)?;
        model.finish()
    }
}

impl Listener<'_> {
    fn hear(&mut self, windows: &mut FeatureWindows<'_>, samples: &[i16]) -> anyhow::Result<()> {
        let mut done = Ok(());
        windows.push(samples, |window| {
            if done.is_ok() {
                done = self.window(&window).map_err(anyhow::Error::from);
            }
        });
        done?;
        Ok(self.teller.tell()?)
    }

    fn window(&mut self, window: &Window<'_>) -> Result<(), Error> {
        window.write(&mut Output::F32(self.tensor));
        self.session.set_f32(self.input, self.tensor)?;
        self.session.run()?;
        self.session.probabilities(self.scores)?;
        let time = self.clock.end(self.clock.count);
        if let Some(best) = argmax(self.scores) {
            let score = self.scores[best];
            self.teller.window(time, || Class { label: label(self.session, best), score });
        }
        self.clock.count += 1;
        let Self { detector, scores, session, clock, teller, .. } = self;
        detector.push(scores, |change| match change {
            Change::Begun(event) => teller.now(Some(&label(session, event.class))),
            Change::Ended(event) => {
                teller.now(None);
                teller.word(word(session, clock, &event, time));
            }
        });
        Ok(())
    }

    /// Ends the word that is there now.
    fn finish(&mut self) -> anyhow::Result<()> {
        let Self { detector, session, clock, teller, .. } = self;
        let time = clock.end(clock.count.saturating_sub(1));
        detector.interrupt(|change| {
            if let Change::Ended(event) = change {
                teller.word(word(session, clock, &event, time));
            }
        });
        Ok(teller.finish()?)
    }
}

fn label(session: &Session, class: usize) -> String {
    session.model().labels().get(class).cloned().unwrap_or_else(|| class.to_string())
}

fn word(session: &Session, clock: &Clock, event: &Event, time: f64) -> Word {
    let (start, end) = (clock.middle(event.first), clock.middle(event.last));
    Word { time, label: label(session, event.class), score: event.score, start, end }
}
