//! Int8 convolution with SDOT: up to 6 rows times 16 output channels in registers. Each SDOT multiplies
//! four bytes of one row with the weights of four channels.
//!
//! Kernels are written in assembly: the intrinsic is not stable, and compilers do not keep 24 sums in registers
//! reliably. Registers 0 to 23 hold sums, 24 to 29 input, 30 and 31 weights; at the end see [`super::finish`].

use core::arch::asm;
use core::mem::offset_of;

use super::blocks::{Piece, Set, multiply};
use super::fallback;
use super::finish::{self, Finish, load_bias, load_multipliers, real, round, saturate, scale, shift, shorten, store};
use crate::kernels::rows::for_each_rows;
use crate::kernels::{ConvI8Args, border};

/// [`crate::plan::step::ConvI8`].
pub(super) fn conv(mut args: ConvI8Args<'_>) {
    if !args.weight_zero_points.is_empty() {
        // Rare: the sums of the rows are needed too.
        return fallback::conv(args);
    }
    if border::pays(&args) {
        return border::conv(args, conv);
    }
    let finish = Finish::of(&args);
    for_each_rows(&mut args, |args, rows, weights| {
        // SAFETY: this function stands only in kernels that `available` gives out where SDOT is there.
        unsafe { multiply(args, rows, weights, finish, &SET) };
    });
}

static SET: Set<'static> = Set {
    by_16: &[one_by_16, two_by_16, three_by_16, four_by_16, five_by_16, six_by_16],
    by_8: &[one_by_8, two_by_8, three_by_8, four_by_8, five_by_8, six_by_8],
    by_4: &[one_by_4, two_by_4, three_by_4, four_by_4, five_by_4, six_by_4],
};

/// A quad of weights of 16 channels times lane `$lane` of each row: register of the row, and of its four sums.
macro_rules! quad {
    (16 $lane:literal $([$x:literal $a:literal $b:literal $c:literal $d:literal])*) => {
        concat!(
            "ldp q30, q31, [{w}], #32\n",
            $("sdot v", $a, ".4s, v30.16b, v", $x, ".4b[", $lane, "]\n",)*
            $("sdot v", $b, ".4s, v31.16b, v", $x, ".4b[", $lane, "]\n",)*
            "ldp q30, q31, [{w}], #32\n",
            $("sdot v", $c, ".4s, v30.16b, v", $x, ".4b[", $lane, "]\n",)*
            $("sdot v", $d, ".4s, v31.16b, v", $x, ".4b[", $lane, "]\n",)*
        )
    };
    (8 $lane:literal $([$x:literal $a:literal $b:literal])*) => {
        concat!(
            "ld1 {{v30.16b, v31.16b}}, [{w}], {quad_step}\n",
            $("sdot v", $a, ".4s, v30.16b, v", $x, ".4b[", $lane, "]\n",)*
            $("sdot v", $b, ".4s, v31.16b, v", $x, ".4b[", $lane, "]\n",)*
        )
    };
    (4 $lane:literal $([$x:literal $a:literal])*) => {
        concat!(
            "ld1 {{v30.16b}}, [{w}], {quad_step}\n",
            $("sdot v", $a, ".4s, v30.16b, v", $x, ".4b[", $lane, "]\n",)*
        )
    };
}

/// Four quads of all rows. For each row: the name of its pointer, the register of its input, those of its sums.
macro_rules! four {
    ($width:tt $([$p:ident $x:literal $($sum:literal)*])*) => {
        concat!(
            $("ldr q", $x, ", [{", stringify!($p), "}, {at}]\n",)*
            quad!($width "0" $([$x $($sum)*])*),
            quad!($width "1" $([$x $($sum)*])*),
            quad!($width "2" $([$x $($sum)*])*),
            quad!($width "3" $([$x $($sum)*])*),
            "add {at}, {at}, #16\n",
        )
    };
}

/// Quads of weights of 16 channels times these lanes of one row, whose sums are in registers 0 to 3.
macro_rules! one_row {
    ($x:literal $($lane:literal)*) => { concat!($(quad!(16 $lane [$x "0" "1" "2" "3"]),)*) };
}

/// The text that only kernels with a part for overlapping rows have.
macro_rules! optional {
    ($overlapping:expr => $text:literal) => {
        $text
    };
}

/// Six rows of a line whose segments are three steps long, so that each row shares two thirds with the next: what a
/// column holds is loaded once, and stays in its register for all rows. Weights of the three steps lie 16 steps apart.
macro_rules! six_overlapping {
    () => {
        concat!(
            "60:\n",
            "add {spare}, {x}, {step}\n",
            "lsl {runs}, {step}, #4\n",
            "sub {runs}, {runs}, #256\n",
            "61:\n",
            "lsr {n}, {step}, #4\n",
            "62:\n",
            "ldr q24, [{p0}, {at}]\n",
            "ldr q25, [{p1}, {at}]\n",
            "ldr q26, [{p2}, {at}]\n",
            "ldr q27, [{p3}, {at}]\n",
            "ldr q28, [{p4}, {at}]\n",
            "ldr q29, [{p5}, {at}]\n",
            six_overlapping!("24" "25" "26" "27" "28" "29"),
            "ldr q24, [{x}, {at}]\n",
            "add {w}, {w}, {runs}\n",
            six_overlapping!("25" "26" "27" "28" "29" "24"),
            "ldr q25, [{spare}, {at}]\n",
            "add {w}, {w}, {runs}\n",
            six_overlapping!("26" "27" "28" "29" "24" "25"),
            "sub {w}, {w}, {runs}, lsl #1\n",
            "sub {w}, {w}, #512\n",
            "add {at}, {at}, #16\n",
            "subs {n}, {n}, #1\n",
            "b.ne 62b\n",
            "add {w}, {w}, {step}, lsl #5\n",
            "add {at}, {at}, {gap}\n",
            "add {at}, {at}, {step}, lsl #1\n",
            "subs {segments}, {segments}, #1\n",
            "b.ne 61b\n",
            "b 16b\n",
        )
    };
    ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal) => {
        concat!(
            six_overlapping!(@ "0" $a $b $c $d $e $f),
            six_overlapping!(@ "1" $a $b $c $d $e $f),
            six_overlapping!(@ "2" $a $b $c $d $e $f),
            six_overlapping!(@ "3" $a $b $c $d $e $f),
        )
    };
    (@ $lane:literal $a:literal $b:literal $c:literal $d:literal $e:literal $f:literal) => {
        quad!(16 $lane
            [$a "0" "1" "2" "3"]
            [$b "4" "5" "6" "7"]
            [$c "8" "9" "10" "11"]
            [$d "12" "13" "14" "15"]
            [$e "16" "17" "18" "19"]
            [$f "20" "21" "22" "23"])
    };
}

/// A function that multiplies and stores tiles of rows. For each row: the name of its pointer, the register of its
/// input, and those of its sums.
macro_rules! kernel {
    ($name:ident $rows:literal $width:tt $([$p:ident $x:literal $($sum:literal)*])* $(; $overlapping:expr)?) => {
        #[target_feature(enable = "neon,dotprod")]
        unsafe fn $name(piece: &mut Piece, tiles: usize) {
            // SAFETY: the piece has the rows, which can be read at every distance that its segments say, and weights,
            // channels and places for the results.
            unsafe {
                asm!(
                    "2: // Not every kernel uses {quad_step}, {overlap} and {OVERLAP}.",
                    concat!("subs {left}, {left}, #", $rows),
                    "b.ls 20f",
                    $(concat!("mov {", stringify!($p), "}, {x}\n", "add {x}, {x}, {step}"),)*
                    $(optional!($overlapping => "ldr {overlap}, [{piece}, {OVERLAP}]"),)?
                    "3:",
                    "ldr {n}, [{piece}, {BIAS}]",
                    $(load_bias!($($sum)*),)*
                    "ldr {w}, [{piece}, {WEIGHTS}]",
                    "mov {at}, #0",
                    "ldr {runs}, [{piece}, {RUNS}]",
                    "4:",
                    "ldr {segments}, [{piece}, {SEGMENTS}]",
                    $(optional!($overlapping => "cbnz {overlap}, 60f"),)?
                    "5:",
                    "subs {n}, {quads}, #8",
                    "b.lo 7f",
                    "6:",
                    four!($width $([$p $x $($sum)*])*),
                    four!($width $([$p $x $($sum)*])*),
                    "subs {n}, {n}, #8",
                    "b.hs 6b",
                    "7:",
                    "tbz {n}, #2, 8f",
                    four!($width $([$p $x $($sum)*])*),
                    "8:",
                    "ands {n}, {n}, #3",
                    "b.eq 13f",
                    "cbnz {tight}, 30f",
                    $(concat!("ldr q", $x, ", [{", stringify!($p), "}, {at}]"),)*
                    "9:",
                    quad!($width "0" $([$x $($sum)*])*),
                    "cmp {n}, #2",
                    "b.lo 12f",
                    quad!($width "1" $([$x $($sum)*])*),
                    "b.eq 12f",
                    quad!($width "2" $([$x $($sum)*])*),
                    "12:",
                    "add {at}, {at}, {n}, lsl #2",
                    "13:",
                    "add {at}, {at}, {gap}",
                    "subs {segments}, {segments}, #1",
                    "b.ne 5b",
                    "subs {runs}, {runs}, #1",
                    "b.ne 40f",
                    "16:",
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
                    "15:",
                    "subs {tiles}, {tiles}, #1",
                    "b.ne 2b",
                    "b 99f",
                    // Rows that do not all lie in the same line.
                    "20:",
                    concat!("add {left}, {left}, #", $rows),
                    $(optional!($overlapping => "mov {overlap}, #0"),)?
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
                    // One to three groups that are the last bytes of the input.
                    "30:",
                    "tbz {n}, #1, 31f",
                    $(concat!("ldr d", $x, ", [{", stringify!($p), "}, {at}]"),)*
                    "tbz {n}, #0, 9b",
                    "add {at}, {at}, #8",
                    $(concat!("add {spare}, {", stringify!($p), "}, {at}\n", "ld1 {{v", $x, ".s}}[2], [{spare}]"),)*
                    "sub {at}, {at}, #8",
                    "b 9b",
                    "31:",
                    $(concat!("ldr s", $x, ", [{", stringify!($p), "}, {at}]"),)*
                    "b 9b",
                    // The next kernel row.
                    "40:",
                    "ldr {n}, [{piece}, {RUN_TURN}]",
                    "add {at}, {at}, {n}",
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
                    "b 15b",
                    $($overlapping,)?
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
                    tight = in(reg) piece.tight,
                    quad_step = in(reg) piece.quad_step,
                    $($p = out(reg) _,)*
                    w = out(reg) _,
                    at = out(reg) _,
                    n = out(reg) _,
                    runs = out(reg) _,
                    segments = out(reg) _,
                    spare = out(reg) _,
                    overlap = out(reg) _,
                    OVERLAP = const offset_of!(Piece, overlap),
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

kernel!(six_by_16 "6" 16 
    [p0 "24" "0" "1" "2" "3"]
    [p1 "25" "4" "5" "6" "7"]
    [p2 "26" "8" "9" "10" "11"]
    [p3 "27" "12" "13" "14" "15"]
    [p4 "28" "16" "17" "18" "19"]
    [p5 "29" "20" "21" "22" "23"];
    six_overlapping!());
kernel!(five_by_16 "5" 16 
    [p0 "24" "0" "1" "2" "3"]
    [p1 "25" "4" "5" "6" "7"]
    [p2 "26" "8" "9" "10" "11"]
    [p3 "27" "12" "13" "14" "15"]
    [p4 "28" "16" "17" "18" "19"]);
kernel!(four_by_16 "4" 16 
    [p0 "24" "0" "1" "2" "3"]
    [p1 "25" "4" "5" "6" "7"]
    [p2 "26" "8" "9" "10" "11"]
    [p3 "27" "12" "13" "14" "15"]);
kernel!(three_by_16 "3" 16 [p0 "24" "0" "1" "2" "3"] [p1 "25" "4" "5" "6" "7"] [p2 "26" "8" "9" "10" "11"]);
kernel!(two_by_16 "2" 16 [p0 "24" "0" "1" "2" "3"] [p1 "25" "4" "5" "6" "7"]);
kernel!(six_by_8 "6" 8 
    [p0 "24" "0" "1"]
    [p1 "25" "2" "3"]
    [p2 "26" "4" "5"]
    [p3 "27" "6" "7"]
    [p4 "28" "8" "9"]
    [p5 "29" "10" "11"]);
kernel!(five_by_8 "5" 8 [p0 "24" "0" "1"] [p1 "25" "2" "3"] [p2 "26" "4" "5"] [p3 "27" "6" "7"] [p4 "28" "8" "9"]);
kernel!(four_by_8 "4" 8 [p0 "24" "0" "1"] [p1 "25" "2" "3"] [p2 "26" "4" "5"] [p3 "27" "6" "7"]);
kernel!(three_by_8 "3" 8 [p0 "24" "0" "1"] [p1 "25" "2" "3"] [p2 "26" "4" "5"]);
kernel!(two_by_8 "2" 8 [p0 "24" "0" "1"] [p1 "25" "2" "3"]);
kernel!(one_by_8 "1" 8 [p0 "24" "0" "1"]);
kernel!(six_by_4 "6" 4 [p0 "24" "0"] [p1 "25" "1"] [p2 "26" "2"] [p3 "27" "3"] [p4 "28" "4"] [p5 "29" "5"]);
kernel!(five_by_4 "5" 4 [p0 "24" "0"] [p1 "25" "1"] [p2 "26" "2"] [p3 "27" "3"] [p4 "28" "4"]);
kernel!(four_by_4 "4" 4 [p0 "24" "0"] [p1 "25" "1"] [p2 "26" "2"] [p3 "27" "3"]);
kernel!(three_by_4 "3" 4 [p0 "24" "0"] [p1 "25" "1"] [p2 "26" "2"]);
kernel!(two_by_4 "2" 4 [p0 "24" "0"] [p1 "25" "1"]);
kernel!(one_by_4 "1" 4 [p0 "24" "0"]);

/// One row times blocks of 16 channels.
#[target_feature(enable = "neon,dotprod")]
unsafe fn one_by_16(piece: &mut Piece, blocks: usize) {
    // SAFETY: as in `kernel`; there are so many blocks of weights, channels and results.
    unsafe {
        asm!(
            "2:",
            load_bias!("0" "1" "2" "3"; "{bias}"),
            "add {bias}, {bias}, #64",
            "mov {at}, {x}",
            "ldr {runs}, [{piece}, {RUNS}]",
            "4:",
            "ldr {segments}, [{piece}, {SEGMENTS}]",
            "5:",
            "subs {n}, {quads}, #8",
            "b.lo 7f",
            "6:",
            "ldp q24, q25, [{at}], #32",
            one_row!("24" "0" "1" "2" "3"),
            one_row!("25" "0" "1" "2" "3"),
            "subs {n}, {n}, #8",
            "b.hs 6b",
            "7:",
            "ands {n}, {n}, #7",
            "b.eq 13f",
            "tbz {n}, #2, 8f",
            "ldr q24, [{at}], #16",
            one_row!("24" "0" "1" "2" "3"),
            "8:",
            "tbz {n}, #1, 9f",
            "ldr d24, [{at}], #8",
            one_row!("24" "0" "1"),
            "9:",
            "tbz {n}, #0, 13f",
            "ldr s24, [{at}], #4",
            one_row!("24" "0"),
            "13:",
            "add {at}, {at}, {gap}",
            "subs {segments}, {segments}, #1",
            "b.ne 5b",
            "subs {runs}, {runs}, #1",
            "b.ne 40f",
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
            out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v24") _, out("v25") _, out("v26") _,
            out("v27") _, out("v28") _, out("v29") _, out("v30") _, out("v31") _,
            options(nostack),
        );
    }
}
