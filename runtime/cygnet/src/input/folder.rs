//! The files of a folder and their labels.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::{FileKind, InputError};

/// A file and the class it is said to belong to.
pub(super) type Labelled = (PathBuf, Option<usize>);

/// The files of `kind` in `folder`, by `labels.csv` where there is one, else with the names of sub-folders as
/// labels where these are the model's, else without labels. In the order of `labels.csv` or of the names.
pub(super) fn files(folder: &Path, kind: FileKind, labels: &[String]) -> Result<Vec<Labelled>, InputError> {
    let list = folder.join("labels.csv");
    let files = if list.is_file() {
        listed(&list, folder, labels)?
    } else {
        let (mut files, sub_folders) = entries(folder, kind)?;
        let mut all: Vec<Labelled> = files.drain(..).map(|file| (file, None)).collect();
        let classes = classes(folder, &sub_folders, labels)?;
        for (path, class) in sub_folders.iter().zip(classes) {
            all.extend(entries(path, kind)?.0.into_iter().map(|file| (file, class)));
        }
        all
    };
    if files.is_empty() {
        let what = match kind {
            FileKind::Picture => "pictures (.png, .jpg, .bmp, .webp, .ppm, .pgm)",
            FileKind::Sound => "recordings (.wav)",
            FileKind::Arrays => "arrays (.npz, .npy)",
            FileKind::Other => "files",
        };
        return Err(InputError::data(folder, format!("there are no {what} in this folder; give one that has some")));
    }
    Ok(files)
}

/// Files of `kind`, and folders, both in the order of their names.
fn entries(folder: &Path, kind: FileKind) -> Result<(Vec<PathBuf>, Vec<PathBuf>), InputError> {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).map_err(InputError::file(folder))? {
        let path = entry.map_err(InputError::file(folder))?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_hidden {
            continue;
        }
        if path.is_dir() {
            folders.push(path);
        } else if kind == FileKind::Other || FileKind::of(&path) == Some(kind) {
            files.push(path);
        }
    }
    files.sort();
    folders.sort();
    Ok((files, folders))
}

/// The class of each sub-folder: all of them, or none.
fn classes(folder: &Path, sub_folders: &[PathBuf], labels: &[String]) -> Result<Vec<Option<usize>>, InputError> {
    let by_name = classes_by_name(labels);
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let classes: Vec<_> = sub_folders.iter().map(|path| by_name.get(&plain(&name(path))).copied()).collect();
    if classes.iter().all(Option::is_none) {
        return Ok(classes);
    }
    match classes.iter().position(Option::is_none) {
        None => Ok(classes),
        Some(place) => {
            let stranger = name(&sub_folders[place]);
            let problem =
                format!("the sub-folder \"{stranger}\" is no label of the card, others are; rename or move it");
            Err(InputError::data(folder, problem))
        }
    }
}

/// Labels as people write folder names: without regard to case, `-`, `_` and blanks the same.
fn plain(label: &str) -> String {
    label.trim().to_lowercase().replace(['-', '_'], " ")
}

pub(super) fn classes_by_name(labels: &[String]) -> BTreeMap<String, usize> {
    // The first of equal labels counts.
    labels.iter().enumerate().rev().map(|(class, label)| (plain(label), class)).collect()
}

/// The class that a label names; `Err` says what it should be.
pub(super) fn class_of(label: &str, by_name: &BTreeMap<String, usize>, labels: &[String]) -> Result<usize, String> {
    let class = by_name.get(&plain(label)).copied().or_else(|| label.parse().ok());
    class.filter(|&class| labels.is_empty() || class < labels.len()).ok_or_else(|| match labels.len() {
        0 => format!("\"{label}\" is no number, and no card names the labels; give a card or numbers"),
        count => format!("\"{label}\" is neither a label of the card nor a number below {count}"),
    })
}

/// What `labels.csv` lists: `file,label` on each line, the label a name of the card or a number; a first line
/// that says `file,label` is left out.
fn listed(list: &Path, folder: &Path, labels: &[String]) -> Result<Vec<Labelled>, InputError> {
    let by_name = classes_by_name(labels);
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_path(list)
        .map_err(|error| InputError::data(list, error.to_string()))?;
    let (mut files, mut listed) = (Vec::new(), BTreeSet::new());
    for (number, row) in reader.records().enumerate() {
        let row = row.map_err(|error| InputError::data(list, format!("{error}; save it as UTF-8 text")))?;
        let line = row.position().map_or(0, csv::Position::line);
        let failed = |problem: String| InputError::Labels { path: list.to_path_buf(), line, problem };
        let (Some(file), Some(label), 2 | 6) = (row.get(0), row.get(1), row.len()) else {
            return Err(failed(format!("{} fields where a line is `file,label`", row.len())));
        };
        let is_box = row.len() == 6;
        if number == 0 && file.eq_ignore_ascii_case("file") && label.eq_ignore_ascii_case("label") {
            continue;
        }
        let path = folder.join(file);
        let class = if is_box { None } else { Some(class_of(label, &by_name, labels).map_err(failed)?) };
        if !path.is_file() {
            return Err(failed(format!("there is no file \"{file}\" in the folder; add it or take the line out")));
        }
        // Of a picture with boxes there are as many lines as objects.
        if !is_box || listed.insert(path.clone()) {
            files.push((path, class));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Vec<String> {
        vec!["T-shirt/top".into(), "Ankle boot".into()]
    }

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn found(folder: &tempfile::TempDir) -> Result<Vec<(String, Option<usize>)>, String> {
        let files = files(folder.path(), FileKind::Picture, &labels()).map_err(|error| error.to_string())?;
        let name = |path: PathBuf| path.strip_prefix(folder.path()).unwrap().to_string_lossy().into_owned();
        Ok(files.into_iter().map(|(path, class)| (name(path), class)).collect())
    }

    #[test]
    fn without_labels_files_come_by_name() {
        let folder = folder(&[("b.png", ""), ("a.JPG", ""), (".hidden.png", ""), ("notes.txt", "")]);
        assert_eq!(found(&folder).unwrap(), [("a.JPG".into(), None), ("b.png".into(), None)]);
    }

    #[test]
    fn sub_folders_are_classes_where_all_are_labels() {
        let both = folder(&[("ankle_boot/x.png", ""), ("t-shirt/top/y.png", "")]);
        // "t-shirt/top" cannot be a folder name: its parent is a stranger.
        assert!(found(&both).unwrap_err().contains("\"t-shirt\""));
        let one = folder(&[("Ankle-Boot/x.png", "")]);
        assert_eq!(found(&one).unwrap(), [("Ankle-Boot/x.png".into(), Some(1))]);
        let none = folder(&[("monday/x.png", "")]);
        assert_eq!(found(&none).unwrap(), [("monday/x.png".into(), None)]);
    }

    #[test]
    fn labels_csv_takes_names_and_numbers() {
        let folder = folder(&[
            ("a.png", ""),
            ("b,c.png", ""),
            ("labels.csv", "file,label\n\"b,c.png\", ankle boot\r\na.png,0\n"),
        ]);
        assert_eq!(found(&folder).unwrap(), [("b,c.png".into(), Some(1)), ("a.png".into(), Some(0))]);
    }

    #[test]
    fn bad_lists_name_line_and_mend() {
        let cases = [
            ("a.png,2\n", "line 1: \"2\" is neither"),
            ("file,label\na.png,sandal\n", "line 2: \"sandal\" is neither"),
            ("a.png,0\nb.png,0\n", "line 2: there is no file"),
            ("a.png\n", "1 fields"),
            ("", "no pictures"),
        ];
        for (text, expected) in cases {
            let folder = folder(&[("a.png", ""), ("labels.csv", text)]);
            let message = found(&folder).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
