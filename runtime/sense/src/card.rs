//! The card of a model, `MODEL.toml` beside `MODEL.onnx`: what it is, how its input is prepared, where it
//! comes from and how accurate it is. Needs `std`.

use std::collections::BTreeMap;
use std::path::Path;
use std::string::{String, ToString};
use std::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::BytesSpec;
use crate::audio::{AudioSpec, Runs};
use crate::boxes::BoxDecoder;
use crate::image::ImageSpec;
use crate::keypoints::KeypointDecoder;
use crate::mask::MaskDecoder;
use crate::speech::SpeechSpec;

mod audio;
mod boxes;
mod error;
mod evaluation;
mod image;
mod input;
mod keypoints;
mod mask;
mod speech;
mod text;

pub use audio::{AudioInput, AudioLayout, ConventionName};
pub use boxes::{Anchors, Boxes, Stride};
pub use error::CardError;
use error::{Refusal, refusal};
pub use evaluation::{Anomaly, Evaluation, MetricName};
pub use image::{FitName, ImageInput};
pub use input::{BytesInput, Input, TensorInput, TextInput};
pub use keypoints::Keypoints;
pub use mask::Mask;
pub use speech::Speech;
pub use text::{Text, TextDecoder};

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
    /// Where the points of a body are.
    Keypoints,
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
    /// How the first output tells where the points of a body are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keypoints: Option<Keypoints>,
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
        if let Some((axis, _)) = self.dims.iter().find(|(_, extent)| **extent == 0) {
            return Some((std::format!("dims.{axis}"), "at least 1".to_string()));
        }
        if let Some(boxes) = self.told_boxes() {
            if !matches!(self.input, Input::Image(_)) {
                return Some(refusal("kind", "\"image\" where there is [boxes]"));
            }
            if self.labels.is_empty() {
                return Some(("labels".to_string(), "given where there are boxes: their number is needed".to_string()));
            }
            if let Some(spec) = self.image_spec()
                && let Err(refusal) = boxes.decoder(self.labels.len(), spec.width, spec.height)
            {
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
        if let Some(keypoints) = &self.keypoints {
            if !matches!(self.input, Input::Image(_)) {
                return Some(refusal("kind", "\"image\" where there is [keypoints]"));
            }
            if self.told_boxes().is_some() || self.mask.is_some() {
                return Some(("keypoints".to_string(), "left out where there is [boxes] or [mask]".to_string()));
            }
            if let Some(refused) = keypoints.refusal() {
                return Some(refused);
            }
        }
        if self.cache.as_ref().is_some_and(|cache| !(1..1 << 24).contains(&cache.length)) {
            return Some(("cache.length".to_string(), "a number of tokens, 1 … 16,777,215".to_string()));
        }
        if self.speech.is_some() && !matches!(self.input, Input::Audio(_)) {
            return Some(refusal("kind", "\"audio\" where there is [speech]"));
        }
        if let Some(refused) = self.text.as_ref().and_then(|text| text.refusal(self.labels.len())) {
            return Some(refused);
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

    /// How a first output of this shape tells where points are; `None` where the card does not say it, or where the shape
    /// is none of the form.
    pub fn keypoint_decoder(&self, shape: &[u32]) -> Option<KeypointDecoder> {
        let spec = self.image_spec()?;
        self.keypoints.as_ref()?.decoder((spec.width, spec.height), shape)
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
