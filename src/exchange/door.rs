//! Every message passes here on its way to the user agent: the guard is asked about it where it has to be.

use std::time::Instant;

use bytes::Bytes;

use super::Snapshot;
use super::guard::{Guard, Kind, Standing, Verdict};
use crate::sip::user_agent::What;
use crate::sip::{Action, Method, Peer, UserAgent};

/// Lets a message in, refuses it, or drops it. Whether it was let in.
pub(super) fn receive(
    now: Instant,
    source: Peer,
    message: Bytes,
    (guard, user_agent): (&mut Guard, &mut UserAgent),
    snapshot: &Snapshot,
    out: &mut Vec<Action>,
) -> bool {
    let standing = snapshot.standing(source.address);
    // A phone may register from some places only, whoever may call from there.
    let registers = message.trim_ascii_start().starts_with(b"REGISTER ");
    if !registers && !guard.must_look(&source, standing, message.len()) {
        user_agent.handle_message(now, source, message, out);
        return true;
    }
    if guard.is_too_long(standing, message.len()) {
        return false;
    }
    let registrar = user_agent.registrar();
    let is_phone = registrar.is_some_and(|registrar| registrar.user_at(&source).is_some());
    let Some(seen) = user_agent.look(source, message.clone()) else {
        // What keeps a phone's way open is no SIP.
        if guard.admit(now, &source, standing, is_phone, Kind::Noise) == Verdict::Pass {
            user_agent.handle_message(now, source, message, out);
        }
        return false;
    };
    let may_register = snapshot.may_register(source.address);
    let kind = match &seen.what {
        What::Known => Kind::Known,
        What::Register { user }
            if may_register && registrar.is_some_and(|registrar| !registrar.accounts().is_empty()) =>
        {
            let is_own = |user: &String| registrar.is_some_and(|registrar| registrar.is_at(&source, user));
            Kind::Register { user: user.as_deref(), own: is_phone && user.as_ref().is_none_or(is_own) }
        }
        What::Register { .. } => Kind::Request(Method::Register),
        What::Request(method) => Kind::Request(*method),
    };
    let elsewhere = kind == Kind::Request(Method::Register) && !may_register && standing != Standing::Stranger;
    let verdict = guard.admit(now, &source, standing, is_phone, kind);
    match verdict {
        Verdict::Pass if elsewhere => user_agent.turn_away(&seen, out),
        Verdict::Pass => user_agent.handle_seen(now, &seen, out),
        Verdict::Refuse => user_agent.turn_away(&seen, out),
        Verdict::Drop => {}
    }
    verdict == Verdict::Pass && !elsewhere
}
