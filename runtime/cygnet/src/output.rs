//! Files that appear whole or not at all.

#[cfg(feature = "npz")]
use std::io::Seek;
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::input::{Array, npy_header};

/// Writes a file beside `path` and renames it over `path` when `write` has done its work.
///
/// # Errors
/// What the system or `write` says; `path` is then as it was.
pub fn write_file<E: From<std::io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut std::fs::File>) -> Result<(), E>,
) -> Result<(), E> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    // The file is as readable as any other that a program writes: the umask is applied.
    #[cfg(unix)]
    builder.permissions(readable);
    let mut file = builder.prefix(".cygnet-").tempfile_in(folder)?;
    let mut writer = BufWriter::new(file.as_file_mut());
    write(&mut writer)?;
    writer.flush()?;
    drop(writer);
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Writes an array as a `.npy` that NumPy loads, whole or not at all; its name is not kept.
///
/// # Errors
/// What the system says.
pub fn write_npy(path: &Path, array: &Array) -> std::io::Result<()> {
    write_file(path, |file| {
        file.write_all(&npy_header(array.dtype, &array.shape))?;
        file.write_all(&array.data)
    })
}

/// Writes arrays as a `.npz` that NumPy loads, whole or not at all.
///
/// # Errors
/// What the system says; [`std::io::ErrorKind::Unsupported`] where this build lacks the feature `npz`.
#[cfg(feature = "npz")]
pub fn write_npz(path: &Path, arrays: &[Array]) -> std::io::Result<()> {
    write_file(path, |file| write_arrays(file, arrays))
}

/// Says that this build writes no `.npz`.
///
/// # Errors
/// [`std::io::ErrorKind::Unsupported`], always.
#[cfg(not(feature = "npz"))]
pub fn write_npz(_: &Path, _: &[Array]) -> std::io::Result<()> {
    let mend = "this build writes no .npz; write one array as .npy, or build it with the feature \"npz\"";
    Err(std::io::Error::new(std::io::ErrorKind::Unsupported, mend))
}

#[cfg(feature = "npz")]
fn write_arrays(file: impl Write + Seek, arrays: &[Array]) -> std::io::Result<()> {
    let mut archive = zip::ZipWriter::new(file);
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for array in arrays {
        let options = stored.large_file(array.data.len() > u32::MAX as usize / 2);
        archive.start_file(format!("{}.npy", array.name), options)?;
        archive.write_all(&npy_header(array.dtype, &array.shape))?;
        archive.write_all(&array.data)?;
    }
    archive.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{ElementType, read_arrays};

    #[test]
    fn an_array_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        let array = Array { name: "x".into(), dtype: ElementType::U8, shape: vec![2, 1], data: vec![7, 9] };
        write_npy(&path, &array).unwrap();
        assert_eq!(read_arrays(&path).unwrap(), [array]);
    }

    #[cfg(not(feature = "npz"))]
    #[test]
    fn archives_left_out_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npz");
        std::fs::write(&path, b"PK\x05\x06").unwrap();
        let message = read_arrays(&path).unwrap_err().to_string();
        assert!(message.contains("x.npz") && message.contains("\"npz\""), "{message}");
        let message = write_npz(&path, &[]).unwrap_err().to_string();
        assert!(message.contains("\"npz\""), "{message}");
    }

    #[cfg(feature = "npz")]
    #[test]
    fn arrays_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npz");
        let array = |name: &str, dtype, shape: &[usize], data: &[u8]| Array {
            name: name.into(),
            dtype,
            shape: shape.to_vec(),
            data: data.to_vec(),
        };
        let arrays = [
            array("a/b", ElementType::F32, &[2], &[0, 0, 128, 63, 0, 0, 0, 64]),
            array("empty", ElementType::I64, &[0, 3], &[]),
            array("one", ElementType::Bool, &[], &[1]),
        ];
        write_npz(&path, &arrays).unwrap();
        assert_eq!(read_arrays(&path).unwrap(), arrays);
        assert_eq!(arrays[0].to_f32s(0, 9), [1.0, 2.0]);
    }

    #[test]
    fn a_failure_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        std::fs::write(&path, "old").unwrap();
        let failed = write_file(&path, |file| {
            file.write_all(b"new")?;
            Err(std::io::Error::other("no"))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
