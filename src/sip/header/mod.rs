//! Typed headers, one a file: what stands in it, how it is read, how it is written (RFC 3261 §20).
//!
//! Every reader takes the raw value (folds and all) and borrows from it. A header that nobody asks for is never read, so
//! an unknown or a broken optional header costs nothing and disturbs nothing.

pub mod accept;
pub mod address;
pub mod allow;
pub mod auth_parameters;
pub mod authorization;
pub mod call_id;
pub mod contact;
pub mod contact_list;
pub mod content_length;
pub mod content_type;
pub mod cseq;
pub mod expires;
pub mod max_forwards;
pub mod name;
pub mod option_tags;
pub mod parameters;
pub mod rack;
pub mod reason;
pub mod replaces;
pub mod retry_after;
pub mod route;
pub mod session_expires;
pub mod via;
pub mod warning;
pub mod www_authenticate;

pub use name::Name;

/// A header that breaks its grammar. Becomes the Warning of a 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{header}: {what}")]
pub struct Malformed {
    /// Which header.
    pub header: Name,
    /// What is wrong, for the peer's operator.
    pub what: &'static str,
}
