use crate::Error;

/// Rows of pixels with interleaved channels.
#[derive(Debug, Clone, Copy)]
pub struct Packed<'a> {
    data: &'a [u8],
    width: u32,
    height: u32,
    row_stride: usize,
}

/// One plane of a [`Yuv420`] picture: where sample `(x, y)` lies is
/// `data[y * row_stride + x * pixel_stride]`.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a> {
    /// The bytes, from the first sample on.
    pub data: &'a [u8],
    /// Bytes from a row to the next.
    pub row_stride: usize,
    /// Bytes from a sample to the next: 1, or 2 where two planes are interleaved (NV12).
    pub pixel_stride: usize,
}

/// Whether black and white of a [`Yuv420`] picture are 16 and 235 or 0 and 255.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum YuvRange {
    /// BT.601 limited ("video") range, what cameras and decoders give:
    /// `R = (298 (Y-16) + 409 (V-128) + 128) >> 8`, and so on.
    #[default]
    Limited,
    /// BT.601 full range, as in JPEG: `R = Y + 1.402 (V-128)`, and so on, in 16 fractional bits.
    Full,
}

/// Luma in full and two chroma planes in half resolution (rounded up). Each chroma sample serves the
/// 2×2 luma samples over it.
#[derive(Debug, Clone, Copy)]
pub struct Yuv420<'a> {
    y: Plane<'a>,
    u: Plane<'a>,
    v: Plane<'a>,
    width: u32,
    height: u32,
    range: YuvRange,
}

/// A picture in the caller's memory, 8 bits per sample.
#[non_exhaustive]
#[derive(Debug, Clone, Copy)]
pub enum Pixels<'a> {
    /// Red, green, blue, three bytes a pixel.
    Rgb8(Packed<'a>),
    /// One byte a pixel.
    Grey8(Packed<'a>),
    /// Planar or half-planar YUV 4:2:0.
    Yuv420(Yuv420<'a>),
}

impl<'a> Pixels<'a> {
    /// RGB without gaps between the rows.
    ///
    /// # Errors
    /// [`Error::Pixels`] when `data` does not hold `width * height * 3` bytes or a side is 0.
    pub fn rgb8(data: &'a [u8], width: u32, height: u32) -> Result<Self, Error> {
        Self::rgb8_with_stride(data, width, height, (width as usize).saturating_mul(3))
    }

    /// RGB with `row_stride` bytes from a row to the next.
    ///
    /// # Errors
    /// [`Error::Pixels`] when `data` is too short, the stride shorter than a row, or a side 0.
    pub fn rgb8_with_stride(data: &'a [u8], width: u32, height: u32, row_stride: usize) -> Result<Self, Error> {
        Packed::new(data, width, height, row_stride, 3).map(Pixels::Rgb8)
    }

    /// Grey without gaps between the rows.
    ///
    /// # Errors
    /// [`Error::Pixels`] when `data` does not hold `width * height` bytes or a side is 0.
    pub fn grey8(data: &'a [u8], width: u32, height: u32) -> Result<Self, Error> {
        Self::grey8_with_stride(data, width, height, width as usize)
    }

    /// Grey with `row_stride` bytes from a row to the next.
    ///
    /// # Errors
    /// [`Error::Pixels`] when `data` is too short, the stride shorter than a row, or a side 0.
    pub fn grey8_with_stride(data: &'a [u8], width: u32, height: u32, row_stride: usize) -> Result<Self, Error> {
        Packed::new(data, width, height, row_stride, 1).map(Pixels::Grey8)
    }

    /// Three planes of YUV 4:2:0; those of `u` and `v` have `ceil(width / 2)` by `ceil(height / 2)` samples.
    ///
    /// # Errors
    /// [`Error::Pixels`] when a plane is too short, a stride shorter than a row, or a side 0.
    pub fn yuv420(
        y: Plane<'a>,
        u: Plane<'a>,
        v: Plane<'a>,
        width: u32,
        height: u32,
        range: YuvRange,
    ) -> Result<Self, Error> {
        y.check(width, height)?;
        u.check(width.div_ceil(2), height.div_ceil(2))?;
        v.check(width.div_ceil(2), height.div_ceil(2))?;
        Ok(Pixels::Yuv420(Yuv420 { y, u, v, width, height, range }))
    }

    /// I420 in one buffer without gaps: the Y plane, then U, then V.
    ///
    /// # Errors
    /// [`Error::Pixels`] when `data` is too short or a side is 0.
    pub fn i420(data: &'a [u8], width: u32, height: u32, range: YuvRange) -> Result<Self, Error> {
        let (luma, chroma) = split_luma(data, width, height)?;
        let half = width.div_ceil(2) as usize;
        let samples = half.saturating_mul(height.div_ceil(2) as usize);
        let (u, v) = chroma.split_at_checked(samples).ok_or(TOO_SHORT)?;
        let plane = |data, row_stride| Plane { data, row_stride, pixel_stride: 1 };
        Self::yuv420(plane(luma, width as usize), plane(u, half), plane(v, half), width, height, range)
    }

    /// NV12 in one buffer without gaps: the Y plane, then U and V samples in turn.
    ///
    /// # Errors
    /// [`Error::Pixels`] when `data` is too short or a side is 0.
    pub fn nv12(data: &'a [u8], width: u32, height: u32, range: YuvRange) -> Result<Self, Error> {
        let (luma, chroma) = split_luma(data, width, height)?;
        let row_stride = (width.div_ceil(2) as usize).saturating_mul(2);
        let (_, after_first) = chroma.split_first().ok_or(TOO_SHORT)?;
        let plane = |data| Plane { data, row_stride, pixel_stride: 2 };
        let y = Plane { data: luma, row_stride: width as usize, pixel_stride: 1 };
        Self::yuv420(y, plane(chroma), plane(after_first), width, height, range)
    }

    /// YUYV (YUY2) in one buffer without gaps, what most USB cameras give: Y, U, Y, V for two pixels.
    /// Of two rows the chroma of the upper one serves both.
    ///
    /// # Errors
    /// [`Error::Pixels`] when `data` is too short or a side is 0.
    pub fn yuyv(data: &'a [u8], width: u32, height: u32, range: YuvRange) -> Result<Self, Error> {
        let row_stride = (width.div_ceil(2) as usize).saturating_mul(4);
        if data.len() < row_stride.saturating_mul(height as usize) {
            return Err(TOO_SHORT);
        }
        let plane = |from, row_stride, pixel_stride| {
            let data = data.get(from..).unwrap_or_default();
            Plane { data, row_stride, pixel_stride }
        };
        let rows = row_stride.saturating_mul(2);
        Self::yuv420(plane(0, row_stride, 2), plane(1, rows, 4), plane(3, rows, 4), width, height, range)
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        match self {
            Pixels::Rgb8(packed) | Pixels::Grey8(packed) => packed.width,
            Pixels::Yuv420(yuv) => yuv.width,
        }
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        match self {
            Pixels::Rgb8(packed) | Pixels::Grey8(packed) => packed.height,
            Pixels::Yuv420(yuv) => yuv.height,
        }
    }

    /// Row `y` with `channels` (1: grey, 3: RGB) interleaved: in place where it lies so, else
    /// converted into `line`, which holds a row.
    pub(crate) fn row<'b>(&'b self, y: usize, channels: usize, line: &'b mut [u8]) -> &'b [u8] {
        match self {
            Pixels::Rgb8(packed) if channels == 3 => packed.row(y, 3),
            Pixels::Grey8(packed) if channels == 1 => packed.row(y, 1),
            Pixels::Rgb8(packed) => {
                for (to, rgb) in line.iter_mut().zip(packed.row(y, 3).as_chunks().0) {
                    *to = luma(*rgb);
                }
                line
            }
            Pixels::Grey8(packed) => {
                for (to, &grey) in line.as_chunks_mut::<3>().0.iter_mut().zip(packed.row(y, 1)) {
                    *to = [grey; 3];
                }
                line
            }
            Pixels::Yuv420(yuv) => {
                if channels == 1 {
                    yuv.convert::<1>(y, line)
                } else {
                    yuv.convert::<3>(y, line)
                }
                line
            }
        }
    }
}

const TOO_SHORT: Error = Error::Pixels { problem: "its data is shorter than width and height say" };
const EMPTY: Error = Error::Pixels { problem: "a side is 0 pixels long" };
const NARROW: Error = Error::Pixels { problem: "the row stride is shorter than a row" };

fn split_luma(data: &[u8], width: u32, height: u32) -> Result<(&[u8], &[u8]), Error> {
    data.split_at_checked((width as usize).saturating_mul(height as usize)).ok_or(TOO_SHORT)
}

/// ITU-R BT.601 luma in 16 fractional bits, rounded; the weights add up to 65536.
fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((19595 * u32::from(r) + 38470 * u32::from(g) + 7471 * u32::from(b) + 32768) >> 16) as u8
}

impl<'a> Packed<'a> {
    fn new(data: &'a [u8], width: u32, height: u32, row_stride: usize, channels: usize) -> Result<Self, Error> {
        Plane { data, row_stride, pixel_stride: channels }.check_bytes(width, height, channels)?;
        Ok(Packed { data, width, height, row_stride })
    }

    fn row(&self, y: usize, channels: usize) -> &'a [u8] {
        let begin = y.saturating_mul(self.row_stride);
        self.data.get(begin..).and_then(|rest| rest.get(..self.width as usize * channels)).unwrap_or_default()
    }
}

impl Plane<'_> {
    fn check(&self, width: u32, height: u32) -> Result<(), Error> {
        self.check_bytes(width, height, 1)
    }

    /// Whether `height` rows of `width` samples of `bytes` each are there.
    fn check_bytes(&self, width: u32, height: u32, bytes: usize) -> Result<(), Error> {
        if width == 0 || height == 0 {
            return Err(EMPTY);
        }
        let row = (width as usize - 1).checked_mul(self.pixel_stride).and_then(|begin| begin.checked_add(bytes));
        let row = row.filter(|_| self.pixel_stride >= bytes).ok_or(NARROW)?;
        if row > self.row_stride {
            return Err(NARROW);
        }
        let whole = (height as usize - 1).checked_mul(self.row_stride).and_then(|begin| begin.checked_add(row));
        if whole.is_some_and(|whole| whole <= self.data.len()) { Ok(()) } else { Err(TOO_SHORT) }
    }

    /// Row `y` and whatever follows it.
    fn row(&self, y: usize) -> &[u8] {
        self.data.get(y.saturating_mul(self.row_stride)..).unwrap_or_default()
    }
}

/// What makes RGB of YUV, in 16 fractional bits.
struct YuvWeights {
    /// Luma of black, and the factor of what lies above it.
    black: i32,
    luma: i32,
    red_v: i32,
    green_u: i32,
    green_v: i32,
    blue_u: i32,
}

impl YuvRange {
    const fn weights(self) -> YuvWeights {
        match self {
            // The usual eight fractional bits, brought to sixteen.
            YuvRange::Limited => YuvWeights {
                black: 16,
                luma: 298 << 8,
                red_v: 409 << 8,
                green_u: -100 << 8,
                green_v: -208 << 8,
                blue_u: 516 << 8,
            },
            // 1.402, 0.344136, 0.714136 and 1.772 times 65536.
            YuvRange::Full => YuvWeights {
                black: 0,
                luma: 1 << 16,
                red_v: 91_881,
                green_u: -22_554,
                green_v: -46_802,
                blue_u: 116_130,
            },
        }
    }
}

impl Yuv420<'_> {
    /// Row `y` with `C` channels, RGB (3) or grey (1), into `line`.
    fn convert<const C: usize>(&self, y: usize, line: &mut [u8]) {
        const HALF: i32 = 1 << 15;
        let weights = self.range.weights();
        let (lumas, us, vs) = (self.y.row(y), self.u.row(y / 2), self.v.row(y / 2));
        let sample = |row: &[u8], at: usize| i32::from(row.get(at).copied().unwrap_or_default());
        let channel = |value: i32| (value >> 16).clamp(0, 255) as u8;
        for (x, to) in line.as_chunks_mut::<C>().0.iter_mut().enumerate() {
            let grey = sample(lumas, x * self.y.pixel_stride) - weights.black;
            let u = sample(us, x / 2 * self.u.pixel_stride) - 128;
            let v = sample(vs, x / 2 * self.v.pixel_stride) - 128;
            let scaled = weights.luma * grey + HALF;
            let rgb = [
                channel(scaled + weights.red_v * v),
                channel(scaled + weights.green_u * u + weights.green_v * v),
                channel(scaled + weights.blue_u * u),
            ];
            *to = if C == 1 { [luma(rgb); C] } else { core::array::from_fn(|k| rgb[k % 3]) };
        }
    }
}
