//! Output files that appear whole, and together, or not at all.

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::QuantizeError;
use crate::interrupt;

/// Files that are written and not yet to be seen: each lies beside its place under a hidden name, which goes with this
/// value. [`NewFiles::publish`] makes them appear.
#[derive(Debug, Default)]
pub struct NewFiles {
    written: Vec<(NamedTempFile, PathBuf)>,
}

impl NewFiles {
    /// Writes a file that is to appear at `path`, down to the disk.
    ///
    /// # Errors
    /// [`QuantizeError::File`] telling what the system says and the mend.
    pub fn add(&mut self, path: &Path, bytes: &[u8]) -> Result<(), QuantizeError> {
        let write = || -> io::Result<NamedTempFile> {
            let mut file = hidden(folder(path))?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            Ok(file)
        };
        let file = write().map_err(|source| failed(path, bytes.len(), source))?;
        self.written.push((file, path.into()));
        Ok(())
    }

    /// Makes all files appear at their places, one right after the other, in place of what was there.
    ///
    /// # Errors
    /// [`QuantizeError::Interrupted`] before the first appears, [`QuantizeError::File`] naming the one that cannot.
    pub fn publish(self) -> Result<(), QuantizeError> {
        interrupt::check()?;
        for (file, path) in self.written {
            file.persist(&path).map_err(|error| failed(&path, 0, error.error))?;
            // A name outlives a loss of power once its folder is on the disk; some file systems cannot say so.
            #[cfg(unix)]
            let _ = std::fs::File::open(folder(&path)).and_then(|folder| folder.sync_all());
        }
        Ok(())
    }
}

/// Writes one file, whole or not at all, whether or not Ctrl-C was pressed.
///
/// # Errors
/// [`QuantizeError::File`] telling what the system says and the mend.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), QuantizeError> {
    let mut outputs = NewFiles::default();
    outputs.add(path, bytes)?;
    for (file, path) in outputs.written {
        file.persist(&path).map_err(|error| failed(&path, 0, error.error))?;
    }
    Ok(())
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn hidden(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".cygnet-");
    // As readable as any other file that a program writes: the umask is applied.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

fn failed(path: &Path, bytes: usize, source: io::Error) -> QuantizeError {
    let mend = match source.kind() {
        ErrorKind::StorageFull => format!("free {bytes} bytes, or write to another disk"),
        ErrorKind::QuotaExceeded => format!("free {bytes} bytes of your quota, or write elsewhere"),
        ErrorKind::FileTooLarge => format!("it takes {bytes} bytes; raise the limit of file sizes (ulimit -f)"),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "write to a folder that is yours".into(),
        _ => "see that the folder is there and can be written to".into(),
    };
    QuantizeError::File { path: path.into(), source, mend }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_appear_together() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let visible = || {
            let names =
                std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<_> = names.filter(|name| !name.starts_with('.')).collect();
            names.sort();
            names
        };
        std::fs::write(path("a"), "old").unwrap();
        let mut outputs = NewFiles::default();
        outputs.add(&path("a"), b"new").unwrap();
        outputs.add(&path("b"), b"too").unwrap();
        assert_eq!((visible(), std::fs::read(path("a")).unwrap()), (vec!["a".to_string()], b"old".to_vec()));
        let message = outputs.add(&path("none/c"), b"").unwrap_err().to_string();
        assert!(message.contains("none/c") && message.contains("see that the folder is there"), "{message}");
        outputs.publish().unwrap();
        assert_eq!((visible().len(), std::fs::read(path("a")).unwrap()), (2, b"new".to_vec()));
        let mut dropped = NewFiles::default();
        dropped.add(&path("a"), b"never").unwrap();
        drop(dropped);
        assert_eq!(std::fs::read(path("a")).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
