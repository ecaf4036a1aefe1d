//! The products of rows and channels, in assembly.
//!
//! Sums lie in the eight even general registers, into which alone VMLADAVA adds: `tiles` keeps those of two rows and
//! four channels, `octets` those of one row and eight channels.

use core::arch::naked_asm;
use core::mem::offset_of;

/// What the kernels read, and where they keep what finds no register.
#[repr(C)]
pub(super) struct Piece {
    /// The next row.
    pub x: *const i8,
    /// Rows to come; `tiles` leaves an odd one.
    pub rows: usize,
    /// Rows from `x` to the end of its line.
    pub left: usize,
    /// Rows of a line.
    pub columns: usize,
    /// Bytes from behind the last row of a line to the first one of the next.
    pub turn: usize,
    /// Bytes from where the last segment's last whole 16 bytes end to the next row.
    pub next: usize,
    /// Bytes from one row to the next; stands behind `next`.
    pub step: usize,
    /// Room: pairs of rows to come in this line.
    pub pairs: usize,
    /// Segments of a row.
    pub segments: usize,
    /// Bytes from where a segment's last whole 16 bytes end to the next segment.
    pub gap: usize,
    /// Times 16 bytes in a segment.
    pub whole: usize,
    /// Bytes of a segment behind those.
    pub tail: usize,
    /// Bytes of weights from one 16 bytes of input to the next.
    pub stride: usize,
    /// Bytes of weights of one channel block that belong to a tail.
    pub tail_stride: usize,
    /// Addresses of the weights of the first four groups of four.
    pub weights: [usize; 4],
    /// Result, and bytes from one position to the next.
    pub y: *mut i8,
    /// Stands behind `y`.
    pub y_step: usize,
    /// Of the channels of a tile.
    pub bias: [i32; 4],
    /// Of the channels of a tile.
    pub multipliers: [f32; 4],
    /// Least result, four times.
    pub low: [i32; 4],
    /// Greatest result, four times.
    pub high: [i32; 4],
    /// Zero point of the results.
    pub zero_point: i32,
    /// Eights of channels to come.
    pub octets: usize,
    /// Bias of the next eight channels, which follow each other.
    pub octet_bias: *const i32,
    /// Their multipliers.
    pub octet_multipliers: *const f32,
    /// Bytes from the weights of these eight channels to the next ones.
    pub hop: usize,
    /// And from those to the ones behind them; stands behind `hop`.
    pub other_hop: usize,
}

macro_rules! begin {
    () => {
        concat!(
            ".arch armv8.1-m.main\n",
            ".arch_extension mve.fp\n",
            "push {{r4-r11, lr}}\n",
            "vpush {{d8-d15}}\n",
            "mov r7, r0\n",
            "ldr r11, [r7, {STRIDE}]\n",
            "vldrw.u32 q5, [r7, {WEIGHTS}]\n",
        )
    };
}

macro_rules! end {
    () => {
        "vpop {{d8-d15}}\npop {{r4-r11, pc}}\n"
    };
}

/// Sums as floats times multipliers, rounded half to even, shifted and limited: four in each register.
macro_rules! finish {
    ($a:literal $b:literal, $m:literal $n:literal, $zero_point:literal, $low:literal $high:literal) => {
        concat!(
            "vcvt.f32.s32 ",
            $a,
            ", ",
            $a,
            "\n",
            "vcvt.f32.s32 ",
            $b,
            ", ",
            $b,
            "\n",
            "vmul.f32 ",
            $a,
            ", ",
            $a,
            ", ",
            $m,
            "\n",
            "vmul.f32 ",
            $b,
            ", ",
            $b,
            ", ",
            $n,
            "\n",
            "vcvtn.s32.f32 ",
            $a,
            ", ",
            $a,
            "\n",
            "vcvtn.s32.f32 ",
            $b,
            ", ",
            $b,
            "\n",
            "vqadd.s32 ",
            $a,
            ", ",
            $a,
            ", ",
            $zero_point,
            "\n",
            "vqadd.s32 ",
            $b,
            ", ",
            $b,
            ", ",
            $zero_point,
            "\n",
            "vmax.s32 ",
            $a,
            ", ",
            $a,
            ", ",
            $low,
            "\n",
            "vmax.s32 ",
            $b,
            ", ",
            $b,
            ", ",
            $low,
            "\n",
            "vmin.s32 ",
            $a,
            ", ",
            $a,
            ", ",
            $high,
            "\n",
            "vmin.s32 ",
            $b,
            ", ",
            $b,
            ", ",
            $high,
            "\n",
        )
    };
}

/// The sums, four by four, in vectors.
macro_rules! collect {
    () => {
        "vmov q0[2], q0[0], r0, r4
         vmov q0[3], q0[1], r2, r6
         vmov q1[2], q1[0], r8, r12
         vmov q1[3], q1[1], r10, lr\n"
    };
}

/// A `tiles` kernel; `$tail` is what is done behind the last whole 16 bytes of each segment.
macro_rules! tiles {
    ($(#[$doc:meta])* $name:ident, $skip:literal, $tail:expr) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// The CPU has Helium; rows, weights and results of the piece are there, weights at multiples of 4.
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name(piece: *mut Piece) {
            naked_asm!(
                begin!(),
                "ldr r1, [r7, {X}]",
                "vldrw.u32 q6, [r7, {MULTIPLIERS}]",
                "vldrw.u32 q7, [r7, {LOW}]",
                "b 9f",
                "2:",
                "ldrd r0, r2, [r7, {BIAS}]",
                "ldrd r4, r6, [r7, {BIAS} + 8]",
                "ldrd r8, r10, [r7, {BIAS}]",
                "ldrd r12, lr, [r7, {BIAS} + 8]",
                "ldr r9, [r7, {SEGMENTS}]",
                "vmov q4, q5",
                "b 4f",
                "3:",
                "ldr r5, [r7, {GAP}]",
                "add r1, r1, r5",
                "add r3, r3, r5",
                "4:",
                "ldr r5, [r7, {WHOLE}]",
                $skip,
                "5:",
                "vldrb.u8 q0, [r1], #16",
                "vldrw.u32 q2, [q4]",
                "vmladava.s8 r0, q0, q2",
                "vldrb.u8 q1, [r3], #16",
                "vmladava.s8 r8, q1, q2",
                "vldrw.u32 q3, [q4, #4]",
                "vmladava.s8 r2, q0, q3",
                "vmladava.s8 r10, q1, q3",
                "vldrw.u32 q2, [q4, #8]",
                "vmladava.s8 r4, q0, q2",
                "vmladava.s8 r12, q1, q2",
                "vldrw.u32 q3, [q4, #12]",
                "vmladava.s8 r6, q0, q3",
                "vmladava.s8 lr, q1, q3",
                "vadd.i32 q4, q4, r11",
                "subs r5, r5, #1",
                "bne 5b",
                "6:",
                $tail,
                "subs r9, r9, #1",
                "bne 3b",
                collect!(),
                "ldr r5, [r7, {ZERO_POINT}]",
                "vldrw.u32 q2, [r7, {HIGH}]",
                finish!("q0" "q1", "q6" "q6", "r5", "q7" "q2"),
                "ldrd r2, r4, [r7, {Y}]",
                "vstrb.32 q0, [r2]",
                "add r2, r2, r4",
                "vstrb.32 q1, [r2]",
                "add r2, r2, r4",
                "str r2, [r7, {Y}]",
                "ldr r5, [r7, {PAIRS}]",
                "ldrd r0, r2, [r7, {NEXT}]",
                "subs r5, r5, #1",
                "str r5, [r7, {PAIRS}]",
                "add r1, r3, r0",
                "add r3, r1, r2",
                "bne 2b",
                // The next pairs: those of what is left of the line, or one whose second row is in the next line.
                "9:",
                "ldr r0, [r7, {LEFT}]",
                "ldrd r4, r5, [r7, {COLUMNS}]",
                "cbnz r0, 10f",
                "add r1, r1, r5",
                "mov r0, r4",
                "10:",
                "ldr r2, [r7, {ROWS}]",
                "cmp r2, #2",
                "blo 12f",
                "ldr r6, [r7, {STEP}]",
                "add r3, r1, r6",
                "cmp r0, #1",
                "beq 11f",
                "cmp r0, r2",
                "ite lo",
                "lsrlo r6, r0, #1",
                "lsrhs r6, r2, #1",
                "str r6, [r7, {PAIRS}]",
                "sub r2, r2, r6, lsl #1",
                "str r2, [r7, {ROWS}]",
                "sub r0, r0, r6, lsl #1",
                "str r0, [r7, {LEFT}]",
                "b 2b",
                "11:",
                "add r3, r3, r5",
                "str r0, [r7, {PAIRS}]",
                "sub r2, r2, #2",
                "str r2, [r7, {ROWS}]",
                "sub r4, r4, #1",
                "str r4, [r7, {LEFT}]",
                "b 2b",
                "12:",
                "str r1, [r7, {X}]",
                "str r0, [r7, {LEFT}]",
                end!(),
                X = const offset_of!(Piece, x),
                ROWS = const offset_of!(Piece, rows),
                LEFT = const offset_of!(Piece, left),
                COLUMNS = const offset_of!(Piece, columns),
                NEXT = const offset_of!(Piece, next),
                STEP = const offset_of!(Piece, step),
                PAIRS = const offset_of!(Piece, pairs),
                SEGMENTS = const offset_of!(Piece, segments),
                GAP = const offset_of!(Piece, gap),
                WHOLE = const offset_of!(Piece, whole),
                TAIL = const offset_of!(Piece, tail),
                STRIDE = const offset_of!(Piece, stride),
                TAIL_STRIDE = const offset_of!(Piece, tail_stride),
                WEIGHTS = const offset_of!(Piece, weights),
                Y = const offset_of!(Piece, y),
                BIAS = const offset_of!(Piece, bias),
                MULTIPLIERS = const offset_of!(Piece, multipliers),
                LOW = const offset_of!(Piece, low),
                HIGH = const offset_of!(Piece, high),
                ZERO_POINT = const offset_of!(Piece, zero_point),
            )
        }
    };
}

tiles!(
    /// Pairs of rows times four channels; segments are multiples of 16 bytes.
    tiles,
    "",
    "/* {TAIL} {TAIL_STRIDE} */"
);
tiles!(
    /// Pairs of rows times four channels; segments are not multiples of 16 bytes.
    tiles_with_tail,
    "cbz r5, 6f",
    "ldr r5, [r7, {TAIL}]
     vctp.8 r5
     ldr r5, [r7, {TAIL_STRIDE}]
     vpstttt
     vldrbt.u8 q0, [r1]
     vldrbt.u8 q1, [r3]
     vldrwt.u32 q2, [q4]
     vldrwt.u32 q3, [q4, #4]
     vmladava.s8 r0, q0, q2
     vmladava.s8 r8, q1, q2
     vmladava.s8 r2, q0, q3
     vmladava.s8 r10, q1, q3
     vpstt
     vldrwt.u32 q2, [q4, #8]
     vldrwt.u32 q3, [q4, #12]
     vmladava.s8 r4, q0, q2
     vmladava.s8 r12, q1, q2
     vmladava.s8 r6, q0, q3
     vmladava.s8 lr, q1, q3
     vadd.i32 q4, q4, r5"
);

/// One row times eights of channels, of all rows the next one.
///
/// # Safety
/// The CPU has Helium; row, weights and results of the piece are there, weights, bias and multipliers at multiples
/// of 4.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn octets(piece: *mut Piece) {
    naked_asm!(
        begin!(),
        "vldrw.u32 q6, [r7, {LOW}]",
        "vldrw.u32 q7, [r7, {HIGH}]",
        "2:",
        "ldr r3, [r7, {BIAS}]",
        "ldrd r0, r2, [r3], #8",
        "ldrd r4, r6, [r3], #8",
        "ldrd r8, r10, [r3], #8",
        "ldrd r12, lr, [r3], #8",
        "str r3, [r7, {BIAS}]",
        "ldr r1, [r7, {X}]",
        "ldr r9, [r7, {SEGMENTS}]",
        "vmov q4, q5",
        "b 4f",
        "3:",
        "ldr r5, [r7, {GAP}]",
        "add r1, r1, r5",
        "4:",
        "ldr r5, [r7, {WHOLE}]",
        "cbz r5, 6f",
        "5:",
        "vldrb.u8 q0, [r1], #16",
        "vldrw.u32 q1, [q4]",
        "vmladava.s8 r0, q0, q1",
        "vldrw.u32 q2, [q4, #4]",
        "vmladava.s8 r2, q0, q2",
        "vldrw.u32 q1, [q4, #8]",
        "vmladava.s8 r4, q0, q1",
        "vldrw.u32 q2, [q4, #12]",
        "vmladava.s8 r6, q0, q2",
        "vldrw.u32 q1, [q4, #16]",
        "vmladava.s8 r8, q0, q1",
        "vldrw.u32 q2, [q4, #20]",
        "vmladava.s8 r10, q0, q2",
        "vldrw.u32 q1, [q4, #24]",
        "vmladava.s8 r12, q0, q1",
        "vldrw.u32 q2, [q4, #28]",
        "vmladava.s8 lr, q0, q2",
        "vadd.i32 q4, q4, r11",
        "subs r5, r5, #1",
        "bne 5b",
        "6:",
        "ldr r5, [r7, {TAIL}]",
        "cbz r5, 7f",
        "vctp.8 r5",
        "ldr r5, [r7, {TAIL_STRIDE}]",
        "vpstttt",
        "vldrbt.u8 q0, [r1]",
        "vldrwt.u32 q1, [q4]",
        "vldrwt.u32 q2, [q4, #4]",
        "vldrwt.u32 q3, [q4, #8]",
        "vmladava.s8 r0, q0, q1",
        "vmladava.s8 r2, q0, q2",
        "vmladava.s8 r4, q0, q3",
        "vpsttt",
        "vldrwt.u32 q1, [q4, #12]",
        "vldrwt.u32 q2, [q4, #16]",
        "vldrwt.u32 q3, [q4, #20]",
        "vmladava.s8 r6, q0, q1",
        "vmladava.s8 r8, q0, q2",
        "vmladava.s8 r10, q0, q3",
        "vpstt",
        "vldrwt.u32 q1, [q4, #24]",
        "vldrwt.u32 q2, [q4, #28]",
        "vmladava.s8 r12, q0, q1",
        "vmladava.s8 lr, q0, q2",
        "vadd.i32 q4, q4, r5",
        "7:",
        "subs r9, r9, #1",
        "bne 3b",
        collect!(),
        "ldr r3, [r7, {MULTIPLIERS}]",
        "ldr r5, [r7, {ZERO_POINT}]",
        "vldrw.u32 q2, [r3], #16",
        "vldrw.u32 q3, [r3], #16",
        "str r3, [r7, {MULTIPLIERS}]",
        finish!("q0" "q1", "q2" "q3", "r5", "q6" "q7"),
        "ldr r3, [r7, {Y}]",
        "ldrd r0, r2, [r7, {HOP}]",
        "vstrb.32 q0, [r3], #4",
        "vstrb.32 q1, [r3], #4",
        "str r3, [r7, {Y}]",
        "ldr r5, [r7, {OCTETS}]",
        "strd r2, r0, [r7, {HOP}]",
        "vadd.i32 q5, q5, r0",
        "subs r5, r5, #1",
        "str r5, [r7, {OCTETS}]",
        "bne 2b",
        end!(),
        X = const offset_of!(Piece, x),
        SEGMENTS = const offset_of!(Piece, segments),
        GAP = const offset_of!(Piece, gap),
        WHOLE = const offset_of!(Piece, whole),
        TAIL = const offset_of!(Piece, tail),
        STRIDE = const offset_of!(Piece, stride),
        TAIL_STRIDE = const offset_of!(Piece, tail_stride),
        WEIGHTS = const offset_of!(Piece, weights),
        Y = const offset_of!(Piece, y),
        LOW = const offset_of!(Piece, low),
        HIGH = const offset_of!(Piece, high),
        ZERO_POINT = const offset_of!(Piece, zero_point),
        OCTETS = const offset_of!(Piece, octets),
        BIAS = const offset_of!(Piece, octet_bias),
        MULTIPLIERS = const offset_of!(Piece, octet_multipliers),
        HOP = const offset_of!(Piece, hop),
    )
}
