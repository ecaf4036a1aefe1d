//! Sound to text: run by run through the model, words.

use cygnet::{Session, TextMemory, TextStream, Word};

use super::hearing::{Blocks, Ear, Teller, Word as Told};
use crate::events::seconds;

/// A model that writes down speech.
pub struct TextEar<'a> {
    session: &'a mut Session,
    memory: TextMemory,
    teller: Teller,
    /// Samples at the model's rate of all recordings before this one.
    before: u64,
}

impl<'a> TextEar<'a> {
    /// With the rule that `memory` holds.
    pub fn new(session: &'a mut Session, memory: TextMemory, teller: Teller) -> Self {
        Self { session, memory, teller, before: 0 }
    }
}

impl Ear for TextEar<'_> {
    fn sample_rate(&self) -> u32 {
        self.memory.sample_rate()
    }

    fn has_heard(&self) -> bool {
        self.before > 0
    }

    fn recording(&mut self, blocks: &mut Blocks<'_>) -> anyhow::Result<()> {
        let Self { session, memory, teller, before } = self;
        let rate = f64::from(memory.sample_rate());
        let place = |samples: u64| seconds((*before + samples) as f64 / rate);
        let told = |Word { text, score, begin, end, heard, .. }: &Word| Told {
            time: place(*heard),
            label: text.clone(),
            score: *score,
            start: place(*begin),
            end: place(*end),
        };
        let mut stream = TextStream::new(session, memory)?;
        let mut samples = 0;
        while let Some(block) = blocks.next() {
            samples += block.samples.len() as u64;
            stream.push(block.samples, |word| {
                teller.word(told(word));
                teller.now(Some(&word.text));
            })?;
            teller.tell()?;
            teller.show(block.recorded)?;
        }
        stream.finish(|word| teller.word(told(word)))?;
        *before += samples;
        Ok(teller.finish()?)
    }
}
