//! One place that a user is reached at, for a time (RFC 3261 §10, RFC 5626 §6).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::account::Account;
use crate::sip::header::contact_list::{Contact, Q_MAX, Registered};
use crate::sip::transport::{Flow, Peer, Transport};
use crate::sip::uri::Uri;
use crate::sip::uri_comparison;

/// A registration as it is told to others and kept over a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Whose agent it is.
    pub operator: String,
    /// The user.
    pub user: String,
    /// Where the phone says it is reached: a SIP URI, without brackets.
    pub contact: String,
    /// The phone's own name for itself (RFC 5626 §4.1).
    pub instance: Option<String>,
    /// Which of its flows this is (RFC 5626 §4.2); only with an instance.
    pub reg_id: Option<u32>,
    /// Call-ID and CSeq of the last REGISTER: an older one changes nothing.
    pub call_id: String,
    /// See `call_id`.
    pub cseq: u32,
    /// Its preference in thousandths, when its phone stated one.
    pub q: Option<u16>,
    /// Where the REGISTER came from.
    pub peer: Peer,
    /// Whether the phone hears where it speaks from (RFC 3581 §3), so that requests go to `peer`.
    pub symmetric: bool,
    /// What the phone calls itself.
    pub user_agent: String,
    /// How long it lasts from here.
    pub lasts: Duration,
}

/// A registration in the registrar.
#[derive(Clone, Debug)]
pub(super) struct Binding {
    /// The account.
    pub account: Arc<Account>,
    /// All else; its `lasts` is what was granted last.
    pub kept: Registration,
    /// When it ends.
    pub ends: Instant,
    /// When it was registered last; the order in which places are given up.
    pub refreshed: (Instant, u64),
}

/// What tells two ways of reaching us apart: a far end's address, or a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    Datagrams(SocketAddr),
    Connection(Flow),
    /// A connection that is gone: the address to open one to.
    Gone(Transport, SocketAddr),
}

impl Way {
    /// The way of a far end.
    pub fn of(peer: &Peer) -> Self {
        match (peer.transport.is_reliable(), peer.flow) {
            (false, _) => Self::Datagrams(peer.address),
            (true, Some(flow)) => Self::Connection(flow),
            (true, None) => Self::Gone(peer.transport, peer.address),
        }
    }
}

impl Binding {
    /// Whether a contact of a REGISTER is this one: by the phone's name for its flow, if it has one, else by its URI
    /// (RFC 5626 §6, RFC 3261 §10.3).
    pub fn is(&self, contact: &Contact<'_>, outbound: bool) -> bool {
        if outbound && contact.reg_id.is_some() {
            let instance = self.kept.instance.as_deref().map(str::as_bytes);
            return self.kept.reg_id == contact.reg_id && instance == contact.instance;
        }
        self.uri().is_some_and(|uri| uri_comparison::same(&uri, &contact.address.uri))
    }

    /// Whether this was the same phone before it was switched off and on: then it has another Call-ID, and perhaps another port.
    pub fn is_former_life(&self, contact: &Contact<'_>, call_id: &str) -> bool {
        let instance = self.kept.instance.as_deref().map(str::as_bytes);
        instance.is_some()
            && instance == contact.instance
            && self.kept.reg_id.is_none()
            && contact.reg_id.is_none()
            && self.kept.call_id != call_id
    }

    /// Whether a REGISTER is older than the last one, or the same (RFC 3261 §10.3, step 7).
    pub fn is_newer_than(&self, call_id: &str, cseq: u32) -> bool {
        self.kept.call_id == call_id && self.kept.cseq >= cseq
    }

    fn uri(&self) -> Option<Uri<'_>> {
        Uri::parse(self.kept.contact.as_bytes()).ok()
    }

    /// Where requests to the phone go. The way that its REGISTER came by leads through any NAT (RFC 5626 §5.3); a phone that
    /// listens at another port than it sends from says so in its contact, and has no NAT before it.
    pub fn destination(&self) -> Peer {
        let Registration { peer, symmetric, .. } = &self.kept;
        if *symmetric || peer.flow.is_some() && peer.transport.is_reliable() {
            return *peer;
        }
        match self.direct() {
            Some(address) => Peer { address, ..*peer },
            None => *peer,
        }
    }

    /// The address of the contact, if it is the one that the REGISTER came from: there is no NAT between.
    pub fn direct(&self) -> Option<SocketAddr> {
        let uri = self.uri()?;
        let address = uri.host?.address()?.to_canonical();
        let port = uri.port.filter(|&port| port != 0).unwrap_or(self.kept.peer.transport.default_port());
        (address == self.kept.peer.address.ip().to_canonical()).then_some(SocketAddr::new(address, port))
    }

    /// Its preference, 0 to 1,000.
    pub fn preference(&self) -> u16 {
        self.kept.q.unwrap_or(Q_MAX)
    }

    /// As the 200 has it.
    pub fn registered(&self, now: Instant) -> Registered<'_> {
        Registered {
            uri: self.kept.contact.as_bytes(),
            left: self.ends.saturating_duration_since(now),
            q: self.kept.q,
            instance: self.kept.instance.as_deref().map(str::as_bytes),
            reg_id: self.kept.reg_id,
        }
    }
}
