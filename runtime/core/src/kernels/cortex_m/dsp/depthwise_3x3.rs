//! Int8 depthwise convolution of 3 × 3 taps, strides of 1 or 2, four neighbouring channels at a time.
//!
//! Of four channels, two neighbouring lines of the input are written to scratch as pairs of 16-bit numbers, padding
//! included, so that no shuffle is left to do for each tap. With lines 1 apart, an output line meets the pairs of its
//! first and second line, then the upper halves of those of its second and third line. With lines 2 apart, where a pair
//! serves two output lines only if it begins with an odd one, it meets the pairs of its second and third line, then the
//! upper halves of those before, which are its first line.

use core::arch::naked_asm;

use super::depthwise::finish;
use super::operands::Operands;
use crate::plan::step::Window;

/// Channels worked on at once.
const LANES: usize = 4;
/// Bytes of a pair of each of them.
const PAIRS: usize = 4 * LANES;
/// Words of a table: bias; for each column pairs of weights of two lines; weights of the other line, those of two
/// channels in a word.
const WORDS: usize = LANES + 3 * LANES + 3 * LANES / 2;

/// Runs the convolution if it is of this kind, and there is scratch for an output line; whether it has.
pub(super) fn run(
    window: &Window,
    x: &[i8],
    zero_point: i8,
    weights: &[u8],
    operands: &Operands,
    scratch: &mut [i8],
) -> bool {
    let w = window;
    let (stride_h, stride_w) = (w.stride_h as usize, w.stride_w as usize);
    let shape = [w.kernel_h, w.kernel_w, w.dilation_h, w.dilation_w];
    let columns = (w.out_w as usize - 1) * stride_w + 3;
    // Lines of pairs that there is room for.
    let room = scratch.len() / PAIRS / columns.max(1);
    let suits = shape == [3, 3, 1, 1] && stride_h <= 2 && stride_w <= 2;
    if !suits || room < 2 || !scratch.as_ptr().addr().is_multiple_of(4) {
        return false;
    }
    let channels = operands.channels;
    let (in_h, in_w, out_h) = (w.in_h as usize, w.in_w as usize, w.out_h as usize);
    let left = (w.pad_left as usize).min(columns);
    let inside = in_w.min(columns - left);
    let line = columns * PAIRS;
    let y_line = w.out_w as usize * channels;
    let zero_points = u32::from_ne_bytes([zero_point.cast_unsigned(); 4]);
    let half = u32::from(i16::from(zero_point).cast_unsigned());
    // The lines whose weights are paired, and the other one; where the pairs of the first output line are, and how far
    // behind a column's pairs the other line's are, which is perhaps in front.
    let row_weights = 3 * channels;
    let (paired, single, start, down) = match stride_h {
        1 => (0, 2 * row_weights, 0, line.wrapping_sub(3 * PAIRS)),
        _ => (row_weights, 0, line, 0_usize.wrapping_sub(line + 3 * PAIRS)),
    };
    let mut table = [0; WORDS];
    let mut channel = 0;
    loop {
        // SAFETY: `Operands` has seen weights, bias, multipliers and places for the results of these channels, and that
        // the images lie in the input; there is room for the lines of pairs.
        unsafe {
            let bias = operands.bias.cast::<[u32; LANES]>().byte_add(4 * channel);
            table.as_mut_ptr().cast::<[u32; LANES]>().write(bias.read());
            let weights = weights.as_ptr().add(channel);
            tabulate(weights.add(paired), channels, table.as_mut_ptr().add(LANES), weights.add(single));
            let multipliers = operands.multipliers.cast::<[f32; LANES]>().byte_add(4 * channel).read();
            for image in 0..w.batch as usize {
                let mut first = 0;
                while first < out_h {
                    let count = (room - 1).min(out_h - first);
                    let row = (first * stride_h).wrapping_sub(w.pad_top as usize + stride_h - 1);
                    let place = (image * in_h).wrapping_add(row).wrapping_mul(in_w * channels);
                    pair_lines(&Lines {
                        x: x.as_ptr().wrapping_add(place.wrapping_add(channel)),
                        row,
                        lines: count + 1,
                        to: scratch.as_mut_ptr().cast(),
                        in_h,
                        line: in_w * channels,
                        step: channels,
                        left,
                        inside,
                        right: columns - left - inside,
                        zero_points,
                        zero_pair: half | half << 16,
                        row_step: stride_h,
                        x_step: stride_h * in_w * channels,
                    });
                    let y = operands.y.wrapping_add((image * out_h + first) * y_line + channel);
                    positions(&Job {
                        table: table.as_ptr(),
                        turn: line.wrapping_sub(w.out_w as usize * stride_w * PAIRS),
                        back: down.wrapping_add((6 - stride_w) * PAIRS),
                        y,
                        zero_point: operands.zero_point,
                        y_step: channels,
                        line_end: y.wrapping_add(y_line),
                        multipliers,
                        line: y_line,
                        end: y.wrapping_add(y_line * count),
                        down,
                        pairs: scratch.as_ptr().wrapping_add(start).cast(),
                    });
                    first += count;
                }
            }
        }
        if channel + LANES >= channels {
            return true;
        }
        // The last block begins early enough to be full.
        channel = (channel + LANES).min(channels - LANES);
    }
}

/// Writes the part of a table that stands behind the bias.
///
/// # Safety
/// The CPU has the DSP extension. `paired` has four channels of six taps, each `channels` bytes behind the one before,
/// `single` of three; there is room for the table.
#[unsafe(naked)]
unsafe extern "C" fn tabulate(paired: *const u8, channels: usize, table: *mut u32, single: *const u8) {
    naked_asm!(
        ".cpu cortex-m33",
        "push {{r4-r8, lr}}",
        "add.w r8, r1, r1, lsl #1",
        "mov.w r12, #3",
        "2:",
        "ldr.w r4, [r0]",
        "ldr.w r7, [r0, r8]",
        "add r0, r1",
        "pkhbt r5, r4, r7, lsl #16",
        "pkhtb r7, r7, r4, asr #16",
        "sxtb16 r4, r5",
        "sxtb16 r5, r5, ror #8",
        "sxtb16 r6, r7",
        "sxtb16 r7, r7, ror #8",
        "stm r2!, {{r4-r7}}",
        "subs.w r12, r12, #1",
        "bne 2b",
        "mov.w r12, #3",
        "3:",
        "ldr.w r4, [r3]",
        "add r3, r1",
        "sxtb16 r5, r4",
        "sxtb16 r6, r4, ror #8",
        "pkhbt r7, r5, r6, lsl #16",
        "pkhtb r8, r6, r5, asr #16",
        "stm.w r2!, {{r7, r8}}",
        "subs.w r12, r12, #1",
        "bne 3b",
        "pop {{r4-r8, pc}}",
    )
}

/// Lines of pairs to be written; assembly reads the fields in this order.
#[repr(C)]
struct Lines {
    /// Four channels of the first pixel of the first line, which may be above the input.
    x: *const i8,
    /// The first line's number, counted from the top of the input.
    row: usize,
    /// How many.
    lines: usize,
    to: *mut u32,
    in_h: usize,
    /// Bytes from one line of the input to the next.
    line: usize,
    /// Bytes from one pixel to the next.
    step: usize,
    /// Columns of padding.
    left: usize,
    /// Columns of the input.
    inside: usize,
    /// Columns of padding.
    right: usize,
    /// The padding, four times.
    zero_points: u32,
    /// The padding as a pair.
    zero_pair: u32,
    /// Lines of the input from one pair to the next.
    row_step: usize,
    /// Bytes of the input from one pair to the next.
    x_step: usize,
}

/// Writes pairs of lines and the ones below, four channels of each column.
///
/// # Safety
/// The CPU has the DSP extension. The columns inside of those lines that are in the input can be read, the pairs
/// written to a place that is aligned to 4 bytes.
#[unsafe(naked)]
unsafe extern "C" fn pair_lines(lines: &Lines) {
    naked_asm!(
        ".cpu cortex-m33",
        "push {{r4-r11, lr}}",
        "mov lr, r0",
        "ldr.w r9, [lr]",
        "ldr.w r10, [lr, #4]",
        "ldr.w r11, [lr, #8]",
        "ldr.w r12, [lr, #12]",
        "2:",
        // Left of the input.
        "ldr.w r4, [lr, #28]",
        "cbz r4, 4f",
        "ldr.w r5, [lr, #44]",
        "mov r6, r5",
        "mov r7, r5",
        "mov r8, r5",
        "3:",
        "stm.w r12!, {{r5-r8}}",
        "subs r4, #1",
        "bne 3b",
        "4:",
        // Lines that are not there are one group of zero points.
        "ldr.w r4, [lr, #16]",
        "ldr.w r5, [lr, #20]",
        "ldr.w r2, [lr, #24]",
        "mov r3, r2",
        "mov r0, r9",
        "add.w r1, r9, r5",
        "cmp r10, r4",
        "blo 5f",
        "add.w r0, lr, #40",
        "mov.w r2, #0",
        "5:",
        "add.w r6, r10, #1",
        "cmp r6, r4",
        "blo 6f",
        "add.w r1, lr, #40",
        "mov.w r3, #0",
        "6:",
        "ldr.w r4, [lr, #48]",
        "ldr.w r5, [lr, #52]",
        "add r10, r4",
        "add r9, r5",
        "ldr.w r4, [lr, #32]",
        "cbz r4, 8f",
        "7:",
        "ldr r5, [r0]",
        "add r0, r2",
        "ldr.w r8, [r1]",
        "add r1, r3",
        "pkhbt r6, r5, r8, lsl #16",
        "pkhtb r8, r8, r5, asr #16",
        "sxtb16 r5, r6",
        "sxtb16 r6, r6, ror #8",
        "sxtb16 r7, r8",
        "sxtb16 r8, r8, ror #8",
        "stm.w r12!, {{r5-r8}}",
        "subs r4, #1",
        "bne 7b",
        "8:",
        // Right of the input.
        "ldr.w r4, [lr, #36]",
        "cbz r4, 10f",
        "ldr.w r5, [lr, #44]",
        "mov r6, r5",
        "mov r7, r5",
        "mov r8, r5",
        "9:",
        "stm.w r12!, {{r5-r8}}",
        "subs r4, #1",
        "bne 9b",
        "10:",
        "subs.w r11, r11, #1",
        "bne 2b",
        "pop {{r4-r11, pc}}",
    )
}

/// What the loop loads into FPU registers, in this order, and what it begins with.
#[repr(C)]
struct Job {
    table: *const u32,
    /// Bytes of pairs from behind a line's last position to the next line's first.
    turn: usize,
    /// Bytes of pairs from behind a position's last tap back to the next position's first.
    back: usize,
    y: *mut i8,
    zero_point: i32,
    y_step: usize,
    line_end: *mut i8,
    multipliers: [f32; LANES],
    /// Bytes of a line of results.
    line: usize,
    end: *mut i8,
    /// Bytes from behind three columns of pairs to the first one of the other line.
    down: usize,
    pairs: *const u32,
}

/// A column of the paired lines.
macro_rules! pairs {
    () => {
        concat!(
            "ldm.w r12!, {{r4-r7}}\n",
            "ldm.w lr!, {{r8-r11}}\n",
            "smlad r0, r4, r8, r0\n",
            "smlad r1, r5, r9, r1\n",
            "smlad r2, r6, r10, r2\n",
            "smlad r3, r7, r11, r3\n",
        )
    };
}

/// A column of the other line; weights of channels 0 and 1, then 2 and 3.
macro_rules! singles {
    ($low:literal $high:literal) => {
        concat!(
            "ldm.w r12!, {{r4-r7}}\n",
            "smlatb r0, r4, ",
            $low,
            ", r0\n",
            "smlatt r1, r5, ",
            $low,
            ", r1\n",
            "smlatb r2, r6, ",
            $high,
            ", r2\n",
            "smlatt r3, r7, ",
            $high,
            ", r3\n",
        )
    };
}

/// Four channels at all positions. Sums are in `r0` to `r3`, pairs at `r12`, the table at `lr`.
///
/// # Safety
/// The CPU has the DSP extension and an FPU. There are one line of pairs more than of results, and the table; all
/// results can be written.
#[unsafe(naked)]
unsafe extern "C" fn positions(job: &Job) {
    naked_asm!(
        ".cpu cortex-m33",
        "push {{r4-r11, lr}}",
        "vpush {{d8}}",
        "vldmia r0!, {{s4-s17}}",
        "ldr.w r12, [r0]",
        "3:",
        "vmov lr, s4",
        "ldm.w lr!, {{r0-r3}}",
        pairs!(),
        pairs!(),
        pairs!(),
        "vmov r4, s17",
        "ldm.w lr!, {{r8-r11}}",
        "add r12, r4",
        singles!("r8" "r9"),
        singles!("r10" "r11"),
        "ldm.w lr, {{r8, r9}}",
        singles!("r8" "r9"),
        finish!(),
        "sub.w r12, r12, r9",
        "cmp r4, r7",
        "bne 3b",
        // The next line.
        "add r12, r8",
        "vmov r5, r6, s15, s16",
        "add r7, r5",
        "vmov s10, r7",
        "cmp r4, r6",
        "bne 3b",
        "vpop {{d8}}",
        "pop {{r4-r11, pc}}",
    )
}
