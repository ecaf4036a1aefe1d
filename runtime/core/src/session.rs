//! Running a plan inside memory that the caller owns.

mod execute;
mod transfer;

pub(crate) use execute::executors;

use core::ops::Range;

use crate::bytes::I64s;
use crate::error::Error;
use crate::kernels::Kernels;
use crate::plan::step::{StepRecord, opcode};
use crate::plan::{ALIGNMENT, DType, Form, Plan, Port, Positions, Tensor};
use crate::team::Team;

/// Memory for one session, aligned as [`Session::new`] demands. `N` is the number that
/// `quantize compile` prints, or any greater one.
#[repr(C, align(16))]
pub struct Arena<const N: usize>([u8; N]);

impl<const N: usize> Arena<N> {
    /// An arena of zeros; `const`, so that it can be a `static`.
    #[must_use]
    pub const fn new() -> Self {
        Self([0; N])
    }

    /// The bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl<const N: usize> Default for Arena<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// A tensor handed to a [`Host`].
#[derive(Debug)]
pub struct HostTensor<'a> {
    /// Its entry in the tensor table; the elements are row-major in its shape.
    pub tensor: Tensor,
    /// Its bytes.
    pub bytes: &'a mut [u8],
}

/// Runs the steps that have no native kernel, and watches the others.
pub trait Host {
    /// Runs step `index`: an ONNX model whose inputs and outputs are given in order.
    ///
    /// # Errors
    /// [`Error::NeedsHost`] or [`Error::HostFailed`].
    fn run(
        &mut self,
        index: u32,
        model: &[u8],
        inputs: &mut [HostTensor<'_>],
        outputs: &mut [HostTensor<'_>],
    ) -> Result<(), Error>;

    /// Called behind every step with the arena as the step has left it.
    fn after(&mut self, record: &StepRecord, arena: &[u8]) {
        let _ = (record, arena);
    }
}

/// The host of machines without a fallback.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHost;

impl Host for NoHost {
    fn run(&mut self, index: u32, _: &[u8], _: &mut [HostTensor<'_>], _: &mut [HostTensor<'_>]) -> Result<(), Error> {
        Err(Error::NeedsHost { step: index })
    }
}

/// A plan together with the memory that it runs in.
#[derive(Debug)]
pub struct Session<'p, 'a> {
    plan: Plan<'p>,
    arena: &'a mut [u8],
    kernels: &'static Kernels,
    team: Option<&'a dyn Team>,
}

impl<'p, 'a> Session<'p, 'a> {
    /// Joins a plan and its arena, with the fastest kernels of this CPU. What the plan keeps between runs is zeros.
    ///
    /// # Errors
    /// [`Error::ArenaTooSmall`] below [`Plan::arena_bytes`], [`Error::ArenaMisaligned`] when the arena
    /// does not start at a multiple of [`ALIGNMENT`].
    pub fn new(plan: Plan<'p>, arena: &'a mut [u8]) -> Result<Self, Error> {
        Self::with_kernels(plan, arena, Kernels::best())
    }

    /// As [`Session::new`], with kernels of the caller's choice.
    ///
    /// # Errors
    /// As [`Session::new`], and [`Error::NoKernel`] when `kernels` were restricted to other steps.
    pub fn with_kernels(plan: Plan<'p>, arena: &'a mut [u8], kernels: &'static Kernels) -> Result<Self, Error> {
        Self::join(plan, arena, kernels, false)
    }

    /// As [`Session::with_kernels`], in an arena where the plan has run before, which goes on as it is: inputs, outputs and
    /// what the plan keeps between runs.
    ///
    /// # Errors
    /// As [`Session::with_kernels`].
    pub fn resume(plan: Plan<'p>, arena: &'a mut [u8], kernels: &'static Kernels) -> Result<Self, Error> {
        Self::join(plan, arena, kernels, true)
    }

    #[inline(never)]
    fn join(plan: Plan<'p>, arena: &'a mut [u8], kernels: &'static Kernels, is_resumed: bool) -> Result<Self, Error> {
        let needed = plan.arena_bytes();
        let given = arena.len();
        let arena = arena.get_mut(..needed).ok_or(Error::ArenaTooSmall { needed, given })?;
        if !arena.as_ptr().addr().is_multiple_of(ALIGNMENT) && needed > 0 {
            return Err(Error::ArenaMisaligned);
        }
        if let Some(step) = plan.outside(kernels.kinds.set()) {
            return Err(Error::NoKernel { step });
        }
        log::debug!("{} steps in an arena of {needed} bytes, {} kernels", plan.header().steps, kernels.name);
        let mut session = Self { plan, arena, kernels, team: None };
        if !is_resumed {
            session.reset();
        }
        Ok(session)
    }

    /// Sets what the plan keeps between runs ([`Plan::states`]) to zeros, and positions to those of the first tokens: the
    /// next run begins a new sequence.
    pub fn reset(&mut self) {
        for (index, _) in self.plan.states() {
            let Ok((_, tensor)) = self.input(index) else { continue };
            let zero = tensor.zero_point.to_le_bytes();
            let size = tensor.dtype.bytes();
            let zero = match tensor.dtype {
                DType::I8 | DType::I16 => zero,
                _ => [0; 4],
            };
            let place = self.arena.get_mut(execute::range(&tensor)).unwrap_or_default();
            for element in place.chunks_mut(size.max(1)) {
                element.iter_mut().zip(zero.iter().cycle()).for_each(|(to, from)| *to = *from);
            }
        }
        self.go_to(0);
    }

    /// How many tokens it has seen since the last reset; 0 where the plan is no decoder's.
    #[must_use]
    pub fn position(&self) -> u64 {
        let Some(place) = self.positions().and_then(|(_, range)| self.arena.get(range)) else { return 0 };
        I64s::new(place).iter().next().and_then(|first| u64::try_from(first).ok()).unwrap_or(0)
    }

    /// Forgets the last `tokens`, or all where they are not so many: those that only filled up a run, for one. The next
    /// run writes over them. Has no effect where the plan is no decoder's.
    pub fn rewind(&mut self, tokens: u64) {
        self.go_to(self.position().saturating_sub(tokens));
    }

    /// The positions of tokens that the plan counts, and where they lie.
    fn positions(&self) -> Option<(Positions, Range<usize>)> {
        let positions = self.plan.positions()?;
        let (_, tensor) = self.input(positions.input).ok()?;
        Some((positions, execute::range(&tensor)))
    }

    /// Makes `first` the position of the next run's first token. Those of the others go no further than the last that is
    /// kept, for they may be there only to fill up the run.
    fn go_to(&mut self, first: u64) {
        let Some((positions, range)) = self.positions() else { return };
        let most = if positions.slides { u64::MAX } else { u64::from(positions.length).saturating_sub(1) };
        let place = self.arena.get_mut(range).unwrap_or_default();
        let mut position = first;
        for element in place.as_chunks_mut::<8>().0 {
            *element = position.to_le_bytes();
            position = position.saturating_add(1).min(most.max(first));
        }
    }

    /// Brings the outputs that become inputs of the next run to their places.
    fn keep_states(&mut self) {
        for (input, output) in self.plan.states() {
            let (Ok((_, to)), Ok((_, from))) = (self.input(input), self.output(output)) else { continue };
            let places = [execute::range(&to), execute::range(&from)];
            // What is written where it stays is one place.
            if let Ok([to, from]) = self.arena.get_disjoint_mut(places) {
                to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            }
        }
        if let Some((_, range)) = self.positions() {
            let tokens = range.len() / 8;
            self.go_to(self.position().saturating_add(tokens as u64));
        }
    }

    /// Lets a team of threads work on the steps. The bits of the results do not depend on it. Without an operating system
    /// the team is left alone.
    pub fn set_team(&mut self, team: &'a dyn Team) {
        self.team = Some(team);
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan<'p> {
        &self.plan
    }

    /// The kernels in use.
    #[must_use]
    pub fn kernels(&self) -> &'static Kernels {
        self.kernels
    }

    fn input(&self, index: usize) -> Result<(Port, Tensor), Error> {
        let port = self.plan.input(index).ok_or(Error::NoSuchTensor { index })?;
        Ok((port, self.plan.tensor(port.tensor).ok_or(Error::NoSuchTensor { index })?))
    }

    fn output(&self, index: usize) -> Result<(Port, Tensor), Error> {
        let port = self.plan.output(index).ok_or(Error::NoSuchTensor { index })?;
        Ok((port, self.plan.tensor(port.tensor).ok_or(Error::NoSuchTensor { index })?))
    }

    /// The bytes of input `index` as they lie in the arena: the order and type of [`Plan::tensor`],
    /// images channels-last, uint8 shifted by 128.
    ///
    /// # Errors
    /// [`Error::NoSuchTensor`].
    pub fn input_bytes(&mut self, index: usize) -> Result<&mut [u8], Error> {
        let (_, tensor) = self.input(index)?;
        let range = execute::range(&tensor);
        self.arena.get_mut(range).ok_or(Error::NoSuchTensor { index })
    }

    /// The int8 elements of input `index` as they lie in the arena.
    ///
    /// # Errors
    /// [`Error::NoSuchTensor`], [`Error::ElementType`] when the input is not held as int8.
    pub fn input_i8(&mut self, index: usize) -> Result<&mut [i8], Error> {
        let (_, tensor) = self.input(index)?;
        if tensor.dtype != DType::I8 {
            return Err(Error::ElementType { expected: tensor.dtype });
        }
        self.input_bytes(index).map(crate::kernels::view::i8s_mut)
    }

    /// The bytes of output `index` as they lie in the arena.
    ///
    /// # Errors
    /// [`Error::NoSuchTensor`].
    pub fn output_bytes(&self, index: usize) -> Result<&[u8], Error> {
        let (_, tensor) = self.output(index)?;
        self.arena.get(execute::range(&tensor)).ok_or(Error::NoSuchTensor { index })
    }

    /// Sets input `index` from real numbers in the order of the ONNX shape, quantizing where the plan
    /// holds int8.
    ///
    /// # Errors
    /// [`Error::NoSuchTensor`], [`Error::ElementCount`], [`Error::ElementType`] for inputs that are
    /// not float32 in the ONNX model.
    pub fn write_f32(&mut self, index: usize, values: &[f32]) -> Result<(), Error> {
        let ((port, tensor), quantize) = (self.input(index)?, self.quantize());
        let bytes = self.arena.get_mut(execute::range(&tensor)).ok_or(Error::NoSuchTensor { index })?;
        transfer::write_f32(&port, &tensor, bytes, values, quantize)
    }

    /// Sets input `index` from the bytes of an ONNX tensor of the declared type, row-major,
    /// little-endian.
    ///
    /// # Errors
    /// [`Error::NoSuchTensor`], [`Error::ElementCount`] (in bytes).
    pub fn write_bytes(&mut self, index: usize, values: &[u8]) -> Result<(), Error> {
        let ((port, tensor), quantize) = (self.input(index)?, self.quantize());
        let bytes = self.arena.get_mut(execute::range(&tensor)).ok_or(Error::NoSuchTensor { index })?;
        transfer::write_bytes(&port, &tensor, bytes, values, quantize)
    }

    /// What makes int8 of many real numbers, where it is there.
    fn quantize(&self) -> Option<transfer::Quantize> {
        let there = self.kernels.kinds.set().has(opcode::Quantize, Form::I8);
        there.then_some(self.kernels.quantize)
    }

    /// Reads output `index` as real numbers in the order of the ONNX shape; whole numbers are
    /// converted.
    ///
    /// # Errors
    /// [`Error::NoSuchTensor`], [`Error::ElementCount`].
    pub fn read_f32(&self, index: usize, values: &mut [f32]) -> Result<(), Error> {
        let (port, tensor) = self.output(index)?;
        transfer::read_f32(&port, &tensor, self.output_bytes(index)?, values)
    }

    /// Reads output `index` as the bytes of an ONNX tensor of the declared type, row-major,
    /// little-endian.
    ///
    /// # Errors
    /// [`Error::NoSuchTensor`], [`Error::ElementCount`] (in bytes).
    pub fn read_bytes(&self, index: usize, values: &mut [u8]) -> Result<(), Error> {
        let (port, tensor) = self.output(index)?;
        transfer::read_bytes(&port, &tensor, self.output_bytes(index)?, values)
    }

    /// Runs all steps.
    ///
    /// # Errors
    /// [`Error::NeedsHost`] when the plan has a step for the ONNX fallback.
    pub fn run(&mut self) -> Result<(), Error> {
        self.run_with(&mut NoHost)
    }

    /// Runs all steps with a host for those that have no native kernel. Behind the last one, outputs that the plan keeps
    /// for the next run become inputs; where a step fails, these stay as they were.
    ///
    /// # Errors
    /// What the host returns; [`Error::CacheFull`] where a decoder has no room for another token.
    #[inline(never)]
    pub fn run_with(&mut self, host: &mut dyn Host) -> Result<(), Error> {
        if let Some(Positions { length, slides: false, .. }) = self.plan.positions()
            && self.position() >= u64::from(length)
        {
            return Err(Error::CacheFull { tokens: length });
        }
        let mut steps = self.plan.steps();
        // Borrowed where it is decoded: a record is large.
        while let Some(record) = &steps.next() {
            execute::step(&self.plan, self.arena, self.kernels, self.team, record, host)?;
            host.after(record, self.arena);
        }
        self.keep_states();
        Ok(())
    }
}
