//! 16 bits for a detector whose boxes 8 bits do not keep.
//!
//! All layers at once: the noise that pushes scores over the threshold comes from all of them alike. A part of them wins
//! less, takes as much memory and, for the conversions between the two, hardly less time.

use serde::Serialize;

use crate::calibrate::Distributions;
use crate::engine::{self, Engine};
use crate::error::QuantizeError;
use crate::params::Activations;
use crate::places::Places;
use crate::recipe::{LayerForm, Precision, Recipe};
use crate::{Built, Effort, Options, Prepared, Quantized, Quantizer, search};

/// Boxes that agree less on 8 bits than this are worth more bits.
pub const LEVEL: f64 = 0.95;
/// More bits have to leave less than this share of what is lost: agreement on few samples is chance too.
const WORTH: f64 = 0.75;

/// How the boxes of a detector fare on calibration samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Boxes {
    /// Boxes that the float model finds.
    pub count: usize,
    /// On 8 bits.
    pub narrow: Kept,
    /// On 16 bits, where those were tried.
    pub wide: Option<Kept>,
    /// Whether all layers compute on 16 bits for it.
    pub is_wide: bool,
}

/// What a model keeps of the float model's boxes, and what it takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Kept {
    /// See [`Places::agreement`].
    pub agreement: f64,
    /// RAM for the arena.
    pub arena_bytes: usize,
}

impl Quantizer<'_> {
    /// Tells in `built` how its boxes fare, where the card says how answers become boxes; where they agree too little with
    /// the float model's, tries 16 bits for all layers that are not told to stay in float. Gives what that made and the
    /// recipe where it wins enough.
    ///
    /// `plain` is the model before equalization, which makes room for values on 8 bits at the price of weights that are worse
    /// told: where 16 bits have room, only the price is left.
    pub(super) fn wider_for_boxes(
        &mut self,
        built: &mut Built,
        plain: (Prepared, Distributions),
    ) -> Result<Option<(Recipe, Built)>, QuantizeError> {
        let Options { recipe, mixed, activations, outputs, effort, boxes, .. } = &self.options;
        let is_int8 = *activations != Activations::Int16 && recipe.usual.precision == Precision::Int8;
        let Some(decoder) = boxes.filter(|_| *mixed && is_int8 && *effort != Effort::Fast) else { return Ok(None) };
        let Prepared { model, dims, .. } = &plain.0;
        let Some(places) = Places::of(model, dims, self.data, decoder)? else { return Ok(None) };
        let narrow = kept(&places, &built.quantized)?;
        log::info!("boxes on 8 bits: {narrow:?}");
        let mut boxes = Boxes { count: places.boxes(), narrow, wide: None, is_wide: false };
        built.quantized.boxes = Some(boxes);
        if narrow.agreement >= LEVEL {
            return Ok(None);
        }
        let mut recipe = search::listed(&self.prepared, recipe, *outputs)?;
        let forms = recipe.layers.values_mut().chain([&mut recipe.usual]);
        for LayerForm { precision, .. } in forms.filter(|form| form.precision == Precision::Int8) {
            *precision = Precision::Int16;
        }
        let equalized = (std::mem::replace(&mut self.prepared, plain.0), std::mem::replace(&mut self.seen, plain.1));
        // Ranges of 16 bits hold all values, whatever way is best on 8.
        let mut made = self.made(&recipe, &self.ranges[..self.ranges.len().min(1)])?;
        let wide = kept(&places, &made.quantized)?;
        log::info!("boxes on 16 bits: {wide:?}");
        boxes.wide = Some(wide);
        boxes.is_wide = 1.0 - wide.agreement < WORTH * (1.0 - narrow.agreement);
        (built.quantized.boxes, made.quantized.boxes) = (Some(boxes), Some(boxes));
        if boxes.is_wide {
            return Ok(Some((recipe, made)));
        }
        (self.prepared, self.seen) = equalized;
        Ok(None)
    }
}

fn kept(places: &Places<'_>, quantized: &Quantized) -> Result<Kept, QuantizeError> {
    let engine = Engine::new(engine::plan(&quantized.model, &quantized.dims, None)?)?;
    Ok(Kept { agreement: places.agreement(&engine)?, arena_bytes: engine.memory().arena_bytes })
}
