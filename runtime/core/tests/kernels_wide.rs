//! Every kernel of every instruction set against the portable one, on shapes that fill tiles: long lines, many
//! blocks of channels, one row with many blocks, real results. The portable kernels are held to the formulas of the
//! step records in `kernels.rs`.

use cygnet_core::bytes::{F32s, I32s};
use cygnet_core::kernels::source::Source;
use cygnet_core::kernels::{ConvI8Args, ConvOutput, Kernels, ReduceI8Args, available};
use cygnet_core::plan::TensorId;
use cygnet_core::plan::step::{Pool, PoolKind, Reduce, ReduceKind, Window};
use cygnet_core::quantization::Target;
use cygnet_core::weights;
use proptest::prelude::*;

/// What the bytes of a case are made from.
struct Bytes(u64);

impl Bytes {
    fn next(&mut self) -> u8 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 56) as u8
    }

    fn i8s(&mut self, count: usize) -> Vec<i8> {
        (0..count).map(|_| self.next().cast_signed()).collect()
    }
}

fn window(
    (in_h, in_w, in_c, out_c): (u32, u32, u32, u32),
    (kernel_h, kernel_w): (u32, u32),
    (stride, dilation): (u32, u32),
    padded: bool,
    groups: u32,
) -> Option<Window> {
    let pad = |kernel: u32| if padded { (kernel - 1) * dilation / 2 } else { 0 };
    let out = |input: u32, kernel: u32| {
        (input + 2 * pad(kernel)).checked_sub((kernel - 1) * dilation + 1).map(|room| room / stride + 1)
    };
    Some(Window {
        batch: 1,
        in_h,
        in_w,
        in_c,
        out_h: out(in_h, kernel_h)?,
        out_w: out(in_w, kernel_w)?,
        out_c,
        kernel_h,
        kernel_w,
        stride_h: stride,
        stride_w: stride,
        dilation_h: dilation,
        dilation_w: dilation,
        pad_top: pad(kernel_h),
        pad_left: pad(kernel_w),
        groups,
    })
}

fn dense() -> impl Strategy<Value = Window> {
    let channels = prop_oneof![Just(16_u32), Just(32), Just(48), Just(64), 1..=40_u32];
    let sizes = (1..=5_u32, 1..=33_u32, channels.clone(), prop_oneof![channels, 60..=72_u32]);
    let kernel = prop_oneof![Just((1_u32, 1_u32)), Just((3, 3)), (1..=3_u32, 1..=4_u32)];
    let groups = prop_oneof![Just(1_u32), Just(1), Just(1), Just(2)];
    (sizes, kernel, (1..=2_u32, prop_oneof![Just(1_u32), Just(1), Just(2)]), any::<bool>(), groups).prop_filter_map(
        "the window fits",
        |((h, w, i, o), kernel, steps, padded, groups)| {
            window((h, w, i * groups, o * groups), kernel, steps, padded, groups)
        },
    )
}

/// What minimal filtering takes, and other windows of about that size.
fn filtered() -> impl Strategy<Value = Window> {
    let channels = prop_oneof![Just(16_u32), Just(32), Just(48), Just(64), Just(80)];
    let sizes = (2..=15_u32, 2..=15_u32, channels, prop_oneof![Just(16_u32), Just(32), Just(64), Just(24)]);
    (sizes, any::<bool>())
        .prop_filter_map("the window fits", |(sizes, padded)| window(sizes, (3, 3), (1, 1), padded, 1))
}

/// Pointwise with padding on any side, or none of the image in reach.
fn bordered() -> impl Strategy<Value = Window> {
    let sizes = (1..=6_u32, 1..=9_u32, 1..=10_u32, prop_oneof![Just(16_u32), Just(64), 1..=70_u32]);
    let pads = (0..=2_u32, 0..=2_u32, 0..=2_u32, 0..=2_u32);
    // A part of an image ends before the image does.
    (sizes, pads, 0..=3_u32).prop_filter_map(
        "the window fits",
        |((h, w, quarter, o), (top, left, bottom, right), cut)| {
            let plain = window((h, w, quarter * 4, o), (1, 1), (1, 1), false, 1)?;
            let out_h = (h + top + bottom).checked_sub(cut).filter(|&lines| lines > 0)?;
            Some(Window { pad_top: top, pad_left: left, out_h, out_w: w + left + right, ..plain })
        },
    )
}

/// Short rows, more of them than there is room for at once.
fn short() -> impl Strategy<Value = Window> {
    let image = (20..=40_u32, 100..=250_u32, 1..=4_u32, 1..=20_u32);
    let image = (image, prop_oneof![Just((3_u32, 3_u32)), Just((2, 5))], (1..=2_u32, 1..=2_u32), any::<bool>());
    let points = (Just(1_u32), 300..=900_u32, 15..=64_u32, 1..=20_u32);
    let points = (points, Just((1_u32, 1_u32)), (1..=2_u32, Just(1_u32)), Just(false));
    prop_oneof![image, points]
        .prop_filter_map("the window fits", |(sizes, kernel, steps, padded)| window(sizes, kernel, steps, padded, 1))
}

/// Long rows that meet many channels.
fn long() -> impl Strategy<Value = Window> {
    let lengths = prop_oneof![Just(1024_u32), Just(2048), Just(6144), Just(25_600), Just(40_000)];
    (1..=3_u32, lengths, 16..=20_u32)
        .prop_filter_map("the window fits", |(w, in_c, out_c)| window((1, w, in_c, out_c), (1, 1), (1, 1), false, 1))
}

fn row() -> impl Strategy<Value = Window> {
    (1..=80_u32, 1..=140_u32).prop_filter_map("the window fits", |(quarter, out_c)| {
        window((1, 1, quarter * 4, out_c), (1, 1), (1, 1), false, 1)
    })
}

fn depthwise() -> impl Strategy<Value = Window> {
    let channels = prop_oneof![Just(8_u32), Just(16), Just(32), Just(64), Just(144), 1..=50_u32, 51..=150_u32];
    let kernel = prop_oneof![Just((3_u32, 3_u32)), Just((3, 3)), Just((5, 5)), Just((1, 3)), Just((3, 1))];
    ((1..=9_u32, 1..=20_u32, channels), kernel, 1..=3_u32, any::<bool>()).prop_filter_map(
        "the window fits",
        |((h, w, channels), kernel, stride, padded)| {
            window((h, w, channels, channels), kernel, (stride, 1), padded, channels)
        },
    )
}

/// How results are requantized: multiplier, zero point, limits, and whether they stay real.
fn end() -> impl Strategy<Value = (f32, i32, (i32, i32), bool)> {
    let multiplier = prop_oneof![1e-5..1e-3_f32, 1e-3..0.05_f32, Just(3.0_f32), Just(1e5_f32)];
    let zero_point = prop_oneof![Just(-128_i32), Just(0), -128..=127_i32];
    let limits = prop_oneof![Just((-128_i32, 127_i32)), Just((-128, 127)), (-128..=0_i32, 0..=127_i32)];
    (multiplier, zero_point, limits, prop_oneof![Just(false), Just(false), Just(true)])
}

/// The results of a convolution as bits; `extreme` values are -128 and 127, of the weights too.
fn run(
    kernels: &Kernels,
    w: &Window,
    (seed, extreme): (u64, bool),
    (multiplier, zero_point, limits, real): (f32, i32, (i32, i32), bool),
    lines: usize,
) -> Vec<u32> {
    let mut bytes = Bytes(seed);
    let furthest = |value: i8| if value < 0 { -128 } else { 127 };
    let is_depthwise = w.groups == w.in_c && w.in_c > 1;
    let mut x = bytes.i8s(w.in_h as usize * w.in_w as usize * w.in_c as usize);
    if extreme {
        x.iter_mut().for_each(|value| *value = furthest(*value));
    }
    let mut packed = vec![0; if is_depthwise { w.taps() * w.out_c as usize } else { weights::packed_bytes(w) }];
    if is_depthwise {
        packed.fill_with(|| bytes.next().max(129));
    } else {
        let weight = |value: i8| if extreme { furthest(value) } else { value.max(-127) };
        weights::pack(w, &mut |_, _, _, _| weight(bytes.next().cast_signed()), &mut packed);
    }
    let channels = w.out_c as usize;
    let bias: Vec<u8> =
        (0..channels).flat_map(|_| (i32::from(bytes.next().cast_signed()) * 1000).to_le_bytes()).collect();
    // Great multipliers are those of some blocks of channels only.
    let of_block = |channel: usize| if multiplier > 1e4 && channel / 16 % 3 != 1 { 1e-3 } else { multiplier };
    let multipliers: Vec<u8> = (0..channels)
        .flat_map(|channel| (of_block(channel) * (f32::from(bytes.next()) + 1.0) / 256.0).to_le_bytes())
        .collect();
    let source = if is_depthwise { Source::of_depthwise(w) } else { Source::of(w) };
    let mut scratch = vec![99_i8; source.scratch_len(w, lines)];
    let (mut stored, mut reals) = (vec![77_i8; w.positions() * channels], vec![7.0_f32; w.positions() * channels]);
    let kernel = if is_depthwise { kernels.depthwise_i8 } else { kernels.conv_i8 };
    kernel(ConvI8Args {
        window: w,
        x: &x,
        x_zero_point: -7,
        y: if real {
            ConvOutput::F32(&mut reals)
        } else {
            ConvOutput::I8(&mut stored, Target::new(zero_point, limits.0, limits.1))
        },
        y_step: w.out_c as usize,
        scratch: &mut scratch,
        weights: &packed,
        multipliers: F32s::new(&multipliers),
        bias: I32s::new(&bias),
        weight_zero_points: I32s::new(&[]),
        narrow: is_depthwise || !extreme,
    });
    if real {
        reals.into_iter().map(f32::to_bits).collect()
    } else {
        stored.into_iter().map(|value| u32::from(value.cast_unsigned())).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn wide_convolutions_are_those_of_the_portable_kernel(
        w in prop_oneof![dense(), dense(), row(), depthwise(), depthwise(), filtered(), filtered(), bordered()],
        values in (any::<u64>(), any::<bool>()),
        end in end(),
        lines in 1..=16_usize,
    ) {
        let expected = run(Kernels::portable(), &w, values, end, lines);
        for kernels in available() {
            prop_assert!(run(kernels, &w, values, end, lines) == expected, "{} {w:?}", kernels.name);
        }
    }

    #[test]
    fn long_rows_are_those_of_the_portable_kernel(w in long(), values in (any::<u64>(), any::<bool>()), end in end()) {
        let expected = run(Kernels::portable(), &w, values, end, 1);
        for kernels in available() {
            prop_assert!(run(kernels, &w, values, end, 1) == expected, "{} {w:?}", kernels.name);
        }
    }

    #[test]
    fn many_short_rows_are_those_of_the_portable_kernel(
        w in short(),
        values in (any::<u64>(), any::<bool>()),
        end in end(),
        lines in 1..=40_usize,
    ) {
        let expected = run(Kernels::portable(), &w, values, end, lines);
        for kernels in available() {
            prop_assert!(run(kernels, &w, values, end, lines) == expected, "{} {w:?}", kernels.name);
        }
    }

    #[test]
    fn wide_pools_and_reductions_are_those_of_the_portable_kernel(
        sizes in (1..=9_u32, 1..=9_u32, 1..=50_u32),
        (kernel, stride, padded) in ((1..=9_u32, 1..=9_u32), 1..=3_u32, any::<bool>()),
        n in 1..=700_u32,
        kind in prop_oneof![Just(PoolKind::Average), Just(PoolKind::AverageIncludingPad), Just(PoolKind::Max)],
        sum in any::<bool>(),
        (seed, multiplier, zero_point) in (any::<u64>(), 1e-3..2.0_f32, -128..=127_i32),
    ) {
        let (in_h, in_w, channels) = sizes;
        let target = Target::new(zero_point, -128, 127);
        let mut bytes = Bytes(seed);
        let (x, y) = (TensorId(0), TensorId(1));
        if let Some(window) = window((in_h, in_w, channels, channels), kernel, (stride, 1), padded, channels) {
            let pad_end = [window.pad_top, window.pad_left];
            let step = Pool { x, y, window, kind, multiplier, pad_end };
            let values = bytes.i8s((in_h * in_w * channels) as usize);
            let of = |kernels: &Kernels| {
                let mut y = vec![77; window.positions() * channels as usize];
                (kernels.pool_i8)(ReduceI8Args { step: &step, x: &values, x_zero_point: -9, y: &mut y, target });
                y
            };
            let expected = of(Kernels::portable());
            for kernels in available() {
                prop_assert_eq!(&of(kernels), &expected, "{}", kernels.name);
            }
        }
        let kind = if sum { ReduceKind::Sum } else { ReduceKind::Mean };
        let step = Reduce { x, y, kind, outer: 2, n, inner: channels, multiplier: multiplier / n as f32 };
        let values = bytes.i8s((2 * n * channels) as usize);
        let of = |kernels: &Kernels| {
            let mut y = vec![77; 2 * channels as usize];
            (kernels.reduce_i8)(ReduceI8Args { step: &step, x: &values, x_zero_point: 11, y: &mut y, target });
            y
        };
        let expected = of(Kernels::portable());
        for kernels in available() {
            prop_assert_eq!(&of(kernels), &expected, "{}", kernels.name);
        }
        // To float32: f32(Σ (x - 11)) × multiplier, written down once more.
        let sum = |row: &[i8], channel: usize| -> i64 {
            row.iter().skip(channel).step_by(channels as usize).map(|&x| i64::from(x) - 11).sum()
        };
        let rows = values.chunks((n * channels) as usize);
        let sums = rows.flat_map(|row| (0..channels as usize).map(move |channel| sum(row, channel)));
        let expected: Vec<f32> = sums.map(|sum| sum as f32 * step.multiplier).collect();
        for kernels in available() {
            let mut y = vec![77.0; expected.len()];
            (kernels.reduce_to_float)(&step, &values, 11, &mut y);
            prop_assert_eq!(&y, &expected, "{}", kernels.name);
        }
    }
}
