//! Everything DTMF: digits, RFC 4733 telephone events, tones in the speech, SIP INFO bodies, and the per-call ledger that
//! makes one press one digit.

pub mod digit;
mod habit;
pub mod info;
pub mod keypad;
mod ledger;
mod pressed;
mod receiver;
mod sender;
mod telephone_event;
mod tone_detector;
mod tone_generator;
mod tone_pair;

pub use digit::Digit;
pub use ledger::{Ledger, Road};
pub use receiver::TelephoneEvents;
pub use sender::{Press, PressPacket};
pub use telephone_event::{BLOCK_LENGTH, TelephoneEvent};
pub use tone_detector::ToneDetector;
pub use tone_generator::ToneGenerator;
