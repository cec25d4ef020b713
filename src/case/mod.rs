//! What the caller's matter is and how it may change: kinds, states, folio, deadlines.

use jiff::Timestamp;

use crate::ids::CallKey;
use crate::value::Values;

pub mod folio;

pub use folio::Folio;

/// A case as it is asked to be opened. The store gives it its folio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Operator id (`beneleit`).
    pub operator: String,
    /// The operator's folio prefix, one digit.
    pub prefix: u8,
    /// Kind of the operator's catalogue (`bloqueo`).
    pub kind: String,
    /// Sub-kind (`robo`), empty when the kind has none.
    pub subkind: String,
    /// What was collected (`linea`, `imei`, `solicitante` …). Values of sensitive collects never get here.
    pub fields: Values,
    /// `telefono`, `whatsapp`, `correo`, `web`, `tienda`.
    pub channel: String,
    /// The call it was opened in.
    pub call: CallKey,
    /// When the report was received; deadlines count from here.
    pub received: Timestamp,
    /// When the kind's deadline runs out, if it has one.
    pub due: Option<Timestamp>,
    /// The same key opens the same case, whatever else differs: a retry never makes a second folio.
    pub idempotency: String,
}

/// A change to a case that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Whose case.
    pub operator: String,
    /// Which case.
    pub folio: Folio,
    /// The new state, if it changes.
    pub state: Option<State>,
    /// Fields set or replaced.
    pub fields: Values,
    /// The call that changes it.
    pub call: CallKey,
    /// When.
    pub at: Timestamp,
}

/// Where a case stands. `FromStr` and `Display` use the Spanish words that the store, the API and the prompts share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// «abierto»: nobody has taken it yet.
    Open,
    /// «en proceso»: an agent works on it.
    InProgress,
    /// «escalado»: a higher level has it.
    Escalated,
    /// «resuelto»: solved, not yet confirmed with the user.
    Solved,
    /// «cerrado».
    Closed,
}

/// A case as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Its number, the only one it ever has.
    pub folio: Folio,
    /// As it was opened; `fields` with later changes applied.
    pub open: Open,
    /// Where it stands.
    pub state: State,
    /// What happens next, as a short Spanish text for agents; empty when nothing is planned.
    pub next_step: String,
}
