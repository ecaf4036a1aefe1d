//! Int8 average pooling and reductions, 16 channels at a time: SADDW adds pixels in 16 bits, row by row.

use core::arch::aarch64::*;

use super::finish::Limits;
use crate::kernels::ReduceI8Args;
use crate::kernels::portable::pool::{self as portable, count, cover, place};
use crate::plan::step::{Pool, PoolKind, Reduce, ReduceKind};
use crate::weights::BLOCK;

/// Pixels whose sum fits 16 bits.
const SAFE: usize = 255;

/// See [`Pool`].
pub(super) fn pool(args: ReduceI8Args<'_, Pool>) {
    let w = &args.step.window;
    let channels = w.out_c as usize;
    if args.step.kind == PoolKind::Max || channels < BLOCK || w.kernel_w as usize > SAFE {
        return portable::pool(args);
    }
    let (dilation_h, dilation_w) = (w.dilation_h as usize, w.dilation_w as usize);
    for (position, out) in args.y.chunks_exact_mut(channels).enumerate() {
        let (image, row, column) = place(w, position);
        let cover = cover(args.step, row, column);
        let multiplier = args.step.multiplier / count(args.step, &cover) as f32;
        // A window that covers nothing may end before the image.
        let y = (row * w.stride_h as usize + cover.rows.0 * dilation_h).saturating_sub(w.pad_top as usize);
        let x = (column * w.stride_w as usize + cover.columns.0 * dilation_w).saturating_sub(w.pad_left as usize);
        let rows = Rows {
            first: ((image * w.in_h as usize + y) * w.in_w as usize + x) * channels,
            count: cover.rows.1 - cover.rows.0,
            step: dilation_h * w.in_w as usize * channels,
            width: cover.columns.1 - cover.columns.0,
            pixel: dilation_w * channels,
        };
        means(args.x, &rows, args.x_zero_point, multiplier, Limits::new(args.target), out);
    }
}

/// See [`Reduce`].
pub(super) fn reduce(args: ReduceI8Args<'_, Reduce>) {
    let s = args.step;
    let (n, inner) = (s.n as usize, s.inner as usize);
    if !matches!(s.kind, ReduceKind::Mean | ReduceKind::Sum) || inner < BLOCK {
        return portable::reduce(args);
    }
    for (outer, out) in args.y.chunks_exact_mut(inner).enumerate() {
        // As rows of as many pixels as divide them.
        let width = (1..=n.min(SAFE)).rev().find(|width| n.is_multiple_of(*width)).unwrap_or(1);
        let rows = Rows { first: outer * n * inner, count: n / width, step: width * inner, width, pixel: inner };
        means(args.x, &rows, args.x_zero_point, s.multiplier, Limits::new(args.target), out);
    }
}

/// Pixels that are summed: `count` rows of `width`.
struct Rows {
    first: usize,
    count: usize,
    step: usize,
    width: usize,
    pixel: usize,
}

/// `round(f32(Σ (x - zero_point)) × multiplier)` of all channels, 16 or more.
fn means(x: &[i8], rows: &Rows, zero_point: i32, multiplier: f32, limits: Limits, out: &mut [i8]) {
    let pixels = rows.count * rows.width;
    if pixels > 0 {
        let last = rows.first + (rows.count - 1) * rows.step + (rows.width - 1) * rows.pixel;
        assert!(last + out.len() <= x.len() && out.len() >= BLOCK && rows.width <= SAFE);
    }
    for start in (0..out.len()).step_by(BLOCK) {
        // The last block begins early enough to be full.
        let start = start.min(out.len() - BLOCK);
        // SAFETY: NEON is there on every AArch64; 16 bytes of every pixel lie inside `x`, as asserted, and 16 results
        // inside `out`.
        unsafe {
            let mut sums = [vdupq_n_s32(-zero_point * pixels as i32); 4];
            for row in 0..rows.count {
                let mut pixel = x.as_ptr().wrapping_add(rows.first + row * rows.step + start);
                let (mut low, mut high) = (vdupq_n_s16(0), vdupq_n_s16(0));
                for _ in 0..rows.width {
                    let values = vld1q_s8(pixel);
                    low = vaddw_s8(low, vget_low_s8(values));
                    high = vaddw_high_s8(high, values);
                    pixel = pixel.wrapping_add(rows.pixel);
                }
                sums = [
                    vaddw_s16(sums[0], vget_low_s16(low)),
                    vaddw_high_s16(sums[1], low),
                    vaddw_s16(sums[2], vget_low_s16(high)),
                    vaddw_high_s16(sums[3], high),
                ];
            }
            let scaled = sums.map(|sum| vmulq_n_f32(vcvtq_f32_s32(sum), multiplier));
            vst1q_s8(out.as_mut_ptr().add(start), limits.quantize(scaled));
        }
    }
}
