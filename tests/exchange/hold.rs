//! What a hold does to a call: nobody listens, so nothing is said, no patience runs out, and what was cut is said again.

use super::*;

/// A phone whose end holds, whichever way it says so (RFC 3264 §8.4, §B.9), and comes back.
#[test]
fn a_prompt_cut_by_a_hold_is_said_again_from_its_beginning() {
    for hold in ["a=sendonly", "a=inactive", "c=IN IP4 0.0.0.0"] {
        let mut sim = Sim::new();
        let phone = sim.talk("holds", "*2363");
        sim.until_heard(phone, "menu_principal");
        sim.advance(ms(200));
        let sdp = sim.phones[phone].sdp("sendrecv");
        let held = match hold.split_once(' ') {
            Some(_) => sdp.replace(&format!("c=IN IP4 {}", sim.phones[phone].rtp.ip()), hold),
            None => sdp.replace("a=sendrecv", hold),
        };
        sim.ask(phone, "INVITE", "", &held);
        sim.advance(5 * MINUTE);
        assert_eq!(sim.phones[phone].keys(), ["bienvenida", "aviso_privacidad", "menu_principal"], "{hold}");
        let back = sim.ms();
        sim.reinvite(phone, "sendrecv");
        sim.until_heard(phone, "menu_principal");
        let (at, _) = *sim.phones[phone].heard.last().unwrap();
        assert!(at - back <= 40, "{hold}: {} ms", at - back);
        assert_eq!((sim.phones[phone].rtp_breaks, sim.phones[phone].finals.as_slice()), (0, &[200, 200, 200][..]));
        sim.press(phone, "2");
        sim.until_heard(phone, "menu_informacion");
        sim.bye(phone);
        sim.assert_idle();
        let path: Vec<&str> = sim.record().path.iter().map(|entry| entry.what.as_str()).collect();
        assert!(path.contains(&"the far end holds the call: the flow waits"), "{hold}: {path:?}");
        assert!(path.contains(&"the far end is back after 300 s") && !path.contains(&"no input"), "{hold}: {path:?}");
    }
}

/// The menu waits five seconds for a key: four of them pass before the hold, one after it.
#[test]
fn patience_goes_on_where_the_hold_interrupted_it() {
    let mut sim = Sim::new();
    let phone = sim.talk("holds", "*2363");
    sim.until_heard(phone, "menu_principal");
    sim.listen(phone);
    let quiet_since = sim.phones[phone].sound_at;
    sim.advance(ms(4_000 - (sim.ms() - quiet_since)));
    sim.reinvite(phone, "inactive");
    sim.advance(MINUTE);
    // Said twice: a session timer's refresh in the midst of the hold does not begin another.
    sim.reinvite(phone, "inactive");
    sim.advance(MINUTE);
    let back = sim.ms();
    sim.reinvite(phone, "sendrecv");
    sim.until_heard(phone, "no_escuche");
    let after = sim.phones[phone].heard.last().unwrap().0 - back;
    assert!((980..=1_060).contains(&after), "{after} ms");
    sim.bye(phone);
    sim.assert_idle();
}

/// What was asked before the hold is answered in it, and told after it.
#[test]
fn an_answer_that_comes_during_a_hold_is_heard_after_it() {
    let mut sim = Sim::new();
    sim.slow = vec![("coverage.lookup", 2 * SECOND)];
    let phone = sim.talk("holds", "*2363");
    sim.keys(phone, "2,1,72530");
    sim.until("asked", 5 * SECOND, |sim| sim.asked.iter().any(|asked| asked == "coverage.lookup"));
    let heard = sim.phones[phone].heard.len();
    sim.reinvite(phone, "sendonly");
    sim.advance(MINUTE);
    assert_eq!(sim.phones[phone].heard.len(), heard, "{:?}", sim.phones[phone].keys());
    sim.reinvite(phone, "sendrecv");
    sim.listen(phone);
    assert!(sim.phones[phone].heard.len() > heard);
    sim.bye(phone);
    sim.assert_idle();
    assert!(sim.record().path.iter().any(|entry| entry.what.starts_with("coverage.lookup answers")));
}

#[test]
fn a_call_that_is_held_for_too_long_ends_with_its_cause() {
    let mut sim = Sim::new();
    let phone = sim.talk("forgets", "*2363");
    sim.until_heard(phone, "menu_principal");
    sim.reinvite(phone, "inactive");
    let held = sim.ms();
    sim.until("hung up", 20 * MINUTE, |sim| sim.phones[phone].bye.is_some());
    assert_eq!(sim.ms() - held, 600_000);
    sim.assert_idle();
    let record = sim.record();
    assert_eq!(
        (record.result.as_str(), record.cause.as_str()),
        ("abandono", "the caller's end held the call for too long")
    );
    assert!(record.path.iter().any(|entry| entry.what == "note colgó quien llamó"), "on_hangup ran");
}

/// Third-party call control begins with a stream that nobody hears (RFC 3725 §4.4): it is answered, and the greeting waits.
#[test]
fn a_call_that_begins_held_is_greeted_when_its_far_end_listens() {
    let mut sim = Sim::new();
    let phone = sim.phone("3pcc");
    (sim.phones[phone].called, sim.phones[phone].to) = ("*2363".into(), "*2363".into());
    let sdp = sim.phones[phone].sdp("inactive");
    sim.ask(phone, "INVITE", "", &sdp);
    sim.advance(MINUTE);
    assert_eq!((sim.phones[phone].finals.as_slice(), sim.phones[phone].keys().len()), (&[200][..], 0));
    sim.reinvite(phone, "sendrecv");
    sim.until_heard(phone, "menu_principal");
    assert_eq!(sim.phones[phone].keys(), ["bienvenida", "aviso_privacidad", "menu_principal"]);
    // Hung up while it is held again: the flow's own end is not held up.
    sim.reinvite(phone, "inactive");
    sim.advance(MINUTE);
    sim.bye(phone);
    sim.assert_idle();
    assert_eq!(sim.record().cause, "the far end hung up");
}
