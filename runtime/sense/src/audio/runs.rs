use super::convention::Padding;
use super::spec::{AudioSpec, Features};
use crate::Error;

/// How a model hears sound of any length, run by run. A run takes a clip: its last `hop` samples are new, those before
/// were in the clip of the run before. In front of a sound lies silence, so that its first `hop` samples make a run, and
/// silence fills the last one.
///
/// ```
/// use cygnet_sense::{AudioSpec, audio::Runs};
///
/// // 13 rows, 8 of them new.
/// let spec = AudioSpec { clip_samples: 256 + 12 * 128, ..AudioSpec::new(8000) };
/// let runs = Runs { hop: 8 * 128, tail: 4000 };
/// runs.check(&spec)?;
/// assert_eq!((runs.rows(&spec), runs.silence_before(&spec)), (8, 5 * 128 + 128));
/// // 12,192 samples are heard in 12 runs.
/// assert_eq!(runs.silence_behind(8192), 12 * 1024 - 8192);
/// # Ok::<(), cygnet_sense::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runs {
    /// Samples from one run to the next.
    pub hop: u32,
    /// Samples of silence that are heard behind a sound, at least.
    pub tail: u32,
}

impl Runs {
    /// Whether a model that is fed so can be run so.
    ///
    /// # Errors
    /// [`Error::Spec`] names the field that cannot be used, and what it must be.
    pub fn check(&self, spec: &AudioSpec) -> Result<(), Error> {
        let refuse = |field, mend| Err(Error::Spec { field, mend });
        if self.hop == 0 {
            return refuse("hop", "at least 1");
        }
        if self.hop > spec.clip_samples {
            return refuse("hop", "at most `clip_samples`");
        }
        if !self.hop.is_multiple_of(row_samples(spec)) {
            return refuse("hop", "a multiple of `hop` of the input: whole rows are new in a run");
        }
        if spec.features != Features::Waveform && spec.convention.padding != Padding::None {
            return refuse("padding", "\"none\" where a model hears sound run by run");
        }
        Ok(())
    }

    /// Rows of features that are new in a run, as [`FeatureWindows`](crate::FeatureWindows) steps.
    pub fn rows(&self, spec: &AudioSpec) -> usize {
        (self.hop / row_samples(spec)) as usize
    }

    /// Samples of silence in front of a sound.
    pub fn silence_before(&self, spec: &AudioSpec) -> usize {
        spec.clip_samples.saturating_sub(self.hop) as usize
    }

    /// Samples of silence behind a sound of so many samples.
    pub fn silence_behind(&self, samples: u64) -> u64 {
        let heard = samples.saturating_add(u64::from(self.tail));
        heard.checked_next_multiple_of(u64::from(self.hop)).unwrap_or(heard) - samples
    }
}

fn row_samples(spec: &AudioSpec) -> u32 {
    if spec.features == Features::Waveform { 1 } else { spec.hop.max(1) }
}
