//! What C learns about an input or output.

use core::ffi::c_char;

use cygnet_core::plan::{DType, Port, Tensor};

use crate::CYGNET_MAX_RANK;

/// Text inside a plan: UTF-8, not ended by a zero. printf("%.*s", (int)text.length, text.bytes) prints it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CygnetText {
    /// The first byte; never null in what a call has filled in.
    pub bytes: *const c_char,
    /// Number of bytes.
    pub length: usize,
}

impl From<&str> for CygnetText {
    fn from(text: &str) -> Self {
        Self { bytes: text.as_ptr().cast(), length: text.len() }
    }
}

/// The type of the elements of a tensor.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CygnetType {
    /// Signed 8-bit.
    Int8 = 0,
    /// IEEE 754 single precision.
    Float32 = 1,
    /// Unsigned 8-bit.
    Uint8 = 2,
    /// Signed 32-bit.
    Int32 = 3,
    /// Signed 64-bit.
    Int64 = 4,
    /// One byte, 0 or 1.
    Bool = 5,
    /// A type that this header does not know.
    Other = 6,
    /// Signed 16-bit.
    Int16 = 7,
}

impl From<DType> for CygnetType {
    fn from(dtype: DType) -> Self {
        match dtype {
            DType::I8 => Self::Int8,
            DType::F32 => Self::Float32,
            DType::U8 => Self::Uint8,
            DType::I16 => Self::Int16,
            DType::I32 => Self::Int32,
            DType::I64 => Self::Int64,
            DType::Bool => Self::Bool,
            _ => Self::Other,
        }
    }
}

/// An input or output of a model.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CygnetTensor {
    /// Its name in the ONNX model.
    pub name: CygnetText,
    /// The type that the ONNX model declares: what the calls for bytes take and give.
    pub element_type: CygnetType,
    /// The type that lies in the arena: int8 may stand for float32, and for uint8 (then 128 less), int16 for float32.
    pub stored_type: CygnetType,
    /// Number of dimensions.
    pub rank: u32,
    /// Dimensions as the ONNX model declares them, the last one contiguous; 1 behind `rank`.
    pub shape: [u32; CYGNET_MAX_RANK],
    /// Axis order in the arena: memory axis i holds axis order[i] of `shape`. Pictures lie channels-last.
    pub order: [u32; CYGNET_MAX_RANK],
    /// Number of elements: the product of `shape`.
    pub elements: usize,
    /// Bytes that the calls for bytes take and give: `elements` of `element_type`.
    pub bytes: usize,
    /// Bytes in the arena: `elements` of `stored_type`.
    pub stored_bytes: usize,
    /// Where int8 is stored, real = (stored - zero_point) * scale.
    pub scale: f32,
    /// The stored int8 that stands for 0.
    pub zero_point: i32,
}

impl CygnetTensor {
    pub(crate) fn new(name: &str, port: &Port, tensor: &Tensor) -> Self {
        let elements = port.len();
        Self {
            name: name.into(),
            element_type: port.dtype.into(),
            stored_type: tensor.dtype.into(),
            rank: port.rank,
            shape: port.shape,
            order: port.order,
            elements,
            bytes: elements.saturating_mul(port.dtype.bytes()),
            stored_bytes: tensor.bytes(),
            scale: tensor.scale,
            zero_point: tensor.zero_point,
        }
    }
}
