//! Steps without a native kernel: their tensors are handed to the host.

use super::{Context, range};
use crate::error::Error;
use crate::plan::TensorId;
use crate::plan::step::{MAX_HOST_TENSORS, Step};
use crate::session::{Host, HostTensor};

pub(super) fn host(context: &mut Context<'_, '_>, step: &Step, host: &mut dyn Host) -> Result<(), Error> {
    let Step::HostStep(s) = step else { return Err(context.refused()) };
    let refused = context.refused();
    let plan = context.plan;
    let place = |id: TensorId| plan.tensor(id).map(|tensor| range(&tensor));
    let ids = || s.input_ids().chain(s.output_ids());
    // The arena is cut from the front, so the tensors are taken in the order of their places.
    let mut parts: [Option<&mut [u8]>; 2 * MAX_HOST_TENSORS] = [const { None }; 2 * MAX_HOST_TENSORS];
    let (mut rest, mut at) = (&mut *context.arena, 0);
    for _ in ids() {
        let left = ids().zip(&mut parts).filter(|(_, part)| part.is_none());
        let next = left.filter_map(|(id, part)| Some((place(id)?, part))).min_by_key(|(place, _)| place.start);
        let (place, part) = next.ok_or(refused)?;
        let skip = place.start.checked_sub(at).ok_or(refused)?;
        let (_, behind) = rest.split_at_mut_checked(skip).ok_or(refused)?;
        let (bytes, behind) = behind.split_at_mut_checked(place.len()).ok_or(refused)?;
        (rest, at) = (behind, place.end);
        *part = Some(bytes);
    }
    let mut inputs = heapless::Vec::<HostTensor<'_>, MAX_HOST_TENSORS>::new();
    let mut outputs = heapless::Vec::<HostTensor<'_>, MAX_HOST_TENSORS>::new();
    let count = s.input_ids().count();
    for (index, (id, part)) in ids().zip(parts).enumerate() {
        let list = if index < count { &mut inputs } else { &mut outputs };
        let tensor = plan.tensor(id).ok_or(refused)?;
        list.push(HostTensor { tensor, bytes: part.ok_or(refused)? }).map_err(|_| refused)?;
    }
    host.run(context.index, plan.constant(s.model), &mut inputs, &mut outputs)
}
