//! The float model and the int8 model on the same samples, with inner tensors of both side by side.

use cygnet_onnx::model::{DType, Model, Tensor, ValueInfo};
use cygnet_onnx::reference::Reference;

use crate::Quantized;
use crate::data::Sample;
use crate::engine::{self, Engine, Session};
use crate::error::QuantizeError;

/// Both models, with the same tensors to read out.
#[derive(Debug)]
pub struct Taps {
    float: Reference,
    /// For each tensor where its float values are.
    places: Vec<Place>,
    int8: Engine,
}

/// Where the values of a tensor come from.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// The model's input of this number.
    Input(usize),
    /// The output of this number of the prepared float model.
    Output(usize),
}

/// The values of all tapped tensors for one sample, in the order in which they were asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// As the float model computes them, by tract.
    pub real: Vec<Vec<f32>>,
    /// As the int8 model computes them, by the engine.
    pub near: Vec<Vec<f32>>,
}

impl Taps {
    /// Prepares both models of `quantized`; `tensors` are named as the float model names them.
    ///
    /// # Errors
    /// [`QuantizeError`] where either model cannot be prepared.
    pub fn of(quantized: &Quantized, tensors: &[String]) -> Result<Taps, QuantizeError> {
        let Quantized { float, model, inserted, dims, .. } = quantized;
        let mut tapped = Model { outputs: Vec::new(), ..model.clone() };
        for tensor in tensors {
            let name = inserted.dequantized.get(tensor).unwrap_or(tensor).clone();
            tapped.outputs.push(ValueInfo { name, dtype: DType::F32, shape: None });
        }
        let int8 = Engine::new(engine::plan(&tapped, dims, None)?)?;
        let mut named = Vec::new();
        let mut place = |tensor: &String| match float.inputs.iter().position(|input| input.name == *tensor) {
            Some(input) => Place::Input(input),
            None => {
                named.push(tensor.clone());
                Place::Output(named.len() - 1)
            }
        };
        let places = tensors.iter().map(&mut place).collect();
        let only = |name: &String| ValueInfo { name: name.clone(), dtype: DType::F32, shape: None };
        let float = Model { outputs: named.iter().map(only).collect(), ..float.clone() };
        Ok(Taps { float: Reference::with_dims(&float, &[], dims)?, places, int8 })
    }

    /// Memory to run the int8 model in; one for each thread.
    ///
    /// # Errors
    /// [`QuantizeError::Engine`].
    pub fn session(&self) -> Result<Session, QuantizeError> {
        self.int8.session()
    }

    /// Runs both models.
    ///
    /// # Errors
    /// [`QuantizeError::Data`] naming the sample.
    pub fn run(&self, session: &mut Session, sample: &Sample) -> Result<Values, QuantizeError> {
        let outputs = self.float.run(&sample.inputs).map_err(|e| QuantizeError::data(&sample.name, e.to_string()))?;
        let tensor = |place: &Place| match *place {
            Place::Input(index) => sample.inputs.get(index),
            Place::Output(index) => outputs.get(index),
        };
        let values = |place| tensor(place).map_or(Ok(Vec::new()), Tensor::to_f32s);
        let real = self.places.iter().map(values).collect::<Result<_, _>>()?;
        Ok(Values { real, near: session.outputs(sample)? })
    }
}
