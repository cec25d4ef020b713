//! The registrar: where each user is reached, proven and for a time (RFC 3261 §10.3, RFC 5626 §6). Read RFC 3261 §10 first.
//!
//! A REGISTER goes through the steps of §10.3 and comes back as an [`Answer`], which the user agent writes; what it changed comes
//! out as [`Report`]s, for the store, the log and the guard. All or nothing: a request with one contact that cannot be taken
//! changes none. Bounds: contacts a user, contacts in all, nonces.

mod account;
mod authentication;
mod binding;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::ids::Ids;
use crate::sip::cursor::text;
use crate::sip::envelope::Envelope;
use crate::sip::header::contact_list::{Contact, Contacts, Registered};
use crate::sip::header::option_tags::{self, SUPPORTED};
use crate::sip::header::{Malformed, Name, expires};
use crate::sip::message::{Fault, Message};
use crate::sip::refusal::Refusal;
use crate::sip::transport::{Flow, Peer};

pub use account::{Account, Accounts, Offers};
pub use authentication::{Authentication, Proof, claimed_user};
pub use binding::Registration;

use binding::{Binding, Way};

/// Most registrations of all users together.
pub const REGISTRATIONS_MAX: usize = 100_000;

/// What a registrar grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A phone that asks for less than this gets 423.
    pub min_expires: Duration,
    /// Nobody gets more: a phone that lost its power is gone after this.
    pub max_expires: Duration,
    /// Places that one user may be reached at; one more, and the one that was refreshed least lately is given up.
    pub contacts: usize,
    /// How long a nonce serves.
    pub nonce_lifetime: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            min_expires: Duration::from_secs(30),
            max_expires: Duration::from_secs(120),
            contacts: 5,
            nonce_lifetime: Duration::from_secs(300),
        }
    }
}

/// What a REGISTER is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 401 with these values of WWW-Authenticate. Nothing is remembered of it.
    Challenge(Vec<Vec<u8>>),
    /// Refused. Nothing was changed.
    Refused(Refusal),
    /// 200 with what [`Registrar::contacts`] has of this user.
    Registered {
        /// The user.
        user: String,
        /// Whether a flow was registered: the 200 says `Require: outbound` (RFC 5626 §6).
        outbound: bool,
    },
}

/// What a REGISTER, or time, changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A place was registered, or refreshed.
    Kept {
        /// All of it.
        registration: Box<Registration>,
        /// Whether it is a new one.
        is_new: bool,
    },
    /// A place is no more.
    Gone {
        /// Whose agent it was.
        operator: String,
        /// The user.
        user: String,
        /// Its contact.
        contact: String,
        /// Why.
        why: Gone,
    },
    /// Somebody tried a password that was wrong, or a user that does not exist.
    Refused {
        /// Where from.
        peer: Peer,
        /// The user.
        user: String,
    },
}

/// Why a place is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The phone said so.
    Unregistered,
    /// The phone did not refresh it.
    Expired,
    /// The phone has another one, or its user too many.
    Replaced,
    /// Its connection is closed.
    Disconnected,
    /// Its account is.
    Removed,
}

impl Gone {
    /// For people.
    #[must_use]
    pub fn explain(self) -> &'static str {
        match self {
            Self::Unregistered => "the phone unregistered",
            Self::Expired => "the phone did not refresh it",
            Self::Replaced => "a newer one took its place",
            Self::Disconnected => "its connection was closed",
            Self::Removed => "its account was removed",
        }
    }
}

/// Where a user is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The Request-URI.
    pub uri: String,
    /// Where the request goes.
    pub peer: Peer,
    /// 0 to 1,000; the highest is tried first.
    pub preference: u16,
}

/// The registrar.
#[derive(Debug)]
pub struct Registrar {
    settings: Settings,
    authentication: Authentication,
    bindings: BTreeMap<u64, Binding>,
    by_user: BTreeMap<String, BTreeSet<u64>>,
    by_way: BTreeMap<Way, BTreeSet<u64>>,
    ends: BTreeSet<(Instant, u64)>,
    next: u64,
}

impl Registrar {
    /// Nobody is registered. `ids` makes nonces unforeseeable.
    #[must_use]
    pub fn new(now: Instant, settings: Settings, accounts: Arc<Accounts>, ids: &mut Ids) -> Self {
        Self {
            settings,
            authentication: Authentication::new(now, accounts, settings.nonce_lifetime, ids),
            bindings: BTreeMap::new(),
            by_user: BTreeMap::new(),
            by_way: BTreeMap::new(),
            ends: BTreeSet::new(),
            next: 1,
        }
    }

    /// Who may register.
    #[must_use]
    pub fn accounts(&self) -> &Arc<Accounts> {
        self.authentication.accounts()
    }

    /// A REGISTER (RFC 3261 §10.3).
    pub fn handle(
        &mut self,
        now: Instant,
        peer: Peer,
        message: &Message,
        envelope: &Envelope<'_>,
        reports: &mut Vec<Report>,
    ) -> Answer {
        if self.accounts().is_empty() {
            return Answer::Refused(Refusal::MethodNotAllowed);
        }
        // Step 2.
        let supported = |tag: &[u8]| tag.eq_ignore_ascii_case(OUTBOUND.as_bytes());
        let mut required = message.values(Name::Require).flat_map(|value| option_tags::unsupported(value, SUPPORTED));
        if required.any(|tag| !supported(tag)) {
            return Answer::Refused(Refusal::BadExtension { supported: SUPPORTED });
        }
        let malformed = |malformed: Malformed| Answer::Refused(Refusal::Fault(Fault::Malformed(malformed)));
        // Step 3.
        let asked = envelope.to.uri.user_text();
        let proof = match self.authentication.check(now, message, &envelope.uri) {
            Ok(proof) => proof,
            Err(fault) => return malformed(fault),
        };
        let account = match proof {
            Proof::Right(account) => account,
            Proof::Missing => return Answer::Challenge(self.authentication.challenge(now, &asked, false)),
            Proof::Stale { user } => return Answer::Challenge(self.authentication.challenge(now, &user, true)),
            Proof::Wrong { user } => {
                let challenge = self.authentication.challenge(now, &user, false);
                reports.push(Report::Refused { peer, user });
                return Answer::Challenge(challenge);
            }
        };
        // Step 4: nobody registers for others.
        if account.user != asked {
            return Answer::Refused(Refusal::Forbidden);
        }
        // Steps 6 and 7.
        let contacts = match Contacts::read(message) {
            Ok(contacts) => contacts,
            Err(fault) => return malformed(fault),
        };
        let register = Register { peer, message, envelope, call_id: call_id(envelope), account };
        let done = match &contacts {
            Contacts::All => self.remove_all(&register, reports).map(|()| false),
            Contacts::These(contacts) => self.register(now, &register, contacts, reports),
        };
        match done {
            Ok(outbound) => Answer::Registered { user: asked, outbound },
            Err(refusal) => Answer::Refused(refusal),
        }
    }

    /// `Contact: *` (RFC 3261 §10.2.2).
    fn remove_all(&mut self, register: &Register<'_>, reports: &mut Vec<Report>) -> Result<(), Refusal> {
        if register.expires() != Some(0) {
            let what = "* without Expires: 0";
            return Err(Refusal::Fault(Fault::Malformed(Malformed { header: Name::Contact, what })));
        }
        let ids = self.of_user(&register.account.user);
        if ids.iter().any(|id| self.is_late(*id, register)) {
            return Err(Refusal::OutOfOrder { retry_after: 0 });
        }
        ids.into_iter().for_each(|id| self.remove(id, Gone::Unregistered, reports));
        Ok(())
    }

    /// Contacts one by one: first all are decided, then all are done. Tells whether a flow was registered.
    fn register(
        &mut self,
        now: Instant,
        register: &Register<'_>,
        contacts: &[Contact<'_>],
        reports: &mut Vec<Report>,
    ) -> Result<bool, Refusal> {
        let with_flow =
            contacts.iter().filter(|contact| contact.instance.is_some() && contact.reg_id.is_some()).count();
        let outbound = with_flow > 0 && register.supports_outbound();
        if outbound && contacts.len() > 1 {
            // RFC 5626 §6: a flow is registered alone.
            let what = "reg-id beside other contacts";
            return Err(Refusal::Fault(Fault::Malformed(Malformed { header: Name::Contact, what })));
        }
        if outbound && register.message.values(Name::Via).count() > 1 {
            // A proxy stands between that keeps no flow, or it would be no proxy of ours (RFC 5626 §6).
            return Err(Refusal::FirstHopLacksOutbound);
        }
        let mut wishes = Vec::with_capacity(contacts.len());
        let mut added = 0;
        for contact in contacts {
            let lasts = self.granted(register, contact, outbound)?;
            added += usize::from(!lasts.is_zero() && self.formers(register, contact, outbound).is_empty());
            wishes.push((contact, lasts));
        }
        if self.bindings.len() + added > REGISTRATIONS_MAX {
            return Err(Refusal::Unavailable { retry_after: FULL_RETRY_AFTER });
        }
        for (contact, lasts) in wishes {
            self.carry_out(now, register, contact, lasts, outbound, reports);
        }
        self.give_up_surplus(&register.account.user, reports);
        Ok(outbound && contacts.iter().any(|contact| self.wish(register, contact) > 0))
    }

    /// For how long a contact is granted; zero removes it.
    fn granted(&self, register: &Register<'_>, contact: &Contact<'_>, outbound: bool) -> Result<Duration, Refusal> {
        let seconds = self.wish(register, contact);
        let wish = Duration::from_secs(u64::from(seconds));
        // RFC 3261 §10.3: only what is shorter than an hour may be called too brief.
        if seconds > 0 && seconds < expires::DEFAULT && wish < self.settings.min_expires {
            let min_expires = u32::try_from(self.settings.min_expires.as_secs()).unwrap_or(u32::MAX);
            return Err(Refusal::IntervalTooBrief { min_expires });
        }
        let mut same = self.of_user(&register.account.user).into_iter().filter(|id| self.is(*id, contact, outbound));
        if same.any(|id| self.is_late(id, register)) {
            return Err(Refusal::OutOfOrder { retry_after: 0 });
        }
        Ok(wish.min(self.settings.max_expires))
    }

    /// For how long a contact asks, in seconds.
    fn wish(&self, register: &Register<'_>, contact: &Contact<'_>) -> u32 {
        let longest = u32::try_from(self.settings.max_expires.as_secs()).unwrap_or(u32::MAX);
        contact.expires.or_else(|| register.expires()).unwrap_or(longest)
    }

    fn is(&self, id: u64, contact: &Contact<'_>, outbound: bool) -> bool {
        self.bindings.get(&id).is_some_and(|binding| binding.is(contact, outbound))
    }

    /// What a contact takes the place of.
    fn formers(&self, register: &Register<'_>, contact: &Contact<'_>, outbound: bool) -> Vec<u64> {
        let former = |id: &u64| {
            let binding = self.bindings.get(id);
            binding.is_some_and(|binding| {
                binding.is(contact, outbound) || binding.is_former_life(contact, &register.call_id)
            })
        };
        self.of_user(&register.account.user).into_iter().filter(former).collect()
    }

    fn carry_out(
        &mut self,
        now: Instant,
        register: &Register<'_>,
        contact: &Contact<'_>,
        lasts: Duration,
        outbound: bool,
        reports: &mut Vec<Report>,
    ) {
        if lasts.is_zero() {
            let same = self.of_user(&register.account.user).into_iter().filter(|id| self.is(*id, contact, outbound));
            let same: Vec<u64> = same.collect();
            return same.into_iter().for_each(|id| self.remove(id, Gone::Unregistered, reports));
        }
        let registration = register.registration(contact, lasts, outbound);
        let mut is_new = true;
        for id in self.formers(register, contact, outbound) {
            // One that keeps its contact is refreshed: to the store and to people it is the same one.
            if self.bindings.get(&id).is_some_and(|old| old.kept.contact == registration.contact) {
                self.take_out(id);
                is_new = false;
            } else {
                self.remove(id, Gone::Replaced, reports);
            }
        }
        self.insert(now, register.account.clone(), registration.clone());
        reports.push(Report::Kept { registration: Box::new(registration), is_new });
    }

    /// Gives up what was refreshed least lately, beyond what one user may have.
    fn give_up_surplus(&mut self, user: &str, reports: &mut Vec<Report>) {
        loop {
            let ids = self.of_user(user);
            let oldest = ids.iter().filter_map(|id| Some((self.bindings.get(id)?.refreshed, *id))).min();
            match oldest {
                Some((_, id)) if ids.len() > self.settings.contacts => self.remove(id, Gone::Replaced, reports),
                Some(_) | None => return,
            }
        }
    }

    /// Registers again what lasted over a restart. Without an account, or by a connection, it is passed over.
    pub fn restore(&mut self, now: Instant, registrations: impl IntoIterator<Item = Registration>) {
        for registration in registrations {
            let account = self.accounts().get(&registration.user).cloned();
            let lasts = registration.lasts.min(self.settings.max_expires);
            let Some(account) = account.filter(|account| account.operator == registration.operator) else { continue };
            let full = self.bindings.len() >= REGISTRATIONS_MAX;
            if full || lasts.is_zero() || registration.peer.transport.is_reliable() {
                continue;
            }
            self.insert(now, account, Registration { lasts, ..registration });
        }
    }

    /// Others may register from here on; whoever is registered and may no longer is forgotten.
    pub fn replace_accounts(&mut self, accounts: Arc<Accounts>, reports: &mut Vec<Report>) {
        let kept = |binding: &Binding| {
            let account = accounts.get(&binding.account.user);
            account.is_some_and(|account| account.operator == binding.account.operator)
        };
        let gone: Vec<u64> = self.bindings.iter().filter(|(_, binding)| !kept(binding)).map(|(id, _)| *id).collect();
        gone.into_iter().for_each(|id| self.remove(id, Gone::Removed, reports));
        self.authentication.replace_accounts(accounts);
    }

    /// A connection is closed: who came by it is reached again only where no NAT stands between (RFC 5626 §5.3).
    pub fn flow_closed(&mut self, flow: Flow, reports: &mut Vec<Report>) {
        let ids = self.by_way.get(&Way::Connection(flow)).cloned().unwrap_or_default();
        for id in ids {
            let Some(mut binding) = self.take_out(id) else { continue };
            match binding.direct().filter(|_| binding.kept.reg_id.is_none() && binding.kept.peer.transport.is_stream())
            {
                Some(address) => {
                    binding.kept.peer = Peer { address, flow: None, ..binding.kept.peer };
                    self.put(id, binding);
                }
                None => reports.push(gone(&binding, Gone::Disconnected)),
            }
        }
    }

    /// When the next registration ends.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.ends.first().map(|(at, _)| *at)
    }

    /// Ends what is over.
    pub fn handle_timeout(&mut self, now: Instant, reports: &mut Vec<Report>) {
        while let Some((_, id)) = self.ends.first().copied().filter(|(at, _)| *at <= now) {
            self.remove(id, Gone::Expired, reports);
        }
    }

    /// What is registered of a user, the oldest first.
    pub fn contacts(&self, now: Instant, user: &str) -> impl Iterator<Item = Registered<'_>> {
        let ids = self.by_user.get(user).into_iter().flatten();
        ids.filter_map(|id| self.bindings.get(id)).map(move |binding| binding.registered(now))
    }

    /// Where a user is reached: the preferred first, and of equal ones the one that was refreshed last.
    #[must_use]
    pub fn targets(&self, user: &str) -> Vec<Target> {
        let mut bindings: Vec<&Binding> = self.of_user(user).iter().filter_map(|id| self.bindings.get(id)).collect();
        bindings.sort_by_key(|binding| std::cmp::Reverse((binding.preference(), binding.refreshed)));
        let target = |binding: &Binding| Target {
            uri: binding.kept.contact.clone(),
            peer: binding.destination(),
            preference: binding.preference(),
        };
        bindings.into_iter().map(target).collect()
    }

    /// Who is registered by this very way: the port of a NAT, or the connection, that a phone speaks from.
    #[must_use]
    pub fn user_at(&self, peer: &Peer) -> Option<&str> {
        let id = self.by_way.get(&Way::of(peer))?.first()?;
        Some(&self.bindings.get(id)?.account.user)
    }

    /// Whether this user is registered by this very way.
    #[must_use]
    pub fn is_at(&self, peer: &Peer, user: &str) -> bool {
        let ids = self.by_way.get(&Way::of(peer)).into_iter().flatten();
        ids.filter_map(|id| self.bindings.get(id)).any(|binding| binding.account.user == user)
    }

    /// The connections that phones are registered by.
    pub fn flows(&self) -> impl Iterator<Item = Flow> {
        self.by_way.keys().filter_map(|way| match way {
            Way::Connection(flow) => Some(*flow),
            Way::Datagrams(_) | Way::Gone(..) => None,
        })
    }

    /// Registrations in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bindings.len()
    }

    /// Whether nobody is registered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bindings.is_empty()
    }

    fn of_user(&self, user: &str) -> Vec<u64> {
        self.by_user.get(user).into_iter().flatten().copied().collect()
    }

    fn is_late(&self, id: u64, register: &Register<'_>) -> bool {
        let binding = self.bindings.get(&id);
        binding.is_some_and(|binding| binding.is_newer_than(&register.call_id, register.envelope.cseq.number))
    }

    fn insert(&mut self, now: Instant, account: Arc<Account>, registration: Registration) {
        let id = self.next;
        self.next += 1;
        let ends = now + registration.lasts;
        self.put(id, Binding { account, ends, refreshed: (now, id), kept: registration });
    }

    fn put(&mut self, id: u64, binding: Binding) {
        self.by_user.entry(binding.account.user.clone()).or_default().insert(id);
        self.by_way.entry(Way::of(&binding.kept.peer)).or_default().insert(id);
        self.ends.insert((binding.ends, id));
        self.bindings.insert(id, binding);
    }

    fn take_out(&mut self, id: u64) -> Option<Binding> {
        let binding = self.bindings.remove(&id)?;
        self.ends.remove(&(binding.ends, id));
        if let Some(ids) = self.by_user.get_mut(&binding.account.user) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_user.remove(&binding.account.user);
            }
        }
        let way = Way::of(&binding.kept.peer);
        if let Some(ids) = self.by_way.get_mut(&way) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_way.remove(&way);
            }
        }
        Some(binding)
    }

    fn remove(&mut self, id: u64, why: Gone, reports: &mut Vec<Report>) {
        reports.extend(self.take_out(id).map(|binding| gone(&binding, why)));
    }
}

/// A REGISTER whose sender is known.
struct Register<'m> {
    peer: Peer,
    message: &'m Message,
    envelope: &'m Envelope<'m>,
    call_id: String,
    account: Arc<Account>,
}

impl Register<'_> {
    /// The Expires header, in seconds.
    fn expires(&self) -> Option<u32> {
        self.message.value(Name::Expires).map(expires::parse)
    }

    /// RFC 5626 §6: only a phone that says so knows what a flow is.
    fn supports_outbound(&self) -> bool {
        let mut tags = self.message.values(Name::Supported).chain(self.message.values(Name::Require));
        tags.any(|value| {
            value.split(|&byte| byte == b',').any(|tag| tag.trim_ascii().eq_ignore_ascii_case(OUTBOUND.as_bytes()))
        })
    }

    fn registration(&self, contact: &Contact<'_>, lasts: Duration, outbound: bool) -> Registration {
        Registration {
            operator: self.account.operator.clone(),
            user: self.account.user.clone(),
            contact: text(contact.address.uri_text),
            instance: contact.instance.map(text),
            reg_id: contact.reg_id.filter(|_| outbound),
            call_id: self.call_id.clone(),
            cseq: self.envelope.cseq.number,
            q: contact.q,
            peer: self.peer,
            symmetric: outbound || self.envelope.via.parameters.get("rport").is_some(),
            user_agent: self
                .message
                .value(Name::UserAgent)
                .map(|name| bounded(name, USER_AGENT_MAX))
                .unwrap_or_default(),
            lasts,
        }
    }
}

fn gone(binding: &Binding, why: Gone) -> Report {
    Report::Gone {
        operator: binding.account.operator.clone(),
        user: binding.account.user.clone(),
        contact: binding.kept.contact.clone(),
        why,
    }
}

/// The Call-ID, as much of it as is kept.
fn call_id(envelope: &Envelope<'_>) -> String {
    bounded(envelope.call_id, CALL_ID_MAX)
}

fn bounded(bytes: &[u8], characters: usize) -> String {
    // A database refuses some control characters, and no terminal should be sent any.
    text(bytes).chars().filter(|c| !c.is_control()).take(characters).collect()
}

/// The one extension of REGISTER that we speak (RFC 5626).
pub const OUTBOUND: &str = "outbound";

/// Most characters of a phone's name for itself.
const USER_AGENT_MAX: usize = 128;

/// Most characters of a Call-ID that tell one from another.
const CALL_ID_MAX: usize = 256;

/// Seconds that a phone waits when there is no room for it.
const FULL_RETRY_AFTER: u32 = 60;
