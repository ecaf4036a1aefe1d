//! What was made of what, and how to do it again.

use std::fmt::Write;

use serde::Serialize;
use sha2::{Digest, Sha256};

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Origin {
    /// Name and version of this program.
    pub tool: String,
    /// The command that was given, for a POSIX shell.
    pub command: String,
    /// The float model.
    pub model: File,
    /// The int8 model.
    pub output: File,
    /// What calibration saw.
    pub calibration: Calibration,
    /// The evaluation samples, where there were any: file or folder, and their number.
    pub evaluation: Option<(String, usize)>,
    /// How activation ranges were drawn.
    pub ranges: String,
    /// How the model's inputs are named, and their shapes.
    pub inputs: Vec<(String, Vec<usize>)>,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct File {
    /// Its path, as it was given.
    pub path: String,
    /// SHA-256 of its bytes, in hexadecimal digits.
    pub sha256: String,
}

/// The calibration samples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// File or folder.
    pub path: String,
    /// Number of samples.
    pub samples: usize,
    /// Least and largest value of each input, where it was observed.
    pub ranges: Vec<(String, f32, f32)>,
}

/// SHA-256 in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A command line that a POSIX shell reads as these words.
pub fn shell_command(words: impl Iterator<Item = String>) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    let quoted = words.map(|word| match word.chars().all(is_plain) && !word.is_empty() {
        true => word,
        false => format!("'{}'", word.replace('\'', r"'\''")),
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_standard() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn words_survive_a_shell() {
        let words = ["quantize", "my model.onnx", "it's", "", "$(reboot)"].map(String::from);
        assert_eq!(shell_command(words.into_iter()), r"quantize 'my model.onnx' 'it'\''s' '' '$(reboot)'");
    }
}
