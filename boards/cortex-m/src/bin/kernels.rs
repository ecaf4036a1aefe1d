//! Every set of kernels that the core can run against the portable one: random shapes and numbers, the same bits.
//! Prints how many cases there were; ends with the first that differs.
#![no_std]
#![no_main]

use core::cell::Cell;

use cortex_m_rt::entry;
use cygnet_core::bytes::{F32s, I32s, I64s};
use cygnet_core::kernels::source::Source;
use cygnet_core::kernels::view::{f32s_mut, i16s, i16s_mut};
use cygnet_core::kernels::{
    Bias, ConvI8Args, ConvI16Args, ConvI16Output, ConvOutput, Kernels, Operand, ReduceI8Args, RowI8, available,
};
use cygnet_core::plan::step::{Pool, PoolKind, Reduce, ReduceKind, Window};
use cygnet_core::quantization::{Target, TargetI16};
use cygnet_core::weights;
use cygnet_cortex_m::console::{self, Word};

/// Convolutions, and about half as many of every other kind.
const CASES: u32 = 1500;
/// Bytes of inputs and of results, at most.
const TENSOR: usize = 6 << 10;
/// Bytes of weights, at most.
const WEIGHTS: usize = 40 << 10;
/// Output channels, at most.
const CHANNELS: usize = 72;
/// Bytes of scratch, at most.
const SCRATCH: usize = 24 << 10;
/// Bytes behind results that must stay as they are.
const GUARD: usize = 8;

/// What a case works on.
#[repr(C, align(16))]
struct Room {
    weights: [u8; WEIGHTS],
    scratch: [i8; SCRATCH],
    x: [i8; TENSOR],
    other: [i8; TENSOR],
    expected: [i8; TENSOR + GUARD],
    found: [i8; TENSOR + GUARD],
    bias: [[u8; 4]; CHANNELS],
    multipliers: [[u8; 4]; CHANNELS],
    zero_points: [[u8; 4]; CHANNELS],
    wide_bias: [[u8; 8]; CHANNELS],
}

impl Room {
    const NEW: Self = Self {
        weights: [0; WEIGHTS],
        scratch: [0; SCRATCH],
        x: [0; TENSOR],
        other: [0; TENSOR],
        expected: [0; TENSOR + GUARD],
        found: [0; TENSOR + GUARD],
        bias: [[0; 4]; CHANNELS],
        multipliers: [[0; 4]; CHANNELS],
        zero_points: [[0; 4]; CHANNELS],
        wide_bias: [[0; 8]; CHANNELS],
    };
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn word(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    /// From `least` to `most`.
    fn within(&mut self, least: i32, most: i32) -> i32 {
        least + (self.word() % (most - least + 1) as u32) as i32
    }

    fn size(&mut self, least: u32, most: u32) -> u32 {
        self.within(least as i32, most as i32) as u32
    }

    /// Once in `count` times.
    fn rarely(&mut self, count: u32) -> bool {
        self.word().is_multiple_of(count)
    }

    /// Any int8, the greatest and the least more often than others.
    fn byte(&mut self) -> i8 {
        let word = self.word();
        match word % 8 {
            0 => i8::MIN,
            1 => i8::MAX,
            _ => (word >> 8) as i8,
        }
    }

    /// A multiplier that makes results of every size: most within the range, some far outside.
    fn multiplier(&mut self) -> f32 {
        let unit = self.word() as f32 / 4_294_967_296.0;
        match self.word() % 6 {
            0 => 1e-7 + 1e-5 * unit,
            1 => 1e8 * unit,
            2 => 0.5,
            _ => 1e-4 + 0.02 * unit,
        }
    }

    fn target(&mut self) -> Target {
        let zero_point = if self.rarely(3) { -128 } else { self.within(-128, 127) };
        if self.rarely(3) {
            return Target::new(zero_point, self.within(-128, 0), self.within(0, 127));
        }
        Target::new(zero_point, -128, 127)
    }

    fn window(&mut self) -> Option<Window> {
        let depthwise = self.rarely(3);
        let groups = if self.rarely(6) { self.size(2, 3) } else { 1 };
        let channels = if self.rarely(2) { 4 * self.size(1, 9) } else { self.size(1, 21) };
        let in_c = channels * groups;
        let out = if self.rarely(2) { 4 * self.size(1, 9) } else { self.size(1, 22) };
        let groups = if depthwise { in_c } else { groups };
        let out_c = match depthwise {
            true if self.rarely(4) => in_c * 2,
            true => in_c,
            false => out * groups,
        };
        let pointwise = !depthwise && self.rarely(3);
        // What most networks are made of.
        let usual = self.rarely(3);
        let kernel = |random: &mut Self| {
            if pointwise {
                1
            } else if usual {
                3
            } else {
                random.size(1, 5)
            }
        };
        let (kernel_h, kernel_w) = (kernel(self), kernel(self));
        let most = if (pointwise || usual) && self.rarely(2) { 1 } else { 4 };
        let (stride_h, stride_w) = (self.size(1, most), self.size(1, most));
        let dilated = !pointwise && !usual && self.rarely(4);
        let (dilation_h, dilation_w) = if dilated { (self.size(1, 2), self.size(1, 3)) } else { (1, 1) };
        let pad = |random: &mut Self, reach: u32| match random.word() % 6 {
            _ if pointwise => 0,
            0 | 1 => 0,
            2 => random.size(0, 3 * reach + 2),
            _ => random.size(0, reach),
        };
        let (pad_top, pad_left) = (pad(self, kernel_h), pad(self, kernel_w));
        let (pad_bottom, pad_right) = (pad(self, kernel_h), pad(self, kernel_w));
        let (in_h, in_w) = (self.size(1, 9), self.size(1, 11));
        let out = |input: u32, pads: u32, kernel: u32, stride: u32, dilation: u32| {
            (input + pads).checked_sub((kernel - 1) * dilation + 1).map(|room| room / stride + 1)
        };
        // Plans may ask for more results than the input has windows, or for fewer.
        let any = self.rarely(4);
        let (any_h, any_w) = (self.size(1, 9), self.size(1, 12));
        Some(Window {
            batch: if self.rarely(5) { self.size(2, 3) } else { 1 },
            in_h,
            in_w,
            in_c,
            out_h: if any { any_h } else { out(in_h, pad_top + pad_bottom, kernel_h, stride_h, dilation_h)? },
            out_w: if any { any_w } else { out(in_w, pad_left + pad_right, kernel_w, stride_w, dilation_w)? },
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
        })
    }
}

/// Whether both results and all guards are equal; fills them for the next use.
fn same(room: &mut Room) -> bool {
    let same = room.expected == room.found;
    room.expected.fill(77);
    room.found.fill(77);
    same
}

/// One convolution; `None` where the numbers give none that fits.
fn convolution(random: &mut Random, room: &mut Room, kernels: &Kernels) -> Option<bool> {
    let window = random.window()?;
    let w = &window;
    // One channel in each group does not make a step depthwise.
    let depthwise = w.groups == w.in_c && w.in_c > 1 && !random.rarely(5);
    let images = (w.batch * w.in_h * w.in_w * w.in_c) as usize;
    let channels = w.out_c as usize;
    // Results may be some of all channels.
    let y_step = channels + if depthwise || !random.rarely(3) { 0 } else { random.size(1, 9) as usize };
    let results = w.positions() * y_step;
    let stored = if depthwise { w.taps() * channels } else { weights::packed_bytes(w) };
    let source = if depthwise { Source::of_depthwise(w) } else { Source::of(w) };
    let least = source.scratch_len(w, 1);
    let float = random.rarely(4);
    let room_needed = if float { 4 * results } else { results };
    if images > TENSOR || room_needed > TENSOR || stored > WEIGHTS || channels > CHANNELS || least > SCRATCH {
        return None;
    }
    let narrow = !random.rarely(4);
    room.x[..images].fill_with(|| random.byte());
    let mut weight = || random.byte().max(if narrow { -127 } else { -128 });
    if depthwise {
        room.weights[..stored].fill_with(|| weight().cast_unsigned());
    } else {
        weights::pack(w, &mut |_, _, _, _| weight(), &mut room.weights[..stored]);
    }
    room.bias.fill_with(|| random.within(-100_000, 100_000).to_le_bytes());
    room.multipliers.fill_with(|| random.multiplier().to_le_bytes());
    room.zero_points.fill_with(|| random.within(-128, 127).to_le_bytes());
    let zero_points = if random.rarely(8) { channels } else { 0 };
    let scratch = match random.word() % 3 {
        0 => least,
        1 => least.max(random.size(0, 4096) as usize),
        _ => SCRATCH,
    };
    let x_zero_point = random.byte();
    let target = random.target();
    let mut run = |kernels: &Kernels, y: ConvOutput<'_>| {
        let kernel = if depthwise { kernels.depthwise_i8 } else { kernels.conv_i8 };
        kernel(ConvI8Args {
            window: w,
            x: &room.x[..images],
            x_zero_point,
            y,
            y_step,
            scratch: &mut room.scratch[..scratch],
            weights: &room.weights[..stored],
            multipliers: F32s::new(room.multipliers[..channels].as_flattened()),
            bias: I32s::new(room.bias[..channels].as_flattened()),
            weight_zero_points: I32s::new(room.zero_points[..zero_points].as_flattened()),
            narrow,
        });
    };
    for (kernels, y) in [(Kernels::portable(), &mut room.expected), (kernels, &mut room.found)] {
        if float {
            let (results, _) = f32s_mut(bytes(y)).split_at_mut(results);
            run(kernels, ConvOutput::F32(results));
        } else {
            run(kernels, ConvOutput::I8(&mut y[..results], target));
        }
    }
    Some(same(room))
}

/// One convolution of int16; `None` where the numbers give none that fits.
fn convolution_i16(random: &mut Random, room: &mut Room, kernels: &Kernels) -> Option<bool> {
    let window = random.window()?;
    let w = &window;
    let depthwise = w.groups == w.in_c && w.in_c > 1 && !random.rarely(5);
    let images = (w.batch * w.in_h * w.in_w * w.in_c) as usize;
    let (channels, results) = (w.out_c as usize, w.positions() * w.out_c as usize);
    let stored = if depthwise { w.taps() * channels } else { weights::packed_bytes(w) };
    let source = if depthwise { Source::of_depthwise(w) } else { Source::of(w) };
    let least = source.scratch_len(w, 1);
    let kind = random.within(0, 2);
    let room_needed = results * [2, 1, 4][kind as usize];
    if 2 * images > TENSOR || room_needed > TENSOR || stored > WEIGHTS || channels > CHANNELS || 2 * least > SCRATCH {
        return None;
    }
    room.x[..2 * images].fill_with(|| random.byte());
    if depthwise {
        room.weights[..stored].fill_with(|| random.byte().cast_unsigned());
    } else {
        weights::pack(w, &mut |_, _, _, _| random.byte(), &mut room.weights[..stored]);
    }
    room.bias.fill_with(|| random.within(-100_000, 100_000).to_le_bytes());
    room.wide_bias.fill_with(|| (i64::from(random.within(-100_000, 100_000)) << 20).to_le_bytes());
    room.multipliers.fill_with(|| random.multiplier().to_le_bytes());
    let wide = random.rarely(3);
    let scratch = if random.rarely(2) { least } else { SCRATCH / 2 };
    let x_zero_point = i16::from(random.byte()) << 8;
    let target = random.target();
    let wide_target =
        TargetI16::new(random.within(-32_768, 32_767), random.within(-32_768, 0), random.within(0, 32_767));
    for (kernels, y) in [(Kernels::portable(), &mut room.expected), (kernels, &mut room.found)] {
        let y = match kind {
            0 => ConvI16Output::I16(i16s_mut(bytes(y)).split_at_mut(results).0, wide_target),
            1 => ConvI16Output::I8(&mut y[..results], target),
            _ => ConvI16Output::F32(f32s_mut(bytes(y)).split_at_mut(results).0),
        };
        let kernel = if depthwise { kernels.i16.depthwise } else { kernels.i16.conv };
        kernel(ConvI16Args {
            window: w,
            x: &i16s(bytes(&mut room.x))[..images],
            x_zero_point,
            y,
            scratch: &mut i16s_mut(bytes(&mut room.scratch))[..scratch],
            weights: &room.weights[..stored],
            multipliers: F32s::new(room.multipliers[..channels].as_flattened()),
            bias: if wide {
                Bias::I64(I64s::new(room.wide_bias[..channels].as_flattened()))
            } else {
                Bias::I32(I32s::new(room.bias[..channels].as_flattened()))
            },
        });
    }
    Some(same(room))
}

fn bytes(numbers: &mut [i8]) -> &mut [u8] {
    // SAFETY: i8 and u8 have the same size and alignment, and every bit pattern is valid for both.
    unsafe { core::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast(), numbers.len()) }
}

/// A row of an addition or product, half of them in the place of the left side.
fn element_wise(random: &mut Random, room: &mut Room, kernels: &Kernels) -> bool {
    let (start, length) = (random.size(0, 3) as usize, random.size(1, 200) as usize);
    let end = start + length;
    room.x[..end].fill_with(|| random.byte());
    room.other[..end].fill_with(|| random.byte());
    let b_range = if random.rarely(6) { start..start + 1 } else { start..end };
    let a_range = if random.rarely(9) { start..start + 1 } else { start..end };
    let zero_points = [random.within(-128, 127), random.within(-128, 127)];
    let multipliers = [random.multiplier(), random.multiplier()];
    let (target, product, in_place) = (random.target(), random.rarely(3), random.rarely(2));
    let constant = random.rarely(3);
    let in_place = in_place && a_range == (start..end);
    for (kernels, y) in [(Kernels::portable(), &mut room.expected), (kernels, &mut room.found)] {
        let mut a = room.x;
        let a = Cell::from_mut(&mut a[..]).as_slice_of_cells();
        let mut b = room.other;
        let b = Cell::from_mut(&mut b[..]).as_slice_of_cells();
        let out = Cell::from_mut(&mut y[..]).as_slice_of_cells();
        let row = RowI8 {
            a: Operand::Shared(&a[a_range.clone()]),
            b: if constant {
                Operand::Constant(&room.other[b_range.clone()])
            } else {
                Operand::Shared(&b[b_range.clone()])
            },
            y: if in_place { &a[a_range.clone()] } else { &out[start..end] },
            zero_points,
            multipliers,
            target,
        };
        if product {
            (kernels.mul_i8)(&row)
        } else {
            (kernels.add_i8)(&row)
        }
        if in_place {
            out.iter().zip(&a[..end]).for_each(|(out, a)| out.set(a.get()));
        }
    }
    same(room)
}

/// A pooling; `None` where the numbers give none that fits.
fn pooling(random: &mut Random, room: &mut Room, kernels: &Kernels) -> Option<bool> {
    let window = random.window()?;
    let window = Window { out_c: window.in_c, groups: 1, ..window };
    let w = &window;
    let images = (w.batch * w.in_h * w.in_w * w.in_c) as usize;
    let results = w.positions() * w.out_c as usize;
    if images > TENSOR || results > TENSOR {
        return None;
    }
    room.x[..images].fill_with(|| random.byte());
    let kind = [PoolKind::Max, PoolKind::Average, PoolKind::AverageIncludingPad][random.within(0, 2) as usize];
    let pad_end = [random.size(0, 2), random.size(0, 2)];
    let step = &Pool {
        x: Default::default(),
        y: Default::default(),
        window,
        kind,
        multiplier: 2.0 * random.multiplier().min(2.0),
        pad_end,
    };
    let (x_zero_point, target) = (random.within(-128, 127), random.target());
    for (kernels, y) in [(Kernels::portable(), &mut room.expected), (kernels, &mut room.found)] {
        (kernels.pool_i8)(ReduceI8Args { step, x: &room.x[..images], x_zero_point, y: &mut y[..results], target });
    }
    Some(same(room))
}

/// A reduction.
fn reduction(random: &mut Random, room: &mut Room, kernels: &Kernels) -> bool {
    let (outer, n, inner) = (random.size(1, 3), random.size(1, 30), random.size(1, 40));
    let kinds = [ReduceKind::Mean, ReduceKind::Sum, ReduceKind::Max, ReduceKind::Min];
    let step = &Reduce {
        x: Default::default(),
        y: Default::default(),
        kind: kinds[random.within(0, 3) as usize],
        outer,
        n,
        inner,
        multiplier: random.multiplier(),
    };
    let (all, results) = ((outer * n * inner) as usize, (outer * inner) as usize);
    room.x[..all].fill_with(|| random.byte());
    let (x_zero_point, target) = (random.within(-128, 127), random.target());
    for (kernels, y) in [(Kernels::portable(), &mut room.expected), (kernels, &mut room.found)] {
        (kernels.reduce_i8)(ReduceI8Args { step, x: &room.x[..all], x_zero_point, y: &mut y[..results], target });
    }
    same(room)
}

/// All cases of one set of kernels; `None` when one differs.
fn cases(kernels: &Kernels, room: &mut Room) -> Option<u64> {
    let mut random = Random(2026);
    let mut passed = 0;
    same(room);
    for case in 0..CASES {
        let results = [
            ("convolution", convolution(&mut random, room, kernels)),
            ("convolution of int16", if case % 2 == 0 { convolution_i16(&mut random, room, kernels) } else { None }),
            ("pooling", if case % 2 == 0 { pooling(&mut random, room, kernels) } else { None }),
            ("element-wise", (case % 2 == 0).then(|| element_wise(&mut random, room, kernels))),
            ("reduction", (case % 4 == 0).then(|| reduction(&mut random, room, kernels))),
        ];
        for (what, result) in results {
            if result == Some(false) {
                let case = Word::Number(case.into());
                console::line(&[Word::Text(what), Word::Text(" differs in round "), case]);
                return None;
            }
            passed += u64::from(result.is_some());
        }
    }
    Some(passed)
}

#[entry]
fn main() -> ! {
    let Some(room) = cortex_m::singleton!(ROOM: Room = Room::NEW) else { console::end(false) };
    for kernels in available() {
        let passed = cases(kernels, room);
        let words = [Word::Text(kernels.name), Word::Text(" passed "), Word::Number(passed.unwrap_or(0))];
        console::line(&words);
        if passed.is_none() {
            console::end(false);
        }
    }
    console::end(true)
}
