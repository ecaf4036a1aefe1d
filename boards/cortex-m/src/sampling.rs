//! The microphone at an even rate: SysTick interrupts whatever the core does, takes a sample, and puts it into a queue.

use core::cell::RefCell;

use cortex_m::interrupt::{self, Mutex};
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::exception;
use cygnet_sensors::{QueuedSound, SoundQueue, SoundSink, SpiMicrophone};

use crate::board::Sensor;

/// Samples between the interrupt and the loop: half a second at 16 kHz.
const QUEUE: usize = 8192;

/// What an interrupt needs.
struct Sampler {
    microphone: SpiMicrophone<Sensor>,
    sink: SoundSink<'static>,
    /// Samples that the bus did not give.
    failed: u32,
}

static SAMPLER: Mutex<RefCell<Option<Sampler>>> = Mutex::new(RefCell::new(None));

/// Starts taking `rate` samples a second of the microphone on `spi`, as nearly as `core_hz` can be divided. There is one queue: a second call gives
/// `None`, as does a rate that SysTick cannot count.
pub fn start(spi: Sensor, timer: &mut SYST, core_hz: u32, rate: u32) -> Option<QueuedSound<'static, fn()>> {
    let reload = core_hz.checked_div(rate)?.checked_sub(1).filter(|reload| (1..1 << 24).contains(reload))?;
    let queue = cortex_m::singleton!(SOUND: SoundQueue<QUEUE> = SoundQueue::new())?;
    let (sink, source) = queue.split(rate, cortex_m::asm::wfi as fn());
    let microphone = SpiMicrophone::new(spi);
    interrupt::free(|cs| SAMPLER.borrow(cs).replace(Some(Sampler { microphone, sink, failed: 0 })));
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(reload);
    timer.clear_current();
    timer.enable_counter();
    timer.enable_interrupt();
    Some(source)
}

/// Samples since the last call that found no room in the queue, and that the microphone did not give.
#[must_use]
pub fn take_lost() -> (u32, u32) {
    interrupt::free(|cs| match &mut *SAMPLER.borrow(cs).borrow_mut() {
        Some(sampler) => (sampler.sink.take_lost(), core::mem::take(&mut sampler.failed)),
        None => (0, 0),
    })
}

#[exception]
fn SysTick() {
    interrupt::free(|cs| {
        let mut sampler = SAMPLER.borrow(cs).borrow_mut();
        let Some(sampler) = &mut *sampler else { return };
        match sampler.microphone.sample() {
            Ok(sample) => sampler.sink.push(sample),
            Err(_) => sampler.failed = sampler.failed.saturating_add(1),
        }
    });
}
