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

/// Whether packed weights are added whole rows at a time: where there is no system, size counts more.
const WHOLE_RUNS: bool = cfg!(not(target_os = "none"));

/// Rows whose magnitudes fit the halves of a word: two bytes of at most 128 are added to each.
const ROWS: usize = 255;

/// Calls `check(output channel, Σ|w|)` as long as all is well.
pub(super) fn each_magnitude(
    w: &Window,
    depthwise: bool,
    stored: &[u8],
    check: &mut dyn FnMut(usize, u64) -> Rule,
) -> Rule {
    if !depthwise {
        return each_channel_sum(w, false, Stored::Packed(stored), check);
    }
    let channels = w.out_c as usize;
    for start in (0..channels).step_by(weights::BLOCK) {
        let mut sums = [0_u32; weights::BLOCK];
        for tap in stored.chunks_exact(channels.max(1)) {
            for (sum, &byte) in sums.iter_mut().zip(tap.get(start..).unwrap_or_default()) {
                *sum += u32::from(byte.cast_signed().unsigned_abs());
            }
        }
        for (channel, &sum) in (start..channels).zip(&sums) {
            check(channel, u64::from(sum))?;
        }
    }
    Ok(())
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
    // The bytes of a segment's last group of four that no input meets.
    let behind_end = (u64::from(u32::MAX) << (32 - 8 * (segments.padded - segments.len).min(GROUP))) as u32;
    let mut pieces = Pieces::new(window, stored);
    let mut seen = 0;
    // Of all magnitudes just that of -128 has the highest bit.
    let judge = |last: u32, seen: u32| {
        require(last & behind_end == 0, "its weights go on behind the end of a kernel row")?;
        require(!narrow || seen & 0x8080_8080 == 0, DENIES)
    };
    for group in 0..window.groups as usize {
        for start in (0..group_out).step_by(BLOCK) {
            let width = block_width(start, group_out);
            let mut sums = [0_u32; BLOCK];
            for _ in 0..segments.count {
                if let Some(run) = if WHOLE_RUNS { pieces.run(quads * width * GROUP) } else { None } {
                    let run = run.as_chunks().0;
                    seen |= match width / LANES {
                        1 => add_rows::<4>(&mut sums, run),
                        2 => add_rows::<8>(&mut sums, run),
                        3 => add_rows::<12>(&mut sums, run),
                        _ => add_rows::<16>(&mut sums, run),
                    };
                    let last = any(run.get(run.len().saturating_sub(width)..).unwrap_or_default());
                    judge(last, seen)?;
                } else {
                    let mut last = 0;
                    for quad in 1..=quads {
                        for sums in sums.as_chunks_mut::<LANES>().0.iter_mut().take(width / LANES) {
                            let piece = pieces.next().ok_or("its weights are not what they say")?;
                            let piece = piece.as_chunks().0;
                            seen |= add_rows::<LANES>(sums, piece);
                            last |= if quad == quads { any(piece) } else { 0 };
                            judge(last, seen)?;
                        }
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

/// Bits that are set in any of these groups of four bytes.
fn any(quads: &[[u8; weights::GROUP]]) -> u32 {
    quads.iter().fold(0, |bits, &quad| bits | u32::from_le_bytes(quad))
}

/// Adds the magnitudes of whole rows, each a group of four weights of `LANES` channels, to the channels' sums. Returns
/// the bits that are set in any of the magnitudes.
fn add_rows<const LANES: usize>(sums: &mut [u32], rows: &[[u8; weights::GROUP]]) -> u32 {
    let mut seen = [0_u32; LANES];
    for rows in rows.as_chunks::<LANES>().0.chunks(ROWS) {
        let mut halves = [0_u32; LANES];
        for row in rows {
            for ((quad, half), seen) in row.iter().zip(&mut halves).zip(&mut seen) {
                let magnitudes = magnitudes(u32::from_le_bytes(*quad));
                *half += (magnitudes & 0x00ff_00ff) + (magnitudes >> 8 & 0x00ff_00ff);
                *seen |= magnitudes;
            }
        }
        for (sum, half) in sums.iter_mut().zip(halves) {
            *sum += (half & 0xffff) + (half >> 16);
        }
    }
    seen.iter().fold(0, |bits, seen| bits | seen)
}

/// `|b|` of each of four int8 values: at most 128, so that no carry leaves a byte.
fn magnitudes(quad: u32) -> u32 {
    let negative = quad >> 7 & 0x0101_0101;
    (quad ^ negative.wrapping_mul(255)) + negative
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;
    use crate::weights::{pack, packed_bytes};

    /// Three kernel rows of `in_c` inputs, so many outputs.
    fn window(in_c: u32, out_c: u32, groups: u32) -> Window {
        Window {
            batch: 1,
            in_h: 3,
            in_w: 1,
            in_c,
            out_h: 1,
            out_w: 1,
            out_c,
            kernel_h: 3,
            kernel_w: 1,
            stride_h: 1,
            stride_w: 1,
            dilation_h: 1,
            dilation_w: 1,
            pad_top: 0,
            pad_left: 0,
            groups,
        }
    }

    fn packed(window: &Window, weight: impl Fn(usize, usize, usize) -> i8) -> Vec<u8> {
        let mut bytes = std::vec![0; packed_bytes(window)];
        pack(window, &mut |channel, row, _, input| weight(channel, row, input), &mut bytes);
        bytes
    }

    fn told(window: &Window, narrow: bool, stored: Stored<'_>) -> Result<Vec<u64>, &'static str> {
        let mut sums = Vec::new();
        each_channel_sum(window, narrow, stored, &mut |channel, sum| {
            assert_eq!(channel, sums.len());
            sums.push(sum);
            Ok(())
        })?;
        Ok(sums)
    }

    /// Masks of what is not 0, and that.
    fn sparse(packed: &[u8]) -> Vec<u8> {
        let mut stored = Vec::new();
        for piece in packed.chunks(16) {
            let mask = piece.iter().enumerate().fold(0_u16, |mask, (bit, &byte)| mask | u16::from(byte != 0) << bit);
            stored.extend(mask.to_le_bytes());
            stored.extend(piece.iter().filter(|&&byte| byte != 0));
        }
        stored
    }

    #[test]
    fn magnitudes_of_all_values() {
        for value in i8::MIN..=i8::MAX {
            let quad = u32::from_le_bytes([0x80, value.cast_unsigned(), 0x7f, value.cast_unsigned()]);
            let magnitude = i32::from(value).unsigned_abs() as u8;
            assert_eq!(magnitudes(quad).to_le_bytes(), [128, magnitude, 127, magnitude], "{value}");
        }
    }

    #[test]
    fn sums_of_every_width_and_length() {
        // Blocks of 4, 8, 12, 16 and more channels; rows of 4 and less, and more of them than halves of words hold.
        for (in_c, out_c, groups) in
            [(1, 3, 1), (7, 8, 1), (8, 11, 1), (5, 16, 1), (6, 37, 1), (4 * 600, 18, 1), (6, 10, 2)]
        {
            let window = window(in_c, out_c, groups);
            let inputs = u64::from(in_c / groups);
            let all = packed(&window, |channel, _, _| if channel % 2 == 0 { -128 } else { channel as i8 });
            let of = |channel: u64| if channel.is_multiple_of(2) { 128 } else { channel } * 3 * inputs;
            let expected: Vec<u64> = (0..u64::from(out_c)).map(of).collect();
            assert_eq!(told(&window, false, Stored::Packed(&all)), Ok(expected.clone()), "{in_c} {out_c} {groups}");
            assert_eq!(told(&window, false, Stored::Sparse(&sparse(&all))), Ok(expected), "{in_c} {out_c} {groups}");
        }
    }

    #[test]
    fn one_byte_is_found_wherever_it_stands() {
        const BEHIND: &str = "its weights go on behind the end of a kernel row";
        for (in_c, out_c, groups) in [(1, 4, 1), (6, 8, 1), (3, 12, 1), (9, 20, 1), (6, 10, 2), (8, 16, 1)] {
            let window = window(in_c, out_c, groups);
            let ones = packed(&window, |_, _, _| 1);
            // All lanes, those behind the last channel too.
            let lanes = Window { out_c: (out_c / groups).next_multiple_of(4) * groups, ..window };
            let inside = packed(&lanes, |_, _, _| 1);
            for at in 0..ones.len() {
                let mut stored = ones.clone();
                stored[at] = 128;
                let packed = told(&window, true, Stored::Packed(&stored)).map(|_| ());
                let rule = if inside[at] == 1 { DENIES } else { BEHIND };
                assert_eq!(packed, Err(rule), "{at}");
                assert_eq!(told(&window, true, Stored::Sparse(&sparse(&stored))).map(|_| ()), Err(rule), "{at}");
                let wide = told(&window, false, Stored::Packed(&stored)).map(|_| ());
                assert_eq!(wide, if inside[at] == 1 { Ok(()) } else { Err(BEHIND) }, "{at}");
                stored[at] = 129;
                let narrow = told(&window, true, Stored::Packed(&stored)).map(|_| ());
                assert_eq!(narrow, if inside[at] == 1 { Ok(()) } else { Err(BEHIND) }, "{at}");
            }
        }
    }

    #[test]
    fn weights_are_as_many_as_there_must_be() {
        let window = window(6, 20, 1);
        let all = packed(&window, |_, _, _| 1);
        let refused = Err("its weights are not what they say");
        for len in 0..all.len() {
            assert_eq!(told(&window, false, Stored::Packed(&all[..len])), refused, "{len}");
        }
        let masked = sparse(&all);
        for len in 0..masked.len() {
            assert_eq!(told(&window, false, Stored::Sparse(&masked[..len])), refused, "{len}");
        }
        for more in [1, 16, 64] {
            let long = [&all[..], &std::vec![0; more]].concat();
            assert_eq!(told(&window, false, Stored::Packed(&long)), refused);
        }
        assert!(told(&window, false, Stored::Packed(&all)).is_ok());
    }

    #[test]
    fn sums_of_depthwise_channels() {
        for channels in [1, 16, 37] {
            let window = window(channels, channels, channels);
            let stored: Vec<u8> = [-128_i8, 127, -3]
                .iter()
                .flat_map(|&tap| (0..channels as i8).map(move |channel| tap.saturating_add(channel).cast_unsigned()))
                .collect();
            let mut sums = Vec::new();
            let done = each_magnitude(&window, true, &stored, &mut |channel, sum| {
                assert_eq!(channel, sums.len());
                sums.push(sum);
                Ok(())
            });
            assert_eq!(done, Ok(()));
            let of = |channel: u64| 128 - channel + 127 + channel.abs_diff(3);
            assert_eq!(sums, (0..u64::from(channels)).map(of).collect::<Vec<_>>());
        }
    }

    #[test]
    fn one_refused_channel_is_enough() {
        const REFUSED: Rule = Err("refused");
        for (window, depthwise) in [(window(6, 20, 1), false), (window(20, 20, 20), true)] {
            let stored = std::vec![0; if depthwise { 60 } else { packed_bytes(&window) }];
            for refused in 0..20 {
                let mut last = 0;
                let done = each_magnitude(&window, depthwise, &stored, &mut |channel, _| {
                    last = channel;
                    if channel == refused { REFUSED } else { Ok(()) }
                });
                assert_eq!((done, last), (REFUSED, refused));
            }
        }
    }

    #[test]
    fn an_accumulator_stays_below_its_limit() {
        let words = |values: [i32; 2]| values.map(i32::to_le_bytes).concat();
        let check = |bias: i32, zero_point: i32, taps: usize, sum: u64| {
            let (bias, zero_points) = (words([0, bias]), words([0, zero_point]));
            Bound { bias: I32s::new(&bias), zero_points: I32s::new(&zero_points), taps }.check(1, sum)
        };
        let overflow = Err("an accumulator could overflow");
        // 128 · (2²⁴ - 1) + 127 = 2³¹ - 1.
        assert_eq!(check(-127, 0, 1, (1 << 24) - 1), Ok(()));
        assert_eq!(check(-128, 0, 1, (1 << 24) - 1), overflow);
        assert_eq!(check(0, 0, 1, 1 << 24), overflow);
        assert_eq!(check(0, -255, 2, (1 << 24) - 511), Ok(()));
        assert_eq!(check(0, 255, 2, (1 << 24) - 510), overflow);
        assert_eq!(check(0, 256, 0, 0), Err("a zero point is not usable"));
        assert_eq!(check(i32::MIN, 0, 1, 0), overflow);
        assert_eq!(check(0, 0, 1, u64::MAX), overflow);
    }
}
