//! Int8 convolution for cores without dot product: SMULL and SMLAL add two products in 16 bits, SADALP adds pairs
//! of them to 32 bits. Two rows times 16 output channels in registers.
//!
//! A register of sums holds two parts for each of two channels; they meet at the end. As in [`super::dot`], kernels
//! are written in assembly. Registers 0 to 15 hold sums, 16 to 23 groups of four bytes of the input, each spread
//! over a register, 24 to 27 weights, 28 to 31 products; at the end see [`super::finish`].

use core::arch::asm;
use core::mem::offset_of;

use super::blocks::{Piece, Set, multiply};
use super::fallback;
use super::finish::{self, Finish, load_multipliers, real, round, saturate, scale, shift, shorten, store};
use crate::kernels::rows::for_each_rows;
use crate::kernels::{ConvI8Args, border};

/// [`crate::plan::step::ConvI8`].
pub(super) fn conv(mut args: ConvI8Args<'_>) {
    if !args.weight_zero_points.is_empty() || !args.narrow {
        // Rare: the sums of the rows are needed too, or two products may pass 16 bits.
        return fallback::conv(args);
    }
    if border::pays(&args) {
        return border::conv(args, conv);
    }
    let finish = Finish::of(&args);
    for_each_rows(&mut args, |args, rows, weights| {
        // SAFETY: NEON is there on every AArch64.
        unsafe { multiply(args, rows, weights, finish, &SET) };
    });
}

static SET: Set<'static> =
    Set { by_16: &[one_by_16, two_by_16], by_8: &[one_by_8, two_by_8], by_4: &[one_by_4, two_by_4] };

/// One group of four bytes of a row, spread over register `$x`, times 8 channels in registers 24 and 25, or 4 in
/// register 24.
macro_rules! single {
    ($x:literal, $a:literal $b:literal $c:literal $d:literal) => {
        concat!(
            "smull v28.8h, v24.8b, v", $x, ".8b\n",
            "smull2 v29.8h, v24.16b, v", $x, ".16b\n",
            "smull v30.8h, v25.8b, v", $x, ".8b\n",
            "smull2 v31.8h, v25.16b, v", $x, ".16b\n",
            single!(@add $a $b $c $d),
        )
    };
    ($x:literal, $a:literal $b:literal) => {
        concat!(
            "smull v28.8h, v24.8b, v", $x, ".8b\n",
            "smull2 v29.8h, v24.16b, v", $x, ".16b\n",
            single!(@add $a $b),
        )
    };
    (@add $a:literal $b:literal) => {
        concat!("sadalp v", $a, ".4s, v28.8h\n", "sadalp v", $b, ".4s, v29.8h\n")
    };
    (@add $a:literal $b:literal $c:literal $d:literal) => {
        concat!(single!(@add $a $b), "sadalp v", $c, ".4s, v30.8h\n", "sadalp v", $d, ".4s, v31.8h\n")
    };
}

/// Two groups of a row, in registers `$x` and `$y`, times 8 or 4 channels: weights of the first as in [`single`], of
/// the second in registers 26 and 27.
macro_rules! double {
    ($x:literal $y:literal, $a:literal $b:literal $c:literal $d:literal) => {
        concat!(
            "smull v28.8h, v24.8b, v", $x, ".8b\n",
            "smull2 v29.8h, v24.16b, v", $x, ".16b\n",
            "smull v30.8h, v25.8b, v", $x, ".8b\n",
            "smull2 v31.8h, v25.16b, v", $x, ".16b\n",
            "smlal v28.8h, v26.8b, v", $y, ".8b\n",
            "smlal2 v29.8h, v26.16b, v", $y, ".16b\n",
            "smlal v30.8h, v27.8b, v", $y, ".8b\n",
            "smlal2 v31.8h, v27.16b, v", $y, ".16b\n",
            single!(@add $a $b $c $d),
        )
    };
    ($x:literal $y:literal, $a:literal $b:literal) => {
        concat!(
            "smull v28.8h, v24.8b, v", $x, ".8b\n",
            "smull2 v29.8h, v24.16b, v", $x, ".16b\n",
            "smlal v28.8h, v26.8b, v", $y, ".8b\n",
            "smlal2 v29.8h, v26.16b, v", $y, ".16b\n",
            single!(@add $a $b),
        )
    };
}

/// Two groups of weights, `$at` bytes from `w` where a block is 16 wide, times all rows.
macro_rules! pair {
    (16 $at:literal $([$x:literal $y:literal ($($low:literal)*) ($($high:literal)*)])*) => {
        concat!(
            "ldp q24, q25, [{w}, ", $at, "]\n",
            "ldp q26, q27, [{w}, ", $at, " + 64]\n",
            $(double!($x $y, $($low)*),)*
            "ldp q24, q25, [{w}, ", $at, " + 32]\n",
            "ldp q26, q27, [{w}, ", $at, " + 96]\n",
            $(double!($x $y, $($high)*),)*
        )
    };
    (8 $at:literal $([$x:literal $y:literal ($($sum:literal)*)])*) => {
        concat!(
            "ld1 {{v24.16b, v25.16b}}, [{w}], {quad_step}\n",
            "ld1 {{v26.16b, v27.16b}}, [{w}], {quad_step}\n",
            $(double!($x $y, $($sum)*),)*
        )
    };
    (4 $at:literal $([$x:literal $y:literal ($($sum:literal)*)])*) => {
        concat!(
            "ld1 {{v24.16b}}, [{w}], {quad_step}\n",
            "ld1 {{v26.16b}}, [{w}], {quad_step}\n",
            $(double!($x $y, $($sum)*),)*
        )
    };
}

/// One group of weights times all rows.
macro_rules! last {
    (16 $([$x:literal ($($low:literal)*) ($($high:literal)*)])*) => {
        concat!(
            "ldp q24, q25, [{w}], #32\n",
            $(single!($x, $($low)*),)*
            "ldp q24, q25, [{w}], #32\n",
            $(single!($x, $($high)*),)*
        )
    };
    (8 $([$x:literal ($($sum:literal)*)])*) => {
        concat!("ld1 {{v24.16b, v25.16b}}, [{w}], {quad_step}\n", $(single!($x, $($sum)*),)*)
    };
    (4 $([$x:literal ($($sum:literal)*)])*) => {
        concat!("ld1 {{v24.16b}}, [{w}], {quad_step}\n", $(single!($x, $($sum)*),)*)
    };
}

/// Steps over the weights that [`pair`] has read without a step.
macro_rules! step_over {
    (16 $bytes:literal) => {
        concat!("add {w}, {w}, #", $bytes)
    };
    ($width:tt $bytes:literal) => {
        ""
    };
}

/// Loads the bias of 16, 8 or 4 channels from `n` to registers 24 and on.
macro_rules! load_bias {
    (16 $at:literal) => { concat!("ldp q24, q25, [", $at, "]\nldp q26, q27, [", $at, ", #32]") };
    (16) => { load_bias!(16 "{n}") };
    (8) => { "ldp q24, q25, [{n}]" };
    (4) => { "ldr q24, [{n}]" };
}

/// The sums of a row begin with the bias as the first part and zero as the second.
macro_rules! begin {
    ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal) => {
        concat!(begin!(@ $a $b "24"), begin!(@ $c $d "25"), begin!(@ $e $f "26"), begin!(@ $g $h "27"))
    };
    ($a:literal $b:literal $c:literal $d:literal) => { concat!(begin!(@ $a $b "24"), begin!(@ $c $d "25")) };
    ($a:literal $b:literal) => { begin!(@ $a $b "24") };
    (@ $a:literal $b:literal $bias:literal) => {
        concat!("uxtl v", $a, ".2d, v", $bias, ".2s\n", "uxtl2 v", $b, ".2d, v", $bias, ".4s\n")
    };
}

/// The parts of a row's sums meet in the registers that name their channels.
macro_rules! meet {
    ($([$sum:literal $a:literal $b:literal])*) => {
        concat!($("addp v", $sum, ".4s, v", $a, ".4s, v", $b, ".4s\n",)*)
    };
}

/// Loads groups of four bytes of a row, each spread over a register.
macro_rules! spread {
    ($count:literal $bytes:literal [$p:ident] $x:literal $($more:literal)*) => {
        concat!(
            "ld", $count, "r {{v", $x, ".4s", $(", v", $more, ".4s",)* "}}, [{", stringify!($p), "}], #", $bytes,
        )
    };
}

/// A function that multiplies and stores tiles of rows. For each row: the name of its pointer, the registers of four
/// groups of its input, those of its sums, 8 channels at a time, and which of them meet where.
macro_rules! kernel {
    ($name:ident $rows:literal $width:tt $([$p:ident ($x0:literal $x1:literal $x2:literal $x3:literal) $(($($part:literal)*))*; $([$sum:literal $a:literal $b:literal])*])*) => {
        unsafe fn $name(piece: &mut Piece, tiles: usize) {
            // SAFETY: the piece has the rows, which can be read at every distance that its segments say, and weights,
            // channels and places for the results.
            unsafe {
                asm!(
                    "2: // weights of a quad: {quad_step} bytes",
                    concat!("subs {left}, {left}, #", $rows),
                    "b.ls 20f",
                    $(concat!("mov {", stringify!($p), "}, {x}\n", "add {x}, {x}, {step}"),)*
                    "3:",
                    "ldr {n}, [{piece}, {BIAS}]",
                    load_bias!($width),
                    $(begin!($($($part)*)*),)*
                    "ldr {w}, [{piece}, {WEIGHTS}]",
                    "ldr {runs}, [{piece}, {RUNS}]",
                    "4:",
                    "ldr {segments}, [{piece}, {SEGMENTS}]",
                    "5:",
                    "subs {n}, {quads}, #4",
                    "b.lo 7f",
                    "6:",
                    $(spread!("4" "16" [$p] $x0 $x1 $x2 $x3),)*
                    pair!($width "0" $([$x0 $x1 $(($($part)*))*])*),
                    pair!($width "128" $([$x2 $x3 $(($($part)*))*])*),
                    step_over!($width "256"),
                    "subs {n}, {n}, #4",
                    "b.hs 6b",
                    "7:",
                    "ands {n}, {n}, #3",
                    "b.eq 13f",
                    "tbz {n}, #1, 8f",
                    $(spread!("2" "8" [$p] $x0 $x1),)*
                    pair!($width "0" $([$x0 $x1 $(($($part)*))*])*),
                    step_over!($width "128"),
                    "8:",
                    "tbz {n}, #0, 13f",
                    $(spread!("1" "4" [$p] $x0),)*
                    last!($width $([$x0 $(($($part)*))*])*),
                    "13:",
                    $(concat!("add {", stringify!($p), "}, {", stringify!($p), "}, {gap}"),)*
                    "subs {segments}, {segments}, #1",
                    "b.ne 5b",
                    "subs {runs}, {runs}, #1",
                    "b.ne 40f",
                    $(meet!($([$sum $a $b])*),)*
                    "ldr {n}, [{piece}, {MULTIPLIERS}]",
                    load_multipliers!($width),
                    $(scale!($($sum)*),)*
                    "ldr q28, [{piece}, {MAGIC}]",
                    "ldr {n}, [{piece}, {FLAGS}]",
                    "cbnz {n}, 50f",
                    $(shorten!($($sum)*),)*
                    $(saturate!($($sum)*),)*
                    "14:",
                    $(store!($($sum)*),)*
                    "12:",
                    "subs {tiles}, {tiles}, #1",
                    "b.ne 2b",
                    "b 99f",
                    // Rows that do not all lie in the same line.
                    "20:",
                    concat!("add {left}, {left}, #", $rows),
                    $(
                        concat!("mov {", stringify!($p), "}, {x}"),
                        "add {x}, {x}, {step}",
                        "subs {left}, {left}, #1",
                        "b.ne 21f",
                        "ldr {n}, [{piece}, {TURN}]",
                        "add {x}, {x}, {n}",
                        "ldr {left}, [{piece}, {COLUMNS}]",
                        "21:",
                    )*
                    "b 3b",
                    // The next kernel row.
                    "40:",
                    "ldr {n}, [{piece}, {RUN_TURN}]",
                    $(concat!("add {", stringify!($p), "}, {", stringify!($p), "}, {n}"),)*
                    "b 4b",
                    // Results that want more than the common end.
                    "50:",
                    "tbnz {n}, {REAL}, 54f",
                    "tbnz {n}, {UNBOUNDED}, 52f",
                    $(shorten!($($sum)*),)*
                    "b 53f",
                    "52:",
                    $(round!($($sum)*),)*
                    "53:",
                    "ldr q28, [{piece}, {ZERO_POINT}]",
                    $(shift!($($sum)*),)*
                    $(saturate!($($sum)*),)*
                    "tbz {n}, {CLAMPED}, 14b",
                    "ldr q28, [{piece}, {LOW}]",
                    "ldr q29, [{piece}, {HIGH}]",
                    $(finish::clamp!($($sum)*),)*
                    "b 14b",
                    "54:",
                    $(real!($($sum)*),)*
                    "b 12b",
                    "99:",
                    piece = in(reg) piece,
                    tiles = inout(reg) tiles => _,
                    x = inout(reg) piece.x,
                    left = inout(reg) piece.left,
                    y = inout(reg) piece.finish.y,
                    y_step = in(reg) piece.finish.step,
                    step = in(reg) piece.step,
                    quads = in(reg) piece.quads,
                    gap = in(reg) piece.gap,
                    quad_step = in(reg) piece.quad_step,
                    $($p = out(reg) _,)*
                    w = out(reg) _,
                    n = out(reg) _,
                    runs = out(reg) _,
                    segments = out(reg) _,
                    BIAS = const offset_of!(Piece, finish.bias),
                    MULTIPLIERS = const offset_of!(Piece, finish.multipliers),
                    MAGIC = const offset_of!(Piece, finish.magic),
                    ZERO_POINT = const offset_of!(Piece, finish.zero_point),
                    LOW = const offset_of!(Piece, finish.limits.low),
                    HIGH = const offset_of!(Piece, finish.limits.high),
                    FLAGS = const offset_of!(Piece, finish.flags),
                    WEIGHTS = const offset_of!(Piece, weights),
                    RUNS = const offset_of!(Piece, runs),
                    RUN_TURN = const offset_of!(Piece, run_turn),
                    SEGMENTS = const offset_of!(Piece, segments),
                    TURN = const offset_of!(Piece, turn),
                    COLUMNS = const offset_of!(Piece, columns),
                    REAL = const finish::REAL,
                    UNBOUNDED = const finish::UNBOUNDED,
                    CLAMPED = const finish::CLAMPED,
                    out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v6") _,
                    out("v7") _, out("v8") _, out("v9") _, out("v10") _, out("v11") _, out("v12") _, out("v13") _,
                    out("v14") _, out("v15") _, out("v16") _, out("v17") _, out("v18") _, out("v19") _,
                    out("v20") _, out("v21") _, out("v22") _, out("v23") _, out("v24") _, out("v25") _,
                    out("v26") _, out("v27") _, out("v28") _, out("v29") _, out("v30") _, out("v31") _,
                    options(nostack),
                );
            }
        }
    };
}

kernel!(two_by_16 "2" 16 
    [p0 ("16" "17" "18" "19") ("0" "1" "2" "3") ("4" "5" "6" "7"); ["0" "0" "1"] ["1" "2" "3"] ["2" "4" "5"] ["3" "6" "7"]]
    [p1 ("20" "21" "22" "23") ("8" "9" "10" "11") ("12" "13" "14" "15"); ["8" "8" "9"] ["9" "10" "11"] ["10" "12" "13"] ["11" "14" "15"]]);
kernel!(two_by_8 "2" 8 
    [p0 ("16" "17" "18" "19") ("0" "1" "2" "3"); ["0" "0" "1"] ["1" "2" "3"]]
    [p1 ("20" "21" "22" "23") ("4" "5" "6" "7"); ["4" "4" "5"] ["5" "6" "7"]]);
kernel!(one_by_8 "1" 8 
    [p0 ("16" "17" "18" "19") ("0" "1" "2" "3"); ["0" "0" "1"] ["1" "2" "3"]]);
kernel!(two_by_4 "2" 4 
    [p0 ("16" "17" "18" "19") ("0" "1"); ["0" "0" "1"]]
    [p1 ("20" "21" "22" "23") ("2" "3"); ["2" "2" "3"]]);
kernel!(one_by_4 "1" 4 
    [p0 ("16" "17" "18" "19") ("0" "1"); ["0" "0" "1"]]);

/// One row times blocks of 16 channels.
unsafe fn one_by_16(piece: &mut Piece, blocks: usize) {
    // SAFETY: as in `kernel`; there are so many blocks of weights, channels and results.
    unsafe {
        asm!(
            "2:",
            load_bias!(16 "{bias}"),
            "add {bias}, {bias}, #64",
            begin!("0" "1" "2" "3" "4" "5" "6" "7"),
            "mov {at}, {x}",
            "ldr {runs}, [{piece}, {RUNS}]",
            "4:",
            "ldr {segments}, [{piece}, {SEGMENTS}]",
            "5:",
            "subs {n}, {quads}, #4",
            "b.lo 7f",
            "6:",
            spread!("4" "16" [at] "16" "17" "18" "19"),
            pair!(16 "0" ["16" "17" ("0" "1" "2" "3") ("4" "5" "6" "7")]),
            pair!(16 "128" ["18" "19" ("0" "1" "2" "3") ("4" "5" "6" "7")]),
            step_over!(16 "256"),
            "subs {n}, {n}, #4",
            "b.hs 6b",
            "7:",
            "ands {n}, {n}, #3",
            "b.eq 13f",
            "tbz {n}, #1, 8f",
            spread!("2" "8" [at] "16" "17"),
            pair!(16 "0" ["16" "17" ("0" "1" "2" "3") ("4" "5" "6" "7")]),
            step_over!(16 "128"),
            "8:",
            "tbz {n}, #0, 13f",
            spread!("1" "4" [at] "16"),
            last!(16 ["16" ("0" "1" "2" "3") ("4" "5" "6" "7")]),
            "13:",
            "add {at}, {at}, {gap}",
            "subs {segments}, {segments}, #1",
            "b.ne 5b",
            "subs {runs}, {runs}, #1",
            "b.ne 40f",
            meet!(["0" "0" "1"] ["1" "2" "3"] ["2" "4" "5"] ["3" "6" "7"]),
            load_multipliers!(16 "{multipliers}"),
            "add {multipliers}, {multipliers}, #64",
            scale!("0" "1" "2" "3"),
            "tbnz {flags}, {REAL}, 54f",
            round!("0" "1" "2" "3"),
            "ldr q28, [{piece}, {ALL}]",
            shift!("0" "1" "2" "3"),
            saturate!("0" "1" "2" "3"),
            "tbz {flags}, {CLAMPED}, 14f",
            "ldr q28, [{piece}, {LOW}]",
            "ldr q29, [{piece}, {HIGH}]",
            finish::clamp!("0" "1" "2" "3"),
            "14:",
            store!("0" "1" "2" "3"),
            "15:",
            "subs {blocks}, {blocks}, #1",
            "b.ne 2b",
            "b 99f",
            "40:",
            "ldr {n}, [{piece}, {RUN_TURN}]",
            "add {at}, {at}, {n}",
            "b 4b",
            "54:",
            real!("0" "1" "2" "3"),
            "b 15b",
            "99:",
            piece = in(reg) piece,
            blocks = inout(reg) blocks => _,
            x = in(reg) piece.x,
            y = inout(reg) piece.finish.y => _,
            y_step = in(reg) piece.finish.step,
            bias = inout(reg) piece.finish.bias => _,
            multipliers = inout(reg) piece.finish.multipliers => _,
            w = inout(reg) piece.weights => _,
            quads = in(reg) piece.quads,
            gap = in(reg) piece.gap,
            flags = in(reg) piece.finish.flags,
            at = out(reg) _,
            n = out(reg) _,
            runs = out(reg) _,
            segments = out(reg) _,
            ALL = const offset_of!(Piece, finish.limits.zero_point),
            LOW = const offset_of!(Piece, finish.limits.low),
            HIGH = const offset_of!(Piece, finish.limits.high),
            RUNS = const offset_of!(Piece, runs),
            RUN_TURN = const offset_of!(Piece, run_turn),
            SEGMENTS = const offset_of!(Piece, segments),
            REAL = const finish::REAL,
            CLAMPED = const finish::CLAMPED,
            out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            out("v16") _, out("v17") _, out("v18") _, out("v19") _, out("v24") _, out("v25") _, out("v26") _,
            out("v27") _, out("v28") _, out("v29") _, out("v30") _, out("v31") _,
            options(nostack),
        );
    }
}
