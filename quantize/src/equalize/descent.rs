//! Lowers the expected noise of a cluster channel by channel.

use super::noise::{Cluster, Column, ROUNDING, factor};

/// Rounds over all channels at most; noise hardly falls after the third.
const ROUNDS: usize = 4;
/// A step is taken where noise falls by this share of all noise at least.
const LEAST_GAIN: f64 = 1e-9;

/// The noise of a cluster with the parts it is made of, so that a change of one factor costs little.
struct Descent<'c> {
    cluster: &'c Cluster,
    factors: Vec<f64>,
    /// Noise of each group.
    groups: Vec<f64>,
    /// For each reader and row the largest weight and the energy that its rounding is multiplied with.
    rows: Vec<Vec<(f64, f64)>>,
    /// For each class the groups that it is in.
    groups_of: Vec<Vec<usize>>,
    /// For each class reader, row and column of what reads it.
    columns_of: Vec<Vec<(usize, usize, usize)>>,
}

/// Changes single exponents by one, between `bounds`, as long as that lowers the noise; gives the noise.
pub(super) fn descend(cluster: &Cluster, exponents: &mut [i32], bounds: &[(i32, i32)]) -> f64 {
    let mut descent = Descent::of(cluster, exponents.iter().map(|&e| 2f64.powi(e)).collect());
    let mut noise = descent.noise();
    for _ in 0..ROUNDS {
        let before = noise;
        for place in 0..exponents.len() {
            let (low, high) = bounds[place];
            let steps = [-1, 1].map(|step| exponents[place] + step);
            let tried = steps.into_iter().filter(|e| (low..=high).contains(e)).map(|e| (descent.change(place, e), e));
            let best = tried.reduce(|best, next| if next.0 < best.0 { next } else { best });
            if let Some((change, exponent)) = best
                && change < -LEAST_GAIN * noise
            {
                descent.set(place, exponent);
                exponents[place] = exponent;
                noise += change;
            }
        }
        if noise > before * (1.0 - 1e-3) {
            break;
        }
    }
    cluster.noise(&descent.factors)
}

impl<'c> Descent<'c> {
    fn of(cluster: &'c Cluster, factors: Vec<f64>) -> Descent<'c> {
        let mut groups_of = vec![Vec::new(); factors.len()];
        for (number, group) in cluster.groups.iter().enumerate() {
            for place in group.iter().filter_map(|channel| channel.place) {
                if groups_of[place].last() != Some(&number) {
                    groups_of[place].push(number);
                }
            }
        }
        let mut columns_of = vec![Vec::new(); factors.len()];
        for (reader, rows) in cluster.readers.iter().map(|reader| &reader.rows).enumerate() {
            for (row, columns) in rows.iter().enumerate() {
                for (column, place) in columns.iter().enumerate().filter_map(|(c, column)| Some((c, column.place?))) {
                    columns_of[place].push((reader, row, column));
                }
            }
        }
        let groups = cluster.groups.iter().map(|group| cluster.activation_noise(group, &factors)).collect();
        let row = |row: &Vec<Column>| (largest(row, &factors), row.iter().map(|c| energy(c, &factors)).sum());
        let rows = cluster.readers.iter().map(|reader| reader.rows.iter().map(row).collect()).collect();
        Descent { cluster, factors, groups, rows, groups_of, columns_of }
    }

    fn noise(&self) -> f64 {
        self.cluster.noise(&self.factors)
    }

    /// By how much the noise changes when the class at `place` gets this exponent.
    fn change(&mut self, place: usize, exponent: i32) -> f64 {
        let old = std::mem::replace(&mut self.factors[place], 2f64.powi(exponent));
        let groups = self.groups_of[place].iter();
        let of_group = |&group: &usize| {
            self.cluster.activation_noise(&self.cluster.groups[group], &self.factors) - self.groups[group]
        };
        let mut change: f64 = groups.map(of_group).sum();
        for &(reader, row, column) in &self.columns_of[place] {
            let (largest, energy) = self.rows[reader][row];
            let (new_largest, new_energy) = self.row_with(reader, row, column, old);
            let scale = ROUNDING / (127.0 * 127.0 * self.cluster.readers[reader].energy);
            change += scale * (new_largest * new_largest * new_energy - largest * largest * energy);
        }
        self.factors[place] = old;
        change
    }

    /// Largest weight and energy of a row, where the factor of `column` was `old` and is new now.
    fn row_with(&self, reader: usize, row: usize, column: usize, old: f64) -> (f64, f64) {
        let (before, energy_before) = self.rows[reader][row];
        let columns = &self.cluster.readers[reader].rows[row];
        let changed = &columns[column];
        let new = factor(&self.factors, changed.place);
        let power = changed.count * changed.mean_square;
        let is_largest = changed.largest * old >= before;
        let largest =
            if is_largest && new < old { largest(columns, &self.factors) } else { before.max(changed.largest * new) };
        (largest, energy_before - power / (old * old) + power / (new * new))
    }

    fn set(&mut self, place: usize, exponent: i32) {
        self.factors[place] = 2f64.powi(exponent);
        for &group in &self.groups_of[place] {
            self.groups[group] = self.cluster.activation_noise(&self.cluster.groups[group], &self.factors);
        }
        for &(reader, row, _) in &self.columns_of[place] {
            let columns = &self.cluster.readers[reader].rows[row];
            let energy = columns.iter().map(|c| energy(c, &self.factors)).sum();
            self.rows[reader][row] = (largest(columns, &self.factors), energy);
        }
    }
}

fn largest(columns: &[Column], factors: &[f64]) -> f64 {
    columns.iter().map(|column| column.largest * factor(factors, column.place)).fold(0.0, f64::max)
}

fn energy(column: &Column, factors: &[f64]) -> f64 {
    column.count * column.mean_square / factor(factors, column.place).powi(2)
}
