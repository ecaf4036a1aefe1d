//! Int8 convolution with VPDPBUSD: up to 12 rows times 32 output channels in registers.
//!
//! VPDPBUSD multiplies unsigned by signed bytes, so 128 is added to one of the two on the way (an exclusive or): to the
//! input of many rows, where it is copied or else where it is read, and `128·Σw` is taken off the bias, once for all of
//! them; or to the weights where the rows are few, and `128·Σx` is taken off the row, once for all channels.

use core::arch::asm;
use core::arch::x86_64::*;

use super::finish::{Factors, Finish512};
use crate::kernels::rows::{Reach, Rows, for_each_rows, for_each_rows_by};
use crate::kernels::source::Source;
use crate::kernels::strips::lines_at_once;
use crate::kernels::{ConvI8Args, border};
use crate::weights::{BLOCK, GROUP, block_width};

/// Rows multiplied at once.
const ROWS: usize = 12;

/// Most rows that are few.
const FEW: usize = 64;

/// An exclusive or with it adds 128, as an unsigned byte.
const FLIP: i8 = i8::MIN;

/// What is added to the products of each of a few rows with weights to which 128 was added; [`ROWS`] can be read from each.
type Shares = [i32; FEW + ROWS];

/// What is multiplied with the weights.
#[derive(Clone, Copy)]
enum Input<'s> {
    /// Many rows as they are.
    Plain,
    /// Many rows, to which 128 has been added.
    Flipped,
    /// A few rows as they are.
    Few(&'s Shares),
}

/// The kinds of [`Input`].
const PLAIN: u8 = 0;
const FLIPPED: u8 = 1;
const FEW_ROWS: u8 = 2;

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
pub(super) fn conv(mut args: ConvI8Args<'_>) {
    if !args.weight_zero_points.is_empty() {
        // Rare: the sums of the rows are needed too.
        return super::avx512::conv_i8(args);
    }
    if border::pays(&args) {
        return border::conv(args, conv);
    }
    // SAFETY: this function stands only in kernels that `available` gives out where VNNI is there.
    unsafe {
        if copies_many(&args) {
            args.x_zero_point ^= FLIP;
            let copy = |to: &mut [i8], from: &[i8]| copy_flipped(to, from);
            return for_each_rows_by(&mut args, copy, |args, rows, weights| all_blocks::<true>(args, rows, weights));
        }
        for_each_rows(&mut args, |args, rows, weights| all_blocks::<false>(args, rows, weights));
    }
}

/// Whether input lines are copied, and those that are there at the same time have many rows.
fn copies_many(args: &ConvI8Args<'_>) -> bool {
    let w = args.window;
    let lines = || lines_at_once(w, args.scratch.len()).unwrap_or(0);
    Source::of(w) == Source::Lines && lines() * w.out_w as usize * 2 > FEW.min(w.group_out())
}

/// Copies as many elements as both sides have, and adds 128 to them.
#[target_feature(enable = "avx512f,avx512bw")]
fn copy_flipped(to: &mut [i8], from: &[i8]) {
    const REGISTER: usize = 64;
    let flip = _mm512_set1_epi8(FLIP);
    let len = to.len().min(from.len());
    let done = len / REGISTER * REGISTER;
    for first in (0..done).step_by(REGISTER) {
        // SAFETY: below `done`, both sides have whole registers.
        unsafe {
            let elements = _mm512_loadu_si512(from.as_ptr().add(first).cast());
            _mm512_storeu_si512(to.as_mut_ptr().add(first).cast(), _mm512_xor_si512(elements, flip));
        }
    }
    let mask = (1_u64 << (len - done)) - 1;
    // SAFETY: the mask lets only elements below `len` be read and written.
    unsafe {
        let elements = _mm512_maskz_loadu_epi8(mask, from.as_ptr().add(done));
        _mm512_mask_storeu_epi8(to.as_mut_ptr().add(done), mask, _mm512_xor_si512(elements, flip));
    }
}

/// All rows with all blocks of a group's channels; 128 has been added to the input where it is `FLIPPED`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2")]
fn all_blocks<const FLIPPED: bool>(args: &mut ConvI8Args<'_>, rows: &Rows<'_>, weights: &[u8]) {
    let group_out = args.window.group_out();
    let block_bytes = BLOCK * rows.reach.packed_len();
    if !FLIPPED && rows.lines * rows.columns == 1 && rows.reach.rows * rows.reach.columns == 1 {
        return one_row(args, rows, weights);
    }
    let mut rest = weights;
    // Adding up a row costs as much as adding up the weights of a channel.
    let is_few = !FLIPPED && rows.lines * rows.columns <= FEW.min(group_out);
    let shares = is_few.then(|| shares(rows));
    let input = match &shares {
        Some(shares) => Input::Few(shares),
        None if FLIPPED => Input::Flipped,
        None => Input::Plain,
    };
    for start in (0..group_out).step_by(2 * BLOCK) {
        let width = block_width(start, group_out);
        if start + BLOCK >= group_out {
            return blocks(args, rows, start, [rest], width, input);
        }
        let (first, behind) = rest.split_at(block_bytes);
        let width = block_width(start + BLOCK, group_out);
        let (second, behind) = behind.split_at(width * rows.reach.packed_len());
        blocks(args, rows, start, [first, second], width, input);
        rest = behind;
    }
}

/// A single row in one segment times all blocks of channels. Each weight is read just once, in the order of memory: several
/// places at a time take a third longer where the weights come from behind the first cache.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2")]
fn one_row(args: &mut ConvI8Args<'_>, rows: &Rows<'_>, weights: &[u8]) {
    let group_out = args.window.group_out();
    let quads = rows.reach.quads;
    let block_bytes = quads * GROUP * BLOCK;
    let blocks = group_out / BLOCK;
    let rest = group_out - blocks * BLOCK;
    let width = block_width(blocks * BLOCK, group_out);
    assert!(weights.len() >= blocks * block_bytes + quads * GROUP * width);
    let x = rows.pointer(0, 0);
    // SAFETY: the row has `quads` groups of four.
    let share = _mm512_set1_epi32(unsafe { share(rows, x) });
    let channel = rows.group * group_out;
    let place = rows.first * args.y_step + channel;
    if rest > 0 {
        let finish = Finish512::new(args, channel + blocks * BLOCK, rest);
        // SAFETY: the row has `quads` groups of 4 bytes, the last block as many of `4·width`, as asserted; the output has
        // this position.
        unsafe {
            let product = row_by_narrow_block(x, weights.as_ptr().add(blocks * block_bytes), quads, width);
            let sum = _mm512_add_epi32(product, _mm512_add_epi32(finish.bias, share));
            finish.store(place + blocks * BLOCK, sum);
        }
    }
    if blocks == 0 {
        return;
    }
    let first = Finish512::new(args, channel, BLOCK);
    let factors = Factors::of(args, channel, blocks * BLOCK);
    let product = |block: usize| {
        debug_assert!(block < blocks);
        // SAFETY: the row has `quads` groups of 4 bytes, each block as many of 64, as asserted.
        unsafe { row_by_block(x, weights.as_ptr().add(block * block_bytes), quads) }
    };
    let mut block = 0;
    while block + 4 <= blocks {
        let mut finish = [first; 4];
        for (index, finish) in finish.iter_mut().enumerate() {
            // SAFETY: a block of those that have factors.
            *finish = unsafe { first.at(factors, (block + index) * BLOCK) };
            finish.bias = _mm512_add_epi32(finish.bias, share);
        }
        if !finish.iter().all(Finish512::is_full) {
            break;
        }
        let mut sums = [product(block), product(block + 1), product(block + 2), product(block + 3)];
        for (finish, sum) in finish.iter().zip(&mut sums) {
            *sum = _mm512_add_epi32(*sum, finish.bias);
        }
        // SAFETY: the output has this position, and four full blocks.
        unsafe { Finish512::store_line(&finish, place + block * BLOCK, sums) };
        block += 4;
    }
    // What is left, or all from where a block has to be stored by itself.
    while block < blocks {
        // SAFETY: a block of those that have factors; the output has this position.
        unsafe {
            let finish = first.at(factors, block * BLOCK);
            let sum = _mm512_add_epi32(product(block), _mm512_add_epi32(finish.bias, share));
            finish.store(place + block * BLOCK, sum);
        }
        block += 1;
    }
}

/// The products of `quads` groups of four bytes with a block of as many times 64, to which 128 is added.
///
/// # Safety
/// All of them can be read.
#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
unsafe fn row_by_block(x: *const i8, weights: *const u8, quads: usize) -> __m512i {
    let flip = _mm512_set1_epi8(FLIP);
    // Several sums: none of them waits for the one before.
    let zero = _mm512_setzero_si512();
    let (mut a, mut b, mut c, mut d) = (zero, zero, zero, zero);
    let (mut x, mut weights) = (x, weights);
    // SAFETY: all that is read lies inside the `quads` groups.
    unsafe {
        for _ in 0..quads / 4 {
            a = with_flipped::<0>(a, x, weights, flip);
            b = with_flipped::<1>(b, x, weights, flip);
            c = with_flipped::<2>(c, x, weights, flip);
            d = with_flipped::<3>(d, x, weights, flip);
            (x, weights) = (x.add(4 * GROUP), weights.add(4 * GROUP * BLOCK));
        }
        for _ in 0..quads % 4 {
            a = with_flipped::<0>(a, x, weights, flip);
            (x, weights) = (x.add(GROUP), weights.add(GROUP * BLOCK));
        }
    }
    _mm512_add_epi32(_mm512_add_epi32(a, b), _mm512_add_epi32(c, d))
}

/// As [`row_by_block`], with a block of fewer channels: `width` of them.
///
/// # Safety
/// The bytes and as many times `4·width` of the weights can be read.
#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
unsafe fn row_by_narrow_block(x: *const i8, weights: *const u8, quads: usize, width: usize) -> __m512i {
    let flip = _mm512_set1_epi8(FLIP);
    let mask = u16::MAX >> (BLOCK - width);
    let mut sums = [_mm512_setzero_si512(); 4];
    for quad in 0..quads {
        // SAFETY: below `quads`; the mask lets only the `width` groups of this quad be read.
        let (x, w) = unsafe {
            let w = _mm512_maskz_loadu_epi32(mask, weights.add(quad * width * GROUP).cast());
            (spread(x.add(quad * GROUP)), w)
        };
        // None of the sums waits for the one before.
        let [a, b, c, d] = sums;
        sums = [b, c, d, _mm512_dpbusd_epi32(a, _mm512_xor_si512(w, flip), x)];
    }
    let [a, b, c, d] = sums;
    _mm512_add_epi32(_mm512_add_epi32(a, b), _mm512_add_epi32(c, d))
}

/// `sum` and the products of four bytes with a register of weights, flipped. In assembly, because compilers load the weights
/// of several such sums one after the other: taking turns with the bytes they come out of the second cache a third faster.
///
/// # Safety
/// The four bytes and the 64 of the weights can be read.
#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
unsafe fn with_flipped<const QUAD: usize>(sum: __m512i, x: *const i8, weights: *const u8, flip: __m512i) -> __m512i {
    let mut sum = sum;
    let _flipped: __m512i;
    // SAFETY: the instructions only read.
    unsafe {
        asm!(
            "vpxorq {flipped}, {flip}, zmmword ptr [{weights} + {of_weights}]",
            "vpdpbusd {sum}, {flipped}, dword ptr [{x} + {of_x}]{{1to16}}",
            flipped = out(zmm_reg) _flipped,
            sum = inout(zmm_reg) sum,
            flip = in(zmm_reg) flip,
            weights = in(reg) weights,
            x = in(reg) x,
            of_weights = const QUAD * GROUP * BLOCK,
            of_x = const QUAD * GROUP,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    sum
}

/// `-128·Σx` of each of up to [`FEW`] rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2")]
fn shares(rows: &Rows<'_>) -> Shares {
    let mut shares = [0; FEW + ROWS];
    for (place, to) in shares.iter_mut().enumerate().take(rows.lines * rows.columns) {
        let x = rows.pointer(place / rows.columns, place % rows.columns);
        // SAFETY: it can be read as far as the reach.
        *to = unsafe { share(rows, x) };
    }
    shares
}

/// `-128·Σx` of the row that starts at `x`.
///
/// # Safety
/// It can be read as far as the reach of the rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2")]
#[inline]
unsafe fn share(rows: &Rows<'_>, x: *const i8) -> i32 {
    const REGISTER: usize = 64;
    let length = rows.reach.quads * GROUP;
    let mut sums = _mm512_setzero_si512();
    rows.reach.for_each_segment(|offset| {
        for first in (0..length).step_by(REGISTER) {
            let mask = u64::MAX >> (REGISTER - REGISTER.min(length - first));
            // SAFETY: the mask lets only the segment be read.
            let part = unsafe { _mm512_maskz_loadu_epi8(mask, x.add(offset + first)) };
            sums = _mm512_dpbusd_epi32(sums, _mm512_set1_epi8(1), part);
        }
    });
    _mm512_reduce_add_epi32(sums).wrapping_mul(-128)
}

/// All rows with `B` blocks of channels from `start` of the group on, the last of them `width` wide.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2")]
fn blocks<const B: usize>(
    args: &mut ConvI8Args<'_>,
    rows: &Rows<'_>,
    start: usize,
    weights: [&[u8]; B],
    width: usize,
    input: Input<'_>,
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
        if matches!(input, Input::Few(_)) {
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
        // SAFETY: the rows can be read as far as the reach, and the output has their positions.
        unsafe {
            match input {
                Input::Plain => run::<B, PLAIN>(&blocks, x, count, place, &[0; ROWS]),
                Input::Flipped => run::<B, FLIPPED>(&blocks, x, count, place, &[0; ROWS]),
                Input::Few(shares) => {
                    let Some(shares) = shares[position - rows.first..].first_chunk() else { return };
                    run::<B, FEW_ROWS>(&blocks, x, count, place, shares);
                }
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
unsafe fn run<const B: usize, const INPUT: u8>(
    blocks: &Blocks<B>,
    x: *const i8,
    count: usize,
    place: usize,
    shares: &[i32; ROWS],
) {
    let multiply = match count {
        1 => products::<1, B, INPUT>,
        2 => products::<2, B, INPUT>,
        3 => products::<3, B, INPUT>,
        4 => products::<4, B, INPUT>,
        5 => products::<5, B, INPUT>,
        6 => products::<6, B, INPUT>,
        7 => products::<7, B, INPUT>,
        8 => products::<8, B, INPUT>,
        9 => products::<9, B, INPUT>,
        10 => products::<10, B, INPUT>,
        11 => products::<11, B, INPUT>,
        _ => products::<12, B, INPUT>,
    };
    // SAFETY: the caller's promise.
    unsafe { multiply(blocks, x, place, shares) }
}

/// Multiplies `R` rows from `x` on, and stores the results from element `place` of the output on. 128 is added to the
/// weights when the rows are few, and their shares to the sums; otherwise to the input, unless it has been.
///
/// # Safety
/// The rows can be read as far as the reach; the output has their positions.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2")]
#[inline(never)]
unsafe fn products<const R: usize, const B: usize, const INPUT: u8>(
    blocks: &Blocks<B>,
    x: *const i8,
    place: usize,
    shares: &[i32; ROWS],
) {
    let flip = _mm512_set1_epi8(FLIP);
    let reach = &blocks.reach;
    let mut sums = [[_mm512_setzero_si512(); B]; R];
    for (sums, share) in sums.iter_mut().zip(shares) {
        for (block, sum) in sums.iter_mut().enumerate() {
            *sum = blocks.finish[block].bias;
            if INPUT == FEW_ROWS {
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
                if INPUT == FEW_ROWS {
                    loaded[block] = _mm512_xor_si512(loaded[block], flip);
                }
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                // SAFETY: the segment has `quads` groups of 4 bytes.
                let quad = unsafe { spread(x.add(row * blocks.step + offset + quad * GROUP)) };
                let quad = if INPUT == PLAIN { _mm512_xor_si512(quad, flip) } else { quad };
                for block in 0..B {
                    let (unsigned, signed) =
                        if INPUT == FEW_ROWS { (loaded[block], quad) } else { (quad, loaded[block]) };
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
