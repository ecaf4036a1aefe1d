/// Where the `len` samples with the greatest energy begin; the earliest such place. 0 when there are
/// not more samples than that.
pub fn loudest_window(samples: &[i16], len: usize) -> usize {
    let energy = |sample: &i16| u64::from(sample.unsigned_abs()) * u64::from(sample.unsigned_abs());
    let Some((head, tail)) = samples.split_at_checked(len) else { return 0 };
    // At most 2^30 times the number of samples: fits for any slice.
    let mut sum: u64 = head.iter().map(energy).fold(0, u64::wrapping_add);
    let (mut most, mut place) = (sum, 0);
    for (k, (entering, leaving)) in tail.iter().zip(samples).enumerate() {
        sum = sum.wrapping_add(energy(entering)).wrapping_sub(energy(leaving));
        if sum > most {
            (most, place) = (sum, k + 1);
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::loudest_window;

    #[test]
    fn the_earliest_of_the_loudest() {
        assert_eq!(loudest_window(&[0, 1, 5, -6, 1, 0, 6, 5], 2), 2);
        assert_eq!(loudest_window(&[i16::MIN, 0, 0], 1), 0);
        assert_eq!(loudest_window(&[0, 0, 7], 1), 2);
        assert_eq!(loudest_window(&[1, 2], 5), 0);
        assert_eq!(loudest_window(&[], 0), 0);
    }
}
