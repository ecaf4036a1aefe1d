//! Work on many samples by many threads with a result that does not depend on their number.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::QuantizeError;

/// Into how many runs a batch is cut, whatever the number of threads: sums are made within a run, then over the runs.
pub(super) const LANES: usize = 8;

/// Stack of a thread: gradients go through the graph by recursion.
const STACK_BYTES: usize = 64 << 20;

/// Does `work` on each of the runs that `items` are cut into; the results in order.
///
/// # Errors
/// The first error in the order of the runs.
pub(super) fn in_lanes<I: Sync, R: Send>(
    items: &[I],
    threads: usize,
    work: impl Fn(&[I]) -> Result<R, QuantizeError> + Sync,
) -> Result<Vec<R>, QuantizeError> {
    let lanes: Vec<&[I]> = items.chunks(items.len().div_ceil(LANES).max(1)).collect();
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<Result<R, QuantizeError>>>> = Mutex::new(lanes.iter().map(|_| None).collect());
    let run = || {
        while let Some((index, lane)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, lanes.get(i)?)))
        {
            let result = work(lane);
            results.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, LANES) {
            let builder = std::thread::Builder::new().stack_size(STACK_BYTES);
            if let Err(error) = builder.spawn_scoped(scope, run) {
                log::debug!("a thread fewer: {error}");
            }
        }
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    let stopped = || QuantizeError::Unsuitable("no thread could be started; free some memory".into());
    results.into_iter().map(|result| result.unwrap_or_else(|| Err(stopped()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_with_any_number_of_threads() {
        let items: Vec<usize> = (0..21).collect();
        for threads in [1, 2, 5, 100] {
            let sums = in_lanes(&items, threads, |lane| Ok(lane.iter().sum::<usize>())).unwrap();
            // Runs of three: 0+1+2, 3+4+5, …
            assert_eq!(sums, [3, 12, 21, 30, 39, 48, 57]);
        }
        let error = in_lanes(&items, 3, |lane| match lane[0] {
            0 => Ok(0),
            first => Err(QuantizeError::Unsuitable(first.to_string())),
        });
        assert_eq!(error.unwrap_err().to_string(), "3");
    }
}
