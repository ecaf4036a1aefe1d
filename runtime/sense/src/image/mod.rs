//! Pixels to the image tensor of a model: resize, crop or letterbox, normalise and quantize in one
//! pass over the picture, with a window of rows as the only scratch.

mod pixels;
mod prepare;
mod resize;
mod spec;

pub use pixels::{Packed, Pixels, Plane, Yuv420, YuvRange};
pub use spec::{Colour, Filter, Fit, ImageSpec, Layout, Placement};
