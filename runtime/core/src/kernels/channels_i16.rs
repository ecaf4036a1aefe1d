//! What the end of a kernel of int16 takes of up to 16 channels: bias, multipliers, limits and where results go.

use crate::bytes::I64s;
use crate::kernels::{Bias, ConvI16Args, ConvI16Output};
use crate::quantization::TargetOf;
use crate::weights::BLOCK;

/// Where results go.
#[derive(Clone, Copy)]
pub(crate) enum Results {
    I16(*mut i16),
    I8(*mut i8),
    F32(*mut f32),
}

/// The bias of 16 channels, little-endian.
pub(crate) enum Start<'r> {
    I32(&'r [u8; 4 * BLOCK]),
    I64(&'r [u8; 8 * BLOCK]),
}

/// What is taken of up to 16 channels; behind the last one stand zeros.
pub(crate) struct Channels<'r> {
    pub bias: Start<'r>,
    /// All sums, bias and all, are below 2⁵¹ in magnitude.
    pub is_exact: bool,
    /// Little-endian.
    pub multipliers: &'r [u8; 4 * BLOCK],
    /// Limits before the zero point is added, and the zero point.
    pub limits: (f32, f32, i32),
    pub results: Results,
}

/// Room for bias and multipliers that are fewer than 16.
pub(crate) struct Room {
    bias: [u8; 4 * BLOCK],
    wide_bias: [u8; 8 * BLOCK],
    multipliers: [u8; 4 * BLOCK],
}

impl Room {
    #[inline(always)]
    pub fn new() -> Self {
        Self { bias: [0; _], wide_bias: [0; _], multipliers: [0; _] }
    }
}

/// Products of int16 with int8 whose sum is below 2⁵⁰, whatever they are.
const EXACT_PRODUCTS: usize = 1 << 27;

impl<'r> Channels<'r> {
    /// The `lanes` channels from `channel` on.
    #[inline(always)]
    pub fn of<'a: 'r>(args: &mut ConvI16Args<'a>, channel: usize, lanes: usize, room: &'r mut Room) -> Self {
        let mut is_exact = true;
        let bias = match args.bias {
            Bias::I32(bias) => Start::I32(whole(bias.bytes(channel, lanes), &mut room.bias)),
            Bias::I64(bias) => {
                let bytes = whole(bias.bytes(channel, lanes), &mut room.wide_bias);
                is_exact = args.window.taps() * args.window.group_in() <= EXACT_PRODUCTS
                    && I64s::new(bytes).iter().all(|bias| bias.unsigned_abs() < 1 << 50);
                Start::I64(bytes)
            }
        };
        let multipliers = whole(args.multipliers.bytes(channel, lanes), &mut room.multipliers);
        let len = args.window.positions() * args.window.out_c as usize;
        let (results, limits) = match &mut args.y {
            ConvI16Output::I16(y, target) => (Results::I16(y[..len].as_mut_ptr()), target.parts()),
            ConvI16Output::I8(y, target) => (Results::I8(y[..len].as_mut_ptr()), target.parts()),
            ConvI16Output::F32(y) => (Results::F32(y[..len].as_mut_ptr()), TargetOf::<i16>::whole(0).parts()),
        };
        Self { bias, is_exact, multipliers, limits, results }
    }
}

/// The bytes in place where they are as many, else in the room, in front of zeros.
#[inline(always)]
fn whole<'r, const LEN: usize>(bytes: &'r [u8], room: &'r mut [u8; LEN]) -> &'r [u8; LEN] {
    match bytes.first_chunk() {
        Some(all) => all,
        None => {
            room.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            room
        }
    }
}
