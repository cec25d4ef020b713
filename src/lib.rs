//! contesta: the voice of an operator's customer-service centre.
//!
//! Everything that decides is pure: `handle(now, event, &mut actions)`, `poll_timeout()`, `handle_timeout(now, &mut actions)`.
//! Only `edge`, `store`, `service`, `notify` and `cli` may wait, read a clock or touch a socket. `ARCHITECTURE.md` draws
//! the arrows, `tests/tidy.rs` and `clippy.toml` guard them.

pub mod audio;
pub mod call;
pub mod case;
pub mod cli;
pub mod config;
pub mod document;
pub mod dtmf;
pub mod duration_text;
pub mod edge;
pub mod exchange;
pub mod fault;
pub mod flow;
pub mod ids;
pub mod media;
pub mod notify;
pub mod now;
pub mod operator;
pub mod rtp;
pub mod sdp;
pub mod service;
pub mod sip;
pub mod speech;
pub mod store;
pub mod value;
