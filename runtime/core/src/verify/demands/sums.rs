//! Sums of weights, which bound accumulators.

use super::Rule;
use super::operands::require;
use crate::bytes::I32s;
use crate::plan::step::Window;
use crate::weights;
use crate::weights::compressed::{Pieces, Stored};

pub(super) const DENIES: &str = "it has weights of -128 and denies it";

/// Sums of one output channel's weights, enough to bound its accumulator.
pub(super) struct Bound<'p> {
    pub bias: I32s<'p>,
    pub zero_points: I32s<'p>,
    pub taps: usize,
}

impl Bound<'_> {
    /// `128·Σ|w| + |bias| + 128·n·|zw|` bounds the accumulator: it must stay below 2³¹.
    pub fn check(&self, channel: usize, sum: u64) -> Rule {
        let bias = u64::from(self.bias.get(channel).unsigned_abs());
        let zero_point = self.zero_points.get(channel).unsigned_abs();
        require(zero_point <= 255, "a zero point is not usable")?;
        let zero = u64::from(zero_point) * self.taps as u64;
        let greatest = sum.saturating_add(zero).saturating_mul(128).saturating_add(bias);
        require(greatest < 1 << 31, "an accumulator could overflow")
    }
}

/// Calls `check(output channel, Σ|w|)` as long as all is well.
pub(super) fn each_magnitude(
    w: &Window,
    depthwise: bool,
    stored: &[u8],
    check: &mut dyn FnMut(usize, u64) -> Rule,
) -> Rule {
    if depthwise {
        let channels = w.out_c as usize;
        for channel in 0..channels {
            let column = stored.chunks_exact(channels.max(1)).filter_map(|tap| tap.get(channel));
            check(channel, column.map(|&b| u64::from(b.cast_signed().unsigned_abs())).sum())?;
        }
        return Ok(());
    }
    each_channel_sum(w, false, Stored::Packed(stored), check)
}

/// Calls `check(output channel, Σ|w|)` as long as all is well, and checks that the weights behind the end of each segment are 0 (they
/// meet whatever lies behind the input), that they are as many as there must be, and that none is -128 where they are
/// said to be `narrow`.
pub(super) fn each_channel_sum(
    window: &Window,
    narrow: bool,
    stored: Stored<'_>,
    check: &mut dyn FnMut(usize, u64) -> Rule,
) -> Rule {
    use weights::{BLOCK, GROUP, LANES, Segments, block_width};
    let segments = Segments::of(window);
    let (group_out, quads) = (window.group_out(), segments.padded / GROUP);
    let behind_end = segments.padded - segments.len;
    let mut pieces = Pieces::new(window, stored);
    for group in 0..window.groups as usize {
        for start in (0..group_out).step_by(BLOCK) {
            let width = block_width(start, group_out);
            let mut sums = [0_u32; BLOCK];
            let lasts = (0..segments.count).flat_map(|_| (1..=quads).map(|quad| quad == quads));
            for last in lasts {
                for sums in sums.as_chunks_mut::<LANES>().0.iter_mut().take(width / LANES) {
                    let piece = pieces.next().ok_or("its weights are not what they say")?;
                    require(!narrow || !piece.contains(&128), DENIES)?;
                    for (sum, quad) in sums.iter_mut().zip(piece.as_chunks::<GROUP>().0) {
                        *sum += quad.iter().map(|&byte| u32::from(byte.cast_signed().unsigned_abs())).sum::<u32>();
                        let clean = !last || quad.iter().rev().take(behind_end).all(|&byte| byte == 0);
                        require(clean, "its weights go on behind the end of a kernel row")?;
                    }
                }
            }
            for (lane, &sum) in sums.iter().take(width.min(group_out - start)).enumerate() {
                check(group * group_out + start + lane, u64::from(sum))?;
            }
        }
    }
    require(pieces.is_end(), "its weights are not what they say")
}
