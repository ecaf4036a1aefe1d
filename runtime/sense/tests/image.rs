//! Pictures against Pillow, numpy and hand-worked values (`golden/make.py`).

use cygnet_sense::{Colour, Error, Filter, Fit, ImageSpec, Layout, Output, Pixels, Plane, Quantization, YuvRange};
use proptest::prelude::*;

const PICTURE: &[u8] = include_bytes!("golden/picture_61x47.u8");

fn spec(width: u32, height: u32, filter: Filter) -> ImageSpec {
    ImageSpec { filter, ..ImageSpec::new(width, height, Colour::Rgb) }
}

/// The tensor as floats, with scratch of exactly the size that was asked for.
fn prepare(spec: &ImageSpec, pixels: &Pixels<'_>, layout: Layout) -> Vec<f32> {
    let mut tensor = vec![f32::NAN; spec.tensor_len()];
    let mut scratch = vec![0xa5; spec.scratch_bytes(pixels.width(), pixels.height())];
    spec.prepare(pixels, &mut Output::F32(&mut tensor), layout, &mut scratch).unwrap();
    tensor
}

fn bytes(spec: &ImageSpec, pixels: &Pixels<'_>) -> Vec<u8> {
    prepare(spec, pixels, Layout::Nhwc).iter().map(|value| *value as u8).collect()
}

fn picture() -> Pixels<'static> {
    Pixels::rgb8(PICTURE, 61, 47).unwrap()
}

/// The same picture with its axes exchanged.
fn tall() -> Vec<u8> {
    (0..61).flat_map(|x| (0..47).flat_map(move |y| PICTURE[(y * 61 + x) * 3..][..3].to_vec())).collect()
}

fn differing(name: &str, got: &[u8], expected: &[u8]) -> Option<String> {
    if got.len() != expected.len() {
        return Some(format!("{name}: {} bytes instead of {}", got.len(), expected.len()));
    }
    let differing = got.iter().zip(expected).filter(|(a, b)| a != b).count();
    let most = got.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
    (differing > 0).then(|| format!("{name}: {differing} of {} differ, by at most {most}", got.len()))
}

macro_rules! golden {
    ($name:literal) => {
        ($name, &include_bytes!(concat!("golden/", $name, ".u8"))[..])
    };
}

#[test]
fn resizing_equals_pillow() {
    let cases = [
        (Filter::Nearest, 24, 18, golden!("nearest_24x18")),
        (Filter::Nearest, 80, 62, golden!("nearest_80x62")),
        (Filter::Nearest, 20, 60, golden!("nearest_20x60")),
        (Filter::Nearest, 61, 30, golden!("nearest_61x30")),
        (Filter::Nearest, 40, 47, golden!("nearest_40x47")),
        (Filter::Nearest, 7, 5, golden!("nearest_7x5")),
        (Filter::Bilinear, 24, 18, golden!("bilinear_24x18")),
        (Filter::Bilinear, 80, 62, golden!("bilinear_80x62")),
        (Filter::Bilinear, 20, 60, golden!("bilinear_20x60")),
        (Filter::Bilinear, 61, 30, golden!("bilinear_61x30")),
        (Filter::Bilinear, 40, 47, golden!("bilinear_40x47")),
        (Filter::Bilinear, 7, 5, golden!("bilinear_7x5")),
        (Filter::Bicubic, 24, 18, golden!("bicubic_24x18")),
        (Filter::Bicubic, 80, 62, golden!("bicubic_80x62")),
        (Filter::Bicubic, 20, 60, golden!("bicubic_20x60")),
        (Filter::Bicubic, 61, 30, golden!("bicubic_61x30")),
        (Filter::Bicubic, 40, 47, golden!("bicubic_40x47")),
        (Filter::Bicubic, 7, 5, golden!("bicubic_7x5")),
    ];
    let failing: Vec<String> = cases
        .iter()
        .filter_map(|&(filter, width, height, (name, expected))| {
            differing(name, &bytes(&spec(width, height, filter), &picture()), expected)
        })
        .collect();
    assert!(failing.is_empty(), "{failing:#?}");
}

#[test]
fn cropping_and_padding_equal_torchvision_and_pillow() {
    let tall = tall();
    let tall = Pixels::rgb8(&tall, 47, 61).unwrap();
    let crop = |resize_shorter| Fit::Crop { resize_shorter };
    let cases = [
        (picture(), crop(31), 29, 24, Filter::Bilinear, golden!("crop_wide_29x24")),
        (tall, crop(32), 29, 24, Filter::Bicubic, golden!("crop_tall_29x24")),
        (picture(), crop(31), 29, 24, Filter::Nearest, golden!("crop_nearest_29x24")),
        (picture(), crop(47), 30, 40, Filter::Bilinear, golden!("crop_unresized_30x40")),
        (picture(), crop(47), 30, 40, Filter::Nearest, golden!("crop_unresized_30x40")),
        (picture(), Fit::Pad, 32, 33, Filter::Bilinear, golden!("pad_wide_32x33")),
        (tall, Fit::Pad, 70, 64, Filter::Bicubic, golden!("pad_tall_70x64")),
    ];
    let failing: Vec<String> = cases
        .iter()
        .filter_map(|&(pixels, fit, width, height, filter, (name, expected))| {
            let spec = ImageSpec { fit, ..spec(width, height, filter) };
            differing(name, &bytes(&spec, &pixels), expected)
        })
        .collect();
    assert!(failing.is_empty(), "{failing:#?}");
}

#[test]
fn grey_of_a_colour_picture_equals_pillow() {
    let spec = ImageSpec { filter: Filter::Bicubic, ..ImageSpec::new(24, 18, Colour::Grey) };
    let (name, expected) = golden!("grey_bicubic_24x18");
    assert_eq!(differing(name, &bytes(&spec, &picture()), expected), None);
}

#[test]
fn normalising_and_quantizing_equal_numpy() {
    let spec = ImageSpec {
        mean: [123.675, 116.28, 103.53],
        scale: [0.017124753, 0.017507003, 0.017429193],
        ..ImageSpec::new(24, 18, Colour::Bgr)
    };
    let expected: Vec<f32> = include_bytes!("golden/bgr_nchw_24x18.f32")
        .as_chunks()
        .0
        .iter()
        .map(|value| f32::from_le_bytes(*value))
        .collect();
    assert_eq!(prepare(&spec, &picture(), Layout::Nchw), expected);

    let expected: Vec<i8> =
        include_bytes!("golden/bgr_nhwc_quantized_24x18.i8").iter().map(|value| *value as i8).collect();
    let mut tensor = vec![0; spec.tensor_len()];
    let quantization = Quantization { scale: 0.0186, zero_point: -14 };
    let mut scratch = vec![0; spec.scratch_bytes(61, 47)];
    spec.prepare(&picture(), &mut Output::I8(&mut tensor, quantization), Layout::Nhwc, &mut scratch).unwrap();
    assert_eq!(tensor, expected);
}

#[test]
fn a_row_stride_and_grey_into_colour() {
    // By hand: three bytes a row of which the last is a gap.
    let data = [10, 20, 99, 30, 40];
    let pixels = Pixels::grey8_with_stride(&data, 2, 2, 3).unwrap();
    let spec = spec(2, 2, Filter::Bilinear);
    assert_eq!(bytes(&spec, &pixels), [10, 10, 10, 20, 20, 20, 30, 30, 30, 40, 40, 40]);
    assert_eq!(prepare(&spec, &pixels, Layout::Nchw), [10., 20., 30., 40., 10., 20., 30., 40., 10., 20., 30., 40.]);
}

#[test]
fn yuv_equals_hand_worked_values() {
    // Limited range: Y 16 black, 235 white, pure red is (81, 90, 240):
    // R = (298*65 + 409*112 + 128) >> 8 = 65306 >> 8 = 255,
    // G = (298*65 + 100*38 - 208*112 + 128) >> 8 = 2 >> 8 = 0,
    // B = (298*65 - 516*38 + 128) >> 8 = -110 >> 8 = -1, so 0.
    let spec3 = spec(3, 1, Filter::Bilinear);
    let data = [16, 235, 81, 128, 90, 128, 240];
    let i420 = Pixels::i420(&data, 3, 1, YuvRange::Limited).unwrap();
    assert_eq!(bytes(&spec3, &i420), [0, 0, 0, 255, 255, 255, 255, 0, 0]);
    let interleaved = [16, 235, 81, 128, 128, 90, 240];
    let nv12 = Pixels::nv12(&interleaved, 3, 1, YuvRange::Limited).unwrap();
    assert_eq!(bytes(&spec3, &nv12), [0, 0, 0, 255, 255, 255, 255, 0, 0]);
    // Full range, (100, 90, 200): R = 100 + 1.402*72 = 200.94, G = 100 + 0.344136*38 - 0.714136*72 =
    // 61.66, B = 100 - 1.772*38 = 32.66.
    let data = [100, 90, 200];
    let full = Pixels::i420(&data, 1, 1, YuvRange::Full).unwrap();
    assert_eq!(bytes(&spec(1, 1, Filter::Nearest), &full), [201, 62, 33]);
    // YUYV: the second row has chroma of its own, which is not used.
    let data = [16, 128, 235, 128, 81, 90, 0, 240, 81, 0, 81, 0, 235, 90, 0, 240];
    let yuyv = Pixels::yuyv(&data, 3, 2, YuvRange::Limited).unwrap();
    let two_rows = bytes(&spec(3, 2, Filter::Nearest), &yuyv);
    assert_eq!(two_rows[..9], [0, 0, 0, 255, 255, 255, 255, 0, 0]);
    // (298*65 + 128) >> 8 = 76; (298*219 + 409*112 + 128) >> 8 over 255, 255 - 76 = 179 (178.98 by
    // (298*219 + 100*38 - 208*112 + 128) >> 8 = 179), 178 (298*219 - 516*38 + 128) >> 8.
    assert_eq!(two_rows[9..], [76, 76, 76, 76, 76, 76, 255, 179, 178]);
    // A chroma sample serves two by two pixels: grey model, luma only changes by the chroma's colour.
    let data = [50, 60, 70, 80, 128, 128];
    let grey = Pixels::i420(&data, 2, 2, YuvRange::Full).unwrap();
    assert_eq!(bytes(&ImageSpec::new(2, 2, Colour::Grey), &grey), [50, 60, 70, 80]);
}

#[test]
fn placement_leads_back_to_the_picture() {
    // 640 x 480 into 320 x 320 with bars of 40 above and below.
    let pad = ImageSpec { fit: Fit::Pad, ..spec(320, 320, Filter::Bilinear) };
    let placement = pad.placement(640, 480).unwrap();
    assert_eq!((placement.width, placement.height, placement.left, placement.top), (320, 240, 0, 40));
    assert_eq!(placement.to_source(160.0, 40.0), (320.0, 0.0));
    // torchvision: 500 x 375 to 341 x 256, cut 224 x 224: round(58.5) = 58 to the even side, 16.
    let crop = ImageSpec { fit: Fit::Crop { resize_shorter: 256 }, ..spec(224, 224, Filter::Bilinear) };
    let placement = crop.placement(500, 375).unwrap();
    assert_eq!((placement.width, placement.height, placement.left, placement.top), (341, 256, -58, -16));
    // round(59.5) = 60: 343 wide from 503 x 375.
    assert_eq!(crop.placement(503, 375).unwrap().left, -60);
}

#[test]
fn what_cannot_be_is_refused() {
    let data = [0; 12];
    for pixels in [
        Pixels::rgb8(&data, 3, 2),
        Pixels::rgb8(&data, 0, 2),
        Pixels::grey8_with_stride(&data, 4, 2, 3),
        Pixels::grey8_with_stride(&data, 4, 3, 5),
        Pixels::grey8(&data, u32::MAX, u32::MAX),
        Pixels::i420(&data, 4, 3, YuvRange::Limited),
        Pixels::nv12(&data, 3, 3, YuvRange::Limited),
        Pixels::yuyv(&data, 4, 2, YuvRange::Limited),
        Pixels::nv12(&data, 12, 1, YuvRange::Limited),
    ] {
        assert!(matches!(pixels, Err(Error::Pixels { .. })), "{pixels:?}");
    }
    let plane = Plane { data: &data, row_stride: 4, pixel_stride: 0 };
    assert!(Pixels::yuv420(plane, plane, plane, 2, 2, YuvRange::Full).is_err());

    let pixels = Pixels::rgb8(&data, 2, 2).unwrap();
    let good = spec(4, 4, Filter::Bilinear);
    let mut scratch = [0; 1000];
    let mut refused = |spec: ImageSpec, len: usize, scratch_len: usize| {
        let mut tensor = vec![0.0; len];
        spec.prepare(&pixels, &mut Output::F32(&mut tensor), Layout::Nchw, &mut scratch[..scratch_len]).unwrap_err()
    };
    let field = |error| if let Error::Spec { field, .. } = error { field } else { "" };
    let needed = good.scratch_bytes(2, 2);
    assert_eq!(refused(good, 47, 1000), Error::OutputLength { needed: 48, given: 47 });
    assert_eq!(refused(good, 48, needed - 1), Error::ScratchLength { needed, given: needed - 1 });
    assert_eq!(field(refused(ImageSpec { width: 0, ..good }, 48, 1000)), "width");
    assert_eq!(field(refused(ImageSpec { height: 70000, ..good }, 48, 1000)), "height");
    assert_eq!(field(refused(ImageSpec { mean: [0.0, f32::NAN, 0.0], ..good }, 48, 1000)), "mean");
    assert_eq!(field(refused(ImageSpec { scale: [1.0, 0.0, 1.0], ..good }, 48, 1000)), "scale");
    let crop = Fit::Crop { resize_shorter: 3 };
    assert_eq!(field(refused(ImageSpec { fit: crop, ..good }, 48, 1000)), "resize_shorter");
}

prop_compose! {
    fn any_spec()(
        width in 1u32..40, height in 1u32..40, colour in 0..3, layout in 0..2, fit in 0..3,
        filter in 0..3, more in 0u32..30, mean in -200f32..200.0, scale in 0.001f32..2.0,
    ) -> ImageSpec {
        ImageSpec {
            width,
            height,
            colour: [Colour::Rgb, Colour::Bgr, Colour::Grey][colour as usize],
            layout: [Layout::Nchw, Layout::Nhwc][layout as usize],
            fit: [Fit::Stretch, Fit::Crop { resize_shorter: width.max(height) + more }, Fit::Pad][fit as usize],
            filter: [Filter::Nearest, Filter::Bilinear, Filter::Bicubic][filter as usize],
            mean: [mean, 1.0, -mean],
            scale: [scale, -scale, 1.0],
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A picture of one colour stays so, whatever is done to it, and every element is written.
    #[test]
    fn a_flat_picture_stays_flat(spec in any_spec(), width in 1u32..60, height in 1u32..60, grey: u8) {
        let spec = ImageSpec { mean: [0.0; 3], scale: [1.0; 3], ..spec };
        let data = vec![grey; (width * height) as usize];
        let pixels = Pixels::grey8(&data, width, height).unwrap();
        let padding = if spec.fit == Fit::Pad { 114 } else { grey };
        for value in prepare(&spec, &pixels, spec.layout) {
            prop_assert!(value == f32::from(grey) || value == f32::from(padding), "{value}");
        }
    }

    /// Both layouts and both element types hold the same picture.
    #[test]
    fn outputs_agree(spec in any_spec(), seed: u32) {
        let data: Vec<u8> = (0..33u32 * 21 * 3).map(|k| (k.wrapping_mul(seed | 1) >> 13) as u8).collect();
        let pixels = Pixels::rgb8(&data, 33, 21).unwrap();
        let planes = prepare(&spec, &pixels, Layout::Nchw);
        let quantization = Quantization { scale: 0.7, zero_point: 5 };
        let mut tensor = vec![0; spec.tensor_len()];
        let mut scratch = vec![0; spec.scratch_bytes(33, 21)];
        spec.prepare(&pixels, &mut Output::I8(&mut tensor, quantization), Layout::Nhwc, &mut scratch).unwrap();
        let channels = spec.channels();
        let pixels = (spec.width * spec.height) as usize;
        for (k, value) in tensor.iter().enumerate() {
            prop_assert_eq!(*value, quantization.quantize(planes[k % channels * pixels + k / channels]));
        }
    }

    #[test]
    fn a_record_reads_back(spec in any_spec()) {
        prop_assert_eq!(ImageSpec::from_bytes(&spec.to_bytes()), Ok(spec));
    }

    /// Any bytes are read as a usable spec or refused; damage to a good record too.
    #[test]
    fn any_record_is_safe(
        noise in prop::collection::vec(any::<u8>(), 0..60),
        at in 0..ImageSpec::BYTES,
        byte: u8,
        spec in any_spec(),
    ) {
        let mut damaged = spec.to_bytes();
        damaged[at] = byte;
        for bytes in [&noise[..], &damaged] {
            if let Ok(spec) = ImageSpec::from_bytes(bytes) {
                prop_assert_eq!(spec.check(), Ok(()));
                prop_assert_eq!(&spec.to_bytes()[..], bytes);
                let _ = spec.scratch_bytes(640, 480);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Planes of any shape are refused or read without a panic.
    #[test]
    fn any_planes_are_safe(
        spec in any_spec(),
        data in prop::collection::vec(any::<u8>(), 0..200),
        cuts in (0usize..200, 0usize..200),
        strides in (0usize..20, 0usize..20, 0usize..20),
        steps in (0usize..4, 0usize..5, 0usize..5),
        width in 0u32..18,
        height in 0u32..12,
    ) {
        let plane = |from: usize, row_stride, pixel_stride| {
            Plane { data: &data[from.min(data.len())..], row_stride, pixel_stride }
        };
        let y = plane(0, strides.0, steps.0);
        let (u, v) = (plane(cuts.0, strides.1, steps.1), plane(cuts.1, strides.2, steps.2));
        for pixels in [
            Pixels::yuv420(y, u, v, width, height, YuvRange::Full),
            Pixels::yuyv(&data, width, height, YuvRange::Limited),
            Pixels::nv12(&data, width, height, YuvRange::Limited),
            Pixels::i420(&data, width, height, YuvRange::Limited),
            Pixels::rgb8_with_stride(&data, width, height, strides.0),
            Pixels::grey8_with_stride(&data, width, height, strides.0),
        ].into_iter().flatten() {
            // A very long and narrow picture can be refused by a crop.
            if spec.placement(width, height).is_ok() {
                prop_assert_eq!(prepare(&spec, &pixels, spec.layout).len(), spec.tensor_len());
            }
        }
    }
}
