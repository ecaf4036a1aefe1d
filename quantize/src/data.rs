//! Samples for calibration and evaluation.

mod carried;
mod inputs;
mod jpeg;
mod screen;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{IntoIter, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cygnet::Card;
use cygnet::input::{DataSet, InputSpec, LabelledBox, Picture};
use cygnet_onnx::model::{DType, Model, Tensor};
use cygnet_sense::answers::Detection;

use sha2::{Digest, Sha256};

use crate::error::QuantizeError;
use crate::interrupt;
use crate::synthetic::{self, Synthetic};
pub(crate) use inputs::as_type;
use inputs::{as_data_have_it, known, made_by, mark_unread, with_known_dims};
use screen::Screen;
pub use screen::{BadSample, BadSamples, Findings, Flaw, Purpose, Screening};

/// What stands for made samples where a path is asked for.
pub const SYNTHETIC: &str = "synthetic";

/// What the model is fed once.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What messages call it: the file, and the number where a file holds many.
    pub name: String,
    /// One tensor for each model input, in the model's order.
    pub inputs: Vec<Tensor>,
    /// The right answer, where the data have one.
    pub label: Option<i64>,
}

/// Where samples come from.
#[derive(Clone, Debug)]
enum Source {
    Files(Arc<DataSet>),
    Made(Arc<Synthetic>),
}

impl Source {
    fn len(&self) -> usize {
        match self {
            Source::Files(set) => set.len(),
            Source::Made(_) => synthetic::SAMPLES,
        }
    }

    fn name(&self, index: usize) -> String {
        match self {
            Source::Files(set) => set.name(index),
            Source::Made(_) => format!("synthetic[{index}]"),
        }
    }

    fn file(&self, index: usize) -> Option<&Path> {
        match self {
            Source::Files(set) => set.file(index),
            Source::Made(_) => None,
        }
    }

    fn sample(&self, index: usize) -> Result<cygnet::input::Sample, QuantizeError> {
        match self {
            Source::Files(set) => Ok(set.sample(index)?),
            Source::Made(made) => {
                let (name, inputs) = (self.name(index), made.sample(index)?);
                Ok(cygnet::input::Sample { name, inputs, label: None, starts: true })
            }
        }
    }
}

/// A set of samples on disk, see [`DataSet`], or made, see [`Synthetic`].
#[derive(Clone, Debug)]
pub struct Data {
    path: PathBuf,
    source: Source,
    /// Type and shape of every input.
    inputs: Arc<[(DType, InputSpec)]>,
    /// For each sample the inputs that the data leave out, see [`carried`].
    carried: Arc<[Vec<Option<Tensor>>]>,
    screen: Arc<Mutex<Screen>>,
    /// How files become the model's input, as text.
    preparation: String,
    /// Whether the inputs are made of sound.
    is_sound: bool,
}

/// The samples of a set, read ahead by a thread.
pub type Samples = IntoIter<Result<Sample, QuantizeError>>;

impl Data {
    /// Opens `path` and checks that it suits the inputs of `model`; `card` says how pictures and sound become its
    /// input.
    ///
    /// # Errors
    /// [`QuantizeError::Input`] telling what does not fit, [`QuantizeError::Data`] where a folder needs a card.
    pub fn open(path: &Path, model: &Model, card: Option<&Card>) -> Result<Data, QuantizeError> {
        let model = &with_known_dims(model, card);
        let mut inputs: Vec<(DType, InputSpec)> = match model.inputs.iter().map(known).collect::<Option<_>>() {
            Some(known) => known,
            None => as_data_have_it(path, model, card)?,
        };
        for (input, _) in carried::pairs(model, card)? {
            inputs[input].1.kept = true;
        }
        if card.and_then(made_by).is_some() && inputs.iter().filter(|(_, spec)| !spec.kept).count() > 1 {
            mark_unread(&mut inputs, model)?;
        }
        let specs = inputs.iter().map(|(_, spec)| spec.clone()).collect();
        let set = DataSet::open(path, card, specs).map_err(|error| match card {
            None if path.is_dir() => QuantizeError::data(
                path.display().to_string(),
                "no card says how the files of this folder become the model's input; put MODEL.toml beside the model \
                 or give --card FILE.toml, or give an .npz of tensors instead",
            ),
            _ => error.into(),
        })?;
        let source = Source::Files(set.into());
        let carried = carried::carried(&source, &inputs, model, card)?;
        Ok(Data { carried: carried.into(), ..Data::of(path, source, inputs, card) })
    }

    /// Made samples for `model`, where there are no real ones; what they are goes to the log.
    ///
    /// # Errors
    /// [`QuantizeError::Data`] where an extent is open that neither card nor model tells, or the card does not fit.
    pub fn synthetic(model: &Model, card: Option<&Card>) -> Result<Data, QuantizeError> {
        let path = Path::new(SYNTHETIC);
        let inputs = match model.inputs.iter().map(known).collect::<Option<_>>() {
            Some(known) => known,
            None => as_data_have_it(path, model, card)?,
        };
        let made = Synthetic::of(model, card, &inputs)?;
        log::warn!(
            "calibrating on synthetic data ({}): expect to lose more accuracy than with some 100 real samples",
            made.describe()
        );
        Ok(Data::of(path, Source::Made(made.into()), inputs, card))
    }

    fn of(path: &Path, source: Source, inputs: Vec<(DType, InputSpec)>, card: Option<&Card>) -> Data {
        let preparation = card.map(Card::to_toml).unwrap_or_default();
        let is_sound = card.and_then(Card::audio_spec).is_some();
        let screen = Mutex::new(Screen::new(Purpose::Anything, None, source.len(), is_sound));
        let (inputs, carried) = (inputs.into(), Vec::new().into());
        Data { path: path.into(), source, inputs, carried, screen: screen.into(), preparation, is_sound }
    }

    /// The true boxes of each picture by the name of its sample, in pixels of the input; `labels.csv` tells them.
    ///
    /// # Errors
    /// [`QuantizeError::Input`] naming the line of `labels.csv` or the picture, [`QuantizeError::Data`] where there
    /// are none.
    pub fn true_boxes(&self, card: &Card) -> Result<BTreeMap<String, Vec<Detection>>, QuantizeError> {
        let none = || {
            let mend = "put labels.csv with a line `file,label,x,y,w,h` for each object into the folder";
            QuantizeError::data(self.path.display().to_string(), format!("does not tell where objects are; {mend}"))
        };
        let (Source::Files(set), Some(spec)) = (&self.source, card.image_spec()) else { return Err(none()) };
        let boxes = set.boxes(&card.labels)?;
        if boxes.is_empty() {
            return Err(none());
        }
        let mut truth = BTreeMap::new();
        for (index, boxes) in boxes.iter().enumerate() {
            // A picture that cannot be read is a bad sample, named when its turn comes.
            let Some(Ok(picture)) = set.file(index).map(Picture::open) else { continue };
            let failed = |error: cygnet_sense::Error| QuantizeError::data(set.name(index), error.to_string());
            let pixels = picture.pixels().map_err(failed)?;
            let placement = spec.placement(pixels.width(), pixels.height()).map_err(failed)?;
            let across = placement.width as f32 / placement.source_width as f32;
            let down = placement.height as f32 / placement.source_height as f32;
            let (left, top) = (placement.left as f32, placement.top as f32);
            let placed = |one: &LabelledBox| Detection {
                x1: one.x * across + left,
                y1: one.y * down + top,
                x2: (one.x + one.width) * across + left,
                y2: (one.y + one.height) * down + top,
                score: 1.0,
                class: one.class as u32,
                place: 0,
            };
            truth.insert(set.name(index), boxes.iter().map(placed).collect());
        }
        Ok(truth)
    }

    /// Whether the samples are made up.
    pub fn is_synthetic(&self) -> bool {
        matches!(self.source, Source::Made(_))
    }

    /// The same data with an eye on bad samples: which these are goes by `purpose`, what becomes of them by `rule`.
    /// Without a rule broken ones are left out until they are more than one in five; that ends the work.
    pub fn screened(self, purpose: Purpose, rule: Option<BadSamples>) -> Data {
        let screen = Screen::new(purpose, rule, self.source.len(), self.is_sound);
        Data { screen: Mutex::new(screen).into(), ..self }
    }

    /// What is known of bad samples: everything once all samples have passed.
    pub fn findings(&self) -> Findings {
        self.screen().findings().clone()
    }

    /// How many different samples of `other` are here too, once both have passed.
    pub fn shared_with(&self, other: &Data) -> usize {
        if Arc::ptr_eq(&self.screen, &other.screen) {
            return self.screen().findings().samples;
        }
        self.screen().shared_with(&other.screen())
    }

    fn screen(&self) -> MutexGuard<'_, Screen> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of samples but those known to be left out: final once all samples have passed.
    pub fn len(&self) -> usize {
        self.source.len() - self.screen().findings().left_out
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether every sample has a label.
    pub fn has_labels(&self) -> bool {
        matches!(&self.source, Source::Files(set) if set.is_labelled())
    }

    /// The file or folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All samples in order but those left out. The thread that reads them ends when the iterator is dropped; Ctrl-C
    /// makes it end with [`QuantizeError::Interrupted`].
    pub fn samples(&self) -> Samples {
        self.samples_from(0)
    }

    /// The same from number `first` on, counted without those left out.
    pub fn samples_from(&self, first: usize) -> Samples {
        let (sender, receiver) = sync_channel(4);
        let data = self.clone();
        let first = self.screen().place(first);
        std::thread::spawn(move || data.send_all(first, &sender));
        receiver.into_iter()
    }

    /// The judgements on the samples so far.
    pub fn screening(&self) -> Screening {
        self.screen().screening().clone()
    }

    /// Goes by `screening`, made on the same data by an earlier run, where it knows more samples.
    pub fn restore(&self, screening: Screening) {
        self.screen().restore(screening);
    }

    /// The SHA-256 of all that the samples depend on: the bytes of the files, what becomes of them, and which count.
    ///
    /// # Errors
    /// [`QuantizeError::Data`] for a file that cannot be read.
    pub fn content_hash(&self) -> Result<[u8; 32], QuantizeError> {
        let mut hasher = Sha256::new();
        let mut add = |part: &[u8]| {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        };
        add(self.preparation.as_bytes());
        if let Source::Made(made) = &self.source {
            add(made.describe().as_bytes());
        }
        add(format!("{:?} {:?}", self.inputs, self.screen().rules()).as_bytes());
        let mut before = None;
        for index in 0..self.source.len() {
            let path = self.source.file(index);
            if path == before {
                continue;
            }
            before = path;
            let Some(path) = path else { continue };
            add(self.source.name(index).as_bytes());
            match std::fs::read(path) {
                Ok(bytes) => add(&bytes),
                // It is a bad sample, and named as such when its turn comes.
                Err(error) => add(error.to_string().as_bytes()),
            }
        }
        Ok(hasher.finalize().into())
    }

    /// Sends sample by sample until the first error.
    fn send_all(&self, first: usize, sender: &SyncSender<Result<Sample, QuantizeError>>) {
        let next = |index| {
            interrupt::check()?;
            if self.screen().leaves_out(index)? {
                return Ok(None);
            }
            let read = self.whole(index).and_then(|()| self.read(index));
            self.screen().judge(index, &|index| self.source.name(index), read)
        };
        for sample in (first..self.source.len()).filter_map(|index| next(index).transpose()) {
            let is_last = sample.is_err();
            // A send fails when nobody listens any more: then there is nothing left to do.
            if sender.send(sample).is_err() || is_last {
                return;
            }
        }
        if let Err(error) = self.screen().end() {
            let _ = sender.send(Err(error));
        }
    }

    /// Whether the file of a sample is as long as it should be, where decoders do not mind.
    fn whole(&self, index: usize) -> Result<(), QuantizeError> {
        let is_jpeg = |path: &&Path| {
            let end = path.extension().map(|end| end.to_ascii_lowercase());
            end.is_some_and(|end| end == "jpg" || end == "jpeg")
        };
        let Some(path) = self.source.file(index).filter(is_jpeg) else { return Ok(()) };
        // What cannot be read is told when it is decoded.
        if std::fs::read(path).is_ok_and(|bytes| !bytes.is_empty() && jpeg::is_cut(&bytes)) {
            let problem = "the JPEG ends before its end marker: it was cut off; copy it again or take it out";
            return Err(QuantizeError::data(path.display().to_string(), problem));
        }
        Ok(())
    }

    /// The sample of this number, from 0; those known to be left out are not counted.
    ///
    /// # Errors
    /// [`QuantizeError::Data`] or [`QuantizeError::Input`] naming the sample where it cannot be read or does not fit,
    /// [`QuantizeError::Interrupted`] after Ctrl-C.
    pub fn sample(&self, index: usize) -> Result<Sample, QuantizeError> {
        interrupt::check()?;
        let place = self.screen().place(index);
        self.read(place)
    }

    fn read(&self, index: usize) -> Result<Sample, QuantizeError> {
        let cygnet::input::Sample { name, inputs, label, .. } = self.source.sample(index)?;
        let carried = self.carried.get(index);
        let tensor = |(place, (values, (dtype, spec))): (usize, (&Vec<f32>, &(DType, InputSpec)))| {
            if let Some(Some(tensor)) = carried.and_then(|inputs| inputs.get(place)) {
                return Ok(tensor.clone());
            }
            as_type(values, *dtype, &spec.shape).ok_or_else(|| {
                QuantizeError::data(&name, format!("input \"{}\" takes {dtype}, and it holds other numbers", spec.name))
            })
        };
        let inputs = inputs.iter().zip(&*self.inputs).enumerate().map(tensor).collect::<Result<_, _>>()?;
        Ok(Sample { name, inputs, label: label.map(|label| label as i64) })
    }
}
