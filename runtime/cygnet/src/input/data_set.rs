//! A set of samples for calibration, evaluation or a run over many files.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use cygnet_sense::{Card, Layout, Output};

use super::folder::{self, Labelled};
use super::frames::Frames;
use super::{Array, FileKind, InputError, LabelledBox, Picture, Sound, read_arrays, resampled};
use crate::model::Preparation;

/// What a model wants as one of its inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputSpec {
    /// The ONNX name.
    pub name: String,
    /// The ONNX shape, open axes fixed (the batch as 1).
    pub shape: Vec<usize>,
    /// Whether samples may come without it: a session keeps it from run to run, or no step reads it.
    pub kept: bool,
}

impl InputSpec {
    fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// One run's worth of input.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The file, and the number of the sample in it where a file holds many.
    pub name: String,
    /// Every input of the model in order, the elements in the order of its ONNX shape; none where the data leave out an
    /// input that they may, see [`InputSpec::kept`].
    pub inputs: Vec<Vec<f32>>,
    /// The class that the sample belongs to, where the data say it.
    pub label: Option<usize>,
    /// Whether a sequence begins here: what a session keeps is reset before the sample.
    pub starts: bool,
}

#[derive(Debug)]
enum Source {
    /// One array for each input, the first axis the sample.
    Arrays { arrays: Vec<Option<Array>>, count: usize, labels: Vec<usize>, starts: Vec<bool>, names: Vec<String> },
    /// One file for each sample.
    Files { preparation: Preparation, files: Vec<Labelled> },
    /// Many samples for each file, one behind the other.
    Frames(Frames),
}

/// Samples for a model: a folder of pictures, recordings or arrays, a single such file, or a `.npz`.
///
/// - Folders hold pictures or WAV files as the card says, or `.npy` and `.npz` files of one sample each. Labels
///   come from `labels.csv` (`file,label`; the label a name of the card or a number) or from the names of
///   sub-folders, where all of them are labels of the card.
/// - Files of any kind are samples of a model whose card says that it takes bytes; a `.npz` or `.npy` only inside of a
///   folder, by itself it holds tensors.
/// - A `.npz` holds one array for each input, of its name, or `x` when there is one input; the first axis is the
///   sample. `y` holds the labels. A `.npy` is `x`. Both may also hold a single sample in the shape of the model.
/// - Recordings for a model whose card tells how its output tells speech, or text in sound, are cut into the frames that
///   it hears, each recording a sequence; see [`Card::runs`].
/// - Inputs that a session keeps from run to run may be left out: samples then are the elements of one sequence, or of
///   several, where an array `start` holds 1 for the first sample of each and 0 for the others. Each file of a folder is
///   a sequence of its own.
#[derive(Debug)]
pub struct DataSet {
    path: PathBuf,
    inputs: Vec<InputSpec>,
    source: Source,
}

impl DataSet {
    /// Opens the data at `path` for a model with these inputs, in ONNX order; `card` says how files become its
    /// input. Files of a folder are found now and read one by one later; arrays are read now.
    ///
    /// # Errors
    /// [`InputError`] naming the file and the mend.
    pub fn open(path: &Path, card: Option<&Card>, inputs: Vec<InputSpec>) -> Result<Self, InputError> {
        let labels = card.map_or(&[][..], |card| &card.labels);
        let set =
            Self::open_prepared(path, Preparation::of_card(card), card.and_then(Card::input_name), labels, inputs)?;
        match (card.and_then(Card::runs), &set.source) {
            (Some(runs), Source::Files { preparation: Preparation::Audio(spec), files }) => {
                let paths = files.iter().map(|(path, _)| path.clone()).collect();
                let source = Source::Frames(Frames::read(paths, spec, runs)?);
                Ok(Self { source, ..set })
            }
            _ => Ok(set),
        }
    }

    pub(crate) fn open_prepared(
        path: &Path,
        preparation: Preparation,
        prepared_input: Option<&str>,
        labels: &[String],
        inputs: Vec<InputSpec>,
    ) -> Result<Self, InputError> {
        let is_folder = std::fs::metadata(path).map_err(InputError::file(path))?.is_dir();
        let takes_bytes = matches!(preparation, Preparation::Bytes(_));
        let holds_arrays = FileKind::of(path).map_or(!takes_bytes, |kind| kind == FileKind::Arrays);
        let source = if !is_folder && holds_arrays {
            arrays(path, &inputs, labels)?
        } else {
            let wanted = match preparation {
                Preparation::Image(_) => FileKind::Picture,
                Preparation::Audio(_) => FileKind::Sound,
                Preparation::Bytes(_) => FileKind::Other,
                Preparation::Tensor => FileKind::Arrays,
            };
            let files = if is_folder {
                folder::files(path, wanted, labels)?
            } else {
                check_kind(path, wanted)?;
                vec![(path.to_path_buf(), None)]
            };
            check_preparation(&preparation, prepared_input, &inputs, path)?;
            Source::Files { preparation, files }
        };
        Ok(Self { path: path.to_path_buf(), inputs, source })
    }

    /// Whether a path is that of arrays: they need no preparation.
    pub(crate) fn is_of_arrays(path: &Path) -> bool {
        path.is_dir() || FileKind::of(path) == Some(FileKind::Arrays)
    }

    /// Samples that a tokenizer made of texts: one array for each input, in order.
    #[cfg(feature = "text")]
    pub(crate) fn of_texts(
        tokenizer: &Path,
        texts: &[String],
        arrays: Vec<Array>,
        inputs: Vec<InputSpec>,
    ) -> Result<Self, InputError> {
        for (array, input) in arrays.iter().zip(&inputs) {
            sample_count(array, input, tokenizer)?;
        }
        let (arrays, names) = (arrays.into_iter().map(Some).collect(), texts.to_vec());
        let source = Source::Arrays { arrays, count: texts.len(), labels: Vec::new(), starts: Vec::new(), names };
        Ok(Self { path: tokenizer.to_path_buf(), inputs, source })
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        match &self.source {
            Source::Arrays { count, .. } => *count,
            Source::Files { files, .. } => files.len(),
            Source::Frames(frames) => frames.count(),
        }
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether every sample has a label.
    pub fn is_labelled(&self) -> bool {
        match &self.source {
            Source::Arrays { labels, count, .. } => labels.len() == *count && *count > 0,
            Source::Files { files, .. } => files.iter().all(|(_, label)| label.is_some()),
            Source::Frames(_) => false,
        }
    }

    /// The samples in order.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = Result<Sample, InputError>> + '_ {
        (0..self.len()).map(|index| self.sample(index))
    }

    /// What sample `index` is called: its file, with its number where a file holds many; its text, where it is made of one.
    pub fn name(&self, index: usize) -> String {
        if let Source::Arrays { names, .. } = &self.source
            && let Some(name) = names.get(index)
        {
            return name.clone();
        }
        let path = match &self.source {
            Source::Arrays { .. } => &*self.path,
            Source::Files { files, .. } => files.get(index).map_or(&self.path, |(path, _)| path),
            Source::Frames(frames) => frames.place(index).map_or(&*self.path, |(path, _)| path),
        };
        let inside = path.strip_prefix(&self.path).ok().filter(|inside| !inside.as_os_str().is_empty());
        let name = inside.map_or(path.file_name().unwrap_or_default(), Path::as_os_str).to_string_lossy();
        match &self.source {
            Source::Arrays { count, .. } if *count > 1 => format!("{name}[{index}]"),
            Source::Frames(frames) => format!("{name}[{}]", frames.place(index).map_or(index, |(_, frame)| frame)),
            _ => name.into_owned(),
        }
    }

    /// The picture that sample `index` is made of; `None` where it is made of something else.
    pub fn picture(&self, index: usize) -> Option<&Path> {
        match &self.source {
            Source::Files { preparation: Preparation::Image(_), files } => files.get(index).map(|(path, _)| &**path),
            _ => None,
        }
    }

    /// The recording that sample `index` is made of; `None` where it is made of something else.
    pub fn sound(&self, index: usize) -> Option<&Path> {
        match &self.source {
            Source::Files { preparation: Preparation::Audio(_), files } => files.get(index).map(|(path, _)| &**path),
            _ => None,
        }
    }

    /// The file of sample `index`: the set itself where one file holds all; `None` where there is no such sample.
    pub fn file(&self, index: usize) -> Option<&Path> {
        match &self.source {
            Source::Arrays { count, .. } => (index < *count).then_some(&*self.path),
            Source::Files { files, .. } => files.get(index).map(|(path, _)| &**path),
            Source::Frames(frames) => frames.place(index).map(|(path, _)| path),
        }
    }

    /// What `labels.csv` of a folder says of the objects in each picture (`file,label,x,y,w,h`, one line for each), in
    /// the order of the samples; `labels` are the card's. Nothing where there is no such file.
    ///
    /// # Errors
    /// [`InputError::Labels`] naming the line.
    pub fn boxes(&self, labels: &[String]) -> Result<Vec<Vec<LabelledBox>>, InputError> {
        let list = self.path.join("labels.csv");
        let Source::Files { files, .. } = &self.source else { return Ok(Vec::new()) };
        if !list.is_file() {
            return Ok(Vec::new());
        }
        let mut by_file = super::boxes::boxes(&list, &self.path, labels)?;
        Ok(files.iter().map(|(path, _)| by_file.remove(path).unwrap_or_default()).collect())
    }

    /// Sample `index`, read and prepared.
    ///
    /// # Errors
    /// [`InputError`] naming the file or the sample; also for numbers that are not finite, and where there is no
    /// such sample.
    pub fn sample(&self, index: usize) -> Result<Sample, InputError> {
        let missing = || InputError::data(&self.path, format!("there is no sample {index}; it has {}", self.len()));
        match &self.source {
            Source::Arrays { arrays, count, labels, starts, .. } => {
                if index >= *count {
                    return Err(missing());
                }
                let row = |(array, input): (&Option<Array>, &InputSpec)| match array {
                    Some(array) => self.row(array, input, index),
                    None => Ok(Vec::new()),
                };
                let inputs = arrays.iter().zip(&self.inputs).map(row).collect::<Result<_, _>>()?;
                let starts = starts.get(index).copied().unwrap_or(index == 0);
                Ok(Sample { name: self.name(index), inputs, label: labels.get(index).copied(), starts })
            }
            Source::Files { preparation, files } => {
                let (path, label) = files.get(index).ok_or_else(missing)?;
                let inputs = match preparation {
                    Preparation::Tensor => self.single(path)?,
                    prepared => {
                        let made = prepare(path, prepared)?;
                        let of = |input: &InputSpec| if input.kept { Vec::new() } else { made.clone() };
                        self.inputs.iter().map(of).collect()
                    }
                };
                Ok(Sample { name: self.name(index), inputs, label: *label, starts: true })
            }
            Source::Frames(frames) => {
                let (values, (_, frame)) = frames.get(index).zip(frames.place(index)).ok_or_else(missing)?;
                let of = |input: &InputSpec| if input.kept { Vec::new() } else { values.to_vec() };
                let inputs = self.inputs.iter().map(of).collect();
                Ok(Sample { name: self.name(index), inputs, label: None, starts: frame == 0 })
            }
        }
    }

    /// Sample `index` of an array.
    fn row(&self, array: &Array, input: &InputSpec, index: usize) -> Result<Vec<f32>, InputError> {
        let values = array.to_f32s(index * input.len(), input.len());
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(place) => {
                let problem = format!("sample {index} holds {} at element {place}; take it out", values[place]);
                Err(InputError::array(&self.path, &array.name, problem))
            }
        }
    }

    /// The inputs from an array file that holds one sample.
    fn single(&self, path: &Path) -> Result<Vec<Vec<f32>>, InputError> {
        let source = arrays(path, &self.inputs, &[])?;
        let one = Self { path: path.to_path_buf(), inputs: self.inputs.clone(), source };
        if one.len() != 1 {
            let problem = format!("it holds {} samples; in a folder each file holds one", one.len());
            return Err(InputError::data(path, problem));
        }
        Ok(one.sample(0)?.inputs)
    }
}

/// A picture or recording as tensor.
fn prepare(path: &Path, preparation: &Preparation) -> Result<Vec<f32>, InputError> {
    let refused = |error: cygnet_sense::Error| InputError::data(path, error.to_string());
    let mut values = Vec::new();
    match preparation {
        Preparation::Image(spec) => {
            let picture = Picture::open(path)?;
            let pixels = picture.pixels().map_err(refused)?;
            values.resize(spec.tensor_len(), 0.0);
            let mut scratch = vec![0; spec.scratch_bytes(pixels.width(), pixels.height())];
            spec.prepare(&pixels, &mut Output::F32(&mut values), spec.layout, &mut scratch).map_err(refused)?;
        }
        Preparation::Audio(spec) => {
            let sound = Sound::open(path)?;
            let samples = resampled(&sound.samples, sound.rate, spec.sample_rate).map_err(refused)?;
            values.resize(spec.tensor_len(), 0.0);
            let mut scratch = vec![0.0; spec.scratch_len()];
            spec.prepare(&samples, &mut Output::F32(&mut values), &mut scratch).map_err(refused)?;
        }
        Preparation::Bytes(spec) => {
            let (beginning, end) = ends(path, spec.block.into()).map_err(InputError::file(path))?;
            values.resize(spec.tensor_len(), 0.0);
            spec.prepare(&beginning, &end, &mut values).map_err(refused)?;
        }
        Preparation::Tensor => {}
    }
    Ok(values)
}

/// The first and the last bytes of a file, so many at most.
fn ends(path: &Path, most: u64) -> std::io::Result<(Vec<u8>, Vec<u8>)> {
    let mut file = File::open(path)?;
    let (mut beginning, mut end) = (Vec::new(), Vec::new());
    (&mut file).take(most).read_to_end(&mut beginning)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(most)))?;
    file.take(most).read_to_end(&mut end)?;
    Ok((beginning, end))
}

/// Whether a single file is of the kind that the card tells.
fn check_kind(path: &Path, wanted: FileKind) -> Result<(), InputError> {
    if wanted == FileKind::Other || FileKind::of(path) == Some(wanted) {
        return Ok(());
    }
    Err(InputError::data(
        path,
        match wanted {
            FileKind::Picture => "the model's card says that it takes pictures",
            FileKind::Sound => "the model's card says that it takes sound (.wav)",
            FileKind::Arrays | FileKind::Other => {
                "the model does not say how such a file becomes its input; give a card (--card FILE.toml) \
                 with kind = \"image\" or \"audio\", or a .npz of tensors"
            }
        },
    ))
}

/// Whether what the card makes fits the model.
fn check_preparation(
    preparation: &Preparation,
    name: Option<&str>,
    inputs: &[InputSpec],
    path: &Path,
) -> Result<(), InputError> {
    let (made, axes) = match preparation {
        Preparation::Tensor => return Ok(()),
        Preparation::Image(spec) => {
            let (c, h, w) = (spec.channels(), spec.height as usize, spec.width as usize);
            if spec.layout == Layout::Nchw {
                (vec![c, h, w], "channels, height, width")
            } else {
                (vec![h, w, c], "height, width, channels")
            }
        }
        Preparation::Audio(spec) => (vec![spec.frames(), spec.row_len()], "frames, values"),
        Preparation::Bytes(spec) => (vec![spec.tensor_len()], "bytes"),
    };
    let wanted: Vec<&InputSpec> = inputs.iter().filter(|input| !input.kept).collect();
    let [input] = wanted[..] else {
        let problem = format!("a file gives one input, the model has {}; give a .npz with all of them", wanted.len());
        return Err(InputError::data(path, problem));
    };
    if name.is_some_and(|name| name != input.name) {
        let problem = format!("it names the input \"{}\", the model has \"{}\"", name.unwrap_or(""), input.name);
        return Err(InputError::Card(problem));
    }
    let flat = |shape: &[usize]| without_ones(shape).len() <= 1;
    if without_ones(&made) == without_ones(&input.shape)
        || (flat(&input.shape) && made.iter().product::<usize>() == input.len())
    {
        return Ok(());
    }
    let InputSpec { name, shape, .. } = input;
    Err(InputError::Card(format!("it makes {made:?} ({axes}), the input \"{name}\" has the shape {shape:?}")))
}

fn without_ones(shape: &[usize]) -> Vec<usize> {
    shape.iter().copied().filter(|&dim| dim != 1).collect()
}

/// Reads a `.npz` or `.npy` and finds the array of every input.
fn arrays(path: &Path, inputs: &[InputSpec], classes: &[String]) -> Result<Source, InputError> {
    let mut found = read_arrays(path)?;
    let names: Vec<_> = found.iter().map(|array| format!("\"{}\"", array.name)).collect();
    let mut arrays = Vec::new();
    let mut count = None;
    for input in inputs {
        let by_name = found.iter().position(|array| array.name == input.name);
        let alone = !input.kept && inputs.iter().filter(|input| !input.kept).count() == 1;
        let x = || found.iter().position(|array| alone && array.name == "x");
        if input.kept && by_name.is_none() {
            arrays.push(None);
            continue;
        }
        let place = by_name.or_else(x).ok_or_else(|| {
            let or_x = if alone { " or \"x\"" } else { "" };
            let problem = format!("there is no array \"{}\"{or_x} in it; it has {}", input.name, names.join(", "));
            InputError::data(path, problem)
        })?;
        let array = found.swap_remove(place);
        let samples = sample_count(&array, input, path)?;
        if *count.get_or_insert(samples) != samples {
            let problem = format!("it holds {samples} samples, the array before {}", count.unwrap_or(0));
            return Err(InputError::array(path, &array.name, problem));
        }
        arrays.push(Some(array));
    }
    let count = count.unwrap_or(0);
    let starts = match found.iter().find(|array| array.name == "start") {
        None => Vec::new(),
        Some(start) if start.len() == count => start.to_f32s(0, count).iter().map(|&value| value != 0.0).collect(),
        Some(start) => {
            let problem = format!("{} marks for {count} samples; store 0 or 1 for each", start.len());
            return Err(InputError::array(path, "start", problem));
        }
    };
    let labels = match found.iter().find(|array| array.name == "y") {
        None => Vec::new(),
        Some(y) => label_indices(y, count, classes, path)?,
    };
    Ok(Source::Arrays { arrays, count, labels, starts, names: Vec::new() })
}

/// How many samples an array holds.
fn sample_count(array: &Array, input: &InputSpec, path: &Path) -> Result<usize, InputError> {
    let wanted = without_ones(&input.shape);
    if let [count, sample @ ..] = &array.shape[..]
        && without_ones(sample) == wanted
    {
        if *count == 0 {
            return Err(InputError::array(path, &array.name, "it holds no sample"));
        }
        return Ok(*count);
    }
    if without_ones(&array.shape) == wanted && !array.is_empty() {
        return Ok(1);
    }
    let shape = input.shape.strip_prefix(&[1]).unwrap_or(&input.shape);
    let dims: Vec<_> = std::iter::once("samples".into()).chain(shape.iter().map(usize::to_string)).collect();
    let problem = format!(
        "its shape is {:?}, the input \"{}\" needs [{}]; store the tensors as the model wants them",
        array.shape,
        input.name,
        dims.join(", ")
    );
    Err(InputError::array(path, &array.name, problem))
}

fn label_indices(y: &Array, count: usize, classes: &[String], path: &Path) -> Result<Vec<usize>, InputError> {
    if y.len() != count {
        let problem = format!("{} labels for {count} samples; store one whole number for each", y.len());
        return Err(InputError::array(path, "y", problem));
    }
    let labels = y.to_indices().map_err(|(place, value)| {
        InputError::array(path, "y", format!("label {place} is {value}; labels are whole numbers from 0"))
    })?;
    match labels.iter().position(|&label| !classes.is_empty() && label >= classes.len()) {
        None => Ok(labels),
        Some(place) => {
            let problem = format!("label {place} is {}, the card has {} labels", labels[place], classes.len());
            Err(InputError::array(path, "y", problem))
        }
    }
}
