//! Arrays out of `.npz` files, as ONNX tensors.

use std::collections::BTreeMap;
use std::path::Path;

use cygnet::input::{ElementType, read_arrays};
use cygnet_onnx::model::{DType, Tensor};

/// Reads every array of a file.
///
/// # Panics
/// When the file is not there or holds an array of a type that the golden vectors do not use: the
/// test that reads it cannot mean anything then.
#[must_use]
pub fn read_npz(path: &Path) -> BTreeMap<String, Tensor> {
    let arrays = read_arrays(path).unwrap_or_else(|error| panic!("{error}"));
    arrays
        .into_iter()
        .map(|array| {
            let dtype = match array.dtype {
                ElementType::F32 => DType::F32,
                ElementType::I8 => DType::I8,
                ElementType::U8 => DType::U8,
                ElementType::I16 => DType::I16,
                ElementType::I32 => DType::I32,
                ElementType::I64 => DType::I64,
                ElementType::Bool => DType::Bool,
                other => panic!("arrays of type {other:?} are not expected"),
            };
            (array.name, Tensor { dtype, shape: array.shape, data: array.data })
        })
        .collect()
}
