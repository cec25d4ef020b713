//! Samples and codecs: G.711, decoding of prompt files, resampling, WAV.

pub mod clip;
mod decode;
pub mod g711;
mod pcm;
pub mod recognise;
pub mod recording;
mod resampler;
pub mod wav;

pub use clip::{Clip, Codec};
pub use decode::{AudioError, decode};
pub use pcm::{Level, Pcm};
pub use resampler::Resampler;
