//! What is served right now: operators, their numbers, and the trunks that may call. Immutable, replaced whole.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::call::Tenant;
use crate::config::{CalledFrom, Config, Strangers};
use crate::operator::number::{self, Route, Routes};
use crate::sip::Invitation;

/// Everything a new call is routed by.
pub struct Snapshot {
    tenants: Vec<Arc<Tenant>>,
    routes: Routes,
    config: Arc<Config>,
}

impl Snapshot {
    /// `routes` must have been made from the operators of `tenants`, in the same order.
    #[must_use]
    pub fn new(tenants: Vec<Arc<Tenant>>, routes: Routes, config: Arc<Config>) -> Self {
        Self { tenants, routes, config }
    }

    /// What to do with a datagram from this address: its trunk's, or a stranger's.
    #[must_use]
    pub fn admit(&self, source: SocketAddr) -> Admission {
        match (self.config.trunk_of(canonical(source)), self.config.sip.strangers) {
            (Some(_), _) => Admission::Welcome,
            (None, Strangers::Refuse) => Admission::Refuse,
            (None, Strangers::Ignore) => Admission::Ignore,
        }
    }

    /// The called number as this INVITE's trunk names it; the Request-URI's for a source of no trunk.
    #[must_use]
    pub fn called<'i>(&self, invitation: &'i Invitation) -> &'i str {
        let trunk = self.config.trunk_of(canonical(invitation.source));
        match trunk.map_or(CalledFrom::RequestUri, |trunk| trunk.called_from) {
            CalledFrom::RequestUri => &invitation.request_user,
            CalledFrom::To => &invitation.to_user,
        }
    }

    /// The operator and flow for an INVITE.
    #[must_use]
    pub fn route(&self, invitation: &Invitation) -> Option<(Arc<Tenant>, Route)> {
        let route = self.routes.find(self.called(invitation), &invitation.request_parameters)?;
        Some((self.tenants.get(route.operator)?.clone(), route))
    }
}

/// Whether a source may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It belongs to a trunk, or everybody may.
    Welcome,
    /// A stranger: 403.
    Refuse,
    /// A stranger: silence.
    Ignore,
}

/// The caller's number, normalised; `None` when the caller is anonymous.
#[must_use]
pub fn caller(invitation: &Invitation) -> Option<String> {
    let user = invitation.from_user.as_str();
    let hidden = user.is_empty() || ["anonymous", "unavailable", "restricted"].contains(&user.to_lowercase().as_str());
    (!hidden).then(|| number::normalise(user).as_str().to_owned())
}

/// An IPv4 address that came over an IPv6 socket is an IPv4 address.
fn canonical(source: SocketAddr) -> IpAddr {
    source.ip().to_canonical()
}
