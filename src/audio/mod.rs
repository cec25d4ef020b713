//! Samples and codecs: G.711, G.722, Opus, decoding of prompt files, resampling, WAV.

pub mod clip;
mod codec;
pub mod comfort_noise;
pub mod concealment;
mod decode;
mod decoder;
mod encoder;
mod frame;
pub mod g711;
pub mod g722;
pub mod opus;
mod pcm;
pub mod recognise;
pub mod recording;
mod resampler;
pub mod wav;

pub use clip::Clip;
pub use codec::{Codec, FRAME_MS};
pub use comfort_noise::ComfortNoise;
pub use concealment::Concealment;
pub use decode::{AudioError, decode};
pub use decoder::{Decoder, NoSound};
pub use encoder::{Encoder, PAYLOAD_MAX};
pub use frame::{FRAME_SAMPLES_MAX, Frame};
pub use pcm::{Level, Pcm};
pub use resampler::Resampler;
