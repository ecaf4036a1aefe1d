//! The short-time Fourier transform and its inverse, for models that take spectra and answer with them.

use super::convention::{Padding, WindowFunction};
use super::frame::{real_transform, take};
use crate::Error;

/// Frames of sound to complex spectra and back.
///
/// Frame k is the samples from `k · hop` on, `window` of them, each multiplied by the window function. With
/// [`Padding::None`] the window stands at the beginning of the transform (`tf.signal.stft`); else the middle of the first
/// frame is the first sample and the window stands in the middle of the transform (`librosa.stft`). A spectrum has
/// `fft / 2 + 1` bins, real and imaginary part each.
///
/// ```
/// use cygnet_sense::audio::{Padding, Stft, WindowFunction};
///
/// let stft = Stft { fft: 64, window: 64, hop: 16, function: WindowFunction::Hann, padding: Padding::Reflect };
/// let sound: Vec<f32> = (0..160).map(|n| (n as f32 * 0.3).sin()).collect();
/// let mut spectra = vec![[0.0; 2]; stft.frames(sound.len()) * stft.bins()];
/// let mut scratch = vec![0.0; stft.scratch_len(sound.len())];
/// stft.forward(&sound, &mut spectra, &mut scratch)?;
/// let mut again = vec![0.0; 160];
/// stft.inverse(&spectra, &mut again, &mut scratch)?;
/// assert!(sound.iter().zip(&again).all(|(a, b)| (a - b).abs() < 1e-5));
/// # Ok::<(), cygnet_sense::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stft {
    /// Length of the transform: a power of two from 64 to 2048.
    pub fft: u32,
    /// Samples of a frame, 2 to `fft`.
    pub window: u32,
    /// Samples from one frame to the next, at least 1.
    pub hop: u32,
    /// What a frame is multiplied by.
    pub function: WindowFunction,
    /// Where the frames lie.
    pub padding: Padding,
}

impl Stft {
    /// Bins of a spectrum.
    pub const fn bins(&self) -> usize {
        self.fft as usize / 2 + 1
    }

    /// Frames of a sound: `1 + samples / hop`, or `1 + (samples - window) / hop` without padding.
    pub fn frames(&self, samples: usize) -> usize {
        let Some(hop) = Some(self.hop as usize).filter(|&hop| hop > 0) else { return 0 };
        match (self.padding, samples.checked_sub(self.window as usize)) {
            (Padding::None, None) => 0,
            (Padding::None, Some(rest)) => rest / hop + 1,
            _ => samples / hop + 1,
        }
    }

    /// Values of scratch that either way needs for a sound of so many samples: window, transform and the sums of squared
    /// windows.
    pub fn scratch_len(&self, samples: usize) -> usize {
        (self.fft as usize + self.window as usize).saturating_add(samples)
    }

    fn check(&self, samples: usize) -> Result<(), Error> {
        let refuse = |field, mend| Err(Error::Spec { field, mend });
        if !self.fft.is_power_of_two() || !(64..=2048).contains(&self.fft) {
            return refuse("fft", "a power of two from 64 to 2048");
        }
        if !(2..=self.fft).contains(&self.window) {
            return refuse("window", "at least 2, and at most `fft`");
        }
        if self.hop == 0 {
            return refuse("hop", "at least 1");
        }
        if matches!(self.padding, Padding::Symmetric | Padding::Inside) {
            return refuse("padding", "\"none\", \"zeros\" or \"reflect\"");
        }
        if self.padding == Padding::Reflect && samples <= self.fft as usize / 2 {
            return refuse("padding", "another one for sounds that are not longer than half of `fft`");
        }
        Ok(())
    }

    /// Where in the transform the window stands, and how many samples before the sound the first one lies.
    fn places(&self) -> (usize, usize) {
        match self.padding {
            Padding::None => (0, 0),
            _ => {
                let inside = (self.fft - self.window) as usize / 2;
                (inside, self.fft as usize / 2 - inside)
            }
        }
    }

    fn tables<'s>(&self, samples: usize, mut scratch: &'s mut [f32]) -> Result<[&'s mut [f32]; 3], Error> {
        let (needed, given) = (self.scratch_len(samples), scratch.len());
        if given < needed {
            return Err(Error::ScratchLength { needed, given });
        }
        let lens = [self.window as usize, self.fft as usize, samples];
        let [window, signal, sums] = lens.map(|len| take(&mut scratch, len));
        for (n, weight) in window.iter_mut().enumerate() {
            *weight = self.function.weight(n, self.window);
        }
        Ok([window, signal, sums])
    }

    /// The spectra of a sound: [`frames`](Stft::frames) of [`bins`](Stft::bins), one behind the other.
    ///
    /// # Errors
    /// [`Error::Spec`] for a field that cannot be used, [`Error::OutputLength`], [`Error::ScratchLength`].
    pub fn forward(&self, sound: &[f32], spectra: &mut [[f32; 2]], scratch: &mut [f32]) -> Result<(), Error> {
        self.check(sound.len())?;
        self.check_len(sound.len(), spectra.len())?;
        let [window, signal, _] = self.tables(sound.len(), scratch)?;
        let (inside, before) = self.places();
        for (frame, spectrum) in spectra.chunks_exact_mut(self.bins()).enumerate() {
            signal.fill(0.0);
            let begin = (frame * self.hop as usize) as i64 - before as i64;
            for ((to, weight), at) in signal.iter_mut().skip(inside).zip(window.iter()).zip(begin..) {
                *to = self.sample(sound, at) * weight;
            }
            transformed(signal, spectrum);
        }
        Ok(())
    }

    fn check_len(&self, samples: usize, given: usize) -> Result<(), Error> {
        let needed = self.frames(samples) * self.bins();
        if given == needed { Ok(()) } else { Err(Error::OutputLength { needed, given }) }
    }

    fn sample(&self, sound: &[f32], at: i64) -> f32 {
        let last = sound.len() as i64 - 1;
        let at = match self.padding {
            Padding::Reflect if at < 0 => -at,
            Padding::Reflect if at > last => 2 * last - at,
            _ => at,
        };
        usize::try_from(at).ok().and_then(|at| sound.get(at)).copied().unwrap_or(0.0)
    }

    /// The sound whose spectra are nearest to these: frames are multiplied by the window once more, added up and divided by
    /// the sum of the squared windows (Griffin and Lim, «Signal estimation from modified short-time Fourier transform»,
    /// 1984), as `librosa.istft` does. Samples that no window covers are 0.
    ///
    /// # Errors
    /// As [`forward`](Stft::forward); `spectra` are those of a sound as long as `sound`.
    pub fn inverse(&self, spectra: &[[f32; 2]], sound: &mut [f32], scratch: &mut [f32]) -> Result<(), Error> {
        self.check(sound.len())?;
        self.check_len(sound.len(), spectra.len())?;
        let [window, signal, sums] = self.tables(sound.len(), scratch)?;
        let (inside, before) = self.places();
        sound.fill(0.0);
        sums.fill(0.0);
        for (frame, spectrum) in spectra.chunks_exact(self.bins()).enumerate() {
            put_hartley(spectrum, signal);
            let begin = (frame * self.hop as usize) as i64 - before as i64;
            real_of_hartley(signal, |n, value| {
                let Some(weight) = n.checked_sub(inside).and_then(|n| window.get(n)).copied() else { return };
                let Ok(at) = usize::try_from(begin + (n - inside) as i64) else { return };
                if let (Some(to), Some(sum)) = (sound.get_mut(at), sums.get_mut(at)) {
                    *to += value * weight;
                    *sum += weight * weight;
                }
            });
        }
        for (to, sum) in sound.iter_mut().zip(sums.iter()).filter(|(_, sum)| **sum > f32::MIN_POSITIVE) {
            *to /= sum;
        }
        Ok(())
    }
}

/// The bins of a real signal, which is overwritten.
fn transformed(signal: &mut [f32], spectrum: &mut [[f32; 2]]) {
    let Some([first, others @ ..]) = real_transform(signal) else { return };
    let [zero, middle @ .., nyquist] = spectrum else { return };
    // Both are real, and share the first element.
    (*zero, *nyquist) = ([first.re, 0.0], [first.im, 0.0]);
    for (to, bin) in middle.iter_mut().zip(others) {
        *to = [bin.re, bin.im];
    }
}

/// The Hartley transform of the signal with this spectrum: real minus imaginary part of each bin, those above the middle
/// conjugated. A real transform of it leads back to the signal (Bracewell, «The fast Hartley transform», 1984). The
/// imaginary parts of the first and the last bin do not count.
fn put_hartley(spectrum: &[[f32; 2]], signal: &mut [f32]) {
    let [zero, middle @ .., nyquist] = spectrum else { return };
    let (low, high) = signal.split_at_mut(middle.len() + 1);
    let ([first, rising @ ..], [centre, falling @ ..]) = (low, high) else { return };
    (*first, *centre) = (zero[0], nyquist[0]);
    for ([re, im], to) in middle.iter().zip(rising) {
        *to = re - im;
    }
    for ([re, im], to) in middle.iter().rev().zip(falling) {
        *to = re + im;
    }
}

/// Calls `put` with each sample of the signal whose Hartley transform is given, which is overwritten; not in order.
fn real_of_hartley(signal: &mut [f32], mut put: impl FnMut(usize, f32)) {
    let len = signal.len();
    let share = 1.0 / len as f32;
    let Some([first, others @ ..]) = real_transform(signal) else { return };
    put(0, first.re * share);
    put(len / 2, first.im * share);
    for (n, bin) in (1..).zip(others) {
        put(n, (bin.re - bin.im) * share);
        put(len - n, (bin.re + bin.im) * share);
    }
}
