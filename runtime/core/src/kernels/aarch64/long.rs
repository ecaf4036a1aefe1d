//! Int8 convolution for cores without dot product: SMULL and SMLAL add two products in 16 bits, SADALP adds pairs
//! of them to 32 bits. Two rows times 16 output channels in registers.
//!
//! A register of sums holds two parts for each of two channels; they meet when the block is finished. As in
//! [`super::dot`] the walk along the reduction axis is written in assembly. Registers 0 to 15 hold sums, 16 and 17
//! input, 18 to 21 groups of it spread over a register, 22 to 25 weights, 26 to 29 products.

use core::arch::aarch64::*;
use core::arch::asm;

use super::blocks::{Piece, for_each_piece};
use super::finish::Finish;
use crate::kernels::ConvI8Args;
use crate::kernels::portable::conv as portable;
use crate::kernels::rows::for_each_rows;

/// [`crate::plan::step::ConvI8`].
pub(super) fn conv(args: ConvI8Args<'_>) {
    if !args.weight_zero_points.is_empty() || !args.narrow {
        // Rare: the sums of the rows are needed too, or two products may pass 16 bits.
        return portable::conv(args);
    }
    for_each_rows(args, |args, rows, weights| {
        for_each_piece(args, rows, weights, 2, |count, piece, finish| {
            let kernel = match (piece.width, count) {
                (16, 2) => two_by_16,
                (16, _) => one_by_16,
                (8, 2) => two_by_8,
                (8, _) => one_by_8,
                (_, 2) => two_by_4,
                (_, _) => one_by_4,
            };
            kernel(piece, finish);
        });
    });
}

/// One group of four bytes of a row (spread over register `$x`) times 8 channels in registers 22 and 23.
macro_rules! single {
    ($x:literal, $a:literal $b:literal $c:literal $d:literal) => {
        concat!(
            "smull v26.8h, v22.8b, v", $x, ".8b\n",
            "smull2 v27.8h, v22.16b, v", $x, ".16b\n",
            "smull v28.8h, v23.8b, v", $x, ".8b\n",
            "smull2 v29.8h, v23.16b, v", $x, ".16b\n",
            single!(@add $a $b $c $d),
        )
    };
    ($x:literal, $a:literal $b:literal) => {
        concat!(
            "smull v26.8h, v22.8b, v", $x, ".8b\n",
            "smull2 v27.8h, v22.16b, v", $x, ".16b\n",
            single!(@add $a $b),
        )
    };
    (@add $a:literal $b:literal) => {
        concat!("sadalp v", $a, ".4s, v26.8h\n", "sadalp v", $b, ".4s, v27.8h\n")
    };
    (@add $a:literal $b:literal $c:literal $d:literal) => {
        concat!(single!(@add $a $b), "sadalp v", $c, ".4s, v28.8h\n", "sadalp v", $d, ".4s, v29.8h\n")
    };
}

/// Two groups of four bytes of a row (registers `$x` and `$y`) times 8 channels: weights of the first in registers
/// 22 and 23, of the second in 24 and 25.
macro_rules! double {
    ($x:literal $y:literal, $a:literal $b:literal $c:literal $d:literal) => {
        concat!(
            "smull v26.8h, v22.8b, v", $x, ".8b\n",
            "smull2 v27.8h, v22.16b, v", $x, ".16b\n",
            "smull v28.8h, v23.8b, v", $x, ".8b\n",
            "smull2 v29.8h, v23.16b, v", $x, ".16b\n",
            "smlal v26.8h, v24.8b, v", $y, ".8b\n",
            "smlal2 v27.8h, v24.16b, v", $y, ".16b\n",
            "smlal v28.8h, v25.8b, v", $y, ".8b\n",
            "smlal2 v29.8h, v25.16b, v", $y, ".16b\n",
            single!(@add $a $b $c $d),
        )
    };
    ($x:literal $y:literal, $a:literal $b:literal) => {
        concat!(
            "smull v26.8h, v22.8b, v", $x, ".8b\n",
            "smull2 v27.8h, v22.16b, v", $x, ".16b\n",
            "smlal v26.8h, v24.8b, v", $y, ".8b\n",
            "smlal2 v27.8h, v24.16b, v", $y, ".16b\n",
            single!(@add $a $b),
        )
    };
}

/// Two groups of weights (registers 22 to 25) times all rows, in steps of 8 channels.
macro_rules! pair_of_quads {
    (16 $([$x:literal $y:literal ($($low:literal)*) ($($high:literal)*)])*) => {
        concat!(
            "ldp q22, q23, [{w}]\n",
            "ldp q24, q25, [{w}, #64]\n",
            $(double!($x $y, $($low)*),)*
            "ldp q22, q23, [{w}, #32]\n",
            "ldp q24, q25, [{w}, #96]\n",
            $(double!($x $y, $($high)*),)*
            "add {w}, {w}, {quad_step}, lsl #1\n",
        )
    };
    (8 $([$x:literal $y:literal ($($sum:literal)*)])*) => {
        concat!(
            "ldp q22, q23, [{w}]\n",
            "add {w}, {w}, {quad_step}\n",
            "ldp q24, q25, [{w}]\n",
            "add {w}, {w}, {quad_step}\n",
            $(double!($x $y, $($sum)*),)*
        )
    };
    (4 $([$x:literal $y:literal ($($sum:literal)*)])*) => {
        concat!(
            "ldr q22, [{w}]\n",
            "add {w}, {w}, {quad_step}\n",
            "ldr q24, [{w}]\n",
            "add {w}, {w}, {quad_step}\n",
            $(double!($x $y, $($sum)*),)*
        )
    };
}

/// One group of weights times all rows.
macro_rules! last_quad {
    (16 $([$x:literal ($($low:literal)*) ($($high:literal)*)])*) => {
        concat!(
            "ldp q22, q23, [{w}]\n",
            $(single!($x, $($low)*),)*
            "ldp q22, q23, [{w}, #32]\n",
            $(single!($x, $($high)*),)*
            "add {w}, {w}, {quad_step}\n",
        )
    };
    (8 $([$x:literal ($($sum:literal)*)])*) => {
        concat!("ldp q22, q23, [{w}]\n", $(single!($x, $($sum)*),)* "add {w}, {w}, {quad_step}\n")
    };
    (4 $([$x:literal ($($sum:literal)*)])*) => {
        concat!("ldr q22, [{w}]\n", $(single!($x, $($sum)*),)* "add {w}, {w}, {quad_step}\n")
    };
}

/// A function that multiplies and stores rows of a piece. For each row: its number, the name of its pointer, the
/// registers of its input and of two groups of it, and the numbers of its sums, 8 channels at a time. Then all sums
/// with their registers.
macro_rules! kernel {
    ($name:ident, $width:tt,
     $([$row:literal $p:ident $in:literal $x:literal $y:literal $(($($sum:literal)*))*])*,
     $($number:literal $v:tt)*) => {
        fn $name(piece: &Piece, finish: &Finish) {
            const ALL: usize = [$($number,)*].len();
            let reach = piece.reach;
            let (mut x, mut w) = (piece.x, piece.weights);
            // Where columns of a kernel row do not lie next to each other, each is a walk of its own.
            let (walks, rows_of_walk) = if reach.columns == 1 { (1, reach.rows) } else { (reach.rows, 1) };
            for time in 0..piece.times {
                // SAFETY: NEON is there on every AArch64.
                let mut sums = [unsafe { vdupq_n_s32(0) }; ALL];
                let (channel, position) = (time * piece.channel_step, piece.position + time * piece.position_step);
                w = if piece.channel_step == 0 { piece.weights } else { w };
                let mut line = 0;
                for _ in 0..walks {
                    let mut start = line;
                    for _ in 0..reach.columns {
                        // SAFETY: each row has `quads` groups of 4 bytes at every distance of the reach, and the
                        // weights have as many of 4 bytes for each channel.
                        unsafe {
                            asm!(
                                "mov {line}, {start}",
                                "2:",
                                "mov {at}, {line}",
                                "subs {n}, {quads}, #4",
                                "b.lo 4f",
                                "3:",
                                $(concat!("ldr q", $in, ", [{", stringify!($p), "}, {at}]"),)*
                                $(concat!("dup v", $x, ".4s, v", $in, ".s[0]"),)*
                                $(concat!("dup v", $y, ".4s, v", $in, ".s[1]"),)*
                                pair_of_quads!($width $([$x $y $(($($sum)*))*])*),
                                $(concat!("dup v", $x, ".4s, v", $in, ".s[2]"),)*
                                $(concat!("dup v", $y, ".4s, v", $in, ".s[3]"),)*
                                pair_of_quads!($width $([$x $y $(($($sum)*))*])*),
                                "add {at}, {at}, #16",
                                "subs {n}, {n}, #4",
                                "b.hs 3b",
                                "4:",
                                "tbz {n}, #1, 5f",
                                $(concat!("ldr d", $in, ", [{", stringify!($p), "}, {at}]"),)*
                                $(concat!("dup v", $x, ".4s, v", $in, ".s[0]"),)*
                                $(concat!("dup v", $y, ".4s, v", $in, ".s[1]"),)*
                                pair_of_quads!($width $([$x $y $(($($sum)*))*])*),
                                "add {at}, {at}, #8",
                                "5:",
                                "tbz {n}, #0, 6f",
                                $(concat!("ldr s", $in, ", [{", stringify!($p), "}, {at}]"),)*
                                $(concat!("dup v", $x, ".4s, v", $in, ".s[0]"),)*
                                last_quad!($width $([$x $(($($sum)*))*])*),
                                "6:",
                                "add {line}, {line}, {row_step}",
                                "subs {left}, {left}, #1",
                                "b.ne 2b",
                                $($p = in(reg) x.wrapping_add($row * piece.step),)*
                                w = inout(reg) w,
                                quad_step = in(reg) piece.quad_step,
                                quads = in(reg) reach.quads,
                                row_step = in(reg) reach.row_step,
                                start = in(reg) start,
                                line = out(reg) _,
                                left = inout(reg) rows_of_walk => _,
                                at = out(reg) _,
                                n = out(reg) _,
                                $(inout($v) sums[$number],)*
                                out("v16") _, out("v17") _, out("v18") _, out("v19") _, out("v20") _,
                                out("v21") _, out("v22") _, out("v23") _, out("v24") _, out("v25") _,
                                out("v26") _, out("v27") _, out("v28") _, out("v29") _,
                                options(nostack, readonly),
                            );
                        }
                        start += reach.column_step;
                    }
                    line += reach.row_step;
                }
                x = x.wrapping_add(piece.position_step * piece.step);
                // SAFETY: there are so many positions and channels.
                unsafe {
                    let channels = finish.channels::<$width>(channel);
                    $(
                        let whole = meet(channels.bias, kernel!(@eight sums $($($sum)*)*));
                        finish.store::<$width>(&channels, position + $row, channel, whole);
                    )*
                }
            }
        }
    };
    (@eight $sums:ident $a:literal $b:literal) => { [$sums[$a], $sums[$b], $sums[$a], $sums[$b], $sums[$a], $sums[$b], $sums[$a], $sums[$b]] };
    (@eight $sums:ident $a:literal $b:literal $c:literal $d:literal) => {
        [$sums[$a], $sums[$b], $sums[$c], $sums[$d], $sums[$a], $sums[$b], $sums[$c], $sums[$d]]
    };
    (@eight $sums:ident $($sum:literal)*) => { [$($sums[$sum]),*] };
}

/// Adds up the parts of 16 channels, and the bias.
#[inline(always)]
fn meet(bias: [int32x4_t; 4], [a, b, c, d, e, f, g, h]: [int32x4_t; 8]) -> [int32x4_t; 4] {
    let [bias_a, bias_b, bias_c, bias_d] = bias;
    // SAFETY: NEON.
    unsafe {
        [
            vaddq_s32(bias_a, vpaddq_s32(a, b)),
            vaddq_s32(bias_b, vpaddq_s32(c, d)),
            vaddq_s32(bias_c, vpaddq_s32(e, f)),
            vaddq_s32(bias_d, vpaddq_s32(g, h)),
        ]
    }
}

kernel!(two_by_16, 16,
    [0 p0 16 18 19 (0 1 2 3) (4 5 6 7)]
    [1 p1 17 20 21 (8 9 10 11) (12 13 14 15)],
    0 "v0" 1 "v1" 2 "v2" 3 "v3" 4 "v4" 5 "v5" 6 "v6" 7 "v7"
    8 "v8" 9 "v9" 10 "v10" 11 "v11" 12 "v12" 13 "v13" 14 "v14" 15 "v15");
kernel!(one_by_16, 16,
    [0 p0 16 18 19 (0 1 2 3) (4 5 6 7)],
    0 "v0" 1 "v1" 2 "v2" 3 "v3" 4 "v4" 5 "v5" 6 "v6" 7 "v7");
kernel!(two_by_8, 8,
    [0 p0 16 18 19 (0 1 2 3)]
    [1 p1 17 20 21 (4 5 6 7)],
    0 "v0" 1 "v1" 2 "v2" 3 "v3" 4 "v4" 5 "v5" 6 "v6" 7 "v7");
kernel!(one_by_8, 8,
    [0 p0 16 18 19 (0 1 2 3)],
    0 "v0" 1 "v1" 2 "v2" 3 "v3");
kernel!(two_by_4, 4,
    [0 p0 16 18 19 (0 1)]
    [1 p1 17 20 21 (2 3)],
    0 "v0" 1 "v1" 2 "v2" 3 "v3");
kernel!(one_by_4, 4, [0 p0 16 18 19 (0 1)], 0 "v0" 1 "v1");
