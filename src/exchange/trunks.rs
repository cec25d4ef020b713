//! The carriers that we keep up with: each trunk's machine, its requests in the user agent, and what is said of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::{info, warn};

use crate::config::{self, Config};
use crate::ids::Ids;
use crate::sip::digest::Login;
use crate::sip::locate::{Abilities, Answer, Cache, Located, Question, locate};
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
    config: Arc<Config>,
    cache: Cache,
    /// Questions that wait to be asked, and those under way.
    questions: Vec<Question>,
    asking: BTreeSet<Question>,
    located: Vec<(usize, Vec<Named>)>,
    /// Kept between inputs.
    actions: Vec<Action>,
}

/// An address of a gateway, and the name that its certificate shows when it is written as one.
pub type Named = (SocketAddr, Option<String>);

/// A name that leads nowhere is looked up again this much later at the latest.
const NOWHERE_FOR: Duration = Duration::from_secs(60);

/// One trunk.
struct Line {
    name: String,
    machine: Trunk,
    /// It waits for answers of the DNS.
    waits: bool,
    /// When its gateways are located again.
    locate_at: Option<Instant>,
    /// It was said that its gateways lead nowhere.
    lost: bool,
}

impl Trunks {
    /// From now on trunks register and are probed.
    pub fn begin(
        &mut self,
        now: Instant,
        mut ids: Ids,
        config: Arc<Config>,
        user_agent: &mut UserAgent,
        out: &mut Vec<sip::Action>,
    ) {
        for trunk in &config.trunks {
            let account = account(trunk);
            let machine = Trunk::new(account, trunk.probe, now, &mut ids);
            self.lines.push(Line { name: trunk.name.clone(), machine, waits: false, locate_at: None, lost: false });
        }
        self.ids = Some(ids);
        self.config = config;
        for index in 0..self.lines.len() {
            self.locate(now, index, user_agent.listeners());
        }
        self.handle_timeout(now, user_agent, out);
    }

    /// When something is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let times = |line: &Line| [line.machine.poll_timeout(), line.locate_at];
        self.lines.iter().flat_map(times).flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant, user_agent: &mut UserAgent, out: &mut Vec<sip::Action>) {
        for index in 0..self.lines.len() {
            if self.lines.get(index).is_some_and(|line| line.locate_at.is_some_and(|at| at <= now)) {
                self.locate(now, index, user_agent.listeners());
            }
            self.tell(now, index, user_agent, out, |machine, ids, actions| machine.handle_timeout(now, ids, actions));
        }
    }

    /// What the DNS said.
    pub fn looked_up(
        &mut self,
        now: Instant,
        question: Question,
        answer: Answer,
        user_agent: &mut UserAgent,
        out: &mut Vec<sip::Action>,
    ) {
        self.asking.remove(&question);
        self.cache.insert(now, question, answer);
        for index in 0..self.lines.len() {
            if self.lines.get(index).is_some_and(|line| line.waits) {
                self.locate(now, index, user_agent.listeners());
            }
        }
        self.handle_timeout(now, user_agent, out);
    }

    /// Questions to the DNS since the last time.
    pub fn take_questions(&mut self) -> impl Iterator<Item = Question> + use<> {
        std::mem::take(&mut self.questions).into_iter()
    }

    /// Trunks whose gateways were found at other addresses since the last time.
    pub fn take_located(&mut self) -> Vec<(usize, Vec<Named>)> {
        std::mem::take(&mut self.located)
    }

    /// Locates the gateways of a trunk, or asks what has to be known for that. Where they lead nowhere any more, the last ways stay.
    fn locate(&mut self, now: Instant, index: usize, listeners: &Listeners) {
        let (Some(line), Some(ids)) = (self.lines.get_mut(index), &mut self.ids) else { return };
        let Some(trunk) = self.config.trunks.get(index) else { return };
        let able = abilities(listeners);
        let (mut ways, mut missing, mut until, mut faults) = (Vec::new(), Vec::new(), None::<Instant>, Vec::new());
        let mut named: Vec<Named> = Vec::new();
        for gateway in &trunk.gateways {
            match locate(&gateway.server(), able, now, &self.cache, ids) {
                Located::Missing(questions) => missing.extend(questions),
                Located::Known { peers, until: holds, faults: why } => {
                    until = until.into_iter().chain(holds).min();
                    faults.extend(why);
                    let is_name = gateway.literal().is_none();
                    named.extend(peers.iter().map(|peer| (peer.address, is_name.then(|| gateway.host.clone()))));
                    ways.extend(peers.into_iter().map(|peer| Way {
                        gateway: gateway.uri.clone(),
                        peer,
                        advertised: advertised(trunk, &self.config, listeners, &peer),
                    }));
                }
            }
        }
        line.waits = !missing.is_empty();
        if line.waits {
            line.locate_at = None;
            for question in missing {
                if self.asking.insert(question.clone()) {
                    self.questions.push(question);
                }
            }
            return;
        }
        line.locate_at = until;
        if ways.is_empty() && !trunk.gateways.is_empty() {
            line.locate_at = Some(until.map_or(now + NOWHERE_FOR, |until| until.min(now + NOWHERE_FOR)));
            if !line.lost {
                let why = if faults.is_empty() {
                    "the names do not exist, or have no address".to_owned()
                } else {
                    faults.join("; ")
                };
                warn!(cause = %why, "trunk «{}»: its gateways lead nowhere", line.name);
            }
            line.lost = true;
            return;
        }
        line.lost = false;
        if line.machine.set_ways(now, ways, ids) && trunk.gateways.iter().any(|gateway| gateway.literal().is_none()) {
            self.located.push((index, named));
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

/// The families of addresses that we can send from.
#[must_use]
pub fn abilities(listeners: &Listeners) -> Abilities {
    let family = |v4: bool| listeners.iter().any(|listener| listener.advertised.is_ipv4() == v4);
    Abilities { v4: family(true), v6: family(false) }
}

/// The address that a carrier reaches us at by this way: its trunk's, or the listener's.
fn advertised(trunk: &config::Trunk, config: &Config, listeners: &Listeners, peer: &Peer) -> SocketAddr {
    let own = listeners.advertised_to(peer);
    let address = trunk.advertised.or(config.sip.advertised).filter(|address| address.is_ipv4() == own.is_ipv4());
    SocketAddr::new(address.unwrap_or(own.ip()), own.port())
}
