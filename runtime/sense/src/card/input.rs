//! The card's `[input]`: what the model is fed with.

use std::string::String;
use std::vec::Vec;

use serde::{Deserialize, Serialize};

use super::error::{Refusal, from_spec};
use super::{AudioInput, ImageInput};
use crate::BytesSpec;

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
    pub(super) fn spec(&self) -> Result<BytesSpec, Refusal> {
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

pub(super) fn zero() -> Vec<f64> {
    std::vec![0.0]
}

pub(super) fn one() -> Vec<f64> {
    std::vec![1.0]
}
