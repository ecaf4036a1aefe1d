//! A model on its way to int8, kept so that it can be quantized again by another recipe.

pub mod boxes;

use cygnet_onnx::model::Model;

use crate::calibrate::{Distributions, calibrate};
use crate::data::Data;
use crate::error::QuantizeError;
use crate::facts::infer;
use crate::judge::{Judge, Loss};
use crate::layers::Layer;
use crate::params::Activations;
use crate::placement::place;
use crate::ranges::{Ranges, parameters};
use crate::recipe::{Precision, Recipe};
use crate::repair::Rounded;
use crate::{Built, Effort, Options, Prepared, assemble, build, cache, equalize, prepare, prune, search};

/// An equalized model is taken where less than this share of the loss remains: its channels fill their ranges, so what was
/// not seen in calibration is cut off sooner.
const EQUALIZED: f64 = 0.85;

/// More bits for the first layers have to leave less than this share of the loss.
const WIDER: f64 = 0.75;
/// So many layers at most get them, if those are no more than this part of all multiplications.
const FIRST: usize = 5;
const SMALL_PART: f64 = 0.15;

/// So many ways to draw ranges are tried on the equalized model, those best without: the rest takes time and wins rarely.
const FINALISTS: usize = 2;

/// A model that was quantized once, and all it takes to do it again by another recipe.
#[derive(Debug)]
pub struct Quantizer<'d> {
    data: &'d Data,
    pub(crate) options: Options,
    /// The recipe that the user's options tell.
    asked: Recipe,
    original: Model,
    prepared: Prepared,
    seen: Distributions,
    judge: Judge,
    /// The ways to draw ranges, the best of the first time first.
    ranges: Vec<Ranges>,
}

impl<'d> Quantizer<'d> {
    /// Folds, calibrates on all samples of `data` and quantizes by the recipe of `options`; gives what was made too. `step`
    /// is called after each sample.
    ///
    /// With [`Options::mixed`] the first layers compute on 16 bits where that takes much of the loss away and they are a
    /// small part of the work: what they lose all others build on, and of a spectrum 8 bits keep too little. With
    /// [`Options::boxes`] too, all layers compute on 16 bits where 8 keep too few of the float model's boxes, see [`boxes`].
    ///
    /// # Errors
    /// [`QuantizeError`] naming the node, tensor or sample and the mend.
    pub fn of(
        model: Model,
        data: &'d Data,
        options: &Options,
        step: impl FnMut(),
    ) -> Result<(Quantizer<'d>, Built), QuantizeError> {
        let mut prepared = prepare(model, data)?;
        let original = prepared.model.clone();
        if options.prune > 0.0 {
            let Prepared { model, facts, dims, pruned, .. } = &mut prepared;
            *pruned = Some(prune::prune(model, facts, dims, options.prune, data)?);
            *facts = infer(model, dims)?;
        }
        let variants = variants(prepared, data, options, step)?;
        // Calibration has found the bad samples; and all variants compute the same in float.
        let Some((first, _)) = variants.first() else {
            return Err(QuantizeError::Unsuitable("nothing was tried".into()));
        };
        let judge = Judge::of(first, data)?;
        let plain = options.boxes.and(variants.first().cloned());
        let mut candidates = Ranges::candidates(options.effort).to_vec();
        let options = options.clone();
        let mut best: Option<(Built, Prepared, Distributions)> = None;
        for (prepared, seen) in variants {
            let built = build(&prepared, &seen, &judge, data, &candidates, &options)?;
            if options.effort < Effort::Best {
                // Channels that fill their ranges have less to cut off than those before.
                let others = built.ranges.iter().skip(FINALISTS).filter(|ranges| **ranges == Ranges::MinMax);
                candidates = built.ranges.iter().take(FINALISTS).chain(others).copied().collect();
            }
            if best.as_ref().is_none_or(|(best, ..)| built.loss.is_below(EQUALIZED, &best.loss)) {
                best = Some((built, prepared, seen));
            }
        }
        let best = best.ok_or_else(|| QuantizeError::Unsuitable("nothing was tried".into()));
        let (mut built, prepared, seen) = best?;
        let ranges = built.ranges.clone();
        (built.quantized.original, built.quantized.seen) = (original.clone(), seen.clone());
        let asked = options.recipe.clone();
        let mut quantizer = Quantizer { data, options, asked, original, prepared, seen, judge, ranges };
        if let Some(recipe) = quantizer.wider()? {
            let wider = quantizer.made(&recipe, Ranges::candidates(quantizer.options.effort))?;
            if wider.loss.is_below(WIDER, &built.loss) {
                (quantizer.options.recipe, built) = (recipe, wider);
            }
        }
        if let Some(plain) = plain
            && let Some(wider) = quantizer.wider_for_boxes(&mut built, plain)?
        {
            (quantizer.options.recipe, built) = wider;
        }
        Ok((quantizer, built))
    }

    /// The recipe with more bits for the first layers, where those promise much and cost little.
    fn wider(&self) -> Result<Option<Recipe>, QuantizeError> {
        let Options { recipe, mixed, activations, outputs, .. } = &self.options;
        if !mixed || *activations == Activations::Int16 || recipe.usual.precision != Precision::Int8 {
            return Ok(None);
        }
        let layers = search::layers(&self.prepared);
        let all: usize = layers.iter().map(Layer::multiply_accumulates).sum();
        let (mut wider, mut work) = (search::listed(&self.prepared, recipe, *outputs)?, 0);
        let mut least = self.glance(recipe)?;
        let mut best = None;
        // Depthwise layers take long on 16 bits.
        for layer in layers.iter().take(FIRST).take_while(|layer| layer.groups == 1) {
            work += layer.multiply_accumulates();
            if work as f64 > SMALL_PART * all as f64 || recipe.layers.contains_key(&layer.label) {
                break;
            }
            wider.layers.entry(layer.label.clone()).or_default().precision = Precision::Int16;
            let loss = self.glance(&wider)?;
            log::debug!("{} and those before it on 16 bits: loss {:.6}", layer.label, loss.all);
            if loss.is_below(WIDER, &least) {
                (least, best) = (loss, Some(wider.clone()));
            }
        }
        Ok(best)
    }

    /// The recipe that was taken.
    pub fn recipe(&self) -> &Recipe {
        &self.options.recipe
    }

    /// The recipe that was asked for; the one taken may have more bits for the first layers or all.
    pub fn asked(&self) -> &Recipe {
        &self.asked
    }

    /// The float model as it is quantized.
    pub fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// Quantizes by another recipe.
    ///
    /// # Errors
    /// [`QuantizeError`] naming the node or tensor and the mend.
    pub fn by(&self, recipe: &Recipe) -> Result<Built, QuantizeError> {
        self.made(recipe, &self.ranges[..self.ranges.len().min(FINALISTS)])
    }

    fn made(&self, recipe: &Recipe, candidates: &[Ranges]) -> Result<Built, QuantizeError> {
        let options = Options { recipe: recipe.clone(), ..self.options.clone() };
        let seen = self.seen_for(recipe)?;
        let mut built = build(&self.prepared, &seen, &self.judge, self.data, candidates, &options)?;
        (built.quantized.original, built.quantized.seen) = (self.original.clone(), seen);
        Ok(built)
    }

    /// What is lost by another recipe with the weights at their nearest levels: a quick look.
    ///
    /// # Errors
    /// As [`Quantizer::by`].
    pub fn glance(&self, recipe: &Recipe) -> Result<Loss, QuantizeError> {
        let Options { ranges, activations, outputs, .. } = &self.options;
        let placement = place(&self.prepared.model, &self.prepared.facts, recipe, *outputs)?;
        let ranges = self.ranges.first().copied().unwrap_or(*ranges);
        let seen = self.seen_for(recipe)?;
        let params = parameters(&self.prepared.model, &placement, &seen, ranges, *activations)?;
        self.judge.loss(&assemble(&self.prepared, &placement, &params, &Rounded::new())?)
    }

    /// What calibration saw, of all tensors that `recipe` makes integers.
    fn seen_for(&self, recipe: &Recipe) -> Result<Distributions, QuantizeError> {
        let Prepared { model, facts, dims, .. } = &self.prepared;
        let mut observed = place(model, facts, recipe, self.options.outputs)?.observed(model);
        observed.retain(|tensor| !self.seen.contains_key(tensor));
        let mut seen = self.seen.clone();
        if !observed.is_empty() {
            seen.extend(calibrate(model, &observed, dims, self.data.samples(), None, || ())?);
        }
        Ok(seen)
    }
}

/// The model as it is, and equalized where that changes it, with what calibration saw of both.
fn variants(
    prepared: Prepared,
    data: &Data,
    options: &Options,
    step: impl FnMut(),
) -> Result<Vec<(Prepared, Distributions)>, QuantizeError> {
    // Equalization trusts that channels reach no farther than on the samples; made ones do not show that.
    let equalizes = options.equalize && !data.is_synthetic();
    let analysis = equalizes.then(|| equalize::Analysis::of(&prepared.model, &prepared.facts)).transpose()?;
    let mut watch = analysis.as_ref().map(|analysis| analysis.watch(&prepared.facts));
    let placement = place(&prepared.model, &prepared.facts, &options.recipe, options.outputs)?;
    let mut observed = placement.observed(&prepared.model);
    let folder = options.cache.as_deref();
    let seen = cache::calibrated(&prepared, &observed, data, folder, watch.as_mut(), step)?;
    let mut variants = vec![(prepared, seen)];
    if let (Some(analysis), Some(watch), [(plain, seen)]) = (analysis, watch, &variants[..]) {
        let mut prepared = plain.clone();
        prepared.equalized = equalize::apply(&mut prepared.model, &analysis, &watch.ranges());
        if !prepared.equalized.sets.is_empty() {
            let mut seen = seen.clone();
            observed.retain(|tensor| prepared.equalized.changed.contains(tensor));
            if !observed.is_empty() {
                seen.extend(cache::calibrated(&prepared, &observed, data, folder, None, || ())?);
            }
            variants.push((prepared, seen));
        }
    }
    Ok(variants)
}
