//! Triangular mel filters, as their non-zero weights.

use super::convention::Sides;
use super::spec::{AudioSpec, MelNorm, MelScale};

/// Linear part of Slaney's scale: mels per Hz, and where the logarithmic part begins.
const SLANEY_HZ_PER_MEL: f64 = 200.0 / 3.0;
const SLANEY_KNEE_HZ: f64 = 1000.0;
const SLANEY_KNEE_MEL: f64 = SLANEY_KNEE_HZ / SLANEY_HZ_PER_MEL;
/// Above the knee, 27 mels multiply the frequency by 6.4.
const SLANEY_MELS: f64 = 27.0;
const SLANEY_FACTOR: f64 = 6.4;

fn to_mel(hz: f64, scale: MelScale) -> f64 {
    match scale {
        MelScale::Htk => 2595.0 * libm::log10(1.0 + hz / 700.0),
        MelScale::Slaney if hz >= SLANEY_KNEE_HZ => {
            SLANEY_KNEE_MEL + libm::log(hz / SLANEY_KNEE_HZ) / (libm::log(SLANEY_FACTOR) / SLANEY_MELS)
        }
        MelScale::Slaney => hz / SLANEY_HZ_PER_MEL,
    }
}

fn to_hz(mel: f64, scale: MelScale) -> f64 {
    match scale {
        MelScale::Htk => 700.0 * (libm::pow(10.0, mel / 2595.0) - 1.0),
        MelScale::Slaney if mel >= SLANEY_KNEE_MEL => {
            SLANEY_KNEE_HZ * libm::exp(libm::log(SLANEY_FACTOR) / SLANEY_MELS * (mel - SLANEY_KNEE_MEL))
        }
        MelScale::Slaney => mel * SLANEY_HZ_PER_MEL,
    }
}

/// 1 in the centre, 0 at the sides and less beyond.
fn triangle(at: f64, left: f64, centre: f64, right: f64) -> f64 {
    ((at - left) / (centre - left)).min((right - at) / (right - centre))
}

/// Weights a spectrum of `fft / 2 + 1` bins can have: a bin lies under at most two triangles.
pub(super) const fn most_weights(fft: usize) -> usize {
    2 * (fft / 2 + 1)
}

/// Writes, per band, its first bin and number of bins into `spans` (two values each), and the weights
/// of all bands one after another into `weights`.
pub(super) fn write_filters(spec: &AudioSpec, spans: &mut [f32], weights: &mut [f32]) {
    let low = to_mel(f64::from(spec.mel_low_hz), spec.mel_scale);
    let high = to_mel(f64::from(spec.mel_high_hz), spec.mel_scale);
    let mel = |k: usize| low + (high - low) * k as f64 / f64::from(spec.mels + 1);
    let edge = |k: usize| to_hz(mel(k), spec.mel_scale);
    let bin_hz = f64::from(spec.sample_rate) / f64::from(spec.fft);
    let mut free = weights.iter_mut();
    let (mut left, mut centre) = (edge(0), edge(1));
    for (band, span) in spans.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        let right = edge(band + 2);
        let height = match spec.mel_norm {
            MelNorm::None => 1.0,
            MelNorm::Slaney => 2.0 / (right - left),
        };
        let mut first = 0;
        let mut count = 0;
        for bin in 0..=spec.fft as usize / 2 {
            let hz = bin as f64 * bin_hz;
            let weight = match spec.convention.sides {
                Sides::Hertz => triangle(hz, left, centre, right),
                Sides::Mel => triangle(to_mel(hz, spec.mel_scale), mel(band), mel(band + 1), mel(band + 2)),
            };
            if weight > 0.0
                && let Some(to) = free.next()
            {
                if count == 0 {
                    first = bin;
                }
                count += 1;
                *to = (weight * height) as f32;
            }
        }
        *span = [first as f32, count as f32];
        (left, centre) = (centre, right);
    }
}

/// The power of each band, summed from the lowest bin up.
pub(super) fn band_powers(power: &[f32], spans: &[f32], weights: &[f32], bands: &mut [f32]) {
    let mut rest = weights;
    for (band, span) in bands.iter_mut().zip(spans.as_chunks::<2>().0) {
        // Small whole numbers: exact in f32.
        let [first, count] = span.map(|value| value as usize);
        let (own, others) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        rest = others;
        let bins = power.get(first..).unwrap_or_default();
        *band = bins.iter().zip(own).fold(0.0, |sum, (&power, &weight)| sum + power * weight);
    }
}
