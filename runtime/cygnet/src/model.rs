//! Loading a model and what its card says.

use std::fmt;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use cygnet_core::Plan;
use cygnet_core::kernels::{self, Kernels};
use cygnet_core::plan::MetadataKind;
use cygnet_sense::{AudioSpec, BytesSpec, Card, ImageSpec};

use crate::error::Error;
use crate::input::{DataSet, InputError, InputSpec};
use crate::mmap;
use crate::session::Session;

/// The bytes of a plan, wherever they lie.
enum Bytes {
    Owned(Vec<u8>),
    Static(&'static [u8]),
    Mapped(memmap2::Mmap),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Static(bytes) => bytes,
            Self::Mapped(bytes) => bytes,
        }
    }
}

self_cell::self_cell!(
    /// A plan that was verified once, and the bytes it lies in.
    struct Verified {
        owner: Bytes,
        #[covariant]
        dependent: Plan,
    }
);

/// How files become one input of a model.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Preparation {
    /// Pictures.
    Image(ImageSpec),
    /// Sound.
    Audio(Box<AudioSpec>),
    /// Bytes of files of any kind.
    Bytes(BytesSpec),
    /// Tensors as they are.
    Tensor,
}

impl Preparation {
    /// What a card says; without one, tensors as they are.
    pub fn of_card(card: Option<&Card>) -> Self {
        let Some(card) = card else { return Self::Tensor };
        let image = card.image_spec().map(Self::Image);
        let audio = || card.audio_spec().map(|spec| Self::Audio(spec.into()));
        let bytes = || card.bytes_spec().map(Self::Bytes);
        image.or_else(audio).or_else(bytes).unwrap_or(Self::Tensor)
    }
}

struct Inner {
    plan: Verified,
    card: Option<Card>,
    labels: Vec<String>,
    /// Of each input, in order.
    preparations: Vec<Preparation>,
    /// Where the model lies, and what its card names.
    #[cfg(feature = "text")]
    folder: std::path::PathBuf,
    /// Prepared with the first session.
    #[cfg(feature = "onnx")]
    fallback: std::sync::Mutex<Option<Arc<cygnet_onnx::fallback::Fallback>>>,
}

/// A model, verified and ready. Clones share it.
#[derive(Clone)]
pub struct Model(Arc<Inner>);

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl Model {
    /// Loads a plan (`.cyg`) or, with the feature `onnx`, an ONNX file, which is compiled first. What the file
    /// is shows in its first bytes, not in its name. `MODEL.toml` beside it, where there is one, is its card.
    ///
    /// A plan is mapped, not read: replace the file by renaming another over it, never by writing into it
    /// while a model is loaded from it.
    ///
    /// # Errors
    /// [`Error`], naming the file.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::load_path(path.as_ref(), None)
    }

    /// Loads a model with this card instead of its own.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn load_with_card(path: impl AsRef<Path>, card: Card) -> Result<Self, Error> {
        Self::load_path(path.as_ref(), Some(card))
    }

    /// A plan in memory.
    ///
    /// # Errors
    /// [`Error::Plan`].
    pub fn from_plan_bytes(bytes: Vec<u8>) -> Result<Self, Error> {
        Self::new(Bytes::Owned(bytes), None, None)
    }

    /// A plan that is part of the program (`include_bytes!`).
    ///
    /// # Errors
    /// [`Error::Plan`].
    pub fn from_static(bytes: &'static [u8]) -> Result<Self, Error> {
        Self::new(Bytes::Static(bytes), None, None)
    }

    /// Compiles the bytes of an ONNX file that keeps all its data inside.
    ///
    /// # Errors
    /// [`Error::Onnx`], [`Error::Compile`].
    #[cfg(feature = "onnx")]
    pub fn from_onnx_bytes(bytes: &[u8], card: Option<Card>) -> Result<Self, Error> {
        let model = cygnet_onnx::model::Model::from_bytes(bytes);
        Self::from_onnx(&model.map_err(|source| Error::Onnx { path: None, source })?, card)
    }

    /// Compiles an ONNX model in memory.
    ///
    /// # Errors
    /// [`Error::Compile`].
    #[cfg(feature = "onnx")]
    pub fn from_onnx(model: &cygnet_onnx::model::Model, card: Option<Card>) -> Result<Self, Error> {
        Self::compile(model, card, None)
    }

    #[cfg(feature = "onnx")]
    fn compile(model: &cygnet_onnx::model::Model, card: Option<Card>, path: Option<&Path>) -> Result<Self, Error> {
        use cygnet_onnx::compile::{Options, compile};
        let mut options = Options::default();
        options.card = card.as_ref().map(Card::to_toml);
        let path_of = || path.map(Path::to_path_buf);
        let compiled = compile(model, &options).map_err(|source| Error::Compile { path: path_of(), source })?;
        Self::new(Bytes::Owned(compiled.plan), card, path)
    }

    fn load_path(path: &Path, card: Option<Card>) -> Result<Self, Error> {
        let card = match card {
            Some(card) => Some(card),
            None => card_beside(path)?,
        };
        let failed = |source| Error::File { path: path.to_path_buf(), source };
        let file = std::fs::File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(failed(std::io::Error::other("a folder, where a .onnx or .cyg file is needed")));
        }
        let bytes = mmap::map(&file).map_err(failed)?;
        let is_plan = bytes.starts_with(&cygnet_core::plan::MAGIC);
        if is_plan || path.extension().is_some_and(|extension| extension == "cyg") {
            return Self::new(Bytes::Mapped(bytes), card, Some(path));
        }
        drop(bytes);
        Self::load_onnx(path, card)
    }

    #[cfg(feature = "onnx")]
    fn load_onnx(path: &Path, card: Option<Card>) -> Result<Self, Error> {
        let model = cygnet_onnx::model::Model::read(path).map_err(|source| match source {
            // These name the file themselves.
            source @ cygnet_onnx::model::ModelError::File { .. } => Error::Onnx { path: None, source },
            source => Error::Onnx { path: Some(path.to_path_buf()), source },
        })?;
        Self::compile(&model, card, Some(path))
    }

    #[cfg(not(feature = "onnx"))]
    fn load_onnx(path: &Path, _: Option<Card>) -> Result<Self, Error> {
        Err(Error::OnnxLeftOut { path: path.to_path_buf() })
    }

    fn new(bytes: Bytes, card: Option<Card>, path: Option<&Path>) -> Result<Self, Error> {
        let refused = |source| Error::Plan { path: path.map(Path::to_path_buf), source };
        let verified = Verified::try_new(bytes, |bytes| Plan::parse(bytes)).map_err(refused)?;
        let plan = *verified.borrow_dependent();
        let card = card.or_else(|| card_in(&plan));
        let preparations = match &card {
            Some(card) => preparations_by_card(&plan, card)?,
            None => (0..plan.input_count()).map(|index| preparation_in(&plan, index)).collect(),
        };
        let labels = match &card {
            Some(card) if !card.labels.is_empty() => card.labels.clone(),
            _ => plan.labels().map(str::to_string).collect(),
        };
        Ok(Self(Arc::new(Inner {
            plan: verified,
            card,
            labels,
            preparations,
            #[cfg(feature = "text")]
            folder: path.and_then(Path::parent).map(Path::to_path_buf).unwrap_or_default(),
            #[cfg(feature = "onnx")]
            fallback: std::sync::Mutex::default(),
        })))
    }

    /// The plan: steps, tensors, inputs, outputs, memory.
    pub fn plan(&self) -> Plan<'_> {
        *self.0.plan.borrow_dependent()
    }

    /// The model's name, empty where it has none.
    pub fn name(&self) -> &str {
        let plan = self.0.plan.borrow_dependent();
        plan.metadata_of(MetadataKind::Name, 0).and_then(|name| std::str::from_utf8(name).ok()).unwrap_or("")
    }

    /// The card in force.
    pub fn card(&self) -> Option<&Card> {
        self.0.card.as_ref()
    }

    /// Label names in the order of the first output; none where the model has none.
    pub fn labels(&self) -> &[String] {
        &self.0.labels
    }

    /// How files become input `index`.
    pub fn preparation(&self, index: usize) -> &Preparation {
        self.0.preparations.get(index).unwrap_or(&Preparation::Tensor)
    }

    /// The number of the input that takes sound, and how sound becomes it.
    ///
    /// # Errors
    /// [`Error::NotPrepared`] where no card says it.
    pub fn sound_input(&self) -> Result<(usize, &AudioSpec), Error> {
        let spec = |index| match self.preparation(index) {
            Preparation::Audio(spec) => Some((index, &**spec)),
            _ => None,
        };
        let inputs = self.plan().input_count();
        (0..inputs).find_map(spec).ok_or(Error::NotPrepared { what: "sound", kind: "audio" })
    }

    /// Opens a set of samples for this model; see [`DataSet`].
    ///
    /// # Errors
    /// [`InputError`] naming the file and the mend.
    pub fn data_set(&self, path: &Path) -> Result<DataSet, InputError> {
        if let Some(text) = self.card().and_then(Card::text_input).filter(|_| !DataSet::is_of_arrays(path)) {
            #[cfg(feature = "text")]
            return crate::input::text::data_set(path, &self.0.folder, text, self.inputs());
            #[cfg(not(feature = "text"))]
            return Err(no_tokenizer(text));
        }
        let prepared = self.0.preparations.iter().find(|preparation| **preparation != Preparation::Tensor);
        let preparation = prepared.cloned().unwrap_or(Preparation::Tensor);
        DataSet::open_prepared(path, preparation, None, self.labels(), self.inputs())
    }

    /// Texts as samples, one from each, for a model whose card says that it takes text.
    ///
    /// # Errors
    /// [`InputError::Card`] where the model takes none or this build lacks the feature `text`; [`InputError`] naming the
    /// tokenizer where it cannot be used.
    pub fn data_set_of_texts(&self, texts: &[String]) -> Result<DataSet, InputError> {
        let Some(text) = self.card().and_then(Card::text_input) else {
            return Err(InputError::Card(
                "it tells of no text, and only texts may be several: put files into a folder, or write `kind = \"text\"`"
                    .to_string(),
            ));
        };
        #[cfg(feature = "text")]
        return crate::input::text::of_texts(texts, &self.0.folder, text, self.inputs());
        #[cfg(not(feature = "text"))]
        {
            let _ = texts;
            Err(no_tokenizer(text))
        }
    }

    /// Tokens from text and back, for a decoder whose card names a tokenizer.
    ///
    /// # Errors
    /// [`InputError::Card`] where it names none; [`InputError::Data`] where the tokenizer cannot be used.
    #[cfg(feature = "text")]
    pub fn words(&self) -> Result<crate::input::Words, InputError> {
        let Some(text) = self.card().and_then(Card::text_input) else {
            return Err(InputError::Card("it names no tokenizer: write `kind = \"text\"` and `tokenizer`".into()));
        };
        crate::input::text::Words::open(&self.0.folder, text)
    }

    /// Names and shapes of the inputs.
    pub fn inputs(&self) -> Vec<InputSpec> {
        let plan = self.plan();
        let is_read = |id| {
            let mut read = plan.outputs().any(|port| port.tensor == id);
            plan.steps().for_each(|record| record.step.visit_tensors(&mut |other, _| read |= other == id));
            read
        };
        let spec = |(index, port): (usize, cygnet_core::plan::Port)| InputSpec {
            name: plan.text(port.name).to_string(),
            shape: port.dims().iter().map(|&dim| dim as usize).collect(),
            kept: plan.is_state(index) || !is_read(port.tensor),
        };
        plan.inputs().enumerate().map(spec).collect()
    }

    /// A session with memory of its own and the fastest kernels of this CPU, or those that `CYGNET_ISA` names, on one
    /// thread for each physical core.
    ///
    /// # Errors
    /// [`Error::NoSuchKernels`]; [`Error::Fallback`] where a step without a native kernel cannot be prepared,
    /// [`Error::Session`] where this build has no fallback, [`Error::Threads`].
    pub fn session(&self) -> Result<Session, Error> {
        #[cfg(feature = "threads")]
        let threads = crate::physical_cores();
        #[cfg(not(feature = "threads"))]
        let threads = 1;
        self.session_on(threads)
    }

    /// A session on so many threads, the calling one among them; fewer where the model has no use for them.
    ///
    /// # Errors
    /// As [`Model::session`].
    pub fn session_on(&self, threads: usize) -> Result<Session, Error> {
        self.session_with(kernels_of_environment()?, threads)
    }

    /// A session with kernels of the caller's choice.
    ///
    /// # Errors
    /// As [`Model::session`].
    pub fn session_with(&self, kernels: &'static Kernels, threads: usize) -> Result<Session, Error> {
        Session::new(self.clone(), kernels, threads)
    }

    /// What runs the steps without a native kernel; `None` where there is no such step.
    #[cfg(feature = "onnx")]
    pub(crate) fn fallback(&self) -> Result<Option<Arc<cygnet_onnx::fallback::Fallback>>, Error> {
        if first_host_step(&self.plan()).is_none() {
            return Ok(None);
        }
        let mut slot = self.0.fallback.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if slot.is_none() {
            *slot = Some(Arc::new(cygnet_onnx::fallback::Fallback::new(&self.plan())?));
        }
        Ok(slot.clone())
    }
}

pub(crate) fn first_host_step(plan: &Plan<'_>) -> Option<u32> {
    let is_host = |record: &cygnet_core::plan::StepRecord| matches!(record.step, cygnet_core::plan::Step::HostStep(_));
    plan.steps().find(is_host).map(|record| record.index)
}

#[cfg(not(feature = "text"))]
fn no_tokenizer(text: &cygnet_sense::card::TextInput) -> InputError {
    InputError::Card(format!(
        "the model takes text through the tokenizer {}, and this build has none: build it with the feature \"text\"",
        text.tokenizer
    ))
}

fn kernels_of_environment() -> Result<&'static Kernels, Error> {
    let Some(asked) = std::env::var_os("CYGNET_ISA").filter(|asked| !asked.is_empty()) else {
        return Ok(Kernels::best());
    };
    asked.to_str().and_then(Kernels::named).ok_or_else(|| {
        let names: Vec<_> = kernels::available().map(|kernels| kernels.name).collect();
        Error::NoSuchKernels { asked: asked.to_string_lossy().into_owned(), available: names.join(", ") }
    })
}

/// `MODEL.toml` beside `MODEL.onnx`.
fn card_beside(path: &Path) -> Result<Option<Card>, Error> {
    let beside = path.with_extension("toml");
    Ok(if beside.is_file() { Some(Card::load(&beside)?) } else { None })
}

fn card_in(plan: &Plan<'_>) -> Option<Card> {
    let text = std::str::from_utf8(plan.metadata_of(MetadataKind::Card, 0)?).ok()?;
    Card::parse(text).inspect_err(|error| log::warn!("the card inside the model is left out: {error}")).ok()
}

fn preparation_in(plan: &Plan<'_>, index: usize) -> Preparation {
    let record = |kind| plan.metadata_of(kind, u32::try_from(index).ok()?);
    if let Some(spec) = record(MetadataKind::Image).and_then(|bytes| ImageSpec::from_bytes(bytes).ok()) {
        return Preparation::Image(spec);
    }
    let audio = record(MetadataKind::Audio).and_then(|bytes| AudioSpec::from_bytes(bytes).ok());
    audio.map_or(Preparation::Tensor, |spec| Preparation::Audio(spec.into()))
}

fn preparations_by_card(plan: &Plan<'_>, card: &Card) -> Result<Vec<Preparation>, Error> {
    let names: Vec<_> = plan.inputs().map(|port| plan.text(port.name)).collect();
    let meant = match card.input_name() {
        None => 0,
        Some(name) => names.iter().position(|there| *there == name).ok_or_else(|| Error::NoSuchPort {
            what: "input",
            asked: format!("\"{name}\", which its card names"),
            there: crate::session::listed(&names),
        })?,
    };
    let of_input = |index| if index == meant { Preparation::of_card(Some(card)) } else { Preparation::Tensor };
    Ok((0..names.len()).map(of_input).collect())
}
