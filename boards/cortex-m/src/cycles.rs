//! How much work something was: the core's cycle counter (DWT), on hardware. In QEMU it stands still.

use core::cell::Cell;

use cortex_m::Peripherals;
use cortex_m::peripheral::DWT;

/// A running counter.
#[derive(Debug)]
pub struct Counter {
    /// The last value, and how often the counter has started again.
    last: Cell<(u32, u32)>,
}

impl Counter {
    /// What is counted.
    pub const UNIT: &str = "cycles";

    /// Starts the counter.
    #[must_use]
    pub fn start(core: &mut Peripherals) -> Self {
        core.DCB.enable_trace();
        core.DWT.set_cycle_count(0);
        core.DWT.enable_cycle_counter();
        Self { last: Cell::new((0, 0)) }
    }

    /// Cycles since the start. The counter has 32 bits: it must be looked at once in its round, which is 28 seconds at
    /// 150 MHz.
    #[must_use]
    pub fn count(&self) -> u64 {
        let now = DWT::cycle_count();
        let (last, rounds) = self.last.get();
        let rounds = if now < last { rounds.wrapping_add(1) } else { rounds };
        self.last.set((now, rounds));
        u64::from(rounds) << 32 | u64::from(now)
    }
}
