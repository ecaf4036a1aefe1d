//! The steps of a plan and their records.
//!
//! A record is: opcode and number of words, name, then the fields of the step's struct.

pub use super::records::*;
use super::tensor::{MAX_RANK, TensorId};
use crate::bytes::{Reader, Record, Span, U32s};
use crate::kinds::Kinds;

/// Reads the fields of a record of its kind. The record is whole, because it is written where it is used: to copy it as soon
/// as it is written is slow, for wide reads wait until narrow writes have left the processor.
pub(crate) type Decoder = fn(&mut Reader<'_>, index: u32, name: Span) -> Option<StepRecord>;

/// By opcode.
pub(crate) type Decoders = [Decoder; opcode::COUNT];

macro_rules! steps {
    ($($opcode:literal $variant:ident($record:ident)),* $(,)?) => {
        /// The numbers that stand for the kinds in records.
        #[allow(non_upper_case_globals, reason = "named as the kinds")]
        pub(crate) mod opcode {
            $(pub const $variant: usize = $opcode;)*
            /// All are below it.
            pub const COUNT: usize = {
                let (all, mut count, mut place) = ([$($opcode),*], 0, 0);
                while place < all.len() {
                    count = if all[place] < count { count } else { all[place] + 1 };
                    place += 1;
                }
                count
            };
        }

        /// A decoded step.
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[non_exhaustive]
        #[allow(clippy::large_enum_variant, reason = "decoded on the stack, one at a time")]
        pub enum Step {
            $(
                #[doc = concat!("See [`", stringify!($record), "`](struct@", stringify!($record), ").")]
                $variant($record),
            )*
        }

        /// All of them.
        pub(crate) const DECODERS: Decoders = {
            let mut table: Decoders = [|_, _, _| None; opcode::COUNT];
            $(table[$opcode] = |reader, index, name| {
                let step = Step::$variant($record::decode(reader)?);
                Some(StepRecord { index, name, step })
            };)*
            table
        };

        impl Step {
            /// The kind of step, as bench tables name it.
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => stringify!($variant),)*
                }
            }

            /// The number that stands for the kind in a record.
            #[must_use]
            pub fn opcode(&self) -> u32 {
                match self {
                    $(Self::$variant(_) => $opcode,)*
                }
            }

            /// Hands the words of a complete record to `write`.
            pub fn encode(&self, name: Span, write: &mut dyn FnMut(u32)) {
                let mut words = 3_u32;
                let mut count = |_| words += 1;
                match self {
                    $(Self::$variant(step) => step.encode(&mut count),)*
                }
                write(self.opcode() | words << 16);
                name.encode(write);
                match self {
                    $(Self::$variant(step) => step.encode(write),)*
                }
            }
        }
    };
}

steps! {
    1 ConvI8(ConvI8),
    2 DepthwiseI8(ConvI8),
    3 ConvF32(ConvF32),
    4 DepthwiseF32(DepthwiseF32),
    5 MatMul(MatMul),
    6 Binary(Binary),
    7 Table(Table),
    8 Unary(Unary),
    9 Pool(Pool),
    10 Reduce(Reduce),
    11 Softmax(Softmax),
    12 Copy(Copy),
    13 Fill(Fill),
    14 Gather(Gather),
    15 ResizeLinear(ResizeLinear),
    16 ArgMax(ArgMax),
    17 Quantize(Quantize),
    18 Dequantize(Dequantize),
    19 Cast(Cast),
    20 HostStep(HostStep),
    21 ReduceToFloat(Reduce),
    22 IndexedConvI8(IndexedConvI8),
    23 SparseConvI8(SparseConvI8),
    24 ConvI16(ConvI16),
    25 DepthwiseI16(ConvI16),
    26 Requantize(Requantize),
    27 Lstm(Recurrent),
    28 Gru(Recurrent),
    29 Rnn(Recurrent),
    32 Lookup(Lookup),
    33 Select(Select),
    34 LayerNorm(LayerNorm),
    35 Attention(Attention),
    36 QuantizeDynamic(QuantizeDynamic),
    37 ConvI8Dynamic(ConvI8Dynamic),
    38 CacheRows(CacheRows),
    39 CachedAttention(CachedAttention),
    42 RoiAlign(RoiAlign),
    43 Compare(Compare),
    44 PartialConvI8(PartialConvI8),
}

/// What a step does with one of its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads it.
    Read,
    /// Writes it, whole or in part.
    Write,
    /// Uses it as room that nobody else sees.
    Scratch,
}

impl Step {
    /// The int8 convolution that the step is, of whatever kind.
    #[must_use]
    pub fn conv_i8(&self) -> Option<&ConvI8> {
        match self {
            Self::ConvI8(s) | Self::DepthwiseI8(s) => Some(s),
            Self::PartialConvI8(s) => Some(&s.conv),
            Self::IndexedConvI8(s) => Some(&s.conv),
            Self::SparseConvI8(s) => Some(&s.conv),
            _ => None,
        }
    }

    /// Calls `visit` with every tensor of the step.
    pub fn visit_tensors(&self, visit: &mut dyn FnMut(TensorId, Access)) {
        use Access::{Read, Scratch, Write};
        if let Some(scratch) = self.conv_i8().and_then(|s| s.scratch) {
            visit(scratch, Scratch);
        }
        let mut pair = |x: TensorId, y: TensorId| {
            visit(x, Read);
            visit(y, Write);
        };
        match self {
            Self::ConvI8(s) | Self::DepthwiseI8(s) => pair(s.x, s.y),
            Self::PartialConvI8(s) => pair(s.conv.x, s.conv.y),
            Self::IndexedConvI8(s) => pair(s.conv.x, s.conv.y),
            Self::SparseConvI8(s) => pair(s.conv.x, s.conv.y),
            Self::ConvI16(s) | Self::DepthwiseI16(s) => {
                pair(s.x, s.y);
                if let Some(scratch) = s.scratch {
                    visit(scratch, Scratch);
                }
            }
            Self::ConvF32(s) => pair(s.x, s.y),
            Self::DepthwiseF32(s) => pair(s.x, s.y),
            Self::MatMul(s) => {
                pair(s.a, s.y);
                visit(s.b, Read);
            }
            Self::Binary(s) => {
                pair(s.a, s.y);
                if let Some(b) = s.b {
                    visit(b, Read);
                }
            }
            Self::Table(s) => pair(s.x, s.y),
            Self::Unary(s) => pair(s.x, s.y),
            Self::Pool(s) => pair(s.x, s.y),
            Self::Reduce(s) | Self::ReduceToFloat(s) => pair(s.x, s.y),
            Self::Softmax(s) => pair(s.x, s.y),
            Self::Copy(s) => {
                if let Some(x) = s.x {
                    visit(x, Read);
                }
                visit(s.y, Write);
            }
            Self::Fill(s) => visit(s.y, Write),
            Self::Gather(s) => pair(s.x, s.y),
            Self::ResizeLinear(s) => pair(s.x, s.y),
            Self::RoiAlign(s) => {
                pair(s.x, s.y);
                visit(s.boxes, Read);
                visit(s.images, Read);
            }
            Self::ArgMax(s) => pair(s.x, s.y),
            Self::Quantize(s) => pair(s.x, s.y),
            Self::Dequantize(s) => pair(s.x, s.y),
            Self::Requantize(s) => pair(s.x, s.y),
            Self::Cast(s) => pair(s.x, s.y),
            Self::Lstm(s) | Self::Gru(s) | Self::Rnn(s) => {
                pair(s.x, s.y);
                [s.h, s.c].into_iter().flatten().for_each(|id| visit(id, Read));
                s.y_c.into_iter().for_each(|id| visit(id, Write));
                [s.state, s.sums].into_iter().for_each(|id| visit(id, Scratch));
            }
            Self::Lookup(s) => {
                pair(s.indices, s.y);
                if let Some(x) = s.x {
                    visit(x, Read);
                }
            }
            Self::Select(s) => {
                pair(s.condition, s.y);
                s.a.into_iter().chain(s.b).for_each(|id| visit(id, Read));
            }
            Self::Compare(s) => {
                pair(s.a, s.y);
                if let Some(b) = s.b {
                    visit(b, Read);
                }
            }
            Self::LayerNorm(s) => {
                pair(s.x, s.y);
                if let Some(residual) = s.residual {
                    visit(residual, Read);
                }
            }
            Self::QuantizeDynamic(s) => {
                pair(s.x, s.y);
                visit(s.parameters, Write);
            }
            Self::ConvI8Dynamic(s) => {
                pair(s.conv.x, s.conv.y);
                visit(s.parameters, Read);
                visit(s.room, Scratch);
                if let Some(scratch) = s.conv.scratch {
                    visit(scratch, Scratch);
                }
            }
            Self::CacheRows(s) => {
                pair(s.x, s.y);
                visit(s.positions, Read);
            }
            Self::Attention(s) | Self::CachedAttention(CachedAttention { attention: s, .. }) => {
                pair(s.q, s.y);
                visit(s.k, Read);
                visit(s.v, Read);
                if let Some(mask) = s.mask {
                    visit(mask, Read);
                }
                visit(s.scratch, Scratch);
                if let Self::CachedAttention(s) = self {
                    visit(s.positions, Read);
                }
            }
            Self::HostStep(s) => {
                s.input_ids().for_each(|id| visit(id, Read));
                s.output_ids().for_each(|id| visit(id, Write));
            }
        }
    }

    /// Whether the output may take exactly the place of the input `x` that ends here: only where
    /// every element is read before, or just as, the element of the same number is written.
    #[must_use]
    pub fn may_replace(&self, x: TensorId) -> bool {
        match self {
            Self::Table(s) => s.x == x,
            Self::Unary(s) => s.x == x,
            Self::LayerNorm(s) => (s.x == x) != (s.residual == Some(x)),
            Self::Binary(s) => {
                let whole = row_major(&s.dims);
                (s.a == x && (s.b != Some(x) || s.b_strides == whole) && s.a_strides == whole)
                    || (s.b == Some(x) && s.b_strides == whole && s.a != x)
            }
            _ => false,
        }
    }

    /// The tensor whose type says which form of its kind the step is: int8, float32 or int16; `None` where there is one
    /// form.
    #[must_use]
    pub(crate) fn deciding_tensor(&self) -> Option<TensorId> {
        match self {
            Self::MatMul(s) => Some(s.y),
            Self::Binary(s) => Some(s.y),
            Self::Table(s) => Some(s.y),
            Self::Pool(s) => Some(s.y),
            Self::Reduce(s) => Some(s.y),
            Self::Softmax(s) => Some(s.y),
            Self::ResizeLinear(s) => Some(s.y),
            Self::ArgMax(s) => Some(s.x),
            Self::Quantize(s) => Some(s.y),
            Self::Dequantize(s) => Some(s.x),
            Self::Requantize(s) => Some(s.y),
            Self::Lstm(s) | Self::Gru(s) | Self::Rnn(s) => Some(s.state),
            _ => None,
        }
    }

    /// Whether the step runs through the fallback of machines with `std`.
    #[must_use]
    pub fn needs_host(&self) -> bool {
        matches!(self, Self::HostStep(_))
    }

    /// Multiply-accumulates of one run.
    #[must_use]
    pub fn multiply_accumulates(&self) -> u64 {
        let conv = |w: &Window| w.positions() as u64 * u64::from(w.out_c) * w.taps() as u64 * w.group_in() as u64;
        if let Some(s) = self.conv_i8() {
            return conv(&s.window);
        }
        match self {
            Self::ConvI16(s) | Self::DepthwiseI16(s) => conv(&s.window),
            Self::ConvF32(s) => conv(&s.window),
            Self::ConvI8Dynamic(s) => conv(&s.conv.window),
            Self::DepthwiseF32(s) => conv(&s.window),
            Self::Lstm(s) => s.multiply_accumulates(4),
            Self::Gru(s) => s.multiply_accumulates(3),
            Self::Rnn(s) => s.multiply_accumulates(1),
            Self::Attention(s) | Self::CachedAttention(CachedAttention { attention: s, .. }) => {
                let scores = u64::from(s.batch) * u64::from(s.heads) * u64::from(s.queries) * u64::from(s.keys);
                scores * (u64::from(s.width) + u64::from(s.value_width))
            }
            Self::MatMul(s) => u64::from(s.batch) * u64::from(s.m) * u64::from(s.k) * u64::from(s.n),
            _ => 0,
        }
    }
}

/// Strides, in elements, of a dense row-major array; 0 for dimensions of one element.
#[must_use]
pub fn row_major(dims: &[u32; MAX_RANK]) -> [u32; MAX_RANK] {
    let mut strides = [0; MAX_RANK];
    let mut stride = 1_u32;
    for (slot, &dim) in strides.iter_mut().zip(dims).rev() {
        if dim != 1 {
            *slot = stride;
            stride = stride.saturating_mul(dim);
        }
    }
    strides
}

/// A step with its place in the list and its name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepRecord {
    /// Index in the list of steps.
    pub index: u32,
    /// The ONNX node it comes from, in the file.
    pub name: Span,
    /// The step.
    pub step: Step,
}

/// Iterator over the steps of a plan.
#[derive(Clone, Debug)]
pub struct Steps<'p> {
    kinds: &'static Kinds,
    words: &'p [u8],
    index: u32,
}

impl<'p> Steps<'p> {
    pub(super) fn new(kinds: &'static Kinds, words: &'p [u8]) -> Self {
        Self { kinds, words, index: 0 }
    }

    /// The opcode of the next record; 0, which no kind has, at the end.
    pub(crate) fn opcode(&self) -> usize {
        U32s::new(self.words).get(0) as usize & 0xffff
    }

    /// Bytes not decoded yet.
    #[must_use]
    pub fn remaining_bytes(&self) -> usize {
        self.words.len()
    }
}

impl Iterator for Steps<'_> {
    type Item = StepRecord;

    #[cfg_attr(target_os = "none", inline(never))]
    #[cfg_attr(not(target_os = "none"), inline)]
    fn next(&mut self) -> Option<StepRecord> {
        let head = U32s::new(self.words).slice(0, 1);
        if head.is_empty() {
            return None;
        }
        let words = (head.get(0) >> 16) as usize;
        let record = self.words.get(4..words.checked_mul(4)?)?;
        let mut reader = Reader::new(record);
        let name = Span::decode(&mut reader)?;
        let record = self.kinds.decoder(head.get(0) & 0xffff)?(&mut reader, self.index, name);
        if record.is_some() {
            self.index += 1;
            self.words = &self.words[words * 4..];
        }
        record
    }
}
