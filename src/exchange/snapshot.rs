//! What is served right now: operators, their numbers, and the trunks that may call. Immutable, replaced whole.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::call::Tenant;
use crate::config::{Audio, CalledFrom, Config, Network, Trunk};
use crate::exchange::guard::Standing;
use crate::operator::number::{self, Route, Routes};
use crate::sdp::Terms;
use crate::sip::{Invitation, Reached};

/// Everything a new call is routed by.
pub struct Snapshot {
    tenants: Vec<Arc<Tenant>>,
    routes: Routes,
    config: Arc<Config>,
    /// As it is written, without what the DNS says of gateways.
    written: Arc<Config>,
}

impl Snapshot {
    /// `routes` must have been made from the operators of `tenants`, in the same order.
    #[must_use]
    pub fn new(tenants: Vec<Arc<Tenant>>, routes: Routes, config: Arc<Config>) -> Self {
        let written = config.clone();
        Self { tenants, routes, config, written }
    }

    /// The same where the gateways of this trunk are at these addresses: what comes from them is the trunk's.
    #[must_use]
    pub fn with_gateways(&self, trunk: usize, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut config = self.config.as_ref().clone();
        if let (Some(trunk), Some(written)) = (config.trunks.get_mut(trunk), self.written.trunks.get(trunk)) {
            trunk.sources.clone_from(&written.sources);
            trunk.sources.extend(addresses.into_iter().map(Network::host));
        }
        let (tenants, routes) = (self.tenants.clone(), self.routes.clone());
        Self { tenants, routes, config: Arc::new(config), written: self.written.clone() }
    }

    /// This machine's settings, as they are written.
    #[must_use]
    pub fn written(&self) -> Arc<Config> {
        self.written.clone()
    }

    /// What an address is to us. One that is a trunk's only because a trunk is everybody is not trusted for it.
    #[must_use]
    pub fn standing(&self, source: SocketAddr) -> Standing {
        let source = canonical(source);
        let sources = || self.config.trunks.iter().flat_map(|trunk| &trunk.sources).filter(|one| one.contains(source));
        if sources().any(|network| !network.is_everybody()) {
            Standing::Trunk
        } else if sources().next().is_some() {
            Standing::Open
        } else {
            Standing::Stranger
        }
    }

    /// Whether phones may register from this address.
    #[must_use]
    pub fn may_register(&self, source: SocketAddr) -> bool {
        self.config.registrar.sources.iter().any(|network| network.contains(canonical(source)))
    }

    /// This machine's settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The called number as this INVITE's trunk names it; the Request-URI's for a source of no trunk, and where what the trunk's calls should
    /// have is missing.
    #[must_use]
    pub fn called<'i>(&self, invitation: &'i Invitation) -> &'i str {
        let trunk = self.config.trunk_of(canonical(invitation.source.address));
        let called = match trunk.map_or(CalledFrom::RequestUri, |trunk| trunk.called_from) {
            CalledFrom::RequestUri => &invitation.request_user,
            CalledFrom::To => &invitation.to_user,
            CalledFrom::PCalledPartyId => &invitation.called_party,
            CalledFrom::Diversion => &invitation.diverted_by,
            CalledFrom::HistoryInfo => &invitation.called_first,
        };
        if called.is_empty() { &invitation.request_user } else { called }
    }

    /// The caller's number, normalised; `None` when the caller is anonymous, or calls from what is no number.
    #[must_use]
    pub fn caller(&self, invitation: &Invitation) -> Option<String> {
        let user = invitation.from_user.as_str();
        let hidden =
            user.is_empty() || ["anonymous", "unavailable", "restricted"].contains(&user.to_lowercase().as_str());
        let trunk = self.config.trunk_of(canonical(invitation.source.address));
        let format = trunk.map(|trunk| trunk.numbers.format).unwrap_or_default();
        if hidden { None } else { number::caller(&format.read(user)) }
    }

    /// Where the far ends of trunks reach us that have an address of their own for that, in the order in which trunks count.
    #[must_use]
    pub fn reached(&self) -> Vec<Reached> {
        let trunks = self.config.trunks.iter();
        trunks
            .flat_map(|trunk| trunk.sources.iter().map(|from| Reached { from: from.bounds(), at: trunk.advertised }))
            .collect()
    }

    /// The trunk of this address, and its place in the settings.
    #[must_use]
    pub fn trunk(&self, source: SocketAddr) -> Option<(usize, &Trunk)> {
        let number = self.config.trunk_number_of(canonical(source))?;
        Some((number, self.config.trunks.get(number)?))
    }

    /// Whether the trunk of this address lets its calls share sockets.
    #[must_use]
    pub fn shares_audio(&self, source: SocketAddr) -> bool {
        self.config.trunk_of(canonical(source)).is_some_and(|trunk| trunk.audio == Audio::Shared)
    }

    /// What the trunk of this address agrees to.
    #[must_use]
    pub fn terms(&self, source: SocketAddr) -> Arc<Terms> {
        self.config.trunk_of(canonical(source)).map(|trunk| trunk.terms.clone()).unwrap_or_default()
    }

    /// Whether a leg of the trunk at `peer` may share a socket: the trunk says that it sends from the address its SDP names, and
    /// that is `far`, where SIP comes from or a listed address of the trunk. Behind a NAT it is neither. A trunk that takes
    /// calls from everywhere lists nobody.
    #[must_use]
    pub fn may_share(&self, peer: IpAddr, far: IpAddr) -> bool {
        let (peer, far) = (peer.to_canonical(), far.to_canonical());
        let trunk = self.config.trunk_of(peer).filter(|trunk| trunk.audio == Audio::Shared);
        trunk.is_some_and(|trunk| {
            let listed = |network: &Network| !network.is_everybody() && network.contains(far);
            !far.is_unspecified() && (far == peer || trunk.sources.iter().any(listed))
        })
    }

    /// The operator and flow of a published number.
    #[must_use]
    pub fn find(&self, user: &str, parameters: &[(String, String)]) -> Option<(Arc<Tenant>, Route)> {
        let route = self.routes.find(user, parameters)?;
        Some((self.tenants.get(route.operator)?.clone(), route))
    }

    /// The operator of this id.
    #[must_use]
    pub fn tenant(&self, operator: &str) -> Option<Arc<Tenant>> {
        self.tenants.iter().find(|tenant| tenant.operator.id == operator).cloned()
    }

    /// The operator and flow for an INVITE.
    #[must_use]
    pub fn route(&self, invitation: &Invitation) -> Option<(Arc<Tenant>, Route)> {
        let called = self.called(invitation);
        let trunk = self.config.trunk_of(canonical(invitation.source.address));
        let read = trunk.map(|trunk| trunk.numbers.called(called));
        self.find(read.as_deref().unwrap_or(called), &invitation.request_parameters)
    }
}

/// What a peer wrote, as a record may keep it and a terminal may show it: everything but printable ASCII percent-encoded
/// (RFC 3986 §2.1), at most `max` characters.
#[must_use]
pub fn printable(text: &str, max: usize) -> String {
    let mut shown = String::new();
    for &byte in text.as_bytes() {
        let is_plain = byte == b' ' || byte.is_ascii_graphic();
        if shown.len() + if is_plain { 1 } else { 3 } > max {
            break;
        }
        if is_plain {
            shown.push(char::from(byte));
        } else {
            let _ = write!(shown, "%{byte:02X}");
        }
    }
    shown
}

/// An IPv4 address that came over an IPv6 socket is an IPv4 address.
fn canonical(source: SocketAddr) -> IpAddr {
    source.ip().to_canonical()
}

/// Most characters of a called number in a record.
pub const CALLED_MAX: usize = 64;

/// Most characters of a Call-ID in a record: RFC 3261 sets no bound, and a UUID with a host name is half of it.
pub const CALL_ID_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_wrote_is_kept_printable_and_bounded() {
        for (text, shown) in [
            ("a84b4c76e66710@pc33.atlanta.com", "a84b4c76e66710@pc33.atlanta.com"),
            ("\u{1b}[31m\u{0}x", "%1B[31m%00x"),
            ("ñ", "%C3%B1"),
            ("", ""),
        ] {
            assert_eq!(printable(text, CALL_ID_MAX), shown);
        }
        assert_eq!(printable(&"9".repeat(5_000), CALLED_MAX), "9".repeat(CALLED_MAX));
        assert_eq!(printable("12\u{1b}4", 4), "12", "an escape is not cut in two");
    }
}
