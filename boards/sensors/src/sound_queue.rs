//! Sound from an interrupt to the loop that listens.

use core::convert::Infallible;

use heapless::spsc::{Consumer, Producer, Queue};

use crate::AudioSource;

/// Room for `N - 1` samples between an interrupt that takes them and a loop that is busy at times: half a second is
/// enough where the model needs less than that.
#[derive(Debug)]
pub struct SoundQueue<const N: usize>(Queue<i16, N>);

impl<const N: usize> SoundQueue<N> {
    /// An empty queue.
    #[must_use]
    pub const fn new() -> Self {
        Self(Queue::new())
    }

    /// The interrupt's end, and the loop's: a source at `sample_rate`, which calls `idle` while there is no sound
    /// (`wfi`, so that the core sleeps until the next interrupt).
    pub fn split<I: FnMut()>(&mut self, sample_rate: u32, idle: I) -> (SoundSink<'_>, QueuedSound<'_, I>) {
        let (sink, source) = self.0.split();
        (SoundSink { queue: sink, lost: 0 }, QueuedSound { queue: source, sample_rate, idle })
    }
}

impl<const N: usize> Default for SoundQueue<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// The interrupt's end.
pub struct SoundSink<'q> {
    queue: Producer<'q, i16>,
    lost: u32,
}

impl SoundSink<'_> {
    /// Puts a sample into the queue. Where that is full the sample is lost, and counted.
    pub fn push(&mut self, sample: i16) {
        if self.queue.enqueue(sample).is_err() {
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// Samples that found no room since the last call.
    pub fn take_lost(&mut self) -> u32 {
        core::mem::take(&mut self.lost)
    }
}

/// The loop's end.
pub struct QueuedSound<'q, I> {
    queue: Consumer<'q, i16>,
    sample_rate: u32,
    idle: I,
}

impl<I: FnMut()> AudioSource for QueuedSound<'_, I> {
    type Error = Infallible;

    fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// Waits until `samples` is full.
    fn read(&mut self, samples: &mut [i16]) -> Result<usize, Infallible> {
        for sample in samples.iter_mut() {
            *sample = loop {
                match self.queue.dequeue() {
                    Some(sample) => break sample,
                    None => (self.idle)(),
                }
            };
        }
        Ok(samples.len())
    }
}
