//! Every kernel of every instruction set of this CPU on shapes from real models: `cargo bench -p cygnet-core --bench kernels`.

use std::cell::Cell;

use cygnet_core::bytes::{F32s, I32s, Span};
use cygnet_core::kernels::source::Source;
use cygnet_core::kernels::{
    AttentionArgs, AttentionPart, ConvF32Args, ConvI8Args, ConvOutput, Kernels, Operand, ReduceI8Args, RowI8, available,
};
use cygnet_core::plan::TensorId;
use cygnet_core::plan::step::{Attention, LayerNorm, Pool, PoolKind, Reduce, ReduceKind, Softmax, Window};
use cygnet_core::quantization::Target;
use cygnet_core::weights;
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};

fn main() {
    divan::main();
}

/// The sets by name: divan prints its arguments.
fn sets() -> impl Iterator<Item = &'static str> {
    available().map(|kernels| kernels.name)
}

fn kernels(name: &str) -> &'static Kernels {
    Kernels::named(name).expect("of this CPU")
}

/// A square window over a square image, padded so that a stride of 1 keeps the size.
fn window(size: u32, in_c: u32, out_c: u32, kernel: u32, stride: u32, groups: u32) -> Window {
    let out = size.div_ceil(stride);
    Window {
        batch: 1,
        in_h: size,
        in_w: size,
        in_c,
        out_h: out,
        out_w: out,
        out_c,
        kernel_h: kernel,
        kernel_w: kernel,
        stride_h: stride,
        stride_w: stride,
        dilation_h: 1,
        dilation_w: 1,
        pad_top: (kernel - 1) / 2,
        pad_left: (kernel - 1) / 2,
        groups,
    }
}

fn macs(w: &Window) -> ItemsCount {
    ItemsCount::new(w.positions() * w.out_c as usize * w.taps() * w.group_in())
}

fn bytes(count: usize) -> Vec<i8> {
    (0..count).map(|index| (index * 37 % 255) as i8).map(|byte| byte.max(-127)).collect()
}

fn floats(count: usize) -> Vec<f32> {
    (0..count).map(|index| (index * 37 % 255) as f32 / 255.0 - 0.5).collect()
}

fn conv_i8(bencher: Bencher<'_, '_>, w: &Window, depthwise: bool, kernel: fn(ConvI8Args<'_>)) {
    let x = bytes((w.in_h * w.in_w * w.in_c) as usize);
    let stored = if depthwise { w.taps() * w.out_c as usize } else { weights::packed_bytes(w) };
    let stored: Vec<u8> = bytes(stored).iter().map(|byte| byte.cast_unsigned()).collect();
    let words = vec![0_u8; 4 * w.out_c as usize];
    let multipliers: Vec<u8> = (0..w.out_c).flat_map(|_| 1e-4_f32.to_le_bytes()).collect();
    let source = if depthwise { Source::of_depthwise(w) } else { Source::of(w) };
    let mut scratch = vec![0; source.scratch_len(w, 8.min(w.out_h as usize))];
    let mut y = vec![0; w.positions() * w.out_c as usize];
    bencher.counter(macs(w)).bench_local(|| {
        kernel(ConvI8Args {
            window: w,
            x: &x,
            x_zero_point: -3,
            y: ConvOutput::I8(&mut y, Target::new(2, -128, 127)),
            y_step: w.out_c as usize,
            scratch: &mut scratch,
            weights: &stored,
            multipliers: F32s::new(&multipliers),
            bias: I32s::new(&words),
            weight_zero_points: I32s::new(&[]),
            narrow: true,
        });
    });
}

#[divan::bench(args = sets())]
fn conv_first_layer(bencher: Bencher<'_, '_>, set: &str) {
    conv_i8(bencher, &window(112, 3, 32, 3, 2, 1), false, kernels(set).conv_i8);
}

#[divan::bench(args = sets())]
fn conv_1x1(bencher: Bencher<'_, '_>, set: &str) {
    conv_i8(bencher, &window(14, 256, 256, 1, 1, 1), false, kernels(set).conv_i8);
}

/// A layer of a small encoder over 32 tokens.
#[divan::bench(args = sets())]
fn conv_tokens(bencher: Bencher<'_, '_>, set: &str) {
    let window = Window { in_h: 1, out_h: 1, ..window(32, 384, 384, 1, 1, 1) };
    conv_i8(bencher, &window, false, kernels(set).conv_i8);
}

#[divan::bench(args = sets())]
fn conv_1x1_few_channels(bencher: Bencher<'_, '_>, set: &str) {
    conv_i8(bencher, &window(56, 24, 16, 1, 1, 1), false, kernels(set).conv_i8);
}

#[divan::bench(args = sets())]
fn conv_3x3(bencher: Bencher<'_, '_>, set: &str) {
    conv_i8(bencher, &window(32, 16, 16, 3, 1, 1), false, kernels(set).conv_i8);
}

#[divan::bench(args = sets())]
fn fully_connected(bencher: Bencher<'_, '_>, set: &str) {
    conv_i8(bencher, &window(1, 128, 128, 1, 1, 1), false, kernels(set).conv_i8);
}

#[divan::bench(args = sets())]
fn depthwise_3x3(bencher: Bencher<'_, '_>, set: &str) {
    conv_i8(bencher, &window(28, 128, 128, 3, 1, 128), true, kernels(set).depthwise_i8);
}

#[divan::bench(args = sets())]
fn depthwise_3x3_stride_2(bencher: Bencher<'_, '_>, set: &str) {
    conv_i8(bencher, &window(28, 128, 128, 3, 2, 128), true, kernels(set).depthwise_i8);
}

#[divan::bench(args = sets())]
fn depthwise_5x5(bencher: Bencher<'_, '_>, set: &str) {
    conv_i8(bencher, &window(28, 128, 128, 5, 1, 128), true, kernels(set).depthwise_i8);
}

fn conv_f32(bencher: Bencher<'_, '_>, w: &Window, stored: usize, kernel: fn(ConvF32Args<'_>)) {
    let x = floats((w.in_h * w.in_w * w.in_c) as usize);
    let stored: Vec<u8> = floats(stored).into_iter().flat_map(f32::to_le_bytes).collect();
    let bias = vec![0_u8; 4 * w.out_c as usize];
    let mut y = vec![0.0; w.positions() * w.out_c as usize];
    bencher.counter(macs(w)).bench_local(|| {
        let (weights, bias) = (F32s::new(&stored), F32s::new(&bias));
        kernel(ConvF32Args { window: w, x: &x, y: &mut y, weights, bias, low: 0.0, high: 6.0 });
    });
}

#[divan::bench(args = sets())]
fn float_conv_1x1(bencher: Bencher<'_, '_>, set: &str) {
    let w = window(14, 256, 256, 1, 1, 1);
    conv_f32(bencher, &w, weights::packed_f32_len(&w), kernels(set).conv_f32);
}

#[divan::bench(args = sets())]
fn float_depthwise_3x3(bencher: Bencher<'_, '_>, set: &str) {
    let w = window(28, 128, 128, 3, 1, 128);
    conv_f32(bencher, &w, w.taps() * w.out_c as usize, kernels(set).depthwise_f32);
}

/// Elements of an element-wise step.
const ELEMENTS: usize = 16 << 10;

fn binary(bencher: Bencher<'_, '_>, kernel: fn(&RowI8<'_>)) {
    let mut elements = bytes(ELEMENTS);
    let b = bytes(ELEMENTS);
    let a = Cell::from_mut(&mut elements[..]).as_slice_of_cells();
    bencher.counter(BytesCount::new(ELEMENTS)).bench_local(|| {
        kernel(&RowI8 {
            a: Operand::Shared(a),
            b: Operand::Constant(&b),
            y: a,
            zero_points: [3, -5],
            multipliers: [0.5, 0.25],
            target: Target::new(1, -128, 127),
        });
    });
}

#[divan::bench(args = sets())]
fn add(bencher: Bencher<'_, '_>, set: &str) {
    binary(bencher, kernels(set).add_i8);
}

#[divan::bench(args = sets())]
fn mul(bencher: Bencher<'_, '_>, set: &str) {
    binary(bencher, kernels(set).mul_i8);
}

#[divan::bench(args = sets())]
fn table(bencher: Bencher<'_, '_>, set: &str) {
    let mut elements = bytes(ELEMENTS);
    let x = Cell::from_mut(&mut elements[..]).as_slice_of_cells();
    let table = core::array::from_fn(|index| index as u8 ^ 1);
    bencher.counter(BytesCount::new(ELEMENTS)).bench_local(|| (kernels(set).table)(x, x, &table));
}

#[divan::bench(args = sets())]
fn quantize(bencher: Bencher<'_, '_>, set: &str) {
    let (x, mut y) = (floats(ELEMENTS), vec![0; ELEMENTS]);
    let target = Target::new(0, -128, 127);
    bencher.counter(BytesCount::new(ELEMENTS)).bench_local(|| (kernels(set).quantize)(&x, 0.004, &mut y, target));
}

#[divan::bench(args = sets())]
fn dequantize(bencher: Bencher<'_, '_>, set: &str) {
    let (x, mut y) = (bytes(ELEMENTS), vec![0.0; ELEMENTS]);
    bencher.counter(BytesCount::new(ELEMENTS)).bench_local(|| (kernels(set).dequantize)(&x, 0.004, 3, &mut y));
}

/// Steps carry tensors that kernels do not look at.
const NONE: TensorId = TensorId(0);

#[divan::bench(args = sets())]
fn max_pool(bencher: Bencher<'_, '_>, set: &str) {
    let window = window(56, 64, 64, 3, 2, 1);
    let step = Pool { x: NONE, y: NONE, window, kind: PoolKind::Max, multiplier: 1.0, pad_end: [1, 1] };
    let x = bytes((window.in_h * window.in_w * window.in_c) as usize);
    let mut y = vec![0; window.positions() * window.out_c as usize];
    bencher.counter(BytesCount::new(x.len())).bench_local(|| {
        let target = Target::new(0, -128, 127);
        (kernels(set).pool_i8)(ReduceI8Args { step: &step, x: &x, x_zero_point: 0, y: &mut y, target });
    });
}

#[divan::bench(args = sets())]
fn mean(bencher: Bencher<'_, '_>, set: &str) {
    let (n, inner) = (49, 1280);
    let step = Reduce { x: NONE, y: NONE, kind: ReduceKind::Mean, outer: 1, n, inner, multiplier: 0.02 };
    let x = bytes((n * inner) as usize);
    let mut y = vec![0; inner as usize];
    bencher.counter(BytesCount::new(x.len())).bench_local(|| {
        let target = Target::new(0, -128, 127);
        (kernels(set).reduce_i8)(ReduceI8Args { step: &step, x: &x, x_zero_point: 0, y: &mut y, target });
    });
}

#[divan::bench(args = sets())]
fn softmax(bencher: Bencher<'_, '_>, set: &str) {
    let n = 1000;
    let step = Softmax { x: NONE, y: NONE, outer: 1, n, inner: 1, table: Span::NONE, log: 0 };
    let power = |distance: i32| ((-0.05 * f64::from(distance)).exp() * 8_388_608.0).round() as u32;
    let table: Vec<u8> = (0..256).map(power).flat_map(u32::to_le_bytes).collect();
    let x = bytes(n as usize);
    let mut y = vec![0; n as usize];
    bencher.counter(BytesCount::new(x.len())).bench_local(|| {
        let target = Target::new(-128, -128, 127);
        let args = ReduceI8Args { step: &step, x: &x, x_zero_point: 0, y: &mut y, target };
        (kernels(set).softmax_i8)(args, &table, 256.0);
    });
}

/// The heads of a small encoder, 12 of 32 elements, over so many tokens.
#[divan::bench(args = sets(), consts = [32, 128])]
fn attention<const TOKENS: u32>(bencher: Bencher<'_, '_>, set: &str) {
    let kernels = kernels(set);
    let none = TensorId::NONE;
    let strides = [TOKENS * 384, 32, 384];
    let step = Attention {
        q: none,
        k: none,
        v: none,
        mask: None,
        y: none,
        scratch: none,
        batch: 1,
        heads: 12,
        sharing: 1,
        queries: TOKENS,
        keys: TOKENS,
        width: 32,
        value_width: 32,
        q_strides: strides,
        k_strides: strides,
        v_strides: strides,
        y_strides: strides,
        mask_strides: [0; 4],
        scale: 0.18,
    };
    let count = TOKENS as usize * 384;
    let (q, mut y) = (floats(count), vec![0.0; count]);
    let mut scratch = vec![0.0; step.scratch_len().expect("fits")];
    bencher.counter(ItemsCount::new(2 * TOKENS as usize * count)).bench_local(|| {
        (kernels.attention)(AttentionArgs {
            step: &step,
            part: AttentionPart::whole(&step),
            q: &q,
            k: &q,
            v: &q,
            mask: None,
            before: None,
            y: &mut y,
            scratch: &mut scratch,
        });
    });
}

#[divan::bench(args = sets())]
fn layer_norm(bencher: Bencher<'_, '_>, set: &str) {
    let kernels = kernels(set);
    let (none, span) = (TensorId::NONE, Span::NONE);
    let step = LayerNorm {
        x: none,
        residual: None,
        y: none,
        rows: 32,
        n: 384,
        scale: span,
        bias: span,
        epsilon: 1e-5,
        about_zero: 0,
    };
    let mut y = floats(32 * 384);
    let scale: Vec<u8> = floats(384).iter().flat_map(|value| value.to_le_bytes()).collect();
    let scale = F32s::new(&scale);
    bencher.counter(ItemsCount::new(y.len())).bench_local(|| (kernels.layer_norm)(&step, &mut y, scale, scale));
}
