//! Boxes in `labels.csv`: `file,label,x,y,w,h` on each line, one line for each object.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::InputError;
use super::folder::{class_of, classes_by_name};

/// An object that a picture shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabelledBox {
    /// Its class.
    pub class: usize,
    /// Left edge, in pixels of the upright picture.
    pub x: f32,
    /// Upper edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
}

/// The boxes that `list` tells of each file, in the order of the lines. A line `file,,,,,` tells that there is none.
pub(super) fn boxes(
    list: &Path,
    folder: &Path,
    labels: &[String],
) -> Result<BTreeMap<PathBuf, Vec<LabelledBox>>, InputError> {
    let by_name = classes_by_name(labels);
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_path(list)
        .map_err(|error| InputError::data(list, error.to_string()))?;
    let mut boxes: BTreeMap<PathBuf, Vec<LabelledBox>> = BTreeMap::new();
    for (number, row) in reader.records().enumerate() {
        let row = row.map_err(|error| InputError::data(list, format!("{error}; save it as UTF-8 text")))?;
        let line = row.position().map_or(0, csv::Position::line);
        let failed = |problem: String| InputError::Labels { path: list.to_path_buf(), line, problem };
        let cells: Vec<&str> = row.iter().collect();
        let [file, label, numbers @ ..] = &cells[..] else {
            return Err(failed("a line is `file,label,x,y,w,h`".into()));
        };
        if numbers.len() != 4 {
            let problem = format!("{} fields where a line is `file,label,x,y,w,h` for a model of boxes", row.len());
            return Err(failed(problem));
        }
        if number == 0 && file.eq_ignore_ascii_case("file") {
            continue;
        }
        let of_file = boxes.entry(folder.join(file)).or_default();
        if label.is_empty() {
            continue;
        }
        let class = class_of(label, &by_name, labels).map_err(failed)?;
        let number = |cell: &&str| cell.parse().ok().filter(|number: &f32| number.is_finite());
        let numbers: Option<Vec<f32>> = numbers.iter().map(number).collect();
        let Some([x, y, width, height]) = numbers.as_deref() else {
            return Err(failed("x, y, w and h are numbers of pixels".into()));
        };
        let (x, y, width, height) = (*x, *y, *width, *height);
        if width <= 0.0 || height <= 0.0 {
            return Err(failed(format!("the box is {width} wide and {height} high; both must be above 0")));
        }
        of_file.push(LabelledBox { class, x, y, width, height });
    }
    Ok(boxes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BTreeMap<PathBuf, Vec<LabelledBox>>, String> {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("labels.csv");
        std::fs::write(&list, text).unwrap();
        boxes(&list, Path::new(""), &["cat".into(), "dog".into()]).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_has_as_many_boxes_as_lines() {
        let found = read("file,label,x,y,w,h\na.png,dog,1,2,3,4\nb.png,,,,,\na.png,0,5,6,7.5,8\n").unwrap();
        let object = |class, x, y, width, height| LabelledBox { class, x, y, width, height };
        assert_eq!(found[Path::new("a.png")], [object(1, 1.0, 2.0, 3.0, 4.0), object(0, 5.0, 6.0, 7.5, 8.0)]);
        assert_eq!(found[Path::new("b.png")], []);
    }

    #[test]
    fn bad_lines_are_named() {
        let cases = [
            ("a.png,dog\n", "line 1: 2 fields"),
            ("a.png,cow,1,2,3,4\n", "\"cow\" is neither"),
            ("a.png,dog,1,2,x,4\n", "numbers of pixels"),
            ("a.png,dog,1,2,0,4\n", "above 0"),
        ];
        for (text, expected) in cases {
            let message = read(text).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
