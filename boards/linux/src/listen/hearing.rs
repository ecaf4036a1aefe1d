//! What listens to a recording, and how it tells what it has heard.

use std::io;

use cygnet::sense::Resampler;
use serde::Serialize;

use super::screen::Screen;
use super::source::Sound;
use crate::events::{Class, print_line};
use crate::gpio::AnswerLine;

/// A model that listens.
pub trait Ear {
    /// Samples a second that the model takes.
    fn sample_rate(&self) -> u32;

    /// Whether there was any sound.
    fn has_heard(&self) -> bool;

    /// Hears a recording to its end.
    ///
    /// # Errors
    /// A model that fails, an output that is closed.
    fn recording(&mut self, blocks: &mut Blocks<'_>) -> anyhow::Result<()>;
}

/// How a recording ended.
pub enum Ending {
    /// It is over.
    End,
    /// The device is gone.
    Lost(io::Error),
}

/// A recording at the model's rate, as it comes.
pub struct Blocks<'a> {
    sound: &'a mut Sound,
    resampler: Resampler<'a>,
    works: &'a mut dyn FnMut(),
    samples: Vec<i16>,
    resampled: Vec<i16>,
    ending: Option<Ending>,
}

/// Some sound.
pub struct Block<'b> {
    /// As it was recorded.
    pub recorded: &'b [i16],
    /// At the model's rate.
    pub samples: &'b [i16],
}

impl<'a> Blocks<'a> {
    /// `works` is called whenever sound comes.
    pub fn new(sound: &'a mut Sound, resampler: Resampler<'a>, works: &'a mut dyn FnMut()) -> Self {
        Self { sound, resampler, works, samples: Vec::new(), resampled: Vec::new(), ending: None }
    }

    /// Waits for sound; `None` behind the last block.
    pub fn next(&mut self) -> Option<Block<'_>> {
        if self.ending.is_some() {
            return None;
        }
        let Self { sound, resampler, works, samples, resampled, ending } = self;
        samples.clear();
        resampled.clear();
        while samples.is_empty() && ending.is_none() {
            match sound.read(samples) {
                Ok(true) => {}
                Ok(false) => *ending = Some(Ending::End),
                Err(error) => *ending = Some(Ending::Lost(error)),
            }
        }
        if ending.is_none() {
            works();
        }
        resampler.push(samples, |sample| resampled.push(sample));
        if ending.is_some() {
            resampler.finish(|sample| resampled.push(sample));
        }
        Some(Block { recorded: samples, samples: resampled })
    }

    /// How it has ended; it has where nobody has heard it to its end.
    pub fn ending(self) -> Ending {
        self.ending.unwrap_or(Ending::End)
    }
}

/// A word, or speech, as it is printed.
#[derive(Serialize)]
pub struct Word {
    /// When it was told, in seconds of sound from the beginning.
    pub time: f64,
    /// Its label.
    pub label: String,
    /// How sure the model is.
    pub score: f32,
    /// Where it begins, in seconds.
    pub start: f64,
    /// Where it ends.
    pub end: f64,
}

/// The best class of a window as it is printed.
#[derive(Serialize)]
struct Heard {
    time: f64,
    window: Class,
}

/// What is to be printed.
enum Told {
    Word(Word),
    Window(Heard),
}

/// Tells what is heard: to people in a terminal or as JSON lines, and by a line.
pub struct Teller {
    told: Vec<Told>,
    tells_windows: bool,
    screen: Option<Screen>,
    line: Option<AnswerLine>,
    /// The word that is there now.
    now: Option<String>,
}

impl Teller {
    /// To people or not, windows too or not.
    pub fn new(for_people: bool, tells_windows: bool, line: Option<AnswerLine>) -> Self {
        let screen = for_people.then(Screen::new);
        Self { told: Vec::new(), tells_windows, screen, line, now: None }
    }

    /// Keeps a word until [`tell`](Teller::tell).
    pub fn word(&mut self, word: Word) {
        self.told.push(Told::Word(word));
    }

    /// Keeps the best class of a window until [`tell`](Teller::tell), where windows are told.
    pub fn window(&mut self, time: f64, window: impl FnOnce() -> Class) {
        if self.tells_windows {
            self.told.push(Told::Window(Heard { time, window: window() }));
        }
    }

    /// What is there now.
    pub fn now(&mut self, label: Option<&str>) {
        if self.now.as_deref() != label {
            self.now = label.map(str::to_string);
        }
        if let Some(line) = &mut self.line {
            line.answer(label);
        }
    }

    /// Prints what was kept.
    ///
    /// # Errors
    /// An output that is closed.
    pub fn tell(&mut self) -> io::Result<()> {
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

    /// Shows people how loud it is.
    ///
    /// # Errors
    /// An output that is closed.
    pub fn show(&mut self, recorded: &[i16]) -> io::Result<()> {
        let now = self.now.as_deref();
        self.screen.as_mut().map_or(Ok(()), |screen| screen.level(recorded, now))
    }

    /// The recording is over: nothing is there now.
    ///
    /// # Errors
    /// An output that is closed.
    pub fn finish(&mut self) -> io::Result<()> {
        self.now(None);
        self.tell()?;
        self.screen.as_mut().map_or(Ok(()), Screen::clear)
    }
}
