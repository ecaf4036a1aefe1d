use crate::Error;
use crate::encoding::{Reader, Writer};

/// The order of the colours in the tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "card", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "card", serde(rename_all = "lowercase"))]
pub enum Colour {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// One channel: `(19595 R + 38470 G + 7471 B + 32768) >> 16`, the luma of ITU-R BT.601.
    Grey,
}

impl Colour {
    /// 3, or 1 for grey.
    pub const fn channels(self) -> usize {
        match self {
            Colour::Rgb | Colour::Bgr => 3,
            Colour::Grey => 1,
        }
    }
}

/// The order of the axes of the tensor; the batch axis is always 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "card", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "card", serde(rename_all = "lowercase"))]
pub enum Layout {
    /// `[1, channels, height, width]`.
    #[default]
    Nchw,
    /// `[1, height, width, channels]`.
    Nhwc,
}

/// How a picture of another shape is brought to the size of the tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fit {
    /// Both sides are resized on their own; the aspect ratio is lost.
    #[default]
    Stretch,
    /// The shorter side is resized to `resize_shorter`, the longer to
    /// `floor(resize_shorter * longer / shorter)`, and the middle is cut out: the first column is
    /// `round_half_even((resized - width) / 2)`, as torchvision's Resize and CenterCrop do.
    Crop {
        /// Length of the shorter side after resizing; at least the larger of `width` and `height`.
        resize_shorter: u32,
    },
    /// Letterbox: the largest size of the same aspect ratio that fits (the other side rounded to the
    /// nearest, halves up), in the middle (odd remainders: one less before than behind), on grey 114.
    Pad,
    /// A line of text: as `Pad`, but at the left upper corner, on grey 127.
    Line,
}

/// How pixels are computed when the size changes. All but `Nearest` are separable, see the whole
/// support of an output pixel when shrinking, and round to 8 bits after each axis, as Pillow does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "card", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "card", serde(rename_all = "lowercase"))]
pub enum Filter {
    /// The pixel under the centre of the output pixel.
    Nearest,
    /// Triangle filter.
    #[default]
    Bilinear,
    /// Cubic convolution with a = -0.5 (Keys, 1981).
    Bicubic,
}

/// Everything between a picture and the image tensor of a model:
/// `tensor = (pixel - mean) * scale`, pixels from 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImageSpec {
    /// Width of the tensor, 1..=65535.
    pub width: u32,
    /// Height of the tensor, 1..=65535.
    pub height: u32,
    /// Order of the channels.
    pub colour: Colour,
    /// Layout of the tensor in the model file. A caller may ask [`prepare`](ImageSpec::prepare) for the other.
    pub layout: Layout,
    /// How the aspect ratio is treated.
    pub fit: Fit,
    /// How pixels are resampled.
    pub filter: Filter,
    /// Taken from each pixel, in the order of `colour`; a grey model uses the first.
    pub mean: [f32; 3],
    /// Multiplied then, in the order of `colour`; a grey model uses the first.
    pub scale: [f32; 3],
}

/// Where the whole picture comes to lie, in pixels of the tensor. Maps positions (of detected boxes,
/// say) back to the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Width of the source picture.
    pub source_width: u32,
    /// Height of the source picture.
    pub source_height: u32,
    /// Width of the whole picture after resizing.
    pub width: u32,
    /// Height of the whole picture after resizing.
    pub height: u32,
    /// Column of the tensor where the picture begins: negative when cropped, positive when padded.
    pub left: i32,
    /// Row of the tensor where the picture begins: negative when cropped, positive when padded.
    pub top: i32,
}

impl Placement {
    /// A point of the tensor (in pixels, the left upper corner is 0, 0) as a point of the source picture.
    pub fn to_source(&self, x: f32, y: f32) -> (f32, f32) {
        (
            (x - self.left as f32) * self.source_width as f32 / self.width as f32,
            (y - self.top as f32) * self.source_height as f32 / self.height as f32,
        )
    }

    /// A point of the tensor as a point of the source picture, the nearest one that lies within it.
    pub fn within(&self, x: f32, y: f32) -> (f32, f32) {
        let (x, y) = self.to_source(x, y);
        (x.clamp(0.0, self.source_width as f32), y.clamp(0.0, self.source_height as f32))
    }

    /// A point of the source picture as a point of the tensor, which may lie outside of it.
    pub fn to_tensor(&self, x: f32, y: f32) -> (f32, f32) {
        (
            x * self.width as f32 / self.source_width as f32 + self.left as f32,
            y * self.height as f32 / self.source_height as f32 + self.top as f32,
        )
    }
}

const VERSION: u8 = 1;
const LONGEST_SIDE: u32 = 65535;
const COLOURS: [Colour; 3] = [Colour::Rgb, Colour::Bgr, Colour::Grey];
const LAYOUTS: [Layout; 2] = [Layout::Nchw, Layout::Nhwc];
const FILTERS: [Filter; 3] = [Filter::Nearest, Filter::Bilinear, Filter::Bicubic];

impl ImageSpec {
    /// Size of the encoded record.
    pub const BYTES: usize = 44;

    /// NCHW, stretch, bilinear, mean 0 and scale 1.
    pub const fn new(width: u32, height: u32, colour: Colour) -> Self {
        ImageSpec {
            width,
            height,
            colour,
            layout: Layout::Nchw,
            fit: Fit::Stretch,
            filter: Filter::Bilinear,
            mean: [0.0; 3],
            scale: [1.0; 3],
        }
    }

    /// 3, or 1 for grey.
    pub const fn channels(&self) -> usize {
        self.colour.channels()
    }

    /// Number of elements of the tensor: `channels * height * width`.
    pub const fn tensor_len(&self) -> usize {
        (self.width as usize).saturating_mul(self.height as usize).saturating_mul(self.channels())
    }

    /// Whether the fields are usable together.
    ///
    /// # Errors
    /// [`Error::Spec`] names the first field that is not, and what it must be.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |field, mend| Err(Error::Spec { field, mend });
        if self.width == 0 || self.width > LONGEST_SIDE {
            return refuse("width", "between 1 and 65535");
        }
        if self.height == 0 || self.height > LONGEST_SIDE {
            return refuse("height", "between 1 and 65535");
        }
        if let Fit::Crop { resize_shorter } = self.fit
            && (resize_shorter < self.width.max(self.height) || resize_shorter > LONGEST_SIDE)
        {
            return refuse("resize_shorter", "at least the larger of width and height, at most 65535");
        }
        let channels = self.channels();
        if !self.mean.iter().take(channels).all(|v| v.is_finite()) {
            return refuse("mean", "finite numbers");
        }
        if !self.scale.iter().take(channels).all(|v| v.is_finite() && *v != 0.0) {
            return refuse("scale", "finite numbers other than 0");
        }
        Ok(())
    }

    /// Where a picture of this size comes to lie.
    ///
    /// # Errors
    /// [`Error::Spec`] from [`check`](ImageSpec::check); [`Error::Pixels`] when a side of the picture
    /// is 0 or longer than 65535, or becomes so by `fit = "crop"`.
    pub fn placement(&self, source_width: u32, source_height: u32) -> Result<Placement, Error> {
        self.check()?;
        for side in [source_width, source_height] {
            if side == 0 || side > LONGEST_SIDE {
                return Err(Error::Pixels { problem: "its sides must be between 1 and 65535 pixels" });
            }
        }
        let (sw, sh) = (u64::from(source_width), u64::from(source_height));
        let (w, h) = (u64::from(self.width), u64::from(self.height));
        let (width, height) = match self.fit {
            Fit::Stretch => (w, h),
            Fit::Crop { resize_shorter } => {
                let shorter = u64::from(resize_shorter);
                if sw <= sh { (shorter, shorter * sh / sw) } else { (shorter * sw / sh, shorter) }
            }
            Fit::Pad | Fit::Line if sw * h >= sh * w => (w, ((2 * sh * w + sw) / (2 * sw)).clamp(1, h)),
            Fit::Pad | Fit::Line => (((2 * sw * h + sh) / (2 * sh)).clamp(1, w), h),
        };
        if width > u64::from(LONGEST_SIDE) || height > u64::from(LONGEST_SIDE) {
            return Err(Error::Pixels { problem: "it is too long and narrow for `fit = \"crop\"`" });
        }
        let (width, height) = (width as u32, height as u32);
        let (left, top) = match self.fit {
            Fit::Line => (0, 0),
            _ => (begin(self.width, width), begin(self.height, height)),
        };
        Ok(Placement { source_width, source_height, width, height, left, top })
    }

    /// The record that a plan stores: little-endian, [`ImageSpec::BYTES`] long, with a version.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let mut writer = Writer::new(&mut bytes);
        writer.u8(VERSION);
        writer.u8(self.colour as u8);
        writer.u8(self.layout as u8);
        writer.u8(self.filter as u8);
        let (fit, resize_shorter) = match self.fit {
            Fit::Stretch => (0, 0),
            Fit::Crop { resize_shorter } => (1, resize_shorter),
            Fit::Pad => (2, 0),
            Fit::Line => (3, 0),
        };
        writer.u32(fit);
        writer.u32(resize_shorter);
        writer.u32(self.width);
        writer.u32(self.height);
        for value in self.mean.iter().chain(&self.scale) {
            writer.f32(*value);
        }
        bytes
    }

    /// Reads the record back and checks it.
    ///
    /// # Errors
    /// [`Error::Encoding`] when it is no such record, [`Error::Spec`] when a field is not usable.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes, Self::BYTES)?;
        if reader.u8()? != VERSION {
            return Err(Error::Encoding { problem: "an unknown version" });
        }
        let colour = reader.choice(&COLOURS)?;
        let layout = reader.choice(&LAYOUTS)?;
        let filter = reader.choice(&FILTERS)?;
        let fit = match (reader.u32()?, reader.u32()?) {
            (0, 0) => Fit::Stretch,
            (1, resize_shorter) => Fit::Crop { resize_shorter },
            (2, 0) => Fit::Pad,
            (3, 0) => Fit::Line,
            _ => return Err(Error::Encoding { problem: "an unknown fit" }),
        };
        let mut spec = ImageSpec::new(reader.u32()?, reader.u32()?, colour);
        (spec.layout, spec.filter, spec.fit) = (layout, filter, fit);
        for value in spec.mean.iter_mut().chain(&mut spec.scale) {
            *value = reader.f32()?;
        }
        spec.check()?;
        Ok(spec)
    }
}

/// Where something of length `picture` begins in `tensor` when it lies in the middle.
fn begin(tensor: u32, picture: u32) -> i32 {
    if picture >= tensor {
        let surplus = picture - tensor;
        let half = surplus / 2;
        // Halves go to the even column.
        -((half + (surplus & half & 1)) as i32)
    } else {
        ((tensor - picture) / 2) as i32
    }
}
