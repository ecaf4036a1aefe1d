//! The float model and the int8 model on the same samples, with inner tensors of both side by side.

use cygnet_onnx::model::{DType, Model, ValueInfo};

use crate::Quantized;
use crate::data::Sample;
use crate::engine::{self, Engine, Session};
use crate::error::QuantizeError;
use crate::float::Float;

/// Both models, with the same tensors to read out.
#[derive(Debug)]
pub struct Taps {
    /// Nothing where the float model's values are not wanted.
    float: Option<Float>,
    int8: Engine,
}

/// Memory to run both models in.
#[derive(Debug)]
pub struct Sessions {
    float: Option<Session>,
    int8: Session,
}

/// The values of all tapped tensors for one sample, in the order in which they were asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// As the float model computes them; nothing where they are not wanted.
    pub real: Vec<Vec<f32>>,
    /// As the int8 model computes them.
    pub near: Vec<Vec<f32>>,
}

impl Taps {
    /// Prepares both models of `quantized`; `tensors` are named as the float model names them. `with_float` tells
    /// whether the float model is to be run too.
    ///
    /// # Errors
    /// [`QuantizeError::Compile`] naming the node.
    pub fn of(quantized: &Quantized, tensors: &[String], with_float: bool) -> Result<Taps, QuantizeError> {
        let Quantized { float, model, inserted, dims, .. } = quantized;
        let mut tapped = Model { outputs: Vec::new(), ..model.clone() };
        for tensor in tensors {
            let name = inserted.dequantized.get(tensor).unwrap_or(tensor).clone();
            tapped.outputs.push(ValueInfo { name, dtype: DType::F32, shape: None });
        }
        let int8 = Engine::new(engine::plan(&tapped, dims, None)?)?;
        let float = with_float.then(|| Float::of(float, dims, tensors)).transpose()?;
        Ok(Taps { float, int8 })
    }

    /// Memory for one thread.
    ///
    /// # Errors
    /// [`QuantizeError::Engine`].
    pub fn sessions(&self) -> Result<Sessions, QuantizeError> {
        let float = self.float.as_ref().map(Float::session).transpose()?;
        Ok(Sessions { float, int8: self.int8.session()? })
    }

    /// Runs both models.
    ///
    /// # Errors
    /// [`QuantizeError::Data`] naming the sample.
    pub fn run(&self, sessions: &mut Sessions, sample: &Sample) -> Result<Values, QuantizeError> {
        let float = self.float.as_ref().zip(sessions.float.as_mut());
        let real = float.map_or(Ok(Vec::new()), |(float, session)| float.run(session, sample))?;
        Ok(Values { real, near: sessions.int8.outputs(sample)? })
    }
}
