//! What is known without asking the database: cases that wait in the spool, and those opened lately.
//!
//! It answers a repeated request with the same folio, and a look-up of a case that was just opened, while the database is
//! away. The database stays the truth whenever it can be read.

use std::collections::{BTreeMap, VecDeque};

use crate::case::{Case, Folio, State};
use crate::store::cases::{self, Change};
use crate::store::entry::{Entry, Write};
use crate::store::orders::OrderKind;

/// Cases and orders, by everything they are asked for by.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    cases: BTreeMap<Folio, Case>,
    /// (operator, idempotency key) of each case.
    keys: BTreeMap<(String, String), Folio>,
    /// (operator, kind, subject) of orders that wait in the spool.
    orders: BTreeMap<(String, OrderKind, String), Folio>,
    /// Folios of cases that are in the database, the oldest first, at most [`RECENT_MAX`].
    recent: VecDeque<Folio>,
}

impl Pending {
    pub(crate) fn case(&self, folio: &Folio) -> Option<&Case> {
        self.cases.get(folio)
    }

    pub(crate) fn case_by_key(&self, operator: &str, idempotency: &str) -> Option<&Case> {
        self.cases.get(self.keys.get(&(operator.to_owned(), idempotency.to_owned()))?)
    }

    pub(crate) fn order(&self, operator: &str, kind: OrderKind, subject: &str) -> Option<&Folio> {
        self.orders.get(&(operator.to_owned(), kind, subject.to_owned()))
    }

    /// Takes note of an entry that is in the spool.
    pub(crate) fn spooled(&mut self, entry: &Entry) {
        match &entry.write {
            Write::OpenCase { open, folio } => {
                self.keys.insert((open.operator.clone(), open.idempotency.clone()), folio.clone());
                let case =
                    Case { folio: folio.clone(), open: open.clone(), state: State::Open, next_step: String::new() };
                self.cases.insert(folio.clone(), case);
            }
            Write::UpdateCase(update) => {
                if let Some(case) = self.cases.get_mut(&update.folio) {
                    // One that is illegal by now is refused again, and kept aside, when it is replayed.
                    let _: Option<Change> = cases::apply(case, update);
                }
            }
            Write::Order(order) => {
                let subject = (order.operator.clone(), order.kind, order.subject().to_owned());
                self.orders.entry(subject).or_insert_with(|| order.folio.clone());
            }
            Write::SaveCall(_) | Write::Enqueue(_) => {}
        }
    }

    /// Forgets entries that could not be kept after all; `backlog` is what the spool does hold.
    pub(crate) fn unspool(&mut self, failed: &[Entry], backlog: &[Entry]) {
        for entry in failed {
            match &entry.write {
                Write::OpenCase { folio, .. } => self.forget(folio),
                Write::UpdateCase(update) => {
                    self.forget(&update.folio);
                    backlog
                        .iter()
                        .filter(|kept| kept.write.folio() == Some(&update.folio))
                        .for_each(|kept| self.spooled(kept));
                }
                Write::Order(order) => {
                    self.orders.remove(&(order.operator.clone(), order.kind, order.subject().to_owned()));
                }
                Write::SaveCall(_) | Write::Enqueue(_) => {}
            }
        }
    }

    fn forget(&mut self, folio: &Folio) {
        if let Some(case) = self.cases.remove(folio) {
            self.keys.remove(&(case.open.operator, case.open.idempotency));
        }
    }

    /// Remembers a case as the database has it, and forgets the oldest beyond [`RECENT_MAX`].
    pub(crate) fn remember(&mut self, case: Case) {
        self.keys.insert((case.open.operator.clone(), case.open.idempotency.clone()), case.folio.clone());
        if !self.recent.contains(&case.folio) {
            self.recent.push_back(case.folio.clone());
        }
        self.cases.insert(case.folio.clone(), case);
        while self.recent.len() > RECENT_MAX {
            if let Some(oldest) = self.recent.pop_front() {
                self.forget(&oldest);
            }
        }
    }

    /// The spool is empty: all of it is in the database.
    pub(crate) fn replayed(&mut self) {
        self.orders.clear();
        let recent = std::mem::take(&mut self.recent);
        let mut cases = std::mem::take(&mut self.cases);
        self.keys.clear();
        for case in recent.iter().filter_map(|folio| cases.remove(folio)) {
            self.remember(case);
        }
    }
}

/// Retries come within a call's life; so many cases are minutes of the largest operator.
const RECENT_MAX: usize = 1_000;
