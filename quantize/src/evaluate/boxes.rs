//! From a detector's outputs to boxes, as the card says.

use cygnet_sense::answers::Detection;
use cygnet_sense::card::Card;
use cygnet_sense::{BoxDecoder, BoxError};

/// Most boxes before overlapping ones are taken out.
const MOST: usize = 1000;

/// The decoder for a model of pictures; `Err` says what the card lacks.
pub fn decoder(card: &Card) -> Result<BoxDecoder, String> {
    card.image_spec().ok_or("the card's input is no picture; boxes need one")?;
    Ok(card.box_decoder().ok_or("the card does not say how outputs become boxes; add [boxes]")?)
}

/// The boxes in the outputs, in pixels of the input tensor.
pub fn boxes(decoder: &BoxDecoder, outputs: &[Vec<f32>]) -> Result<Vec<Detection>, BoxError> {
    let outputs: Vec<&[f32]> = outputs.iter().map(Vec::as_slice).collect();
    let mut found = vec![Detection::default(); MOST];
    let count = decoder.decode(&outputs, &mut found)?;
    found.truncate(count);
    Ok(found)
}
