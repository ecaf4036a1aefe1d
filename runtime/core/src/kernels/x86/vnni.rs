//! Int8 convolution with VPDPBUSD: up to 12 rows times 32 output channels in registers.
//!
//! VPDPBUSD multiplies unsigned by signed bytes, so 128 is added to one of the two on the way (an exclusive or): to the
//! input of many rows, and `128·Σw` is taken off the bias, once for all of them; or to the weights where the rows are few,
//! and `128·Σx` is taken off the row, once for all channels.

use core::arch::asm;
use core::arch::x86_64::*;

use super::finish::Finish512;
use crate::kernels::ConvI8Args;
use crate::kernels::rows::{Reach, Rows, for_each_rows};
use crate::weights::{BLOCK, GROUP, block_width};

/// Rows multiplied at once.
const ROWS: usize = 12;

/// Most rows that are few.
const FEW: usize = 64;

/// What is added to the products of each of a few rows with weights to which 128 was added; [`ROWS`] can be read from each.
type Shares = [i32; FEW + ROWS];

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
    // Adding up a row costs as much as adding up the weights of a channel.
    let shares = (rows.lines * rows.columns <= FEW.min(group_out)).then(|| shares(rows));
    let shares = shares.as_ref();
    for start in (done..group_out).step_by(2 * BLOCK) {
        let width = block_width(start, group_out);
        if start + BLOCK >= group_out {
            return blocks(args, rows, start, [rest], width, shares);
        }
        let (first, behind) = rest.split_at(block_bytes);
        let width = block_width(start + BLOCK, group_out);
        let (second, behind) = behind.split_at(width * rows.reach.packed_len());
        blocks(args, rows, start, [first, second], width, shares);
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
    let channel = rows.group * args.window.group_out() + start;
    let place = rows.first * args.y_step + channel;
    let first = Finish512::new(args, channel, BLOCK);
    // Written out: as loops these would move all sums to memory, and keep them there throughout.
    macro_rules! fours {
        ($($block:literal)*) => {$(
            if $block < B {
                let mut finish = [first; 4];
                let mut sums = [sums[$block % B], sums[($block + 1) % B], sums[($block + 2) % B], sums[($block + 3) % B]];
                for (index, (finish, sum)) in finish.iter_mut().zip(&mut sums).enumerate() {
                    *finish = first.at(args, channel + ($block + index) * BLOCK);
                    *sum = _mm512_add_epi32(_mm512_sub_epi32(*sum, total), finish.bias);
                }
                // SAFETY: the output has this position, and `B` full blocks.
                unsafe { Finish512::store_line(&finish, place + $block * BLOCK, sums) };
            }
        )*};
    }
    if B.is_multiple_of(4) && first.is_full() {
        fours!(0 4);
        return;
    }
    for (block, sum) in sums.into_iter().enumerate() {
        let finish = first.at(args, channel + block * BLOCK);
        let sum = _mm512_add_epi32(_mm512_sub_epi32(sum, total), finish.bias);
        // SAFETY: the output has this position.
        unsafe { finish.store(place + block * BLOCK, sum) };
    }
}

/// `-128·Σx` of each of up to [`FEW`] rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2")]
fn shares(rows: &Rows<'_>) -> Shares {
    const REGISTER: usize = 64;
    let length = rows.reach.quads * GROUP;
    let mut shares = [0; FEW + ROWS];
    for (place, share) in shares.iter_mut().enumerate().take(rows.lines * rows.columns) {
        let x = rows.pointer(place / rows.columns, place % rows.columns);
        let mut sums = _mm512_setzero_si512();
        rows.reach.for_each_segment(|offset| {
            for first in (0..length).step_by(REGISTER) {
                let mask = u64::MAX >> (REGISTER - REGISTER.min(length - first));
                // SAFETY: the mask lets only the segment be read.
                let part = unsafe { _mm512_maskz_loadu_epi8(mask, x.add(offset + first)) };
                sums = _mm512_dpbusd_epi32(sums, _mm512_set1_epi8(1), part);
            }
        });
        *share = _mm512_reduce_add_epi32(sums).wrapping_mul(-128);
    }
    shares
}

/// All rows with `B` blocks of channels from `start` of the group on, the last of them `width` wide; a few rows have shares.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2")]
fn blocks<const B: usize>(
    args: &mut ConvI8Args<'_>,
    rows: &Rows<'_>,
    start: usize,
    weights: [&[u8]; B],
    width: usize,
    shares: Option<&Shares>,
) {
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
        if shares.is_some() {
            continue;
        }
        // Several sums: none of them waits for the one before.
        let mut totals = [_mm512_setzero_si512(); 4];
        for quad in 0..quads {
            // SAFETY: the mask lets only the `width` groups of this quad be read, which are there as asserted.
            let w = unsafe {
                let mask = u16::MAX >> (BLOCK - width);
                _mm512_maskz_loadu_epi32(mask, weights.as_ptr().add(quad * width * GROUP).cast())
            };
            let [first, others @ ..] = totals;
            let [a, b, c] = others;
            totals = [a, b, c, _mm512_dpbusd_epi32(first, _mm512_set1_epi8(1), w)];
        }
        let [a, b, c, d] = totals;
        let total = _mm512_add_epi32(_mm512_add_epi32(a, b), _mm512_add_epi32(c, d));
        finish.bias = _mm512_sub_epi32(finish.bias, _mm512_slli_epi32::<7>(total));
    }
    let weights = weights.map(<[u8]>::as_ptr);
    let ahead = B * BLOCK * reach.packed_len();
    let blocks = Blocks { reach, step: rows.step, weights, mask, quad_step: width * GROUP, finish, y_step, ahead };
    rows.for_each_run::<ROWS>(|x, count, position| {
        let place = position * y_step + channel;
        let shares = shares.and_then(|shares| shares[position - rows.first..].first_chunk());
        // SAFETY: the rows can be read as far as the reach, and the output has their positions.
        unsafe {
            match shares {
                Some(shares) => run::<B, true>(&blocks, x, count, place, shares),
                None => run::<B, false>(&blocks, x, count, place, &[0; ROWS]),
            }
        }
    });
}

/// Multiplies `count` rows: see [`products`].
///
/// # Safety
/// As there.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2")]
#[inline]
unsafe fn run<const B: usize, const FEW_ROWS: bool>(
    blocks: &Blocks<B>,
    x: *const i8,
    count: usize,
    place: usize,
    shares: &[i32; ROWS],
) {
    let multiply = match count {
        1 => products::<1, B, FEW_ROWS>,
        2 => products::<2, B, FEW_ROWS>,
        3 => products::<3, B, FEW_ROWS>,
        4 => products::<4, B, FEW_ROWS>,
        5 => products::<5, B, FEW_ROWS>,
        6 => products::<6, B, FEW_ROWS>,
        7 => products::<7, B, FEW_ROWS>,
        8 => products::<8, B, FEW_ROWS>,
        9 => products::<9, B, FEW_ROWS>,
        10 => products::<10, B, FEW_ROWS>,
        11 => products::<11, B, FEW_ROWS>,
        _ => products::<12, B, FEW_ROWS>,
    };
    // SAFETY: the caller's promise.
    unsafe { multiply(blocks, x, place, shares) }
}

/// Multiplies `R` rows from `x` on, and stores the results from element `place` of the output on. 128 is added to the
/// weights when the rows are few, and their shares to the sums; to the input otherwise.
///
/// # Safety
/// The rows can be read as far as the reach; the output has their positions.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2")]
#[inline(never)]
unsafe fn products<const R: usize, const B: usize, const FEW_ROWS: bool>(
    blocks: &Blocks<B>,
    x: *const i8,
    place: usize,
    shares: &[i32; ROWS],
) {
    let flip = _mm512_set1_epi8(-128);
    let reach = &blocks.reach;
    let mut sums = [[_mm512_setzero_si512(); B]; R];
    for (sums, share) in sums.iter_mut().zip(shares) {
        for (block, sum) in sums.iter_mut().enumerate() {
            *sum = blocks.finish[block].bias;
            if FEW_ROWS {
                *sum = _mm512_add_epi32(*sum, _mm512_set1_epi32(*share));
            }
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
                if FEW_ROWS {
                    loaded[block] = _mm512_xor_si512(loaded[block], flip);
                }
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                // SAFETY: the segment has `quads` groups of 4 bytes.
                let quad = unsafe { spread(x.add(row * blocks.step + offset + quad * GROUP)) };
                let quad = if FEW_ROWS { quad } else { _mm512_xor_si512(quad, flip) };
                for block in 0..B {
                    let (unsigned, signed) = if FEW_ROWS { (loaded[block], quad) } else { (quad, loaded[block]) };
                    sums[block] = _mm512_dpbusd_epi32(sums[block], unsigned, signed);
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
