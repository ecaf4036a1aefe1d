//! Damaged files: whatever bytes arrive, the worst outcome is an error.
//!
//! Plans are damaged with their checksum made right again, so that the verifier and not the checksum
//! is what refuses them; those that pass are run.

use std::path::Path;

use cygnet_core::bytes::checksum;
use cygnet_core::plan::CHECKSUM_FROM;
use cygnet_core::plan::step::Step as StepKind;
use cygnet_core::{Error, Plan, Session};
use cygnet_onnx::compile::{Options, compile};
use cygnet_onnx::model::Model;
use cygnet_tests::run::{arena, arena_bytes};

const MUTATIONS: u32 = 3000;

/// A small generator, so that every run tries the same damage.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }

    /// Flips bits, overwrites words with odd values, cuts, or swaps pieces; `front` prefers the first bytes.
    fn damage(&mut self, bytes: &mut Vec<u8>, front: usize) {
        for _ in 0..=self.below(3) {
            let range = if self.below(4) == 0 { bytes.len() } else { front.min(bytes.len()) };
            let at = self.below(range);
            match self.below(8) {
                0 => bytes.truncate(self.below(bytes.len())),
                1 | 2 if bytes.len() >= 8 => {
                    let at = (at & !3).min(bytes.len() - 4);
                    let odd = [0_u32, 1, 2, 0x7fff_ffff, 0x8000_0000, u32::MAX, 0xffff, 65];
                    bytes[at..at + 4].copy_from_slice(&odd[self.below(odd.len())].to_le_bytes());
                }
                3 if bytes.len() > 16 => {
                    let other = self.below(bytes.len() - 8);
                    let at = at.min(bytes.len() - 8);
                    for index in 0..8 {
                        bytes.swap(at + index, other + index);
                    }
                }
                _ => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << self.below(8);
                    }
                }
            }
            if bytes.is_empty() {
                return;
            }
        }
    }
}

fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn onnx_files() -> Vec<Vec<u8>> {
    [
        "whole/mobile_qdq_uint8_per_channel.onnx",
        "whole/shuffle_qoperator_uint8.onnx",
        "qdq_other/squeeze_excite.onnx",
        "qdq_other/resize_linear_half_pixel.onnx",
        "float/attention.onnx",
        "float/layer_normalization.onnx",
        "qdq_other/softmax_channels.onnx",
        "qdq_other/concat_three_axis2.onnx",
        "narrow/blocks16_k3x3.onnx",
        "narrow/table_odd.onnx",
        "int16/residual_with_int8_inside.onnx",
        "int16/conv_sums_of_64_bits.onnx",
        "int16/add_constant.onnx",
        "recurrent/int8_lstm_both.onnx",
        "recurrent/gru_states.onnx",
        "recurrent/kept_state.onnx",
        "transformer/attention_padding.onnx",
        "transformer/layer_norm_residual.onnx",
        "transformer/lookup_inner_axis.onnx",
        "transformer/where.onnx",
        "float/roi_align.onnx",
        "float/roi_align_max_adaptive.onnx",
        "float/one_hot.onnx",
        "float/less_int64.onnx",
        "transformer/dynamic_product_uint8.onnx",
        "decoder/rotary.onnx",
    ]
    .map(golden)
    .to_vec()
}

/// With a card that tells how much a decoder keeps; other models do not care.
fn options() -> Options {
    let card = "name = \"any\"\ntask = \"other\"\n[input]\nkind = \"tensor\"\n[cache]\nlength = 24";
    let mut options = Options::default();
    options.card = Some(card.into());
    options
}

#[test]
fn damaged_plans_are_refused_or_run() {
    let mut random = Random(11);
    let (mut refused, mut ran) = (0, 0);
    let plans: Vec<Vec<u8>> = onnx_files()
        .iter()
        .map(|bytes| {
            let model = Model::from_bytes(bytes).expect("whole");
            compile(&model, &options()).expect("compiles").plan
        })
        .collect();
    for round in 0..MUTATIONS {
        let mut plan = plans[round as usize % plans.len()].clone();
        let tables = Plan::parse(&plan).expect("whole").header().metadata.offset as usize;
        random.damage(&mut plan, tables);
        if plan.len() > CHECKSUM_FROM && random.below(10) > 0 {
            // Length and checksum made right again.
            let length = plan.len() as u32;
            plan[8..12].copy_from_slice(&length.to_le_bytes());
            let sum = checksum(&plan[CHECKSUM_FROM..]);
            plan[12..16].copy_from_slice(&sum.to_le_bytes());
        }
        let Ok(parsed) = Plan::parse(&plan) else {
            refused += 1;
            continue;
        };
        if parsed.arena_bytes() > 1 << 28 {
            refused += 1;
            continue;
        }
        let mut memory = arena(parsed.arena_bytes());
        let mut session = Session::new(parsed, arena_bytes(&mut memory)).expect("memory as asked for");
        for index in 0..parsed.input_count() {
            let len = parsed.input(index).expect("counted").len();
            let _ = session.write_f32(index, &vec![0.25; len]);
        }
        let _ = session.run();
        for index in 0..parsed.output_count() {
            let mut values = vec![0.0; parsed.output(index).expect("counted").len()];
            let _ = session.read_f32(index, &mut values);
        }
        ran += 1;
    }
    println!("{MUTATIONS} damaged plans: {refused} refused, {ran} still safe to run");
    assert!(refused > MUTATIONS / 4, "hardly any damage was found: {refused}");
}

#[test]
fn every_bit_flip_and_cut_of_a_plan_is_found() {
    let model = Model::from_bytes(&golden("qdq_conv/k3x3.onnx")).expect("whole");
    let plan = compile(&model, &Options::default()).expect("compiles").plan;
    for bit in 0..plan.len() * 8 {
        let mut damaged = plan.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(Plan::parse(&damaged).is_err(), "bit {bit} was flipped and nobody saw it");
    }
    for length in 0..plan.len() {
        assert!(Plan::parse(&plan[..length]).is_err(), "cut to {length} bytes and nobody saw it");
    }
}

/// A plan with one word replaced and the checksum made right again.
fn with_word(plan: &[u8], at: usize, word: u32) -> Vec<u8> {
    let mut plan = plan.to_vec();
    plan[at..at + 4].copy_from_slice(&word.to_le_bytes());
    let sum = checksum(&plan[CHECKSUM_FROM..]);
    plan[12..16].copy_from_slice(&sum.to_le_bytes());
    plan
}

fn word(plan: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(plan[at..at + 4].try_into().expect("four bytes"))
}

#[test]
fn rules_that_random_damage_seldom_meets_are_kept() {
    let compiled = |name: &str| {
        let model = Model::from_bytes(&golden(name)).expect("whole");
        compile(&model, &Options::default()).expect("compiles").plan
    };
    let refusal = |plan: &[u8]| Plan::parse(plan).map(|_| ()).expect_err("refused");

    let plan = compiled("whole/mobile_qdq_uint8.onnx");
    let header = *Plan::parse(&plan).expect("verified").header();
    // The number of steps is the third word behind the checksum.
    let steps_at = CHECKSUM_FROM + 8;
    assert_eq!(word(&plan, steps_at), header.steps);
    refusal(&with_word(&plan, steps_at, u32::MAX));

    // A tensor that nothing writes: its first time, word 11 of its entry, claims that the caller does.
    let tensors = header.tensors.offset as usize;
    let inner = (0..header.tensors.len as usize / 60).find(|&index| word(&plan, tensors + index * 60 + 44) == 1);
    let inner = inner.expect("a tensor that the first step writes");
    let error = refusal(&with_word(&plan, tensors + inner * 60 + 44, 0));
    assert_eq!(error, Error::Tensor { index: inner as u32, rule: "nothing writes it" });

    // A step whose output is its input: words 3 and 4 of the record.
    let step = header.step_table.offset as usize;
    let input = word(&plan, step + 12);
    let error = refusal(&with_word(&plan, step + 16, input));
    assert_eq!(error, Error::Step { index: 0, rule: "it writes a tensor that it uses twice" });

    // Weights that go on behind the end of a kernel row, where 9 of 12 bytes are input: the 10th of the first channel;
    // and -128 where the step says that there is none. Words of the record of the first convolution that packs rows.
    let plan = compiled("qdq_conv/k3x3.onnx");
    let conv = Plan::parse(&plan).expect("verified").steps().find_map(|record| match record.step {
        StepKind::ConvI8(conv) => Some(conv),
        _ => None,
    });
    let conv = conv.expect("a convolution");
    let row = conv.window.kernel_w * conv.window.in_c;
    let weights = conv.weights.offset as usize;
    let width = conv.window.out_c.next_multiple_of(4).min(16) as usize;
    let with_byte = |at: usize, byte: u8| {
        let aligned = at / 4 * 4;
        let shift = (at % 4) * 8;
        with_word(&plan, aligned, word(&plan, aligned) & !(0xff << shift) | u32::from(byte) << shift)
    };
    assert!(!row.is_multiple_of(4) && conv.narrow == 1, "{row} bytes a kernel row");
    let behind = weights + (row / 4) as usize * width * 4 + (row % 4) as usize;
    let error = refusal(&with_byte(behind, 1));
    assert!(matches!(error, Error::Step { rule: "its weights go on behind the end of a kernel row", .. }), "{error}");
    let error = refusal(&with_byte(weights, 128));
    assert!(matches!(error, Error::Step { rule: "it has weights of -128 and denies it", .. }), "{error}");

    // A bias of int16 sums that takes them beyond 32 bits, and a limit beyond int16: the last word of the record.
    let plan = compiled("int16/conv.onnx");
    let header = *Plan::parse(&plan).expect("verified").header();
    let conv = Plan::parse(&plan).expect("verified").steps().find_map(|record| match record.step {
        StepKind::ConvI16(conv) => Some(conv),
        _ => None,
    });
    let conv = conv.expect("a convolution");
    assert_eq!(conv.wide, 0);
    let error = refusal(&with_word(&plan, conv.bias.offset as usize, i32::MAX as u32));
    assert!(matches!(error, Error::Step { rule: "an accumulator could overflow", .. }), "{error}");
    let mut step = header.step_table.offset as usize;
    while word(&plan, step) & 0xffff != 24 {
        step += (word(&plan, step) >> 16) as usize * 4;
    }
    let last = step + (word(&plan, step) >> 16) as usize * 4 - 4;
    assert_eq!(word(&plan, last), conv.high as u32);
    let error = refusal(&with_word(&plan, last, 32_768));
    assert!(matches!(error, Error::Step { rule: "its limits are no range of its results", .. }), "{error}");

    // Matrices without columns: word 10 of the record of MatMul, opcode 5.
    let plan = compiled("qdq_other/matmul_two_activations.onnx");
    let header = *Plan::parse(&plan).expect("verified").header();
    let mut step = header.step_table.offset as usize;
    while word(&plan, step) & 0xffff != 5 {
        step += (word(&plan, step) >> 16) as usize * 4;
    }
    let error = refusal(&with_word(&plan, step + 40, 0));
    assert!(matches!(error, Error::Step { rule: "its matrices are empty", .. }), "{error}");
}

#[test]
fn damaged_onnx_files_give_errors_and_never_panic() {
    let mut random = Random(5);
    let files = onnx_files();
    let (mut refused, mut compiled) = (0, 0);
    for round in 0..MUTATIONS {
        let mut bytes = files[round as usize % files.len()].clone();
        let front = bytes.len();
        random.damage(&mut bytes, front);
        match Model::from_bytes(&bytes)
            .map_err(|error| error.to_string())
            .and_then(|model| compile(&model, &Options::default()).map_err(|error| error.to_string()))
        {
            Ok(_) => compiled += 1,
            Err(message) => {
                assert!(!message.is_empty());
                refused += 1;
            }
        }
    }
    println!("{MUTATIONS} damaged ONNX files: {refused} refused, {compiled} compiled");
    assert!(refused > MUTATIONS / 4);
}
