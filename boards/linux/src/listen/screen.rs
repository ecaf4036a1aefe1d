//! What people see in a terminal: the words, and below them how loud it is.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::hearing::Word;

const BETWEEN_DRAWINGS: Duration = Duration::from_millis(50);
const BAR_CELLS: usize = 30;
/// What the left end of the bar stands for.
const QUIETEST_DB: f64 = -60.0;

/// The last line of a terminal, drawn anew all the time.
pub struct Screen {
    drawn: Option<Instant>,
}

impl Screen {
    /// Nothing drawn yet.
    pub fn new() -> Self {
        Self { drawn: None }
    }

    /// Shows how loud `samples` are; not more often than eyes follow.
    ///
    /// # Errors
    /// A terminal that is gone.
    pub fn level(&mut self, samples: &[i16], hears: Option<&str>) -> io::Result<()> {
        if self.drawn.is_some_and(|drawn| drawn.elapsed() < BETWEEN_DRAWINGS) {
            return Ok(());
        }
        self.drawn = Some(Instant::now());
        let mut out = io::stdout().lock();
        write!(out, "\r\x1b[K{} {}", bar(decibels(samples)), hears.unwrap_or(""))?;
        out.flush()
    }

    /// Writes a word above the last line.
    ///
    /// # Errors
    /// A terminal that is gone.
    pub fn word(&mut self, word: &Word) -> io::Result<()> {
        self.drawn = None;
        let mut out = io::stdout().lock();
        writeln!(out, "\r\x1b[K{:8.2} s  {}  {:.2}", word.start, word.label, word.score)?;
        out.flush()
    }

    /// Takes the last line away.
    ///
    /// # Errors
    /// A terminal that is gone.
    pub fn clear(&mut self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        write!(out, "\r\x1b[K")?;
        out.flush()
    }
}

/// Root mean square below full scale; of nothing, the quietest.
fn decibels(samples: &[i16]) -> f64 {
    let squares: f64 = samples.iter().map(|&sample| (f64::from(sample) / 32768.0).powi(2)).sum();
    let power = squares / samples.len().max(1) as f64;
    if power > 0.0 { (10.0 * power.log10()).max(QUIETEST_DB) } else { QUIETEST_DB }
}

fn bar(decibels: f64) -> String {
    let filled = ((1.0 - decibels / QUIETEST_DB) * BAR_CELLS as f64).round() as usize;
    let filled = filled.min(BAR_CELLS);
    format!("[{}{}] {decibels:4.0} dB", "#".repeat(filled), " ".repeat(BAR_CELLS - filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_below_full_scale() {
        assert_eq!(decibels(&[i16::MIN; 10]), 0.0);
        assert_eq!(decibels(&[]), QUIETEST_DB);
        assert_eq!(decibels(&[0; 10]), QUIETEST_DB);
        // A tenth of full scale.
        assert!((decibels(&[3277; 10]) + 20.0).abs() < 0.01);
        assert_eq!(bar(-30.0), format!("[{}{}]  -30 dB", "#".repeat(15), " ".repeat(15)));
        assert_eq!(bar(0.0), format!("[{}]    0 dB", "#".repeat(30)));
    }
}
