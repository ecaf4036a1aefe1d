//! Where a JPEG picture ends in a stream of them (ITU-T T.81, annex B).

/// What the beginning of the bytes is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum JpegScan {
    /// A picture of so many bytes.
    Whole(usize),
    /// So many bytes that are no picture; behind them one may begin.
    Broken(usize),
    /// Too few bytes to tell.
    Unfinished,
}

const START: [u8; 2] = [0xff, 0xd8];
const END: u8 = 0xd9;
const SCAN: u8 = 0xda;

/// Looks at the bytes marker by marker: segments are passed over by their length, because a thumbnail in one of them
/// has a start and an end of its own.
pub fn scan(bytes: &[u8]) -> JpegScan {
    if !bytes.starts_with(&START) {
        return match next_start(bytes, 0) {
            Some(start) => JpegScan::Broken(start),
            // The last byte may be the first half of a start.
            None if bytes.len() < 2 => JpegScan::Unfinished,
            None => JpegScan::Broken(bytes.len() - usize::from(bytes.last() == Some(&START[0]))),
        };
    }
    let mut at = START.len();
    loop {
        let Some(&[first, marker]) = bytes.get(at..).and_then(|rest| rest.first_chunk()) else {
            return JpegScan::Unfinished;
        };
        match (first, marker) {
            // Any number of fill bytes may stand before a marker.
            (0xff, 0xff) => at += 1,
            (0xff, END) => return JpegScan::Whole(at + 2),
            // A picture begins before this one has ended.
            (0xff, 0xd8) => return JpegScan::Broken(at),
            // Markers without a segment.
            (0xff, 0x01 | 0xd0..=0xd7) => at += 2,
            (0xff, 0x02..) => {
                let Some(&length) = bytes.get(at + 2..).and_then(|rest| rest.first_chunk()) else {
                    return JpegScan::Unfinished;
                };
                at += 2 + usize::from(u16::from_be_bytes(length));
                if marker == SCAN {
                    match end_of_scan(bytes, at) {
                        Some(end) => at = end,
                        None => return JpegScan::Unfinished,
                    }
                }
            }
            // No marker: a length was wrong. The next picture begins at the next start, maybe one that was passed.
            _ => return next_start(bytes, START.len()).map_or(JpegScan::Unfinished, JpegScan::Broken),
        }
    }
}

/// The place of the first marker behind compressed data, in which 0xff is followed by 0 or a restart marker.
fn end_of_scan(bytes: &[u8], from: usize) -> Option<usize> {
    let data = bytes.get(from..)?;
    let end = data.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xd0..=0xd7 | 0xff));
    end.map(|end| from + end)
}

fn next_start(bytes: &[u8], from: usize) -> Option<usize> {
    let place = bytes.get(from..)?.windows(2).position(|pair| pair == START)?;
    Some(from + place)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture by hand: a segment with a thumbnail inside, a scan with a stuffed byte and a restart marker.
    const PICTURE: &[u8] = &[
        0xff, 0xd8, // start
        0xff, 0xe1, 0x00, 0x06, 0xff, 0xd8, 0xff, 0xd9, // a segment of 6 bytes
        0xff, 0xff, 0xda, 0x00, 0x03, 0x01, // fill byte, scan
        0x12, 0xff, 0x00, 0x34, 0xff, 0xd0, 0x56, // compressed data
        0xff, 0xd9, // end
    ];

    #[test]
    fn pictures_end_where_they_end() {
        assert_eq!(scan(PICTURE), JpegScan::Whole(PICTURE.len()));
        let more = [PICTURE, PICTURE].concat();
        assert_eq!(scan(&more), JpegScan::Whole(PICTURE.len()));
        for length in 0..PICTURE.len() {
            assert_eq!(scan(&PICTURE[..length]), JpegScan::Unfinished, "{length}");
        }
    }

    #[test]
    fn what_is_no_picture_is_passed_over() {
        let garbage = [&b"no JPEG"[..], PICTURE].concat();
        assert_eq!(scan(&garbage), JpegScan::Broken(7));
        assert_eq!(scan(b"no JPEG"), JpegScan::Broken(7));
        assert_eq!(scan(b"no JPEG\xff"), JpegScan::Broken(7));
        // Cut off in the compressed data, and followed by the next one.
        let cut = [&PICTURE[..PICTURE.len() - 4], PICTURE].concat();
        assert_eq!(scan(&cut), JpegScan::Broken(PICTURE.len() - 4));
        // A segment that claims more than it has leads into the next picture, where no marker stands.
        let mut long = [PICTURE, PICTURE].concat();
        long[5] = 40;
        assert_eq!(scan(&long), JpegScan::Broken(6));
    }
}
