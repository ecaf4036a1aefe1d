//! Portable kernels for what those written by hand leave to them. They are inlined wherever they are called, for the sake
//! of other instruction sets; here is the one place that calls each.

use crate::kernels::portable;
use crate::kernels::{ConvI8Args, ConvI16Args, RowI8};

/// See [`portable::conv::conv`].
#[inline(never)]
pub(super) fn conv(args: ConvI8Args<'_>) {
    portable::conv::conv(args);
}

/// See [`portable::depthwise::depthwise`].
#[inline(never)]
pub(super) fn depthwise(args: ConvI8Args<'_>) {
    portable::depthwise::depthwise(args);
}

/// See [`portable::depthwise_i16::depthwise`].
#[inline(never)]
pub(super) fn depthwise_i16(args: ConvI16Args<'_>) {
    portable::depthwise_i16::depthwise(args);
}

/// See [`portable::elementwise::add_i8`].
#[inline(never)]
pub(super) fn add(row: &RowI8<'_>) {
    portable::elementwise::add_i8(row);
}
