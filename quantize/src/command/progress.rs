//! Tells on stderr how far the work is: a bar on a terminal, else a line now and then.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Nothing is said of what takes less than this.
const SOON: Duration = Duration::from_secs(1);
/// Between two lines where there is no terminal.
const NOW_AND_THEN: Duration = Duration::from_secs(10);

/// One piece of work of a known number of steps.
pub struct Progress {
    label: &'static str,
    total: usize,
    done: usize,
    bar: Option<ProgressBar>,
    start: Instant,
    told: Option<Instant>,
}

impl Progress {
    /// Starts; nothing is shown until a second has passed.
    pub fn new(label: &'static str, total: usize) -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::hidden();
            bar.set_length(total as u64);
            if let Ok(style) = ProgressStyle::with_template("{msg:12} {bar:32} {pos}/{len}, {eta} left") {
                bar.set_style(style);
            }
            bar.with_message(label)
        });
        Progress { label, total, done: 0, bar, start: Instant::now(), told: None }
    }

    /// One step is done.
    pub fn step(&mut self) {
        self.done += 1;
        if self.start.elapsed() < SOON {
            return;
        }
        let is_first = self.told.is_none();
        if let Some(bar) = &self.bar {
            if is_first {
                self.told = Some(Instant::now());
                bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
            }
            bar.set_position(self.done as u64);
        } else if self.told.is_none_or(|t| t.elapsed() >= NOW_AND_THEN) {
            self.told = Some(Instant::now());
            log::info!("{}: {} of {}", self.label, self.done, self.total);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        match &self.bar {
            Some(bar) => bar.finish_and_clear(),
            None if self.told.is_some() => {
                log::info!("{}: {} done in {:.1} s", self.label, self.done, self.start.elapsed().as_secs_f64());
            }
            None => {}
        }
    }
}
