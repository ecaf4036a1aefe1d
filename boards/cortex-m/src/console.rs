//! Lines of text without the code of `core::fmt`.

use cygnet_core::Error;

use crate::channel::{self, Channel};

/// A part of a line.
#[derive(Clone, Copy, Debug)]
pub enum Word<'a> {
    /// As it is.
    Text(&'a str),
    /// In decimal digits.
    Number(u64),
    /// In 16 hexadecimal digits.
    Hash(u64),
    /// With three digits behind the point; beyond ±4,000,000 cut to that.
    Real(f32),
}

/// Decimal digits of `u64::MAX`.
const DIGITS: usize = 20;

/// Prints the words and a line end.
pub fn line(words: &[Word<'_>]) {
    let mut out = Channel::open();
    let mut write = |bytes: &[u8]| out.write(bytes);
    for word in words {
        match *word {
            Word::Text(text) => write(text.as_bytes()),
            Word::Number(number) => decimal(number, &mut write),
            Word::Hash(hash) => {
                for shift in (0..16).rev() {
                    let digit = (hash >> (4 * shift)) as u8 & 15;
                    write(&[if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }]);
                }
            }
            Word::Real(value) => {
                let thousandths = (value * 1000.0 + if value < 0.0 { -0.5 } else { 0.5 }) as i32;
                if thousandths < 0 {
                    write(b"-");
                }
                let thousandths = thousandths.unsigned_abs();
                decimal(u64::from(thousandths / 1000), &mut write);
                let rest = thousandths % 1000;
                let digit = |value: u32| b'0' + (value % 10) as u8;
                write(&[b'.', digit(rest / 100), digit(rest / 10), digit(rest)]);
            }
        }
    }
    write(b"\n");
}

fn decimal(number: u64, write: &mut impl FnMut(&[u8])) {
    let (mut digits, mut rest, mut count) = ([0_u8; DIGITS], number, 0);
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (rest % 10) as u8;
        rest /= 10;
        count += 1;
        if rest == 0 {
            break;
        }
    }
    write(digits.get(DIGITS - count..).unwrap_or(&[]));
}

/// Ends the program: an emulator's exit status, or the last line, says whether it went well.
pub fn end(well: bool) -> ! {
    channel::end(well)
}

/// Prints why the engine refused, shortly: the whole sentences are in `cygnet_core::Error`, for machines with more room.
pub fn error(error: &Error) {
    let (what, number) = match *error {
        Error::NotAPlan => ("these bytes are no plan", None),
        Error::Version { found } => ("the plan has another version", Some(u64::from(found))),
        Error::Checksum => ("the plan is damaged", None),
        Error::ArenaTooSmall { needed, .. } => ("the arena needs these bytes:", Some(needed as u64)),
        Error::ElementCount { expected, .. } => ("the input needs this number of elements:", Some(expected as u64)),
        Error::NoKernel { step } | Error::NeedsHost { step } => ("no kernel for step", Some(u64::from(step))),
        _ => ("the engine refuses the plan: cygnet inspect says why", None),
    };
    match number {
        Some(number) => line(&[Word::Text(what), Word::Text(" "), Word::Number(number)]),
        None => line(&[Word::Text(what)]),
    }
}
