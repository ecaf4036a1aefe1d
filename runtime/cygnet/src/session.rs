//! Running a model.

mod feed;
mod structured;
mod tokens;

#[cfg(feature = "onnx")]
use std::sync::Arc;

use cygnet_core::kernels::Kernels;
use cygnet_core::plan::{self, StepRecord};
use cygnet_core::{Host, HostTensor, NoHost};

use crate::answer::{Answer, best};
use crate::arena::AlignedBytes;
use crate::error::Error;
use crate::input::{ElementType, real};
use crate::model::Model;

/// Which input or output: its number or its ONNX name.
#[derive(Clone, Copy, Debug)]
pub enum Port<'a> {
    /// The number, from 0, in the order of the ONNX model.
    Index(usize),
    /// The ONNX name.
    Name(&'a str),
}

impl From<usize> for Port<'_> {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

impl<'a> From<&'a str> for Port<'a> {
    fn from(name: &'a str) -> Self {
        Self::Name(name)
    }
}

/// A model together with the memory that it runs in.
///
/// Set every input before each [`Session::run`], but those that the model keeps from run to run: steps reuse the memory
/// of what was read for the last time.
/// Running allocates nothing, unless a step goes through the fallback.
#[derive(Debug)]
pub struct Session {
    model: Model,
    arena: AlignedBytes,
    kernels: &'static Kernels,
    #[cfg(feature = "threads")]
    team: Option<crate::Threads>,
    #[cfg(feature = "onnx")]
    fallback: Option<Arc<cygnet_onnx::fallback::Fallback>>,
    room: feed::Room,
    /// Scores come out of a softmax.
    is_softmax: bool,
}

impl Session {
    pub(crate) fn new(model: Model, kernels: &'static Kernels, threads: usize) -> Result<Self, Error> {
        #[cfg(not(feature = "threads"))]
        if threads > 1 {
            return Err(Error::Threads { asked: threads, reason: "this build has one (feature threads)".into() });
        }
        #[cfg(feature = "threads")]
        let team = if threads > 1 && model.plan().suits_teams(kernels.least_work) {
            let room = model.plan().scratch_bytes();
            let failed = |error: std::io::Error| Error::Threads { asked: threads, reason: error.to_string() };
            Some(crate::Threads::start(threads, room).map_err(failed)?.with_least_work(kernels.least_work))
        } else {
            None
        };
        #[cfg(feature = "onnx")]
        let fallback = model.fallback()?;
        #[cfg(not(feature = "onnx"))]
        if let Some(step) = crate::model::first_host_step(&model.plan()) {
            return Err(cygnet_core::Error::NeedsHost { step }.into());
        }
        let arena = AlignedBytes::new(model.plan().arena_bytes());
        let is_softmax = model.plan().ends_in_softmax(0);
        let mut session = Self {
            model,
            arena,
            kernels,
            #[cfg(feature = "threads")]
            team,
            #[cfg(feature = "onnx")]
            fallback,
            room: feed::Room::default(),
            is_softmax,
        };
        session.reset()?;
        #[cfg(feature = "threads")]
        session.team.iter().for_each(crate::Threads::wait_until_ready);
        Ok(session)
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The kernels in use.
    pub fn kernels(&self) -> &'static Kernels {
        self.kernels
    }

    /// The engine's view of plan and memory; costs nothing.
    ///
    /// # Errors
    /// [`Error::Session`], which does not happen: the arena is made for the plan.
    pub fn engine(&mut self) -> Result<cygnet_core::Session<'_, '_>, Error> {
        #[allow(unused_mut, reason = "the team needs it")]
        let mut engine = cygnet_core::Session::resume(self.model.plan(), self.arena.as_mut(), self.kernels)?;
        #[cfg(feature = "threads")]
        if let Some(team) = &self.team {
            engine.set_team(team);
        }
        Ok(engine)
    }

    /// Threads that work on a step.
    pub fn threads(&self) -> usize {
        #[cfg(feature = "threads")]
        return self.team.as_ref().map_or(1, cygnet_core::Team::size);
        #[cfg(not(feature = "threads"))]
        1
    }

    /// Sets what the model keeps between runs ([`InputSpec::kept`](crate::input::InputSpec)) to zeros, as it is in the
    /// beginning: the next run begins a new sequence.
    ///
    /// # Errors
    /// As [`Session::engine`].
    pub fn reset(&mut self) -> Result<(), Error> {
        self.engine()?.reset();
        Ok(())
    }

    /// Tokens that a decoder has seen since the last reset; 0 where the model is none.
    ///
    /// # Errors
    /// As [`Session::engine`].
    pub fn position(&mut self) -> Result<u64, Error> {
        Ok(self.engine()?.position())
    }

    /// Lets a decoder forget the last `tokens`: those that only filled up a run, for one. The next run writes over them.
    ///
    /// # Errors
    /// As [`Session::engine`].
    pub fn rewind(&mut self, tokens: u64) -> Result<(), Error> {
        self.engine()?.rewind(tokens);
        Ok(())
    }

    /// Runs the model on the inputs that were set. What it keeps between runs is set by the run before, unless you set it.
    ///
    /// # Errors
    /// [`Error::Session`] where a fallback step fails; the log says why.
    pub fn run(&mut self) -> Result<(), Error> {
        self.run_watched(&mut |_, _| {})
    }

    /// As [`Session::run`]; `after` is called behind every step with the arena as the step has left it.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run_watched(&mut self, after: &mut dyn FnMut(&StepRecord, &[u8])) -> Result<(), Error> {
        #[cfg(feature = "onnx")]
        let fallback = self.fallback.clone();
        let mut engine = self.engine()?;
        #[cfg(feature = "onnx")]
        if let Some(fallback) = &fallback {
            engine.run_with(&mut Watched { host: &mut &**fallback, after })?;
            return Ok(());
        }
        Ok(engine.run_with(&mut Watched { host: &mut NoHost, after })?)
    }

    /// The number of an output.
    ///
    /// # Errors
    /// [`Error::NoSuchPort`].
    pub fn output_index<'n>(&self, output: impl Into<Port<'n>>) -> Result<usize, Error> {
        let plan = self.model.plan();
        let names = (0..plan.output_count()).filter_map(|index| plan.output(index)).map(|port| plan.text(port.name));
        find(output.into(), "output", names)
    }

    /// Reads an output as real numbers in the order of its ONNX shape into `values`, whose room is reused;
    /// whole numbers are converted.
    ///
    /// # Errors
    /// [`Error::NoSuchPort`].
    pub fn output_f32<'n>(&mut self, output: impl Into<Port<'n>>, values: &mut Vec<f32>) -> Result<(), Error> {
        let index = self.output_index(output)?;
        let engine = self.engine()?;
        let port = engine.plan().output(index);
        values.resize(port.as_ref().map_or(0, plan::Port::len), 0.0);
        if let Some((port, dtype)) = port.and_then(|port| Some((port, ElementType::of_plan(port.dtype)?)))
            && !port.dtype.is_computed()
        {
            let mut bytes = vec![0; port.len() * dtype.bytes()];
            engine.read_bytes(index, &mut bytes)?;
            let elements = bytes.chunks_exact(dtype.bytes()).map(|element| real(dtype, element) as f32);
            values.iter_mut().zip(elements).for_each(|(to, value)| *to = value);
            return Ok(());
        }
        Ok(engine.read_f32(index, values)?)
    }

    /// Reads an output as the bytes of an ONNX tensor of the declared type, row-major, little-endian.
    ///
    /// # Errors
    /// [`Error::NoSuchPort`].
    pub fn output_bytes<'n>(&mut self, output: impl Into<Port<'n>>, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let index = self.output_index(output)?;
        let engine = self.engine()?;
        bytes.resize(engine.plan().output(index).map_or(0, |port| port.len() * port.dtype.bytes()), 0);
        Ok(engine.read_bytes(index, bytes)?)
    }

    /// The first output as real numbers.
    ///
    /// # Errors
    /// [`Error::NoSuchPort`] where the model has no output.
    pub fn scores(&mut self) -> Result<Vec<f32>, Error> {
        let mut scores = Vec::new();
        self.output_f32(0, &mut scores)?;
        Ok(scores)
    }

    /// The probabilities of the classes of the first output, in `values`, whose room is reused. Scores that are no
    /// probabilities already go through a softmax.
    ///
    /// # Errors
    /// [`Error::NoScores`].
    pub fn probabilities(&mut self, values: &mut Vec<f32>) -> Result<(), Error> {
        self.output_f32(0, values)?;
        if values.is_empty() {
            return Err(Error::NoScores);
        }
        if !self.is_softmax && !cygnet_sense::answers::are_probabilities(values) {
            cygnet_sense::softmax_in_place(values);
        }
        Ok(())
    }

    /// The `n` best classes of the first output with their [probabilities](Session::probabilities), the best first.
    ///
    /// # Errors
    /// [`Error::NoScores`].
    pub fn top(&mut self, n: usize) -> Result<Vec<Answer>, Error> {
        let mut scores = Vec::new();
        self.probabilities(&mut scores)?;
        let labels = self.model.labels();
        let label = |class: usize| labels.get(class).cloned().unwrap_or_else(|| class.to_string());
        let best = best(&scores, n);
        Ok(best.into_iter().map(|(class, score)| Answer { class, label: label(class), score }).collect())
    }
}

/// A host that also tells somebody.
struct Watched<'a> {
    host: &'a mut dyn Host,
    after: &'a mut dyn FnMut(&StepRecord, &[u8]),
}

impl Host for Watched<'_> {
    fn run(
        &mut self,
        index: u32,
        model: &[u8],
        inputs: &mut [HostTensor<'_>],
        outputs: &mut [HostTensor<'_>],
    ) -> Result<(), cygnet_core::Error> {
        self.host.run(index, model, inputs, outputs)
    }

    fn after(&mut self, record: &StepRecord, arena: &[u8]) {
        (self.after)(record, arena);
    }
}

/// Names for a message.
pub(crate) fn listed(names: &[&str]) -> String {
    match names {
        [] => "none".into(),
        names => names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", "),
    }
}

/// Allocates nothing where there is such a port.
fn find<'n>(port: Port<'_>, what: &'static str, names: impl Iterator<Item = &'n str> + Clone) -> Result<usize, Error> {
    let found = match port {
        Port::Index(index) => Some(index).filter(|&index| index < names.clone().count()),
        Port::Name(name) => names.clone().position(|there| there == name),
    };
    found.ok_or_else(|| {
        let asked = match port {
            Port::Index(index) => index.to_string(),
            Port::Name(name) => format!("\"{name}\""),
        };
        Error::NoSuchPort { what, asked, there: listed(&names.collect::<Vec<_>>()) }
    })
}

/// The shape of a port.
fn shape(port: &plan::Port) -> Vec<usize> {
    port.dims().iter().map(|&dim| dim as usize).collect()
}
