//! A call out by a trunk: whether its number may be called, which gateways it tries in which order, and who it says that it is from.
//!
//! ```text
//!  number as keyed ──► allow-list ──► written in the trunk's format ──► Request-URI at each gateway, those that answer first
//! ```

use std::time::{Duration, Instant};

use thiserror::Error;

use super::Trunks;
use super::capacity::Full;
use super::trunks::login;
use crate::config::numbers::Denied;
use crate::config::{self, StandsIn};
use crate::operator::number::normalise;
use crate::sip::user_agent::{Hop, Through};
use crate::sip::{Listeners, uri};

/// How a call gets to its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WayOut {
    /// Which trunk, in the order of the settings.
    pub trunk: usize,
    /// The first place to go.
    pub first: Hop,
    /// From URI, as text.
    pub from: String,
    /// The other places, and what else is said.
    pub through: Through,
}

/// Why a call is not placed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotPlaced {
    /// No trunk of the settings has this name.
    #[error("there is no trunk «{0}»")]
    NoTrunk(String),
    /// The number may not be called.
    #[error("{0} (allow of the trunk «{1}»)")]
    Denied(Denied, String),
    /// No gateway's address is known.
    #[error("no gateway of the trunk «{0}» is known: its names lead nowhere, or are still looked up")]
    Nowhere(String),
    /// It carries as many calls as it may.
    #[error("{0}")]
    Full(#[from] Full),
}

impl NotPlaced {
    /// What it amounts to for whoever wanted the call.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::NoTrunk(_) => 404,
            Self::Denied(..) => 403,
            Self::Nowhere(_) | Self::Full(_) => 503,
        }
    }
}

/// How long a gateway may be silent while there is another one: four copies of the INVITE went out over UDP until then.
pub const PATIENCE: Duration = Duration::from_secs(4);

impl Trunks {
    /// How a call gets to a number by the trunk of this name. `keyed` is as somebody keyed or wrote it; `caller` is whom the call is made
    /// for, if that is known.
    ///
    /// # Errors
    /// [`NotPlaced`].
    pub fn way_out(
        &mut self,
        now: Instant,
        name: &str,
        keyed: &str,
        caller: Option<&str>,
        listeners: &Listeners,
    ) -> Result<WayOut, NotPlaced> {
        let config = self.config();
        let found = config.trunks.iter().enumerate().find(|(_, trunk)| trunk.name == name);
        let (number, trunk) = found.ok_or_else(|| NotPlaced::NoTrunk(name.to_owned()))?;
        let user = trunk.numbers.dial(keyed).map_err(|denied| NotPlaced::Denied(denied, name.to_owned()))?;
        let mut hops = self.hops(now, number, listeners).into_iter().map(|way| {
            let (scheme, host) = way.gateway.split_once(':').unwrap_or(("sip", &way.gateway));
            (Hop { target: format!("{scheme}:{user}@{host}"), destination: way.peer }, way)
        });
        let (first, way) = hops.next().ok_or_else(|| NotPlaced::Nowhere(name.to_owned()))?;
        let domain = domain(trunk, way.advertised);
        let Shown { from, headers } = shown(trunk, caller, &domain);
        let through = Through {
            hops: hops.map(|(hop, _)| hop).collect(),
            patience: PATIENCE,
            login: trunk.credentials.as_ref().map(login),
            headers,
        };
        Ok(WayOut { trunk: number, first, from, through })
    }
}

/// The host of From: the carrier's domain where we are one of its users, else our own address.
fn domain(trunk: &config::Trunk, advertised: std::net::SocketAddr) -> String {
    let registrar = || {
        let (_, host) = trunk.register.as_ref()?.split_once(':')?;
        Some(host.split(';').next().unwrap_or(host).to_owned())
    };
    trunk.caller_id.domain.clone().or_else(registrar).unwrap_or_else(|| advertised.to_string())
}

/// Who a call says that it is from.
struct Shown {
    from: String,
    headers: Vec<(&'static str, Vec<u8>)>,
}

fn shown(trunk: &config::Trunk, caller: Option<&str>, domain: &str) -> Shown {
    let id = &trunk.caller_id;
    let account = trunk.credentials.as_ref().map(|credentials| credentials.user.as_str());
    let at_domain = |user: &str| format!("sip:{}@{domain}", uri::escaped(user));
    let written = |number: &str| trunk.numbers.format.write(normalise(number).as_str());
    let Some(own) = id.caller.as_deref() else {
        return Shown { from: at_domain(account.unwrap_or("anonymous")), headers: Vec::new() };
    };
    let own = at_domain(&written(own));
    let asserted = || ("P-Asserted-Identity", format!("<{own}>").into_bytes());
    // A caller who hides stays hidden on the way out.
    let private = id.private || id.shows_caller && caller.is_none();
    let mut headers = Vec::new();
    let from = if private {
        // RFC 3325 §9.3: the carrier knows, the called one does not.
        headers.extend([asserted(), ("Privacy", b"id".to_vec())]);
        uri::ANONYMOUS.to_owned()
    } else if let Some(caller) = caller.filter(|_| id.shows_caller).filter(|caller| config::numbers::is_number(caller))
    {
        headers.push(asserted());
        at_domain(&written(caller))
    } else if id.stands_in == StandsIn::Asserted {
        headers.push(asserted());
        account.map_or(own.clone(), at_domain)
    } else {
        own.clone()
    };
    Shown { from, headers }
}
