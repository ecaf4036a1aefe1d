//! Equalization and pruning of the models that come with the project, judged by tract and by labels.

use std::path::{Path, PathBuf};

use cygnet_onnx::model::{Model, Tensor};
use cygnet_onnx::reference::Reference;
use quantize::data::{Data, Sample};
use quantize::{Prepared, equalize, prepare, prune};

fn file(model: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models").join(model).join(name)
}

fn open(model: &str) -> (Prepared, Data, Data) {
    let onnx = Model::read(&file(model, &format!("{model}.onnx"))).unwrap();
    // The small speech model hears what the large one hears.
    let data = if model == "digits-tiny" { "digits-speech" } else { model };
    let calibration = Data::open(&file(data, "calib.npz"), &onnx, None).unwrap();
    let evaluation = Data::open(&file(data, "eval.npz"), &onnx, None).unwrap();
    (prepare(onnx, &calibration).unwrap(), calibration, evaluation)
}

fn answer(reference: &Reference, sample: &Sample) -> Vec<f32> {
    reference.run(&sample.inputs).unwrap().first().map(Tensor::to_f32s).unwrap().unwrap()
}

/// Factors are powers of two, so not even the last bit of an answer changes.
#[test]
fn equalized_models_compute_the_same() {
    let mut changed = 0;
    for name in ["fashion", "objects", "digits-speech", "digits-tiny"] {
        let (Prepared { mut model, facts, dims, .. }, calibration, evaluation) = open(name);
        let before = Reference::new(&model, &[]).unwrap();
        changed += equalize::equalize(&mut model, &facts, &dims, &calibration).unwrap().sets.len();
        let after = Reference::new(&model, &[]).unwrap();
        for sample in evaluation.samples().take(20).map(Result::unwrap) {
            assert_eq!(answer(&after, &sample), answer(&before, &sample), "{name}: {}", sample.name);
        }
    }
    assert!(changed > 0);
}

fn right(model: &Model, data: &Data) -> usize {
    let reference = Reference::new(model, &[]).unwrap();
    let is_right = |sample: &Sample| {
        let scores = answer(&reference, sample);
        let label = sample.label.unwrap() as usize;
        scores.iter().enumerate().all(|(index, &score)| index == label || score < scores[label])
    };
    data.samples().map(Result::unwrap).filter(is_right).count()
}

#[test]
fn a_pruned_model_is_smaller_and_answers_still() {
    for (name, most) in [("fashion", 15), ("digits-speech", 15)] {
        let (Prepared { mut model, facts, dims, .. }, calibration, evaluation) = open(name);
        let before = right(&model, &evaluation);
        let pruned = prune::prune(&mut model, &facts, &dims, 0.3, &calibration).unwrap();
        let share = (pruned.macs_after as f64 / pruned.macs_before as f64
            + pruned.weights_after as f64 / pruned.weights_before as f64)
            / 2.0;
        // Blocks of channels go as a whole, so a little more than was asked for.
        assert!((0.6..=0.7).contains(&share), "{name}: {pruned:?}");
        let weights: usize = model.initializers.values().filter(|t| t.shape.len() > 1).map(Tensor::len).sum();
        assert_eq!(weights as u64, pruned.weights_after, "{name}");
        let after = right(&model, &evaluation);
        assert!(after + most >= before, "{name}: {after} of {} right, {before} before", evaluation.len());
        let (Prepared { model: mut again, facts, dims, .. }, calibration, _) = open(name);
        prune::prune(&mut again, &facts, &dims, 0.3, &calibration).unwrap();
        assert!(again == model, "{name}: another model in another run");
    }
}
