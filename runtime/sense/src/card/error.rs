//! Why a card cannot be used.

use std::path::PathBuf;
use std::string::{String, ToString};

use crate::Error;

/// Why a card cannot be used.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    /// The file cannot be read.
    #[error("the card {path} cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no TOML, or a field is unknown, missing or of another type.
    #[error("the card{} is not written as a card: {source}", in_file(.path))]
    Syntax {
        /// The file, when it came from one.
        path: Option<PathBuf>,
        /// Where and why.
        source: std::boxed::Box<toml::de::Error>,
    },
    /// A field cannot be used.
    #[error("the card{}: `{field}` must be {mend}", in_file(.path))]
    Field {
        /// The file, when it came from one.
        path: Option<PathBuf>,
        /// The field, with its table.
        field: String,
        /// What would be accepted.
        mend: String,
    },
}

fn in_file(path: &Option<PathBuf>) -> String {
    path.as_ref().map(|path| std::format!(" {}", path.display())).unwrap_or_default()
}

/// A field and what it must be.
pub(super) type Refusal = (String, String);

/// The refusal of a field of `[input]`.
pub(super) fn refusal(field: &str, mend: &str) -> Refusal {
    (std::format!("input.{field}"), mend.to_string())
}

/// What a spec made of `[input]` refuses, by the card's name of the field.
pub(super) fn from_spec(error: Error) -> Refusal {
    match error {
        Error::Spec { field, mend } => refusal(field, mend),
        other => ("input".to_string(), other.to_string()),
    }
}
