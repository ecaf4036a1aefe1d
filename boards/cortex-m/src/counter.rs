//! How much work something was: the SysTick timer, compared with a loop whose instructions are known.
//!
//! In QEMU with `-icount` every instruction takes the same time, so what is printed are instructions, within a few. The
//! boards on a desk count cycles instead (`cycles.rs`).

use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::Peripherals;
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::exception;

/// Ticks until the timer starts again.
const PERIOD: u32 = 1 << 24;
/// Rounds of the known loop.
const ROUNDS: u32 = 1 << 16;
/// Its instructions: a subtraction and a branch each.
const LOOP_INSTRUCTIONS: u64 = 2 * ROUNDS as u64;

static PERIODS: AtomicU32 = AtomicU32::new(0);

#[exception]
fn SysTick() {
    // There is one writer, and cores without an exclusive load have no addition in one piece.
    PERIODS.store(PERIODS.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// A running timer.
#[derive(Debug)]
pub struct Counter {
    loop_ticks: u64,
}

impl Counter {
    /// What is counted.
    pub const UNIT: &str = "instructions";

    /// Starts the timer.
    #[must_use]
    pub fn start(core: &mut Peripherals) -> Self {
        let timer = &mut core.SYST;
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(PERIOD - 1);
        timer.clear_current();
        timer.enable_counter();
        timer.enable_interrupt();
        // The first tick loads the timer.
        while SYST::get_current() == 0 {}
        let start = ticks();
        cortex_m::asm::delay(ROUNDS - 1);
        Self { loop_ticks: (ticks() - start).max(1) }
    }

    /// Instructions since the start.
    #[must_use]
    pub fn count(&self) -> u64 {
        ticks() * LOOP_INSTRUCTIONS / self.loop_ticks
    }
}

/// Ticks since the timer was started.
fn ticks() -> u64 {
    loop {
        let periods = PERIODS.load(Ordering::Relaxed);
        let left = SYST::get_current();
        if periods == PERIODS.load(Ordering::Relaxed) {
            return u64::from(periods) * u64::from(PERIOD) + u64::from(PERIOD - 1 - left);
        }
    }
}
