//! Recordings cut into the frames that a model hears one after another.

use std::path::{Path, PathBuf};

use cygnet_sense::audio::Runs;
use cygnet_sense::{AudioSpec, FeatureWindows, Output};

use super::{InputError, Sound, resampled};

/// The frames of some recordings, each recording a sequence.
#[derive(Debug)]
pub(super) struct Frames {
    /// The recordings, and the number of the first frame of each.
    files: Vec<(PathBuf, usize)>,
    /// All frames, one behind the other.
    values: Vec<f32>,
    len: usize,
}

impl Frames {
    /// Reads the recordings, each as it is heard run by run: a frame is what a run takes.
    pub(super) fn read(paths: Vec<PathBuf>, spec: &AudioSpec, runs: Runs) -> Result<Self, InputError> {
        let len = spec.tensor_len();
        let mut frames = Self { files: Vec::new(), values: Vec::new(), len };
        let mut scratch = vec![0.0; FeatureWindows::scratch_len(spec)];
        let before = vec![0; runs.silence_before(spec)];
        for path in paths {
            let refused = |error: cygnet_sense::Error| InputError::data(&path, error.to_string());
            let sound = Sound::open(&path)?;
            let samples = resampled(&sound.samples, sound.rate, spec.sample_rate).map_err(refused)?;
            let behind = vec![0; runs.silence_behind(samples.len() as u64) as usize];
            let mut windows = FeatureWindows::new(spec, runs.rows(spec), &mut scratch).map_err(refused)?;
            let first = frames.count();
            for part in [&before[..], &samples, &behind] {
                windows.push(part, |window| {
                    let begin = frames.values.len();
                    frames.values.resize(begin + len, 0.0);
                    window.write(&mut Output::F32(&mut frames.values[begin..]));
                });
            }
            frames.files.push((path, first));
        }
        Ok(frames)
    }

    pub(super) fn count(&self) -> usize {
        self.values.len() / self.len
    }

    pub(super) fn get(&self, index: usize) -> Option<&[f32]> {
        self.values.chunks_exact(self.len).nth(index)
    }

    /// The recording of a frame, and the frame's number in it.
    pub(super) fn place(&self, index: usize) -> Option<(&Path, usize)> {
        let file = self.files.partition_point(|(_, first)| *first <= index).checked_sub(1)?;
        self.files.get(file).filter(|_| index < self.count()).map(|(path, first)| (&**path, index - first))
    }
}
