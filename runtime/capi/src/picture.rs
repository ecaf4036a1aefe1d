//! Pictures to inputs, as the plan says.

use cygnet_core::Plan;
use cygnet_core::plan::{MetadataKind, Port};
use cygnet_sense::{Colour, Filter, Fit, ImageSpec, Layout, Pixels, YuvRange};

use crate::boundary::{Outcome, answer, apart, at, elements, elements_mut, put, span};
use crate::place::place;
use crate::plan::{CygnetPlan, PlanMemory, input};
use crate::session::{CygnetSession, Running};
use crate::status::CygnetStatus;

/// Order of the colours of an input.
#[repr(u32)]
#[derive(Clone, Copy)]
pub enum CygnetColour {
    /// Red, green, blue.
    Rgb = 0,
    /// Blue, green, red.
    Bgr = 1,
    /// One channel: (19595 R + 38470 G + 7471 B + 32768) >> 16.
    Grey = 2,
}

/// Order of the axes of a picture in the ONNX model.
#[repr(u32)]
#[derive(Clone, Copy)]
pub enum CygnetLayout {
    /// [1, channels, height, width].
    Nchw = 0,
    /// [1, height, width, channels].
    Nhwc = 1,
}

/// How a picture of another shape is brought to size.
#[repr(u32)]
#[derive(Clone, Copy)]
pub enum CygnetFit {
    /// Both sides on their own.
    Stretch = 0,
    /// The shorter side to resize_shorter, then the middle is cut out.
    Crop = 1,
    /// The largest size of the same aspect ratio, in the middle of grey 114.
    Pad = 2,
    /// A line of text: the same at the left upper corner, on grey 127.
    Line = 3,
}

/// How pixels are computed when the size changes.
#[repr(u32)]
#[derive(Clone, Copy)]
pub enum CygnetFilter {
    /// The pixel under the centre.
    Nearest = 0,
    /// Triangle, over all pixels that are covered when shrinking.
    Bilinear = 1,
    /// Cubic convolution, a = -0.5.
    Bicubic = 2,
}

/// How a picture becomes an input: tensor = (pixel - mean) * scale, pixels from 0 to 255.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CygnetPictureFacts {
    /// Width of the tensor.
    pub width: u32,
    /// Height of the tensor.
    pub height: u32,
    /// Order of the colours.
    pub colour: CygnetColour,
    /// Order of the axes in the ONNX model.
    pub layout: CygnetLayout,
    /// How the aspect ratio is treated.
    pub fit: CygnetFit,
    /// Length of the shorter side after resizing where `fit` is CYGNET_FIT_CROP, else 0.
    pub resize_shorter: u32,
    /// How pixels are resampled.
    pub filter: CygnetFilter,
    /// Taken from each pixel, in the order of `colour`; a grey one uses the first.
    pub mean: [f32; 3],
    /// Multiplied then, in the order of `colour`; a grey one uses the first.
    pub scale: [f32; 3],
}

/// How the bytes of a picture are to be read.
#[repr(u32)]
#[derive(Clone, Copy)]
pub enum CygnetPictureFormat {
    /// Three bytes a pixel: red, green, blue.
    Rgb8 = 0,
    /// One byte a pixel.
    Grey8 = 1,
    /// All Y, then U and V in turn, in half resolution: what most camera pipelines give.
    Nv12 = 2,
    /// All Y, then all U, then all V, in half resolution.
    I420 = 3,
    /// Y, U, Y, V for two pixels: what most USB cameras give.
    Yuyv = 4,
}

/// A picture in your memory.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CygnetPicture {
    /// The bytes, from the upper left pixel on.
    pub data: *const u8,
    /// How many there are.
    pub length: usize,
    /// Pixels of a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from a row to the next for RGB8 and GREY8; 0 when there are no gaps. Others have none: 0.
    pub row_stride: usize,
    /// A CygnetPictureFormat.
    pub format: u32,
    /// For the YUV formats: 0 when black and white are 16 and 235 (cameras, video), 1 when they are 0 and 255 (JPEG).
    pub full_range: u32,
}

fn image_spec(plan: &Plan<'_>, index: u32) -> Outcome<ImageSpec> {
    let record = plan.metadata_of(MetadataKind::Image, index).ok_or(CygnetStatus::NotPrepared)?;
    Ok(ImageSpec::from_bytes(record)?)
}

/// Tells how a picture becomes input `index`; CYGNET_STATUS_NOT_PREPARED when the plan does not say.
///
/// Owner: `facts` is yours. Threads: any number at a time.
/// Pointers: `plan` is null or points to a CygnetPlan, `facts` is null or points to room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_plan_picture(
    plan: *const CygnetPlan,
    index: u32,
    facts: *mut CygnetPictureFacts,
) -> CygnetStatus {
    answer(|| {
        // SAFETY: the caller's duty, as said above.
        let plan = unsafe { PlanMemory::at(plan)? }.plan()?;
        input(plan, index)?;
        let spec = image_spec(plan, index)?;
        let (fit, resize_shorter) = match spec.fit {
            Fit::Stretch => (CygnetFit::Stretch, 0),
            Fit::Crop { resize_shorter } => (CygnetFit::Crop, resize_shorter),
            Fit::Pad => (CygnetFit::Pad, 0),
            Fit::Line => (CygnetFit::Line, 0),
        };
        let found = CygnetPictureFacts {
            width: spec.width,
            height: spec.height,
            colour: match spec.colour {
                Colour::Rgb => CygnetColour::Rgb,
                Colour::Bgr => CygnetColour::Bgr,
                Colour::Grey => CygnetColour::Grey,
            },
            layout: match spec.layout {
                Layout::Nchw => CygnetLayout::Nchw,
                Layout::Nhwc => CygnetLayout::Nhwc,
            },
            fit,
            resize_shorter,
            filter: match spec.filter {
                Filter::Nearest => CygnetFilter::Nearest,
                Filter::Bilinear => CygnetFilter::Bilinear,
                Filter::Bicubic => CygnetFilter::Bicubic,
            },
            mean: spec.mean,
            scale: spec.scale,
        };
        // SAFETY: the caller's duty, as said above.
        unsafe { put(facts, found) }
    })
}

/// Tells the bytes of scratch that cygnet_session_write_picture() needs for pictures of a size: a few rows.
///
/// Owner: `bytes` is yours. Threads: any number at a time.
/// Pointers: `plan` is null or points to a CygnetPlan, `bytes` is null or points to room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_picture_scratch(
    plan: *const CygnetPlan,
    index: u32,
    width: u32,
    height: u32,
    bytes: *mut usize,
) -> CygnetStatus {
    answer(|| {
        // SAFETY: the caller's duty, as said above.
        let plan = unsafe { PlanMemory::at(plan)? }.plan()?;
        input(plan, index)?;
        let spec = image_spec(plan, index)?;
        spec.placement(width, height)?;
        // SAFETY: the caller's duty, as said above.
        unsafe { put(bytes, spec.scratch_bytes(width, height)) }
    })
}

/// Sets input `index` from a picture of any size: resized, cropped or padded, normalised and quantized into the arena
/// in one pass, as cygnet_plan_picture() tells.
///
/// Owner: the picture and its bytes, and `scratch` (cygnet_picture_scratch() bytes, at any address; may be null when
/// that is 0) are yours and not kept. Threads: one at a time for this session.
/// Pointers: `session` is null or points to a CygnetSession; `picture` is null or points to one whose `data` is null
/// or points to `length` bytes; `scratch` is null or points to `scratch_bytes`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_session_write_picture(
    session: *mut CygnetSession,
    index: u32,
    picture: *const CygnetPicture,
    scratch: *mut u8,
    scratch_bytes: usize,
) -> CygnetStatus {
    answer(|| {
        // SAFETY: the caller's duty, as said above.
        let (mut running, picture) = unsafe { (Running::of(session)?, at(picture)?) };
        let arena = running.arena();
        let spans = [span(picture.data, picture.length), span(scratch, scratch_bytes)];
        apart(&arena, &spans[0])?;
        apart(&arena, &spans[1])?;
        apart(&spans[0], &spans[1])?;
        // SAFETY: the caller's duty, as said above.
        let pixels = unsafe { pixels(picture)? };
        let scratch = match scratch_bytes {
            0 => &mut [],
            // SAFETY: the caller's duty, as said above.
            count => unsafe { elements_mut(scratch, count)? },
        };
        let (port, tensor) = input(running.plan(), index)?;
        let spec = image_spec(running.plan(), index)?;
        let layout = layout_in_arena(&spec, &port).ok_or(CygnetStatus::NotPrepared)?;
        let mut engine = running.engine()?;
        Ok(spec.prepare(&pixels, &mut place(&mut engine, index, &port, &tensor)?, layout, scratch)?)
    })
}

/// # Safety
/// `data` is null or points to `length` bytes that nobody changes while the value lives.
unsafe fn pixels<'a>(picture: &CygnetPicture) -> Outcome<Pixels<'a>> {
    let &CygnetPicture { data, length, width, height, row_stride, format, full_range } = picture;
    // SAFETY: the caller's duty.
    let data = unsafe { elements(data, length)? };
    let range = match full_range {
        0 => YuvRange::Limited,
        1 => YuvRange::Full,
        _ => return Err(CygnetStatus::Picture),
    };
    let formats = [
        CygnetPictureFormat::Rgb8,
        CygnetPictureFormat::Grey8,
        CygnetPictureFormat::Nv12,
        CygnetPictureFormat::I420,
        CygnetPictureFormat::Yuyv,
    ];
    let known = formats.into_iter().find(|&known| known as u32 == format).ok_or(CygnetStatus::Picture)?;
    Ok(match known {
        CygnetPictureFormat::Rgb8 if row_stride == 0 => Pixels::rgb8(data, width, height)?,
        CygnetPictureFormat::Rgb8 => Pixels::rgb8_with_stride(data, width, height, row_stride)?,
        CygnetPictureFormat::Grey8 if row_stride == 0 => Pixels::grey8(data, width, height)?,
        CygnetPictureFormat::Grey8 => Pixels::grey8_with_stride(data, width, height, row_stride)?,
        _ if row_stride != 0 => return Err(CygnetStatus::Picture),
        CygnetPictureFormat::Nv12 => Pixels::nv12(data, width, height, range)?,
        CygnetPictureFormat::I420 => Pixels::i420(data, width, height, range)?,
        CygnetPictureFormat::Yuyv => Pixels::yuyv(data, width, height, range)?,
    })
}

/// The layout in which a picture lies in the arena; `None` where it is neither of the two.
fn layout_in_arena(spec: &ImageSpec, port: &Port) -> Option<Layout> {
    if port.in_order() {
        return Some(spec.layout);
    }
    let channels_last = port.dims().len() == 4 && port.order[..4] == [0, 2, 3, 1];
    (spec.layout == Layout::Nchw && channels_last).then_some(Layout::Nhwc)
}
