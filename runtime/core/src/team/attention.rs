//! How attention is cut.

use core::ops::Range;

use super::{FLOAT_SHARE, Shared, THREADS, Team, parts_of};
use crate::kernels::portable::attention::TILE;
use crate::kernels::view::f32s_inside;
use crate::kernels::{AttentionArgs, AttentionPart};
use crate::plan::step::Attention;

/// What a step is cut along: always so that the results of a part lie together, apart from those of the others.
#[derive(Clone, Copy, Debug)]
enum Axis {
    Sequences,
    /// Heads that read the same keys stay together.
    Heads,
    /// Some queries of all heads, whole tiles of them.
    Queries,
}

/// How a step is cut.
#[derive(Clone, Copy)]
pub(super) struct Parts<'s> {
    step: &'s Attention,
    axis: Axis,
    length: usize,
    pub count: usize,
}

impl<'s> Parts<'s> {
    /// For a team of `size`, where queries see `seen` keys at most; `None` when the work is not worth it.
    pub fn of(step: &'s Attention, seen: usize, size: usize, least: u64) -> Option<Self> {
        let [heads, queries] = [step.heads, step.queries].map(|count| count as usize);
        let rows = u64::from(step.batch).saturating_mul(heads as u64).saturating_mul(queries as u64);
        let work = rows.saturating_mul((u64::from(step.width) + u64::from(step.value_width)) * seen as u64);
        let (axis, length) = if step.batch > 1 {
            (Axis::Sequences, step.batch as usize)
        } else if apart(step, Axis::Heads) && step.heads > step.sharing {
            (Axis::Heads, heads / (step.sharing as usize).max(1))
        } else {
            (Axis::Queries, queries.div_ceil(TILE))
        };
        if !apart(step, axis) {
            return None;
        }
        let count = parts_of(work, least / FLOAT_SHARE, size)?.min(length);
        (count > 1).then_some(Self { step, axis, length, count })
    }

    fn get(&self, part: usize) -> AttentionPart {
        let range = part * self.length / self.count..(part + 1) * self.length / self.count;
        let scaled = |by: usize| range.start * by..range.end * by;
        let whole = AttentionPart::whole(self.step);
        match self.axis {
            Axis::Sequences => AttentionPart { sequences: range, ..whole },
            Axis::Heads => AttentionPart { heads: scaled(self.step.sharing as usize), ..whole },
            Axis::Queries => {
                let Range { start, end } = scaled(TILE);
                AttentionPart { queries: start..end.min(whole.queries.end), ..whole }
            }
        }
    }
}

/// Whether what lies between two results of a place of an axis belongs to that place: then no other has results there.
fn apart(s: &Attention, axis: Axis) -> bool {
    let [sequence, head, query] = s.y_strides.map(|stride| stride as usize);
    let [heads, queries] = [s.heads, s.queries].map(|count| (count as usize).saturating_sub(1));
    let (stride, reach) = match axis {
        Axis::Sequences => (sequence, heads * head + queries * query),
        Axis::Heads => (head, queries * query),
        Axis::Queries => (query, heads * head),
    };
    stride >= reach + s.value_width as usize
}

/// Runs an attention, by the whole team where that pays.
pub(crate) fn attention(team: Option<&dyn Team>, args: AttentionArgs<'_>, kernel: fn(AttentionArgs<'_>)) {
    let step = args.step;
    let seen = args.seen((step.queries as usize).saturating_sub(1));
    let cut =
        team.filter(|_| THREADS).and_then(|team| Some((team, Parts::of(step, seen, team.size(), team.least_work())?)));
    let Some((team, parts)) = cut else { return kernel(args) };
    let AttentionArgs { q, k, v, mask, before, y, .. } = args;
    let y = Shared::new(y);
    team.run(parts.count, &|part, room| {
        let part = parts.get(part);
        // SAFETY: the results of the parts are apart, as `apart` has seen, and each part is run once.
        let y = unsafe { y.part(part.results(step)) };
        kernel(AttentionArgs { step, part, q, k, v, mask, before, y, scratch: f32s_inside(room) });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::TensorId;

    /// One behind the other, or side by side as projections leave them.
    fn step(batch: u32, heads: u32, sharing: u32, queries: u32, side_by_side: bool) -> Attention {
        let none = TensorId::NONE;
        let (rows, width) = (queries, 5);
        let whole = rows * heads * width;
        let strides = if side_by_side { [whole, width, heads * width] } else { [whole, rows * width, width] };
        Attention {
            q: none,
            k: none,
            v: none,
            mask: None,
            y: none,
            scratch: none,
            batch,
            heads,
            sharing,
            queries,
            keys: 7,
            width: 3,
            value_width: width,
            q_strides: [0; 3],
            k_strides: [0; 3],
            v_strides: [0; 3],
            y_strides: strides,
            mask_strides: [0; 4],
            scale: 1.0,
        }
    }

    #[test]
    fn parts_lie_one_behind_the_other_and_cover_all() {
        for (batch, heads, sharing, queries, side_by_side) in
            [(1, 4, 1, 9, true), (1, 4, 2, 9, false), (3, 2, 1, 5, true), (1, 6, 3, 1, true), (1, 1, 1, 30, false)]
        {
            let step = step(batch, heads, sharing, queries, side_by_side);
            for size in 2..5 {
                let parts = Parts::of(&step, 7, size, 0).expect("worth it");
                let mut end = 0;
                for part in 0..parts.count {
                    let part = parts.get(part);
                    assert!(part.heads.start.is_multiple_of(sharing as usize), "{part:?}");
                    assert_eq!(part.results(&step).start, end, "{part:?} of {step:?}");
                    end = part.results(&step).end;
                }
                assert_eq!(end, (batch * heads * queries * 5) as usize);
            }
        }
        // Results that lie on top of each other are not cut.
        assert!(Parts::of(&Attention { y_strides: [0; 3], ..step(2, 4, 1, 9, true) }, 7, 2, 0).is_none());
    }
}
