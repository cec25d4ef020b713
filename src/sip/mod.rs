//! SIP as a user agent, without I/O: messages and commands in, messages and events out
//! (RFC 3261, RFC 3581, RFC 6026). Read RFC 3261 §17.2 and §12 first.
//!
//! [`UserAgent`] is the whole module's face; `Action`, `Event` and `Invitation` are its words. Below it, bottom up: `cursor`
//! reads bytes, `framing` finds messages in a stream, `message` finds lines, `header/*` reads one header each, `envelope` checks what every request needs,
//! `transaction/*` are the four machines of §17, `dialog` is §12, `trunk` is what we keep up with a carrier, `locate` where its servers are, `transport` says who is at the other end, `writer` builds messages.

pub mod action;
pub mod cursor;
pub mod dialog;
pub mod digest;
pub mod envelope;
pub mod framing;
pub mod header;
pub mod ladder;
pub mod locate;
pub mod masking;
pub mod message;
pub mod method;
pub mod refusal;
pub mod registrar;
pub mod session_timer;
pub mod status;
pub mod stun;
pub mod timers;
pub mod transaction;
pub mod transport;
pub mod trunk;
pub mod uri;
pub mod uri_comparison;
pub mod user_agent;
pub mod writer;

pub use action::{Action, EndCause, Event, Invitation, Invite, ReferTo, Referral, Rejection, Why};
pub use method::Method;
pub use transport::{Flow, Listener, Listeners, Peer, Reached, Transport};
pub use user_agent::{Settings, UserAgent};
