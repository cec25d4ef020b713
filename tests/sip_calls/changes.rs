//! What either end asks within a call: re-INVITE and UPDATE, crossing, late, lost, refused.

use std::time::Duration;

use bytes::Bytes;
use contesta::dtmf::info;
use contesta::sip::{EndCause, Event};

use super::{MINUTE, ended, happened};
use crate::pair::{CALLED, CALLER, CALM, Pair, STORM};
use crate::peer::{ANSWER, Call, Line, OFFER, PEER, events, first_line, first_lines, header, response, sent, statuses};

const SDP: &str = "Contact: <sip:alice@192.0.2.20:5062>\r\nContent-Type: application/sdp\r\n";

fn is_reanswered(event: &Event) -> bool {
    matches!(event, Event::Reanswered { .. })
}

/// Hold and resume from both ends, one behind the other, over a bad line.
#[test]
fn each_end_changes_the_session_over_a_bad_line() {
    for seed in 0..8 {
        let mut pair = Pair::new(seed, STORM, |_, _| {}).talk();
        for round in 1..=4 {
            for end in [CALLER, CALLED] {
                pair.reoffer(end);
                pair.advance(MINUTE);
                assert_eq!(pair.count(end, is_reanswered), round, "seed {seed}: {}", pair.picture());
            }
        }
        for end in [CALLER, CALLED] {
            assert_eq!(pair.count(end, |event| matches!(event, Event::Reoffered { .. })), 4);
            assert!(!pair.has(end, |event| matches!(event, Event::Unchanged { .. })));
        }
        pair.hangup(CALLED);
        pair.assert_over();
    }
}

/// RFC 3261 §14.1: each refuses the other's with 491, and tries its own again after a time that tells them apart.
#[test]
fn offers_that_cross_are_refused_and_made_again() {
    let mut waits = [Vec::new(), Vec::new()];
    for seed in 0..60 {
        let mut pair = Pair::new(seed, CALM, |_, _| {}).talk();
        pair.reoffer(CALLER);
        pair.reoffer(CALLED);
        pair.advance(Duration::from_secs(10));
        for (end, waits) in [CALLER, CALLED].into_iter().zip(&mut waits) {
            let sent = &pair.ends[end].sent;
            let refused = sent.iter().find(|(_, line)| line == "491 Request Pending").unwrap().0;
            let again = sent.iter().find(|(ms, line)| line.starts_with("INVITE") && *ms > refused).unwrap().0;
            // Its own 491 comes at the same moment, with the line's delay.
            waits.push(again - refused - 20);
            assert_eq!(pair.count(end, is_reanswered), 1, "seed {seed}: {}", pair.picture());
        }
        pair.hangup(CALLER);
        pair.assert_over();
    }
    for (waits, range) in waits.iter().zip([2_100..=4_000, 0..=2_000]) {
        let (least, most) = (*waits.iter().min().unwrap(), *waits.iter().max().unwrap());
        assert!(waits.iter().all(|wait| range.contains(wait) && wait % 10 == 0), "{range:?}: {waits:?}");
        assert!(least < range.start() + 200 && most > range.end() - 200, "{range:?}: {waits:?}");
    }
    // Over a bad line, too.
    for seed in 0..10 {
        let mut pair = Pair::new(seed, STORM, |_, _| {}).talk();
        pair.reoffer(CALLED);
        pair.reoffer(CALLER);
        pair.advance(3 * MINUTE);
        assert_eq!(
            [CALLER, CALLED].map(|end| pair.count(end, is_reanswered)),
            [1, 1],
            "seed {seed}: {}",
            pair.picture()
        );
        pair.hangup(CALLED);
        pair.assert_over();
    }
}

/// Both the first INVITE and a re-INVITE may leave the offer to the far end; the ACK brings the answer.
#[test]
fn an_offer_may_be_left_to_the_far_end() {
    let answered = |event: &Event| matches!(event, Event::Confirmed { answer: Some(answer), .. } if answer == ANSWER);
    for seed in 0..8 {
        let mut pair = Pair::new(seed, STORM, |_, _| {});
        pair.ends[CALLER].owner.offerless = true;
        let mut pair = pair.talk();
        assert_eq!(pair.count(CALLED, answered), 1, "seed {seed}: {}", pair.picture());
        pair.reoffer(CALLER);
        pair.advance(MINUTE);
        assert_eq!((pair.count(CALLED, answered), pair.count(CALLER, is_reanswered)), (2, 1));
        pair.ends[CALLED].owner.offerless = true;
        pair.reoffer(CALLED);
        pair.advance(MINUTE);
        assert_eq!(pair.count(CALLER, answered), 1);
        pair.hangup(CALLER);
        pair.assert_over();
    }
}

/// A call that ends while everything is open leaves nothing behind, and each end is told once.
#[test]
fn a_call_ends_whatever_is_open() {
    for seed in 0..24 {
        let mut pair = Pair::new(seed, STORM, |_, _| {}).talk();
        pair.reoffer(if seed % 2 == 0 { CALLER } else { CALLED });
        pair.advance(Duration::from_millis(50 * seed));
        pair.hangup(if seed % 3 == 0 { CALLER } else { CALLED });
        pair.assert_over();
        assert!(pair.ended(CALLER).is_some() && pair.ended(CALLED).is_some(), "seed {seed}: {}", pair.picture());
    }
}

/// A call that is up, and the re-INVITE that we have just sent in it.
fn reoffered(id: &str) -> (Line, Call, contesta::ids::LegId, Bytes) {
    let mut line = Line::new();
    let mut call = Call::new(id);
    let leg = line.established(&mut call);
    let actions = line.ask(|agent, now, out| agent.reoffer(now, leg, OFFER.into(), out));
    let invite = sent(&actions)[0].clone();
    assert_eq!(first_line(&invite), format!("INVITE sip:alice@{PEER}"));
    assert_eq!(header(&invite, "Contact").as_deref(), Some("<sip:contesta@192.0.2.10:5060>"));
    (line, call, leg, invite)
}

#[test]
fn while_ours_is_open_theirs_has_to_wait_but_a_refresh_has_not() {
    let (mut line, call, leg, invite) = reoffered("cross");
    assert_eq!(statuses(&line.receive(call.request("INVITE", 2, "re", SDP, OFFER))), [100, 491]);
    assert_eq!(statuses(&line.receive(call.request("UPDATE", 3, "up", SDP, OFFER))), [491]);
    assert_eq!(statuses(&line.receive(call.request("UPDATE", 4, "refresh", "", ""))), [200]);
    assert_eq!(statuses(&line.receive(call.request("INFO", 5, "info", "", ""))), [200]);
    // A second one of ours waits as well.
    assert_eq!(line.ask(|agent, now, out| agent.reoffer(now, leg, OFFER.into(), out)), []);
    let moved = "Contact: <sip:alice@192.0.2.21:5070>\r\n";
    let taken = line.receive(response(&invite, 200, "", moved, ANSWER));
    assert_eq!(first_lines(&taken), ["ACK sip:alice@192.0.2.21:5070"], "RFC 3261 §12.2.1.2: its new target");
    assert_eq!(events(&taken), [Event::Reanswered { leg, body: Bytes::from_static(ANSWER.as_bytes()) }]);
    assert!(statuses(&line.receive(call.request("UPDATE", 6, "up6", SDP, OFFER))).is_empty());
    // Theirs is open now: ours waits, and is wanted again later.
    assert_eq!(line.ask(|agent, now, out| agent.reoffer(now, leg, OFFER.into(), out)), []);
    line.accept(leg);
    let wanted = line.advance(Duration::from_secs(2));
    assert_eq!(happened(wanted).pop().map(|(_, event)| event), Some(Event::OfferWanted { leg }));
}

/// RFC 3261 §14.2: a second INVITE while the first has no final answer.
#[test]
fn a_second_invite_before_the_first_is_answered_gets_500_and_when_to_come_again() {
    let mut line = Line::new();
    let mut call = Call::new("twice");
    let leg = line.established(&mut call);
    line.receive(call.request("INVITE", 2, "re2", SDP, OFFER));
    let refused = line.receive(call.request("INVITE", 3, "re3", SDP, OFFER));
    assert_eq!(statuses(&refused), [100, 500]);
    assert!(header(&sent(&refused)[1], "Retry-After").unwrap().parse::<u32>().unwrap() <= 10);
    assert_eq!(statuses(&line.accept(leg)), [200]);
}

#[test]
fn a_refused_change_leaves_all_as_it_was_and_is_acknowledged() {
    for status in [488, 500, 603] {
        let (mut line, _, leg, invite) = reoffered("refused");
        let refused = line.receive(response(&invite, status, "", "", ""));
        assert_eq!(events(&refused), [Event::Unchanged { leg, status }]);
        let ack = &sent(&refused)[0];
        let same = ["Via", "From", "To", "Call-ID"].map(|name| header(ack, name) == header(&invite, name));
        assert_eq!((first_line(ack), same), (format!("ACK sip:alice@{PEER}"), [true; 4]));
        assert_eq!(header(ack, "CSeq").as_deref(), Some("1 ACK"));
        assert_eq!(line.receive(response(&invite, status, "", "", "")), [refused[0].clone()], "RFC 3261 §17.1.1.2");
        assert_eq!(line.agent.dialogs(), 1);
    }
}

/// A provisional response stops the timers of our INVITE, and must not keep everything else waiting for ever.
#[test]
fn a_change_that_is_never_answered_is_cancelled() {
    let (mut line, call, leg, invite) = reoffered("stuck");
    assert_eq!(line.receive(response(&invite, 100, "", "", "")), []);
    let cancelled = line.advance(Duration::from_secs(32));
    let cancel = sent(&[cancelled[0].1.clone()])[0].clone();
    assert_eq!(first_line(&cancel), format!("CANCEL sip:alice@{PEER}"));
    let same = ["Via", "From", "To", "Call-ID"].map(|name| header(&cancel, name) == header(&invite, name));
    assert_eq!((same, header(&cancel, "CSeq").as_deref()), ([true; 4], Some("1 CANCEL")));
    line.receive(response(&cancel, 200, "", "", ""));
    let over = line.receive(response(&invite, 487, "", "", ""));
    assert_eq!(events(&over), [Event::Unchanged { leg, status: 487 }]);
    assert_eq!(statuses(&line.receive(call.request("INVITE", 2, "re", SDP, OFFER))), [100]);
    // Nothing comes at all.
    let (mut line, _, leg, invite) = reoffered("mute");
    line.receive(response(&invite, 100, "", "", ""));
    let end = (64_000, ended(leg, EndCause::Vanished));
    assert_eq!(happened(line.advance(2 * MINUTE)), [end]);
    // Not even a provisional response: the INVITE's own timer B.
    let (mut line, _, leg, _) = reoffered("gone");
    assert_eq!(happened(line.advance(2 * MINUTE)), [(32_000, ended(leg, EndCause::Vanished))]);
    line.advance(2 * MINUTE);
    assert_eq!((line.agent.transactions(), line.agent.poll_timeout()), (0, None));
}

/// The far end hangs up while our re-INVITE is under way, and takes it all the same: its 2xx is acknowledged.
#[test]
fn a_late_2xx_to_a_change_is_acknowledged_though_the_call_is_over() {
    let (mut line, call, leg, invite) = reoffered("late");
    let bye = line.receive(call.request("BYE", 2, "bye", "", ""));
    assert_eq!(events(&bye), [ended(leg, EndCause::RemoteBye)]);
    let ack = line.receive(response(&invite, 200, "", "", ANSWER));
    assert_eq!((first_lines(&ack), events(&ack)), (vec![format!("ACK sip:alice@{PEER}")], vec![]));
    line.advance(2 * MINUTE);
    assert_eq!((line.agent.transactions(), line.agent.poll_timeout()), (0, None));
}

/// RFC 3311 §5.2: one with an offer is answered like a re-INVITE, but without ACK; one without moves the target only.
#[test]
fn an_update_is_taken_with_and_without_an_offer() {
    let mut pair = Line::new();
    let mut call = Call::new("update");
    let leg = pair.established(&mut call);
    let asked = pair.receive(call.request("UPDATE", 2, "up2", SDP, OFFER));
    assert_eq!((statuses(&asked), events(&asked).len()), (vec![], 1));
    let ok = pair.accept(leg);
    assert_eq!((statuses(&ok), header(&sent(&ok)[0], "Contact").is_some()), (vec![200], true));
    assert_eq!(pair.advance(MINUTE), [], "no ACK belongs to it");
    let moved = "Contact: <sip:alice@192.0.2.88:5099>\r\n";
    let ok = pair.receive(call.request("UPDATE", 3, "up3", moved, ""));
    assert_eq!(header(&sent(&ok)[0], "Contact").as_deref(), Some("<sip:contesta@192.0.2.10:5060>"));
    let bye = pair.ask(|agent, now, out| agent.hangup(now, leg, "", out));
    assert_eq!(first_lines(&bye), ["BYE sip:alice@192.0.2.88:5099"]);
}

/// A key by INFO comes once over any line, from either end, and the sender is told.
#[test]
fn an_info_comes_once_over_a_bad_line() {
    for seed in 0..8 {
        let mut pair = Pair::new(seed, STORM, |_, _| {}).talk();
        for round in 1..=4 {
            for end in [CALLER, CALLED] {
                pair.ask(end, |agent, now, leg, out| {
                    agent.info(now, leg, info::RELAY, b"Signal=5\r\nDuration=100\r\n", out)
                });
                pair.advance(MINUTE);
                let told = |event: &Event| matches!(event, Event::InfoAnswered { status: 200, .. });
                assert_eq!(pair.count(end, told), round, "seed {seed}: {}", pair.picture());
                let came = |event: &Event| matches!(event, Event::Info { body, .. } if body.starts_with(b"Signal=5"));
                assert_eq!(pair.count(1 - end, came), round, "seed {seed}: {}", pair.picture());
            }
        }
        pair.hangup(CALLED);
        pair.assert_over();
    }
}

/// What a far end says to an INFO: a refusal is told; a dialog that it does not know, and silence, end the call.
#[test]
fn an_info_that_is_refused_is_told_and_one_that_shows_the_call_gone_ends_it() {
    let sent_info = |id: &str| {
        let (mut line, mut call) = (Line::new(), Call::new(id));
        let leg = line.established(&mut call);
        let actions = line.ask(|agent, now, out| agent.info(now, leg, info::RELAY, b"Signal=#\r\n", out));
        let request = sent(&actions)[0].clone();
        assert_eq!(header(&request, "Content-Type").as_deref(), Some(info::RELAY));
        assert!(request.ends_with(b"\r\n\r\nSignal=#\r\n"));
        (line, leg, request)
    };
    let (mut line, leg, request) = sent_info("refused");
    assert_eq!(events(&line.receive(response(&request, 415, "", "", ""))), [Event::InfoAnswered { leg, status: 415 }]);
    let (mut line, leg, request) = sent_info("forgotten");
    assert_eq!(events(&line.receive(response(&request, 481, "", "", ""))), [ended(leg, EndCause::Forgotten)]);
    let (mut line, leg, _) = sent_info("silence");
    // Timer F: 64 times T1 (RFC 3261 §17.1.2.2).
    assert_eq!(happened(line.advance(MINUTE)), [(32_000, ended(leg, EndCause::Vanished))]);
    // Before the answer there is no dialog to send it in.
    let (mut line, call) = (Line::new(), Call::new("early"));
    let leg = line.invited(&call);
    assert_eq!(line.ask(|agent, now, out| agent.info(now, leg, info::RELAY, b"Signal=1", out)), []);
}
