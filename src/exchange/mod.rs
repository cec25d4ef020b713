//! The whole engine without I/O: user agent, calls, routes, one timer index.
//!
//! Everything that happens comes in through [`Exchange::handle`]; everything that is to be done comes back from the same
//! call. Actions of one part become events of another in one place only, `Exchange::dispatch`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tracing::{Span, debug, error, info, info_span, warn};

use crate::call::{self, Call, Destination, Invited, Led, Tenant};
use crate::flow::Callee;
use crate::ids::{Ids, LegId};
use crate::media::LegSettings;
use crate::now::Now;
use crate::sip::ladder::{Direction, Glance, Ladder};
use crate::sip::registrar::{Registrar, Registration, Report};
use crate::sip::uri::Uri;
use crate::sip::user_agent::Through;
use crate::sip::{self, Flow, Invitation, Peer, Referral, Rejection, UserAgent};

pub mod accounts;
pub mod action;
mod callees;
pub mod capacity;
mod door;
pub mod guard;
mod ladders;
pub mod snapshot;
pub mod trunks;
pub mod way_out;

use capacity::Capacity;
use guard::{Offence, Standing};
use ladders::Ladders;

pub use action::{Input, Output, Why};
pub use guard::Guard;
pub use snapshot::Snapshot;
pub use trunks::Trunks;

/// The limits an exchange keeps.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// More calls than this at a time get 503 with Retry-After.
    pub calls: usize,
    /// What each call keeps.
    pub call: call::Limits,
}

/// The engine. One thread owns it; it knows no clock, socket or database.
pub struct Exchange {
    user_agent: UserAgent,
    guard: Guard,
    snapshot: Arc<Snapshot>,
    limits: Limits,
    ids: Ids,
    trunks: Trunks,
    capacity: Capacity,
    /// What INVITEs by trunks need that have no socket yet.
    through: BTreeMap<LegId, Through>,
    /// Boxed: calls come in the order of their legs, which leaves a tree's nodes half empty.
    calls: BTreeMap<LegId, Box<Line>>,
    /// The other legs of calls.
    beside: BTreeMap<LegId, Beside>,
    ladders: Ladders,
    /// One entry for each call that waits for a moment.
    timers: BTreeSet<(Instant, LegId)>,
    /// Buffers kept between inputs.
    sip_actions: Vec<sip::Action>,
    call_actions: Vec<call::Action>,
    /// No new calls for as long as the media workers cannot keep up with those there are.
    overloaded: bool,
    /// No calls are placed any more.
    draining: bool,
}

/// A call with what the exchange keeps beside it.
struct Line {
    call: Call,
    /// Where the INVITE came from, and what that place was to us.
    source: (Peer, Standing),
    /// Whose registered phone it is that calls.
    user: Option<String>,
    span: Span,
    /// Its messages, and the key that finds them.
    ladder: (u64, Ladder),
    /// Its other legs, those that have ended too.
    beside: Vec<LegId>,
    wake: Option<Instant>,
}

/// A leg of a call that is not the one it began with.
struct Beside {
    /// The leg that the call is found by.
    call: LegId,
    /// Where its far end is.
    peer: Peer,
    /// The key of its ladder, which is the call's.
    ladder: Option<u64>,
    /// Whose registered phone it is.
    user: Option<String>,
}

/// What a new call is for.
struct Routed {
    to: Destination,
    number: String,
    extension: Option<String>,
}

/// One step of `Exchange::dispatch`.
enum Step {
    Sip(sip::Action),
    Call(LegId, call::Action),
}

/// Times that one call's timers may be due at the same moment.
const TIMEOUTS_AT_ONCE_MAX: u32 = 1_000;

/// Steps that one input may cause before the exchange says that something goes in circles.
const STEPS_MAX: usize = 10_000;

impl Exchange {
    /// An exchange without calls.
    #[must_use]
    pub fn new(mut user_agent: UserAgent, snapshot: Arc<Snapshot>, limits: Limits, mut ids: Ids) -> Self {
        user_agent.reached_at(snapshot.reached());
        Self {
            user_agent,
            guard: Guard::new(snapshot.config().guard.clone(), snapshot.config().sip.strangers),
            snapshot,
            limits,
            trunks: Trunks::default(),
            capacity: Capacity::default(),
            through: BTreeMap::new(),
            ladders: Ladders::new(&mut ids),
            ids,
            calls: BTreeMap::new(),
            beside: BTreeMap::new(),
            timers: BTreeSet::new(),
            sip_actions: Vec::new(),
            call_actions: Vec::new(),
            overloaded: false,
            draining: false,
        }
    }

    /// Tells the exchange what happened; `out` gets what is to be done, in order.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Message { source, bytes } => {
                // Before it is handled, which may end what it belongs to.
                let glance = Glance::of(&bytes);
                let belongs = glance.as_ref().is_none_or(|glance| self.belongs(&source, &bytes, glance));
                let (snapshot, doors) = (&self.snapshot, (&mut self.guard, &mut self.user_agent));
                let actions = &mut self.sip_actions;
                let message = bytes.clone();
                let received = || door::receive(now.instant, source, message, doors, snapshot, actions);
                let let_in = catch_unwind(AssertUnwindSafe(received)).unwrap_or_else(|_| {
                    error!(peer = %source, "a bug in the user agent: this message is dropped");
                    false
                });
                self.ladders.strange = !belongs || !let_in;
                if let Some(glance) = glance.filter(|_| let_in) {
                    self.tell_ladder(now, Direction::In, &source, &bytes, &glance);
                }
                self.dispatch(now, None, out);
            }
            Input::Undelivered { destination, bytes } => {
                debug!(peer = %destination, "a message could not be delivered");
                self.user_agent.handle_undelivered(now.instant, bytes, &mut self.sip_actions);
                self.dispatch(now, None, out);
            }
            Input::Disconnected(flow) => {
                self.user_agent.flow_closed(flow, &mut self.sip_actions);
                self.dispatch(now, None, out);
            }
            Input::MediaOpened { leg, local } => {
                let event = match local {
                    Ok(local) => call::Event::MediaOpened(local),
                    Err(why) => call::Event::MediaFailed(why),
                };
                if !self.calls.contains_key(&self.call_of(leg)) {
                    out.push(Output::CloseMedia(leg));
                }
                self.tell(now, leg, event, out);
            }
            Input::Media(leg, event) => self.tell(now, leg, call::Event::Media(event), out),
            Input::Recorded(leg, report) => self.tell(now, leg, call::Event::Recorded(report), out),
            Input::Answered { leg, id, answer } => self.tell(now, leg, call::Event::Answered(id, answer), out),
            Input::Begin => {
                let (ids, config, sip) = (self.ids.fork(), self.snapshot.written(), &mut self.sip_actions);
                self.trunks.begin(now.instant, ids, config, &mut self.user_agent, sip);
                self.trunks_told(now, out);
            }
            Input::LookedUp { question, answer } => {
                let (sip, trunks) = (&mut self.sip_actions, &mut self.trunks);
                trunks.looked_up(now.instant, question, answer, &mut self.user_agent, sip);
                self.trunks_told(now, out);
            }
            Input::Drain { retry_after } => {
                self.draining = true;
                self.user_agent.drain(retry_after);
                self.trunks.leave(now.instant, &mut self.user_agent, &mut self.sip_actions);
                self.dispatch(now, None, out);
            }
            Input::Overloaded(overloaded) => {
                if overloaded {
                    warn!(
                        "overloaded: audio comes late with {} calls, new ones get 503 until it is on time",
                        self.calls.len()
                    );
                } else {
                    warn!(
                        "no longer overloaded: audio is on time with {} calls, new ones are taken again",
                        self.calls.len()
                    );
                }
                self.overloaded = overloaded;
            }
            Input::ShutDown => {
                let legs: Vec<LegId> = self.calls.keys().copied().collect();
                for leg in legs {
                    self.tell(now, leg, call::Event::ShutDown, out);
                }
            }
        }
        self.ladders.turn_ends();
    }

    /// When the exchange wants to be woken, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Why)> {
        let sip = self.user_agent.poll_timeout().map(|(at, why)| (at, Why::Sip(why)));
        let call = self.timers.first().map(|(at, leg)| (*at, Why::Call(*leg)));
        let trunk = self.trunks.poll_timeout().map(|at| (at, Why::Trunk));
        sip.into_iter().chain(call).chain(trunk).min_by_key(|(at, _)| *at)
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.user_agent.poll_timeout().is_some_and(|(at, _)| at <= now.instant) {
            self.user_agent.handle_timeout(now.instant, &mut self.sip_actions);
            self.dispatch(now, None, out);
        }
        if self.trunks.poll_timeout().is_some_and(|at| at <= now.instant) {
            self.trunks.handle_timeout(now.instant, &mut self.user_agent, &mut self.sip_actions);
            self.trunks_told(now, out);
        }
        let mut fired: BTreeMap<LegId, u32> = BTreeMap::new();
        while let Some((at, leg)) = self.timers.first().copied()
            && at <= now.instant
        {
            self.timers.pop_first();
            let times = fired.entry(leg).or_default();
            *times += 1;
            if *times > TIMEOUTS_AT_ONCE_MAX {
                // A call whose timer is due again and again would keep all others waiting for ever.
                error!(leg = leg.0, "a call's timer goes in circles: the call is ended");
                self.with_call(now, leg, |call, actions| call.abort(now, actions));
                self.dispatch(now, Some(leg), out);
                continue;
            }
            if let Some(line) = self.calls.get_mut(&leg) {
                line.wake = None;
            }
            self.with_call(now, leg, |call, actions| call.handle_timeout(now, actions));
            self.dispatch(now, Some(leg), out);
        }
        self.ladders.turn_ends();
    }

    /// The connections that calls depend on.
    #[must_use]
    pub fn flows_in_use(&self) -> BTreeSet<Flow> {
        self.user_agent.flows_in_use()
    }

    /// Calls that have begun and have no record yet.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// What trunks want of the DNS, and where they are found.
    fn trunks_told(&mut self, now: Now, out: &mut Vec<Output>) {
        out.extend(self.trunks.take_questions().map(Output::LookUp));
        for trunks::Hosts { trunk, addresses, names } in self.trunks.take_located() {
            self.snapshot = Arc::new(self.snapshot.with_gateways(trunk, addresses));
            self.user_agent.reached_at(self.snapshot.reached());
            out.extend(names.into_iter().map(|(address, name)| Output::Named { address, name }));
        }
        self.dispatch(now, None, out);
    }

    /// What is served right now.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The leg that the call of this leg is found by.
    fn call_of(&self, leg: LegId) -> LegId {
        self.beside.get(&leg).map_or(leg, |beside| beside.call)
    }

    fn tell(&mut self, now: Now, leg: LegId, event: call::Event, out: &mut Vec<Output>) {
        let call = self.call_of(leg);
        self.with_call(now, call, |call, actions| call.handle(now, leg, event, actions));
        self.dispatch(now, Some(call), out);
    }

    /// Runs one call's own code: a bug there costs that caller, not the others. Keeps the call's timer in the index.
    fn with_call(&mut self, now: Now, leg: LegId, run: impl FnOnce(&mut Call, &mut Vec<call::Action>)) {
        let Some(line) = self.calls.get_mut(&leg) else { return debug!(?leg, "an event for a call that is over") };
        let actions = &mut self.call_actions;
        let guard = line.span.enter();
        if catch_unwind(AssertUnwindSafe(|| run(&mut line.call, actions))).is_err() {
            error!("a bug in this call's code: the call ends, the others go on");
            line.call.abort(now, actions);
        }
        drop(guard);
        let wake = line.call.poll_timeout().map(|(at, _)| at);
        if wake != line.wake {
            if let Some(at) = line.wake {
                self.timers.remove(&(at, leg));
            }
            if let Some(at) = wake {
                self.timers.insert((at, leg));
            }
            line.wake = wake;
        }
    }

    /// Turns the actions of one part into events of another until none is left: breadth first, bounded, routing only.
    /// `leg` is the call whose actions wait in `call_actions`.
    fn dispatch(&mut self, now: Now, leg: Option<LegId>, out: &mut Vec<Output>) {
        let mut steps: VecDeque<Step> = VecDeque::new();
        self.collect(leg, &mut steps);
        let mut taken = 0;
        while let Some(step) = steps.pop_front() {
            taken += 1;
            if taken > STEPS_MAX {
                error!("one input caused more than {STEPS_MAX} steps: the rest is dropped");
                debug_assert!(taken <= STEPS_MAX, "the exchange goes in circles");
                break;
            }
            let leg = match step {
                Step::Sip(sip::Action::Send { destination, message }) => {
                    if let Some(glance) = Glance::of(&message) {
                        self.tell_ladder(now, Direction::Out, &destination, &message, &glance);
                    }
                    out.push(Output::Send { destination, bytes: message });
                    None
                }
                Step::Sip(sip::Action::Event(event)) => self.sip_event(now, event, out),
                Step::Call(call, action) => {
                    let leg = self.calls.get(&call).map_or(call, |line| line.call.leg());
                    self.call_action(now, call, leg, action, out)
                }
            };
            self.collect(leg, &mut steps);
        }
    }

    /// Whether a message that has a call's Call-ID comes from where the call does, or belongs to it by more than that: anybody may know
    /// a Call-ID. One of no call may be about to become one.
    fn belongs(&self, source: &Peer, bytes: &Bytes, glance: &Glance<'_>) -> bool {
        let mut legs = self.ladders.legs_named(glance).peekable();
        if legs.peek().is_none() || legs.any(|leg| self.is_at(leg, source)) {
            return true;
        }
        let leg = self.user_agent.leg_of(bytes.clone()).map(|leg| self.call_of(leg));
        self.ladders.legs_named(glance).any(|named| Some(named) == leg)
    }

    /// Whether a call came from this host.
    fn is_at(&self, leg: LegId, far: &Peer) -> bool {
        let host = |peer: &Peer| peer.address.ip().to_canonical();
        self.calls.get(&leg).is_some_and(|line| host(&line.source.0) == host(far))
    }

    /// A message crosses the wire: it goes on the ladder of its call. A call that is refused before it is one has none, so a line
    /// in the log says which header or rule it was.
    fn tell_ladder(&mut self, now: Now, direction: Direction, far: &Peer, bytes: &Bytes, glance: &Glance<'_>) {
        let legs = || self.ladders.legs_named(glance).filter(|_| !self.ladders.strange);
        let leg = legs().find(|leg| self.is_at(*leg, far)).or_else(|| legs().next());
        if leg.is_none() {
            self.ladders.keep(direction, far, bytes);
        }
        if let Some(leg) = leg {
            if let Some(line) = self.calls.get_mut(&leg) {
                line.ladder.1.add(now.instant, direction, far, glance, &ladders::note(glance));
            }
            return;
        }
        let refused = direction == Direction::Out && glance.status().is_some_and(|status| status >= 400);
        // What strangers get is told by the guard, once in a while.
        if refused && !self.ladders.told && glance.cseq().ends_with(b"INVITE") {
            let shown = |text: &[u8]| snapshot::printable(&String::from_utf8_lossy(text), CONTACT_MAX);
            let noted: Vec<String> = glance.noted().map(|(name, value)| format!("{name}: {}", shown(value))).collect();
            let (sip_call_id, noted) = (shown(glance.call_id()), noted.join("; "));
            match self.snapshot.standing(far.address) {
                Standing::Trunk => {
                    info!(peer = %far, %sip_call_id, "refused: {} ({noted})", shown(glance.start_line()))
                }
                Standing::Open | Standing::Stranger => {
                    debug!(peer = %far, %sip_call_id, "refused: {} ({noted})", shown(glance.start_line()));
                }
            }
        }
    }

    fn collect(&mut self, leg: Option<LegId>, steps: &mut VecDeque<Step>) {
        steps.extend(self.sip_actions.drain(..).map(Step::Sip));
        if let Some(leg) = leg {
            steps.extend(self.call_actions.drain(..).map(|action| Step::Call(leg, action)));
        }
    }

    /// What the user agent tells goes to the call that owns the leg. Returns the leg whose call has acted.
    fn sip_event(&mut self, now: Now, event: sip::Event, out: &mut Vec<Output>) -> Option<LegId> {
        let (leg, event) = match event {
            sip::Event::Invited { leg, invitation } => {
                self.invited(now, leg, *invitation);
                return Some(leg);
            }
            sip::Event::Registrar(report) => {
                self.registration(now, report, out);
                return None;
            }
            sip::Event::Responded { request, status, message } => {
                let sip = &mut self.sip_actions;
                self.trunks.responded(now.instant, request, (status, message), &mut self.user_agent, sip);
                return None;
            }
            sip::Event::Rerouted { leg, failed, status, next } => {
                let why = if status == 408 { "does not answer" } else { "takes no calls now" };
                warn!(leg = leg.0, peer = %failed, status, "a gateway {why}: the call goes to {next}");
                if let Some(beside) = self.beside.get_mut(&leg) {
                    beside.peer = next;
                }
                return None;
            }
            sip::Event::Confirmed { leg, answer } => (leg, call::Event::Confirmed(answer)),
            sip::Event::Reoffered { leg, offer } => (leg, call::Event::Reoffered(offer)),
            sip::Event::OfferWanted { leg } => (leg, call::Event::OfferWanted),
            sip::Event::Reanswered { leg, body } => (leg, call::Event::Reanswered(body)),
            sip::Event::Unchanged { leg, status } => (leg, call::Event::Unchanged(status)),
            sip::Event::Info { leg, content_type, body } => (leg, call::Event::Info { content_type, body }),
            sip::Event::Ended { leg, cause } => {
                self.capacity.end(leg);
                (leg, call::Event::Ended(cause))
            }
            sip::Event::Referred { leg, referral } => match self.led(leg, &referral) {
                Ok(led) => (leg, call::Event::Referred(led)),
                Err(status) => {
                    self.user_agent.refuse_referral(now.instant, leg, status, &mut self.sip_actions);
                    return Some(self.call_of(leg));
                }
            },
            sip::Event::InfoAnswered { .. } | sip::Event::ReferAnswered { .. } | sip::Event::ReferReported { .. } => {
                return None;
            }
            // It is answered when its flow says so, whatever the far end has heard of before.
            sip::Event::Acknowledged { .. } => return None,
            sip::Event::Ringing { leg, status, body } => (leg, call::Event::Ringing(status, body)),
            sip::Event::Answered { leg, body } => (leg, call::Event::PickedUp(body)),
        };
        let call = self.call_of(leg);
        self.with_call(now, call, |call, actions| call.handle(now, leg, event, actions));
        Some(call)
    }

    /// What the registrar tells goes to the store, the guard and the log.
    fn registration(&mut self, now: Now, report: Report, out: &mut Vec<Output>) {
        match report {
            Report::Kept { registration, is_new } => {
                let Registration { operator, user, contact, peer, lasts, .. } = &*registration;
                if is_new {
                    info!(%peer, "registered: «{user}» of {operator} at {}", snapshot::printable(contact, CONTACT_MAX));
                }
                self.guard.proven(peer, user);
                let ends = now.after(*lasts).wall;
                out.push(Output::Registered { registration, is_new, ends });
            }
            Report::Gone { operator, user, contact, why } => {
                let shown = snapshot::printable(&contact, CONTACT_MAX);
                info!(cause = why.explain(), "no longer registered: «{user}» of {operator} at {shown}");
                out.push(Output::Unregistered { operator, user, contact });
            }
            Report::Refused { peer, user } => {
                debug!(%peer, "a wrong password, or no such user");
                let standing = self.snapshot.standing(peer.address);
                self.guard.offence(now.instant, &peer, standing, Offence::WrongPassword { user: &user });
            }
        }
    }

    /// What the guard has done so far.
    #[must_use]
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// The carriers that we keep up with.
    #[must_use]
    pub fn trunks(&self) -> &Trunks {
        &self.trunks
    }

    /// How many calls each trunk carries.
    #[must_use]
    pub fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    /// Where phones are registered.
    #[must_use]
    pub fn registrar(&self) -> Option<&Registrar> {
        self.user_agent.registrar()
    }

    /// Routes a new call: unknown number → 404, over the limit → 503 with Retry-After.
    fn invited(&mut self, now: Now, leg: LegId, invitation: Invitation) {
        let snapshot = self.snapshot.clone();
        self.ladders.told = true;
        let refusal = |status, retry_after, why: String| Rejection { status, retry_after, warning: Some(why) };
        let peer = invitation.source;
        let standing = snapshot.standing(peer.address);
        // Two accounts may live in one phone: whom it says it is, if that is so.
        let phone = self.user_agent.registrar().and_then(|registrar| {
            let named = Some(invitation.from_user.as_str()).filter(|user| registrar.is_at(&peer, user));
            named.or_else(|| registrar.user_at(&peer)).map(str::to_owned)
        });
        if invitation.replaces.is_some() {
            info!(%peer, status = 403, "an INVITE that is to take another's place in a call");
            let why = refusal(403, None, "nobody takes another's place in a call".into());
            return self.user_agent.reject(now.instant, leg, &why, &mut self.sip_actions);
        }
        let routed = snapshot.route(&invitation).map(|(tenant, route)| {
            (tenant, Routed { to: Destination::Flow(route.flow), number: route.number, extension: route.extension })
        });
        let colleague = || self.colleague(phone.as_deref()?, &invitation.request_user);
        let (tenant, route) = match routed.or_else(colleague) {
            Some(_) if self.overloaded => {
                info!(%peer, status = 503, "overloaded");
                let why = refusal(503, Some(OVERLOADED_RETRY_AFTER_SECONDS), "overloaded: try another way".into());
                return self.user_agent.reject(now.instant, leg, &why, &mut self.sip_actions);
            }
            Some(found) if self.calls.len() < self.limits.calls => found,
            Some(_) => {
                info!(%peer, status = 503, "over the limit of {} calls ([limits] calls)", self.limits.calls);
                let why = refusal(503, Some(RETRY_AFTER_SECONDS), "all lines are busy".into());
                return self.user_agent.reject(now.instant, leg, &why, &mut self.sip_actions);
            }
            None => {
                self.guard.offence(now.instant, &peer, standing, Offence::UnknownNumber);
                info!(%peer, status = 404, "no flow answers {} (numbers of flows/*/operator.toml)", mask(&snapshot::printable(snapshot.called(&invitation), snapshot::CALLED_MAX)));
                let why = refusal(404, None, "no flow answers this number: see «contesta route»".into());
                return self.user_agent.reject(now.instant, leg, &why, &mut self.sip_actions);
            }
        };
        let invited = Invited {
            leg,
            to: route.to.clone(),
            called: snapshot::printable(snapshot.called(&invitation), snapshot::CALLED_MAX),
            number: route.number,
            extension: route.extension,
            caller: match route.to {
                Destination::Flow(_) => snapshot.caller(&invitation),
                // Who is registered is known, whatever From says.
                Destination::Callee(_) => phone.clone(),
            },
            sip_call_id: snapshot::printable(&invitation.call_id, snapshot::CALL_ID_MAX),
            source: peer.address.ip(),
            shared_audio: snapshot.shares_audio(peer.address),
            terms: snapshot.terms(peer.address),
        };
        let limits = self.limits.call;
        let Some(call) = Call::new(now, invited, tenant, limits, &mut self.ids) else {
            error!("the route names a flow that the snapshot does not hold");
            let why = refusal(500, None, "the flow does not exist".into());
            return self.user_agent.reject(now.instant, leg, &why, &mut self.sip_actions);
        };
        if !self.guard.begin_call(&peer, standing) {
            info!(%peer, status = 503, "as many calls as one address may have ([guard] calls)");
            let why = refusal(503, Some(RETRY_AFTER_SECONDS), "too many calls from this address".into());
            return self.user_agent.reject(now.instant, leg, &why, &mut self.sip_actions);
        }
        let trunk = snapshot.trunk(peer.address);
        if let Some(Err(full)) = trunk.map(|(number, trunk)| self.capacity.begin(now.instant, leg, (number, trunk))) {
            self.guard.end_call(&peer, standing);
            let name = trunk.map_or("", |(_, trunk)| &trunk.name);
            info!(%peer, status = 503, "trunk «{name}»: {full}");
            let why = refusal(503, Some(full.retry_after()), full.to_string());
            return self.user_agent.reject(now.instant, leg, &why, &mut self.sip_actions);
        }
        let span = info_span!("call", call = %call.key(), leg = leg.0);
        span.in_scope(|| info!(%peer, "offered"));
        let ladder = self.ladders.begin(now.instant, leg, &invitation.call_id);
        self.calls.insert(
            leg,
            Box::new(Line {
                call,
                source: (peer, standing),
                user: phone,
                span,
                ladder,
                beside: Vec::new(),
                wake: None,
            }),
        );
        self.with_call(now, leg, |call, actions| call.begin(now, invitation.offer, actions));
    }

    /// Where a leg's signalling comes from.
    fn peer_of(&self, leg: LegId) -> Option<IpAddr> {
        let beside = self.beside.get(&leg).map(|beside| beside.peer);
        let peer = beside.or_else(|| self.calls.get(&leg).map(|line| line.source.0))?;
        Some(peer.address.ip().to_canonical())
    }

    /// A leg's settings with where its signalling comes from, which its call does not know.
    fn with_peer(&self, leg: LegId, settings: LegSettings) -> LegSettings {
        LegSettings { peer: self.peer_of(leg), ..settings }
    }

    /// What a call asks for of one of its legs goes to the user agent or to the edge. Returns the call if it has acted again.
    fn call_action(
        &mut self,
        now: Now,
        call: LegId,
        leg: LegId,
        action: call::Action,
        out: &mut Vec<Output>,
    ) -> Option<LegId> {
        let sip = &mut self.sip_actions;
        match action {
            call::Action::At(leg, action) => return self.call_action(now, call, leg, *action, out),
            call::Action::Find(callee) => {
                let found = self.find(now.instant, call, &callee);
                self.with_call(now, call, |call, actions| call.handle(now, leg, call::Event::Found(found), actions));
                return Some(call);
            }
            call::Action::Invite(invite) => {
                match self.through.remove(&leg) {
                    Some(through) => self.user_agent.invite_through(now.instant, leg, &invite, &through, sip),
                    None => self.user_agent.invite_as(now.instant, leg, &invite, sip),
                }
                let key = self.user_agent.call_id(leg).map(|call_id| self.ladders.join(call, call_id));
                if let Some(beside) = self.beside.get_mut(&leg) {
                    beside.ladder = key;
                }
            }
            call::Action::OpenMedia(far) => {
                if let Some(peer) = self.peer_of(leg) {
                    let shared = far.filter(|far| self.snapshot.may_share(peer, far.ip()));
                    out.push(Output::OpenMedia { leg, peer, shared });
                }
            }
            call::Action::StartMedia(settings) => {
                // Who hears each other is on one worker.
                let beside = self.calls.get(&call).map(|line| line.call.leg()).filter(|caller| *caller != leg);
                out.push(Output::StartMedia { leg, settings: self.with_peer(leg, settings), beside });
            }
            call::Action::Retarget(settings) => out.push(Output::Retarget(leg, self.with_peer(leg, settings))),
            call::Action::Play { play, segments } => out.push(Output::Play(leg, play, segments)),
            call::Action::StopPlaying => out.push(Output::StopPlaying(leg)),
            call::Action::Switch(switch) => out.push(Output::Switch(leg, switch)),
            call::Action::AcceptReferral => self.user_agent.accept_referral(now.instant, leg, sip),
            call::Action::RefuseReferral(status) => self.user_agent.refuse_referral(now.instant, leg, status, sip),
            call::Action::ReportReferral(status) => self.user_agent.report_referral(now.instant, leg, status, sip),
            call::Action::Press(digit, length) => out.push(Output::Press(leg, digit, length)),
            call::Action::StartRecording { file, rate } => out.push(Output::StartRecording { leg, file, rate }),
            call::Action::ChangeRecording(change) => out.push(Output::ChangeRecording(leg, change)),
            call::Action::CloseMedia => out.push(Output::CloseMedia(leg)),
            call::Action::Ring => self.user_agent.progress(now.instant, leg, 180, Bytes::new(), sip),
            call::Action::Accept(sdp) => self.user_agent.accept(now.instant, leg, sdp, sip),
            call::Action::Reject(rejection) => self.user_agent.reject(now.instant, leg, &rejection, sip),
            call::Action::Reoffer(sdp) => self.user_agent.reoffer(now.instant, leg, sdp, sip),
            call::Action::HangUp(reason) => self.user_agent.hangup(now.instant, leg, reason, sip),
            call::Action::Request { id, request, timeout } => {
                out.push(Output::Request { leg: call, id, request, timeout });
            }
            call::Action::Record(mut record) => {
                if let Some(Line { wake, source: (peer, standing), ladder: (key, ladder), beside, .. }) =
                    self.calls.remove(&call).map(|line| *line)
                {
                    record.ladder = ladder.into_text();
                    self.ladders.end(call, key);
                    self.forget_beside(now, call, beside, out);
                    self.guard.end_call(&peer, standing);
                    self.capacity.end(call);
                    if let Some(at) = wake {
                        self.timers.remove(&(at, call));
                    }
                }
                out.push(Output::Record(record));
            }
        }
        None
    }

    /// The colleague that a registered phone calls, who is an agent of the same operator's.
    fn colleague(&self, phone: &str, called: &str) -> Option<(Arc<Tenant>, Routed)> {
        let accounts = self.user_agent.registrar()?.accounts();
        let operator = &accounts.get(phone)?.operator;
        let colleague = accounts.get(called).filter(|account| account.operator == *operator)?;
        let to = Destination::Callee(Callee::Agent(colleague.user.clone()));
        Some((self.snapshot.tenant(operator)?, Routed { to, number: colleague.user.clone(), extension: None }))
    }

    /// Where a REFER leads. Only registered phones may ask for that, for their own operator's agents and numbers: nothing is dialled
    /// that a stranger, or a caller from a trunk, has named.
    fn led(&self, leg: LegId, referral: &Referral) -> Result<Led, u16> {
        let line = self.calls.get(&self.call_of(leg)).ok_or(481_u16)?;
        let user = self.beside.get(&leg).map_or(&line.user, |beside| &beside.user);
        let accounts = self.user_agent.registrar().map(Registrar::accounts);
        let account = user.as_deref().and_then(|user| accounts?.get(user));
        // A phone of another operator's has called a number of this one's: it is a caller like others.
        if account.is_none_or(|account| account.operator != line.call.operator()) {
            return Err(403);
        }
        let nowhere = |status, why: &str| {
            Ok(Led::Nowhere(Rejection { status, retry_after: None, warning: Some(why.to_owned()) }))
        };
        if referral.replaces.is_some() {
            return nowhere(603, "a call that would take another's place");
        }
        let Ok(uri) = Uri::parse(referral.target.as_bytes()) else { return nowhere(400, "no URI") };
        let (user, operator) = (uri.user_text(), line.call.operator());
        if let Some((tenant, route)) = self.snapshot.find(&user, &uri.all_parameters())
            && tenant.operator.id == operator
        {
            return Ok(Led::Flow { flow: route.flow, number: route.number });
        }
        let account = self.user_agent.registrar().and_then(|registrar| registrar.accounts().get(&user));
        match account.filter(|account| account.operator == operator) {
            Some(account) => Ok(Led::Callee(Callee::Agent(account.user.clone()))),
            None => nowhere(403, "neither an agent nor a number of the operator's"),
        }
    }

    /// Where somebody is reached for a call: from here on the legs are the call's.
    fn find(&mut self, now: Instant, call: LegId, callee: &Callee) -> Result<Vec<call::Way>, Rejection> {
        let line = self.calls.get(&call);
        let line = line.map(|line| (line.call.operator().to_owned(), line.call.caller().to_owned()));
        let (operator, caller) = line.unwrap_or_default();
        let found = self.ways_to(now, callee, &callees::Asker { operator: &operator, caller: &caller });
        for way in found.iter().flatten() {
            let user = match callee {
                Callee::Agent(user) => Some(user.clone()),
                // What a carrier asks for leads nowhere.
                Callee::Trunk { .. } => None,
            };
            if let Some(line) = self.calls.get_mut(&call) {
                line.beside.push(way.leg);
            }
            self.beside.insert(way.leg, Beside { call, peer: way.peer, ladder: None, user });
        }
        found
    }

    /// A call is over, and so are its other legs: they have ended before, unless a bug or a lost report left one behind.
    fn forget_beside(&mut self, now: Now, call: LegId, legs: Vec<LegId>, out: &mut Vec<Output>) {
        for leg in legs {
            self.capacity.end(leg);
            self.through.remove(&leg);
            if let Some(key) = self.beside.remove(&leg).and_then(|beside| beside.ladder) {
                self.ladders.end(call, key);
            }
            self.user_agent.hangup(now.instant, leg, "the call is over", &mut self.sip_actions);
            out.push(Output::CloseMedia(leg));
        }
    }
}

/// A telephone number for the log: its first characters are enough to recognise, not to identify.
fn mask(number: &str) -> String {
    match number.char_indices().nth(4) {
        Some((end, _)) => format!("{}…", &number[..end]),
        None => number.to_owned(),
    }
}

/// Most characters of a contact in the log.
const CONTACT_MAX: usize = 128;

/// How long a peer should wait after a 503 for overload: longer than overload lasts at least.
const OVERLOADED_RETRY_AFTER_SECONDS: u32 = 10;

/// How long a peer should wait after a 503 for too many calls.
const RETRY_AFTER_SECONDS: u32 = 5;
