//! How a leg ends: `hangup` in each stage, our BYE (RFC 3261 §15.1.1), and the one `Ended` event.

use std::time::Instant;

use tracing::debug;

use super::UserAgent;
use super::leg::Stage;
use super::transactions::{Errand, Ours};
use crate::ids::LegId;
use crate::sip::action::{Action, EndCause, Event};
use crate::sip::dialog::Dialog;
use crate::sip::header::reason;
use crate::sip::method::Method;
use crate::sip::refusal::SDP;
use crate::sip::timers::{ClientId, Owner};

/// What `hangup` refuses an unanswered INVITE with.
const DECLINE: u16 = 603;

impl UserAgent {
    pub(super) fn end_leg(&mut self, now: Instant, id: LegId, why: &str, out: &mut Vec<Action>) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if matches!(leg.stage, Stage::Established) && Self::owes_report(leg, why) {
            return;
        }
        match &mut leg.stage {
            Stage::Incoming => {
                let Some(pending) = leg.pending.take() else { return };
                let Some(leg) = self.legs.get(&id) else { return };
                let mut writer = self.respond_pending(leg, &pending, DECLINE);
                if !why.is_empty() {
                    writer.header("Reason", |out| reason::write(DECLINE, why, out));
                }
                self.respond(now, pending.server, DECLINE, writer.finish(SDP, b""), out);
                self.finish(id, EndCause::Refused(DECLINE), out);
            }
            Stage::Outgoing(outgoing) if outgoing.hangup.is_none() => {
                outgoing.hangup = Some(why.into());
                outgoing.trying = None;
                self.arm_leg(id);
                self.cancel(now, id, out);
            }
            Stage::Established => match &mut leg.unacknowledged {
                // RFC 3261 §15: the callee MUST NOT send a BYE until its 2xx was acknowledged or timed out.
                Some(open) => open.hangup = open.hangup.take().or_else(|| Some(why.into())),
                None => {
                    self.terminate_pending(now, id, out);
                    self.bye(now, id, why, out);
                }
            },
            Stage::Outgoing(_) | Stage::Ending => {}
        }
    }

    /// Sends BYE and waits for its answer.
    pub(super) fn bye(&mut self, now: Instant, id: LegId, why: &str, out: &mut Vec<Action>) {
        self.terminate_pending(now, id, out);
        // What the far end offered has to be acknowledged, though nobody wants it any more.
        self.acknowledge_offer(id, b"", out);
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Some(mut dialog) = leg.dialog.take() else { return };
        leg.stage = Stage::Ending;
        (leg.session, leg.change) = (None, None);
        self.send_bye(now, &mut dialog, Some(id), (200, why), out);
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.dialog = Some(dialog);
        }
        self.arm_leg(id);
    }

    /// Ends a leg whose far end is taken for gone: BYE, to whoever may still hear it, and no waiting for its answer.
    pub(super) fn give_up(
        &mut self,
        now: Instant,
        id: LegId,
        cause: EndCause,
        why: (u16, &str),
        out: &mut Vec<Action>,
    ) {
        self.terminate_pending(now, id, out);
        if let Some(mut dialog) = self.legs.get_mut(&id).and_then(|leg| leg.dialog.take()) {
            self.send_bye(now, &mut dialog, None, why, out);
        }
        self.finish(id, cause, out);
    }

    /// Sends BYE within `dialog`. `leg` is told of its end, if given; `why` is cause and text of Reason.
    pub(super) fn send_bye(
        &mut self,
        now: Instant,
        dialog: &mut Dialog,
        leg: Option<LegId>,
        why: (u16, &str),
        out: &mut Vec<Action>,
    ) {
        let id = ClientId { branch: self.ids.next_u64(), cancel: false };
        let (mut writer, destination) = dialog.request(Method::Bye, &branch(id), &self.settings.listeners);
        if !why.1.is_empty() {
            writer.header("Reason", |out| reason::write(why.0, why.1, out));
        }
        writer.text("User-Agent", &self.settings.user_agent);
        let request = writer.finish(SDP, b"");
        self.begin_client(now, id, leg, Ours::Errand(Errand::Bye), (destination, request), out);
    }

    /// Brings the timer index up to date with a client transaction.
    pub(super) fn arm_client(&mut self, id: ClientId) {
        if let Some(client) = self.clients.get_mut(&id) {
            let at = client.machine.poll_timeout().map(|(at, _)| at);
            self.timers.arm(Owner::Client(id), &mut client.armed, at);
        }
    }

    pub(super) fn remove_client(&mut self, id: ClientId) {
        if let Some(mut client) = self.clients.remove(&id) {
            self.timers.arm(Owner::Client(id), &mut client.armed, None);
        }
    }

    pub(super) fn remove_server(&mut self, id: u64) {
        if let Some(server) = self.servers.get_mut(id) {
            self.timers.arm(Owner::Server(id), &mut server.armed, None);
        }
        self.servers.remove(id);
    }

    /// The leg is over. Its transactions live on until their own timers end them.
    pub(super) fn finish(&mut self, id: LegId, cause: EndCause, out: &mut Vec<Action>) {
        let Some(mut leg) = self.legs.remove(&id) else { return };
        self.by_tag.remove(&leg.tag);
        self.timers.arm(Owner::Leg(id), &mut leg.armed, None);
        self.orphan(id, &mut leg);
        debug!(leg = id.0, cause = ?cause, "ended");
        out.push(Action::Event(Event::Ended { leg: id, cause }));
    }
}

/// The branch of a client transaction, cookie and all.
pub(super) fn branch(id: ClientId) -> String {
    format!("z9hG4bK{:016x}", id.branch)
}
