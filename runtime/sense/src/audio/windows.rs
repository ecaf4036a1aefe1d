use super::frame::take;
use super::spec::{AudioSpec, Features};
use super::stream::FeatureStream;
use crate::{Error, Output};

/// The model's window, sliding over sound that arrives bit by bit: the rows of the last clip, in a ring, and a
/// word whenever the window has moved by a step. What comes does not depend on how the sound is cut.
///
/// ```
/// use cygnet_sense::{AudioSpec, FeatureWindows, Output};
///
/// let spec = AudioSpec::new(8000);
/// let mut scratch = vec![0f32; FeatureWindows::scratch_len(&spec)];
/// let mut tensor = vec![0f32; spec.tensor_len()];
/// // 8 rows of 128 samples: 128 ms.
/// let mut windows = FeatureWindows::new(&spec, 8, &mut scratch)?;
/// let mut begins = Vec::new();
/// for block in [0i16; 10_000].chunks(160) {
///     windows.push(block, |window| {
///         window.write(&mut Output::F32(&mut tensor));
///         begins.push(window.begin());
///     });
/// }
/// assert_eq!(begins, [0, 1024, 2048]);
/// # Ok::<(), cygnet_sense::Error>(())
/// ```
#[derive(Debug)]
pub struct FeatureWindows<'a> {
    stream: FeatureStream<'a>,
    ring: Ring<'a>,
}

/// The rows of the last clip.
#[derive(Debug)]
struct Ring<'a> {
    rows: &'a mut [f32],
    /// Where the next row goes, which is where the oldest one lies.
    next: usize,
    /// Rows that are still missing to the next window.
    missing: usize,
    step_rows: usize,
    /// Samples from a row to the next.
    row_samples: u64,
    /// Where the next window begins, in samples.
    begin: u64,
}

/// A whole window: the features of one clip.
#[derive(Debug)]
pub struct Window<'w> {
    older: &'w [f32],
    newer: &'w [f32],
    begin: u64,
}

impl Window<'_> {
    /// The first sample it covers, counted from the first one of the stream.
    pub fn begin(&self) -> u64 {
        self.begin
    }

    /// Writes the tensor: [`tensor_len`](AudioSpec::tensor_len) elements, row after row.
    pub fn write(&self, out: &mut Output<'_>) {
        out.write(0, self.older);
        out.write(self.older.len(), self.newer);
    }
}

impl<'a> FeatureWindows<'a> {
    /// Values of `f32` scratch that [`new`](FeatureWindows::new) needs: those of the stream, and a tensor.
    pub fn scratch_len(spec: &AudioSpec) -> usize {
        spec.scratch_len() + spec.tensor_len()
    }

    /// What [`scratch_len`](FeatureWindows::scratch_len) will say of the spec in a plan's record
    /// ([`AudioSpec::to_bytes`]), for the length of an array in firmware; 0 when it is none. Can be called in a constant.
    pub const fn scratch_len_of(record: &[u8]) -> usize {
        match AudioSpec::lens_in(record) {
            Some((stream, tensor)) => stream + tensor,
            None => 0,
        }
    }

    /// Begins a stream in `scratch`, at least [`scratch_len`](FeatureWindows::scratch_len) values. A window is
    /// told every `step_rows` rows (at least 1), which are `step_rows * hop` samples, or `step_rows` samples of a
    /// waveform.
    ///
    /// # Errors
    /// [`Error::Spec`] from [`AudioSpec::check`]; [`Error::ScratchLength`].
    pub fn new(spec: &'a AudioSpec, step_rows: usize, mut scratch: &'a mut [f32]) -> Result<Self, Error> {
        spec.check()?;
        let (needed, given) = (Self::scratch_len(spec), scratch.len());
        if given < needed {
            return Err(Error::ScratchLength { needed, given });
        }
        let rows = take(&mut scratch, spec.tensor_len());
        let row_samples = if spec.features == Features::Waveform { 1 } else { u64::from(spec.hop) };
        let missing = spec.frames();
        let ring = Ring { rows, next: 0, missing, step_rows: step_rows.max(1), row_samples, begin: 0 };
        Ok(FeatureWindows { stream: FeatureStream::new(spec, scratch)?, ring })
    }

    /// Takes samples and calls `emit` with each window they complete.
    pub fn push(&mut self, samples: &[i16], mut emit: impl FnMut(Window<'_>)) {
        let Self { stream, ring } = self;
        stream.push(samples, |row| {
            if let Some(window) = ring.push(row) {
                emit(window);
            }
        });
    }
}

impl Ring<'_> {
    fn push(&mut self, row: &[f32]) -> Option<Window<'_>> {
        for (to, from) in self.rows.iter_mut().skip(self.next).zip(row) {
            *to = *from;
        }
        self.next += row.len();
        if self.next >= self.rows.len() {
            self.next = 0;
        }
        self.missing -= 1;
        if self.missing > 0 {
            return None;
        }
        self.missing = self.step_rows;
        let begin = self.begin;
        self.begin = begin.wrapping_add(self.step_rows as u64 * self.row_samples);
        let (newer, older) = self.rows.split_at_checked(self.next).unwrap_or_default();
        Some(Window { older, newer, begin })
    }
}
