//! What the crossing tests share: golden arrays, and a model compiled and run in one call.

pub mod arrays;
pub mod int8;
pub mod run;
