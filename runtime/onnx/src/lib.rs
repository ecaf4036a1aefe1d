//! See the crate description.

pub mod fallback;
pub mod compile;
pub mod model;
pub mod reference;
