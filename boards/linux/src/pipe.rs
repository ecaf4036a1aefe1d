//! Bytes of standard input, of a file, of a named pipe that may have one writer after another.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread::sleep;
use std::time::Duration;

const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// A stream of bytes; clones read the same one.
#[derive(Clone)]
pub struct Pipe(Rc<RefCell<Kind>>);

enum Kind {
    StandardInput,
    File {
        path: PathBuf,
        file: File,
        is_named_pipe: bool,
        /// The first byte of the next writer.
        ahead: Option<u8>,
    },
}

impl Pipe {
    /// Opens what the command line calls `-` or a path. A named pipe is waited for until somebody writes.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(source: &str) -> io::Result<Self> {
        let kind = if source == "-" { Kind::StandardInput } else { Kind::open(Path::new(source))? };
        Ok(Self(Rc::new(RefCell::new(kind))))
    }

    /// Whether somebody else may write after its end.
    pub fn comes_back(&self) -> bool {
        matches!(&*self.0.borrow(), Kind::File { is_named_pipe: true, .. })
    }

    /// Waits for the next writer of a named pipe. It stays open all the time, so that nothing is lost of what a quick
    /// one writes.
    ///
    /// # Errors
    /// What the system says.
    pub fn reopen(&self) -> io::Result<()> {
        let kind = &mut *self.0.borrow_mut();
        let Kind::File { path, file, ahead, .. } = kind else { return Ok(()) };
        while is_same(path, file)? {
            let mut byte = [0];
            // Without a writer there is nothing to read, and with one there is something to wait for.
            if file.read(&mut byte)? > 0 {
                *ahead = Some(byte[0]);
                return Ok(());
            }
            sleep(BETWEEN_LOOKS);
        }
        let path = path.clone();
        *kind = Kind::open(&path)?;
        Ok(())
    }
}

impl Kind {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let is_named_pipe = file.metadata()?.file_type().is_fifo();
        Ok(Self::File { path: path.into(), file, is_named_pipe, ahead: None })
    }
}

/// Whether the path still leads to the file.
fn is_same(path: &Path, file: &File) -> io::Result<bool> {
    let (there, here) = (fs::metadata(path)?, file.metadata()?);
    Ok((there.dev(), there.ino()) == (here.dev(), here.ino()))
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut *self.0.borrow_mut() {
            Kind::StandardInput => io::stdin().lock().read(buffer),
            Kind::File { file, ahead, .. } => match (ahead.take(), buffer.first_mut()) {
                (Some(byte), Some(first)) => {
                    *first = byte;
                    Ok(1)
                }
                (byte, _) => {
                    *ahead = byte;
                    file.read(buffer)
                }
            },
        }
    }
}
