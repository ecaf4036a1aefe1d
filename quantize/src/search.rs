//! Searches for the recipe that keeps a promise: no more lost than so much, no larger than so much.
//!
//! Layers are put in an order by what each alone wins or loses, judged on calibration samples; then so many of them as the
//! promise takes are changed, found by halving. Every model tried that way is measured whole.

mod order;

use crate::engine::Engine;
use crate::error::QuantizeError;
use crate::operators::Role;
use crate::placement::place;
use crate::recipe::{LayerForm, Precision, Recipe, WeightForm};
use crate::report::Tried;
use crate::tail::Outputs;
use crate::{Built, Options, Prepared, Quantized, Quantizer, engine};
pub(crate) use order::layers;
use order::{narrowable, widenable};

/// What is promised of the int8 model.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Goal {
    /// The largest drop of what is measured, 0 … 1.
    pub max_drop: Option<f64>,
    /// The largest plan, in bytes.
    pub max_size: Option<usize>,
    /// The largest arena, in bytes.
    pub max_ram: Option<usize>,
    /// Whether the model becomes as small as the drop allows.
    pub min_size: bool,
}

/// The drop that [`Goal::min_size`] allows where none is told: one point.
const USUAL_DROP: f64 = 0.01;

impl Goal {
    /// Whether anything is promised.
    pub fn is_any(&self) -> bool {
        *self != Goal::default()
    }

    fn drop(&self) -> f64 {
        self.max_drop.unwrap_or(if self.min_size { USUAL_DROP } else { f64::INFINITY })
    }
}

/// How good an int8 model is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quality {
    /// What is lost of the figure that counts, 0 … 1; below 0 where something is won.
    pub drop: f64,
    /// Share of samples on which it answers as the float model, 0 … 1.
    pub agreement: Option<f64>,
    /// Share of right answers, 0 … 1.
    pub accuracy: Option<f64>,
}

/// One model that was made and measured.
#[derive(Clone, Debug)]
struct Point {
    recipe: Recipe,
    built: Built,
    plan_bytes: usize,
    arena_bytes: usize,
    quality: Quality,
}

/// The way to the goal.
struct Search<'s, 'd, M> {
    quantizer: &'s Quantizer<'d>,
    goal: Goal,
    measure: M,
    tried: Vec<Tried>,
}

/// The model that keeps `goal` at the least cost, and all that were tried. `first` was made with the quantizer;
/// `measure` tells how good a model is.
///
/// # Errors
/// [`QuantizeError::Unsuitable`] telling what comes nearest where the goal cannot be reached; else as [`Quantizer::by`].
pub fn search<M>(
    quantizer: &Quantizer<'_>,
    first: Built,
    goal: Goal,
    measure: M,
) -> Result<(Quantized, Vec<Tried>), QuantizeError>
where
    M: FnMut(&Quantized, &Engine) -> Result<Quality, QuantizeError>,
{
    let mut search = Search { quantizer, goal, measure, tried: Vec::new() };
    let Options { recipe, outputs, .. } = &quantizer.options;
    let mut point = search.point("int8", listed(quantizer.prepared(), recipe, *outputs)?, Some(first))?;
    if goal.max_ram.is_some_and(|most| point.arena_bytes > most) && quantizer.asked() != recipe {
        let asked = listed(quantizer.prepared(), quantizer.asked(), *outputs)?;
        point = search.point("first layers on 8 bits", asked, None)?;
    }
    // More bits and other forms of weights take no less of it.
    if let Some(most) = goal.max_ram.filter(|most| point.arena_bytes > *most) {
        let problem = format!("the arena takes {} bytes, {most} are allowed", point.arena_bytes);
        return Err(QuantizeError::Unsuitable(format!(
            "{problem}; allow more with --max-ram, or take channels out with --prune"
        )));
    }
    if goal.max_size.is_some_and(|most| point.plan_bytes > most) {
        point = search.fit(point)?;
    } else if goal.min_size && point.quality.drop <= goal.drop() {
        point = search.shrink(point)?;
    }
    if point.quality.drop > goal.drop() {
        point = search.widen(point)?;
    } else if goal.max_drop.is_none() && !goal.min_size {
        point = search.spend(point)?;
    }
    let mut tried = search.tried;
    if let Some(chosen) = tried.iter_mut().rev().find(|tried| tried.bytes == point.plan_bytes as u64) {
        chosen.is_chosen = true;
    }
    Ok((point.built.quantized, tried))
}

/// `recipe` with every layer listed: what is changed of one does not change what else is said of it.
pub(crate) fn listed(prepared: &Prepared, recipe: &Recipe, outputs: Outputs) -> Result<Recipe, QuantizeError> {
    let Prepared { model, facts, .. } = prepared;
    let placement = place(model, facts, recipe, outputs)?;
    let mut listed = recipe.clone();
    for (node, role) in model.nodes.iter().zip(&placement.roles) {
        if matches!(role, Role::Weighted { .. }) {
            let label = node.label();
            let weights = placement.forms.get(&label).copied().unwrap_or_default();
            listed.layers.insert(label, LayerForm { weights, ..recipe.form(node) });
        }
    }
    Ok(listed)
}

impl<M> Search<'_, '_, M>
where
    M: FnMut(&Quantized, &Engine) -> Result<Quality, QuantizeError>,
{
    /// Makes and measures the model of `recipe`, unless it is `built` already.
    fn point(&mut self, what: &str, recipe: Recipe, built: Option<Built>) -> Result<Point, QuantizeError> {
        let built = built.map_or_else(|| self.quantizer.by(&recipe), Ok)?;
        let engine = Engine::new(engine::plan(&built.quantized.model, &built.quantized.dims, None)?)?;
        let quality = (self.measure)(&built.quantized, &engine)?;
        let memory = engine.memory();
        let (plan_bytes, arena_bytes) = (memory.plan_bytes, memory.arena_bytes);
        log::info!("{what}: plan {plan_bytes} bytes, arena {arena_bytes}, drop {:.4}", quality.drop);
        let Quality { agreement, accuracy, .. } = quality;
        self.tried.push(Tried { what: what.into(), bytes: plan_bytes as u64, agreement, accuracy, is_chosen: false });
        Ok(Point { recipe, built, plan_bytes, arena_bytes, quality })
    }

    fn fits(&self, point: &Point) -> bool {
        point.plan_bytes <= self.goal.max_size.unwrap_or(usize::MAX)
            && point.arena_bytes <= self.goal.max_ram.unwrap_or(usize::MAX)
    }

    /// The model in which as few layers as possible have smaller weights, so that it is small enough.
    fn fit(&mut self, from: Point) -> Result<Point, QuantizeError> {
        let most = self.goal.max_size.unwrap_or(usize::MAX);
        let mut best: Option<Point> = None;
        let mut smallest = from.plan_bytes;
        for form in [WeightForm::Clustered, WeightForm::Int4] {
            let layers = narrowable(self.quantizer, &from.recipe, form)?;
            let fits = |_: &Self, point: &Point| point.plan_bytes <= most;
            let found = self.least(&from, &layers, |of| of.weights = form, &format!("{form:?} weights"), fits)?;
            match found {
                Ok(point) if best.as_ref().is_none_or(|best| point.quality.drop < best.quality.drop) => {
                    best = Some(point)
                }
                Ok(_) => {}
                Err(nearest) => smallest = smallest.min(nearest.plan_bytes),
            }
        }
        best.ok_or_else(|| {
            let problem = format!("the smallest plan found has {smallest} bytes, {most} are allowed");
            QuantizeError::Unsuitable(format!(
                "{problem}; allow more with --max-size, or take channels out with --prune"
            ))
        })
    }

    /// The smallest model whose drop is allowed.
    fn shrink(&mut self, from: Point) -> Result<Point, QuantizeError> {
        let mut best = from.clone();
        for form in [WeightForm::Clustered, WeightForm::Int4] {
            let layers = narrowable(self.quantizer, &from.recipe, form)?;
            let what = format!("{form:?} weights");
            // From the last that is wrong to the first that is right, seen from the other end.
            let (mut right, mut wrong) = (0, layers.len() + 1);
            while right + 1 < wrong {
                // All of them first: often that is it.
                let count = if wrong > layers.len() { layers.len() } else { (right + wrong) / 2 };
                let point = self.changed(&from, &layers[..count], |of| of.weights = form, &what)?;
                if point.quality.drop <= self.goal.drop() && self.fits(&point) {
                    right = count;
                    if point.plan_bytes < best.plan_bytes {
                        best = point;
                    }
                } else {
                    wrong = count;
                }
            }
        }
        Ok(best)
    }

    /// The model in which as few layers as possible compute on more bits, so that little enough is lost.
    fn widen(&mut self, from: Point) -> Result<Point, QuantizeError> {
        let allowed = self.goal.drop();
        let is_good = |search: &Self, point: &Point| point.quality.drop <= allowed && search.fits(point);
        let layers: Vec<String> =
            widenable(self.quantizer, &from.recipe)?.into_iter().map(|layer| layer.label).collect();
        let int16 = |of: &mut LayerForm| of.precision = Precision::Int16;
        let nearest = match self.least(&from, &layers, int16, "16 bits", is_good)? {
            Ok(point) => return Ok(point),
            Err(nearest) => nearest,
        };
        let float = |of: &mut LayerForm| of.precision = Precision::Float;
        // Something has to become an integer.
        let most = layers.len().saturating_sub(1);
        let nearest = match self.least(&nearest, &layers[..most], float, "float, the others 16 bits", is_good)? {
            Ok(point) => return Ok(point),
            Err(other) if other.quality.drop < nearest.quality.drop => other,
            Err(_) => nearest,
        };
        let (drop, allowed) = (100.0 * nearest.quality.drop, 100.0 * allowed);
        let (size, ram) = (nearest.plan_bytes, nearest.arena_bytes);
        Err(QuantizeError::Unsuitable(format!(
            "the least drop found is {drop:.2} points, {allowed:.2} are allowed (plan {size} bytes, arena {ram}); allow \
             more with --max-drop, or give more samples to --calib"
        )))
    }

    /// The most accurate model that fits: as many layers as possible compute on 16 bits.
    fn spend(&mut self, from: Point) -> Result<Point, QuantizeError> {
        let layers = widenable(self.quantizer, &from.recipe)?;
        let layers: Vec<String> = layers.into_iter().filter(|layer| layer.wins).map(|layer| layer.label).collect();
        let mut best = from.clone();
        let (mut right, mut wrong) = (0, layers.len() + 1);
        while right + 1 < wrong {
            let count = if wrong > layers.len() { layers.len() } else { (right + wrong) / 2 };
            let point = self.changed(&from, &layers[..count], |of| of.precision = Precision::Int16, "16 bits")?;
            if self.fits(&point) {
                right = count;
                if point.built.loss.all < best.built.loss.all {
                    best = point;
                }
            } else {
                wrong = count;
            }
        }
        Ok(best)
    }

    /// The model with the fewest of `layers`, from the first on, changed so that it is good; where none is, the one with all
    /// of them changed.
    fn least(
        &mut self,
        from: &Point,
        layers: &[String],
        change: impl Fn(&mut LayerForm) + Copy,
        what: &str,
        is_good: impl Fn(&Self, &Point) -> bool,
    ) -> Result<Result<Point, Point>, QuantizeError> {
        let all = self.changed(from, layers, change, what)?;
        if !is_good(self, &all) {
            return Ok(Err(all));
        }
        let (mut wrong, mut right, mut best) = (0, layers.len(), all);
        while wrong + 1 < right {
            let count = (wrong + right) / 2;
            let point = self.changed(from, &layers[..count], change, what)?;
            if is_good(self, &point) {
                (right, best) = (count, point);
            } else {
                wrong = count;
            }
        }
        Ok(Ok(best))
    }

    fn changed(
        &mut self,
        from: &Point,
        layers: &[String],
        change: impl Fn(&mut LayerForm),
        what: &str,
    ) -> Result<Point, QuantizeError> {
        let mut recipe = from.recipe.clone();
        for label in layers {
            change(recipe.layers.entry(label.clone()).or_insert(from.recipe.usual));
        }
        let of = if layers.len() == 1 { "layer" } else { "layers" };
        self.point(&format!("{} {of}: {what}", layers.len()), recipe, None)
    }
}
