//! Everything DTMF: digits, RFC 4733 telephone events, SIP INFO bodies, and the per-call ledger that makes one press one
//! digit.

pub mod digit;
pub mod info;
mod ledger;
mod receiver;
mod sender;
mod telephone_event;

pub use digit::Digit;
pub use ledger::{Ledger, Road};
pub use receiver::TelephoneEvents;
pub use sender::{Press, PressPacket};
pub use telephone_event::{BLOCK_LENGTH, TelephoneEvent};
