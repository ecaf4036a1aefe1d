//! Where sound comes from.

use core::convert::Infallible;

/// Sound that comes in pieces: mono, signed 16-bit samples at one rate.
///
/// The caller owns the buffer, and the source keeps no reference to it. A source fills it in the order of time, without
/// gaps; what it has lost nevertheless, it tells by an error or by a count of its own.
pub trait AudioSource {
    /// What can go wrong: usually the bus's error.
    type Error: core::fmt::Debug;

    /// Samples a second, which does not change.
    fn sample_rate(&self) -> u32;

    /// Waits for sound and writes it to the beginning of `samples`; tells how many samples those are. 0 is the end of a
    /// recording, or means that `samples` is empty; a microphone never ends.
    ///
    /// # Errors
    /// The device's. The samples of this call are lost then, and the next call tries again.
    fn read(&mut self, samples: &mut [i16]) -> Result<usize, Self::Error>;
}

/// A recording in memory: raw signed 16-bit samples, little-endian, mono. A last odd byte is left out.
///
/// ```
/// use cygnet_sensors::{AudioSource, RecordedSound};
///
/// let mut sound = RecordedSound::new(&[1, 0, 0xff, 0xff, 7, 0], 8000);
/// let mut samples = [0; 2];
/// assert_eq!(sound.read(&mut samples), Ok(2));
/// assert_eq!(samples, [1, -1]);
/// assert_eq!(sound.read(&mut samples), Ok(1));
/// assert_eq!(sound.read(&mut samples), Ok(0));
/// ```
#[derive(Clone, Debug)]
pub struct RecordedSound<'a> {
    rest: &'a [[u8; 2]],
    sample_rate: u32,
}

impl<'a> RecordedSound<'a> {
    /// A recording at `sample_rate` samples a second, from its beginning.
    #[must_use]
    pub const fn new(bytes: &'a [u8], sample_rate: u32) -> Self {
        Self { rest: bytes.as_chunks().0, sample_rate }
    }
}

impl AudioSource for RecordedSound<'_> {
    type Error = Infallible;

    fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    fn read(&mut self, samples: &mut [i16]) -> Result<usize, Infallible> {
        let count = samples.len().min(self.rest.len());
        let (now, later) = self.rest.split_at(count);
        for (sample, &bytes) in samples.iter_mut().zip(now) {
            *sample = i16::from_le_bytes(bytes);
        }
        self.rest = later;
        Ok(count)
    }
}
