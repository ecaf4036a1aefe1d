//! Frames in a stream of bytes: a pipe, a file.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use cygnet::input::Picture;

use super::frame::{Content, Frame, FrameSource, Shape};
use super::jpeg::{JpegScan, scan};
use crate::retry::comes_back;

/// Bytes taken at a time from a stream of JPEG pictures.
const BLOCK: usize = 1 << 16;
/// A JPEG picture of more bytes is none.
const LARGEST_JPEG: usize = 1 << 25;

/// Where the bytes come from.
pub enum Pipe {
    /// Standard input.
    StandardInput,
    /// A file or a named pipe.
    Path(PathBuf),
}

impl Pipe {
    fn open(&self) -> io::Result<Box<dyn Read>> {
        Ok(match self {
            Self::StandardInput => Box::new(io::stdin().lock()),
            Self::Path(path) => Box::new(File::open(path)?),
        })
    }

    fn comes_back(&self) -> bool {
        matches!(self, Self::Path(path) if comes_back(path))
    }
}

/// Frames of one size, one behind the other.
pub struct RawFrames {
    pipe: Pipe,
    reader: Box<dyn Read>,
    shape: Shape,
    buffer: Vec<u8>,
}

impl RawFrames {
    /// Opens the stream.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(pipe: Pipe, shape: Shape) -> io::Result<Self> {
        Ok(Self { reader: pipe.open()?, pipe, shape, buffer: vec![0; shape.bytes()] })
    }
}

impl FrameSource for RawFrames {
    fn next(&mut self) -> io::Result<Option<Frame<'_>>> {
        let (filled, failure) = fill(&mut *self.reader, &mut self.buffer);
        let content = match (filled, failure) {
            (filled, None) if filled == self.buffer.len() => {
                self.shape.pixels(&self.buffer).map(Content::Raw).map_err(|error| error.to_string())
            }
            (0, Some(failure)) => return Err(failure),
            (0, None) => return Ok(None),
            // The failure comes again with the next look.
            (filled, _) => Err(format!("the frame is cut off after {filled} of {} bytes", self.buffer.len())),
        };
        Ok(Some(Frame { name: None, content }))
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.reader = self.pipe.open()?;
        Ok(())
    }

    fn comes_back(&self) -> bool {
        self.pipe.comes_back()
    }
}

/// Fills the buffer as far as the stream goes.
fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> (usize, Option<io::Error>) {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (filled, Some(error)),
        }
    }
    (filled, None)
}

/// JPEG pictures, one behind the other.
pub struct JpegFrames {
    pipe: Pipe,
    reader: Box<dyn Read>,
    largest: u64,
    /// What has been read, from the picture on that comes next.
    buffer: Vec<u8>,
}

impl JpegFrames {
    /// Opens the stream. Pictures of more than `largest` pixels are refused.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(pipe: Pipe, largest: u64) -> io::Result<Self> {
        Ok(Self { reader: pipe.open()?, pipe, largest, buffer: Vec::new() })
    }

    /// Appends what the stream gives; `false` at its end.
    fn read(&mut self) -> io::Result<bool> {
        let filled = self.buffer.len();
        self.buffer.resize(filled + BLOCK, 0);
        let read = loop {
            match self.reader.read(self.buffer.get_mut(filled..).unwrap_or_default()) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
        read.map(|count| count > 0)
    }

    fn take(&mut self, bytes: usize) -> Vec<u8> {
        self.buffer.drain(..bytes.min(self.buffer.len())).collect()
    }
}

impl FrameSource for JpegFrames {
    fn next(&mut self) -> io::Result<Option<Frame<'_>>> {
        let content = loop {
            match scan(&self.buffer) {
                JpegScan::Whole(bytes) => {
                    let picture = Picture::from_bytes(&self.take(bytes), Path::new("JPEG"), self.largest);
                    break picture.map(Content::Decoded).map_err(|error| error.to_string());
                }
                JpegScan::Broken(bytes) => {
                    self.take(bytes);
                    break Err(format!("{bytes} bytes are no whole JPEG picture"));
                }
                JpegScan::Unfinished if self.buffer.len() > LARGEST_JPEG => {
                    self.buffer.clear();
                    break Err(format!("there is no end of a JPEG picture within {LARGEST_JPEG} bytes"));
                }
                JpegScan::Unfinished => {}
            }
            if !self.read()? {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                let bytes = std::mem::take(&mut self.buffer).len();
                break Err(format!("the picture is cut off after {bytes} bytes"));
            }
        };
        Ok(Some(Frame { name: None, content }))
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.buffer.clear();
        self.reader = self.pipe.open()?;
        Ok(())
    }

    fn comes_back(&self) -> bool {
        self.pipe.comes_back()
    }
}
