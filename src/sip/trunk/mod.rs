//! What we keep up with a carrier, without I/O: our registration at it (`registration`, RFC 3261 §10.2), and which of its gateways answer
//! (`health`, RFC 3261 §11; their order after failures, RFC 3263 §4.3).
//!
//! A [`Trunk`] is told its ways, what came of its requests, and the time; it says what to ask and what changed.

pub mod health;
pub mod registration;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use health::{Health, Standing};
pub use registration::{Account, Registration};

use super::dialog::LocalTag;
use super::method::Method;
use super::transport::{Peer, Transport};
use super::user_agent::Outside;
use crate::ids::Ids;

/// Most ways of one trunk; what the DNS names beyond them is left out.
pub const WAYS_MAX: usize = 16;

/// One way to a carrier: where requests go, and where it reaches us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The gateway's URI, as it is written in the settings.
    pub gateway: String,
    /// Where requests go.
    pub peer: Peer,
    /// The address that we give it for its calls.
    pub advertised: SocketAddr,
}

impl Way {
    /// Our Contact's URI, with `user` in front (RFC 3261 §10.2).
    #[must_use]
    pub fn contact(&self, user: &str) -> String {
        let parameter = Transport::parameter(self.peer.transport, false);
        let parameter = parameter.map(|value| format!(";transport={value}")).unwrap_or_default();
        format!("sip:{user}@{}{parameter}", self.advertised)
    }
}

/// Which of a trunk's requests it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// REGISTER.
    Registration,
    /// OPTIONS to this address, the probe of this number.
    Probe {
        /// To whom.
        peer: Peer,
        /// Which one.
        number: u32,
    },
}

/// What a trunk wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this request, and tell [`Trunk::handle_response`] what came of it.
    Ask(Asked, Box<Outside>),
    /// Its registration changed.
    Registration(registration::Report),
    /// A gateway is up or down.
    Health(Peer, Standing),
}

/// A carrier as we keep up with it.
#[derive(Debug)]
pub struct Trunk {
    registration: Option<Registration>,
    probe: Option<Duration>,
    ways: Vec<(Way, Health)>,
    /// For OPTIONS: one Call-ID for all of them.
    tag: LocalTag,
    call_id: String,
    cseq: u32,
    over: bool,
}

impl Trunk {
    /// A trunk without ways. Its registration begins when it has some.
    #[must_use]
    pub fn new(account: Option<Account>, probe: Option<Duration>, now: Instant, ids: &mut Ids) -> Self {
        Self {
            registration: account.map(|account| Registration::new(account, now, ids)),
            probe,
            ways: Vec::new(),
            tag: LocalTag(ids.next_u64()),
            call_id: ids.token(24),
            cseq: 0,
            over: false,
        }
    }

    /// These lead there from now on, the best first, each address once. What is known of those that stay is kept. Whether any came or went:
    /// the same ones in another order, as weights draw it anew each time, change nothing.
    pub fn set_ways(&mut self, now: Instant, ways: Vec<Way>, ids: &mut Ids) -> bool {
        let mut unique: Vec<Way> = Vec::new();
        for way in ways {
            if unique.len() < WAYS_MAX && !unique.iter().any(|known| known.peer == way.peer) {
                unique.push(way);
            }
        }
        let is_known = |way: &Way| self.ways.iter().any(|(known, _)| known == way);
        if unique.len() == self.ways.len() && unique.iter().all(is_known) {
            return false;
        }
        let mut old: Vec<Option<(Way, Health)>> = std::mem::take(&mut self.ways).into_iter().map(Some).collect();
        let mut moved: Vec<Option<usize>> = vec![None; old.len()];
        let mut any_new = false;
        for (place, way) in unique.into_iter().enumerate() {
            let known = old.iter().position(|old| old.as_ref().is_some_and(|(known, _)| known.peer == way.peer));
            let health = known.and_then(|from| {
                *moved.get_mut(from)? = Some(place);
                old.get_mut(from)?.take().map(|(_, health)| health)
            });
            any_new |= health.is_none();
            // Not all at once: the first probes are spread over a second.
            let first = now + Duration::from_millis(ids.below(1_000));
            self.ways.push((way, health.unwrap_or_else(|| Health::new(self.probe, first))));
        }
        if let Some(registration) = &mut self.registration {
            registration.ways_changed(now, &moved, any_new);
        }
        true
    }

    /// Every way, in the order of the settings and of the DNS, with what is known of it.
    pub fn ways(&self) -> impl Iterator<Item = (&Way, &Health)> {
        self.ways.iter().map(|(way, health)| (way, health))
    }

    /// Whether some way is not known to be down.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.ways.iter().any(|(_, health)| health.standing() != Standing::Down)
    }

    /// Its registration, if it has one.
    #[must_use]
    pub fn registration(&self) -> Option<&Registration> {
        self.registration.as_ref()
    }

    /// Whether nothing is under way that has to be waited for at the end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over && self.registration.as_ref().is_none_or(Registration::is_over)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let probes = self.ways.iter().filter(|_| !self.over).filter_map(|(_, health)| health.poll_timeout());
        let registration = self.registration.as_ref().filter(|_| !self.ways.is_empty());
        probes.chain(registration.and_then(Registration::poll_timeout)).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant, ids: &mut Ids, out: &mut Vec<Action>) {
        for index in 0..self.ways.len() {
            let Some((way, health)) = self.ways.get_mut(index).filter(|_| !self.over) else { continue };
            let (probe, changed) = health.handle_timeout(now);
            let way = way.clone();
            out.extend(changed.map(|standing| Action::Health(way.peer, standing)));
            if let Some(number) = probe {
                let request = self.options(&way);
                out.push(Action::Ask(Asked::Probe { peer: way.peer, number }, Box::new(request)));
            }
        }
        if !self.ways.is_empty() {
            self.register(out, |registration, ways, steps| registration.handle_timeout(now, ways, ids, steps));
        }
    }

    /// What came of a request: a final status, and the response if there was one.
    pub fn handle_response(
        &mut self,
        now: Instant,
        asked: Asked,
        response: (u16, Option<Bytes>),
        ids: &mut Ids,
        out: &mut Vec<Action>,
    ) {
        match asked {
            Asked::Registration => {
                self.register(out, |registration, ways, steps| {
                    registration.handle_response(now, response, ways, ids, steps);
                });
            }
            Asked::Probe { peer, number } => {
                let Some((_, health)) = self.ways.iter_mut().find(|(way, _)| way.peer == peer) else { return };
                let (status, message) = response;
                let changed = health.handle_answer(now, number, status, message.is_some());
                out.extend(changed.map(|standing| Action::Health(peer, standing)));
            }
        }
    }

    /// Ends the registration and the probes.
    pub fn leave(&mut self, now: Instant, ids: &mut Ids, out: &mut Vec<Action>) {
        self.over = true;
        self.register(out, |registration, ways, steps| registration.leave(now, ways, ids, steps));
    }

    /// The registration keeps to the order of the ways, whatever their health: it finds out by itself, and stays where it is.
    fn register(
        &mut self,
        out: &mut Vec<Action>,
        tell: impl FnOnce(&mut Registration, &[Way], &mut Vec<registration::Step>),
    ) {
        let ways: Vec<Way> = self.ways.iter().map(|(way, _)| way.clone()).collect();
        let Some(registration) = &mut self.registration else { return };
        let mut steps = Vec::new();
        tell(registration, &ways, &mut steps);
        out.extend(steps.into_iter().map(|step| match step {
            registration::Step::Ask(outside) => Action::Ask(Asked::Registration, outside),
            registration::Step::Report(report) => Action::Registration(report),
        }));
    }

    fn options(&mut self, way: &Way) -> Outside {
        self.cseq = self.cseq.wrapping_add(1).max(1);
        options(way, self.tag, self.call_id.clone(), self.cseq)
    }
}

/// A probe (RFC 3261 §11.1).
#[must_use]
pub fn options(way: &Way, tag: LocalTag, call_id: String, cseq: u32) -> Outside {
    Outside {
        method: Method::Options,
        target: way.gateway.clone(),
        destination: way.peer,
        from: format!("sip:contesta@{}", way.advertised),
        tag,
        to: way.gateway.clone(),
        call_id,
        cseq,
        headers: vec![
            ("Contact", format!("<{}>", way.contact("contesta")).into_bytes()),
            ("Accept", b"application/sdp".to_vec()),
        ],
    }
}
