//! Layer normalisation and attention: near the formula in f64, and the same bits in every set of kernels.

use cygnet_core::bytes::{F32s, Span};
use cygnet_core::kernels::{AttentionArgs, AttentionPart, Kernels, available};
use cygnet_core::plan::TensorId;
use cygnet_core::plan::step::{Attention, LayerNorm};
use proptest::prelude::*;

const NONE: TensorId = TensorId::NONE;

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn floats(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = move |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1 << 23) as f32 - 1.0) * 3.0
    };
    (0..count).map(next).collect()
}

/// A step whose heads lie side by side in a row, as projections leave them, or one head behind the other.
#[derive(Clone, Debug)]
struct Case {
    step: Attention,
    seed: u64,
    masked: bool,
    /// Keys in front of the first query, where those behind each are hidden.
    before: Option<usize>,
}

fn case() -> impl Strategy<Value = Case> {
    let sizes = (1..3_u32, 1..4_u32, 1..3_u32, 1..10_u32, 1..70_u32, 1..40_u32, 1..75_u32);
    let before = proptest::option::of(0..80_usize);
    (sizes, any::<u64>(), any::<bool>(), any::<bool>(), before).prop_map(
        |(sizes, seed, masked, side_by_side, before)| {
            let (batch, shared, sharing, queries, keys, width, value_width) = sizes;
            let heads = shared * sharing;
            let strides = |heads: u32, rows: u32, width: u32| {
                if side_by_side {
                    [rows * heads * width, width, heads * width]
                } else {
                    [rows * heads * width, rows * width, width]
                }
            };
            let step = Attention {
                q: NONE,
                k: NONE,
                v: NONE,
                mask: masked.then_some(NONE),
                y: NONE,
                scratch: NONE,
                batch,
                heads,
                sharing,
                queries,
                keys,
                width,
                value_width,
                q_strides: strides(heads, queries, width),
                k_strides: strides(shared, keys, width),
                v_strides: strides(shared, keys, value_width),
                y_strides: strides(heads, queries, value_width),
                mask_strides: [keys, 0, 0, 1],
                scale: 0.3,
            };
            Case { step, seed, masked, before }
        },
    )
}

/// Queries, keys, values, mask.
fn operands(case: &Case) -> [Vec<f32>; 4] {
    let s = &case.step;
    let (shared, batch) = (s.heads / s.sharing, s.batch);
    let mask = floats((batch * s.keys) as usize, case.seed ^ 3);
    [
        floats((batch * s.heads * s.queries * s.width) as usize, case.seed),
        floats((batch * shared * s.keys * s.width) as usize, case.seed ^ 1),
        floats((batch * shared * s.keys * s.value_width) as usize, case.seed ^ 2),
        // Some keys are left out, as padding is.
        mask.into_iter().map(|value| if value > 2.0 { f32::MIN } else { 0.0 }).collect(),
    ]
}

fn run(kernels: &Kernels, case: &Case) -> Vec<f32> {
    let s = &case.step;
    let [q, k, v, mask] = operands(case);
    let mut y = vec![0.0; (s.batch * s.heads * s.queries * s.value_width) as usize];
    let mut scratch = vec![f32::NAN; s.scratch_len().expect("fits")];
    let mask = case.masked.then_some(&mask[..]);
    (kernels.attention)(AttentionArgs {
        step: s,
        part: AttentionPart::whole(s),
        q: &q,
        k: &k,
        v: &v,
        mask,
        before: case.before,
        y: &mut y,
        scratch: &mut scratch,
    });
    y
}

/// The formula, element by element in f64.
fn attention_in_f64(case: &Case) -> Vec<f64> {
    let s = &case.step;
    let [q, k, v, mask] = operands(case);
    let mut y = vec![0.0; (s.batch * s.heads * s.queries * s.value_width) as usize];
    let at =
        |[batch, head, row]: [u32; 3], b: u32, h: u32, r: u32, e: u32| (b * batch + h * head + r * row + e) as usize;
    for b in 0..s.batch {
        for h in 0..s.heads {
            let shared = h / s.sharing;
            for r in 0..s.queries {
                let seen = case.before.map_or(s.keys, |before| s.keys.min((before + r as usize + 1) as u32));
                let scores: Vec<f64> = (0..seen)
                    .map(|key| {
                        let products = (0..s.width).map(|e| {
                            f64::from(q[at(s.q_strides, b, h, r, e)]) * f64::from(k[at(s.k_strides, b, shared, key, e)])
                        });
                        let mask = if case.masked { f64::from(mask[(b * s.keys + key) as usize]) } else { 0.0 };
                        products.sum::<f64>() * f64::from(s.scale) + mask
                    })
                    .collect();
                let greatest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|score| (score - greatest).exp()).collect();
                let total: f64 = weights.iter().sum();
                for e in 0..s.value_width {
                    let value = |key: usize| f64::from(v[at(s.v_strides, b, shared, key as u32, e)]);
                    let sum: f64 = weights.iter().enumerate().map(|(key, weight)| weight * value(key)).sum();
                    y[at(s.y_strides, b, h, r, e)] = sum / total;
                }
            }
        }
    }
    y
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn attention_is_near_the_formula_and_the_same_everywhere(case in case()) {
        let expected = attention_in_f64(&case);
        let portable = run(Kernels::portable(), &case);
        for (found, expected) in portable.iter().zip(&expected) {
            prop_assert!((f64::from(*found) - expected).abs() < 2e-5, "{found} instead of {expected}");
        }
        for kernels in available() {
            let bits = |y: Vec<f32>| y.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            prop_assert_eq!(bits(run(kernels, &case)), bits(portable.clone()), "{}", kernels.name);
        }
    }

    #[test]
    fn layer_norm_is_near_the_formula_and_the_same_everywhere(
        (rows, n, seed) in (1..5_usize, 1..200_usize, any::<u64>()),
        (scaled, shifted, about_zero) in any::<(bool, bool, bool)>(),
    ) {
        let x: Vec<f32> = floats(rows * n, seed).iter().map(|x| x + 1.5).collect();
        let (scale, bias) = (floats(n, seed ^ 1), floats(n, seed ^ 2));
        let step = LayerNorm {
            x: NONE,
            residual: None,
            y: NONE,
            rows: rows as u32,
            n: n as u32,
            scale: Span::NONE,
            bias: Span::NONE,
            epsilon: 1e-5,
            about_zero: about_zero.into(),
        };
        let (scale_bytes, bias_bytes) = (bytes(&scale), bytes(&bias));
        let some = |given: bool, bytes: &'static [u8]| F32s::new(if given { bytes } else { &[] });
        let (scale_bytes, bias_bytes): (&'static [u8], &'static [u8]) = (scale_bytes.leak(), bias_bytes.leak());
        let run = |kernels: &Kernels| {
            let mut y = x.clone();
            (kernels.layer_norm)(&step, &mut y, some(scaled, scale_bytes), some(shifted, bias_bytes));
            y
        };
        let portable = run(Kernels::portable());
        for (row, y) in x.chunks(n).zip(portable.chunks(n)) {
            let mean = if about_zero { 0.0 } else { row.iter().map(|&x| f64::from(x)).sum::<f64>() / n as f64 };
            let variance = row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n as f64;
            for (index, (x, found)) in row.iter().zip(y).enumerate() {
                let unit = (f64::from(*x) - mean) / (variance + f64::from(1e-5_f32)).sqrt();
                let scale = if scaled { f64::from(scale[index]) } else { 1.0 };
                let expected = unit * scale + if shifted { f64::from(bias[index]) } else { 0.0 };
                prop_assert!((f64::from(*found) - expected).abs() < 3e-5, "{found} instead of {expected}");
            }
        }
        for kernels in available() {
            let bits = |y: Vec<f32>| y.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            prop_assert_eq!(bits(run(kernels)), bits(portable.clone()), "{}", kernels.name);
        }
    }
}
