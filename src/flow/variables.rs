//! The variables of one flow: their names, kinds and places, found before its steps are read.

use crate::value::Kind;

use super::expr::{CallFact, Known, Reference, Scope};

/// The variables of one flow, in the order in which they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Variables {
    all: Vec<Variable>,
    /// Names, and beginnings of names before a dot, whose kind a fault hides.
    doubtful: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) sensitive: bool,
}

impl Variables {
    /// Adds a variable, or marks the one there is. `Err` holds the kind it already has when that is another one.
    pub(crate) fn declare(&mut self, name: &str, kind: Kind, sensitive: bool) -> Result<u16, Kind> {
        match self.all.iter().position(|known| known.name == name) {
            Some(place) => {
                let known = self.all.get_mut(place).filter(|known| known.kind == kind);
                match known {
                    Some(known) => known.sensitive |= sensitive,
                    None => return Err(self.all.get(place).map_or(kind, |known| known.kind)),
                }
                Ok(u16::try_from(place).unwrap_or(u16::MAX))
            }
            None => {
                self.all.push(Variable { name: name.to_owned(), kind, sensitive });
                Ok(u16::try_from(self.all.len() - 1).unwrap_or(u16::MAX))
            }
        }
    }

    /// A variable, or a record of them, that a fault keeps from being declared.
    pub(crate) fn doubt(&mut self, name: &str) {
        self.doubtful.push(name.to_owned());
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn slot(&self, name: &str) -> Option<u16> {
        self.all.iter().position(|known| known.name == name).and_then(|place| u16::try_from(place).ok())
    }

    pub(crate) fn get(&self, slot: u16) -> Option<&Variable> {
        self.all.get(usize::from(slot))
    }
}

impl Scope for Variables {
    fn lookup(&self, name: &str) -> Option<Known> {
        if let Some(slot) = self.slot(name) {
            let variable = self.get(slot)?;
            return Some(Known {
                reference: Reference::Slot(slot),
                kind: variable.kind,
                sensitive: variable.sensitive,
            });
        }
        let (_, fact, kind) = CallFact::ALL.iter().find(|(known, _, _)| *known == name)?;
        Some(Known { reference: Reference::Call(*fact), kind: *kind, sensitive: false })
    }

    fn names(&self) -> Vec<&str> {
        let own = self.all.iter().map(|variable| variable.name.as_str());
        own.chain(CallFact::ALL.iter().map(|(name, _, _)| *name)).collect()
    }

    fn is_doubtful(&self, name: &str) -> bool {
        let base = name.split('.').next().unwrap_or(name);
        self.doubtful.iter().any(|doubtful| doubtful == name || doubtful == base)
    }
}
