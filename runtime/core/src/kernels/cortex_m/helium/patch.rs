//! Depthwise products in assembly.
//!
//! The input is spread out so that four neighbouring columns of a channel lie in one word. A gathering load then
//! brings a *patch* of 4 × 4 pixels, in which VMLADAV multiplies all taps of a window at once: four windows in one
//! patch at stride 1, one at stride 2.

use core::arch::naked_asm;
use core::mem::offset_of;

/// Bytes of four columns of 16 channels.
pub(super) const CELL: usize = 64;

/// Lines of pixels whose channels are spread out. Assembly reads neighbours at once: the order counts.
#[repr(C)]
pub(super) struct Spread {
    /// Column 0 of the first line at the first channel, perhaps left of what is there.
    pub x: *const i8,
    /// The first column that is there.
    pub begin: *const i8,
    /// Bytes from there to behind the last one.
    pub span: usize,
    /// Bytes from one pixel to the next.
    pub step: usize,
    /// Bytes from one line to the next.
    pub line_step: usize,
    /// Lines.
    pub lines: usize,
    /// Fours of columns not all of which are there,
    pub first: usize,
    /// those behind them that are all there,
    pub middle: usize,
    /// and those behind them, not all of which are there.
    pub last: usize,
    /// Result, line by line: four columns of 16 channels in [`CELL`] bytes.
    pub y: *mut u8,
    /// Channels, 16 at most; those behind them become zero.
    pub lanes: usize,
    /// What stands for a pixel that is not there.
    pub padding: [i8; 16],
}

/// Four columns of 16 channels: from the pixels that general registers point to.
macro_rules! cell {
    () => {
        "vpstttt
         vldrbt.u8 q0, [r1]
         vldrbt.u8 q1, [r2]
         vldrbt.u8 q2, [r3]
         vldrbt.u8 q3, [r4]
         vst40.8 {{q0, q1, q2, q3}}, [r10]
         vst41.8 {{q0, q1, q2, q3}}, [r10]
         vst42.8 {{q0, q1, q2, q3}}, [r10]
         vst43.8 {{q0, q1, q2, q3}}, [r10]!\n"
    };
}

/// Fours of columns, as many as `$count` says, whose pixels may not be there.
macro_rules! edge {
    ($count:literal, $loop:literal, $end:literal) => {
        concat!(
            "ldr r1, [r0, ",
            $count,
            "]\n",
            "wls lr, r1, ",
            $end,
            "f\n",
            $loop,
            ":\n",
            edge!("r1"),
            edge!("r2"),
            edge!("r3"),
            edge!("r4"),
            cell!(),
            "le lr, ",
            $loop,
            "b\n",
            $end,
            ":\n",
        )
    };
    ($to:literal) => {
        concat!("sub ", $to, ", r8, r7\n", "cmp ", $to, ", r12\n", "csel ", $to, ", r8, r5, lo\n", "add r8, r8, r6\n",)
    };
}

/// Writes four columns of each channel side by side.
///
/// # Safety
/// The CPU has Helium; pixels and room are there.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn spread(spread: *const Spread) {
    naked_asm!(
        ".arch armv8.1-m.main",
        ".arch_extension mve.fp",
        "push {{r4-r11, lr}}",
        "ldr r1, [r0, {LANES}]",
        "vctp.8 r1",
        "ldrd r11, r7, [r0, {X}]",
        "ldrd r12, r6, [r0, {SPAN}]",
        "ldr r9, [r0, {LINES}]",
        "ldr r10, [r0, {Y}]",
        "add r5, r0, {PADDING}",
        "2:",
        "mov r8, r11",
        edge!("{FIRST}", "3", "4"),
        "ldr r4, [r0, {MIDDLE}]",
        "mov r1, r8",
        "add r2, r1, r6",
        "add r3, r2, r6",
        "wls lr, r4, 6f",
        "add r4, r3, r6",
        "5:",
        cell!(),
        "add r1, r1, r6, lsl #2",
        "add r2, r2, r6, lsl #2",
        "add r3, r3, r6, lsl #2",
        "add r4, r4, r6, lsl #2",
        "le lr, 5b",
        "6:",
        "mov r8, r1",
        edge!("{LAST}", "7", "8"),
        "ldr r1, [r0, {LINE_STEP}]",
        "add r11, r11, r1",
        "add r7, r7, r1",
        "subs r9, r9, #1",
        "bne 2b",
        "pop {{r4-r11, pc}}",
        X = const offset_of!(Spread, x),
        SPAN = const offset_of!(Spread, span),
        LINE_STEP = const offset_of!(Spread, line_step),
        LINES = const offset_of!(Spread, lines),
        FIRST = const offset_of!(Spread, first),
        MIDDLE = const offset_of!(Spread, middle),
        LAST = const offset_of!(Spread, last),
        Y = const offset_of!(Spread, y),
        LANES = const offset_of!(Spread, lanes),
        PADDING = const offset_of!(Spread, padding),
    )
}

/// Some lines of results of up to 16 channels. Assembly reads neighbours at once: the order counts.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Sweep {
    /// The spread pixels of the first channel, from where the first window begins.
    pub x: *const u8,
    /// The spread weights of the first channel, at the first kernel row: three columns and a zero, and rows of zeros
    /// before and behind them.
    pub weights: *const u8,
    /// Bytes back to the weights of the two lower windows of a patch.
    pub lower: usize,
    /// Bias of the first channel.
    pub bias: *const u8,
    /// Multiplier of the first channel.
    pub multipliers: *const u8,
    /// Result of the first channel.
    pub y: *mut i8,
    /// Channels.
    pub channels: usize,
    /// Rows of patches.
    pub rows: usize,
    /// Fours of columns of results.
    pub fours: usize,
    /// Columns behind those.
    pub rest: usize,
    /// Bytes of results from one patch to the next.
    pub y_step: usize,
    /// Bytes of results from the last patch that is stored, or from behind the last four columns, to the next row.
    pub y_turn: usize,
    /// Bytes of pixels from behind a row's last four columns of results to the next row.
    pub x_turn: usize,
    /// Zero point of the results.
    pub zero_point: i32,
    /// Which bytes of four words of results are stored at the end of a row.
    pub mask: u32,
    /// Distances of the four results of a patch.
    pub results: [u32; 4],
    /// Distances of the halfwords of a patch whose first column is a multiple of four.
    pub even: [u16; 8],
    /// Those of a patch two columns further.
    pub odd: [u16; 8],
    /// Distances of the kernel rows.
    pub kernel: [u32; 4],
}

impl Sweep {
    /// Nothing to do.
    pub const EMPTY: Self = Self {
        x: core::ptr::null(),
        weights: core::ptr::null(),
        lower: 0,
        bias: core::ptr::null(),
        multipliers: core::ptr::null(),
        y: core::ptr::null_mut(),
        channels: 0,
        rows: 0,
        fours: 0,
        rest: 0,
        y_step: 0,
        y_turn: 0,
        x_turn: 0,
        zero_point: 0,
        mask: 0,
        results: [0; 4],
        even: [0; 8],
        odd: [0; 8],
        kernel: [0; 4],
    };
}

/// The four windows of a patch whose pixels lie at the distances in `$at`.
macro_rules! patch {
    ($at:literal) => {
        concat!(
            "vldrh.u16 q0, [r1, ",
            $at,
            "]\n",
            "vmladav.s8 r0, q0, q4\n",
            "vmladav.s8 r2, q0, q5\n",
            "vmladav.s8 r4, q0, q6\n",
            "vmladav.s8 r6, q0, q7\n",
        )
    };
}

/// Four sums to results, saturated.
macro_rules! finish {
    () => {
        "vmov q0[2], q0[0], r0, r4
         vmov q0[3], q0[1], r2, r6
         vadd.i32 q0, q0, r8
         vcvt.f32.s32 q0, q0
         vmul.f32 q0, q0, r9
         vcvtn.s32.f32 q0, q0
         vqadd.s32 q0, q0, r10
         vqmovnb.s32 q0, q0
         vqmovnb.s16 q0, q0\n"
    };
}

/// A function over the channels and rows of a [`Sweep`]; `$four` makes four columns of results, `$rest` those behind
/// the last four, of which there are some.
macro_rules! sweep {
    ($(#[$doc:meta])* $name:ident, $four:expr, $rest:expr) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// The CPU has Helium; pixels, weights, bias, multipliers and results of the sweep are there.
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name(sweep: *mut Sweep) {
            naked_asm!(
                ".arch armv8.1-m.main",
                ".arch_extension mve.fp",
                "push {{r4-r11, lr}}",
                "vpush {{d8-d15}}",
                "mov r7, r0",
                "ldr r0, [r7, {MASK}]",
                "vmsr p0, r0",
                "vldrw.u32 q1, [r7, {RESULTS}]",
                "vldrh.u16 q2, [r7, {EVEN}]",
                "vldrh.u16 q3, [r7, {ODD}]",
                "ldr r5, [r7, {Y_STEP}]",
                "ldr r10, [r7, {ZERO_POINT}]",
                "2:",
                "vldrw.u32 q0, [r7, {KERNEL}]",
                "ldrd r1, r2, [r7, {X}]",
                "ldr r4, [r7, {LOWER}]",
                "vldrw.u32 q4, [r2, q0]",
                "sub r4, r2, r4",
                "vldrw.u32 q6, [r4, q0]",
                "vshl.i32 q5, q4, #8",
                "vshl.i32 q7, q6, #8",
                "add r0, r1, #4",
                "add r2, r2, #4",
                "strd r0, r2, [r7, {X}]",
                "ldrd r0, r2, [r7, {BIAS}]",
                "ldr r8, [r0], #4",
                "ldr r9, [r2], #4",
                "strd r0, r2, [r7, {BIAS}]",
                "ldr r3, [r7, {Y}]",
                "add r0, r3, #1",
                "str r0, [r7, {Y}]",
                "ldr r11, [r7, {ROWS}]",
                "3:",
                "ldr r12, [r7, {FOURS}]",
                "wls lr, r12, 5f",
                "4:",
                $four,
                "le lr, 4b",
                "5:",
                "ldr r12, [r7, {REST}]",
                "cmp r12, #1",
                "blo 8f",
                $rest,
                "8:",
                "ldrd r2, r4, [r7, {Y_TURN}]",
                "add r3, r3, r2",
                "add r1, r1, r4",
                "subs r11, r11, #1",
                "bne 3b",
                "ldr r0, [r7, {CHANNELS}]",
                "subs r0, r0, #1",
                "str r0, [r7, {CHANNELS}]",
                "bne 2b",
                "vpop {{d8-d15}}",
                "pop {{r4-r11, pc}}",
                X = const offset_of!(Sweep, x),
                LOWER = const offset_of!(Sweep, lower),
                BIAS = const offset_of!(Sweep, bias),
                Y = const offset_of!(Sweep, y),
                CHANNELS = const offset_of!(Sweep, channels),
                ROWS = const offset_of!(Sweep, rows),
                FOURS = const offset_of!(Sweep, fours),
                REST = const offset_of!(Sweep, rest),
                Y_STEP = const offset_of!(Sweep, y_step),
                Y_TURN = const offset_of!(Sweep, y_turn),
                ZERO_POINT = const offset_of!(Sweep, zero_point),
                MASK = const offset_of!(Sweep, mask),
                RESULTS = const offset_of!(Sweep, results),
                EVEN = const offset_of!(Sweep, even),
                ODD = const offset_of!(Sweep, odd),
                KERNEL = const offset_of!(Sweep, kernel),
            )
        }
    };
}

sweep!(
    /// Windows at stride 1: two rows of results at a time, two patches for four columns.
    sweep,
    concat!(
        patch!("q2"),
        finish!(),
        "vstrb.32 q0, [r3, q1]\n",
        "add r3, r3, r5\n",
        patch!("q3"),
        finish!(),
        "vstrb.32 q0, [r3, q1]\n",
        "add r3, r3, r5\n",
        "add r1, r1, #64\n",
    ),
    concat!(
        patch!("q2"),
        finish!(),
        // A single column; what is between here and the comparison does not touch the flags.
        "beq 6f\n",
        "vstrb.32 q0, [r3, q1]\n",
        "cmp r12, #2\n",
        "beq 8f\n",
        "add r3, r3, r5\n",
        patch!("q3"),
        finish!(),
        "6:\n",
        "vpst\n",
        "vstrbt.32 q0, [r3, q1]\n",
    )
);

/// Four windows of one row, two columns from each other.
macro_rules! windows {
    () => {
        "vldrh.u16 q0, [r1, q2]
         vldrh.u16 q5, [r1, q3]
         vmladav.s8 r0, q0, q4
         add r12, r1, #64
         vmladav.s8 r2, q5, q4
         vldrh.u16 q0, [r12, q2]
         vldrh.u16 q5, [r12, q3]
         vmladav.s8 r4, q0, q4
         vmladav.s8 r6, q5, q4\n"
    };
}

sweep!(
    /// Windows at stride 2: four columns of a row of results at a time.
    sweep_by_2,
    concat!(
        windows!(),
        finish!(),
        "vstrb.32 q0, [r3, q1]\n",
        "add r1, r1, #128\n",
        "add r3, r3, r5\n",
    ),
    concat!(windows!(), finish!(), "vpst\n", "vstrbt.32 q0, [r3, q1]\n")
);
