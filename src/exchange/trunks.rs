//! The carriers that we keep up with: each trunk's machine, its requests in the user agent, and what is said of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use tracing::{info, warn};

use crate::config::{self, Config};
use crate::ids::Ids;
use crate::sip::digest::Login;
use crate::sip::trunk::registration::Report;
use crate::sip::trunk::{Account, Action, Asked, Standing, Trunk, Way};
use crate::sip::user_agent::OutsideId;
use crate::sip::{self, Listeners, Peer, UserAgent};

/// Every trunk of the settings, in their order; none before [`begin`](Self::begin).
#[derive(Default)]
pub struct Trunks {
    lines: Vec<Line>,
    /// Requests under way, and whose they are.
    asked: BTreeMap<OutsideId, (usize, Asked)>,
    ids: Option<Ids>,
    /// Kept between inputs.
    actions: Vec<Action>,
}

/// One trunk.
struct Line {
    name: String,
    machine: Trunk,
}

impl Trunks {
    /// From now on trunks register and are probed.
    pub fn begin(
        &mut self,
        now: Instant,
        mut ids: Ids,
        config: &Config,
        user_agent: &mut UserAgent,
        out: &mut Vec<sip::Action>,
    ) {
        for trunk in &config.trunks {
            let account = account(trunk);
            let mut machine = Trunk::new(account, trunk.probe, now, &mut ids);
            let ways = literal_ways(trunk, config, user_agent.listeners());
            machine.set_ways(now, ways, &mut ids);
            self.lines.push(Line { name: trunk.name.clone(), machine });
        }
        self.ids = Some(ids);
        self.handle_timeout(now, user_agent, out);
    }

    /// When something is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.lines.iter().filter_map(|line| line.machine.poll_timeout()).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant, user_agent: &mut UserAgent, out: &mut Vec<sip::Action>) {
        for index in 0..self.lines.len() {
            self.tell(now, index, user_agent, out, |machine, ids, actions| machine.handle_timeout(now, ids, actions));
        }
    }

    /// The end of a request of ours; whether it was a trunk's.
    pub fn responded(
        &mut self,
        now: Instant,
        request: OutsideId,
        response: (u16, Option<Bytes>),
        user_agent: &mut UserAgent,
        out: &mut Vec<sip::Action>,
    ) {
        let Some((index, asked)) = self.asked.remove(&request) else { return };
        self.tell(now, index, user_agent, out, |machine, ids, actions| {
            machine.handle_response(now, asked, response, ids, actions);
        });
    }

    /// Ends what we keep up: no new calls are wanted.
    pub fn leave(&mut self, now: Instant, user_agent: &mut UserAgent, out: &mut Vec<sip::Action>) {
        for index in 0..self.lines.len() {
            self.tell(now, index, user_agent, out, |machine, ids, actions| machine.leave(now, ids, actions));
        }
    }

    /// Whether every registration of ours is taken back, or was never there.
    #[must_use]
    pub fn are_over(&self) -> bool {
        self.lines.iter().all(|line| line.machine.is_over() || line.machine.registration().is_none())
    }

    /// Every trunk's name and machine.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Trunk)> {
        self.lines.iter().map(|line| (line.name.as_str(), &line.machine))
    }

    fn tell(
        &mut self,
        now: Instant,
        index: usize,
        user_agent: &mut UserAgent,
        out: &mut Vec<sip::Action>,
        tell: impl FnOnce(&mut Trunk, &mut Ids, &mut Vec<Action>),
    ) {
        let (Some(line), Some(ids)) = (self.lines.get_mut(index), &mut self.ids) else { return };
        let mut actions = std::mem::take(&mut self.actions);
        tell(&mut line.machine, ids, &mut actions);
        for action in actions.drain(..) {
            match action {
                Action::Ask(asked, outside) => {
                    let id = user_agent.request(now, &outside, out);
                    self.asked.insert(id, (index, asked));
                }
                Action::Registration(report) => say(&line.name, &line.machine, report),
                Action::Health(peer, standing) => say_health(&line.name, &line.machine, peer, standing),
            }
        }
        self.actions = actions;
    }
}

fn say(name: &str, machine: &Trunk, report: Report) {
    match report {
        Report::Registered { way, lasts, is_new, seen_as } => {
            let peer = machine.ways().nth(way).map(|(way, _)| way.peer.to_string()).unwrap_or_default();
            if is_new {
                info!(%peer, "trunk «{name}»: registered for {} s", lasts.as_secs());
            }
            if let (true, Some(seen)) = (is_new, seen_as) {
                warn!(%peer, "trunk «{name}»: the carrier sees us at {seen}, which is not where we say we are: set «advertised»");
            }
        }
        Report::Failed { why, again, still_registered } => {
            let counts = if still_registered { "; the last registration still counts" } else { "" };
            warn!(cause = %why, "trunk «{name}»: not registered, tried again in {} s{counts}", again.as_secs());
        }
        Report::Left => info!("trunk «{name}»: no longer registered"),
    }
}

fn say_health(name: &str, machine: &Trunk, peer: Peer, standing: Standing) {
    match standing {
        Standing::Up => info!(%peer, "trunk «{name}»: the gateway answers"),
        Standing::Down if machine.is_up() => warn!(%peer, "trunk «{name}»: a gateway does not answer, others do"),
        Standing::Down => warn!(%peer, "trunk «{name}»: no gateway answers"),
        Standing::Unknown => {}
    }
}

/// What registers for a trunk.
#[must_use]
pub fn account(trunk: &config::Trunk) -> Option<Account> {
    let registrar = trunk.register.clone()?;
    let credentials = trunk.credentials.as_ref()?;
    let host = registrar.split_once(':').map_or(registrar.as_str(), |(_, host)| host).to_owned();
    let host = host.split(';').next().unwrap_or(&host);
    Some(Account {
        address_of_record: format!("sip:{}@{host}", credentials.user),
        contact_user: credentials.user.clone(),
        login: login(credentials),
        expires: trunk.expires,
        registrar,
    })
}

/// What proves who we are.
#[must_use]
pub fn login(credentials: &config::Credentials) -> Login {
    let config::Credentials { user, auth_user, password } = credentials;
    Login { user: auth_user.as_ref().unwrap_or(user).clone(), password: password.reveal().to_owned() }
}

/// The ways of gateways that are written as addresses.
fn literal_ways(trunk: &config::Trunk, config: &Config, listeners: &Listeners) -> Vec<Way> {
    let ways = trunk.gateways.iter().filter_map(|gateway| {
        let peer = gateway.literal()?;
        Some(Way { gateway: gateway.uri.clone(), peer, advertised: advertised(trunk, config, listeners, &peer) })
    });
    ways.collect()
}

/// The address that a carrier reaches us at by this way: its trunk's, or the listener's.
fn advertised(trunk: &config::Trunk, config: &Config, listeners: &Listeners, peer: &Peer) -> SocketAddr {
    let own = listeners.advertised_to(peer);
    let address = trunk.advertised.or(config.sip.advertised).filter(|address| address.is_ipv4() == own.is_ipv4());
    SocketAddr::new(address.unwrap_or(own.ip()), own.port())
}
