//! 16-bit sound at one rate to another: a windowed sinc, evaluated at the exact rational position of
//! each output sample.
//!
//! The sinc is cut off at 0.92 of the lower Nyquist frequency and windowed to 24 zero crossings on both
//! sides (Kaiser, β = 7); its values are interpolated linearly in a table of 64 a crossing (the method of
//! J. O. Smith, "Digital Audio Resampling"). Aliases lie about 70 dB below the sound.

use core::f64::consts::PI;

use crate::Error;

/// Zero crossings of the sinc on either side.
const CROSSINGS: usize = 24;
/// Table entries from one zero crossing to the next.
const STEPS: usize = 64;
/// Fractional bits of a position in the table.
const FRACTION_BITS: u32 = 20;
/// Cut-off in units of the lower Nyquist frequency.
const CUT_OFF: f64 = 0.92;
/// Shape of the Kaiser window.
const BETA: f64 = 7.0;
const TABLE_LEN: usize = CROSSINGS * STEPS + 1;
/// Samples taken in at a time.
const BLOCK: usize = 64;

/// The ratio of two rates, and how far the sinc reaches.
#[derive(Debug, Clone, Copy)]
struct Ratio {
    /// Rates without their common divisor.
    from: u32,
    to: u32,
    /// Input samples on either side of a position.
    reach: usize,
    /// Zero crossings of the sinc in an input sample.
    density: f64,
}

impl Ratio {
    fn new(from: u32, to: u32) -> Result<Self, Error> {
        for rate in [from, to] {
            if !(4000..=192_000).contains(&rate) {
                return Err(Error::SampleRate { given: rate });
            }
        }
        let divisor = common_divisor(from, to);
        let density = (f64::from(to) / f64::from(from)).min(1.0) * CUT_OFF;
        let reach = libm::ceil(CROSSINGS as f64 / density) as usize;
        Ok(Ratio { from: from / divisor, to: to / divisor, reach, density })
    }

    fn output_len(&self, input_len: u64) -> u64 {
        let exact = (u128::from(input_len) * u128::from(self.to)).div_ceil(u128::from(self.from));
        u64::try_from(exact).unwrap_or(u64::MAX)
    }
}

fn common_divisor(a: u32, b: u32) -> u32 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// A stream of sound on its way to another rate. Output sample `n` lies at input position
/// `n * from / to`; the sound before the first sample is silence. What comes out does not depend on how
/// the input is cut, and appears once the input is 24 periods of the lower rate (divided by 0.92) ahead.
///
/// ```
/// use cygnet_sense::Resampler;
///
/// const LEN: usize = Resampler::MAX_SCRATCH_LEN;
/// let mut scratch = [0f32; LEN];
/// let mut resampler = Resampler::new(16_000, 8_000, &mut scratch)?;
/// let mut samples = 0;
/// resampler.push(&[0; 1001], |_| samples += 1);
/// resampler.finish(|_| samples += 1);
/// assert_eq!(samples, 501);
/// # Ok::<(), cygnet_sense::Error>(())
/// ```
#[derive(Debug)]
pub struct Resampler<'a> {
    ratio: Ratio,
    /// Table positions an input sample is wide.
    step: u32,
    /// Right half of the windowed sinc, zero at the end.
    table: &'a mut [f32],
    /// Recent input.
    recent: &'a mut [f32],
    len: usize,
    /// Where in `recent` the next output lies: a sample, and `fraction / ratio.to` more.
    centre: usize,
    fraction: u32,
    taken: u64,
    given: u64,
}

impl<'a> Resampler<'a> {
    /// Scratch that is enough for every pair of rates.
    pub const MAX_SCRATCH_LEN: usize = TABLE_LEN + 2 * 1253 + BLOCK;

    /// Values of `f32` scratch that [`new`](Resampler::new) needs for a pair of rates: 1601 and about 52
    /// times the ratio by which the rate falls.
    ///
    /// # Errors
    /// [`Error::SampleRate`] when a rate is not between 4000 and 192000 Hz.
    pub fn scratch_len(from: u32, to: u32) -> Result<usize, Error> {
        Ratio::new(from, to).map(|ratio| TABLE_LEN + 2 * ratio.reach + BLOCK)
    }

    /// Begins a stream at `from` Hz that becomes one at `to` Hz.
    ///
    /// # Errors
    /// [`Error::SampleRate`] when a rate is not between 4000 and 192000 Hz; [`Error::ScratchLength`].
    pub fn new(from: u32, to: u32, scratch: &'a mut [f32]) -> Result<Self, Error> {
        let ratio = Ratio::new(from, to)?;
        let (needed, given) = (Self::scratch_len(from, to)?, scratch.len());
        let (table, rest) = scratch.split_at_mut_checked(TABLE_LEN).ok_or(Error::ScratchLength { needed, given })?;
        let recent = rest.get_mut(..2 * ratio.reach + BLOCK).ok_or(Error::ScratchLength { needed, given })?;
        write_sinc(table, ratio.density);
        let step = libm::round(ratio.density * (STEPS << FRACTION_BITS) as f64) as u32;
        let mut resampler =
            Resampler { ratio, step, table, recent, len: 0, centre: 0, fraction: 0, taken: 0, given: 0 };
        resampler.reset();
        Ok(resampler)
    }

    /// Forgets the sound so far and begins anew.
    pub fn reset(&mut self) {
        self.recent.fill(0.0);
        self.len = self.ratio.reach;
        self.centre = self.ratio.reach;
        (self.fraction, self.taken, self.given) = (0, 0, 0);
    }

    /// Takes samples and calls `emit` with each output sample they allow.
    pub fn push(&mut self, samples: &[i16], mut emit: impl FnMut(i16)) {
        self.taken = self.taken.wrapping_add(samples.len() as u64);
        if self.ratio.from == self.ratio.to {
            samples.iter().for_each(|sample| emit(*sample));
            return;
        }
        for block in samples.chunks(BLOCK) {
            self.take(block, u64::MAX, &mut emit);
        }
    }

    /// Calls `emit` with the output samples that are left, so that there are
    /// `ceil(input * to / from)` in all, and begins anew.
    pub fn finish(&mut self, mut emit: impl FnMut(i16)) {
        let whole = self.ratio.output_len(self.taken);
        while self.ratio.from != self.ratio.to && self.given < whole {
            self.take(&[0; BLOCK], whole, &mut emit);
        }
        self.reset();
    }

    /// Takes at most a block in and gives what is possible, no more than `whole` in all.
    fn take(&mut self, block: &[i16], whole: u64, emit: &mut impl FnMut(i16)) {
        self.make_room();
        for (to, &sample) in self.recent.iter_mut().skip(self.len).zip(block) {
            *to = f32::from(sample);
        }
        self.len += block.len();
        while self.centre + self.ratio.reach < self.len && self.given < whole {
            emit(self.output());
            self.given = self.given.wrapping_add(1);
            // Below 2 * 192000.
            let position = self.fraction + self.ratio.from;
            self.centre += (position / self.ratio.to) as usize;
            self.fraction = position % self.ratio.to;
        }
    }

    /// Drops the samples that no later output reaches; at most `2 * reach` stay.
    fn make_room(&mut self) {
        let drop = (self.centre + 1).saturating_sub(self.ratio.reach).min(self.len);
        self.recent.copy_within(drop..self.len, 0);
        self.len -= drop;
        self.centre -= drop;
    }

    fn output(&self) -> i16 {
        let before = (u64::from(self.step) * u64::from(self.fraction) / u64::from(self.ratio.to)) as u32;
        let (left, right) = self.recent.split_at_checked(self.centre + 1).unwrap_or_default();
        let sum = self.wing(left.iter().rev(), before) + self.wing(right.iter(), self.step - before);
        libm::rintf(sum).clamp(-32768.0, 32767.0) as i16
    }

    /// The weighted sum of samples at table positions `begin`, `begin + step` and so on.
    fn wing<'s>(&self, samples: impl Iterator<Item = &'s f32>, begin: u32) -> f32 {
        const MASK: u32 = (1 << FRACTION_BITS) - 1;
        const UNIT: f32 = 1.0 / (1u32 << FRACTION_BITS) as f32;
        let mut sum = 0.0;
        let mut position = begin;
        for sample in samples {
            let index = (position >> FRACTION_BITS) as usize;
            let Some(&[here, next]) = self.table.get(index..).and_then(|rest| rest.first_chunk()) else { break };
            let between = (position & MASK) as f32 * UNIT;
            sum += sample * (here + between * (next - here));
            position += self.step;
        }
        sum
    }
}

/// The right half of the sinc under its window; `density` makes the gain of the whole 1.
fn write_sinc(table: &mut [f32], density: f64) {
    let last = table.len().saturating_sub(1);
    for (k, value) in table.iter_mut().enumerate() {
        let crossings = k as f64 / STEPS as f64;
        let sinc = if k == 0 { 1.0 } else { libm::sin(PI * crossings) / (PI * crossings) };
        let place = crossings / CROSSINGS as f64;
        let window = bessel_i0(BETA * libm::sqrt(1.0 - place * place)) / bessel_i0(BETA);
        *value = if k == last { 0.0 } else { (density * sinc * window) as f32 };
    }
}

/// Modified Bessel function of the first kind, order 0, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..40 {
        term *= (x / 2.0) * (x / 2.0) / f64::from(k * k);
        sum += term;
    }
    sum
}

/// Samples that `len` samples at `from` Hz become at `to` Hz: `ceil(len * to / from)`.
///
/// # Errors
/// [`Error::SampleRate`] when a rate is not between 4000 and 192000 Hz.
pub fn resample_len(len: usize, from: u32, to: u32) -> Result<usize, Error> {
    let whole = Ratio::new(from, to)?.output_len(len as u64);
    Ok(usize::try_from(whole).unwrap_or(usize::MAX))
}

/// Resamples a whole recording into `out`, which holds [`resample_len`] samples; `scratch` as for
/// [`Resampler::new`].
///
/// # Errors
/// [`Error::SampleRate`], [`Error::OutputLength`], [`Error::ScratchLength`].
pub fn resample(samples: &[i16], from: u32, to: u32, out: &mut [i16], scratch: &mut [f32]) -> Result<(), Error> {
    let needed = resample_len(samples.len(), from, to)?;
    if out.len() != needed {
        return Err(Error::OutputLength { needed, given: out.len() });
    }
    let mut resampler = Resampler::new(from, to, scratch)?;
    let mut places = out.iter_mut();
    let mut write = |sample| {
        if let Some(to) = places.next() {
            *to = sample;
        }
    };
    resampler.push(samples, &mut write);
    resampler.finish(&mut write);
    Ok(())
}
