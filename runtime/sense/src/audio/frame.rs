//! One frame of samples to one row of features.

use core::f64::consts::PI;

use super::convention::{CosineScale, FloorRule, Spectrum};
use super::mel::{band_powers, most_weights, write_filters};
use super::spec::{AudioSpec, Features};
use crate::Error;

/// The tables of a spec and the room a frame needs, in the caller's memory.
#[derive(Debug)]
pub(super) struct FrameTables<'a> {
    window: &'a mut [f32],
    spans: &'a mut [f32],
    weights: &'a mut [f32],
    /// One period of the cosine in `4 * mels` steps, for MFCC.
    cosine: &'a mut [f32],
    /// Windowed samples, then the spectrum.
    spectrum: &'a mut [f32],
    power: &'a mut [f32],
    bands: &'a mut [f32],
    row: &'a mut [f32],
    /// The greatest value of a band so far.
    greatest: f32,
    /// The floor: that of the spec, or what the range of a clip makes of it.
    floor: f32,
}

const fn sizes(spec: &AudioSpec) -> [usize; 8] {
    let (fft, mels) = (spec.fft as usize, spec.mels as usize);
    match spec.features {
        Features::Waveform => [0, 0, 0, 0, 0, 0, 0, 1],
        features => [
            spec.window as usize,
            2 * mels,
            most_weights(fft),
            if matches!(features, Features::Mfcc) { 4 * mels } else { 0 },
            fft,
            fft / 2 + 1,
            mels,
            spec.row_len(),
        ],
    }
}

/// Values of scratch for the tables of a checked spec.
pub(super) const fn tables_len(spec: &AudioSpec) -> usize {
    let [a, b, c, d, e, f, g, h] = sizes(spec);
    a + b + c + d + e + f + g + h
}

/// Takes the first `len` values; nothing where there are fewer, which callers have excluded.
pub(super) fn take<'a>(scratch: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    scratch.split_off_mut(..len).unwrap_or_default()
}

impl<'a> FrameTables<'a> {
    /// Fills the tables of a checked spec in `scratch`, which has [`tables_len`] values.
    pub(super) fn new(spec: &AudioSpec, mut scratch: &'a mut [f32]) -> Result<Self, Error> {
        let needed = tables_len(spec);
        if scratch.len() < needed {
            return Err(Error::ScratchLength { needed, given: scratch.len() });
        }
        let [window, spans, weights, cosine, spectrum, power, bands, row] =
            sizes(spec).map(|len| take(&mut scratch, len));
        for (n, value) in window.iter_mut().enumerate() {
            *value = spec.convention.window.weight(n, spec.window);
        }
        write_filters(spec, spans, weights);
        let period = cosine.len() as f64;
        for (n, value) in cosine.iter_mut().enumerate() {
            *value = libm::cos(2.0 * PI * n as f64 / period) as f32;
        }
        let (greatest, floor) = (0.0, spec.floor);
        Ok(FrameTables { window, spans, weights, cosine, spectrum, power, bands, row, greatest, floor })
    }

    /// The features of `window` samples (of one sample for a waveform).
    pub(super) fn row(&mut self, spec: &AudioSpec, samples: &[f32]) -> &[f32] {
        match spec.features {
            Features::Waveform => copy(self.row, samples),
            Features::LogMel => {
                self.log_mel(spec, samples);
                copy(self.row, self.bands);
            }
            Features::Mfcc => {
                let energy = self.log_mel(spec, samples);
                self.cosine_transform(spec);
                if let (Some(energy), Some(first)) = (energy, self.row.first_mut()) {
                    *first = energy;
                }
            }
        }
        spec.normalise(self.row);
        self.row
    }

    /// Raises the floor to what the range of a clip leaves below the greatest value so far.
    pub(super) fn keep_range(&mut self, spec: &AudioSpec) {
        let share = libm::pow(10.0, -f64::from(spec.convention.range_db) / 10.0);
        self.floor = self.floor.max((f64::from(self.greatest) * share) as f32);
    }

    /// Fills the bands; gives the logarithm of the frame's energy, where the convention tells it.
    fn log_mel(&mut self, spec: &AudioSpec, samples: &[f32]) -> Option<f32> {
        let convention = &spec.convention;
        self.spectrum.fill(0.0);
        let frame = self.spectrum.get_mut(..self.window.len()).unwrap_or_default();
        copy(frame, samples);
        let energy = convention.condition(frame);
        for (sample, weight) in frame.iter_mut().zip(self.window.iter()) {
            *sample *= weight;
        }
        power_spectrum(self.spectrum, self.power);
        if convention.spectrum == Spectrum::Magnitude {
            self.power.iter_mut().for_each(|value| *value = libm::sqrtf(*value));
        }
        band_powers(self.power, self.spans, self.weights, self.bands);
        let scale = convention.log_scale();
        for band in self.bands.iter_mut() {
            self.greatest = self.greatest.max(*band);
            let value = match convention.floor_rule {
                FloorRule::Least => band.max(self.floor),
                FloorRule::Added => *band + self.floor,
            };
            *band = libm::logf(value) * scale;
        }
        energy
    }

    /// DCT-II: `row[k] = s(k) Σ bands[n] cos(π k (2n + 1) / (2 mels))`, with s as the convention scales and lifts.
    fn cosine_transform(&mut self, spec: &AudioSpec) {
        let mels = self.bands.len();
        let others = libm::sqrtf(2.0 / mels as f32);
        let first = match spec.convention.cosine_scale {
            CosineScale::Orthonormal => libm::sqrtf(1.0 / mels as f32),
            CosineScale::Uniform => others,
        };
        for (k, to) in self.row.iter_mut().enumerate() {
            let mut sum = 0.0;
            for (n, band) in self.bands.iter().enumerate() {
                let cosine = self.cosine.get(k * (2 * n + 1) % (4 * mels)).copied().unwrap_or_default();
                sum += band * cosine;
            }
            *to = sum * if k == 0 { first } else { others } * spec.convention.lift(k);
        }
    }
}

fn copy(to: &mut [f32], from: &[f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// The bins 0 to half its length of the real `signal`, which is overwritten; the first one holds the real last one as its
/// imaginary part. `None` where its length is none of those that a checked spec has.
pub(super) fn real_transform(signal: &mut [f32]) -> Option<&[microfft::Complex32]> {
    macro_rules! transform {
        ($($len:literal => $rfft:ident),*) => {
            match signal.len() {
                $($len => <&mut [f32; $len]>::try_from(signal).ok().map(|signal| &microfft::real::$rfft(signal)[..]),)*
                _ => None,
            }
        };
    }
    transform!(64 => rfft_64, 128 => rfft_128, 256 => rfft_256, 512 => rfft_512, 1024 => rfft_1024, 2048 => rfft_2048)
}

/// `|X|²` of the real `signal` (overwritten), bins 0 to half its length.
fn power_spectrum(signal: &mut [f32], power: &mut [f32]) {
    let Some([first, others @ ..]) = real_transform(signal) else { return };
    let [zero, middle @ .., nyquist] = power else { return };
    // Both are real, and share the first element.
    *zero = first.re * first.re;
    *nyquist = first.im * first.im;
    for (to, bin) in middle.iter_mut().zip(others) {
        *to = bin.re * bin.re + bin.im * bin.im;
    }
}
