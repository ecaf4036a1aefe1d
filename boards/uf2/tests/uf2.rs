//! UF2 files of firmware made by hand, and of firmware that was built.

use std::collections::BTreeMap;
use std::{env, fs};

use cygnet_uf2::{Problem, pico2};

/// An ELF file with these parts: physical address and bytes.
fn firmware(parts: &[(u32, &[u8])]) -> Vec<u8> {
    let head = 52 + 32 * parts.len();
    let mut file = vec![0x7f, b'E', b'L', b'F', 1, 1, 1];
    file.resize(16, 0);
    for half in [2_u16, 40] {
        file.extend(half.to_le_bytes());
    }
    for word in [1_u32, 0x1000_0125, 52, 0, 0] {
        file.extend(word.to_le_bytes());
    }
    for half in [52, 32, parts.len() as u16, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    assert_eq!(file.len(), 52);
    let mut offset = head as u32;
    for (address, bytes) in parts {
        let len = bytes.len() as u32;
        for word in [1, offset, 0x2000_0000, *address, len, len + 64, 6, 4] {
            file.extend(word.to_le_bytes());
        }
        offset += len;
    }
    for (_, bytes) in parts {
        file.extend(*bytes);
    }
    file
}

/// The RP2350 data sheet's 5.9.5.1, "Minimum Arm IMAGE_DEF", byte for byte.
const DEFINITION: [u8; 20] = [
    0xd3, 0xde, 0xff, 0xff, 0x42, 0x01, 0x21, 0x10, 0xff, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x79, 0x35, 0x12,
    0xab,
];

/// A vector table of 272 bytes, the definition, and some code.
fn text(len: usize) -> Vec<u8> {
    let mut text: Vec<_> = (0..len).map(|k| (k % 251) as u8).collect();
    text[272..292].copy_from_slice(&DEFINITION);
    text
}

/// A block, its fields by the UF2 specification.
#[derive(Debug, PartialEq)]
struct Block<'a> {
    flags: u32,
    address: u32,
    number: u32,
    count: u32,
    family: u32,
    page: &'a [u8],
}

fn block(block: &[u8]) -> Block<'_> {
    let word = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().unwrap());
    assert_eq!(&block[..4], b"UF2\n");
    assert_eq!((word(4), word(508), word(16)), (0x9e5d_5157, 0x0ab1_6f30, 256));
    let (flags, address, number, count, family) = (word(8), word(12), word(20), word(24), word(28));
    Block { flags, address, number, count, family, page: &block[32..288] }
}

/// What the blocks of the program put where, after everything that holds for each was looked at.
fn contents(file: &[u8]) -> BTreeMap<u32, Vec<u8>> {
    assert_eq!(file.len() % 512, 0);
    let blocks: Vec<_> = file.chunks(512).map(block).collect();
    let (guard, program) = blocks.split_first().unwrap();
    // Erratum RP2350-E10's block, as picotool writes it.
    let expected =
        Block { flags: 0xa000, address: 0x10ff_ff00, number: 0, count: 2, family: 0xe48b_ff57, page: &[0xef; 256] };
    assert_eq!(*guard, expected);
    assert_eq!(file[288..292], 0x9957_e304_u32.to_le_bytes());
    for (number, block) in program.iter().enumerate() {
        assert_eq!((block.number, block.count), (number as u32, program.len() as u32));
        assert_eq!((block.flags, block.family, block.address % 256), (0x2000, 0xe48b_ff59, 0));
    }
    let contents: BTreeMap<_, _> = program.iter().map(|block| (block.address, block.page.to_vec())).collect();
    assert_eq!(contents.len(), program.len(), "no page comes twice");
    contents
}

#[test]
fn pages_hold_the_parts_and_erased_flash_between_them() {
    let text = text(700);
    let file = pico2(&firmware(&[(0x1000_0000, &text), (0x1000_0300, &[1, 2, 3])])).unwrap();
    let contents = contents(&file);
    assert_eq!(contents.keys().copied().collect::<Vec<_>>(), [0x1000_0000, 0x1000_0100, 0x1000_0200, 0x1000_0300]);
    let bytes: Vec<_> = contents.into_values().flatten().collect();
    assert_eq!(bytes[..700], text);
    assert_eq!(bytes[700..768], [0xff; 68]);
    assert_eq!(bytes[768..771], [1, 2, 3]);
    assert_eq!(bytes[771..], [0xff; 253]);
}

#[test]
fn what_cannot_run_is_refused() {
    let text = text(700);
    let refused = |parts: &[(u32, &[u8])]| pico2(&firmware(parts)).unwrap_err();
    assert_eq!(refused(&[]), Problem::Empty);
    assert_eq!(refused(&[(0x1000_0000, &text[..290])]), Problem::NoImageDefinition);
    assert_eq!(refused(&[(0x1000_1000, &text)]), Problem::NoImageDefinition);
    assert_eq!(refused(&[(0x1000_0002, &text)]), Problem::NoImageDefinition);
    for address in [0, 0x0800_0000, 0x0fff_ffff, 0x103f_ff00, 0x2000_0000, 0xffff_ffff] {
        assert_eq!(refused(&[(address, &text)]), Problem::OutsideFlash { address, len: 700 });
    }
    assert_eq!(refused(&[(0x1000_0000, &text), (0x1000_02bb, &[1])]), Problem::Overlap { address: 0x1000_02bb });
}

#[test]
fn any_bytes_are_converted_or_refused() {
    let whole = firmware(&[(0x1000_0000, &text(700))]);
    for len in 0..whole.len() {
        assert_eq!(pico2(&whole[..len]), Err(Problem::NotFirmware), "{len} bytes");
    }
    for at in 0..84 {
        for byte in [0, 1, 0x7f, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = byte;
            if let Ok(file) = pico2(&damaged) {
                assert!(!contents(&file).is_empty());
            }
        }
    }
}

/// `CYGNET_PICO2` names the firmware's files without their ending: `.uf2`, and `.bin` as objcopy makes it of the ELF file's
/// loaded parts.
#[test]
#[ignore = "needs firmware: boards/cortex-m/package builds it and runs this"]
fn the_file_of_real_firmware_holds_what_is_loaded() {
    let name = env::var("CYGNET_PICO2").expect("CYGNET_PICO2");
    let read = |ending| fs::read(format!("{name}.{ending}")).expect(ending);
    let (file, binary) = (read("uf2"), read("bin"));
    let contents = contents(&file);
    assert_eq!(contents.len(), binary.len().div_ceil(256));
    let addresses = (0x1000_0000..).step_by(256).take(contents.len());
    assert!(contents.keys().copied().eq(addresses), "from the beginning of flash, without gaps");
    let bytes: Vec<_> = contents.into_values().flatten().collect();
    let (loaded, rest) = bytes.split_at(binary.len());
    assert!(loaded == binary, "the pages differ from what is loaded");
    assert!(rest.iter().all(|&byte| byte == 0xff));
    // The initial stack pointer lies at the end of RAM, the first instruction in flash (Thumb: odd).
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!(word(0), 0x2008_2000);
    assert!(word(4) % 2 == 1 && (0x1000_0000..0x1000_0000 + binary.len() as u32).contains(&word(4)));
    let definitions = bytes[..4096].chunks(4).zip(0..).filter(|(chunk, _)| *chunk == &DEFINITION[..4]);
    let places: Vec<_> = definitions.map(|(_, word)| word * 4).collect();
    assert_eq!(places.len(), 1, "one block in the first 4 KiB");
    assert_eq!(bytes[places[0]..places[0] + 20], DEFINITION);
}
