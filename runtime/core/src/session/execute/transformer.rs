//! Steps that transformers are made of.

use core::cell::Cell;
use core::ops::Range;

use super::Context;
use crate::bytes::{F32s, I32s, I64s, Span};
use crate::error::Error;
use crate::kernels::portable::{self, movement};
use crate::kernels::view::{f32_cells, f32s, f32s_mut, i8s};
use crate::kernels::{AttentionArgs, AttentionPart, Operand};
use crate::plan::step::{Attention, BinaryOp, Select, Step};
use crate::plan::{DType, MAX_RANK, TensorId};
use crate::session::Host;
use crate::team;

/// What of the arena lies around two parts that a step writes: pieces, and where they start.
pub(super) struct Around<'a>([(usize, &'a [u8]); 3]);

impl<'a> Around<'a> {
    /// The bytes of a tensor, which lie apart from what is written.
    pub(super) fn get(&self, range: &Range<usize>) -> Option<&'a [u8]> {
        self.0.iter().find_map(|&(start, piece)| {
            piece.get(range.start.checked_sub(start)?..)?.get(..range.end.checked_sub(range.start)?)
        })
    }
}

/// Takes the two parts of the arena that a step writes out of it. Those that it reads may be one.
pub(super) fn apart(
    arena: &mut [u8],
    y: Range<usize>,
    scratch: Range<usize>,
) -> Option<(&mut [u8], &mut [u8], Around<'_>)> {
    let swapped = (scratch.start, scratch.end) < (y.start, y.end);
    let (first, second) = if swapped { (scratch, y) } else { (y, scratch) };
    let (rest, behind) = arena.split_at_mut_checked(second.end)?;
    let (rest, last) = rest.split_at_mut_checked(second.start)?;
    let (rest, between) = rest.split_at_mut_checked(first.end)?;
    let (before, one) = rest.split_at_mut_checked(first.start)?;
    let around = Around([(0, before), (first.end, between), (second.end, behind)]);
    Some(if swapped { (last, one, around) } else { (one, last, around) })
}

pub(super) fn lookup(context: &mut Context<'_, '_>, step: &Step, _: &mut dyn Host) -> Result<(), Error> {
    let Step::Lookup(s) = step else { return Err(context.refused()) };
    let plan = context.plan;
    let (refused, outside) = (context.refused(), Error::IndexOutside { step: context.index });
    let (indices, y) = (context.tensor(s.indices)?, context.tensor(s.y)?);
    let x = s.x.map(|id| context.tensor(id)).transpose()?;
    let (y_bytes, _, around) = apart(context.arena, y.range, 0..0).ok_or(refused)?;
    let index_bytes = around.get(&indices.range).ok_or(refused)?;
    let x = match x {
        Some(x) => around.get(&x.range).ok_or(refused)?,
        None => plan.constant(s.constant),
    };
    let (narrow, wide) = match indices.dtype {
        DType::I64 => (I32s::new(&[]), I64s::new(index_bytes)),
        _ => (I32s::new(index_bytes), I64s::new(&[])),
    };
    let index = narrow.iter().map(i64::from).chain(wide.iter());
    let inside = if s.scales.is_none() {
        movement::lookup(s, x, index, y_bytes, y.dtype.bytes())
    } else {
        movement::lookup_scaled(s, i8s(x), F32s::new(plan.constant(s.scales)), index, f32s_mut(y_bytes))
    };
    if inside { Ok(()) } else { Err(outside) }
}

pub(super) fn select(context: &mut Context<'_, '_>, step: &Step, _: &mut dyn Host) -> Result<(), Error> {
    let Step::Select(s) = step else { return Err(context.refused()) };
    let (plan, refused) = (context.plan, context.refused());
    let (condition, y) = (context.tensor(s.condition)?, context.tensor(s.y)?);
    let side = |id: Option<TensorId>| id.map(|id| context.tensor(id)).transpose();
    let (a, b) = (side(s.a)?, side(s.b)?);
    let (y_bytes, _, around) = apart(context.arena, y.range, 0..0).ok_or(refused)?;
    let bytes = |place: Option<super::Place>, constant: Span| match place {
        Some(place) => around.get(&place.range).ok_or(refused),
        None => Ok(plan.constant(constant)),
    };
    let sides = [bytes(Some(condition), Span::NONE)?, bytes(a, s.a_constant)?, bytes(b, s.b_constant)?];
    let done = select_rows(s, sides, y_bytes, y.dtype.bytes());
    done.ok_or(refused)
}

/// Goes through the rows; `None` where one is not inside.
fn select_rows(s: &Select, [condition, a, b]: [&[u8]; 3], y: &mut [u8], size: usize) -> Option<()> {
    let [dims @ .., length] = s.dims;
    let length = length as usize;
    let all = [s.condition_strides, s.a_strides, s.b_strides];
    let strides = all.map(|[strides @ .., _]| strides.map(|stride| stride as usize));
    let steps = all.map(|[.., stride]| stride as usize);
    let (mut index, mut places) = ([0; MAX_RANK - 1], [0; 3]);
    for y in y.chunks_exact_mut((length * size).max(1)) {
        let row = movement::SelectRow { condition, a, b, places, steps };
        movement::select(&row, y, size)?;
        movement::advance(&mut index, &dims, &mut places, &strides);
    }
    Some(())
}

pub(super) fn compare(context: &mut Context<'_, '_>, step: &Step, _: &mut dyn Host) -> Result<(), Error> {
    let Step::Compare(s) = step else { return Err(context.refused()) };
    let (plan, refused) = (context.plan, context.refused());
    let (a, y) = (context.tensor(s.a)?, context.tensor(s.y)?);
    let b = s.b.map(|id| context.tensor(id)).transpose()?;
    let (y, _, around) = apart(context.arena, y.range, 0..0).ok_or(refused)?;
    let b = match b {
        Some(b) => around.get(&b.range).ok_or(refused)?,
        None => plan.constant(s.constant),
    };
    portable::compare(s, a.dtype, around.get(&a.range).ok_or(refused)?, b, y).ok_or(refused)
}

pub(super) fn layer_norm(context: &mut Context<'_, '_>, step: &Step, _: &mut dyn Host) -> Result<(), Error> {
    let Step::LayerNorm(s) = step else { return Err(context.refused()) };
    let (plan, kernel, refused) = (context.plan, context.kernels.layer_norm, context.refused());
    let y = context.tensor(s.y)?.range;
    let [x_cells, y_cells] = context.shared_pair(s.x, s.y)?.map(f32_cells);
    let in_place = core::ptr::eq(x_cells, y_cells);
    match s.residual {
        Some(residual) => {
            let cells = Cell::from_mut(&mut *context.arena).as_slice_of_cells();
            let place = |id: TensorId| plan.tensor(id).and_then(|tensor| cells.get(super::range(&tensor)));
            let (x, residual) = (place(s.x).ok_or(refused)?, place(residual).ok_or(refused)?);
            let y = f32_cells(cells.get(y.clone()).ok_or(refused)?);
            let [x, residual] = [x, residual].map(|cells| Operand::Shared(f32_cells(cells)));
            portable::binary_f32(BinaryOp::Add, &x, &residual, y);
        }
        None if in_place => {}
        None => x_cells.iter().zip(y_cells).for_each(|(x, y)| y.set(x.get())),
    }
    let y = f32s_mut(context.arena.get_mut(y).ok_or(refused)?);
    kernel(s, y, F32s::new(plan.constant(s.scale)), F32s::new(plan.constant(s.bias)));
    Ok(())
}

pub(super) fn attention(context: &mut Context<'_, '_>, step: &Step, _: &mut dyn Host) -> Result<(), Error> {
    let Step::Attention(s) = step else { return Err(context.refused()) };
    attend(context, s, None)
}

/// An attention whose queries have `before` keys in front of them, see [`AttentionArgs::before`].
pub(super) fn attend(context: &mut Context<'_, '_>, s: &Attention, before: Option<usize>) -> Result<(), Error> {
    let (kernel, team, refused) = (context.kernels.attention, context.team, context.refused());
    let [q, k, v, y, scratch] = [s.q, s.k, s.v, s.y, s.scratch].map(|id| context.tensor(id).map(|place| place.range));
    let mask = s.mask.map(|id| context.tensor(id)).transpose()?;
    let (y, scratch, around) = apart(context.arena, y?, scratch?).ok_or(refused)?;
    let floats = |range: &Range<usize>| around.get(range).map(f32s).ok_or(refused);
    let mask = mask.map(|mask| floats(&mask.range)).transpose()?;
    let (q, k, v) = (floats(&q?)?, floats(&k?)?, floats(&v?)?);
    let (part, y, scratch) = (AttentionPart::whole(s), f32s_mut(y), f32s_mut(scratch));
    team::attention(team, AttentionArgs { step: s, part, q, k, v, mask, before, y, scratch }, kernel);
    Ok(())
}
