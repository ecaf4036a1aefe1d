//! Convolution of int16 with int8 weights: two rows times two channels at a time.

use core::arch::naked_asm;

use crate::kernels::cortex_m::joined;
use crate::kernels::portable::conv_i16::{store, store_wide};
use crate::kernels::rows::{Reach, Tile, for_each_rows};
use crate::kernels::{Bias, ConvI16Args};
use crate::weights::{BLOCK, GROUP, LANES, WIDE_RUN, block_width};

/// Rows multiplied at once.
const ROWS: usize = 2;
/// Groups of four along the reduction axis whose products may be added up in 32 bits.
const RUN: usize = WIDE_RUN / GROUP;

/// Sums of two neighbouring channels of the first row, then of the second.
type Pair = [i32; 2 * ROWS];

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
        let Some((block, behind)) = rest.split_at_checked(width * tile.reach.packed_len()) else { return };
        rest = behind;
        let (channel, lanes) = (group * group_out + start, width.min(group_out - start));
        let multipliers = args.multipliers.slice(channel, lanes);
        let place = |row: usize| (tile.first + row) * out_c + channel;
        let of_row = |sums: &[Pair; BLOCK / 2], row: usize| {
            let mut out = [0; BLOCK];
            for (out, sums) in out.as_chunks_mut::<2>().0.iter_mut().zip(sums) {
                *out = if row == 0 { [sums[0], sums[1]] } else { [sums[2], sums[3]] };
            }
            out
        };
        match args.bias {
            Bias::I32(bias) => {
                let mut sums = [[0; 2 * ROWS]; BLOCK / 2];
                products(rows, &reach, block, width, usize::MAX, &mut sums, |_| {});
                for row in 0..tile.count {
                    store(&mut args.y, place(row), &of_row(&sums, row), bias.slice(channel, lanes), multipliers);
                }
            }
            Bias::I64(bias) => {
                let mut totals = [[0_i64; BLOCK]; ROWS];
                products(rows, &reach, block, width, RUN, &mut [[0; 2 * ROWS]; BLOCK / 2], |sums| {
                    for (row, totals) in totals.iter_mut().enumerate() {
                        totals.iter_mut().zip(of_row(sums, row)).for_each(|(total, sum)| *total += i64::from(sum));
                    }
                    *sums = Default::default();
                });
                for (row, totals) in totals.iter().enumerate().take(tile.count) {
                    store_wide(&mut args.y, place(row), totals, bias.slice(channel, lanes), multipliers);
                }
            }
        }
    }
}

/// Adds the products of what two rows reach with a block to `sums`; calls `flush` behind every `run` groups of four, and at the
/// end of each segment.
#[inline(always)]
fn products(
    rows: [*const i16; ROWS],
    reach: &Reach,
    block: &[u8],
    width: usize,
    run: usize,
    sums: &mut [Pair; BLOCK / 2],
    mut flush: impl FnMut(&mut [Pair; BLOCK / 2]),
) {
    let two_rows = match width / LANES {
        1 => two_rows_of_4,
        2 => two_rows_of_8,
        3 => two_rows_of_12,
        _ => two_rows_of_16,
    };
    let quads = reach.quads;
    let mut weights = block.as_ptr();
    reach.for_each_segment(|offset| {
        for first in (0..quads).step_by(run.min(quads).max(1)) {
            let count = run.min(quads - first);
            let [x, other] = rows.map(|row| row.wrapping_add(offset + first * GROUP));
            for (pair, sums) in sums.iter_mut().enumerate().take(width / 2) {
                let weights = weights.wrapping_add(2 * GROUP * pair);
                // SAFETY: the rows can be read as far as the reach, and the block has weights for it.
                unsafe { two_rows(x, other, weights, count, sums) };
            }
            weights = weights.wrapping_add(count * width * GROUP);
            flush(sums);
        }
    });
}

/// Groups of four of two rows times two channels, 24 instructions for 16 products.
macro_rules! two_rows {
    ($name:ident, $width:literal) => {
        /// # Safety
        /// `quads` groups, at least one, can be read from both rows, and of each the weights of a block.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(
            x: *const i16,
            other: *const i16,
            weights: *const u8,
            quads: usize,
            sums: &mut Pair,
        ) {
            naked_asm!(
                ".cpu cortex-m33",
                "push {{r4-r11, lr}}",
                "ldr r8, [sp, #36]",
                "ldm r8, {{r4-r7}}",
                "2:",
                "ldr r8, [r0], #4",
                "ldr r9, [r0], #4",
                "ldr r10, [r1], #4",
                "ldr r11, [r1], #4",
                // Elements 0 and 2, and 1 and 3, as the weights will be.
                "pkhbt lr, r8, r9, lsl #16",
                "pkhtb r9, r9, r8, asr #16",
                "pkhbt r12, r10, r11, lsl #16",
                "pkhtb r11, r11, r10, asr #16",
                "ldr r8, [r2], #4",
                "sxtb16 r10, r8",
                "sxtb16 r8, r8, ror #8",
                "smlad r4, lr, r10, r4",
                "smlad r4, r9, r8, r4",
                "smlad r6, r12, r10, r6",
                "smlad r6, r11, r8, r6",
                "ldr r8, [r2], #{STEP}",
                "sxtb16 r10, r8",
                "sxtb16 r8, r8, ror #8",
                "smlad r5, lr, r10, r5",
                "smlad r5, r9, r8, r5",
                "smlad r7, r12, r10, r7",
                "smlad r7, r11, r8, r7",
                "subs r3, r3, #1",
                "bne 2b",
                "ldr r8, [sp, #36]",
                "stm r8, {{r4-r7}}",
                "pop {{r4-r11, pc}}",
                // From the second channel of one group to the first of the next.
                STEP = const $width * GROUP - 4,
            )
        }
    };
}

two_rows!(two_rows_of_4, 4);
two_rows!(two_rows_of_8, 8);
two_rows!(two_rows_of_12, 12);
two_rows!(two_rows_of_16, 16);
