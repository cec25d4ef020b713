//! The variables of one flow: their names, kinds and places, found before its steps are read, and who reads them.

use std::cell::RefCell;
use std::collections::BTreeSet;

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
    /// What it may hold.
    pub(crate) texts: Texts,
}

/// Which texts a variable may hold, as far as its flow can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Texts {
    /// Whatever callers key, services answer, or other flows give.
    Any,
    /// One of these; none yet when nothing has given it a value.
    Only(Vec<Box<str>>),
}

impl Texts {
    fn widen(&mut self, more: Texts) {
        match (self, more) {
            (Self::Any, _) => {}
            (own, Self::Any) => *own = Self::Any,
            (Self::Only(own), Self::Only(more)) => {
                for text in more {
                    if !own.contains(&text) {
                        own.push(text);
                    }
                }
            }
        }
    }
}

impl Variables {
    /// Adds a variable, or marks the one there is. `Err` holds the kind it already has when that is another one.
    pub(crate) fn declare(&mut self, name: &str, kind: Kind, sensitive: bool, texts: Texts) -> Result<u16, Kind> {
        match self.all.iter().position(|known| known.name == name) {
            Some(place) => {
                let known = self.all.get_mut(place).filter(|known| known.kind == kind);
                match known {
                    Some(known) => {
                        known.sensitive |= sensitive;
                        known.texts.widen(texts);
                    }
                    None => return Err(self.all.get(place).map_or(kind, |known| known.kind)),
                }
                Ok(u16::try_from(place).unwrap_or(u16::MAX))
            }
            None => {
                self.all.push(Variable { name: name.to_owned(), kind, sensitive, texts });
                Ok(u16::try_from(self.all.len() - 1).unwrap_or(u16::MAX))
            }
        }
    }

    /// The variable may hold any text, if there is one of that name.
    pub(crate) fn widen(&mut self, name: &str) {
        if let Some(known) = self.all.iter_mut().find(|known| known.name == name) {
            known.texts = Texts::Any;
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

    /// Every variable with its slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u16, &Variable)> {
        (0..).zip(&self.all)
    }
}

/// Which variables some expression of the flow reads.
#[derive(Debug, Default)]
pub(crate) struct Reads(RefCell<BTreeSet<u16>>);

impl Reads {
    pub(crate) fn has(&self, slot: u16) -> bool {
        self.0.borrow().contains(&slot)
    }
}

/// The variables as the flow's expressions look them up: what is looked up is read.
pub(crate) struct ReadScope<'a> {
    pub(crate) variables: &'a Variables,
    pub(crate) reads: &'a Reads,
}

impl Scope for ReadScope<'_> {
    fn lookup(&self, name: &str) -> Option<Known> {
        let known = self.variables.lookup(name)?;
        if let Reference::Slot(slot) = known.reference {
            self.reads.0.borrow_mut().insert(slot);
        }
        Some(known)
    }

    fn names(&self) -> Vec<&str> {
        self.variables.names()
    }

    fn is_doubtful(&self, name: &str) -> bool {
        self.variables.is_doubtful(name)
    }

    fn texts(&self, reference: Reference) -> Option<Vec<&str>> {
        self.variables.texts(reference)
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

    fn texts(&self, reference: Reference) -> Option<Vec<&str>> {
        let Reference::Slot(slot) = reference else { return None };
        match &self.get(slot)?.texts {
            Texts::Only(texts) if !texts.is_empty() => Some(texts.iter().map(AsRef::as_ref).collect()),
            Texts::Only(_) | Texts::Any => None,
        }
    }
}
