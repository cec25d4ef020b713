//! Two user agents of ours, each the far end of the other, over a line that loses, repeats and reorders datagrams. Who owns a leg
//! answers at once, as a call does.
#![expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use contesta::ids::{Ids, LegId};
use contesta::sip::user_agent::Through;
use contesta::sip::{Action, EndCause, Event, Invite, Method, Peer, Settings, UserAgent};

use crate::peer::{ANSWER, OFFER, PEER, US, first_line};

/// What the line does to a datagram.
#[derive(Clone, Copy)]
pub struct Weather {
    /// Of a hundred.
    pub loss: u64,
    /// Of a hundred.
    pub repeats: u64,
    pub delay: Duration,
    /// As much more, evenly: datagrams overtake each other.
    pub jitter: Duration,
}

pub const CALM: Weather = Weather { loss: 0, repeats: 0, delay: Duration::from_millis(20), jitter: Duration::ZERO };

/// One in five is lost, one in ten comes twice, and any may overtake any other of 300 ms.
pub const STORM: Weather =
    Weather { loss: 20, repeats: 10, delay: Duration::from_millis(20), jitter: Duration::from_millis(300) };

/// What the owner of this end's legs does by itself.
#[derive(Clone, Copy)]
pub struct Owner {
    /// Answers an INVITE with 200.
    pub accepts: bool,
    /// Sends these to an INVITE before its answer: status, and whether with SDP.
    pub rings: &'static [(u16, bool)],
    /// Takes a REFER up, and reports that the other one rings and answers.
    pub takes_referrals: bool,
    /// Answers a re-INVITE or UPDATE.
    pub reaccepts: bool,
    /// Makes the offer that is wanted.
    pub offers: bool,
    /// Leaves its offers to the far end, and answers those.
    pub offerless: bool,
}

pub struct End {
    pub agent: UserAgent,
    pub address: &'static str,
    pub owner: Owner,
    pub leg: Option<LegId>,
    /// Milliseconds since the start, and what was told.
    pub events: Vec<(u128, Event)>,
    /// First lines of what it sent.
    pub sent: Vec<(u128, String)>,
    /// Whole.
    pub messages: Vec<Bytes>,
    /// Nothing of it arrives any more, and nothing at it.
    pub cut: bool,
}

/// The one who calls, and the one who is called.
pub const CALLER: usize = 0;
pub const CALLED: usize = 1;

pub struct Pair {
    pub ends: [End; 2],
    pub weather: Weather,
    /// Takes UPDATE out of every Allow on its way.
    pub hides_update: bool,
    /// How the caller's INVITE gets there, when not at once; nothing arrives at any address but those of the ends.
    pub through: Option<(Peer, Through)>,
    pub now: Instant,
    pub start: Instant,
    seed: u64,
    dice: Ids,
    under_way: BTreeMap<(Instant, u64), (usize, Bytes)>,
    next: u64,
}

impl Pair {
    pub fn new(seed: u64, weather: Weather, change: impl Fn(usize, &mut Settings)) -> Self {
        let start = Instant::now();
        let end = |number: usize, address: &'static str| {
            let mut settings = Settings::new(address.parse().unwrap());
            change(number, &mut settings);
            End {
                agent: UserAgent::new(settings, Ids::from_seed(seed * 2 + number as u64)),
                address,
                owner: Owner {
                    accepts: true,
                    rings: &[],
                    takes_referrals: false,
                    reaccepts: true,
                    offers: true,
                    offerless: false,
                },
                leg: None,
                events: Vec::new(),
                sent: Vec::new(),
                messages: Vec::new(),
                cut: false,
            }
        };
        Self {
            ends: [end(CALLER, PEER), end(CALLED, US)],
            weather,
            hides_update: false,
            through: None,
            now: start,
            start,
            seed,
            dice: Ids::from_seed(seed),
            under_way: BTreeMap::new(),
            next: 0,
        }
    }

    pub fn dial(&mut self) {
        let offer = self.offer(CALLER);
        let mut invite = Invite {
            target: format!("sip:*2363@{US}"),
            destination: Peer::udp(US.parse().unwrap()),
            from: format!("sip:alice@{PEER}"),
            offer,
        };
        let mut out = Vec::new();
        let agent = &mut self.ends[CALLER].agent;
        let leg = match &self.through {
            None => agent.invite(self.now, invite, &mut out),
            Some((first, through)) => {
                invite.destination = *first;
                let leg = agent.reserve_leg();
                agent.invite_through(self.now, leg, &invite, through, &mut out);
                leg
            }
        };
        self.ends[CALLER].leg = Some(leg);
        self.act(CALLER, out);
    }

    /// A call that both ends know to be up, and on which nothing is open.
    pub fn talk(mut self) -> Self {
        let seed = self.seed;
        let pair = &mut self;
        pair.dial();
        pair.advance(Duration::from_secs(40));
        assert!(pair.has(CALLER, |event| matches!(event, Event::Answered { .. })), "seed {seed}: {}", pair.picture());
        assert!(pair.has(CALLED, |event| matches!(event, Event::Confirmed { .. })), "seed {seed}: {}", pair.picture());
        self
    }

    pub fn ask(&mut self, end: usize, what: impl FnOnce(&mut UserAgent, Instant, LegId, &mut Vec<Action>)) {
        let mut out = Vec::new();
        let leg = self.ends[end].leg.unwrap();
        what(&mut self.ends[end].agent, self.now, leg, &mut out);
        self.act(end, out);
    }

    fn offer(&self, end: usize) -> Bytes {
        if self.ends[end].owner.offerless { Bytes::new() } else { Bytes::from_static(OFFER.as_bytes()) }
    }

    pub fn reoffer(&mut self, end: usize) {
        let offer = self.offer(end);
        self.ask(end, |agent, now, leg, out| agent.reoffer(now, leg, offer, out));
    }

    pub fn hangup(&mut self, end: usize) {
        self.ask(end, |agent, now, leg, out| agent.hangup(now, leg, "over", out));
    }

    pub fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let arrival = self.under_way.first_key_value().map(|((at, _), _)| *at);
            let timer = |end: &End| end.agent.poll_timeout().map(|(at, _)| at);
            let timers = self.ends.iter().filter_map(timer).min();
            let Some(at) = [arrival, timers].into_iter().flatten().min().filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            if arrival == Some(at)
                && let Some((_, (to, message))) = self.under_way.pop_first()
            {
                let from = Peer::udp(self.ends[1 - to].address.parse().unwrap());
                let mut out = Vec::new();
                self.ends[to].agent.handle_message(self.now, from, message, &mut out);
                self.act(to, out);
                continue;
            }
            for end in [CALLER, CALLED] {
                let mut out = Vec::new();
                self.ends[end].agent.handle_timeout(self.now, &mut out);
                self.act(end, out);
            }
        }
        self.now = end;
    }

    fn act(&mut self, end: usize, actions: Vec<Action>) {
        let ms = (self.now - self.start).as_millis();
        for action in actions {
            match action {
                Action::Send { destination, message } => {
                    self.ends[end].sent.push((ms, first_line(&message)));
                    self.ends[end].messages.push(message.clone());
                    if self.ends.iter().any(|end| end.address == destination.address.to_string()) {
                        self.send(end, &message);
                    }
                }
                Action::Event(event) => {
                    self.ends[end].events.push((ms, event.clone()));
                    self.own(end, event);
                }
            }
        }
    }

    fn send(&mut self, from: usize, message: &Bytes) {
        if self.ends.iter().any(|end| end.cut) {
            return;
        }
        let hidden = String::from_utf8_lossy(message).replace(", UPDATE", "");
        let message = if self.hides_update { Bytes::from(hidden) } else { message.clone() };
        let Weather { loss, repeats, delay, jitter } = self.weather;
        let copies = if self.dice.below(100) < repeats { 2 } else { 1 };
        for _ in 0..copies {
            if self.dice.below(100) >= loss {
                let late = Duration::from_millis(self.dice.below(jitter.as_millis() as u64 + 1));
                self.under_way.insert((self.now + delay + late, self.next), (1 - from, message.clone()));
                self.next += 1;
            }
        }
    }

    fn own(&mut self, end: usize, event: Event) {
        let owner = self.ends[end].owner;
        let answer = Bytes::from_static(ANSWER.as_bytes());
        if let Event::Invited { leg, .. } = event {
            self.ends[end].leg = Some(leg);
            for (status, describes) in owner.rings {
                let body = if *describes { answer.clone() } else { Bytes::new() };
                self.ask(end, |agent, now, leg, out| agent.progress(now, leg, *status, body, out));
            }
        }
        if matches!(event, Event::Referred { .. }) && owner.takes_referrals {
            self.ask(end, |agent, now, leg, out| {
                agent.accept_referral(now, leg, out);
                agent.report_referral(now, leg, 180, out);
                agent.report_referral(now, leg, 200, out);
            });
        }
        let accepts = (matches!(event, Event::Invited { .. }) && owner.accepts)
            || (matches!(event, Event::Reoffered { .. }) && owner.reaccepts);
        if accepts {
            self.ask(end, |agent, now, leg, out| agent.accept(now, leg, answer, out));
        } else if matches!(event, Event::OfferWanted { .. }) && owner.offers {
            self.reoffer(end);
        } else if matches!(event, Event::Answered { .. } | Event::Reanswered { .. }) && owner.offerless {
            self.ask(end, |agent, _, leg, out| agent.acknowledge(leg, answer, out));
        }
    }

    pub fn has(&self, end: usize, is_so: impl Fn(&Event) -> bool) -> bool {
        self.ends[end].events.iter().any(|(_, event)| is_so(event))
    }

    pub fn count(&self, end: usize, is_so: impl Fn(&Event) -> bool) -> usize {
        self.ends[end].events.iter().filter(|(_, event)| is_so(event)).count()
    }

    /// How this end's leg ended, and when, in milliseconds.
    pub fn ended(&self, end: usize) -> Option<(u128, EndCause)> {
        let mut ends = self.ends[end].events.iter().filter_map(|(ms, event)| {
            let Event::Ended { cause, .. } = event else { return None };
            Some((*ms, cause.clone()))
        });
        let found = ends.next();
        assert_eq!(ends.next(), None, "a leg ends once");
        found
    }

    /// Requests of this method that this end sent, each with its number; a repetition counts once.
    pub fn requests(&self, end: usize, method: Method) -> Vec<u32> {
        let suffix = format!(" {method}");
        let mut numbers: Vec<u32> = self.ends[end]
            .messages
            .iter()
            .filter(|message| message.starts_with(method.name().as_bytes()))
            .filter_map(|message| crate::peer::header(message, "CSeq")?.strip_suffix(&suffix)?.parse().ok())
            .collect();
        numbers.dedup();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// Nothing is left behind.
    pub fn assert_over(&mut self) {
        let seed = self.seed;
        self.advance(Duration::from_secs(140));
        for end in &self.ends {
            let left = (end.agent.dialogs(), end.agent.transactions(), end.agent.poll_timeout());
            assert_eq!(left, (0, 0, None), "seed {seed}, {}: {}", end.address, self.picture());
        }
    }

    /// What crossed the line, and what was told, for a message of failure.
    pub fn picture(&self) -> String {
        let mut lines: Vec<(u128, String)> = Vec::new();
        for (end, arrow) in self.ends.iter().zip(["→", "   ←"]) {
            lines.extend(end.sent.iter().map(|(ms, line)| (*ms, format!("{ms:>8} {arrow} {line}"))));
            lines.extend(end.events.iter().map(|(ms, event)| {
                let text = format!("{event:?}");
                (*ms, format!("{ms:>8} {arrow} ({})", text.chars().take(60).collect::<String>()))
            }));
        }
        lines.sort_by_key(|(ms, _)| *ms);
        lines.into_iter().map(|(_, line)| format!("\n{line}")).collect()
    }
}
