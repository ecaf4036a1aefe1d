//! Attention, a few queries of a head at a time.

use crate::kernels::AttentionArgs;
use crate::kernels::lanes::{LANES, greatest, sum};
use crate::kernels::portable::softmax::exp_of_negative;
use crate::kernels::view::{chunk, copy, part, part_mut};
use crate::plan::step::Attention;

/// Queries that are worked on at once.
pub(crate) const TILE: usize = 4;

/// Keys that lie side by side in scratch; divides [`LANES`].
pub(crate) const WIDTH: usize = 32;

/// Where the rows of one head start, and the elements from one to the next.
pub(crate) type Rows = (usize, usize);

/// The two products of attention, for an instruction set.
///
/// # Safety
/// The functions may only be called where the CPU has the instruction set, and from functions compiled for it.
pub(crate) trait Products {
    /// Scores of [`TILE`] queries with all keys, times `scale`: `columns` is `[block][width][WIDTH]`, `tile`
    /// `[width][TILE]`, `scores` `[TILE][blocks · WIDTH]`.
    unsafe fn scores(scale: f32, columns: &[f32], tile: &[f32], scores: &mut [f32]);

    /// Sums of values by the weights of [`TILE`] queries: some elements from `start` on, of at most `left`. Gives how many.
    unsafe fn means(values: &Values<'_>, start: usize, left: usize, sums: &mut [[f32; WIDTH]; TILE]) -> usize;
}

/// The values of a head and their weights.
pub(crate) struct Values<'a> {
    /// Where all values lie.
    pub elements: &'a [f32],
    /// Elements from one value to the next.
    pub step: usize,
    /// Of each query, one for each value.
    pub weights: [&'a [f32]; TILE],
}

/// By the compiler's own means.
pub(crate) struct Plain;

impl Products for Plain {
    #[inline(always)]
    unsafe fn scores(scale: f32, columns: &[f32], tile: &[f32], scores: &mut [f32]) {
        products(scale, columns, tile, scores);
    }

    #[inline(always)]
    unsafe fn means(values: &Values<'_>, start: usize, left: usize, sums: &mut [[f32; WIDTH]; TILE]) -> usize {
        match left {
            16.. => means::<16>(values, start, sums),
            4.. => means::<4>(values, start, sums),
            _ => means::<1>(values, start, sums),
        }
    }
}

/// See [`Attention`].
pub(crate) fn attention(args: AttentionArgs<'_>) {
    // SAFETY: no instruction set is needed.
    unsafe { attention_by::<Plain>(args) }
}

/// See [`Attention`].
///
/// # Safety
/// That of `P`.
#[inline(always)]
pub(crate) unsafe fn attention_by<P: Products>(mut args: AttentionArgs<'_>) {
    let s = args.step;
    // Of the whole step, so that a part of it gives the same bits.
    let known = args.seen((s.queries as usize).saturating_sub(1));
    let (width, keys) = (s.width as usize, known.next_multiple_of(LANES));
    let scratch = core::mem::take(&mut args.scratch);
    let results = args.part.results(s).start;
    let (heads, queries) = (args.part.heads.clone(), args.part.queries.clone());
    let Some((columns, rest)) = scratch.split_at_mut_checked(width * keys) else { return };
    let Some((tile, scores)) = rest.split_at_mut_checked(width * TILE) else { return };
    let scores = part_mut(scores, 0, TILE * keys);
    for batch in args.part.sequences.clone() {
        for head in heads.clone() {
            let rows = |[batch_stride, head_stride, step]: [u32; 3], head: usize| -> Rows {
                (batch * batch_stride as usize + head * head_stride as usize, step as usize)
            };
            let shared = head / (s.sharing as usize).max(1);
            if head == shared * s.sharing as usize {
                by_columns((width, known), args.k, rows(s.k_strides, shared), columns);
            }
            let (q, v, y) = (rows(s.q_strides, head), rows(s.v_strides, shared), rows(s.y_strides, head));
            for first in queries.clone().step_by(TILE) {
                let count = TILE.min(queries.end - first);
                let row = |(start, step): Rows, query: usize| start + (first + query) * step;
                let queries = [0, 1, 2, 3].map(|query: usize| part(args.q, row(q, query.min(count - 1)), width));
                let [a, b, c, d] = queries;
                let elements = a.iter().zip(b).zip(c).zip(d);
                let tile_rows = tile.as_chunks_mut::<TILE>().0.iter_mut();
                tile_rows.zip(elements).for_each(|(line, (((a, b), c), d))| *line = [*a, *b, *c, *d]);
                // SAFETY: the caller's promise.
                unsafe { P::scores(s.scale, columns, tile, scores) };
                let mask_at = [batch, head, first];
                for (query, scores) in scores.chunks_exact_mut(keys.max(1)).enumerate().take(count) {
                    mask(s, args.mask, mask_at, query, args.seen(first + query), scores);
                }
                let inverses = weights(scores, keys);
                let weights = [0, 1, 2, 3].map(|query| part(scores, query * keys, known));
                let values = Values { elements: args.v, step: v.1, weights };
                let mut at = 0;
                while at < s.value_width as usize {
                    let mut sums = [[0.0; WIDTH]; TILE];
                    // SAFETY: the caller's promise.
                    let done = unsafe { P::means(&values, v.0 + at, s.value_width as usize - at, &mut sums) };
                    for (query, (sums, inverse)) in sums.iter_mut().zip(inverses).enumerate().take(count) {
                        let sums = part_mut(sums, 0, done);
                        sums.iter_mut().for_each(|sum| *sum *= inverse);
                        copy(part_mut(args.y, (row(y, query) + at).wrapping_sub(results), done), sums);
                    }
                    at += done;
                }
            }
        }
    }
}

/// Copies so many keys of a head, of `width` elements, to `[block of keys][width][key of the block]`; zeros behind the last one.
#[inline(always)]
fn by_columns((width, keys): (usize, usize), k: &[f32], (start, step): Rows, columns: &mut [f32]) {
    let width = width.max(1);
    for (block, columns) in columns.chunks_exact_mut((width * WIDTH).max(1)).enumerate() {
        // Four keys at a time: what is written lies side by side.
        for lane in (0..WIDTH).step_by(4) {
            let rows = [0, 1, 2, 3].map(|next| {
                let key = block * WIDTH + lane + next;
                if key < keys { part(k, start + key * step, width) } else { &[] }
            });
            let [a, b, c, d] = rows;
            let lines = columns.as_chunks_mut::<WIDTH>().0.iter_mut();
            let lines = lines.filter_map(|line| line.get_mut(lane..)?.first_chunk_mut::<4>());
            if rows.iter().all(|row| row.len() == width) {
                let elements = a.iter().zip(b).zip(c).zip(d);
                lines.zip(elements).for_each(|(line, (((a, b), c), d))| *line = [*a, *b, *c, *d]);
            } else {
                let at = |row: &[f32], index: usize| row.get(index).copied().unwrap_or(0.0);
                lines.enumerate().for_each(|(index, line)| *line = rows.map(|row| at(row, index)));
            }
        }
    }
}

/// Scores of the queries of a tile with all keys, times `scale`.
#[inline(always)]
fn products(scale: f32, columns: &[f32], tile: &[f32], scores: &mut [f32]) {
    let queries = tile.as_chunks::<TILE>().0;
    let keys = scores.len() / TILE;
    for (block, columns) in columns.chunks_exact((queries.len() * WIDTH).max(1)).enumerate() {
        // One variable for each query: the compiler keeps them in vector registers.
        let [mut sums_a, mut sums_b, mut sums_c, mut sums_d] = [[0.0; WIDTH]; TILE];
        for (keys, [a, b, c, d]) in columns.as_chunks::<WIDTH>().0.iter().zip(queries) {
            add_product(&mut sums_a, *a, keys);
            add_product(&mut sums_b, *b, keys);
            add_product(&mut sums_c, *c, keys);
            add_product(&mut sums_d, *d, keys);
        }
        let mut sums = [sums_a, sums_b, sums_c, sums_d];
        for (sums, scores) in sums.iter_mut().zip(scores.chunks_exact_mut(keys.max(1))) {
            sums.iter_mut().for_each(|sum| *sum *= scale);
            copy(part_mut(scores, block * WIDTH, WIDTH), sums);
        }
    }
}

/// `sums + factor · x`.
#[inline(always)]
fn add_product<const N: usize>(sums: &mut [f32; N], factor: f32, x: &[f32; N]) {
    sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += factor * x);
}

/// Adds the mask to the scores of a query; behind the last of the keys that it sees they become -∞.
#[inline(always)]
fn mask(
    s: &Attention,
    mask: Option<&[f32]>,
    [batch, head, first]: [usize; 3],
    query: usize,
    seen: usize,
    scores: &mut [f32],
) {
    let Some((scores, behind)) = scores.split_at_mut_checked(seen) else { return };
    behind.fill(f32::NEG_INFINITY);
    let Some(mask) = mask else { return };
    let [batch_stride, head_stride, query_stride, key_stride] = s.mask_strides.map(|stride| stride as usize);
    let start = batch * batch_stride + head * head_stride + (first + query) * query_stride;
    if key_stride == 1 {
        scores.iter_mut().zip(part(mask, start, s.keys as usize)).for_each(|(score, mask)| *score += mask);
    } else {
        let all = mask.get(start).copied().unwrap_or(0.0);
        scores.iter_mut().for_each(|score| *score += all);
    }
}

/// `e^(score - greatest)` of each query, and one by their sum.
#[inline(always)]
fn weights(scores: &mut [f32], keys: usize) -> [f32; TILE] {
    for scores in scores.chunks_exact_mut(keys.max(1)) {
        let most = greatest(scores);
        scores.iter_mut().for_each(|score| *score -= most);
    }
    // All at once: none of them waits for another.
    scores.iter_mut().for_each(|score| *score = exp_of_negative(*score));
    let mut inverses = [0.0; TILE];
    for (inverse, scores) in inverses.iter_mut().zip(scores.chunks_exact(keys.max(1))) {
        *inverse = 1.0 / sum(scores, |weight| weight);
    }
    inverses
}

/// `N` elements of the sums of each query. Gives `N`.
#[inline(always)]
fn means<const N: usize>(values: &Values<'_>, start: usize, sums: &mut [[f32; WIDTH]; TILE]) -> usize {
    let [mut sums_a, mut sums_b, mut sums_c, mut sums_d] = [[0.0; N]; TILE];
    let [a, b, c, d] = values.weights;
    for (key, (((a, b), c), d)) in a.iter().zip(b).zip(c).zip(d).enumerate() {
        let Some(value) = chunk::<N, f32>(values.elements, start + key * values.step) else { return N };
        add_product(&mut sums_a, *a, value);
        add_product(&mut sums_b, *b, value);
        add_product(&mut sums_c, *c, value);
        add_product(&mut sums_d, *d, value);
    }
    sums.iter_mut().zip([sums_a, sums_b, sums_c, sums_d]).for_each(|(to, from)| copy(to, &from));
    N
}
