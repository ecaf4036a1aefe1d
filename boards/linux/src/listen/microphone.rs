//! A microphone, by ALSA.

use std::io;

use alsa::pcm::{Access, Format, Frames, HwParams, PCM};
use alsa::{Direction, ValueOr};

/// A microphone that records at a rate of its own.
pub struct Microphone {
    pcm: PCM,
    rate: u32,
    channels: usize,
    buffer: Vec<i16>,
}

/// How long the sound waits in the kernel while the model works, in microseconds.
const BUFFER_TIME: u32 = 1_000_000;
/// Pieces of sound a second.
const PERIODS: u32 = 50;

impl Microphone {
    /// Opens an ALSA device, such as `default` or `hw:1,0`, at the rate nearest to `wanted_rate` that its hardware
    /// has: ours is the better resampler.
    ///
    /// # Errors
    /// What ALSA says.
    pub fn open(device: &str, wanted_rate: u32) -> io::Result<Self> {
        let pcm = PCM::new(device, Direction::Capture, false).map_err(of_alsa)?;
        let (rate, channels) = configure(&pcm, wanted_rate).map_err(of_alsa)?;
        let frames = (rate / PERIODS).max(1) as usize;
        Ok(Self { pcm, rate, channels: channels.max(1) as usize, buffer: vec![0; frames * channels.max(1) as usize] })
    }

    /// Samples a second.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Waits for sound and appends it, the channels averaged.
    ///
    /// # Errors
    /// What ALSA says where the device is gone. Sound that came faster than it was taken is left out with a warning.
    pub fn read(&mut self, samples: &mut Vec<i16>) -> io::Result<()> {
        let frames = match self.pcm.io_i16().and_then(|io| io.readi(&mut self.buffer)) {
            Ok(frames) => frames,
            Err(error) => {
                self.pcm.try_recover(error, true).map_err(of_alsa)?;
                log::warn!("the microphone was faster than the model; some sound is left out");
                return Ok(());
            }
        };
        for moment in self.buffer.chunks_exact(self.channels).take(frames) {
            let sum: f64 = moment.iter().map(|&sample| f64::from(sample)).sum();
            samples.push((sum / self.channels as f64).round_ties_even() as i16);
        }
        Ok(())
    }
}

fn of_alsa(error: alsa::Error) -> io::Error {
    io::Error::from_raw_os_error(error.errno())
}

/// Sets 16-bit sound up; gives rate and channels.
fn configure(pcm: &PCM, wanted_rate: u32) -> alsa::Result<(u32, u32)> {
    let parameters = HwParams::any(pcm)?;
    parameters.set_rate_resample(false)?;
    parameters.set_access(Access::RWInterleaved)?;
    parameters.set_format(Format::s16())?;
    let channels = parameters.set_channels_near(1)?;
    let rate = parameters.set_rate_near(wanted_rate, ValueOr::Nearest)?;
    parameters.set_period_size_near(Frames::from((rate / PERIODS) as i32), ValueOr::Nearest)?;
    parameters.set_buffer_time_near(BUFFER_TIME, ValueOr::Nearest)?;
    pcm.hw_params(&parameters)?;
    pcm.prepare()?;
    pcm.start()?;
    Ok((rate, channels))
}
