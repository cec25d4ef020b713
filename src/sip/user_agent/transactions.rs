//! All transactions of a user agent: which there are, how they are found, what each needs beside its machine.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;

use crate::ids::{Ids, LegId};
use crate::sip::dialog::LocalTag;
use crate::sip::header::Name;
use crate::sip::method::Method;
use crate::sip::timers::ClientId;
use crate::sip::transaction::client::Client;
use crate::sip::transaction::invite_client::InviteClient;
use crate::sip::transaction::invite_server::InviteServer;
use crate::sip::transaction::key::{Key, Keys};
use crate::sip::transaction::server::Server;
use crate::sip::transaction::{Fired, Timing};
use crate::sip::transport::Peer;

/// The machine of a peer's request.
#[derive(Debug)]
pub enum ServerMachine {
    /// INVITE.
    Invite(InviteServer),
    /// Everything else.
    Other(Server),
}

/// A peer's request that is being or was answered.
#[derive(Debug)]
pub struct ServerTransaction {
    /// Its state.
    pub machine: ServerMachine,
    /// Where responses go.
    pub destination: Peer,
    /// The leg it made or belongs to; none for a REGISTER.
    pub leg: Option<LegId>,
    /// Its deadline in the timer index.
    pub armed: Option<Instant>,
    key: Key,
    merged: Option<Key>,
}

/// Server transactions, found by number or by the key of RFC 3261 §17.2.3.
#[derive(Debug)]
pub struct Servers {
    /// Makes the keys.
    pub keys: Keys,
    /// Boxed: numbers come in order, which leaves a tree's nodes half empty.
    all: BTreeMap<u64, Box<ServerTransaction>>,
    by_key: BTreeMap<Key, u64>,
    by_merged: BTreeMap<Key, u64>,
    next: u64,
}

impl ServerMachine {
    /// A retransmitted request: what to send for it.
    pub fn handle_request(&self) -> Option<Bytes> {
        match self {
            Self::Invite(machine) => machine.handle_invite(),
            Self::Other(machine) => machine.handle_request(),
        }
    }

    /// A response from the user: comes back when it is to be sent.
    pub fn respond(&mut self, now: Instant, status: u16, response: Bytes) -> Option<Bytes> {
        match self {
            Self::Invite(machine) => machine.respond(now, status, response),
            Self::Other(machine) => machine.respond(now, status, response),
        }
    }

    /// When to wake, and for which timer.
    pub fn poll_timeout(&self) -> Option<(Instant, char)> {
        match self {
            Self::Invite(machine) => machine.poll_timeout(),
            Self::Other(machine) => machine.poll_timeout(),
        }
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Instant) -> Fired {
        match self {
            Self::Invite(machine) => machine.handle_timeout(now),
            Self::Other(machine) => machine.handle_timeout(now),
        }
    }
}

impl Servers {
    /// None yet.
    pub fn new(ids: &mut Ids) -> Self {
        let keys = Keys::new(ids);
        Self { keys, all: BTreeMap::new(), by_key: BTreeMap::new(), by_merged: BTreeMap::new(), next: 0 }
    }

    /// Adds a transaction and numbers it.
    pub fn insert(
        &mut self,
        machine: ServerMachine,
        destination: Peer,
        leg: Option<LegId>,
        key: Key,
        merged: Option<Key>,
    ) -> u64 {
        let id = self.next;
        self.next += 1;
        self.by_key.insert(key, id);
        if let Some(merged) = merged {
            self.by_merged.insert(merged, id);
        }
        self.all.insert(id, Box::new(ServerTransaction { machine, destination, leg, armed: None, key, merged }));
        id
    }

    /// The transaction a request belongs to.
    pub fn find(&self, key: Key) -> Option<u64> {
        self.by_key.get(&key).copied()
    }

    /// Whether the same request came before, by another way (RFC 3261 §8.2.2.2).
    pub fn has_merged(&self, merged: Key) -> bool {
        self.by_merged.contains_key(&merged)
    }

    /// A transaction.
    pub fn get(&self, id: u64) -> Option<&ServerTransaction> {
        self.all.get(&id).map(Box::as_ref)
    }

    /// A transaction, to change.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut ServerTransaction> {
        self.all.get_mut(&id).map(Box::as_mut)
    }

    /// Forgets a transaction.
    pub fn remove(&mut self, id: u64) {
        if let Some(gone) = self.all.remove(&id) {
            self.by_key.remove(&gone.key);
            if let Some(merged) = gone.merged {
                self.by_merged.remove(&merged);
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }
}

/// A request of ours.
#[derive(Debug)]
pub struct ClientTransaction {
    /// Its state, and what its answer means.
    pub machine: ClientMachine,
    /// Where the request went.
    pub destination: Peer,
    /// The leg it belongs to; over or unknown for a BYE that nobody waits for.
    pub leg: Option<LegId>,
    /// What to send, and where, if this cannot be delivered: the same request over UDP, when it was too large for that.
    pub fallback: Option<Box<(Peer, Bytes)>>,
    /// Its deadline in the timer index.
    pub armed: Option<Instant>,
}

/// The machine of our own request.
#[derive(Debug)]
pub enum ClientMachine {
    /// Our INVITE that makes a dialog.
    Invite(InviteClient, Box<Originated>),
    /// Our INVITE within a dialog.
    Reinvite(InviteClient, Box<Reinvited>),
    /// Every other request of ours.
    Other(Client, Errand),
}

/// What a request of ours is.
#[derive(Debug)]
pub enum Ours {
    /// An INVITE that makes a dialog.
    Invite(Box<Originated>),
    /// An INVITE within a dialog.
    Reinvite(Box<Reinvited>),
    /// Every other.
    Errand(Errand),
}

/// What a request of ours other than INVITE is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// BYE: its end is the leg's, where it names one.
    Bye,
    /// CANCEL: what comes of it, the INVITE's own answer tells.
    Cancel,
    /// INFO.
    Info,
    /// PRACK: the far end sends its response again until it has it, so nothing depends on the answer.
    Prack,
    /// REFER.
    Refer,
    /// NOTIFY of what came of a REFER.
    Notify,
    /// UPDATE without offer: a refresh of the session.
    Update,
    /// A request outside dialogs, whose end is told.
    Outside(Method),
}

impl Errand {
    /// Its method.
    pub fn method(self) -> Method {
        match self {
            Self::Bye => Method::Bye,
            Self::Cancel => Method::Cancel,
            Self::Info => Method::Info,
            Self::Prack => Method::Prack,
            Self::Refer => Method::Refer,
            Self::Notify => Method::Notify,
            Self::Update => Method::Update,
            Self::Outside(method) => method,
        }
    }
}

/// A re-INVITE of ours.
#[derive(Debug)]
pub struct Reinvited {
    /// The request: the ACK of a refusal repeats it.
    pub request: Bytes,
    /// It had an offer.
    pub offers: bool,
    /// Number of its CSeq.
    pub cseq: u32,
    /// The ACK of its 2xx, and where it goes.
    pub ack: Option<(Peer, Bytes)>,
}

/// What we said in an INVITE of ours, kept for ACK, CANCEL and late answers.
#[derive(Clone, Debug)]
pub struct Originated {
    /// Request-URI.
    pub target: Box<[u8]>,
    /// SDP; empty when the far end is to offer.
    pub offer: Bytes,
    /// Number of its CSeq.
    pub cseq: u32,
    /// Min-SE that a 422 made us promise, in seconds; 0 before.
    pub min_se: u32,
    /// Refusals of it as too short so far.
    pub too_short: u8,
    /// From URI, without brackets.
    pub from: Box<[u8]>,
    /// Our tag.
    pub tag: LocalTag,
    /// Call-ID.
    pub call_id: Box<[u8]>,
    /// What else it says.
    pub headers: Box<[(&'static str, Vec<u8>)]>,
    /// What answers a challenge: the header, and its value.
    pub proof: Option<(Name, Box<[u8]>)>,
    /// Another hop has taken its place.
    pub abandoned: bool,
    /// The ACK of the answer we took, with the far end's tag: sent again for each repeated 2xx (RFC 3261 §13.2.2.4).
    pub acknowledged: Option<Acknowledged>,
}

/// An ACK of ours for a 2xx.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    /// The To tag of the answer we took.
    pub remote_tag: Box<[u8]>,
    /// The ACK; `None` while our answer to the far end's offer is waited for.
    pub ack: Option<Bytes>,
    /// Where it goes.
    pub destination: Peer,
}

impl ClientTransaction {
    /// The far end has the request: it answered, and by which connection. ACK and CANCEL go there too.
    pub fn delivered(&mut self, source: Peer) {
        self.fallback = None;
        let same_host = self.destination.address.ip() == source.address.ip();
        if source.transport.is_reliable() && source.transport == self.destination.transport && same_host {
            self.destination.flow = source.flow;
        }
    }
}

impl ClientMachine {
    /// The machine of this request, which is sent now for the first time.
    pub fn new(timing: Timing, now: Instant, request: Bytes, ours: Ours) -> Self {
        match ours {
            Ours::Invite(originated) => Self::Invite(InviteClient::new(timing, now, request), originated),
            Ours::Reinvite(reinvited) => Self::Reinvite(InviteClient::within_dialog(timing, now, request), reinvited),
            Ours::Errand(errand) => Self::Other(Client::new(timing, now, request), errand),
        }
    }

    /// Begins again with a request that is sent now.
    pub fn restart(&mut self, timing: Timing, now: Instant, request: Bytes) {
        match self {
            Self::Invite(machine, _) => *machine = InviteClient::new(timing, now, request),
            Self::Reinvite(machine, _) => *machine = InviteClient::within_dialog(timing, now, request),
            Self::Other(machine, _) => *machine = Client::new(timing, now, request),
        }
    }

    /// Whether no final answer came yet.
    pub fn is_open(&self) -> bool {
        match self {
            Self::Invite(machine, _) | Self::Reinvite(machine, _) => machine.is_open(),
            Self::Other(machine, _) => machine.is_open(),
        }
    }

    /// When to wake, and for which timer.
    pub fn poll_timeout(&self) -> Option<(Instant, char)> {
        match self {
            Self::Invite(machine, _) | Self::Reinvite(machine, _) => machine.poll_timeout(),
            Self::Other(machine, _) => machine.poll_timeout(),
        }
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Instant) -> Fired {
        match self {
            Self::Invite(machine, _) | Self::Reinvite(machine, _) => machine.handle_timeout(now),
            Self::Other(machine, _) => machine.handle_timeout(now),
        }
    }
}

/// Client transactions, found by the random part of their branch.
pub type Clients = BTreeMap<ClientId, ClientTransaction>;
