//! The word by which an object in the caller's memory is known: 0 where nothing is, else a number made of the kind of
//! object, its address and whether a call works with it. What was never opened, was closed, was copied elsewhere or is
//! something else is told from what is open.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::boundary::Outcome;
use crate::status::CygnetStatus;

/// The word of an object; the first of its fields.
#[repr(transparent)]
pub(crate) struct Seal(AtomicU32);

/// Kinds of objects: any two numbers.
pub(crate) const PLAN: u32 = 0x7c19_a5e0;
pub(crate) const SESSION: u32 = 0xe3b5_164c;

/// Both numbers differ from each other and from 0 in their lowest bits.
fn open(kind: u32, address: usize) -> u32 {
    (kind ^ address as u32) | 0b11
}

fn busy(kind: u32, address: usize) -> u32 {
    open(kind, address) & !1
}

impl Seal {
    fn exchange(&self, from: u32, to: u32) -> Result<(), u32> {
        #[cfg(target_has_atomic = "32")]
        return self.0.compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed).map(|_| ());
        // Armv6-M: one core. An interrupt between the two leaves the word as it was.
        #[cfg(not(target_has_atomic = "32"))]
        match self.0.load(Ordering::Acquire) {
            found if found == from => {
                self.0.store(to, Ordering::Relaxed);
                Ok(())
            }
            found => Err(found),
        }
    }

    /// Begins to open an object that was zeroed or closed; [`Claim::finish`] opens it.
    pub(crate) fn claim(&self, kind: u32) -> Outcome<Claim<'_>> {
        let address = core::ptr::from_ref(self).addr();
        let (open, busy) = (open(kind, address), busy(kind, address));
        match self.exchange(0, busy) {
            Ok(()) => Ok(Claim { seal: self, after: 0, open }),
            Err(found) if found == open || found == busy => Err(CygnetStatus::InUse),
            Err(_) => Err(CygnetStatus::NotZeroed),
        }
    }

    /// Takes an open object for this call alone; it stays open behind it.
    pub(crate) fn take(&self, kind: u32) -> Outcome<Claim<'_>> {
        let address = core::ptr::from_ref(self).addr();
        let (open, busy) = (open(kind, address), busy(kind, address));
        match self.exchange(open, busy) {
            Ok(()) => Ok(Claim { seal: self, after: open, open }),
            Err(found) if found == busy => Err(CygnetStatus::Busy),
            Err(_) => Err(CygnetStatus::NotOpen),
        }
    }

    /// Whether the object is open, for calls that only read what never changes.
    pub(crate) fn check(&self, kind: u32) -> Outcome {
        let address = core::ptr::from_ref(self).addr();
        if self.0.load(Ordering::Acquire) == open(kind, address) { Ok(()) } else { Err(CygnetStatus::NotOpen) }
    }
}

/// The right to change an object, until it is dropped.
pub(crate) struct Claim<'a> {
    seal: &'a Seal,
    after: u32,
    open: u32,
}

impl Claim<'_> {
    /// Leaves the object open.
    pub(crate) fn finish(mut self) {
        self.after = self.open;
    }

    /// Leaves the object closed.
    pub(crate) fn close(mut self) {
        self.after = 0;
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.seal.0.store(self.after, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_goes_its_way() {
        let seal = Seal(AtomicU32::new(0));
        assert_eq!(seal.take(PLAN).err(), Some(CygnetStatus::NotOpen));
        drop(seal.claim(PLAN).unwrap());
        assert_eq!(seal.check(PLAN), Err(CygnetStatus::NotOpen));
        seal.claim(PLAN).unwrap().finish();
        assert_eq!(seal.claim(PLAN).err(), Some(CygnetStatus::InUse));
        assert_eq!(seal.take(SESSION).err(), Some(CygnetStatus::NotOpen));
        let claim = seal.take(PLAN).unwrap();
        assert_eq!(seal.take(PLAN).err(), Some(CygnetStatus::Busy));
        drop(claim);
        assert_eq!(seal.check(PLAN), Ok(()));
        let copy = Seal(AtomicU32::new(seal.0.load(Ordering::Relaxed)));
        assert_eq!(copy.check(PLAN), Err(CygnetStatus::NotOpen));
        assert_eq!(copy.claim(PLAN).err(), Some(CygnetStatus::NotZeroed));
        seal.take(PLAN).unwrap().close();
        seal.claim(PLAN).unwrap().finish();
    }

    #[test]
    fn no_address_makes_the_words_equal() {
        for kind in [PLAN, SESSION] {
            for address in [0, kind as usize, !kind as usize, usize::MAX] {
                let words = [0, open(kind, address), busy(kind, address)];
                assert!(words[0] != words[1] && words[1] != words[2] && words[0] != words[2]);
            }
        }
    }
}
