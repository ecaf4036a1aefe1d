//! The plan: a model compiled to one flat, little-endian file that is read in place.
//!
//! | bytes | content |
//! |---|---|
//! | 0..128 | header: [`Header`] |
//! | … | tensor table, inputs, outputs, steps, metadata table |
//! | … | names, constants (each at a multiple of [`ALIGNMENT`]) |
//!
//! All offsets count from the first byte of the file. The file may lie at any address.

mod records;
pub mod step;
mod step_set;
mod tensor;

use crate::bytes::{Reader, Record, Span, U32s, checksum};
use crate::error::Error;
use crate::kernels::Kernels;
use crate::kinds::Kinds;
pub use step::{Step, StepRecord};
pub(crate) use step_set::Form;
pub use step_set::StepSet;
pub use tensor::{DType, MAX_RANK, Port, Tensor, TensorId};

/// The first four bytes of a plan.
pub const MAGIC: [u8; 4] = *b"CYGN";
/// The version of the format that this runtime reads.
pub const VERSION: u16 = 1;
/// Tensors start at multiples of this in the arena, constants in the file.
pub const ALIGNMENT: usize = 16;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 128;

/// Where the hashed part of a plan begins: behind magic, version, byte order, length and checksum.
pub const CHECKSUM_FROM: usize = 16;

crate::record! {
    /// The header, behind the 16 bytes of magic, version, byte order, length and checksum.
    Header {
        /// Bytes of the arena.
        arena_bytes: u32,
        /// Bytes of the largest set of tensors alive at one step: no arena can be smaller.
        live_bytes: u32,
        /// Number of steps.
        steps: u32,
        /// The step records.
        step_table: Span,
        /// The tensor table.
        tensors: Span,
        /// The inputs.
        inputs: Span,
        /// The outputs.
        outputs: Span,
        /// The metadata table.
        metadata: Span,
        /// Bytes of weights and tables.
        constant_bytes: u32,
    }
}

crate::word_enum! {
    /// What a piece of metadata holds.
    MetadataKind {
        /// The model's name, UTF-8.
        Name = 0,
        /// Label names in the order of output `index`, UTF-8, one per line.
        Labels = 1,
        /// How a picture becomes input `index`: `cygnet_sense::ImageSpec::to_bytes`.
        Image = 2,
        /// How sound becomes input `index`: `cygnet_sense::AudioSpec::to_bytes`.
        Audio = 3,
        /// The model's card, TOML.
        Card = 4,
        /// Why step `index` runs through the fallback, UTF-8.
        FallbackReason = 5,
        /// That a session keeps input `index` from run to run: the number of the output that becomes it, one
        /// little-endian word.
        State = 6,
        /// That input `index` holds the positions of a run's tokens, which a session counts: the tokens that it can keep,
        /// and 1 where the oldest make room for more, two little-endian words.
        Positions = 7,
    }
}

crate::record! {
    /// One entry of the metadata table.
    Metadata {
        /// What it holds.
        kind: MetadataKind,
        /// The input, output or step it belongs to.
        index: u32,
        /// The bytes.
        data: Span,
    }
}

/// How a session counts the tokens that it has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Positions {
    /// The number of the input that holds the positions of a run's tokens, int64.
    pub input: usize,
    /// Tokens whose keys and values it can keep.
    pub length: u32,
    /// Whether the oldest make room where there are more.
    pub slides: bool,
}

/// A verified plan, borrowed from its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'p> {
    bytes: &'p [u8],
    header: Header,
    kinds: &'static Kinds,
}

impl<'p> Plan<'p> {
    /// Reads and verifies a plan. Bytes behind the end that the header names are left alone.
    ///
    /// # Errors
    /// [`Error`] when the bytes are not a plan, damaged, of another version, or break a rule that
    /// makes running them safe: see the crate's verifier.
    pub fn parse(bytes: &'p [u8]) -> Result<Self, Error> {
        Self::read(bytes, Kernels::every_kind())
    }

    /// As [`Self::parse`], for firmware, which runs the plan with `kernels`: steps of other kinds than theirs are refused,
    /// and what knows of those is not linked.
    ///
    /// # Errors
    /// As [`Self::parse`], and [`Error::NoKernel`].
    pub fn parse_with(bytes: &'p [u8], kernels: &'static Kernels) -> Result<Self, Error> {
        Self::read(bytes, &kernels.kinds)
    }

    #[inline(never)]
    fn read(bytes: &'p [u8], kinds: &'static Kinds) -> Result<Self, Error> {
        let start = bytes.get(..HEADER_BYTES).ok_or(Error::NotAPlan)?;
        if start[..4] != MAGIC || start[6..8] != [0xff, 0xfe] {
            return Err(Error::NotAPlan);
        }
        let version = u16::from_le_bytes([start[4], start[5]]);
        if version != VERSION {
            return Err(Error::Version { found: version });
        }
        let mut reader = Reader::new(&start[8..]);
        let length = reader.word().ok_or(Error::NotAPlan)?;
        let sum = reader.word().ok_or(Error::NotAPlan)?;
        let file = bytes
            .get(..length as usize)
            .filter(|file| file.len() >= HEADER_BYTES && file.len() < i32::MAX as usize)
            .ok_or(Error::Length { expected: length, found: bytes.len() })?;
        if checksum(&file[CHECKSUM_FROM..]) != sum {
            return Err(Error::Checksum);
        }
        let header = Header::decode(&mut reader).ok_or(Error::NotAPlan)?;
        let plan = Self { bytes: file, header, kinds };
        crate::verify::verify(&plan)?;
        Ok(plan)
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The whole file.
    #[must_use]
    pub fn bytes(&self) -> &'p [u8] {
        self.bytes
    }

    /// What [`Self::arena_bytes`] will say of the plan in `bytes`, for the length of an [`crate::Arena`] in firmware; 0
    /// when the bytes are no plan. Can be called in a constant.
    #[must_use]
    pub const fn arena_bytes_of(bytes: &[u8]) -> usize {
        match (step_set::word(bytes, 0), step_set::word(bytes, CHECKSUM_FROM)) {
            (Some(magic), Some(arena_bytes)) if magic == u32::from_le_bytes(MAGIC) as usize => arena_bytes,
            _ => 0,
        }
    }

    /// What [`Self::metadata_of`] will say of the plan in `bytes`; `None` also when the bytes are no plan. Can be called in
    /// a constant.
    #[must_use]
    pub const fn metadata_in(bytes: &[u8], kind: MetadataKind, index: u32) -> Option<&[u8]> {
        // The header's fourth span, behind `arena_bytes`, `live_bytes` and `steps`; an entry has four words.
        const METADATA: usize = CHECKSUM_FROM + 4 * 3 + 8 * 4;
        let (Some(start), Some(len)) = (step_set::word(bytes, METADATA), step_set::word(bytes, METADATA + 4)) else {
            return None;
        };
        let mut at = start;
        while at < start.saturating_add(len) {
            let (Some(found), Some(of)) = (step_set::word(bytes, at), step_set::word(bytes, at.saturating_add(4)))
            else {
                return None;
            };
            if found == kind as usize && of == index as usize {
                let (Some(from), Some(len)) =
                    (step_set::word(bytes, at.saturating_add(8)), step_set::word(bytes, at.saturating_add(12)))
                else {
                    return None;
                };
                let Some((_, rest)) = bytes.split_at_checked(from) else { return None };
                return match rest.split_at_checked(len) {
                    Some((data, _)) => Some(data),
                    None => None,
                };
            }
            at = at.saturating_add(4 * Metadata::WORDS);
        }
        None
    }

    /// Bytes of arena that a [`crate::Session`] needs.
    #[must_use]
    pub fn arena_bytes(&self) -> usize {
        self.header.arena_bytes as usize
    }

    /// The bytes of a span, empty when it leaves the file (the verifier has checked those of steps).
    #[must_use]
    #[inline]
    pub fn constant(&self, span: Span) -> &'p [u8] {
        span.of(self.bytes).unwrap_or(&[])
    }

    /// The text of a span; empty when it is not UTF-8.
    #[must_use]
    pub fn text(&self, span: Span) -> &'p str {
        core::str::from_utf8(self.constant(span)).unwrap_or("")
    }

    #[inline]
    fn entry<T: Record>(&self, table: Span, index: usize) -> Option<T> {
        let table = table.of(self.bytes)?;
        let start = index.checked_mul(T::WORDS * 4)?;
        T::decode(&mut Reader::new(table.get(start..start.checked_add(T::WORDS * 4)?)?))
    }

    /// Whether a [`crate::Team`] that cuts steps of so much work at least has something to do; see
    /// [`crate::kernels::Kernels::least_work`].
    #[must_use]
    pub fn suits_teams(&self, least_work: u64) -> bool {
        self.steps().any(|record| crate::team::pays(&record.step, least_work))
    }

    /// What is known of the kinds of its steps.
    pub(crate) fn kinds(&self) -> &'static Kinds {
        self.kinds
    }

    /// The first step whose kind is not in `set`.
    pub(crate) fn outside(&self, set: StepSet) -> Option<u32> {
        let form = |step: &Step| Form::of(step.deciding_tensor().and_then(|id| self.tensor(id)).map(|t| t.dtype));
        let inside = |step: &Step| set.has(step.opcode() as usize, form(step));
        (set != StepSet::ALL).then(|| self.steps().find(|record| !inside(&record.step)))?.map(|record| record.index)
    }

    /// Bytes of room that a thread of a [`crate::Team`] needs, at any address: the most that a step takes as scratch, and
    /// some more where its elements are of several bytes.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        let mut most = 0;
        for record in self.steps() {
            record.step.visit_tensors(&mut |id, access| {
                if access == step::Access::Scratch {
                    let odd = |tensor: &Tensor| tensor.dtype.bytes() - 1;
                    most = most.max(self.tensor(id).map_or(0, |tensor| tensor.bytes() + odd(&tensor)));
                }
            });
        }
        most
    }

    /// Number of tensors in the table.
    #[must_use]
    pub fn tensor_count(&self) -> usize {
        self.header.tensors.len as usize / (Tensor::WORDS * 4)
    }

    /// A tensor of the table.
    #[must_use]
    #[cfg_attr(target_os = "none", inline(never))]
    #[cfg_attr(not(target_os = "none"), inline)]
    pub fn tensor(&self, id: TensorId) -> Option<Tensor> {
        self.entry(self.header.tensors, id.0 as usize)
    }

    /// The tensors in order.
    pub fn tensors(&self) -> impl Iterator<Item = Tensor> + use<'p> {
        let plan = *self;
        (0..self.tensor_count()).filter_map(move |index| plan.tensor(TensorId(index as u32)))
    }

    /// Number of inputs.
    #[must_use]
    pub fn input_count(&self) -> usize {
        self.header.inputs.len as usize / (Port::WORDS * 4)
    }

    /// Number of outputs.
    #[must_use]
    pub fn output_count(&self) -> usize {
        self.header.outputs.len as usize / (Port::WORDS * 4)
    }

    /// Input `index`.
    #[must_use]
    #[inline(never)]
    pub fn input(&self, index: usize) -> Option<Port> {
        self.entry(self.header.inputs, index)
    }

    /// Output `index`.
    #[must_use]
    #[inline(never)]
    pub fn output(&self, index: usize) -> Option<Port> {
        self.entry(self.header.outputs, index)
    }

    /// The inputs in order.
    pub fn inputs(&self) -> impl Iterator<Item = Port> + use<'p> {
        let plan = *self;
        (0..self.input_count()).filter_map(move |index| plan.input(index))
    }

    /// The outputs in order.
    pub fn outputs(&self) -> impl Iterator<Item = Port> + use<'p> {
        let plan = *self;
        (0..self.output_count()).filter_map(move |index| plan.output(index))
    }

    /// The steps in the order in which they run; ends early at a record that cannot be read, which
    /// the verifier refuses.
    #[must_use]
    pub fn steps(&self) -> step::Steps<'p> {
        step::Steps::new(self.kinds, self.constant(self.header.step_table))
    }

    /// Whether the last step that changes the values of an output is a softmax (not its logarithm).
    #[must_use]
    pub fn ends_in_softmax(&self, output: usize) -> bool {
        let Some(port) = self.output(output) else { return false };
        let (mut wanted, mut end) = (port.tensor, u32::MAX);
        loop {
            // The last step before `end` that writes the wanted tensor, and what it reads.
            let mut last = None;
            for record in self.steps().take_while(|record| record.index < end) {
                let (mut reads, mut writes) = (None, false);
                record.step.visit_tensors(&mut |id, access| match access {
                    step::Access::Read => reads = Some(id),
                    step::Access::Write => writes |= id == wanted,
                    step::Access::Scratch => {}
                });
                if writes {
                    last = Some((record, reads));
                }
            }
            match last {
                Some((record, reads)) => match (record.step, reads) {
                    (Step::Softmax(softmax), _) => return softmax.log == 0,
                    (Step::Dequantize(_) | Step::Quantize(_) | Step::Copy(_), Some(from)) => {
                        (wanted, end) = (from, record.index);
                    }
                    _ => return false,
                },
                None => return false,
            }
        }
    }

    /// The metadata entries in order.
    pub fn metadata(&self) -> impl Iterator<Item = Metadata> + use<'p> {
        let plan = *self;
        let count = self.header.metadata.len as usize / (Metadata::WORDS * 4);
        (0..count).filter_map(move |index| plan.entry(plan.header.metadata, index))
    }

    /// The bytes of the first metadata entry of a kind for an index.
    #[must_use]
    pub fn metadata_of(&self, kind: MetadataKind, index: u32) -> Option<&'p [u8]> {
        self.metadata().find(|entry| entry.kind == kind && entry.index == index).map(|entry| self.constant(entry.data))
    }

    /// What a session keeps from run to run: an input and the output that becomes it, by number.
    pub fn states(&self) -> impl Iterator<Item = (usize, usize)> + use<'p> {
        let plan = *self;
        let pair = move |entry: Metadata| {
            let output = U32s::new(plan.constant(entry.data)).get(0);
            (entry.kind == MetadataKind::State).then_some((entry.index as usize, output as usize))
        };
        self.metadata().filter_map(pair)
    }

    /// The positions of tokens that a session counts, where the plan is a decoder's.
    #[must_use]
    pub fn positions(&self) -> Option<Positions> {
        let entry = self.metadata().find(|entry| entry.kind == MetadataKind::Positions)?;
        let words = U32s::new(self.constant(entry.data));
        Some(Positions { input: entry.index as usize, length: words.get(0), slides: words.get(1) == 1 })
    }

    /// Whether a session keeps input `index` from run to run.
    #[must_use]
    pub fn is_state(&self, index: usize) -> bool {
        self.states().any(|(input, _)| input == index)
            || self.positions().is_some_and(|positions| positions.input == index)
    }

    /// Label names in the order of the first output.
    pub fn labels(&self) -> impl Iterator<Item = &'p str> + use<'p> {
        let text = self.metadata_of(MetadataKind::Labels, 0).unwrap_or_default();
        let lines = text.strip_suffix(b"\n").unwrap_or(text).split(|&byte| byte == b'\n');
        let text_of =
            |line: &'p [u8]| core::str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line)).unwrap_or_default();
        lines.map(text_of).filter(move |_| !text.is_empty())
    }
}
