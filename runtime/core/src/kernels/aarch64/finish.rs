//! The end of an int8 kernel: accumulators to stored results.
//!
//! The macros are the end of the kernels written in assembly. They take the registers of the sums of a row (4, 2 or
//! 1 of them, for as many times 4 channels), the first of which ends up with the results. Registers 24 to 27 hold
//! multipliers, 28 and 29 what [`Finish`] says.

use core::arch::aarch64::*;

use super::blocks::ROWS;
use crate::kernels::{ConvI8Args, ConvOutput};
use crate::quantization::Target;
use crate::weights::BLOCK;

/// Limits of results, spread over registers.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub low: int8x16_t,
    pub high: int8x16_t,
    pub zero_point: int16x8_t,
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

    #[inline(always)]
    fn narrow(self, a: float32x4_t, b: float32x4_t) -> int16x8_t {
        // SAFETY: NEON.
        unsafe {
            let both = vqmovn_high_s32(vqmovn_s32(vcvtnq_s32_f32(a)), vcvtnq_s32_f32(b));
            vqaddq_s16(both, self.zero_point)
        }
    }
}

/// The same for values that fit 16 bits, an even zero point and the limits of int8. Holds [`Finish::magic`].
#[derive(Clone, Copy)]
pub(super) struct Short(float32x4_t);

impl Short {
    /// Whether values of at most `greatest` may be quantized so.
    #[inline(always)]
    pub fn suits(target: Target, greatest: f32) -> bool {
        let (low, high, zero_point) = target.limits();
        greatest < 32000.0 && zero_point & 1 == 0 && (low, high) == (i8::MIN, i8::MAX)
    }

    pub fn new(target: Target) -> Self {
        let (_, _, zero_point) = target.limits();
        // SAFETY: NEON.
        Self(unsafe { vdupq_n_f32(ROUNDING + f32::from(zero_point)) })
    }

    /// `clamp(round_half_even(value) + zero_point)` of 16 values.
    #[inline(always)]
    pub fn quantize(self, values: [float32x4_t; 4]) -> int8x16_t {
        // SAFETY: NEON.
        unsafe {
            let [a, b, c, d] = values.map(|value| vreinterpretq_s16_f32(vaddq_f32(value, self.0)));
            vqmovn_high_s16(vqmovn_s16(vuzp1q_s16(a, b)), vuzp1q_s16(c, d))
        }
    }
}

/// Bit of [`Finish::flags`]: results are float32, `step` bytes apart.
pub(super) const REAL: usize = 0;
/// Bit of [`Finish::flags`]: results before the clamp may need more than 16 bits.
pub(super) const UNBOUNDED: usize = 1;
/// Bit of [`Finish::flags`]: the zero point is odd.
pub(super) const ODD: usize = 2;
/// Bit of [`Finish::flags`]: the limits are not those of int8.
pub(super) const CLAMPED: usize = 3;

/// Added to a float of magnitude below 2¹⁵, this leaves it rounded half to even in the low 16 bits.
const ROUNDING: f32 = 12_582_912.0;

/// Positions from which on it pays to look whether results fit 16 bits.
const MANY: usize = 12;

/// Bias, multipliers and results of some channels at positions that follow each other.
#[derive(Clone, Copy)]
pub(super) struct Finish {
    pub bias: *const i32,
    pub multipliers: *const f32,
    pub y: *mut i8,
    /// Bytes from one position to the next.
    pub step: usize,
    /// Bits [`REAL`], [`UNBOUNDED`], [`ODD`] and [`CLAMPED`].
    pub flags: usize,
    /// [`ROUNDING`] and, where it is even, the zero point: rounding half to even then gives the same.
    pub magic: float32x4_t,
    /// What [`Self::magic`] does not have of the zero point, or all of it where results are [`UNBOUNDED`].
    pub zero_point: int16x8_t,
    /// The whole zero point, and the limits.
    pub limits: Limits,
}

impl Finish {
    /// What is common to all channels and positions of a convolution.
    #[inline(always)]
    pub fn of(args: &ConvI8Args<'_>) -> Self {
        let (flags, target) = match &args.y {
            ConvOutput::I8(_, target) => (0, *target),
            ConvOutput::F32(_) => (1 << REAL, Target::new(0, 0, 0)),
        };
        let (low, high, zero_point) = target.limits();
        let unbounded = args.window.positions() < MANY || !fits_16_bits(args);
        let odd = zero_point & 1 == 1;
        let clamped = (low, high) != (i8::MIN, i8::MAX);
        let rest = if unbounded || odd { zero_point } else { 0 };
        let flag = |set: bool, bit: usize| usize::from(set) << bit;
        Self {
            bias: core::ptr::null(),
            multipliers: core::ptr::null(),
            y: core::ptr::null_mut(),
            step: 0,
            flags: flags | flag(unbounded, UNBOUNDED) | flag(odd, ODD) | flag(clamped, CLAMPED),
            // SAFETY: NEON is there on every AArch64.
            magic: unsafe { vdupq_n_f32(ROUNDING + f32::from(if odd { 0 } else { zero_point })) },
            // SAFETY: NEON.
            zero_point: unsafe { vdupq_n_s16(rest) },
            limits: Limits::new(target),
        }
    }

    /// Whether results are float32.
    #[inline(always)]
    pub fn is_real(&self) -> bool {
        self.flags >> REAL & 1 == 1
    }

    /// Requantizes the sums of 16 channels, for kernels written with intrinsics.
    #[inline(always)]
    pub fn store(&self, sums: [int32x4_t; 4], multipliers: &[float32x4_t; 4]) -> int8x16_t {
        // SAFETY: NEON.
        unsafe {
            let mut values = [self.magic; 4];
            for part in 0..4 {
                values[part] = vmulq_f32(vcvtq_f32_s32(sums[part]), multipliers[part]);
            }
            if self.flags != 0 {
                return self.limits.quantize(values);
            }
            Short(self.magic).quantize(values)
        }
    }

    /// Prepares `lanes` channels from `channel` on, at each of `rows` positions from `first` on, whose results are
    /// int8.
    #[inline(always)]
    pub fn place(&mut self, args: &mut ConvI8Args<'_>, first: usize, rows: usize, channel: usize, lanes: usize) {
        let step = args.y_step;
        let (Some(bias), Some(multipliers)) = (args.bias.whole(channel, lanes), args.multipliers.whole(channel, lanes))
        else {
            panic!("the verifier counts bias and multipliers");
        };
        self.bias = bias.as_ptr().cast();
        self.multipliers = multipliers.as_ptr().cast();
        self.y = match &mut args.y {
            ConvOutput::I8(y, _) => y[first * step + channel..][..(rows - 1) * step + lanes].as_mut_ptr(),
            ConvOutput::F32(_) => core::ptr::null_mut(),
        };
    }
}

/// Whether no result passes 16 bits before it is clamped: each product is at most 2¹⁴.
fn fits_16_bits(args: &ConvI8Args<'_>) -> bool {
    let terms = args.window.taps() * args.window.group_in();
    let bias = args.bias.iter().map(i32::unsigned_abs).fold(0, u32::max);
    // The greater of two floats without sign has the greater bits; those of NaN are above all others.
    let multiplier = args.multipliers.iter().map(|m| m.abs().to_bits()).fold(0, u32::max);
    (terms as f32 * 16384.0 + bias as f32) * f32::from_bits(multiplier) < 32000.0
}

/// Loads the bias of a row's channels from `n`.
macro_rules! load_bias {
    ($a:literal $b:literal $c:literal $d:literal; $at:literal) => {
        concat!("ldp q", $a, ", q", $b, ", [", $at, "]\nldp q", $c, ", q", $d, ", [", $at, ", #32]")
    };
    ($a:literal $b:literal $c:literal $d:literal) => { load_bias!($a $b $c $d; "{n}") };
    ($a:literal $b:literal) => { concat!("ldp q", $a, ", q", $b, ", [{n}]") };
    ($a:literal) => { concat!("ldr q", $a, ", [{n}]") };
}

/// Loads the multipliers of 16, 8 or 4 channels from `n`.
macro_rules! load_multipliers {
    (16 $at:literal) => { concat!("ldp q24, q25, [", $at, "]\nldp q26, q27, [", $at, ", #32]") };
    (16) => { load_multipliers!(16 "{n}") };
    (8) => { "ldp q24, q25, [{n}]" };
    (4) => { "ldr q24, [{n}]" };
}

/// Sums to real numbers in units of the result.
macro_rules! scale {
    (@ $($sum:literal $multiplier:literal)*) => {
        concat!(
            $("scvtf v", $sum, ".4s, v", $sum, ".4s\n",)*
            $("fmul v", $sum, ".4s, v", $sum, ".4s, v", $multiplier, ".4s\n",)*
        )
    };
    ($a:literal $b:literal $c:literal $d:literal) => { scale!(@ $a "24" $b "25" $c "26" $d "27") };
    ($a:literal $b:literal) => { scale!(@ $a "24" $b "25") };
    ($a:literal) => { scale!(@ $a "24") };
}

/// Real numbers to 16 bits, where they fit: register 28 holds [`Finish::magic`].
macro_rules! shorten {
    ($a:literal $b:literal $c:literal $d:literal) => { concat!(shorten!($a $b), shorten!($c $d)) };
    ($a:literal $b:literal) => {
        concat!(
            "fadd v", $a, ".4s, v", $a, ".4s, v28.4s\n",
            "fadd v", $b, ".4s, v", $b, ".4s, v28.4s\n",
            "uzp1 v", $a, ".8h, v", $a, ".8h, v", $b, ".8h\n",
        )
    };
    ($a:literal) => {
        concat!("fadd v", $a, ".4s, v", $a, ".4s, v28.4s\n", "xtn v", $a, ".4h, v", $a, ".4s\n")
    };
}

/// Real numbers to 16 bits, where they may not fit: FCVTNS rounds half to even and saturates, and so does SQXTN;
/// past the limits of int8 the clamp gives the same as before rounding.
macro_rules! round {
    ($a:literal $b:literal $c:literal $d:literal) => { concat!(round!($a $b), round!($c $d)) };
    ($a:literal $b:literal) => {
        concat!(
            round!($a),
            "fcvtns v", $b, ".4s, v", $b, ".4s\n",
            "sqxtn2 v", $a, ".8h, v", $b, ".4s\n",
        )
    };
    ($a:literal) => {
        concat!("fcvtns v", $a, ".4s, v", $a, ".4s\n", "sqxtn v", $a, ".4h, v", $a, ".4s\n")
    };
}

/// Adds register 28, the zero point.
macro_rules! shift {
    ($a:literal $b:literal $c:literal $d:literal) => {
        concat!(shift!($a), shift!($c))
    };
    ($a:literal $($b:literal)?) => {
        concat!("sqadd v", $a, ".8h, v", $a, ".8h, v28.8h\n")
    };
}

/// 16 bits to 8.
macro_rules! saturate {
    ($a:literal $b:literal $c:literal $d:literal) => {
        concat!(saturate!($a), "sqxtn2 v", $a, ".16b, v", $c, ".8h\n")
    };
    ($a:literal $($b:literal)?) => {
        concat!("sqxtn v", $a, ".8b, v", $a, ".8h\n")
    };
}

/// Clamps to the limits in registers 28 and 29.
macro_rules! clamp {
    ($a:literal $($other:literal)*) => {
        concat!("smax v", $a, ".16b, v", $a, ".16b, v28.16b\n", "smin v", $a, ".16b, v", $a, ".16b, v29.16b\n",)
    };
}

/// Stores the results of a row.
macro_rules! store {
    ($a:literal $b:literal $c:literal $d:literal) => {
        concat!("st1 {{v", $a, ".16b}}, [{y}], {y_step}\n")
    };
    ($a:literal $b:literal) => {
        concat!("st1 {{v", $a, ".8b}}, [{y}], {y_step}\n")
    };
    ($a:literal) => {
        concat!("st1 {{v", $a, ".s}}[0], [{y}], {y_step}\n")
    };
}

/// Stores the real numbers of a row.
macro_rules! real {
    ($a:literal $b:literal $c:literal $d:literal) => {
        concat!("stp q", $c, ", q", $d, ", [{y}, #32]\n", real!($a $b))
    };
    ($a:literal $b:literal) => { concat!("str q", $b, ", [{y}, #16]\n", real!($a)) };
    ($a:literal) => { concat!("str q", $a, ", [{y}]\n", "add {y}, {y}, {y_step}\n") };
}

pub(super) use {clamp, load_bias, load_multipliers, real, round, saturate, scale, shift, shorten, store};

/// Room for the results of one block that cannot be stored where they belong at once.
pub(super) struct Room {
    bias: [i32; BLOCK],
    multipliers: [f32; BLOCK],
    y: [[f32; BLOCK]; ROWS],
}

impl Room {
    /// Room for `lanes` channels from `channel` on.
    #[cold]
    #[inline(never)]
    pub fn of(args: &ConvI8Args<'_>, channel: usize, lanes: usize) -> Self {
        let mut room = Self { bias: [0; BLOCK], multipliers: [0.0; BLOCK], y: [[0.0; BLOCK]; ROWS] };
        room.bias.iter_mut().zip(args.bias.slice(channel, lanes).iter()).for_each(|(to, from)| *to = from);
        let multipliers = args.multipliers.slice(channel, lanes).iter();
        room.multipliers.iter_mut().zip(multipliers).for_each(|(to, from)| *to = from);
        room
    }

    /// Lets a kernel work in the room, as long as nobody else uses it.
    pub fn place(&mut self, finish: &mut Finish) {
        finish.bias = self.bias.as_ptr();
        finish.multipliers = self.multipliers.as_ptr();
        finish.y = self.y.as_mut_ptr().cast();
        finish.step = if finish.is_real() { 4 * BLOCK } else { BLOCK };
    }

    /// Copies `lanes` results of `rows` positions to `place` and each `step` elements behind it.
    #[cold]
    #[inline(never)]
    pub fn copy(&self, y: &mut ConvOutput<'_>, place: usize, step: usize, rows: usize, lanes: usize) {
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
