//! What is known without asking the database: cases that wait in the spool, and those opened lately.
//!
//! It answers a repeated request with the same folio, and a look-up of a case that was just opened, while the database is
//! away. The database stays the truth whenever it can be read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

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
    /// Cases that the spool opens or changes: the database does not have them as they are.
    waiting: BTreeSet<Folio>,
    /// (operator, kind, subject) of orders that wait in the spool.
    orders: BTreeMap<(String, OrderKind, String), Folio>,
    /// Folios of cases that are in the database, the oldest first, at most [`RECENT_MAX`].
    recent: VecDeque<Folio>,
}

impl Pending {
    pub(crate) fn case(&self, folio: &Folio) -> Option<&Case> {
        self.cases.get(folio)
    }

    /// The case as it will be, when the spool has something to say of it.
    pub(crate) fn waiting_case(&self, folio: &Folio) -> Option<&Case> {
        if self.waiting.contains(folio) { self.cases.get(folio) } else { None }
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
                self.waiting.insert(folio.clone());
            }
            Write::UpdateCase(update) => {
                if let Some(case) = self.cases.get_mut(&update.folio) {
                    self.waiting.insert(update.folio.clone());
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
                    // An earlier order of the same subject may own the key: the one that failed was only its repetition.
                    let subject = (order.operator.clone(), order.kind, order.subject().to_owned());
                    if self.orders.get(&subject) == Some(&order.folio) {
                        self.orders.remove(&subject);
                    }
                    backlog.iter().filter(|kept| is_order_of(kept, &subject)).for_each(|kept| self.spooled(kept));
                }
                Write::SaveCall(_) | Write::Enqueue(_) => {}
            }
        }
    }

    fn forget(&mut self, folio: &Folio) {
        self.waiting.remove(folio);
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
            // What the spool opens or changes is not the database's yet: it stays until the replay.
            if let Some(oldest) = self.recent.pop_front().filter(|oldest| !self.waiting.contains(oldest)) {
                self.forget(&oldest);
            }
        }
    }

    /// The spool is empty: all of it is in the database.
    pub(crate) fn replayed(&mut self) {
        self.orders.clear();
        self.waiting.clear();
        let recent = std::mem::take(&mut self.recent);
        let mut cases = std::mem::take(&mut self.cases);
        self.keys.clear();
        for case in recent.iter().filter_map(|folio| cases.remove(folio)) {
            self.remember(case);
        }
    }
}

/// Whether this entry orders something for (operator, kind, subject).
fn is_order_of(entry: &Entry, (operator, kind, subject): &(String, OrderKind, String)) -> bool {
    matches!(&entry.write, Write::Order(order)
        if order.operator == *operator && order.kind == *kind && order.subject() == subject)
}

/// Retries come within a call's life; so many cases are minutes of the largest operator.
const RECENT_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::case;
    use crate::ids::{CallKey, Ids};
    use crate::store::orders::Order;
    use crate::value::Values;

    fn opening(ids: &mut Ids) -> Entry {
        let folio = Folio::draw(2, ids);
        let open = case::Open {
            operator: "beneleit".into(),
            prefix: 2,
            kind: "falla".into(),
            subkind: String::new(),
            fields: Values::new(),
            channel: "telefono".into(),
            call: CallKey("c".into()),
            received: Timestamp::UNIX_EPOCH,
            due: None,
            idempotency: format!("key of {folio}"),
        };
        Entry { id: folio.to_string(), at: Timestamp::UNIX_EPOCH, write: Write::OpenCase { open, folio } }
    }

    fn change(of: &Entry, state: State) -> Entry {
        let update = case::Update {
            operator: "beneleit".into(),
            folio: folio(of),
            state: Some(state),
            fields: Values::new(),
            call: CallKey("c".into()),
            at: Timestamp::UNIX_EPOCH,
        };
        Entry { id: "u".into(), at: Timestamp::UNIX_EPOCH, write: Write::UpdateCase(update) }
    }

    fn order(of: &Entry) -> Entry {
        let order = Order {
            operator: "beneleit".into(),
            kind: OrderKind::LineSuspension,
            imei: String::new(),
            line: "2221234567".into(),
            folio: folio(of),
            reason: "robo".into(),
        };
        Entry { id: "o".into(), at: Timestamp::UNIX_EPOCH, write: Write::Order(order) }
    }

    fn folio(entry: &Entry) -> Folio {
        entry.write.folio().unwrap().clone()
    }

    fn state(pending: &Pending, entry: &Entry) -> Option<State> {
        pending.case(&folio(entry)).map(|case| case.state)
    }

    fn as_case(entry: &Entry) -> Case {
        let mut pending = Pending::default();
        pending.spooled(entry);
        pending.case(&folio(entry)).unwrap().clone()
    }

    /// The disk refused the second batch: its callers were told so, and nothing of it may be believed.
    #[test]
    fn what_could_not_be_spooled_is_forgotten_and_what_was_is_not() {
        let mut ids = Ids::from_seed(1);
        let (kept, lost) = (opening(&mut ids), opening(&mut ids));
        let backlog = [kept.clone(), change(&kept, State::Escalated)];
        let failed = [change(&kept, State::Solved), lost.clone(), order(&lost)];
        let mut pending = Pending::default();
        backlog.iter().chain(&failed).for_each(|entry| pending.spooled(entry));
        assert_eq!((state(&pending, &kept), state(&pending, &lost)), (Some(State::Solved), Some(State::Open)));
        pending.unspool(&failed, &backlog);
        assert_eq!((state(&pending, &kept), state(&pending, &lost)), (Some(State::Escalated), None));
        let key = |entry: &Entry| format!("key of {}", folio(entry));
        assert!(pending.case_by_key("beneleit", &key(&kept)).is_some());
        assert!(pending.case_by_key("beneleit", &key(&lost)).is_none());
        assert_eq!(pending.order("beneleit", OrderKind::LineSuspension, "2221234567"), None);
    }

    /// A second order for the same line could not be kept: the first one still waits, and still answers.
    #[test]
    fn a_failed_order_does_not_take_the_key_of_an_earlier_one() {
        let mut ids = Ids::from_seed(3);
        let (first, second) = (opening(&mut ids), opening(&mut ids));
        let known = |pending: &Pending| pending.order("beneleit", OrderKind::LineSuspension, "2221234567").cloned();
        let (backlog, failed) = ([order(&first)], [order(&second)]);
        let mut pending = Pending::default();
        backlog.iter().chain(&failed).for_each(|entry| pending.spooled(entry));
        pending.unspool(&failed, &backlog);
        assert_eq!(known(&pending), Some(folio(&first)));
        // The same folio twice: the repetition failed, the first is kept.
        pending.unspool(&backlog, &backlog);
        assert_eq!(known(&pending), Some(folio(&first)));
        pending.unspool(&backlog, &[]);
        assert_eq!(known(&pending), None);
    }

    /// A case of the database that the spool changes is not forgotten when newer ones push it out.
    #[test]
    fn a_case_that_waits_in_the_spool_outlives_the_bound() {
        let mut ids = Ids::from_seed(4);
        let changed = opening(&mut ids);
        let mut pending = Pending::default();
        pending.remember(as_case(&changed));
        pending.spooled(&change(&changed, State::Escalated));
        (0..=RECENT_MAX).for_each(|_| pending.remember(as_case(&opening(&mut ids))));
        assert_eq!(state(&pending, &changed), Some(State::Escalated));
        assert!(pending.waiting_case(&folio(&changed)).is_some());
    }

    /// At the bound the oldest of the database's cases go; one that only the spool holds stays.
    #[test]
    fn remembers_so_many_cases_of_the_database_and_all_of_the_spool() {
        let mut ids = Ids::from_seed(2);
        let spooled = opening(&mut ids);
        let recent: Vec<Entry> = (0..=RECENT_MAX).map(|_| opening(&mut ids)).collect();
        let mut pending = Pending::default();
        pending.spooled(&spooled);
        recent.iter().for_each(|entry| pending.remember(as_case(entry)));
        assert_eq!(state(&pending, &recent[0]), None);
        assert_eq!(state(&pending, &recent[1]), Some(State::Open));
        assert_eq!(state(&pending, &spooled), Some(State::Open));
        assert_eq!(pending.cases.len(), RECENT_MAX + 1);
        pending.replayed();
        assert_eq!(pending.cases.len(), RECENT_MAX);
        assert_eq!((state(&pending, &spooled), pending.keys.len()), (None, RECENT_MAX));
    }
}
