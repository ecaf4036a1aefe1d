//! Attention gives the same bits for any number of threads, however it is cut.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use cygnet::Threads;
use cygnet_core::kernels::{Kernels, available};
use cygnet_core::plan::DType;
use cygnet_core::{Plan, Session, Team};
use cygnet_onnx::compile::{Options, compile};
use cygnet_onnx::model::Model;
use cygnet_tests::run::{arena, arena_bytes};

/// Runs of each model; of a decoder as many tokens.
const RUNS: usize = 5;

/// Works on the parts of a step from the last to the first, however small they are, and counts the steps.
#[derive(Debug)]
struct Backwards {
    parts: usize,
    room: usize,
    steps: AtomicUsize,
}

// SAFETY: one call for each part, one after the other.
unsafe impl Team for Backwards {
    fn size(&self) -> usize {
        self.parts
    }

    fn least_work(&self) -> u64 {
        0
    }

    fn run(&self, parts: usize, work: &(dyn Fn(usize, &mut [u8]) + Sync)) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        // Not aligned.
        let mut room = vec![0x55; self.room + 1];
        (0..parts).rev().for_each(|part| work(part, &mut room[1..]));
    }
}

/// Numbers of an input that its type allows and that no step refuses.
fn fill(bytes: &mut [u8], dtype: DType, state: &mut u64) {
    let mut next = || {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state >> 40
    };
    match dtype {
        DType::F32 => bytes.as_chunks_mut::<4>().0.iter_mut().for_each(|value| {
            *value = (next() as f32 / (1 << 22) as f32 - 2.0).to_le_bytes();
        }),
        DType::I64 => bytes.as_chunks_mut::<8>().0.iter_mut().for_each(|value| *value = (next() % 5).to_le_bytes()),
        DType::Bool => bytes.iter_mut().for_each(|value| *value = (next() % 2) as u8),
        other => panic!("no numbers for {other}"),
    }
}

/// The bytes of all outputs of all runs.
fn run(plan: Plan<'_>, kernels: &'static Kernels, team: Option<&dyn Team>) -> Vec<u8> {
    let mut memory = arena(plan.arena_bytes());
    let mut session = Session::with_kernels(plan, arena_bytes(&mut memory), kernels).expect("a session");
    if let Some(team) = team {
        session.set_team(team);
    }
    let (mut outputs, mut state) = (Vec::new(), 7);
    let positions = plan.positions().map(|positions| positions.input);
    for _ in 0..RUNS {
        for (index, port) in plan.inputs().enumerate().filter(|(index, _)| Some(*index) != positions) {
            let dtype = plan.tensor(port.tensor).expect("a tensor").dtype;
            fill(session.input_bytes(index).expect("an input"), dtype, &mut state);
        }
        session.run().expect("runs");
        for index in 0..plan.output_count() {
            outputs.extend_from_slice(session.output_bytes(index).expect("an output"));
        }
    }
    outputs
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let (mut attention, mut cached, mut alone) = (0, 0, 0);
    for folder in ["transformer", "decoder"] {
        for entry in std::fs::read_dir(golden.join(folder)).expect("golden models") {
            let path = entry.expect("an entry").path();
            if path.extension().is_none_or(|extension| extension != "onnx") {
                continue;
            }
            let mut options = Options::default();
            options.card = std::fs::read_to_string(path.with_extension("toml")).ok();
            let bytes = compile(&Model::read(&path).expect("readable"), &options).expect("compiles").plan;
            let plan = Plan::parse(&bytes).expect("verified");
            let count = |kind: &str| plan.steps().filter(|record| record.step.kind() == kind).count();
            if count("Attention") + count("CachedAttention") == 0 || plan.steps().any(|record| record.step.needs_host())
            {
                continue;
            }
            attention += count("Attention");
            cached += count("CachedAttention");
            let room = plan.scratch_bytes();
            let threads = [2, 3].map(|size| Threads::new(size, room).expect("threads").with_least_work(0));
            for kernels in available() {
                let expected = run(plan, kernels, None);
                for team in &threads {
                    assert!(
                        run(plan, kernels, Some(team)) == expected,
                        "{}, {}, {team:?}",
                        path.display(),
                        kernels.name
                    );
                }
                for parts in 2..6 {
                    let team = Backwards { parts, room, steps: AtomicUsize::new(0) };
                    assert!(
                        run(plan, kernels, Some(&team)) == expected,
                        "{}, {}, {team:?}",
                        path.display(),
                        kernels.name
                    );
                    // Nothing else of such a plan is cut.
                    if !plan.steps().any(|record| record.step.kind().contains("Conv")) {
                        alone += team.steps.into_inner();
                    }
                }
            }
        }
    }
    println!(
        "{attention} steps of attention, {cached} of a decoder's; {alone} times one was cut in a plan without others"
    );
    assert!(attention >= 10 && cached >= 2 && alone > 0);
}
