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
    joined(&sums, |a, b| a + b)
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
    joined(&lanes, |a, b| if a > b { a } else { b })
}

/// The second half of the lanes joined with the first, until one is left.
#[inline(always)]
fn joined(lanes: &[f32; LANES], join: impl Fn(f32, f32) -> f32) -> f32 {
    let lanes: [f32; 16] = halves(lanes, &join);
    let lanes: [f32; 8] = halves(&lanes, &join);
    let [a, b, c, d] = halves(&lanes, &join);
    join(join(a, c), join(b, d))
}

#[inline(always)]
fn halves<const HALF: usize, const WIDE: usize>(wide: &[f32; WIDE], join: impl Fn(f32, f32) -> f32) -> [f32; HALF] {
    let mut half = [0.0; HALF];
    // As arrays: the compiler keeps them in vector registers.
    let (Some(front), Some(behind)) = (wide.first_chunk::<HALF>(), wide.last_chunk::<HALF>()) else { return half };
    half.iter_mut().zip(front).zip(behind).for_each(|((half, &a), &b)| *half = join(a, b));
    half
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
