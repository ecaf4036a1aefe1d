//! Int8 convolution with SDOT: up to 6 rows times 16 output channels in registers. Each SDOT multiplies
//! four bytes of one row with the weights of four channels.
//!
//! The walk along the reduction axis is written in assembly: the intrinsic is not stable, and compilers do not
//! keep 24 sums in registers reliably. Registers 0 to 23 hold sums, 24 to 29 input, 30 and 31 weights.

use core::arch::aarch64::*;
use core::arch::asm;

use super::blocks::{Piece, ROWS, for_each_piece};
use super::finish::Finish;
use crate::kernels::ConvI8Args;
use crate::kernels::portable::conv as portable;
use crate::kernels::rows::for_each_rows;

/// [`crate::plan::step::ConvI8`].
pub(super) fn conv(args: ConvI8Args<'_>) {
    if !args.weight_zero_points.is_empty() {
        // Rare: the sums of the rows are needed too.
        return portable::conv(args);
    }
    for_each_rows(args, |args, rows, weights| {
        for_each_piece(args, rows, weights, ROWS, |count, piece, finish| {
            let kernel = match (piece.width, count) {
                (16, 6) => six_by_16,
                (16, 4) => four_by_16,
                (16, 2) => two_by_16,
                (16, _) => one_by_16,
                (8, 6) => six_by_8,
                (8, 4) => four_by_8,
                (8, 2) => two_by_8,
                (8, _) => one_by_8,
                (_, 6) => six_by_4,
                (_, 4) => four_by_4,
                (_, 2) => two_by_4,
                (_, _) => one_by_4,
            };
            // SAFETY: this function stands only in kernels that `available` gives out where SDOT is there.
            unsafe { kernel(piece, finish) };
        });
    });
}

/// A quad of weights of 16 channels times lane `$lane` of each row: register of the row, and of its four sums.
macro_rules! quad_by_16 {
    ($lane:literal $([$x:literal $a:literal $b:literal $c:literal $d:literal])*) => {
        concat!(
            "ldp q30, q31, [{w}], #32\n",
            $("sdot v", $a, ".4s, v30.16b, v", $x, ".4b[", $lane, "]\n",)*
            $("sdot v", $b, ".4s, v31.16b, v", $x, ".4b[", $lane, "]\n",)*
            "ldp q30, q31, [{w}], #32\n",
            $("sdot v", $c, ".4s, v30.16b, v", $x, ".4b[", $lane, "]\n",)*
            $("sdot v", $d, ".4s, v31.16b, v", $x, ".4b[", $lane, "]\n",)*
        )
    };
}

/// The same for 8 channels.
macro_rules! quad_by_8 {
    ($lane:literal $([$x:literal $a:literal $b:literal])*) => {
        concat!(
            "ldp q30, q31, [{w}]\n",
            $("sdot v", $a, ".4s, v30.16b, v", $x, ".4b[", $lane, "]\n",)*
            $("sdot v", $b, ".4s, v31.16b, v", $x, ".4b[", $lane, "]\n",)*
            "add {w}, {w}, {quad_step}\n",
        )
    };
}

/// The same for 4 channels.
macro_rules! quad_by_4 {
    ($lane:literal $([$x:literal $a:literal])*) => {
        concat!(
            "ldr q30, [{w}]\n",
            $("sdot v", $a, ".4s, v30.16b, v", $x, ".4b[", $lane, "]\n",)*
            "add {w}, {w}, {quad_step}\n",
        )
    };
}

/// A function that multiplies and stores rows of a piece. For each row: its number, the name of its pointer, the
/// register of its input, and number, register and part of the block of its sums.
macro_rules! kernel {
    ($name:ident, $width:literal, $quad:ident, $([$row:literal $p:ident $x:literal $(($sum:literal $v:tt $part:literal))*])*) => {
        #[target_feature(enable = "neon,dotprod")]
        fn $name(piece: &Piece, finish: &Finish) {
            const ALL: usize = [$($($sum,)*)*].len();
            let reach = piece.reach;
            let (mut x, mut w) = (piece.x, piece.weights);
            // Where columns of a kernel row do not lie next to each other, each is a walk of its own.
            let (walks, rows_of_walk) = if reach.columns == 1 { (1, reach.rows) } else { (reach.rows, 1) };
            for time in 0..piece.times {
                let (channel, position) = (time * piece.channel_step, piece.position + time * piece.position_step);
                w = if piece.channel_step == 0 { piece.weights } else { w };
                // SAFETY: the block has so many channels.
                let channels = unsafe { finish.channels::<$width>(channel) };
                let mut sums = [channels.bias[0]; ALL];
                $($(sums[$sum] = channels.bias[$part];)*)*
                let mut line = 0;
                for _ in 0..walks {
                    let mut start = line;
                    for _ in 0..reach.columns {
                        // SAFETY: each row has `quads` groups of 4 bytes at every distance of the reach, and the
                        // weights have as many of 4 bytes for each channel.
                        unsafe {
                            asm!(
                                "mov {line}, {start} // weights of a quad: {quad_step} bytes",
                                "2:",
                                "mov {at}, {line}",
                                "subs {n}, {quads}, #4",
                                "b.lo 4f",
                                "3:",
                                $(concat!("ldr q", $x, ", [{", stringify!($p), "}, {at}]"),)*
                                $quad!("0" $([$x $($sum)*])*),
                                $quad!("1" $([$x $($sum)*])*),
                                $quad!("2" $([$x $($sum)*])*),
                                $quad!("3" $([$x $($sum)*])*),
                                "add {at}, {at}, #16",
                                "subs {n}, {n}, #4",
                                "b.hs 3b",
                                "4:",
                                "tbz {n}, #1, 5f",
                                $(concat!("ldr d", $x, ", [{", stringify!($p), "}, {at}]"),)*
                                $quad!("0" $([$x $($sum)*])*),
                                $quad!("1" $([$x $($sum)*])*),
                                "add {at}, {at}, #8",
                                "5:",
                                "tbz {n}, #0, 6f",
                                $(concat!("ldr s", $x, ", [{", stringify!($p), "}, {at}]"),)*
                                $quad!("0" $([$x $($sum)*])*),
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
                                $($(inout($v) sums[$sum],)*)*
                                out("v24") _, out("v25") _, out("v26") _, out("v27") _,
                                out("v28") _, out("v29") _, out("v30") _, out("v31") _,
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
                    $(finish.store::<$width>(&channels, position + $row, channel, kernel!(@four sums $($sum)*));)*
                }
            }
        }
    };
    (@four $sums:ident $a:literal) => { [$sums[$a]; 4] };
    (@four $sums:ident $a:literal $b:literal) => { [$sums[$a], $sums[$b], $sums[$a], $sums[$b]] };
    (@four $sums:ident $a:literal $b:literal $c:literal $d:literal) => {
        [$sums[$a], $sums[$b], $sums[$c], $sums[$d]]
    };
}

kernel!(six_by_16, 16, quad_by_16,
    [0 p0 24 (0 "v0" 0) (1 "v1" 1) (2 "v2" 2) (3 "v3" 3)]
    [1 p1 25 (4 "v4" 0) (5 "v5" 1) (6 "v6" 2) (7 "v7" 3)]
    [2 p2 26 (8 "v8" 0) (9 "v9" 1) (10 "v10" 2) (11 "v11" 3)]
    [3 p3 27 (12 "v12" 0) (13 "v13" 1) (14 "v14" 2) (15 "v15" 3)]
    [4 p4 28 (16 "v16" 0) (17 "v17" 1) (18 "v18" 2) (19 "v19" 3)]
    [5 p5 29 (20 "v20" 0) (21 "v21" 1) (22 "v22" 2) (23 "v23" 3)]);
kernel!(four_by_16, 16, quad_by_16,
    [0 p0 24 (0 "v0" 0) (1 "v1" 1) (2 "v2" 2) (3 "v3" 3)]
    [1 p1 25 (4 "v4" 0) (5 "v5" 1) (6 "v6" 2) (7 "v7" 3)]
    [2 p2 26 (8 "v8" 0) (9 "v9" 1) (10 "v10" 2) (11 "v11" 3)]
    [3 p3 27 (12 "v12" 0) (13 "v13" 1) (14 "v14" 2) (15 "v15" 3)]);
kernel!(two_by_16, 16, quad_by_16,
    [0 p0 24 (0 "v0" 0) (1 "v1" 1) (2 "v2" 2) (3 "v3" 3)]
    [1 p1 25 (4 "v4" 0) (5 "v5" 1) (6 "v6" 2) (7 "v7" 3)]);
kernel!(one_by_16, 16, quad_by_16,
    [0 p0 24 (0 "v0" 0) (1 "v1" 1) (2 "v2" 2) (3 "v3" 3)]);
kernel!(six_by_8, 8, quad_by_8,
    [0 p0 24 (0 "v0" 0) (1 "v1" 1)]
    [1 p1 25 (2 "v2" 0) (3 "v3" 1)]
    [2 p2 26 (4 "v4" 0) (5 "v5" 1)]
    [3 p3 27 (6 "v6" 0) (7 "v7" 1)]
    [4 p4 28 (8 "v8" 0) (9 "v9" 1)]
    [5 p5 29 (10 "v10" 0) (11 "v11" 1)]);
kernel!(four_by_8, 8, quad_by_8,
    [0 p0 24 (0 "v0" 0) (1 "v1" 1)]
    [1 p1 25 (2 "v2" 0) (3 "v3" 1)]
    [2 p2 26 (4 "v4" 0) (5 "v5" 1)]
    [3 p3 27 (6 "v6" 0) (7 "v7" 1)]);
kernel!(two_by_8, 8, quad_by_8,
    [0 p0 24 (0 "v0" 0) (1 "v1" 1)]
    [1 p1 25 (2 "v2" 0) (3 "v3" 1)]);
kernel!(one_by_8, 8, quad_by_8, [0 p0 24 (0 "v0" 0) (1 "v1" 1)]);
kernel!(six_by_4, 4, quad_by_4,
    [0 p0 24 (0 "v0" 0)]
    [1 p1 25 (1 "v1" 0)]
    [2 p2 26 (2 "v2" 0)]
    [3 p3 27 (3 "v3" 0)]
    [4 p4 28 (4 "v4" 0)]
    [5 p5 29 (5 "v5" 0)]);
kernel!(four_by_4, 4, quad_by_4,
    [0 p0 24 (0 "v0" 0)]
    [1 p1 25 (1 "v1" 0)]
    [2 p2 26 (2 "v2" 0)]
    [3 p3 27 (3 "v3" 0)]);
kernel!(two_by_4, 4, quad_by_4, [0 p0 24 (0 "v0" 0)] [1 p1 25 (1 "v1" 0)]);
kernel!(one_by_4, 4, quad_by_4, [0 p0 24 (0 "v0" 0)]);

/// Adds the products of four groups of four bytes, lane by lane.
#[target_feature(enable = "neon,dotprod")]
#[inline]
pub(super) fn sdot_all([a, b, c, d]: &mut [int32x4_t; 4], x: &[int8x16_t; 4], w: &[int8x16_t; 4]) {
    // SAFETY: the instructions touch registers only.
    unsafe {
        asm!(
            "sdot {a:v}.4s, {xa:v}.16b, {wa:v}.16b",
            "sdot {b:v}.4s, {xb:v}.16b, {wb:v}.16b",
            "sdot {c:v}.4s, {xc:v}.16b, {wc:v}.16b",
            "sdot {d:v}.4s, {xd:v}.16b, {wd:v}.16b",
            a = inout(vreg) *a, b = inout(vreg) *b, c = inout(vreg) *c, d = inout(vreg) *d,
            xa = in(vreg) x[0], xb = in(vreg) x[1], xc = in(vreg) x[2], xd = in(vreg) x[3],
            wa = in(vreg) w[0], wb = in(vreg) w[1], wc = in(vreg) w[2], wd = in(vreg) w[3],
            options(pure, nomem, nostack, preserves_flags),
        );
    }
}
