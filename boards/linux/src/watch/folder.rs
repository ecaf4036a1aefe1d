//! Pictures in a folder: those there, and those that come.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use cygnet::input::Picture;

use super::frame::{Content, Frame, FrameSource};

const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
/// A picture that nobody has written to for so long is whole.
const SETTLED: Duration = Duration::from_secs(2);
const ENDINGS: [&str; 9] = ["png", "jpg", "jpeg", "bmp", "webp", "pgm", "ppm", "pnm", "pbm"];

/// What tells a file from an earlier one of the same name.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Print {
    bytes: u64,
    modified: Option<SystemTime>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// It may still be written to.
    Seen(Print),
    Taken(Print),
}

/// The pictures of a folder, not those of folders in it.
pub struct Folder {
    path: PathBuf,
    once: bool,
    largest: u64,
    files: BTreeMap<PathBuf, State>,
    waiting: VecDeque<PathBuf>,
    has_looked: bool,
}

impl Folder {
    /// With `once`, only what is there; otherwise without end. Pictures of more than `largest` pixels are refused.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn open(path: &Path, once: bool, largest: u64) -> io::Result<Self> {
        fs::read_dir(path)?;
        let (files, waiting) = (BTreeMap::new(), VecDeque::new());
        Ok(Self { path: path.into(), once, largest, files, waiting, has_looked: false })
    }

    /// Looks for pictures that are new or have changed, in the order of their names. A picture counts when it has
    /// not changed from one look to the next: whoever writes it may not be done.
    fn look(&mut self) -> io::Result<()> {
        let mut now = BTreeMap::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            // Those that are gone again are none.
            let Some(print) = print(&path).filter(|_| is_picture(&path)) else { continue };
            let known = self.files.get(&path).copied();
            let state = match known {
                Some(State::Taken(taken)) if taken == print => State::Taken(print),
                Some(State::Seen(seen)) if seen == print => State::Taken(print),
                _ if self.once || is_settled(&print) => State::Taken(print),
                _ => State::Seen(print),
            };
            if matches!(state, State::Taken(_)) && known != Some(state) {
                self.waiting.push_back(path.clone());
            }
            now.insert(path, state);
        }
        self.waiting.make_contiguous().sort();
        self.files = now;
        self.has_looked = true;
        Ok(())
    }
}

fn print(path: &Path) -> Option<Print> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some(Print { bytes: metadata.len(), modified: metadata.modified().ok() })
}

/// By the end of its name; names that begin with a dot are those of files on their way.
fn is_picture(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    !hidden && ending.is_some_and(|ending| ENDINGS.contains(&&*ending))
}

fn is_settled(print: &Print) -> bool {
    let age = print.modified.and_then(|modified| modified.elapsed().ok());
    age.is_some_and(|age| age >= SETTLED)
}

impl FrameSource for Folder {
    fn next(&mut self) -> io::Result<Option<Frame<'_>>> {
        while self.waiting.is_empty() {
            if self.has_looked {
                if self.once {
                    return Ok(None);
                }
                sleep(BETWEEN_LOOKS);
            }
            self.look()?;
        }
        let Some(path) = self.waiting.pop_front() else { return Ok(None) };
        let content = Picture::open_at_most(&path, self.largest);
        let content = content.map(Content::Decoded).map_err(|error| error.to_string());
        Ok(Some(Frame { name: Some(crate::file_name(&path)), content }))
    }

    fn reopen(&mut self) -> io::Result<()> {
        fs::read_dir(&self.path).map(|_| ())
    }

    fn comes_back(&self) -> bool {
        !self.once
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_that_grows_is_waited_for_and_one_that_changes_comes_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.png");
        let mut watched = Folder::open(folder.path(), false, u64::MAX).unwrap();
        let mut look = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            watched.look().unwrap();
            let waiting = watched.waiting.len();
            watched.waiting.clear();
            waiting
        };
        assert_eq!(look(b"h"), 0);
        assert_eq!(look(b"half"), 0);
        // The same bytes, with the time that the file had.
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        let again = |watched: &mut Folder| {
            fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
            watched.look().unwrap();
            let waiting = watched.waiting.len();
            watched.waiting.clear();
            waiting
        };
        assert_eq!([again(&mut watched), again(&mut watched)], [1, 0]);
        fs::write(&path, b"another").unwrap();
        watched.look().unwrap();
        watched.look().unwrap();
        assert_eq!(watched.waiting.len(), 1);
    }

    #[test]
    fn names_tell_pictures() {
        let names = ["a.png", "a.JPG", ".a.png", "a.txt", "png", "a.png.part"];
        assert_eq!(names.map(|name| is_picture(Path::new(name))), [true, true, false, false, false, false]);
    }
}
