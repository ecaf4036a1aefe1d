//! Steps of what decoders keep of the tokens before.

use super::{Context, transformer};
use crate::bytes::I64s;
use crate::error::Error;
use crate::plan::TensorId;
use crate::plan::step::{CacheRows, Step};
use crate::session::Host;

/// The first of the positions.
fn position(context: &Context<'_, '_>, positions: TensorId) -> Result<i64, Error> {
    let place = context.tensor(positions)?;
    let bytes = context.arena.get(place.range).ok_or(context.refused())?;
    I64s::new(bytes).iter().next().ok_or(context.refused())
}

pub(super) fn rows(context: &mut Context<'_, '_>, step: &Step, _: &mut dyn Host) -> Result<(), Error> {
    let Step::CacheRows(s) = step else { return Err(context.refused()) };
    let position = position(context, s.positions)?;
    let position = usize::try_from(position).map_err(|_| Error::IndexOutside { step: context.index })?;
    if position >= s.slots as usize && s.in_turns == 0 {
        return Err(Error::CacheFull { tokens: s.slots });
    }
    let (x, _, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
    write_rows(s, position, x_bytes, y_bytes, x.dtype.bytes());
    Ok(())
}

fn write_rows(s: &CacheRows, position: usize, x: &[u8], y: &mut [u8], size: usize) {
    let (row_bytes, slots) = (s.width as usize * size, s.slots as usize);
    let [head_stride, row_stride] = s.x_strides.map(|stride| stride as usize * size);
    let heads = y.chunks_exact_mut((slots * row_bytes).max(1)).take(s.heads as usize);
    for (head, places) in heads.enumerate() {
        for row in 0..s.rows as usize {
            let slot = position.saturating_add(row);
            let slot = if s.in_turns == 0 { slot } else { slot.checked_rem(slots).unwrap_or(0) };
            let from = x.get(head * head_stride + row * row_stride..).and_then(|rest| rest.get(..row_bytes));
            let to = places.chunks_exact_mut(row_bytes.max(1)).nth(slot);
            if let (Some(from), Some(to)) = (from, to) {
                to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            }
        }
    }
}

pub(super) fn attention(context: &mut Context<'_, '_>, step: &Step, _: &mut dyn Host) -> Result<(), Error> {
    let Step::CachedAttention(s) = step else { return Err(context.refused()) };
    let position = position(context, s.positions)?;
    let before = usize::try_from(position).map_err(|_| Error::IndexOutside { step: context.index })?;
    transformer::attend(context, &s.attention, Some(before))
}
