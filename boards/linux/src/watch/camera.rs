//! A camera, by V4L2.

use std::io;
use std::path::{Path, PathBuf};

use cygnet::input::Picture;
use cygnet::sense::YuvRange;
use linuxvideo::Device;
use linuxvideo::format::{PixFormat, PixelFormat};
use linuxvideo::stream::ReadStream;

use super::frame::{Content, Format, Frame, FrameSource, Shape};

/// What a camera is asked for where nobody says what.
const USUAL_SIZE: (u32, u32) = (640, 480);

/// What a camera calls its formats.
const FORMATS: [(Format, [u8; 4]); 7] = [
    (Format::Yuyv, *b"YUYV"),
    (Format::Mjpeg, *b"MJPG"),
    (Format::Mjpeg, *b"JPEG"),
    (Format::I420, *b"YU12"),
    (Format::Nv12, *b"NV12"),
    (Format::Rgb24, *b"RGB3"),
    (Format::Grey, *b"GREY"),
];

/// A V4L2 camera.
pub struct Camera {
    path: PathBuf,
    wanted: Wanted,
    largest: u64,
    /// Closed as soon as the camera is gone: as long as it is open, a camera that comes back gets another name.
    stream: Option<ReadStream>,
    /// How frames are arranged; `None` where they are JPEG pictures.
    shape: Option<Shape>,
    buffer: Vec<u8>,
}

/// What a camera is asked for; it gives the nearest it can.
#[derive(Clone, Copy)]
pub struct Wanted {
    /// Width and height.
    pub size: Option<(u32, u32)>,
    /// The arrangement.
    pub format: Option<Format>,
    /// What black and white are.
    pub range: YuvRange,
}

impl Camera {
    /// Starts a camera such as `/dev/video0`.
    ///
    /// # Errors
    /// What the system says; a camera with formats of its own.
    pub fn open(path: &Path, wanted: Wanted, largest: u64) -> io::Result<Self> {
        let (stream, shape) = start(path, wanted)?;
        Ok(Self { path: path.into(), wanted, largest, stream: Some(stream), shape, buffer: Vec::new() })
    }
}

fn start(path: &Path, wanted: Wanted) -> io::Result<(ReadStream, Option<Shape>)> {
    let (width, height) = wanted.size.unwrap_or(USUAL_SIZE);
    let format = wanted.format.unwrap_or(Format::Yuyv);
    let fourcc = FORMATS.iter().find(|(there, _)| *there == format).map_or(*b"YUYV", |(_, fourcc)| *fourcc);
    let asked = PixFormat::new(width, height, PixelFormat::from_fourcc(fourcc));
    let device = Device::open(path)?.video_capture(asked)?;
    let given = device.format();
    let fourcc = given.pixel_format().as_fourcc();
    let Some((format, _)) = FORMATS.iter().find(|(_, known)| *known == fourcc) else {
        let name = given.pixel_format();
        return Err(io::Error::other(format!(
            "the camera gives {name}, which is not read; ask for another --format, or pipe its frames in"
        )));
    };
    let shape = (*format != Format::Mjpeg).then(|| {
        let shape = Shape::new(*format, (given.width(), given.height()), wanted.range);
        Shape { row_stride: shape.row_stride.max(given.bytes_per_line() as usize), ..shape }
    });
    log::info!("{}: {}×{} {format:?}", path.display(), given.width(), given.height());
    Ok((device.into_stream()?, shape))
}

impl FrameSource for Camera {
    fn next(&mut self) -> io::Result<Option<Frame<'_>>> {
        let Self { stream, buffer, .. } = self;
        let Some(open) = stream else { return Err(io::ErrorKind::NotConnected.into()) };
        // The driver gets its memory back at once, and fills it while the model works.
        let taken = open.dequeue(|view| {
            buffer.clear();
            buffer.extend_from_slice(&view);
            Ok(view.is_error())
        });
        let is_damaged = match taken {
            Ok(is_damaged) => is_damaged,
            Err(error) => {
                *stream = None;
                return Err(error);
            }
        };
        let content = match &self.shape {
            _ if is_damaged => Err("the camera says that the frame is damaged".into()),
            Some(shape) => shape.pixels(&self.buffer).map(Content::Raw).map_err(|error| error.to_string()),
            None => Picture::from_bytes(&self.buffer, &self.path, self.largest)
                .map(Content::Decoded)
                .map_err(|error| error.to_string()),
        };
        Ok(Some(Frame { name: None, content }))
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.stream = None;
        let (stream, shape) = start(&self.path, self.wanted)?;
        (self.stream, self.shape) = (Some(stream), shape);
        Ok(())
    }

    fn comes_back(&self) -> bool {
        true
    }
}
