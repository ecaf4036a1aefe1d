//! Metadata that is looked up while firmware is compiled, in files made by hand.

use cygnet_core::Plan;
use cygnet_core::plan::{HEADER_BYTES, MetadataKind};

/// A header that names a metadata table behind it, the table (kind, index, offset, length), and the data.
fn file(entries: &[[u32; 4]], data: &[u8]) -> Vec<u8> {
    let mut file = vec![0; HEADER_BYTES];
    // The header's words: magic to checksum (4), sizes (3), then the spans of steps, tensors, inputs, outputs,
    // metadata.
    let table = [HEADER_BYTES as u32, 16 * entries.len() as u32];
    file[60..64].copy_from_slice(&table[0].to_le_bytes());
    file[64..68].copy_from_slice(&table[1].to_le_bytes());
    file.extend(entries.iter().flatten().flat_map(|word| word.to_le_bytes()));
    file.extend(data);
    file
}

#[test]
fn the_first_entry_of_kind_and_index_is_found() {
    let data = HEADER_BYTES as u32 + 4 * 16;
    let entries = [[0, 0, data, 4], [3, 1, data, 1], [3, 0, data + 1, 2], [3, 0, data, 4]];
    let file = file(&entries, b"name");
    assert_eq!(Plan::metadata_in(&file, MetadataKind::Name, 0), Some(&b"name"[..]));
    assert_eq!(Plan::metadata_in(&file, MetadataKind::Audio, 0), Some(&b"am"[..]));
    assert_eq!(Plan::metadata_in(&file, MetadataKind::Audio, 1), Some(&b"n"[..]));
    assert_eq!(Plan::metadata_in(&file, MetadataKind::Audio, 2), None);
    assert_eq!(Plan::metadata_in(&file, MetadataKind::Image, 0), None);
}

#[test]
fn tables_and_data_outside_of_the_file_are_none() {
    let data = HEADER_BYTES as u32 + 16;
    for (offset, len) in [(data, 5), (data + 5, 0), (u32::MAX, 1), (1, u32::MAX)] {
        assert_eq!(Plan::metadata_in(&file(&[[0, 0, offset, len]], b"name"), MetadataKind::Name, 0), None);
    }
    let whole = file(&[[1, 0, 0, 0], [0, 0, data, 0]], b"name");
    for len in 0..HEADER_BYTES + 32 {
        assert_eq!(Plan::metadata_in(&whole[..len], MetadataKind::Name, 0), None, "{len} bytes");
    }
    for [start, len] in [[u32::MAX, 16], [0, u32::MAX], [u32::MAX, u32::MAX]] {
        let mut file = whole.clone();
        file[60..64].copy_from_slice(&start.to_le_bytes());
        file[64..68].copy_from_slice(&len.to_le_bytes());
        assert_eq!(Plan::metadata_in(&file, MetadataKind::Card, 7), None);
    }
}
