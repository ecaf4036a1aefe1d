//! Where sound comes from.

use std::fmt;
use std::io;
use std::path::Path;

use anyhow::Context;
use cygnet::input::SoundStream;

use crate::pipe::Pipe;

/// A place that sound comes from, which can be opened more than once.
pub struct Place {
    kind: Kind,
    /// Rate and channels, where the sound is raw.
    raw: Option<(u32, u16)>,
}

enum Kind {
    /// What the command line calls it, and once it is open, the stream.
    Pipe(String, Option<Pipe>),
    #[cfg(feature = "microphone")]
    Microphone(String),
}

/// Sound that comes, mono.
pub enum Sound {
    /// Bytes of a file or a pipe.
    Bytes(SoundStream<Pipe>),
    /// A microphone.
    #[cfg(feature = "microphone")]
    Microphone(super::microphone::Microphone),
}

impl Place {
    /// What the command line calls `-`, a path, or `alsa:DEVICE`.
    ///
    /// # Errors
    /// A microphone in a build without them.
    pub fn new(source: &str, rate: Option<u32>, channels: u16) -> anyhow::Result<Self> {
        let kind = match source.split_once(':') {
            #[cfg(feature = "microphone")]
            Some(("alsa", device)) => Kind::Microphone(device.into()),
            #[cfg(not(feature = "microphone"))]
            Some(("alsa", device)) => anyhow::bail!(
                "{source}: this build has no microphones; build it with `--features microphone`, or pipe the sound: \
                 arecord -D {device} -f S16_LE -r 16000 -t raw | cygnet listen MODEL - --rate 16000"
            ),
            _ => Kind::Pipe(source.into(), None),
        };
        Ok(Self { kind, raw: rate.map(|rate| (rate, channels)) })
    }

    /// Opens it, or waits for it to come back. `wanted_rate` is the rate that the model takes: a microphone is asked
    /// for the nearest it has.
    ///
    /// # Errors
    /// What cannot be opened, and sound that cannot be read.
    pub fn open(
        &mut self,
        #[allow(unused_variables, reason = "for microphones")] wanted_rate: u32,
    ) -> anyhow::Result<Sound> {
        let name = self.to_string();
        let pipe = match &mut self.kind {
            Kind::Pipe(_, Some(pipe)) => {
                pipe.reopen().context(name.clone())?;
                pipe.clone()
            }
            Kind::Pipe(source, pipe) => pipe.insert(Pipe::open(source).context(name.clone())?).clone(),
            #[cfg(feature = "microphone")]
            Kind::Microphone(device) => {
                let microphone = super::microphone::Microphone::open(device, wanted_rate).context(name)?;
                return Ok(Sound::Microphone(microphone));
            }
        };
        Ok(Sound::Bytes(match self.raw {
            Some((rate, channels)) => SoundStream::raw(pipe, rate, channels),
            None => SoundStream::wav(pipe, Path::new(&name))?,
        }))
    }

    /// Whether it may come back after its end. Asked once it is open.
    pub fn comes_back(&self) -> bool {
        match &self.kind {
            Kind::Pipe(_, pipe) => pipe.as_ref().is_some_and(Pipe::comes_back),
            #[cfg(feature = "microphone")]
            Kind::Microphone(_) => true,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Pipe(source, _) if source == "-" => f.write_str("standard input"),
            Kind::Pipe(source, _) => f.write_str(source),
            #[cfg(feature = "microphone")]
            Kind::Microphone(device) => write!(f, "microphone {device}"),
        }
    }
}

impl Sound {
    /// Samples a second.
    pub fn rate(&self) -> u32 {
        match self {
            Self::Bytes(stream) => stream.rate(),
            #[cfg(feature = "microphone")]
            Self::Microphone(microphone) => microphone.rate(),
        }
    }

    /// Waits for sound and appends it; `false` at the end.
    ///
    /// # Errors
    /// What the device says.
    pub fn read(&mut self, samples: &mut Vec<i16>) -> io::Result<bool> {
        match self {
            Self::Bytes(stream) => stream.read(samples),
            #[cfg(feature = "microphone")]
            Self::Microphone(microphone) => microphone.read(samples).map(|()| true),
        }
    }

    /// Bytes that the head of a WAV has promised and that did not come.
    pub fn missing(&self) -> u64 {
        match self {
            Self::Bytes(stream) => stream.missing(),
            #[cfg(feature = "microphone")]
            Self::Microphone(_) => 0,
        }
    }
}
