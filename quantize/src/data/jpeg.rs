//! Whether a JPEG file is whole: decoders paint what is missing grey and say nothing.

/// Marker of the start of a scan, behind which the picture's data lie.
const START_OF_SCAN: u8 = 0xda;
/// Marker of the end of the picture.
const END_OF_IMAGE: u8 = 0xd9;

/// Whether `bytes` are a JPEG that ends before its end marker. Segments in front of the first scan are skipped by
/// their length, for a thumbnail inside one has markers of its own.
pub fn is_cut(bytes: &[u8]) -> bool {
    let Some(mut rest) = bytes.strip_prefix(&[0xff, 0xd8]) else { return false };
    loop {
        let Some((&[0xff, marker], behind)) = rest.split_first_chunk() else { return true };
        if marker == START_OF_SCAN {
            // Within a scan 0xff is followed by 0 or a restart marker.
            return !behind.windows(2).any(|pair| pair == [0xff, END_OF_IMAGE]);
        }
        let Some(length) = behind.first_chunk().map(|bytes| usize::from(u16::from_be_bytes(*bytes))) else {
            return true;
        };
        // Fill bytes may stand in front of a marker.
        let skipped = if marker == 0xff { rest.get(1..) } else { behind.get(length..) };
        let Some(next) = skipped else { return true };
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbnail_does_not_end_the_picture() {
        // An APP1 segment of 2 + 4 bytes that holds a thumbnail's end, a fill byte, a scan with a stuffed 0xff.
        let start = [0xff, 0xd8, 0xff, 0xe1, 0, 6, 0xff, 0xd8, 0xff, 0xd9, 0xff, 0xff, 0xda, 0, 2, 1, 0xff, 0, 2];
        let whole = [&start[..], &[0xff, 0xd9, 0, 0]].concat();
        assert!(!is_cut(&whole));
        for end in 2..=start.len() {
            assert!(is_cut(&whole[..end]), "{end}");
        }
        assert!(!is_cut(b"\x89PNG") && !is_cut(b""));
    }
}
