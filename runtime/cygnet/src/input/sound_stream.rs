//! Sound that arrives bit by bit, from a pipe or a file.

use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::InputError;

/// Bytes taken at a time; fewer where fewer are there.
const BLOCK: usize = 1 << 14;
/// From this size on, the data chunk of a WAV is one whose writer did not know how long it would be: the largest
/// sizes of 31 and 32 bits, less a header.
const UNKNOWN_FROM: u32 = 0x7fff_0000;

const NEEDS: &str = "give a WAV file of 8 to 32-bit PCM or 32-bit float, or raw 16-bit samples and their rate";

/// How a sample is written, little-endian.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Encoding {
    /// Whole numbers of so many bits: 8 (from 0 to 255), 16, 24, 32.
    Int(u16),
    Float,
}

/// A stream of mono sound in 16 bits, made of WAV or raw samples; channels are averaged. The samples do not depend
/// on the pieces in which the bytes arrive.
///
/// A WAV that was written into a pipe does not know its length: it ends where the bytes end.
#[derive(Debug)]
pub struct SoundStream<R> {
    reader: R,
    encoding: Encoding,
    channels: u16,
    rate: u32,
    /// Bytes to come, where the header knows it.
    left: Option<u64>,
    buffer: Vec<u8>,
    /// Bytes at the start of `buffer` that are no whole moment yet.
    held: usize,
}

impl<R: Read> SoundStream<R> {
    /// Raw little-endian signed 16-bit samples, `channels` (at least 1) interleaved, `rate` a second.
    pub fn raw(reader: R, rate: u32, channels: u16) -> Self {
        Self::new(reader, Encoding::Int(16), channels, rate, None)
    }

    /// A WAV file, whose head is read at once. `name` stands in the messages.
    ///
    /// # Errors
    /// [`InputError::Sound`].
    pub fn wav(mut reader: R, name: &Path) -> Result<Self, InputError> {
        match read_head(&mut reader) {
            Ok(head) => Ok(Self::new(reader, head.encoding, head.channels, head.rate, head.data_bytes)),
            Err(problem) => Err(InputError::Sound { path: PathBuf::from(name), problem }),
        }
    }

    fn new(reader: R, encoding: Encoding, channels: u16, rate: u32, left: Option<u64>) -> Self {
        Self { reader, encoding, channels: channels.max(1), rate, left, buffer: Vec::new(), held: 0 }
    }

    /// Samples a second.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Bytes that the head of a WAV has promised and that have not come (yet).
    pub fn missing(&self) -> u64 {
        self.left.unwrap_or(0)
    }

    /// Waits for bytes and appends their samples, which may be none; `false` at the end.
    ///
    /// # Errors
    /// What the reader says.
    pub fn read(&mut self, samples: &mut Vec<i16>) -> io::Result<bool> {
        let room = self.left.map_or(BLOCK, |left| usize::try_from(left).unwrap_or(BLOCK).min(BLOCK));
        self.buffer.resize(self.held + room, 0);
        let read = loop {
            match self.reader.read(self.buffer.get_mut(self.held..).unwrap_or_default()) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        if read == 0 {
            return Ok(false);
        }
        if let Some(left) = &mut self.left {
            *left -= (read as u64).min(*left);
        }
        let filled = self.held + read;
        let moment = self.encoding.bytes() * usize::from(self.channels);
        let whole = filled / moment * moment;
        for moment in self.buffer[..whole].chunks_exact(moment) {
            samples.push(self.encoding.mixed(moment, self.channels));
        }
        self.buffer.copy_within(whole..filled, 0);
        self.held = filled - whole;
        Ok(true)
    }
}

impl Encoding {
    fn bytes(self) -> usize {
        match self {
            Self::Int(bits) => usize::from(bits / 8),
            Self::Float => 4,
        }
    }

    /// The average of the channels of one moment.
    fn mixed(self, moment: &[u8], channels: u16) -> i16 {
        let sum: f64 = moment.chunks_exact(self.bytes()).map(|sample| self.sample(sample)).sum();
        // The cast saturates, and makes NaN zero.
        (sum / f64::from(channels) * 32768.0).round_ties_even() as i16
    }

    /// A sample within -1 and 1.
    fn sample(self, bytes: &[u8]) -> f64 {
        match (self, bytes) {
            (Self::Int(_), &[a]) => (f64::from(a) - 128.0) / 128.0,
            (Self::Int(_), &[a, b]) => f64::from(i16::from_le_bytes([a, b])) / 32768.0,
            (Self::Int(_), &[a, b, c]) => f64::from(i32::from_le_bytes([0, a, b, c])) / 2_147_483_648.0,
            (Self::Int(_), &[a, b, c, d]) => f64::from(i32::from_le_bytes([a, b, c, d])) / 2_147_483_648.0,
            (Self::Float, &[a, b, c, d]) => f64::from(f32::from_le_bytes([a, b, c, d])),
            _ => 0.0,
        }
    }
}

struct Head {
    encoding: Encoding,
    channels: u16,
    rate: u32,
    data_bytes: Option<u64>,
}

fn ends_early(_: io::Error) -> String {
    "it ends within its head; record or copy it again".into()
}

/// Reads up to the first sample.
fn read_head(reader: &mut impl Read) -> Result<Head, String> {
    let mut riff = [0; 12];
    reader.read_exact(&mut riff).map_err(ends_early)?;
    if !matches!(&riff[..4], b"RIFF" | b"RF64") || &riff[8..] != b"WAVE" {
        return Err(format!("it does not begin as a WAV; {NEEDS}"));
    }
    let mut format = None;
    loop {
        let mut chunk = [0; 8];
        reader.read_exact(&mut chunk).map_err(ends_early)?;
        let [a, b, c, d, size @ ..] = chunk;
        let size = u32::from_le_bytes(size);
        match &[a, b, c, d] {
            b"data" => {
                let (encoding, channels, rate) =
                    format.ok_or_else(|| format!("it does not tell its format; {NEEDS}"))?;
                let data_bytes = Some(u64::from(size)).filter(|_| size != 0 && size < UNKNOWN_FROM);
                return Ok(Head { encoding, channels, rate, data_bytes });
            }
            b"fmt " => format = Some(read_format(reader, size)?),
            _ => skip(reader, u64::from(size) + u64::from(size % 2))?,
        }
    }
}

fn skip(reader: &mut impl Read, bytes: u64) -> Result<(), String> {
    let skipped = io::copy(&mut reader.take(bytes), &mut io::sink()).map_err(ends_early)?;
    if skipped == bytes { Ok(()) } else { Err(ends_early(ErrorKind::UnexpectedEof.into())) }
}

/// Encoding, channels and rate of a `fmt ` chunk.
fn read_format(reader: &mut impl Read, size: u32) -> Result<(Encoding, u16, u32), String> {
    const PCM: u16 = 1;
    const FLOAT: u16 = 3;
    const EXTENSIBLE: u16 = 0xfffe;
    let mut fields = [0; 26];
    let wanted = if size >= 26 { 26 } else { 16 };
    if size < 16 {
        return Err(format!("its format is cut off; {NEEDS}"));
    }
    reader.read_exact(&mut fields[..wanted]).map_err(ends_early)?;
    skip(reader, u64::from(size) - wanted as u64 + u64::from(size % 2))?;
    let word = |at: usize| u16::from_le_bytes([fields[at], fields[at + 1]]);
    let rate = u32::from_le_bytes([fields[4], fields[5], fields[6], fields[7]]);
    let (channels, bits) = (word(2), word(14));
    // The true kind is the first word of the long form's identifier.
    let kind = if word(0) == EXTENSIBLE { word(24) } else { word(0) };
    let encoding = match (kind, bits) {
        (PCM, 8 | 16 | 24 | 32) => Encoding::Int(bits),
        (FLOAT, 32) => Encoding::Float,
        _ => return Err(format!("its samples are of kind {kind} with {bits} bits; {NEEDS}")),
    };
    if channels == 0 || rate == 0 {
        return Err(format!("it tells {channels} channels and {rate} samples a second; {NEEDS}"));
    }
    Ok((encoding, channels, rate))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Sound;
    use hound::{SampleFormat, WavSpec, WavWriter};

    /// Gives what it holds in pieces of 1, 2, … bytes.
    struct Drops<'a>(&'a [u8], usize);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = self.1 % 7 + 1;
            let count = self.1.min(buffer.len()).min(self.0.len());
            let (now, later) = self.0.split_at(count);
            buffer[..count].copy_from_slice(now);
            self.0 = later;
            Ok(count)
        }
    }

    fn whole(mut stream: SoundStream<impl Read>) -> (Vec<i16>, u64) {
        let mut samples = Vec::new();
        while stream.read(&mut samples).unwrap() {}
        (samples, stream.missing())
    }

    #[test]
    fn drops_of_every_format_are_the_sound_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.wav");
        for (bits_per_sample, sample_format) in
            [(8, SampleFormat::Int), (16, SampleFormat::Int), (24, SampleFormat::Int), (32, SampleFormat::Float)]
        {
            let format = WavSpec { channels: 2, sample_rate: 22050, bits_per_sample, sample_format };
            let mut writer = WavWriter::create(&path, format).unwrap();
            for n in 0..2000i32 {
                match sample_format {
                    SampleFormat::Float => writer.write_sample((n as f32).sin() * 1.1).unwrap(),
                    SampleFormat::Int => writer.write_sample(n * 37 % (1 << (bits_per_sample - 1))).unwrap(),
                }
            }
            writer.finalize().unwrap();
            let bytes = std::fs::read(&path).unwrap();
            let stream = SoundStream::wav(Drops(&bytes, 0), &path).unwrap();
            assert_eq!(stream.rate(), 22050);
            assert_eq!(whole(stream), (Sound::open(&path).unwrap().samples, 0), "{bits_per_sample}");
        }
    }

    /// A WAV of 16 bits and 8 kHz by hand, its data chunk of the told size.
    fn wav(data_bytes: u32, samples: &[i16]) -> Vec<u8> {
        let mut bytes = b"RIFF\xff\xff\xff\xffWAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0\x01\0\x01\0".to_vec();
        bytes.extend([8000u32, 16000].iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(b"\x02\0\x10\0data");
        bytes.extend(data_bytes.to_le_bytes());
        bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        bytes
    }

    #[test]
    fn a_length_that_is_not_known_is_that_of_the_stream() {
        let samples = [1, -2, 300, i16::MIN];
        for (told, expected, missing) in [
            (0, &samples[..], 0),
            (u32::MAX, &samples[..], 0),
            (0x7fff_ffff - 36, &samples[..], 0),
            (4, &samples[..2], 0),
            (10, &samples[..], 2),
        ] {
            let bytes = wav(told, &samples);
            let found = whole(SoundStream::wav(Drops(&bytes, 0), Path::new("pipe")).unwrap());
            assert_eq!(found, (expected.to_vec(), missing), "{told}");
        }
    }

    #[test]
    fn raw_channels_are_averaged_and_half_a_moment_is_left_out() {
        let bytes: Vec<u8> = [100i16, 300, -32768, -32768, 7].iter().flat_map(|sample| sample.to_le_bytes()).collect();
        assert_eq!(whole(SoundStream::raw(Drops(&bytes, 0), 16000, 2)).0, [200, -32768]);
    }

    #[test]
    fn broken_heads_are_refused_with_the_mend() {
        let good = wav(8, &[1, 2, 3, 4]);
        let mut compressed = good.clone();
        // The kind of samples: 6 is A-law.
        compressed[32] = 6;
        let cases: [(&[u8], &str); 5] = [
            (b"", "ends within its head"),
            (b"this is no recording at all", "does not begin as a WAV"),
            (&good[..30], "ends within its head"),
            (&compressed, "kind 6"),
            (b"RIFF\0\0\0\0WAVEdata\0\0\0\0", "does not tell its format"),
        ];
        for (bytes, expected) in cases {
            let message = SoundStream::wav(bytes, Path::new("pipe")).unwrap_err().to_string();
            assert!(message.contains("pipe") && message.contains(expected), "{message}");
        }
    }
}
