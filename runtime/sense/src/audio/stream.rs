use super::convention::Padding;
use super::frame::{FrameTables, tables_len, take};
use super::loudest::loudest_window;
use super::spec::{AudioSpec, Features};
use crate::{Error, Output};

/// Features of sound that arrives bit by bit: a row whenever a frame is complete. The rows do not
/// depend on how the sound is cut.
///
/// ```
/// use cygnet_sense::{AudioSpec, FeatureStream};
///
/// let spec = AudioSpec::new(8000);
/// let mut scratch = [0f32; 2048];
/// let mut stream = FeatureStream::new(&spec, &mut scratch)?;
/// let mut rows = 0;
/// for block in [0i16; 8000].chunks(160) {
///     stream.push(block, |row| {
///         assert_eq!(row.len(), spec.row_len());
///         rows += 1;
///     });
/// }
/// assert_eq!(rows, spec.frames());
/// # Ok::<(), cygnet_sense::Error>(())
/// ```
#[derive(Debug)]
pub struct FeatureStream<'a> {
    spec: &'a AudioSpec,
    tables: FrameTables<'a>,
    /// The samples of the frame that is being gathered.
    frame: &'a mut [f32],
    gathered: usize,
    /// Samples to be left out before the next frame begins, where `hop` is longer than `window`.
    skip: usize,
}

impl<'a> FeatureStream<'a> {
    /// Computes the window and the mel filters into `scratch`, at least
    /// [`scratch_len`](AudioSpec::scratch_len) values.
    ///
    /// # Errors
    /// [`Error::Spec`] from [`AudioSpec::check`]; [`Error::ScratchLength`].
    pub fn new(spec: &'a AudioSpec, mut scratch: &'a mut [f32]) -> Result<Self, Error> {
        spec.check()?;
        let needed = spec.scratch_len();
        if scratch.len() < needed {
            return Err(Error::ScratchLength { needed, given: scratch.len() });
        }
        let frame = take(&mut scratch, frame_len(spec));
        let tables = FrameTables::new(spec, scratch)?;
        Ok(FeatureStream { spec, tables, frame, gathered: 0, skip: 0 })
    }

    /// Takes samples and calls `emit` with the row of each frame they complete. Row `k` covers the
    /// samples from `k * hop` to `k * hop + window`; there is no end to the rows.
    pub fn push(&mut self, samples: &[i16], mut emit: impl FnMut(&[f32])) {
        let mut rest = samples;
        while !rest.is_empty() {
            if self.skip > 0 {
                let left_out = self.skip.min(rest.len());
                self.skip -= left_out;
                rest = rest.get(left_out..).unwrap_or_default();
                continue;
            }
            let room = self.frame.get_mut(self.gathered..).unwrap_or_default();
            let taken = room.len().min(rest.len());
            for (to, &sample) in room.iter_mut().zip(rest) {
                *to = f32::from(sample) / 32768.0;
            }
            self.gathered += taken;
            rest = rest.get(taken..).unwrap_or_default();
            if self.gathered == self.frame.len() {
                emit(self.tables.row(self.spec, self.frame));
                self.begin_next_frame();
            }
        }
    }

    fn begin_next_frame(&mut self) {
        let window = self.frame.len();
        let hop = if self.spec.features == Features::Waveform { 1 } else { self.spec.hop as usize };
        self.frame.copy_within(hop.min(window).., 0);
        self.gathered = window - hop.min(window);
        self.skip = hop.saturating_sub(window);
    }

    /// Forgets the samples so far; the next one is the first of a frame.
    pub fn reset(&mut self) {
        self.gathered = 0;
        self.skip = 0;
    }
}

pub(super) const fn frame_len(spec: &AudioSpec) -> usize {
    if matches!(spec.features, Features::Waveform) { 1 } else { spec.window as usize }
}

impl AudioSpec {
    /// Values of `f32` scratch that [`FeatureStream::new`] and [`prepare`](AudioSpec::prepare) need:
    /// samples of a frame, window, mel filters and room for the spectrum. 0 when the spec is not usable.
    pub fn scratch_len(&self) -> usize {
        if self.check().is_err() { 0 } else { frame_len(self) + tables_len(self) }
    }

    /// The tensor of a recording at `sample_rate`: [`tensor_len`](AudioSpec::tensor_len) elements, row
    /// after row. A recording shorter than `clip_samples` is followed by zeros; of a longer one the
    /// `clip_samples` with the greatest energy are taken ([`loudest_window`]).
    ///
    /// # Errors
    /// [`Error::Spec`] from [`check`](AudioSpec::check); [`Error::OutputLength`],
    /// [`Error::ScratchLength`].
    pub fn prepare(&self, samples: &[i16], out: &mut Output<'_>, scratch: &mut [f32]) -> Result<(), Error> {
        let mut stream = FeatureStream::new(self, scratch)?;
        out.check_len(self.tensor_len())?;
        let begin = loudest_window(samples, self.clip_samples as usize);
        let clip = Clip { spec: self, samples: samples.get(begin..).unwrap_or_default() };
        if self.features != Features::Waveform && self.convention.range_db > 0.0 {
            clip.push_to(&mut stream, |_| {});
            stream.tables.keep_range(self);
            stream.reset();
        }
        let mut written = 0;
        let needed = self.tensor_len();
        clip.push_to(&mut stream, |row| {
            if written < needed {
                out.write(written, row);
                written += row.len();
            }
        });
        Ok(())
    }
}

/// A clip with what lies around it.
struct Clip<'a> {
    spec: &'a AudioSpec,
    /// Those from its first one on: of longer recordings the rest is no part of it, shorter ones are followed by zeros.
    samples: &'a [i16],
}

impl Clip<'_> {
    fn push_to(&self, stream: &mut FeatureStream<'_>, mut emit: impl FnMut(&[f32])) {
        let len = i64::from(self.spec.clip_samples);
        let hop = if self.spec.features == Features::Waveform { 1 } else { i64::from(self.spec.hop) };
        let mut block = [0; 64];
        let mut at = -self.spec.samples_before();
        // Behind the last frame.
        let end = at + (self.spec.frames() as i64 - 1) * hop + frame_len(self.spec) as i64;
        while at < end {
            let count = (end - at).min(block.len() as i64);
            for (to, at) in block.iter_mut().zip(at..at + count) {
                *to = self.sample(at, len);
            }
            stream.push(block.get(..count as usize).unwrap_or_default(), &mut emit);
            at += count;
        }
    }

    /// The sample at a place that may lie before the clip or behind it.
    fn sample(&self, at: i64, len: i64) -> i16 {
        let within = (0..len).contains(&at);
        let at = match self.spec.convention.padding {
            _ if within => at,
            Padding::Reflect if at < 0 => -at,
            Padding::Reflect => 2 * (len - 1) - at,
            Padding::Symmetric => match at.rem_euclid(2 * len) {
                at if at < len => at,
                mirrored => 2 * len - 1 - mirrored,
            },
            _ => return 0,
        };
        usize::try_from(at).ok().and_then(|at| self.samples.get(at)).copied().unwrap_or(0)
    }
}
