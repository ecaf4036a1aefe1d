//! Chooses activation ranges by what the whole model answers with them.

use std::collections::BTreeMap;

use crate::calibrate::Distributions;
use crate::error::QuantizeError;
use crate::judge::{Judge, Loss};
use crate::params::Params;
use crate::placement::Placement;
use crate::ranges::{Ranges, parameters};
use crate::repair::Rounded;
use crate::{Effort, Options, Prepared, assemble};

/// The range of one tensor is drawn in another way where less than this share of the loss remains: small gains on the
/// samples seen are chance.
const WORTH: f64 = 0.95;

/// Parameters of every group, and how they came about.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// One for each group.
    pub params: Vec<Params>,
    /// How the range of each group was drawn.
    pub ranges: Vec<Ranges>,
    /// What is lost with them, the weights at their nearest levels.
    pub loss: Loss,
    /// All ways that were tried for the whole model, the best first.
    pub tried: Vec<Ranges>,
}

/// Draws the ranges of all groups as `options` say; [`Ranges::Auto`] takes what the judge finds best of `candidates`: one
/// way for all, and with [`Effort::Best`] one for each group.
///
/// # Errors
/// [`QuantizeError`] where a model cannot be compiled or run.
pub fn ranges(
    judge: &Judge,
    prepared: &Prepared,
    placement: &Placement,
    seen: &Distributions,
    candidates: &[Ranges],
    options: &Options,
) -> Result<Chosen, QuantizeError> {
    let drawn = |ranges| parameters(&prepared.model, placement, seen, ranges, options.activations);
    let groups = placement.groups.len();
    if options.ranges != Ranges::Auto {
        let params = drawn(options.ranges)?;
        let loss = judge.loss(&assemble(prepared, placement, &params, &Rounded::new())?)?;
        return Ok(Chosen { params, ranges: vec![options.ranges; groups], loss, tried: Vec::new() });
    }
    let mut tried = Vec::new();
    for &ranges in candidates {
        let params = drawn(ranges)?;
        let loss = judge.loss(&assemble(prepared, placement, &params, &Rounded::new())?)?;
        log::debug!("ranges {ranges}: loss {:.6}", loss.all);
        tried.push((loss, ranges, params));
    }
    tried.sort_by(|one, other| one.0.all.total_cmp(&other.0.all));
    let Some((loss, ranges, params)) = tried.first().cloned() else {
        return Err(QuantizeError::Unsuitable("there is no way to draw ranges".into()));
    };
    let order = tried.iter().map(|(_, ranges, _)| *ranges).collect();
    let mut chosen = Chosen { params, ranges: vec![ranges; groups], loss, tried: order };
    if options.effort == Effort::Best {
        refine(judge, prepared, placement, &tried, &mut chosen)?;
    }
    Ok(chosen)
}

/// Tries the other ways for each group, one group after the other.
fn refine(
    judge: &Judge,
    prepared: &Prepared,
    placement: &Placement,
    candidates: &[(Loss, Ranges, Vec<Params>)],
    chosen: &mut Chosen,
) -> Result<(), QuantizeError> {
    for group in 0..placement.groups.len() {
        let mut tried = vec![chosen.params[group]];
        for (_, ranges, params) in candidates {
            if tried.contains(&params[group]) {
                continue;
            }
            tried.push(params[group]);
            let before = std::mem::replace(&mut chosen.params[group], params[group]);
            let loss = judge.loss(&assemble(prepared, placement, &chosen.params, &Rounded::new())?)?;
            if loss.is_below(WORTH, &chosen.loss) {
                (chosen.loss, chosen.ranges[group]) = (loss, *ranges);
            } else {
                chosen.params[group] = before;
            }
        }
    }
    Ok(())
}

/// How often each way was chosen.
pub fn counted(ranges: &[Ranges]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    ranges.iter().for_each(|ranges| *counts.entry(ranges.to_string()).or_default() += 1);
    counts
}
