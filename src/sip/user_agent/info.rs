//! INFO of our own (RFC 6086 §4.2.1, in the older use without a package): a body for the far end, within the dialog.

use std::time::Instant;

use super::UserAgent;
use super::finish::branch;
use super::leg::Stage;
use super::transactions::{Errand, Ours};
use crate::ids::LegId;
use crate::sip::action::{Action, EndCause, Event};
use crate::sip::method::Method;
use crate::sip::timers::ClientId;

impl UserAgent {
    /// Sends an INFO. Only an established dialog has one: RFC 6086 §4.2.1 keeps them out of early ones without need.
    pub(super) fn send_info(
        &mut self,
        now: Instant,
        id: LegId,
        content_type: &'static str,
        body: &[u8],
        out: &mut Vec<Action>,
    ) {
        let Some(leg) = self.legs.get_mut(&id).filter(|leg| matches!(leg.stage, Stage::Established)) else { return };
        let Some(dialog) = &mut leg.dialog else { return };
        let client = ClientId { branch: self.ids.next_u64(), cancel: false };
        let (mut writer, destination) = dialog.request(Method::Info, &branch(client), &self.settings.listeners);
        writer.text("User-Agent", &self.settings.user_agent);
        let request = writer.finish(content_type, body);
        self.begin_client(now, client, Some(id), Ours::Errand(Errand::Info), (destination, request), out);
    }

    /// The answer to our INFO, or 408 for none. A dialog that the far end does not know, or in which nobody answers, is over
    /// (RFC 3261 §12.2.1.2).
    pub(super) fn info_answered(&mut self, now: Instant, id: LegId, status: u16, out: &mut Vec<Action>) {
        if !self.legs.get(&id).is_some_and(|leg| matches!(leg.stage, Stage::Established)) {
            return;
        }
        match status {
            408 => self.give_up(now, id, EndCause::Vanished, (408, "no answer within the dialog"), out),
            481 => self.give_up(now, id, EndCause::Forgotten, (481, "the dialog is unknown there"), out),
            _ => out.push(Action::Event(Event::InfoAnswered { leg: id, status })),
        }
    }
}
