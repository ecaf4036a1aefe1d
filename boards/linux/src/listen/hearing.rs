//! Sound to words: resampled, in windows, through the model, averaged.

use std::io;

use cygnet::sense::{AudioSpec, Change, Event, EventDetector, EventSpec, FeatureWindows, Output, Resampler, Window};
use cygnet::{Error, Session};
use serde::Serialize;

use super::screen::Screen;
use super::source::Sound;
use crate::events::{Class, print_line, seconds};
use crate::gpio::AnswerLine;

/// How a recording ended.
pub enum Ending {
    /// It is over.
    End,
    /// The device is gone.
    Lost(io::Error),
}

/// A word as it is printed.
#[derive(Serialize)]
pub struct Word {
    /// When the word was told, in seconds of sound from the beginning.
    pub time: f64,
    /// Its label.
    pub label: String,
    /// The greatest average probability.
    pub score: f32,
    /// Where the middle of the window was when the word was there first.
    pub start: f64,
    /// The same for the last time.
    pub end: f64,
}

/// The best class of a window as it is printed.
#[derive(Serialize)]
struct Heard {
    time: f64,
    window: Class,
}

/// Memory that a [`Hearing`] works in.
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

/// A model that listens.
pub struct Hearing<'a> {
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
    scores: &'a mut [f32],
    detector: EventDetector<'a>,
    clock: Clock,
    told: Vec<Told>,
    tells_windows: bool,
    screen: Option<Screen>,
    line: Option<AnswerLine>,
    /// The word that is there now.
    now: Option<String>,
}

/// What is to be printed.
enum Told {
    Word(Word),
    Window(Heard),
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

impl<'a> Hearing<'a> {
    /// Windows move by `step_rows` rows; the classes in `ignored` are no words.
    ///
    /// # Errors
    /// [`Error::Prepare`] where the options cannot be used.
    pub fn new(
        session: &'a mut Session,
        input: usize,
        spec: &'a AudioSpec,
        step_rows: usize,
        events: &EventSpec,
        ignored: &'a [usize],
        memory: &'a mut Memory,
    ) -> Result<Self, Error> {
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
        let model = Listener {
            session,
            input,
            tensor,
            scores,
            detector,
            clock,
            told: Vec::new(),
            tells_windows: false,
            screen: None,
            line: None,
            now: None,
        };
        Ok(Self { spec, step_rows, windows, model, before: 0 })
    }

    /// How the words are told: to people in a terminal or as JSON lines, windows too or not, and by a line.
    pub fn report(&mut self, for_people: bool, windows: bool, line: Option<AnswerLine>) {
        self.model.screen = for_people.then(Screen::new);
        self.model.tells_windows = windows;
        self.model.line = line;
    }

    /// Samples a second that the model takes.
    pub fn sample_rate(&self) -> u32 {
        self.spec.sample_rate
    }

    /// Whether there was any sound.
    pub fn has_heard(&self) -> bool {
        self.before > 0
    }

    /// Hears a recording to its end. Before it and behind it there is silence as long as the window, so that words
    /// at its edges are heard whole. `works` is called whenever sound comes.
    ///
    /// # Errors
    /// A model that fails, an output that is closed.
    pub fn recording(&mut self, sound: &mut Sound, works: &mut dyn FnMut()) -> anyhow::Result<Ending> {
        let Self { spec, step_rows, windows, model, before } = self;
        let mut scratch = vec![0.0; Resampler::scratch_len(sound.rate(), spec.sample_rate)?];
        let mut resampler = Resampler::new(sound.rate(), spec.sample_rate, &mut scratch)?;
        let mut windows = FeatureWindows::new(spec, *step_rows, windows)?;
        let silence = vec![0; spec.clip_samples as usize];
        model.clock.first = model.clock.count;
        model.clock.begin = *before as f64 - f64::from(spec.clip_samples);
        model.hear(&mut windows, &silence)?;
        let (mut samples, mut resampled) = (Vec::new(), Vec::new());
        let ending = loop {
            samples.clear();
            match sound.read(&mut samples) {
                Ok(true) => {}
                Ok(false) => break Ending::End,
                Err(error) => break Ending::Lost(error),
            }
            if samples.is_empty() {
                continue;
            }
            works();
            resampled.clear();
            resampler.push(&samples, |sample| resampled.push(sample));
            *before += resampled.len() as u64;
            model.hear(&mut windows, &resampled)?;
            model.show(&samples)?;
        };
        resampled.clear();
        resampler.finish(|sample| resampled.push(sample));
        *before += resampled.len() as u64;
        model.hear(&mut windows, &resampled)?;
        model.hear(&mut windows, &silence)?;
        model.finish()?;
        Ok(ending)
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
        Ok(self.tell()?)
    }

    fn window(&mut self, window: &Window<'_>) -> Result<(), Error> {
        window.write(&mut Output::F32(self.tensor));
        self.session.set_f32(self.input, self.tensor)?;
        self.session.run()?;
        let answers = self.session.top(self.scores.len())?;
        self.scores.fill(0.0);
        for answer in &answers {
            if let Some(score) = self.scores.get_mut(answer.class) {
                *score = answer.score;
            }
        }
        let time = self.clock.end(self.clock.count);
        if let Some(best) = answers.into_iter().next().filter(|_| self.tells_windows) {
            self.told.push(Told::Window(Heard { time, window: Class { label: best.label, score: best.score } }));
        }
        self.clock.count += 1;
        let Self { detector, scores, session, clock, told, now, .. } = self;
        detector.push(scores, |change| match change {
            Change::Begun(event) => *now = Some(label(session, &event)),
            Change::Ended(event) => {
                *now = None;
                told.push(Told::Word(word(session, clock, &event, time)));
            }
        });
        if let Some(line) = &mut self.line {
            line.answer(self.now.as_deref());
        }
        Ok(())
    }

    /// Ends the word that is there now.
    fn finish(&mut self) -> io::Result<()> {
        let Self { detector, session, clock, told, .. } = self;
        let time = clock.end(clock.count.saturating_sub(1));
        detector.interrupt(|change| {
            if let Change::Ended(event) = change {
                told.push(Told::Word(word(session, clock, &event, time)));
            }
        });
        self.now = None;
        if let Some(line) = &mut self.line {
            line.answer(None);
        }
        self.tell()?;
        self.screen.as_mut().map_or(Ok(()), Screen::clear)
    }

    fn tell(&mut self) -> io::Result<()> {
        for told in self.told.drain(..) {
            match (told, &mut self.screen) {
                (Told::Word(word), Some(screen)) => screen.word(&word)?,
                (Told::Word(word), None) => print_line(&word)?,
                (Told::Window(_), Some(_)) => {}
                (Told::Window(heard), None) => print_line(&heard)?,
            }
        }
        Ok(())
    }

    fn show(&mut self, samples: &[i16]) -> io::Result<()> {
        let now = self.now.as_deref();
        self.screen.as_mut().map_or(Ok(()), |screen| screen.level(samples, now))
    }
}

fn label(session: &Session, event: &Event) -> String {
    session.model().labels().get(event.class).cloned().unwrap_or_else(|| event.class.to_string())
}

fn word(session: &Session, clock: &Clock, event: &Event, time: f64) -> Word {
    let (start, end) = (clock.middle(event.first), clock.middle(event.last));
    Word { time, label: label(session, event), score: event.score, start, end }
}
