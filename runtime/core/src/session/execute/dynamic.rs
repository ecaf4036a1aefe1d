//! Steps on int8 whose scale and zero point are found while they run.

use super::Context;
use crate::bytes::{F32s, I32s};
use crate::error::Error;
use crate::kernels::view::{f32s, f32s_mut, i8s, i8s_mut};
use crate::kernels::{ConvI8Args, ConvOutput};
use crate::plan::step::Step;
use crate::quantization::{Target, dynamic_parameters};
use crate::session::Host;
use crate::team;

pub(super) fn quantize(context: &mut Context<'_, '_>, step: &Step, _: &mut dyn Host) -> Result<(), Error> {
    let Step::QuantizeDynamic(s) = step else { return Err(context.refused()) };
    let (kernels, refused) = (context.kernels, context.refused());
    let [x, y, parameters] = [s.x, s.y, s.parameters].map(|id| context.tensor(id).map(|place| place.range));
    let [x, y, parameters] = context.arena.get_disjoint_mut([x?, y?, parameters?]).map_err(|_| refused)?;
    let x = f32s(x);
    let (scale, zero_point) = dynamic_parameters((kernels.extent)(x));
    f32s_mut(parameters).iter_mut().zip([scale, zero_point as f32]).for_each(|(to, from)| *to = from);
    (kernels.quantize)(x, scale, i8s_mut(y), Target::whole(zero_point));
    Ok(())
}

pub(super) fn conv_i8(context: &mut Context<'_, '_>, step: &Step, _: &mut dyn Host) -> Result<(), Error> {
    let Step::ConvI8Dynamic(s) = step else { return Err(context.refused()) };
    let (plan, team, kernel, refused) = (context.plan, context.team, context.kernels.conv_i8, context.refused());
    let [x, y, parameters, room] = [s.conv.x, s.conv.y, s.parameters, s.room].map(|id| context.tensor(id));
    let scratch = match s.conv.scratch {
        Some(id) => context.tensor(id)?.range,
        None => 0..0,
    };
    let ranges = [x?.range, y?.range, parameters?.range, room?.range, scratch];
    let [x, y, parameters, room, scratch] = context.arena.get_disjoint_mut(ranges).map_err(|_| refused)?;
    let [scale, zero_point] = f32s(parameters) else { return Err(refused) };
    // Whole and within a byte's range, as it was written.
    let zero_point = *zero_point as i32;
    let (multipliers, biases) = room.split_at_mut_checked(room.len() / 2).ok_or(refused)?;
    let factors = F32s::new(plan.constant(s.conv.multipliers)).iter();
    multipliers.as_chunks_mut().0.iter_mut().zip(factors).for_each(|(to, factor)| *to = (scale * factor).to_le_bytes());
    let sums = I32s::new(plan.constant(s.conv.bias)).iter();
    let of_sum = |sum: i32| sum.wrapping_mul(zero_point.wrapping_neg());
    biases.as_chunks_mut().0.iter_mut().zip(sums).for_each(|(to, sum)| *to = of_sum(sum).to_le_bytes());
    let y = f32s_mut(y);
    let args = ConvI8Args {
        window: &s.conv.window,
        x: i8s(x),
        x_zero_point: zero_point as i8,
        y: ConvOutput::F32(y),
        y_step: s.conv.window.out_c as usize,
        scratch: i8s_mut(scratch),
        weights: plan.constant(s.conv.weights),
        multipliers: F32s::new(multipliers),
        bias: I32s::new(biases),
        weight_zero_points: I32s::new(plan.constant(s.conv.weight_zero_points)),
        narrow: s.conv.narrow != 0,
    };
    team::conv_i8(team, true, args, kernel);
    let offsets = F32s::new(plan.constant(s.offsets));
    if !offsets.is_empty() {
        for row in y.chunks_exact_mut(offsets.len()) {
            row.iter_mut().zip(offsets.iter()).for_each(|(y, offset)| *y += offset);
        }
    }
    Ok(())
}
