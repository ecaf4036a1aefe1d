//! Int8 convolution with VPDPBUSD: up to 12 rows times 32 output channels in registers.
//!
//! VPDPBUSD multiplies unsigned by signed bytes, so 128 is added to the input on the way (an exclusive
//! or) and `128·Σw` taken off again; `Σw` is summed by the same instruction beside the rows.

use core::arch::x86_64::*;

use super::finish::Finish512;
use crate::kernels::ConvI8Args;
use crate::kernels::rows::{Tile, for_each_rows};
use crate::weights::{BLOCK, GROUP, block_width};

/// Rows multiplied at once.
const ROWS: usize = 12;

/// [`crate::plan::step::ConvI8`].
pub(super) fn conv(args: ConvI8Args<'_>) {
    if !args.weight_zero_points.is_empty() {
        // Rare: the sums of the rows are needed too.
        return super::avx512::conv_i8(args);
    }
    // SAFETY: this function stands only in kernels that `available` gives out where VNNI is there.
    unsafe { rows(args) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2")]
fn rows(args: ConvI8Args<'_>) {
    for_each_rows(args, |args, rows, weights| {
        rows.for_each_tile(|tile| match tile.count {
            1 => multiply::<1>(args, tile, rows.group, weights),
            2 => multiply::<2>(args, tile, rows.group, weights),
            3 => multiply::<3>(args, tile, rows.group, weights),
            4 => multiply::<4>(args, tile, rows.group, weights),
            5 => multiply::<5>(args, tile, rows.group, weights),
            6 => multiply::<6>(args, tile, rows.group, weights),
            7 => multiply::<7>(args, tile, rows.group, weights),
            8 => multiply::<8>(args, tile, rows.group, weights),
            9 => multiply::<9>(args, tile, rows.group, weights),
            10 => multiply::<10>(args, tile, rows.group, weights),
            11 => multiply::<11>(args, tile, rows.group, weights),
            _ => multiply::<12>(args, tile, rows.group, weights),
        })
    });
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2")]
fn multiply<const R: usize>(args: &mut ConvI8Args<'_>, tile: &Tile<'_, ROWS>, group: usize, weights: &[u8]) {
    let group_out = args.window.group_out();
    let length = tile.reach.packed_len();
    let (mut start, mut base) = (0, 0);
    while start < group_out {
        if group_out - start >= 2 * BLOCK {
            let (left, right) = weights[base..].split_at(BLOCK * length);
            let sums = products::<R, 2>(tile, [left, &right[..BLOCK * length]]);
            for block in 0..2 {
                store::<R>(args, tile, group, start + block * BLOCK, BLOCK, sums.map(|row| row[block]));
            }
            start += 2 * BLOCK;
            base += 2 * BLOCK * length;
            continue;
        }
        let width = block_width(start, group_out);
        let block = &weights[base..][..width * length];
        let mask = u16::MAX >> (BLOCK - width);
        let sums = products_narrow::<R>(tile, block, width, mask);
        store::<R>(args, tile, group, start, (group_out - start).min(width), sums);
        start += width;
        base += width * length;
    }
}

/// `Σ x·w` of `R` rows with `B` full blocks.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2")]
fn products<const R: usize, const B: usize>(tile: &Tile<'_, ROWS>, blocks: [&[u8]; B]) -> [[__m512i; B]; R] {
    let flip = _mm512_set1_epi8(-128);
    let ones = _mm512_set1_epi8(1);
    let mut sums = [[_mm512_setzero_si512(); B]; R];
    let mut totals = [_mm512_setzero_si512(); B];
    let quads = tile.reach.quads;
    assert!(blocks.iter().all(|block| block.len() >= BLOCK * tile.reach.packed_len()));
    let mut at = 0;
    let rows: [*const i8; R] = core::array::from_fn(|row| tile.pointer(row));
    tile.reach.for_each_segment(|offset| {
        for quad in 0..quads {
            let mut w = [_mm512_setzero_si512(); B];
            for (block, w) in w.iter_mut().enumerate() {
                // SAFETY: 64 bytes of this segment and quad lie inside the block, as asserted.
                *w = unsafe { _mm512_loadu_si512(blocks[block].as_ptr().add(at).cast()) };
                totals[block] = _mm512_dpbusd_epi32(totals[block], ones, *w);
            }
            at += BLOCK * GROUP;
            for (row, sums) in rows.iter().zip(&mut sums) {
                // SAFETY: the segment has `quads` groups of 4 bytes.
                let x = unsafe { row.add(offset + quad * GROUP).cast::<i32>().read_unaligned() };
                let x = _mm512_xor_si512(_mm512_set1_epi32(x), flip);
                for block in 0..B {
                    sums[block] = _mm512_dpbusd_epi32(sums[block], x, w[block]);
                }
            }
        }
    });
    for row in &mut sums {
        for block in 0..B {
            row[block] = _mm512_sub_epi32(row[block], _mm512_slli_epi32::<7>(totals[block]));
        }
    }
    sums
}

/// `Σ x·w` of `R` rows with one block of any width.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2")]
fn products_narrow<const R: usize>(tile: &Tile<'_, ROWS>, block: &[u8], width: usize, mask: u16) -> [__m512i; R] {
    let flip = _mm512_set1_epi8(-128);
    let ones = _mm512_set1_epi8(1);
    let mut sums = [_mm512_setzero_si512(); R];
    let mut totals = _mm512_setzero_si512();
    let quads = tile.reach.quads;
    assert!(block.len() >= width * tile.reach.packed_len() && width <= BLOCK);
    let mut at = 0;
    let rows: [*const i8; R] = core::array::from_fn(|row| tile.pointer(row));
    tile.reach.for_each_segment(|offset| {
        for quad in 0..quads {
            // SAFETY: the mask lets only the `width` groups of this quad be read, which lie inside the block.
            let w = unsafe { _mm512_maskz_loadu_epi32(mask, block.as_ptr().add(at).cast()) };
            at += width * GROUP;
            totals = _mm512_dpbusd_epi32(totals, ones, w);
            for (row, sum) in rows.iter().zip(&mut sums) {
                // SAFETY: the segment has `quads` groups of 4 bytes.
                let x = unsafe { row.add(offset + quad * GROUP).cast::<i32>().read_unaligned() };
                *sum = _mm512_dpbusd_epi32(*sum, _mm512_xor_si512(_mm512_set1_epi32(x), flip), w);
            }
        }
    });
    for sum in &mut sums {
        *sum = _mm512_sub_epi32(*sum, _mm512_slli_epi32::<7>(totals));
    }
    sums
}

/// Requantizes and stores `lanes` channels from `start` of the group for each row.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2")]
fn store<const R: usize>(
    args: &mut ConvI8Args<'_>,
    tile: &Tile<'_, ROWS>,
    group: usize,
    start: usize,
    lanes: usize,
    sums: [__m512i; R],
) {
    let out_c = args.window.out_c as usize;
    let channel = group * args.window.group_out() + start;
    let finish = Finish512::new(args, channel, lanes);
    for (row, sums) in sums.into_iter().enumerate() {
        finish.store(&mut args.y, (tile.first + row) * out_c + channel, _mm512_add_epi32(sums, finish.bias));
    }
}
