//! Tensor data kept in files beside the model.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};

use tract_onnx::pb;

use super::ModelError;

/// Reads the bytes of a tensor whose `external_data` points to a file below `folder`.
pub(super) fn read(tensor: &pb::TensorProto, folder: &Path, expected: usize) -> Result<Vec<u8>, ModelError> {
    let fail = |problem: String| ModelError::tensor(&tensor.name, problem);
    let entry = |key: &str| tensor.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
    let number = |key: &str| {
        let parse = |v: &str| v.parse::<u64>().map_err(|_| fail(format!("external data: {key} \"{v}\" is no number")));
        entry(key).map(parse).transpose()
    };
    let location = entry("location").ok_or_else(|| fail("external data without a location".into()))?;
    let relative = Path::new(location);
    if relative.components().any(|c| !matches!(c, Component::Normal(_) | Component::CurDir)) {
        return Err(fail(format!("external data \"{location}\" lies outside the model's folder and is not read")));
    }
    let path = folder.join(relative);
    let file_error = |source| ModelError::File { path: path.clone(), source };
    let real = path.canonicalize().map_err(file_error)?;
    if !real.starts_with(folder.canonicalize().map_err(file_error)?) {
        return Err(fail(format!("external data \"{location}\" links outside the model's folder and is not read")));
    }
    if let Some(length) = number("length")?
        && length != expected as u64
    {
        return Err(fail(format!("external data of {length} bytes where type and shape ask for {expected}")));
    }
    let offset = number("offset")?.unwrap_or(0);
    let mut file = std::fs::File::open(&real).map_err(file_error)?;
    let size = file.metadata().map_err(file_error)?.len();
    if offset.checked_add(expected as u64).is_none_or(|end| end > size) {
        return Err(fail(format!(
            "{expected} bytes from {offset} of \"{location}\", which ends at {size}: the file is cut short"
        )));
    }
    file.seek(SeekFrom::Start(offset)).map_err(file_error)?;
    let mut data = vec![0; expected];
    file.read_exact(&mut data).map_err(file_error)?;
    Ok(data)
}
