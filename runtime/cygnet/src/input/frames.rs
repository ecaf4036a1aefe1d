//! Recordings cut into the frames that a model hears one after another.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use cygnet_sense::{AudioSpec, Output};

use super::{InputError, Sound, resampled};

/// The frames of some recordings, each recording a sequence. One recording is in memory at a time.
#[derive(Debug)]
pub(super) struct Frames {
    /// The recordings, and the number of the first frame of each.
    files: Vec<(PathBuf, usize)>,
    count: usize,
    spec: AudioSpec,
    hop: usize,
    /// The recording that was read last, by its number.
    open: Mutex<Option<(usize, Arc<[i16]>)>>,
}

impl Frames {
    /// Counts the frames of the recordings; one begins every `hop` samples. In front of a recording, and behind it to the
    /// end of the last frame, lies silence.
    pub(super) fn of(paths: Vec<PathBuf>, spec: &AudioSpec, hop: u32) -> Result<Self, InputError> {
        let hop = hop.max(1) as usize;
        let mut frames = Self { files: Vec::new(), count: 0, spec: spec.clone(), hop, open: Mutex::new(None) };
        for path in paths {
            let samples = read(&path, spec)?;
            frames.files.push((path, frames.count));
            frames.count += samples.len().div_ceil(hop);
        }
        Ok(frames)
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The recording of a frame, and the frame's number in it.
    pub(super) fn place(&self, index: usize) -> Option<(&Path, usize)> {
        let file = self.file(index)?;
        self.files.get(file).map(|(path, first)| (&**path, index - first))
    }

    fn file(&self, index: usize) -> Option<usize> {
        let file = self.files.partition_point(|(_, first)| *first <= index).checked_sub(1)?;
        (index < self.count).then_some(file)
    }

    /// The tensor of a frame; `None` where there is no such frame.
    pub(super) fn tensor(&self, index: usize) -> Result<Option<Vec<f32>>, InputError> {
        let Some((file, (path, frame))) = self.file(index).zip(self.place(index)) else { return Ok(None) };
        let samples = self.recording(file, path)?;
        let clip = self.spec.clip_samples as usize;
        // The frame ends where the next one's new samples begin.
        let end = (frame + 1) * self.hop;
        let sample = |at: usize| at.checked_sub(clip).and_then(|at| samples.get(at)).copied().unwrap_or(0);
        let clip: Vec<i16> = (end..end + clip).map(sample).collect();
        let mut values = vec![0.0; self.spec.tensor_len()];
        let mut scratch = vec![0.0; self.spec.scratch_len()];
        let made = self.spec.prepare(&clip, &mut Output::F32(&mut values), &mut scratch);
        made.map_err(|error| InputError::data(path, error.to_string()))?;
        Ok(Some(values))
    }

    fn recording(&self, file: usize, path: &Path) -> Result<Arc<[i16]>, InputError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((there, samples)) = &*open
            && *there == file
        {
            return Ok(samples.clone());
        }
        let samples: Arc<[i16]> = read(path, &self.spec)?.into();
        *open = Some((file, samples.clone()));
        Ok(samples)
    }
}

/// A recording at the model's rate.
fn read(path: &Path, spec: &AudioSpec) -> Result<Vec<i16>, InputError> {
    let sound = Sound::open(path)?;
    let samples = resampled(&sound.samples, sound.rate, spec.sample_rate);
    Ok(samples.map_err(|error| InputError::data(path, error.to_string()))?.into_owned())
}
