//! In what the front ends of sound differ from each other: those of librosa, TensorFlow and Kaldi, and others.

use core::f64::consts::PI;

use crate::Error;
use crate::encoding::{Reader, Writer};

macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident),* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
            #[cfg_attr(feature = "card", derive(serde::Serialize, serde::Deserialize))]
            #[cfg_attr(feature = "card", serde(rename_all = "kebab-case"))]
            pub enum $name {
                $($(#[$variant_doc])* $variant),*
            }

            impl $name {
                pub(super) const ALL: &[Self] = &[$(Self::$variant),*];
            }
        )*
    };
}

choices! {
    /// What a frame is multiplied by; N is `window`.
    WindowFunction {
        /// `0.5 - 0.5 cos(2πn / N)`, the periodic Hann window.
        #[default]
        Hann,
        /// `0.5 - 0.5 cos(2πn / (N - 1))`.
        HannSymmetric,
        /// `0.54 - 0.46 cos(2πn / N)`.
        Hamming,
        /// `0.54 - 0.46 cos(2πn / (N - 1))`.
        HammingSymmetric,
        /// The symmetric Hann window to the power of 0.85, as in Kaldi.
        Povey,
        /// 1.
        Rectangular
    }

    /// Where the frames of a clip lie.
    Padding {
        /// The first begins with the first sample, the last ends within the clip.
        #[default]
        None,
        /// The middle of the first is the first sample: librosa's `center`. Zeros lie around the clip.
        Zeros,
        /// The same with the clip mirrored at its first and its last sample around it.
        Reflect,
        /// Each frame lies around the middle of its hop, and the clip is mirrored at its edges, the first and the last
        /// sample too: Kaldi without `snip_edges`.
        Symmetric,
        /// The whole transform of each frame lies within the clip, the frame in its middle: librosa without `center`
        /// where `window` is shorter than `fft`.
        Inside
    }

    /// What of each frequency is added up in bands.
    Spectrum {
        /// `|X|²`.
        #[default]
        Power,
        /// `|X|`.
        Magnitude
    }

    /// Over what the sides of mel filters are straight.
    Sides {
        /// Over Hz, as in librosa.
        #[default]
        Hertz,
        /// Over mels, as in TensorFlow and Kaldi.
        Mel
    }

    /// The logarithm.
    Logarithm {
        /// To the base e.
        #[default]
        Natural,
        /// To the base 10.
        Decimal,
        /// `10 log10`.
        Decibels
    }

    /// What `floor` does.
    FloorRule {
        /// Smaller values become the floor.
        #[default]
        Least,
        /// The floor is added to each value.
        Added
    }

    /// How the cosine transform of MFCC is scaled.
    CosineScale {
        /// `√(1 / mels)` for the first coefficient, `√(2 / mels)` for the others.
        #[default]
        Orthonormal,
        /// `√(2 / mels)` for all, as in HTK and TensorFlow.
        Uniform
    }
}

impl WindowFunction {
    /// The weight of sample `n` of a window of `len`.
    pub(super) fn weight(self, n: usize, len: u32) -> f32 {
        let cosine = |period: f64| libm::cos(2.0 * PI * n as f64 / period.max(1.0));
        let (periodic, symmetric) = (f64::from(len), f64::from(len) - 1.0);
        (match self {
            WindowFunction::Hann => 0.5 - 0.5 * cosine(periodic),
            WindowFunction::HannSymmetric => 0.5 - 0.5 * cosine(symmetric),
            WindowFunction::Hamming => 0.54 - 0.46 * cosine(periodic),
            WindowFunction::HammingSymmetric => 0.54 - 0.46 * cosine(symmetric),
            WindowFunction::Povey => libm::pow(0.5 - 0.5 * cosine(symmetric), 0.85),
            WindowFunction::Rectangular => 1.0,
        }) as f32
    }
}

/// In what front ends differ; the default is the plainest one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Convention {
    /// What a frame is multiplied by.
    pub window: WindowFunction,
    /// Where the frames of a clip lie. A stream has no edges: its first frame begins with its first sample.
    pub padding: Padding,
    /// What samples of full scale become: 1, or 32768 as in Kaldi.
    pub full_scale: f32,
    /// Whether the mean of a frame's samples is taken from them.
    pub remove_mean: bool,
    /// How much of the sample before is taken from each sample of a frame; of the first one itself. 0 for nothing.
    pub pre_emphasis: f32,
    /// What is added up in bands.
    pub spectrum: Spectrum,
    /// Over what the sides of mel filters are straight.
    pub sides: Sides,
    /// The logarithm of bands.
    pub logarithm: Logarithm,
    /// What `floor` does.
    pub floor_rule: FloorRule,
    /// Bands that are so many decibels below the greatest one of a clip are raised to that (librosa's `top_db`); 0 for
    /// nothing, as where `floor` is added. A stream has no end: it goes by `floor` alone.
    pub range_db: f32,
    /// How the cosine transform is scaled.
    pub cosine_scale: CosineScale,
    /// MFCC: coefficient k is multiplied by `1 + lifter / 2 · sin(π (k + lifter_from) / lifter)`; 0 for nothing.
    pub lifter: f32,
    /// 0 as in Kaldi, 1 as in librosa.
    pub lifter_from: u8,
    /// MFCC: whether the first coefficient is the logarithm of the energy of the frame, before pre-emphasis and window.
    pub energy: bool,
}

impl Default for Convention {
    fn default() -> Self {
        Self::PLAIN
    }
}

/// The smallest energy that the logarithm sees: the distance from 1 to the next `f32`, as in Kaldi.
const LEAST_ENERGY: f32 = f32::EPSILON;

impl Convention {
    /// Bytes of the encoded record.
    pub(super) const BYTES: usize = 11 + 4 * 4;
    /// Where in them `padding` stands.
    pub(super) const PADDING_BYTE: usize = 1;

    /// Periodic Hann windows without padding, power, natural logarithms.
    pub(super) const PLAIN: Self = Self {
        window: WindowFunction::Hann,
        padding: Padding::None,
        full_scale: 1.0,
        remove_mean: false,
        pre_emphasis: 0.0,
        spectrum: Spectrum::Power,
        sides: Sides::Hertz,
        logarithm: Logarithm::Natural,
        floor_rule: FloorRule::Least,
        range_db: 0.0,
        cosine_scale: CosineScale::Orthonormal,
        lifter: 0.0,
        lifter_from: 0,
        energy: false,
    };

    /// As `librosa.feature.melspectrogram`, `power_to_db` and `mfcc` compute it; with Slaney's scale and norm and a floor
    /// of 1e-10 their defaults (<https://librosa.org/doc/0.11.0/feature.html>).
    pub const LIBROSA: Self =
        Self { padding: Padding::Zeros, logarithm: Logarithm::Decibels, range_db: 80.0, lifter_from: 1, ..Self::PLAIN };

    /// As `tf.signal.stft`, `linear_to_mel_weight_matrix`, `log(x + 1e-6)` and `mfccs_from_log_mel_spectrograms` compute
    /// it (<https://www.tensorflow.org/api_docs/python/tf/signal/mfccs_from_log_mel_spectrograms>).
    pub const TENSORFLOW: Self = Self {
        spectrum: Spectrum::Magnitude,
        sides: Sides::Mel,
        floor_rule: FloorRule::Added,
        cosine_scale: CosineScale::Uniform,
        ..Self::PLAIN
    };

    /// As Kaldi's `compute-fbank-feats` and `compute-mfcc-feats` compute it by default, without dither and with
    /// `--use-energy=false` (<https://kaldi-asr.org/doc/feat.html>).
    pub const KALDI: Self = Self {
        window: WindowFunction::Povey,
        full_scale: 32768.0,
        remove_mean: true,
        pre_emphasis: 0.97,
        sides: Sides::Mel,
        lifter: 22.0,
        ..Self::PLAIN
    };

    pub(super) fn check(&self) -> Result<(), Error> {
        let refuse = |field, mend| Err(Error::Spec { field, mend });
        if !(self.full_scale > 0.0 && self.full_scale <= 65536.0) {
            return refuse("full_scale", "above 0, at most 65536");
        }
        if !(0.0..=1.0).contains(&self.pre_emphasis) {
            return refuse("pre_emphasis", "within 0 and 1");
        }
        if !(0.0..=200.0).contains(&self.range_db) {
            return refuse("range_db", "within 0 and 200");
        }
        if self.range_db != 0.0 && self.floor_rule == FloorRule::Added {
            return refuse("range_db", "0 where `floor_rule` is \"added\"");
        }
        if !(0.0..=1000.0).contains(&self.lifter) {
            return refuse("lifter", "within 0 and 1000");
        }
        if self.lifter_from > 1 {
            return refuse("lifter_from", "0 or 1");
        }
        Ok(())
    }

    /// What happens to the samples of a frame before the window; gives the logarithm of their energy, where that is told.
    pub(super) fn condition(&self, samples: &mut [f32]) -> Option<f32> {
        if self.full_scale != 1.0 {
            samples.iter_mut().for_each(|sample| *sample *= self.full_scale);
        }
        if self.remove_mean {
            let mean = samples.iter().fold(0.0, |sum, sample| sum + sample) / samples.len().max(1) as f32;
            samples.iter_mut().for_each(|sample| *sample -= mean);
        }
        let energy = || samples.iter().fold(0.0, |sum, sample| sum + sample * sample);
        let energy = self.energy.then(|| libm::logf(energy().max(LEAST_ENERGY)) * self.log_scale());
        if self.pre_emphasis != 0.0 {
            let mut before = samples.first().copied().unwrap_or_default();
            for sample in samples {
                let now = *sample;
                *sample -= self.pre_emphasis * before;
                before = now;
            }
        }
        energy
    }

    /// What the natural logarithm is multiplied by.
    pub(super) fn log_scale(&self) -> f32 {
        match self.logarithm {
            Logarithm::Natural => 1.0,
            Logarithm::Decimal => core::f32::consts::LOG10_E,
            Logarithm::Decibels => 10.0 * core::f32::consts::LOG10_E,
        }
    }

    /// What coefficient `k` is multiplied by.
    pub(super) fn lift(&self, k: usize) -> f32 {
        if self.lifter == 0.0 {
            return 1.0;
        }
        let lifter = f64::from(self.lifter);
        let turn = PI * (k as f64 + f64::from(self.lifter_from)) / lifter;
        // The sine, by the one trigonometric function that firmware holds already.
        (1.0 + lifter / 2.0 * libm::cos(turn - PI / 2.0)) as f32
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        let choices = [
            self.window as u8,
            self.padding as u8,
            self.spectrum as u8,
            self.sides as u8,
            self.logarithm as u8,
            self.floor_rule as u8,
            self.cosine_scale as u8,
            u8::from(self.remove_mean),
            u8::from(self.energy),
            self.lifter_from,
            0,
        ];
        choices.into_iter().for_each(|choice| writer.u8(choice));
        for value in [self.full_scale, self.pre_emphasis, self.range_db, self.lifter] {
            writer.f32(value);
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let read = Self {
            window: reader.choice(WindowFunction::ALL)?,
            padding: reader.choice(Padding::ALL)?,
            spectrum: reader.choice(Spectrum::ALL)?,
            sides: reader.choice(Sides::ALL)?,
            logarithm: reader.choice(Logarithm::ALL)?,
            floor_rule: reader.choice(FloorRule::ALL)?,
            cosine_scale: reader.choice(CosineScale::ALL)?,
            remove_mean: reader.choice(&[false, true])?,
            energy: reader.choice(&[false, true])?,
            lifter_from: reader.u8()?,
            ..Self::PLAIN
        };
        let _ = reader.u8()?;
        Ok(Self {
            full_scale: reader.f32()?,
            pre_emphasis: reader.f32()?,
            range_db: reader.f32()?,
            lifter: reader.f32()?,
            ..read
        })
    }
}
