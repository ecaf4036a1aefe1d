//! What can go wrong between the bytes of a plan and its answer.

use core::fmt;

/// Why a plan is refused or a call cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The bytes do not begin like a plan.
    NotAPlan,
    /// The plan was made for another version of the format.
    Version {
        /// The version the file names.
        found: u16,
    },
    /// The file is shorter or longer than its header says.
    Length {
        /// Bytes that the header promises.
        expected: u32,
        /// Bytes that are there.
        found: usize,
    },
    /// The checksum does not match: the file was damaged.
    Checksum,
    /// A table or a name of the plan points outside the file.
    Table {
        /// Which table.
        what: &'static str,
    },
    /// A tensor of the plan breaks a rule.
    Tensor {
        /// Its index in the tensor table.
        index: u32,
        /// The broken rule.
        rule: &'static str,
    },
    /// A step of the plan breaks a rule.
    Step {
        /// Its index in the list of steps.
        index: u32,
        /// The broken rule.
        rule: &'static str,
    },
    /// The arena is smaller than [`crate::Plan::arena_bytes`].
    ArenaTooSmall {
        /// Bytes that the plan needs.
        needed: usize,
        /// Bytes that were given.
        given: usize,
    },
    /// The arena does not start at a multiple of [`crate::plan::ALIGNMENT`].
    ArenaMisaligned,
    /// No input or output has this index.
    NoSuchTensor {
        /// The index asked for.
        index: usize,
    },
    /// A slice has another number of elements than the input or output.
    ElementCount {
        /// Elements of the tensor.
        expected: usize,
        /// Elements of the slice.
        given: usize,
    },
    /// The input or output holds elements of another type than the call reads or writes.
    ElementType {
        /// The type of the tensor.
        expected: crate::DType,
    },
    /// The step runs through a fallback that only machines with `std` have.
    NeedsHost {
        /// Its index in the list of steps.
        step: u32,
    },
    /// The kernels were chosen for another plan and know nothing of the step; see [`crate::kernels::Kernels::only`].
    NoKernel {
        /// Its index in the list of steps.
        step: u32,
    },
    /// An index that a step was given lies outside the axis that it picks from: the input does not suit the model.
    IndexOutside {
        /// Its index in the list of steps.
        step: u32,
    },
    /// What the model keeps of the tokens before has no room for another one.
    CacheFull {
        /// Tokens that it can keep.
        tokens: u32,
    },
    /// The fallback of a step failed; the host has logged why.
    HostFailed {
        /// Its index in the list of steps.
        step: u32,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotAPlan => f.write_str("not a Cygnet plan: compile the model with `quantize compile MODEL.onnx`"),
            Self::Version { found } => write!(
                f,
                "the plan has format version {found}, this runtime reads {}: compile the model again",
                crate::plan::VERSION
            ),
            Self::Length { expected, found } => {
                write!(f, "the plan should have {expected} bytes and has {found}: copy the file again")
            }
            Self::Checksum => f.write_str("the plan is damaged (checksum): copy the file again"),
            Self::Table { what } => write!(f, "the plan's {what} lies outside the file: compile the model again"),
            Self::Tensor { index, rule } => write!(f, "plan tensor {index}: {rule}: compile the model again"),
            Self::Step { index, rule } => write!(f, "plan step {index}: {rule}: compile the model again"),
            Self::ArenaTooSmall { needed, given } => write!(f, "the arena has {given} bytes, the plan needs {needed}"),
            Self::ArenaMisaligned => {
                write!(f, "the arena must start at a multiple of {} bytes", crate::plan::ALIGNMENT)
            }
            Self::NoSuchTensor { index } => write!(f, "the plan has no input or output {index}"),
            Self::ElementCount { expected, given } => {
                write!(f, "the tensor has {expected} elements, the slice {given}")
            }
            Self::ElementType { expected } => write!(f, "the tensor holds {expected}: use the call for that type"),
            Self::NoKernel { step } => {
                write!(f, "step {step} has no kernel here: restrict the kernels to the steps of this plan")
            }
            Self::NeedsHost { step } => {
                write!(f, "step {step} has no native kernel and needs the ONNX fallback of a machine with std")
            }
            Self::IndexOutside { step } => {
                write!(f, "an index of step {step} lies outside its table: give the input that the model was made for")
            }
            Self::CacheFull { tokens } => write!(
                f,
                "the model can keep {tokens} tokens, and has seen as many: begin anew (reset), or give the card's table \
                 [cache] a greater `length`, or `slides = true`"
            ),
            Self::HostFailed { step } => write!(f, "the fallback of step {step} failed"),
        }
    }
}

impl core::error::Error for Error {}
