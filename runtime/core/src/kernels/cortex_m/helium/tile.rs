//! Two rows times four channels at a time, in assembly.

use core::arch::naked_asm;
use core::mem::offset_of;

use super::piece::{Piece, begin, end, round, scale};

/// 16 bytes of two rows times four channels; `$first` loads the weights of the first one.
macro_rules! step {
    ($first:literal) => {
        concat!(
            "vldrb.u8 q0, [r1], #16\n",
            $first,
            "\n",
            "vmladava.s8 r0, q0, q2\n",
            "vldrb.u8 q1, [r3], #16\n",
            "vmladava.s8 r8, q1, q2\n",
            "vldrw.u32 q3, [q4, #4]\n",
            "vmladava.s8 r2, q0, q3\n",
            "vmladava.s8 r10, q1, q3\n",
            "vldrw.u32 q2, [q4, #8]\n",
            "vmladava.s8 r4, q0, q2\n",
            "vmladava.s8 r12, q1, q2\n",
            "vldrw.u32 q3, [q4, #12]\n",
            "vmladava.s8 r6, q0, q3\n",
            "vmladava.s8 lr, q1, q3\n",
        )
    };
}

/// Fewer bytes of two rows times four channels, as many as the predicate says; weights lie at `$a` and so on behind q4.
macro_rules! tail {
    ($a:literal $b:literal $c:literal $d:literal) => {
        concat!(
            "vpstttt\n",
            "vldrbt.u8 q0, [r1]\n",
            "vldrbt.u8 q1, [r3]\n",
            "vldrwt.u32 q2, [q4, ",
            $a,
            "]\n",
            "vldrwt.u32 q3, [q4, ",
            $b,
            "]\n",
            "vmladava.s8 r0, q0, q2\n",
            "vmladava.s8 r8, q1, q2\n",
            "vmladava.s8 r2, q0, q3\n",
            "vmladava.s8 r10, q1, q3\n",
            "vpstt\n",
            "vldrwt.u32 q2, [q4, ",
            $c,
            "]\n",
            "vldrwt.u32 q3, [q4, ",
            $d,
            "]\n",
            "vmladava.s8 r4, q0, q2\n",
            "vmladava.s8 r12, q1, q2\n",
            "vmladava.s8 r6, q0, q3\n",
            "vmladava.s8 lr, q1, q3\n",
        )
    };
}

/// A kernel for pairs of rows times four channels: `$begin` stands before the first pair and `$products` multiplies
/// one, q5 being where the weights are. `$count` counts a pair and `$pairs` keeps their number, which is in r6.
macro_rules! tiles {
    ($(#[$doc:meta])* $name:ident, $begin:expr, $products:expr, $count:literal, $pairs:literal) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// As [`Kernel`].
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name(piece: *mut Piece) {
            naked_asm!(
                begin!(),
                "9:",
                "ldr r1, [r7, {X}]",
                "ldrd r0, r2, [r7, {BIAS_FROM}]",
                "vldrw.u32 q0, [r0]",
                "vldrw.u32 q6, [r2]",
                "vstrw.32 q0, [r7, {BIAS}]",
                $begin,
                "b 20f",
                "10:",
                "ldrd r0, r2, [r7, {BIAS}]",
                "ldrd r4, r6, [r7, {BIAS} + 8]",
                "ldrd r8, r10, [r7, {BIAS}]",
                "ldrd r12, lr, [r7, {BIAS} + 8]",
                $products,
                scale!("q6" "q6"),
                round!(),
                "ldrd r2, r4, [r7, {Y}]",
                "vstrb.32 q0, [r2]",
                "vshr.u32 q0, q0, #16",
                "add r2, r2, r4",
                "vstrb.32 q0, [r2]",
                "add r2, r2, r4",
                "str r2, [r7, {Y}]",
                "ldrd r0, r2, [r7, {NEXT}]",
                $count,
                "add r1, r3, r0",
                "add r3, r1, r2",
                "bne 10b",
                // The next pairs: those of what is left of the line, or one whose second row is in the next line.
                "20:",
                "ldr r0, [r7, {LEFT}]",
                "ldrd r4, r5, [r7, {COLUMNS}]",
                "cbnz r0, 21f",
                "add r1, r1, r5",
                "mov r0, r4",
                "21:",
                "ldr r2, [r7, {ROWS}]",
                "cmp r2, #2",
                "blo 24f",
                "ldr r6, [r7, {STEP}]",
                "add r3, r1, r6",
                "cmp r0, #1",
                "beq 22f",
                "cmp r0, r2",
                "csel r6, r0, r2, lo",
                "lsrs r6, r6, #1",
                "sub r0, r0, r6, lsl #1",
                "b 23f",
                "22:",
                "mov r6, #1",
                "add r3, r3, r5",
                "sub r0, r4, #1",
                "23:",
                $pairs,
                "str r0, [r7, {LEFT}]",
                "sub r2, r2, r6, lsl #1",
                "str r2, [r7, {ROWS}]",
                "b 10b",
                "24:",
                "str r1, [r7, {X}]",
                "str r0, [r7, {LEFT}]",
                "ldr r2, [r7, {GROUPS}]",
                "subs r2, r2, #1",
                "beq 25f",
                // All rows once more for the next four channels.
                "str r2, [r7, {GROUPS}]",
                "add r3, r7, {FIRST_X}",
                "ldm r3, {{r0, r1, r2, r4}}",
                "stm r7, {{r0, r1, r2}}",
                "add r4, r4, #4",
                "str r4, [r3, #12]",
                "str r4, [r7, {Y}]",
                "ldrd r0, r2, [r7, {BIAS_FROM}]",
                "add r0, r0, #16",
                "add r2, r2, #16",
                "strd r0, r2, [r7, {BIAS_FROM}]",
                "mov r0, #16",
                "vldrw.u32 q5, [r7, {WEIGHTS}]",
                "vadd.i32 q5, q5, r0",
                "vstrw.32 q5, [r7, {WEIGHTS}]",
                "b 9b",
                "25:",
                end!(),
                // Not all kernels use all of these.
                "/* {PAIRS} {SEGMENTS} {GAP} {RUNS} {RUN_GAP} {RUNS_LEFT} {WHOLE} {WHOLE_AND_1} */",
                "/* {TAIL} {STRIDE} {TAIL_STRIDE} */",
                X = const offset_of!(Piece, x),
                ROWS = const offset_of!(Piece, rows),
                LEFT = const offset_of!(Piece, left),
                FIRST_X = const offset_of!(Piece, first_x),
                GROUPS = const offset_of!(Piece, groups),
                COLUMNS = const offset_of!(Piece, columns),
                NEXT = const offset_of!(Piece, next),
                STEP = const offset_of!(Piece, step),
                PAIRS = const offset_of!(Piece, pairs),
                SEGMENTS = const offset_of!(Piece, segments),
                GAP = const offset_of!(Piece, gap),
                RUNS = const offset_of!(Piece, runs),
                RUN_GAP = const offset_of!(Piece, run_gap),
                RUNS_LEFT = const offset_of!(Piece, runs_left),
                WHOLE = const offset_of!(Piece, whole),
                WHOLE_AND_1 = const offset_of!(Piece, whole_and_1),
                TAIL = const offset_of!(Piece, tail),
                STRIDE = const offset_of!(Piece, stride),
                TAIL_STRIDE = const offset_of!(Piece, tail_stride),
                WEIGHTS = const offset_of!(Piece, weights),
                Y = const offset_of!(Piece, y),
                BIAS = const offset_of!(Piece, bias),
                BIAS_FROM = const offset_of!(Piece, bias_from),
                ZERO_POINT = const offset_of!(Piece, zero_point),
            )
        }
    };
}

tiles!(
    /// Rows of one segment of up to 16 bytes: the weights stay in registers.
    resident,
    "ldr r0, [r7, {TAIL}]
     ldr r2, [r7, {WHOLE}]
     add r0, r0, r2, lsl #4
     vctp.8 r0
     vmov q0, q5
     vpstttt
     vldrwt.u32 q2, [q0]
     vldrwt.u32 q3, [q0, #4]
     vldrwt.u32 q4, [q0, #8]
     vldrwt.u32 q5, [q0, #12]
     lsls r11, r2, #4",
    "vpstt
     vldrbt.u8 q0, [r1]
     vldrbt.u8 q1, [r3]
     vmladava.s8 r0, q0, q2
     vmladava.s8 r8, q1, q2
     vmladava.s8 r2, q0, q3
     vmladava.s8 r10, q1, q3
     vmladava.s8 r4, q0, q4
     vmladava.s8 r12, q1, q4
     vmladava.s8 r6, q0, q5
     vmladava.s8 lr, q1, q5
     add r3, r3, r11",
    "subs r9, r9, #1",
    "mov r9, r6"
);
tiles!(
    /// Rows of one segment, a multiple of 16 bytes, and blocks of 16 channels.
    pointwise,
    "mov r0, #256
     vsub.i32 q5, q5, r0
     ldr r11, [r7, {WHOLE_AND_1}]",
    concat!(
        "vmov q4, q5\n",
        // Two at a time; an odd number begins with the second.
        "lsrs r5, r11, #1\n",
        "bcc 12f\n",
        "11:\n",
        step!("vldrw.u32 q2, [q4, #256]!"),
        "12:\n",
        step!("vldrw.u32 q2, [q4, #256]!"),
        "subs r5, r5, #1\n",
        "bne 11b\n",
    ),
    "subs r9, r9, #1",
    "mov r9, r6"
);
tiles!(
    /// Rows of one segment that is longer than 16 bytes and no multiple of them, and blocks of 16 channels.
    pointwise_with_tail,
    "mov r0, #256
     vsub.i32 q5, q5, r0
     ldr r11, [r7, {WHOLE_AND_1}]
     ldr r0, [r7, {TAIL}]
     vctp.8 r0",
    concat!(
        "vmov q4, q5\n",
        "lsrs r5, r11, #1\n",
        "bcc 12f\n",
        "11:\n",
        step!("vldrw.u32 q2, [q4, #256]!"),
        "12:\n",
        step!("vldrw.u32 q2, [q4, #256]!"),
        "subs r5, r5, #1\n",
        "bne 11b\n",
        tail!("#256" "#260" "#264" "#268"),
    ),
    "subs r9, r9, #1",
    "mov r9, r6"
);
tiles!(
    /// Segments of a multiple of 16 bytes and blocks of 16 channels.
    window,
    "mov r0, #256
     vsub.i32 q5, q5, r0
     ldr r11, [r7, {GAP}]",
    concat!(
        "vmov q4, q5\n",
        "ldr r9, [r7, {SEGMENTS}]\n",
        "b 12f\n",
        "11:\n",
        "add r1, r1, r11\n",
        "add r3, r3, r11\n",
        "12:\n",
        "ldr r5, [r7, {WHOLE_AND_1}]\n",
        "lsrs r5, r5, #1\n",
        "bcc 14f\n",
        "13:\n",
        step!("vldrw.u32 q2, [q4, #256]!"),
        "14:\n",
        step!("vldrw.u32 q2, [q4, #256]!"),
        "subs r5, r5, #1\n",
        "bne 13b\n",
        "subs r9, r9, #1\n",
        "bne 11b\n",
    ),
    "ldr r5, [r7, {PAIRS}]
     subs r5, r5, #1
     str r5, [r7, {PAIRS}]",
    "str r6, [r7, {PAIRS}]"
);
tiles!(
    /// Segments of fewer than 16 bytes.
    short,
    "ldr r0, [r7, {TAIL}]
     vctp.8 r0
     ldr r11, [r7, {TAIL_STRIDE}]",
    concat!(
        "vmov q4, q5\n",
        "ldr r9, [r7, {SEGMENTS}]\n",
        "b 12f\n",
        "11:\n",
        "ldr r5, [r7, {GAP}]\n",
        "add r1, r1, r5\n",
        "add r3, r3, r5\n",
        "vadd.i32 q4, q4, r11\n",
        "12:\n",
        tail!("#0" "#4" "#8" "#12"),
        "subs r9, r9, #1\n",
        "bne 11b\n",
    ),
    "ldr r5, [r7, {PAIRS}]
     subs r5, r5, #1
     str r5, [r7, {PAIRS}]",
    "str r6, [r7, {PAIRS}]"
);
tiles!(
    /// Segments of any length, in runs.
    any,
    "ldr r11, [r7, {STRIDE}]",
    concat!(
        "vmov q4, q5\n",
        "ldr r9, [r7, {SEGMENTS}]\n",
        "ldr r5, [r7, {RUNS}]\n",
        "str r5, [r7, {RUNS_LEFT}]\n",
        "b 12f\n",
        "16:\n",
        "ldr r9, [r7, {SEGMENTS}]\n",
        "ldr r5, [r7, {RUN_GAP}]\n",
        "add r1, r1, r5\n",
        "add r3, r3, r5\n",
        "b 12f\n",
        "11:\n",
        "ldr r5, [r7, {GAP}]\n",
        "add r1, r1, r5\n",
        "add r3, r3, r5\n",
        "12:\n",
        "ldr r5, [r7, {WHOLE}]\n",
        "cbz r5, 14f\n",
        "13:\n",
        step!("vldrw.u32 q2, [q4]"),
        "vadd.i32 q4, q4, r11\n",
        "subs r5, r5, #1\n",
        "bne 13b\n",
        "14:\n",
        "ldr r5, [r7, {TAIL}]\n",
        "cbz r5, 15f\n",
        "vctp.8 r5\n",
        "ldr r5, [r7, {TAIL_STRIDE}]\n",
        tail!("#0" "#4" "#8" "#12"),
        "vadd.i32 q4, q4, r5\n",
        "15:\n",
        "subs r9, r9, #1\n",
        "bne 11b\n",
        "ldr r5, [r7, {RUNS_LEFT}]\n",
        "subs r5, r5, #1\n",
        "str r5, [r7, {RUNS_LEFT}]\n",
        "bne 16b\n",
    ),
    "ldr r5, [r7, {PAIRS}]
     subs r5, r5, #1
     str r5, [r7, {PAIRS}]",
    "str r6, [r7, {PAIRS}]"
);
