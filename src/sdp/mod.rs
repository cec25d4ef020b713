//! Session descriptions: parse an offer, choose an answer, write both (RFC 8866, RFC 3264).
//!
//! One audio stream over plain RTP, G.711 and telephone events. Every other stream of an offer is refused in place,
//! as RFC 3264 §6 asks.

mod choice;
mod description;

pub use choice::{Negotiated, NoCommonMedia, answer, offer, read_answer};
pub use description::{Direction, Offer, SdpError};
