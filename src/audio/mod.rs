//! Samples and codecs: G.711, decoding of prompt files, WAV.

pub mod clip;

pub use clip::{Clip, Codec};
