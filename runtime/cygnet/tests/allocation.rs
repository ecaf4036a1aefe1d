//! A session allocates nothing while it runs.
#![cfg(feature = "onnx")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use cygnet::Model;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// Safety: every call is handed to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // Safety: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // Safety: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn running_allocates_nothing() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/whole");
    let objects = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/objects/objects.onnx");
    for name in ["mobile_qdq_uint8.onnx", "shuffle_qdq_int8_per_channel.onnx"]
        .map(|name| golden.join(name))
        .iter()
        .chain([&objects])
    {
        let model = Model::load(name).unwrap();
        for threads in [1, 2, 3] {
            let mut session = model.session_on(threads).unwrap();
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            let done = (0..3).try_for_each(|_| session.run());
            let after = ALLOCATIONS.load(Ordering::Relaxed);
            done.unwrap();
            assert_eq!(after - before, 0, "{} on {threads} threads", name.display());
        }
    }
}
