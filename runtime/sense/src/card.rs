//! The card of a model, `MODEL.toml` beside `MODEL.onnx`: what it is, how its input is prepared, where it
//! comes from and how accurate it is. Needs `std`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::string::{String, ToString};
use std::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::audio::{
    AudioSpec, Convention, CosineScale, Features, FloorRule, Logarithm, MelNorm, MelScale, Padding, PerBand, Runs,
    Sides, Spectrum, WindowFunction,
};
use crate::boxes::BoxDecoder;
use crate::image::{Colour, Filter, Fit, ImageSpec, Layout};
use crate::mask::MaskDecoder;
use crate::speech::{SpeechSpec, samples_of};
use crate::{BytesSpec, Error, MAX_BANDS};

mod boxes;
mod mask;

pub use boxes::{Anchors, Boxes, Stride};
pub use mask::Mask;

/// Why a card cannot be used.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    /// The file cannot be read.
    #[error("the card {path} cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no TOML, or a field is unknown, missing or of another type.
    #[error("the card{} is not written as a card: {source}", in_file(.path))]
    Syntax {
        /// The file, when it came from one.
        path: Option<PathBuf>,
        /// Where and why.
        source: std::boxed::Box<toml::de::Error>,
    },
    /// A field cannot be used.
    #[error("the card{}: `{field}` must be {mend}", in_file(.path))]
    Field {
        /// The file, when it came from one.
        path: Option<PathBuf>,
        /// The field, with its table.
        field: String,
        /// What would be accepted.
        mend: String,
    },
}

fn in_file(path: &Option<PathBuf>) -> String {
    path.as_ref().map(|path| std::format!(" {}", path.display())).unwrap_or_default()
}

/// What a model answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// A score for each label.
    Classification,
    /// Boxes with scores and classes.
    Detection,
    /// A class for each pixel.
    Segmentation,
    /// A vector that describes the input.
    Features,
    /// The tokens that go on with a text, one after the other.
    Generation,
    /// Something else.
    Other,
}

/// The card of a model.
///
/// ```
/// let card = cygnet_sense::Card::parse(r#"
///     name = "digits"
///     task = "classification"
///     [input]
///     kind = "image"
///     width = 28
///     height = 28
///     colour = "grey"
/// "#)?;
/// assert_eq!(card.image_spec().map(|spec| spec.tensor_len()), Some(784));
/// # Ok::<(), cygnet_sense::CardError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// A short name.
    pub name: String,
    /// What the model answers.
    pub task: Task,
    /// One line about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Names of the classes in the order of the output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// What the model is fed with.
    pub input: Input,
    /// How the outputs become boxes, where the task is detection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boxes: Option<Boxes>,
    /// How the first output tells a class for each pixel, where the task is segmentation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<Mask>,
    /// How the first output becomes text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Text>,
    /// How the first output tells where in a sound there is speech.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speech: Option<Speech>,
    /// Extents of the model's open axes, by the name of the axis or `input:axis`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dims: BTreeMap<String, u32>,
    /// Outputs that are fed back as inputs of the next run, by the name of the input; where the table is absent, names
    /// of inputs and outputs such as `state` and `stateN` tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub states: Option<BTreeMap<String, String>>,
    /// What a decoder keeps of the tokens before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
    /// How answers are measured, where the task does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Evaluation>,
    /// Where data and code come from: free keys, commonly `data`, `licence`, `code`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub source: BTreeMap<String, toml::Value>,
    /// What was measured: free keys, commonly `metric`, `float`, `samples`, `set`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub accuracy: BTreeMap<String, toml::Value>,
}

/// What a decoder keeps of the tokens before: `[cache]`. Its memory is taken whole in the beginning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// The greatest number of tokens, from 1 on.
    pub length: u32,
    /// Whether the oldest make room where there are more; otherwise the run fails that would be the next.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub slides: bool,
}

/// How answers are measured: `[evaluation]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// What is measured: `top1` for classification and `cosine` for all else when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<MetricName>,
    /// Only with `keyword`: the labels that are no keyword, as `silence` and `unknown`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub negatives: Vec<String>,
    /// Only with `auc`: what the anomaly score is; `reconstruction` when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anomaly: Option<Anomaly>,
    /// The same as `[boxes]`, as older cards have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boxes: Option<Boxes>,
}

/// How the output becomes text: `[text]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// The form of the output.
    pub decoder: TextDecoder,
    /// With `ctc`: the class that stands for no character; 0 when not given.
    #[serde(default)]
    pub blank: u32,
    /// With `ctc`: how many texts the search keeps, see [`search_ctc`](crate::ctc::search_ctc); where it is not given, or
    /// 0, the likeliest class of each moment is taken.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub beams: u16,
    /// For spoken text: samples from one run to the next, see [`Runs`]. What the model keeps from run to run goes on through
    /// a sound. Where it is not given, the model is run once, on a clip or a picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop: Option<u32>,
    /// With `hop`: how much silence is heard behind a sound, for models that tell a word only when it is over; none when
    /// not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail_ms: Option<u32>,
    /// With `hop`: after how much time without a character a word is over, should none that begins with a space follow;
    /// 500 when not given. Where each label is a whole word, 0 tells it without delay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_ms: Option<u32>,
}

impl Text {
    /// How spoken text is heard, where it is.
    fn runs(&self, audio: &AudioSpec) -> Result<Option<Runs>, Refusal> {
        let in_table = |field: &str, mend: &str| (std::format!("text.{field}"), mend.to_string());
        let Some(hop) = self.hop else {
            return match (self.tail_ms, self.pause_ms) {
                (None, None) => Ok(None),
                (Some(_), _) => Err(in_table("tail_ms", "left out, or `hop` be given")),
                _ => Err(in_table("pause_ms", "left out, or `hop` be given")),
            };
        };
        if self.beams > 0 {
            return Err(in_table("beams", "left out where `hop` is given: a search may yet change what it has read"));
        }
        let runs = Runs { hop, tail: self.tail_ms.map_or(0, |ms| samples_of(ms, audio.sample_rate)) };
        match runs.check(audio) {
            Err(Error::Spec { field: "hop", mend }) => Err(in_table("hop", mend)),
            Err(other) => Err(from_spec(other)),
            Ok(()) => Ok(Some(runs)),
        }
    }
}

fn is_zero(number: &u16) -> bool {
    *number == 0
}

/// The form of an output that is text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TextDecoder {
    /// Scores `[time, classes]`, see [`read_ctc`](crate::answers::read_ctc); `labels` are the characters.
    Ctc,
}

/// How the first output tells where in a sound there is speech: `[speech]`. The input is a waveform; what the model
/// keeps from run to run goes on from frame to frame. What is not given is as in [`SpeechSpec::new`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Speech {
    /// Which value of the output is the probability of speech: the first when not given.
    #[serde(default)]
    pub class: u32,
    /// Samples from one frame to the next: `clip_samples` when not given. Where it is less, a frame begins with the last
    /// samples of the frame before; in front of the sound lie zeros.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop: Option<u32>,
    /// The probability from which on a frame begins speech.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
    /// The probability below which a frame may end it: 0.15 below `threshold` when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<f32>,
    /// Shorter speech is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_speech_ms: Option<u32>,
    /// Shorter silence belongs to the speech around it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_silence_ms: Option<u32>,
    /// How much is added at both ends of a segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub padding_ms: Option<u32>,
}

impl Speech {
    fn spec(&self, audio: &AudioSpec) -> Result<SpeechSpec, Refusal> {
        let in_table = |field: &str, mend: &str| (std::format!("speech.{field}"), mend.to_string());
        if audio.features != Features::Waveform {
            return Err(refusal("features", "\"waveform\" where there is [speech]"));
        }
        let hop = self.hop.unwrap_or(audio.clip_samples);
        if let Err(Error::Spec { mend, .. }) = (Runs { hop, tail: 0 }).check(audio) {
            return Err(in_table("hop", mend));
        }
        let usual = SpeechSpec::new(audio.sample_rate, hop);
        let samples = |given: Option<u32>, usual| given.map_or(usual, |ms| samples_of(ms, audio.sample_rate));
        let threshold = self.threshold.unwrap_or(usual.threshold);
        let spec = SpeechSpec {
            threshold,
            release: self.release.unwrap_or(SpeechSpec::release_of(threshold)),
            hop,
            least_speech: samples(self.least_speech_ms, usual.least_speech),
            least_silence: samples(self.least_silence_ms, usual.least_silence),
            padding: samples(self.padding_ms, usual.padding),
        };
        match spec.check() {
            Err(Error::Spec { field: "padding", .. }) => {
                Err(in_table("padding_ms", "at most half of `least_silence_ms`"))
            }
            Err(Error::Spec { field, mend }) => Err(in_table(field, mend)),
            _ => Ok(spec),
        }
    }
}

/// What is measured on labelled samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MetricName {
    /// Share of right first answers.
    Top1,
    /// The same, and how often something else is taken for a keyword.
    Keyword,
    /// How well the anomaly score tells label 0 (normal) from all others: the area under the receiver operating
    /// characteristic.
    Auc,
    /// Mean average precision of boxes, at an intersection over union of 0.5 and over 0.5 to 0.95, as COCO does it.
    AveragePrecision,
    /// The int8 model's output against the float model's; needs no labels.
    Cosine,
}

/// How an output becomes an anomaly score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Anomaly {
    /// Mean squared difference between the first input and the first output, which has its size.
    #[default]
    Reconstruction,
    /// The first number of the first output.
    Output,
}

/// What the model is fed with, by `kind`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Input {
    /// Pictures.
    Image(ImageInput),
    /// Sound.
    Audio(AudioInput),
    /// Text.
    Text(TextInput),
    /// Bytes of files of any kind.
    Bytes(BytesInput),
    /// Tensors as they are.
    Tensor(TensorInput),
}

/// `kind = "image"`; the fields are those of [`ImageSpec`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageInput {
    /// Which input of the model; the first when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Width of the tensor.
    pub width: u32,
    /// Height of the tensor.
    pub height: u32,
    /// Order of the channels: `rgb` when not given.
    #[serde(default)]
    pub colour: Colour,
    /// Layout of the tensor: `nchw` when not given.
    #[serde(default)]
    pub layout: Layout,
    /// How the aspect ratio is treated: `stretch` when not given.
    #[serde(default)]
    pub fit: FitName,
    /// Only with `fit = "crop"`: the larger of `width` and `height` when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize_shorter: Option<u32>,
    /// How pixels are resampled: `bilinear` when not given.
    #[serde(default)]
    pub filter: Filter,
    /// Taken from each pixel, one value or one per channel: 0 when not given.
    #[serde(default = "zero")]
    pub mean: Vec<f64>,
    /// Multiplied then, one value or one per channel: 1 when not given.
    #[serde(default = "one")]
    pub scale: Vec<f64>,
}

/// [`Fit`] as the card names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FitName {
    /// [`Fit::Stretch`].
    #[default]
    Stretch,
    /// [`Fit::Crop`].
    Crop,
    /// [`Fit::Pad`].
    Pad,
    /// [`Fit::Line`].
    Line,
}

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

/// `kind = "text"`: tokens, as many as the model's input is long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextInput {
    /// Which input takes the tokens' numbers: `input_ids`, else the first, when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The tokenizer, `tokenizer.json` as Hugging Face's tokenizers have it; a path from the model's folder.
    pub tokenizer: String,
    /// Which input takes 1 where a token is no padding: `attention_mask`, where there is one, when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<String>,
    /// The token that ends a text, where the model goes on with texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// Which input takes the tokens' kinds: `token_type_ids`, where there is one, when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub types: Option<String>,
}

/// `kind = "bytes"`; the fields are those of [`BytesSpec`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BytesInput {
    /// Which input of the model; the first when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How many bytes from the beginning of a file.
    pub first: u32,
    /// How many bytes from its end: 0 when not given.
    #[serde(default)]
    pub last: u32,
    /// How many bytes at either end are looked at: the larger of `first` and `last` when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<u32>,
    /// What stands where there is no byte: 0 when not given.
    #[serde(default)]
    pub padding: u32,
}

impl BytesInput {
    fn spec(&self) -> Result<BytesSpec, Refusal> {
        let &Self { first, last, padding, .. } = self;
        let spec = BytesSpec { first, last, block: self.block.unwrap_or(first.max(last)), padding };
        spec.check().map_err(from_spec)?;
        Ok(spec)
    }
}

/// `kind = "tensor"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorInput {
    /// Which input of the model; the first when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

fn zero() -> Vec<f64> {
    std::vec![0.0]
}

fn one() -> Vec<f64> {
    std::vec![1.0]
}

/// A field and what it must be.
type Refusal = (String, String);

fn refusal(field: &str, mend: &str) -> Refusal {
    (std::format!("input.{field}"), mend.to_string())
}

fn from_spec(error: Error) -> Refusal {
    match error {
        Error::Spec { field, mend } => refusal(field, mend),
        other => ("input".to_string(), other.to_string()),
    }
}

impl Card {
    /// Reads and checks a card file.
    ///
    /// # Errors
    /// [`CardError`], naming the file and the field.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, CardError> {
        let path = path.as_ref();
        let text =
            std::fs::read_to_string(path).map_err(|source| CardError::Read { path: path.to_path_buf(), source })?;
        Self::read(&text, Some(path))
    }

    /// Reads and checks the text of a card.
    ///
    /// # Errors
    /// [`CardError::Syntax`] and [`CardError::Field`].
    pub fn parse(text: &str) -> Result<Self, CardError> {
        Self::read(text, None)
    }

    fn read(text: &str, path: Option<&Path>) -> Result<Self, CardError> {
        let path = path.map(Path::to_path_buf);
        let card: Card = match toml::from_str(text) {
            Ok(card) => card,
            Err(source) => return Err(CardError::Syntax { path, source: source.into() }),
        };
        match card.refusal() {
            None => Ok(card),
            Some((field, mend)) => Err(CardError::Field { path, field, mend }),
        }
    }

    /// Whether all fields can be used; a card that was read can.
    ///
    /// # Errors
    /// [`CardError::Field`].
    pub fn check(&self) -> Result<(), CardError> {
        self.refusal().map_or(Ok(()), |(field, mend)| Err(CardError::Field { path: None, field, mend }))
    }

    fn refusal(&self) -> Option<Refusal> {
        if self.name.trim().is_empty() {
            return Some(("name".to_string(), "a name".to_string()));
        }
        let stranger = |label: &&String| !self.labels.contains(label);
        if let Some(stranger) = self.evaluation.iter().flat_map(|wanted| &wanted.negatives).find(stranger) {
            let mend = std::format!("a list of names in `labels`; \"{stranger}\" is none");
            return Some(("evaluation.negatives".to_string(), mend));
        }
        if let Some((boxes, spec)) = self.told_boxes().zip(self.image_spec()) {
            if self.labels.is_empty() {
                return Some(("labels".to_string(), "given where there are boxes: their number is needed".to_string()));
            }
            if let Err(refusal) = boxes.decoder(self.labels.len(), spec.width, spec.height) {
                return Some(refusal);
            }
        }
        if let Some(mask) = &self.mask {
            if !matches!(self.input, Input::Image(_)) {
                return Some(refusal("kind", "\"image\" where there is [mask]"));
            }
            if self.told_boxes().is_some() {
                return Some(("mask".to_string(), "left out where there is [boxes]".to_string()));
            }
            if let Some(refused) = mask.refusal(self.labels.len()) {
                return Some(refused);
            }
        }
        if self.cache.as_ref().is_some_and(|cache| !(1..1 << 24).contains(&cache.length)) {
            return Some(("cache.length".to_string(), "a number of tokens, 1 … 16,777,215".to_string()));
        }
        if self.speech.is_some() && !matches!(self.input, Input::Audio(_)) {
            return Some(refusal("kind", "\"audio\" where there is [speech]"));
        }
        if self.text.as_ref().is_some_and(|text| text.hop.is_some()) && !matches!(self.input, Input::Audio(_)) {
            return Some(refusal("kind", "\"audio\" where [text] has a `hop`"));
        }
        match &self.input {
            Input::Image(image) => image.spec().err(),
            Input::Audio(audio) => match audio.spec() {
                Ok(spec) => self.refused_sound(&spec),
                Err(refused) => Some(refused),
            },
            Input::Text(text) if text.tokenizer.trim().is_empty() => Some(refusal("tokenizer", "the name of a file")),
            Input::Bytes(bytes) => bytes.spec().err(),
            Input::Text(_) | Input::Tensor(_) => None,
        }
    }

    /// What of `[speech]` and `[text]` does not fit the sound.
    fn refused_sound(&self, spec: &AudioSpec) -> Option<Refusal> {
        if self.speech.is_some() && self.text.is_some() {
            return Some(("text".to_string(), "left out where there is [speech]".to_string()));
        }
        let speech = self.speech.as_ref().and_then(|speech| speech.spec(spec).err());
        speech.or_else(|| self.text.as_ref().and_then(|text| text.runs(spec).err()))
    }

    /// The text of the card; [`Card::parse`] reads it back.
    pub fn to_toml(&self) -> String {
        // Fails only for values that TOML does not have, and a card holds none.
        toml::to_string(self).unwrap_or_default()
    }

    /// How pictures are prepared, when the model is fed with pictures and the fields are usable.
    pub fn image_spec(&self) -> Option<ImageSpec> {
        if let Input::Image(image) = &self.input { image.spec().ok() } else { None }
    }

    /// How sound is prepared, when the model is fed with sound and the fields are usable.
    pub fn audio_spec(&self) -> Option<AudioSpec> {
        if let Input::Audio(audio) = &self.input { audio.spec().ok() } else { None }
    }

    /// Which bytes of files are taken, when the model is fed with them and the fields are usable.
    pub fn bytes_spec(&self) -> Option<BytesSpec> {
        if let Input::Bytes(bytes) = &self.input { bytes.spec().ok() } else { None }
    }

    /// When speech begins and ends, where the card says so and the fields are usable.
    pub fn speech_spec(&self) -> Option<SpeechSpec> {
        self.speech.as_ref()?.spec(&self.audio_spec()?).ok()
    }

    /// How sound of any length is heard run by run, where the card says that the output tells speech in it or, with `hop`,
    /// text, and the fields are usable.
    pub fn runs(&self) -> Option<Runs> {
        match (self.speech_spec(), &self.text) {
            (Some(speech), _) => Some(Runs { hop: speech.hop, tail: 0 }),
            (None, Some(text)) => text.runs(&self.audio_spec()?).ok()?,
            _ => None,
        }
    }

    /// How outputs become boxes, where the card says so and the model is fed with pictures.
    pub fn box_decoder(&self) -> Option<BoxDecoder> {
        let spec = self.image_spec()?;
        self.told_boxes()?.decoder(self.labels.len(), spec.width, spec.height).ok()
    }

    /// How a first output of this shape tells a class for each pixel; `None` where the card does not say it, or where the
    /// shape is none of the form.
    pub fn mask_decoder(&self, shape: &[u32]) -> Option<MaskDecoder> {
        let spec = self.image_spec()?;
        self.mask.as_ref()?.decoder(self.labels.len(), (spec.width, spec.height), shape)
    }

    fn told_boxes(&self) -> Option<&Boxes> {
        self.boxes.as_ref().or_else(|| self.evaluation.as_ref()?.boxes.as_ref())
    }

    /// How text becomes tokens, when the model is fed with text.
    pub fn text_input(&self) -> Option<&TextInput> {
        if let Input::Text(text) = &self.input { Some(text) } else { None }
    }

    /// Which input of the model is meant; the first when `None`.
    pub fn input_name(&self) -> Option<&str> {
        match &self.input {
            Input::Image(ImageInput { name, .. })
            | Input::Audio(AudioInput { name, .. })
            | Input::Text(TextInput { name, .. })
            | Input::Bytes(BytesInput { name, .. })
            | Input::Tensor(TensorInput { name }) => name.as_deref(),
        }
    }
}

impl ImageInput {
    fn spec(&self) -> Result<ImageSpec, Refusal> {
        let larger = self.width.max(self.height);
        let fit = match (self.fit, self.resize_shorter) {
            (FitName::Crop, shorter) => Fit::Crop { resize_shorter: shorter.unwrap_or(larger) },
            (_, Some(_)) => return Err(refusal("resize_shorter", "left out, or `fit` be \"crop\"")),
            (FitName::Stretch, None) => Fit::Stretch,
            (FitName::Pad, None) => Fit::Pad,
            (FitName::Line, None) => Fit::Line,
        };
        let channels = |field, values: &[f64]| match *values {
            [all] => Ok([all as f32; 3]),
            [r, g, b] if self.colour != Colour::Grey => Ok([r as f32, g as f32, b as f32]),
            _ => Err(refusal(field, "one number, or one for each channel of `colour`")),
        };
        let spec = ImageSpec {
            width: self.width,
            height: self.height,
            colour: self.colour,
            layout: self.layout,
            fit,
            filter: self.filter,
            mean: channels("mean", &self.mean)?,
            scale: channels("scale", &self.scale)?,
        };
        spec.check().map_err(from_spec)?;
        Ok(spec)
    }
}

impl AudioInput {
    fn spec(&self) -> Result<AudioSpec, Refusal> {
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
