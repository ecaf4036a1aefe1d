//! Steps that move elements.

use super::Context;
use super::executors::executors;
use super::transformer::apart;
use crate::bytes::{I64s, U32s};
use crate::error::Error;
use crate::kernels::portable::{self, movement};
use crate::kernels::view::{f32s, f32s_mut, i8s, i8s_mut, i16s, i16s_mut};
use crate::plan::step::Step;
use crate::quantization::{Target, TargetI16};
use crate::session::Host;

executors! {
    copy(context, s: Copy) {
        let table = context.plan.constant(s.table);
        let refused = context.refused();
        if let Some(x) = s.x {
            let (_, y, x_bytes, y_bytes) = context.pair(x, s.y)?;
            movement::copy(s, x_bytes, y_bytes, y.dtype.bytes(), table);
        } else {
            let y = context.tensor(s.y)?;
            let bytes = context.arena.get_mut(y.range.clone()).ok_or(refused)?;
            movement::copy(s, context.plan.constant(s.constant), bytes, y.dtype.bytes(), table);
        }
    }
    fill(context, s: Fill) {
        let refused = context.refused();
        let y = context.tensor(s.y)?;
        movement::fill(s.value, context.arena.get_mut(y.range.clone()).ok_or(refused)?, y.dtype.bytes());
    }
    gather(context, s: Gather) {
        let indices = U32s::new(context.plan.constant(s.indices));
        let (_, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        movement::gather(s, x_bytes, indices, y_bytes, y.dtype.bytes());
    }
    resize_i8(context, s: ResizeLinear) {
        let plan = context.plan;
        let (rows, columns) = (U32s::new(plan.constant(s.rows)), U32s::new(plan.constant(s.columns)));
        let (x, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        let (values, out) = (i8s(x_bytes), i8s_mut(y_bytes));
        let target = Target::new(y.zero_point, -128, 127);
        let real = |at: usize| values.get(at).map_or(0.0, |&value| (i32::from(value) - x.zero_point) as f32);
        let stored = out.iter_mut().map(|y| move |value: f32| *y = target.store(value * s.multiplier));
        portable::resize_linear(s, rows, columns, real, stored);
    }
    resize_f32(context, s: ResizeLinear) {
        let plan = context.plan;
        let (rows, columns) = (U32s::new(plan.constant(s.rows)), U32s::new(plan.constant(s.columns)));
        let (_, _, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        let (values, out) = (f32s(x_bytes), f32s_mut(y_bytes));
        let real = |at: usize| values.get(at).map_or(0.0, |&value| value);
        portable::resize_linear(s, rows, columns, real, out.iter_mut().map(|y| move |value| *y = value));
    }
    resize_i16(context, s: ResizeLinear) {
        let plan = context.plan;
        let (rows, columns) = (U32s::new(plan.constant(s.rows)), U32s::new(plan.constant(s.columns)));
        let (x, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        let (values, out) = (i16s(x_bytes), i16s_mut(y_bytes));
        let target = TargetI16::whole(y.zero_point);
        let real = |at: usize| values.get(at).map_or(0.0, |&value| (i32::from(value) - x.zero_point) as f32);
        let stored = out.iter_mut().map(|y| move |value: f32| *y = target.store(value * s.multiplier));
        portable::resize_linear(s, rows, columns, real, stored);
    }
}

pub(super) fn roi_align(context: &mut Context<'_, '_>, step: &Step, _: &mut dyn Host) -> Result<(), Error> {
    let Step::RoiAlign(s) = step else { return Err(context.refused()) };
    let (refused, outside) = (context.refused(), Error::IndexOutside { step: context.index });
    let [x, boxes, images, y] = [s.x, s.boxes, s.images, s.y].map(|id| context.tensor(id).map(|place| place.range));
    let (y, _, around) = apart(context.arena, y?, 0..0).ok_or(refused)?;
    let read = |range| around.get(&range).ok_or(refused);
    let (x, boxes, images) = (read(x?)?, read(boxes?)?, read(images?)?);
    let inside = portable::roi_align(s, f32s(x), f32s(boxes), I64s::new(images), f32s_mut(y));
    if inside { Ok(()) } else { Err(outside) }
}
