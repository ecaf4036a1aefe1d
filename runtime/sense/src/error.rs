use core::fmt;

/// What can be refused by this crate. Every message says the mend.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// A field of an [`ImageSpec`](crate::ImageSpec) or [`AudioSpec`](crate::AudioSpec) is not usable.
    Spec {
        /// The field, as the card names it.
        field: &'static str,
        /// What would be accepted.
        mend: &'static str,
    },
    /// The bytes are no encoded spec of a version this crate reads.
    Encoding {
        /// What is wrong with them.
        problem: &'static str,
    },
    /// The planes of a picture do not hold the picture.
    Pixels {
        /// What is wrong with them.
        problem: &'static str,
    },
    /// The output slice has another length than the tensor.
    OutputLength {
        /// Elements of the tensor.
        needed: usize,
        /// Elements given.
        given: usize,
    },
    /// The scratch slice is too short.
    ScratchLength {
        /// Elements needed (bytes for images, `f32` for sound).
        needed: usize,
        /// Elements given.
        given: usize,
    },
    /// The sample rate lies outside of 4 kHz to 192 kHz.
    SampleRate {
        /// The rate given, Hz.
        given: u32,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::Spec { field, mend } => write!(f, "`{field}` cannot be used: it must be {mend}"),
            Error::Encoding { problem } => {
                write!(f, "not a pre-processing record this version reads ({problem}): compile the model again")
            }
            Error::Pixels { problem } => write!(f, "the picture cannot be read: {problem}"),
            Error::OutputLength { needed, given } => {
                write!(f, "the tensor has {needed} elements, the output slice {given}: give a slice of {needed}")
            }
            Error::ScratchLength { needed, given } => {
                write!(f, "{needed} elements of scratch are needed, {given} were given: give at least {needed}")
            }
            Error::SampleRate { given } => {
                write!(f, "a sample rate of {given} Hz is outside of 4000 to 192000 Hz: record at a rate between them")
            }
        }
    }
}

impl core::error::Error for Error {}
