//! Session descriptions: parse an offer, choose an answer, write both (RFC 8866, RFC 3264).
//!
//! One audio stream over RTP or SRTP in one codec, with telephone events. Every other stream of an offer is refused in place,
//! as RFC 3264 §6 asks. Keys of SRTP stand in the description (RFC 4568): whoever can read SIP can read them, so they are worth
//! what protects SIP.
//!
//! A packet of ours holds 20 ms, and an answer says so (`a=ptime`). What the far end would rather have (`a=ptime`) is a wish that nobody needs
//! fulfilled, and how long its own packets are it shows by sending them.

mod answer;
mod crypto;
mod description;
mod format;
mod negotiated;
mod offer;
mod outline;
mod terms;
mod writer;

pub use answer::{Unacceptable, answer};
pub use description::{Direction, Offer, SdpError};
pub use negotiated::{Negotiated, Profile};
pub use offer::{Offered, offer};
pub use outline::outline;
pub use terms::{EventPolicy, SrtpPolicy, Terms};
pub use writer::Local;
