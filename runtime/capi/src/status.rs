//! What a call can answer.

use core::ffi::CStr;

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        impl CygnetStatus {
            fn of(status: i32) -> Option<Self> {
                match status {
                    $($value => Some(Self::$name),)*
                    _ => None,
                }
            }

            fn text(self) -> &'static CStr {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

/// What a call answers. Whatever is not CYGNET_STATUS_OK has changed nothing, but where the function says so.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CygnetStatus {
    /// Done.
    Ok = 0,
    /// A pointer is null.
    NullPointer = 1,
    /// A pointer is not aligned for what it points to; an arena must start at a multiple of CYGNET_ALIGNMENT.
    Unaligned = 2,
    /// Two pieces of memory overlap that must not: arena, plan, object, values, scratch.
    Overlap = 3,
    /// The memory of a plan or session was neither zeroed nor closed before it was opened.
    NotZeroed = 4,
    /// The plan or session is not open: never opened, closed, copied to another place, or something else.
    NotOpen = 5,
    /// The plan or session is open already, or the plan still has sessions.
    InUse = 6,
    /// Another call works with this session, perhaps in another thread or below an interrupt.
    Busy = 7,
    /// The bytes are no plan.
    NotAPlan = 8,
    /// The plan was made for another version of the runtime.
    PlanVersion = 9,
    /// The bytes end before the plan does.
    PlanTruncated = 10,
    /// The checksum of the plan is wrong.
    PlanDamaged = 11,
    /// The plan breaks a rule that makes running it safe.
    PlanInvalid = 12,
    /// The plan has a step that only a machine with the ONNX fallback runs.
    NeedsFallback = 13,
    /// The arena has fewer bytes than the plan needs.
    ArenaTooSmall = 14,
    /// There is no input, output, label or name like this.
    NotFound = 15,
    /// The number of elements or bytes is not that of the tensor.
    ElementCount = 16,
    /// The tensor has another type of elements than the call reads or writes.
    ElementType = 17,
    /// The plan does not say how this input is made of a picture, or of sound.
    NotPrepared = 18,
    /// The picture cannot be read: sides, stride, length or format.
    Picture = 19,
    /// The sample rate is not between 4000 and 192000 Hz.
    SampleRate = 20,
    /// The scratch is too small.
    ScratchTooSmall = 21,
    /// The file cannot be opened or mapped; errno says why.
    File = 22,
    /// This build of the library has no files.
    NoFiles = 23,
    /// The library was built for one plan, and this one has a step of another kind.
    NoKernel = 24,
    /// A bug in Cygnet; the session can be ended.
    Internal = 25,
}

statuses! {
    Ok = 0, c"done";
    NullPointer = 1, c"a pointer is null: give the address of memory that is there";
    Unaligned = 2, c"a pointer is not aligned: arenas start at a multiple of 16 bytes, others at one of their type";
    Overlap = 3, c"two pieces of memory overlap: give each one of its own";
    NotZeroed = 4, c"the memory of the plan or session holds something: zero it before it is opened for the first time";
    NotOpen = 5, c"the plan or session is not open: open it first, and leave it in its place";
    InUse = 6, c"the plan or session is in use: end the sessions, then close the plan, before it is opened or closed";
    Busy = 7, c"another call works with this session: use it from one thread at a time";
    NotAPlan = 8, c"not a Cygnet plan: compile the model with `quantize compile MODEL.onnx`";
    PlanVersion = 9, c"the plan was made for another version of the runtime: compile the model again";
    PlanTruncated = 10, c"the plan is shorter than it says: copy the file again, give its whole length";
    PlanDamaged = 11, c"the plan is damaged (checksum): copy the file again";
    PlanInvalid = 12, c"the plan breaks a rule that makes it safe: compile the model again";
    NeedsFallback = 13,
        c"a step of the plan has no native kernel: see `cygnet inspect`, change the model or use the program cygnet";
    ArenaTooSmall = 14, c"the arena is too small: give as many bytes as cygnet_plan_facts() tells";
    NotFound = 15, c"the plan has no such input, output, label or name: see cygnet_plan_facts()";
    ElementCount = 16, c"the number of elements is not that of the tensor: see cygnet_plan_input() and _output()";
    ElementType = 17, c"the tensor has elements of another type: use the call for bytes";
    NotPrepared = 18,
        c"the plan does not say how this input is made of that: give quantize a card, or write the tensor yourself";
    Picture = 19, c"the picture cannot be read: look at its sides, stride, length and format";
    SampleRate = 20, c"the sample rate is not between 4000 and 192000 Hz: record at one that is";
    ScratchTooSmall = 21, c"the scratch is too small: ask for its size first";
    File = 22, c"the file cannot be opened or mapped: see errno";
    NoFiles = 23, c"this build of the library has no files: read the plan yourself and use cygnet_plan_open()";
    NoKernel = 24, c"the library was built for another plan (CYGNET_PLAN): build it for this one, or for all";
    Internal = 25, c"a bug in Cygnet: please report it";
}

/// The sentence for a number that may be a status.
pub(crate) fn text(status: i32) -> &'static CStr {
    CygnetStatus::of(status).map_or(c"not a status of Cygnet", CygnetStatus::text)
}

impl From<cygnet_core::Error> for CygnetStatus {
    fn from(error: cygnet_core::Error) -> Self {
        use cygnet_core::Error;
        match error {
            Error::NotAPlan => Self::NotAPlan,
            Error::Version { .. } => Self::PlanVersion,
            Error::Length { .. } => Self::PlanTruncated,
            Error::Checksum => Self::PlanDamaged,
            Error::Table { .. } | Error::Tensor { .. } | Error::Step { .. } => Self::PlanInvalid,
            Error::ArenaTooSmall { .. } => Self::ArenaTooSmall,
            Error::ArenaMisaligned => Self::Unaligned,
            Error::NoSuchTensor { .. } => Self::NotFound,
            Error::ElementCount { .. } => Self::ElementCount,
            Error::ElementType { .. } => Self::ElementType,
            Error::NoKernel { .. } => Self::NoKernel,
            Error::NeedsHost { .. } | Error::HostFailed { .. } => Self::NeedsFallback,
            _ => Self::Internal,
        }
    }
}

impl From<cygnet_sense::Error> for CygnetStatus {
    fn from(error: cygnet_sense::Error) -> Self {
        use cygnet_sense::Error;
        match error {
            Error::Spec { .. } | Error::Encoding { .. } => Self::PlanInvalid,
            Error::Pixels { .. } => Self::Picture,
            Error::OutputLength { .. } => Self::ElementCount,
            Error::ScratchLength { .. } => Self::ScratchTooSmall,
            Error::SampleRate { .. } => Self::SampleRate,
            _ => Self::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_text() {
        assert_eq!(text(CygnetStatus::Ok as i32), c"done");
        assert_eq!(text(-1), text(26));
        assert!((0..26).all(|status| text(status) != text(-1)));
    }

    #[test]
    fn errors_keep_their_meaning() {
        let truncated = cygnet_core::Error::Length { expected: 2, found: 1 };
        assert_eq!(CygnetStatus::from(truncated), CygnetStatus::PlanTruncated);
        assert_eq!(CygnetStatus::from(cygnet_core::Error::ArenaMisaligned), CygnetStatus::Unaligned);
        let scratch = cygnet_sense::Error::ScratchLength { needed: 2, given: 1 };
        assert_eq!(CygnetStatus::from(scratch), CygnetStatus::ScratchTooSmall);
    }
}
