//! Attention, a few queries of a head at a time.

use crate::kernels::AttentionArgs;
use crate::kernels::lanes::{LANES, greatest, sum};
use crate::kernels::portable::softmax::exp_of_negative;
use crate::kernels::view::{chunk, copy, part, part_mut};
use crate::plan::step::Attention;

/// Queries that are worked on at once.
pub(crate) const TILE: usize = 4;

/// Keys, or elements of a value, that are worked on at once: as many as vector registers hold for all queries of a tile.
/// Divides [`LANES`].
const WIDTH: usize = if cfg!(target_arch = "x86_64") { 32 } else { 16 };

/// Where the rows of one head start, and the elements from one to the next.
type Rows = (usize, usize);

/// See [`Attention`].
#[inline(always)]
pub(crate) fn attention(mut args: AttentionArgs<'_>) {
    let s = args.step;
    let (width, keys) = (s.width as usize, (s.keys as usize).next_multiple_of(LANES));
    let scratch = core::mem::take(&mut args.scratch);
    let Some((columns, rest)) = scratch.split_at_mut_checked(width * keys) else { return };
    let Some((tile, scores)) = rest.split_at_mut_checked(width * TILE) else { return };
    let scores = part_mut(scores, 0, TILE * keys);
    for batch in 0..s.batch as usize {
        for head in 0..s.heads as usize {
            let rows = |[batch_stride, head_stride, step]: [u32; 3], head: usize| -> Rows {
                (batch * batch_stride as usize + head * head_stride as usize, step as usize)
            };
            let shared = head / (s.sharing as usize).max(1);
            if head == shared * s.sharing as usize {
                by_columns(s, args.k, rows(s.k_strides, shared), columns);
            }
            let (q, v, y) = (rows(s.q_strides, head), rows(s.v_strides, shared), rows(s.y_strides, head));
            for first in (0..s.queries as usize).step_by(TILE) {
                let count = TILE.min(s.queries as usize - first);
                let row = |(start, step): Rows, query: usize| start + (first + query) * step;
                for query in 0..TILE {
                    let from = part(args.q, row(q, query.min(count - 1)), width);
                    let to = tile.iter_mut().skip(query).step_by(TILE);
                    to.zip(from).for_each(|(to, from)| *to = *from);
                }
                products(s.scale, columns, tile, scores);
                let mask_at = [batch, head, first];
                for (query, scores) in scores.chunks_exact_mut(keys).enumerate().take(count) {
                    mask(s, args.mask, mask_at, query, scores);
                }
                let inverses = weights(scores, keys);
                let mut at = 0;
                while at < s.value_width as usize {
                    let left = s.value_width as usize - at;
                    let place = |query| row(y, query) + at;
                    let values = (v.0 + at, v.1);
                    at += match left {
                        WIDTH.. => means::<WIDTH>(&mut args, scores, values, inverses, count, place),
                        8.. => means::<8>(&mut args, scores, values, inverses, count, place),
                        _ => means::<1>(&mut args, scores, values, inverses, count, place),
                    };
                }
            }
        }
    }
}

/// Copies the keys of a head to `[block of keys][width][key of the block]`; zeros behind the last one.
#[inline(always)]
fn by_columns(s: &Attention, k: &[f32], (start, step): Rows, columns: &mut [f32]) {
    let width = (s.width as usize).max(1);
    for (block, columns) in columns.chunks_exact_mut(width * WIDTH).enumerate() {
        for lane in 0..WIDTH {
            let key = block * WIDTH + lane;
            let to = columns.iter_mut().skip(lane).step_by(WIDTH);
            if key < s.keys as usize {
                to.zip(part(k, start + key * step, width)).for_each(|(to, from)| *to = *from);
            } else {
                to.for_each(|to| *to = 0.0);
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
        let mut sums = [[0.0; WIDTH]; TILE];
        for (keys, queries) in columns.as_chunks::<WIDTH>().0.iter().zip(queries) {
            for (sums, query) in sums.iter_mut().zip(queries) {
                sums.iter_mut().zip(keys).for_each(|(sum, key)| *sum += query * key);
            }
        }
        for (sums, scores) in sums.iter_mut().zip(scores.chunks_exact_mut(keys.max(1))) {
            sums.iter_mut().for_each(|sum| *sum *= scale);
            copy(part_mut(scores, block * WIDTH, WIDTH), sums);
        }
    }
}

/// Adds the mask to the scores of a query; behind the last key they become -∞.
#[inline(always)]
fn mask(s: &Attention, mask: Option<&[f32]>, [batch, head, first]: [usize; 3], query: usize, scores: &mut [f32]) {
    let Some((scores, behind)) = scores.split_at_mut_checked(s.keys as usize) else { return };
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
    let mut inverses = [0.0; TILE];
    for (inverse, scores) in inverses.iter_mut().zip(scores.chunks_exact_mut(keys.max(1))) {
        let most = greatest(scores);
        scores.iter_mut().for_each(|score| *score = exp_of_negative(*score - most));
        *inverse = 1.0 / sum(scores, |weight| weight);
    }
    inverses
}

/// `N` elements of the result of each query: values by their weights. Gives `N`.
#[inline(always)]
fn means<const N: usize>(
    args: &mut AttentionArgs<'_>,
    weights: &[f32],
    (start, step): Rows,
    inverses: [f32; TILE],
    count: usize,
    place: impl Fn(usize) -> usize,
) -> usize {
    let (keys, stored) = (args.step.keys as usize, weights.len() / TILE);
    let mut sums = [[0.0; N]; TILE];
    let [a, b, c, d] = [0, 1, 2, 3].map(|query| part(weights, query * stored, keys));
    for (key, (((a, b), c), d)) in a.iter().zip(b).zip(c).zip(d).enumerate() {
        let Some(values) = chunk::<N, f32>(args.v, start + key * step) else { return N };
        for (sums, weight) in sums.iter_mut().zip([a, b, c, d]) {
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
        }
    }
    for (query, (sums, inverse)) in sums.iter_mut().zip(inverses).enumerate().take(count) {
        sums.iter_mut().for_each(|sum| *sum *= inverse);
        copy(part_mut(args.y, place(query), N), sums);
    }
    N
}
