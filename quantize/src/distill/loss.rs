//! How far the student's answer lies from the teacher's.

use candle_core::{DType, Error, Result, Tensor};
use cygnet_onnx::model::Model;

use super::operators::log_softmax;
use crate::graph::makers;

/// How two answers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Loss {
    /// Scores of classes: divergence of the softened shares
    Classes,
    /// Any numbers: squared difference
    Values,
}

/// An output that is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The tensor to read: before the softmax where one ends the model.
    pub tensor: String,
    /// How it is compared.
    pub loss: Loss,
}

/// The tensors to compare, one for each output of `model`. `loss` decides where no softmax does.
pub fn targets(model: &Model, loss: Loss) -> Vec<Target> {
    let makers = makers(model);
    let target = |name: &String| {
        let maker = makers.get(name).map(|&index| &model.nodes[index]);
        let softmax = maker.filter(|n| n.is("Softmax") || n.is("LogSoftmax")).and_then(|n| n.input(0));
        match softmax {
            Some(scores) => Target { tensor: scores.into(), loss: Loss::Classes },
            None => Target { tensor: name.clone(), loss },
        }
    };
    model.outputs.iter().map(|output| target(&output.name)).collect()
}

/// The loss of one sample, summed over the outputs: a scalar.
///
/// Classes: the divergence KL(teacher ‖ student) of shares softened by `temperature` T, times T²: Hinton et al.,
/// <https://arxiv.org/abs/1503.02531>. Values: Σ (teacher - student)² / Σ teacher².
pub(super) fn loss(targets: &[Target], teacher: &[Tensor], student: &[Tensor], temperature: f64) -> Result<Tensor> {
    let mut sum: Option<Tensor> = None;
    for ((target, teacher), student) in targets.iter().zip(teacher).zip(student) {
        if teacher.dims() != student.dims() {
            let problem = format!("\"{}\" is {:?}, the teacher's {:?}", target.tensor, student.dims(), teacher.dims());
            return Err(Error::Msg(problem));
        }
        let one = match target.loss {
            Loss::Classes => {
                let classes =
                    teacher.rank().checked_sub(1).ok_or_else(|| Error::Msg("a scalar has no classes".into()))?;
                let softened = |scores: &Tensor| log_softmax(&(scores / temperature)?, classes);
                let (teacher, student) = (softened(teacher)?, softened(student)?);
                ((teacher.exp()? * (teacher - student)?)?.sum_all()? * (temperature * temperature))?
            }
            Loss::Values => {
                let signal = teacher.sqr()?.sum_all()?.to_scalar::<f32>()?;
                ((teacher - student)?.sqr()?.sum_all()? / f64::from(signal.max(f32::MIN_POSITIVE)))?
            }
        };
        sum = Some(match sum {
            Some(sum) => (sum + one)?,
            None => one,
        });
    }
    sum.map_or_else(|| Tensor::zeros((), DType::F32, &candle_core::Device::Cpu), Ok)
}

/// Whether both have their largest score at the same place of the first output.
pub(super) fn agree(teacher: &[Tensor], student: &[Tensor]) -> Result<bool> {
    let answer = |outputs: &[Tensor]| {
        let scores = outputs.first().map(|t| t.flatten_all()?.to_vec1::<f32>()).transpose()?.unwrap_or_default();
        Ok::<_, Error>(crate::evaluate::first_answer(&scores))
    };
    Ok(answer(teacher)? == answer(student)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn divergence_and_squares_by_hand() {
        let teacher = Tensor::new(&[[0f32, 2f32 * 3f32.ln()]], &Device::Cpu).unwrap();
        let student = Tensor::new(&[[0f32, 0.0]], &Device::Cpu).unwrap();
        let target = |loss| [Target { tensor: "y".into(), loss }];
        // At T = 2 the teacher's shares are 1/4 and 3/4, the student's 1/2 each: 4 · (¼ ln ½ + ¾ ln 3/2).
        let expected = 4.0 * (0.25 * 0.5f32.ln() + 0.75 * 1.5f32.ln());
        let value = |t: &Tensor, s: &Tensor, l| {
            loss(&target(l), std::slice::from_ref(t), std::slice::from_ref(s), 2.0).unwrap().to_scalar::<f32>().unwrap()
        };
        assert!((value(&teacher, &student, Loss::Classes) - expected).abs() < 1e-6);
        assert!(value(&teacher, &teacher, Loss::Classes).abs() < 1e-6);
        assert!((value(&teacher, &student, Loss::Values) - 1.0).abs() < 1e-6);
    }
}
