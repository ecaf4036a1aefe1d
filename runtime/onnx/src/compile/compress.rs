//! Packed weights in fewer bits, where that saves enough.

use cygnet_core::kernels::source::useful_scratch;
use cygnet_core::plan::step::Window;
use cygnet_core::weights::compressed::{LEVELS, PIECE, expanded_bytes, factor_count};
use cygnet_core::weights::{BLOCK, GROUP, Segments, block_width};

use super::{Compression, WEIGHTS_KEY};
use crate::model::Model;

/// Which forms may stand for packed weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowed {
    /// Indices of 16 levels.
    pub indexed: bool,
    /// Masks.
    pub sparse: bool,
}

impl Allowed {
    /// Every form.
    pub const ALL: Self = Self { indexed: true, sparse: true };

    /// What `compression` allows for the weights of `model`. Of 4 bits tells the type of its constants, of weights made
    /// zero on purpose nothing but a note: int8 weights as training leaves them have zeros, too.
    pub fn of(compression: Compression, model: &Model) -> Self {
        let noted = |form: &str| {
            let note = model.metadata.get(WEIGHTS_KEY).map(String::as_str).unwrap_or_default();
            note.split(',').any(|noted| noted.trim() == form)
        };
        let is_packed = || model.initializers.values().any(|tensor| tensor.dtype.is_packed());
        match compression {
            Compression::Never => Self { indexed: false, sparse: false },
            Compression::AsAsked => {
                Self { indexed: is_packed() || noted("int4") || noted("clustered"), sparse: noted("sparse") }
            }
            Compression::Smallest => Self::ALL,
        }
    }
}

/// How weights are stored: see [`cygnet_core::weights::compressed`].
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    Indexed {
        indices: Vec<u8>,
        levels: [u8; LEVELS],
        /// Empty where all are 1.
        factors: Vec<u8>,
        factor_quads: u32,
    },
    Sparse(Vec<u8>),
}

/// Bytes that a compressed form must save beside a quarter: its step is larger and slower, and needs room to expand.
const LEAST_SAVED: usize = 256;

impl Form {
    /// The smallest of the allowed forms for packed weights; `None` where none is much smaller than they are. `factors` are
    /// as many, packed the same way (the factor that is inside each weight), or none.
    pub fn smaller(window: &Window, packed: &[u8], factors: &[u8], allowed: Allowed) -> Option<Self> {
        let plain = packed.len();
        let indexed = allowed.indexed.then(|| [indexed(packed), factored(window, packed, factors)]);
        let sparse = allowed.sparse.then(|| sparse(packed));
        let best = indexed.into_iter().flatten().flatten().chain(sparse).min_by_key(Self::len);
        best.filter(|form| form.len() <= plain / 4 * 3 && form.len() + LEAST_SAVED <= plain)
    }

    /// Stored bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Sparse(bytes) => bytes.len(),
            Self::Indexed { indices, factors, .. } => indices.len() + LEVELS + factors.len(),
        }
    }
}

/// Weights of at most 16 levels.
fn indexed(packed: &[u8]) -> Option<Form> {
    let (indices, levels) = indices(packed)?;
    Some(Form::Indexed { indices, levels, factors: Vec::new(), factor_quads: 0 })
}

/// Weights of at most 16 levels times factors that neighbours along the reduction axis share.
fn factored(window: &Window, packed: &[u8], factors: &[u8]) -> Option<Form> {
    if factors.len() != packed.len() || window.groups != 1 {
        return None;
    }
    let of_channel = Segments::of(window).packed_len() / GROUP;
    let fitting = (1..=of_channel).rev().filter(|&quads| of_channel.is_multiple_of(quads));
    let (factor_quads, shared) = fitting.map(|quads| quads as u32).find_map(|quads| {
        let shared = shared_factors(window, factors, quads as usize)?;
        (factor_count(window, quads) == Some(shared.len())).then_some((quads, shared))
    })?;
    let divided: Vec<u8> = packed
        .iter()
        .zip(factors)
        // Padding has neither weight nor factor.
        .map(|(&weight, &factor)| (weight.cast_signed() / factor.cast_signed().max(1)).cast_unsigned())
        .collect();
    let (indices, levels) = indices(&divided)?;
    Some(Form::Indexed { indices, levels, factors: shared, factor_quads })
}

/// One factor for so many groups of four of each channel; `None` where they differ.
fn shared_factors(window: &Window, factors: &[u8], quads: usize) -> Option<Vec<u8>> {
    let of_channel = Segments::of(window).packed_len();
    let channels = window.out_c as usize;
    let mut shared = Vec::new();
    let mut rest = factors;
    for start in (0..channels).step_by(BLOCK) {
        let width = block_width(start, channels);
        let (block, behind) = rest.split_at_checked(width * of_channel)?;
        rest = behind;
        for part in block.chunks(width * GROUP * quads) {
            for lane in 0..width {
                let row = |row: &[u8]| row[lane * GROUP..][..GROUP].to_vec();
                let mut known = part.chunks(width * GROUP).flat_map(row).filter(|&factor| factor != 0);
                let factor = known.next().unwrap_or(1);
                if known.any(|other| other != factor) {
                    return None;
                }
                shared.push(factor);
            }
        }
    }
    Some(shared)
}

/// Each weight as the index of its level, two in a byte; `None` where there are more than 16 levels.
fn indices(packed: &[u8]) -> Option<(Vec<u8>, [u8; LEVELS])> {
    let mut there = [false; 256];
    packed.iter().for_each(|&weight| there[usize::from(weight)] = true);
    // From the least to the greatest.
    let sorted = (i8::MIN..=i8::MAX).map(i8::cast_unsigned).filter(|&level| there[usize::from(level)]);
    let (mut levels, mut place) = ([0; LEVELS], [0_u8; 256]);
    for (index, level) in sorted.enumerate() {
        *levels.get_mut(index)? = level;
        place[usize::from(level)] = index as u8;
    }
    let mut indices = Vec::with_capacity(packed.len() / 2 + PIECE);
    for pair in packed.chunks(2 * PIECE) {
        let (low, high) = pair.split_at_checked(PIECE)?;
        let high = high.iter().map(|&weight| place[usize::from(weight)]).chain(std::iter::repeat(0));
        indices.extend(low.iter().zip(high).map(|(&weight, high)| place[usize::from(weight)] | high << 4));
    }
    Some((indices, levels))
}

/// Masks, and the weights that are not 0.
fn sparse(packed: &[u8]) -> Form {
    let mut stored = Vec::new();
    for piece in packed.chunks(PIECE) {
        let mask = piece.iter().enumerate().fold(0_u16, |mask, (bit, &weight)| mask | u16::from(weight != 0) << bit);
        stored.extend(mask.to_le_bytes());
        stored.extend(piece.iter().filter(|&&weight| weight != 0));
    }
    Form::Sparse(stored)
}

/// Output channels that are expanded at once within `limit` bytes: all of them, or as many blocks as fit, at least one.
pub(super) fn channels_at_once(window: &Window, limit: usize) -> u32 {
    let block = BLOCK as u32;
    if window.groups != 1 || expanded_bytes(window, window.out_c) <= limit {
        return window.out_c;
    }
    let blocks = limit / expanded_bytes(window, block).max(1);
    (blocks.max(1) as u32 * block).min(window.out_c)
}

/// Bytes of scratch for a convolution that expands so many channels at once: their room, and what else is useful within
/// `limit`.
pub(super) fn scratch_bytes(window: &Window, channels: u32, limit: usize) -> usize {
    let room = expanded_bytes(window, channels);
    room + useful_scratch(window, false, limit.saturating_sub(room)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DType, Tensor};

    fn window(in_c: u32, out_c: u32) -> Window {
        Window {
            batch: 1,
            in_h: 1,
            in_w: 1,
            in_c,
            out_h: 1,
            out_w: 1,
            out_c,
            kernel_h: 1,
            kernel_w: 1,
            stride_h: 1,
            stride_w: 1,
            dilation_h: 1,
            dilation_w: 1,
            pad_top: 0,
            pad_left: 0,
            groups: 1,
        }
    }

    #[test]
    fn the_smallest_form_is_chosen() {
        // 64 inputs of 16 channels: 1,024 bytes.
        let window = window(64, 16);
        let weights =
            |level: &dyn Fn(usize) -> i8| (0..1024).map(|place| level(place).cast_unsigned()).collect::<Vec<u8>>();
        let form = |packed: &[u8], allowed| Form::smaller(&window, packed, &[], allowed);
        type Case<'c> = (&'c str, &'c dyn Fn(usize) -> i8, usize);
        let cases: [Case<'_>; 4] = [
            // Half a byte each and 16 levels.
            ("indexed", &|place| (place % 16) as i8 - 8, 528),
            ("packed", &|place| (place % 17) as i8 - 8, 1024),
            // A quarter stays: 64 masks and 256 bytes.
            ("sparse", &|place| if place % 4 == 0 { (place / 8 + 1) as i8 } else { 0 }, 384),
            // 7 of 10 stay: 128 + 717 bytes are more than three quarters.
            ("packed", &|place| if place % 10 < 7 { (place % 97) as i8 + 1 } else { 0 }, 1024),
        ];
        for (name, level, bytes) in cases {
            let packed = weights(level);
            let found = form(&packed, Allowed::ALL);
            let kind = match found {
                None => "packed",
                Some(Form::Indexed { .. }) => "indexed",
                Some(Form::Sparse(_)) => "sparse",
            };
            assert_eq!((kind, found.map_or(packed.len(), |form| form.len())), (name, bytes));
            assert_eq!(form(&packed, Allowed { indexed: false, sparse: false }), None);
            let other = Allowed { indexed: name == "sparse", sparse: name == "indexed" };
            assert_eq!(form(&packed, other), None, "{name}");
        }
    }

    #[test]
    fn zeros_alone_ask_for_nothing() {
        let mut model = Model::default();
        let allowed = |model: &Model| {
            let of = Allowed::of(Compression::AsAsked, model);
            (of.indexed, of.sparse)
        };
        assert_eq!(allowed(&model), (false, false));
        model.initializers.insert("zeros".into(), Tensor::from_i8(vec![4096], &[0; 4096]));
        assert_eq!(allowed(&model), (false, false));
        model.metadata.insert(WEIGHTS_KEY.into(), "int8, sparse".into());
        assert_eq!(allowed(&model), (false, true));
        let mut packed = Tensor::from_i8(vec![2], &[0; 1]);
        packed.dtype = DType::I4;
        model.initializers.insert("packed".into(), packed);
        assert_eq!(allowed(&model), (true, true));
    }

    #[test]
    fn factors_are_shared_by_as_many_as_have_them() {
        // 8 groups of four; the first four of each channel have a factor of 3, the others that of their channel.
        let window = window(32, 16);
        let factor = |place: usize| if place / 64 < 4 { 3 } else { (place / 4 % 16) as u8 + 1 };
        let factors: Vec<u8> = (0..512).map(factor).collect();
        let packed: Vec<u8> = (0..512).map(|place| ((place % 15) as i8 - 7) as u8 * factor(place)).collect();
        let Form::Indexed { indices, levels, factors, factor_quads } = factored(&window, &packed, &factors).unwrap()
        else {
            panic!("no indices");
        };
        assert_eq!((indices.len(), factor_quads), (256, 4));
        assert_eq!(levels[..15], (-7..=7_i8).map(i8::cast_unsigned).collect::<Vec<_>>());
        assert_eq!(factors, [&[3; 16][..], &(1..=16).collect::<Vec<u8>>()].concat());
    }

    #[test]
    fn channels_are_expanded_within_the_limit() {
        // 64 bytes a channel.
        let cases = [(2_560, 40), (2_559, 32), (2_047, 16), (0, 16)];
        for (limit, channels) in cases {
            assert_eq!(channels_at_once(&window(64, 40), limit), channels, "within {limit}");
        }
    }
}
