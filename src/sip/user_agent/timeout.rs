//! What happens when a timer fires.

use std::time::Instant;

use super::leg::{Outgoing, Stage};
use super::transactions::{ClientMachine, Errand};
use super::{UserAgent, send};
use crate::ids::LegId;
use crate::sip::action::{Action, EndCause};
use crate::sip::method::Method;
use crate::sip::timers::{ClientId, Owner};
use crate::sip::transaction::Fired;

impl UserAgent {
    pub(super) fn fire(&mut self, now: Instant, owner: Owner, out: &mut Vec<Action>) {
        match owner {
            Owner::Server(id) => self.fire_server(now, id, out),
            Owner::Client(id) => self.fire_client(now, id, out),
            Owner::Leg(id) => self.fire_leg(now, id, out),
            Owner::Orphan(id) => self.drop_orphan(id),
            Owner::Registrar => self.fire_registrar(now, out),
        }
    }

    fn fire_server(&mut self, now: Instant, id: u64, out: &mut Vec<Action>) {
        let Some(server) = self.servers.get_mut(id) else { return };
        let destination = server.destination;
        match server.machine.handle_timeout(now) {
            Fired::Nothing => self.arm_server(id),
            Fired::Send(response) => {
                send(destination, response, out);
                self.arm_server(id);
            }
            // A refusal without ACK (timer H) needs nobody's help: the leg ended when it was refused.
            Fired::Terminated | Fired::TimedOut => self.remove_server(id),
        }
    }

    fn fire_client(&mut self, now: Instant, id: ClientId, out: &mut Vec<Action>) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let destination = client.destination;
        match client.machine.handle_timeout(now) {
            Fired::Nothing => self.arm_client(id),
            Fired::Send(request) => {
                send(destination, request, out);
                self.arm_client(id);
            }
            Fired::Terminated => self.remove_client(id),
            // RFC 3261 §8.1.3.1: a time-out is a 408.
            Fired::TimedOut => self.end_unanswered(now, id, 408, out),
        }
    }

    /// A request of ours got no answer: what follows is what `status` would have brought (RFC 3261 §8.1.3.1).
    pub(super) fn end_unanswered(&mut self, now: Instant, id: ClientId, status: u16, out: &mut Vec<Action>) {
        let Some(client) = self.clients.get(&id) else { return };
        let (leg, destination) = (client.leg, client.destination);
        let mut invite = None;
        let what = match &client.machine {
            ClientMachine::Invite(_, ours) => {
                invite = Some(ours.clone());
                None
            }
            ClientMachine::Reinvite(..) => Some(Method::Invite),
            ClientMachine::Other(_, errand) => Some(errand.method()),
        };
        let outside = matches!(client.machine, ClientMachine::Other(_, Errand::Outside(_)));
        self.remove_client(id);
        if outside {
            return Self::responded(id, status, None, out);
        }
        let Some(leg) = leg else { return };
        match what {
            None => {
                let Some(ours) = invite else { return };
                if let Some(cause) = self.follow_refusal(now, leg, &ours, destination, (status, None), out) {
                    self.finish(leg, cause, out);
                }
            }
            Some(Method::Bye) => self.finish(leg, EndCause::LocalBye, out),
            Some(Method::Prack | Method::Cancel) => {}
            Some(Method::Info) => self.info_answered(now, leg, status, out),
            Some(Method::Refer) => self.refer_answered(leg, status, out),
            Some(Method::Notify) => self.notified(now, leg, status, out),
            Some(_) => self.change_refused(now, leg, status, None, out),
        }
    }

    fn fire_leg(&mut self, now: Instant, id: LegId, out: &mut Vec<Action>) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if let Stage::Outgoing(Outgoing { client, cancelled_until, .. }) = leg.stage {
            if cancelled_until.is_none_or(|until| now < until) {
                return self.give_up_hop(now, id, out);
            }
            // RFC 3261 §9.1: 64·T1 behind the CANCEL, the INVITE is taken for cancelled.
            self.remove_client(client);
            return self.finish(id, EndCause::LocalBye, out);
        }
        if leg.reliable.is_some() && matches!(leg.stage, Stage::Incoming) {
            return self.fire_reliable(now, id, out);
        }
        let Some(open) = &mut leg.unacknowledged else { return self.fire_session(now, id, out) };
        if open.give_up_at <= now {
            // RFC 3261 §13.3.1.4: the dialog is confirmed, the session should be ended.
            return self.give_up(now, id, EndCause::NoAck, (408, "no ACK for our 200"), out);
        }
        if open.resend_at <= now {
            send(open.destination, open.response.clone(), out);
            open.interval = (open.interval * 2).min(self.timing.t2);
            open.resend_at += open.interval;
            if open.resend_at <= now {
                open.resend_at = now + open.interval;
            }
        }
        self.fire_session(now, id, out);
    }
}
