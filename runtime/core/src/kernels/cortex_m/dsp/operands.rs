//! The operands of a convolution as assembly wants them.

use crate::kernels::{ConvI8Args, ConvOutput};
use crate::quantization::Target;
use crate::weights;

/// Pointers, all aligned to 4 bytes but an int8 `y`, to as many elements as the window has channels, and positions.
#[derive(Clone, Copy)]
pub(super) struct Operands {
    pub bias: *const u8,
    pub multipliers: *const u8,
    pub y: *mut i8,
    /// Bytes of a result: 1, or 4 of float32.
    pub y_bytes: usize,
    /// Output channels.
    pub channels: usize,
    /// Elements from one position's results to those of the next.
    pub y_step: usize,
    pub zero_point: i32,
    target: Target,
}

impl Operands {
    /// The operands of a dense convolution or, with weights as they are, of a depthwise one; `None` where the results of
    /// the latter are float32, weights have zero points, or something is not there or lies at an odd address.
    pub fn of(args: &mut ConvI8Args<'_>, depthwise: bool) -> Option<Self> {
        let w = args.window;
        let channels = w.out_c as usize;
        let (y, y_len, y_bytes, target) = match &mut args.y {
            ConvOutput::I8(y, target) => (y.as_mut_ptr(), y.len(), 1, *target),
            ConvOutput::F32(_) if depthwise => return None,
            ConvOutput::F32(y) => {
                (y.as_mut_ptr().cast(), y.len(), size_of::<f32>(), Target::new(0, i32::MIN, i32::MAX))
            }
        };
        let sizes = [w.batch, w.in_h, w.in_w, w.in_c, w.out_h, w.out_w, w.out_c, w.groups];
        let steps = [w.kernel_h, w.kernel_w, w.stride_h, w.stride_w, w.dilation_h, w.dilation_w];
        if sizes.iter().chain(&steps).any(|number| *number == 0) {
            return None;
        }
        let elements = |numbers: [u32; 4]| numbers.iter().try_fold(1, |all: usize, &n| all.checked_mul(n as usize));
        let stored = if depthwise { w.taps().checked_mul(channels)? } else { weights::packed_bytes(w) };
        let whole = args.weights.len() >= stored
            && y_len
                >= (elements([w.batch, w.out_h, w.out_w, 1])? - 1).checked_mul(args.y_step)?.checked_add(channels)?
            && args.x.len() >= elements([w.batch, w.in_h, w.in_w, w.in_c])?
            && args.weight_zero_points.is_empty();
        let (bias, multipliers) = (args.bias.whole(0, channels)?, args.multipliers.whole(0, channels)?);
        let aligned = |address: *const u8| address.addr().is_multiple_of(4);
        if !whole || !aligned(bias.as_ptr()) || !aligned(multipliers.as_ptr()) || !aligned(args.weights.as_ptr()) {
            return None;
        }
        let (_, _, zero_point) = target.limits();
        Some(Self {
            bias: bias.as_ptr(),
            multipliers: multipliers.as_ptr(),
            y,
            y_bytes,
            channels,
            y_step: args.y_step,
            zero_point: zero_point.into(),
            target,
        })
    }

    /// Clamps results that have been saturated only.
    pub fn clamp(&self, args: &mut ConvI8Args<'_>) {
        let (low, high, _) = self.target.limits();
        if (low, high) == (i8::MIN, i8::MAX) {
            return;
        }
        if let ConvOutput::I8(y, _) = &mut args.y {
            let results = y.chunks_mut(self.y_step.max(1)).flat_map(|y| y.iter_mut().take(self.channels));
            results.for_each(|y| *y = (*y).max(low).min(high));
        }
    }
}
