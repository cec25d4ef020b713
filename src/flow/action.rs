//! The border of a running flow: what it is told and what it asks for.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use crate::case;
use crate::dtmf::Digit;
use crate::ids::{CallKey, PlayId};
use crate::now::Now;
use crate::operator::PromptId;
use crate::value::Values;

/// What a session knows of the call it serves, fixed when it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallFacts {
    /// The call.
    pub key: CallKey,
    /// The caller's number in ten digits, or as it came when it is not Mexican; `None` when anonymous.
    pub caller: Option<String>,
    /// The called number as the route matched it (`*2363`, `2226057239`).
    pub called: String,
    /// Digits of an extension that came with the INVITE (`;ext=300`, user part `300`).
    pub extension: Option<String>,
    /// When the call began.
    pub began: Now,
}

/// What a session is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The first event of a session.
    Start,
    /// The caller pressed a key.
    Digit(Digit),
    /// A play has reached its end.
    Played(PlayId),
    /// A request was answered.
    Answered(RequestId, Answer),
    /// Nobody listens for now (the far end holds the call): the step's own timer stands still. Requests go on, and what is to
    /// be said is heard after `Resumed`.
    Held,
    /// The far end listens again; what it missed is played again by whoever played it.
    Resumed,
    /// Whom the call was led to has answered: the flow stands still until they part.
    Connected,
    /// What [`Action::Transfer`] came to.
    Transferred(Outcome),
    /// The caller is gone: `on_hangup` runs, silently.
    HungUp,
}

/// What a session asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Answer the call (200) if that has not happened.
    Answer,
    /// Play this now, in place of whatever plays. `Event::Played` follows when it ends, and only then.
    Play {
        /// Its number.
        play: PlayId,
        /// What the caller hears.
        utterances: Vec<Utterance>,
    },
    /// Stop what plays; no `Played` follows.
    StopPlaying,
    /// Ask the outside: a service, the case store, the outbox. Exactly one answer follows, maybe after the session
    /// stopped waiting for it.
    Request {
        /// Its number within the call.
        id: RequestId,
        /// What is asked.
        request: Request,
        /// How long whoever carries it out may take; the session itself gives up at the same moment.
        timeout: Duration,
    },
    /// Lead the caller to somebody. `Event::Connected` follows when they answer, and `Event::Transferred` in any case, exactly once,
    /// unless the caller hangs up before.
    Transfer {
        /// To whom.
        to: Callee,
        /// How long it may ring.
        ring: Duration,
    },
    /// Record the call from here on, or no more: what a notice said and the caller to it.
    Record(bool),
    /// The caller is asked for what nobody may hear (`true`), or is no more.
    Secret(bool),
    /// A line of the call's path.
    Trace(Trace),
    /// The call's result for its record (`bloqueo`); the last one counts.
    Result(String),
    /// The flow is over: end the call. The last action of a session.
    Finished {
        /// Why, one word (`hangup`, `abandoned`, `loop`, `max_duration`, `error`).
        cause: &'static str,
    },
}

/// Whom a call is led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callee {
    /// An agent of the operator, by user name: every phone of theirs rings.
    Agent(String),
    /// A number outside, by a trunk that allows it.
    Trunk {
        /// The trunk's name.
        trunk: String,
        /// The number, as people write it.
        number: String,
    },
}

impl fmt::Display for Callee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(user) => f.write_str(user),
            Self::Trunk { number, .. } => f.write_str(number),
        }
    }
}

/// What leading a caller to somebody came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// They talked, and the other side hung up.
    Done,
    /// The other side is busy, or does not want to (486, 600, 603).
    Busy,
    /// Nobody answered in time, or nobody is there (408, 480).
    NoAnswer,
    /// It could not be done.
    Failed,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Done, Self::Busy, Self::NoAnswer, Self::Failed];

    /// The output of the step: `no_answer`.
    #[must_use]
    pub fn output(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Busy => "busy",
            Self::NoAnswer => "no_answer",
            Self::Failed => "failed",
        }
    }
}

/// A piece of what the caller hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Utterance {
    /// A prompt or recorded word of the operator's catalogue.
    Prompt(PromptId),
    /// Silence.
    Silence(Duration),
}

/// A secret to be compared.
#[derive(Clone, PartialEq, Eq)]
pub struct Verification {
    /// Operator id.
    pub operator: String,
    /// Declared name (`accounts.verify`).
    pub service: String,
    /// Arguments by name, the secret among them.
    pub args: Values,
    /// The account that tries are counted for: its service and what it is asked about, without the secret.
    pub account: String,
    /// The result that says the secret is right.
    pub matches: String,
    /// How many tries an account has.
    pub lockout: Lockout,
    /// The moment of the try.
    pub at: Timestamp,
}

/// How many wrong tries an account has before it takes none for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lockout {
    /// So many wrong tries within `window` lock it.
    pub tries: u8,
    /// For how long a try counts.
    pub window: Duration,
    /// How long it stays locked.
    pub lasts: Duration,
}

/// The result of a [`Request::Verify`] that was not asked: the account takes no tries.
pub const LOCKED: &str = "locked";

/// A request's number, unique within its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u32);

/// Something only the outside can answer. Its `Debug` shows the digits of service arguments as `*`: some are secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Request {
    /// A self-service of the operator.
    Service {
        /// Operator id.
        operator: String,
        /// Declared name (`coverage.lookup`).
        service: String,
        /// Arguments by name, of the declared kinds.
        args: Values,
        /// The same key has the same effect once (`device.block`); `None` for pure questions.
        idempotency: Option<String>,
    },
    /// Ask a service whether the caller knows an account's secret. Answered with the service's result; without asking it, with
    /// [`LOCKED`] (and `hasta`, the moment until which) when the account has seen too many wrong tries, in whatever calls.
    Verify(Verification),
    /// Open a case, or get the one that this key opened before. Answered `ok` with `folio`, `estado`, `vence`.
    OpenCase(case::Open),
    /// Change a case. Answered `ok` or `not_found`.
    UpdateCase(case::Update),
    /// Find a case of this operator by what the caller keyed. Answered `ok` (with `folio`, `tipo`, `estado`, `recibido`, `vence`,
    /// `siguiente`) or `not_found`, alike for a wrong and a foreign folio.
    FindCase {
        /// Operator id.
        operator: String,
        /// Digits as keyed; the check digit has been verified.
        folio: case::Folio,
    },
    /// Put a message into the outbox. Answered `queued`.
    Notify(Message),
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service { operator, service, args, idempotency } => {
                let masked = args.iter().map(|(name, value)| (name, masked(&value.to_string())));
                f.debug_struct("Service")
                    .field("operator", operator)
                    .field("service", service)
                    .field("args", &masked.collect::<BTreeMap<_, _>>())
                    .field("idempotency", idempotency)
                    .finish()
            }
            Self::Verify(verification) => f.debug_tuple("Verify").field(verification).finish(),
            Self::OpenCase(open) => f.debug_tuple("OpenCase").field(open).finish(),
            Self::UpdateCase(update) => f.debug_tuple("UpdateCase").field(update).finish(),
            Self::FindCase { operator, folio } => {
                f.debug_struct("FindCase").field("operator", operator).field("folio", folio).finish()
            }
            Self::Notify(message) => f.debug_tuple("Notify").field(message).finish(),
        }
    }
}

/// Names of arguments only: one of them is the secret.
impl fmt::Debug for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operator, service, args, account: _, matches: _, lockout, at: _ } = self;
        let args: Vec<&String> = args.keys().collect();
        f.debug_struct("Verification")
            .field("operator", operator)
            .field("service", service)
            .field("args", &args)
            .field("lockout", lockout)
            .finish()
    }
}

fn masked(text: &str) -> String {
    text.chars().map(|character| if character.is_ascii_digit() { '*' } else { character }).collect()
}

/// A message for the outbox; delivery comes later and elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Operator id.
    pub operator: String,
    /// `sms`, `email`, `whatsapp`, `print`.
    pub channel: String,
    /// Number, address, or empty for print.
    pub to: String,
    /// Template name.
    pub template: String,
    /// The text, ready to send.
    pub text: String,
    /// The case it belongs to, if any.
    pub folio: Option<case::Folio>,
    /// The call it was asked in.
    pub call: CallKey,
    /// The same key is stored once.
    pub idempotency: String,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A declared result (`covered`, `ok`, `not_found`) and its values.
    Result {
        /// One of the results the request declares.
        result: String,
        /// Values by name.
        values: Values,
    },
    /// It could not be done; the reason is for ops, not for the caller.
    Error(String),
}

/// A line of a call's path. `what` never holds a digit of a sensitive collect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Flow and step (`beneleit.principal/menu`).
    pub place: String,
    /// What happened there.
    pub what: String,
}
