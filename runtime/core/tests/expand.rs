//! Every set's way to expand weights against their forms written down in the plainest way.

use cygnet_core::kernels::{IndexedArgs, available};
use cygnet_core::weights::compressed::Factors;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn indices_name_levels(
        levels in any::<[u8; 16]>(),
        (width, rows, quads) in (1..=4_usize, 1..=9_usize, 1..=3_usize),
        with_factors in any::<bool>(),
        seed in proptest::collection::vec(any::<u8>(), 64 * 27),
    ) {
        let width = 4 * width;
        let rows = rows * quads;
        let packed = rows * width * 4;
        let indices = &seed[..packed.div_ceil(32) * 16];
        let factors: Vec<u8> = seed.iter().rev().take(rows / quads * width).map(|byte| byte % 19).collect();
        let factors = if with_factors { factors } else { Vec::new() };
        let expected: Vec<u8> = (0..packed)
            .map(|place| {
                let byte = indices[place / 32 * 16 + place % 16];
                let index = if place % 32 < 16 { byte % 16 } else { byte / 16 };
                let row = place / (4 * width);
                let factor = factors.get(row / quads * width + place / 4 % width).copied().unwrap_or(1);
                levels[usize::from(index)].wrapping_mul(factor)
            })
            .collect();
        for kernels in available() {
            let mut out = vec![77; packed];
            let factors = Factors { values: &factors, quads };
            (kernels.expand_indexed)(IndexedArgs { indices, levels: &levels, factors, width, out: &mut out });
            prop_assert_eq!(&out, &expected, "{}", kernels.name);
        }
    }

    #[test]
    fn masks_place_bytes(weights in proptest::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 1..20)
        .prop_flat_map(|few| (Just(few), 1..=12_usize)))
    {
        let (few, pieces) = weights;
        let expected: Vec<u8> = few.iter().copied().cycle().take(16 * pieces).collect();
        let mut stored = Vec::new();
        for piece in expected.chunks(16) {
            let mut mask = 0_u16;
            piece.iter().enumerate().for_each(|(bit, &weight)| mask += if weight == 0 { 0 } else { 1 << bit });
            stored.push(mask as u8);
            stored.push((mask >> 8) as u8);
            stored.extend(piece.iter().filter(|&&weight| weight != 0));
        }
        for kernels in available() {
            let mut out = vec![77; expected.len()];
            let read = (kernels.expand_sparse)(&stored, &mut out);
            prop_assert_eq!((read, &out), (stored.len(), &expected), "{}", kernels.name);
            // Whoever reads on finds the next piece.
            let half = pieces / 2 * 16;
            let mut out = vec![77; expected.len()];
            let read = (kernels.expand_sparse)(&stored, &mut out[..half]);
            (kernels.expand_sparse)(&stored[read..], &mut out[half..]);
            prop_assert_eq!(&out, &expected, "{}", kernels.name);
        }
    }
}
