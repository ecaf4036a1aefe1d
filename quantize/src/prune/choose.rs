//! Chooses the channels that go: those that contribute least for what they cost.

use std::collections::BTreeSet;

use super::cost::{Cost, Layer};
use crate::channels::Channels;

/// Channels go in blocks of this many, as kernels compute them.
const BLOCK: usize = 8;
/// Sets with fewer channels than this go in halves of a block.
const NARROW: usize = 96;

/// One of so many blocks of a set may go: which of the others matter is known only when they are fitted again.
const MOST: usize = 4;

/// The classes that go, so that at most `1 - share` of the cost `whole` is left, or as near as whole blocks come.
pub(super) fn choose(
    channels: &Channels,
    layers: &[Layer],
    saliency: &[f64],
    whole: Cost,
    share: f64,
) -> BTreeSet<usize> {
    let mut queues: Vec<Queue> = channels.free_sets().into_values().map(|set| Queue::of(set, saliency)).collect();
    queues.retain(|queue| layers.iter().any(|layer| layer.touches(&queue.all())));
    let mut gone = BTreeSet::new();
    let mut left = total(layers, &gone);
    while left.share(whole) > 1.0 - share {
        let scored = queues.iter().enumerate().filter_map(|(number, queue)| {
            let block = queue.next()?;
            let saved = saved(layers, &gone, block);
            let lost: f64 = block.iter().map(|&class| saliency[class]).sum();
            Some((lost / saved.share(whole).max(1e-12), number))
        });
        let Some((_, number)) = scored.min_by(|one, other| one.0.total_cmp(&other.0)) else { break };
        gone.extend(queues[number].take());
        left = total(layers, &gone);
    }
    gone
}

/// The cost of all layers without the classes that are gone.
pub(super) fn total(layers: &[Layer], gone: &BTreeSet<usize>) -> Cost {
    layers.iter().map(|layer| layer.cost(gone)).fold(Cost::default(), add)
}

fn add(one: Cost, other: Cost) -> Cost {
    Cost { macs: one.macs + other.macs, weights: one.weights + other.weights }
}

/// What is saved when `block` goes too.
fn saved(layers: &[Layer], gone: &BTreeSet<usize>, block: &[usize]) -> Cost {
    let block: BTreeSet<usize> = block.iter().copied().collect();
    let without: BTreeSet<usize> = gone.union(&block).copied().collect();
    let mut saved = Cost::default();
    for layer in layers.iter().filter(|layer| layer.touches(&block)) {
        let (before, after) = (layer.cost(gone), layer.cost(&without));
        saved = add(saved, Cost { macs: before.macs - after.macs, weights: before.weights - after.weights });
    }
    saved
}

/// The free classes of one set, the least salient first, in blocks.
struct Queue {
    blocks: Vec<Vec<usize>>,
    taken: usize,
    /// Blocks that may go.
    most: usize,
}

impl Queue {
    fn of(mut set: Vec<usize>, saliency: &[f64]) -> Queue {
        set.sort_by(|&one, &other| saliency[one].total_cmp(&saliency[other]).then(one.cmp(&other)));
        let size = if set.len() < NARROW { BLOCK / 2 } else { BLOCK };
        // What is over goes first, so that whole blocks stay.
        let over = set.len() % size;
        let mut blocks: Vec<Vec<usize>> = Vec::new();
        if over > 0 {
            blocks.push(set[..over].to_vec());
        }
        blocks.extend(set[over..].chunks(size).map(<[usize]>::to_vec));
        let most = (blocks.len() / MOST).max(1);
        Queue { blocks, taken: 0, most }
    }

    fn all(&self) -> BTreeSet<usize> {
        self.blocks.iter().flatten().copied().collect()
    }

    /// The block to go next.
    fn next(&self) -> Option<&[usize]> {
        if self.taken + 1 < self.blocks.len() && self.taken < self.most { Some(&self.blocks[self.taken]) } else { None }
    }

    fn take(&mut self) -> Vec<usize> {
        self.taken += 1;
        self.blocks[self.taken - 1].clone()
    }
}
