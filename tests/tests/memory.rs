//! Memory known to the byte: nothing is allocated while a plan runs, and the arena is exactly as large as said.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use cygnet_core::{Error, Plan, Session};
use cygnet_onnx::compile::{Options, compile};
use cygnet_onnx::model::Model;
use cygnet_tests::run::{arena, arena_bytes};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes on to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn plans() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files: Vec<_> = ["fashion", "objects", "digits-speech", "digits-text", "digits-tiny"]
        .iter()
        .map(|name| root.join("models").join(name).join(format!("{name}.onnx")))
        .collect();
    for entry in std::fs::read_dir(root.join("tests/golden/whole")).expect("golden models") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "onnx") {
            files.push(path);
        }
    }
    files.sort();
    files
        .iter()
        .map(|path| {
            let model = Model::read(path).expect("readable");
            let options = Options::default();
            (path.display().to_string(), compile(&model, &options).expect("compiles").plan)
        })
        .collect()
}

/// One test, because the count is the whole process's.
#[test]
fn runs_allocate_nothing_in_an_arena_of_exactly_the_size_that_the_plan_says() {
    for (name, bytes) in plans() {
        let plan = Plan::parse(&bytes).expect("verified");
        let needed = plan.arena_bytes();
        let mut memory = arena(needed + 16);
        let memory = arena_bytes(&mut memory);
        let refused = Session::new(plan, &mut memory[..needed - 1]).map(|_| ());
        assert_eq!(refused, Err(Error::ArenaTooSmall { needed, given: needed - 1 }), "{name}");
        let refused = Session::new(plan, &mut memory[1..=needed]).map(|_| ());
        assert_eq!(refused, Err(Error::ArenaMisaligned), "{name}");
        let mut session = Session::new(plan, &mut memory[..needed]).expect("exactly enough");
        session.reset();
        let input = vec![0.5; plan.input(0).expect("an input").len()];
        let mut output = vec![0.0; plan.output(0).expect("an output").len()];
        let before = ALLOCATIONS.load(Ordering::SeqCst);
        session.write_f32(0, &input).expect("float input");
        session.run().expect("runs");
        session.read_f32(0, &mut output).expect("float output");
        let allocations = ALLOCATIONS.load(Ordering::SeqCst) - before;
        assert_eq!(allocations, 0, "{name}");
        // The file may lie at any address.
        let mut shifted = vec![0; bytes.len() + 1];
        shifted[1..].copy_from_slice(&bytes);
        let plan = Plan::parse(&shifted[1..]).expect("verified");
        let mut session = Session::new(plan, &mut memory[..needed]).expect("exactly enough");
        session.reset();
        let mut again = vec![0.0; output.len()];
        session.write_f32(0, &input).expect("float input");
        session.run().expect("runs");
        session.read_f32(0, &mut again).expect("float output");
        assert_eq!(again, output, "{name} at an odd address");
        let ratio = needed as f64 / f64::from(plan.header().live_bytes);
        println!("{name}: 0 allocations, arena {needed} bytes, {ratio:.3} × largest live set");
        assert!(ratio <= 1.10, "{name}: {ratio}");
    }
}
