//! Decoders: token after token.

use super::Session;
use crate::error::Error;

/// The input of a decoder's tokens.
const TOKENS: &str = "input_ids";

impl Session {
    /// Reads tokens behind those that a decoder has seen, as many in a run as its input takes. Gives the likeliest next
    /// one, of several the first; `None` where there is no token.
    ///
    /// The first output has the scores, `[1, tokens, vocabulary]`.
    ///
    /// # Errors
    /// As [`Session::run`]; [`Error::NoSuchPort`], [`Error::NoScores`] where the model is no decoder.
    pub fn read_tokens(&mut self, tokens: &[u32]) -> Result<Option<u32>, Error> {
        let input = self.input_index(TOKENS)?;
        let plan = self.model.plan();
        let size = plan.input(input).map_or(1, |port| port.len()).max(1);
        let classes = plan.output(0).and_then(|port| port.dims().last().copied()).unwrap_or(0) as usize;
        let mut likeliest = None;
        for run in tokens.chunks(size) {
            let mut room = std::mem::take(&mut self.room);
            let padding = std::iter::repeat_n(&0, size - run.len());
            room.bytes.clear();
            room.bytes.extend(run.iter().chain(padding).flat_map(|&token| i64::from(token).to_le_bytes()));
            let done = self.set_bytes(input, &room.bytes).and_then(|()| self.run());
            let done = done.and_then(|()| self.rewind((size - run.len()) as u64));
            let done = done.and_then(|()| self.output_f32(0, &mut room.values));
            let last = room.values.chunks_exact(classes.max(1)).nth(run.len() - 1);
            likeliest = last.and_then(|scores| {
                let best = |a: (usize, f32), b: (usize, f32)| if b.1 > a.1 { b } else { a };
                scores.iter().copied().enumerate().reduce(best).map(|(class, _)| class as u32)
            });
            self.room = room;
            done?;
            if likeliest.is_none() {
                return Err(Error::NoScores);
            }
        }
        Ok(likeliest)
    }
}
