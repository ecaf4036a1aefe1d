//! One step: its tensors found in the arena and handed to the kernel.

mod cache;
mod compressed;
mod convolution;
mod dynamic;
mod elementwise;
pub(crate) mod executors;
mod host;
mod movement;
mod product;
mod recurrent;
mod reduction;
mod transformer;

use core::cell::Cell;
use core::ops::Range;

use crate::bytes::{F32s, I32s};
use crate::error::Error;
use crate::kernels::view::{f32s_mut, i8s, i8s_mut};
use crate::kernels::{ConvI8Args, ConvOutput, Kernels};
use crate::plan::step::{ConvI8, Step, StepRecord};
use crate::plan::{DType, Plan, Tensor, TensorId};
use crate::quantization::Target;
use crate::session::Host;
use crate::team::{self, Team};

/// The bytes of a tensor in the arena.
#[inline]
pub(super) fn range(tensor: &Tensor) -> Range<usize> {
    let start = tensor.offset as usize;
    // The verifier has seen that the product is below 2³¹ and that dimensions behind the rank are 1.
    let elements = tensor.shape.iter().fold(1_usize, |product, &dim| product.wrapping_mul(dim as usize));
    start..start.wrapping_add(elements.wrapping_mul(tensor.dtype.bytes()))
}

/// What executors need of a tensor's entry.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    range: Range<usize>,
    dtype: DType,
    scale: f32,
    zero_point: i32,
}

/// Elements of an unaligned constant that are read at once.
const PIECE: usize = 32;

/// What the verifier has ruled out.
const REFUSED: &str = "its tensors overlap or are not there";

pub(crate) struct Context<'c, 'p> {
    plan: &'c Plan<'p>,
    arena: &'c mut [u8],
    kernels: &'static Kernels,
    team: Option<&'c dyn Team>,
    index: u32,
}

/// A step's input and output: their table entries and their bytes.
type Pair<'a> = (Place, Place, &'a [u8], &'a mut [u8]);

/// The bytes of both sides of a product and of its result.
type Sides<'a> = (&'a [u8], &'a [u8], &'a mut [u8]);

/// Where the channels of a convolution's results lie in its output.
struct Channels {
    /// The first one's place among those of the output.
    first: u32,
    /// Channels of the output.
    all: u32,
}

impl Channels {
    /// All there are.
    #[inline]
    fn of(s: &ConvI8) -> Self {
        Self { first: 0, all: s.window.out_c }
    }
}

impl<'p> Context<'_, 'p> {
    fn refused(&self) -> Error {
        Error::Step { index: self.index, rule: REFUSED }
    }

    #[cfg_attr(target_os = "none", inline(never))]
    #[cfg_attr(not(target_os = "none"), inline)]
    fn tensor(&self, id: TensorId) -> Result<Place, Error> {
        let tensor = self.plan.tensor(id).ok_or(self.refused())?;
        let (dtype, scale, zero_point) = (tensor.dtype, tensor.scale, tensor.zero_point);
        Ok(Place { range: range(&tensor), dtype, scale, zero_point })
    }

    /// Input and output, with their bytes.
    #[inline]
    fn pair(&mut self, x: TensorId, y: TensorId) -> Result<Pair<'_>, Error> {
        let refused = self.refused();
        let (x, y) = (self.tensor(x)?, self.tensor(y)?);
        let [x_bytes, y_bytes] =
            self.arena.get_disjoint_mut([x.range.clone(), y.range.clone()]).map_err(|_| refused)?;
        Ok((x, y, x_bytes, y_bytes))
    }

    /// Input and output that may be one place.
    fn shared_pair(&mut self, x: TensorId, y: TensorId) -> Result<[&[Cell<u8>]; 2], Error> {
        let refused = self.refused();
        let (x, y) = (self.tensor(x)?, self.tensor(y)?);
        let cells = Cell::from_mut(&mut *self.arena).as_slice_of_cells();
        Ok([cells.get(x.range).ok_or(refused)?, cells.get(y.range).ok_or(refused)?])
    }

    fn conv_i8(
        &mut self,
        s: &ConvI8,
        channels: Channels,
        dense: bool,
        kernel: fn(ConvI8Args<'_>),
    ) -> Result<(), Error> {
        let team = self.team;
        let refused = self.refused();
        let (x, y) = (self.tensor(s.x)?, self.tensor(s.y)?);
        let scratch = match s.scratch {
            Some(id) => self.tensor(id)?.range,
            None => 0..0,
        };
        let plan = self.plan;
        let [x_bytes, y_bytes, scratch] =
            self.arena.get_disjoint_mut([x.range.clone(), y.range.clone(), scratch]).map_err(|_| refused)?;
        let y_bytes = y_bytes.get_mut(channels.first as usize * y.dtype.bytes()..).ok_or(refused)?;
        let args = ConvI8Args {
            window: &s.window,
            x: i8s(x_bytes),
            x_zero_point: x.zero_point as i8,
            y: match y.dtype {
                DType::F32 => ConvOutput::F32(f32s_mut(y_bytes)),
                _ => ConvOutput::I8(i8s_mut(y_bytes), Target::new(y.zero_point, s.low, s.high)),
            },
            y_step: channels.all as usize,
            scratch: i8s_mut(scratch),
            weights: plan.constant(s.weights),
            multipliers: F32s::new(plan.constant(s.multipliers)),
            bias: I32s::new(plan.constant(s.bias)),
            weight_zero_points: I32s::new(plan.constant(s.weight_zero_points)),
            narrow: s.narrow != 0,
        };
        team::conv_i8(team, dense, args, kernel);
        Ok(())
    }

    /// The bytes of a product's sides, which may be one tensor, and of its result.
    fn sides(&mut self, a: &Place, b: &Place, same: bool, y: &Place) -> Result<Sides<'_>, Error> {
        let refused = self.refused();
        let other = if same { 0..0 } else { b.range.clone() };
        let [a, b, y] = self.arena.get_disjoint_mut([a.range.clone(), other, y.range.clone()]).map_err(|_| refused)?;
        Ok(if same { (&*a, &*a, y) } else { (&*a, &*b, y) })
    }
}

/// Runs one step.
#[inline]
pub(super) fn step(
    plan: &Plan<'_>,
    arena: &mut [u8],
    kernels: &'static Kernels,
    team: Option<&dyn Team>,
    record: &StepRecord,
    host: &mut dyn Host,
) -> Result<(), Error> {
    let mut context = Context { plan, arena, kernels, team, index: record.index };
    // Most steps are these, and small models spend a good part of their time between steps.
    match &record.step {
        Step::ConvI8(s) => context.conv_i8(s, Channels::of(s), true, kernels.conv_i8),
        Step::DepthwiseI8(s) => context.conv_i8(s, Channels::of(s), false, kernels.depthwise_i8),
        step => executors::run(&mut context, step, host),
    }
}
