//! The end of an int8 kernel: accumulators to stored results.

use core::arch::aarch64::*;

use super::blocks::ROWS;
use crate::bytes::{F32s, I32s};
use crate::kernels::{ConvI8Args, ConvOutput};
use crate::quantization::Target;
use crate::weights::BLOCK;

/// Limits of results, spread over registers.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    low: int8x16_t,
    high: int8x16_t,
    zero_point: int16x8_t,
}

impl Limits {
    pub fn new(target: Target) -> Self {
        let (low, high, zero_point) = target.limits();
        // SAFETY: NEON is there on every AArch64.
        unsafe { Self { low: vdupq_n_s8(low), high: vdupq_n_s8(high), zero_point: vdupq_n_s16(zero_point) } }
    }

    /// `clamp(round_half_even(value) + zero_point)` of 16 values.
    ///
    /// FCVTNS rounds half to even and saturates, and so do the narrowings: past the limits of int8 the clamp
    /// gives the same as before rounding. NaN, which no multiplier of a verified plan makes, becomes zero.
    #[inline(always)]
    pub fn quantize(self, [a, b, c, d]: [float32x4_t; 4]) -> int8x16_t {
        // SAFETY: NEON.
        unsafe {
            let low = vqmovn_s16(self.narrow(a, b));
            let stored = vqmovn_high_s16(low, self.narrow(c, d));
            vminq_s8(vmaxq_s8(stored, self.low), self.high)
        }
    }

    /// The same of 8 values.
    #[inline(always)]
    fn quantize_8(self, a: float32x4_t, b: float32x4_t) -> int8x8_t {
        // SAFETY: NEON.
        unsafe {
            let stored = vqmovn_s16(self.narrow(a, b));
            vmin_s8(vmax_s8(stored, vget_low_s8(self.low)), vget_low_s8(self.high))
        }
    }

    #[inline(always)]
    fn narrow(self, a: float32x4_t, b: float32x4_t) -> int16x8_t {
        // SAFETY: NEON.
        unsafe {
            let both = vqmovn_high_s32(vqmovn_s32(vcvtnq_s32_f32(a)), vcvtnq_s32_f32(b));
            vqaddq_s16(both, self.zero_point)
        }
    }
}

/// Bias, multipliers and results of some channels at positions that follow each other.
pub(super) struct Finish {
    bias: *const i32,
    multipliers: *const f32,
    y: *mut i8,
    step: usize,
    limits: Limits,
    real: bool,
}

/// Bias and multipliers of 16 channels, or of the first 8 or 4 of them.
#[derive(Clone, Copy)]
pub(super) struct Channels {
    /// What the accumulators start with.
    pub bias: [int32x4_t; 4],
    multipliers: [float32x4_t; 4],
}

impl Finish {
    /// Calls `run` with the end of a kernel that computes, at each of `rows` positions from `first` on, `lanes`
    /// channels from `channel` on, and stores blocks of `width`: 16, 8 or 4. Where these are more than the
    /// lanes, or results real, there is one block and [`ROWS`] positions at most.
    #[inline(always)]
    pub fn with(
        args: &mut ConvI8Args<'_>,
        (first, rows): (usize, usize),
        (channel, lanes): (usize, usize),
        width: usize,
        run: impl FnOnce(&Self),
    ) {
        let step = args.window.out_c as usize;
        let place = first * step + channel;
        let bias = args.bias.bytes(channel, lanes);
        let multipliers = args.multipliers.bytes(channel, lanes);
        assert!(bias.len() == 4 * lanes && multipliers.len() == 4 * lanes);
        let mut room = None;
        let finish = match &mut args.y {
            ConvOutput::I8(y, target) if lanes.is_multiple_of(width) => Self {
                bias: bias.as_ptr().cast(),
                multipliers: multipliers.as_ptr().cast(),
                y: y[place..][..(rows - 1) * step + lanes].as_mut_ptr(),
                step,
                limits: Limits::new(*target),
                real: false,
            },
            y => room.insert(Room::default()).finish(y, bias, multipliers, rows),
        };
        run(&finish);
        if let Some(room) = room {
            room.copy(&mut args.y, place, step, rows, lanes);
        }
    }

    /// Bias and multipliers of `W` channels from `from` on.
    ///
    /// # Safety
    /// [`Self::with`] has so many.
    #[inline(always)]
    pub unsafe fn channels<const W: usize>(&self, from: usize) -> Channels {
        // SAFETY: `with` has seen `lanes` words of both, or has made room for 16.
        unsafe {
            let (bias, multipliers) = (self.bias.add(from), self.multipliers.add(from));
            let word = |part: usize| if 4 * part < W { vld1q_s32(bias.add(4 * part)) } else { vdupq_n_s32(0) };
            let real = |part: usize| if 4 * part < W { vld1q_f32(multipliers.add(4 * part)) } else { vdupq_n_f32(0.0) };
            Channels { bias: [word(0), word(1), word(2), word(3)], multipliers: [real(0), real(1), real(2), real(3)] }
        }
    }

    /// Requantizes and stores the sums (bias and all) of `W` channels from `from` on, at position `row` of those of
    /// [`Self::with`].
    ///
    /// # Safety
    /// There are so many positions and channels.
    #[inline(always)]
    pub unsafe fn store<const W: usize>(
        &self,
        channels: &Channels,
        row: usize,
        from: usize,
        [a, b, c, d]: [int32x4_t; 4],
    ) {
        let [ma, mb, mc, md] = channels.multipliers;
        // SAFETY: `with` has made sure that `y` has all positions, four bytes for each channel when they are real.
        unsafe {
            let (a, b) = (vmulq_f32(vcvtq_f32_s32(a), ma), vmulq_f32(vcvtq_f32_s32(b), mb));
            let rest = || [vmulq_f32(vcvtq_f32_s32(c), mc), vmulq_f32(vcvtq_f32_s32(d), md)];
            let place = row * self.step + from;
            if self.real {
                let y = self.y.cast::<f32>().add(place);
                vst1q_f32(y, a);
                vst1q_f32(y.add(4), b);
                let [c, d] = rest();
                vst1q_f32(y.add(8), c);
                vst1q_f32(y.add(12), d);
                return;
            }
            let y = self.y.add(place);
            match W {
                16 => {
                    let [c, d] = rest();
                    vst1q_s8(y, self.limits.quantize([a, b, c, d]));
                }
                8 => vst1_s8(y, self.limits.quantize_8(a, b)),
                _ => vst1_lane_s32::<0>(y.cast(), vreinterpret_s32_s8(self.limits.quantize_8(a, a))),
            }
        }
    }
}

/// Room for the results of one block that cannot be stored where they belong at once.
#[derive(Default)]
struct Room {
    bias: [i32; BLOCK],
    multipliers: [f32; BLOCK],
    y: [[f32; BLOCK]; ROWS],
}

impl Room {
    #[cold]
    #[inline(never)]
    fn finish(&mut self, y: &ConvOutput<'_>, bias: &[u8], multipliers: &[u8], rows: usize) -> Finish {
        assert!(rows <= ROWS);
        self.bias.iter_mut().zip(I32s::new(bias).iter()).for_each(|(to, from)| *to = from);
        self.multipliers.iter_mut().zip(F32s::new(multipliers).iter()).for_each(|(to, from)| *to = from);
        let (target, real) = match y {
            ConvOutput::I8(_, target) => (*target, false),
            ConvOutput::F32(_) => (Target::new(0, 0, 0), true),
        };
        Finish {
            bias: self.bias.as_ptr(),
            multipliers: self.multipliers.as_ptr(),
            y: self.y.as_mut_ptr().cast(),
            step: BLOCK,
            limits: Limits::new(target),
            real,
        }
    }

    #[cold]
    #[inline(never)]
    fn copy(&self, y: &mut ConvOutput<'_>, place: usize, step: usize, rows: usize, lanes: usize) {
        for row in 0..rows {
            let from = row * BLOCK;
            match y {
                ConvOutput::I8(y, _) => {
                    // SAFETY: the room has 64 bytes for each row, of which the results take 16.
                    let stored = unsafe { core::slice::from_raw_parts(self.y.as_ptr().cast::<i8>().add(from), lanes) };
                    y[place + row * step..][..lanes].copy_from_slice(stored);
                }
                ConvOutput::F32(y) => {
                    y[place + row * step..][..lanes].copy_from_slice(&self.y.as_flattened()[from..][..lanes]);
                }
            }
        }
    }
}
