//! The records of the steps: what each computes, on which tensors. Int8 steps follow the number contract
//! of [`crate::quantization`]; the formula of each stands at its struct.

mod cache;
mod convolution;
mod elementwise;
mod host;
mod movement;
mod product;
mod recurrent;
mod reduction;
mod window;

pub use cache::*;
pub use convolution::*;
pub use elementwise::*;
pub use host::*;
pub use movement::*;
pub use product::*;
pub use recurrent::{Activation, Recurrent};
pub use reduction::*;
pub use window::Window;
