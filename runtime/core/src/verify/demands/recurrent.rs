//! What recurrent layers demand.

use super::operands::{constant, factors, require, sized, tensor, typed};
use super::sums::each_magnitude;
use super::{Rule, rules};
use crate::bytes::{I32s, I64s};
use crate::plan::step::Recurrent;
use crate::plan::{DType, Plan};
use crate::verify::product;
use crate::weights;

rules! {
    lstm(plan, s: Lstm) {
        check(plan, s, 4)
    }
    gru(plan, s: Gru) {
        check(plan, s, 3)
    }
    rnn(plan, s: Rnn) {
        check(plan, s, 1)
    }
}

/// Checks a layer whose cells have so many gates.
#[inline(never)]
fn check(plan: &Plan<'_>, s: &Recurrent, gates: u32) -> Rule {
    let units = product(&[gates, s.hidden, 4]).filter(|&units| units > 0).ok_or("it has no usable number of units")?;
    let sides =
        [Some((s.x, gates)), s.h.map(|id| (id, 1)), s.c.map(|id| (id, 1)), Some((s.y, 1)), s.y_c.map(|id| (id, 1))];
    for (place, (id, rows)) in sides.into_iter().enumerate().filter_map(|(place, side)| Some((place, side?))) {
        let side = tensor(plan, id)?;
        typed(&side, DType::F32)?;
        let steps = if place == 0 || place == 3 { s.steps } else { 1 };
        sized(&side, &[steps, s.batch, rows, s.hidden])?;
    }
    let apart = s.h != Some(s.x) && s.c != Some(s.x) && (s.h.is_none() || s.h != s.c);
    require(apart, "it reads a tensor twice")?;
    let sums = tensor(plan, s.sums)?;
    typed(&sums, DType::F32)?;
    sized(&sums, &[s.batch, gates, s.hidden])?;
    let lstm = gates == 4;
    require(s.y_c.is_some() == lstm && (lstm || s.c.is_none()), "just the cells of an LSTM have a state of their own")?;
    require(s.clip > 0.0, "its limit is no positive number")?;
    let peepholes = if s.peepholes.is_none() { 0 } else { 3 * (units / gates as usize) };
    require(lstm || s.peepholes.is_none(), "just an LSTM has weights from its cells to the gates")?;
    constant(plan, s.peepholes, Some(peepholes))?;
    let state = tensor(plan, s.state)?;
    let padded = u32::try_from(s.padded()).map_err(|_| "it has no usable number of units")?;
    sized(&state, &[s.batch, padded])?;
    product(&[gates, s.hidden, padded]).ok_or("its weights are too many")?;
    let split = gates == 3 && s.linear_before_reset == 0;
    let parts = if split { [2, 1] } else { [gates, 0] };
    match state.dtype {
        DType::F32 => {
            let len = parts.iter().map(|&gates| weights::packed_f32_len(&s.window(gates))).sum::<usize>();
            constant(plan, s.weights, len.checked_mul(4))?;
            constant(plan, s.bias, Some(units)).map(|_| ())
        }
        DType::I16 => {
            factors(constant(plan, s.multipliers, Some(units))?)?;
            let bias = constant(plan, s.bias, if s.wide == 0 { Some(units) } else { units.checked_mul(2) })?;
            let mut stored =
                constant(plan, s.weights, Some(parts.iter().map(|&g| weights::packed_bytes(&s.window(g))).sum()))?;
            let (narrow, wide) = (I32s::new(bias), I64s::new(bias));
            let mut first = 0;
            for window in parts.iter().filter(|&&gates| gates > 0).map(|&gates| s.window(gates)) {
                let bytes = weights::packed_bytes(&window);
                let part = stored.get(..bytes).ok_or("a constant has another size than the step needs")?;
                stored = stored.get(bytes..).unwrap_or_default();
                each_magnitude(&window, false, part, &mut |channel, sum| {
                    let (bias, limit) = match s.wide {
                        0 => (u64::from(narrow.get(first + channel).unsigned_abs()), 1 << 31),
                        _ => (wide.get(first + channel).unsigned_abs(), 1 << 62),
                    };
                    require(sum.saturating_mul(1 << 15).saturating_add(bias) < limit, "an accumulator could overflow")
                })?;
                first += window.out_c as usize;
            }
            Ok(())
        }
        _ => Err("its state is neither float32 nor int16"),
    }
}
