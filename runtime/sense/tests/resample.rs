//! Tones through the resampler, against what a tone is.

use cygnet_sense::{Error, Resampler, resample};
use proptest::prelude::*;

const AMPLITUDE: f64 = 12_000.0;

fn tone(hz: f64, rate: u32, len: usize) -> Vec<i16> {
    (0..len)
        .map(|n| (AMPLITUDE * (std::f64::consts::TAU * hz * n as f64 / f64::from(rate)).sin()).round() as i16)
        .collect()
}

fn convert(samples: &[i16], from: u32, to: u32) -> Vec<i16> {
    let mut scratch = vec![f32::NAN; Resampler::scratch_len(from, to).unwrap()];
    let mut out = vec![0; resample::resample_len(samples.len(), from, to).unwrap()];
    resample::resample(samples, from, to, &mut out, &mut scratch).unwrap();
    out
}

/// The middle of a signal, without its beginning and end.
fn middle(samples: &[i16]) -> &[i16] {
    &samples[samples.len() / 4..samples.len() * 3 / 4]
}

fn decibel(samples: &[i16]) -> f64 {
    let power = samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / samples.len() as f64;
    10.0 * (power.max(1e-9) / (AMPLITUDE * AMPLITUDE / 2.0)).log10()
}

/// How far the difference from the ideal tone lies below the tone.
fn noise(samples: &[i16], hz: f64, rate: u32) -> f64 {
    let ideal = tone(hz, rate, samples.len());
    let difference: Vec<i16> = samples.iter().zip(&ideal).map(|(a, b)| a.wrapping_sub(*b)).collect();
    decibel(middle(&difference))
}

#[test]
fn a_tone_in_the_band_stays_as_it_is() {
    let mut failing = Vec::new();
    for (from, to) in [
        (16_000, 8_000),
        (8_000, 16_000),
        (44_100, 16_000),
        (48_000, 16_000),
        (16_000, 44_100),
        (22_050, 8_000),
        (192_000, 4_000),
        (4_000, 192_000),
        (11_025, 47_999),
        (16_000, 16_000),
    ] {
        let seconds = 1;
        let out = convert(&tone(1000.0, from, from as usize * seconds), from, to);
        assert_eq!(out.len(), to as usize * seconds);
        let (level, noise) = (decibel(middle(&out)), noise(&out, 1000.0, to));
        println!("{from} to {to}: level {level:+.4} dB, error {noise:.1} dB");
        if level.abs() > 0.1 || noise > -60.0 {
            failing.push((from, to, level, noise));
        }
    }
    assert!(failing.is_empty(), "{failing:?}");
}

#[test]
fn the_band_is_flat_and_what_lies_above_goes() {
    let level = |hz: f64, from: u32, to: u32| decibel(middle(&convert(&tone(hz, from, from as usize), from, to)));
    for hz in [50.0, 300.0, 2000.0, 3000.0, 3300.0] {
        let level = level(hz, 16_000, 8_000);
        println!("{hz} Hz: {level:+.4} dB");
        assert!(level.abs() < 0.1, "{hz} Hz: {level} dB");
    }
    for (hz, from, to) in
        [(4100.0, 16_000, 8_000), (6000.0, 16_000, 8_000), (9000.0, 44_100, 16_000), (20_000.0, 48_000, 8_000)]
    {
        let level = level(hz, from, to);
        println!("{hz} Hz from {from} to {to}: {level:.1} dB");
        assert!(level < -60.0, "{hz} Hz from {from} to {to}: {level} dB");
    }
}

#[test]
fn full_scale_saturates() {
    let square: Vec<i16> = (0..800).map(|n| if n / 40 % 2 == 0 { 32767 } else { -32768 }).collect();
    let out = convert(&square, 8_000, 16_000);
    assert!(out.contains(&32767) && out.contains(&-32768));
    // No overshoot wraps around: away from the edges the sign is that of the square.
    for (n, sample) in out.iter().enumerate().filter(|(n, _)| (4..76).contains(&(n % 80))) {
        assert_eq!(*sample > 0, n / 80 % 2 == 0, "{n}");
    }
}

#[test]
fn what_cannot_be_is_refused() {
    assert_eq!(Resampler::scratch_len(3999, 8000), Err(Error::SampleRate { given: 3999 }));
    assert_eq!(Resampler::scratch_len(8000, 192_001), Err(Error::SampleRate { given: 192_001 }));
    let needed = Resampler::scratch_len(16_000, 8_000).unwrap();
    for given in [0, 100, needed - 1] {
        let mut scratch = vec![0.0; given];
        assert_eq!(Resampler::new(16_000, 8_000, &mut scratch).unwrap_err(), Error::ScratchLength { needed, given });
    }
    let refused = resample::resample(&[0; 10], 16_000, 8_000, &mut [0; 4], &mut vec![0.0; needed]);
    assert_eq!(refused, Err(Error::OutputLength { needed: 5, given: 4 }));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Sound cut into chunks of any size gives the same samples as the whole; nothing panics.
    #[test]
    fn chunks_give_the_same_samples(
        from in 4000u32..=192_000,
        to in 4000u32..=192_000,
        samples in prop::collection::vec(any::<i16>(), 0..600),
        sizes in prop::collection::vec(1usize..200, 1..20),
    ) {
        let whole = convert(&samples, from, to);
        let mut scratch = vec![0.0; Resampler::MAX_SCRATCH_LEN];
        let mut resampler = Resampler::new(from, to, &mut scratch).unwrap();
        // Twice: finishing begins anew.
        for _ in 0..2 {
            let mut out = Vec::new();
            let mut rest = &samples[..];
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (chunk, others) = rest.split_at((*size).min(rest.len()));
                resampler.push(chunk, |sample| out.push(sample));
                rest = others;
            }
            resampler.finish(|sample| out.push(sample));
            prop_assert_eq!(&out, &whole);
        }
    }
}
