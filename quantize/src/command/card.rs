//! Where a model's card comes from.

use std::path::Path;

use anyhow::Context;
use cygnet::Card;
use cygnet_onnx::compile::CARD_KEY;
use cygnet_onnx::model::Model;

/// The card in force: the file `given`, else `MODEL.toml` beside the model, else what the model's metadata says. It
/// goes into the model's metadata.
pub fn take(path: &Path, given: Option<&Path>, model: &mut Model) -> anyhow::Result<Option<Card>> {
    let beside = path.with_extension("toml");
    let file = match given {
        Some(given) => Some(given),
        None => Some(&*beside).filter(|beside| beside.is_file()),
    };
    if let Some(file) = file {
        let card = Card::load(file)?;
        // The author's own text, with its comments.
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        model.metadata.insert(CARD_KEY.into(), text);
        return Ok(Some(card));
    }
    let Some(text) = model.metadata.get(CARD_KEY) else { return Ok(None) };
    let card = Card::parse(text).with_context(|| format!("the card inside {}", path.display()))?;
    Ok(Some(card))
}
