//! Sums of float32 in an order that every machine can keep with vectors of any length.

/// Partial sums of [`sum`].
pub const LANES: usize = 32;

/// `Σ f(x[i])`: element `i` is added to partial sum `i mod 32`, one after the other; then the second half of the partial
/// sums is added to the first, until one is left.
#[must_use]
#[inline(always)]
pub fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, &x)| *sum += f(x));
    }
    sums.iter_mut().zip(rest).for_each(|(sum, &x)| *sum += f(x));
    let sums = halves::<16, LANES>(&sums);
    let sums = halves::<8, 16>(&sums);
    let sums = halves::<4, 8>(&sums);
    let [a, b, c, d] = sums;
    (a + c) + (b + d)
}

/// The greatest element, -∞ when there is none; elements that are no numbers are left out.
#[must_use]
#[inline(always)]
pub fn greatest(x: &[f32]) -> f32 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let larger = |most: &mut f32, x: &f32| *most = if *x > *most { *x } else { *most };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(most, x)| larger(most, x));
    }
    lanes.iter_mut().zip(rest).for_each(|(most, x)| larger(most, x));
    let mut most = f32::NEG_INFINITY;
    lanes.iter().for_each(|x| larger(&mut most, x));
    most
}

/// The first half of `WIDE` elements with the second one added; `HALF` is half as many.
#[inline(always)]
fn halves<const HALF: usize, const WIDE: usize>(wide: &[f32; WIDE]) -> [f32; HALF] {
    let mut sums = [0.0; HALF];
    let behind = wide.iter().skip(HALF);
    sums.iter_mut().zip(wide).zip(behind).for_each(|((sum, a), b)| *sum = a + b);
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each power of two is a part of its own, but those that are 32 places apart: by hand.
    #[test]
    fn partial_sums_are_added_by_halves() {
        let mut x = [0.0; 70];
        x[0] = 1e8;
        x[32] = -1e8;
        x[64] = 1.0;
        x[16] = 0.25;
        assert_eq!(sum(&x, |x| x), 1.25);
        assert_eq!(sum(&x, |x| 2.0 * x), 2.5);
        // Lanes 0 and 16 meet first: 1e8 takes what is below its precision of 8.
        x[32] = 0.0;
        assert_eq!(sum(&x, |x| x), 1e8);
        assert_eq!(sum(&[1.0; 100], |x| x), 100.0);
    }
}
