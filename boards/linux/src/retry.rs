//! What to do when a device is gone: say so, wait, try again.

use std::fmt::Display;
use std::thread::sleep;
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(10);

/// Waits that double from half a second to ten, until something works again.
#[derive(Debug)]
pub struct Retry {
    next: Duration,
}

impl Retry {
    /// Nothing has failed yet.
    pub fn new() -> Self {
        Self { next: FIRST }
    }

    /// The device works: the next wait is short again.
    pub fn works(&mut self) {
        self.next = FIRST;
    }

    /// Says what happened to the device, and sleeps.
    pub fn wait(&mut self, device: &str, problem: impl Display) {
        let wait = self.advance();
        log::warn!("{device}: {problem}; trying again in {:.1} s", wait.as_secs_f64());
        sleep(wait);
    }

    fn advance(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_seconds_and_begin_anew() {
        let mut retry = Retry::new();
        let waits: Vec<_> = (0..7).map(|_| retry.advance().as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        retry.works();
        assert_eq!(retry.advance(), FIRST);
    }
}
