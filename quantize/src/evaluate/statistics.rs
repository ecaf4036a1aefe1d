//! How sure a figure from so many samples is.

use crate::random::Random;

/// The standard normal's 97.5 % point: 95 % lie within it on both sides.
const Z: f64 = 1.959_963_984_540_054;
/// Resamples of a bootstrap.
const RESAMPLES: usize = 1000;
/// Where the bootstrap's draws begin.
const SEED: u64 = 0x5eed;

/// A figure with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Estimate {
    /// What was measured.
    pub value: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
}

/// The share `hits / of` with Wilson's score interval, <https://doi.org/10.1080/01621459.1927.10502953>; 0 to 1 where
/// `of` is 0.
pub fn share(hits: usize, of: usize) -> Estimate {
    if of == 0 {
        return Estimate { value: 0.0, low: 0.0, high: 1.0 };
    }
    let n = of as f64;
    let value = hits as f64 / n;
    let middle = value + Z * Z / (2.0 * n);
    let half = Z * (value * (1.0 - value) / n + Z * Z / (4.0 * n * n)).sqrt();
    let whole = 1.0 + Z * Z / n;
    // At the ends rounding could leave the interval a hair beyond.
    let low = if hits == 0 { 0.0 } else { (middle - half) / whole };
    let high = if hits == of { 1.0 } else { (middle + half) / whole };
    Estimate { value, low, high }
}

/// McNemar's exact test: how likely two equally good models differ at least as unevenly as `lost` against `won`
/// samples that only one of them has right, <https://doi.org/10.1007/BF02295996>. Two-sided binomial, 0 … 1.
pub fn mcnemar(lost: usize, won: usize) -> f64 {
    let n = (lost + won) as f64;
    let mut logarithm = -n * std::f64::consts::LN_2;
    let mut sum = 0.0;
    for index in 0..=lost.min(won) {
        sum += logarithm.exp();
        let index = index as f64;
        logarithm += ((n - index) / (index + 1.0)).ln();
    }
    (2.0 * sum).min(1.0)
}

/// The value of `statistic` and its percentile interval over resamples of `samples` samples (Efron's bootstrap,
/// <https://doi.org/10.1214/aos/1176344552>). `statistic` gets the number of times that each sample counts. The draws
/// are always the same.
pub fn bootstrap(samples: usize, mut statistic: impl FnMut(&[u32]) -> f64) -> Estimate {
    let value = statistic(&vec![1; samples]);
    let mut random = Random::new(SEED);
    let mut resampled: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let mut times = vec![0; samples];
            (0..samples).for_each(|_| times[random.below(samples)] += 1);
            statistic(&times)
        })
        .collect();
    resampled.sort_by(f64::total_cmp);
    // Linear between the two nearest, as NumPy's percentile does.
    let percentile = |percent: f64| {
        let place = percent / 100.0 * (RESAMPLES - 1) as f64;
        let below = resampled[place.floor() as usize];
        below + (resampled[place.ceil() as usize] - below) * place.fract()
    };
    Estimate { value, low: percentile(2.5), high: percentile(97.5) }
}

/// The mean of `values` with its bootstrap interval.
pub fn mean(values: &[f64]) -> Estimate {
    bootstrap(values.len(), |times| weighted_mean(values, times))
}

fn weighted_mean(values: &[f64], times: &[u32]) -> f64 {
    let sum: f64 = values.iter().zip(times).map(|(value, times)| value * f64::from(*times)).sum();
    sum / times.iter().map(|times| f64::from(*times)).sum::<f64>().max(1.0)
}

/// Area under the receiver operating characteristic: how often a positive sample scores above a negative one, ties as
/// one half. `order` are the samples from the lowest score up; 0.5 where one of the two kinds is absent.
pub fn area_under_curve(scores: &[f64], order: &[usize], is_positive: &[bool], times: &[u32]) -> f64 {
    let (mut below, mut positives, mut sum) = (0.0, 0.0, 0.0);
    for tied in order.chunk_by(|a, b| scores[*a] == scores[*b]) {
        let count = |wanted: bool| {
            let weights =
                tied.iter().filter(|index| is_positive[**index] == wanted).map(|index| f64::from(times[*index]));
            weights.sum::<f64>()
        };
        let (positive, negative) = (count(true), count(false));
        sum += positive * (below + negative / 2.0);
        below += negative;
        positives += positive;
    }
    if below * positives > 0.0 { sum / (below * positives) } else { 0.5 }
}

/// The samples from the lowest score up, equal ones in order.
pub fn ascending(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_wilsons_interval() {
        // scipy.stats.binomtest(hits, of).proportion_ci(method="wilson"), scipy 1.x.
        let cases = [
            (466, 500, 0.9064790772661258, 0.9509334925750932),
            (0, 10, 0.0, 0.27753279986288926),
            (10, 10, 0.7224672001371109, 1.0),
            (5, 10, 0.236593090512564, 0.7634069094874361),
        ];
        for (hits, of, low, high) in cases {
            let found = share(hits, of);
            assert!((found.low - low).abs() < 1e-12 && (found.high - high).abs() < 1e-12, "{hits}/{of}: {found:?}");
        }
        assert_eq!(share(0, 0), Estimate { value: 0.0, low: 0.0, high: 1.0 });
    }

    #[test]
    fn mcnemar_is_the_exact_binomial_test() {
        // scipy.stats.binomtest(min(b, c), b + c, 0.5).pvalue.
        let cases = [
            (1, 7, 0.0703125),
            (5, 5, 1.0),
            (0, 3, 0.25),
            (12, 25, 0.04703102743951604),
            (61, 40, 0.046044066929342785),
            (0, 0, 1.0),
        ];
        for (lost, won, p) in cases {
            assert!((mcnemar(lost, won) - p).abs() < 1e-12, "{lost} {won}: {}", mcnemar(lost, won));
        }
    }

    #[test]
    fn ties_count_half_under_the_curve() {
        // sklearn.metrics.roc_auc_score([0, 0, 1, 1, 0, 1, 0, 1], [.1, .4, .35, .8, .35, .7, .35, .2]) = 0.6875.
        let scores = [0.1, 0.4, 0.35, 0.8, 0.35, 0.7, 0.35, 0.2];
        let positive = [0, 0, 1, 1, 0, 1, 0, 1].map(|label| label == 1);
        assert_eq!(area_under_curve(&scores, &ascending(&scores), &positive, &[1; 8]), 0.6875);
        assert_eq!(area_under_curve(&scores, &ascending(&scores), &[true; 8], &[1; 8]), 0.5);
    }

    #[test]
    fn the_bootstrap_of_a_mean_is_about_two_standard_errors_wide() {
        let mut random = Random::new(1);
        let values: Vec<f64> = (0..400).map(|_| 3.0 + random.normal()).collect();
        let found = mean(&values);
        // 2 · 1.96 / √400 = 0.196; the bootstrap's own noise is a few percent of it.
        assert!((found.high - found.low - 0.196).abs() < 0.03, "{found:?}");
        assert!(found.low < found.value && found.value < found.high);
        assert_eq!(found, mean(&values));
        let constant = mean(&[2.0; 5]);
        assert_eq!((constant.low, constant.high), (2.0, 2.0));
    }
}
