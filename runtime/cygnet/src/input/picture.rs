//! Picture files.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Seek};
use std::path::Path;

use cygnet_sense::Pixels;
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageReader};

use super::InputError;

/// What this build reads.
const READ: &str = if cfg!(feature = "pictures") {
    "PNG, JPEG, BMP, WebP or PNM file"
} else {
    "PNG or JPEG file, as this build has not the feature \"pictures\" for others"
};

/// Where the bytes of a picture come from.
trait Source: BufRead + Seek {}

impl<T: BufRead + Seek> Source for T {}

/// A decoded picture, upright, in 8 bits per sample: grey as it is, everything else as RGB without
/// transparency.
#[derive(Clone, Debug)]
pub struct Picture {
    data: Vec<u8>,
    width: u32,
    height: u32,
    is_grey: bool,
}

impl Picture {
    /// Reads a PNG, JPEG, BMP, WebP or PNM file, whichever its first bytes say, and turns it as its EXIF
    /// orientation wants. The last three need the feature `pictures`.
    ///
    /// # Errors
    /// [`InputError::File`], [`InputError::Picture`].
    pub fn open(path: &Path) -> Result<Self, InputError> {
        Self::open_at_most(path, u64::MAX)
    }

    /// As [`Picture::open`]; a picture of more than `pixels` pixels is refused by its head, before it takes memory.
    ///
    /// # Errors
    /// As [`Picture::open`].
    pub fn open_at_most(path: &Path, pixels: u64) -> Result<Self, InputError> {
        let mut file = BufReader::new(File::open(path).map_err(InputError::file(path))?);
        Self::decode(&mut file, path, pixels)
    }

    /// As [`Picture::open_at_most`], from the bytes of a file; `name` stands in the messages.
    ///
    /// # Errors
    /// [`InputError::Picture`].
    pub fn from_bytes(bytes: &[u8], name: &Path, pixels: u64) -> Result<Self, InputError> {
        Self::decode(&mut Cursor::new(bytes), name, pixels)
    }

    /// By reference, so that the decoders are compiled once.
    fn decode(source: &mut dyn Source, path: &Path, pixels: u64) -> Result<Self, InputError> {
        let refused = |error: image::ImageError| InputError::Picture {
            path: path.to_path_buf(),
            problem: format!("{error}; give a whole {READ}"),
        };
        let reader = ImageReader::new(source).with_guessed_format().map_err(InputError::file(path))?;
        let mut decoder = reader.into_decoder().map_err(refused)?;
        let (width, height) = decoder.dimensions();
        if u64::from(width) * u64::from(height) > pixels {
            let problem = format!("it has {width}×{height} pixels, more than {pixels}; make it smaller");
            return Err(InputError::Picture { path: path.to_path_buf(), problem });
        }
        let (orientation, color) = (decoder.orientation().unwrap_or(Orientation::NoTransforms), decoder.color_type());
        // The size in the header is not trusted with all memory.
        image::Limits::default().reserve(decoder.total_bytes()).map_err(refused)?;
        let mut bytes = vec![0; usize::try_from(decoder.total_bytes()).unwrap_or(0)];
        decoder.read_image(&mut bytes).map_err(refused)?;
        let Some(data) = eight_bits(bytes, color) else {
            let problem = format!("its samples are {color:?}; give a whole {READ}");
            return Err(InputError::Picture { path: path.to_path_buf(), problem });
        };
        Ok(Self { data, width, height, is_grey: !color.has_color() }.turned(orientation))
    }

    /// The picture as it is to be seen, from one whose file asks for `orientation`.
    fn turned(self, orientation: Orientation) -> Self {
        let (width, height) = (self.width as isize, self.height as isize);
        // The place of the first pixel, and the steps to the next one and to the next row.
        let (first, column, row) = match orientation {
            Orientation::NoTransforms => return self,
            Orientation::Rotate90 => ((height - 1) * width, -width, 1),
            Orientation::Rotate180 => (height * width - 1, -1, -width),
            Orientation::Rotate270 => (width - 1, width, -1),
            Orientation::FlipHorizontal => (width - 1, -1, width),
            Orientation::FlipVertical => ((height - 1) * width, 1, -width),
            Orientation::Rotate90FlipH => (0, width, 1),
            Orientation::Rotate270FlipH => (height * width - 1, -width, -1),
        };
        let is_upright = column.abs() == 1;
        let [new_width, new_height] = if is_upright { [self.width, self.height] } else { [self.height, self.width] };
        let channels = if self.is_grey { 1 } else { 3 };
        let mut data = Vec::with_capacity(self.data.len());
        for y in 0..new_height as isize {
            for x in 0..new_width as isize {
                let from = (first + y * row + x * column).cast_unsigned() * channels;
                data.extend_from_slice(self.data.get(from..from + channels).unwrap_or(&[]));
            }
        }
        Self { data, width: new_width, height: new_height, ..self }
    }

    /// The pixels, for [`Session::set_image`](crate::Session::set_image).
    ///
    /// # Errors
    /// [`cygnet_sense::Error::Pixels`] when a side is 0.
    pub fn pixels(&self) -> Result<Pixels<'_>, cygnet_sense::Error> {
        if self.is_grey {
            Pixels::grey8(&self.data, self.width, self.height)
        } else {
            Pixels::rgb8(&self.data, self.width, self.height)
        }
    }

    /// The pixels as red, green and blue.
    pub(crate) fn to_rgb(&self) -> image::RgbImage {
        let pixel = |x: u32, y: u32| {
            let at = y as usize * self.width as usize + x as usize;
            let grey = |index: usize| self.data.get(index).copied().unwrap_or(0);
            image::Rgb(if self.is_grey { [grey(at); 3] } else { [0, 1, 2].map(|channel| grey(3 * at + channel)) })
        };
        image::RgbImage::from_fn(self.width, self.height, pixel)
    }
}

impl From<DynamicImage> for Picture {
    fn from(picture: DynamicImage) -> Self {
        let (width, height) = (picture.width(), picture.height());
        let is_grey = !picture.color().has_color();
        let data = if is_grey { picture.into_luma8().into_raw() } else { picture.into_rgb8().into_raw() };
        Self { data, width, height, is_grey }
    }
}

/// Samples in 8 bits, rounded, without transparency; `None` where they are no whole numbers.
fn eight_bits(bytes: Vec<u8>, color: ColorType) -> Option<Vec<u8>> {
    use ColorType::{L8, L16, La8, La16, Rgb8, Rgb16, Rgba8, Rgba16};
    let samples = match color {
        L8 | La8 | Rgb8 | Rgba8 => bytes,
        L16 | La16 | Rgb16 | Rgba16 => {
            let rounded = |sample: &[u8; 2]| ((u32::from(u16::from_ne_bytes(*sample)) + 128) / 257) as u8;
            bytes.as_chunks::<2>().0.iter().map(rounded).collect()
        }
        _ => return None,
    };
    if !color.has_alpha() {
        return Some(samples);
    }
    let channels = usize::from(color.channel_count());
    let mut opaque = Vec::with_capacity(samples.len() / channels * (channels - 1));
    for pixel in samples.chunks_exact(channels) {
        opaque.extend_from_slice(pixel.split_last().map_or(&[], |(_, seen)| seen));
    }
    Some(opaque)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_files_are_named_with_the_mend() {
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().join("whole.png");
        image::RgbImage::from_pixel(4, 3, image::Rgb([1, 2, 3])).save(&whole).unwrap();
        let bytes = std::fs::read(&whole).unwrap();
        // A bitmap of 60000×60000 pixels of 24 bits that ends behind its header.
        let mut huge = b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
        huge.extend([60000u32, 60000, 24 << 16 | 1, 0, 0, 0, 0, 0, 0].iter().flat_map(|word| word.to_le_bytes()));
        let cases: [(&str, &[u8]); 5] = [
            ("huge.bmp", &huge),
            ("empty.png", b""),
            ("short.png", &bytes[..bytes.len() / 2]),
            ("text.png", b"not a picture"),
            ("head.png", &bytes[..20]),
        ];
        for (name, bytes) in cases {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let message = Picture::open(&path).unwrap_err().to_string();
            assert!(message.contains(name) && message.contains("give a whole"), "{message}");
            let message = Picture::from_bytes(bytes, &path, u64::MAX).unwrap_err().to_string();
            assert!(message.contains(name) && message.contains("give a whole"), "{message}");
        }
    }

    #[cfg(not(feature = "pictures"))]
    #[test]
    fn formats_left_out_are_told() {
        let cases: [(&str, &[u8]); 3] =
            [("x.bmp", b"BM\x36\0\0\0"), ("x.webp", b"RIFF\x04\0\0\0WEBP"), ("x.ppm", b"P6 1 1 255 \0\0\0")];
        for (name, bytes) in cases {
            let message = Picture::from_bytes(bytes, name.as_ref(), u64::MAX).unwrap_err().to_string();
            assert!(message.contains(name) && message.contains("\"pictures\""), "{message}");
        }
    }

    /// Against the functions of the crate `image`.
    #[test]
    fn every_type_and_orientation_is_what_image_makes_of_it() {
        const COLORS: [ColorType; 8] = {
            use ColorType::*;
            [L8, La8, Rgb8, Rgba8, L16, La16, Rgb16, Rgba16]
        };
        for color in COLORS {
            // All values of 16 bits in their order, and more than one row of each length.
            let (width, height) = (7, 65536 / 7 + 1);
            let samples = width as usize * height as usize * usize::from(color.channel_count());
            let words: Vec<u16> = (0..samples).map(|at| (at * 31 % 65536) as u16).collect();
            let bytes: Vec<u8> = if color.bytes_per_pixel() == color.channel_count() {
                words.iter().map(|&word| word as u8).collect()
            } else {
                words.iter().flat_map(|word| word.to_ne_bytes()).collect()
            };
            let mut picture = DynamicImage::new(width, height, color);
            let mut place = std::io::Cursor::new(Vec::new());
            let encoder = image::codecs::png::PngEncoder::new(&mut place);
            image::ImageEncoder::write_image(encoder, &bytes, width, height, color.into()).unwrap();
            let file = place.into_inner();
            let read = image::load_from_memory(&file).unwrap();
            assert_eq!(read.color(), color);
            for exif in 1..=8 {
                let orientation = Orientation::from_exif(exif).unwrap();
                picture.clone_from(&read);
                picture.apply_orientation(orientation);
                let expected = Picture::from(picture.clone());
                let data = eight_bits(read.as_bytes().to_vec(), color).unwrap();
                let is_grey = !color.has_color();
                let found = Picture { data, width, height, is_grey }.turned(orientation);
                assert!(found.data == expected.data, "{color:?} {orientation:?}");
                assert_eq!((found.width, found.height, found.is_grey), (expected.width, expected.height, is_grey));
            }
        }
    }

    #[test]
    fn pictures_larger_than_wanted_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.png");
        image::GrayImage::from_pixel(5, 4, image::Luma([9])).save(&path).unwrap();
        assert!(Picture::open_at_most(&path, 20).is_ok());
        let message = Picture::open_at_most(&path, 19).unwrap_err().to_string();
        assert!(message.contains("5×4") && message.contains("make it smaller"), "{message}");
    }

    #[test]
    fn colour_and_grey_keep_their_samples() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.png");
        image::RgbaImage::from_pixel(2, 1, image::Rgba([1, 2, 3, 0])).save(&path).unwrap();
        let colour = Picture::open(&path).unwrap();
        assert_eq!((colour.is_grey, &colour.data[..]), (false, &[1, 2, 3, 1, 2, 3][..]));
        image::GrayImage::from_pixel(1, 2, image::Luma([9])).save(&path).unwrap();
        let grey = Picture::open(&path).unwrap();
        assert_eq!((grey.is_grey, &grey.data[..]), (true, &[9, 9][..]));
    }
}
