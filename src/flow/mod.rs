//! Load, check and run declared flows. Knows prompts and digits, not calls.

pub mod action;
pub mod expr;
pub mod template;

pub use action::{Action, Answer, CallFacts, Event, Request, RequestId, Trace, Utterance};
