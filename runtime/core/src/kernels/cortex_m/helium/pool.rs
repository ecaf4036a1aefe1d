//! Int8 pooling and reductions, four neighbouring channels at a time.

use core::arch::naked_asm;
use core::mem::offset_of;

use crate::kernels::ReduceI8Args;
use crate::kernels::portable::pool::{count, cover};
use crate::kernels::view::part;
use crate::plan::step::{Pool, PoolKind, Reduce, ReduceKind};
use crate::quantization::Target;

/// See [`Pool`].
pub(super) fn pool(args: ReduceI8Args<'_, Pool>) {
    let w = &args.step.window;
    let channels = w.out_c as usize;
    let line = w.in_w as usize * channels;
    let greatest = args.step.kind == PoolKind::Max;
    let (mut image, mut row, mut column) = (0, 0, 0);
    for out in args.y.chunks_exact_mut(channels.max(1)) {
        let cover = cover(args.step, row, column);
        let (rows, width) = (cover.rows.1 - cover.rows.0, cover.columns.1 - cover.columns.0);
        // A window that covers nothing may end before the image.
        let y = (row * w.stride_h as usize + cover.rows.0 * w.dilation_h as usize).saturating_sub(w.pad_top as usize);
        let x = (column * w.stride_w as usize + cover.columns.0 * w.dilation_w as usize)
            .saturating_sub(w.pad_left as usize);
        let first = (image * w.in_h as usize + y) * line + x * channels;
        let (row_step, step) = (w.dilation_h as usize * line, w.dilation_w as usize * channels);
        let pixels = Pixels { first, rows, row_step, width, step };
        if greatest {
            pixels.fold(args.x, out, Kind::Max, 0, 1.0, Target::new(0, -128, 127));
        } else {
            let multiplier = args.step.multiplier / count(args.step, &cover) as f32;
            let zeros = args.x_zero_point.wrapping_mul((rows * width) as i32);
            pixels.fold(args.x, out, Kind::Sum, zeros, multiplier, args.target);
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
    let (kind, zeros) = match s.kind {
        ReduceKind::Max => (Kind::Max, args.x_zero_point),
        ReduceKind::Min => (Kind::Min, args.x_zero_point),
        _ => (Kind::Sum, args.x_zero_point.wrapping_mul(n as i32)),
    };
    for (outer, out) in args.y.chunks_exact_mut(inner.max(1)).enumerate() {
        let pixels = Pixels { first: outer * n * inner, rows: 1, row_step: 0, width: n, step: inner };
        pixels.fold(args.x, out, kind, zeros, s.multiplier, args.target);
    }
}

/// What becomes of the pixels.
#[derive(Clone, Copy)]
enum Kind {
    Sum,
    Max,
    Min,
}

/// The pixels of a window.
struct Pixels {
    first: usize,
    rows: usize,
    row_step: usize,
    width: usize,
    step: usize,
}

impl Pixels {
    /// `round(f32(folded - zeros) × multiplier)` of all channels.
    fn fold(&self, x: &[i8], y: &mut [i8], kind: Kind, zeros: i32, multiplier: f32, target: Target) {
        let (rows, width) = match (self.rows, self.width) {
            (_, 0) => (0, 0),
            // Rows that follow each other as pixels do are one.
            (rows @ 1.., width) if self.row_step == width * self.step => (1, rows * width),
            all => all,
        };
        let last = rows.saturating_sub(1) * self.row_step + width.saturating_sub(1) * self.step;
        let length = if rows == 0 { 0 } else { last + y.len() };
        let x = part(x, self.first, length);
        if x.len() != length || y.is_empty() {
            return;
        }
        let (low, high, zero_point) = target.parts();
        let (kernel, start): (unsafe extern "C" fn(*const Fold), _) = match kind {
            Kind::Sum => (fold_sum, 0),
            Kind::Max => (fold_max, i32::from(i8::MIN)),
            Kind::Min => (fold_min, i32::from(i8::MAX)),
        };
        let fold = Fold {
            x: x.as_ptr(),
            y: y.as_mut_ptr(),
            rows,
            width,
            turn: self.row_step.wrapping_sub(width * self.step),
            step: self.step,
            channels: y.len(),
            start,
            zeros,
            multiplier,
            zero_point,
            low: [low; 4],
            high: [high; 4],
        };
        // SAFETY: all channels of all pixels are there, as just seen, and so are the results.
        unsafe { kernel(&fold) };
    }
}

/// What the kernels read, neighbours at once: the order counts.
#[repr(C)]
struct Fold {
    x: *const i8,
    y: *mut i8,
    rows: usize,
    /// Pixels of a row.
    width: usize,
    /// Bytes from behind the last pixel of a row to the next row.
    turn: usize,
    /// Bytes from one pixel to the next.
    step: usize,
    channels: usize,
    /// What the first pixel is folded with.
    start: i32,
    zeros: i32,
    multiplier: f32,
    zero_point: i32,
    low: [f32; 4],
    high: [f32; 4],
}

macro_rules! fold {
    ($name:ident, $operation:literal) => {
        /// Folds the pixels of each channel.
        ///
        /// # Safety
        /// The CPU has Helium; pixels and results are there.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(fold: *const Fold) {
            naked_asm!(
                ".arch armv8.1-m.main",
                ".arch_extension mve.fp",
                "push {{r4-r11, lr}}",
                "vldrw.u32 q2, [r0, {LOW}]",
                "vldrw.u32 q3, [r0, {HIGH}]",
                "ldrd r1, r2, [r0, {X}]",
                "ldrd r3, r4, [r0, {ROWS}]",
                "ldrd r5, r6, [r0, {TURN}]",
                "ldr r8, [r0, {CHANNELS}]",
                "2:",
                "vctp.32 r8",
                "ldrd r10, r11, [r0, {START}]",
                "vdup.32 q0, r10",
                "mov r7, r1",
                "movs r9, r3",
                "beq 5f",
                "3:",
                "dls lr, r4",
                "4:",
                "vpst",
                "vldrbt.s32 q1, [r7]",
                $operation,
                "add r7, r7, r6",
                "le lr, 4b",
                "add r7, r7, r5",
                "subs r9, r9, #1",
                "bne 3b",
                "5:",
                "ldrd r9, r10, [r0, {MULTIPLIER}]",
                "vsub.i32 q0, q0, r11",
                "vcvt.f32.s32 q0, q0",
                "vmul.f32 q0, q0, r9",
                "vmaxnm.f32 q0, q0, q2",
                "vminnm.f32 q0, q0, q3",
                "vcvtn.s32.f32 q0, q0",
                "vadd.i32 q0, q0, r10",
                "vpst",
                "vstrbt.32 q0, [r2], #4",
                "add r1, r1, #4",
                "subs r8, r8, #4",
                "bhi 2b",
                "pop {{r4-r11, pc}}",
                X = const offset_of!(Fold, x),
                ROWS = const offset_of!(Fold, rows),
                TURN = const offset_of!(Fold, turn),
                CHANNELS = const offset_of!(Fold, channels),
                START = const offset_of!(Fold, start),
                MULTIPLIER = const offset_of!(Fold, multiplier),
                LOW = const offset_of!(Fold, low),
                HIGH = const offset_of!(Fold, high),
            )
        }
    };
}

fold!(fold_sum, "vadd.i32 q0, q0, q1");
fold!(fold_max, "vmax.s32 q0, q0, q1");
fold!(fold_min, "vmin.s32 q0, q0, q1");
