//! NumPy arrays.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use super::InputError;
use super::npy;
#[cfg(feature = "npz")]
use super::npy::NpyError;

/// One list of names and sizes for [`ElementType`].
macro_rules! element_types {
    ($($(#[$doc:meta])* $variant:ident $code:literal $numpy:literal $bytes:literal,)*) => {
        /// The type of an array's elements.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum ElementType {
            $($(#[$doc])* $variant,)*
        }

        impl ElementType {
            /// By NumPy's code without the byte order.
            pub(super) fn of_numpy(code: &str) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// NumPy's code, little-endian.
            pub(super) fn numpy(self) -> &'static str {
                match self {
                    $(Self::$variant => $numpy,)*
                }
            }

            /// Bytes of one element.
            pub fn bytes(self) -> usize {
                match self {
                    $(Self::$variant => $bytes,)*
                }
            }
        }
    };
}

element_types! {
    /// IEEE 754 half precision.
    F16 "f2" "<f2" 2,
    /// IEEE 754 single precision.
    F32 "f4" "<f4" 4,
    /// IEEE 754 double precision.
    F64 "f8" "<f8" 8,
    /// Signed, 8 bits.
    I8 "i1" "|i1" 1,
    /// Signed, 16 bits.
    I16 "i2" "<i2" 2,
    /// Signed, 32 bits.
    I32 "i4" "<i4" 4,
    /// Signed, 64 bits.
    I64 "i8" "<i8" 8,
    /// Unsigned, 8 bits.
    U8 "u1" "|u1" 1,
    /// Unsigned, 16 bits.
    U16 "u2" "<u2" 2,
    /// Unsigned, 32 bits.
    U32 "u4" "<u4" 4,
    /// Unsigned, 64 bits.
    U64 "u8" "<u8" 8,
    /// One byte, 0 or 1.
    Bool "b1" "|b1" 1,
}

impl ElementType {
    /// The type in NumPy's world of a plan's input or output; `None` for one that NumPy does not have.
    pub fn of_plan(dtype: cygnet_core::DType) -> Option<Self> {
        use cygnet_core::DType;
        Some(match dtype {
            DType::I8 => Self::I8,
            DType::F32 => Self::F32,
            DType::U8 => Self::U8,
            DType::I16 => Self::I16,
            DType::I32 => Self::I32,
            DType::I64 => Self::I64,
            DType::Bool => Self::Bool,
            DType::U16 => Self::U16,
            DType::U32 => Self::U32,
            DType::U64 => Self::U64,
            DType::F16 => Self::F16,
            DType::F64 => Self::F64,
            _ => return None,
        })
    }
}

/// An array with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Its name in the `.npz`; `x` when it comes from a `.npy`.
    pub name: String,
    /// Type of the elements.
    pub dtype: ElementType,
    /// Extents.
    pub shape: Vec<usize>,
    /// The elements, row-major and little-endian.
    pub data: Vec<u8>,
}

impl Array {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.data.len() / self.dtype.bytes()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Elements `start..start + len`, or as many of them as there are, as `f64`.
    fn reals(&self, start: usize, len: usize) -> impl Iterator<Item = f64> + '_ {
        let size = self.dtype.bytes();
        let elements = self.data.chunks_exact(size).skip(start).take(len);
        let dtype = self.dtype;
        elements.map(move |element| real(dtype, element))
    }

    /// Elements `start..start + len`, or as many of them as there are, rounded to `f32`.
    pub fn to_f32s(&self, start: usize, len: usize) -> Vec<f32> {
        self.reals(start, len).map(|value| value as f32).collect()
    }

    /// All elements as indices; `Err` has the place and the value of the first that is none.
    pub(super) fn to_indices(&self) -> Result<Vec<usize>, (usize, f64)> {
        let index = |(place, value): (usize, f64)| {
            let fits = value >= 0.0 && value.fract() == 0.0 && value < 4_294_967_296.0;
            if fits { Ok(value as usize) } else { Err((place, value)) }
        };
        self.reals(0, self.len()).enumerate().map(index).collect()
    }
}

/// The value of one little-endian element.
pub(crate) fn real(dtype: ElementType, element: &[u8]) -> f64 {
    macro_rules! read {
        ($type:ty) => {
            element.try_into().map_or(0.0, |bytes| <$type>::from_le_bytes(bytes) as f64)
        };
    }
    match dtype {
        ElementType::F16 => element.try_into().map_or(0.0, |bytes| half::f16::from_le_bytes(bytes).to_f64()),
        ElementType::F32 => read!(f32),
        ElementType::F64 => read!(f64),
        ElementType::I8 => read!(i8),
        ElementType::I16 => read!(i16),
        ElementType::I32 => read!(i32),
        ElementType::I64 => read!(i64),
        ElementType::U8 | ElementType::Bool => read!(u8),
        ElementType::U16 => read!(u16),
        ElementType::U32 => read!(u32),
        ElementType::U64 => read!(u64),
    }
}

/// The arrays of a `.npz`, or the one of a `.npy`, which is called `x`; which it is shows in the first bytes.
/// Arrays of text are left out.
///
/// # Errors
/// [`InputError::File`], [`InputError::Array`], [`InputError::Data`].
pub fn read_arrays(path: &Path) -> Result<Vec<Array>, InputError> {
    use std::io::{Read, Seek};
    let mut file = BufReader::new(File::open(path).map_err(InputError::file(path))?);
    let mut start = Vec::new();
    file.by_ref().take(2).read_to_end(&mut start).map_err(InputError::file(path))?;
    file.rewind().map_err(InputError::file(path))?;
    if start != b"PK" {
        let (dtype, shape, data) = npy::read(file).map_err(|problem| InputError::data(path, problem.to_string()))?;
        return Ok(vec![Array { name: "x".into(), dtype, shape, data }]);
    }
    of_archive(path, file)
}

#[cfg(not(feature = "npz"))]
fn of_archive(path: &Path, _: BufReader<File>) -> Result<Vec<Array>, InputError> {
    Err(InputError::data(
        path,
        "this build reads no .npz; store one array as .npy, or build it with the feature \"npz\"",
    ))
}

#[cfg(feature = "npz")]
fn of_archive(path: &Path, file: BufReader<File>) -> Result<Vec<Array>, InputError> {
    let broken = |error: zip::result::ZipError| {
        InputError::data(path, format!("the .npz cannot be read ({error}); write it again with numpy.savez"))
    };
    let mut archive = zip::ZipArchive::new(file).map_err(broken)?;
    let mut arrays = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(broken)?;
        let name = entry.name().map_err(broken)?.strip_suffix(".npy").map(str::to_string);
        let Some(name) = name else { continue };
        match npy::read(entry) {
            Ok((dtype, shape, data)) => arrays.push(Array { name, dtype, shape, data }),
            // Names of the samples or of the classes often lie in the same file.
            Err(problem @ NpyError::ElementType(_)) => log::debug!("{}: {name}: {problem}", path.display()),
            Err(problem) => return Err(InputError::array(path, &name, problem.to_string())),
        }
    }
    Ok(arrays)
}
