//! Whose message this is: every call's ladder, found by Call-ID.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

use bytes::Bytes;

use crate::ids::{Ids, LegId};
use crate::sdp;
use crate::sip::Peer;
use crate::sip::ladder::{Direction, Glance, Ladder};

/// Messages that may come and go before there is a call: its INVITE and the 100.
const EARLY_MAX: usize = 4;

/// Which calls have which Call-ID: one, unless a far end errs (RFC 3261 §8.1.1.4) or somebody took it from another's call.
pub(super) struct Ladders {
    /// By a keyed hash, so that nobody can make two Call-IDs meet, and none is kept.
    legs: BTreeSet<(u64, LegId)>,
    seed: u64,
    /// What was said in this turn by those who have no call yet.
    early: Vec<(Direction, Peer, Bytes)>,
    /// This turn has refused a call and told of it.
    pub(super) told: bool,
    /// This turn's message knows a call's Call-ID and nothing more of it: neither it nor its answer goes on the ladder.
    pub(super) strange: bool,
}

impl Ladders {
    pub(super) fn new(ids: &mut Ids) -> Self {
        Self {
            legs: BTreeSet::new(),
            seed: ids.next_u64(),
            early: Vec::with_capacity(EARLY_MAX),
            told: false,
            strange: false,
        }
    }

    /// A message of no call is kept until the turn ends: it may be about to become one.
    pub(super) fn keep(&mut self, direction: Direction, far: &Peer, bytes: &Bytes) {
        if self.early.len() < EARLY_MAX {
            self.early.push((direction, *far, bytes.clone()));
        }
    }

    /// The calls that have this message's Call-ID.
    pub(super) fn legs_named(&self, glance: &Glance<'_>) -> impl Iterator<Item = LegId> {
        let key = self.hash(glance.call_id());
        self.legs.range((key, LegId(0))..=(key, LegId(u64::MAX))).map(|(_, leg)| *leg)
    }

    /// A call begins: its ladder, with what was said in this turn, and the key that ends it.
    pub(super) fn begin(&mut self, now: Instant, leg: LegId, call_id: &str) -> (u64, Ladder) {
        let key = self.hash(call_id.as_bytes());
        self.legs.insert((key, leg));
        // A second call of a Call-ID is itself no stranger to it.
        self.strange = false;
        let mut ladder = Ladder::new(now);
        for (direction, far, bytes) in std::mem::take(&mut self.early) {
            if let Some(glance) = Glance::of(&bytes).filter(|glance| self.hash(glance.call_id()) == key) {
                ladder.add(now, direction, &far, &glance, &note(&glance));
            }
        }
        (key, ladder)
    }

    /// Messages of this Call-ID are this call's too: another leg of it. The key ends that.
    pub(super) fn join(&mut self, leg: LegId, call_id: &[u8]) -> u64 {
        let key = self.hash(call_id);
        self.legs.insert((key, leg));
        key
    }

    /// A call is over.
    pub(super) fn end(&mut self, leg: LegId, key: u64) {
        self.legs.remove(&(key, leg));
    }

    /// Everything that one input causes has been done.
    pub(super) fn turn_ends(&mut self) {
        self.early.clear();
        (self.told, self.strange) = (false, false);
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
