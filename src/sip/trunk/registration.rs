//! One registration of ours at a carrier: the client of RFC 3261 §10.2. Read §10.2.4 and RFC 5626 §4.5 first.
//!
//! ```text
//!              begin │                        ┌────────────── answered 401, 407, 423: asked again
//!                    ▼                        ▼             │
//!               ┌─────────┐  due         ┌────────┐ 2xx ┌────────────┐
//!           ┌──►│ Waiting ├─────────────►│ Asking ├────►│ Registered │
//!           │   └─────────┘              └─┬────┬─┘     └─────┬──────┘
//!           │  refused, or no gateway      │    │  ▲          │ half of its time is over
//!           └──────────────────────────────┘    │  └──────────┘
//!                          leave, from anywhere ▼
//!                                   asks for 0 seconds ──► Left
//! ```
//!
//! A gateway that cannot be reached, or answers 5xx, costs no wait while there is another (RFC 3263 §4.3). What all of them refuse is tried
//! again after a wait that doubles, with chance in it, so that a carrier that comes back is not met by all its customers at once. While a
//! refresh fails the registration counts until its time is over. The machine writes no Via and sends nothing: it says what to ask.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Way;
use crate::ids::Ids;
use crate::sip::dialog::LocalTag;
use crate::sip::digest::answer::Hopeless;
use crate::sip::digest::{Answers, Login};
use crate::sip::header::contact_list::Contacts;
use crate::sip::header::via::Via;
use crate::sip::header::{Name, expires, retry_after};
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::uri::Uri;
use crate::sip::user_agent::Outside;

/// What is registered, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Request-URI of REGISTER: the carrier's domain, without a user (RFC 3261 §10.2).
    pub registrar: String,
    /// The address of record, which From and To name.
    pub address_of_record: String,
    /// The user part of our Contact.
    pub contact_user: String,
    /// What proves it.
    pub login: Login,
    /// How long we ask for.
    pub expires: Duration,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Registered for this long.
    Registered {
        /// By which of the ways.
        way: usize,
        /// For how long.
        lasts: Duration,
        /// It was not before; otherwise it was refreshed.
        is_new: bool,
        /// Where the carrier sees us, if it says so and it is not where we say we are.
        seen_as: Option<String>,
    },
    /// Not registered, or not refreshed.
    Failed {
        /// Why.
        why: Failure,
        /// When it is tried again.
        again: Duration,
        /// An earlier registration still counts.
        still_registered: bool,
    },
    /// No longer registered: we said so, or the carrier did not answer that we do.
    Left,
}

/// Why we are not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The carrier knows our answer and wants another one.
    #[error("the user or the password is wrong: check «user», «auth_user» and «password»")]
    WrongPassword,
    /// It asks for a kind of proof that is not spoken here.
    #[error("it asks for a kind of proof that is not spoken here (digest with MD5 or SHA-256 is)")]
    NothingInCommon,
    /// It challenges each answer with a new nonce.
    #[error("it asks for proof again and again")]
    Endless,
    /// Refused with this status.
    #[error("{}", refused(*.0))]
    Refused(u16),
    /// No gateway answers.
    #[error("no answer: is the address right, and does the firewall let us out?")]
    Silent,
    /// No gateway can be connected to.
    #[error("no connection to any gateway")]
    Unreachable,
    /// No gateway's address is known.
    #[error("the address of no gateway is known")]
    Nowhere,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this, and tell [`Registration::handle_response`] what came of it.
    Ask(Box<Outside>),
    /// Something changed.
    Report(Report),
}

/// A registration.
#[derive(Debug)]
pub struct Registration {
    account: Account,
    tag: LocalTag,
    call_id: String,
    cseq: u32,
    answers: Answers,
    /// What we ask for, in seconds: what was wished, or what the registrar wants at least.
    wish: u32,
    state: State,
    /// Until when the last success counts.
    until: Option<Instant>,
    /// Failures in a row.
    failures: u32,
    /// Which of the ways is used.
    way: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Nothing is to be done before this, unless it waits for nothing but a way.
    Waiting { at: Instant, for_a_way: bool },
    /// A REGISTER is under way.
    Asking(Asking),
    /// Registered: this is when it is refreshed.
    Registered { refresh_at: Instant },
    /// Never again.
    Left,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asking {
    /// It carried credentials.
    answered: bool,
    /// Challenges answered in a row.
    challenges: u32,
    /// Ways that were tried in a row, this one included.
    ways: usize,
    /// The registrar's least time was taken.
    lengthened: bool,
    /// It asks for the end.
    leaving: bool,
}

const FIRST: Asking = Asking { answered: false, challenges: 0, ways: 1, lengthened: false, leaving: false };

/// Challenges in a row that are answered: one of a proxy, one of the registrar, and a nonce of each that grew old.
const CHALLENGES_MAX: u32 = 4;

/// The first wait behind a failure is half of this to all of it; each further failure doubles it.
const WAIT_FIRST: Duration = Duration::from_secs(8);

/// No wait is longer, but one that the carrier asks for: it is back within so much when it is back.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// What is wrong with us does not heal by asking, and carriers block who asks too often.
const WAIT_REFUSED: Duration = Duration::from_secs(600);

/// Longest Retry-After that is believed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// Longest Min-Expires that is followed, in seconds: a day.
const MIN_EXPIRES_MAX: u32 = 86_400;

impl Registration {
    /// Registers at `at`: [`poll_timeout`](Self::poll_timeout) says so.
    #[must_use]
    pub fn new(account: Account, at: Instant, ids: &mut Ids) -> Self {
        Self {
            answers: Answers::new(account.login.clone()),
            wish: u32::try_from(account.expires.as_secs()).unwrap_or(MIN_EXPIRES_MAX),
            account,
            tag: LocalTag(ids.next_u64()),
            call_id: ids.token(24),
            cseq: 0,
            state: State::Waiting { at, for_a_way: true },
            until: None,
            failures: 0,
            way: 0,
        }
    }

    /// Until when we are registered.
    #[must_use]
    pub fn registered_until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether all is said: the last word is answered, or nobody waits for one.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Left
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { at, .. } => Some(at),
            State::Registered { refresh_at } => Some(refresh_at),
            State::Asking(_) | State::Left => None,
        }
    }

    /// Asks when it is time to. `ways` lead to the carrier, the best first.
    pub fn handle_timeout(&mut self, now: Instant, ways: &[Way], ids: &mut Ids, out: &mut Vec<Step>) {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return;
        }
        if self.until.is_some_and(|until| until <= now) {
            self.until = None;
        }
        // A refresh goes where the registration is; a new one begins with the best.
        if self.until.is_none() || self.way >= ways.len() {
            self.way = 0;
        }
        self.ask(now, FIRST, ways, ids, out);
    }

    /// There are other ways: `moved` says for each old one where it stands now. A new one is tried at once where no way led there; what was
    /// refused waits for its time, for that is the same carrier.
    pub fn ways_changed(&mut self, now: Instant, moved: &[Option<usize>], any_new: bool) {
        self.way = moved.get(self.way).copied().flatten().unwrap_or_default();
        if let State::Waiting { at, for_a_way: true } = &mut self.state
            && any_new
        {
            *at = (*at).min(now);
        }
    }

    /// Ends the registration: asks for it where there is one, and does not begin another.
    pub fn leave(&mut self, now: Instant, ways: &[Way], ids: &mut Ids, out: &mut Vec<Step>) {
        match self.state {
            State::Left => {}
            // The answer decides what there is to end.
            State::Asking(asking) => self.state = State::Asking(Asking { leaving: true, ..asking }),
            State::Waiting { .. } | State::Registered { .. } if self.until.is_some_and(|until| now < until) => {
                self.ask(now, Asking { leaving: true, ..FIRST }, ways, ids, out);
            }
            State::Waiting { .. } | State::Registered { .. } => self.left(out),
        }
    }

    fn left(&mut self, out: &mut Vec<Step>) {
        self.state = State::Left;
        self.until = None;
        out.push(Step::Report(Report::Left));
    }

    fn ask(&mut self, now: Instant, asking: Asking, ways: &[Way], ids: &mut Ids, out: &mut Vec<Step>) {
        let Some(way) = ways.get(self.way) else { return self.fail(now, Failure::Nowhere, None, ids, out) };
        self.cseq += 1;
        let registrar = &self.account.registrar;
        let seconds = if asking.leaving { 0 } else { self.wish };
        let mut headers = vec![
            ("Contact", format!("<{}>", way.contact(&self.account.contact_user)).into_bytes()),
            ("Expires", seconds.to_string().into_bytes()),
            ("Allow", Method::ALLOWED.as_bytes().to_vec()),
        ];
        let answer = self.answers.answer(b"REGISTER", registrar.as_bytes(), &ids.token(16));
        let answered = answer.is_some();
        headers.extend(answer.map(|(name, value)| (name.text(), value)));
        out.push(Step::Ask(Box::new(Outside {
            method: Method::Register,
            target: registrar.clone(),
            destination: way.peer,
            from: self.account.address_of_record.clone(),
            tag: self.tag,
            to: self.account.address_of_record.clone(),
            call_id: self.call_id.clone(),
            cseq: self.cseq,
            headers,
        })));
        self.state = State::Asking(Asking { answered, ..asking });
    }

    /// What came of the last [`Step::Ask`]: a final status, and the response if there was one.
    pub fn handle_response(
        &mut self,
        now: Instant,
        (status, message): (u16, Option<Bytes>),
        ways: &[Way],
        ids: &mut Ids,
        out: &mut Vec<Step>,
    ) {
        let State::Asking(asking) = self.state else { return };
        let message = message.and_then(Message::scan);
        match status {
            200..=299 => self.accepted(now, asking, message.as_ref(), ways, ids, out),
            401 | 407 => self.challenged(now, asking, message.as_ref(), ways, ids, out),
            423 if !asking.lengthened => {
                let least = message.as_ref().and_then(|message| message.value(Name::MinExpires)).map(expires::parse);
                match least.filter(|least| (self.wish + 1..=MIN_EXPIRES_MAX).contains(least)) {
                    Some(least) => {
                        self.wish = least;
                        self.ask(now, Asking { lengthened: true, ..asking }, ways, ids, out);
                    }
                    None => self.fail(now, Failure::Refused(423), None, ids, out),
                }
            }
            // RFC 3263 §4.3: silence, no connection and 503 lead to the next; so does what a broken gateway says.
            408 | 500..=599 if asking.ways < ways.len() => {
                self.way = (self.way + 1) % ways.len();
                self.ask(now, Asking { ways: asking.ways + 1, challenges: 0, ..asking }, ways, ids, out);
            }
            _ => {
                let wait = message.as_ref().and_then(|message| retry_after::parse(message.value(Name::RetryAfter)?));
                let why = match (status, message.is_some()) {
                    (408, false) => Failure::Silent,
                    (503, false) => Failure::Unreachable,
                    _ => Failure::Refused(status),
                };
                self.fail(now, why, wait, ids, out);
            }
        }
    }

    fn challenged(
        &mut self,
        now: Instant,
        asking: Asking,
        message: Option<&Message>,
        ways: &[Way],
        ids: &mut Ids,
        out: &mut Vec<Step>,
    ) {
        let Some(message) = message else { return self.fail(now, Failure::Silent, None, ids, out) };
        // A first answer counts on an earlier nonce, which the registrar may have forgotten, or another gateway never known, without saying
        // that it is stale: only an answer to its own challenge says something about the password.
        match self.answers.challenged(message, asking.answered && asking.challenges > 0) {
            Ok(()) if asking.challenges < CHALLENGES_MAX => {
                self.ask(now, Asking { challenges: asking.challenges + 1, ..asking }, ways, ids, out);
            }
            Ok(()) | Err(Hopeless::Endless) => self.fail(now, Failure::Endless, None, ids, out),
            Err(Hopeless::WrongPassword) => self.fail(now, Failure::WrongPassword, None, ids, out),
            Err(Hopeless::NothingInCommon) => self.fail(now, Failure::NothingInCommon, None, ids, out),
        }
    }

    fn accepted(
        &mut self,
        now: Instant,
        asking: Asking,
        message: Option<&Message>,
        ways: &[Way],
        ids: &mut Ids,
        out: &mut Vec<Step>,
    ) {
        let contact = ways.get(self.way).map(|way| way.contact(&self.account.contact_user)).unwrap_or_default();
        if asking.leaving {
            // What was asked for before we wanted to leave has to be taken back.
            let ended = message.is_none_or(|message| granted(message, &contact, 0) == 0);
            return if ended || asking.challenges > CHALLENGES_MAX {
                self.left(out)
            } else {
                let asking = Asking { challenges: CHALLENGES_MAX + 1, leaving: true, ..FIRST };
                self.ask(now, asking, ways, ids, out);
            };
        }
        let seconds = message.map_or(self.wish, |message| granted(message, &contact, self.wish));
        if seconds == 0 {
            return self.fail(now, Failure::Refused(200), None, ids, out);
        }
        let lasts = Duration::from_secs(seconds.into());
        // Half of its time is left for what may fail, and not all customers of a carrier come back at once.
        let half = u64::from(seconds) * 500;
        let refresh = Duration::from_millis(half + ids.below(half / 5 + 1));
        let is_new = self.until.replace(now + lasts).is_none();
        self.failures = 0;
        self.state = State::Registered { refresh_at: now + refresh };
        let seen_as = message.and_then(seen_as);
        out.push(Step::Report(Report::Registered { way: self.way, lasts, is_new, seen_as }));
    }

    /// Waits before it asks again; who wanted to leave waits for nothing.
    fn fail(&mut self, now: Instant, why: Failure, retry_after: Option<u32>, ids: &mut Ids, out: &mut Vec<Step>) {
        if matches!(self.state, State::Asking(Asking { leaving: true, .. })) {
            return self.left(out);
        }
        let asked_for = retry_after.map(|seconds| Duration::from_secs(seconds.into()).min(RETRY_AFTER_MAX));
        let doubled = WAIT_FIRST.saturating_mul(1 << self.failures.min(16)).min(WAIT_MAX);
        let longest = match why {
            Failure::Refused(408 | 429 | 430 | 480 | 500..) => doubled,
            Failure::WrongPassword | Failure::NothingInCommon | Failure::Endless | Failure::Refused(_) => WAIT_REFUSED,
            Failure::Silent | Failure::Unreachable | Failure::Nowhere => doubled,
        };
        let for_a_way = matches!(why, Failure::Silent | Failure::Unreachable | Failure::Nowhere);
        self.failures = self.failures.saturating_add(1);
        let half = u64::try_from(longest.as_millis() / 2).unwrap_or_default();
        let again = Duration::from_millis(half + ids.below(half + 1)).max(asked_for.unwrap_or_default());
        self.until = self.until.filter(|until| now < *until);
        self.state = State::Waiting { at: now + again, for_a_way };
        // The next round begins where this one did not.
        self.way = 0;
        let still_registered = self.until.is_some();
        out.push(Step::Report(Report::Failed { why, again, still_registered }));
    }
}

/// The seconds that a 200 grants our contact (RFC 3261 §10.2.4): those behind it; else those of Expires; else what was asked for. A
/// registrar that shows our contact in other words is taken at its shortest.
fn granted(message: &Message, contact: &str, asked: u32) -> u32 {
    let header = message.value(Name::Expires).map(expires::parse);
    let Ok(Contacts::These(contacts)) = Contacts::read(message) else { return header.unwrap_or(asked) };
    let ours = Uri::parse(contact.as_bytes()).ok();
    let is_ours = |uri: &Uri<'_>| {
        ours.as_ref()
            .is_some_and(|ours| ours.user_text() == uri.user_text() && ours.host == uri.host && port(ours) == port(uri))
    };
    let told = |contact: &crate::sip::header::contact_list::Contact<'_>| contact.expires.or(header).unwrap_or(asked);
    if let Some(ours) = contacts.iter().find(|contact| is_ours(&contact.address.uri)) {
        return told(ours);
    }
    if asked == 0 {
        // Others may be registered for the same account.
        return 0;
    }
    contacts.iter().map(told).min().or(header).unwrap_or(asked)
}

fn port(uri: &Uri<'_>) -> u16 {
    uri.port.unwrap_or(5060)
}

/// Where the carrier saw our request come from, when it says so (RFC 3581 §4) and it is not what our Via says.
fn seen_as(message: &Message) -> Option<String> {
    let via = Via::parse(message.value(Name::Via)?).ok()?;
    let text = |name| via.parameters.value(name).and_then(|value| std::str::from_utf8(value).ok());
    let address = match text("received") {
        Some(received) => received.trim_matches(['[', ']']).parse().ok()?,
        None => via.host.address()?,
    };
    let port = text("rport").and_then(|port| port.parse().ok()).or(via.port)?;
    let seen = std::net::SocketAddr::new(address, port);
    let said = std::net::SocketAddr::new(via.host.address()?, via.port?);
    // Over a stream the port is that of one connection, which nobody calls.
    let differs = if via.transport.eq_ignore_ascii_case(b"UDP") { seen != said } else { seen.ip() != said.ip() };
    differs.then(|| seen.to_string())
}

fn refused(status: u16) -> String {
    let look = match status {
        200 => return "the registrar grants no time at all".to_owned(),
        403 => ": is this address of ours allowed there, and the account active?",
        404 => ": it does not know this user: check «user» and «register»",
        423 => ": it wants a longer time: raise «expires»",
        _ => "",
    };
    format!("refused with {status} {}{look}", crate::sip::status::reason_phrase(status))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]

    use super::*;
    use crate::sip::transport::Peer;

    const SECOND: Duration = Duration::from_secs(1);

    struct Bench {
        now: Instant,
        ids: Ids,
        ways: Vec<Way>,
        registration: Registration,
        steps: Vec<Step>,
    }

    fn bench(gateways: &[&str]) -> Bench {
        let now = Instant::now();
        let way = |address: &&str| Way {
            gateway: "sip:carrier.example".into(),
            peer: Peer::udp(address.parse().unwrap()),
            advertised: "192.0.2.10:5060".parse().unwrap(),
        };
        let account = Account {
            registrar: "sip:carrier.example".into(),
            address_of_record: "sip:ana@carrier.example".into(),
            contact_user: "ana".into(),
            login: Login { user: "ana".into(), password: "secret".into() },
            expires: 600 * SECOND,
        };
        let mut ids = Ids::from_seed(1);
        let registration = Registration::new(account, now, &mut ids);
        Bench { now, ids, ways: gateways.iter().map(way).collect(), registration, steps: Vec::new() }
    }

    impl Bench {
        /// Goes to the next deadline; gives the request that goes out there.
        fn wake(&mut self) -> Outside {
            self.now = self.registration.poll_timeout().expect("a deadline");
            self.registration.handle_timeout(self.now, &self.ways, &mut self.ids, &mut self.steps);
            self.asked().expect("a request")
        }

        fn asked(&mut self) -> Option<Outside> {
            match self.steps.drain(..).next_back()? {
                Step::Ask(outside) => Some(*outside),
                Step::Report(_) => None,
            }
        }

        fn answer(&mut self, status: u16, headers: &str) {
            let via = "Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK1;rport=5060;received=192.0.2.10";
            let text = format!("SIP/2.0 {status} x\r\n{via}\r\n{headers}\r\n\r\n");
            let response = (status, Some(Bytes::from(text)));
            self.registration.handle_response(self.now, response, &self.ways, &mut self.ids, &mut self.steps);
        }

        fn silence(&mut self, status: u16) {
            self.registration.handle_response(self.now, (status, None), &self.ways, &mut self.ids, &mut self.steps);
        }

        fn failure(&mut self) -> (Failure, Duration) {
            match self.steps.drain(..).next_back() {
                Some(Step::Report(Report::Failed { why, again, .. })) => (why, again),
                other => panic!("{other:?}"),
            }
        }
    }

    fn header(outside: &Outside, name: &str) -> Option<String> {
        let found = outside.headers.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| String::from_utf8(value.clone()).unwrap())
    }

    const CHALLENGE: &str = "WWW-Authenticate: Digest realm=\"x\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\"";

    #[test]
    fn a_challenge_is_answered_and_the_registration_refreshed_at_half_its_time() {
        let mut bench = bench(&["198.51.100.1:5060"]);
        let first = bench.wake();
        assert_eq!((first.target.as_str(), first.to.as_str()), ("sip:carrier.example", "sip:ana@carrier.example"));
        assert_eq!(header(&first, "Contact").as_deref(), Some("<sip:ana@192.0.2.10:5060>"));
        assert_eq!((header(&first, "Expires").as_deref(), header(&first, "Authorization")), (Some("600"), None));
        bench.answer(401, CHALLENGE);
        let second = bench.asked().unwrap();
        assert!(header(&second, "Authorization").unwrap().contains("algorithm=SHA-256"));
        assert_eq!((&second.call_id, second.cseq), (&first.call_id, first.cseq + 1));
        bench.answer(200, "Contact: <sip:other@203.0.113.9>;expires=20\r\nContact: <sip:ana@192.0.2.10>;expires=100");
        let expected = Report::Registered { way: 0, lasts: 100 * SECOND, is_new: true, seen_as: None };
        assert_eq!(bench.steps.drain(..).collect::<Vec<_>>(), [Step::Report(expected)]);
        let before = bench.now;
        let refresh = bench.wake();
        assert!((50..=60).contains(&bench.now.duration_since(before).as_secs()));
        // With the nonce that is known, counted on.
        assert!(header(&refresh, "Authorization").unwrap().contains("nc=00000002"));
        // It grew old: one more answer, and no fault.
        bench.answer(401, &format!("{CHALLENGE}, stale=true"));
        assert!(header(&bench.asked().unwrap(), "Authorization").unwrap().contains("nc=00000001"));
    }

    /// A registrar that gives each nonce once, or was restarted, and a second gateway that never gave ours: the password is right.
    #[test]
    fn an_old_nonce_refused_without_a_word_is_no_wrong_password() {
        let mut bench = bench(&["198.51.100.1:5060", "198.51.100.2:5060"]);
        bench.wake();
        bench.answer(401, CHALLENGE);
        bench.asked().unwrap();
        bench.answer(200, "Contact: <sip:ana@192.0.2.10>;expires=100");
        bench.steps.clear();
        bench.wake();
        bench.answer(401, CHALLENGE);
        assert!(header(&bench.asked().unwrap(), "Authorization").unwrap().contains("nc=00000001"), "its new nonce");
        bench.answer(503, "X: 1");
        assert_eq!(bench.asked().unwrap().destination.address.to_string(), "198.51.100.2:5060");
        bench.answer(401, CHALLENGE);
        bench.asked().unwrap();
        bench.answer(401, CHALLENGE);
        assert_eq!(bench.failure().0, Failure::WrongPassword, "of its own nonce");
    }

    /// RFC 3261 §10.2.8.
    #[test]
    fn a_registrar_that_wants_longer_gets_what_it_wants_once() {
        let mut bench = bench(&["198.51.100.1:5060"]);
        bench.wake();
        bench.answer(423, "Min-Expires: 1800");
        assert_eq!(header(&bench.asked().unwrap(), "Expires").as_deref(), Some("1800"));
        bench.answer(423, "Min-Expires: 3600");
        assert_eq!(bench.failure().0, Failure::Refused(423));
        for absurd in ["Min-Expires: 4294967295", "Min-Expires: 10", "X: 1"] {
            let mut bench = super::tests::bench(&["198.51.100.1:5060"]);
            bench.wake();
            bench.answer(423, absurd);
            assert_eq!(bench.failure().0, Failure::Refused(423), "{absurd}");
        }
    }

    /// RFC 3263 §4.3: silence, no connection and 503 lead to the next gateway at once; then the wait grows, with chance in it.
    #[test]
    fn each_gateway_is_tried_before_a_wait_that_doubles() {
        let mut bench = bench(&["198.51.100.1:5060", "198.51.100.2:5060", "198.51.100.3:5060"]);
        let mut waits = Vec::new();
        for _ in 0..8 {
            let mut tried = vec![bench.wake().destination.address.to_string()];
            bench.silence(408);
            tried.push(bench.asked().unwrap().destination.address.to_string());
            bench.silence(503);
            tried.push(bench.asked().unwrap().destination.address.to_string());
            assert_eq!(tried, ["198.51.100.1:5060", "198.51.100.2:5060", "198.51.100.3:5060"]);
            bench.answer(503, "X: 1");
            let (why, again) = bench.failure();
            assert_eq!(why, Failure::Refused(503));
            waits.push(again.as_secs());
        }
        for (wait, longest) in waits.iter().zip([8, 16, 32, 64, 128, 256, 300, 300]) {
            assert!((longest / 2..=longest).contains(wait), "{waits:?}");
        }
        bench.wake();
        bench.answer(503, "X: 1");
        bench.asked();
        bench.answer(200, "Contact: <sip:ana@192.0.2.10:5060>;expires=100");
        let told = bench.steps.drain(..).next_back();
        assert!(matches!(told, Some(Step::Report(Report::Registered { way: 1, .. }))), "{told:?}");
        assert_eq!(bench.wake().destination.address.to_string(), "198.51.100.2:5060", "refreshed where it is");
    }

    #[test]
    fn what_is_wrong_with_us_is_not_asked_again_soon() {
        for (status, headers, expected) in [
            (403, "X: 1", Failure::Refused(403)),
            (401, "WWW-Authenticate: Digest realm=x, nonce=n, qop=auth-int", Failure::NothingInCommon),
        ] {
            let mut bench = bench(&["198.51.100.1:5060", "198.51.100.2:5060"]);
            bench.wake();
            bench.answer(status, headers);
            let (why, again) = bench.failure();
            assert_eq!(why, expected);
            assert!(again >= 300 * SECOND, "{again:?}");
        }
        let mut bench = bench(&["198.51.100.1:5060"]);
        bench.wake();
        bench.answer(401, CHALLENGE);
        bench.asked().unwrap();
        bench.answer(401, CHALLENGE);
        assert_eq!(bench.failure().0, Failure::WrongPassword);
        // A registrar that calls each nonce stale is left after a few.
        bench.wake();
        let mut asked = 1;
        loop {
            bench.answer(401, &format!("{CHALLENGE}, stale=true"));
            match bench.steps.drain(..).next_back() {
                Some(Step::Ask(_)) => asked += 1,
                Some(Step::Report(Report::Failed { why, .. })) => break assert_eq!(why, Failure::Endless),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(asked, 1 + CHALLENGES_MAX);
    }

    #[test]
    fn a_carrier_may_ask_for_a_longer_wait() {
        let mut bench = bench(&["198.51.100.1:5060"]);
        bench.wake();
        bench.answer(503, "Retry-After: 120");
        assert_eq!(bench.failure(), (Failure::Refused(503), 120 * SECOND));
        bench.wake();
        bench.answer(503, "Retry-After: 4000000000");
        assert_eq!(bench.failure().1, RETRY_AFTER_MAX);
    }

    #[test]
    fn a_failed_refresh_leaves_the_registration_until_its_time_is_over() {
        let mut bench = bench(&["198.51.100.1:5060"]);
        bench.wake();
        bench.answer(200, "Expires: 100");
        bench.steps.clear();
        let until = bench.registration.registered_until().unwrap();
        for _ in 0..8 {
            bench.wake();
            bench.silence(408);
            let Some(Step::Report(Report::Failed { still_registered, .. })) = bench.steps.pop() else {
                panic!("no report")
            };
            assert_eq!(still_registered, bench.now < until);
        }
        assert!(bench.now > until);
    }

    #[test]
    fn leaving_takes_the_registration_back_also_in_the_middle_of_a_request() {
        let left = [Step::Report(Report::Left)];
        let mut bench = bench(&["198.51.100.1:5060"]);
        bench.registration.leave(bench.now, &bench.ways, &mut bench.ids, &mut bench.steps);
        assert_eq!(bench.steps, left, "nothing was registered");

        let mut bench = super::tests::bench(&["198.51.100.1:5060"]);
        bench.wake();
        bench.registration.leave(bench.now, &bench.ways, &mut bench.ids, &mut bench.steps);
        assert!(!bench.registration.is_over());
        bench.answer(401, CHALLENGE);
        let last = bench.asked().unwrap();
        assert_eq!(header(&last, "Expires").as_deref(), Some("0"));
        bench.answer(200, "X: 1");
        assert_eq!(bench.steps, left);
        assert!(bench.registration.is_over() && bench.registration.poll_timeout().is_none());

        // The answer to what was asked before grants time: that is taken back.
        let mut bench = super::tests::bench(&["198.51.100.1:5060"]);
        bench.wake();
        bench.registration.leave(bench.now, &bench.ways, &mut bench.ids, &mut bench.steps);
        bench.answer(200, "Contact: <sip:ana@192.0.2.10:5060>;expires=100");
        assert_eq!(header(&bench.asked().unwrap(), "Expires").as_deref(), Some("0"));
        bench.silence(408);
        assert_eq!(bench.steps, left, "nobody waits for a silent carrier");
    }

    #[test]
    fn a_nat_is_seen_by_what_the_carrier_says() {
        let mut bench = bench(&["198.51.100.1:5060"]);
        bench.wake();
        let via = "Via: SIP/2.0/UDP 10.0.0.5:5060;branch=z9hG4bK1;rport=40000;received=203.0.113.7";
        let response = (200, Some(Bytes::from(format!("SIP/2.0 200 OK\r\n{via}\r\nExpires: 60\r\n\r\n"))));
        bench.registration.handle_response(bench.now, response, &bench.ways, &mut bench.ids, &mut bench.steps);
        let Some(Step::Report(Report::Registered { seen_as, .. })) = bench.steps.pop() else { panic!("no report") };
        assert_eq!(seen_as.as_deref(), Some("203.0.113.7:40000"));
    }

    #[test]
    fn no_way_is_no_request() {
        let mut bench = bench(&[]);
        bench.registration.handle_timeout(bench.now, &bench.ways, &mut bench.ids, &mut bench.steps);
        assert_eq!(bench.failure().0, Failure::Nowhere);
    }
}
