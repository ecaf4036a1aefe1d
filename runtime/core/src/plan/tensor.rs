//! The tensor table and the inputs and outputs.

use core::fmt;

use crate::bytes::{Reader, Record, Span};

/// The greatest number of dimensions of a tensor.
pub const MAX_RANK: usize = 6;

crate::word_enum! {
    /// The type of a tensor's elements.
    DType {
        /// Signed 8-bit, with scale and zero point.
        I8 = 0,
        /// IEEE 754 single precision.
        F32 = 1,
        /// Unsigned 8-bit.
        U8 = 2,
        /// Signed 32-bit.
        I32 = 3,
        /// Signed 64-bit.
        I64 = 4,
        /// One byte, 0 or 1.
        Bool = 5,
        /// Signed 16-bit, with scale and zero point.
        I16 = 6,
        /// Unsigned 16-bit. This type and those below are only moved, and handed to a host.
        U16 = 7,
        /// Unsigned 32-bit.
        U32 = 8,
        /// Unsigned 64-bit.
        U64 = 9,
        /// IEEE 754 half precision.
        F16 = 10,
        /// IEEE 754 double precision.
        F64 = 11,
    }
}

impl DType {
    /// Whether steps compute with elements of the type; others are only moved, and handed to a host.
    #[must_use]
    pub fn is_computed(self) -> bool {
        (self as u32) <= Self::I16 as u32
    }

    /// Bytes of one element.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 | Self::Bool => 1,
            Self::I16 | Self::U16 | Self::F16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::I8 => "int8",
            Self::F32 => "float32",
            Self::U8 => "uint8",
            Self::I32 => "int32",
            Self::I64 => "int64",
            Self::Bool => "bool",
            Self::I16 => "int16",
            Self::U16 => "uint16",
            Self::U32 => "uint32",
            Self::U64 => "uint64",
            Self::F16 => "float16",
            Self::F64 => "float64",
        })
    }
}

/// The index of a tensor in the plan's tensor table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorId(pub u32);

impl TensorId {
    /// Stands in records where there is none.
    pub const NONE: Self = Self(u32::MAX);
}

impl Record for TensorId {
    const WORDS: usize = 1;

    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        reader.word().map(Self)
    }
    fn encode(&self, write: &mut dyn FnMut(u32)) {
        write(self.0);
    }
}

impl Record for Option<TensorId> {
    const WORDS: usize = 1;

    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        TensorId::decode(reader).map(|id| (id != TensorId::NONE).then_some(id))
    }
    fn encode(&self, write: &mut dyn FnMut(u32)) {
        write(self.unwrap_or(TensorId::NONE).0);
    }
}

crate::record! {
    /// One buffer of the arena. `shape` is in memory order, the last dimension contiguous; images
    /// are channels-last.
    Tensor {
        /// Offset of the first byte in the arena, a multiple of [`super::ALIGNMENT`].
        offset: u32,
        /// Type of the elements.
        dtype: DType,
        /// Number of dimensions in `shape`.
        rank: u32,
        /// Dimensions; those behind `rank` are 1.
        shape: [u32; MAX_RANK],
        /// Real value of one step of an int8 or int16 tensor.
        scale: f32,
        /// Stored value that stands for zero.
        zero_point: i32,
        /// Time of the first write: step `i` happens at time `i + 1`, inputs are written at 0.
        first: u32,
        /// Time of the last read; outputs are read at `steps + 1`.
        last: u32,
        /// The ONNX name, in the file.
        name: Span,
    }
}

impl Tensor {
    /// The word of an entry that holds the type.
    pub(crate) const DTYPE_WORD: usize = 1;

    /// The dimensions.
    #[must_use]
    pub fn dims(&self) -> &[u32] {
        &self.shape[..(self.rank as usize).min(MAX_RANK)]
    }

    /// Number of elements (checked by the verifier to be below 2³¹).
    #[must_use]
    pub fn len(&self) -> usize {
        self.dims().iter().fold(1_usize, |product, &dim| product.saturating_mul(dim as usize))
    }

    /// Whether the tensor has no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the tensor takes in the arena.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.len().saturating_mul(self.dtype.bytes())
    }
}

crate::record! {
    /// A model input or output: how the caller sees one tensor of the plan.
    Port {
        /// The tensor that holds it.
        tensor: TensorId,
        /// The type that the ONNX model declares (an int8 tensor may stand for float32 or uint8, an int16 one for float32).
        dtype: DType,
        /// Number of dimensions.
        rank: u32,
        /// Dimensions in the order that the ONNX model declares.
        shape: [u32; MAX_RANK],
        /// Memory axis `i` of the tensor holds axis `order[i]` of `shape`.
        order: [u32; MAX_RANK],
        /// The ONNX name, in the file.
        name: Span,
    }
}

impl Port {
    /// The dimensions that the ONNX model declares.
    #[must_use]
    pub fn dims(&self) -> &[u32] {
        &self.shape[..(self.rank as usize).min(MAX_RANK)]
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.dims().iter().fold(1_usize, |product, &dim| product.saturating_mul(dim as usize))
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether memory holds the elements in the order of `shape`.
    #[must_use]
    pub fn in_order(&self) -> bool {
        let mut last = 0;
        for &axis in &self.order[..self.dims().len()] {
            if self.shape.get(axis as usize).is_some_and(|&dim| dim != 1) {
                if axis < last {
                    return false;
                }
                last = axis;
            }
        }
        true
    }
}
