//! Which kinds of steps a plan has, found while firmware is compiled, so that only their kernels are linked.

use super::step::opcode;
use super::tensor::{DType, Tensor};
use super::{HEADER_BYTES, MAGIC};
use crate::bytes::Record;

/// A set of kinds of steps. Kinds that exist for several types of elements count once for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepSet([u128; BLOCKS]);

/// Opcodes of which one number holds the bits.
const BLOCK: usize = 32;

/// Numbers of a set.
const BLOCKS: usize = 2;

const _: () = assert!(opcode::COUNT <= BLOCK * BLOCKS);

/// The forms that a kind of step may have, by the type of its deciding tensor. Kinds of one form have the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// int8, and every other type that has no form of its own.
    I8 = 0,
    /// float32.
    F32 = 1,
    /// int16.
    I16 = 2,
}

impl Form {
    /// How many there are.
    pub const COUNT: usize = 3;
    /// All of them, each at its number.
    pub const ALL: [Self; Self::COUNT] = [Self::I8, Self::F32, Self::I16];

    /// The form for a deciding tensor of a type; `None` for kinds of one form.
    pub const fn of(dtype: Option<DType>) -> Self {
        match dtype {
            Some(DType::F32) => Self::F32,
            Some(DType::I16) => Self::I16,
            _ => Self::I8,
        }
    }
}

impl StepSet {
    /// Every kind.
    pub const ALL: Self = Self([u128::MAX; BLOCKS]);

    /// The kinds of steps of a plan (`.cyg`), or [`Self::ALL`] when the bytes are none. Can be called in a constant.
    #[must_use]
    pub const fn of(plan: &[u8]) -> Self {
        match scan(plan) {
            Some(bits) => Self(bits),
            None => Self::ALL,
        }
    }

    /// Whether the kind of a number is in the set: `2 · opcode`, one more where float32 decides, and `64 + opcode` where
    /// int16 does; of opcodes from 32 on `128` more than opcodes 32 less have.
    #[must_use]
    pub const fn has_number(self, number: u32) -> bool {
        let number = number as usize;
        number < 128 * BLOCKS && self.0[number / 128] >> (number % 128) & 1 == 1
    }

    /// How many kinds are in the set.
    #[must_use]
    pub const fn len(self) -> u32 {
        self.0[0].count_ones() + self.0[1].count_ones()
    }

    /// Whether no kind is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether the kind of an opcode is in the set, in the form that its deciding tensor asks for, see [`deciding_word`].
    #[must_use]
    pub(crate) const fn has(self, opcode: usize, form: Form) -> bool {
        self.has_number(number(opcode, form) as u32)
    }

    /// Whether the kind of an opcode is in the set in any form.
    #[must_use]
    pub(crate) fn has_any(self, opcode: usize) -> bool {
        Form::ALL.into_iter().any(|form| self.has(opcode, form))
    }

    /// The kinds that are in both sets.
    #[must_use]
    pub(crate) const fn and(self, other: Self) -> Self {
        Self([self.0[0] & other.0[0], self.0[1] & other.0[1]])
    }
}

/// See [`StepSet::has_number`].
const fn number(opcode: usize, form: Form) -> usize {
    let (block, opcode) = (opcode / BLOCK % BLOCKS, opcode % BLOCK);
    128 * block
        + match form {
            Form::I8 => 2 * opcode,
            Form::F32 => 2 * opcode + 1,
            Form::I16 => 64 + opcode,
        }
}

/// Which word of a record, behind its head, names the tensor whose type decides between the forms of its kind; `None`
/// where there is one.
pub(crate) const fn deciding_word(opcode: usize) -> Option<usize> {
    match opcode {
        opcode::MatMul => Some(2),
        opcode::Binary => Some(5),
        opcode::Table | opcode::Pool | opcode::Reduce | opcode::Softmax | opcode::ResizeLinear => Some(1),
        opcode::Quantize | opcode::Requantize => Some(1),
        opcode::ArgMax | opcode::Dequantize => Some(0),
        opcode::Lstm | opcode::Gru | opcode::Rnn => Some(5),
        _ => None,
    }
}

/// The little-endian word at `at`.
pub(super) const fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let Some((_, rest)) = bytes.split_at_checked(at) else { return None };
    match rest.first_chunk::<4>() {
        Some(word) => Some(u32::from_le_bytes(*word) as usize),
        None => None,
    }
}

const fn scan(plan: &[u8]) -> Option<[u128; BLOCKS]> {
    // Behind the sixteen bytes before the header's own words: see `Header`.
    const STEP_TABLE: usize = 16 + 4 * 3;
    const TENSORS: usize = STEP_TABLE + 8;
    // Words of a record in front of the step's own.
    const HEAD: usize = 3;
    match plan.first_chunk::<4>() {
        Some(&[a, b, c, d]) if plan.len() >= HEADER_BYTES => {
            if a != MAGIC[0] || b != MAGIC[1] || c != MAGIC[2] || d != MAGIC[3] {
                return None;
            }
        }
        _ => return None,
    }
    let (Some(start), Some(len)) = (word(plan, STEP_TABLE), word(plan, STEP_TABLE + 4)) else { return None };
    let Some(tensors) = word(plan, TENSORS) else { return None };
    let (mut at, mut bits) = (start, [0; BLOCKS]);
    while at < start.saturating_add(len) {
        let Some(head) = word(plan, at) else { return None };
        let (opcode, words) = (head & 0xffff, head >> 16);
        if words < HEAD || opcode >= opcode::COUNT {
            return None;
        }
        let form = match deciding_word(opcode) {
            None => Form::I8,
            Some(index) => {
                let Some(tensor) = word(plan, at.saturating_add(4 * (HEAD + index))) else { return None };
                let entry = tensors.saturating_add(tensor.saturating_mul(4 * Tensor::WORDS));
                match word(plan, entry.saturating_add(4 * Tensor::DTYPE_WORD)) {
                    Some(dtype) if dtype == DType::F32 as usize => Form::F32,
                    Some(dtype) if dtype == DType::I16 as usize => Form::I16,
                    Some(_) => Form::I8,
                    None => return None,
                }
            }
        };
        let number = number(opcode, form);
        bits[number / 128] |= 1 << (number % 128);
        at = at.saturating_add(4 * words);
    }
    Some(bits)
}
