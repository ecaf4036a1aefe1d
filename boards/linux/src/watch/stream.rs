//! Frames in a stream of bytes: a pipe, a file.

use std::io::{self, ErrorKind, Read};
use std::path::Path;

use cygnet::input::Picture;

use super::frame::{Content, Frame, FrameSource, Shape};
use super::jpeg::{JpegScan, scan};
use crate::pipe::Pipe;

/// Bytes taken at a time from a stream of JPEG pictures.
const BLOCK: usize = 1 << 16;
/// A JPEG picture of more bytes is none.
const LARGEST_JPEG: usize = 1 << 25;

/// Frames of one size, one behind the other.
pub struct RawFrames {
    pipe: Pipe,
    shape: Shape,
    buffer: Vec<u8>,
}

impl RawFrames {
    /// Frames in the bytes of a pipe.
    pub fn new(pipe: Pipe, shape: Shape) -> Self {
        Self { pipe, shape, buffer: vec![0; shape.bytes()] }
    }
}

impl FrameSource for RawFrames {
    fn next(&mut self) -> io::Result<Option<Frame<'_>>> {
        let (filled, failure) = fill(&mut self.pipe, &mut self.buffer);
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
        self.pipe.reopen()
    }

    fn comes_back(&self) -> bool {
        self.pipe.comes_back()
    }
}

/// Fills the buffer as far as the stream goes.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> (usize, Option<io::Error>) {
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
    largest: u64,
    /// What has been read, from the picture on that comes next.
    buffer: Vec<u8>,
}

impl JpegFrames {
    /// Pictures in the bytes of a pipe. Those of more than `largest` pixels are refused.
    pub fn new(pipe: Pipe, largest: u64) -> Self {
        Self { pipe, largest, buffer: Vec::new() }
    }

    /// Appends what the stream gives; `false` at its end.
    fn read(&mut self) -> io::Result<bool> {
        let filled = self.buffer.len();
        self.buffer.resize(filled + BLOCK, 0);
        let read = loop {
            match self.pipe.read(self.buffer.get_mut(filled..).unwrap_or_default()) {
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
        self.pipe.reopen()
    }

    fn comes_back(&self) -> bool {
        self.pipe.comes_back()
    }
}
