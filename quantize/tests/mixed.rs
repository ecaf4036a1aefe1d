//! First layers on 16 bits, on a network whose input 8 bits cannot hold: one of its channels is sixteen times as loud as
//! the other, and both count the same.

use cygnet::input::{Array, ElementType};
use cygnet::output::write_npz;
use cygnet_onnx::model::{Attribute, DType, Dim, Model, Node, Tensor, ValueInfo};
use quantize::data::Data;
use quantize::engine::{self, Engine};
use quantize::search::{Goal, Quality, search};
use quantize::{Built, Effort, Options, Quantizer};

/// Height and width of the input, and how much smaller a first layer with this stride makes it.
const SIDE: usize = 32;
const STRIDE: usize = 4;
const SAMPLES: usize = 32;

/// Numbers between -1 and 1, the same in every run.
fn numbers(seed: u32) -> impl Iterator<Item = f32> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    })
}

/// A first layer that weighs the loud channel as little as it is loud, then a larger layer whose results are added to what
/// it read.
fn model() -> Model {
    let value = |name: &str, channels: usize, side: usize| ValueInfo {
        name: name.into(),
        dtype: DType::F32,
        shape: Some([1, channels, side, side].map(Dim::Known).to_vec()),
    };
    // Levels of int8: the weights of the first layer lose nothing.
    let first = [[8.0, 127.0], [-8.0, 127.0], [8.0, -127.0], [-8.0, -127.0]].as_flattened().to_vec();
    let first: Vec<f32> = first.into_iter().map(|level: f32| level / 127.0).collect();
    let second: Vec<f32> = numbers(2).take(4 * 4 * 9).map(|w| w / 6.0).collect();
    let padded = |name: &str, inputs: &[&str], output: &str| {
        Node::new("Conv", name, inputs, &[output]).with("pads", Attribute::Ints(vec![1; 4]))
    };
    Model {
        ir_version: 8,
        opsets: [(String::new(), 13)].into(),
        nodes: vec![
            Node::new("Conv", "first", &["x", "w1"], &["a"]).with("strides", Attribute::Ints(vec![STRIDE as i64; 2])),
            Node::new("Relu", "relu", &["a"], &["b"]),
            padded("second", &["b", "w2"], "c"),
            Node::new("Add", "add", &["b", "c"], &["d"]),
            padded("third", &["d", "w2"], "y"),
        ],
        inputs: vec![value("x", 2, SIDE)],
        outputs: vec![value("y", 4, SIDE / STRIDE)],
        initializers: [
            ("w1".to_string(), Tensor::from_f32(vec![4, 2, 1, 1], &first)),
            ("w2".to_string(), Tensor::from_f32(vec![4, 4, 3, 3], &second)),
        ]
        .into(),
        ..Model::default()
    }
}

fn data(model: &Model) -> Data {
    let pixels = SIDE * SIDE;
    let loud = |(place, value): (usize, f32)| if (place / pixels).is_multiple_of(2) { 16.0 * value } else { value };
    let values = numbers(3).take(SAMPLES * 2 * pixels).enumerate().map(loud);
    let bytes = values.flat_map(f32::to_le_bytes).collect();
    let array = Array { name: "x".into(), dtype: ElementType::F32, shape: vec![SAMPLES, 2, SIDE, SIDE], data: bytes };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npz");
    write_npz(&path, &[array]).unwrap();
    Data::open(&path, model, None).unwrap()
}

fn made(data: &Data, mixed: bool) -> (Quantizer<'_>, Built) {
    let options = Options { effort: Effort::Fast, mixed, ..Options::default() };
    Quantizer::of(model(), data, &options, || ()).unwrap()
}

fn arena_bytes(built: &Built) -> usize {
    let quantized = &built.quantized;
    Engine::new(engine::plan(&quantized.model, &quantized.dims, None).unwrap()).unwrap().memory().arena_bytes
}

#[test]
fn a_first_layer_whose_input_8_bits_cannot_hold_reads_16() {
    let data = data(&model());
    let ((_, narrow), (quantizer, wide)) = (made(&data, false), made(&data, true));
    assert!(narrow.quantized.inserted.wide.is_empty());
    assert_eq!(wide.quantized.inserted.wide, ["first"]);
    assert!(wide.loss.all < 0.1 * narrow.loss.all, "{:?} of {:?}", wide.loss, narrow.loss);
    // The sum has one operand of an integer layer that reads 8 bits: nothing else is wide.
    let is_int16 = |node: &&Node| {
        let zero_point = node.input(2).and_then(|name| wide.quantized.model.initializers.get(name));
        node.is("QuantizeLinear") && zero_point.is_some_and(|zero_point| zero_point.dtype == DType::I16)
    };
    let wide_tensors: Vec<_> = wide.quantized.model.nodes.iter().filter(is_int16).map(|node| &node.inputs[0]).collect();
    assert_eq!(wide_tensors, ["x"]);
    assert!(quantizer.asked().layers.is_empty() && !quantizer.recipe().layers.is_empty());
}

#[test]
fn memory_that_8_bits_keep_is_kept() {
    let data = data(&model());
    let (narrow, (quantizer, wide)) = (made(&data, false).1, made(&data, true));
    let most = arena_bytes(&narrow);
    assert!(arena_bytes(&wide) > most, "16 bits of input take no more memory: the test needs a larger input");
    let goal = Goal { max_ram: Some(most), max_drop: Some(1.0), ..Goal::default() };
    let measure = |_: &_, _: &_| Ok(Quality::default());
    let (quantized, tried) = search(&quantizer, wide, goal, measure).unwrap();
    assert!(quantized.inserted.wide.is_empty() && tried.len() == 2 && tried[1].is_chosen, "{tried:?}");
}
