//! Rows whose segments are short, copied behind each other before they are multiplied.

use core::arch::naked_asm;
use core::mem::offset_of;

use super::conv::{TILE, WHOLE, multiply};
use super::piece::Piece;
use crate::kernels::rows::{Reach, Rows};
use crate::kernels::{ConvI8Args, ConvOutput};
use crate::weights::GROUP;

/// Whether it takes fewer instructions to copy the short segments of each row behind each other than to multiply them
/// one by one. The numbers are those of a tile, two rows with four channels.
pub(super) fn pays_to_pack(reach: &Reach, group_out: usize) -> bool {
    let segments = reach.rows * reach.columns;
    let quads = segments * reach.quads;
    let copies = 2 * (8 + 6 * segments) * TILE / group_out.max(1);
    let one_line = reach.rows == 1 || reach.columns == 1;
    one_line && segments > 1 && reach.quads <= WHOLE / GROUP && 24 * segments > 17 * (quads / 4) + 26 + copies
}

/// Multiplies rows that are copied first, as many at a time as there is room for.
#[inline(never)]
pub(super) fn multiply_packed(args: &mut ConvI8Args<'_>, rows: &Rows<'_>, weights: &[u8]) {
    const ROOM: usize = 1024;
    let mut room = [0; ROOM];
    let step = rows.reach.packed_len().max(1);
    let most = ROOM / step;
    let positions = rows.lines * rows.columns;
    let ConvOutput::I8(_, target) = args.y else { return };
    if most < 2 {
        return multiply(args, rows, weights);
    }
    let mut piece = Piece::new(rows, target);
    (piece.x, piece.left, piece.tail) = (rows.pointer(0, 0), rows.columns, GROUP * rows.reach.quads);
    let reach = Reach { rows: 1, row_step: 0, columns: 1, column_step: 0, quads: step / GROUP };
    for first in (0..positions).step_by(most) {
        let columns = most.min(positions - first);
        piece.rows = columns;
        // SAFETY: `Rows` has the rows, and there is room for so many.
        unsafe { pack(&mut piece, room.as_mut_ptr()) };
        let (start, lines, line_step, first) = (0, 1, 0, rows.first + first);
        let packed = Rows { elements: &room, start, columns, step, lines, line_step, reach, first, group: rows.group };
        multiply(args, &packed, weights);
    }
}

/// Copies the segments of the next rows, `piece.tail` bytes each and 16 at most, behind each other.
///
/// # Safety
/// The CPU has Helium; the rows of the piece are there, and there is room for them.
#[unsafe(naked)]
unsafe extern "C" fn pack(piece: *mut Piece, room: *mut i8) {
    naked_asm!(
        ".arch armv8.1-m.main",
        ".arch_extension mve.fp",
        "push {{r4-r11, lr}}",
        "ldr r4, [r0, {TAIL}]",
        "vctp.8 r4",
        "ldrd r2, r3, [r0, {X}]",
        "ldr r5, [r0, {LEFT}]",
        "ldrd r6, r7, [r0, {COLUMNS}]",
        "ldr r8, [r0, {STEP}]",
        "ldrd r9, r10, [r0, {SEGMENTS}]",
        "2:",
        "mov r12, r2",
        "dls lr, r9",
        "3:",
        "vpstt",
        "vldrbt.u8 q0, [r12]",
        "vstrbt.8 q0, [r1]",
        "add r12, r12, r10",
        "add r1, r1, r4",
        "le lr, 3b",
        "add r2, r2, r8",
        "subs r5, r5, #1",
        "bne 4f",
        "add r2, r2, r7",
        "mov r5, r6",
        "4:",
        "subs r3, r3, #1",
        "bne 2b",
        "str r2, [r0, {X}]",
        "str r5, [r0, {LEFT}]",
        "pop {{r4-r11, pc}}",
        X = const offset_of!(Piece, x),
        LEFT = const offset_of!(Piece, left),
        COLUMNS = const offset_of!(Piece, columns),
        STEP = const offset_of!(Piece, step),
        SEGMENTS = const offset_of!(Piece, segments),
        TAIL = const offset_of!(Piece, tail),
    )
}
