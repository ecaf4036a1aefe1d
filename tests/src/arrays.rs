//! Arrays out of `.npz` files, as ONNX tensors.

use std::collections::BTreeMap;
use std::path::Path;

use cygnet::input::{ElementType, read_arrays};
use cygnet_onnx::model::{DType, Tensor};

/// Reads every array of a file.
///
/// # Errors
/// When the file cannot be read or holds an array of a type that ONNX tensors do not have.
pub fn try_read_npz(path: &Path) -> Result<BTreeMap<String, Tensor>, String> {
    let arrays = read_arrays(path).map_err(|error| error.to_string())?;
    let tensor = |array: cygnet::input::Array| {
        let dtype = match array.dtype {
            ElementType::F16 => DType::F16,
            ElementType::F32 => DType::F32,
            ElementType::F64 => DType::F64,
            ElementType::I8 => DType::I8,
            ElementType::U8 => DType::U8,
            ElementType::I16 => DType::I16,
            ElementType::U16 => DType::U16,
            ElementType::I32 => DType::I32,
            ElementType::U32 => DType::U32,
            ElementType::I64 => DType::I64,
            ElementType::U64 => DType::U64,
            ElementType::Bool => DType::Bool,
            other => return Err(format!("arrays of type {other:?} are not read")),
        };
        Ok((array.name, Tensor { dtype, shape: array.shape, data: array.data }))
    };
    arrays.into_iter().map(tensor).collect()
}

/// Reads every array of a file.
///
/// # Panics
/// Where [`try_read_npz`] fails: the test that reads it cannot mean anything then.
#[must_use]
pub fn read_npz(path: &Path) -> BTreeMap<String, Tensor> {
    try_read_npz(path).unwrap_or_else(|problem| panic!("{problem}"))
}
