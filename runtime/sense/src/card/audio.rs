//! The card's `[input]` of `kind = "audio"`: how sound is prepared.

use std::string::String;
use std::vec::Vec;

use serde::{Deserialize, Serialize};

use super::error::{Refusal, from_spec, refusal};
use super::input::{one, zero};
use crate::MAX_BANDS;
use crate::audio::{
    AudioSpec, Convention, CosineScale, Features, FloorRule, Logarithm, MelNorm, MelScale, Padding, PerBand, Sides,
    Spectrum, WindowFunction,
};

/// `kind = "audio"`; the fields are those of [`AudioSpec`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudioInput {
    /// Which input of the model; the first when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Samples a second.
    pub sample_rate: u32,
    /// Samples of a clip.
    pub clip_samples: u32,
    /// What is computed.
    pub features: Features,
    /// Samples of a frame; needed but for `waveform`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u32>,
    /// Samples from one frame to the next; needed but for `waveform`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop: Option<u32>,
    /// Length of the Fourier transform: the power of two from `window` up when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fft: Option<u32>,
    /// Mel bands; needed but for `waveform`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mels: Option<u32>,
    /// Where the first band begins, Hz: 0 when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mel_low_hz: Option<f64>,
    /// Where the last band ends, Hz: half of `sample_rate` when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mel_high_hz: Option<f64>,
    /// How mel relates to Hz: `htk` when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mel_scale: Option<MelScale>,
    /// How mel filters are weighted: `none` when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mel_norm: Option<MelNorm>,
    /// The smallest power the logarithm sees: 1e-6 when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
    /// Whose front end it is; the fields below, `floor`, `mel_low_hz`, `mel_scale` and `mel_norm` then need not be given
    /// where they are as there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convention: Option<ConventionName>,
    /// What a frame is multiplied by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_function: Option<WindowFunction>,
    /// Where the frames of a clip lie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub padding: Option<Padding>,
    /// What samples of full scale become.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_scale: Option<f64>,
    /// Whether the mean of a frame's samples is taken from them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remove_mean: Option<bool>,
    /// How much of the sample before is taken from each sample of a frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_emphasis: Option<f64>,
    /// What is added up in bands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spectrum: Option<Spectrum>,
    /// Over what the sides of mel filters are straight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mel_sides: Option<Sides>,
    /// The logarithm of bands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logarithm: Option<Logarithm>,
    /// What `floor` does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor_rule: Option<FloorRule>,
    /// How far below the greatest band of a clip others may lie, in decibels; 0 for any distance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range_db: Option<f64>,
    /// How the cosine transform of `mfcc` is scaled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cosine_scale: Option<CosineScale>,
    /// Liftering of `mfcc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifter: Option<f64>,
    /// 0 or 1: the number of the first coefficient in the formula of liftering.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifter_from: Option<u8>,
    /// Whether the first coefficient is the energy's logarithm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy: Option<bool>,
    /// Values of a row; needed for `mfcc`, refused elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coefficients: Option<u32>,
    /// Taken from each value, one or one per value of a row: 0 when not given.
    #[serde(default = "zero")]
    pub mean: Vec<f64>,
    /// Multiplied then, one value or one per value of a row: 1 when not given.
    #[serde(default = "one")]
    pub scale: Vec<f64>,
    /// Order of the axes; there is one.
    #[serde(default)]
    pub layout: AudioLayout,
}

/// Whose front end is meant, see [`Convention`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConventionName {
    /// [`Convention::LIBROSA`], Slaney's scale and norm, a floor of 1e-10.
    Librosa,
    /// [`Convention::TENSORFLOW`].
    TensorFlow,
    /// [`Convention::KALDI`], bands from 20 Hz on, a floor of 2^-23.
    Kaldi,
}

/// What is usual where a convention is named: bands from where on, scale and norm, floor, and all else.
fn usual(name: Option<ConventionName>) -> (f32, MelScale, MelNorm, f32, Convention) {
    let (scale, norm) = (MelScale::default(), MelNorm::default());
    match name {
        None => (0.0, scale, norm, 1e-6, Convention::default()),
        Some(ConventionName::Librosa) => (0.0, MelScale::Slaney, MelNorm::Slaney, 1e-10, Convention::LIBROSA),
        Some(ConventionName::TensorFlow) => (0.0, scale, norm, 1e-6, Convention::TENSORFLOW),
        Some(ConventionName::Kaldi) => (20.0, scale, norm, f32::EPSILON, Convention::KALDI),
    }
}

/// Order of the axes of a sound's tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AudioLayout {
    /// `[.., frames, mels]`.
    #[default]
    TimeMel,
}

impl AudioInput {
    pub(super) fn spec(&self) -> Result<AudioSpec, Refusal> {
        let spectral = self.features != Features::Waveform;
        let needed = |field, value: Option<u32>| match value {
            None if spectral => Err(refusal(field, "given for log-mel and mfcc features")),
            value => Ok(value.unwrap_or(0)),
        };
        let window = needed("window", self.window)?;
        let coefficients = match (self.features, self.coefficients) {
            (Features::Mfcc, None) => return Err(refusal("coefficients", "given for mfcc features")),
            (Features::Mfcc, Some(given)) => given,
            (_, Some(_)) => return Err(refusal("coefficients", "left out, or `features` be \"mfcc\"")),
            (_, None) => 0,
        };
        let bands = |field, values: &[f64]| -> Result<PerBand, Refusal> {
            let bands = values.iter().map(|value| *value as f32);
            if values.len() > MAX_BANDS {
                return Err(refusal(field, "one number, or one for each value of a row"));
            }
            Ok(bands.collect())
        };
        let (low_hz, mel_scale, mel_norm, floor, _) = usual(self.convention);
        let spec = AudioSpec {
            sample_rate: self.sample_rate,
            clip_samples: self.clip_samples,
            features: self.features,
            window,
            hop: needed("hop", self.hop)?,
            fft: self.fft.unwrap_or_else(|| window.checked_next_power_of_two().unwrap_or(0)),
            mels: needed("mels", self.mels)?,
            mel_low_hz: self.mel_low_hz.map_or(low_hz, |hz| hz as f32),
            mel_high_hz: self.mel_high_hz.map_or(self.sample_rate as f32 / 2.0, |hz| hz as f32),
            mel_scale: self.mel_scale.unwrap_or(mel_scale),
            mel_norm: self.mel_norm.unwrap_or(mel_norm),
            floor: self.floor.map_or(floor, |floor| floor as f32),
            coefficients,
            mean: bands("mean", &self.mean)?,
            scale: bands("scale", &self.scale)?,
            convention: self.convention(),
        };
        spec.check().map_err(from_spec)?;
        Ok(spec)
    }

    fn convention(&self) -> Convention {
        let (.., usual) = usual(self.convention);
        let number = |given: Option<f64>, usual| given.map_or(usual, |given| given as f32);
        Convention {
            window: self.window_function.unwrap_or(usual.window),
            padding: self.padding.unwrap_or(usual.padding),
            full_scale: number(self.full_scale, usual.full_scale),
            remove_mean: self.remove_mean.unwrap_or(usual.remove_mean),
            pre_emphasis: number(self.pre_emphasis, usual.pre_emphasis),
            spectrum: self.spectrum.unwrap_or(usual.spectrum),
            sides: self.mel_sides.unwrap_or(usual.sides),
            logarithm: self.logarithm.unwrap_or(usual.logarithm),
            floor_rule: self.floor_rule.unwrap_or(usual.floor_rule),
            range_db: number(self.range_db, usual.range_db),
            cosine_scale: self.cosine_scale.unwrap_or(usual.cosine_scale),
            lifter: number(self.lifter, usual.lifter),
            lifter_from: self.lifter_from.unwrap_or(usual.lifter_from),
            energy: self.energy.unwrap_or(usual.energy),
        }
    }
}
