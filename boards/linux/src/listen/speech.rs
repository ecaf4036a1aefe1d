//! Sound to speech: frame by frame through the model, segments.

use cygnet::sense::Segment;
use cygnet::{Session, SpeechMemory, SpeechStream, Spoken};

use super::hearing::{Blocks, Ear, Teller, Word};
use crate::events::{Class, seconds};

/// What segments are called.
pub const LABEL: &str = "speech";

/// A model that tells speech.
pub struct SpeechEar<'a> {
    session: &'a mut Session,
    memory: SpeechMemory,
    teller: Teller,
    /// Samples at the model's rate of all recordings before this one.
    before: u64,
}

impl<'a> SpeechEar<'a> {
    /// With the rule that `memory` holds.
    pub fn new(session: &'a mut Session, memory: SpeechMemory, teller: Teller) -> Self {
        Self { session, memory, teller, before: 0 }
    }
}

/// Samples of all recordings to seconds.
#[derive(Clone, Copy)]
struct Clock {
    before: u64,
    rate: u32,
}

impl Clock {
    fn seconds(self, samples: u64) -> f64 {
        seconds((self.before + samples) as f64 / f64::from(self.rate))
    }

    fn word(self, segment: &Segment, heard: u64) -> Word {
        Word {
            time: self.seconds(heard),
            label: LABEL.into(),
            score: segment.score,
            start: self.seconds(segment.begin),
            end: self.seconds(segment.end),
        }
    }
}

impl Ear for SpeechEar<'_> {
    fn sample_rate(&self) -> u32 {
        self.memory.sample_rate()
    }

    fn has_heard(&self) -> bool {
        self.before > 0
    }

    fn recording(&mut self, blocks: &mut Blocks<'_>) -> anyhow::Result<()> {
        let Self { session, memory, teller, before } = self;
        let clock = Clock { before: *before, rate: memory.sample_rate() };
        let mut stream = SpeechStream::new(session, memory)?;
        let mut samples = 0;
        while let Some(block) = blocks.next() {
            samples += block.samples.len() as u64;
            stream.push(block.samples, |spoken| frame(teller, clock, &spoken))?;
            teller.tell()?;
            teller.show(block.recorded)?;
        }
        if let Some(segment) = stream.finish(|spoken| frame(teller, clock, &spoken))? {
            teller.word(clock.word(&segment, samples));
        }
        *before += samples;
        Ok(teller.finish()?)
    }
}

fn frame(teller: &mut Teller, clock: Clock, spoken: &Spoken) {
    let class = || Class { label: LABEL.into(), score: spoken.probability };
    teller.window(clock.seconds(spoken.heard), class);
    teller.now(spoken.is_speech.then_some(LABEL));
    if let Some(segment) = &spoken.segment {
        teller.word(clock.word(segment, spoken.heard));
    }
}
