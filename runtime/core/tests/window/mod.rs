//! Windows of all kinds for tests of kernels.

use cygnet_core::plan::step::Window;
use proptest::prelude::*;

/// Up to 9 × 9 positions and 18 input channels; groups, depthwise, strides, dilations and uneven padding.
pub fn window() -> impl Strategy<Value = Window> {
    let sizes = (1..=2_u32, 1..=9_u32, 1..=9_u32, 1..=6_u32, 1..=20_u32);
    let kernel = (1..=4_u32, 1..=4_u32, 1..=3_u32, 1..=3_u32, 1..=2_u32, 1..=2_u32);
    let rest = (0..=3_u32, 0..=3_u32, 0..=2_u32, 0..=2_u32, 1..=3_u32, any::<bool>());
    (sizes, kernel, rest).prop_filter_map("the window fits", |(sizes, kernel, rest)| {
        let (batch, in_h, in_w, in_c, out_c) = sizes;
        let (kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w) = kernel;
        let (pad_top, pad_left, pad_bottom, pad_right, groups, depthwise) = rest;
        let out = |input: u32, pads: u32, kernel: u32, stride: u32, dilation: u32| {
            (input + pads).checked_sub((kernel - 1) * dilation + 1).map(|room| room / stride + 1)
        };
        let out_h = out(in_h, pad_top + pad_bottom, kernel_h, stride_h, dilation_h)?;
        let out_w = out(in_w, pad_left + pad_right, kernel_w, stride_w, dilation_w)?;
        let in_c = in_c * groups;
        let groups = if depthwise { in_c } else { groups };
        let out_c = if depthwise { in_c * (out_c % 3 + 1) } else { out_c * groups };
        Some(Window {
            batch,
            in_h,
            in_w,
            in_c,
            out_h,
            out_w,
            out_c,
            kernel_h,
            kernel_w,
            stride_h,
            stride_w,
            dilation_h,
            dilation_w,
            pad_top,
            pad_left,
            groups,
        })
    })
}
