//! Where every tensor lies in the arena.
//!
//! Placing buffers with fixed lifetimes so that the arena is smallest is NP-hard; best fit in a good
//! order comes close (Pisarchyk & Lee, «Efficient memory management for deep neural net inference»,
//! 2020). Several orders are tried, then the best one is improved by seeded random swaps until it
//! meets the lower bound or the tries are spent.

use cygnet_core::plan::ALIGNMENT;

/// A tensor as the planner sees it.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    pub bytes: usize,
    /// First time that it holds something.
    pub first: u32,
    /// Last time that it is read.
    pub last: u32,
    /// The tensor whose place it takes over.
    pub replaces: Option<usize>,
}

/// The result.
#[derive(Debug)]
pub(crate) struct Places {
    /// By tensor.
    pub offsets: Vec<usize>,
    pub arena_bytes: usize,
    /// The largest set of bytes alive at one time.
    pub live_bytes: usize,
}

/// Tensors that share one place, from the first write of the first to the last read of the last.
#[derive(Clone, Debug)]
struct Slot {
    bytes: usize,
    first: u32,
    last: u32,
}

const TRIES: u32 = 2000;

/// The time at which most bytes live.
pub(crate) struct Live {
    pub bytes: usize,
    pub time: u32,
}

/// The largest set of bytes alive at one time.
pub(crate) fn live(buffers: &[Buffer]) -> Live {
    largest_live_set(&slots(buffers).0)
}

/// The slots, and which one each buffer has.
fn slots(buffers: &[Buffer]) -> (Vec<Slot>, Vec<usize>) {
    let mut slot_of: Vec<usize> = vec![0; buffers.len()];
    let mut slots: Vec<Slot> = Vec::new();
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|&index| (buffers[index].first, buffers[index].replaces.is_some()));
    for index in order {
        let buffer = &buffers[index];
        let bytes = buffer.bytes.next_multiple_of(ALIGNMENT);
        if let Some(replaced) = buffer.replaces {
            slot_of[index] = slot_of[replaced];
            slots[slot_of[index]].last = buffer.last;
        } else {
            slot_of[index] = slots.len();
            slots.push(Slot { bytes, first: buffer.first, last: buffer.last });
        }
    }
    (slots, slot_of)
}

/// Places all buffers.
pub(crate) fn place(buffers: &[Buffer]) -> Places {
    let (slots, slot_of) = slots(buffers);
    let live_bytes = largest_live_set(&slots).bytes;
    let mut best: Option<(usize, Vec<usize>, Vec<usize>)> = None;
    let mut consider = |order: Vec<usize>| {
        let (size, offsets) = best_fit(&slots, &order);
        if best.as_ref().is_none_or(|(least, _, _)| size < *least) {
            best = Some((size, offsets, order));
        }
    };
    let sorted = |key: &dyn Fn(&Slot) -> (usize, u32)| {
        let mut order: Vec<usize> = (0..slots.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(key(&slots[index])));
        order
    };
    consider(sorted(&|slot| (slot.bytes, slot.last - slot.first)));
    consider(sorted(&|slot| ((slot.last - slot.first) as usize, slot.bytes as u32)));
    consider(sorted(&|slot| (slot.bytes * (slot.last - slot.first + 1) as usize, 0)));
    consider((0..slots.len()).collect());
    let Some((mut size, mut offsets, mut order)) = best else {
        return Places { offsets: Vec::new(), arena_bytes: 0, live_bytes: 0 };
    };
    let mut seed = 0x9e37_79b9_u32;
    let mut random = |limit: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize % limit
    };
    let tries =
        if slots.len() < 2 { 0 } else { TRIES.min((4_000_000 / slots.len().saturating_mul(slots.len())) as u32 + 20) };
    for _ in 0..tries {
        if size <= live_bytes {
            break;
        }
        let mut candidate = order.clone();
        let (from, to) = (random(slots.len()), random(slots.len()));
        let moved = candidate.remove(from);
        candidate.insert(to, moved);
        let (new_size, new_offsets) = best_fit(&slots, &candidate);
        if new_size <= size {
            (size, offsets, order) = (new_size, new_offsets, candidate);
        }
    }
    let offsets = slot_of.iter().map(|&slot| offsets[slot]).collect();
    Places { offsets, arena_bytes: size, live_bytes }
}

fn largest_live_set(slots: &[Slot]) -> Live {
    let alive = |time: u32| slots.iter().filter(move |slot| slot.first <= time && time <= slot.last);
    let live = |slot: &Slot| Live { bytes: alive(slot.first).map(|slot| slot.bytes).sum(), time: slot.first };
    slots.iter().map(live).max_by_key(|live| live.bytes).unwrap_or(Live { bytes: 0, time: 0 })
}

/// Puts each slot, in order, into the smallest gap between those placed before that live at the same time.
fn best_fit(slots: &[Slot], order: &[usize]) -> (usize, Vec<usize>) {
    let mut offsets = vec![0; slots.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut size = 0;
    for &index in order {
        let slot = &slots[index];
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|&&other| slots[other].first <= slot.last && slot.first <= slots[other].last)
            .map(|&other| (offsets[other], offsets[other] + slots[other].bytes))
            .collect();
        taken.sort_unstable();
        let mut end = 0;
        let mut best: Option<(usize, usize)> = None;
        for (start, stop) in taken {
            if start >= end + slot.bytes && best.is_none_or(|(gap, _)| start - end < gap) {
                best = Some((start - end, end));
            }
            end = end.max(stop);
        }
        offsets[index] = best.map_or(end, |(_, offset)| offset);
        size = size.max(offsets[index] + slot.bytes);
        placed.push(index);
    }
    (size, offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(bytes: usize, first: u32, last: u32) -> Buffer {
        Buffer { bytes, first, last, replaces: None }
    }

    #[test]
    fn a_chain_needs_its_two_largest_neighbours() {
        let places = place(&[buffer(64, 0, 1), buffer(128, 1, 2), buffer(32, 2, 3), buffer(96, 3, 4)]);
        assert_eq!((places.arena_bytes, places.live_bytes), (192, 192));
    }

    #[test]
    fn a_replacement_costs_nothing() {
        let mut second = buffer(64, 1, 2);
        second.replaces = Some(0);
        let places = place(&[buffer(64, 0, 1), second]);
        assert_eq!((places.arena_bytes, places.offsets), (64, vec![0, 0]));
    }
}
