//! The kernels: what the steps compute, for each instruction set.
//!
//! One [`Kernels`] value holds a function for every step whose speed matters. The portable set is
//! the specification; every other set gives the same bits, but for sums of float32 products: those of `n` products
//! are within `(2n + 1)·2⁻²⁴·Σ|x·w|` of the exact one, whatever the set. A value for an instruction set exists
//! only where the CPU has it, so holding one is the proof that it may be called. [`available`]
//! lists them all: the equality tests and the benches walk that list.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod border;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod channel_blocks;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod channels_i16;
#[cfg(all(target_arch = "arm", target_os = "none", target_abi = "eabihf"))]
mod cortex_m;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod float;
pub mod lanes;
pub mod portable;
mod restricted;
mod rows;
pub mod source;
mod square_root;
mod strips;
pub mod view;
#[cfg(target_arch = "x86_64")]
mod x86;

use core::cell::Cell;
use core::ops::Range;

use crate::bytes::{F32s, I32s, I64s};
use crate::kinds::Kinds;
use crate::math::Function;
use crate::plan::StepSet;
use crate::plan::step::{Attention, BinaryOp, LayerNorm, MatMul, Pool, Reduce, Softmax, Window};
use crate::quantization::{Stored, Target, TargetI16, TargetOf};
use crate::weights::compressed::{Factors, LEVELS};

/// Where a convolution puts its results.
pub enum ConvOutput<'a> {
    /// Requantized.
    I8(&'a mut [i8], Target),
    /// Accumulator times multiplier.
    F32(&'a mut [f32]),
}

/// Operands of [`Kernels::conv_i8`] and [`Kernels::depthwise_i8`]; see
/// [`crate::plan::step::ConvI8`] for shapes and the formula.
pub struct ConvI8Args<'a> {
    /// Shapes.
    pub window: &'a Window,
    /// Input, channels last.
    pub x: &'a [i8],
    /// Zero point of the input: the value of padding.
    pub x_zero_point: i8,
    /// Result, channels last.
    pub y: ConvOutput<'a>,
    /// Elements of the result from one position to the next: as many as the window has output channels, or more where
    /// those are some of all, which dense convolutions may be asked for.
    pub y_step: usize,
    /// Room as [`source::Source`] demands.
    pub scratch: &'a mut [i8],
    /// Packed weights.
    pub weights: &'a [u8],
    /// One for each output channel.
    pub multipliers: F32s<'a>,
    /// One for each output channel.
    pub bias: I32s<'a>,
    /// One for each output channel, or none at all.
    pub weight_zero_points: I32s<'a>,
    /// No weight is -128.
    pub narrow: bool,
}

impl ConvI8Args<'_> {
    /// Elements of the result from the first to behind the last.
    #[allow(dead_code, reason = "not for the portable kernels")]
    #[inline]
    pub(crate) fn y_len(&self) -> usize {
        self.window.positions().saturating_sub(1) * self.y_step + self.window.out_c as usize
    }
}

/// Operands of [`Kernels::expand_indexed`]; see [`crate::weights::compressed`].
pub struct IndexedArgs<'a> {
    /// Of the expanded weights, in pairs; they begin with a low half.
    pub indices: &'a [u8],
    /// int8.
    pub levels: &'a [u8; LEVELS],
    /// Factors of the levels, where all expanded weights are of one block; or none.
    pub factors: Factors<'a>,
    /// Output channels of the block, a multiple of four.
    pub width: usize,
    /// Expanded weights: whole groups of four of `width` channels.
    pub out: &'a mut [u8],
}

/// For each half mask of [`crate::weights::compressed`]: which of the bytes that follow it each of 8 weights is; one
/// behind all of them where the weight is 0.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline]
fn sparse_places(mask: u8) -> &'static [u8; 8] {
    static PLACES: [[u8; 8]; 256] = {
        let mut all = [[0x80; 8]; 256];
        let mut mask = 0;
        while mask < 256 {
            let (mut bit, mut next) = (0, 0);
            while bit < 8 {
                if mask >> bit & 1 == 1 {
                    all[mask][bit] = next;
                    next += 1;
                }
                bit += 1;
            }
            mask += 1;
        }
        all
    };
    &PLACES[mask as usize]
}

/// Where a convolution of int16 puts its results.
pub enum ConvI16Output<'a> {
    /// Requantized.
    I16(&'a mut [i16], TargetI16),
    /// Requantized to int8.
    I8(&'a mut [i8], Target),
    /// Accumulator times multiplier.
    F32(&'a mut [f32]),
}

/// What the sums of a convolution of int16 start from, one for each output channel; the type is that of the sums.
#[derive(Clone, Copy)]
pub enum Bias<'a> {
    /// All sums fit 32 bits.
    I32(I32s<'a>),
    /// Sums of up to [`crate::weights::WIDE_RUN`] products do.
    I64(I64s<'a>),
}

/// Operands of [`KernelsI16::conv`] and [`KernelsI16::depthwise`]; see
/// [`crate::plan::step::ConvI16`] for shapes and the formula.
pub struct ConvI16Args<'a> {
    /// Shapes.
    pub window: &'a Window,
    /// Input, channels last.
    pub x: &'a [i16],
    /// Zero point of the input: the value of padding.
    pub x_zero_point: i16,
    /// Result, channels last.
    pub y: ConvI16Output<'a>,
    /// Room as [`source::Source`] demands, in elements.
    pub scratch: &'a mut [i16],
    /// Packed weights.
    pub weights: &'a [u8],
    /// One for each output channel.
    pub multipliers: F32s<'a>,
    /// One for each output channel.
    pub bias: Bias<'a>,
}

/// Operands of [`Kernels::conv_f32`] and [`Kernels::depthwise_f32`].
pub struct ConvF32Args<'a> {
    /// Shapes.
    pub window: &'a Window,
    /// Input, channels last.
    pub x: &'a [f32],
    /// Result, channels last.
    pub y: &'a mut [f32],
    /// Weights.
    pub weights: F32s<'a>,
    /// One for each output channel.
    pub bias: F32s<'a>,
    /// Least result.
    pub low: f32,
    /// Greatest result.
    pub high: f32,
}

/// What of an [`Attention`] is worked on: all of it, or what one thread does.
#[derive(Clone, Debug)]
pub struct AttentionPart {
    /// Sequences.
    pub sequences: Range<usize>,
    /// Heads of queries, from the first of those on that read the same keys.
    pub heads: Range<usize>,
    /// Queries of each head.
    pub queries: Range<usize>,
}

impl AttentionPart {
    /// All of it.
    #[must_use]
    pub fn whole(s: &Attention) -> Self {
        let [sequences, heads, queries] = [s.batch, s.heads, s.queries].map(|count| 0..count as usize);
        Self { sequences, heads, queries }
    }

    /// From the first of its results to behind the last.
    pub(crate) fn results(&self, s: &Attention) -> Range<usize> {
        let place = |sequence: usize, head: usize, query: usize| {
            let [sequences, heads, queries] = s.y_strides.map(|stride| stride as usize);
            sequence * sequences + head * heads + query * queries
        };
        let first = place(self.sequences.start, self.heads.start, self.queries.start);
        let last = [&self.sequences, &self.heads, &self.queries].map(|range| range.end.saturating_sub(1));
        first..place(last[0], last[1], last[2]) + s.value_width as usize
    }
}

/// Operands of [`Kernels::attention`]; see [`Attention`] for strides and the formula.
pub struct AttentionArgs<'a> {
    /// The step.
    pub step: &'a Attention,
    /// What of it is worked on.
    pub part: AttentionPart,
    /// Queries.
    pub q: &'a [f32],
    /// Keys.
    pub k: &'a [f32],
    /// Values.
    pub v: &'a [f32],
    /// What is added to the scores.
    pub mask: Option<&'a [f32]>,
    /// Result, from the first element of the part on.
    pub y: &'a mut [f32],
    /// Keys in front of the first query, where each query sees those, its own and the ones between; `None` where all see
    /// all.
    pub before: Option<usize>,
    /// [`Attention::scratch_len`] elements.
    pub scratch: &'a mut [f32],
}

impl AttentionArgs<'_> {
    /// Keys that the queries up to this one see.
    #[inline]
    pub(crate) fn seen(&self, query: usize) -> usize {
        let keys = self.step.keys as usize;
        self.before.map_or(keys, |before| before.saturating_add(query).saturating_add(1).min(keys))
    }
}

/// One side of an element-wise step.
#[derive(Clone, Copy)]
pub enum Operand<'a, T> {
    /// In the arena, perhaps the place of the result.
    Shared(&'a [Cell<T>]),
    /// In the plan.
    Constant(&'a [T]),
}

impl<'a, T: Copy + Default> Operand<'a, T> {
    /// Elements `start..start + len`, or one element when `len` is 1; `None` outside.
    #[must_use]
    pub fn row(&self, start: usize, len: usize) -> Option<Self> {
        let range = start..start.checked_add(len)?;
        Some(match self {
            Self::Shared(cells) => Self::Shared(cells.get(range)?),
            Self::Constant(values) => Self::Constant(values.get(range)?),
        })
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Shared(cells) => cells.len(),
            Self::Constant(values) => values.len(),
        }
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element `index`, or zero when there is none.
    #[must_use]
    #[inline(always)]
    pub fn get(&self, index: usize) -> T {
        match self {
            Self::Shared(cells) => cells.get(index).map_or(T::default(), Cell::get),
            Self::Constant(values) => values.get(index).copied().unwrap_or_default(),
        }
    }
}

/// A row of stored elements of an element-wise step.
pub struct Row<'a, E: Stored> {
    /// Left side, as long as the result, or one repeated element.
    pub a: Operand<'a, E>,
    /// Right side, as long as the result, or one repeated element.
    pub b: Operand<'a, E>,
    /// Result; may be the place of `a` or `b`.
    pub y: &'a [Cell<E>],
    /// Zero points of both sides.
    pub zero_points: [i32; 2],
    /// Multipliers of both sides.
    pub multipliers: [f32; 2],
    /// Limits and zero point of the result.
    pub target: TargetOf<E>,
}

/// A row of int8 elements.
pub type RowI8<'a> = Row<'a, i8>;

/// Operands of a pooling or reduction of stored elements.
pub struct ReduceArgs<'a, S, E: Stored> {
    /// The step.
    pub step: &'a S,
    /// Input.
    pub x: &'a [E],
    /// Zero point of the input.
    pub x_zero_point: i32,
    /// Result.
    pub y: &'a mut [E],
    /// Limits and zero point of the result.
    pub target: TargetOf<E>,
}

/// Operands of a pooling or reduction of int8.
pub type ReduceI8Args<'a, S> = ReduceArgs<'a, S, i8>;

/// A table look-up: elements, results (perhaps the same place), the 256 results.
pub type TableKernel = fn(&[Cell<i8>], &[Cell<i8>], &[u8; 256]);

/// A function of each element.
pub type UnaryKernel = fn(&[Cell<f32>], &[Cell<f32>], Function, f32, f32);

/// [`MatMul`] of int16: left side, right side, zero points of both, result.
pub type MatMulI16 = fn(&MatMul, &[i16], &[i16], [i32; 2], &mut [i16], TargetI16);

/// The kernels of an instruction set that work on int16.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct KernelsI16 {
    /// [`crate::plan::step::ConvI16`].
    pub conv: fn(ConvI16Args<'_>),
    /// [`crate::plan::step::ConvI16`] whose groups have one input channel.
    pub depthwise: fn(ConvI16Args<'_>),
    /// [`MatMul`]: left side, right side, zero points of both, result.
    pub matmul: MatMulI16,
    /// One row of any [`BinaryOp`].
    pub binary: fn(BinaryOp, &Row<'_, i16>),
    /// [`Pool`].
    pub pool: fn(ReduceArgs<'_, Pool, i16>),
    /// [`Reduce`].
    pub reduce: fn(ReduceArgs<'_, Reduce, i16>),
    /// [`crate::plan::step::Quantize`]: values, scale, results, limits.
    pub quantize: fn(&[f32], f32, &mut [i16], TargetI16),
    /// [`crate::plan::step::Dequantize`]: stored values, scale, zero point, results.
    pub dequantize: fn(&[i16], f32, i32, &mut [f32]),
    /// [`crate::plan::step::Requantize`] to int16: stored values, zero point, multiplier, results, limits.
    pub requantize: fn(&[i16], i32, f32, &mut [i16], TargetI16),
    /// [`crate::plan::step::Requantize`] to int8, likewise.
    pub requantize_i8: fn(&[i16], i32, f32, &mut [i8], Target),
}

/// The kernels of one instruction set.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Kernels {
    /// The name that `CYGNET_ISA` takes.
    pub name: &'static str,
    /// The kinds of steps that the set has kernels for.
    pub(crate) kinds: Kinds,
    /// Multiply-accumulates of a step that should be cut for several threads, at least: see [`crate::Team::least_work`].
    pub least_work: u64,
    /// [`crate::plan::step::ConvI8`].
    pub conv_i8: fn(ConvI8Args<'_>),
    /// [`crate::plan::step::ConvI8`] whose groups have one input channel.
    pub depthwise_i8: fn(ConvI8Args<'_>),
    /// Weights of [`crate::plan::step::IndexedConvI8`].
    pub expand_indexed: fn(IndexedArgs<'_>),
    /// Weights of [`crate::plan::step::SparseConvI8`]: stored bytes, expanded ones; gives how many have been read.
    pub expand_sparse: fn(&[u8], &mut [u8]) -> usize,
    /// [`crate::plan::step::ConvF32`].
    pub conv_f32: fn(ConvF32Args<'_>),
    /// [`crate::plan::step::DepthwiseF32`].
    pub depthwise_f32: fn(ConvF32Args<'_>),
    /// [`MatMul`] of float32: left side, right side, result.
    pub matmul_f32: fn(&MatMul, &[f32], &[f32], &mut [f32]),
    /// [`Pool`] of float32.
    pub pool_f32: fn(&Pool, &[f32], &mut [f32]),
    /// [`crate::plan::step::Unary`]: values, results (perhaps the same place), the function and its attributes.
    pub unary: UnaryKernel,
    /// One row of [`crate::plan::step::BinaryOp::Add`].
    pub add_i8: fn(&RowI8<'_>),
    /// One row of [`crate::plan::step::BinaryOp::Mul`].
    pub mul_i8: fn(&RowI8<'_>),
    /// One row of any other [`BinaryOp`].
    pub binary_i8: fn(BinaryOp, &RowI8<'_>),
    /// [`crate::plan::step::Table`]: `y[i] = table[x[i] + 128]`.
    pub table: TableKernel,
    /// [`Pool`].
    pub pool_i8: fn(ReduceI8Args<'_, Pool>),
    /// [`Reduce`].
    pub reduce_i8: fn(ReduceI8Args<'_, Reduce>),
    /// [`Reduce`] of int8 to float32: values, their zero point, results.
    pub reduce_to_float: fn(&Reduce, &[i8], i32, &mut [f32]),
    /// [`Softmax`]; behind the arguments stand the table and `1/sy`.
    pub softmax_i8: fn(ReduceI8Args<'_, Softmax>, &[u8], f32),
    /// The least and the greatest of values and 0; values that are no numbers are left out.
    pub extent: fn(&[f32]) -> [f32; 2],
    /// [`LayerNorm`]: sums of input and residual that become the results, scale, bias.
    pub layer_norm: fn(&LayerNorm, &mut [f32], F32s<'_>, F32s<'_>),
    /// [`Attention`].
    pub attention: fn(AttentionArgs<'_>),
    /// [`crate::plan::step::Quantize`]: values, scale, results, limits.
    pub quantize: fn(&[f32], f32, &mut [i8], Target),
    /// [`crate::plan::step::Dequantize`]: stored values, scale, zero point, results.
    pub dequantize: fn(&[i8], f32, i32, &mut [f32]),
    /// The kernels of int16.
    pub i16: KernelsI16,
}

impl core::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Kernels").field(&self.name).finish()
    }
}

impl Kernels {
    /// The portable kernels by value, for [`Self::only`].
    pub const PORTABLE: Self = portable::PORTABLE;

    /// The portable kernels, which every other set must equal in each bit.
    #[must_use]
    pub fn portable() -> &'static Self {
        &portable::KERNELS
    }

    /// The set that the features of this crate name for a core without an operating system: Helium, DSP, else portable.
    /// Whoever switches a feature on promises that the core can run it.
    #[must_use]
    pub const fn for_target() -> Self {
        #[cfg(all(target_arch = "arm", target_os = "none", target_abi = "eabihf"))]
        let kernels = cortex_m::FOR_TARGET;
        #[cfg(not(all(target_arch = "arm", target_os = "none", target_abi = "eabihf")))]
        let kernels = Self::PORTABLE;
        kernels
    }

    /// The set restricted to the steps of a plan, for firmware: what is not needed is not linked. To be called in a
    /// constant with the bytes that are embedded, which then are read with [`Plan::parse_with`](crate::Plan::parse_with).
    ///
    /// ```
    /// use cygnet_core::kernels::Kernels;
    /// use cygnet_core::{Error, Plan, Session};
    /// static PLAN: &[u8] = &[]; // include_bytes!("model.cyg")
    /// static KERNELS: Kernels = Kernels::PORTABLE.only(PLAN);
    /// fn session(arena: &mut [u8]) -> Result<Session<'static, '_>, Error> {
    ///     Session::with_kernels(Plan::parse_with(PLAN, &KERNELS)?, arena, &KERNELS)
    /// }
    /// ```
    #[must_use]
    pub const fn only(self, plan: &[u8]) -> Self {
        restricted::restrict(self, StepSet::of(plan))
    }

    /// The kinds of steps of a set that nothing is left out of.
    pub(crate) fn every_kind() -> &'static Kinds {
        &FIRST.kinds
    }

    /// The fastest set that this CPU can run.
    #[must_use]
    pub fn best() -> &'static Self {
        available().last().unwrap_or(FIRST)
    }

    /// The set of this name, when this CPU can run it.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        available().find(|kernels| kernels.name == name)
    }
}

/// What every CPU of the target runs: the portable kernels; on AArch64 without the feature `reference`, NEON.
#[cfg(not(all(target_arch = "aarch64", not(feature = "reference"))))]
static FIRST: &Kernels = &portable::KERNELS;
#[cfg(all(target_arch = "aarch64", not(feature = "reference")))]
static FIRST: &Kernels = aarch64::FIRST;

/// Every set that this CPU can run, the slowest first. On AArch64 the portable one is among them by the feature
/// `reference`.
pub fn available() -> impl Iterator<Item = &'static Kernels> {
    #[cfg(target_arch = "x86_64")]
    let others = x86::available();
    #[cfg(target_arch = "aarch64")]
    let others = aarch64::available();
    #[cfg(all(target_arch = "arm", target_os = "none", target_abi = "eabihf"))]
    let others = cortex_m::available();
    #[cfg(not(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        all(target_arch = "arm", target_os = "none", target_abi = "eabihf")
    )))]
    let others = core::iter::empty();
    core::iter::once(FIRST).chain(others)
}
