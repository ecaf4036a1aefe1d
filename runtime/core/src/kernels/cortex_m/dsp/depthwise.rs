//! Int8 depthwise convolution, four neighbouring channels at a time.
//!
//! SMLAD adds the products of two taps: their words are mixed by PKHBT and PKHTB and spread by SXTB16. What the loop
//! needs of a block of channels stands in a table: bias, then for each pair of taps their places and weights.

use core::arch::naked_asm;
use core::mem::offset_of;

use super::operands::Operands;
use crate::kernels::ConvI8Args;
use crate::kernels::portable::depthwise as portable;
use crate::kernels::rows::{Source, Strip, for_each_strip};
use crate::plan::step::Window;

/// Channels worked on at once.
const LANES: usize = 4;
/// Pairs of taps that the code is written for: 5 × 5, with one left over.
const PAIRS: usize = 12;
/// Bytes of code for a pair of taps.
const PAIR_CODE: usize = 52;

/// See [`crate::plan::step::ConvI8`].
pub(super) fn depthwise(mut args: ConvI8Args<'_>) {
    let window = *args.window;
    let channels = window.out_c as usize;
    let suits = window.out_c == window.in_c && channels >= LANES && window.taps() <= 2 * PAIRS + 1;
    let Some(operands) = Operands::of(&mut args).filter(|_| suits) else {
        return portable::depthwise(args);
    };
    let scratch = core::mem::take(&mut args.scratch);
    let (x, source) = (args.x, Source::of_depthwise(&window));
    for_each_strip(&window, source, x, args.x_zero_point, scratch, |strip| {
        for start in (0..channels).step_by(LANES) {
            // The last block begins early enough to be full.
            let channel = start.min(channels - LANES);
            let table = Table::new(&window, &operands, args.weights, channel, strip.pitch);
            // SAFETY: the strip has all taps of its positions; `Operands` has seen that the results have places.
            unsafe { block(&window, &operands, &strip, channel, &table) };
        }
    });
    operands.clamp(&mut args);
}

/// Runs all positions of a strip.
///
/// # Safety
/// The strip has the positions' taps, the operands have the channels, and places for the results.
unsafe fn block(window: &Window, operands: &Operands, strip: &Strip<'_>, channel: usize, table: &Table) {
    let channels = operands.channels;
    let x_step = window.stride_w as usize * channels;
    let columns = window.out_w as usize;
    let y = operands.y.wrapping_add(strip.first * channels + channel);
    let line = columns * channels;
    let pairs = window.taps() / 2;
    let mut multipliers = [0.0; LANES];
    for (lane, multiplier) in multipliers.iter_mut().enumerate() {
        // SAFETY: the operands have the channels, aligned to 4 bytes.
        *multiplier = unsafe { operands.multipliers.cast::<f32>().add(channel + lane).read() };
    }
    let job = Job {
        table: table.words.as_ptr(),
        turn: (window.stride_h as usize * strip.pitch).wrapping_sub(columns * x_step),
        x_step,
        y,
        zero_point: operands.zero_point,
        y_step: channels,
        line_end: y.wrapping_add(line),
        multipliers,
        line,
        end: y.wrapping_add(line * strip.lines),
        skip: (PAIRS - pairs) * PAIR_CODE,
        x: strip.bytes.as_ptr().wrapping_add(channel),
    };
    // SAFETY: as the caller says.
    unsafe { positions(&job) };
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
    skip: usize,
    x: *const i8,
}

/// Words of [`Table`].
const WORDS: usize = LANES + PAIRS * 6 + 3;

/// Bias of four channels; for each pair of taps their distances from the first tap, and four pairs of weights; the
/// same for the last tap, weights of channels 0 and 2 in one word, 1 and 3 in the next.
struct Table {
    words: [u32; WORDS],
}

impl Table {
    /// The table of the channels from `channel` on, for input lines `pitch` bytes apart.
    fn new(window: &Window, operands: &Operands, weights: &[u8], channel: usize, pitch: usize) -> Self {
        let channels = operands.channels;
        let mut table = Self { words: [0; WORDS] };
        let mut slots = table.words.iter_mut();
        let mut push = |word| slots.next().into_iter().for_each(|slot| *slot = word);
        for lane in 0..LANES {
            // SAFETY: the operands have the channels, aligned to 4 bytes.
            push(unsafe { operands.bias.cast::<u32>().add(channel + lane).read() });
        }
        let taps = weights.get(channel..).unwrap_or_default().chunks(channels);
        let mut taps = taps.filter_map(|tap| tap.first_chunk::<LANES>());
        let (column_step, row_step) = (window.dilation_w as usize * channels, window.dilation_h as usize * pitch);
        let (mut row, mut column, mut place) = (0, 0, 0);
        let mut tap = || {
            let found = (place, taps.next().copied().unwrap_or_default());
            place += column_step;
            column += 1;
            if column == window.kernel_w {
                (row, column) = (row + row_step, 0);
                place = row;
            }
            found
        };
        for _ in 0..window.taps() / 2 {
            let ((first, a), (second, b)) = (tap(), tap());
            push(first as u32);
            push(second as u32);
            a.into_iter().zip(b).for_each(|(a, b)| push(pair(a, b)));
        }
        // An even number of taps leaves none: weights of zero.
        if window.taps() % 2 == 1 {
            let (last, [a, b, c, d]) = tap();
            push(last as u32);
            push(pair(a, c));
            push(pair(b, d));
        }
        table
    }
}

/// Two weights as 16-bit numbers in one word, the first one below.
fn pair(low: u8, high: u8) -> u32 {
    let half = |weight: u8| u32::from(i16::from(weight.cast_signed()).cast_unsigned());
    half(low) | half(high) << 16
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
        "vldmia r0, {{s4-s16}}",
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
        pair!(), pair!(), pair!(), pair!(), pair!(), pair!(), pair!(), pair!(), pair!(), pair!(), pair!(), pair!(),
        "ldm.w r12, {{r4, r6, r7}}",
        "ldr.w r4, [r10, r4]",
        "sxtb16 r5, r4",
        "sxtb16 r4, r4, ror #8",
        "smlabb r0, r5, r6, r0",
        "smlabb r1, r4, r7, r1",
        "smlatt r2, r5, r6, r2",
        "smlatt r3, r4, r7, r3",
        "vmov s0, s1, r0, r1",
        "vmov s2, s3, r2, r3",
        "vcvt.f32.s32 s0, s0",
        "vcvt.f32.s32 s1, s1",
        "vcvt.f32.s32 s2, s2",
        "vcvt.f32.s32 s3, s3",
        "vmul.f32 s0, s0, s11",
        "vmul.f32 s1, s1, s12",
        "vmul.f32 s2, s2, s13",
        "vmul.f32 s3, s3, s14",
        "vcvtr.s32.f32 s0, s0",
        "vcvtr.s32.f32 s1, s1",
        "vcvtr.s32.f32 s2, s2",
        "vcvtr.s32.f32 s3, s3",
        "vmov r4, r5, s7, s8",
        "vmov r0, r1, s0, s1",
        "vmov r2, r3, s2, s3",
        "vmov r6, r7, s9, s10",
        "vmov r8, r9, s5, s6",
        "qadd r0, r0, r5",
        "qadd r1, r1, r5",
        "qadd r2, r2, r5",
        "qadd r3, r3, r5",
        "ssat r0, #8, r0",
        "ssat r1, #8, r1",
        "ssat r2, #8, r2",
        "ssat r3, #8, r3",
        "strb r0, [r4]",
        "strb r1, [r4, #1]",
        "strb r2, [r4, #2]",
        "strb r3, [r4, #3]",
        "add r4, r6",
        "vmov s7, r4",
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
