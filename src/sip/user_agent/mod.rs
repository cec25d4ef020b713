//! The user agent: the one face of `sip`. Messages, commands and time go in; messages and events come out.
//!
//! Implements the core of RFC 3261 §8 (UAC and UAS behaviour), §9 (CANCEL), §11 (OPTIONS), §12 (dialogs), §13 (INVITE),
//! §14 (re-INVITE), §15 (BYE), with RFC 6026, RFC 3581, RFC 3262, RFC 3311 and
//! RFC 4028. It does not read SDP, route calls or open sockets.
//!
//! `seen` looks at messages for whoever stands at the door. `receive` takes requests, `register` those of phones that register, `within`
//! those of a dialog, `answer` is what the exchange says to them, `originate` is our own INVITE, `again` the same once more, `outside` our other requests outside
//! dialogs, `change` what we ask within a dialog, `reliable` provisional responses that are acknowledged, `transfer` REFER and what is
//! reported of it, `deliver` sends what is ours and hears that it could not be, `finish` ends legs, `timeout` fires timers.

mod again;
mod answer;
mod change;
mod deliver;
mod finish;
mod info;
mod leg;
mod originate;
mod outside;
mod receive;
mod register;
mod reliable;
mod seen;
mod timeout;
mod transactions;
mod transfer;
mod within;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::ids::{Ids, LegId};
use crate::sip::action::{Action, Invite, ReferTo, Rejection, Why};
use crate::sip::dialog::LocalTag;
use crate::sip::registrar::Registrar;
use crate::sip::session_timer;
use crate::sip::timers::{Owner, Timers};
use crate::sip::transaction::Timing;
use crate::sip::transport::{Flow, Listener, Listeners, Peer, Reached, Transport};

use leg::{Leg, Stage};
use transactions::{ClientMachine, Clients, Servers};

pub use again::{Hop, Through};
pub use outside::{Outside, OutsideId};
pub use seen::{Seen, What};

/// What a user agent has to know of its surroundings; fixed for its life.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where peers reach us.
    pub listeners: Listeners,
    /// Value of User-Agent and Server. Control characters in it are sent as blanks.
    pub user_agent: String,
    /// Round-trip estimate (RFC 3261 §17.1.1.1).
    pub t1: Duration,
    /// Longest retransmission interval of non-INVITE requests and INVITE responses (RFC 3261 §17.1.2.2).
    pub t2: Duration,
    /// Longest time a message stays in the network (RFC 3261 §17.1.2.2).
    pub t4: Duration,
    /// At this many legs a new INVITE gets 503 with Retry-After.
    pub max_dialogs: usize,
    /// At this many transactions of peers a new request outside dialogs gets 503 and leaves no trace, so that a flood cannot fill
    /// memory. Requests within dialogs have [`DIALOG_HEADROOM`] beyond it: a flood keeps no call from its BYE.
    pub max_transactions: usize,
    /// A REFER is put to the owner of its leg, and Replaces in an INVITE is honoured; otherwise the one gets 403 and the other is not
    /// supported.
    pub transfers: bool,
    /// Provisional responses are reliable wherever the far end supports it (RFC 3262), not only where it requires it.
    pub reliable_progress: bool,
    /// How long sessions last without a refresh.
    pub session: session_timer::Policy,
}

impl Settings {
    /// One address, that of a UDP socket; otherwise as [`at`](Self::at).
    #[must_use]
    pub fn new(advertised: SocketAddr) -> Self {
        Self::at(Listeners::new(Listener { transport: Transport::Udp, advertised }, []))
    }

    /// The RFC's timers, room for 20,000 legs and, at 32 s a transaction, for 4,000 new requests a second.
    #[must_use]
    pub fn at(listeners: Listeners) -> Self {
        let timing = Timing::default();
        Self {
            listeners,
            user_agent: concat!("contesta/", env!("CARGO_PKG_VERSION")).to_owned(),
            t1: timing.t1,
            t2: timing.t2,
            t4: timing.t4,
            max_dialogs: 20_000,
            max_transactions: 131_072,
            transfers: false,
            reliable_progress: false,
            session: session_timer::Policy::default(),
        }
    }
}

/// Transactions of peers that each of [`Settings::max_dialogs`] may add beyond [`Settings::max_transactions`]: a BYE, and what
/// crosses it.
pub const DIALOG_HEADROOM: usize = 4;

/// A SIP user agent, without I/O.
///
/// Every leg that was announced with [`Event::Invited`](crate::sip::Event::Invited) or made with [`invite`](Self::invite) ends in
/// exactly one [`Event::Ended`](crate::sip::Event::Ended). Calls that name a leg which is over, or in a stage where
/// the call makes no sense, do nothing: the peer may have hung up a moment before.
#[derive(Debug)]
pub struct UserAgent {
    settings: Settings,
    timing: Timing,
    ids: Ids,
    next_leg: u64,
    draining: Option<u32>,
    legs: BTreeMap<LegId, Leg>,
    by_tag: BTreeMap<LocalTag, LegId>,
    orphans: BTreeMap<LegId, leg::Orphan>,
    servers: Servers,
    clients: Clients,
    timers: Timers,
    udp_only: deliver::UdpOnly,
    registrar: Option<Registrar>,
    /// Its deadline in the timer index.
    registrar_armed: Option<Instant>,
}

impl UserAgent {
    /// A user agent with no leg. `ids` gives tags and branches.
    #[must_use]
    pub fn new(mut settings: Settings, mut ids: Ids) -> Self {
        settings.user_agent = settings.user_agent.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let timing = Timing { t1: settings.t1, t2: settings.t2, t4: settings.t4, reliable: false };
        Self {
            settings,
            timing,
            servers: Servers::new(&mut ids),
            ids,
            next_leg: 1,
            draining: None,
            legs: BTreeMap::new(),
            by_tag: BTreeMap::new(),
            orphans: BTreeMap::new(),
            clients: Clients::new(),
            timers: Timers::default(),
            udp_only: deliver::UdpOnly::default(),
            registrar: None,
            registrar_armed: None,
        }
    }

    /// Takes one message as it came: a datagram, a WebSocket frame, or what framing found in a stream. Anything may stand in it;
    /// what is not SIP is dropped silently.
    pub fn handle_message(&mut self, now: Instant, source: Peer, message: Bytes, out: &mut Vec<Action>) {
        self.receive(now, source, message, out);
    }

    /// Takes note that a message could not be sent: there is no connection any more, and none can be made. A request ends as if
    /// 503 had come (RFC 3261 §8.1.3.1), unless it can be tried over UDP; for a response its sender has to ask again.
    pub fn handle_undelivered(&mut self, now: Instant, message: Bytes, out: &mut Vec<Action>) {
        self.undelivered(now, message, out);
    }

    /// The connections that something depends on: dialogs, requests of ours, and registered phones. Closing another one harms nobody.
    #[must_use]
    pub fn flows_in_use(&self) -> BTreeSet<Flow> {
        let dialogs = self.legs.values().filter_map(|leg| leg.dialog.as_ref()?.flow());
        let requests = self.clients.values().filter_map(|client| client.destination.flow);
        let phones = self.registrar.iter().flat_map(Registrar::flows);
        dialogs.chain(requests).chain(phones).collect()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next, and why. `None` only when no timer is set.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Why)> {
        let (at, owner) = self.timers.first()?;
        // An entry without owner has to fire as well: it would hide all later ones for ever.
        Some((at, self.why(owner).unwrap_or(Why::Stale)))
    }

    /// What this owner waits for; `None` when it is gone, or waits for nothing.
    fn why(&self, owner: Owner) -> Option<Why> {
        let timer = |polled: Option<(Instant, char)>| polled.map(|(_, letter)| Why::Timer(letter));
        match owner {
            Owner::Server(id) => timer(self.servers.get(id)?.machine.poll_timeout()),
            Owner::Client(id) => timer(self.clients.get(&id)?.machine.poll_timeout()),
            Owner::Leg(id) => self.legs.get(&id)?.poll_timeout().map(|(_, why)| why),
            Owner::Orphan(id) => self.orphans.get(&id).map(|_| Why::Reports),
            Owner::Registrar => self.registrar.as_ref()?.poll_timeout().map(|_| Why::Registration),
        }
    }

    /// Fires every timer due at `now`.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Action>) {
        for (at, owner) in self.timers.due(now) {
            if self.why(owner).is_none() {
                self.timers.forget(at, owner);
            }
            self.fire(now, owner, out);
        }
    }

    /// Sends a provisional response (101 to 199) to the leg's INVITE; `body` is SDP or empty.
    pub fn progress(&mut self, now: Instant, leg: LegId, status: u16, body: Bytes, out: &mut Vec<Action>) {
        self.send_progress(now, leg, status, &body, out);
    }

    /// Answers the leg's INVITE, re-INVITE or UPDATE with 200 and this SDP; a 200 to INVITE is sent until its ACK comes.
    pub fn accept(&mut self, now: Instant, leg: LegId, answer: Bytes, out: &mut Vec<Action>) {
        self.accept_pending(now, leg, &answer, out);
    }

    /// Refuses the leg's INVITE (the leg ends), or its re-INVITE or UPDATE (the leg goes on).
    pub fn reject(&mut self, now: Instant, leg: LegId, rejection: &Rejection, out: &mut Vec<Action>) {
        self.reject_pending(now, leg, rejection, out);
    }

    /// Offers this within the call: a re-INVITE. An empty offer lets the far end offer. `Reanswered` or `Unchanged` follows, or
    /// `OfferWanted` when it crossed what the far end asked, and may be tried again; what was offered may not fit any more then.
    /// Does nothing while a re-INVITE or UPDATE of ours has no answer.
    pub fn reoffer(&mut self, now: Instant, leg: LegId, offer: Bytes, out: &mut Vec<Action>) {
        self.send_reinvite(now, leg, &offer, out);
    }

    /// Answers the offer that came with the 2xx to an INVITE of ours which had none: the ACK takes it along.
    pub fn acknowledge(&mut self, leg: LegId, answer: Bytes, out: &mut Vec<Action>) {
        self.acknowledge_offer(leg, &answer, out);
    }

    /// Sends the far end an INFO with this body: a key, where it takes no telephone events (`dtmf::info::relay`). `InfoAnswered` follows,
    /// or the leg's end. Does nothing before the call is answered.
    pub fn info(&mut self, now: Instant, leg: LegId, content_type: &'static str, body: &[u8], out: &mut Vec<Action>) {
        self.send_info(now, leg, content_type, body, out);
    }

    /// Asks the far end to call somebody else (RFC 3515). `ReferAnswered` follows, then `ReferReported`. The leg goes on: hang it up
    /// when its far end has another one.
    pub fn refer(&mut self, now: Instant, leg: LegId, to: &ReferTo, out: &mut Vec<Action>) {
        self.send_refer(now, leg, to, out);
    }

    /// Answers the far end's REFER with 202, and reports 100.
    pub fn accept_referral(&mut self, now: Instant, leg: LegId, out: &mut Vec<Action>) {
        self.answer_referral(now, leg, None, out);
    }

    /// Answers the far end's REFER with this status, 300 to 699.
    pub fn refuse_referral(&mut self, now: Instant, leg: LegId, status: u16, out: &mut Vec<Action>) {
        self.answer_referral(now, leg, Some(status), out);
    }

    /// Reports what has come of the far end's REFER: the status of the call that was made for it. From 200 on nothing more is
    /// reported. The leg may be over by then.
    pub fn report_referral(&mut self, now: Instant, leg: LegId, status: u16, out: &mut Vec<Action>) {
        self.report(now, leg, status, out);
    }

    /// Ends the leg in the way its stage asks for: BYE, CANCEL, or a refusal with 603. `reason` goes to Reason (RFC 3326). The
    /// leg's `Ended` comes when the far end agreed or its silence was long enough.
    pub fn hangup(&mut self, now: Instant, leg: LegId, reason: &str, out: &mut Vec<Action>) {
        self.end_leg(now, leg, reason, out);
    }

    /// Sends an INVITE and returns its new leg. A target or From that is no SIP URI ends the leg with
    /// `RemoteRefused(400)` and sends nothing.
    pub fn invite(&mut self, now: Instant, invite: Invite, out: &mut Vec<Action>) -> LegId {
        let leg = self.reserve_leg();
        self.originate(now, leg, &invite, None, out);
        leg
    }

    /// A name for a leg that is to be: its socket is bound before its offer can be written.
    pub fn reserve_leg(&mut self) -> LegId {
        let leg = LegId(self.next_leg);
        self.next_leg += 1;
        leg
    }

    /// Sends an INVITE as [`invite`](Self::invite) does, for a leg that was reserved.
    pub fn invite_as(&mut self, now: Instant, leg: LegId, invite: &Invite, out: &mut Vec<Action>) {
        self.originate(now, leg, invite, None, out);
    }

    /// The same by a carrier: `invite` names the first hop, `through` what else may be tried and is to be said. Each change of hop is told
    /// with `Rerouted`.
    pub fn invite_through(
        &mut self,
        now: Instant,
        leg: LegId,
        invite: &Invite,
        through: &Through,
        out: &mut Vec<Action>,
    ) {
        self.originate(now, leg, invite, Some(through), out);
    }

    /// Where far ends of these networks reach us, in the place of what was said before: in Via, Contact and Warning.
    pub fn reached_at(&mut self, reached: Vec<Reached>) {
        self.settings.listeners.set_reached(reached);
    }

    /// The Call-ID of a leg, in whatever stage.
    #[must_use]
    pub fn call_id(&self, leg: LegId) -> Option<&[u8]> {
        let leg = self.legs.get(&leg)?;
        match (&leg.dialog, &leg.stage) {
            (Some(dialog), _) => Some(dialog.call_id()),
            (None, Stage::Outgoing(outgoing)) => match &self.clients.get(&outgoing.client)?.machine {
                ClientMachine::Invite(_, ours) => Some(&ours.call_id),
                ClientMachine::Reinvite(..) | ClientMachine::Other(..) => None,
            },
            (None, Stage::Incoming | Stage::Established | Stage::Ending) => None,
        }
    }

    /// From here on each new INVITE, and each OPTIONS outside a dialog, gets 503 with this Retry-After, in seconds; calls in
    /// progress go on.
    pub fn drain(&mut self, retry_after: u32) {
        self.draining = Some(retry_after);
    }

    /// Where peers reach us.
    #[must_use]
    pub fn listeners(&self) -> &Listeners {
        &self.settings.listeners
    }

    /// Legs that are not over.
    #[must_use]
    pub fn dialogs(&self) -> usize {
        self.legs.len()
    }

    /// Transactions that have not ended: for the metrics, and for tests that prove that nothing is left behind.
    #[must_use]
    pub fn transactions(&self) -> usize {
        self.servers.len() + self.clients.len()
    }

    fn new_leg(&mut self) -> (LegId, LocalTag) {
        (self.reserve_leg(), LocalTag(self.ids.next_u64()))
    }

    fn insert_leg(&mut self, id: LegId, leg: Leg) {
        self.by_tag.insert(leg.tag, id);
        self.legs.insert(id, leg);
    }

    /// Brings the timer index up to date with a server transaction.
    fn arm_server(&mut self, id: u64) {
        if let Some(server) = self.servers.get_mut(id) {
            let at = server.machine.poll_timeout().map(|(at, _)| at);
            self.timers.arm(Owner::Server(id), &mut server.armed, at);
        }
    }

    /// Brings the timer index up to date with a leg.
    fn arm_leg(&mut self, id: LegId) {
        if let Some(leg) = self.legs.get_mut(&id) {
            let at = leg.poll_timeout().map(|(at, _)| at);
            self.timers.arm(Owner::Leg(id), &mut leg.armed, at);
        }
    }
}

/// Adds a message to what is to be done.
fn send(destination: Peer, message: Bytes, out: &mut Vec<Action>) {
    out.push(Action::Send { destination, message });
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]

    use super::*;

    /// No code path leaves such an entry; if one ever does, it must not stop every other timer.
    #[test]
    fn a_timer_whose_owner_is_gone_hides_no_other() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut agent = UserAgent::new(Settings::new(SocketAddr::from(([192, 0, 2, 10], 5060))), Ids::from_seed(1));
        agent.timers.arm(Owner::Server(7), &mut None, Some(start));
        agent.timers.arm(Owner::Leg(LegId(7)), &mut None, Some(start + second));
        assert_eq!(agent.poll_timeout(), Some((start, Why::Stale)));
        let mut out = Vec::new();
        agent.handle_timeout(start, &mut out);
        assert_eq!(agent.poll_timeout(), Some((start + second, Why::Stale)));
        agent.handle_timeout(start + second, &mut out);
        assert_eq!((agent.poll_timeout(), out), (None, Vec::new()));
    }
}
