//! Where pictures come from.

use core::convert::Infallible;
use core::fmt;

use cygnet_sense::{Pixels, YuvRange};

/// How the pixels of a frame lie in memory, row after row without gaps.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PixelFormat {
    /// One byte a pixel.
    Grey8,
    /// Red, green, blue: three bytes a pixel.
    Rgb8,
    /// Y, U, Y, V: four bytes for two pixels.
    Yuyv(YuvRange),
}

/// The size and the pixels of all frames of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameFormat {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// What a pixel is.
    pub pixels: PixelFormat,
}

impl FrameFormat {
    /// Bytes of a frame.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        let width = self.width as usize;
        let row = match self.pixels {
            PixelFormat::Grey8 => width,
            PixelFormat::Rgb8 => width.saturating_mul(3),
            PixelFormat::Yuyv(_) => width.div_ceil(2).saturating_mul(4),
        };
        row.saturating_mul(self.height as usize)
    }

    /// Looks at the bytes of a frame as a picture.
    ///
    /// # Errors
    /// [`cygnet_sense::Error::Pixels`] where `bytes` is shorter than [`bytes`](FrameFormat::bytes) or a side is 0.
    pub fn view<'b>(&self, bytes: &'b [u8]) -> Result<Pixels<'b>, cygnet_sense::Error> {
        match self.pixels {
            PixelFormat::Grey8 => Pixels::grey8(bytes, self.width, self.height),
            PixelFormat::Rgb8 => Pixels::rgb8(bytes, self.width, self.height),
            PixelFormat::Yuyv(range) => Pixels::yuyv(bytes, self.width, self.height, range),
        }
    }
}

/// Pictures, one at a time, all of one format.
///
/// The caller owns the buffer; the picture borrows it until the next call, and the source keeps no reference to it.
pub trait FrameSource {
    /// What can go wrong at the device: usually the bus's error, or that nothing answers.
    type Error: fmt::Debug;

    /// Size and pixels, which do not change.
    fn format(&self) -> FrameFormat;

    /// Waits for the next picture and writes it to the beginning of `buffer`, which has at least
    /// [`format().bytes()`](FrameFormat::bytes) bytes. `None` is the end of a recording; a camera never ends.
    ///
    /// # Errors
    /// [`FrameError::Buffer`] where the buffer is too short; [`FrameError::Device`], after which the buffer's content is
    /// not a picture and the next call tries again.
    fn read<'b>(&mut self, buffer: &'b mut [u8]) -> Result<Option<Pixels<'b>>, FrameError<Self::Error>>;
}

/// Why there is no picture.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError<E> {
    /// The buffer is too short for a frame.
    Buffer {
        /// Bytes of a frame.
        needed: usize,
        /// Bytes of the buffer.
        given: usize,
    },
    /// The format has no pixels.
    Format(cygnet_sense::Error),
    /// The device failed.
    Device(E),
}

impl<E: fmt::Debug> fmt::Display for FrameError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Buffer { needed, given } => {
                write!(f, "a frame has {needed} bytes and the buffer {given}: give at least {needed}")
            }
            Self::Format(error) => error.fmt(f),
            Self::Device(error) => write!(f, "the camera gave no picture ({error:?}): look at its cable and try again"),
        }
    }
}

impl<E: fmt::Debug> core::error::Error for FrameError<E> {}

/// The first bytes of a buffer that is to hold a frame.
pub(crate) fn room<E>(buffer: &mut [u8], format: FrameFormat) -> Result<&mut [u8], FrameError<E>> {
    let (needed, given) = (format.bytes(), buffer.len());
    buffer.get_mut(..needed).ok_or(FrameError::Buffer { needed, given })
}

/// Frames in memory, one behind the other. Bytes at the end that are no whole frame are left out.
#[derive(Clone, Debug)]
pub struct RecordedFrames<'a> {
    rest: &'a [u8],
    format: FrameFormat,
}

impl<'a> RecordedFrames<'a> {
    /// A recording, from its beginning.
    #[must_use]
    pub const fn new(bytes: &'a [u8], format: FrameFormat) -> Self {
        Self { rest: bytes, format }
    }
}

impl FrameSource for RecordedFrames<'_> {
    type Error = Infallible;

    fn format(&self) -> FrameFormat {
        self.format
    }

    fn read<'b>(&mut self, buffer: &'b mut [u8]) -> Result<Option<Pixels<'b>>, FrameError<Infallible>> {
        let frame = room(buffer, self.format)?;
        let Some((now, later)) = self.rest.split_at_checked(frame.len()) else { return Ok(None) };
        frame.copy_from_slice(now);
        let picture = self.format.view(frame).map_err(FrameError::Format)?;
        self.rest = later;
        Ok(Some(picture))
    }
}
