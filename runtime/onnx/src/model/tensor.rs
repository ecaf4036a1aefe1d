//! Element types and constant tensors.

use half::{bf16, f16};

use super::ModelError;

/// The element type of a tensor, by its ONNX name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DType {
    /// IEEE 754 single precision (`FLOAT`).
    F32,
    /// IEEE 754 double precision (`DOUBLE`).
    F64,
    /// IEEE 754 half precision (`FLOAT16`).
    F16,
    /// The upper half of a single (`BFLOAT16`).
    BF16,
    /// Signed, 4 bits: two in a byte of a file, each in a byte of its own in a [`Tensor`].
    I4,
    /// Unsigned, 4 bits: two in a byte of a file, each in a byte of its own in a [`Tensor`].
    U4,
    /// Signed, 8 bits.
    I8,
    /// Unsigned, 8 bits.
    U8,
    /// Signed, 16 bits.
    I16,
    /// Unsigned, 16 bits.
    U16,
    /// Signed, 32 bits.
    I32,
    /// Unsigned, 32 bits.
    U32,
    /// Signed, 64 bits.
    I64,
    /// Unsigned, 64 bits.
    U64,
    /// One byte, 0 or 1.
    Bool,
    /// Text of any length.
    String,
}

impl DType {
    /// Bytes of one element of a [`Tensor`]; 0 for [`DType::String`], whose elements differ in length.
    pub fn size_bytes(self) -> usize {
        match self {
            DType::F64 | DType::I64 | DType::U64 => 8,
            DType::F32 | DType::I32 | DType::U32 => 4,
            DType::F16 | DType::BF16 | DType::I16 | DType::U16 => 2,
            DType::I4 | DType::U4 | DType::I8 | DType::U8 | DType::Bool => 1,
            DType::String => 0,
        }
    }

    /// Whether two elements share a byte of a file.
    pub fn is_packed(self) -> bool {
        matches!(self, DType::I4 | DType::U4)
    }

    /// Whether the type is a floating-point type.
    pub fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F64 | DType::F16 | DType::BF16)
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            DType::F32 => "float32",
            DType::F64 => "float64",
            DType::F16 => "float16",
            DType::BF16 => "bfloat16",
            DType::I4 => "int4",
            DType::U4 => "uint4",
            DType::I8 => "int8",
            DType::U8 => "uint8",
            DType::I16 => "int16",
            DType::U16 => "uint16",
            DType::I32 => "int32",
            DType::U32 => "uint32",
            DType::I64 => "int64",
            DType::U64 => "uint64",
            DType::Bool => "bool",
            DType::String => "string",
        })
    }
}

/// A constant: element type, shape and bytes.
///
/// `data` is little endian and row-major; its length is `len() * dtype.size_bytes()`. For [`DType::String`]
/// every element is a `u32` length followed by that many bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Element type.
    pub dtype: DType,
    /// Extent of every axis; empty for a scalar.
    pub shape: Vec<usize>,
    /// The elements, little endian and row-major.
    pub data: Vec<u8>,
}

/// `Tensor::from_*`: the element bytes of a slice behind a shape.
macro_rules! from_slice {
    ($($name:ident, $type:ty, $dtype:expr;)*) => {$(
        #[doc = concat!("A tensor of `", stringify!($type), "` elements in row-major order.")]
        ///
        /// The caller gives as many values as the shape has elements; [`Tensor::check`] tells otherwise.
        pub fn $name(shape: Vec<usize>, values: &[$type]) -> Tensor {
            let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            Tensor { dtype: $dtype, shape, data }
        }
    )*};
}

/// One `match` over all numeric types that reads little-endian elements and maps each.
macro_rules! map_elements {
    ($tensor:expr, $map:expr, $unsupported:expr) => {{
        let (data, map) = (&$tensor.data[..], $map);
        macro_rules! read {
            ($type:ty, $wide:ty) => {
                data.chunks_exact(size_of::<$type>())
                    .map(|b| {
                        let mut bytes = [0; size_of::<$type>()];
                        bytes.copy_from_slice(b);
                        map(<$wide>::from(<$type>::from_le_bytes(bytes)))
                    })
                    .collect()
            };
        }
        match $tensor.dtype {
            DType::F32 => read!(f32, Element),
            DType::F64 => read!(f64, Element),
            DType::F16 => read!(f16, Element),
            DType::BF16 => read!(bf16, Element),
            DType::I4 | DType::I8 => read!(i8, Element),
            DType::U4 | DType::U8 | DType::Bool => read!(u8, Element),
            DType::I16 => read!(i16, Element),
            DType::U16 => read!(u16, Element),
            DType::I32 => read!(i32, Element),
            DType::U32 => read!(u32, Element),
            DType::I64 => read!(i64, Element),
            DType::U64 => read!(u64, Element),
            DType::String => return $unsupported,
        }
    }};
}

/// An element on its way to another type.
enum Element {
    Float(f64),
    Int(i128),
}

macro_rules! into_element {
    ($variant:ident($wide:ty): $($type:ty),*) => {$(
        impl From<$type> for Element {
            fn from(value: $type) -> Element {
                Element::$variant(<$wide>::from(value))
            }
        }
    )*};
}
into_element!(Float(f64): f32, f64, f16, bf16);
into_element!(Int(i128): i8, u8, i16, u16, i32, u32, i64, u64);

impl Tensor {
    from_slice! {
        from_f32, f32, DType::F32;
        from_f64, f64, DType::F64;
        from_i8, i8, DType::I8;
        from_u8, u8, DType::U8;
        from_i32, i32, DType::I32;
        from_i64, i64, DType::I64;
    }

    /// A tensor of 4-bit elements from -8 to 7 in row-major order; others lose their upper bits.
    pub fn from_i4(shape: Vec<usize>, values: &[i8]) -> Tensor {
        let data = values.iter().map(|v| (v << 4 >> 4).cast_unsigned()).collect();
        Tensor { dtype: DType::I4, shape, data }
    }

    /// A tensor of 4-bit elements from 0 to 15 in row-major order; others lose their upper bits.
    pub fn from_u4(shape: Vec<usize>, values: &[u8]) -> Tensor {
        Tensor { dtype: DType::U4, shape, data: values.iter().map(|v| v & 15).collect() }
    }

    /// The elements as the 8-bit type of the same sign where they have 4 bits.
    pub fn widened(self) -> Tensor {
        let dtype = match self.dtype {
            DType::I4 => DType::I8,
            DType::U4 => DType::U8,
            other => other,
        };
        Tensor { dtype, ..self }
    }

    /// A tensor of rank 0.
    pub fn scalar_f32(value: f32) -> Tensor {
        Tensor::from_f32(Vec::new(), &[value])
    }

    /// A tensor of rank 0.
    pub fn scalar_i64(value: i64) -> Tensor {
        Tensor::from_i64(Vec::new(), &[value])
    }

    /// The number of elements that the shape tells; saturates where the product overflows.
    pub fn len(&self) -> usize {
        self.shape.iter().fold(1usize, |n, &d| n.saturating_mul(d))
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the bytes are as many as type and shape ask for.
    pub fn check(&self) -> bool {
        if self.dtype == DType::String {
            return true;
        }
        let elements = self.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        elements.and_then(|n| n.checked_mul(self.dtype.size_bytes())) == Some(self.data.len())
    }

    /// All elements as `f32`, rounded to nearest even where the type is wider.
    ///
    /// # Errors
    /// [`ModelError::NotNumeric`] for text.
    pub fn to_f32s(&self) -> Result<Vec<f32>, ModelError> {
        let to_f32 = |e| match e {
            Element::Float(v) => v as f32,
            Element::Int(v) => v as f32,
        };
        Ok(map_elements!(self, to_f32, Err(ModelError::NotNumeric)))
    }

    /// All elements as `i64`.
    ///
    /// # Errors
    /// [`ModelError::NotNumeric`] for text, [`ModelError::NotWhole`] for a fraction or a number beyond 64 bits.
    pub fn to_i64s(&self) -> Result<Vec<i64>, ModelError> {
        let to_i64 = |e| match e {
            Element::Float(v) if v.fract() == 0.0 && v.abs() < 9.2e18 => Ok(v as i64),
            Element::Float(_) => Err(ModelError::NotWhole),
            Element::Int(v) => i64::try_from(v).map_err(|_| ModelError::NotWhole),
        };
        map_elements!(self, to_i64, Err(ModelError::NotNumeric))
    }

    /// The only element as `f32`: a scalar, or any tensor of one element.
    pub fn as_scalar_f32(&self) -> Option<f32> {
        match self.to_f32s().ok()?[..] {
            [value] => Some(value),
            _ => None,
        }
    }

    /// The only element as `i64`: a scalar, or any tensor of one element.
    pub fn as_scalar_i64(&self) -> Option<i64> {
        match self.to_i64s().ok()?[..] {
            [value] => Some(value),
            _ => None,
        }
    }
}

/// Which of `count` scales, as DequantizeLinear takes them, belongs to element `index` of a tensor: the only one; that of its
/// index along `axis`; or that of its block along `axis`, where `block` is not 0.
pub(crate) fn parameter_of(shape: &[usize], axis: usize, block: usize, count: usize, index: usize) -> usize {
    if count == 1 {
        return 0;
    }
    let inner = shape.iter().skip(axis + 1).product::<usize>().max(1);
    if block == 0 {
        return index / inner % count.max(1);
    }
    let extent = shape.get(axis).copied().unwrap_or(1).max(1);
    let (outer, place) = (index / (inner * extent), index / inner % extent);
    (outer * extent.div_ceil(block) + place / block) * inner + index % inner
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_numeric_type_reads_as_floats() {
        // 1.5 in float16 is 0x3E00, in bfloat16 0x3FC0 (IEEE 754).
        let cases = [
            (DType::F16, vec![0x00, 0x3E], 1.5),
            (DType::BF16, vec![0xC0, 0x3F], 1.5),
            (DType::I8, vec![0xFF], -1.0),
            (DType::U8, vec![0xFF], 255.0),
            (DType::I16, vec![0x00, 0x80], -32768.0),
            (DType::U16, vec![0x00, 0x80], 32768.0),
            (DType::U64, vec![0xFF; 8], 18446744073709551615.0),
            (DType::Bool, vec![1], 1.0),
        ];
        for (dtype, data, expected) in cases {
            let tensor = Tensor { dtype, shape: vec![], data };
            assert!(tensor.check(), "{dtype}");
            assert_eq!(tensor.to_f32s().unwrap(), [expected], "{dtype}");
        }
    }

    #[test]
    fn every_element_has_the_scale_of_its_block() {
        // 2 × 3 × 2 in blocks of two along the middle: 2 × 2 × 2 scales.
        let places: Vec<usize> = (0..12).map(|index| parameter_of(&[2, 3, 2], 1, 2, 8, index)).collect();
        assert_eq!(places, [0, 1, 0, 1, 2, 3, 4, 5, 4, 5, 6, 7]);
        let along_first: Vec<usize> = (0..6).map(|index| parameter_of(&[3, 2], 0, 0, 3, index)).collect();
        assert_eq!(along_first, [0, 0, 1, 1, 2, 2]);
    }

    #[test]
    fn integers_are_exact_or_refused() {
        assert_eq!(Tensor::from_i64(vec![1], &[i64::MIN]).to_i64s().unwrap(), [i64::MIN]);
        assert_eq!(Tensor::from_f32(vec![2], &[3.0, -4.0]).to_i64s().unwrap(), [3, -4]);
        assert!(Tensor::scalar_f32(0.5).to_i64s().is_err());
        assert!(Tensor::scalar_f32(f32::NAN).to_i64s().is_err());
    }

    #[test]
    fn lengths_are_checked_without_overflow() {
        let huge = Tensor { dtype: DType::F32, shape: vec![usize::MAX, 4], data: vec![] };
        assert!(!huge.check());
        assert!(!Tensor::from_f32(vec![3], &[1.0]).check());
    }
}
