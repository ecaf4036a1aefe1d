//! A pool of threads that stay: they share the work of a step and wait for the next one.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{JoinHandle, Thread};

use cygnet_core::Team;
use cygnet_core::kernels::Kernels;

/// What a thread does with one part of the work, and its own room.
type Work<'w> = dyn Fn(usize, &mut [u8]) + Sync + 'w;

/// Looks at the state that a waiting thread takes before it sleeps: about a millisecond, more than lies between two runs
/// that follow each other. One that sleeps is late: the first steps of the next run would be done by the others alone.
const PATIENCE: u32 = 100_000;

/// Threads for the sessions of one model. The calling thread is the first of them.
#[derive(Debug)]
pub struct Threads {
    state: Arc<State>,
    workers: Vec<JoinHandle<()>>,
    handles: Vec<Thread>,
    room: Room,
    least_work: u64,
    busy: AtomicBool,
}

/// Physical cores that the process may use: what [`crate::Model::session`] takes.
#[must_use]
pub fn physical_cores() -> usize {
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    num_cpus::get_physical().clamp(1, allowed)
}

/// Room of one thread.
#[derive(Debug)]
struct Room(UnsafeCell<Vec<u8>>);

// SAFETY: each room is used by one thread at a time: a worker's by itself, the caller's while `busy` is held.
unsafe impl Sync for Room {}

#[derive(Debug)]
struct State {
    /// The piece of work, how many parts it has and how many are taken; see [`Ticket`].
    ticket: AtomicU64,
    work: UnsafeCell<Option<Handle>>,
    /// How many parts there are.
    parts: AtomicUsize,
    /// Parts that are done.
    done: AtomicUsize,
    /// Workers that have started.
    ready: AtomicUsize,
    panicked: AtomicBool,
    end: AtomicBool,
}

/// A turn (the upper half) and the parts that nobody has taken (a bit each), in one word: a thread that comes late finds
/// none left, or takes part in what the others are at by then.
#[derive(Clone, Copy)]
struct Ticket(u64);

/// Parts that a ticket has room for.
const MOST_PARTS: usize = 32;

impl Ticket {
    fn new(turn: u64, parts: usize) -> Self {
        Self(turn << MOST_PARTS | ((1 << parts) - 1))
    }

    fn turn(self) -> u64 {
        self.0 >> MOST_PARTS
    }

    /// The first part from `from` on that is left, or the first of all.
    fn next(self, from: usize) -> Option<u32> {
        let left = self.0 as u32;
        let behind = left & u32::MAX.checked_shl(from as u32).unwrap_or(0);
        (left != 0).then(|| if behind != 0 { behind } else { left }.trailing_zeros())
    }
}

/// A work whose lifetime is left out: `Threads::run` does not come back before all parts are done.
#[derive(Clone, Copy)]
struct Handle(*const Work<'static>);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handle")
    }
}

// SAFETY: `work` is written while all parts are done, and read by those who have taken a part.
unsafe impl Sync for State {}
// SAFETY: the work behind the handle may be called from any thread.
unsafe impl Send for State {}

impl State {
    /// Takes a part, when one is left: rather one from `from` on, so that a thread works on the same part of each step
    /// and finds in its own cache what it reads.
    fn take(&self, from: usize) -> Option<usize> {
        let mut ticket = Ticket(self.ticket.load(Ordering::Acquire));
        while let Some(part) = ticket.next(from) {
            let taken = self.ticket.compare_exchange_weak(
                ticket.0,
                ticket.0 & !(1 << part),
                Ordering::AcqRel,
                Ordering::Acquire,
            );
            match taken {
                Ok(_) => return Some(part as usize),
                Err(now) => ticket = Ticket(now),
            }
        }
        None
    }

    /// Does parts until none is left; thread `index` of `size`.
    fn take_part(&self, index: usize, size: usize, room: &mut [u8]) {
        let from = index * self.parts.load(Ordering::Relaxed) / size;
        while let Some(part) = self.take(from) {
            // SAFETY: a part is taken and not done, so `run` is not back, and its work is there.
            if let Some(Handle(work)) = unsafe { *self.work.get() } {
                // SAFETY: as above.
                if catch_unwind(AssertUnwindSafe(|| unsafe { (*work)(part, room) })).is_err() {
                    self.panicked.store(true, Ordering::Relaxed);
                }
            }
            self.done.fetch_add(1, Ordering::Release);
        }
    }

    /// The life of a worker.
    fn serve(&self, index: usize, size: usize, mut room: Vec<u8>) {
        self.ready.fetch_add(1, Ordering::Release);
        let mut seen = 0;
        // It sleeps before the first run: it may share a CPU with the thread that is still loading.
        let mut looks = PATIENCE;
        loop {
            while Ticket(self.ticket.load(Ordering::Acquire)).turn() == seen {
                if self.end.load(Ordering::Acquire) {
                    return;
                }
                looks += 1;
                if looks < PATIENCE { std::hint::spin_loop() } else { std::thread::park() }
            }
            seen = Ticket(self.ticket.load(Ordering::Acquire)).turn();
            self.take_part(index, size, &mut room);
            looks = 0;
        }
    }
}

impl Threads {
    /// A pool of `size` threads, 15 at most, the calling one among them, each with `room` bytes for scratch.
    ///
    /// # Errors
    /// Where the system starts no more threads.
    pub fn new(size: usize, room: usize) -> std::io::Result<Self> {
        let pool = Self::start(size, room)?;
        pool.wait_until_ready();
        Ok(pool)
    }

    /// As [`Threads::new`]; the threads are on their way.
    pub(crate) fn start(size: usize, room: usize) -> std::io::Result<Self> {
        // The engine cuts a step in two parts for each thread.
        let size = size.clamp(1, (MOST_PARTS - 1) / 2);
        let state = Arc::new(State {
            ticket: AtomicU64::new(0),
            work: UnsafeCell::new(None),
            parts: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            ready: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            end: AtomicBool::new(false),
        });
        let mut pool = Self {
            state,
            workers: Vec::new(),
            handles: Vec::new(),
            room: Room(UnsafeCell::new(vec![0; room])),
            least_work: Kernels::PORTABLE.least_work,
            busy: AtomicBool::new(false),
        };
        for index in 1..size {
            let (state, room) = (pool.state.clone(), vec![0; room]);
            let worker = std::thread::Builder::new()
                .name(format!("cygnet {index}"))
                .spawn(move || state.serve(index, size, room))?;
            pool.handles.push(worker.thread().clone());
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    /// Waits for the threads: what each of them allocates when it starts is allocated afterwards.
    pub(crate) fn wait_until_ready(&self) {
        while self.state.ready.load(Ordering::Acquire) < self.workers.len() {
            std::thread::yield_now();
        }
    }

    /// Leaves steps of fewer multiply-accumulates to one thread.
    #[must_use]
    pub fn with_least_work(mut self, least_work: u64) -> Self {
        self.least_work = least_work;
        self
    }
}

// SAFETY: a part is taken by one thread only, and `run` waits until as many are done as there are.
unsafe impl Team for Threads {
    fn size(&self) -> usize {
        self.workers.len() + 1
    }

    fn least_work(&self) -> u64 {
        self.least_work
    }

    fn run(&self, parts: usize, work: &Work<'_>) {
        assert!(parts < MOST_PARTS, "too many parts");
        assert!(!self.busy.swap(true, Ordering::Acquire), "the pool is at work already");
        let state = &*self.state;
        state.done.store(0, Ordering::Relaxed);
        // SAFETY: only the lifetime changes. All parts of the turn before are done, and so are those of this one before
        // this function comes back.
        unsafe {
            let work: *const Work<'static> = std::mem::transmute::<*const Work<'_>, _>(work);
            *state.work.get() = Some(Handle(work));
        }
        let turn = Ticket(state.ticket.load(Ordering::Relaxed)).turn().wrapping_add(1) & u64::from(u32::MAX);
        state.parts.store(parts, Ordering::Relaxed);
        state.ticket.store(Ticket::new(turn, parts).0, Ordering::Release);
        self.handles.iter().for_each(Thread::unpark);
        // SAFETY: `busy` is held: nobody else uses this room.
        state.take_part(0, self.size(), unsafe { &mut *self.room.0.get() });
        let mut looks = 0;
        while state.done.load(Ordering::Acquire) < parts {
            looks += 1;
            if looks < PATIENCE { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
        self.busy.store(false, Ordering::Release);
        assert!(!state.panicked.swap(false, Ordering::Relaxed), "a part of the work panicked");
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.state.end.store(true, Ordering::Release);
        self.handles.iter().for_each(Thread::unpark);
        for worker in self.workers.drain(..) {
            // A worker ends with an error only when it panicked outside the work, which it does not.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_done_once_in_every_turn() {
        for size in [1, 2, 5] {
            let pool = Threads::new(size, 16).unwrap();
            for parts in 0..MOST_PARTS {
                let counts: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
                pool.run(parts, &|part, room| {
                    assert_eq!(room.len(), 16);
                    counts[part].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1), "{size} threads, {parts} parts");
            }
        }
    }

    #[test]
    fn sleeping_workers_wake_up() {
        let pool = Threads::new(3, 0).unwrap();
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let sum = AtomicUsize::new(0);
            pool.run(10, &|part, _| {
                sum.fetch_add(part, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 45);
        }
    }

    #[test]
    fn a_panic_comes_through_and_the_pool_goes_on() {
        let pool = Threads::new(2, 0).unwrap();
        let result = catch_unwind(AssertUnwindSafe(|| pool.run(8, &|part, _| assert!(part != 3))));
        assert!(result.is_err());
        pool.run(8, &|_, _| {});
    }
}
