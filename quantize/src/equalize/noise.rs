//! How much quantization noise a choice of factors is expected to leave.
//!
//! Noise of rounding to steps of `d` has the variance `d² / 12`. An activation's steps are those of the widest channel
//! of its group; a weight's those of the largest weight of its row. Both are counted at the output of the layers that
//! read the activations, as a share of the energy of that output.

use std::collections::BTreeMap;

use cygnet_onnx::model::Model;
use rayon::prelude::*;

use super::seen::ChannelRanges;
use crate::channels::{Channels, Labels};
use crate::placement::Placement;

/// The variance of rounding to whole steps.
pub(super) const ROUNDING: f64 = 1.0 / 12.0;

/// Activations whose channels share steps, and the layers that read them.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    /// The free classes that occur in it, in order; factors are given in this order.
    pub(super) classes: Vec<usize>,
    /// Tensors with one scale: which classes with which ranges.
    pub(super) groups: Vec<Vec<Channel>>,
    pub(super) readers: Vec<Reader>,
    /// The energy that a unit of noise in each class makes at all readers' outputs.
    gain: Vec<f64>,
}

/// A class in a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channel {
    /// Its place in [`Cluster::classes`]; `None` for a class that stays as it is.
    pub(super) place: Option<usize>,
    low: f64,
    high: f64,
    mean_square: f64,
    /// The share of values that are not 0; 0 is a level, so the others alone are rounded.
    share: f64,
}

/// A layer that reads classes.
#[derive(Debug)]
pub(super) struct Reader {
    /// For each output channel the classes that it reads.
    pub(super) rows: Vec<Vec<Column>>,
    /// The energy of the output.
    pub(super) energy: f64,
}

/// What one output channel reads of one class.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) place: Option<usize>,
    /// The largest weight.
    pub(super) largest: f64,
    /// The number of weights.
    pub(super) count: f64,
    /// The sum of the squared weights.
    squares: f64,
    /// The mean square of what is read.
    pub(super) mean_square: f64,
}

/// What `of_cluster` tells of each cluster of a model; classes whose tensors share steps are in one. Few are there at the
/// same time: they are large.
pub(super) fn clusters<T: Send>(
    model: &Model,
    channels: &Channels,
    placement: &Placement,
    seen: &ChannelRanges,
    of_cluster: impl Fn(Cluster) -> T + Sync,
) -> Vec<T> {
    let mut of_group: Vec<BTreeMap<usize, ()>> = Vec::new();
    for group in &placement.groups {
        let labels = group.sources.iter().filter_map(|tensor| channels.of.get(tensor));
        let free = labels.flat_map(|labels| labels.marks().to_vec()).filter(|&class| channels.is_free(class));
        of_group.push(free.map(|class| (class, ())).collect());
    }
    // Groups that share a class are one cluster.
    let mut cluster_of_class: BTreeMap<usize, usize> = BTreeMap::new();
    let mut members: Vec<Vec<usize>> = Vec::new();
    for (group, classes) in of_group.iter().enumerate().filter(|(_, classes)| !classes.is_empty()) {
        let mut met: Vec<usize> = classes.keys().filter_map(|class| cluster_of_class.get(class).copied()).collect();
        met.sort_unstable();
        met.dedup();
        let home = met.first().copied().unwrap_or(members.len());
        if home == members.len() {
            members.push(Vec::new());
        }
        for &other in met.iter().skip(1) {
            let moved = std::mem::take(&mut members[other]);
            members[home].extend(moved);
            cluster_of_class.values_mut().filter(|cluster| **cluster == other).for_each(|cluster| *cluster = home);
        }
        members[home].push(group);
        classes.keys().for_each(|&class| {
            cluster_of_class.insert(class, home);
        });
    }
    members
        .par_iter()
        .filter(|m| !m.is_empty())
        .map(|m| of_cluster(cluster(model, channels, placement, seen, m, &of_group)))
        .collect()
}

fn cluster(
    model: &Model,
    channels: &Channels,
    placement: &Placement,
    seen: &ChannelRanges,
    groups: &[usize],
    of_group: &[BTreeMap<usize, ()>],
) -> Cluster {
    let classes: BTreeMap<usize, ()> = groups.iter().flat_map(|&g| of_group[g].clone()).collect();
    let mut cluster = Cluster { classes: classes.into_keys().collect(), ..Cluster::default() };
    let place = |cluster: &Cluster, class: usize| cluster.classes.binary_search(&class).ok();
    for &group in groups {
        let mut channels_of_group = Vec::new();
        for tensor in &placement.groups[group].sources {
            for (&class, range) in seen.get(tensor).into_iter().flatten().filter(|(_, range)| range.count > 0) {
                channels_of_group.push(Channel {
                    place: place(&cluster, class),
                    low: f64::from(range.low),
                    high: f64::from(range.high),
                    mean_square: range.mean_square(),
                    share: range.share(),
                });
            }
        }
        cluster.groups.push(channels_of_group);
    }
    let sizes: Vec<f64> = mean_squares(seen, &cluster.classes);
    for part in channels.uses.iter() {
        let Some(reads) = part.reads.as_ref() else { continue };
        if !reads.marks().iter().any(|&class| place(&cluster, class).is_some()) {
            continue;
        }
        let Some(weights) = model.nodes[part.node].input(part.input).and_then(|name| model.initializers.get(name))
        else {
            continue;
        };
        let (Some(makes), Ok(values)) = (&part.makes, weights.to_f32s()) else { continue };
        let input = model.nodes[part.node].input(0).and_then(|name| seen.get(name));
        let mean_square = |class: usize| {
            let watched = input.and_then(|ranges| ranges.get(&class)).map(|range| range.mean_square());
            watched.or_else(|| place(&cluster, class).map(|place| sizes[place])).unwrap_or(0.0)
        };
        let rows = rows(&values, &weights.shape, makes, reads, |class| (place(&cluster, class), mean_square(class)));
        let energy = rows.iter().flatten().map(|column| column.squares * column.mean_square).sum::<f64>();
        if energy > 0.0 {
            cluster.readers.push(Reader { rows, energy });
        }
    }
    cluster.gain = vec![0.0; cluster.classes.len()];
    for reader in &cluster.readers {
        for column in reader.rows.iter().flatten() {
            if let Some(place) = column.place {
                cluster.gain[place] += column.squares / reader.energy;
            }
        }
    }
    cluster
}

/// The largest mean square that each class has in any tensor.
fn mean_squares(seen: &ChannelRanges, classes: &[usize]) -> Vec<f64> {
    let of = |class: &usize| seen.values().filter_map(|r| r.get(class)).map(|r| r.mean_square()).fold(0.0, f64::max);
    classes.iter().map(of).collect()
}

fn rows(
    values: &[f32],
    shape: &[usize],
    makes: &Labels,
    reads: &Labels,
    about: impl Fn(usize) -> (Option<usize>, f64),
) -> Vec<Vec<Column>> {
    let mut rows: BTreeMap<usize, BTreeMap<usize, Column>> = BTreeMap::new();
    for ((&value, made), read) in values.iter().zip(makes.elements(shape)).zip(reads.elements(shape)) {
        let column = rows.entry(made).or_default().entry(read).or_insert_with(|| {
            let (place, mean_square) = about(read);
            Column { place, largest: 0.0, count: 0.0, squares: 0.0, mean_square }
        });
        let value = f64::from(value);
        column.largest = column.largest.max(value.abs());
        column.squares += value * value;
        column.count += 1.0;
    }
    rows.into_values().map(|row| row.into_values().collect()).collect()
}

/// A factor for a class, 1 for one that stays.
pub(super) fn factor(factors: &[f64], place: Option<usize>) -> f64 {
    place.map_or(1.0, |place| factors[place])
}

impl Cluster {
    /// The noise expected at all readers when class `c` is divided by `factors[c]`, as a share of their output.
    pub(super) fn noise(&self, factors: &[f64]) -> f64 {
        let activations: f64 = self.groups.iter().map(|group| self.activation_noise(group, factors)).sum();
        activations + self.readers.iter().map(|reader| weight_noise(reader, factors)).sum::<f64>()
    }

    pub(super) fn activation_noise(&self, group: &[Channel], factors: &[f64]) -> f64 {
        let (mut low, mut high) = (0f64, 0f64);
        for channel in group {
            let factor = factor(factors, channel.place);
            (low, high) = (low.min(channel.low / factor), high.max(channel.high / factor));
        }
        let rounding = ((high - low) / 255.0).powi(2) * ROUNDING;
        let of_channel = |channel: &Channel| {
            let Some(place) = channel.place else { return 0.0 };
            // What is rounded to 0 loses no more than all of its energy.
            let rounded = rounding * channel.share * factors[place].powi(2);
            self.gain[place] * rounded.min(channel.mean_square)
        };
        group.iter().map(of_channel).sum()
    }

    /// How far each class reaches, as a share of the widest class of its groups: 0 … 1.
    pub(super) fn reach(&self) -> Vec<f64> {
        let mut reach = vec![0f64; self.classes.len()];
        for group in &self.groups {
            let peak = |channel: &Channel| channel.high.max(-channel.low).max(0.0);
            let widest = group.iter().map(peak).fold(0.0, f64::max);
            for channel in group.iter().filter(|_| widest > 0.0) {
                if let Some(place) = channel.place {
                    reach[place] = reach[place].max(peak(channel) / widest);
                }
            }
        }
        reach
    }

    /// The largest weight that reads each class, as a share of the largest of its row: 0 … 1.
    pub(super) fn weight(&self) -> Vec<f64> {
        let mut weight = vec![0f64; self.classes.len()];
        for row in self.readers.iter().flat_map(|reader| &reader.rows) {
            let largest = row.iter().map(|column| column.largest).fold(0.0, f64::max);
            for column in row.iter().filter(|_| largest > 0.0) {
                if let Some(place) = column.place {
                    weight[place] = weight[place].max(column.largest / largest);
                }
            }
        }
        weight
    }

    /// Whether a layer reads the cluster.
    pub(super) fn is_read(&self) -> bool {
        !self.readers.is_empty()
    }
}

fn weight_noise(reader: &Reader, factors: &[f64]) -> f64 {
    let mut noise = 0.0;
    for row in &reader.rows {
        let (mut largest, mut energy) = (0f64, 0.0);
        for column in row {
            let factor = factor(factors, column.place);
            largest = largest.max(column.largest * factor);
            energy += column.count * column.mean_square / (factor * factor);
        }
        let step = largest / 127.0;
        noise += step * step * ROUNDING * energy;
    }
    noise / reader.energy
}
