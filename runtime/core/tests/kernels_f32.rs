//! Every float kernel of every instruction set against its formula in f64, within the error that a chain of
//! float32 additions may make; and no result depends on the tile that it is computed in.

use std::cell::Cell;

use cygnet_core::bytes::F32s;
use cygnet_core::kernels::{ConvF32Args, Kernels, available};
use cygnet_core::plan::TensorId;
use cygnet_core::plan::step::{Function, MatMul, Pool, PoolKind, Window};
use cygnet_core::weights::{F32_BLOCK, packed_f32_len};
use proptest::prelude::*;

/// A convolution with everything that shapes it.
#[derive(Clone, Debug)]
struct Case {
    window: Window,
    depthwise: bool,
    x: Vec<f32>,
    /// By output channel, tap, input channel of the group.
    weights: Vec<f32>,
    bias: Vec<f32>,
    limits: (f32, f32),
}

/// How a window lies along one axis: output length, kernel, stride, dilation, padding in front.
fn axis() -> impl Strategy<Value = (u32, [u32; 5])> {
    let sizes = (1..=15_u32, 1..=5_u32, 1..=3_u32, 1..=3_u32, 0..=4_u32, 0..=4_u32);
    sizes.prop_filter_map("the window fits", |(length, kernel, stride, dilation, before, behind)| {
        let room = (length + before + behind).checked_sub((kernel - 1) * dilation + 1)?;
        Some((length, [room / stride + 1, kernel, stride, dilation, before]))
    })
}

fn window() -> impl Strategy<Value = (Window, bool)> {
    let channels = prop_oneof![
        // Groups, with channels of input and output for each.
        (1..=3_u32, 1..=20_u32, 1..=70_u32).prop_map(|(groups, input, output)| ([groups, input, output], false)),
        // Depthwise.
        (2..=70_u32).prop_map(|channels| ([channels, 1, 1], true)),
        (2..=9_u32, 2..=3_u32).prop_map(|(channels, multiplicity)| ([channels, 1, multiplicity], true)),
    ];
    let plain = Just((1, [1, 1, 1, 1, 0]));
    let axis = || prop_oneof![4 => axis(), 1 => plain];
    (1..=2_u32, axis(), axis(), channels, any::<bool>()).prop_map(|(batch, rows, columns, channels, pointwise)| {
        let ([groups, group_in, group_out], depthwise) = channels;
        let of = |axis: (u32, [u32; 5])| if pointwise { (axis.0, [axis.0, 1, 1, 1, 0]) } else { axis };
        let (in_h, [out_h, kernel_h, stride_h, dilation_h, pad_top]) = of(rows);
        let (in_w, [out_w, kernel_w, stride_w, dilation_w, pad_left]) = of(columns);
        let (in_c, out_c) = (groups * group_in, groups * group_out);
        let window = Window {
            batch,
            in_h,
            in_w,
            in_c,
            out_h,
            out_w,
            out_c,
            kernel_h,
            kernel_w,
            stride_h,
            stride_w,
            dilation_h,
            dilation_w,
            pad_top,
            pad_left,
            groups,
        };
        (window, depthwise)
    })
}

fn case() -> impl Strategy<Value = Case> {
    window().prop_flat_map(|(window, depthwise)| filled(window, depthwise))
}

fn filled(window: Window, depthwise: bool) -> impl Strategy<Value = Case> {
    let x = (window.batch * window.in_h * window.in_w * window.in_c) as usize;
    let channels = window.out_c as usize;
    let weights = channels * window.taps() * window.group_in();
    let values = |count: usize| proptest::collection::vec(-2.0..2.0_f32, count);
    let limits = prop_oneof![Just((f32::NEG_INFINITY, f32::INFINITY)), Just((0.0, 6.0)), Just((-0.5, 0.25))];
    (values(x), values(weights), values(channels), limits).prop_map(move |(x, weights, bias, limits)| Case {
        window,
        depthwise,
        x,
        weights,
        bias,
        limits,
    })
}

impl Case {
    /// The result and the greatest error of each element.
    fn expected(&self) -> Vec<(f64, f64)> {
        let w = &self.window;
        let length = w.taps() * w.group_in();
        let mut out = Vec::new();
        for position in 0..w.positions() {
            let (out_h, out_w) = (w.out_h as usize, w.out_w as usize);
            let (image, y, x) = (position / (out_h * out_w), position / out_w % out_h, position % out_w);
            for channel in 0..w.out_c as usize {
                let group = channel / w.group_out();
                let mut sum = f64::from(self.bias[channel]);
                let mut magnitude = sum.abs();
                for tap in 0..w.taps() {
                    let (down, right) = (tap / w.kernel_w as usize, tap % w.kernel_w as usize);
                    let iy = (y * w.stride_h as usize + down * w.dilation_h as usize) as i64 - i64::from(w.pad_top);
                    let ix = (x * w.stride_w as usize + right * w.dilation_w as usize) as i64 - i64::from(w.pad_left);
                    if iy < 0 || iy >= i64::from(w.in_h) || ix < 0 || ix >= i64::from(w.in_w) {
                        continue;
                    }
                    let pixel = (image * w.in_h as usize + iy as usize) * w.in_w as usize + ix as usize;
                    for input in 0..w.group_in() {
                        let value = self.x[pixel * w.in_c as usize + group * w.group_in() + input];
                        let weight = self.weights[channel * length + tap * w.group_in() + input];
                        sum += f64::from(value) * f64::from(weight);
                        magnitude += (f64::from(value) * f64::from(weight)).abs();
                    }
                }
                let sum = sum.clamp(f64::from(self.limits.0), f64::from(self.limits.1));
                // Each of `length` terms is rounded as a product and as a sum.
                out.push((sum, magnitude * (2 * length + 1) as f64 * 2.0_f64.powi(-24)));
            }
        }
        out
    }

    /// The weights in the order of the kernels, behind `odd` bytes that spoil their alignment.
    fn packed(&self, odd: usize) -> Vec<u8> {
        let w = &self.window;
        let (group_in, group_out) = (w.group_in(), w.group_out());
        let length = w.taps() * group_in;
        let channels = w.out_c as usize;
        let values = if self.depthwise {
            (0..w.taps() * channels).map(|index| self.weights[index % channels * length + index / channels]).collect()
        } else {
            let mut values = vec![0.0; packed_f32_len(w)];
            for channel in 0..channels {
                let (group, inner) = (channel / group_out, channel % group_out);
                let block = group * group_out.div_ceil(F32_BLOCK) + inner / F32_BLOCK;
                for index in 0..length {
                    values[(block * length + index) * F32_BLOCK + inner % F32_BLOCK] =
                        self.weights[channel * length + index];
                }
            }
            values
        };
        [vec![0; odd], values.into_iter().flat_map(f32::to_le_bytes).collect()].concat()
    }

    fn run(&self, kernels: &Kernels, odd: usize) -> Vec<f32> {
        let (w, weights) = (&self.window, self.packed(odd));
        let bias: Vec<u8> = self.bias.iter().flat_map(|bias| bias.to_le_bytes()).collect();
        let mut y = vec![f32::NAN; w.positions() * w.out_c as usize];
        let kernel = if self.depthwise { kernels.depthwise_f32 } else { kernels.conv_f32 };
        kernel(ConvF32Args {
            window: w,
            x: &self.x,
            y: &mut y,
            weights: F32s::new(&weights[odd..]),
            bias: F32s::new(&bias),
            low: self.limits.0,
            high: self.limits.1,
        });
        y
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let expected = self.expected();
        for kernels in available() {
            let found = self.run(kernels, 3);
            for (index, (found, (expected, error))) in found.iter().zip(&expected).enumerate() {
                let difference = (f64::from(*found) - expected).abs();
                // A result that is no number fails here too.
                prop_assert!(difference <= *error, "{}: [{index}] {found} for {expected}", kernels.name);
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn convolutions_follow_their_formula(case in case()) {
        case.check()?;
    }

    #[test]
    fn results_do_not_depend_on_the_tile(case in case()) {
        let mut one = case.clone();
        one.window.batch = 1;
        one.x.truncate(case.x.len() / case.window.batch as usize);
        for images in [2, 3] {
            let mut several = one.clone();
            several.window.batch = images;
            several.x = one.x.repeat(images as usize);
            for kernels in available() {
                let bits = |case: &Case| -> Vec<u32> { case.run(kernels, 0).into_iter().map(f32::to_bits).collect() };
                prop_assert_eq!(bits(&several), bits(&one).repeat(images as usize), "{}", kernels.name);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn long_sums_follow_their_formula(
        case in (1..=600_u32, 1..=40_u32, 0..=1_u32).prop_flat_map(|(in_c, out_c, pad)| {
            let (in_h, in_w, kernel_h, kernel_w, pad_top, pad_left) = (5, 4, 3, 2, pad, pad);
            let (out_h, out_w) = (in_h - kernel_h + 1 + 2 * pad, in_w - kernel_w + 1 + 2 * pad);
            let (stride_h, stride_w, dilation_h, dilation_w) = (1, 1, 1, 1);
            let (batch, groups) = (1, 1);
            let window = Window {
                batch, in_h, in_w, in_c, out_h, out_w, out_c, kernel_h, kernel_w, stride_h, stride_w, dilation_h,
                dilation_w, pad_top, pad_left, groups,
            };
            filled(window, false)
        }),
    ) {
        case.check()?;
    }
}

/// A product of matrices: batch, rows, columns and depth, and whether the right side is the same one each time.
fn product() -> impl Strategy<Value = (MatMul, Vec<f32>, Vec<f32>)> {
    let depth = prop_oneof![4 => 1..=40_u32, 1 => 500..=520_u32];
    (1..=3_u32, 1..=15_u32, 1..=70_u32, depth, any::<bool>()).prop_flat_map(|(batch, m, n, k, repeated)| {
        let (x, a, b, y) = (TensorId(0), m * k, if repeated { 0 } else { k * n }, TensorId(1));
        let step = MatMul { a: x, b: x, y, batch, a_stride: a, b_stride: b, m, k, n, multiplier: 1.0 };
        let values = |count: u32| proptest::collection::vec(-2.0..2.0_f32, count as usize);
        (Just(step), values(batch * a), values(if repeated { k * n } else { batch * b }))
    })
}

fn pool() -> impl Strategy<Value = (Pool, Vec<f32>)> {
    let kind = prop_oneof![Just(PoolKind::Max), Just(PoolKind::Average)];
    let padded = |axis: &(u32, [u32; 5])| axis.1[4] < axis.1[1];
    let (rows, columns) =
        (axis().prop_filter("a pixel is seen", padded), axis().prop_filter("a pixel is seen", padded));
    (rows, columns, 1..=70_u32, kind).prop_flat_map(|(rows, columns, channels, kind)| {
        let (in_h, [out_h, kernel_h, stride_h, dilation_h, pad_top]) = rows;
        let (in_w, [out_w, kernel_w, stride_w, dilation_w, pad_left]) = columns;
        let (batch, in_c, out_c, groups) = (1, channels, channels, channels);
        let window = Window {
            batch,
            in_h,
            in_w,
            in_c,
            out_h,
            out_w,
            out_c,
            kernel_h,
            kernel_w,
            stride_h,
            stride_w,
            dilation_h,
            dilation_w,
            pad_top,
            pad_left,
            groups,
        };
        let step = Pool { x: TensorId(0), y: TensorId(1), window, kind, multiplier: 1.0, pad_end: [0; 2] };
        let values = proptest::collection::vec(-2.0..2.0_f32, (in_h * in_w * channels) as usize);
        (Just(step), values)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn products_follow_their_formula((step, a, b) in product()) {
        let (m, k, n) = (step.m as usize, step.k as usize, step.n as usize);
        for kernels in available() {
            let mut y = vec![f32::NAN; step.batch as usize * m * n];
            (kernels.matmul_f32)(&step, &a, &b, &mut y);
            for (index, &found) in y.iter().enumerate() {
                let (batch, row, column) = (index / (m * n), index / n % m, index % n);
                let (a, b) = (&a[batch * step.a_stride as usize + row * k..], &b[batch * step.b_stride as usize..]);
                let terms = (0..k).map(|depth| f64::from(a[depth]) * f64::from(b[depth * n + column]));
                let (sum, magnitude) = terms.fold((0.0, 0.0), |(sum, all), term| (sum + term, all + term.abs()));
                let error = magnitude * (2 * k + 1) as f64 * 2.0_f64.powi(-24);
                prop_assert!((f64::from(found) - sum).abs() <= error, "{}: [{index}] {found} for {sum}", kernels.name);
            }
        }
    }

    #[test]
    fn pools_follow_their_formula((step, x) in pool()) {
        let w = &step.window;
        let channels = w.in_c as usize;
        for kernels in available() {
            let mut y = vec![f32::NAN; w.positions() * channels];
            (kernels.pool_f32)(&step, &x, &mut y);
            for (index, &found) in y.iter().enumerate() {
                let (row, column) = (index / channels / w.out_w as usize, index / channels % w.out_w as usize);
                let mut seen = Vec::new();
                for tap in 0..w.taps() {
                    let (down, right) = (tap / w.kernel_w as usize, tap % w.kernel_w as usize);
                    let y = (row * w.stride_h as usize + down * w.dilation_h as usize) as i64 - i64::from(w.pad_top);
                    let left = (column * w.stride_w as usize + right * w.dilation_w as usize) as i64;
                    let left = left - i64::from(w.pad_left);
                    if (0..i64::from(w.in_h)).contains(&y) && (0..i64::from(w.in_w)).contains(&left) {
                        let pixel = y as usize * w.in_w as usize + left as usize;
                        seen.push(f64::from(x[pixel * channels + index % channels]));
                    }
                }
                let expected = match step.kind {
                    PoolKind::Max => seen.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                    _ => seen.iter().sum::<f64>() / seen.len().max(1) as f64,
                };
                let error = if step.kind == PoolKind::Max { 0.0 } else { 2e-6 * seen.len() as f64 };
                let same = f64::from(found) == expected || (f64::from(found) - expected).abs() <= error;
                prop_assert!(same, "{}: [{index}] {found} for {expected}", kernels.name);
            }
        }
    }

    #[test]
    fn functions_follow_their_formula(
        x in proptest::collection::vec(prop_oneof![-8.0..8.0_f32, -0.01..0.01_f32, -200.0..200.0_f32], 1..50),
        alpha in 0.1..2.0_f32,
    ) {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let wide = f64::from(alpha);
        let formulas: [(Function, &dyn Fn(f64) -> f64); 8] = [
            (Function::Clip, &|x| x.clamp(wide, 3.0)),
            (Function::LeakyRelu, &|x| if x < 0.0 { wide * x } else { x }),
            (Function::HardSwish, &|x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
            (Function::Sigmoid, &sigmoid),
            (Function::Tanh, &f64::tanh),
            (Function::Exp, &f64::exp),
            (Function::Elu, &|x| if x < 0.0 { wide * x.exp_m1() } else { x }),
            (Function::Swish, &|x| x * sigmoid(wide * x)),
        ];
        for kernels in available() {
            for (function, formula) in &formulas {
                // In place, as the compiler likes to have it.
                let mut values = x.clone();
                let cells = Cell::from_mut(&mut values[..]).as_slice_of_cells();
                (kernels.unary)(cells, cells, *function, alpha, 3.0);
                for (&x, found) in x.iter().zip(&values) {
                    let expected = formula(f64::from(x));
                    // HardSwish loses digits near -3, where its factor vanishes.
                    let lost = if *function == Function::HardSwish { 1e-6 } else { f64::from(f32::MIN_POSITIVE) };
                    let error = 1.2e-7 * expected.abs() + lost;
                    let same = f64::from(*found) == expected || (f64::from(*found) - expected).abs() <= error;
                    let overflow = expected > f64::from(f32::MAX) && *found == f32::INFINITY;
                    prop_assert!(same || overflow, "{} {function:?}({x}): {found} for {expected}", kernels.name);
                }
            }
        }
    }
}
