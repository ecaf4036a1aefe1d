//! Rows and channels that the kernels in assembly multiply, and how those kernels begin and end.
//!
//! Sums lie in the eight even general registers, into which alone VMLADAVA adds.

/// What the kernels read, and where they keep what finds no register. They read neighbours at once: the order counts.
#[repr(C)]
pub(super) struct Piece {
    /// The next row.
    pub x: *const i8,
    /// Rows to come; tile kernels leave an odd one.
    pub rows: usize,
    /// Rows from `x` to the end of its line.
    pub left: usize,
    /// `x` for the next four channels; `rows`, `left` and `y` for them follow.
    pub first_x: *const i8,
    pub first_rows: usize,
    pub first_left: usize,
    /// The place of the results of the four channels at hand.
    pub first_y: *mut i8,
    /// Times four channels, of one block, that a tile kernel goes through.
    pub groups: usize,
    /// Rows of a line.
    pub columns: usize,
    /// Bytes from behind the last row of a line to the first one of the next.
    pub turn: usize,
    /// Bytes from where the last segment's last whole 16 bytes end to the next row.
    pub next: usize,
    /// Bytes from one row to the next.
    pub step: usize,
    /// Room: pairs of rows to come in this line.
    pub pairs: usize,
    /// Segments of a row.
    pub segments: usize,
    /// Bytes from one segment to the next.
    pub segment_step: usize,
    /// Bytes from where a segment's last whole 16 bytes end to the next segment.
    pub gap: usize,
    /// How many times there are so many segments; more than once for `any` alone.
    pub runs: usize,
    /// Bytes from where the last whole 16 bytes of the last of them end to the first of the next.
    pub run_gap: usize,
    /// Room: times to come.
    pub runs_left: usize,
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
    /// Bytes from one position to the next.
    pub y_step: usize,
    /// Where the bias of the channels of a tile is.
    pub bias_from: *const u8,
    /// Where their multipliers are.
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
    /// And from those to the ones behind them.
    pub other_hop: usize,
    /// 1 where the results of [`octets`](super::octets::octets) are float32.
    pub real: usize,
}

impl Piece {
    /// Nothing to multiply.
    pub const EMPTY: Self = Self {
        x: core::ptr::null(),
        rows: 0,
        left: 0,
        first_x: core::ptr::null(),
        first_rows: 0,
        first_left: 0,
        first_y: core::ptr::null_mut(),
        groups: 0,
        columns: 0,
        turn: 0,
        next: 0,
        step: 0,
        pairs: 0,
        segments: 0,
        segment_step: 0,
        gap: 0,
        runs: 0,
        run_gap: 0,
        runs_left: 0,
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
        real: 0,
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

/// Eight sums, times their multipliers: those of the first four registers in q0, the others in q1.
macro_rules! scale {
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
        )
    };
}

/// What [`scale`] leaves to results: those of q0 end in the lowest bytes of its words, the others in the third bytes.
/// Rounded half to even and saturated, as the contract has it.
macro_rules! round {
    () => {
        "vcvtn.s32.f32 q0, q0
         vcvtn.s32.f32 q1, q1
         vqmovnb.s32 q0, q0
         vqmovnt.s32 q0, q1
         vqadd.s16 q0, q0, q7
         vqmovnb.s16 q0, q0\n"
    };
}

pub(super) use {begin, end, round, scale};
