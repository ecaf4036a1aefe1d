//! The proof, made once when a plan is read, that running it is safe and means something: tables and
//! names inside the file, tensors inside the arena, tensors that live at the same time apart from each
//! other, every tensor written from before it is read, shapes and types of each step consistent,
//! accumulators unable to overflow.
//!
//! A tensor that copies fill piece by piece may have gaps, which this proof does not look for: an element there holds
//! what was in the arena before. Such a plan gives numbers that mean nothing, but reads and writes nowhere else.

pub(crate) mod demands;

use crate::bytes::{Record, Span};
use crate::error::Error;
use crate::plan::step::{Access, StepRecord, opcode};
use crate::plan::{ALIGNMENT, DType, HEADER_BYTES, MAX_RANK, Metadata, Plan, Port, Positions, Tensor, TensorId};

/// Checks a plan whose header has been decoded.
///
/// # Errors
/// The first broken rule.
#[inline(never)]
pub(crate) fn verify(plan: &Plan<'_>) -> Result<(), Error> {
    tables(plan)?;
    for index in 0..plan.tensor_count() as u32 {
        check_tensor(plan, index).map_err(|rule| Error::Tensor { index, rule })?;
    }
    for index in 0..plan.input_count() {
        check_port(plan, plan.input(index).as_ref(), |tensor, _| tensor.first == 0)?;
    }
    for index in 0..plan.output_count() {
        check_port(plan, plan.output(index).as_ref(), |tensor, end| tensor.last == end)?;
    }
    steps(plan)?;
    for (input, output) in plan.states() {
        state(plan, input, output)?;
    }
    if let Some(positions) = plan.positions() {
        check_positions(plan, positions)?;
    }
    disjoint(plan)
}

/// Checks that the positions of tokens are whole numbers that stay where they are from run to run.
#[inline(never)]
fn check_positions(plan: &Plan<'_>, positions: Positions) -> Result<(), Error> {
    let Some(port) = plan.input(positions.input) else { return Err(Error::Table { what: "positions" }) };
    let rule = |rule| Error::Tensor { index: port.tensor.0, rule };
    let Some(tensor) = plan.tensor(port.tensor) else { return Err(rule("it holds positions, but it is not there")) };
    if tensor.dtype != DType::I64 || tensor.last != plan.header().steps.saturating_add(1) {
        return Err(rule("it holds positions, but no whole numbers that are kept"));
    }
    Ok(())
}

/// Checks that the bytes of an output can become those of an input when all has run: the input's place is its own to the
/// end, and no such output is such an input itself.
#[inline(never)]
fn state(plan: &Plan<'_>, input: usize, output: usize) -> Result<(), Error> {
    let (Some(to), Some(from)) = (plan.input(input), plan.output(output)) else {
        return Err(Error::Table { what: "states" });
    };
    let rule = |rule| Error::Tensor { index: to.tensor.0, rule };
    let (Some(x), Some(y)) = (plan.tensor(to.tensor), plan.tensor(from.tensor)) else {
        return Err(rule("it is kept between runs, but it is not there"));
    };
    let same = x.dtype == y.dtype && x.scale == y.scale && x.zero_point == y.zero_point && x.bytes() == y.bytes();
    if !same || to.dims() != from.dims() || to.order != from.order {
        return Err(rule("it is kept between runs, but the output for it has another form"));
    }
    if x.last != plan.header().steps.saturating_add(1) {
        return Err(rule("it is kept between runs, but its place is not"));
    }
    if from.tensor == to.tensor {
        // Written where it stays.
        return Ok(());
    }
    let is_input = |tensor| (0..plan.input_count()).any(|index| plan.input(index).is_some_and(|p| p.tensor == tensor));
    let times = plan.states().filter(|&(other, _)| plan.input(other).is_some_and(|p| p.tensor == to.tensor)).count();
    if is_input(from.tensor) || times != 1 {
        return Err(rule("it is kept between runs, but what becomes it is an input, or not the only one"));
    }
    Ok(())
}

#[inline(never)]
fn tables(plan: &Plan<'_>) -> Result<(), Error> {
    let header = plan.header();
    let table = |span: Span, words: usize, what: &'static str| {
        let inside = span.of(plan.bytes()).is_some() && span.offset as usize >= HEADER_BYTES;
        let whole = span.offset.is_multiple_of(4) && (span.len as usize).is_multiple_of(words * 4);
        (inside && whole).then_some(()).ok_or(Error::Table { what })
    };
    table(header.tensors, Tensor::WORDS, "tensor table")?;
    table(header.inputs, Port::WORDS, "input table")?;
    table(header.outputs, Port::WORDS, "output table")?;
    table(header.step_table, 1, "step table")?;
    table(header.metadata, Metadata::WORDS, "metadata table")?;
    if plan.metadata().count() != header.metadata.len as usize / (Metadata::WORDS * 4)
        || plan.metadata().any(|entry| entry.data.of(plan.bytes()).is_none())
    {
        return Err(Error::Table { what: "metadata" });
    }
    for index in 0..plan.tensor_count() as u32 {
        plan.tensor(TensorId(index)).ok_or(Error::Table { what: "tensor table" })?;
    }
    for index in 0..plan.input_count() {
        plan.input(index).ok_or(Error::Table { what: "input table" })?;
    }
    for index in 0..plan.output_count() {
        plan.output(index).ok_or(Error::Table { what: "output table" })?;
    }
    Ok(())
}

/// The product of `dims` when it is below 2³¹.
#[inline(never)]
pub(crate) fn product(dims: &[u32]) -> Option<usize> {
    let mut product = 1_u64;
    for &dim in dims {
        product = product.checked_mul(u64::from(dim)).filter(|&value| value < 1 << 31)?;
    }
    usize::try_from(product).ok()
}

#[inline(never)]
fn check_tensor(plan: &Plan<'_>, index: u32) -> Result<(), &'static str> {
    let Some(tensor) = &plan.tensor(TensorId(index)) else { return Err("its entry cannot be read") };
    if tensor.rank as usize > MAX_RANK || tensor.shape[tensor.dims().len()..].iter().any(|&dim| dim != 1) {
        return Err("its rank is too great");
    }
    let bytes = product(&tensor.shape)
        .and_then(|len| len.checked_mul(tensor.dtype.bytes()))
        .ok_or("it has too many elements")?;
    if bytes == 0 {
        return Err("it has no element");
    }
    if !(tensor.offset as usize).is_multiple_of(ALIGNMENT) {
        return Err("it is not aligned");
    }
    let end = (tensor.offset as usize).checked_add(bytes).ok_or("it lies outside the arena")?;
    if end > plan.arena_bytes() {
        return Err("it lies outside the arena");
    }
    let points = if tensor.dtype == DType::I16 { -32768..=32767 } else { -128..=127 };
    if !(tensor.scale.is_finite() && tensor.scale > 0.0 && points.contains(&tensor.zero_point)) {
        return Err("its scale or zero point is not usable");
    }
    if tensor.first > tensor.last || tensor.last > plan.header().steps.saturating_add(1) {
        return Err("its lifetime is not usable");
    }
    if tensor.name.of(plan.bytes()).is_none() {
        return Err("its name lies outside the file");
    }
    Ok(())
}

/// Checks an input or output; `lives` says whether its tensor does as long as it must.
#[inline(never)]
fn check_port(plan: &Plan<'_>, port: Option<&Port>, lives: fn(&Tensor, u32) -> bool) -> Result<(), Error> {
    let port = port.ok_or(Error::Table { what: "inputs and outputs" })?;
    let rule = |rule| Error::Tensor { index: port.tensor.0, rule };
    let Some(tensor) = &plan.tensor(port.tensor) else {
        return Err(rule("an input or output names it, but it is not there"));
    };
    let mut seen = [false; MAX_RANK];
    let rank = port.rank as usize;
    if rank > MAX_RANK || product(port.dims()) != Some(tensor.len()) {
        return Err(rule("an input or output has another number of elements"));
    }
    for &axis in port.order.iter().take(rank) {
        match seen.get_mut(axis as usize) {
            Some(seen) if !*seen && (axis as usize) < rank => *seen = true,
            _ => return Err(rule("an input or output has no usable order of axes")),
        }
    }
    if port.name.of(plan.bytes()).is_none() {
        return Err(rule("the name of an input or output lies outside the file"));
    }
    use crate::plan::DType::{F32, I8, I16, U8};
    if port.dtype != tensor.dtype && !matches!((tensor.dtype, port.dtype), (I8, F32 | U8) | (I16, F32)) {
        return Err(rule("an input or output has a type that cannot be converted"));
    }
    if !lives(tensor, plan.header().steps.saturating_add(1)) {
        return Err(rule("an input or output does not live long enough"));
    }
    Ok(())
}

/// Checks what a step does to its tensors against their lifetimes. Gives the number of those whose first time it is and
/// which it writes.
#[inline(never)]
fn lifetimes(plan: &Plan<'_>, record: &StepRecord) -> Result<usize, &'static str> {
    let time = record.index + 1;
    let (mut broken, mut begun) = (None, 0);
    record.step.visit_tensors(&mut |id, access| {
        if access != Access::Read {
            let mut visits = 0;
            record.step.visit_tensors(&mut |other, _| visits += u32::from(other == id));
            if visits != 1 {
                broken = broken.or(Some("it writes a tensor that it uses twice"));
            }
            begun += usize::from(plan.tensor(id).is_some_and(|tensor| tensor.first == time));
        }
        let rule = match (&plan.tensor(id), access) {
            (None, _) => Some("it names a tensor that is not there"),
            (Some(t), Access::Read) if t.first >= time || t.last < time => {
                Some("it reads a tensor outside its lifetime")
            }
            (Some(t), Access::Write) if t.first > time || t.last < time => {
                Some("it writes a tensor outside its lifetime")
            }
            (Some(t), Access::Scratch) if t.first != time || t.last != time => {
                Some("its scratch lives longer than the step")
            }
            _ => None,
        };
        broken = broken.or(rule);
    });
    broken.map_or(Ok(begun), Err)
}

#[inline(never)]
fn steps(plan: &Plan<'_>) -> Result<(), Error> {
    let mut steps = plan.steps();
    let mut count = 0;
    // Tensors that the step of their first time writes: in the end all that are no inputs.
    let mut begun = 0;
    while let Some(record) = &steps.next() {
        let index = record.index;
        let rule = |rule| Error::Step { index, rule };
        begun += lifetimes(plan, record).map_err(rule)?;
        if record.name.of(plan.bytes()).is_none() {
            return Err(rule("its name lies outside the file"));
        }
        plan.kinds().demand(&record.step)(plan, &record.step).map_err(rule)?;
        count += 1;
    }
    let opcode = steps.opcode();
    if (1..opcode::COUNT).contains(&opcode) && !plan.kinds().set().has_any(opcode) {
        return Err(Error::NoKernel { step: count });
    }
    if steps.remaining_bytes() != 0 || count != plan.header().steps {
        return Err(Error::Table { what: "step table" });
    }
    let mut written = 0;
    for index in 0..plan.tensor_count() as u32 {
        if plan.tensor(TensorId(index)).is_some_and(|tensor| tensor.first > 0) {
            written += 1;
        } else if !(0..plan.input_count()).any(|port| plan.input(port).is_some_and(|port| port.tensor.0 == index)) {
            return Err(Error::Tensor { index, rule: "nothing writes it" });
        }
    }
    if begun != written {
        return Err(Error::Table { what: "order of the steps" });
    }
    Ok(())
}

/// Tensors that live at the same time are apart, but for an output in the place of an input that
/// ends at the same step, where the step allows it.
#[inline(never)]
fn disjoint(plan: &Plan<'_>) -> Result<(), Error> {
    let count = plan.tensor_count() as u32;
    for index in 0..count {
        let Some(tensor) = Extent::of(plan, index) else { continue };
        for other_index in index + 1..count {
            let Some(other) = Extent::of(plan, other_index) else { continue };
            let apart_in_time = tensor.last < other.first || other.last < tensor.first;
            let apart_in_space = tensor.end <= other.start || other.end <= tensor.start;
            if apart_in_time || apart_in_space {
                continue;
            }
            let same_place = tensor.start == other.start && tensor.end == other.end;
            let (time, input) = if tensor.last == other.first {
                (tensor.last, index)
            } else if other.last == tensor.first {
                (other.last, other_index)
            } else {
                (0, 0)
            };
            let allowed = same_place && time > 0 && replaces(plan, time as usize - 1, TensorId(input));
            if !allowed {
                return Err(Error::Tensor { index: other_index, rule: "it overlaps a tensor that is alive" });
            }
        }
    }
    Ok(())
}

/// Whether the output of a step may take the place of its input `x`.
#[inline(never)]
fn replaces(plan: &Plan<'_>, step: usize, x: TensorId) -> bool {
    plan.steps().nth(step).is_some_and(|record| record.step.may_replace(x))
}

/// What a tensor takes of the arena, and when.
struct Extent {
    start: usize,
    end: usize,
    first: u32,
    last: u32,
}

impl Extent {
    #[inline(never)]
    fn of(plan: &Plan<'_>, index: u32) -> Option<Self> {
        let tensor = &plan.tensor(TensorId(index))?;
        let start = tensor.offset as usize;
        Some(Self { start, end: start.saturating_add(tensor.bytes()), first: tensor.first, last: tensor.last })
    }
}
