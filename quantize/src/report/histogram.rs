//! Histograms that are small enough to be shown.

use serde::Serialize;

use crate::calibrate::Distribution;

/// Bins of a histogram.
const BINS: usize = 64;

/// How often values fall into each of equally wide bins between two ends.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Histogram {
    /// Where the first bin begins.
    pub low: f32,
    /// Where the last bin ends.
    pub high: f32,
    /// Values in each bin.
    pub counts: Vec<u64>,
}

impl Histogram {
    fn between(low: f32, high: f32, values: impl Iterator<Item = (f32, u64)>) -> Histogram {
        let mut counts = vec![0; BINS];
        let width = (f64::from(high) - f64::from(low)).max(f64::MIN_POSITIVE);
        for (value, count) in values {
            let place = (f64::from(value) - f64::from(low)) / width * BINS as f64;
            // Negative places become 0.
            counts[(place as usize).min(BINS - 1)] += count;
        }
        Histogram { low, high, counts }
    }

    /// What calibration saw of a tensor; `None` where it saw nothing.
    pub fn of_distribution(seen: &Distribution) -> Option<Histogram> {
        (seen.count() > 0).then(|| Histogram::between(seen.low, seen.high, seen.bins()))
    }

    /// Of values that are all there; `None` where there are none.
    pub fn of_values(values: &[f32]) -> Option<Histogram> {
        let low = values.iter().copied().reduce(f32::min)?;
        let high = values.iter().copied().reduce(f32::max)?;
        Some(Histogram::between(low, high, values.iter().map(|&value| (value, 1))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_its_bin() {
        // 0, 1, … 127 in 64 bins: two each.
        let values: Vec<f32> = (0..128).map(|v| v as f32).collect();
        let histogram = Histogram::of_values(&values).unwrap();
        assert_eq!((histogram.low, histogram.high), (0.0, 127.0));
        assert_eq!(histogram.counts, vec![2; 64]);
        assert_eq!(Histogram::of_values(&[3.0; 5]).unwrap().counts[0], 5);
        assert_eq!(Histogram::of_values(&[]), None);
    }

    #[test]
    fn no_value_of_a_distribution_is_lost() {
        let mut seen = Distribution::default();
        assert_eq!(Histogram::of_distribution(&seen), None);
        assert!(seen.add(&[-1.0, -0.5, 0.0, 0.25, 3.0]));
        let histogram = Histogram::of_distribution(&seen).unwrap();
        assert_eq!((histogram.low, histogram.high), (-1.0, 3.0));
        assert_eq!(histogram.counts.iter().sum::<u64>(), 5);
        // -1 is in the first bin, 3 in the last; a bin is 1/16 wide, so 0 lies in bin 16.
        assert_eq!([histogram.counts[0], histogram.counts[63], histogram.counts[16]], [1, 1, 1]);
    }
}
