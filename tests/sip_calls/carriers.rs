//! Our INVITE by a carrier: proof of who we are, and other hops where one is not reached (RFC 3261 §22, RFC 3263 §4.3).

use std::time::Duration;

use bytes::Bytes;
use contesta::ids::LegId;
use contesta::sip::digest::Login;
use contesta::sip::digest::answer::Hopeless;
use contesta::sip::user_agent::{Hop, Through};
use contesta::sip::{Action, EndCause, Event, Invite, Method, Peer};

use super::{MINUTE, contact, ended, happened, ladder};
use crate::pair::{CALLED, CALLER, Pair, STORM};
use crate::peer::{ANSWER, Line, OFFER, US, events, first_line, first_lines, header, response, sent};

const SECOND: Duration = Duration::from_secs(1);
const FIRST: &str = "198.51.100.1:5060";
const SECOND_HOP: &str = "198.51.100.2:5060";
const THIRD: &str = "198.51.100.3:5060";

fn peer(address: &str) -> Peer {
    Peer::udp(address.parse().unwrap())
}

fn through(others: &[&str], password: Option<&str>) -> Through {
    let hop = |address: &&str| Hop { target: format!("sip:+525555123456@{address}"), destination: peer(address) };
    Through {
        hops: others.iter().map(hop).collect(),
        patience: 4 * SECOND,
        login: password.map(|password| Login { user: "5255".into(), password: password.into() }),
        headers: vec![("P-Asserted-Identity", b"<sip:+525550001122@carrier>".to_vec())],
    }
}

/// Calls by these hops; the INVITE that went out first.
fn dial(line: &mut Line, through: &Through) -> (LegId, Bytes) {
    let invite = Invite {
        target: format!("sip:+525555123456@{FIRST}"),
        destination: peer(FIRST),
        from: format!("sip:5255@{US}"),
        offer: OFFER.into(),
    };
    line.peer = peer(FIRST);
    let mut leg = LegId(0);
    let actions = line.ask(|agent, now, out| {
        leg = agent.reserve_leg();
        agent.invite_through(now, leg, &invite, through, out);
    });
    (leg, sent(&actions)[0].clone())
}

fn number(request: &[u8]) -> String {
    header(request, "CSeq").unwrap()
}

const CHALLENGE: &str = "Digest realm=\"carrier\", nonce=\"n1\", qop=\"auth\"";

/// The last INVITE among the actions, and where it went.
fn invite_of(actions: &[Action]) -> Option<(String, Bytes)> {
    actions.iter().rev().find_map(|action| match action {
        Action::Send { destination, message } if message.starts_with(b"INVITE") => {
            Some((destination.address.to_string(), message.clone()))
        }
        Action::Send { .. } | Action::Event(_) => None,
    })
}

#[test]
fn a_challenge_is_answered_once_and_the_ack_repeats_the_proof() {
    for (status, asks, answers) in
        [(401, "WWW-Authenticate", "Authorization"), (407, "Proxy-Authenticate", "Proxy-Authorization")]
    {
        for algorithm in ["MD5", "SHA-256"] {
            let mut line = Line::new();
            let (leg, first) = dial(&mut line, &through(&[], Some("corcel-7")));
            assert_eq!(header(&first, answers), None);
            assert!(header(&first, "P-Asserted-Identity").is_some());
            let challenge = format!("{asks}: {CHALLENGE}, algorithm={algorithm}\r\n");
            let actions = line.receive(response(&first, status, "t", &challenge, ""));
            assert_eq!(first_lines(&actions)[0], format!("ACK sip:+525555123456@{FIRST}"));
            let (_, second) = invite_of(&actions).unwrap();
            let proof = header(&second, answers).unwrap();
            for part in ["username=\"5255\"", "qop=auth", "nc=00000001", &format!("algorithm={algorithm}"), FIRST] {
                assert!(proof.contains(part), "{part} in {proof}");
            }
            assert!(!proof.contains("corcel"));
            assert_eq!((number(&first), number(&second)), ("1 INVITE".into(), "2 INVITE".into()));
            assert_eq!(header(&first, "Call-ID"), header(&second, "Call-ID"));
            assert_eq!(header(&first, "From"), header(&second, "From"));
            assert_ne!(header(&first, "Via"), header(&second, "Via"));
            assert_eq!(header(&second, "P-Asserted-Identity"), header(&first, "P-Asserted-Identity"));
            // The refusal once more: its ACK, and no third INVITE.
            let again = line.receive(response(&first, status, "t", &challenge, ""));
            assert_eq!(first_lines(&again).len(), 1);
            let answered = line.receive(response(&second, 200, "t", &contact(), ANSWER));
            assert_eq!(header(&sent(&answered)[0], answers), Some(proof), "RFC 3261 §22.1");
            assert!(matches!(&events(&answered)[..], [Event::Answered { leg: answered, .. }] if *answered == leg));
        }
    }
}

#[test]
fn a_wrong_password_is_shown_once_and_a_nonce_that_grew_old_is_not_one() {
    let challenge = |extra: &str| format!("WWW-Authenticate: {CHALLENGE}{extra}\r\n");
    let mut line = Line::new();
    let (leg, first) = dial(&mut line, &through(&[SECOND_HOP], Some("wrong")));
    let second = invite_of(&line.receive(response(&first, 401, "t", &challenge(""), ""))).unwrap().1;
    let third = invite_of(&line.receive(response(&second, 401, "t", &challenge(", stale=true"), ""))).unwrap().1;
    let refused = line.receive(response(&third, 401, "t", &challenge(""), ""));
    assert_eq!(events(&refused), [ended(leg, EndCause::Unproven(Hopeless::WrongPassword))]);
    assert!(EndCause::Unproven(Hopeless::WrongPassword).explain().contains("«password»"));
    assert_eq!(invite_of(&line.advance(MINUTE).into_iter().map(|(_, action)| action).collect::<Vec<_>>()), None);
    // Stale for ever.
    let (leg, mut invite) = dial(&mut line, &through(&[], Some("right")));
    let mut tries = 0;
    let over = loop {
        let actions = line.receive(response(&invite, 401, "t", &challenge(", stale=true"), ""));
        let Some((_, next)) = invite_of(&actions) else { break events(&actions) };
        (invite, tries) = (next, tries + 1);
    };
    assert_eq!((tries, over), (3, vec![ended(leg, EndCause::Unproven(Hopeless::Endless))]));
    // What we do not speak, and where there is no password.
    for (password, status, extra, cause) in [
        (Some("x"), 401, "WWW-Authenticate: Basic realm=x\r\n", EndCause::Unproven(Hopeless::NothingInCommon)),
        (None, 407, "Proxy-Authenticate: Digest realm=x, nonce=n\r\n", EndCause::RemoteRefused(407)),
    ] {
        let (leg, invite) = dial(&mut line, &through(&[], password));
        assert_eq!(events(&line.receive(response(&invite, status, "t", extra, ""))), [ended(leg, cause)]);
    }
    line.advance(2 * MINUTE);
    assert_eq!((line.agent.dialogs(), line.agent.transactions(), line.agent.poll_timeout()), (0, 0, None));
}

fn rerouted(leg: LegId, failed: &str, status: u16, next: &str) -> Event {
    Event::Rerouted { leg, failed: peer(failed), status, next: peer(next) }
}

#[test]
fn what_cannot_be_reached_leads_to_the_next_hop_and_what_is_final_does_not() {
    for status in [404, 486, 500, 603] {
        let mut line = Line::new();
        let (leg, invite) = dial(&mut line, &through(&[SECOND_HOP], None));
        let actions = line.receive(response(&invite, status, "t", "", ""));
        assert_eq!(events(&actions), [ended(leg, EndCause::RemoteRefused(status))]);
    }
    let mut line = Line::new();
    let (leg, invite) = dial(&mut line, &through(&[SECOND_HOP, THIRD], Some("corcel-7")));
    // It rang: a refusal behind that is one all the same.
    line.receive(response(&invite, 180, "t", "", ""));
    let actions = line.receive(response(&invite, 503, "t", "Retry-After: 10\r\n", ""));
    assert_eq!(events(&actions), [rerouted(leg, FIRST, 503, SECOND_HOP)]);
    let (to, invite) = invite_of(&actions).unwrap();
    assert_eq!((to.as_str(), first_line(&invite)), (SECOND_HOP, format!("INVITE sip:+525555123456@{SECOND_HOP}")));
    // No connection there.
    let actions = line.ask(|agent, now, out| agent.handle_undelivered(now, invite.clone(), out));
    assert_eq!(events(&actions), [rerouted(leg, SECOND_HOP, 503, THIRD)]);
    // The third asks who we are, is told, and is the last one.
    let (to, invite) = invite_of(&actions).unwrap();
    line.peer = peer(&to);
    let challenge = format!("WWW-Authenticate: {CHALLENGE}\r\n");
    let (to, invite) = invite_of(&line.receive(response(&invite, 401, "t", &challenge, ""))).unwrap();
    assert_eq!((to.as_str(), number(&invite)), (THIRD, "4 INVITE".into()));
    assert_eq!(events(&line.receive(response(&invite, 503, "t", "", ""))), [ended(leg, EndCause::RemoteRefused(503))]);
}

/// Four seconds without a word; the last one has until timer B, and nobody is left ringing behind our back.
#[test]
fn a_silent_hop_is_left_and_what_it_says_too_late_is_undone() {
    let mut line = Line::new();
    let (leg, first) = dial(&mut line, &through(&[SECOND_HOP], None));
    let passed = line.advance(5 * SECOND);
    let starts = [500, 1_500, 3_500].map(|at| (at, format!("INVITE sip:+525555123456@{FIRST}")));
    let next = (4_000, format!("INVITE sip:+525555123456@{SECOND_HOP}"));
    let again = (4_500, next.1.clone());
    assert_eq!(ladder(&passed), [starts.to_vec(), vec![next, again]].concat());
    assert_eq!(happened(passed), [(4_000, rerouted(leg, FIRST, 408, SECOND_HOP))]);
    // It rings at the first after all: cancelled there, once, and told to nobody.
    let late = line.receive(response(&first, 180, "old", "", ""));
    assert_eq!((first_lines(&late), events(&late)), (vec![format!("CANCEL sip:+525555123456@{FIRST}")], vec![]));
    assert_eq!(line.receive(response(&first, 183, "old", "", "")), []);
    // It was answered there before the CANCEL came.
    let late = line.receive(response(&first, 200, "old", &contact(), ANSWER));
    assert_eq!(events(&late), []);
    let lines = first_lines(&late);
    assert!(lines[0].starts_with("ACK ") && lines[1].starts_with("BYE "), "{lines:?}");
    line.receive(response(&sent(&late)[1], 200, "", "", ""));
    // The second stays silent too.
    let passed = line.advance(MINUTE);
    assert_eq!(happened(passed), [(36_000, ended(leg, EndCause::RemoteRefused(408)))]);
    line.advance(2 * MINUTE);
    assert_eq!((line.agent.dialogs(), line.agent.transactions(), line.agent.poll_timeout()), (0, 0, None));
    // Whoever hangs up meanwhile wants no other hop; whoever hears something waits for it.
    let (leg, _) = dial(&mut line, &through(&[SECOND_HOP], None));
    line.ask(|agent, now, out| agent.hangup(now, leg, "over", out));
    let passed = line.advance(MINUTE);
    assert!(passed.iter().all(|(_, action)| !matches!(action, Action::Event(Event::Rerouted { .. }))));
    let (leg, invite) = dial(&mut line, &through(&[SECOND_HOP], None));
    line.receive(response(&invite, 100, "", "", ""));
    assert_eq!(line.advance(2 * MINUTE), []);
    assert_eq!(events(&line.receive(response(&invite, 486, "t", "", ""))), [ended(leg, EndCause::RemoteRefused(486))]);
}

/// A hop that rings too late, and says nothing more to its CANCEL, is not waited for without end.
#[test]
fn a_hop_that_rings_too_late_and_never_ends_is_forgotten() {
    let mut line = Line::new();
    let (leg, first) = dial(&mut line, &through(&[SECOND_HOP], None));
    let passed = line.advance(5 * SECOND);
    let second = passed.iter().rev().find_map(|(_, action)| invite_of(std::slice::from_ref(action))).unwrap().1;
    line.receive(response(&first, 180, "old", "", ""));
    assert_eq!(events(&line.receive(response(&second, 486, "t", "", ""))), [ended(leg, EndCause::RemoteRefused(486))]);
    line.advance(2 * MINUTE);
    assert_eq!((line.agent.dialogs(), line.agent.transactions(), line.agent.poll_timeout()), (0, 0, None));
}

/// Whoever hangs up before anything has come back sends no further copy: what arrives now would ring for nobody.
#[test]
fn an_invite_that_nobody_wants_any_more_is_not_sent_again() {
    let mut line = Line::new();
    let (leg, invite) = dial(&mut line, &through(&[], None));
    line.ask(|agent, now, out| agent.hangup(now, leg, "over", out));
    assert_eq!(ladder(&line.advance(10 * SECOND)), []);
    // It had arrived all the same, and is cancelled.
    let late = line.receive(response(&invite, 180, "t", "", ""));
    assert_eq!(first_lines(&late), [format!("CANCEL sip:+525555123456@{FIRST}")]);
    line.receive(response(&invite, 487, "t", "", ""));
    line.advance(2 * MINUTE);
    assert_eq!((line.agent.dialogs(), line.agent.transactions(), line.agent.poll_timeout()), (0, 0, None));
    let mut line = Line::new();
    let (leg, _) = dial(&mut line, &through(&[], None));
    line.ask(|agent, now, out| agent.hangup(now, leg, "over", out));
    let passed = line.advance(MINUTE);
    assert_eq!((ladder(&passed), happened(passed)), (vec![], vec![(32_000, ended(leg, EndCause::LocalBye))]));
}

/// Over a line that loses one in five, with a first hop that is dead: one call at each end, whatever overtakes what.
#[test]
fn a_dead_hop_costs_four_seconds_and_no_second_call() {
    for seed in 0..12 {
        let mut pair = Pair::new(seed, STORM, |_, _| {});
        let hop = Hop { target: format!("sip:*2363@{US}"), destination: peer(US) };
        pair.through = Some((peer(FIRST), Through { hops: vec![hop], ..through(&[], None) }));
        let mut pair = pair.talk();
        assert_eq!(pair.count(CALLED, |event| matches!(event, Event::Invited { .. })), 1, "seed {seed}");
        assert_eq!(pair.count(CALLER, |event| matches!(event, Event::Rerouted { status: 408, .. })), 1);
        assert_eq!(pair.requests(CALLER, Method::Invite), [1, 2], "seed {seed}: {}", pair.picture());
        pair.hangup(CALLER);
        pair.assert_over();
        assert_eq!(pair.ended(CALLED).map(|(_, cause)| cause), Some(EndCause::RemoteBye));
    }
}
