//! Session timers (RFC 4028) of whole calls: what a call does for a refresh, and how one ends whose far end has vanished. The far end
//! holds, so that neither its silence nor the flow ends the call before.

use super::*;

const SESSION: Duration = Duration::from_secs(120);

/// A call on hold whose INVITE had these headers.
fn held(headers: &'static str) -> (Sim, usize) {
    let mut config = Config::default();
    config.sip.session = Some(SESSION);
    let mut sim = Sim::with(Setup { config, ..Setup::default() });
    let phone = sim.phone("holds");
    sim.phones[phone].invite_headers = headers;
    sim.invite(phone, "*2363");
    sim.until_heard(phone, "menu_principal");
    sim.phones[phone].direction = "inactive";
    sim.ask(phone, "INVITE", headers, &sim.phones[phone].sdp("inactive"));
    sim.advance(SECOND);
    assert_eq!(sim.phones[phone].finals, [200, 200]);
    (sim, phone)
}

fn vanish(sim: &mut Sim, phone: usize) {
    let phone = &mut sim.phones[phone];
    (phone.answers_changes, phone.answers_bye, phone.speaks) = (false, false, false);
}

fn asked(sim: &Sim, phone: usize, method: &str) -> Vec<u64> {
    let theirs = sim.phones[phone].log.iter().filter(|(_, ours, line)| !ours && line.starts_with(method));
    theirs.map(|(ms, _, _)| *ms).collect()
}

#[test]
fn a_call_is_refreshed_and_goes_on() {
    for (headers, used, other) in [
        ("Supported: timer\r\nAllow: INVITE, ACK, BYE, UPDATE\r\n", "UPDATE", "INVITE"),
        ("Supported: timer\r\nAllow: INVITE, ACK, BYE\r\n", "INVITE", "UPDATE"),
    ] {
        let (mut sim, phone) = held(headers);
        sim.advance(3 * MINUTE);
        let refreshes = asked(&sim, phone, used);
        assert_eq!((refreshes.len(), asked(&sim, phone, other).len()), (3, 0), "{}", sim.phones[phone].ladder());
        // Back from hold it hears the menu again, in one stream.
        sim.phones[phone].direction = "sendrecv";
        sim.reinvite(phone, "sendrecv");
        sim.until_heard(phone, "menu_principal");
        assert_eq!(sim.phones[phone].rtp_breaks, 0);
        sim.bye(phone);
        sim.phones[phone].talk = None;
        sim.assert_idle();
        assert_eq!(sim.record().cause, "the far end hung up");
    }
}

#[test]
fn a_far_end_that_vanishes_is_noticed_and_the_record_says_so() {
    let we = "Supported: timer\r\nAllow: UPDATE\r\n";
    let they = "Supported: timer\r\nSession-Expires: 120;refresher=uac\r\n";
    for (headers, after, cause) in [
        // 32 s before the session ends (RFC 4028 §10).
        (we, 88, "the far end has vanished: it did not answer a request within the call"),
        (they, 88, "the far end has vanished: it did not refresh the session (RFC 4028) in time"),
    ] {
        let (mut sim, phone) = held(headers);
        vanish(&mut sim, phone);
        let from = sim.ms();
        sim.until("BYE", 4 * MINUTE, |sim| !asked(sim, phone, "BYE").is_empty());
        let passed = (sim.ms() - from).div_ceil(1_000);
        assert!((after - 2..=after).contains(&passed), "{passed} s {}", sim.phones[phone].ladder());
        sim.phones[phone].talk = None;
        sim.assert_idle();
        assert_eq!((sim.record().cause.as_str(), sim.record().result.as_str()), (cause, "abandono"));
    }
}
