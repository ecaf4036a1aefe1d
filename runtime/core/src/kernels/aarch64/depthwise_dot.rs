//! Int8 depthwise convolution with SDOT, for windows of 3 × 3: the three rows of a column are interleaved
//! to one group of four bytes for each channel, once for all positions that see the column.
//!
//! Registers 0 to 11 hold weights, 12 to 23 three columns, 24 to 27 sums, 28 [`Finish::magic`], 29 zeros.

use core::arch::aarch64::*;
use core::arch::asm;
use core::mem::offset_of;

use super::depthwise::{self as long, place, suits, weights};
use super::finish::{self, Finish, load_bias, round, saturate, shift, shorten};
use crate::kernels::ConvI8Args;
use crate::kernels::channel_blocks::{Block, for_each_block};
use crate::weights::BLOCK;

/// Rows and columns of the window.
const SIDE: usize = 3;

/// What a kernel reads from assembly.
struct Piece {
    /// Three bytes and a zero for each of 16 channels, of each column.
    weights: [[int8x16_t; 4]; SIDE],
    finish: Finish,
}

/// [`crate::plan::step::ConvI8`], depthwise.
pub(super) fn depthwise(args: ConvI8Args<'_>) {
    let window = args.window;
    let fits = (window.kernel_h, window.kernel_w) == (3, 3) && (window.dilation_h, window.dilation_w) == (1, 1);
    let stride = window.stride_w;
    if !fits || stride > 2 || !suits(&args) {
        return long::depthwise(args);
    }
    let finish = Finish::of(&args);
    // SAFETY: this function stands only in kernels that `available` gives out where SDOT is there.
    for_each_block(args, |args, block| unsafe { slide(args, block, finish, stride) });
}

/// All positions of a block of channels.
#[target_feature(enable = "neon,dotprod")]
fn slide(args: &mut ConvI8Args<'_>, block: &Block<'_>, finish: Finish, stride: u32) {
    let column = |column: usize| interleave([0, 1, 2].map(|row| weights(args, block, row * SIDE + column)));
    let mut piece = Piece { weights: [column(0), column(1), column(2)], finish };
    let mut room = None;
    place(args, block, &mut piece.finish, &mut room);
    let (mut lanes, mut columns, mut stride) = (block.lanes, block.columns, stride);
    if lanes < BLOCK && stride == 1 && columns.is_multiple_of(2) {
        // Two neighbours with 8 channels are one with 16, the next such one two columns further.
        (lanes, columns, stride) = (BLOCK, columns / 2, 2);
        piece.finish.step = BLOCK;
    }
    let kernel = match (stride, lanes) {
        (1, BLOCK) => one_by_16,
        (1, _) => one_by_8,
        (_, BLOCK) => two_by_16,
        (_, _) => two_by_8,
    };
    // SAFETY: 16 bytes of every tap of every position can be read, as `for_each_block` has seen, and `place` has
    // seen the channels and the positions.
    unsafe { kernel(&mut piece, block, columns) };
}

/// Interleaves three rows of 16 channels.
#[target_feature(enable = "neon,dotprod")]
fn interleave(rows: [int8x16_t; SIDE]) -> [int8x16_t; 4] {
    let zero = vdupq_n_s8(0);
    let [a, b, c] = rows;
    let zip = |low: int8x16_t, high: int8x16_t| {
        let (low, high) = (vreinterpretq_s16_s8(low), vreinterpretq_s16_s8(high));
        [vreinterpretq_s8_s16(vzip1q_s16(low, high)), vreinterpretq_s8_s16(vzip2q_s16(low, high))]
    };
    let [first, second] = zip(vzip1q_s8(a, b), vzip1q_s8(c, zero));
    let [third, fourth] = zip(vzip2q_s8(a, b), vzip2q_s8(c, zero));
    [first, second, third, fourth]
}

/// Loads the next column into four registers.
macro_rules! column {
    ($a:literal $b:literal $c:literal $d:literal) => {
        concat!(
            "ld1 {{v24.16b}}, [{top}], {column_step}\n",
            "ld1 {{v25.16b}}, [{middle}], {column_step}\n",
            "ld1 {{v26.16b}}, [{bottom}], {column_step}\n",
            "zip1 v",
            $a,
            ".16b, v24.16b, v25.16b\n",
            "zip2 v",
            $c,
            ".16b, v24.16b, v25.16b\n",
            "zip1 v24.16b, v26.16b, v29.16b\n",
            "zip2 v25.16b, v26.16b, v29.16b\n",
            "zip2 v",
            $b,
            ".8h, v",
            $a,
            ".8h, v24.8h\n",
            "zip1 v",
            $a,
            ".8h, v",
            $a,
            ".8h, v24.8h\n",
            "zip2 v",
            $d,
            ".8h, v",
            $c,
            ".8h, v25.8h\n",
            "zip1 v",
            $c,
            ".8h, v",
            $c,
            ".8h, v25.8h\n",
        )
    };
}

/// Multiplies three columns and stores the results; the labels are those of the way back and forth to [`slow`].
macro_rules! emit {
    ($store:literal $there:literal $back:literal, $([$a:literal $b:literal $c:literal $d:literal])*) => {
        concat!(
            load_bias!("24" "25" "26" "27"; "{bias}"), "\n",
            emit!(@ $([$a $b $c $d])*, ["0" "1" "2" "3"] ["4" "5" "6" "7"] ["8" "9" "10" "11"]),
            "scvtf v24.4s, v24.4s\n",
            "scvtf v25.4s, v25.4s\n",
            "scvtf v26.4s, v26.4s\n",
            "scvtf v27.4s, v27.4s\n",
            "ldp q30, q31, [{multipliers}]\n",
            "fmul v24.4s, v24.4s, v30.4s\n",
            "fmul v25.4s, v25.4s, v31.4s\n",
            "ldp q30, q31, [{multipliers}, #32]\n",
            "fmul v26.4s, v26.4s, v30.4s\n",
            "fmul v27.4s, v27.4s, v31.4s\n",
            "cbnz {flags}, ", $there, "f\n",
            shorten!("24" "25" "26" "27"),
            saturate!("24" "25" "26" "27"),
            $back, ":\n",
            "st1 {{v24.", $store, "}}, [{y}], {y_step}\n",
        )
    };
    (@ $([$a:literal $b:literal $c:literal $d:literal])*, $([$wa:literal $wb:literal $wc:literal $wd:literal])*) => {
        concat!($(
            "sdot v24.4s, v", $a, ".16b, v", $wa, ".16b\n",
            "sdot v25.4s, v", $b, ".16b, v", $wb, ".16b\n",
            "sdot v26.4s, v", $c, ".16b, v", $wc, ".16b\n",
            "sdot v27.4s, v", $d, ".16b, v", $wd, ".16b\n",
        )*)
    };
}

/// The end for results that want more than the common one.
macro_rules! slow {
    ($there:literal $back:literal) => {
        concat!(
            $there, ":\n",
            "tbnz {flags}, {UNBOUNDED}, 50f\n",
            shorten!("24" "25" "26" "27"),
            "b 51f\n",
            "50:\n",
            round!("24" "25" "26" "27"),
            "51:\n",
            "ldr q28, [{piece}, {ZERO_POINT}]\n",
            shift!("24" "25" "26" "27"),
            saturate!("24" "25" "26" "27"),
            "ldr q28, [{piece}, {LOW}]\n",
            "ldr q29, [{piece}, {HIGH}]\n",
            finish::clamp!("24"),
            "ldr q28, [{piece}, {MAGIC}]\n",
            "movi v29.16b, #0\n",
            "b ", $back, "b\n",
        )
    };
}

/// A function for all lines of a block: what comes before the first position of a line, and what at each; the last
/// position of a line goes to label 9.
macro_rules! kernel {
    ($name:ident, $first:expr, [$($position:expr),*], [$($slow:expr),*]) => {
        #[target_feature(enable = "neon,dotprod")]
        unsafe fn $name(piece: &mut Piece, block: &Block<'_>, columns: usize) {
            // SAFETY: as the caller says; the kernel leaves a line behind its last column.
            unsafe {
                asm!(
                    "ldp q0, q1, [{piece}, {W}]",
                    "ldp q2, q3, [{piece}, {W} + 32]",
                    "ldp q4, q5, [{piece}, {W} + 64]",
                    "ldp q6, q7, [{piece}, {W} + 96]",
                    "ldp q8, q9, [{piece}, {W} + 128]",
                    "ldp q10, q11, [{piece}, {W} + 160]",
                    "ldr q28, [{piece}, {MAGIC}]",
                    "movi v29.16b, #0",
                    "2:",
                    "mov {top}, {x}",
                    "add {middle}, {x}, {row_step}",
                    "add {bottom}, {middle}, {row_step}",
                    "add {x}, {x}, {line_step}",
                    "mov {n}, {columns}",
                    $first,
                    "3:",
                    $($position,)*
                    "b 3b",
                    $($slow,)*
                    "9:",
                    "subs {lines}, {lines}, #1",
                    "b.ne 2b",
                    piece = in(reg) piece,
                    x = inout(reg) block.pointer(0, 0) => _,
                    lines = inout(reg) block.lines => _,
                    columns = in(reg) columns,
                    column_step = in(reg) block.column_step,
                    row_step = in(reg) block.row_step,
                    line_step = in(reg) block.line_step,
                    bias = in(reg) piece.finish.bias,
                    multipliers = in(reg) piece.finish.multipliers,
                    flags = in(reg) piece.finish.flags,
                    y = inout(reg) piece.finish.y => _,
                    y_step = in(reg) piece.finish.step,
                    top = out(reg) _,
                    middle = out(reg) _,
                    bottom = out(reg) _,
                    n = out(reg) _,
                    W = const offset_of!(Piece, weights),
                    MAGIC = const offset_of!(Piece, finish.magic),
                    ZERO_POINT = const offset_of!(Piece, finish.zero_point),
                    LOW = const offset_of!(Piece, finish.limits.low),
                    HIGH = const offset_of!(Piece, finish.limits.high),
                    UNBOUNDED = const finish::UNBOUNDED,
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
    // Columns stay where they are; what moves is which of them is the first.
    ($name:ident 1 $store:literal) => {
        kernel!(
            $name,
            concat!(column!("12" "13" "14" "15"), column!("16" "17" "18" "19")),
            [
                column!("20" "21" "22" "23"),
                emit!($store "40" "41", ["12" "13" "14" "15"] ["16" "17" "18" "19"] ["20" "21" "22" "23"]),
                "subs {n}, {n}, #1",
                "b.eq 9f",
                column!("12" "13" "14" "15"),
                emit!($store "42" "43", ["16" "17" "18" "19"] ["20" "21" "22" "23"] ["12" "13" "14" "15"]),
                "subs {n}, {n}, #1",
                "b.eq 9f",
                column!("16" "17" "18" "19"),
                emit!($store "44" "45", ["20" "21" "22" "23"] ["12" "13" "14" "15"] ["16" "17" "18" "19"]),
                "subs {n}, {n}, #1",
                "b.eq 9f"
            ],
            [slow!("40" "41"), slow!("42" "43"), slow!("44" "45")]
        );
    };
    ($name:ident 2 $store:literal) => {
        kernel!(
            $name,
            column!("12" "13" "14" "15"),
            [
                column!("16" "17" "18" "19"),
                column!("20" "21" "22" "23"),
                emit!($store "40" "41", ["12" "13" "14" "15"] ["16" "17" "18" "19"] ["20" "21" "22" "23"]),
                "subs {n}, {n}, #1",
                "b.eq 9f",
                column!("16" "17" "18" "19"),
                column!("12" "13" "14" "15"),
                emit!($store "42" "43", ["20" "21" "22" "23"] ["16" "17" "18" "19"] ["12" "13" "14" "15"]),
                "subs {n}, {n}, #1",
                "b.eq 9f"
            ],
            [slow!("40" "41"), slow!("42" "43")]
        );
    };
}

kernel!(one_by_16 1 "16b");
kernel!(two_by_16 2 "16b");
kernel!(one_by_8 1 "8b");
kernel!(two_by_8 2 "8b");
