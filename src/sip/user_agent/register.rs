//! REGISTER and its answer (RFC 3261 §10.3), written from what the registrar decides; and what time and connections do to
//! registrations.

use std::time::Instant;

use tracing::debug;

use super::receive::stateless_tag;
use super::transactions::ServerMachine;
use super::{UserAgent, send};
use crate::sip::action::{Action, Event};
use crate::sip::envelope::Envelope;
use crate::sip::header::{Name, contact_list};
use crate::sip::message::Message;
use crate::sip::refusal::{Refusal, SDP};
use crate::sip::registrar::{Answer, OUTBOUND, Registrar, Report};
use crate::sip::timers::Owner;
use crate::sip::transaction::key::Key;
use crate::sip::transaction::server::Server;
use crate::sip::transport::{Flow, Peer};

impl UserAgent {
    /// Phones register with this one. Without a registrar REGISTER gets 405.
    #[must_use]
    pub fn with_registrar(mut self, registrar: Registrar) -> Self {
        self.registrar = Some(registrar);
        self.arm_registrar();
        self
    }

    /// Where phones are registered.
    #[must_use]
    pub fn registrar(&self) -> Option<&Registrar> {
        self.registrar.as_ref()
    }

    /// Tells the registrar something: its reports come out as events.
    pub fn tell_registrar(&mut self, tell: impl FnOnce(&mut Registrar, &mut Vec<Report>), out: &mut Vec<Action>) {
        let Some(registrar) = &mut self.registrar else { return };
        let mut reports = Vec::new();
        tell(registrar, &mut reports);
        out.extend(reports.into_iter().map(|report| Action::Event(Event::Registrar(report))));
        self.arm_registrar();
    }

    /// A connection is closed: phones that came by it are reached no more, unless their contact says where.
    pub fn flow_closed(&mut self, flow: Flow, out: &mut Vec<Action>) {
        self.tell_registrar(|registrar, reports| registrar.flow_closed(flow, reports), out);
    }

    /// A REGISTER outside dialogs. Whoever proved to be somebody gets a transaction, so that a copy of the request gets the same
    /// answer; a challenge is forgotten as soon as it is sent.
    pub(super) fn receive_register(
        &mut self,
        now: Instant,
        source: Peer,
        message: &Message,
        envelope: &Envelope<'_>,
        key: Key,
        out: &mut Vec<Action>,
    ) {
        let Some(registrar) = &mut self.registrar else {
            return self.refuse(source, message, Refusal::MethodNotAllowed, out);
        };
        let mut reports = Vec::new();
        let answer = registrar.handle(now, source, message, envelope, &mut reports);
        out.extend(reports.into_iter().map(|report| Action::Event(Event::Registrar(report))));
        self.arm_registrar();
        let destination = envelope.via.response_destination(source);
        match answer {
            Answer::Refused(refusal) => {
                debug!(peer = %source, status = refusal.status(), "not registered");
                self.refuse(source, message, refusal, out);
            }
            Answer::Challenge(lines) => {
                let mut writer = self.response(message, source, 401, Some(stateless_tag(message)));
                for line in lines {
                    writer.text(Name::WwwAuthenticate.text(), line);
                }
                send(destination, writer.finish(SDP, b""), out);
            }
            Answer::Registered { user, outbound } => {
                let mut writer = self.response(message, source, 200, Some(stateless_tag(message)));
                for contact in self.registrar.iter().flat_map(|registrar| registrar.contacts(now, &user)) {
                    writer.header("Contact", |out| contact_list::write(&contact, out));
                }
                if outbound {
                    writer.text(Name::Require.text(), OUTBOUND);
                }
                let machine = ServerMachine::Other(Server::new(self.timing.over(source.transport)));
                let server = self.servers.insert(machine, destination, None, key, None);
                self.respond(now, server, 200, writer.finish(SDP, b""), out);
            }
        }
    }

    pub(super) fn fire_registrar(&mut self, now: Instant, out: &mut Vec<Action>) {
        self.tell_registrar(|registrar, reports| registrar.handle_timeout(now, reports), out);
    }

    fn arm_registrar(&mut self) {
        let at = self.registrar.as_ref().and_then(Registrar::poll_timeout);
        self.timers.arm(Owner::Registrar, &mut self.registrar_armed, at);
    }
}
