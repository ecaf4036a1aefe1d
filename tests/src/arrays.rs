//! Arrays out of `.npz` files, as ONNX tensors.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use cygnet_onnx::model::{DType, Tensor};
use npyz::npz::NpzArchive;
use npyz::{NpyFile, TypeChar};

/// Reads every array of a file.
///
/// # Panics
/// When the file is not there or holds an array of a type that the golden vectors do not use: the
/// test that reads it cannot mean anything then.
#[must_use]
pub fn read_npz(path: &Path) -> BTreeMap<String, Tensor> {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut archive = NpzArchive::new(BufReader::new(file)).expect("an npz file");
    let names: Vec<String> = archive.array_names().map(str::to_string).collect();
    names
        .into_iter()
        .map(|name| {
            let array = archive.by_name(&name).expect("readable").expect("there");
            let tensor = tensor(array);
            (name, tensor)
        })
        .collect()
}

fn tensor<R: Read>(array: NpyFile<R>) -> Tensor {
    let shape: Vec<usize> = array.shape().iter().map(|&dim| dim as usize).collect();
    let npyz::DType::Plain(dtype) = array.dtype() else { panic!("a structured array") };
    match (dtype.type_char(), dtype.size_field()) {
        (TypeChar::Float, 4) => Tensor::from_f32(shape, &array.into_vec::<f32>().expect("f32")),
        (TypeChar::Int, 1) => Tensor::from_i8(shape, &array.into_vec::<i8>().expect("i8")),
        (TypeChar::Uint, 1) => Tensor::from_u8(shape, &array.into_vec::<u8>().expect("u8")),
        (TypeChar::Int, 4) => Tensor::from_i32(shape, &array.into_vec::<i32>().expect("i32")),
        (TypeChar::Int, 8) => Tensor::from_i64(shape, &array.into_vec::<i64>().expect("i64")),
        (TypeChar::Bool, _) => {
            let values = array.into_vec::<bool>().expect("bool");
            Tensor { dtype: DType::Bool, shape, data: values.into_iter().map(u8::from).collect() }
        }
        other => panic!("arrays of type {other:?} are not expected"),
    }
}
