//! Int8 pooling and reductions, four neighbouring channels at a time.

use core::arch::naked_asm;

use crate::kernels::ReduceI8Args;
use crate::kernels::portable::pool::{count, cover};
use crate::plan::step::{Pool, PoolKind, Reduce, ReduceKind};

/// Channels worked on at once.
const LANES: usize = 4;
/// Pixels whose sum fits 16 bits.
const SAFE: usize = 255;

/// See [`Pool`].
pub(super) fn pool(args: ReduceI8Args<'_, Pool>) {
    let w = &args.step.window;
    let channels = w.out_c as usize;
    let line = w.in_w as usize * channels;
    let (mut image, mut row, mut column) = (0, 0, 0);
    for out in args.y.chunks_exact_mut(channels.max(1)) {
        let cover = cover(args.step, row, column);
        // A window that covers nothing may end before the image.
        let y = (row * w.stride_h as usize + cover.rows.0 * w.dilation_h as usize).saturating_sub(w.pad_top as usize);
        let x = (column * w.stride_w as usize + cover.columns.0 * w.dilation_w as usize)
            .saturating_sub(w.pad_left as usize);
        let pixels = Pixels {
            first: (image * w.in_h as usize + y) * line + x * channels,
            rows: cover.rows.1 - cover.rows.0,
            row_step: w.dilation_h as usize * line,
            width: cover.columns.1 - cover.columns.0,
            step: w.dilation_w as usize * channels,
        }
        .joined();
        if args.step.kind == PoolKind::Max {
            pixels.fold(args.x, out.len(), Fold::Max, &mut |channel, greatest| {
                out.get_mut(channel).into_iter().for_each(|y| *y = greatest as i8);
            });
        } else {
            let multiplier = args.step.multiplier / count(args.step, &cover) as f32;
            let zeros = args.x_zero_point.wrapping_mul((pixels.rows * pixels.width) as i32);
            pixels.fold(args.x, out.len(), Fold::Sum, &mut |channel, sum| {
                let result = args.target.store(sum.wrapping_sub(zeros) as f32 * multiplier);
                out.get_mut(channel).into_iter().for_each(|y| *y = result);
            });
        }
        column += 1;
        if column == w.out_w as usize {
            (row, column) = (row + 1, 0);
        }
        if row == w.out_h as usize {
            (image, row) = (image + 1, 0);
        }
    }
}

/// See [`Reduce`].
pub(super) fn reduce(args: ReduceI8Args<'_, Reduce>) {
    let s = args.step;
    let (n, inner) = (s.n as usize, s.inner as usize);
    let (fold, zeros) = match s.kind {
        ReduceKind::Max => (Fold::Max, args.x_zero_point),
        ReduceKind::Min => (Fold::Min, args.x_zero_point),
        _ => (Fold::Sum, args.x_zero_point.wrapping_mul(n as i32)),
    };
    for (outer, out) in args.y.chunks_exact_mut(inner.max(1)).enumerate() {
        let pixels = Pixels { first: outer * n * inner, rows: 1, row_step: 0, width: n, step: inner };
        pixels.fold(args.x, out.len(), fold, &mut |channel, folded| {
            let result = args.target.store(folded.wrapping_sub(zeros) as f32 * s.multiplier);
            out.get_mut(channel).into_iter().for_each(|y| *y = result);
        });
    }
}

/// What becomes of the pixels.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fold {
    Sum,
    Max,
    Min,
}

/// Pixels that become one: rows of neighbours.
struct Pixels {
    first: usize,
    rows: usize,
    row_step: usize,
    width: usize,
    step: usize,
}

impl Pixels {
    /// Rows that follow each other as neighbours do are one.
    fn joined(mut self) -> Self {
        if self.row_step == self.width * self.step {
            (self.width, self.rows) = (self.width * self.rows, 1);
        }
        self
    }

    /// Calls `visit` with each channel and what the pixels have become.
    fn fold(&self, x: &[i8], channels: usize, fold: Fold, visit: &mut dyn FnMut(usize, i32)) {
        let pixels = self.rows * self.width;
        let reach = self.rows.saturating_sub(1) * self.row_step + self.width.saturating_sub(1) * self.step + channels;
        // Windows that cover nothing may begin behind the input.
        let x = x.get(self.first..).unwrap_or_default();
        if pixels > 0 && x.len() < reach {
            return;
        }
        let start = if fold == Fold::Max { i32::from(i8::MIN) } else { i32::from(i8::MAX) };
        let start = if fold == Fold::Sum { 0 } else { start };
        let mut channel = 0;
        while channel < channels {
            let mut folded = [start; LANES];
            // The last four channels are perhaps fewer.
            let lanes = (channels - channel).min(LANES);
            let mut row = channel;
            for _ in 0..if self.width == 0 { 0 } else { self.rows } {
                if lanes == LANES && fold != Fold::Min {
                    let (mut at, mut left) = (row, self.width);
                    while left > 0 {
                        let some = left.min(SAFE);
                        let kernel = if fold == Fold::Sum { sum } else { max };
                        // SAFETY: the four channels of all pixels lie in the input, as its length says.
                        unsafe { kernel(x.as_ptr().wrapping_add(at), self.step, some, &mut folded) };
                        at += some * self.step;
                        left -= some;
                    }
                } else {
                    for (lane, folded) in folded.iter_mut().enumerate().take(lanes) {
                        for pixel in 0..self.width {
                            let value = i32::from(x.get(row + lane + pixel * self.step).copied().unwrap_or(0));
                            *folded = match fold {
                                Fold::Sum => folded.wrapping_add(value),
                                Fold::Max => value.max(*folded),
                                Fold::Min => value.min(*folded),
                            };
                        }
                    }
                }
                row += self.row_step;
            }
            folded.into_iter().enumerate().take(lanes).for_each(|(lane, folded)| visit(channel + lane, folded));
            channel += lanes;
        }
    }
}

/// Adds four channels of up to [`SAFE`] pixels, at least one, to `sums`.
///
/// # Safety
/// The CPU has the DSP extension; the pixels, `step` bytes apart, can be read.
#[unsafe(naked)]
unsafe extern "C" fn sum(pixels: *const i8, step: usize, count: usize, sums: &mut [i32; LANES]) {
    naked_asm!(
        ".cpu cortex-m33",
        "push {{r4-r7, lr}}",
        "mov.w r12, #0",
        "mov.w lr, #0",
        "2:",
        "ldr r4, [r0]",
        "add r0, r1",
        "sxtab16 r12, r12, r4",
        "sxtab16 lr, lr, r4, ror #8",
        "subs r2, #1",
        "bne 2b",
        "ldm r3, {{r4-r7}}",
        "sxtah r4, r4, r12",
        "sxtah r5, r5, lr",
        "sxtah r6, r6, r12, ror #16",
        "sxtah r7, r7, lr, ror #16",
        "stm r3!, {{r4-r7}}",
        "pop {{r4-r7, pc}}",
    )
}

/// The greatest of `greatest` and four channels of some pixels, at least one.
///
/// # Safety
/// As for [`sum`].
#[unsafe(naked)]
unsafe extern "C" fn max(pixels: *const i8, step: usize, count: usize, greatest: &mut [i32; LANES]) {
    naked_asm!(
        ".cpu cortex-m33",
        "push {{r4-r7, lr}}",
        "ldr r4, [r0]",
        "2:",
        "ldr r5, [r0]",
        "add r0, r1",
        "ssub8 r6, r5, r4",
        "sel r4, r5, r4",
        "subs r2, #1",
        "bne 2b",
        // Those of a row against those of the rows before.
        "ldrb r5, [r3]",
        "ldrb r6, [r3, #4]",
        "bfi r5, r6, #8, #8",
        "ldrb r6, [r3, #8]",
        "bfi r5, r6, #16, #8",
        "ldrb r6, [r3, #12]",
        "bfi r5, r6, #24, #8",
        "ssub8 r6, r5, r4",
        "sel r4, r5, r4",
        "sxtb r5, r4",
        "sbfx r6, r4, #8, #8",
        "sbfx r7, r4, #16, #8",
        "asr r4, r4, #24",
        "str r4, [r3, #12]",
        "stm r3!, {{r5-r7}}",
        "pop {{r4-r7, pc}}",
    )
}
