//! Where somebody is reached whom a call is led to: from a [`Callee`] to the INVITEs that are to be sent. Nothing is dialled from here but
//! what is declared: an agent's phones are where the registrar says, and a trunk says which numbers it calls.

use std::time::Instant;

use tracing::warn;

use super::Exchange;
use super::way_out::WayOut;
use crate::call::Way;
use crate::flow::Callee;
use crate::sip::{Peer, Rejection, uri};

/// Whose call somebody is looked for.
pub(super) struct Asker<'a> {
    /// The operator that the call is served for.
    pub operator: &'a str,
    /// The caller's number; empty when anonymous.
    pub caller: &'a str,
}

/// Most places that one callee is called at, whatever the registrar knows.
const WAYS_MAX: usize = 16;

impl Exchange {
    /// The ways to somebody, each with its leg; all of them are called at once. Otherwise the status that says why there is none.
    pub(super) fn ways_to(&mut self, now: Instant, to: &Callee, asker: &Asker<'_>) -> Result<Vec<Way>, Rejection> {
        if self.draining {
            return Err(nowhere(503, "no calls are placed while the engine stops"));
        }
        match to {
            Callee::Agent(user) => self.ways_to_agent(user, asker),
            Callee::Trunk { trunk, number } => self.way_to_number(now, trunk, number, asker),
        }
    }

    /// The number as the trunk calls it, if it may be called and the trunk has room. Its other gateways wait with the leg for its INVITE.
    fn way_to_number(
        &mut self,
        now: Instant,
        trunk: &str,
        number: &str,
        asker: &Asker<'_>,
    ) -> Result<Vec<Way>, Rejection> {
        let caller = Some(asker.caller).filter(|caller| !caller.is_empty());
        let leg = self.user_agent.reserve_leg();
        let found = self.trunks.way_out(now, trunk, number, caller, self.user_agent.listeners());
        let found = found.and_then(|way| {
            let settings = self.snapshot.config().trunks.get(way.trunk);
            settings.map_or(Ok(()), |settings| self.capacity.begin(now, leg, (way.trunk, settings)))?;
            Ok(way)
        });
        match found {
            Ok(WayOut { first, from, through, .. }) => {
                let terms = self.snapshot.terms(first.destination.address);
                self.through.insert(leg, through);
                Ok(vec![Way { leg, target: first.target, peer: first.destination, from, terms }])
            }
            Err(why) => {
                warn!("trunk «{trunk}»: a call is not placed: {why}");
                Err(nowhere(why.status(), &why.to_string()))
            }
        }
    }

    /// Every phone that is registered for this agent of the operator's.
    fn ways_to_agent(&mut self, user: &str, asker: &Asker<'_>) -> Result<Vec<Way>, Rejection> {
        let registrar = self.user_agent.registrar();
        let account = registrar.and_then(|registrar| registrar.accounts().get(user));
        if account.is_none_or(|account| account.operator != asker.operator) {
            return Err(nowhere(404, &format!("{} has no agent «{user}»", asker.operator)));
        }
        let targets = registrar.map(|registrar| registrar.targets(user)).unwrap_or_default();
        if targets.is_empty() {
            return Err(nowhere(480, &format!("no phone of {user} is registered")));
        }
        let targets = targets.into_iter().take(WAYS_MAX);
        Ok(targets
            .map(|target| {
                let from = self.caller_uri(asker.caller, &target.peer);
                let terms = self.snapshot.terms(target.peer.address);
                Way { leg: self.user_agent.reserve_leg(), target: target.uri, peer: target.peer, from, terms }
            })
            .collect())
    }

    /// The caller as a callee at `peer` sees them.
    fn caller_uri(&self, caller: &str, peer: &Peer) -> String {
        if caller.is_empty() {
            return uri::ANONYMOUS.to_owned();
        }
        uri::at(caller, self.user_agent.listeners().advertised_to(peer).ip())
    }
}

fn nowhere(status: u16, why: &str) -> Rejection {
    Rejection { status, retry_after: None, warning: Some(why.to_owned()) }
}
