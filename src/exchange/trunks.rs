//! The carriers that we keep up with: each trunk's machine, its requests in the user agent, and what is said of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
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
    /// Those under way, and when their answer is taken for lost.
    asking: BTreeMap<Question, Instant>,
    located: Vec<Hosts>,
    /// Kept between inputs.
    actions: Vec<Action>,
}

/// Where a trunk's gateways are, when they are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts {
    /// Which trunk.
    pub trunk: usize,
    /// The hosts that are the trunk's: those named now, and for [`REMEMBERED_FOR`] those named before.
    pub addresses: Vec<IpAddr>,
    /// Each gateway's addresses, with the name that its certificate shows.
    pub names: Vec<(SocketAddr, String)>,
}

/// A name that leads nowhere is looked up again this much later at the latest.
const NOWHERE_FOR: Duration = Duration::from_secs(60);

/// No search begins sooner behind another one, however short its answers hold.
const SEARCH_EVERY: Duration = Duration::from_secs(5);

/// How long the ways that are known wait at the beginning for those that are not: a name server that answers at all has done so by then.
const HOLD: Duration = Duration::from_secs(2);

/// A question without an answer for so long is asked again: its answer found the inbox full. The resolver gives up before.
const LOST_AFTER: Duration = Duration::from_secs(60);

/// So long a host is still the trunk's after it was named last: some carriers name some of their hosts at a time, each in its turn.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(3_600);

/// Most hosts of one trunk; those named longest ago are forgotten first.
pub const HOSTS_MAX: usize = 256;

/// One trunk.
struct Line {
    name: String,
    machine: Trunk,
    /// When the search for its gateways began. What was answered since holds until it ends, however shortly that lasts: otherwise a first
    /// answer is forgotten before the last one has come, and the search has no end.
    began: Instant,
    /// It waits for answers of the DNS.
    waits: bool,
    /// When its gateways are located again, or those that are known are not held back any longer.
    locate_at: Option<Instant>,
    /// Where each gateway was found last.
    found: Vec<Option<Vec<Peer>>>,
    /// Every host that was named, and when it was last.
    hosts: BTreeMap<IpAddr, Instant>,
    /// The hosts that the exchange knows of.
    told: Vec<IpAddr>,
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
            self.lines.push(Line {
                name: trunk.name.clone(),
                machine,
                began: now,
                waits: false,
                locate_at: None,
                found: vec![None; trunk.gateways.len()],
                hosts: BTreeMap::new(),
                told: Vec::new(),
                lost: false,
            });
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
        self.lines.iter().flat_map(times).flatten().chain(self.asking.values().copied()).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant, user_agent: &mut UserAgent, out: &mut Vec<sip::Action>) {
        for (question, lost_at) in self.asking.iter_mut().filter(|(_, lost_at)| **lost_at <= now) {
            *lost_at = now + LOST_AFTER;
            self.questions.push(question.clone());
        }
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
        if self.asking.remove(&question).is_none() {
            return;
        }
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
    pub fn take_located(&mut self) -> Vec<Hosts> {
        std::mem::take(&mut self.located)
    }

    /// Locates the gateways of a trunk, or asks what has to be known for that. Those that are known are used meanwhile, and where one leads
    /// nowhere because nobody answers, or all do, the last ways stay.
    fn locate(&mut self, now: Instant, index: usize, listeners: &Listeners) {
        let (Some(line), Some(ids)) = (self.lines.get_mut(index), &mut self.ids) else { return };
        let Some(trunk) = self.config.trunks.get(index) else { return };
        if !line.waits {
            line.began = now;
        }
        let (mut missing, mut until, mut faults) = (Vec::new(), None::<Instant>, Vec::new());
        for (gateway, found) in trunk.gateways.iter().zip(&mut line.found) {
            match locate(&gateway.server(), abilities(listeners), line.began, &self.cache, ids) {
                Located::Missing(questions) => missing.extend(questions),
                Located::Known { peers, until: holds, faults: why } => {
                    until = until.into_iter().chain(holds).min();
                    let stays = peers.is_empty() && !why.is_empty() && found.is_some();
                    faults.extend(why);
                    if !stays {
                        *found = Some(peers);
                    }
                }
            }
        }
        line.waits = !missing.is_empty();
        for question in missing {
            if !self.asking.contains_key(&question) {
                self.asking.insert(question.clone(), now + LOST_AFTER);
                self.questions.push(question);
            }
        }
        let held_until = line.began + HOLD;
        if line.waits && line.found.contains(&None) && now < held_until {
            line.locate_at = Some(held_until);
            return;
        }
        line.locate_at = until.filter(|_| !line.waits).map(|until| until.max(now + SEARCH_EVERY));
        let mut ways: Vec<Way> = Vec::new();
        let mut names = Vec::new();
        for (gateway, peer) in trunk
            .gateways
            .iter()
            .zip(&line.found)
            .flat_map(|(gateway, found)| found.iter().flatten().map(move |peer| (gateway, *peer)))
        {
            // Two names may lead to one host: that is one way.
            if ways.iter().any(|way| way.peer == peer) {
                continue;
            }
            if gateway.literal().is_none() {
                names.push((peer.address, gateway.host.clone()));
            }
            let advertised = advertised(trunk, &self.config, listeners, &peer);
            ways.push(Way { gateway: gateway.uri.clone(), peer, advertised });
        }
        if ways.is_empty() {
            if !line.waits && !trunk.gateways.is_empty() {
                line.locate_at = Some(line.locate_at.map_or(now + NOWHERE_FOR, |at| at.min(now + NOWHERE_FOR)));
                if !line.lost {
                    let why = if faults.is_empty() {
                        "the names do not exist, or have no address".to_owned()
                    } else {
                        faults.join("; ")
                    };
                    warn!(cause = %why, "trunk «{}»: its gateways lead nowhere", line.name);
                }
                line.lost = true;
            }
            return;
        }
        line.lost = false;
        line.hosts.extend(ways.iter().map(|way| (way.peer.address.ip().to_canonical(), now)));
        line.hosts.retain(|_, named| now.saturating_duration_since(*named) < REMEMBERED_FOR);
        while line.hosts.len() > HOSTS_MAX
            && let Some(oldest) = line.hosts.iter().min_by_key(|(_, named)| **named).map(|(host, _)| *host)
        {
            line.hosts.remove(&oldest);
        }
        let addresses: Vec<IpAddr> = line.hosts.keys().copied().collect();
        let changed = line.machine.set_ways(now, ways, ids);
        if (changed || addresses != line.told) && !names.is_empty() {
            line.told.clone_from(&addresses);
            self.located.push(Hosts { trunk: index, addresses, names });
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
        // Nobody is looked up any more.
        self.asking.clear();
        for line in &mut self.lines {
            (line.waits, line.locate_at) = (false, None);
        }
        for index in 0..self.lines.len() {
            self.tell(now, index, user_agent, out, |machine, ids, actions| machine.leave(now, ids, actions));
        }
    }

    /// Whether every registration of ours is taken back, or was never there.
    #[must_use]
    pub fn are_over(&self) -> bool {
        self.lines.iter().all(|line| line.machine.is_over() || line.machine.registration().is_none())
    }

    /// This machine's settings, as they are written.
    pub(super) fn config(&self) -> Arc<Config> {
        self.config.clone()
    }

    /// The ways of a trunk for one call: gateways in the order of the settings, the hosts of each as their weights draw it this time, and those
    /// that are known not to answer behind the others. A trunk that was never located has none.
    pub(super) fn hops(&mut self, now: Instant, index: usize, listeners: &Listeners) -> Vec<Way> {
        let (Some(line), Some(ids)) = (self.lines.get(index), &mut self.ids) else { return Vec::new() };
        let Some(trunk) = self.config.trunks.get(index) else { return Vec::new() };
        let mut peers: Vec<Peer> = Vec::new();
        for (gateway, found) in trunk.gateways.iter().zip(&line.found) {
            // What was answered since the search began, however long ago that was: the ways are those that it found.
            match locate(&gateway.server(), abilities(listeners), line.began.min(now), &self.cache, ids) {
                Located::Known { peers: drawn, .. } if !drawn.is_empty() => peers.extend(drawn),
                Located::Known { .. } | Located::Missing(_) => peers.extend(found.iter().flatten()),
            }
        }
        let place = |way: &Way| peers.iter().position(|peer| *peer == way.peer).unwrap_or(usize::MAX);
        let mut ways: Vec<(bool, usize, &Way)> =
            line.machine.ways().map(|(way, health)| (health.standing() == Standing::Down, place(way), way)).collect();
        ways.sort_by_key(|(down, place, _)| (*down, *place));
        ways.into_iter().map(|(_, _, way)| way.clone()).collect()
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
