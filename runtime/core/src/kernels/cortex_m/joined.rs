//! Rows of many short segments, put together, so that their kernel runs once and not for each segment.

use crate::kernels::rows::{Reach, Tile};
use crate::weights::GROUP;

/// Elements of a row at most.
const ROOM: usize = 64;

/// Room for the rows of a tile.
pub(super) type Room<const MOST: usize> = [[i16; ROOM]; MOST];

/// A room with nothing in it.
pub(super) const fn room<const MOST: usize>() -> Room<MOST> {
    [[0; ROOM]; MOST]
}

/// The rows of `tile` and their reach: put into `room`, as one segment, where they have several of four elements each and
/// there is room.
#[inline(always)]
pub(super) fn rows<const MOST: usize>(
    tile: &Tile<'_, MOST, i16>,
    room: &mut Room<MOST>,
) -> ([*const i16; MOST], Reach) {
    let reach = &tile.reach;
    let segments = reach.rows * reach.columns;
    if reach.quads != 1 || segments < 2 || segments * GROUP > ROOM {
        return (core::array::from_fn(|row| tile.pointer(row)), tile.reach);
    }
    let mut place = 0;
    reach.for_each_segment(|offset| {
        for (room, segment) in room.iter_mut().zip(tile.segment(offset)) {
            let to = room.get_mut(place..).and_then(|room| room.first_chunk_mut::<GROUP>());
            if let (Some(to), Some(from)) = (to, segment.first_chunk::<GROUP>()) {
                *to = *from;
            }
        }
        place += GROUP;
    });
    let joined = Reach { rows: 1, row_step: 0, columns: 1, column_step: 0, quads: segments };
    (core::array::from_fn(|row| room[row].as_ptr()), joined)
}
