//! Convolutions in float and of int16.

use super::executors::executors;
use super::{Channels, Context};
use crate::bytes::{F32s, I32s, I64s};
use crate::error::Error;
use crate::kernels::view::{f32s, f32s_mut, i8s_mut, i16s, i16s_mut};
use crate::kernels::{Bias, ConvF32Args, ConvI16Args, ConvI16Output};
use crate::plan::DType;
use crate::plan::step::ConvI16;
use crate::quantization::{Target, TargetI16};
use crate::team;

executors! {
    partial_conv_i8(context, s: PartialConvI8) {
        context.conv_i8(&s.conv, Channels { first: s.first, all: s.channels }, true, context.kernels.conv_i8)?;
    }
    conv_f32(context, s: ConvF32) {
        let (plan, team, kernel) = (context.plan, context.team, context.kernels.conv_f32);
        let (_, _, x, y) = context.pair(s.x, s.y)?;
        let (weights, bias) = (F32s::new(plan.constant(s.weights)), F32s::new(plan.constant(s.bias)));
        let (x, y) = (f32s(x), f32s_mut(y));
        let args = ConvF32Args { window: &s.window, x, y, weights, bias, low: s.low, high: s.high };
        team::conv_f32(team, true, args, kernel);
    }
    depthwise_f32(context, s: DepthwiseF32) {
        let (plan, team, kernel) = (context.plan, context.team, context.kernels.depthwise_f32);
        let (_, _, x, y) = context.pair(s.x, s.y)?;
        let (weights, bias) = (F32s::new(plan.constant(s.weights)), F32s::new(plan.constant(s.bias)));
        let (x, y) = (f32s(x), f32s_mut(y));
        let args = ConvF32Args { window: &s.window, x, y, weights, bias, low: s.low, high: s.high };
        team::conv_f32(team, false, args, kernel);
    }
    conv_i16(context, s: ConvI16) {
        context.conv_i16(s, true, context.kernels.i16.conv)?;
    }
    depthwise_i16(context, s: DepthwiseI16) {
        context.conv_i16(s, false, context.kernels.i16.depthwise)?;
    }
}

impl Context<'_, '_> {
    fn conv_i16(&mut self, s: &ConvI16, dense: bool, kernel: fn(ConvI16Args<'_>)) -> Result<(), Error> {
        let (team, plan, refused) = (self.team, self.plan, self.refused());
        let (x, y) = (self.tensor(s.x)?, self.tensor(s.y)?);
        let scratch = match s.scratch {
            Some(id) => self.tensor(id)?.range,
            None => 0..0,
        };
        let [x_bytes, y_bytes, scratch] =
            self.arena.get_disjoint_mut([x.range.clone(), y.range.clone(), scratch]).map_err(|_| refused)?;
        let bias = plan.constant(s.bias);
        let args = ConvI16Args {
            window: &s.window,
            x: i16s(x_bytes),
            x_zero_point: x.zero_point as i16,
            y: match y.dtype {
                DType::F32 => ConvI16Output::F32(f32s_mut(y_bytes)),
                DType::I16 => ConvI16Output::I16(i16s_mut(y_bytes), TargetI16::new(y.zero_point, s.low, s.high)),
                _ => ConvI16Output::I8(i8s_mut(y_bytes), Target::new(y.zero_point, s.low, s.high)),
            },
            scratch: i16s_mut(scratch),
            weights: plan.constant(s.weights),
            multipliers: F32s::new(plan.constant(s.multipliers)),
            bias: if s.wide == 0 { Bias::I32(I32s::new(bias)) } else { Bias::I64(I64s::new(bias)) },
        };
        team::conv_i16(team, dense, args, kernel);
        Ok(())
    }
}
