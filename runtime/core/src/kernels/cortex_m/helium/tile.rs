//! The products of rows and channels, in assembly.
//!
//! Sums lie in the eight even general registers, into which alone VMLADAVA adds: the tile kernels keep those of two
//! rows and four channels, `octets` those of one row and eight channels. Results are saturated to int8, no more.

use core::arch::naked_asm;
use core::mem::offset_of;

/// What the kernels read, and where they keep what finds no register.
#[repr(C)]
pub(super) struct Piece {
    /// The next row.
    pub x: *const i8,
    /// Rows to come; tile kernels leave an odd one.
    pub rows: usize,
    /// Rows from `x` to the end of its line.
    pub left: usize,
    /// Rows of a line.
    pub columns: usize,
    /// Bytes from behind the last row of a line to the first one of the next; stands behind `columns`.
    pub turn: usize,
    /// Bytes from where the last segment's last whole 16 bytes end to the next row.
    pub next: usize,
    /// Bytes from one row to the next; stands behind `next`.
    pub step: usize,
    /// Room: pairs of rows to come in this line.
    pub pairs: usize,
    /// Segments of a row.
    pub segments: usize,
    /// Bytes from one segment to the next.
    pub segment_step: usize,
    /// Bytes from where a segment's last whole 16 bytes end to the next segment.
    pub gap: usize,
    /// Times 16 bytes in a segment.
    pub whole: usize,
    /// One more than `whole`.
    pub whole_and_1: usize,
    /// Bytes of a segment behind those.
    pub tail: usize,
    /// Bytes of weights from one 16 bytes of input to the next.
    pub stride: usize,
    /// Bytes of weights from a tail to what is behind it.
    pub tail_stride: usize,
    /// Addresses of the weights of the first channel for the first four groups of four.
    pub weights: [usize; 4],
    /// Result.
    pub y: *mut i8,
    /// Bytes from one position to the next; stands behind `y`.
    pub y_step: usize,
    /// Where the bias of the channels of a tile is.
    pub bias_from: *const u8,
    /// Where their multipliers are; stands behind `bias_from`.
    pub multipliers_from: *const u8,
    /// Room: bias of the channels of a tile.
    pub bias: [i32; 4],
    /// Room for the multipliers of fewer channels.
    pub multipliers: [f32; 4],
    /// Zero point of the results, eight times.
    pub zero_point: [i16; 8],
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

impl Piece {
    /// Nothing to multiply.
    pub const EMPTY: Self = Self {
        x: core::ptr::null(),
        rows: 0,
        left: 0,
        columns: 0,
        turn: 0,
        next: 0,
        step: 0,
        pairs: 0,
        segments: 0,
        segment_step: 0,
        gap: 0,
        whole: 0,
        whole_and_1: 0,
        tail: 0,
        stride: 0,
        tail_stride: 0,
        weights: [0; 4],
        y: core::ptr::null_mut(),
        y_step: 0,
        bias_from: core::ptr::null(),
        multipliers_from: core::ptr::null(),
        bias: [0; 4],
        multipliers: [0.0; 4],
        zero_point: [0; 8],
        octets: 0,
        octet_bias: core::ptr::null(),
        octet_multipliers: core::ptr::null(),
        hop: 0,
        other_hop: 0,
    };
}

/// A kernel of this module.
///
/// # Safety
/// The CPU has Helium; rows, weights and results of the piece are there, weights, bias and multipliers at multiples
/// of 4.
pub(super) type Kernel = unsafe extern "C" fn(*mut Piece);

macro_rules! begin {
    () => {
        ".arch armv8.1-m.main
         .arch_extension mve.fp
         push {{r4-r11, lr}}
         vpush {{d8-d15}}
         mov r7, r0
         vldrw.u32 q5, [r7, {WEIGHTS}]
         vldrw.u32 q7, [r7, {ZERO_POINT}]\n"
    };
}

macro_rules! end {
    () => {
        "vpop {{d8-d15}}
         pop {{r4-r11, pc}}\n"
    };
}

/// Eight sums to results: those of the first four registers end in the lowest bytes of the words of q0, the others in
/// the third bytes. Rounded half to even and saturated, as the contract has it.
macro_rules! finish {
    ($m:literal $n:literal) => {
        concat!(
            "vmov q0[2], q0[0], r0, r4\n",
            "vmov q0[3], q0[1], r2, r6\n",
            "vmov q1[2], q1[0], r8, r12\n",
            "vmov q1[3], q1[1], r10, lr\n",
            "vcvt.f32.s32 q0, q0\n",
            "vcvt.f32.s32 q1, q1\n",
            "vmul.f32 q0, q0, ",
            $m,
            "\n",
            "vmul.f32 q1, q1, ",
            $n,
            "\n",
            "vcvtn.s32.f32 q0, q0\n",
            "vcvtn.s32.f32 q1, q1\n",
            "vqmovnb.s32 q0, q0\n",
            "vqmovnt.s32 q0, q1\n",
            "vqadd.s16 q0, q0, q7\n",
            "vqmovnb.s16 q0, q0\n",
        )
    };
}

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
                finish!("q6" "q6"),
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
                end!(),
                // Not all kernels use all of these.
                "/* {PAIRS} {SEGMENTS} {GAP} {WHOLE} {WHOLE_AND_1} {TAIL} {STRIDE} {TAIL_STRIDE} */",
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
    /// Segments of any length.
    any,
    "ldr r11, [r7, {STRIDE}]",
    concat!(
        "vmov q4, q5\n",
        "ldr r9, [r7, {SEGMENTS}]\n",
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
    ),
    "ldr r5, [r7, {PAIRS}]
     subs r5, r5, #1
     str r5, [r7, {PAIRS}]",
    "str r6, [r7, {PAIRS}]"
);

/// One row, the next of all, times eights of channels.
///
/// # Safety
/// As [`Kernel`].
#[unsafe(naked)]
pub(super) unsafe extern "C" fn octets(piece: *mut Piece) {
    naked_asm!(
        begin!(),
        "ldr r11, [r7, {STRIDE}]",
        "10:",
        "ldr r3, [r7, {BIAS}]",
        "ldrd r0, r2, [r3], #8",
        "ldrd r4, r6, [r3], #8",
        "ldrd r8, r10, [r3], #8",
        "ldrd r12, lr, [r3], #8",
        "str r3, [r7, {BIAS}]",
        "ldr r1, [r7, {X}]",
        "ldr r9, [r7, {SEGMENTS}]",
        "vmov q4, q5",
        "b 12f",
        "11:",
        "ldr r5, [r7, {GAP}]",
        "add r1, r1, r5",
        "12:",
        "ldr r5, [r7, {WHOLE}]",
        "cbz r5, 14f",
        "13:",
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
        "bne 13b",
        "14:",
        "ldr r5, [r7, {TAIL}]",
        "cbz r5, 15f",
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
        "15:",
        "subs r9, r9, #1",
        "bne 11b",
        "ldr r3, [r7, {MULTIPLIERS}]",
        "vldrw.u32 q2, [r3], #16",
        "vldrw.u32 q3, [r3], #16",
        "str r3, [r7, {MULTIPLIERS}]",
        finish!("q2" "q3"),
        "ldr r3, [r7, {Y}]",
        "ldrd r0, r2, [r7, {HOP}]",
        "vstrb.32 q0, [r3], #4",
        "vshr.u32 q0, q0, #16",
        "vstrb.32 q0, [r3], #4",
        "str r3, [r7, {Y}]",
        "ldr r5, [r7, {OCTETS}]",
        "strd r2, r0, [r7, {HOP}]",
        "vadd.i32 q5, q5, r0",
        "subs r5, r5, #1",
        "str r5, [r7, {OCTETS}]",
        "bne 10b",
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
        ZERO_POINT = const offset_of!(Piece, zero_point),
        OCTETS = const offset_of!(Piece, octets),
        BIAS = const offset_of!(Piece, octet_bias),
        MULTIPLIERS = const offset_of!(Piece, octet_multipliers),
        HOP = const offset_of!(Piece, hop),
    )
}

/// Copies the segments of the next rows, `piece.tail` bytes each and 16 at most, behind each other.
///
/// # Safety
/// The CPU has Helium; the rows of the piece are there, and there is room for them.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn pack(piece: *mut Piece, room: *mut i8) {
    naked_asm!(
        ".arch armv8.1-m.main",
        ".arch_extension mve.fp",
        "push {{r4-r11, lr}}",
        "ldr r4, [r0, {TAIL}]",
        "vctp.8 r4",
        "ldrd r2, r3, [r0, {X}]",
        "ldrd r5, r6, [r0, {LEFT}]",
        "ldr r7, [r0, {TURN}]",
        "ldr r8, [r0, {STEP}]",
        "ldrd r9, r10, [r0, {SEGMENTS}]",
        "2:",
        "mov r12, r2",
        "dls lr, r9",
        "3:",
        "vpstt",
        "vldrbt.u8 q0, [r12]",
        "vstrbt.8 q0, [r1]",
        "add r12, r12, r10",
        "add r1, r1, r4",
        "le lr, 3b",
        "add r2, r2, r8",
        "subs r5, r5, #1",
        "bne 4f",
        "add r2, r2, r7",
        "mov r5, r6",
        "4:",
        "subs r3, r3, #1",
        "bne 2b",
        "str r2, [r0, {X}]",
        "str r5, [r0, {LEFT}]",
        "pop {{r4-r11, pc}}",
        X = const offset_of!(Piece, x),
        LEFT = const offset_of!(Piece, left),
        TURN = const offset_of!(Piece, turn),
        STEP = const offset_of!(Piece, step),
        SEGMENTS = const offset_of!(Piece, segments),
        TAIL = const offset_of!(Piece, tail),
    )
}
