//! The proof, made once when a plan is read, that running it is safe and means something: tables and
//! names inside the file, tensors inside the arena, tensors that live at the same time apart from each
//! other, every value written before it is read, shapes and types of each step consistent,
//! accumulators unable to overflow.

mod shapes;

use crate::bytes::{Record, Span};
use crate::error::Error;
use crate::plan::step::Access;
use crate::plan::{ALIGNMENT, HEADER_BYTES, MAX_RANK, Metadata, Plan, Port, Tensor, TensorId};

/// Checks a plan whose header has been decoded.
///
/// # Errors
/// The first broken rule.
#[inline(never)]
pub(crate) fn verify(plan: &Plan<'_>) -> Result<(), Error> {
    tables(plan)?;
    for (index, tensor) in plan.tensors().enumerate() {
        check_tensor(plan, &tensor).map_err(|rule| Error::Tensor { index: index as u32, rule })?;
    }
    ports(plan)?;
    steps(plan)?;
    disjoint(plan)
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
    if plan.tensors().count() != plan.tensor_count() {
        return Err(Error::Table { what: "tensor table" });
    }
    if plan.inputs().count() != plan.input_count() {
        return Err(Error::Table { what: "input table" });
    }
    if plan.outputs().count() != plan.output_count() {
        return Err(Error::Table { what: "output table" });
    }
    Ok(())
}

/// The product of `dims` when it is below 2³¹.
pub(crate) fn product(dims: impl IntoIterator<Item = u32>) -> Option<usize> {
    let mut product = 1_u64;
    for dim in dims {
        product = product.checked_mul(u64::from(dim)).filter(|&value| value < 1 << 31)?;
    }
    usize::try_from(product).ok()
}

#[inline(never)]
fn check_tensor(plan: &Plan<'_>, tensor: &Tensor) -> Result<(), &'static str> {
    if tensor.rank as usize > MAX_RANK || tensor.shape[tensor.dims().len()..].iter().any(|&dim| dim != 1) {
        return Err("its rank is too great");
    }
    let bytes = product(tensor.shape)
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
    if !(tensor.scale.is_finite() && tensor.scale > 0.0 && (-128..=127).contains(&tensor.zero_point)) {
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

#[inline(never)]
fn ports(plan: &Plan<'_>) -> Result<(), Error> {
    let end = plan.header().steps.saturating_add(1);
    for (port, is_input) in plan.inputs().map(|port| (port, true)).chain(plan.outputs().map(|port| (port, false))) {
        let index = port.tensor.0;
        let rule = |rule| Error::Tensor { index, rule };
        let tensor = plan.tensor(port.tensor).ok_or(rule("an input or output names it, but it is not there"))?;
        let mut seen = [false; MAX_RANK];
        let rank = port.rank as usize;
        if rank > MAX_RANK || product(port.dims().iter().copied()) != Some(tensor.len()) {
            return Err(rule("an input or output has another number of elements"));
        }
        for &axis in &port.order[..rank] {
            match seen[..rank].get_mut(axis as usize) {
                Some(seen) if !*seen => *seen = true,
                _ => return Err(rule("an input or output has no usable order of axes")),
            }
        }
        if port.name.of(plan.bytes()).is_none() {
            return Err(rule("the name of an input or output lies outside the file"));
        }
        use crate::plan::DType::{F32, I8, U8};
        if port.dtype != tensor.dtype && !(tensor.dtype == I8 && matches!(port.dtype, F32 | U8)) {
            return Err(rule("an input or output has a type that cannot be converted"));
        }
        if is_input && tensor.first != 0 || !is_input && tensor.last != end {
            return Err(rule("an input or output does not live long enough"));
        }
    }
    Ok(())
}

#[inline(never)]
fn steps(plan: &Plan<'_>) -> Result<(), Error> {
    let mut steps = plan.steps();
    let mut count = 0;
    // Tensors that the step of their first time writes: in the end all that are no inputs.
    let mut begun = 0;
    for record in steps.by_ref() {
        let index = record.index;
        let time = index + 1;
        let mut broken = None;
        record.step.visit_tensors(&mut |id, access| {
            if access != Access::Read {
                let mut visits = 0;
                record.step.visit_tensors(&mut |other, _| visits += u32::from(other == id));
                if visits != 1 {
                    broken = broken.or(Some("it writes a tensor that it uses twice"));
                }
                begun += usize::from(plan.tensor(id).is_some_and(|tensor| tensor.first == time));
            }
            let rule = match (plan.tensor(id), access) {
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
        if let Some(rule) = broken {
            return Err(Error::Step { index, rule });
        }
        if record.name.of(plan.bytes()).is_none() {
            return Err(Error::Step { index, rule: "its name lies outside the file" });
        }
        shapes::check(plan, &record.step).map_err(|rule| Error::Step { index, rule })?;
        count += 1;
    }
    if steps.remaining_bytes() != 0 || count != plan.header().steps {
        return Err(Error::Table { what: "step table" });
    }
    for (index, tensor) in plan.tensors().enumerate() {
        let index = index as u32;
        if tensor.first == 0 && !plan.inputs().any(|port| port.tensor.0 == index) {
            return Err(Error::Tensor { index, rule: "nothing writes it" });
        }
    }
    if begun != plan.tensors().filter(|tensor| tensor.first > 0).count() {
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
        let Some(tensor) = plan.tensor(TensorId(index)) else { continue };
        for other_index in index + 1..count {
            let Some(other) = plan.tensor(TensorId(other_index)) else { continue };
            let apart_in_time = tensor.last < other.first || other.last < tensor.first;
            let start = tensor.offset as usize;
            let other_start = other.offset as usize;
            let apart_in_space = start + tensor.bytes() <= other_start || other_start + other.bytes() <= start;
            if apart_in_time || apart_in_space {
                continue;
            }
            let same_place = start == other_start && tensor.bytes() == other.bytes();
            let (time, input) = if tensor.last == other.first {
                (tensor.last, index)
            } else if other.last == tensor.first {
                (other.last, other_index)
            } else {
                (0, 0)
            };
            let allowed = same_place
                && time > 0
                && plan.steps().nth(time as usize - 1).is_some_and(|record| record.step.may_replace(TensorId(input)));
            if !allowed {
                return Err(Error::Tensor { index: other_index, rule: "it overlaps a tensor that is alive" });
            }
        }
    }
    Ok(())
}
