//! JSON lines on standard output.

use std::io::{self, Write};

use serde::Serialize;

/// A class and how sure the model is of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Class {
    /// The label, or the number of the class where the model has no labels.
    pub label: String,
    /// A probability.
    pub score: f32,
}

/// Prints one object on a line of its own, at once: whoever reads must not wait for the next one.
pub fn print_line(value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

/// Seconds to the millisecond.
pub fn seconds(time: f64) -> f64 {
    (time * 1e3).round() / 1e3
}
