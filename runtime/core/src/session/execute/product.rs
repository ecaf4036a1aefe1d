//! Products of activations.

use super::executors::executors;
use crate::kernels::portable;
use crate::kernels::view::{f32s, f32s_mut, i8s, i8s_mut, i16s, i16s_mut};
use crate::quantization::{Target, TargetI16};

executors! {
    matmul_i8(context, s: MatMul) {
        let [a, b, y] = [s.a, s.b, s.y].map(|id| context.tensor(id));
        let (a, b, y) = (a?, b?, y?);
        let (a_bytes, b_bytes, y_bytes) = context.sides(&a, &b, s.a == s.b, &y)?;
        let target = Target::new(y.zero_point, -128, 127);
        let zero_points = [a.zero_point, b.zero_point];
        portable::matmul_i8(s, i8s(a_bytes), i8s(b_bytes), zero_points, i8s_mut(y_bytes), target);
    }
    matmul_f32(context, s: MatMul) {
        let kernel = context.kernels.matmul_f32;
        let [a, b, y] = [s.a, s.b, s.y].map(|id| context.tensor(id));
        let (a, b, y) = (a?, b?, y?);
        let (a_bytes, b_bytes, y_bytes) = context.sides(&a, &b, s.a == s.b, &y)?;
        kernel(s, f32s(a_bytes), f32s(b_bytes), f32s_mut(y_bytes));
    }
    matmul_i16(context, s: MatMul) {
        let kernel = context.kernels.i16.matmul;
        let [a, b, y] = [s.a, s.b, s.y].map(|id| context.tensor(id));
        let (a, b, y) = (a?, b?, y?);
        let (a_bytes, b_bytes, y_bytes) = context.sides(&a, &b, s.a == s.b, &y)?;
        let target = TargetI16::whole(y.zero_point);
        kernel(s, i16s(a_bytes), i16s(b_bytes), [a.zero_point, b.zero_point], i16s_mut(y_bytes), target);
    }
}
