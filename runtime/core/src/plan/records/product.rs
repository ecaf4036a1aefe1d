//! Records of products of activations.

use crate::plan::TensorId;

crate::record! {
    /// Product of two activations, `[batch, m, k] · [batch, k, n]`.
    /// int8 and int16: `y = clamp(round(f32(Σ (a - za)(b - zb)) × multiplier) + zy)`, the sum of int16 in 64 bits.
    MatMul {
        /// Left side.
        a: TensorId,
        /// Right side.
        b: TensorId,
        /// Result, of the same type.
        y: TensorId,
        /// Matrices.
        batch: u32,
        /// Elements from one left matrix to the next; 0 repeats the same one.
        a_stride: u32,
        /// Elements from one right matrix to the next; 0 repeats the same one.
        b_stride: u32,
        /// Rows of the left side.
        m: u32,
        /// Columns of the left side.
        k: u32,
        /// Columns of the right side.
        n: u32,
        /// `sa·sb/sy` for int8 and int16.
        multiplier: f32,
    }
}

crate::record! {
    /// Attention (Vaswani and others 2017, «Attention is all you need», scaled dot-product attention) of each head, all in
    /// f32: `y = softmax(q·kᵀ × scale + mask) · v`.
    ///
    /// Products are rounded, then added in order; the softmax is `e^(s - greatest)` as in [`Softmax`](super::Softmax), and
    /// `y = (Σ e·v) × (1 / Σ e)`, the last sum that of [`crate::kernels::lanes`].
    Attention {
        /// Queries, float32; a row is contiguous.
        q: TensorId,
        /// Keys, float32; a row is contiguous.
        k: TensorId,
        /// Values, float32; a row is contiguous.
        v: TensorId,
        /// Added to the scores, float32; or none.
        mask: Option<TensorId>,
        /// Result, float32; a row is contiguous.
        y: TensorId,
        /// Room, float32: [`Attention::scratch_len`] elements.
        scratch: TensorId,
        /// Sequences.
        batch: u32,
        /// Heads of queries.
        heads: u32,
        /// Heads of queries that read the same keys and values, one after the other.
        sharing: u32,
        /// Rows of a head's queries and of its result.
        queries: u32,
        /// Rows of a head's keys and values.
        keys: u32,
        /// Elements of a row of queries and keys.
        width: u32,
        /// Elements of a row of values and of the result.
        value_width: u32,
        /// Elements from one sequence, head, row of queries to the next.
        q_strides: [u32; 3],
        /// The same of keys.
        k_strides: [u32; 3],
        /// The same of values.
        v_strides: [u32; 3],
        /// The same of the result.
        y_strides: [u32; 3],
        /// Elements of the mask from one sequence, head, query, key to the next; 0 repeats.
        mask_strides: [u32; 4],
        /// What scores are multiplied by.
        scale: f32,
    }
}

impl Attention {
    /// Elements of scratch: the keys of a head by columns, some of its queries and their scores.
    #[must_use]
    pub fn scratch_len(&self) -> Option<usize> {
        use crate::kernels::lanes::LANES;
        use crate::kernels::portable::attention::TILE;
        let keys = (self.keys as usize).checked_next_multiple_of(LANES)?;
        let columns = (self.width as usize).checked_mul(keys)?;
        let tile = (self.width as usize).checked_add(keys)?.checked_mul(TILE)?;
        columns.checked_add(tile)
    }
}
