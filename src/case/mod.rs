//! What the caller's matter is and how it may change: kinds, states, folio, deadlines.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use crate::ids::CallKey;
use crate::value::Values;

pub mod folio;

pub use folio::{Folio, FolioError};

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

impl State {
    /// Every state, in the order a case usually goes through them.
    pub const ALL: [Self; 5] = [Self::Open, Self::InProgress, Self::Escalated, Self::Solved, Self::Closed];

    /// Whether a case in this state may go to `next`. Staying is always allowed.
    ///
    /// A case is closed only from `Solved`, where the user confirms the solution (P-20), and a user who is not satisfied
    /// sends it back to work. `Closed` is final: a new matter gets a new folio.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        if self == next {
            return true;
        }
        match self {
            Self::Open => matches!(next, Self::InProgress | Self::Escalated | Self::Solved),
            Self::InProgress => matches!(next, Self::Escalated | Self::Solved),
            Self::Escalated => matches!(next, Self::InProgress | Self::Solved),
            Self::Solved => matches!(next, Self::InProgress | Self::Escalated | Self::Closed),
            Self::Closed => false,
        }
    }

    /// Its word in the store, the API and the prompts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "abierto",
            Self::InProgress => "en_proceso",
            Self::Escalated => "escalado",
            Self::Solved => "resuelto",
            Self::Closed => "cerrado",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no case state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no case state: abierto, en_proceso, escalado, resuelto, cerrado")]
pub struct UnknownState(pub String);

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(word: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.as_str() == word).ok_or_else(|| UnknownState(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_read_and_write_their_spanish_words() {
        for state in State::ALL {
            assert_eq!(state.to_string().parse(), Ok(state));
        }
        assert_eq!("abierta".parse::<State>(), Err(UnknownState("abierta".into())));
    }

    /// P-18, P-20: the whole table, a row a state, columns in the order of `State::ALL`.
    #[test]
    fn only_a_solved_case_closes_and_a_closed_one_stays() {
        let table: Vec<String> = State::ALL
            .into_iter()
            .map(|from| State::ALL.into_iter().map(|to| if from.may_become(to) { 'x' } else { '.' }).collect())
            .collect();
        assert_eq!(table, ["xxxx.", ".xxx.", ".xxx.", ".xxxx", "....x"]);
    }
}
