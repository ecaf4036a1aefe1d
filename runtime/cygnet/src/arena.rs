//! The memory of a session.

/// Where it starts: a cache line, which is a multiple of what plans need.
const ALIGN: usize = 64;

const _: () = assert!(ALIGN.is_multiple_of(cygnet_core::plan::ALIGNMENT));

/// Zeroed bytes that start at a multiple of a cache line.
#[derive(Debug)]
pub(crate) struct AlignedBytes {
    /// Never grows, so that its start stays where it is.
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBytes {
    pub(crate) fn new(len: usize) -> Self {
        let bytes = vec![0; len + ALIGN];
        let start = bytes.as_ptr().addr().next_multiple_of(ALIGN) - bytes.as_ptr().addr();
        Self { bytes, start, len }
    }

    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_aligned() {
        for len in [0, 1, 63, 64, 65, 1000] {
            let mut bytes = AlignedBytes::new(len);
            assert_eq!(bytes.as_mut().len(), len);
            assert_eq!(bytes.as_mut().as_ptr().addr() % ALIGN, 0);
        }
    }
}
