//! Finding out whether a carrier can be reached, beside a running engine or without one: each step of `contesta trunk test`, with what it took.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Runtime;

use crate::config::Gateway;
use crate::edge::clock;
use crate::edge::poll::Poll;
use crate::edge::resolver::Resolver;
use crate::edge::streams::Arrival;
use crate::edge::wire::{Wire, WireTo};
use crate::ids::Ids;
use crate::sip::dialog::LocalTag;
use crate::sip::digest::Answers;
use crate::sip::digest::answer::Hopeless;
use crate::sip::header::contact_list::Contacts;
use crate::sip::header::via::Via;
use crate::sip::header::{Name, address::Address};
use crate::sip::locate::{Abilities, Cache, Located, locate};
use crate::sip::message::Message;
use crate::sip::trunk::{Account, Way, options};
use crate::sip::user_agent::{Outside, Settings};
use crate::sip::{Action, Event, Method, Peer, UserAgent};

/// Where a gateway is.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where requests go, in their order.
    pub peers: Vec<Peer>,
    /// What the DNS could not tell.
    pub faults: Vec<String>,
    /// How long it took to look.
    pub took: Duration,
}

/// What came back from a request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The response, if one came.
    pub message: Option<Message>,
    /// Its status; 408 for silence, 503 when the request could not be sent.
    pub status: u16,
    /// Why it could not be sent.
    pub fault: Option<String>,
    /// How long it took.
    pub took: Duration,
}

/// What a registrar says of an account.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its last answer.
    pub reply: Reply,
    /// Why trying on would help nobody.
    pub hopeless: Option<Hopeless>,
    /// Where the account is registered now.
    pub contacts: Vec<String>,
}

/// How long an answer is waited for: four copies went out over UDP until then.
pub const PATIENCE: Duration = Duration::from_secs(4);

/// Challenges that are answered: one of a proxy, one of the registrar, and one for a nonce that grew old.
const CHALLENGES_MAX: usize = 3;

/// Looks a gateway up, as the engine does.
#[must_use]
pub fn find(gateway: &Gateway, able: Abilities, resolver: &Resolver, runtime: &Runtime, ids: &mut Ids) -> Found {
    let began = clock::now().instant;
    let mut cache = Cache::default();
    loop {
        // Answers hold for longer than the questions take.
        match locate(&gateway.server(), able, began, &cache, ids) {
            Located::Known { peers, faults, .. } => {
                return Found { peers, faults, took: clock::now().instant.saturating_duration_since(began) };
            }
            Located::Missing(questions) => {
                for question in questions {
                    let answer = runtime.block_on(resolver.ask(&question));
                    cache.insert(began, question, answer);
                }
            }
        }
    }
}

/// One far end, and a user agent to ask it with.
pub struct Line {
    wire: Wire,
    agent: UserAgent,
    way: Way,
    ids: Ids,
}

impl Line {
    /// Nothing is sent or connected yet.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn open(gateway: &str, to: &WireTo, mut ids: Ids) -> io::Result<Self> {
        let (wire, listeners) = Wire::open(to)?;
        let advertised = listeners.advertised_to(&to.destination);
        let way = Way { gateway: gateway.to_owned(), peer: to.destination, advertised };
        let agent = UserAgent::new(Settings::at(listeners), ids.fork());
        Ok(Self { wire, agent, way, ids })
    }

    /// OPTIONS.
    pub fn probe(&mut self) -> Reply {
        let request = options(&self.way, LocalTag(self.ids.next_u64()), self.ids.token(24), 1);
        self.ask(&request)
    }

    /// Asks the registrar where the account is registered (RFC 3261 §10.2.3): that proves the password and changes nothing, so
    /// an engine that is registered stays so.
    pub fn ask_registrar(&mut self, account: &Account) -> Asked {
        let mut answers = Answers::new(account.login.clone());
        let mut request = Outside {
            method: Method::Register,
            target: account.registrar.clone(),
            destination: self.way.peer,
            from: account.address_of_record.clone(),
            tag: LocalTag(self.ids.next_u64()),
            to: account.address_of_record.clone(),
            call_id: self.ids.token(24),
            cseq: 0,
            headers: Vec::new(),
        };
        let mut challenges = 0;
        loop {
            request.cseq += 1;
            let reply = self.ask(&request);
            let challenge = reply.message.as_ref().filter(|_| matches!(reply.status, 401 | 407));
            let (Some(challenge), true) = (challenge, challenges < CHALLENGES_MAX) else {
                let contacts = reply.message.as_ref().map(contacts).unwrap_or_default();
                return Asked { reply, hopeless: None, contacts };
            };
            if let Err(hopeless) = answers.challenged(challenge, !request.headers.is_empty()) {
                return Asked { reply, hopeless: Some(hopeless), contacts: Vec::new() };
            }
            challenges += 1;
            let answer = answers.answer(b"REGISTER", account.registrar.as_bytes(), &self.ids.token(16));
            request.headers = answer.map(|(name, value)| (name.text(), value)).into_iter().collect();
        }
    }

    fn ask(&mut self, request: &Outside) -> Reply {
        let began = clock::now().instant;
        let took = |now: Instant| now.saturating_duration_since(began);
        let mut actions = Vec::new();
        let id = self.agent.request(began, request, &mut actions);
        let mut poll = Poll::new([self.wire.descriptor()]);
        let mut fault = None;
        let mut ended: Option<(u16, Option<Bytes>)> = None;
        loop {
            let mut returned: Vec<Arrival> = Vec::new();
            for action in actions.drain(..) {
                match action {
                    Action::Send { destination, message } => returned.extend(self.wire.send(destination, message)),
                    Action::Event(Event::Responded { request, status, message }) if request == id => {
                        ended = Some((status, message));
                    }
                    Action::Event(_) => {}
                }
            }
            let now = clock::now().instant;
            if let Some((status, message)) = ended {
                return Reply { message: message.and_then(Message::scan), status, fault, took: took(now) };
            }
            if took(now) >= PATIENCE {
                return Reply { message: None, status: 408, fault, took: took(now) };
            }
            if returned.is_empty() {
                let wake = self.agent.poll_timeout().map(|(at, _)| at).into_iter().chain([began + PATIENCE]).min();
                poll.wait(wake);
                returned = self.wire.receive();
            }
            let now = clock::now().instant;
            for arrival in returned {
                match arrival {
                    Arrival::Message { source, bytes } => {
                        self.agent.handle_message(now, source, bytes, &mut actions);
                    }
                    Arrival::Undelivered(parcel, why) => {
                        fault = Some(why.to_string());
                        self.agent.handle_undelivered(now, parcel.bytes, &mut actions);
                    }
                    Arrival::Closed(_) => {}
                }
            }
            self.agent.handle_timeout(now, &mut actions);
        }
    }
}

impl Reply {
    /// Where the far end saw the request come from, when it says so and the address is not the one we sent from.
    #[must_use]
    pub fn seen_as(&self) -> Option<String> {
        let via = Via::parse(self.message.as_ref()?.value(Name::Via)?).ok()?;
        let received = std::str::from_utf8(via.parameters.value("received")?).ok()?.trim_matches(['[', ']']);
        let received: std::net::IpAddr = received.parse().ok()?;
        (Some(received) != via.host.address()).then(|| received.to_string())
    }
}

/// The contacts of a 200 to REGISTER, as they may stand on a terminal.
fn contacts(message: &Message) -> Vec<String> {
    let Ok(Contacts::These(contacts)) = Contacts::read(message) else { return Vec::new() };
    let text =
        |address: &Address<'_>| String::from_utf8_lossy(address.uri_text).chars().filter(|c| !c.is_control()).collect();
    contacts.iter().map(|contact| text(&contact.address)).collect()
}
