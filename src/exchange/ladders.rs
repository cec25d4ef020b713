//! Whose message this is: every call's ladder, found by Call-ID.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

use bytes::Bytes;

use crate::ids::{Ids, LegId};
use crate::sdp;
use crate::sip::Peer;
use crate::sip::ladder::{Direction, Glance, Ladder};

/// Messages that may come and go before there is a call: its INVITE and the 100.
const EARLY_MAX: usize = 4;

/// Which call has which Call-ID.
///
/// Two calls of one Call-ID, which a far end should not make (RFC 3261 §8.1.1.4), share the ladder of the first.
pub(super) struct Ladders {
    /// By a keyed hash, so that nobody can make two Call-IDs meet, and none is kept.
    legs: BTreeMap<u64, LegId>,
    seed: u64,
    /// What was said in this turn by those who have no call yet.
    early: Vec<(Direction, Peer, Bytes)>,
    /// This turn has refused a call and told of it.
    pub(super) told: bool,
}

impl Ladders {
    pub(super) fn new(ids: &mut Ids) -> Self {
        Self { legs: BTreeMap::new(), seed: ids.next_u64(), early: Vec::with_capacity(EARLY_MAX), told: false }
    }

    /// Whose call a message is of. Nobody's is kept until the turn ends: it may be about to become a call.
    pub(super) fn leg_of(
        &mut self,
        direction: Direction,
        far: &Peer,
        bytes: &Bytes,
        glance: &Glance<'_>,
    ) -> Option<LegId> {
        let leg = self.legs.get(&self.hash(glance.call_id())).copied();
        if leg.is_none() && self.early.len() < EARLY_MAX {
            self.early.push((direction, *far, bytes.clone()));
        }
        leg
    }

    /// A call begins: its ladder, with what was said in this turn, and the key that ends it.
    pub(super) fn begin(&mut self, now: Instant, leg: LegId, call_id: &str) -> (u64, Ladder) {
        let key = self.hash(call_id.as_bytes());
        self.legs.entry(key).or_insert(leg);
        let mut ladder = Ladder::new(now);
        for (direction, far, bytes) in std::mem::take(&mut self.early) {
            if let Some(glance) = Glance::of(&bytes).filter(|glance| self.hash(glance.call_id()) == key) {
                ladder.add(now, direction, &far, &glance, &note(&glance));
            }
        }
        (key, ladder)
    }

    /// A call is over.
    pub(super) fn end(&mut self, leg: LegId, key: u64) {
        if self.legs.get(&key) == Some(&leg) {
            self.legs.remove(&key);
        }
    }

    /// Everything that one input causes has been done.
    pub(super) fn turn_ends(&mut self) {
        self.early.clear();
        self.told = false;
    }

    fn hash(&self, call_id: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.seed.hash(&mut hasher);
        // As the call knows it.
        String::from_utf8_lossy(call_id).hash(&mut hasher);
        hasher.finish()
    }
}

/// What a message's body is, in a few words.
pub(super) fn note(glance: &Glance<'_>) -> String {
    let mut note = String::new();
    let (body, content_type) = (glance.body(), glance.content_type());
    if body.is_empty() {
        return note;
    }
    if content_type.get(..15).is_some_and(|kind| kind.eq_ignore_ascii_case(b"application/sdp")) {
        sdp::outline(body, &mut note);
    } else {
        // What is in it may be a key that was pressed.
        note.push_str(&String::from_utf8_lossy(content_type));
    }
    note
}
