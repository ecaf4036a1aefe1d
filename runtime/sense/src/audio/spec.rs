use super::convention::{Convention, Padding};
use super::frame::tables_len;
use super::stream::frame_len;
use crate::Error;
use crate::encoding::{Reader, Writer};

/// The most mel bands (and so feature values a frame).
pub const MAX_BANDS: usize = 128;

/// One value for all bands, or one for each.
pub type PerBand = heapless::Vec<f32, MAX_BANDS>;

/// What the model is fed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "card", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "card", serde(rename_all = "kebab-case"))]
pub enum Features {
    /// The samples, divided by 32768: tensor `[clip_samples]`.
    Waveform,
    /// `ln(max(power, floor))` of mel bands: tensor `[frames, mels]`.
    #[default]
    LogMel,
    /// The first `coefficients` of the orthonormal DCT-II of a log-mel frame: tensor `[frames, coefficients]`.
    Mfcc,
}

/// How mel relates to Hz.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "card", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "card", serde(rename_all = "kebab-case"))]
pub enum MelScale {
    /// `2595 log10(1 + f / 700)`, as in HTK.
    #[default]
    Htk,
    /// Linear below 1 kHz, logarithmic above, as in Slaney's Auditory Toolbox.
    Slaney,
}

/// How mel filters are weighted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "card", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "card", serde(rename_all = "kebab-case"))]
pub enum MelNorm {
    /// Every triangle has height 1.
    #[default]
    None,
    /// Every triangle has area 1 (over Hz).
    Slaney,
}

/// Everything between 16-bit sound and the feature tensor of a model.
///
/// Samples are divided by 32768. Frames of `window` samples, `hop` apart, begin at the first sample
/// (nothing is padded in front); each is multiplied by a periodic Hann window, followed by zeros up to
/// `fft`; `|X|²` of bins 0 to `fft / 2` goes through triangular mel filters: all that as long as
/// `convention` tells nothing else. In the end `feature = (value - mean) * scale`, where `mean` and `scale`
/// have one value or one per value of a row (per mel band, or per coefficient for MFCC).
#[derive(Debug, Clone, PartialEq)]
pub struct AudioSpec {
    /// Samples a second, 1000 to 192000.
    pub sample_rate: u32,
    /// Samples of a clip, up to 2^24.
    pub clip_samples: u32,
    /// What is computed.
    pub features: Features,
    /// Samples of a frame, 2 to `fft`.
    pub window: u32,
    /// Samples from one frame to the next.
    pub hop: u32,
    /// Length of the Fourier transform: a power of two from 64 to 2048.
    pub fft: u32,
    /// Mel bands, 1 to 128.
    pub mels: u32,
    /// Where the first band begins, Hz.
    pub mel_low_hz: f32,
    /// Where the last band ends, Hz; at most half the sample rate.
    pub mel_high_hz: f32,
    /// How mel relates to Hz.
    pub mel_scale: MelScale,
    /// How mel filters are weighted.
    pub mel_norm: MelNorm,
    /// The smallest power the logarithm sees.
    pub floor: f32,
    /// For MFCC: values of a row, 1 to `mels`.
    pub coefficients: u32,
    /// Taken from each value; one or one per value of a row.
    pub mean: PerBand,
    /// Multiplied then; one or one per value of a row.
    pub scale: PerBand,
    /// In what the front end differs from others.
    pub convention: Convention,
}

/// An encoded [`AudioSpec`].
pub type AudioRecord = heapless::Vec<u8, { AudioSpec::MOST_BYTES }>;

/// Of the plain convention, which is not written.
const VERSION: u8 = 1;
const VERSION_WITH_CONVENTION: u8 = 2;
const FEATURES: [Features; 3] = [Features::Waveform, Features::LogMel, Features::Mfcc];
const MEL_SCALES: [MelScale; 2] = [MelScale::Htk, MelScale::Slaney];
const MEL_NORMS: [MelNorm; 2] = [MelNorm::None, MelNorm::Slaney];
const HEAD_BYTES: usize = 4 + 7 * 4 + 3 * 4 + 2 * 4;

impl AudioSpec {
    /// Size of the encoded record of the plain convention.
    pub const BYTES: usize = HEAD_BYTES + 2 * MAX_BANDS * 4;
    /// Size of the encoded record of any other.
    pub const MOST_BYTES: usize = Self::BYTES + Convention::BYTES;

    /// Log-mel features of one second: 32 ms windows (`fft` of 256 at 8 kHz, 512 at 16 kHz) 16 ms
    /// apart, 40 HTK bands from 60 Hz to just under half the rate, floor 1e-6, mean 0, scale 1.
    pub fn new(sample_rate: u32) -> Self {
        let fft = (sample_rate / 32).next_power_of_two().clamp(64, 2048);
        AudioSpec {
            sample_rate,
            clip_samples: sample_rate,
            features: Features::LogMel,
            window: fft,
            hop: fft / 2,
            fft,
            mels: 40,
            mel_low_hz: 60.0,
            mel_high_hz: sample_rate as f32 * 0.475,
            mel_scale: MelScale::Htk,
            mel_norm: MelNorm::None,
            floor: 1e-6,
            coefficients: 10,
            mean: per_band(0.0),
            scale: per_band(1.0),
            convention: Convention::PLAIN,
        }
    }

    /// Frames of a clip: `1 + (clip_samples - window) / hop`; as many as `padding` tells, where it does. A waveform has a
    /// frame per sample.
    pub const fn frames(&self) -> usize {
        if matches!(self.features, Features::Waveform) {
            return self.clip_samples as usize;
        }
        if self.hop == 0 {
            return 0;
        }
        let len = if matches!(self.convention.padding, Padding::Inside) { self.fft } else { self.window };
        let frames = match self.convention.padding {
            Padding::None | Padding::Inside if self.clip_samples < len => 0,
            Padding::None | Padding::Inside => (self.clip_samples - len) / self.hop + 1,
            Padding::Zeros | Padding::Reflect => self.clip_samples / self.hop + 1,
            Padding::Symmetric => self.clip_samples.saturating_add(self.hop / 2) / self.hop,
        };
        frames as usize
    }

    /// How many samples of a clip's first frame lie before the clip; fewer than none where it begins later.
    pub(super) fn samples_before(&self) -> i64 {
        let [fft, window, hop] = [self.fft, self.window, self.hop].map(i64::from);
        match self.convention.padding {
            _ if self.features == Features::Waveform => 0,
            Padding::None => 0,
            // The middle of the transform is the first sample.
            Padding::Zeros | Padding::Reflect => fft / 2 - (fft - window) / 2,
            Padding::Symmetric => window / 2 - hop / 2,
            Padding::Inside => -((fft - window) / 2),
        }
    }

    /// Values of a row: `mels`, `coefficients`, or 1 for a waveform.
    pub const fn row_len(&self) -> usize {
        match self.features {
            Features::Waveform => 1,
            Features::LogMel => self.mels as usize,
            Features::Mfcc => self.coefficients as usize,
        }
    }

    /// Number of elements of the tensor: `frames * row_len`, row after row.
    pub const fn tensor_len(&self) -> usize {
        self.frames().saturating_mul(self.row_len())
    }

    /// Whether the fields are usable together. Those of the spectrum do not matter for a waveform, and
    /// `coefficients` matters for MFCC only.
    ///
    /// # Errors
    /// [`Error::Spec`] names the first field that is not, and what it must be.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |field, mend| Err(Error::Spec { field, mend });
        if !(1000..=192_000).contains(&self.sample_rate) {
            return refuse("sample_rate", "between 1000 and 192000 Hz");
        }
        if self.clip_samples == 0 || self.clip_samples > 1 << 24 {
            return refuse("clip_samples", "between 1 and 16777216");
        }
        if self.features != Features::Waveform {
            self.check_spectrum()?;
            self.convention.check()?;
        }
        let one_or_each = |values: &PerBand| values.len() == 1 || values.len() == self.row_len();
        if !one_or_each(&self.mean) || !self.mean.iter().all(|v| v.is_finite()) {
            return refuse("mean", "one finite number, or one for each value of a row");
        }
        if !one_or_each(&self.scale) || !self.scale.iter().all(|v| v.is_finite() && *v != 0.0) {
            return refuse("scale", "one finite number other than 0, or one for each value of a row");
        }
        Ok(())
    }

    fn check_spectrum(&self) -> Result<(), Error> {
        let refuse = |field, mend| Err(Error::Spec { field, mend });
        if !self.fft.is_power_of_two() || !(64..=2048).contains(&self.fft) {
            return refuse("fft", "a power of two from 64 to 2048");
        }
        if !(2..=self.fft).contains(&self.window) || self.window > self.clip_samples {
            return refuse("window", "at least 2, and at most `fft` and `clip_samples`");
        }
        if self.convention.padding == Padding::Inside && self.fft > self.clip_samples {
            return refuse("fft", "at most `clip_samples` where `padding` is \"inside\"");
        }
        if self.convention.energy && self.features != Features::Mfcc {
            return refuse("energy", "left out, or `features` be \"mfcc\"");
        }
        if self.hop == 0 || self.hop > 1 << 24 {
            return refuse("hop", "between 1 and 16777216");
        }
        if self.mels == 0 || self.mels as usize > MAX_BANDS {
            return refuse("mels", "between 1 and 128");
        }
        if !(self.mel_low_hz >= 0.0 && self.mel_low_hz < self.mel_high_hz) {
            return refuse("mel_low_hz", "0 or more, and below `mel_high_hz`");
        }
        // Also false for NaN.
        let within = self.mel_high_hz <= self.sample_rate as f32 / 2.0;
        if !within {
            return refuse("mel_high_hz", "at most half of `sample_rate`");
        }
        if !(self.floor > 0.0 && self.floor.is_finite()) {
            return refuse("floor", "a finite number above 0");
        }
        if self.features == Features::Mfcc && !(1..=self.mels).contains(&self.coefficients) {
            return refuse("coefficients", "between 1 and `mels`");
        }
        Ok(())
    }

    /// The record that a plan stores: little-endian, with a version; [`AudioSpec::BYTES`] long, or
    /// [`AudioSpec::MOST_BYTES`] where the convention is not the plain one.
    pub fn to_bytes(&self) -> AudioRecord {
        let is_plain = self.convention == Convention::PLAIN;
        let mut bytes = AudioRecord::new();
        // There is room for either.
        let _ = bytes.resize(if is_plain { Self::BYTES } else { Self::MOST_BYTES }, 0);
        let mut writer = Writer::new(&mut bytes);
        writer.u8(if is_plain { VERSION } else { VERSION_WITH_CONVENTION });
        writer.u8(self.features as u8);
        writer.u8(self.mel_scale as u8);
        writer.u8(self.mel_norm as u8);
        for value in
            [self.sample_rate, self.clip_samples, self.window, self.hop, self.fft, self.mels, self.coefficients]
        {
            writer.u32(value);
        }
        for value in [self.mel_low_hz, self.mel_high_hz, self.floor] {
            writer.f32(value);
        }
        for values in [&self.mean, &self.scale] {
            writer.u32(values.len() as u32);
            for k in 0..MAX_BANDS {
                writer.f32(values.get(k).copied().unwrap_or(0.0));
            }
        }
        if !is_plain {
            self.convention.write(&mut writer);
        }
        bytes
    }

    /// Reads the record back and checks it.
    ///
    /// # Errors
    /// [`Error::Encoding`] when it is no such record, [`Error::Spec`] when a field is not usable.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let size = match bytes.first() {
            Some(&VERSION_WITH_CONVENTION) => Self::MOST_BYTES,
            Some(&VERSION) => Self::BYTES,
            _ => return Err(Error::Encoding { problem: "an unknown version" }),
        };
        let mut reader = Reader::new(bytes, size)?;
        let _ = reader.u8()?;
        let mut spec = AudioSpec {
            features: reader.choice(&FEATURES)?,
            mel_scale: reader.choice(&MEL_SCALES)?,
            mel_norm: reader.choice(&MEL_NORMS)?,
            sample_rate: reader.u32()?,
            clip_samples: reader.u32()?,
            window: reader.u32()?,
            hop: reader.u32()?,
            fft: reader.u32()?,
            mels: reader.u32()?,
            coefficients: reader.u32()?,
            mel_low_hz: reader.f32()?,
            mel_high_hz: reader.f32()?,
            floor: reader.f32()?,
            mean: read_per_band(&mut reader)?,
            scale: read_per_band(&mut reader)?,
            convention: Convention::PLAIN,
        };
        if size == Self::MOST_BYTES {
            spec.convention = Convention::read(&mut reader)?;
        }
        spec.check()?;
        Ok(spec)
    }

    /// Values of scratch for a stream and elements of the tensor of the spec in a record, whose fields are not checked.
    pub(super) const fn lens_in(record: &[u8]) -> Option<(usize, usize)> {
        let Some((&[version, features, _, _, ref words @ ..], _)) = record.split_first_chunk::<HEAD_BYTES>() else {
            return None;
        };
        let mut convention = Convention::PLAIN;
        let size = match version {
            VERSION => Self::BYTES,
            VERSION_WITH_CONVENTION => Self::MOST_BYTES,
            _ => return None,
        };
        let mut values = [0; 7];
        let (mut rest, mut k) = (words.as_slice(), 0);
        while k < values.len() {
            let Some((word, later)) = rest.split_first_chunk::<4>() else { return None };
            (values[k], rest, k) = (u32::from_le_bytes(*word), later, k + 1);
        }
        if features as usize >= FEATURES.len() || record.len() != size {
            return None;
        }
        if version == VERSION_WITH_CONVENTION {
            let padding = record[Self::BYTES + Convention::PADDING_BYTE] as usize;
            if padding >= Padding::ALL.len() {
                return None;
            }
            convention.padding = Padding::ALL[padding];
        }
        let [sample_rate, clip_samples, window, hop, fft, mels, coefficients] = values;
        if features != Features::Waveform as u8 && (fft > 2048 || window > fft || mels as usize > MAX_BANDS) {
            return None;
        }
        let spec = AudioSpec {
            features: FEATURES[features as usize],
            sample_rate,
            clip_samples,
            window,
            hop,
            fft,
            mels,
            coefficients,
            mel_low_hz: 0.0,
            mel_high_hz: 0.0,
            mel_scale: MelScale::Htk,
            mel_norm: MelNorm::None,
            floor: 0.0,
            mean: PerBand::new(),
            scale: PerBand::new(),
            convention,
        };
        let lens = (frame_len(&spec) + tables_len(&spec), spec.tensor_len());
        // Constants drop nothing.
        core::mem::forget(spec);
        Some(lens)
    }

    /// `(value - mean) * scale` along a row.
    pub(crate) fn normalise(&self, row: &mut [f32]) {
        for (k, value) in row.iter_mut().enumerate() {
            *value = (*value - value_for(&self.mean, k, 0.0)) * value_for(&self.scale, k, 1.0);
        }
    }
}

/// One value for all bands.
pub(crate) fn per_band(value: f32) -> PerBand {
    core::iter::once(value).collect()
}

fn value_for(values: &PerBand, band: usize, otherwise: f32) -> f32 {
    let index = if values.len() == 1 { 0 } else { band };
    values.get(index).copied().unwrap_or(otherwise)
}

fn read_per_band(reader: &mut Reader<'_>) -> Result<PerBand, Error> {
    let len = reader.u32()? as usize;
    if len > MAX_BANDS {
        return Err(Error::Encoding { problem: "more bands than 128" });
    }
    let mut values = PerBand::new();
    for k in 0..MAX_BANDS {
        let value = reader.f32()?;
        if k < len {
            // There is room for MAX_BANDS.
            let _ = values.push(value);
        }
    }
    Ok(values)
}
