//! Int8 plans of float models, with ranges from a few random samples: for what does not depend on accuracy.

use std::path::Path;

use cygnet_onnx::compile::{Options, compile};
use cygnet_onnx::model::{Model, Tensor};
use cygnet_onnx::reference::Reference;

/// Models that others made, in the folder of data beside the repository.
pub const MODELS_OF_OTHERS: [&str; 9] = [
    "mlperf_ic_resnet8",
    "mlperf_kws_dscnn",
    "mlperf_vww_mobilenetv1_025",
    "mlperf_ad01_autoencoder",
    "arm_ds_cnn_s",
    "efficientnet_lite0_224",
    "squeezenet_v1.1",
    "fastestdet_352",
    "yunet_n_320_320",
];

/// Values within -1..1, the same for the same seed.
#[must_use]
pub fn random_input(shape: &[usize], seed: u32) -> Tensor {
    let mut state = seed;
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        })
        .collect();
    Tensor::from_f32(shape.to_vec(), &values)
}

/// The int8 plan of a float model with one input.
///
/// # Panics
/// When the file is no such model.
#[must_use]
pub fn int8_plan(path: &Path) -> Vec<u8> {
    compile(&int8_model(path), &Options::default()).expect("compiles").plan
}

/// The int8 form of a float model with one input.
///
/// # Panics
/// When the file is no such model.
#[must_use]
pub fn int8_model(path: &Path) -> Model {
    let model = Model::read(path).expect("readable");
    let facts = Reference::new(&model, &[]).expect("tract knows it").input_facts().to_vec();
    let [(input, _, shape)] = &facts[..] else { panic!("{} has several inputs", path.display()) };
    let samples: Vec<u8> = (0..4).flat_map(|seed| random_input(shape, seed).data).collect();
    let mut batch = vec![4];
    batch.extend_from_slice(&shape[1..]);
    let dtype = cygnet::input::ElementType::F32;
    let array = cygnet::input::Array { name: input.clone(), dtype, shape: batch, data: samples };
    let work = tempfile::tempdir().expect("a folder");
    let samples = work.path().join("samples.npz");
    cygnet::output::write_npz(&samples, &[array]).expect("written");
    let data = quantize::data::Data::open(&samples, &model, None).expect("opens");
    quantize::quantize(model, &data, &quantize::Options::default(), || ()).expect("quantizes").model
}
