//! The plan as it grows: tensors, steps, constants; and its bytes in the end.

use std::collections::HashMap;

use cygnet_core::bytes::{Record, Span, checksum};
use cygnet_core::plan::step::{Access, IndexedConvI8, PartialConvI8, SparseConvI8, Step};
use cygnet_core::plan::{
    ALIGNMENT, CHECKSUM_FROM, DType, HEADER_BYTES, Header, MAGIC, MAX_RANK, Metadata, MetadataKind, Port, Tensor,
    TensorId, VERSION,
};

use super::CompileError;
use super::memory::{self, Buffer};

/// What kernels read at once where registers are largest. Weights start at a multiple of it in the file, because reads
/// across two cache lines take twice the time; it costs their plans up to 48 bytes each.
const CACHE_LINE: usize = 64;

/// Least bytes of a constant for which that pays.
const LARGE: usize = 512;

/// A tensor before its place is known.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// Type of the elements.
    pub dtype: DType,
    /// Extents in memory order.
    pub shape: Vec<usize>,
    /// Scale and zero point, once known.
    pub quantization: Option<(f32, i32)>,
    /// The ONNX name.
    pub name: String,
}

impl Draft {
    fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bytes()
    }
}

/// A model input or output before it is written.
#[derive(Clone, Debug)]
pub(crate) struct PortDraft {
    pub tensor: TensorId,
    pub dtype: DType,
    pub shape: Vec<usize>,
    pub order: Vec<usize>,
    pub name: String,
}

/// The growing plan.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    pub tensors: Vec<Draft>,
    pub steps: Vec<(Step, String)>,
    pub inputs: Vec<PortDraft>,
    pub outputs: Vec<PortDraft>,
    /// Inputs that are kept between runs and the outputs that become them, by number.
    pub states: Vec<(usize, usize)>,
    /// The input that holds positions, which are counted from run to run.
    pub positions: Option<usize>,
    pub metadata: Vec<(MetadataKind, u32, Vec<u8>)>,
    /// Why a host step is one, by its index among `steps` while they grow.
    pub reasons: Vec<(usize, String)>,
    /// Bytes of weights that could be stored in fewer bits, but that nobody asked for it.
    pub compressible_bytes: usize,
    constants: Vec<u8>,
    known: HashMap<Vec<u8>, Span>,
}

impl Builder {
    /// A new tensor; extents in memory order.
    pub fn tensor(
        &mut self,
        dtype: DType,
        shape: Vec<usize>,
        quantization: Option<(f32, i32)>,
        name: &str,
    ) -> TensorId {
        self.tensors.push(Draft { dtype, shape, quantization, name: name.to_string() });
        TensorId(self.tensors.len() as u32 - 1)
    }

    /// The draft of a tensor.
    pub fn draft(&self, id: TensorId) -> &Draft {
        &self.tensors[id.0 as usize]
    }

    /// Appends a step.
    pub fn step(&mut self, step: Step, name: &str) {
        self.steps.push((step, name.to_string()));
    }

    /// Keeps bytes as a constant, once. Offsets count from the start of the constants until [`Self::finish`].
    pub fn constant(&mut self, bytes: Vec<u8>) -> Span {
        if bytes.is_empty() {
            return Span::NONE;
        }
        if let Some(&span) = self.known.get(&bytes) {
            return span;
        }
        let alignment = if bytes.len() >= LARGE { CACHE_LINE } else { ALIGNMENT };
        self.constants.resize(self.constants.len().next_multiple_of(alignment), 0);
        let span = Span { offset: self.constants.len() as u32, len: bytes.len() as u32 };
        self.constants.extend_from_slice(&bytes);
        self.known.insert(bytes, span);
        span
    }

    /// Keeps f32 values as a constant.
    pub fn constant_f32(&mut self, values: &[f32]) -> Span {
        self.constant(values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    /// Keeps i32 values as a constant.
    pub fn constant_i32(&mut self, values: &[i32]) -> Span {
        self.constant(values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    /// Keeps u32 values as a constant.
    pub fn constant_u32(&mut self, values: &[u32]) -> Span {
        self.constant(values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    /// A tensor for room that only one step uses.
    pub fn scratch(&mut self, bytes: usize, label: &str) -> TensorId {
        self.tensor(DType::I8, vec![bytes], None, &format!("{label}/scratch"))
    }

    /// [`Self::scratch`] of `len` int16 elements.
    pub fn scratch_i16(&mut self, len: usize, label: &str) -> TensorId {
        self.tensor(DType::I16, vec![len], None, &format!("{label}/scratch"))
    }

    /// [`Self::scratch`] of `len` float32 elements.
    pub fn scratch_f32(&mut self, len: usize, label: &str) -> TensorId {
        self.tensor(DType::F32, vec![len], None, &format!("{label}/scratch"))
    }

    /// Drops steps whose results nobody reads, then tensors that no step names.
    pub fn sweep(&mut self) {
        let mut used = vec![false; self.tensors.len()];
        self.outputs.iter().for_each(|port| used[port.tensor.0 as usize] = true);
        let mut keep = vec![false; self.steps.len()];
        for (index, (step, _)) in self.steps.iter().enumerate().rev() {
            let mut wanted = false;
            step.visit_tensors(&mut |id, access| wanted |= access == Access::Write && used[id.0 as usize]);
            if wanted {
                keep[index] = true;
                step.visit_tensors(&mut |id, _| used[id.0 as usize] = true);
            }
        }
        self.inputs.iter().for_each(|port| used[port.tensor.0 as usize] = true);
        let place = |keep: &[bool], index: usize| keep[..index].iter().filter(|&&kept| kept).count();
        let reasons = std::mem::take(&mut self.reasons);
        for (index, reason) in reasons.into_iter().filter(|(index, _)| keep[*index]) {
            let index = place(&keep, index) as u32;
            self.metadata.push((MetadataKind::FallbackReason, index, reason.into_bytes()));
        }
        let mut kept = keep.iter();
        self.steps.retain(|_| *kept.next().unwrap_or(&false));
        let mut numbers = vec![0; self.tensors.len()];
        let mut next = 0;
        for (index, &used) in used.iter().enumerate() {
            numbers[index] = next;
            next += u32::from(used);
        }
        let renumber = |id: &mut TensorId| id.0 = numbers[id.0 as usize];
        let mut flags = used.iter();
        self.tensors.retain(|_| *flags.next().unwrap_or(&false));
        self.steps.iter_mut().for_each(|(step, _)| for_each_id(step, &renumber));
        self.inputs.iter_mut().chain(&mut self.outputs).for_each(|port| renumber(&mut port.tensor));
    }

    /// First and last time of every tensor that a step or port names.
    fn lifetimes(&self) -> Vec<Option<(u32, u32)>> {
        let mut lives: Vec<Option<(u32, u32)>> = vec![None; self.tensors.len()];
        let mut touch = |id: TensorId, time: u32| {
            let life = lives[id.0 as usize].get_or_insert((time, time));
            life.1 = life.1.max(time);
        };
        self.inputs.iter().for_each(|port| touch(port.tensor, 0));
        for (index, (step, _)) in self.steps.iter().enumerate() {
            step.visit_tensors(&mut |id, _| touch(id, index as u32 + 1));
        }
        let end = self.steps.len() as u32 + 1;
        self.outputs.iter().for_each(|port| touch(port.tensor, end));
        let kept = self.states.iter().map(|&(input, _)| input).chain(self.positions);
        kept.for_each(|input| touch(self.inputs[input].tensor, end));
        lives
    }

    /// The tensors as the planner of memory sees them.
    pub fn buffers(&self) -> Vec<Buffer> {
        let lives = self.lifetimes();
        let mut buffers: Vec<Buffer> = self
            .tensors
            .iter()
            .zip(&lives)
            .map(|(draft, life)| {
                let (first, last) = life.unwrap_or_default();
                Buffer { bytes: if life.is_some() { draft.bytes() } else { 0 }, first, last, replaces: None }
            })
            .collect();
        let life = |id: TensorId| lives[id.0 as usize].unwrap_or_default();
        for (index, (step, _)) in self.steps.iter().enumerate() {
            let time = index as u32 + 1;
            let (mut written, mut read) = (None, Vec::new());
            step.visit_tensors(&mut |id, access| match access {
                Access::Write => written = Some(id),
                _ => read.push(id),
            });
            let Some(y) = written.filter(|y| life(*y).0 == time) else { continue };
            let fits = |x: &&TensorId| {
                let same_size = buffers[x.0 as usize].bytes == buffers[y.0 as usize].bytes;
                step.may_replace(**x) && life(**x).1 == time && same_size
            };
            buffers[y.0 as usize].replaces = read.iter().find(fits).map(|id| id.0 as usize);
        }
        buffers
    }

    /// The bytes of the plan; [`Self::sweep`] comes first.
    pub fn finish(self) -> Result<Vec<u8>, CompileError> {
        let lives: Vec<_> = self.lifetimes().into_iter().map(Option::unwrap_or_default).collect();
        let places = memory::place(&self.buffers());
        self.write(&lives, &places)
    }

    fn write(self, lives: &[(u32, u32)], places: &memory::Places) -> Result<Vec<u8>, CompileError> {
        let too_large = || CompileError::Model("the plan would be 2 GiB or larger; use a smaller model".into());
        let metadata_bytes: usize = self.metadata.iter().map(|(_, _, bytes)| bytes.len()).sum();
        let mut records = 0_usize;
        for (step, _) in &self.steps {
            step.encode(Span::NONE, &mut |_| records += 4);
        }
        let tensors_at = HEADER_BYTES;
        let inputs_at = tensors_at + self.tensors.len() * Tensor::WORDS * 4;
        let outputs_at = inputs_at + self.inputs.len() * Port::WORDS * 4;
        let steps_at = outputs_at + self.outputs.len() * Port::WORDS * 4;
        let metadata_at = steps_at + records;
        let names_at = metadata_at + self.metadata.len() * Metadata::WORDS * 4;
        // Names, once each.
        let mut names = Vec::new();
        let mut places_of_names: HashMap<String, Span> = HashMap::new();
        let mut name = |text: &str| {
            *places_of_names.entry(text.to_string()).or_insert_with(|| {
                let span = Span { offset: (names_at + names.len()) as u32, len: text.len() as u32 };
                names.extend_from_slice(text.as_bytes());
                span
            })
        };
        let tensor_names: Vec<Span> = self.tensors.iter().map(|draft| name(&draft.name)).collect();
        let step_names: Vec<Span> = self.steps.iter().map(|(_, text)| name(text)).collect();
        let input_names: Vec<Span> = self.inputs.iter().map(|port| name(&port.name)).collect();
        let output_names: Vec<Span> = self.outputs.iter().map(|port| name(&port.name)).collect();
        let blobs_at = names_at + names.len();
        let constants_at = (blobs_at + metadata_bytes).next_multiple_of(CACHE_LINE);
        let total = constants_at + self.constants.len();
        if total >= i32::MAX as usize || places.arena_bytes >= i32::MAX as usize {
            return Err(too_large());
        }

        let mut out: Vec<u8> = Vec::with_capacity(total);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0xff, 0xfe]);
        out.extend_from_slice(&(total as u32).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        let span = |start: usize, end: usize| Span { offset: start as u32, len: (end - start) as u32 };
        let header = Header {
            arena_bytes: places.arena_bytes as u32,
            live_bytes: places.live_bytes as u32,
            steps: self.steps.len() as u32,
            step_table: span(steps_at, metadata_at),
            tensors: span(tensors_at, inputs_at),
            inputs: span(inputs_at, outputs_at),
            outputs: span(outputs_at, steps_at),
            metadata: span(metadata_at, names_at),
            constant_bytes: self.constants.len() as u32,
        };
        header.encode(&mut words(&mut out));
        out.resize(HEADER_BYTES, 0);
        for (index, draft) in self.tensors.iter().enumerate() {
            let (scale, zero_point) = draft.quantization.unwrap_or((1.0, 0));
            let tensor = Tensor {
                offset: places.offsets[index] as u32,
                dtype: draft.dtype,
                rank: draft.shape.len() as u32,
                shape: padded(&draft.shape, 1),
                scale,
                zero_point,
                first: lives[index].0,
                last: lives[index].1,
                name: tensor_names[index],
            };
            tensor.encode(&mut words(&mut out));
        }
        for (port, name) in self.inputs.iter().zip(&input_names).chain(self.outputs.iter().zip(&output_names)) {
            let record = Port {
                tensor: port.tensor,
                dtype: port.dtype,
                rank: port.shape.len() as u32,
                shape: padded(&port.shape, 1),
                order: padded(&port.order, 0),
                name: *name,
            };
            record.encode(&mut words(&mut out));
        }
        for ((step, _), name) in self.steps.iter().zip(&step_names) {
            let mut step = *step;
            for_each_span(&mut step, &|span| {
                if !span.is_none() {
                    span.offset += constants_at as u32;
                }
            });
            step.encode(*name, &mut words(&mut out));
        }
        let mut blob_at = blobs_at;
        for (kind, index, bytes) in &self.metadata {
            let data = Span { offset: blob_at as u32, len: bytes.len() as u32 };
            Metadata { kind: *kind, index: *index, data }.encode(&mut words(&mut out));
            blob_at += bytes.len();
        }
        out.extend_from_slice(&names);
        self.metadata.iter().for_each(|(_, _, bytes)| out.extend_from_slice(bytes));
        out.resize(constants_at, 0);
        out.extend_from_slice(&self.constants);
        let sum = checksum(&out[CHECKSUM_FROM..]);
        out[12..16].copy_from_slice(&sum.to_le_bytes());
        Ok(out)
    }
}

/// Appends words, little-endian.
fn words(out: &mut Vec<u8>) -> impl FnMut(u32) + '_ {
    |value| out.extend_from_slice(&value.to_le_bytes())
}

/// Extents as the fixed array of a record; a longer list is multiplied into one.
fn padded(values: &[usize], filler: u32) -> [u32; MAX_RANK] {
    let mut out = [filler; MAX_RANK];
    out.iter_mut().zip(values).for_each(|(slot, &value)| *slot = value as u32);
    out
}

/// Calls `change` with every tensor id of a step.
fn for_each_id(step: &mut Step, change: &dyn Fn(&mut TensorId)) {
    let optional = |id: &mut Option<TensorId>| {
        if let Some(id) = id {
            change(id);
        }
    };
    macro_rules! ids {
        ($s:ident: $($field:ident),*) => {{ $(change(&mut $s.$field);)* }};
    }
    match step {
        Step::ConvI8(s) | Step::DepthwiseI8(s) => {
            ids!(s: x, y);
            optional(&mut s.scratch);
        }
        Step::ConvI16(s) | Step::DepthwiseI16(s) => {
            ids!(s: x, y);
            optional(&mut s.scratch);
        }
        Step::PartialConvI8(PartialConvI8 { conv: s, .. })
        | Step::IndexedConvI8(IndexedConvI8 { conv: s, .. })
        | Step::SparseConvI8(SparseConvI8 { conv: s, .. }) => {
            ids!(s: x, y);
            optional(&mut s.scratch);
        }
        Step::ConvF32(s) => ids!(s: x, y),
        Step::DepthwiseF32(s) => ids!(s: x, y),
        Step::MatMul(s) => ids!(s: a, b, y),
        Step::Binary(s) => {
            ids!(s: a, y);
            optional(&mut s.b);
        }
        Step::Table(s) => ids!(s: x, y),
        Step::Unary(s) => ids!(s: x, y),
        Step::Pool(s) => ids!(s: x, y),
        Step::Reduce(s) | Step::ReduceToFloat(s) => ids!(s: x, y),
        Step::Softmax(s) => ids!(s: x, y),
        Step::Copy(s) => {
            ids!(s: y);
            optional(&mut s.x);
        }
        Step::Fill(s) => ids!(s: y),
        Step::Gather(s) => ids!(s: x, y),
        Step::ResizeLinear(s) => ids!(s: x, y),
        Step::RoiAlign(s) => ids!(s: x, boxes, images, y),
        Step::ArgMax(s) => ids!(s: x, y),
        Step::Quantize(s) => ids!(s: x, y),
        Step::Dequantize(s) => ids!(s: x, y),
        Step::Requantize(s) => ids!(s: x, y),
        Step::Cast(s) => ids!(s: x, y),
        Step::Lstm(s) | Step::Gru(s) | Step::Rnn(s) => {
            ids!(s: x, y, state, sums);
            [&mut s.h, &mut s.c, &mut s.y_c].into_iter().for_each(optional);
        }
        Step::Lookup(s) => {
            ids!(s: indices, y);
            optional(&mut s.x);
        }
        Step::Select(s) => {
            ids!(s: condition, y);
            optional(&mut s.a);
            optional(&mut s.b);
        }
        Step::Compare(s) => {
            ids!(s: a, y);
            optional(&mut s.b);
        }
        Step::LayerNorm(s) => {
            ids!(s: x, y);
            optional(&mut s.residual);
        }
        Step::Attention(s) => {
            ids!(s: q, k, v, y, scratch);
            optional(&mut s.mask);
        }
        Step::CachedAttention(s) => {
            ids!(s: positions);
            let s = &mut s.attention;
            ids!(s: q, k, v, y, scratch);
            optional(&mut s.mask);
        }
        Step::CacheRows(s) => ids!(s: x, y, positions),
        Step::QuantizeDynamic(s) => ids!(s: x, y, parameters),
        Step::ConvI8Dynamic(s) => {
            ids!(s: parameters, room);
            let s = &mut s.conv;
            ids!(s: x, y);
            optional(&mut s.scratch);
        }
        Step::HostStep(s) => {
            let named = s.inputs.iter_mut().chain(&mut s.outputs).filter(|id| **id != TensorId::NONE);
            named.for_each(change);
        }
        _ => {}
    }
}

/// Calls `change` with every constant of a step.
fn for_each_span(step: &mut Step, change: &dyn Fn(&mut Span)) {
    macro_rules! spans {
        ($s:ident: $($field:ident),*) => {{ $(change(&mut $s.$field);)* }};
    }
    match step {
        Step::ConvI8(s) | Step::DepthwiseI8(s) => spans!(s: weights, multipliers, bias, weight_zero_points),
        Step::IndexedConvI8(s) => {
            spans!(s: levels, factors);
            let s = &mut s.conv;
            spans!(s: weights, multipliers, bias, weight_zero_points);
        }
        Step::PartialConvI8(PartialConvI8 { conv: s, .. }) | Step::SparseConvI8(SparseConvI8 { conv: s, .. }) => {
            spans!(s: weights, multipliers, bias, weight_zero_points);
        }
        Step::ConvI16(s) | Step::DepthwiseI16(s) => spans!(s: weights, multipliers, bias),
        Step::ConvF32(s) => spans!(s: weights, bias),
        Step::DepthwiseF32(s) => spans!(s: weights, bias),
        Step::Binary(s) => spans!(s: constant),
        Step::Table(s) => spans!(s: table),
        Step::Softmax(s) => spans!(s: table),
        Step::Copy(s) => spans!(s: constant, table),
        Step::Gather(s) => spans!(s: indices),
        Step::ResizeLinear(s) => spans!(s: rows, columns),
        Step::Lstm(s) | Step::Gru(s) | Step::Rnn(s) => spans!(s: weights, multipliers, bias, peepholes),
        Step::Lookup(s) => spans!(s: constant, scales),
        Step::Select(s) => spans!(s: a_constant, b_constant),
        Step::Compare(s) => spans!(s: constant),
        Step::LayerNorm(s) => spans!(s: scale, bias),
        Step::ConvI8Dynamic(s) => {
            spans!(s: offsets);
            let s = &mut s.conv;
            spans!(s: weights, multipliers, bias, weight_zero_points);
        }
        Step::HostStep(s) => spans!(s: model),
        _ => {}
    }
}
