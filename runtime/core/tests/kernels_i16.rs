//! Every kernel of int16 of every instruction set against the formulas of the step records, written down once more in
//! the plainest way: sums in i128, each rounding by itself.

mod window;

use core::cell::Cell;

use cygnet_core::bytes::{F32s, I32s, I64s};
use cygnet_core::kernels::source::Source;
use cygnet_core::kernels::{Bias, ConvI16Args, ConvI16Output, Kernels, Operand, ReduceArgs, Row, available};
use cygnet_core::plan::TensorId;
use cygnet_core::plan::step::{BinaryOp, MatMul, Pool, PoolKind, Reduce, ReduceKind, Window};
use cygnet_core::quantization::{Target, TargetI16};
use cygnet_core::weights;
use proptest::collection::vec;
use proptest::prelude::*;
use window::window;

/// `clamp(round_half_even(value) + zero_point)`.
fn store(value: f32, zero_point: i32, (low, high): (i32, i32)) -> i32 {
    (f64::from(value).round_ties_even() + f64::from(zero_point)).clamp(f64::from(low), f64::from(high)) as i32
}

/// A whole number as the nearest f32: by way of text, which is read correctly rounded.
fn nearest(sum: i128) -> f32 {
    sum.to_string().parse().expect("a number")
}

fn extreme() -> impl Strategy<Value = i16> {
    prop_oneof![Just(i16::MIN), Just(i16::MAX), any::<i16>(), any::<i16>()]
}

/// A convolution with everything that shapes it.
#[derive(Clone, Debug)]
struct Case {
    window: Window,
    x: Vec<i16>,
    /// By output channel, kernel row, kernel column, input channel of the group.
    weights: Vec<i8>,
    bias: Vec<i64>,
    multipliers: Vec<f32>,
    x_zero_point: i32,
    y_zero_point: i32,
    limits: (i32, i32),
    scratch_rows: usize,
}

fn case(window: impl Strategy<Value = Window>) -> impl Strategy<Value = Case> {
    window.prop_flat_map(|window| {
        let x = (window.batch * window.in_h * window.in_w * window.in_c) as usize;
        let channels = window.out_c as usize;
        let values = (
            vec(extreme(), x),
            vec(prop_oneof![Just(i8::MIN), Just(i8::MAX), any::<i8>()], channels * window.taps() * window.group_in()),
            vec(prop_oneof![-100_000..100_000_i64, -(1_i64 << 40)..1 << 40, -(1_i64 << 60)..1 << 60], channels),
            vec(prop_oneof![1e-9..1e-6_f32, 1e-6..1e-3_f32, Just(3.0_f32), Just(1e-30), Just(1e20)], channels),
        );
        let zero_point = || prop_oneof![Just(0), -32768..=32767_i32];
        let limits = prop_oneof![Just((-32768, 32767)), (-32768..=0_i32, 0..=32767_i32)];
        (Just(window), values, zero_point(), zero_point(), limits, 1..=5_usize).prop_map(
            |(window, (x, weights, bias, multipliers), x_zero_point, y_zero_point, limits, scratch_rows)| Case {
                window,
                x,
                weights,
                bias,
                multipliers,
                x_zero_point,
                y_zero_point,
                limits,
                scratch_rows,
            },
        )
    })
}

/// Results of a convolution.
#[derive(Debug, PartialEq)]
struct Results {
    wide: Vec<i16>,
    narrow: Vec<i8>,
    real: Vec<f32>,
}

impl Case {
    fn is_depthwise(&self) -> bool {
        self.window.groups == self.window.in_c && self.window.in_c > 1
    }

    fn weight(&self, channel: usize, row: usize, column: usize, input: usize) -> i8 {
        let w = &self.window;
        self.weights[((channel * w.kernel_h as usize + row) * w.kernel_w as usize + column) * w.group_in() + input]
    }

    fn limits_i8(&self) -> (i32, i32) {
        (self.limits.0 / 256, self.limits.1 / 256)
    }

    /// The formula of the step record, element by element.
    fn expected(&self) -> Results {
        let w = &self.window;
        let mut results = Results { wide: Vec::new(), narrow: Vec::new(), real: Vec::new() };
        for position in 0..w.positions() {
            let (out_h, out_w) = (w.out_h as usize, w.out_w as usize);
            let (image, y, x) = (position / (out_h * out_w), position / out_w % out_h, position % out_w);
            for channel in 0..w.out_c as usize {
                let mut sum = i128::from(self.bias[channel]);
                for row in 0..w.kernel_h as usize {
                    for column in 0..w.kernel_w as usize {
                        let iy = (y * w.stride_h as usize + row * w.dilation_h as usize) as i64 - i64::from(w.pad_top);
                        let ix =
                            (x * w.stride_w as usize + column * w.dilation_w as usize) as i64 - i64::from(w.pad_left);
                        if iy < 0 || iy >= i64::from(w.in_h) || ix < 0 || ix >= i64::from(w.in_w) {
                            continue;
                        }
                        let pixel = (image * w.in_h as usize + iy as usize) * w.in_w as usize + ix as usize;
                        for input in 0..w.group_in() {
                            let group = channel / w.group_out();
                            let value = self.x[pixel * w.in_c as usize + group * w.group_in() + input];
                            sum += (i128::from(value) - i128::from(self.x_zero_point))
                                * i128::from(self.weight(channel, row, column, input));
                        }
                    }
                }
                let scaled = nearest(sum) * self.multipliers[channel];
                results.real.push(scaled);
                results.wide.push(store(scaled, self.y_zero_point, self.limits) as i16);
                results.narrow.push(store(scaled, self.y_zero_point / 256, self.limits_i8()) as i8);
            }
        }
        results
    }

    /// Bias as the kernels want it: the zero point of the input taken in; and the greatest sum.
    fn adjusted_bias(&self) -> (Vec<i64>, i64) {
        let count = self.window.taps() * self.window.group_in();
        let weights = self.weights.chunks_exact(count);
        let adjusted = |(bias, weights): (&i64, &[i8])| {
            bias - i64::from(self.x_zero_point) * weights.iter().map(|&w| i64::from(w)).sum::<i64>()
        };
        let bias: Vec<i64> = self.bias.iter().zip(weights.clone()).map(adjusted).collect();
        let magnitude = |w: &[i8]| 32768 * w.iter().map(|&w| i64::from(w).abs()).sum::<i64>();
        let greatest = bias.iter().zip(weights).map(|(bias, weights)| bias.abs() + magnitude(weights)).max();
        (bias, greatest.unwrap_or(0))
    }

    fn packed(&self) -> Vec<u8> {
        let w = &self.window;
        if self.is_depthwise() {
            let columns = w.kernel_w as usize;
            let taps = (0..w.taps()).flat_map(|tap| (0..w.out_c as usize).map(move |channel| (tap, channel)));
            return taps.map(|(tap, c)| self.weight(c, tap / columns, tap % columns, 0).cast_unsigned()).collect();
        }
        let mut packed = vec![0; weights::packed_bytes(w)];
        weights::pack(w, &mut |c, row, column, input| self.weight(c, row, column, input), &mut packed);
        packed
    }

    fn found(&self, kernels: &Kernels, weights: &[u8], bias: Bias<'_>) -> Results {
        let w = &self.window;
        let depthwise = self.is_depthwise();
        let source = if depthwise { Source::of_depthwise(w) } else { Source::of(w) };
        let len = w.positions() * w.out_c as usize;
        let mut results = Results { wide: vec![77; len], narrow: vec![77; len], real: vec![77.0; len] };
        let multipliers: Vec<u8> = self.multipliers.iter().flat_map(|m| m.to_le_bytes()).collect();
        let run = |y: ConvI16Output<'_>| {
            let mut scratch = vec![99_i16; source.scratch_len(w, self.scratch_rows)];
            let kernel = if depthwise { kernels.i16.depthwise } else { kernels.i16.conv };
            kernel(ConvI16Args {
                window: w,
                x: &self.x,
                x_zero_point: self.x_zero_point as i16,
                y,
                scratch: &mut scratch,
                weights,
                multipliers: F32s::new(&multipliers),
                bias,
            });
        };
        let (low, high) = self.limits;
        run(ConvI16Output::I16(&mut results.wide, TargetI16::new(self.y_zero_point, low, high)));
        let (low, high) = self.limits_i8();
        run(ConvI16Output::I8(&mut results.narrow, Target::new(self.y_zero_point / 256, low, high)));
        run(ConvI16Output::F32(&mut results.real));
        results
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let expected = self.expected();
        let weights = self.packed();
        let (bias, greatest) = self.adjusted_bias();
        let bytes: Vec<u8> = bias.iter().flat_map(|bias| bias.to_le_bytes()).collect();
        let few: Vec<u8> = bias.iter().flat_map(|&bias| (bias as i32).to_le_bytes()).collect();
        for kernels in available() {
            let found = self.found(kernels, &weights, Bias::I64(I64s::new(&bytes)));
            prop_assert_eq!(&found, &expected, "{} with sums of 64 bits", kernels.name);
            if greatest < 1 << 31 {
                let found = self.found(kernels, &weights, Bias::I32(I32s::new(&few)));
                prop_assert_eq!(&found, &expected, "{} with sums of 32 bits", kernels.name);
            }
        }
        Ok(())
    }
}

/// A single position of so many channels that its sums need 64 bits.
fn deep() -> impl Strategy<Value = Window> {
    (500..1500_u32, 1..40_u32, 1..3_u32).prop_map(|(in_c, out_c, kernel_w)| Window {
        batch: 1,
        in_h: 1,
        in_w: 4,
        in_c,
        out_h: 1,
        out_w: 5 - kernel_w,
        out_c,
        kernel_h: 1,
        kernel_w,
        stride_h: 1,
        stride_w: 1,
        dilation_h: 1,
        dilation_w: 1,
        pad_top: 0,
        pad_left: 0,
        groups: 1,
    })
}

/// Several lines of so many channels that the sums of a position need 64 bits, or those of a kernel row.
fn deep_lines() -> impl Strategy<Value = Window> {
    (40..160_u32, 1..36_u32, 1..=3_u32, 1..=3_u32, 1..=3_u32, 0..=1_u32).prop_map(
        |(in_c, out_c, kernel_h, kernel_w, in_h, pad)| Window {
            batch: 1,
            in_h: in_h + 1,
            in_w: 8,
            in_c,
            out_h: in_h + 2 + 2 * pad - kernel_h.min(in_h + 1),
            out_w: 9 + 2 * pad - kernel_w,
            out_c,
            kernel_h: kernel_h.min(in_h + 1),
            kernel_w,
            stride_h: 1,
            stride_w: 1,
            dilation_h: 1,
            dilation_w: 1,
            pad_top: pad,
            pad_left: pad,
            groups: 1,
        },
    )
}

/// Depthwise windows of many channels, small and large.
fn depthwise() -> impl Strategy<Value = Window> {
    let kernel = prop_oneof![Just((3, 3)), Just((5, 5)), Just((1, 3)), Just((2, 2)), Just((7, 7)), Just((9, 8))];
    (kernel, 2..70_u32, 1..=2_u32, 1..=2_u32, 0..=4_u32, (1..=7_u32, 1..=9_u32)).prop_map(
        |((kernel_h, kernel_w), in_c, stride, dilation, pad, (out_h, out_w))| {
            let seen = |out: u32, kernel: u32| (out - 1) * stride + (kernel - 1) * dilation + 1;
            Window {
                batch: 1,
                in_h: seen(out_h, kernel_h).saturating_sub(pad).max(1),
                in_w: seen(out_w, kernel_w).saturating_sub(pad).max(1),
                in_c,
                out_h,
                out_w,
                out_c: in_c,
                kernel_h,
                kernel_w,
                stride_h: stride,
                stride_w: stride,
                dilation_h: dilation,
                dilation_w: dilation,
                pad_top: pad / 2,
                pad_left: pad / 2,
                groups: in_c,
            }
        },
    )
}

/// More channels than an offset of 128 for each input may add up to in 32 bits.
#[test]
fn the_deepest_sums_follow_their_formula() {
    let in_c = 140_000;
    let window = Window {
        batch: 1,
        in_h: 1,
        in_w: 1,
        in_c,
        out_h: 1,
        out_w: 1,
        out_c: 2,
        kernel_h: 1,
        kernel_w: 1,
        stride_h: 1,
        stride_w: 1,
        dilation_h: 1,
        dilation_w: 1,
        pad_top: 0,
        pad_left: 0,
        groups: 1,
    };
    let count = in_c as usize;
    let case = Case {
        window,
        x: (0..in_c).map(|place| (place % 7) as i16).collect(),
        weights: [vec![i8::MAX; count], vec![i8::MIN; count]].concat(),
        bias: vec![5, -7],
        multipliers: vec![1e-4, 3e-5],
        x_zero_point: 0,
        y_zero_point: 0,
        limits: (-32768, 32767),
        scratch_rows: 1,
    };
    case.check().expect("the same as the formula");
}

const NO: TensorId = TensorId::NONE;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn convolutions_follow_their_formula(case in case(window())) {
        case.check()?;
    }

    #[test]
    fn depthwise_convolutions_follow_their_formula(case in case(depthwise())) {
        case.check()?;
    }

    #[test]
    fn element_wise_operations_follow_their_formulas(
        pairs in vec((extreme(), extreme()), 1..70),
        zero_points in (-32768..=32767_i32, -32768..=32767_i32, -32768..=32767_i32),
        multipliers in (1e-5..4.0_f32, 1e-5..4.0_f32),
        repeated in any::<bool>(),
        in_place in any::<bool>(),
    ) {
        let ((za, zb, zy), (ma, mb)) = (zero_points, multipliers);
        let a: Vec<i16> = pairs.iter().map(|pair| pair.0).collect();
        let b: Vec<i16> = if repeated { vec![pairs[0].1] } else { pairs.iter().map(|pair| pair.1).collect() };
        let real = |op: BinaryOp, index: usize| {
            let a = i64::from(a[index]) - i64::from(za);
            let b = i64::from(if repeated { b[0] } else { b[index] }) - i64::from(zb);
            let (left, right) = (a as f32 * ma, b as f32 * mb);
            match op {
                BinaryOp::Add => left + right,
                BinaryOp::Sub => left - right,
                BinaryOp::Max => left.max(right),
                BinaryOp::Min => left.min(right),
                BinaryOp::PRelu if a >= 0 => left,
                BinaryOp::PRelu => nearest(i128::from(a * b)) * mb,
                _ => nearest(i128::from(a * b)) * ma,
            }
        };
        use BinaryOp::{Add, Max, Min, Mul, PRelu, Sub};
        for kernels in available() {
            for op in [Add, Sub, Mul, Max, Min, PRelu] {
                let expected: Vec<i16> =
                    (0..a.len()).map(|index| store(real(op, index), zy, (-32768, 32767)) as i16).collect();
                let (mut left, mut result) = (a.clone(), vec![0; a.len()]);
                let left = Cell::from_mut(&mut left[..]).as_slice_of_cells();
                let result = Cell::from_mut(&mut result[..]).as_slice_of_cells();
                let y = if in_place { left } else { result };
                let (a, b, target) = (Operand::Shared(left), Operand::Constant(&b[..]), TargetI16::whole(zy));
                (kernels.i16.binary)(op, &Row { a, b, y, zero_points: [za, zb], multipliers: [ma, mb], target });
                let found: Vec<i16> = y.iter().map(Cell::get).collect();
                prop_assert_eq!(&found, &expected, "{} {:?}", kernels.name, op);
            }
        }
    }

    #[test]
    fn conversions_follow_their_formulas(
        x in vec(extreme(), 1..70),
        real in vec(prop_oneof![-3.0..3.0_f32, -1e6..1e6_f32, Just(f32::NAN), Just(f32::INFINITY)], 1..70),
        zero_points in (-32768..=32767_i32, -32768..=32767_i32, -128..=127_i32),
        scale in 1e-5..1.0_f32,
        multiplier in prop_oneof![1e-4..0.01_f32, 0.1..4.0_f32],
    ) {
        let (zx, zy, zn) = zero_points;
        let level = |x: i16| (i32::from(x) - zx) as f32;
        for kernels in available() {
            let mut wide = vec![0_i16; x.len()];
            (kernels.i16.requantize)(&x, zx, multiplier, &mut wide, TargetI16::whole(zy));
            let expected: Vec<i16> =
                x.iter().map(|&x| store(level(x) * multiplier, zy, (-32768, 32767)) as i16).collect();
            prop_assert_eq!(&wide, &expected, "{} requantize", kernels.name);
            let mut narrow = vec![0_i8; x.len()];
            (kernels.i16.requantize_i8)(&x, zx, multiplier, &mut narrow, Target::whole(zn));
            let expected: Vec<i8> = x.iter().map(|&x| store(level(x) * multiplier, zn, (-128, 127)) as i8).collect();
            prop_assert_eq!(&narrow, &expected, "{} requantize to int8", kernels.name);
            let mut values = vec![0.0_f32; x.len()];
            (kernels.i16.dequantize)(&x, scale, zx, &mut values);
            let expected: Vec<f32> = x.iter().map(|&x| level(x) * scale).collect();
            prop_assert_eq!(&values, &expected, "{} dequantize", kernels.name);
            let mut stored = vec![0_i16; real.len()];
            (kernels.i16.quantize)(&real, scale, &mut stored, TargetI16::whole(zy));
            let number = |x: f32| if x.is_nan() { 0.0 } else { x / scale };
            let expected: Vec<i16> = real.iter().map(|&x| store(number(x), zy, (-32768, 32767)) as i16).collect();
            prop_assert_eq!(&stored, &expected, "{} quantize", kernels.name);
        }
    }

    #[test]
    fn poolings_and_reductions_follow_their_formulas(
        window in window(),
        seed in any::<u64>(),
        zero_points in (-32768..=32767_i32, -32768..=32767_i32),
        multiplier in 0.01..3.0_f32,
        inner in 1..40_usize,
        n in 1..20_usize,
    ) {
        let (zx, zy) = zero_points;
        let mut random = seed;
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 48) as i16
        };
        let window = Window { out_c: window.in_c, groups: 1, ..window };
        let w = &window;
        let x: Vec<i16> = (0..w.batch * w.in_h * w.in_w * w.in_c).map(|_| next()).collect();
        let lines: Vec<i16> = (0..2 * n * inner).map(|_| next()).collect();
        for kind in [PoolKind::Max, PoolKind::Average] {
            let step = Pool { x: NO, y: NO, window, kind, multiplier, pad_end: [0; 2] };
            // What lies behind the last line and column is padding.
            let mut expected = Vec::new();
            for position in 0..w.positions() {
                let (line, column) = (position / w.out_w as usize, position % w.out_w as usize);
                let (image, line) = (line / w.out_h as usize, line % w.out_h as usize);
                for channel in 0..w.in_c as usize {
                    let mut seen = Vec::new();
                    for tap in 0..w.taps() {
                        let (row, tap) = (tap / w.kernel_w as usize, tap % w.kernel_w as usize);
                        let y = line * w.stride_h as usize + row * w.dilation_h as usize;
                        let x_at = column * w.stride_w as usize + tap * w.dilation_w as usize;
                        let y = y.checked_sub(w.pad_top as usize).filter(|y| *y < w.in_h as usize);
                        let x_at = x_at.checked_sub(w.pad_left as usize).filter(|x| *x < w.in_w as usize);
                        if let (Some(y), Some(x_at)) = (y, x_at) {
                            let pixel = (image * w.in_h as usize + y) * w.in_w as usize + x_at;
                            seen.push(i32::from(x[pixel * w.in_c as usize + channel]));
                        }
                    }
                    expected.push(match kind {
                        PoolKind::Max => seen.iter().copied().max().unwrap_or(-32768) as i16,
                        _ => {
                            let sum: i32 = seen.iter().map(|x| x - zx).sum();
                            store(sum as f32 * (multiplier / seen.len().max(1) as f32), zy, (-32768, 32767)) as i16
                        }
                    });
                }
            }
            for kernels in available() {
                let mut y = vec![0; expected.len()];
                let target = TargetI16::whole(zy);
                (kernels.i16.pool)(ReduceArgs { step: &step, x: &x, x_zero_point: zx, y: &mut y, target });
                prop_assert_eq!(&y, &expected, "{} {:?}", kernels.name, kind);
            }
        }
        for kind in [ReduceKind::Mean, ReduceKind::Sum, ReduceKind::Max, ReduceKind::Min] {
            let step = Reduce { x: NO, y: NO, kind, outer: 2, n: n as u32, inner: inner as u32, multiplier };
            let column = |place: usize| {
                (0..n).map(move |row| (place / inner * n + row) * inner + place % inner)
            };
            let expected: Vec<i16> = (0..2 * inner)
                .map(|place| {
                    let levels = column(place).map(|at| i32::from(lines[at]) - zx);
                    let folded = match kind {
                        ReduceKind::Max => levels.max().unwrap_or(0),
                        ReduceKind::Min => levels.min().unwrap_or(0),
                        _ => levels.sum(),
                    };
                    store(folded as f32 * multiplier, zy, (-32768, 32767)) as i16
                })
                .collect();
            for kernels in available() {
                let mut y = vec![0; expected.len()];
                let target = TargetI16::whole(zy);
                (kernels.i16.reduce)(ReduceArgs { step: &step, x: &lines, x_zero_point: zx, y: &mut y, target });
                prop_assert_eq!(&y, &expected, "{} {:?}", kernels.name, kind);
            }
        }
    }

    #[test]
    fn products_of_matrices_follow_their_formula(
        (m, k, n) in (1..6_usize, 1..40_usize, 1..20_usize),
        values in vec(extreme(), 6 * 40 + 40 * 20),
        zero_points in (-32768..=32767_i32, -32768..=32767_i32, -32768..=32767_i32),
        multiplier in 1e-9..1e-5_f32,
    ) {
        let (za, zb, zy) = zero_points;
        let (a, b) = (&values[..m * k], &values[6 * 40..][..k * n]);
        let step = MatMul {
            a: NO, b: NO, y: NO, batch: 1, a_stride: 0, b_stride: 0, m: m as u32, k: k as u32, n: n as u32, multiplier,
        };
        let level = |x: i16, zero: i32| i128::from(x) - i128::from(zero);
        let expected: Vec<i16> = (0..m * n)
            .map(|at| {
                let sum = (0..k).map(|i| level(a[at / n * k + i], za) * level(b[i * n + at % n], zb)).sum();
                store(nearest(sum) * multiplier, zy, (-32768, 32767)) as i16
            })
            .collect();
        for kernels in available() {
            let mut y = vec![0; m * n];
            (kernels.i16.matmul)(&step, a, b, [za, zb], &mut y, TargetI16::whole(zy));
            prop_assert_eq!(&y, &expected, "{}", kernels.name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn sums_of_more_than_32_bits_follow_their_formula(case in case(prop_oneof![deep(), deep_lines()])) {
        case.check()?;
    }
}
