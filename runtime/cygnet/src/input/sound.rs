//! WAV files.

use std::borrow::Cow;
use std::path::Path;

use cygnet_sense::Resampler;
use hound::{SampleFormat, WavReader};

use super::InputError;

/// A mono recording of 16 bits.
#[derive(Clone, Debug, PartialEq)]
pub struct Sound {
    /// The samples.
    pub samples: Vec<i16>,
    /// Samples a second.
    pub rate: u32,
}

impl Sound {
    /// Reads a WAV file: whole numbers of 8, 16, 24 or 32 bits or floats of 32, any number of channels, which
    /// are averaged.
    ///
    /// # Errors
    /// [`InputError::File`], [`InputError::Sound`] also for a recording without a sample.
    pub fn open(path: &Path) -> Result<Self, InputError> {
        let refused = |problem: String| InputError::Sound { path: path.to_path_buf(), problem };
        let file = std::fs::File::open(path).map_err(InputError::file(path))?;
        let explain = |error: hound::Error| match error {
            hound::Error::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => ends_early(),
            // What hound says at the end of a file.
            hound::Error::IoError(error) if error.kind() == std::io::ErrorKind::Other => ends_early(),
            error => format!("{error}; give a WAV file of 8 to 32-bit PCM or 32-bit float"),
        };
        let mut reader = WavReader::new(std::io::BufReader::new(file)).map_err(|error| refused(explain(error)))?;
        let format = reader.spec();
        let channels = usize::from(format.channels.max(1));
        let samples = match format.sample_format {
            SampleFormat::Float => mixed(reader.samples::<f32>().map(|s| s.map(f64::from)), channels),
            SampleFormat::Int => {
                let full = 2f64.powi(i32::from(format.bits_per_sample) - 1);
                mixed(reader.samples::<i32>().map(|s| s.map(|s| f64::from(s) / full)), channels)
            }
        };
        let samples = samples.map_err(|error| refused(explain(error)))?;
        if samples.is_empty() {
            return Err(refused("it has no samples; record it again, or take it out of the set".into()));
        }
        Ok(Self { samples, rate: format.sample_rate })
    }
}

fn ends_early() -> String {
    "it ends before its header says; copy or record it again".into()
}

/// Averages the channels of each moment and rounds to 16 bits. The header's length is not trusted with memory.
fn mixed(samples: impl Iterator<Item = hound::Result<f64>>, channels: usize) -> hound::Result<Vec<i16>> {
    let mut mono = Vec::new();
    let (mut sum, mut gathered) = (0.0, 0);
    for sample in samples {
        sum += sample?;
        gathered += 1;
        if gathered == channels {
            // The cast saturates, and makes NaN zero.
            mono.push((sum / channels as f64 * 32768.0).round_ties_even() as i16);
            (sum, gathered) = (0.0, 0);
        }
    }
    Ok(mono)
}

/// The same sound at another rate.
///
/// # Errors
/// [`cygnet_sense::Error::SampleRate`] when a rate is outside of 4 to 192 kHz.
pub fn resampled(samples: &[i16], from: u32, to: u32) -> Result<Cow<'_, [i16]>, cygnet_sense::Error> {
    if from == to {
        return Ok(Cow::Borrowed(samples));
    }
    let mut scratch = vec![0.0; Resampler::scratch_len(from, to)?];
    let mut resampler = Resampler::new(from, to, &mut scratch)?;
    let mut out = Vec::new();
    resampler.push(samples, |sample| out.push(sample));
    resampler.finish(|sample| out.push(sample));
    Ok(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hound::{WavSpec, WavWriter};

    fn written(folder: &Path, name: &str, format: WavSpec, samples: &[i32]) -> std::path::PathBuf {
        let path = folder.join(name);
        let mut writer = WavWriter::create(&path, format).unwrap();
        for &sample in samples {
            match format.sample_format {
                SampleFormat::Int => writer.write_sample(sample).unwrap(),
                SampleFormat::Float => writer.write_sample(sample as f32 / 32768.0).unwrap(),
            }
        }
        writer.finalize().unwrap();
        path
    }

    fn format(channels: u16, bits_per_sample: u16, sample_format: SampleFormat) -> WavSpec {
        WavSpec { channels, sample_rate: 8000, bits_per_sample, sample_format }
    }

    #[test]
    fn every_depth_becomes_16_bits() {
        use SampleFormat::{Float, Int};
        let folder = tempfile::tempdir().unwrap();
        // Worked by hand: full scale of each depth to that of 16 bits.
        let cases = [
            (8, Int, [64, -128, 0], [16384, -32768, 0]),
            (16, Int, [1, -32768, 32767], [1, -32768, 32767]),
            (24, Int, [256, -8388608, 8388607], [1, -32768, 32767]),
            (32, Int, [65536, i32::MIN, i32::MAX], [1, -32768, 32767]),
            (32, Float, [16384, -32768, 65536], [16384, -32768, 32767]),
        ];
        for (bits, kind, samples, expected) in cases {
            let path = written(folder.path(), &format!("{bits}{kind:?}.wav"), format(1, bits, kind), &samples);
            let sound = Sound::open(&path).unwrap();
            assert_eq!((&sound.samples[..], sound.rate), (&expected[..], 8000), "{bits} {kind:?}");
        }
    }

    #[test]
    fn channels_are_averaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path(), "two.wav", format(2, 16, SampleFormat::Int), &[100, 300, -32768, -32768]);
        assert_eq!(Sound::open(&path).unwrap().samples, [200, -32768]);
    }

    #[test]
    fn broken_files_are_named_with_the_mend() {
        let folder = tempfile::tempdir().unwrap();
        let whole = written(folder.path(), "whole.wav", format(1, 16, SampleFormat::Int), &[5; 1000]);
        let bytes = std::fs::read(whole).unwrap();
        let none = written(folder.path(), "none.wav", format(1, 16, SampleFormat::Int), &[]);
        let message = Sound::open(&none).unwrap_err().to_string();
        assert!(message.contains("none.wav") && message.contains("no samples"), "{message}");
        let cases: [(&str, &[u8], &str); 4] = [
            ("empty.wav", b"", "ends before"),
            ("short.wav", &bytes[..500], "ends before"),
            ("head.wav", &bytes[..30], "ends before"),
            ("text.wav", b"this is no recording at all", "RIFF"),
        ];
        for (name, bytes, expected) in cases {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let message = Sound::open(&path).unwrap_err().to_string();
            assert!(message.contains(name) && message.contains(expected), "{message}");
        }
    }
}
