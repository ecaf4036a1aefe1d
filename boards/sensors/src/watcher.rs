//! Pictures to answers.

use cygnet_core::plan::MetadataKind;
use cygnet_core::{DType, Plan, Session};
use cygnet_sense::{ImageSpec, Layout, Output, Pixels, Quantization, argmax, softmax_in_place};

use crate::model::{InputKind, ModelError, gives_probabilities};

/// A plan that looks at pictures.
#[derive(Debug)]
pub struct Watcher<'a> {
    session: Session<'a, 'a>,
    spec: ImageSpec,
    quantization: Quantization,
    scores: &'a mut [f32],
    are_probabilities: bool,
}

impl<'a> Watcher<'a> {
    /// How a picture becomes the first input of a plan.
    ///
    /// # Errors
    /// [`ModelError::Input`], [`ModelError::Prepare`].
    pub fn picture(plan: &Plan<'_>) -> Result<ImageSpec, ModelError> {
        let record = plan.metadata_of(MetadataKind::Image, 0).ok_or(ModelError::Input(InputKind::Pictures))?;
        Ok(ImageSpec::from_bytes(record)?)
    }

    /// Looks with `session`, whose first output has one score for each class: as many values as `scores` has at least.
    ///
    /// # Errors
    /// [`ModelError::Input`], [`ModelError::Scratch`], [`ModelError::Prepare`].
    pub fn new(session: Session<'a, 'a>, scores: &'a mut [f32]) -> Result<Self, ModelError> {
        let plan = *session.plan();
        let spec = Self::picture(&plan)?;
        let wrong = ModelError::Input(InputKind::Pictures);
        let tensor = plan.input(0).and_then(|port| plan.tensor(port.tensor)).ok_or(wrong)?;
        if tensor.dtype != DType::I8 || tensor.len() != spec.tensor_len() {
            return Err(wrong);
        }
        let (needed, given) = (plan.output(0).ok_or(wrong)?.len(), scores.len());
        Ok(Self {
            session,
            spec,
            quantization: Quantization { scale: tensor.scale, zero_point: tensor.zero_point },
            scores: scores.get_mut(..needed).ok_or(ModelError::Scratch { needed, given })?,
            are_probabilities: gives_probabilities(&plan),
        })
    }

    /// The best class of a picture and its probability; `None` where no score is a number. `scratch` has at least
    /// [`ImageSpec::scratch_bytes`] of the picture's size.
    ///
    /// # Errors
    /// [`ModelError::Prepare`], [`ModelError::Run`].
    pub fn look(&mut self, picture: &Pixels<'_>, scratch: &mut [u8]) -> Result<Option<(usize, f32)>, ModelError> {
        let input = self.session.input_i8(0)?;
        // The engine keeps pictures channels-last.
        self.spec.prepare(picture, &mut Output::I8(input, self.quantization), Layout::Nhwc, scratch)?;
        self.session.run()?;
        self.session.read_f32(0, self.scores)?;
        if !self.are_probabilities {
            softmax_in_place(self.scores);
        }
        Ok(argmax(self.scores).and_then(|class| Some((class, *self.scores.get(class)?))))
    }
}
