//! Int8 convolution with VPDPBUSD: up to 12 rows times 32 output channels in registers.
//!
//! VPDPBUSD multiplies unsigned by signed bytes, so 128 is added to the input on the way (an exclusive
//! or) and `128·Σw` taken off the bias, once for all rows.

use core::arch::asm;
use core::arch::x86_64::*;

use super::finish::Finish512;
use crate::kernels::ConvI8Args;
use crate::kernels::rows::{Reach, Rows, for_each_rows};
use crate::weights::{BLOCK, GROUP, block_width};

/// Rows multiplied at once.
const ROWS: usize = 12;

/// One or two blocks of channels, for all rows.
struct Blocks<const B: usize> {
    reach: Reach,
    /// Bytes from one row to the next.
    step: usize,
    weights: [*const u8; B],
    /// Channels of the last block that are there; the others are full.
    mask: u16,
    /// Bytes of weights of the last block from one group of four along the reduction axis to the next.
    quad_step: usize,
    finish: [Finish512; B],
    /// Elements of the output from one position to the next.
    y_step: usize,
    /// Bytes from the weights to those that are multiplied next.
    ahead: usize,
}

/// [`crate::plan::step::ConvI8`].
pub(super) fn conv(args: ConvI8Args<'_>) {
    if !args.weight_zero_points.is_empty() {
        // Rare: the sums of the rows are needed too.
        return super::avx512::conv_i8(args);
    }
    // SAFETY: this function stands only in kernels that `available` gives out where VNNI is there.
    for_each_rows(args, |args, rows, weights| unsafe { all_blocks(args, rows, weights) });
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2")]
fn all_blocks(args: &mut ConvI8Args<'_>, rows: &Rows<'_>, weights: &[u8]) {
    let group_out = args.window.group_out();
    let block_bytes = BLOCK * rows.reach.packed_len();
    let mut rest = weights;
    let mut done = 0;
    if rows.lines * rows.columns == 1 && rows.reach.rows * rows.reach.columns == 1 {
        while group_out - done >= 8 * BLOCK {
            one_row::<8>(args, rows, done, rest);
            rest = &rest[8 * block_bytes..];
            done += 8 * BLOCK;
        }
        while group_out - done >= BLOCK {
            one_row::<1>(args, rows, done, rest);
            rest = &rest[block_bytes..];
            done += BLOCK;
        }
    }
    for start in (done..group_out).step_by(2 * BLOCK) {
        let width = block_width(start, group_out);
        if start + BLOCK >= group_out {
            return blocks(args, rows, start, [rest], width);
        }
        let (first, behind) = rest.split_at(block_bytes);
        let width = block_width(start + BLOCK, group_out);
        let (second, behind) = behind.split_at(width * rows.reach.packed_len());
        blocks(args, rows, start, [first, second], width);
        rest = behind;
    }
}

/// A single row in one segment times `B` full blocks of channels from `start` of the group on. Each weight is read just
/// once, so here 128 is added to the weights and `128·Σx` taken off.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2")]
fn one_row<const B: usize>(args: &mut ConvI8Args<'_>, rows: &Rows<'_>, start: usize, weights: &[u8]) {
    let quads = rows.reach.quads;
    let block_bytes = quads * GROUP * BLOCK;
    assert!(weights.len() >= B * block_bytes);
    let (x, weights) = (rows.pointer(0, 0), weights.as_ptr());
    let flip = _mm512_set1_epi8(-128);
    let mut sums = [_mm512_setzero_si512(); B];
    let mut total = _mm512_setzero_si512();
    for quad in 0..quads {
        // SAFETY: the row has `quads` groups of 4 bytes, each block as many of 64, as asserted.
        unsafe {
            let x = spread(x.add(quad * GROUP));
            total = _mm512_dpbusd_epi32(total, flip, x);
            for (block, sum) in sums.iter_mut().enumerate() {
                let w = _mm512_loadu_si512(weights.add(block * block_bytes + quad * GROUP * BLOCK).cast());
                *sum = _mm512_dpbusd_epi32(*sum, _mm512_xor_si512(w, flip), x);
            }
        }
    }
    let y_step = args.y_step;
    for (block, sum) in sums.into_iter().enumerate() {
        let channel = rows.group * args.window.group_out() + start + block * BLOCK;
        let finish = Finish512::new(args, channel, BLOCK);
        let sum = _mm512_add_epi32(_mm512_sub_epi32(sum, total), finish.bias);
        // SAFETY: the output has this position.
        unsafe { finish.store(rows.first * y_step + channel, sum) };
    }
}

/// All rows with `B` blocks of channels from `start` of the group on, the last of them `width` wide.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2")]
fn blocks<const B: usize>(args: &mut ConvI8Args<'_>, rows: &Rows<'_>, start: usize, weights: [&[u8]; B], width: usize) {
    let y_step = args.y_step;
    let group_out = args.window.group_out();
    let channel = rows.group * group_out + start;
    let reach = rows.reach;
    let mut finish = [Finish512::new(args, channel, BLOCK.min(group_out - start)); B];
    if B == 2 {
        finish[1] = Finish512::new(args, channel + BLOCK, (group_out - start - BLOCK).min(BLOCK));
    }
    let mask = u16::MAX >> (BLOCK - width);
    let quads = reach.packed_len() / GROUP;
    for (block, (weights, finish)) in weights.into_iter().zip(&mut finish).enumerate() {
        let width = if block + 1 == B { width } else { BLOCK };
        assert!(weights.len() >= quads * width * GROUP);
        let mut totals = _mm512_setzero_si512();
        for quad in 0..quads {
            // SAFETY: the mask lets only the `width` groups of this quad be read, which are there as asserted.
            let w = unsafe {
                let mask = u16::MAX >> (BLOCK - width);
                _mm512_maskz_loadu_epi32(mask, weights.as_ptr().add(quad * width * GROUP).cast())
            };
            totals = _mm512_dpbusd_epi32(totals, _mm512_set1_epi8(1), w);
        }
        finish.bias = _mm512_sub_epi32(finish.bias, _mm512_slli_epi32::<7>(totals));
    }
    let weights = weights.map(<[u8]>::as_ptr);
    let ahead = B * BLOCK * reach.packed_len();
    let blocks = Blocks { reach, step: rows.step, weights, mask, quad_step: width * GROUP, finish, y_step, ahead };
    rows.for_each_run::<ROWS>(|x, count, position| {
        let place = position * y_step + channel;
        let multiply = match count {
            1 => products::<1, B>,
            2 => products::<2, B>,
            3 => products::<3, B>,
            4 => products::<4, B>,
            5 => products::<5, B>,
            6 => products::<6, B>,
            7 => products::<7, B>,
            8 => products::<8, B>,
            9 => products::<9, B>,
            10 => products::<10, B>,
            11 => products::<11, B>,
            _ => products::<12, B>,
        };
        // SAFETY: the rows can be read as far as the reach, and the output has their positions.
        unsafe { multiply(&blocks, x, place) };
    });
}

/// Multiplies `R` rows from `x` on, and stores the results from element `place` of the output on.
///
/// # Safety
/// The rows can be read as far as the reach; the output has their positions.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2")]
#[inline(never)]
unsafe fn products<const R: usize, const B: usize>(blocks: &Blocks<B>, x: *const i8, place: usize) {
    let flip = _mm512_set1_epi8(-128);
    let reach = &blocks.reach;
    let mut sums = [[_mm512_setzero_si512(); B]; R];
    for sums in &mut sums {
        for (block, sum) in sums.iter_mut().enumerate() {
            *sum = blocks.finish[block].bias;
        }
    }
    let mut w = blocks.weights;
    reach.for_each_segment(|offset| {
        for quad in 0..reach.quads {
            let mut loaded = [_mm512_setzero_si512(); B];
            for block in 0..B {
                // The next weights come from far away: they are on their way while these are multiplied.
                _mm_prefetch::<_MM_HINT_T0>(w[block].wrapping_add(blocks.ahead).cast());
                // SAFETY: 64 bytes of each quad lie inside a full block; of the last one the mask lets only those be
                // read that are there.
                unsafe {
                    if block + 1 == B {
                        loaded[block] = _mm512_maskz_loadu_epi32(blocks.mask, w[block].cast());
                        w[block] = w[block].add(blocks.quad_step);
                    } else {
                        loaded[block] = _mm512_loadu_si512(w[block].cast());
                        w[block] = w[block].add(BLOCK * GROUP);
                    }
                }
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                // SAFETY: the segment has `quads` groups of 4 bytes.
                let quad = unsafe { spread(x.add(row * blocks.step + offset + quad * GROUP)) };
                let quad = _mm512_xor_si512(quad, flip);
                for block in 0..B {
                    sums[block] = _mm512_dpbusd_epi32(sums[block], quad, loaded[block]);
                }
            }
        }
    });
    // Written out: as loops these would move all sums to memory, and keep them there throughout.
    let (left, right) = (&blocks.finish[0], &blocks.finish[B - 1]);
    let step = blocks.y_step;
    let full = left.is_full() && right.is_full();
    macro_rules! twos {
        ($($row:literal)*) => {$(
            if $row + 1 < R {
                let sums = [[sums[$row][0], sums[$row][B - 1]], [sums[$row + 1][0], sums[$row + 1][B - 1]]];
                // SAFETY: the caller's promise, and both blocks are full.
                unsafe { left.store_two(right, place + $row * step, step, sums) };
            }
        )*};
    }
    macro_rules! fours {
        ($($row:literal)*) => {$(
            if $row + 3 < R {
                let sums = [sums[$row][0], sums[$row + 1][0], sums[$row + 2][0], sums[$row + 3][0]];
                // SAFETY: the caller's promise, and the block is full.
                unsafe { left.store_four(place + $row * step, step, sums) };
            }
        )*};
    }
    macro_rules! ones {
        ($first:expr, $($row:literal)*) => {$(
            if $row < R && $row >= $first {
                let place = place + $row * step;
                // SAFETY: the caller's promise.
                unsafe {
                    left.store(place, sums[$row][0]);
                    if B == 2 {
                        right.store(place + BLOCK, sums[$row][B - 1]);
                    }
                }
            }
        )*};
    }
    if !full {
        ones!(0, 0 1 2 3 4 5 6 7 8 9 10 11);
    } else if B == 2 {
        twos!(0 2 4 6 8 10);
        ones!(R / 2 * 2, 0 2 4 6 8 10);
    } else {
        fours!(0 4 8);
        ones!(R / 4 * 4, 0 1 2 3 4 5 6 7 8 9 10 11);
    }
}

/// Four bytes in all lanes. In assembly, because compilers move the exclusive or in front of the broadcast, which then
/// is no load any more but takes one of the units that multiply.
///
/// # Safety
/// The bytes can be read.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn spread(bytes: *const i8) -> __m512i {
    let spread;
    // SAFETY: the instruction only reads the four bytes.
    unsafe {
        asm!(
            "vpbroadcastd {spread}, dword ptr [{bytes}]",
            spread = lateout(zmm_reg) spread,
            bytes = in(reg) bytes,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    spread
}
