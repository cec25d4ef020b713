//! The engine as a whole in simulated time: a real exchange, real legs, real services over a real store, and telephones that
//! reach them through a network which may lose, delay, repeat and reorder. No thread, no socket, no sleep: time moves in
//! [`Sim::advance`] alone.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod carrier;
pub mod desk;
pub mod phone;
pub mod registrant;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use contesta::audio::Clip;
use contesta::call::{self, CallRecord, Tenant};
use contesta::case::{Case, Folio};
use contesta::config::Config;
use contesta::exchange::{Exchange, Input, Limits, Output, Snapshot, Why, accounts};
use contesta::fault::SourceFile;
use contesta::flow::action::Verification;
use contesta::flow::{self, Answer, Request, RequestId};
use contesta::ids::{Ids, LegId};
use contesta::media::{self, Leg, MAX_PACKET, Switchboard};
use contesta::now::Now;
use contesta::operator::{self, Operator};
use contesta::service::secret::{KEY_BYTES, SecretKey};
use contesta::service::{Services, import};
use contesta::sip::digest::{Algorithm, Ha1};
use contesta::sip::locate;
use contesta::sip::registrar::{Account, Accounts, Offers, Registrar};
use contesta::sip::user_agent::Settings;
use contesta::sip::{self, Peer, UserAgent};
use contesta::store::{CallFilter, CaseFilter, RegistrationChange, Store, StoredOrder, StoredRegistration};
use tokio::runtime::Runtime;

use crate::shipped;
pub use carrier::Carrier;
pub use desk::Desk;
pub use phone::Phone;
pub use registrant::Registrant;

/// Where the engine's SIP lives.
pub const US: &str = "192.0.2.10:5060";

/// 64·T1: after this long no SIP transaction is left.
pub const ALL_TIMERS: Duration = Duration::from_secs(33);

/// One packet's time.
const FRAME: Duration = Duration::from_millis(20);

/// A packet of 20 ms of G.711.
const AUDIO_PACKET: usize = 12 + 160;

/// What opens the frames of the synthesised clips: no sound of silence, in neither law.
const MARK: u8 = 0x01;

/// How the network treats datagrams, each way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Of a hundred datagrams, so many are lost.
    pub loss: u64,
    /// Of a hundred datagrams, so many come twice.
    pub repeats: u64,
    /// What each needs at least.
    pub delay: Duration,
    /// What it may need beyond that: more than 20 ms puts packets out of order.
    pub jitter: Duration,
}

/// How a simulation begins.
pub struct Setup {
    pub seed: u64,
    /// Local time of central Mexico.
    pub at: &'static str,
    pub config: Config,
    /// `None`: as in the configuration.
    pub calls: Option<usize>,
    /// Agents of beneleit, and their passwords.
    pub agents: Vec<(String, String)>,
    /// Agents' telephones that are registered from the beginning: user and address. With them, beneleit has agents of these names and
    /// [`TRANSFERS`].
    pub desks: Vec<(&'static str, &'static str)>,
    /// Every call is recorded.
    pub records: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            seed: 1,
            at: "2026-03-10T11:00:00",
            config: Config::default(),
            calls: None,
            agents: Vec::new(),
            desks: Vec::new(),
            records: false,
        }
    }
}

/// Where a leg's media is.
enum Media {
    Bound(SocketAddr),
    Open(SocketAddr, Box<Leg>),
}

/// What will happen at its moment.
enum Happening {
    SipToEngine(SocketAddr, Bytes),
    SipToPhone(SocketAddr, Bytes),
    RtpToEngine {
        from: SocketAddr,
        to: SocketAddr,
        packet: Box<[u8]>,
    },
    RtpToPhone {
        from: SocketAddr,
        to: SocketAddr,
        packet: Box<[u8]>,
    },
    Input(Input),
    /// A telephone of an agent's answers, or refuses.
    Desk {
        desk: usize,
        leg: LegId,
        status: u16,
    },
    /// A softphone's timer.
    Registrant {
        number: usize,
        turn: u64,
        wake: registrant::Wake,
    },
    /// A telephone sends a request again unless it was answered.
    Again {
        phone: usize,
        request: phone::Pending,
    },
}

/// The engine, its outside and its callers.
pub struct Sim {
    pub exchange: Exchange,
    pub phones: Vec<Phone>,
    pub registrants: Vec<Registrant>,
    pub carriers: Vec<Carrier>,
    pub telephones: Vec<Desk>,
    desk_audio: BTreeMap<SocketAddr, (usize, LegId)>,
    switchboard: Switchboard,
    /// What the DNS answers; everything else does not exist.
    pub zone: Vec<(locate::Question, locate::Answer)>,
    /// What it was asked.
    pub looked_up: Vec<String>,
    /// How long an answer takes, and how many of the next ones are lost on their way to the engine.
    pub dns_takes: Duration,
    pub dns_loses: u32,
    /// Every record the engine has asked to store, in order.
    pub records: Vec<CallRecord>,
    /// Sockets that were asked for: the far end's address for one that may be shared.
    pub opened: Vec<Option<SocketAddr>>,
    pub sip_weather: Weather,
    pub rtp_weather: Weather,
    /// How long a socket for media takes, and whether there is one.
    pub sockets: Result<Duration, String>,
    /// Services that answer only after this long.
    pub slow: Vec<(&'static str, Duration)>,
    /// Reports of media workers that never come.
    pub lost: fn(&media::Event) -> bool,
    /// What was asked of the outside, by name.
    pub asked: Vec<String>,
    pub dice: Ids,
    start: Now,
    now: Now,
    next_frame: Instant,
    media: BTreeMap<LegId, Media>,
    /// The recordings under way: their files are the edge's.
    recordings: BTreeMap<LegId, media::RecordingReport>,
    ports: BTreeMap<SocketAddr, LegId>,
    next_port: u16,
    homes: BTreeMap<SocketAddr, usize>,
    desks: BTreeMap<SocketAddr, usize>,
    future: BTreeMap<(Instant, u64), Happening>,
    next_happening: u64,
    services: Services,
    store: Store,
    runtime: Runtime,
    _folder: tempfile::TempDir,
}

/// The shipped operators and flows with clips that tell which prompt they are.
static SHIPPED: LazyLock<Vec<Arc<Tenant>>> = LazyLock::new(|| tenants(false));

/// The same with agents, and with flows that lead to them.
static STAFFED: LazyLock<Vec<Arc<Tenant>>> = LazyLock::new(|| tenants(true));

/// Leads to ana: behind a greeting (`*77`), at once and before the call is answered (`*78`), to ana, then luis (`*79`), to a number outside
/// by the trunk `carrier` (`*76`), and to one that it does not call (`*75`).
pub const TRANSFERS: &str = include_str!("transfers.toml");

fn tenants(staffed: bool) -> Vec<Arc<Tenant>> {
    let mut folders: Vec<_> = shipped::OPERATORS.iter().map(|id| shipped::files(id)).collect();
    if staffed {
        let files = &mut folders[0];
        let numbers = files.iter_mut().find(|file| file.path.ends_with("operator.toml")).unwrap();
        for (number, flow) in [("*77", "saludo"), ("*78", "directo"), ("*79", "dos"), ("*76", "fuera"), ("*75", "caro")]
        {
            numbers.text.push_str(&format!("\n[[numbers]]\nnumber = \"{number}\"\nflow = \"beneleit.{flow}\"\n"));
        }
        let flows = TRANSFERS.split("# ---\n").zip(["saludo", "directo", "dos", "fuera", "caro"]);
        files.extend(flows.map(|(text, name)| SourceFile { path: format!("{name}.toml"), text: text.to_owned() }));
        let agents = ["ana", "luis", "eva"]
            .map(|user| format!("[agents.{user}]\nname = '{user}'\npassword = 'corcel-7-nube'\n"));
        let declared = files.iter_mut().find(|file| file.path.ends_with("agents.toml")).unwrap();
        declared.text = format!("schema = 1\n{}", agents.concat());
    }
    let (operators, _) = operator::load_all(&folders).unwrap();
    let tenants = operators.into_iter().zip(&folders).zip(0..).map(|((operator, files), index)| {
        let flows = Arc::new(flow::load(&operator, files).unwrap());
        let clips = operator.prompts.ids().map(|id| clip(index, id.0, operator.prompts.key(id))).collect();
        Arc::new(Tenant { operator: Arc::new(operator), flows, clips })
    });
    tenants.collect()
}

/// A clip of 60 ms for each character of its key, so that other words change no scenario; each frame says whose it is.
fn clip(operator: u8, prompt: u32, key: &str) -> Arc<Clip> {
    let frames = u16::try_from(key.chars().count() * 3).unwrap();
    let mut bytes = Vec::new();
    for frame in 0..frames {
        let mut payload = [0x2a; media::FRAME_SAMPLES];
        payload[0] = MARK;
        payload[1] = operator;
        payload[2..6].copy_from_slice(&prompt.to_be_bytes());
        payload[6..8].copy_from_slice(&frame.to_be_bytes());
        bytes.extend_from_slice(&payload);
    }
    Arc::new(Clip::from_g711(bytes.clone().into(), bytes.into()))
}

/// The prompt and the frame of it that this payload is; `None` for silence.
fn prompt_in(payload: &[u8]) -> Option<(&'static str, u16)> {
    let [MARK, operator, prompt @ .., _, _] = payload.get(..8)? else { return None };
    let prompts = &SHIPPED.get(usize::from(*operator))?.operator.prompts;
    let prompt = u32::from_be_bytes(prompt.try_into().ok()?);
    Some((prompts.key(operator::PromptId(prompt)), u16::from_be_bytes([payload[6], payload[7]])))
}

impl Sim {
    pub fn new() -> Self {
        Self::with(Setup::default())
    }

    pub fn with(setup: Setup) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let staffed = !setup.desks.is_empty();
        let mut tenants = if staffed { STAFFED.clone() } else { SHIPPED.clone() };
        if setup.records {
            let recorded = |tenant: &Arc<Tenant>| {
                let operator = Operator { recording: operator::Recording::All, ..tenant.operator.as_ref().clone() };
                let (flows, clips) = (tenant.flows.clone(), tenant.clips.clone());
                Arc::new(Tenant { operator: Arc::new(operator), flows, clips })
            };
            tenants = tenants.iter().map(recorded).collect();
        }
        let operators: Vec<Arc<Operator>> = tenants.iter().map(|tenant| tenant.operator.clone()).collect();
        let read = |path: &str| std::fs::read(std::path::Path::new("flows").join(path)).ok();
        let key = SecretKey::new([7; KEY_BYTES]);
        let store = runtime.block_on(async {
            let store = Store::open(&Store::default_url(folder.path()), folder.path()).await.unwrap();
            import::import_all_if_empty(&store, &key, &operators, &read).await.unwrap();
            store
        });
        let owned: Vec<Operator> = operators.iter().map(|operator| operator.as_ref().clone()).collect();
        let routes = operator::Routes::new(&owned).unwrap();
        let calls = setup.calls.unwrap_or(setup.config.limits.calls as usize);
        let call = call::Limits {
            silent_after: Some(setup.config.rtp.silence),
            max_call: setup.config.limits.max_call,
            max_hold: setup.config.limits.max_hold,
        };
        let start = Now { instant: Instant::now(), wall: format!("{}-06:00", setup.at).parse().unwrap() };
        let registrar = registrar(start.instant, &setup);
        let mut settings = Settings::new(US.parse().unwrap());
        settings.transfers = true;
        settings.session.expires = setup.config.sip.session.map(|session| u32::try_from(session.as_secs()).unwrap());
        let user_agent = UserAgent::new(settings, Ids::from_seed(setup.seed));
        let user_agent = user_agent.with_registrar(registrar);
        let snapshot = Snapshot::new(tenants, routes, Arc::new(setup.config));
        Self {
            exchange: Exchange::new(
                user_agent,
                Arc::new(snapshot),
                Limits { calls, call },
                Ids::from_seed(setup.seed + 1),
            ),
            phones: Vec::new(),
            registrants: Vec::new(),
            carriers: Vec::new(),
            telephones: Vec::new(),
            desk_audio: BTreeMap::new(),
            switchboard: Switchboard::new(),
            zone: Vec::new(),
            looked_up: Vec::new(),
            dns_takes: Duration::from_millis(20),
            dns_loses: 0,
            desks: BTreeMap::new(),
            records: Vec::new(),
            opened: Vec::new(),
            sip_weather: Weather::default(),
            rtp_weather: Weather::default(),
            sockets: Ok(Duration::ZERO),
            slow: Vec::new(),
            lost: |_| false,
            asked: Vec::new(),
            dice: Ids::from_seed(setup.seed + 2),
            start,
            now: start,
            next_frame: start.instant,
            media: BTreeMap::new(),
            recordings: BTreeMap::new(),
            ports: BTreeMap::new(),
            next_port: 10_000,
            homes: BTreeMap::new(),
            future: BTreeMap::new(),
            next_happening: 0,
            services: Services::new(store.clone(), operators, key),
            store,
            runtime,
            _folder: folder,
        }
    }

    /// Milliseconds since the simulation began.
    pub fn ms(&self) -> u64 {
        u64::try_from((self.now.instant - self.start.instant).as_millis()).unwrap()
    }

    /// The moment it is.
    pub fn moment(&self) -> Instant {
        self.now.instant
    }

    /// Lets time pass; everything due happens at its moment.
    pub fn advance(&mut self, duration: Duration) {
        let end = self.now.instant + duration;
        while let Some(at) = self.next_moment().filter(|at| *at <= end) {
            self.now = self.start.after(at.max(self.now.instant) - self.start.instant);
            while let Some(entry) = self.future.first_entry().filter(|entry| entry.key().0 <= at) {
                let happening = entry.remove();
                self.happen(happening);
            }
            self.carriers_wake();
            self.desks_wake();
            if self.exchange.poll_timeout().is_some_and(|(due, _)| due <= self.now.instant) {
                let mut outputs = Vec::new();
                self.exchange.handle_timeout(self.now, &mut outputs);
                self.carry_out(outputs);
                let left = self.exchange.poll_timeout();
                assert!(left.is_none_or(|(due, _)| due > self.now.instant), "a timer that does not go: {left:?}");
            }
            if self.is_media_open() && self.next_frame <= self.now.instant {
                self.frame();
                self.next_frame = self.now.instant + FRAME;
            }
        }
        self.now = self.start.after(end - self.start.instant);
    }

    /// Lets time pass until `is_so`; fails after `at_most`.
    pub fn until(&mut self, what: &str, at_most: Duration, is_so: impl Fn(&Self) -> bool) {
        let end = self.now.instant + at_most;
        while !is_so(self) {
            assert!(self.now.instant < end, "{what}: not within {at_most:?}; {}", self.picture());
            self.advance(FRAME);
        }
    }

    /// Tells the engine something.
    pub fn tell(&mut self, input: Input) {
        if let Input::Media(_, event) = &input
            && (self.lost)(event)
        {
            return;
        }
        let mut outputs = Vec::new();
        self.exchange.handle(self.now, input, &mut outputs);
        self.carry_out(outputs);
    }

    /// Nothing runs any more: no call, no leg, no socket, no timer, no telephone with an open line.
    pub fn assert_idle(&mut self) {
        self.advance(ALL_TIMERS);
        assert_eq!(self.exchange.calls(), 0, "calls are left: {}", self.picture());
        assert_eq!(self.media.len(), 0, "legs or sockets are left");
        let left = self.exchange.poll_timeout();
        // Telephones that are registered from the beginning stay so.
        let left = left.filter(|(_, why)| self.telephones.is_empty() || *why != Why::Sip(sip::Why::Registration));
        assert_eq!(left, None, "timers are left");
        assert!(self.phones.iter().all(|phone| phone.talk.is_none()), "a telephone was never hung up");
    }

    /// The only record, which the store holds too.
    pub fn record(&self) -> &CallRecord {
        let [record] = &self.records[..] else { panic!("{} records: {:#?}", self.records.len(), self.records) };
        assert_eq!(self.stored_calls(), self.records);
        record
    }

    /// All records of the store, the oldest first.
    pub fn stored_calls(&self) -> Vec<CallRecord> {
        let filter = CallFilter { limit: 10_000, ..CallFilter::default() };
        let mut calls = self.runtime.block_on(self.store.calls(&filter)).unwrap();
        calls.reverse();
        calls
    }

    /// Every case of an operator, the newest first.
    pub fn cases(&self, operator: &str) -> Vec<Case> {
        let filter = CaseFilter { operator: Some(operator.to_owned()), limit: 10_000, ..CaseFilter::default() };
        self.runtime.block_on(self.store.cases(&filter)).unwrap()
    }

    /// The contacts that the store has of each user.
    pub fn stored_registrations(&self) -> Vec<(String, String)> {
        let stored = self.runtime.block_on(self.store.registrations(self.now.wall));
        let pair = |stored: StoredRegistration| (stored.registration.user, stored.registration.contact);
        stored.unwrap().into_iter().map(pair).collect()
    }

    /// The orders of a folio.
    pub fn orders(&self, folio: &Folio) -> Vec<StoredOrder> {
        self.runtime.block_on(self.store.orders(folio)).unwrap()
    }

    /// What each telephone saw, for a message of failure.
    pub fn picture(&self) -> String {
        let phones = self.phones.iter().take(3);
        phones.map(|phone| format!("\n{}: {}\nheard {:?}", phone.name, phone.ladder(), phone.heard)).collect()
    }

    fn is_media_open(&self) -> bool {
        self.media.values().any(|media| matches!(media, Media::Open(..)))
            || self.phones.iter().any(|phone| phone.talk.is_some())
            || self.telephones.iter().any(|desk| desk.lines.values().any(|line| line.talk.is_some()))
    }

    fn next_moment(&self) -> Option<Instant> {
        let frame = self.is_media_open().then_some(self.next_frame);
        let timer = self.exchange.poll_timeout().map(|(at, _)| at);
        let future = self.future.first_key_value().map(|((at, _), _)| *at);
        let carriers = self.carriers.iter().filter_map(|carrier| carrier.agent.poll_timeout()).map(|(at, _)| at).min();
        let desks = self.telephones.iter().filter_map(|desk| desk.agent.poll_timeout()).map(|(at, _)| at).min();
        [frame, timer, future, carriers, desks].into_iter().flatten().min()
    }

    fn later(&mut self, after: Duration, happening: Happening) {
        self.next_happening += 1;
        self.future.insert((self.now.instant + after, self.next_happening), happening);
    }

    /// When a datagram sent now arrives: never, once or twice.
    fn fates(&mut self, weather: Weather) -> impl Iterator<Item = Duration> + use<> {
        let fate = |dice: &mut Ids| {
            // Whole milliseconds, as the store keeps them.
            let jitter = u64::try_from(weather.jitter.as_millis()).unwrap();
            (dice.below(100) >= weather.loss)
                .then(|| weather.delay + Duration::from_millis(if jitter == 0 { 0 } else { dice.below(jitter) }))
        };
        let first = fate(&mut self.dice);
        let second = if self.dice.below(100) < weather.repeats { fate(&mut self.dice) } else { None };
        first.into_iter().chain(second)
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::SipToEngine(source, bytes) => self.tell(Input::Message { source: Peer::udp(source), bytes }),
            Happening::SipToPhone(to, bytes) => {
                if let Some(&phone) = self.homes.get(&to) {
                    self.phone_receives(phone, &bytes);
                }
                self.carrier_receives(to, &bytes);
                self.desk_receives(to, &bytes);
                if let Some(&number) = self.desks.get(&to) {
                    self.registrant_receives(number, &bytes);
                }
            }
            Happening::RtpToEngine { from, to, mut packet } => {
                let Some(&id) = self.ports.get(&to) else { return };
                let Some(Media::Open(_, leg)) = self.media.get_mut(&id) else { return };
                let mut events = Vec::new();
                leg.handle_packet(self.now.instant, from, &mut packet, &mut events);
                self.report(id, events);
            }
            Happening::RtpToPhone { from, to, packet } => {
                self.desk_hears(to, from, &packet);
                let Some(&phone) = self.homes.get(&to) else { return };
                let (now, ms) = (self.now.instant, self.ms());
                self.phones[phone].hear(now, ms, from, to, &packet);
            }
            Happening::Input(input) => self.tell(input),
            Happening::Desk { desk, leg, status } => self.desk_decides(desk, leg, status),
            Happening::Registrant { number, turn, wake } => self.registrant_wakes(number, turn, wake),
            Happening::Again { phone, request } => self.again(phone, request),
        }
    }

    /// Every open leg, ours and theirs, sends its packet of the next 20 ms.
    fn frame(&mut self) {
        let now = self.now.instant;
        let open = self.media.iter().filter(|(_, media)| matches!(media, Media::Open(..)));
        for id in open.map(|(id, _)| *id).collect::<Vec<_>>() {
            let Some(Media::Open(local, leg)) = self.media.get_mut(&id) else { continue };
            let (mut packet, mut events, from) = ([0; MAX_PACKET], Vec::new(), *local);
            if leg.is_bridged() {
                self.switchboard.give(id, leg);
            }
            let length = leg.tick(now, &mut packet, &mut events);
            if leg.is_bridged() {
                self.switchboard.take(id, leg);
            }
            if let Some(length) = length {
                let to = leg.destination();
                for after in self.fates(self.rtp_weather) {
                    self.later(after, Happening::RtpToPhone { from, to, packet: packet[..length].into() });
                }
            }
            self.report(id, events);
        }
        self.desks_speak();
        for phone in 0..self.phones.len() {
            let from = self.phones[phone].rtp;
            let Some(talk) = &mut self.phones[phone].talk else { continue };
            let mut packet = [0; MAX_PACKET];
            let length = talk.leg.tick(now, &mut packet, &mut Vec::new());
            let to = talk.leg.destination();
            if let Some(sounds) = self.phones[phone].sounds
                && length == Some(AUDIO_PACKET)
            {
                packet[AUDIO_PACKET - sounds.len()..AUDIO_PACKET].copy_from_slice(&sounds);
            }
            if let Some(length) = length.filter(|_| self.phones[phone].speaks) {
                self.send_rtp(from, to, &packet[..length]);
            }
        }
    }

    /// A packet from a telephone, through the network.
    pub fn send_rtp(&mut self, from: SocketAddr, to: SocketAddr, packet: &[u8]) {
        for after in self.fates(self.rtp_weather) {
            self.later(after, Happening::RtpToEngine { from, to, packet: packet.into() });
        }
    }

    fn report(&mut self, leg: LegId, events: Vec<media::Event>) {
        for event in events {
            self.tell(Input::Media(leg, event));
        }
    }

    /// What the edge does: sockets at once, media and services in their time.
    fn carry_out(&mut self, outputs: Vec<Output>) {
        let mut outputs = std::collections::VecDeque::from(outputs);
        while let Some(output) = outputs.pop_front() {
            match output {
                Output::Send { destination, bytes } => {
                    for after in self.fates(self.sip_weather) {
                        self.later(after, Happening::SipToPhone(destination.address, bytes.clone()));
                    }
                }
                Output::LookUp(question) => {
                    let known =
                        self.zone.iter().find(|(known, _)| *known == question).map(|(_, answer)| answer.clone());
                    let answer = known.unwrap_or(locate::Answer::Nothing { ttl: Duration::from_secs(60) });
                    self.looked_up.push(question.to_string());
                    match self.dns_loses.checked_sub(1) {
                        Some(left) => self.dns_loses = left,
                        None => self.later(self.dns_takes, Happening::Input(Input::LookedUp { question, answer })),
                    }
                }
                Output::Named { .. } => {}
                Output::OpenMedia { leg, peer: _, shared } => {
                    self.opened.push(shared);
                    let local = self.bind(leg);
                    let opened = Input::MediaOpened { leg, local };
                    match self.sockets {
                        Ok(after) if after > Duration::ZERO => self.later(after, Happening::Input(opened)),
                        Ok(_) | Err(_) => {
                            let mut next = Vec::new();
                            self.exchange.handle(self.now, opened, &mut next);
                            outputs.extend(next);
                        }
                    }
                }
                Output::StartMedia { leg, settings, beside: _ } => {
                    let Some(Media::Bound(local)) = self.media.remove(&leg) else { panic!("{leg:?} has no socket") };
                    self.media.insert(leg, Media::Open(local, Box::new(Leg::new(settings, self.now.instant))));
                    self.next_frame = self.next_frame.max(self.now.instant);
                }
                Output::Retarget(leg, settings) => {
                    let now = self.now.instant;
                    self.open_leg(leg).retarget(settings, now);
                    let (codec, mut events) = (self.open_leg(leg).codec(), Vec::new());
                    self.switchboard.changed(leg, Some(codec), &mut events);
                    self.report_all(events);
                }
                Output::Switch(leg, switch) => {
                    let mut events = Vec::new();
                    let Some(Media::Open(_, open)) = self.media.get_mut(&leg) else { panic!("{leg:?} is not open") };
                    self.switchboard.switch(leg, open, switch, &mut events);
                    self.report_all(events);
                }
                Output::Press(leg, digit, length) => assert!(self.open_leg(leg).press(digit, length)),
                Output::Play(leg, play, segments) => {
                    let mut events = Vec::new();
                    self.open_leg(leg).play(play, segments, &mut events);
                    for event in events {
                        self.later(Duration::ZERO, Happening::Input(Input::Media(leg, event)));
                    }
                }
                Output::StopPlaying(leg) => self.open_leg(leg).stop(),
                Output::StartRecording { leg, file, .. } => {
                    let report = media::RecordingReport { file, ..media::RecordingReport::default() };
                    self.recordings.insert(leg, report);
                }
                Output::ChangeRecording(_, _) => {}
                Output::CloseMedia(leg) => {
                    if let Some(report) = self.recordings.remove(&leg) {
                        self.later(Duration::from_millis(2), Happening::Input(Input::Recorded(leg, report)));
                    }
                    let mut events = Vec::new();
                    self.switchboard.changed(leg, None, &mut events);
                    self.report_all(events);
                    let closed = self.media.remove(&leg);
                    if let Some(Media::Bound(local) | Media::Open(local, _)) = &closed {
                        self.ports.remove(local);
                    }
                    if let Some(Media::Open(_, closed)) = closed {
                        let event = media::Event::Closed(closed.report());
                        self.later(Duration::from_millis(1), Happening::Input(Input::Media(leg, event)));
                    }
                }
                Output::Request { leg, id, request, timeout: _ } => self.request(leg, id, request),
                Output::Registered { registration, is_new, ends } => {
                    self.store_registration(RegistrationChange::Kept { registration, is_new, ends });
                }
                Output::Unregistered { operator, user, contact } => {
                    self.store_registration(RegistrationChange::Gone { operator, user, contact });
                }
                Output::Record(record) => {
                    self.runtime.block_on(self.store.save_call(&record)).unwrap();
                    self.records.push(*record);
                }
            }
        }
    }

    fn report_all(&mut self, events: Vec<(LegId, media::Event)>) {
        for (leg, event) in events {
            self.later(Duration::ZERO, Happening::Input(Input::Media(leg, event)));
        }
    }

    fn store_registration(&self, change: RegistrationChange) {
        self.runtime.block_on(self.store.change_registrations(&[change])).unwrap();
    }

    fn bind(&mut self, leg: LegId) -> Result<SocketAddr, String> {
        self.sockets.clone()?;
        let local = SocketAddr::new(US.parse::<SocketAddr>().unwrap().ip(), self.next_port);
        self.next_port += 2;
        self.ports.insert(local, leg);
        let place = match self.media.remove(&leg) {
            // A leg that moves to a socket of its own: its stream goes on.
            Some(Media::Open(_, leg)) => Media::Open(local, leg),
            Some(Media::Bound(_)) | None => Media::Bound(local),
        };
        self.media.insert(leg, place);
        Ok(local)
    }

    /// A command for a leg that was not opened, or was closed, is a fault of the engine.
    fn open_leg(&mut self, leg: LegId) -> &mut Leg {
        match self.media.get_mut(&leg) {
            Some(Media::Open(_, leg)) => leg,
            Some(Media::Bound(_)) | None => panic!("a command for {leg:?}, which is not open"),
        }
    }

    fn request(&mut self, leg: LegId, id: RequestId, request: Request) {
        let name = match &request {
            Request::Service { service, .. } | Request::Verify(Verification { service, .. }) => service.clone(),
            Request::OpenCase(open) => format!("open {}", open.kind),
            Request::UpdateCase(_) => "update".to_owned(),
            Request::FindCase { .. } => "find".to_owned(),
            Request::Notify(message) => format!("notify {}", message.channel),
        };
        let slow = self.slow.iter().find(|(service, _)| *service == name);
        let after = slow.map_or(Duration::from_millis(40), |(_, after)| *after);
        self.asked.push(name);
        let answer = self.runtime.block_on(self.services.carry_out(request));
        self.answer_later(after, leg, id, answer);
    }

    /// An answer that comes in its time.
    pub fn answer_later(&mut self, after: Duration, leg: LegId, id: RequestId, answer: Answer) {
        self.later(after, Happening::Input(Input::Answered { leg, id, answer }));
    }
}

/// The registrar of the agents, with what the configuration grants.
fn registrar(now: Instant, setup: &Setup) -> Registrar {
    let account = |(user, password): &(String, String)| {
        let secrets = Algorithm::ALL.map(|algorithm| Ha1::new(algorithm, user, "contesta", password)).to_vec();
        Account { user: user.clone(), operator: "beneleit".to_owned(), offers: Offers::Md5, secrets }
    };
    let staff = ["ana", "luis", "eva"].map(|user| (user.to_owned(), "corcel-7-nube".to_owned()));
    let staff = staff.iter().filter(|_| !setup.desks.is_empty());
    let accounts = Accounts::new("contesta", Offers::Md5, setup.agents.iter().chain(staff).map(account));
    let settings = accounts::settings(&setup.config.registrar);
    let mut registrar = Registrar::new(now, settings, Arc::new(accounts), &mut Ids::from_seed(setup.seed + 3));
    registrar.restore(now, setup.desks.iter().map(|(user, address)| desk::registration(user, address)));
    registrar
}

/// Where a telephone of this number lives.
fn home(number: usize) -> IpAddr {
    let [high, low] = u16::try_from(number + 1).unwrap().to_be_bytes();
    IpAddr::from([198, 18, high, low])
}
