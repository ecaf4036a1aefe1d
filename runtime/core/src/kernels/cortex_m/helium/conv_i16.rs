//! Convolution of int16 with int8 weights: two rows times four channels at a time.

use core::arch::naked_asm;
use core::mem::offset_of;

use crate::bytes::{F32s, I32s};
use crate::kernels::cortex_m::joined;
use crate::kernels::portable::conv_i16::{store, store_wide};
use crate::kernels::rows::{Reach, Tile, for_each_rows};
use crate::kernels::{Bias, ConvI16Args, ConvI16Output};
use crate::weights::{BLOCK, GROUP, LANES, block_width};

/// Rows multiplied at once.
const ROWS: usize = 2;
/// Bytes of an element.
const ELEMENT: usize = size_of::<i16>();

/// Sums of four neighbouring channels, of each row.
type Sums = [[i32; LANES]; ROWS];

/// See [`crate::plan::step::ConvI16`].
pub(super) fn conv(mut args: ConvI16Args<'_>) {
    for_each_rows(&mut args, |args, rows, weights| {
        rows.for_each_tile(|tile| multiply(args, tile, rows.group, weights));
    });
}

/// Multiplies the rows of a tile with all blocks of a group and stores the results.
fn multiply(args: &mut ConvI16Args<'_>, tile: &Tile<'_, ROWS, i16>, group: usize, weights: &[u8]) {
    let (group_out, out_c) = (args.window.group_out(), args.window.out_c as usize);
    let mut room = joined::room();
    let ([row, other], reach) = joined::rows(tile, &mut room);
    // A tile of one row multiplies it twice.
    let rows = [row, if tile.count < ROWS { row } else { other }];
    let mut rest = weights;
    for start in (0..group_out).step_by(BLOCK) {
        let width = block_width(start, group_out);
        let Some((block, behind)) = rest.split_at_checked(width * reach.packed_len()) else { return };
        rest = behind;
        for first in (0..width.min(group_out - start)).step_by(LANES) {
            let lanes = LANES.min(group_out - start - first);
            let channel = group * group_out + start + first;
            let multipliers = args.multipliers.slice(channel, lanes);
            let place = |row: usize| (tile.first + row) * out_c + channel;
            let weights = block.as_ptr().wrapping_add(first * GROUP);
            let mut sums = Sums::default();
            match args.bias {
                Bias::I32(bias) => {
                    add_products(rows, &reach, weights, width, &mut sums);
                    let bias = bias.slice(channel, lanes);
                    if finish(&mut args.y, [place(0), out_c], &sums[..tile.count.min(ROWS)], bias, multipliers) {
                        continue;
                    }
                    for (row, sums) in sums.iter().enumerate().take(tile.count) {
                        store(&mut args.y, place(row), sums, bias, multipliers);
                    }
                }
                Bias::I64(bias) => {
                    let mut totals = [[0_i64; LANES]; ROWS];
                    reach.for_each_run(|offset, reach, before| {
                        let rows = rows.map(|row| row.wrapping_add(offset));
                        let weights = weights.wrapping_add(before * width * GROUP);
                        add_products(rows, reach, weights, width, &mut sums);
                        for (total, sum) in totals.iter_mut().flatten().zip(sums.iter_mut().flatten()) {
                            *total += i64::from(core::mem::take(sum));
                        }
                    });
                    for (row, totals) in totals.iter().enumerate().take(tile.count) {
                        store_wide(&mut args.y, place(row), totals, bias.slice(channel, lanes), multipliers);
                    }
                }
            }
        }
    }
}

/// Adds the products of what two rows reach with four channels of a block of `width` channels, whose first weights lie
/// at `weights`.
#[inline(always)]
fn add_products(rows: [*const i16; ROWS], reach: &Reach, weights: *const u8, width: usize, sums: &mut Sums) {
    if reach.rows == 0 || reach.columns == 0 {
        return;
    }
    let quads = width * GROUP;
    let segment = reach.quads * GROUP;
    let mut job = Job {
        weight_offsets: core::array::from_fn(|index| (index / GROUP * quads + index % GROUP) as u16),
        x: rows[0],
        other: rows[1],
        weights,
        pair_step: 2 * quads,
        whole: reach.quads / 2,
        tail: reach.quads % 2 * GROUP,
        quad_step: quads,
        rows: reach.rows,
        columns: reach.columns,
        column_gap: (ELEMENT * reach.column_step).wrapping_sub(ELEMENT * segment),
        // From behind the last segment of a kernel row and its gap to the next kernel row.
        row_gap: (ELEMENT * reach.row_step).wrapping_sub(ELEMENT * reach.columns * reach.column_step),
        columns_left: reach.columns,
    };
    // SAFETY: both rows can be read as far as the reach, and the block has weights for it, four channels from these on.
    unsafe { two_rows_of_four(&mut job, sums) };
}

/// Stores the results of rows of four sums as integers: the first at `place`, the next `step` elements behind it, as many of
/// each as there are of `bias`. Whether it did: not for floats, and where operands lie at odd addresses.
#[inline(always)]
fn finish(
    y: &mut ConvI16Output<'_>,
    [place, step]: [usize; 2],
    sums: &[[i32; LANES]],
    bias: I32s<'_>,
    multipliers: F32s<'_>,
) -> bool {
    let lanes = bias.len();
    let rows = sums.len();
    let (first, size, limits) = match y {
        ConvI16Output::I8(y, target) => {
            (rows_of(y, place, step, rows, lanes).map(<*mut i8>::cast), 1, target.stored_limits())
        }
        ConvI16Output::I16(y, target) => {
            (rows_of(y, place, step, rows, lanes).map(<*mut i16>::cast), ELEMENT, target.stored_limits())
        }
        ConvI16Output::F32(_) => return false,
    };
    let (least, greatest, zero_point) = limits;
    let (bias, multipliers) = (bias.bytes(0, lanes).as_ptr(), multipliers.bytes(0, lanes).as_ptr());
    let aligned = bias.addr().is_multiple_of(4) && multipliers.addr().is_multiple_of(4);
    let (Some(y), true) = (first, aligned) else { return false };
    let step = step * size;
    let results = Results {
        bias,
        multipliers,
        y,
        step,
        lanes,
        rows,
        least: [least; 4],
        greatest: [greatest; 4],
        zero_point,
        size,
    };
    // SAFETY: there are so many sums, and room for the results, as just seen.
    unsafe { store_rows(sums.as_ptr(), &results) };
    true
}

/// Where the results of `rows` rows begin, where `y` has room for all of them.
#[inline(always)]
fn rows_of<T>(y: &mut [T], place: usize, step: usize, rows: usize, lanes: usize) -> Option<*mut T> {
    let length = rows.checked_sub(1)? * step + lanes;
    Some(y.get_mut(place..)?.get_mut(..length)?.as_mut_ptr())
}

/// What becomes of sums; assembly reads the fields by their offsets. The step is in bytes, `size` those of a result.
#[repr(C)]
struct Results {
    least: [i32; LANES],
    greatest: [i32; LANES],
    bias: *const u8,
    multipliers: *const u8,
    y: *mut u8,
    step: usize,
    lanes: usize,
    rows: usize,
    zero_point: i32,
    size: usize,
}

/// Requantizes as the contract has it.
///
/// # Safety
/// There are as many rows of sums as `results` says, at least one, as many numbers of bias and multipliers, at multiples of
/// 4, and room for the results.
#[unsafe(naked)]
unsafe extern "C" fn store_rows(sums: *const [i32; LANES], results: &Results) {
    naked_asm!(
        ".arch armv8.1-m.main",
        ".arch_extension mve.fp",
        "push {{r4-r7, lr}}",
        "vpush {{d8-d9}}",
        "ldrd r2, r3, [r1, {BIAS}]",
        "ldrd r4, r5, [r1, {Y}]",
        "ldrd r6, r7, [r1, {LANES}]",
        "vctp.32 r6",
        "vpstt",
        "vldrwt.u32 q1, [r2]",
        "vldrwt.u32 q2, [r3]",
        "vldrw.u32 q3, [r1, {LEAST}]",
        "vldrw.u32 q4, [r1, {GREATEST}]",
        "ldrd r2, r3, [r1, {ZERO_POINT}]",
        "2:",
        "vldrw.u32 q0, [r0], #16",
        "vadd.i32 q0, q0, q1",
        "vcvt.f32.s32 q0, q0",
        "vmul.f32 q0, q0, q2",
        "vcvtn.s32.f32 q0, q0",
        "vqadd.s32 q0, q0, r2",
        "vmax.s32 q0, q0, q3",
        "vmin.s32 q0, q0, q4",
        "cmp r3, #1",
        "beq 3f",
        "vpst",
        "vstrht.32 q0, [r4]",
        "b 4f",
        "3:",
        "vpst",
        "vstrbt.32 q0, [r4]",
        "4:",
        "add r4, r4, r5",
        "subs r7, r7, #1",
        "bne 2b",
        "vpop {{d8-d9}}",
        "pop {{r4-r7, pc}}",
        BIAS = const offset_of!(Results, bias),
        Y = const offset_of!(Results, y),
        LANES = const offset_of!(Results, lanes),
        LEAST = const offset_of!(Results, least),
        GREATEST = const offset_of!(Results, greatest),
        ZERO_POINT = const offset_of!(Results, zero_point),
    )
}

/// Two rows and the weights of four channels; assembly reads the fields by their offsets. Steps and gaps are in bytes.
#[repr(C, align(4))]
struct Job {
    /// Of the weights of two groups of four of one channel.
    weight_offsets: [u16; 2 * GROUP],
    x: *const i16,
    other: *const i16,
    weights: *const u8,
    /// From two groups of a channel to the next two, and from one to the next.
    pair_step: usize,
    quad_step: usize,
    /// Pairs of groups in a segment, and elements behind them: none or four.
    whole: usize,
    tail: usize,
    rows: usize,
    columns: usize,
    column_gap: usize,
    row_gap: usize,
    columns_left: usize,
}

/// 15 instructions for 64 products.
///
/// # Safety
/// The rows can be read as `job` says, and weights of four channels for all of it; there are segments.
#[unsafe(naked)]
unsafe extern "C" fn two_rows_of_four(job: &mut Job, sums: &mut Sums) {
    naked_asm!(
        ".arch armv8.1-m.main",
        ".arch_extension mve.fp",
        "push {{r4-r11, lr}}",
        "vpush {{d8-d15}}",
        "push {{r1, r2}}",
        "mov r7, r0",
        "vldrh.u16 q4, [r7, {WEIGHT_OFFSETS}]",
        "mov r5, #4",
        "vadd.i16 q5, q4, r5",
        "vadd.i16 q6, q5, r5",
        "vadd.i16 q7, q6, r5",
        "mov r11, r1",
        "ldrd r0, r2, [r11]",
        "ldrd r4, r6, [r11, #8]",
        "ldrd r8, r10, [r11, #16]",
        "ldrd r12, lr, [r11, #24]",
        "ldr r1, [r7, {X}]",
        "ldr r3, [r7, {OTHER}]",
        "ldr r9, [r7, {WEIGHTS}]",
        "ldr r11, [r7, {PAIR_STEP}]",
        "2:",
        "ldr r5, [r7, {WHOLE}]",
        "cbz r5, 4f",
        "3:",
        "vldrh.u16 q0, [r1], #16",
        "vldrb.s16 q2, [r9, q4]",
        "vmladava.s16 r0, q0, q2",
        "vldrh.u16 q1, [r3], #16",
        "vmladava.s16 r8, q1, q2",
        "vldrb.s16 q3, [r9, q5]",
        "vmladava.s16 r2, q0, q3",
        "vmladava.s16 r10, q1, q3",
        "vldrb.s16 q2, [r9, q6]",
        "vmladava.s16 r4, q0, q2",
        "vmladava.s16 r12, q1, q2",
        "vldrb.s16 q3, [r9, q7]",
        "vmladava.s16 r6, q0, q3",
        "vmladava.s16 lr, q1, q3",
        "add r9, r9, r11",
        "subs r5, r5, #1",
        "bne 3b",
        "4:",
        "ldr r5, [r7, {TAIL}]",
        "cbz r5, 5f",
        "vctp.16 r5",
        "vpstttt",
        "vldrht.u16 q0, [r1], #8",
        "vldrht.u16 q1, [r3], #8",
        "vldrbt.s16 q2, [r9, q4]",
        "vldrbt.s16 q3, [r9, q5]",
        "vmladava.s16 r0, q0, q2",
        "vmladava.s16 r8, q1, q2",
        "vmladava.s16 r2, q0, q3",
        "vmladava.s16 r10, q1, q3",
        "vpstt",
        "vldrbt.s16 q2, [r9, q6]",
        "vldrbt.s16 q3, [r9, q7]",
        "vmladava.s16 r4, q0, q2",
        "vmladava.s16 r12, q1, q2",
        "vmladava.s16 r6, q0, q3",
        "vmladava.s16 lr, q1, q3",
        "ldr r5, [r7, {QUAD_STEP}]",
        "add r9, r9, r5",
        "5:",
        "ldr r5, [r7, {COLUMN_GAP}]",
        "add r1, r1, r5",
        "add r3, r3, r5",
        "ldr r5, [r7, {COLUMNS_LEFT}]",
        "subs r5, r5, #1",
        "str r5, [r7, {COLUMNS_LEFT}]",
        "bne 2b",
        "ldr r5, [r7, {COLUMNS}]",
        "str r5, [r7, {COLUMNS_LEFT}]",
        "ldr r5, [r7, {ROW_GAP}]",
        "add r1, r1, r5",
        "add r3, r3, r5",
        "ldr r5, [r7, {ROWS}]",
        "subs r5, r5, #1",
        "str r5, [r7, {ROWS}]",
        "bne 2b",
        "pop {{r1, r3}}",
        "strd r0, r2, [r1]",
        "strd r4, r6, [r1, #8]",
        "strd r8, r10, [r1, #16]",
        "strd r12, lr, [r1, #24]",
        "vpop {{d8-d15}}",
        "pop {{r4-r11, pc}}",
        WEIGHT_OFFSETS = const offset_of!(Job, weight_offsets),
        X = const offset_of!(Job, x),
        OTHER = const offset_of!(Job, other),
        WEIGHTS = const offset_of!(Job, weights),
        PAIR_STEP = const offset_of!(Job, pair_step),
        QUAD_STEP = const offset_of!(Job, quad_step),
        WHOLE = const offset_of!(Job, whole),
        TAIL = const offset_of!(Job, tail),
        ROWS = const offset_of!(Job, rows),
        COLUMNS = const offset_of!(Job, columns),
        COLUMN_GAP = const offset_of!(Job, column_gap),
        ROW_GAP = const offset_of!(Job, row_gap),
        COLUMNS_LEFT = const offset_of!(Job, columns_left),
    )
}
