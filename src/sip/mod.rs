//! SIP as a user agent, without I/O: datagrams and commands in, datagrams and events out
//! (RFC 3261, RFC 3581, RFC 6026). Read RFC 3261 §17.2 and §12 first.
//!
//! [`UserAgent`] is the whole module's face; `Action`, `Event` and `Invitation` are its words.

pub mod action;
pub mod user_agent;

pub use action::{Action, EndCause, Event, Invitation, Invite, Rejection, Why};
pub use user_agent::{Settings, UserAgent};
