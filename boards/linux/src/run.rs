//! `cygnet run`: answers for files.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Args;
use cygnet::core::plan::Port;
use cygnet::input::{Array, DataSet, ElementType, Picture, Sample, Sound};
use cygnet::output::{write_file, write_npy, write_npz};
use cygnet::sense::Placement;
use cygnet::sense::card::Task;
use cygnet::{Answer, Card, Model, Session, write_drawing, write_keypoints, write_mask};

use crate::events::seconds;
use crate::{ModelArguments, print, print_json};

mod report;

use report::{Answered, Boxed, Class, Covered, Failed, Point, Read, Report, Speech, Summary, Word};

/// Run a model on a picture, a recording, a sentence, tensors or a folder of them.
///
/// INPUT is an image (PNG, JPEG; BMP, WebP, PNM where built in), a WAV file, a .npy or .npz of tensors, or a folder.
/// Models that take text have the lines of a .txt file or sentences themselves: of several it is told how much they are
/// like the first. Models that write text go on with each sentence.
#[derive(Args)]
pub struct Run {
    #[command(flatten)]
    model: ModelArguments,
    /// What the model is run on; several only where they are sentences.
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Write all outputs of the model, one array each, the first axis the sample; as .npy where there is one output.
    #[arg(short, long, value_name = "OUT.npz")]
    output: Option<PathBuf>,
    /// Write the picture with what was found in it: boxes and keypoints, the pixels of each class, or the points of a body.
    #[arg(long, value_name = "OUT.png")]
    draw: Option<PathBuf>,
    /// Write the first input of one sample as the plan holds it in its arena: what firmware is fed with.
    #[arg(long, value_name = "OUT.bin")]
    save_input: Option<PathBuf>,
    /// How many tokens a model that goes on with a text may write.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    tokens: u32,
    /// How many classes to name, the most likely first [default: 5 for one sample, 1 for many].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    top: Option<u32>,
}

impl Run {
    /// Does the work.
    pub fn run(&self) -> anyhow::Result<()> {
        let model = self.model.file.load()?;
        let writes = model.card().is_some_and(|card| card.task == Task::Generation && card.text_input().is_some());
        if writes && !self.inputs.iter().any(|input| input.exists()) {
            let texts: Vec<_> = self.inputs.iter().map(|text| text.to_string_lossy().into_owned()).collect();
            return self.write(&model, &texts);
        }
        let data = match &self.inputs[..] {
            [input] => model.data_set(input)?,
            texts => {
                let texts: Vec<_> = texts.iter().map(|text| text.to_string_lossy().into_owned()).collect();
                model.data_set_of_texts(&texts)?
            }
        };
        let mut session = model.session()?;
        let classify = self.top.is_some() || is_classifier(&model);
        let top = self.top.unwrap_or(if data.len() == 1 { 5 } else { 1 }) as usize;
        let mut rows = self.output.as_ref().map(|_| Rows::new(&model)).transpose()?;
        let mut report = Report {
            model: crate::file_name(&self.model.file.model),
            kernels: session.kernels().name,
            samples: Vec::new(),
            failed: Vec::new(),
            labelled: None,
            correct: None,
        };
        if let Some(path) = &self.save_input {
            ensure!(data.len() == 1, "--save-input takes one sample, here are {}", data.len());
            save_input(&data, &mut session, path)?;
        }
        if let Some(path) = &self.draw {
            ensure!(data.len() == 1, "--draw takes one picture, here are {}", data.len());
            draw(&data, &mut session, path)?;
        }
        if hears_runs(&model) && data.sound(0).is_some() {
            let mend = "give a .npz of its frames, one sequence, for the outputs of each";
            ensure!(self.output.is_none(), "--output: this model runs many times on a recording; {mend}");
        }
        let compares = data.len() > 1 && model.card().is_some_and(|card| card.task == Task::Features);
        let mut first = None;
        for index in 0..data.len() {
            match answer(&data, index, &mut session, classify.then_some(top)) {
                Ok(mut answered) => {
                    if compares {
                        answered.similarity = similarity(&mut session, &mut first)?;
                    }
                    if let Some(rows) = &mut rows {
                        rows.push(&mut session)?;
                    }
                    if !self.model.json {
                        print(&answered.text(data.len() == 1))?;
                    }
                    report.samples.push(answered);
                }
                // With one file there is nothing to go on with.
                Err(error) if data.len() == 1 => return Err(error),
                Err(error) => {
                    log::error!("{error:#}");
                    report.failed.push(Failed { name: data.name(index), error: format!("{error:#}") });
                }
            }
        }
        self.finish(report, rows, data.len())
    }

    /// Goes on with texts.
    #[cfg(feature = "text")]
    fn write(&self, model: &Model, texts: &[String]) -> anyhow::Result<()> {
        crate::write::run(model, texts, self.tokens as usize, self.model.json)
    }

    #[cfg(not(feature = "text"))]
    fn write(&self, model: &Model, texts: &[String]) -> anyhow::Result<()> {
        // The message that says how to have a tokenizer.
        model.data_set_of_texts(texts).map(|_| ()).map_err(Into::into)
    }

    fn finish(&self, mut report: Report, rows: Option<Rows>, count: usize) -> anyhow::Result<()> {
        let labelled: Vec<_> = report.samples.iter().filter_map(|s| Some((s.label?, s.top.first()?.class))).collect();
        if !labelled.is_empty() {
            report.labelled = Some(labelled.len());
            report.correct = Some(labelled.iter().filter(|(label, class)| label == class).count());
        }
        let failed = report.failed.len();
        if let (Some(rows), Some(path), 0) = (rows, &self.output, failed) {
            write_rows(path, &rows.arrays).with_context(|| format!("{} cannot be written", path.display()))?;
        }
        if self.model.json {
            print_json(&report)?;
        } else if let (Some(labelled), Some(correct)) = (report.labelled, report.correct) {
            let percent = 100.0 * correct as f64 / labelled as f64;
            print(&format!("{correct} of {labelled} labelled samples are right ({percent:.2} %)\n"))?;
        }
        match (failed, &self.output) {
            (0, _) => Ok(()),
            (_, None) => bail!("{failed} of {count} samples could not be run; see above"),
            (_, Some(path)) => {
                bail!("{failed} of {count} samples could not be run; {} was not written", path.display())
            }
        }
    }
}

/// Writes the outputs of all samples, by the end of the file's name as `.npy` or `.npz`.
fn write_rows(path: &Path, arrays: &[Array]) -> anyhow::Result<()> {
    if !path.extension().is_some_and(|end| end.eq_ignore_ascii_case("npy")) {
        return Ok(write_npz(path, arrays)?);
    }
    let [array] = arrays else { bail!("a .npy holds one array, the model has {} outputs; name it .npz", arrays.len()) };
    Ok(write_npy(path, array)?)
}

/// Whether the first output is a score for each class.
fn is_classifier(model: &Model) -> bool {
    match model.card() {
        Some(card) => card.task == Task::Classification,
        None => !model.labels().is_empty(),
    }
}

fn save_input(data: &DataSet, session: &mut Session, path: &Path) -> anyhow::Result<()> {
    feed(&data.sample(0)?, session)?;
    let mut engine = session.engine()?;
    let bytes = engine.input_bytes(0).map_err(cygnet::Error::from)?;
    write_file(path, |file| file.write_all(bytes)).with_context(|| format!("{} cannot be written", path.display()))
}

fn feed(sample: &Sample, session: &mut Session) -> anyhow::Result<()> {
    if sample.starts {
        session.reset()?;
    }
    for (input, values) in sample.inputs.iter().enumerate().filter(|(_, values)| !values.is_empty()) {
        session.set_f32(input, values).with_context(|| sample.name.clone())?;
    }
    Ok(())
}

fn answer(data: &DataSet, index: usize, session: &mut Session, top: Option<usize>) -> anyhow::Result<Answered> {
    if let Some(file) = data.sound(index).filter(|_| hears_runs(session.model())) {
        let is_text = session.model().card().is_some_and(|card| card.text.is_some());
        let read = if is_text { Some(heard(file, session)?) } else { None };
        let speech = if is_text { None } else { Some(speech(file, session)?) };
        return Ok(Answered { speech, read, ..Answered::of(data.name(index), None) });
    }
    let sample = data.sample(index)?;
    feed(&sample, session)?;
    let Sample { name, label, .. } = sample;
    session.run().with_context(|| name.clone())?;
    let mut answered = Answered::of(name, label);
    if session.model().card().is_some_and(|card| card.box_decoder().is_some()) {
        let placement = placed(data, index, session)?.map(|(_, placement)| placement);
        let found = session.boxes(placement.as_ref())?.unwrap_or_default();
        answered.boxes = Some(found.into_iter().map(Boxed::from).collect());
        return Ok(answered);
    }
    if session.model().card().is_some_and(|card| card.mask.is_some()) {
        let placement = placed(data, index, session)?.map(|(_, placement)| placement);
        let mask = session.mask(placement.as_ref())?;
        answered.mask = mask.map(|mask| mask.areas.into_iter().map(Covered::from).collect());
        return Ok(answered);
    }
    if session.model().card().is_some_and(|card| card.keypoints.is_some()) {
        let placement = placed(data, index, session)?.map(|(_, placement)| placement);
        let points = session.keypoints(placement.as_ref())?;
        answered.keypoints = points.map(|points| points.into_iter().map(Point::from).collect());
        return Ok(answered);
    }
    if let Some((text, score)) = session.text()? {
        answered.read = Some(Read { text, score, words: Vec::new() });
        return Ok(answered);
    }
    match top {
        Some(n) => {
            let class = |Answer { class, label, score }| Class { class, label, score };
            answered.top = session.top(n)?.into_iter().map(class).collect();
        }
        None => answered.outputs = summaries(session)?,
    }
    Ok(answered)
}

/// Whether the model hears sound run by run: it tells where there is speech, or what is said.
fn hears_runs(model: &Model) -> bool {
    model.card().is_some_and(|card| card.runs().is_some())
}

/// What is said in a recording.
fn heard(file: &Path, session: &mut Session) -> anyhow::Result<Read> {
    let sound = Sound::open(file)?;
    let rate = f64::from(session.model().sound_input()?.1.sample_rate);
    let words = session.words(&sound.samples, sound.rate).with_context(|| file.display().to_string())?;
    let place = |samples: u64| seconds(samples as f64 / rate);
    let told = words.into_iter().flatten().map(|word| {
        let (start, end) = (place(word.begin), place(word.end));
        Word { label: word.text, score: word.score, start, end }
    });
    let words: Vec<Word> = told.collect();
    let text = words.iter().map(|word| &*word.label).collect::<Vec<_>>().join(" ");
    let sum: f64 = words.iter().map(|word| f64::from(word.score)).sum();
    Ok(Read { text, score: (sum / words.len().max(1) as f64) as f32, words })
}

/// Where in a recording there is speech.
fn speech(file: &Path, session: &mut Session) -> anyhow::Result<Vec<Speech>> {
    let sound = Sound::open(file)?;
    let rate = f64::from(session.model().sound_input()?.1.sample_rate);
    let segments = session.speech(&sound.samples, sound.rate).with_context(|| file.display().to_string())?;
    let place = |samples: u64| seconds(samples as f64 / rate);
    let told = segments.into_iter().flatten();
    Ok(told.map(|one| Speech { start: place(one.begin), end: place(one.end), score: one.score }).collect())
}

/// The picture of a sample and where it lies in the input; `None` where the sample is no picture.
fn placed(data: &DataSet, index: usize, session: &Session) -> anyhow::Result<Option<(Picture, Placement)>> {
    let spec = session.model().card().and_then(Card::image_spec);
    let (Some(spec), Some(file)) = (spec, data.picture(index)) else { return Ok(None) };
    let picture = Picture::open(file)?;
    let pixels = picture.pixels().map_err(cygnet::Error::from)?;
    let placement = spec.placement(pixels.width(), pixels.height()).map_err(cygnet::Error::from)?;
    Ok(Some((picture, placement)))
}

/// Runs on one picture and writes it with what was found.
fn draw(data: &DataSet, session: &mut Session, path: &Path) -> anyhow::Result<()> {
    let (picture, placement) = placed(data, 0, session)?
        .context("--draw needs a picture (PNG, JPEG, BMP, WebP, PNM) and a card with `kind = \"image\"`")?;
    feed(&data.sample(0)?, session)?;
    session.run()?;
    let written = if let Some(mask) = session.mask(Some(&placement))? {
        write_mask(path, &picture, &mask)
    } else if let Some(points) = session.keypoints(Some(&placement))? {
        let pairs = session.model().card().and_then(|card| Some(card.keypoints.as_ref()?.pairs.clone()));
        write_keypoints(path, &picture, &points, &pairs.unwrap_or_default())
    } else {
        let found = session.boxes(Some(&placement))?;
        let mend = "--draw needs a model whose card says what outputs mean: [boxes], [mask] or [keypoints]";
        write_drawing(path, &picture, &found.context(mend)?)
    };
    written.with_context(|| format!("{} cannot be written", path.display()))
}

/// Cosine of the first output and `first`, which is taken from the first sample.
fn similarity(session: &mut Session, first: &mut Option<Vec<f32>>) -> Result<Option<f32>, cygnet::Error> {
    let mut features = Vec::new();
    session.output_f32(0, &mut features)?;
    let Some(first) = first else {
        *first = Some(features);
        return Ok(None);
    };
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    let lengths = product(first, first) * product(&features, &features);
    Ok((lengths > 0.0).then(|| (product(first, &features) / lengths.sqrt()) as f32))
}

fn summaries(session: &mut Session) -> anyhow::Result<Vec<Summary>> {
    let ports: Vec<Port> = session.model().plan().outputs().collect();
    let mut summaries = Vec::new();
    let mut values = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        session.output_f32(index, &mut values)?;
        summaries.push(Summary {
            name: session.model().plan().text(port.name).to_string(),
            shape: port.dims().to_vec(),
            min: values.iter().copied().reduce(f32::min).unwrap_or(0.0),
            max: values.iter().copied().reduce(f32::max).unwrap_or(0.0),
            mean: values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len().max(1) as f64,
            first: values.iter().copied().take(8).collect(),
        });
    }
    Ok(summaries)
}

/// The outputs of all samples, gathered.
struct Rows {
    arrays: Vec<Array>,
    bytes: Vec<u8>,
}

impl Rows {
    fn new(model: &Model) -> anyhow::Result<Self> {
        let plan = model.plan();
        let mut arrays = Vec::new();
        for port in plan.outputs() {
            let name = plan.text(port.name).to_string();
            let dtype = ElementType::of_plan(port.dtype);
            let dtype = dtype.with_context(|| format!("output \"{name}\" holds {}, which NumPy lacks", port.dtype))?;
            let mut shape: Vec<_> = port.dims().iter().map(|&dim| dim as usize).collect();
            // The first axis is the sample; outputs without a batch get one.
            if shape.first() == Some(&1) {
                shape[0] = 0;
            } else {
                shape.insert(0, 0);
            }
            ensure!(arrays.iter().all(|array: &Array| array.name != name), "two outputs are named \"{name}\"");
            arrays.push(Array { name, dtype, shape, data: Vec::new() });
        }
        Ok(Self { arrays, bytes: Vec::new() })
    }

    fn push(&mut self, session: &mut Session) -> Result<(), cygnet::Error> {
        for (index, array) in self.arrays.iter_mut().enumerate() {
            session.output_bytes(index, &mut self.bytes)?;
            array.data.extend_from_slice(&self.bytes);
            array.shape[0] += 1;
        }
        Ok(())
    }
}
