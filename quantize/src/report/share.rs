//! Shares of samples and how sure they are.

use serde::Serialize;

/// A share, 0 … 1, with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Share {
    /// Samples.
    pub samples: usize,
    /// The share.
    pub value: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
}

impl Share {
    /// `hits` of `samples`, with the interval of Wilson (1927), which stays within 0 and 1.
    pub fn of(hits: usize, samples: usize) -> Share {
        if samples == 0 {
            return Share { samples, value: 0.0, low: 0.0, high: 1.0 };
        }
        // The 97.5 % quantile of the normal distribution.
        const Z: f64 = 1.959_963_984_540_054;
        let (n, share) = (samples as f64, hits as f64 / samples as f64);
        let middle = (share + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
        let half = Z / (1.0 + Z * Z / n) * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
        // At the ends the formula gives them exactly, but for rounding.
        let low = if hits == 0 { 0.0 } else { middle - half };
        let high = if hits == samples { 1.0 } else { middle + half };
        Share { samples, value: share, low, high }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_wilsons() {
        // Worked by hand with z² = 3.841459: 90 of 100 → 0.82563 … 0.94478; all of 10 → 10 / 13.841459 … 1.
        let share = Share::of(90, 100);
        assert!((share.low - 0.82563).abs() < 1e-5 && (share.high - 0.94478).abs() < 1e-5, "{share:?}");
        let share = Share::of(10, 10);
        assert!((share.low - 0.722467).abs() < 1e-5 && share.high == 1.0, "{share:?}");
        assert_eq!(Share::of(0, 0).high, 1.0);
    }
}
