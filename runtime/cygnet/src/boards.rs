//! The boards that `quantize compile --board` and `cygnet inspect --board` know, and what a plan takes of them.
//!
//! RAM and flash are the makers' figures. What firmware takes beside the plan was measured: code with the linker, by
//! leaving one kind of step in after the other; the stack by painting it in QEMU, the deepest of all models tried
//! (`tests/arm/measure`). Both are of the program `run` in boards/cortex-m.

mod measured;
mod work;

use cygnet_core::Plan;
use cygnet_core::plan::StepSet;
use cygnet_core::plan::step::Access;
use serde::Serialize;

pub use work::Work;

/// A board.
#[derive(Clone, Copy, Debug)]
pub struct Board {
    /// As `--board` names it.
    pub name: &'static str,
    /// What it is.
    pub title: &'static str,
    /// The processor.
    pub core: Core,
    /// Bytes of RAM that a program may use.
    pub ram: usize,
    /// Bytes of flash that a program may use; on Linux boards `None`.
    pub flash: Option<usize>,
}

/// Processors, as far as firmware differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Core {
    /// Armv6-M: no FPU, no DSP extension.
    CortexM0,
    /// Armv7E-M with FPU.
    CortexM4,
    /// Armv7E-M with FPU.
    CortexM7,
    /// Armv8-M with DSP extension and FPU.
    CortexM33,
    /// Armv8.1-M with Helium.
    CortexM55,
    /// Linux, where the operating system has room for stack and code.
    Linux,
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

const fn firmware(name: &'static str, title: &'static str, core: Core, ram: usize, flash: usize) -> Board {
    Board { name, title, core, ram, flash: Some(flash) }
}

const fn linux(name: &'static str, title: &'static str, ram: usize) -> Board {
    Board { name, title, core: Core::Linux, ram, flash: None }
}

/// What firmware takes beside the plan, in bytes.
struct Measured {
    /// The deepest stack of all models tried.
    stack: usize,
    /// Variables beside the arena.
    statics: usize,
    /// Code without any kernel, with its constants.
    base: usize,
    /// What each kind of step adds to it.
    code: &'static [(u32, usize)],
}

impl Core {
    fn measured(self) -> &'static Measured {
        const NOTHING: Measured = Measured { stack: 0, statics: 0, base: 0, code: &[] };
        measured::MEASURED.iter().find(|(core, _)| *core == self).map_or(&NOTHING, |(_, measured)| measured)
    }
}

impl Measured {
    /// Code for the steps of a plan, at most: code that kinds share is counted for each.
    fn code_of(&self, plan: &Plan<'_>) -> usize {
        let set = StepSet::of(plan.bytes());
        // Measured one by one; together the compiler shares and places a little otherwise.
        const TOGETHER: usize = 256;
        TOGETHER
            + self.base
            + self.code.iter().filter(|(number, _)| set.has_number(*number)).map(|(_, bytes)| bytes).sum::<usize>()
    }
}

/// All boards, the smallest first.
pub const BOARDS: [Board; 16] = [
    firmware("microbit", "BBC micro:bit, nRF51822 (Cortex-M0)", Core::CortexM0, 16 * KIB, 256 * KIB),
    firmware("nucleo-f446re", "ST Nucleo-F446RE (Cortex-M4)", Core::CortexM4, 128 * KIB, 512 * KIB),
    firmware("nrf52840-dk", "Nordic nRF52840-DK (Cortex-M4)", Core::CortexM4, 256 * KIB, MIB),
    firmware("nucleo-h743zi", "ST Nucleo-H743ZI, its AXI RAM (Cortex-M7)", Core::CortexM7, 512 * KIB, 2 * MIB),
    firmware("pico2", "Raspberry Pi Pico 2, RP2350 (Cortex-M33)", Core::CortexM33, 512 * KIB, 4 * MIB),
    firmware("mps2-an386", "Arm MPS2 AN386, in QEMU (Cortex-M4)", Core::CortexM4, 4 * MIB, 4 * MIB),
    firmware("mps2-an500", "Arm MPS2 AN500, in QEMU (Cortex-M7)", Core::CortexM7, 4 * MIB, 4 * MIB),
    firmware("mps2-an505", "Arm MPS2 AN505, in QEMU (Cortex-M33)", Core::CortexM33, 4 * MIB, 4 * MIB),
    firmware("mps3-an547", "Arm MPS3 AN547, in QEMU (Cortex-M55)", Core::CortexM55, 4 * MIB, 512 * KIB),
    linux("raspberry-pi-zero-2w", "Raspberry Pi Zero 2 W (Cortex-A53)", 512 * MIB),
    linux("raspberry-pi-3", "Raspberry Pi 3 (Cortex-A53)", GIB),
    linux("raspberry-pi-4", "Raspberry Pi 4, the smallest (Cortex-A72)", GIB),
    linux("raspberry-pi-5", "Raspberry Pi 5, the smallest (Cortex-A76)", GIB),
    linux("jetson-nano", "NVIDIA Jetson Nano (Cortex-A57)", 4 * GIB),
    linux("jetson-orin-nano", "NVIDIA Jetson Orin Nano, the smaller (Cortex-A78AE)", 4 * GIB),
    linux("jetson-agx-orin", "NVIDIA Jetson AGX Orin, the smaller (Cortex-A78AE)", 32 * GIB),
];

impl std::str::FromStr for &'static Board {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = || BOARDS.map(|board| board.name).join(", ");
        BOARDS.iter().find(|board| board.name == name).ok_or_else(|| format!("the boards are {}", names()))
    }
}

impl Board {
    /// Bytes of RAM that are left for the arena of any plan.
    pub fn arena_limit(&self) -> usize {
        let measured = self.core.measured();
        self.ram.saturating_sub(measured.stack + measured.statics)
    }

    /// Bytes of scratch beyond which speed gains little: on microcontrollers a few lines are enough, and Helium's
    /// kernels hardly need any.
    pub fn scratch_limit(&self) -> usize {
        match self.core {
            Core::Linux => usize::MAX,
            Core::CortexM55 => 2 * KIB,
            _ => 4 * KIB,
        }
    }
}

/// What a plan takes of a board, in bytes.
#[derive(Clone, Debug, Serialize)]
pub struct Need {
    /// The board.
    pub board: &'static str,
    /// Tensors alive at the step where they take most.
    pub activations: usize,
    /// Scratch of that step.
    pub scratch: usize,
    /// The rest of the arena: gaps between tensors.
    pub gaps: usize,
    /// The deepest stack that was measured.
    pub stack: usize,
    /// The firmware's own variables.
    pub statics: usize,
    /// All RAM.
    pub ram: usize,
    /// The board's RAM.
    pub board_ram: usize,
    /// Weights, tables and other constants.
    pub weights: usize,
    /// Steps, tensors, names, card.
    pub plan: usize,
    /// Engine, kernels of the steps, start-up.
    pub code: usize,
    /// All flash.
    pub flash: usize,
    /// The board's flash.
    pub board_flash: Option<usize>,
    /// The step at which RAM peaks, and its node.
    pub peak: Option<(u32, String)>,
}

impl Need {
    /// What `plan` takes of `board`.
    pub fn of(plan: &Plan<'_>, board: &'static Board) -> Need {
        let (arena, whole) = (plan.arena_bytes(), plan.bytes().len());
        let constants = plan.header().constant_bytes as usize;
        // Scratch lives at one time only; what else lives then are the activations.
        let (mut peak, mut activations, mut scratch) = (None, 0, 0);
        for record in plan.steps() {
            let time = record.index + 1;
            let own: usize = {
                let mut bytes = 0;
                record.step.visit_tensors(&mut |id, access| {
                    let tensor = plan.tensor(id).filter(|_| access == Access::Scratch);
                    bytes += tensor.map_or(0, |tensor| tensor.bytes());
                });
                bytes
            };
            let alive = alive_bytes(plan, time);
            if alive > activations + scratch {
                (activations, scratch) = (alive - own.min(alive), own.min(alive));
                peak = Some((record.index, plan.text(record.name).to_string()));
            }
        }
        let measured = board.core.measured();
        let (stack, statics, code) = (measured.stack, measured.statics, measured.code_of(plan));
        Need {
            board: board.name,
            activations,
            scratch,
            gaps: arena.saturating_sub(activations + scratch),
            stack,
            statics,
            ram: arena + stack + statics,
            board_ram: board.ram,
            weights: constants,
            plan: whole.saturating_sub(constants),
            code,
            flash: whole + code,
            board_flash: board.flash,
            peak,
        }
    }

    /// The lines of a table for people: what, and bytes.
    pub fn rows(&self) -> Vec<(&'static str, usize)> {
        let firmware = self.board_flash.is_some();
        let mut rows = vec![
            ("RAM", self.ram),
            ("  activations", self.activations),
            ("  scratch", self.scratch),
            ("  gaps between them", self.gaps),
        ];
        rows.retain(|&(what, bytes)| bytes > 0 || !what.contains("gaps"));
        if firmware {
            rows.extend([("  stack, as deep as measured", self.stack), ("  variables of the firmware", self.statics)]);
        }
        rows.extend([
            ("  of the board's", self.board_ram),
            (if firmware { "flash" } else { "file" }, self.flash),
            ("  weights and other constants", self.weights),
            ("  steps, tensors, names, card", self.plan),
        ]);
        if let Some(flash) = self.board_flash {
            rows.extend([("  code, with the kernels of these steps", self.code), ("  of the board's", flash)]);
        }
        rows
    }

    /// Why the plan does not fit, and the smallest change that would help; `None` when it fits.
    pub fn refusal(&self, plan: &Plan<'_>) -> Option<String> {
        if let Some(record) = plan.steps().find(|record| record.step.needs_host())
            && self.board_flash.is_some()
        {
            let node = plan.text(record.name);
            return Some(format!("node \"{node}\" runs through tract, which {} does not have", self.board));
        }
        let larger = |fits: &dyn Fn(&Board) -> bool| {
            let board = BOARDS.iter().find(|board| fits(board));
            board.map(|board| format!("; the smallest board here that has it is {}", board.name)).unwrap_or_default()
        };
        if self.ram > self.board_ram {
            let missing = self.ram - self.board_ram;
            let (step, node) = self.peak.clone().unwrap_or_default();
            let movable = (self.activations + self.scratch).max(1);
            let percent = (missing * 100).div_ceil(movable);
            let at = format!("RAM peaks at step {step} (\"{node}\") with {movable} bytes of tensors and scratch");
            let change = if percent < 100 {
                format!("channels or input lines there that take {percent} % less would make it fit")
            } else {
                "stack and statics alone are too much".into()
            };
            let other = larger(&|board| board.ram >= self.ram && board.flash.is_none_or(|flash| flash >= self.flash));
            let (ram, board, board_ram) = (self.ram, self.board, self.board_ram);
            return Some(format!("{ram} bytes of RAM are needed, {board} has {board_ram}: {at}; {change}{other}"));
        }
        let board_flash = self.board_flash?;
        if self.flash <= board_flash {
            return None;
        }
        let missing = self.flash - board_flash;
        let percent = (missing * 100).div_ceil(self.weights.max(1));
        let change = if percent < 100 {
            format!("{percent} % fewer weights would make it fit")
        } else {
            "code and steps alone are too much".into()
        };
        let other = larger(&|board| board.ram >= self.ram && board.flash.is_none_or(|flash| flash >= self.flash));
        let (flash, board) = (self.flash, self.board);
        Some(format!("{flash} bytes of flash are needed, {board} has {board_flash}: {change}{other}"))
    }
}

/// Bytes of the tensors alive at a time; those in one place count once.
fn alive_bytes(plan: &Plan<'_>, time: u32) -> usize {
    let mut places: Vec<(u32, usize)> = plan
        .tensors()
        .filter(|tensor| tensor.first <= time && time <= tensor.last)
        .map(|tensor| (tensor.offset, tensor.bytes()))
        .collect();
    places.sort_unstable();
    places.dedup_by_key(|(offset, _)| *offset);
    places.iter().map(|&(_, bytes)| bytes).sum()
}
