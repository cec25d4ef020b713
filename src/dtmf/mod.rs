//! Everything DTMF: digits, RFC 4733 telephone events, and the per-call ledger that makes one press one digit.

pub mod digit;

pub use digit::Digit;
