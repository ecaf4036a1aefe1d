//! Where sound comes from.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use cygnet::input::SoundStream;

use crate::retry::comes_back;

/// A place that sound comes from, which can be opened more than once.
pub struct Place {
    kind: Kind,
    /// Rate and channels, where the sound is raw.
    raw: Option<(u32, u16)>,
}

enum Kind {
    StandardInput,
    Path(PathBuf),
    #[cfg(feature = "microphone")]
    Microphone(String),
}

/// Sound that comes, mono.
pub enum Sound {
    /// Bytes of a file or a pipe.
    Bytes(SoundStream<Box<dyn Read>>),
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
            _ if source == "-" => Kind::StandardInput,
            #[cfg(feature = "microphone")]
            Some(("alsa", device)) => Kind::Microphone(device.into()),
            #[cfg(not(feature = "microphone"))]
            Some(("alsa", device)) => anyhow::bail!(
                "{source}: this build has no microphones; build it with `--features microphone`, or pipe the sound: \
                 arecord -D {device} -f S16_LE -r 16000 -t raw | cygnet listen MODEL - --rate 16000"
            ),
            _ => Kind::Path(source.into()),
        };
        Ok(Self { kind, raw: rate.map(|rate| (rate, channels)) })
    }

    /// Opens it. `wanted_rate` is the rate that the model takes: a microphone is asked for the nearest it has.
    ///
    /// # Errors
    /// What cannot be opened, and sound that cannot be read.
    pub fn open(
        &self,
        #[allow(unused_variables, reason = "for microphones")] wanted_rate: u32,
    ) -> anyhow::Result<Sound> {
        let name = self.to_string();
        let bytes: Box<dyn Read> = match &self.kind {
            Kind::StandardInput => Box::new(io::stdin().lock()),
            Kind::Path(path) => Box::new(File::open(path).context(name.clone())?),
            #[cfg(feature = "microphone")]
            Kind::Microphone(device) => {
                let microphone = super::microphone::Microphone::open(device, wanted_rate).context(name)?;
                return Ok(Sound::Microphone(microphone));
            }
        };
        Ok(Sound::Bytes(match self.raw {
            Some((rate, channels)) => SoundStream::raw(bytes, rate, channels),
            None => SoundStream::wav(bytes, Path::new(&name))?,
        }))
    }

    /// Whether it may come back after its end.
    pub fn comes_back(&self) -> bool {
        match &self.kind {
            Kind::StandardInput => false,
            Kind::Path(path) => comes_back(path),
            #[cfg(feature = "microphone")]
            Kind::Microphone(_) => true,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::StandardInput => f.write_str("standard input"),
            Kind::Path(path) => path.display().fmt(f),
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
