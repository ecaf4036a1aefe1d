//! Text to tokens: the numbers, the mask of what is no padding, and the kind of each token.

use std::path::{Path, PathBuf};

use cygnet_sense::card::TextInput;
use tokenizers::{PaddingParams, PaddingStrategy, Tokenizer, TruncationParams};

use super::{Array, DataSet, ElementType, InputError, InputSpec};

/// The inputs of a model that takes text, in the order that its card tells.
struct Roles {
    /// Position of the tokens' numbers.
    ids: usize,
    /// Position of the mask, 1 where a token is no padding.
    mask: Option<usize>,
    /// Position of the tokens' kinds, 0 for a first and 1 for a second sentence.
    types: Option<usize>,
}

impl Roles {
    fn of(spec: &TextInput, inputs: &[InputSpec]) -> Result<Roles, InputError> {
        let find = |name: &str| inputs.iter().position(|input| input.name == name);
        let named = |name: Option<&str>, usual: &str| match name {
            None => Ok(find(usual)),
            Some(name) => find(name).map(Some).ok_or_else(|| {
                let known: Vec<_> = inputs.iter().map(|input| format!("\"{}\"", input.name)).collect();
                InputError::Card(format!("it names the input \"{name}\"; the model has {}", known.join(", ")))
            }),
        };
        let ids = named(spec.name.as_deref(), "input_ids")?.unwrap_or(0);
        let (mask, types) =
            (named(spec.mask.as_deref(), "attention_mask")?, named(spec.types.as_deref(), "token_type_ids")?);
        let known = [Some(ids), mask, types];
        match (0..inputs.len()).find(|index| !known.contains(&Some(*index))) {
            None => Ok(Roles { ids, mask, types }),
            Some(other) => Err(InputError::Card(format!(
                "text gives tokens, their mask and their kinds; the input \"{}\" is none of them",
                inputs[other].name
            ))),
        }
    }
}

/// Samples from text: the lines of a `.txt` file, or the text that stands in the place of a file's name. `folder` is the
/// model's, where the tokenizer lies.
pub(crate) fn data_set(
    path: &Path,
    folder: &Path,
    spec: &TextInput,
    inputs: Vec<InputSpec>,
) -> Result<DataSet, InputError> {
    if !path.is_file() {
        return of_texts(&[path.to_string_lossy().into_owned()], folder, spec, inputs);
    }
    let text = std::fs::read_to_string(path).map_err(InputError::file(path))?;
    let lines: Vec<String> = text.lines().filter(|line| !line.trim().is_empty()).map(str::to_string).collect();
    if lines.is_empty() {
        return Err(InputError::data(path, "it has no line of text"));
    }
    of_texts(&lines, folder, spec, inputs)
}

/// A sample from each text, named after it.
pub(crate) fn of_texts(
    texts: &[String],
    folder: &Path,
    spec: &TextInput,
    inputs: Vec<InputSpec>,
) -> Result<DataSet, InputError> {
    let tokenizer = folder.join(&spec.tokenizer);
    let arrays = tokens(&tokenizer, spec, &inputs, texts)?;
    DataSet::of_texts(&tokenizer, texts, arrays, inputs)
}

/// The words of a decoder: tokens from text and back.
#[derive(Debug)]
pub struct Words {
    tokenizer: Tokenizer,
    file: PathBuf,
    end: Option<u32>,
}

impl Words {
    /// Reads the tokenizer that a card names, from the model's folder.
    pub(crate) fn open(folder: &Path, spec: &TextInput) -> Result<Self, InputError> {
        let file = folder.join(&spec.tokenizer);
        let failed = |problem: String| InputError::data(&file, format!("the tokenizer cannot be used: {problem}"));
        let tokenizer = Tokenizer::from_file(&file).map_err(|error| failed(error.to_string()))?;
        let end = match &spec.end {
            Some(end) => Some(tokenizer.token_to_id(end).ok_or_else(|| failed(format!("it has no token \"{end}\"")))?),
            None => None,
        };
        Ok(Self { tokenizer, file, end })
    }

    /// The tokens of a text.
    ///
    /// # Errors
    /// [`InputError::Data`] naming the tokenizer.
    pub fn tokens(&self, text: &str) -> Result<Vec<u32>, InputError> {
        let failed = |error: tokenizers::Error| InputError::data(&self.file, error.to_string());
        Ok(self.tokenizer.encode(text, true).map_err(failed)?.get_ids().to_vec())
    }

    /// The text of tokens.
    ///
    /// # Errors
    /// As [`Words::tokens`].
    pub fn text(&self, tokens: &[u32]) -> Result<String, InputError> {
        self.tokenizer.decode(tokens, true).map_err(|error| InputError::data(&self.file, error.to_string()))
    }

    /// Whether a text ends at a token.
    pub fn ends(&self, token: u32) -> bool {
        self.end == Some(token)
    }
}

/// One array for each input, `[lines, tokens]`.
fn tokens(
    tokenizer: &PathBuf,
    spec: &TextInput,
    inputs: &[InputSpec],
    lines: &[String],
) -> Result<Vec<Array>, InputError> {
    let roles = Roles::of(spec, inputs)?;
    let length = inputs[roles.ids].shape.iter().product();
    let failed = |problem: String| InputError::data(tokenizer, format!("the tokenizer cannot be used: {problem}"));
    let mut model = Tokenizer::from_file(tokenizer).map_err(|error| failed(error.to_string()))?;
    let padding = model.get_padding().cloned().unwrap_or_default();
    model.with_padding(Some(PaddingParams { strategy: PaddingStrategy::Fixed(length), ..padding }));
    let truncation = model.get_truncation().cloned().unwrap_or_default();
    model
        .with_truncation(Some(TruncationParams { max_length: length, stride: 0, ..truncation }))
        .map_err(|error| failed(error.to_string()))?;
    let encoded = lines.iter().map(|line| model.encode(line.as_str(), true));
    let encoded = encoded.collect::<Result<Vec<_>, _>>().map_err(|error| failed(error.to_string()))?;
    let array = |index: usize, input: &InputSpec| {
        let elements = encoded.iter().flat_map(|line| match index {
            _ if Some(index) == roles.mask => line.get_attention_mask(),
            _ if Some(index) == roles.types => line.get_type_ids(),
            _ => line.get_ids(),
        });
        let data = elements.flat_map(|&element| i64::from(element).to_le_bytes()).collect();
        Array { name: input.name.clone(), dtype: ElementType::I64, shape: vec![lines.len(), length], data }
    };
    Ok(inputs.iter().enumerate().map(|(index, input)| array(index, input)).collect())
}
