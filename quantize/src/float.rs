//! The float model run by the engine, with inner tensors read out.

use cygnet_onnx::model::{DType, Model, ValueInfo};
use rayon::prelude::*;

use crate::data::Sample;
use crate::engine::{self, Engine, Session};
use crate::error::QuantizeError;
use crate::facts::Dims;

/// A float model and the tensors that are wanted of it.
#[derive(Debug)]
pub struct Float {
    engine: Engine,
    /// Where each tensor comes from.
    places: Vec<Place>,
}

/// Where the values of a tensor are.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// They are the model's input of this number.
    Input(usize),
    /// They are the plan's output of this number.
    Output(usize),
}

impl Float {
    /// Prepares `model`, open axes fixed by `dims`, to give `tensors`: inputs or what nodes make.
    ///
    /// # Errors
    /// [`QuantizeError::Compile`] naming the node.
    pub fn of(model: &Model, dims: &Dims, tensors: &[String]) -> Result<Float, QuantizeError> {
        let mut outputs = Vec::new();
        let mut place = |tensor: &String| match model.inputs.iter().position(|input| input.name == *tensor) {
            Some(input) => Place::Input(input),
            None => {
                outputs.push(ValueInfo { name: tensor.clone(), dtype: DType::F32, shape: None });
                Place::Output(outputs.len() - 1)
            }
        };
        let places = tensors.iter().map(&mut place).collect();
        if outputs.is_empty() {
            outputs.clone_from(&model.outputs);
        }
        let tapped = Model { outputs, ..model.clone() };
        Ok(Float { engine: Engine::new(engine::plan(&tapped, dims, None)?)?, places })
    }

    /// Memory to run it in.
    ///
    /// # Errors
    /// [`QuantizeError::Engine`].
    pub fn session(&self) -> Result<Session, QuantizeError> {
        self.engine.session()
    }

    /// Memory for each thread.
    ///
    /// # Errors
    /// [`QuantizeError::Engine`].
    pub fn sessions(&self) -> Result<Vec<Session>, QuantizeError> {
        (0..rayon::current_num_threads()).map(|_| self.session()).collect()
    }

    /// The tensors for one sample, in the order in which they were asked for, as ONNX lays them out.
    ///
    /// # Errors
    /// [`QuantizeError::Data`] naming the sample.
    pub fn run(&self, session: &mut Session, sample: &Sample) -> Result<Vec<Vec<f32>>, QuantizeError> {
        let mut outputs = match self.places.iter().any(|place| matches!(place, Place::Output(_))) {
            true => session.outputs(sample)?,
            false => Vec::new(),
        };
        let values = |place: &Place| match *place {
            Place::Input(index) => sample.inputs.get(index).map_or(Ok(Vec::new()), |tensor| Ok(tensor.to_f32s()?)),
            Place::Output(index) => Ok(outputs.get_mut(index).map(std::mem::take).unwrap_or_default()),
        };
        self.places.iter().map(values).collect()
    }

    /// The tensors for each of `samples`, at most as many as there are `sessions`, side by side.
    ///
    /// # Errors
    /// [`QuantizeError::Data`] naming the sample.
    pub fn run_all(&self, sessions: &mut [Session], samples: &[Sample]) -> Result<Vec<Vec<Vec<f32>>>, QuantizeError> {
        sessions.par_iter_mut().zip(samples).map(|(session, sample)| self.run(session, sample)).collect()
    }
}
