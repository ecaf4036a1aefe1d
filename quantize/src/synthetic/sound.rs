//! Sound that has in it what speech has: a buzz of changing pitch through the resonances of a mouth, hisses, pauses, and
//! a room. A source and three formants, as in Klatt's synthesizer, <https://doi.org/10.1121/1.383940>.

use std::f64::consts::TAU;

use crate::random::Random;

/// Frequencies of the first three formants of some vowels, Hz: i, e, a, o, u, ə (Peterson and Barney 1952, rounded).
const VOWELS: [[f64; 3]; 6] = [
    [270.0, 2290.0, 3010.0],
    [530.0, 1840.0, 2480.0],
    [730.0, 1090.0, 2440.0],
    [570.0, 840.0, 2410.0],
    [300.0, 870.0, 2240.0],
    [490.0, 1350.0, 1690.0],
];
/// Widths of the formants, Hz.
const WIDTHS: [f64; 3] = [70.0, 100.0, 140.0];

/// A resonance: `y[n] = x[n] + b y[n-1] - c y[n-2]`.
#[derive(Clone, Copy, Default)]
struct Resonance {
    last: f64,
    before: f64,
}

impl Resonance {
    fn next(&mut self, input: f64, hertz: f64, width: f64, rate: f64) -> f64 {
        let radius = (-std::f64::consts::PI * width / rate).exp();
        let output = (1.0 - radius) * input + 2.0 * radius * (TAU * hertz / rate).cos() * self.last
            - radius * radius * self.before;
        (self.last, self.before) = (output, self.last);
        output
    }
}

/// What is said for a while.
struct Phone {
    is_voiced: bool,
    loudness: f64,
    formants: [f64; 3],
}

impl Phone {
    fn any(voice: f64, random: &mut Random) -> Phone {
        let kind = random.below(10);
        let vowel = VOWELS[random.below(VOWELS.len())];
        let hiss = random.between(2000.0, 6000.0);
        Phone {
            is_voiced: kind < 6,
            loudness: if kind == 9 { 0.0 } else { random.between(0.3, 1.0) },
            formants: if kind < 6 { vowel.map(|hertz| hertz * voice) } else { [hiss, hiss * 1.2, hiss * 1.4] },
        }
    }
}

/// `count` samples at `rate` samples a second. Of eight clips in turn, one holds only the room's noise; of 64, one is
/// digital silence, as microphones that are switched off give it.
pub fn speak(count: usize, rate: u32, index: usize, random: &mut Random) -> Vec<i16> {
    if index % 64 == 63 {
        return vec![0; count];
    }
    let rate = f64::from(rate);
    let has_speech = index % 8 != 7;
    // From loud to far away, in decibels below full scale.
    let level = 10f64.powf(-random.between(0.0, 35.0) / 20.0);
    let room = level * 10f64.powf(-random.between(15.0, 60.0) / 20.0) + 2e-4;
    let (start, end) = (random.between(0.0, 0.35), random.between(0.6, 1.0));
    let spoken = (start * count as f64) as usize..(end * count as f64) as usize;
    let said = if has_speech { utter(spoken.len(), rate, random) } else { Vec::new() };
    let mut rumble = 0.0;
    let sample = |place: usize| {
        let white = random.normal();
        rumble = 0.95 * rumble + 0.3 * white;
        let voice = place.checked_sub(spoken.start).and_then(|place| said.get(place)).copied().unwrap_or(0.0);
        let value = level * voice + room * (0.5 * white + 0.5 * rumble) / 3.0;
        (value.clamp(-1.0, 1.0) * 32767.0) as i16
    };
    (0..count).map(sample).collect()
}

/// Phones one after the other, the loudest sample at 1.
fn utter(count: usize, rate: f64, random: &mut Random) -> Vec<f64> {
    // Children's and women's voices are higher in pitch and formants.
    let voice = random.between(0.9, 1.35);
    let mut pitch = random.between(85.0, 180.0) * voice;
    let mut phone = Phone::any(voice, random);
    let mut mouth = [Resonance::default(); 3];
    let mut formants = phone.formants;
    let (mut left, mut phase, mut loudness) = (0.0, 0.0, 0.0);
    let mut samples = Vec::with_capacity(count);
    for _ in 0..count {
        left -= 1.0;
        if left <= 0.0 {
            phone = Phone::any(voice, random);
            left = random.between(0.05, 0.2) * rate;
            pitch = (pitch * random.between(0.85, 1.15)).clamp(70.0, 400.0);
        }
        // The mouth takes some 20 ms to move.
        let pace = 50.0 / rate;
        loudness += pace * (phone.loudness - loudness);
        formants.iter_mut().zip(phone.formants).for_each(|(now, aim)| *now += pace * (aim - *now));
        phase += pitch / rate;
        let pulse = if phase >= 1.0 {
            phase -= 1.0;
            8.0
        } else {
            0.0
        };
        let source = if phone.is_voiced { pulse + 0.05 * random.normal() } else { random.normal() };
        let bands = mouth.iter_mut().zip(formants).zip(WIDTHS).filter(|((_, hertz), _)| *hertz < rate / 2.0);
        let sum: f64 = bands.map(|((band, hertz), width)| band.next(source, hertz, width, rate)).sum();
        samples.push(loudness * sum);
    }
    let most = samples.iter().fold(1e-9f64, |most, sample| most.max(sample.abs()));
    samples.iter_mut().for_each(|sample| *sample /= most);
    samples
}
