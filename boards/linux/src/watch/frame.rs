//! What a source of pictures gives.

use std::io;

use cygnet::input::Picture;
use cygnet::sense::{Error, Pixels, Plane, YuvRange};

/// One picture, or what was to be one.
pub struct Frame<'a> {
    /// The file, where it came from one.
    pub name: Option<String>,
    /// The pixels, or what is wrong with them.
    pub content: Result<Content<'a>, String>,
}

/// Pixels, wherever they lie.
pub enum Content<'a> {
    /// As they came.
    Raw(Pixels<'a>),
    /// From a compressed picture.
    Decoded(Picture),
}

impl Content<'_> {
    /// The pixels.
    ///
    /// # Errors
    /// [`Error::Pixels`] when a side is 0.
    pub fn pixels(&self) -> Result<Pixels<'_>, Error> {
        match self {
            Self::Raw(pixels) => Ok(*pixels),
            Self::Decoded(picture) => picture.pixels(),
        }
    }
}

/// Where pictures come from, one after the other.
pub trait FrameSource {
    /// Waits for the next picture; `None` at the end.
    ///
    /// # Errors
    /// A device that is gone. [`reopen`](FrameSource::reopen) may bring it back.
    fn next(&mut self) -> io::Result<Option<Frame<'_>>>;

    /// Opens the source again after its end or a failure.
    ///
    /// # Errors
    /// What the system says.
    fn reopen(&mut self) -> io::Result<()>;

    /// Whether the source may come back after its end.
    fn comes_back(&self) -> bool;
}

/// How the bytes of a frame are arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Planar YUV 4:2:0, also called yuv420p and YU12.
    I420,
    /// YUV 4:2:0, U and V interleaved.
    Nv12,
    /// YUV 4:2:2 in one plane, also called YUY2.
    Yuyv,
    /// Red, green, blue, also called RGB3.
    Rgb24,
    /// One byte a pixel.
    Grey,
    /// JPEG pictures one after the other.
    Mjpeg,
}

/// Width, height and arrangement of frames that are not compressed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// The arrangement; not [`Format::Mjpeg`].
    pub format: Format,
    /// Pixels of a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from a row to the next in the first plane.
    pub row_stride: usize,
    /// What black and white are.
    pub range: YuvRange,
}

impl Shape {
    /// Without gaps between the rows.
    pub fn new(format: Format, (width, height): (u32, u32), range: YuvRange) -> Self {
        let row_stride = match format {
            Format::Yuyv => (width.div_ceil(2) as usize).saturating_mul(4),
            Format::Rgb24 => (width as usize).saturating_mul(3),
            _ => width as usize,
        };
        Self { format, width, height, row_stride, range }
    }

    fn half_rows(&self) -> usize {
        self.height.div_ceil(2) as usize
    }

    /// Bytes of the first plane, of a row of the others, of each of the others, and how many others there are.
    fn planes(&self) -> (usize, usize, usize, usize) {
        let first = self.row_stride.saturating_mul(self.height as usize);
        match self.format {
            Format::I420 => {
                let row = self.row_stride.div_ceil(2);
                (first, row, row.saturating_mul(self.half_rows()), 2)
            }
            Format::Nv12 => {
                let row = self.row_stride.next_multiple_of(2);
                (first, row, row.saturating_mul(self.half_rows()), 1)
            }
            _ => (first, 0, 0, 0),
        }
    }

    /// Bytes of a frame.
    pub fn bytes(&self) -> usize {
        let (first, _, other, count) = self.planes();
        first.saturating_add(other.saturating_mul(count))
    }

    /// The picture in the bytes of a frame.
    ///
    /// # Errors
    /// [`Error::Pixels`] where there are too few bytes.
    pub fn pixels<'a>(&self, data: &'a [u8]) -> Result<Pixels<'a>, Error> {
        let Self { width, height, row_stride, range, .. } = *self;
        let (first, row, other, _) = self.planes();
        // The end of a frame may be chroma that is not looked at, but is part of it.
        let data = data.get(..self.bytes()).unwrap_or_default();
        let plane = |begin: usize, row_stride, pixel_stride| Plane {
            data: data.get(begin..).unwrap_or_default(),
            row_stride,
            pixel_stride,
        };
        let luma = plane(0, row_stride, 1);
        match self.format {
            Format::Rgb24 => Pixels::rgb8_with_stride(data, width, height, row_stride),
            Format::Grey => Pixels::grey8_with_stride(data, width, height, row_stride),
            Format::I420 => {
                let (u, v) = (plane(first, row, 1), plane(first.saturating_add(other), row, 1));
                Pixels::yuv420(luma, u, v, width, height, range)
            }
            Format::Nv12 => {
                let (u, v) = (plane(first, row, 2), plane(first.saturating_add(1), row, 2));
                Pixels::yuv420(luma, u, v, width, height, range)
            }
            // Of two rows the chroma of the upper one serves both.
            Format::Yuyv | Format::Mjpeg => {
                let rows = row_stride.saturating_mul(2);
                let luma = Plane { pixel_stride: 2, ..luma };
                Pixels::yuv420(luma, plane(1, rows, 4), plane(3, rows, 4), width, height, range)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_bytes_of_their_format() {
        let bytes = |format, size| Shape::new(format, size, YuvRange::Limited).bytes();
        // By hand, from the formats' definitions; odd sides are rounded up in the chroma planes.
        assert_eq!(bytes(Format::I420, (640, 480)), 460_800);
        assert_eq!(bytes(Format::I420, (5, 3)), 15 + 2 * (3 * 2));
        assert_eq!(bytes(Format::Nv12, (5, 3)), 15 + 6 * 2);
        assert_eq!(bytes(Format::Yuyv, (5, 3)), 12 * 3);
        assert_eq!(bytes(Format::Rgb24, (5, 3)), 45);
        assert_eq!(bytes(Format::Grey, (5, 3)), 15);
    }

    #[test]
    fn a_whole_frame_is_enough_and_less_is_not() {
        // The last bytes that are looked at: of YUYV, the chroma of every other row is not.
        let formats = [(Format::I420, 1), (Format::Nv12, 1), (Format::Yuyv, 2), (Format::Rgb24, 1), (Format::Grey, 1)];
        for (format, less) in formats {
            let shape = Shape::new(format, (6, 4), YuvRange::Limited);
            let data = vec![0; shape.bytes()];
            let pixels = shape.pixels(&data).unwrap();
            assert_eq!((pixels.width(), pixels.height()), (6, 4));
            assert!(shape.pixels(&data[less..]).is_err(), "{format:?}");
        }
    }
}
