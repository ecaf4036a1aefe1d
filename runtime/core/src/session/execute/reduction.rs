//! Steps that make one element of many.

use super::executors::executors;
use crate::kernels::portable;
use crate::kernels::view::{f32s, f32s_mut, i8s, i8s_mut, i16s, i16s_mut};
use crate::kernels::{ReduceArgs, ReduceI8Args};
use crate::quantization::{Target, TargetI16};
use crate::team;

executors! {
    pool_i8(context, s: Pool) {
        let (team, kernel) = (context.team, context.kernels.pool_i8);
        let (x, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        let target = Target::new(y.zero_point, -128, 127);
        let (x_zero_point, y) = (x.zero_point, i8s_mut(y_bytes));
        team::pool(team, ReduceI8Args { step: s, x: i8s(x_bytes), x_zero_point, y, target }, kernel);
    }
    pool_f32(context, s: Pool) {
        let kernel = context.kernels.pool_f32;
        let (_, _, x, y) = context.pair(s.x, s.y)?;
        kernel(s, f32s(x), f32s_mut(y));
    }
    pool_i16(context, s: Pool) {
        let (team, kernel) = (context.team, context.kernels.i16.pool);
        let (x, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        let target = TargetI16::whole(y.zero_point);
        let (x_zero_point, y) = (x.zero_point, i16s_mut(y_bytes));
        team::pool(team, ReduceArgs { step: s, x: i16s(x_bytes), x_zero_point, y, target }, kernel);
    }
    reduce_i8(context, s: Reduce) {
        let kernel = context.kernels.reduce_i8;
        let (x, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        let target = Target::new(y.zero_point, -128, 127);
        let (x_zero_point, y) = (x.zero_point, i8s_mut(y_bytes));
        kernel(ReduceI8Args { step: s, x: i8s(x_bytes), x_zero_point, y, target });
    }
    reduce_f32(context, s: Reduce) {
        let (_, _, x, y) = context.pair(s.x, s.y)?;
        portable::reduce_f32(s, f32s(x), f32s_mut(y));
    }
    reduce_i16(context, s: Reduce) {
        let kernel = context.kernels.i16.reduce;
        let (x, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        let target = TargetI16::whole(y.zero_point);
        let (x_zero_point, y) = (x.zero_point, i16s_mut(y_bytes));
        kernel(ReduceArgs { step: s, x: i16s(x_bytes), x_zero_point, y, target });
    }
    reduce_to_float(context, s: ReduceToFloat) {
        let kernel = context.kernels.reduce_to_float;
        let (x, _, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        kernel(s, i8s(x_bytes), x.zero_point, f32s_mut(y_bytes));
    }
    softmax_i8(context, s: Softmax) {
        let (kernel, table) = (context.kernels.softmax_i8, context.plan.constant(s.table));
        let (x, y, x_bytes, y_bytes) = context.pair(s.x, s.y)?;
        let target = Target::new(y.zero_point, -128, 127);
        let (x_zero_point, inverse_scale, y) = (x.zero_point, 1.0 / y.scale, i8s_mut(y_bytes));
        kernel(ReduceI8Args { step: s, x: i8s(x_bytes), x_zero_point, y, target }, table, inverse_scale);
    }
    softmax_f32(context, s: Softmax) {
        let (_, _, x, y) = context.pair(s.x, s.y)?;
        portable::softmax_f32(s, f32s(x), f32s_mut(y));
    }
    arg_max_i8(context, s: ArgMax) {
        let (_, _, x, y) = context.pair(s.x, s.y)?;
        let values = i8s(x);
        portable::arg_max(s, |at| values.get(at).map_or(0.0, |&value| f32::from(value)), y);
    }
    arg_max_f32(context, s: ArgMax) {
        let (_, _, x, y) = context.pair(s.x, s.y)?;
        let values = f32s(x);
        portable::arg_max(s, |at| values.get(at).map_or(0.0, |&value| value), y);
    }
    arg_max_i16(context, s: ArgMax) {
        let (_, _, x, y) = context.pair(s.x, s.y)?;
        let values = i16s(x);
        portable::arg_max(s, |at| values.get(at).map_or(0.0, |&value| f32::from(value)), y);
    }
}
