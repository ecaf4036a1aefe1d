//! Records of what decoders keep of the tokens before: keys and values, written where they stay.

use super::Attention;
use crate::plan::TensorId;

crate::record! {
    /// Writes rows to their places among those that a session keeps: row `r` of each head to slot `position + r`, the
    /// position being the first element of `positions`. Rows behind the last slot are left out.
    ///
    /// Where the position is the last slot's or beyond, the run fails with [`crate::Error::CacheFull`], unless the slots
    /// are used in turns.
    CacheRows {
        /// The new rows, `[heads][rows][width]`; a row is contiguous.
        x: TensorId,
        /// All slots, `[heads][slots][width]`, of the type of `x`: an input that the session keeps.
        y: TensorId,
        /// Positions of the run's tokens, int64.
        positions: TensorId,
        /// Heads.
        heads: u32,
        /// New rows of a head.
        rows: u32,
        /// Elements of a row.
        width: u32,
        /// Slots of a head.
        slots: u32,
        /// Elements of `x` from one head, row to the next.
        x_strides: [u32; 2],
        /// 1 where a row at or behind the last slot goes to slot `(position + r) mod slots`, in the place of the oldest.
        in_turns: u32,
    }
}

crate::record! {
    /// [`Attention`] in which query `t` sees the keys of the slots up to `position + t`, the position being the first
    /// element of `positions`, and no others.
    CachedAttention {
        /// The attention; keys and values are all slots.
        attention: Attention,
        /// Positions of the run's tokens, int64.
        positions: TensorId,
    }
}
