//! Int8 depthwise convolution, four neighbouring channels at a time.
//!
//! SMLAD adds the products of two taps: their words are mixed by PKHBT and PKHTB and spread by SXTB16. What the loop
//! needs of a block of channels stands in a table: bias, then for each pair of taps their places and weights.

use core::arch::naked_asm;
use core::mem::offset_of;

use super::depthwise_3x3;
use super::lines::{Lines, Strip};
use super::operands::Operands;
use super::tile::skip;
use crate::kernels::ConvI8Args;
use crate::kernels::cortex_m::plain;
use crate::plan::step::Window;

/// Channels worked on at once.
const LANES: usize = 4;
/// Pairs of taps that a table has room for: 5 × 5, with one left over.
const PAIRS: usize = 12;
/// Bytes of code at the end of the loop over pairs of taps.
const LOOP_END: usize = 12;
/// Bytes of code for a pair of taps, and such pairs in the loop.
const PAIR: (usize, usize) = (52, 4);

/// See [`crate::plan::step::ConvI8`].
pub(super) fn depthwise(mut args: ConvI8Args<'_>) {
    let window = *args.window;
    let channels = window.out_c as usize;
    let suits = window.out_c == window.in_c && channels >= LANES && window.taps() <= 2 * PAIRS + 1;
    let Some(operands) = Operands::of(&mut args, true).filter(|_| suits) else {
        return plain::conv(args, true);
    };
    let scratch = core::mem::take(&mut args.scratch);
    if depthwise_3x3::run(&window, args.x, args.x_zero_point, args.weights, &operands, scratch) {
        return operands.clamp(&mut args);
    }
    let lines = Lines { window: &window, x: args.x, zero_point: args.x_zero_point };
    let mut table = [0; WORDS];
    let done = lines.for_each_strip(scratch, |strip| {
        let taps = Taps::new(&window, strip.pitch);
        let mut channel = 0;
        loop {
            // SAFETY: `Operands` has seen the weights, bias, multipliers and places for the results; the strip has all
            // taps of its positions.
            unsafe {
                let bias = operands.bias.cast::<[u32; LANES]>().byte_add(4 * channel);
                table.as_mut_ptr().cast::<[u32; LANES]>().write(bias.read());
                tabulate(args.weights.as_ptr().add(channel), channels, &taps, table.as_mut_ptr().add(LANES));
                positions(&job(&window, &operands, strip, channel, &table));
            }
            if channel + LANES >= channels {
                break;
            }
            // The last block begins early enough to be full.
            channel = (channel + LANES).min(channels - LANES);
        }
    });
    match done {
        Some(()) => operands.clamp(&mut args),
        None => plain::conv(args, true),
    }
}

/// All positions of a strip.
///
/// # Safety
/// The operands have the channels.
unsafe fn job(window: &Window, operands: &Operands, strip: &Strip, channel: usize, table: &[u32; WORDS]) -> Job {
    let channels = operands.channels;
    let x_step = window.stride_w as usize * channels;
    let columns = window.out_w as usize;
    let y = operands.y.wrapping_add(strip.first * channels + channel);
    let line = columns * channels;
    let pairs = window.taps() / 2;
    Job {
        table: table.as_ptr(),
        turn: (window.stride_h as usize * strip.pitch).wrapping_sub(columns * x_step),
        x_step,
        y,
        zero_point: operands.zero_point,
        y_step: channels,
        line_end: y.wrapping_add(line),
        // SAFETY: as the caller says; they are aligned to 4 bytes.
        multipliers: unsafe { operands.multipliers.cast::<[f32; LANES]>().byte_add(4 * channel).read() },
        line,
        end: y.wrapping_add(line * strip.count),
        single: table.as_ptr().wrapping_add(LANES + pairs * 6),
        // Without pairs the loop is not entered.
        skip: if pairs > 0 { skip(PAIR, pairs) } else { PAIR.0 * PAIR.1 + LOOP_END },
        x: strip.lines.wrapping_add(channel),
    }
}

/// What the loop loads into FPU registers, in this order, and what it begins with.
#[repr(C)]
struct Job {
    table: *const u32,
    /// Bytes from behind a line's last position to the next line's first.
    turn: usize,
    /// Bytes of input from one position to the next.
    x_step: usize,
    y: *mut i8,
    zero_point: i32,
    y_step: usize,
    line_end: *mut i8,
    multipliers: [f32; LANES],
    /// Bytes of a line of results.
    line: usize,
    end: *mut i8,
    /// The last tap in the table.
    single: *const u32,
    /// Bytes of code to skip on entering the loop over pairs of taps.
    skip: usize,
    x: *const i8,
}

/// Where the taps of a window are, as distances from the first.
#[repr(C)]
struct Taps {
    pairs: usize,
    /// 1 where a tap is left over.
    single: usize,
    places: [usize; 2 * PAIRS + 1],
}

impl Taps {
    /// The taps for input lines `pitch` bytes apart.
    fn new(window: &Window, pitch: usize) -> Self {
        let taps = window.taps();
        let mut places = [0; 2 * PAIRS + 1];
        let (mut row, mut column) = (0, 0);
        for place in places.iter_mut().take(taps) {
            *place =
                row * window.dilation_h as usize * pitch + column * window.dilation_w as usize * window.in_c as usize;
            column += 1;
            if column == window.kernel_w as usize {
                (row, column) = (row + 1, 0);
            }
        }
        Self { pairs: taps / 2, single: taps % 2, places }
    }
}

/// Words of a table: bias of four channels; for each pair of taps their places and four pairs of weights; the same
/// for the last tap, weights of channels 0 and 2 in one word, 1 and 3 in the next. Without a last tap these are zero.
const WORDS: usize = LANES + PAIRS * 6 + 3;

/// Writes the part of a table that stands behind the bias.
///
/// # Safety
/// The CPU has the DSP extension. `weights` has four channels of all taps, each `channels` bytes behind the one before;
/// there is room for the table.
#[unsafe(naked)]
unsafe extern "C" fn tabulate(weights: *const u8, channels: usize, taps: &Taps, table: *mut u32) {
    naked_asm!(
        ".cpu cortex-m33",
        "push {{r4-r9, lr}}",
        "ldm r2!, {{r4, r5}}",
        "cbz r4, 3f",
        "2:",
        "ldm r2!, {{r6, r7}}",
        "stm r3!, {{r6, r7}}",
        "ldr r6, [r0]",
        "add r0, r1",
        "ldr r7, [r0]",
        "add r0, r1",
        "pkhbt r8, r6, r7, lsl #16",
        "pkhtb r7, r7, r6, asr #16",
        "sxtb16 r6, r8",
        "sxtb16 r8, r8, ror #8",
        "sxtb16 r9, r7",
        "sxtb16 r12, r7, ror #8",
        "stm.w r3!, {{r6, r8, r9, r12}}",
        "subs r4, #1",
        "bne 2b",
        "3:",
        "ldr r6, [r2]",
        "cbz r5, 4f",
        "ldr r5, [r0]",
        "4:",
        "sxtb16 r7, r5",
        "sxtb16 r8, r5, ror #8",
        "stm.w r3!, {{r6, r7, r8}}",
        "pop {{r4-r9, pc}}",
    )
}

/// Two taps of four channels: 8 multiply-accumulates in 13 instructions.
macro_rules! pair {
    () => {
        concat!(
            "ldm.w r12!, {{r4-r9}}\n",
            "ldr.w r4, [r10, r4]\n",
            "ldr.w r5, [r10, r5]\n",
            "pkhbt lr, r4, r5, lsl #16\n",
            "pkhtb r5, r5, r4, asr #16\n",
            "sxtb16 r4, lr\n",
            "sxtb16 lr, lr, ror #8\n",
            "smlad r0, r4, r6, r0\n",
            "smlad r1, lr, r7, r1\n",
            "sxtb16 r4, r5\n",
            "sxtb16 r5, r5, ror #8\n",
            "smlad r2, r4, r8, r2\n",
            "smlad r3, r5, r9, r3\n",
        )
    };
}

/// Requantizes and stores four channels of a position: sums in `r0` to `r3`, the result's place and the zero point in
/// `s7` and `s8`, multipliers from `s11` on. Moves on to the next result, by `s9`, and leaves it in `r4`, the end of
/// the line in `r7`, and `s5` and `s6` in `r8` and `r9`. See [`super::tile`] for rounding and saturation.
macro_rules! finish {
    () => {
        concat!(
            "vmov s0, s1, r0, r1\n",
            "vmov s2, s3, r2, r3\n",
            "vcvt.f32.s32 s0, s0\n",
            "vcvt.f32.s32 s1, s1\n",
            "vcvt.f32.s32 s2, s2\n",
            "vcvt.f32.s32 s3, s3\n",
            "vmul.f32 s0, s0, s11\n",
            "vmul.f32 s1, s1, s12\n",
            "vmul.f32 s2, s2, s13\n",
            "vmul.f32 s3, s3, s14\n",
            "vcvtr.s32.f32 s0, s0\n",
            "vcvtr.s32.f32 s1, s1\n",
            "vcvtr.s32.f32 s2, s2\n",
            "vcvtr.s32.f32 s3, s3\n",
            "vmov r4, r5, s7, s8\n",
            "vmov r0, r1, s0, s1\n",
            "vmov r2, r3, s2, s3\n",
            "vmov r6, r7, s9, s10\n",
            "vmov r8, r9, s5, s6\n",
            "qadd r0, r0, r5\n",
            "qadd r1, r1, r5\n",
            "qadd r2, r2, r5\n",
            "qadd r3, r3, r5\n",
            "ssat r0, #8, r0\n",
            "ssat r1, #8, r1\n",
            "ssat r2, #8, r2\n",
            "ssat r3, #8, r3\n",
            "strb r0, [r4]\n",
            "strb r1, [r4, #1]\n",
            "strb r2, [r4, #2]\n",
            "strb r3, [r4, #3]\n",
            "add r4, r6\n",
            "vmov s7, r4\n",
        )
    };
}

pub(super) use finish;

/// Four channels at all positions. Sums are in `r0` to `r3`, the first tap at `r10`, the table at `r12`.
///
/// # Safety
/// The CPU has the DSP extension and an FPU. All taps of all positions can be read, all results written.
#[unsafe(naked)]
unsafe extern "C" fn positions(job: *const Job) {
    naked_asm!(
        ".cpu cortex-m33",
        "push {{r4-r11, lr}}",
        "vpush {{d8}}",
        "vldmia r0, {{s4-s17}}",
        "ldr r1, [r0, {SKIP}]",
        "ldr.w r10, [r0, {X}]",
        "adr.w r11, 2f",
        "add r11, r1",
        "orr r11, r11, #1",
        "3:",
        "vmov r12, s4",
        "ldm.w r12!, {{r0-r3}}",
        "bx r11",
        ".p2align 2",
        "2:",
        pair!(),
        pair!(),
        pair!(),
        pair!(),
        "vmov r4, s17",
        "cmp.w r12, r4",
        "bne.w 2b",
        "ldm.w r12, {{r4, r6, r7}}",
        "ldr.w r4, [r10, r4]",
        "sxtb16 r5, r4",
        "sxtb16 r4, r4, ror #8",
        "smlabb r0, r5, r6, r0",
        "smlabb r1, r4, r7, r1",
        "smlatt r2, r5, r6, r2",
        "smlatt r3, r4, r7, r3",
        finish!(),
        "add r10, r9",
        "cmp r4, r7",
        "bne 3b",
        // The next line.
        "add r10, r8",
        "vmov r5, r6, s15, s16",
        "add r7, r5",
        "vmov s10, r7",
        "cmp r4, r6",
        "bne 3b",
        "vpop {{d8}}",
        "pop {{r4-r11, pc}}",
        SKIP = const offset_of!(Job, skip),
        X = const offset_of!(Job, x),
    )
}
