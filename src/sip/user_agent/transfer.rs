//! Transfer (RFC 3515, RFC 3891, RFC 4488): REFER in both roles, what is reported of it, and an INVITE that takes a dialog's place.
//!
//! A transferor may leave whenever it likes: behind the 202, behind a report, or never. What it asked for is the owner's and goes on;
//! the subscription alone stays here, without its leg if need be, until its last report was answered or refused:
//!
//! ```text
//!  REFER ──► Referred ──accept──► 202, NOTIFY 100 ──report──► NOTIFY … ──report ≥ 200──► NOTIFY, terminated
//!                 └──refuse──► 3xx–6xx                 └── BYE: the same, as an orphan ──┴── 481, or 5 minutes: dropped
//! ```

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::UserAgent;
use super::finish::branch;
use super::leg::{Leg, Orphan, Pending, Stage, Subscription};
use super::transactions::{Errand, Ours};
use crate::ids::LegId;
use crate::sip::action::{Action, Event, ReferTo, Referral};
use crate::sip::cursor::{decimal, text};
use crate::sip::dialog::{Dialog, LocalTag, bracket};
use crate::sip::envelope::Envelope;
use crate::sip::header::Name;
use crate::sip::header::address::Address;
use crate::sip::header::option_tags::{SUPPORTED, SUPPORTED_WITH_TRANSFERS};
use crate::sip::header::replaces::Replaces;
use crate::sip::message::{Fault, Message};
use crate::sip::method::Method;
use crate::sip::refusal::{self, Refusal, SDP};
use crate::sip::status::reason_phrase;
use crate::sip::timers::{ClientId, Owner};
use crate::sip::transport::Peer;
use crate::sip::uri::{Uri, decoded};

/// The body of a report (RFC 3420).
const SIPFRAG: &str = "message/sipfrag;version=2.0";

/// How long what a REFER asked for is reported on.
const REPORTED_FOR: Duration = Duration::from_secs(300);

impl UserAgent {
    /// The extensions that a peer may require.
    pub(super) fn supported(&self) -> &'static [&'static str] {
        if self.settings.transfers { SUPPORTED_WITH_TRANSFERS } else { SUPPORTED }
    }

    /// What goes to Allow.
    pub(super) fn allowed(&self) -> &'static str {
        if self.settings.transfers { Method::ALLOWED_WITH_TRANSFERS } else { Method::ALLOWED }
    }

    /// A REFER within a dialog.
    #[expect(clippy::too_many_arguments, reason = "they are one request and where it belongs")]
    pub(super) fn receive_refer(
        &mut self,
        now: Instant,
        id: LegId,
        source: Peer,
        message: &Message,
        envelope: &Envelope<'_>,
        server: u64,
        out: &mut Vec<Action>,
    ) {
        let referral = match self.check_refer(id, message) {
            Ok(referral) => referral,
            Err(refusal) => {
                let mut writer = self.response(message, source, refusal.status(), None);
                refusal.write(message, self.settings.listeners.advertised_to(&source), &mut writer);
                return self.respond(now, server, refusal.status(), writer.finish(SDP, b""), out);
            }
        };
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let cseq = envelope.cseq.number;
        let pending = Pending { server, request: message.clone(), source, invite: false, initial: false, cseq };
        let quiet =
            message.value(Name::ReferSub).is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(b"false"));
        leg.referrals = leg.referrals.saturating_add(1);
        leg.referral = Some(Box::new(Subscription {
            pending: Some(pending),
            // RFC 3515 §2.4.6.
            id: (leg.referrals > 1).then_some(cseq),
            quiet,
            asks: false,
            next: None,
            over: false,
            until: now + REPORTED_FOR,
            hangup: None,
        }));
        out.push(Action::Event(Event::Referred { leg: id, referral: Box::new(referral) }));
    }

    fn check_refer(&self, id: LegId, message: &Message) -> Result<Referral, Refusal> {
        let leg = self.legs.get(&id).ok_or(Refusal::NoDialog)?;
        if !self.settings.transfers || !matches!(leg.stage, Stage::Established) {
            return Err(Refusal::Forbidden);
        }
        if leg.referral.is_some() {
            return Err(Refusal::RequestPending);
        }
        let mut values = message.values(Name::ReferTo);
        // RFC 3515 §2.4.2: exactly one.
        let value = values.next().ok_or(Refusal::Fault(Fault::Missing(Name::ReferTo)))?;
        if values.next().is_some() {
            return Err(Refusal::Fault(Fault::Repeated(Name::ReferTo)));
        }
        let malformed = |malformed| Refusal::Fault(Fault::Malformed(malformed));
        let to = Address::parse(Name::ReferTo, value).map_err(malformed)?;
        refusal::check_scheme(&to.uri)?;
        let target = to.uri_text.split(|&byte| byte == b'?').next().map(text).unwrap_or_default();
        let replaces = to.uri.headers.split(|&byte| byte == b'&').find_map(|header| {
            let (name, value) = header.split_at_checked(b"Replaces=".len())?;
            name.eq_ignore_ascii_case(b"Replaces=").then(|| Replaces::parse(decoded(value).as_bytes()))
        });
        Ok(Referral { target, replaces: replaces.transpose().map_err(malformed)? })
    }

    /// Answers a REFER: 202, or why not.
    pub(super) fn answer_referral(&mut self, now: Instant, id: LegId, refusal: Option<u16>, out: &mut Vec<Action>) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Some(subscription) = &mut leg.referral else { return };
        let Some(pending) = subscription.pending.take() else { return };
        let quiet = subscription.quiet;
        let sips = leg.dialog.as_ref().is_some_and(Dialog::is_sips);
        if quiet || refusal.is_some() {
            leg.referral = None;
        }
        let status = refusal.map_or(202, |status| if (300..700).contains(&status) { status } else { 603 });
        let mut writer = self.response(&pending.request, pending.source, status, None);
        if refusal.is_none() {
            self.write_contact(&mut writer, &pending.source, sips);
            if quiet {
                // RFC 4488 §4.
                writer.text("Refer-Sub", "false");
            }
        }
        self.respond(now, pending.server, status, writer.finish(SDP, b""), out);
        // RFC 3515 §2.4.4: the first report follows at once.
        self.report(now, id, 100, out);
    }

    /// Reports a status, behind the answer to the report before.
    pub(super) fn report(&mut self, now: Instant, id: LegId, status: u16, out: &mut Vec<Action>) {
        let open = self.subscription(id).filter(|subscription| !subscription.over && subscription.pending.is_none());
        let Some(subscription) = open else { return };
        subscription.over = status >= 200;
        subscription.next = Some(status);
        if !subscription.asks {
            self.notify(now, id, out);
        }
    }

    /// Whether a leg that is hung up has to wait for the answer to its last report; then why it ends is kept.
    pub(super) fn owes_report(leg: &mut Leg, why: &str) -> bool {
        let owed =
            leg.referral.as_mut().filter(|one| one.pending.is_none() && one.over && (one.asks || one.next.is_some()));
        owed.map(|owed| owed.hangup.get_or_insert_with(|| why.into())).is_some()
    }

    fn subscription(&mut self, id: LegId) -> Option<&mut Subscription> {
        match self.legs.get_mut(&id) {
            Some(leg) => leg.referral.as_deref_mut(),
            None => self.orphans.get_mut(&id).map(|orphan| &mut *orphan.subscription),
        }
    }

    /// Sends the report that is next.
    fn notify(&mut self, now: Instant, id: LegId, out: &mut Vec<Action>) {
        let Some(subscription) = self.subscription(id) else { return };
        let Some(status) = subscription.next.take() else { return };
        subscription.asks = true;
        let (event, until) = (subscription.id, subscription.until);
        let Some(mut dialog) = self.take_dialog(id) else { return };
        let client = ClientId { branch: self.ids.next_u64(), cancel: false };
        let (mut writer, destination) = dialog.request(Method::Notify, &branch(client), &self.settings.listeners);
        self.write_contact(&mut writer, &destination, dialog.is_sips());
        writer.text("Event", event.map_or("refer".to_owned(), |id| format!("refer;id={id}")));
        let left = until.saturating_duration_since(now).as_secs();
        writer.text(
            "Subscription-State",
            match status {
                ..200 => format!("active;expires={left}"),
                200.. => "terminated;reason=noresource".to_owned(),
            },
        );
        writer.text("User-Agent", &self.settings.user_agent);
        let body = format!("SIP/2.0 {status} {}\r\n", reason_phrase(status));
        let request = writer.finish(SIPFRAG, body.as_bytes());
        self.give_dialog(id, dialog);
        self.begin_client(now, client, Some(id), Ours::Errand(Errand::Notify), (destination, request), out);
    }

    /// A report was answered, or was not: 481 and silence end the subscription, and nothing else (RFC 5057 §5.1).
    pub(super) fn notified(&mut self, now: Instant, id: LegId, status: u16, out: &mut Vec<Action>) {
        let Some(subscription) = self.subscription(id) else { return };
        subscription.asks = false;
        if !(200..300).contains(&status) || (subscription.over && subscription.next.is_none()) {
            let waits = self.legs.get_mut(&id).and_then(|leg| leg.referral.take()).and_then(|over| over.hangup);
            if let Some(why) = waits {
                self.bye(now, id, &why, out);
            }
            return self.drop_orphan(id);
        }
        self.notify(now, id, out);
    }

    /// A leg is over whose transferor is still owed reports: its dialog stays for them.
    pub(super) fn orphan(&mut self, id: LegId, leg: &mut Leg) {
        let owed = leg.referral.take().filter(|subscription| subscription.pending.is_none());
        let Some((subscription, dialog)) = owed.zip(leg.dialog.take()) else { return };
        if self.orphans.len() >= self.settings.max_dialogs {
            return;
        }
        let until = subscription.until;
        let mut orphan = Orphan { dialog, subscription, armed: None };
        self.timers.arm(Owner::Orphan(id), &mut orphan.armed, Some(until));
        self.orphans.insert(id, orphan);
    }

    pub(super) fn drop_orphan(&mut self, id: LegId) {
        if let Some(mut orphan) = self.orphans.remove(&id) {
            self.timers.arm(Owner::Orphan(id), &mut orphan.armed, None);
        }
    }

    /// The dialog of a leg, or what an orphan has of it, to send a request in.
    fn take_dialog(&mut self, id: LegId) -> Option<Dialog> {
        match self.legs.get_mut(&id) {
            Some(leg) => leg.dialog.take(),
            None => self.orphans.get(&id).map(|orphan| orphan.dialog.clone()),
        }
    }

    fn give_dialog(&mut self, id: LegId, dialog: Dialog) {
        match (self.legs.get_mut(&id), self.orphans.get_mut(&id)) {
            (Some(leg), _) => leg.dialog = Some(dialog),
            (None, Some(orphan)) => orphan.dialog = dialog,
            (None, None) => {}
        }
    }

    /// Sends a REFER.
    pub(super) fn send_refer(&mut self, now: Instant, id: LegId, to: &ReferTo, out: &mut Vec<Action>) {
        let uri = match to {
            ReferTo::Uri(uri) => Uri::parse(uri.as_bytes()).ok().map(|_| uri.clone()),
            ReferTo::Leg(other) => self.legs.get(other).and_then(|leg| leg.dialog.as_ref()).map(Dialog::replaceable),
        };
        let Some(leg) = self.legs.get(&id) else { return };
        let Some(uri) = uri.filter(|_| matches!(leg.stage, Stage::Established) && !leg.refers) else {
            return out.push(Action::Event(Event::ReferAnswered { leg: id, status: 400 }));
        };
        let Some(mut dialog) = self.take_dialog(id) else { return };
        let client = ClientId { branch: self.ids.next_u64(), cancel: false };
        let (mut writer, destination) = dialog.request(Method::Refer, &branch(client), &self.settings.listeners);
        self.write_contact(&mut writer, &destination, dialog.is_sips());
        writer.header("Refer-To", |out| bracket(uri.as_bytes(), out));
        writer.text("User-Agent", &self.settings.user_agent);
        let request = writer.finish(SDP, b"");
        self.give_dialog(id, dialog);
        if let Some(leg) = self.legs.get_mut(&id) {
            // A report may overtake the 202.
            leg.refers = true;
        }
        self.begin_client(now, client, Some(id), Ours::Errand(Errand::Refer), (destination, request), out);
    }

    /// The answer to our REFER, or 408 for none.
    pub(super) fn refer_answered(&mut self, id: LegId, status: u16, out: &mut Vec<Action>) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.refers &= status < 300;
        out.push(Action::Event(Event::ReferAnswered { leg: id, status }));
    }

    /// A NOTIFY within a dialog: a report on our REFER, or of a subscription that we do not have (RFC 6665 §4.1.3).
    pub(super) fn receive_notify(
        &mut self,
        now: Instant,
        id: LegId,
        source: Peer,
        message: &Message,
        server: u64,
        out: &mut Vec<Action>,
    ) {
        let refers = self.legs.get(&id).is_some_and(|leg| leg.refers);
        let package = message.value(Name::Event).and_then(|value| value.split(|&byte| byte == b';').next());
        if !refers || package.is_none_or(|package| package.trim_ascii() != b"refer") {
            let response = self.response(message, source, Refusal::NoDialog.status(), None).finish(SDP, b"");
            return self.respond(now, server, Refusal::NoDialog.status(), response, out);
        }
        self.respond_simply(now, source, message, server, out);
        let state = message.value(Name::SubscriptionState).unwrap_or_default().trim_ascii();
        let terminated = state.get(..10).is_some_and(|state| state.eq_ignore_ascii_case(b"terminated"));
        // A subscription that ends without a word: what came of the call, nobody knows.
        let Some(status) = sipfrag_status(&message.body()).or(terminated.then_some(408)) else { return };
        let last = terminated || status >= 200;
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.refers = !last;
        }
        out.push(Action::Event(Event::ReferReported { leg: id, status, last }));
    }

    /// The leg that this INVITE is to take the place of (RFC 3891 §3).
    pub(super) fn replaced(&self, message: &Message) -> Result<Option<LegId>, Refusal> {
        let mut values = message.values(Name::Replaces);
        let Some(value) = values.next().filter(|_| self.settings.transfers) else { return Ok(None) };
        if values.next().is_some() {
            return Err(Refusal::Fault(Fault::Repeated(Name::Replaces)));
        }
        let replaces = Replaces::parse(value).map_err(|fault| Refusal::Fault(Fault::Malformed(fault)))?;
        let id = LocalTag::parse(&replaces.to_tag).and_then(|tag| self.by_tag.get(&tag)).ok_or(Refusal::NoDialog)?;
        let leg = self.legs.get(id).ok_or(Refusal::NoDialog)?;
        let dialog = leg.dialog.as_ref().ok_or(Refusal::NoDialog)?;
        if dialog.call_id() != replaces.call_id || dialog.remote_tag() != replaces.from_tag {
            return Err(Refusal::NoDialog);
        }
        match leg.stage {
            // An early dialog is replaced only where we began it, and those have no dialog here.
            Stage::Incoming | Stage::Outgoing(_) => Err(Refusal::NoDialog),
            Stage::Ending => Err(Refusal::Declined),
            Stage::Established if replaces.early_only => Err(Refusal::Answered),
            Stage::Established => Ok(Some(*id)),
        }
    }
}

/// The status in a report's body; `None` when there is none.
fn sipfrag_status(body: &Bytes) -> Option<u16> {
    let status: u16 = decimal(body.strip_prefix(b"SIP/2.0 ")?.get(..3)?)?;
    Some(status).filter(|status| (100..700).contains(status))
}
