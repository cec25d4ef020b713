//! How requests of ours go out: a large one over TCP though UDP was meant (RFC 3261 §18.1.1), and what follows when one cannot be
//! delivered (§8.1.3.1, §17.1.4).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::debug;

use super::transactions::{ClientMachine, ClientTransaction, Errand, Ours};
use super::{UserAgent, send};
use crate::ids::LegId;
use crate::sip::action::Action;
use crate::sip::cursor::text;
use crate::sip::dialog::LocalTag;
use crate::sip::header::via::{self, Via};
use crate::sip::header::{Name, cseq::CSeq};
use crate::sip::message::{Message, StartLine};
use crate::sip::method::Method;
use crate::sip::timers::ClientId;
use crate::sip::transport::{Peer, Transport};

/// Longest request that goes out in a datagram, in bytes, for we do not know the path's MTU (RFC 3261 §18.1.1).
pub const DATAGRAM_REQUEST_MAX: usize = 1_300;

/// How long a host that took no TCP connection is not asked for one again.
const UDP_ONLY_FOR: Duration = Duration::from_secs(600);

/// Hosts remembered to take no TCP; the one remembered longest goes first.
const UDP_ONLY_MAX: usize = 1_024;

/// Addresses that took no TCP connection, until when they are spared the next.
#[derive(Debug, Default)]
pub(super) struct UdpOnly(BTreeMap<SocketAddr, Instant>);

impl UdpOnly {
    fn contains(&self, now: Instant, address: SocketAddr) -> bool {
        self.0.get(&address).is_some_and(|until| now < *until)
    }

    fn insert(&mut self, now: Instant, address: SocketAddr) {
        self.0.retain(|_, until| now < *until);
        if self.0.len() >= UDP_ONLY_MAX
            && let Some(oldest) = self.0.iter().min_by_key(|(_, until)| **until).map(|(address, _)| *address)
        {
            self.0.remove(&oldest);
        }
        self.0.insert(address, now + UDP_ONLY_FOR);
    }
}

impl UserAgent {
    /// Sends a request of ours and waits for its answer. One outside dialogs goes over TCP when it is too large for a datagram; within a
    /// dialog the flow is kept.
    pub(super) fn begin_client(
        &mut self,
        now: Instant,
        id: ClientId,
        leg: Option<LegId>,
        ours: Ours,
        (destination, request): (Peer, Bytes),
        out: &mut Vec<Action>,
    ) {
        let larger = match ours {
            Ours::Invite(_) | Ours::Errand(Errand::Outside(_)) => self.over_tcp(now, destination, &request),
            Ours::Reinvite(_)
            | Ours::Errand(
                Errand::Bye
                | Errand::Cancel
                | Errand::Info
                | Errand::Notify
                | Errand::Prack
                | Errand::Refer
                | Errand::Update,
            ) => None,
        };
        let (destination, request, fallback) = match larger {
            Some((peer, larger)) => (peer, larger, Some(Box::new((destination, request)))),
            None => (destination, request, None),
        };
        send(destination, request.clone(), out);
        let machine = ClientMachine::new(self.timing.over(destination.transport), now, request, ours);
        self.insert_client(id, ClientTransaction { machine, destination, leg, fallback, armed: None });
    }

    /// The same request over TCP, when it is too large for a datagram and we can be answered there.
    fn over_tcp(&self, now: Instant, destination: Peer, request: &Bytes) -> Option<(Peer, Bytes)> {
        if destination.transport != Transport::Udp
            || request.len() <= DATAGRAM_REQUEST_MAX
            || self.udp_only.contains(now, destination.address)
        {
            return None;
        }
        let peer = Peer::new(Transport::Tcp, destination.address);
        self.settings.listeners.towards(&peer)?;
        let advertised = self.settings.listeners.advertised_to(&peer);
        Some((peer, via::rewritten(request, Transport::Tcp, advertised)?.into()))
    }

    pub(super) fn insert_client(&mut self, id: ClientId, client: ClientTransaction) {
        self.clients.insert(id, client);
        self.arm_client(id);
    }

    pub(super) fn undelivered(&mut self, now: Instant, message: Bytes, out: &mut Vec<Action>) {
        let Some((id, name)) = Message::scan(message).and_then(|message| client_of(&message)) else { return };
        let Some(client) = self.clients.get_mut(&id) else { return };
        // Told of late, when the request has gone another way or was answered.
        if !client.machine.is_open() || client.destination.transport.name() != name {
            return;
        }
        if let Some(fallback) = client.fallback.take() {
            let (destination, request) = *fallback;
            debug!(peer = %destination, "no TCP there: a large request goes by UDP after all");
            self.udp_only.insert(now, destination.address);
            send(destination, request.clone(), out);
            client.destination = destination;
            client.machine.restart(self.timing.over(destination.transport), now, request);
            return self.arm_client(id);
        }
        self.end_unanswered(now, id, 503, out);
    }
}

/// The transaction of a request of ours and the transport that its Via names; `None` for an ACK, which has none, and for
/// responses.
fn client_of(message: &Message) -> Option<(ClientId, String)> {
    let StartLine::Request { .. } = message.start_line() else { return None };
    let cseq = CSeq::parse(message.value(Name::CSeq)?).ok().filter(|cseq| cseq.method != Method::Ack)?;
    let via = Via::parse(message.value(Name::Via)?).ok()?;
    let LocalTag(branch) = LocalTag::parse(via.branch?.strip_prefix(via::MAGIC_COOKIE)?)?;
    Some((ClientId { branch, cancel: cseq.method == Method::Cancel }, text(via.transport)))
}
