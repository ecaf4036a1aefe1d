//! From the pointers of C to references, with every check that can be made of them.

use core::ops::Range;

use crate::status::CygnetStatus;

/// What the body of a function of the interface gives.
pub(crate) type Outcome<T = ()> = Result<T, CygnetStatus>;

/// Runs the body of a function. No panic leaves it: with `std` it becomes a status, elsewhere panics abort.
pub(crate) fn answer(body: impl FnOnce() -> Outcome) -> CygnetStatus {
    #[cfg(feature = "std")]
    let outcome = std::panic::catch_unwind(core::panic::AssertUnwindSafe(body)).unwrap_or(Err(CygnetStatus::Internal));
    #[cfg(not(feature = "std"))]
    let outcome = body();
    match outcome {
        Ok(()) => CygnetStatus::Ok,
        Err(status) => status,
    }
}

/// Whether a pointer can point to a `T`.
pub(crate) fn check<T>(pointer: *const T) -> Outcome {
    if pointer.is_null() {
        Err(CygnetStatus::NullPointer)
    } else if !pointer.is_aligned() {
        Err(CygnetStatus::Unaligned)
    } else {
        Ok(())
    }
}

/// Whether a pointer can point to `count` elements.
fn check_many<T>(pointer: *const T, count: usize) -> Outcome {
    check(pointer)?;
    let bytes = count.checked_mul(size_of::<T>()).filter(|&bytes| isize::try_from(bytes).is_ok());
    let end = bytes.and_then(|bytes| pointer.addr().checked_add(bytes));
    end.map(|_| ()).ok_or(CygnetStatus::ElementCount)
}

/// What a pointer points to.
///
/// # Safety
/// A pointer that is not null and aligned points to a `T` that nobody changes while the reference lives.
pub(crate) unsafe fn at<'a, T>(pointer: *const T) -> Outcome<&'a T> {
    check(pointer)?;
    // SAFETY: checked, and the caller's duty.
    Ok(unsafe { &*pointer })
}

/// Hands a value to C.
///
/// # Safety
/// A pointer that is not null and aligned points to room for a `T`.
pub(crate) unsafe fn put<T>(pointer: *mut T, value: T) -> Outcome {
    check(pointer)?;
    // SAFETY: checked, and the caller's duty.
    unsafe { pointer.write(value) };
    Ok(())
}

/// Elements to read.
///
/// # Safety
/// A pointer that is not null and aligned points to `count` elements that nobody changes while the slice lives.
pub(crate) unsafe fn elements<'a, T>(pointer: *const T, count: usize) -> Outcome<&'a [T]> {
    check_many(pointer, count)?;
    // SAFETY: checked, and the caller's duty.
    Ok(unsafe { core::slice::from_raw_parts(pointer, count) })
}

/// Elements to write.
///
/// # Safety
/// A pointer that is not null and aligned points to `count` elements that nobody else uses while the slice lives.
pub(crate) unsafe fn elements_mut<'a, T>(pointer: *mut T, count: usize) -> Outcome<&'a mut [T]> {
    check_many(pointer, count)?;
    // SAFETY: checked, and the caller's duty.
    Ok(unsafe { core::slice::from_raw_parts_mut(pointer, count) })
}

/// The addresses of `count` elements.
pub(crate) fn span<T>(pointer: *const T, count: usize) -> Range<usize> {
    let start = pointer.addr();
    start..start.saturating_add(count.saturating_mul(size_of::<T>()))
}

/// Refuses pieces of memory of which one byte lies in both.
pub(crate) fn apart(a: &Range<usize>, b: &Range<usize>) -> Outcome {
    let both = a.start.max(b.start)..a.end.min(b.end);
    if both.is_empty() { Ok(()) } else { Err(CygnetStatus::Overlap) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "std")]
    #[test]
    fn a_panic_becomes_a_status() {
        assert_eq!(answer(|| panic!("as a bug would")), CygnetStatus::Internal);
        assert_eq!(answer(|| Err(CygnetStatus::Busy)), CygnetStatus::Busy);
    }

    #[test]
    fn pointers_are_checked_before_use() {
        let words = [1_u32, 2];
        let pointer = words.as_ptr();
        assert_eq!(check::<u32>(core::ptr::null()), Err(CygnetStatus::NullPointer));
        assert_eq!(check(pointer.wrapping_byte_add(1)), Err(CygnetStatus::Unaligned));
        for count in [usize::MAX, isize::MAX as usize, usize::MAX / 4 + 1] {
            assert_eq!(check_many(pointer, count), Err(CygnetStatus::ElementCount), "{count}");
        }
        assert_eq!(check_many(pointer, 2), Ok(()));
    }

    #[test]
    fn neighbours_do_not_overlap() {
        assert_eq!(apart(&(0..4), &(4..8)), Ok(()));
        assert_eq!(apart(&(4..4), &(0..8)), Ok(()));
        assert_eq!(apart(&(0..5), &(4..8)), Err(CygnetStatus::Overlap));
        assert_eq!(apart(&(5..6), &(4..8)), Err(CygnetStatus::Overlap));
    }
}
