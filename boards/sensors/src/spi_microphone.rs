//! A microphone behind an analogue-to-digital converter on SPI: Digilent's Pmod MIC3 and others with an ADCS7476.

use embedded_hal::delay::DelayNs;
use embedded_hal::spi::SpiDevice;

use crate::AudioSource;

/// How many samples pass before the slow average that is taken for silence has followed a step by two thirds: 2^10, an
/// eighth of a second at 8 kHz, well below what is heard as sound.
const SILENCE_SHIFT: u32 = 10;
/// The middle of the 12-bit range, in the average's fraction.
const MIDDLE: i32 = 2048 << SILENCE_SHIFT;

/// An ADCS7476, one conversion at a time.
///
/// Select the chip with SPI mode 0, at most 20 MHz. A conversion is 16 clocks: four zeros, then twelve bits, the most
/// significant one first (Texas Instruments, ADCS7476 data sheet, "Serial Interface"). The microphone's silence lies
/// near the middle of the supply; the average of the last samples is taken for it.
#[derive(Debug)]
pub struct SpiMicrophone<SPI> {
    spi: SPI,
    silence: i32,
}

impl<SPI: SpiDevice> SpiMicrophone<SPI> {
    /// A microphone on its own chip select.
    pub const fn new(spi: SPI) -> Self {
        Self { spi, silence: MIDDLE }
    }

    /// Converts once: what the microphone hears now. The twelve bits fill the sixteen of the sample.
    ///
    /// # Errors
    /// The bus's.
    pub fn sample(&mut self) -> Result<i16, SPI::Error> {
        let mut bytes = [0; 2];
        self.spi.read(&mut bytes)?;
        let level = i32::from(u16::from_be_bytes(bytes) & 0xfff);
        let swing = level - ((self.silence + (1 << (SILENCE_SHIFT - 1))) >> SILENCE_SHIFT);
        self.silence += swing;
        Ok((swing * 16).clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16)
    }

    /// Gives the bus back.
    pub fn release(self) -> SPI {
        self.spi
    }
}

/// A clock that ticks once for each sample.
pub trait Pace {
    /// Ticks a second.
    fn rate(&self) -> u32;

    /// Waits for the next tick. Ticks are evenly spaced; one that is missed is not made up for.
    fn wait(&mut self);
}

/// A pace from a delay: the wait is shorter than the period by what a conversion takes. Good for trying a microphone;
/// where the pitch matters, take a timer.
#[derive(Debug)]
pub struct DelayPace<D> {
    delay: D,
    rate: u32,
    wait_ns: u32,
}

impl<D: DelayNs> DelayPace<D> {
    /// `rate` ticks a second (at least 1), where the work between two ticks takes `work_ns` nanoseconds.
    pub const fn new(delay: D, rate: u32, work_ns: u32) -> Self {
        let rate = if rate == 0 { 1 } else { rate };
        Self { delay, rate, wait_ns: (1_000_000_000 / rate).saturating_sub(work_ns) }
    }
}

impl<D: DelayNs> Pace for DelayPace<D> {
    fn rate(&self) -> u32 {
        self.rate
    }

    fn wait(&mut self) {
        self.delay.delay_ns(self.wait_ns);
    }
}

/// A microphone that is read while somebody waits for it. Between two calls of `read` nothing is heard: where the model
/// runs in between, let an interrupt fill a [`SoundQueue`](crate::SoundQueue) instead.
#[derive(Debug)]
pub struct PacedSound<SPI, P> {
    microphone: SpiMicrophone<SPI>,
    pace: P,
}

impl<SPI: SpiDevice, P: Pace> PacedSound<SPI, P> {
    /// One sample for each tick.
    pub const fn new(microphone: SpiMicrophone<SPI>, pace: P) -> Self {
        Self { microphone, pace }
    }
}

impl<SPI: SpiDevice, P: Pace> AudioSource for PacedSound<SPI, P> {
    type Error = SPI::Error;

    fn sample_rate(&self) -> u32 {
        self.pace.rate()
    }

    fn read(&mut self, samples: &mut [i16]) -> Result<usize, SPI::Error> {
        for sample in samples.iter_mut() {
            self.pace.wait();
            *sample = self.microphone.sample()?;
        }
        Ok(samples.len())
    }
}
