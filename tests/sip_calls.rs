//! Calls through the user agent, message by message: what a far end sees and what the exchange is told.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

#[path = "sip_calls/carriers.rs"]
mod carriers;
#[path = "sip_calls/changes.rs"]
mod changes;
#[path = "sip_calls/pair.rs"]
mod pair;
mod peer;
#[path = "sip_calls/provisional.rs"]
mod provisional;
#[path = "sip_calls/sessions.rs"]
mod sessions;
#[path = "sip_calls/transfers.rs"]
mod transfers;

use std::time::Duration;

use bytes::Bytes;
use contesta::ids::LegId;
use contesta::sip::{Action, EndCause, Event, Invite, Peer, Rejection, Settings, Why};
use peer::{ANSWER, Call, Line, OFFER, PEER, US, events, first_line, first_lines, header, response, sent, statuses};

const MINUTE: Duration = Duration::from_secs(60);

fn refuse(status: u16) -> Rejection {
    Rejection { status, retry_after: None, warning: None }
}

fn ended(leg: LegId, cause: EndCause) -> Event {
    Event::Ended { leg, cause }
}

/// `(ms, first line)` of what was sent while time passed.
fn ladder(passed: &[(u128, Action)]) -> Vec<(u128, String)> {
    passed
        .iter()
        .filter_map(|(at, action)| match action {
            Action::Send { message, .. } => Some((*at, first_line(message))),
            Action::Event(_) => None,
        })
        .collect()
}

fn happened(passed: Vec<(u128, Action)>) -> Vec<(u128, Event)> {
    passed
        .into_iter()
        .filter_map(|(at, action)| match action {
            Action::Send { .. } => None,
            Action::Event(event) => Some((at, event)),
        })
        .collect()
}

// ---- A call to us ----------------------------------------------------------------------------------------------------

#[test]
fn a_call_from_invite_to_bye() {
    let mut line = Line::new();
    let mut call = Call::new("one");
    let actions = line.receive(call.invite());
    assert_eq!(first_lines(&actions), ["100 Trying"]);
    let [Event::Invited { leg, invitation }] = &events(&actions)[..] else { panic!("{actions:?}") };
    let leg = *leg;
    assert_eq!(invitation.request_user, "*2363");
    assert_eq!((invitation.from_user.as_str(), invitation.from_display.as_str()), ("alice", "Alice"));
    assert_eq!(invitation.offer, Some(Bytes::from_static(OFFER.as_bytes())));
    assert_eq!(invitation.source, Peer::udp(PEER.parse().unwrap()));

    let ringing = line.ask(|agent, now, out| agent.progress(now, leg, 180, Bytes::new(), out));
    assert_eq!(first_lines(&ringing), ["180 Ringing"]);
    let accepted = line.accept(leg);
    let ok = &sent(&accepted)[0];
    assert_eq!(first_line(ok), "200 OK");
    assert_eq!(header(ok, "Contact").as_deref(), Some("<sip:contesta@192.0.2.10:5060>"));
    assert_eq!(header(ok, "Content-Type").as_deref(), Some("application/sdp"));
    assert!(ok.ends_with(ANSWER.as_bytes()));
    assert!(header(ok, "Via").unwrap().ends_with(";rport=5062;received=192.0.2.20"));
    call.to_tag = peer::to_tag(ok);
    assert_eq!(peer::to_tag(&sent(&ringing)[0]), call.to_tag);

    let ack = line.receive(call.request("ACK", 1, "ack", "", ""));
    assert_eq!(ack, [Action::Event(Event::Confirmed { leg, answer: None })]);
    let bye = line.receive(call.request("BYE", 2, "bye", "", ""));
    assert_eq!(first_lines(&bye), ["200 OK"]);
    assert_eq!(events(&bye), [ended(leg, EndCause::RemoteBye)]);
    assert_eq!(line.agent.dialogs(), 0);
    assert_eq!(line.advance(MINUTE), []);
    assert_eq!((line.agent.transactions(), line.agent.poll_timeout()), (0, None));
}

/// RFC 3261 §13.3.1.4: 500 ms doubling to 4 s until the ACK; none for 64·T1 ends the call with BYE.
#[test]
fn retransmits_200_until_ack_or_gives_up_with_bye() {
    let mut line = Line::new();
    let leg = line.invited(&Call::new("deaf"));
    line.accept(leg);
    assert_eq!(line.agent.poll_timeout(), Some((line.start + Duration::from_millis(500), Why::Retransmit2xx)));
    let passed = line.advance(Duration::from_millis(32_000));
    let again = |at| (at, "200 OK".to_owned());
    let mut expected: Vec<_> =
        [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500].into_iter().map(again).collect();
    expected.push((32_000, format!("BYE sip:alice@{PEER}")));
    assert_eq!(ladder(&passed), expected);
    let bye = sent(&passed.iter().map(|(_, action)| action.clone()).collect::<Vec<_>>()).pop().unwrap();
    assert_eq!(header(&bye, "Reason").as_deref(), Some("SIP;cause=408;text=\"no ACK for our 200\""));
    assert_eq!(happened(passed), [(32_000, ended(leg, EndCause::NoAck))]);
    assert_eq!(line.agent.dialogs(), 0);
    line.receive(response(&bye, 481, "", "", ""));
    line.advance(MINUTE);
    assert_eq!(line.agent.transactions(), 0);
}

#[test]
fn an_ack_stops_the_ladder_and_a_second_ack_does_nothing() {
    let mut line = Line::new();
    let mut call = Call::new("late");
    let leg = line.invited(&call);
    call.to_tag = peer::to_tag(&sent(&line.accept(leg))[0]);
    assert_eq!(ladder(&line.advance(Duration::from_secs(2))).len(), 2);
    assert_eq!(line.receive(call.request("ACK", 2, "wrong", "", "")), []);
    let confirmed = [Action::Event(Event::Confirmed { leg, answer: None })];
    assert_eq!(line.receive(call.request("ACK", 1, "ack", "", "")), confirmed);
    assert_eq!(line.receive(call.request("ACK", 1, "ack", "", "")), []);
    assert_eq!(ladder(&line.advance(MINUTE)), []);
    assert_eq!(line.agent.dialogs(), 1);
}

/// Some phones put the INVITE's branch on the ACK of a 2xx.
#[test]
fn an_ack_with_the_branch_of_its_invite_is_taken() {
    let mut line = Line::new();
    let mut call = Call::new("odd");
    let leg = line.invited(&call);
    call.to_tag = peer::to_tag(&sent(&line.accept(leg))[0]);
    let actions = line.receive(call.request("ACK", 1, "invite", "", ""));
    assert_eq!(actions, [Action::Event(Event::Confirmed { leg, answer: None })]);
}

#[test]
fn a_repeated_invite_never_makes_a_second_call() {
    let mut line = Line::new();
    let call = Call::new("again");
    let leg = line.invited(&call);
    assert_eq!(first_lines(&line.receive(call.invite())), ["100 Trying"]);
    line.ask(|agent, now, out| agent.progress(now, leg, 183, Bytes::from_static(ANSWER.as_bytes()), out));
    assert_eq!(first_lines(&line.receive(call.invite())), ["183 Session Progress"]);
    line.accept(leg);
    // RFC 6026 §7.1: absorbed, the 200 has its own timer.
    assert_eq!(line.receive(call.invite()), []);
    assert_eq!(line.agent.dialogs(), 1);
}

/// RFC 3261 §8.2.2.2.
#[test]
fn a_merged_invite_is_refused_with_482() {
    let mut line = Line::new();
    let call = Call::new("forked");
    line.invited(&call);
    let other_way = call.invite().replace("z9hG4bKforkedinvite", "z9hG4bKotherway");
    assert_eq!(first_lines(&line.receive(other_way)), ["482 Loop Detected"]);
    assert_eq!(line.agent.dialogs(), 1);
}

#[test]
fn a_refusal_is_repeated_until_its_ack() {
    let mut line = Line::new();
    let mut call = Call::new("busy");
    let leg = line.invited(&call);
    let rejection = Rejection { status: 503, retry_after: Some(20), warning: Some("no room \"here\"".to_owned()) };
    let actions = line.ask(|agent, now, out| agent.reject(now, leg, &rejection, out));
    let refusal = &sent(&actions)[0];
    assert_eq!(first_line(refusal), "503 Service Unavailable");
    assert_eq!(header(refusal, "Retry-After").as_deref(), Some("20"));
    assert_eq!(header(refusal, "Warning").as_deref(), Some("399 192.0.2.10:5060 \"no room \\\"here\\\"\""));
    assert_eq!(events(&actions), [ended(leg, EndCause::Refused(503))]);
    let again = (500, "503 Service Unavailable".to_owned());
    assert_eq!(ladder(&line.advance(Duration::from_millis(500))), [again]);
    call.to_tag = peer::to_tag(refusal);
    assert_eq!(line.receive(call.request("ACK", 1, "invite", "", "")), []);
    assert_eq!(line.agent.poll_timeout().map(|(_, why)| why), Some(Why::Timer('I')));
    assert_eq!(line.advance(MINUTE), []);
    assert_eq!(line.agent.transactions(), 0);
}

/// RFC 3261 §9.2.
#[test]
fn cancel_ends_an_unanswered_call_with_487() {
    let mut line = Line::new();
    let call = Call::new("gone");
    let leg = line.invited(&call);
    let actions = line.receive(call.request("CANCEL", 1, "invite", "", ""));
    assert_eq!(first_lines(&actions), ["200 OK", "487 Request Terminated"]);
    assert_eq!(peer::to_tag(&sent(&actions)[0]), peer::to_tag(&sent(&actions)[1]));
    assert_eq!(events(&actions), [ended(leg, EndCause::Cancelled)]);
    // The exchange may answer at the same moment: nothing comes of it.
    assert_eq!(line.accept(leg), []);
    assert_eq!(first_lines(&line.receive(call.request("CANCEL", 1, "invite", "", ""))), ["200 OK"]);
}

#[test]
fn cancel_behind_the_answer_changes_nothing_and_without_invite_is_481() {
    let mut line = Line::new();
    let mut call = Call::new("late");
    let leg = line.established(&mut call);
    call.to_tag.clear();
    let actions = line.receive(call.request("CANCEL", 1, "invite", "", ""));
    assert_eq!((first_lines(&actions), events(&actions)), (vec!["200 OK".to_owned()], vec![]));
    let stray = line.receive(Call::new("stray").request("CANCEL", 1, "invite", "", ""));
    assert_eq!(first_lines(&stray), ["481 Call/Transaction Does Not Exist"]);
    assert_eq!(events(&line.ask(|agent, now, out| agent.hangup(now, leg, "", out))), []);
    assert_eq!(line.agent.dialogs(), 1);
}

#[test]
fn a_late_offer_is_answered_in_the_ack() {
    let mut line = Line::new();
    let mut call = Call { body: String::new(), ..Call::new("late") };
    let actions = line.receive(call.invite());
    let [Event::Invited { leg, invitation }] = &events(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(invitation.offer, None);
    call.to_tag = peer::to_tag(&sent(&line.accept(*leg))[0]);
    let ack = line.receive(call.request("ACK", 1, "ack", "Content-Type: application/sdp\r\n", ANSWER));
    let answer = Some(Bytes::from_static(ANSWER.as_bytes()));
    assert_eq!(ack, [Action::Event(Event::Confirmed { leg: *leg, answer })]);
}

// ---- We hang up ------------------------------------------------------------------------------------------------------

#[test]
fn hangup_sends_bye_along_the_route_and_ends_with_its_answer() {
    let mut line = Line::new();
    let proxies = "Record-Route: <sip:192.0.2.1;lr>, <sip:192.0.2.2;lr>\r\n".to_owned();
    let mut call = Call { headers: proxies, ..Call::new("bye") };
    let leg = line.established(&mut call);
    let actions = line.ask(|agent, now, out| agent.hangup(now, leg, "menu ended", out));
    let [Action::Send { destination, message: datagram }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(destination.to_string(), "udp:192.0.2.1:5060");
    assert_eq!(first_line(datagram), format!("BYE sip:alice@{PEER}"));
    assert_eq!(header(datagram, "Route").as_deref(), Some("<sip:192.0.2.1;lr>"));
    assert_eq!(header(datagram, "Reason").as_deref(), Some("SIP;cause=200;text=\"menu ended\""));
    assert_eq!(header(datagram, "From"), Some(format!("<sip:*2363@{US}>;tag={}", call.to_tag)));
    assert_eq!(line.ask(|agent, now, out| agent.hangup(now, leg, "twice", out)), []);
    let again = line.advance(Duration::from_millis(500));
    assert_eq!(ladder(&again), [(500, format!("BYE sip:alice@{PEER}"))]);
    let info = line.receive(call.request("INFO", 2, "info", "", ""));
    assert_eq!(statuses(&info), [481]);
    let done = line.receive(response(datagram, 200, "", "", ""));
    assert_eq!(done, [Action::Event(ended(leg, EndCause::LocalBye))]);
    line.advance(MINUTE);
    assert_eq!((line.agent.dialogs(), line.agent.transactions()), (0, 0));
}

#[test]
fn a_bye_that_nobody_answers_still_ends_the_leg() {
    let mut line = Line::new();
    let leg = line.established(&mut Call::new("silent"));
    line.ask(|agent, now, out| agent.hangup(now, leg, "", out));
    assert_eq!(happened(line.advance(MINUTE)), [(32_000, ended(leg, EndCause::LocalBye))]);
    assert_eq!(line.agent.transactions(), 0);
}

#[test]
fn crossing_byes_end_the_leg_once() {
    let mut line = Line::new();
    let mut call = Call::new("cross");
    let leg = line.established(&mut call);
    let bye = line.ask(|agent, now, out| agent.hangup(now, leg, "", out));
    let theirs = line.receive(call.request("BYE", 2, "bye", "", ""));
    assert_eq!((statuses(&theirs), events(&theirs)), (vec![200], vec![ended(leg, EndCause::LocalBye)]));
    assert_eq!(line.receive(response(&sent(&bye)[0], 481, "", "", "")), []);
}

/// RFC 3261 §15: the callee waits for the ACK with its BYE.
#[test]
fn hangup_before_the_ack_waits_for_it() {
    let mut line = Line::new();
    let mut call = Call::new("quick");
    let leg = line.invited(&call);
    call.to_tag = peer::to_tag(&sent(&line.accept(leg))[0]);
    assert_eq!(line.ask(|agent, now, out| agent.hangup(now, leg, "done", out)), []);
    let actions = line.receive(call.request("ACK", 1, "ack", "", ""));
    assert_eq!((first_lines(&actions), events(&actions)), (vec![format!("BYE sip:alice@{PEER}")], vec![]));
    let done = line.receive(response(&sent(&actions)[0], 200, "", "", ""));
    assert_eq!(events(&done), [ended(leg, EndCause::LocalBye)]);
}

#[test]
fn hangup_before_the_answer_declines() {
    let mut line = Line::new();
    let leg = line.invited(&Call::new("decline"));
    let actions = line.ask(|agent, now, out| agent.hangup(now, leg, "closing", out));
    assert_eq!(first_lines(&actions), ["603 Decline"]);
    assert_eq!(events(&actions), [ended(leg, EndCause::Refused(603))]);
}

// ---- Within the dialog -----------------------------------------------------------------------------------------------

#[test]
fn info_with_keys_is_told_and_other_bodies_are_refused() {
    let mut line = Line::new();
    let mut call = Call::new("keys");
    let leg = line.established(&mut call);
    let relay =
        call.request("INFO", 2, "i2", "Content-Type: Application/DTMF-Relay\r\n", "Signal=5\r\nDuration=160\r\n");
    let actions = line.receive(relay.clone());
    assert_eq!(first_lines(&actions), ["200 OK"]);
    let body = Bytes::from_static(b"Signal=5\r\nDuration=160\r\n");
    assert_eq!(events(&actions), [Event::Info { leg, content_type: "application/dtmf-relay".to_owned(), body }]);
    // Sent again, it is the same key, not another.
    let again = line.receive(relay);
    assert_eq!((statuses(&again), events(&again)), (vec![200], vec![]));
    assert_eq!(statuses(&line.receive(call.request("INFO", 3, "i3", "", ""))), [200]);
    let other = line.receive(call.request("INFO", 4, "i4", "Content-Type: text/plain\r\n", "hello"));
    assert_eq!((statuses(&other), events(&other)), (vec![415], vec![]));
    assert!(header(&sent(&other)[0], "Accept").unwrap().starts_with("application/dtmf-relay"));
}

#[test]
fn order_and_identity_are_checked() {
    let mut line = Line::new();
    let mut call = Call::new("order");
    line.established(&mut call);
    assert_eq!(statuses(&line.receive(call.request("OPTIONS", 9, "o9", "", ""))), [200]);
    let late = line.receive(call.request("OPTIONS", 8, "o8", "", ""));
    assert_eq!(statuses(&late), [500]);
    assert!(header(&sent(&late)[0], "Retry-After").unwrap().parse::<u32>().unwrap() <= 10);
    for stranger in [
        Call { to_tag: "0123456789abcdef".into(), ..call.clone() },
        Call { to_tag: call.to_tag.clone(), ..Call::new("x") },
    ] {
        let actions = line.receive(stranger.request("BYE", 10, "b", "", ""));
        assert_eq!((statuses(&actions), events(&actions)), (vec![481], vec![]));
    }
    assert_eq!(statuses(&line.receive(call.request("REFER", 11, "r", "", ""))), [403]);
    assert_eq!(statuses(&line.receive(call.request("DANCE", 12, "d", "", ""))), [501]);
    assert_eq!(statuses(&line.receive(call.request("OPTIONS", 13, "q", "Require: join\r\n", ""))), [420]);
    assert_eq!(line.agent.dialogs(), 1);
}

#[test]
fn a_reinvite_is_answered_and_moves_the_target() {
    let mut line = Line::new();
    let mut call = Call::new("hold");
    let leg = line.established(&mut call);
    let moved = "Contact: <sip:alice@192.0.2.77:5099>\r\nContent-Type: application/sdp\r\n";
    let actions = line.receive(call.request("INVITE", 2, "re", moved, OFFER));
    assert_eq!(statuses(&actions), [100]);
    assert_eq!(events(&actions), [Event::Reoffered { leg, offer: Some(Bytes::from_static(OFFER.as_bytes())) }]);
    let ok = line.accept(leg);
    assert_eq!(peer::to_tag(&sent(&ok)[0]), call.to_tag);
    assert_eq!(ladder(&line.advance(Duration::from_millis(500))), [(500, "200 OK".to_owned())]);
    // RFC 3261 §14.2: a second one has to wait for the ACK.
    assert_eq!(statuses(&line.receive(call.request("INVITE", 3, "re3", moved, OFFER))), [100, 491]);
    assert_eq!(line.receive(call.request("ACK", 2, "reack", "", "")), []);
    let bye = line.ask(|agent, now, out| agent.hangup(now, leg, "", out));
    assert_eq!(first_lines(&bye), ["BYE sip:alice@192.0.2.77:5099"]);
}

#[test]
fn a_refused_reoffer_leaves_the_call_up() {
    let mut line = Line::new();
    let mut call = Call::new("no");
    let leg = line.established(&mut call);
    let sdp = "Contact: <sip:alice@192.0.2.20>\r\nContent-Type: application/sdp\r\n";
    line.receive(call.request("INVITE", 2, "re", sdp, OFFER));
    // RFC 3261 §14.2: a second offer while the first has no answer.
    assert_eq!(statuses(&line.receive(call.request("UPDATE", 3, "up", sdp, OFFER))), [500]);
    let refused = line.ask(|agent, now, out| agent.reject(now, leg, &refuse(488), out));
    assert_eq!((statuses(&refused), events(&refused)), (vec![488], vec![]));
    let update = line.receive(call.request("UPDATE", 4, "up4", sdp, OFFER));
    assert_eq!(events(&update).len(), 1);
    assert_eq!(statuses(&line.accept(leg)), [200]);
    // No ACK belongs to an UPDATE, and one without offer asks nobody.
    let refresh = line.receive(call.request("UPDATE", 5, "up5", "Contact: <sip:alice@192.0.2.20>\r\n", ""));
    assert_eq!((statuses(&refresh), events(&refresh)), (vec![200], vec![]));
    assert_eq!(line.agent.dialogs(), 1);
}

#[test]
fn bye_settles_what_is_open() {
    let mut line = Line::new();
    let mut call = Call::new("open");
    let leg = line.established(&mut call);
    line.receive(call.request(
        "INVITE",
        2,
        "re",
        "Contact: <sip:a@192.0.2.20>\r\nContent-Type: application/sdp\r\n",
        OFFER,
    ));
    let actions = line.receive(call.request("BYE", 3, "bye", "", ""));
    assert_eq!(statuses(&actions), [200, 487]);
    assert_eq!(events(&actions), [ended(leg, EndCause::RemoteBye)]);
    let mut early = Call::new("early");
    let leg = line.invited(&early);
    early.to_tag =
        peer::to_tag(&sent(&line.ask(|agent, now, out| agent.progress(now, leg, 180, Bytes::new(), out)))[0]);
    let actions = line.receive(early.request("BYE", 2, "bye", "", ""));
    assert_eq!((statuses(&actions), events(&actions)), (vec![200, 487], vec![ended(leg, EndCause::RemoteBye)]));
}

#[test]
fn a_reinvite_without_offer_gets_ours_and_its_ack_brings_the_answer() {
    let mut line = Line::new();
    let mut call = Call::new("late2");
    let leg = line.established(&mut call);
    let actions = line.receive(call.request("INVITE", 2, "re", "Contact: <sip:alice@192.0.2.20>\r\n", ""));
    assert_eq!(events(&actions), [Event::Reoffered { leg, offer: None }]);
    line.accept(leg);
    // While our offer has no answer, theirs has to wait.
    let sdp = "Contact: <sip:alice@192.0.2.20>\r\nContent-Type: application/sdp\r\n";
    assert_eq!(statuses(&line.receive(call.request("UPDATE", 3, "up", sdp, OFFER))), [491]);
    let ack = line.receive(call.request("ACK", 2, "reack", "Content-Type: application/sdp\r\n", ANSWER));
    let answer = Some(Bytes::from_static(ANSWER.as_bytes()));
    assert_eq!(ack, [Action::Event(Event::Confirmed { leg, answer })]);
}

#[test]
fn a_cancelled_reinvite_leaves_the_call_up() {
    let mut line = Line::new();
    let mut call = Call::new("undo");
    let leg = line.established(&mut call);
    let sdp = "Contact: <sip:alice@192.0.2.20>\r\nContent-Type: application/sdp\r\n";
    line.receive(call.request("INVITE", 2, "re", sdp, OFFER));
    let actions = line.receive(call.request("CANCEL", 2, "re", "", ""));
    assert_eq!((statuses(&actions), events(&actions)), (vec![200, 487], vec![]));
    assert_eq!(line.accept(leg), []);
    assert_eq!(line.agent.dialogs(), 1);
}

#[test]
fn hangup_settles_a_waiting_reoffer_first() {
    let mut line = Line::new();
    let mut call = Call::new("settle");
    let leg = line.established(&mut call);
    let sdp = "Contact: <sip:alice@192.0.2.20>\r\nContent-Type: application/sdp\r\n";
    line.receive(call.request("UPDATE", 2, "up", sdp, OFFER));
    let actions = line.ask(|agent, now, out| agent.hangup(now, leg, "", out));
    assert_eq!(first_lines(&actions), ["487 Request Terminated".to_owned(), format!("BYE sip:alice@{PEER}")]);
    line.advance(MINUTE);
    assert_eq!((line.agent.dialogs(), line.agent.transactions()), (0, 0));
}

/// RFC 3261 §12.1.1 and §17.2.3 for peers of RFC 2543: no branch cookie, no From tag.
#[test]
fn an_old_phone_gets_through_a_whole_call() {
    let mut line = Line::new();
    let mut call = Call::new("old");
    let old = |text: String| text.replace(";branch=z9hG4bK", ";branch=").replace(";tag=farold", "");
    let actions = line.receive(old(call.invite()));
    let [Event::Invited { leg, .. }] = events(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(first_lines(&line.receive(old(call.invite()))), ["100 Trying"]);
    call.to_tag = peer::to_tag(&sent(&line.accept(leg))[0]);
    let ack = line.receive(old(call.request("ACK", 1, "invite", "", "")));
    assert_eq!(ack, [Action::Event(Event::Confirmed { leg, answer: None })]);
    let bye = line.receive(old(call.request("BYE", 2, "bye", "", "")));
    assert_eq!((statuses(&bye), events(&bye)), (vec![200], vec![ended(leg, EndCause::RemoteBye)]));
}

// ---- Refusals before anyone is asked ---------------------------------------------------------------------------------

#[test]
fn each_refusal_has_its_status() {
    let invite = Call::new("r").invite();
    let table: Vec<(u16, String)> = vec![
        (400, invite.replace(&format!("Contact: <sip:alice@{PEER}>\r\n"), "")),
        (400, invite.replace("Max-Forwards: 70", "Max-Forwards: 700")),
        (405, Call::new("r").request("SUBSCRIBE", 1, "s", "", "")),
        (406, invite.replace("Max-Forwards: 70", "Accept: text/plain")),
        (415, invite.replace("application/sdp", "text/plain")),
        (415, invite.replace("Content-Type", "X-Type")),
        (416, invite.replace("INVITE sip:", "INVITE mailto:")),
        (420, invite.replace("Max-Forwards: 70", "Require: join")),
        (481, Call::new("r").request("BYE", 1, "b", "", "")),
        (501, Call::new("r").request("DANCE", 1, "d", "", "")),
        (505, invite.replace("SIP/2.0\r\nVia", "SIP/3.0\r\nVia")),
    ];
    let mut line = Line::new();
    for (expected, text) in table {
        let actions = line.receive(text.clone());
        assert_eq!((statuses(&actions), events(&actions)), (vec![expected], vec![]), "{text}");
        // RFC 3261 §8.2.7: stateless, so the same request gets the very same answer.
        assert_eq!(line.receive(text), actions);
    }
    assert_eq!((line.agent.dialogs(), line.agent.transactions()), (0, 0));
}

#[test]
fn silence_for_what_asks_nothing() {
    let mut line = Line::new();
    for text in [
        "\r\n\r\n",
        "\0\0\0\0",
        "ACK sip:a SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n\r\n",
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK0123456789abcdef\r\nTo: <sip:a@b>\r\nCSeq: 1 INVITE\r\n\r\n",
        "INVITE sip:a SIP/2.0\r\nFrom: <sip:no@via>\r\n\r\n",
    ] {
        assert_eq!(line.receive(text), [], "{text}");
    }
    assert_eq!(line.receive(Call::new("x").request("ACK", 1, "a", "", "")), []);
}

#[test]
fn full_and_draining_is_503_and_calls_go_on() {
    let mut settings = Settings::new(US.parse().unwrap());
    settings.max_dialogs = 1;
    let mut line = Line::with(settings);
    let mut call = Call::new("first");
    line.established(&mut call);
    let full = line.receive(Call::new("second").invite());
    assert_eq!((statuses(&full), header(&sent(&full)[0], "Retry-After")), (vec![503], Some("30".to_owned())));
    line.receive(call.request("BYE", 2, "bye", "", ""));
    let mut call = Call::new("third");
    line.established(&mut call);
    line.agent.drain(120);
    let draining = line.receive(Call::new("fourth").invite());
    assert_eq!((statuses(&draining), header(&sent(&draining)[0], "Retry-After")), (vec![503], Some("120".to_owned())));
    assert!(!line.is_alive("balancer"));
    assert_eq!(statuses(&line.receive(call.request("OPTIONS", 2, "o", "", ""))), [200]);
    assert_eq!(statuses(&line.receive(call.request("BYE", 3, "bye3", "", ""))), [200]);
}

#[test]
fn a_flood_of_transactions_is_bounded() {
    let mut settings = Settings::new(US.parse().unwrap());
    settings.max_transactions = 2;
    let mut line = Line::with(settings);
    for id in ["a", "b"] {
        let leg = line.invited(&Call::new(id));
        line.ask(|agent, now, out| agent.reject(now, leg, &refuse(404), out));
    }
    assert_eq!(statuses(&line.receive(Call::new("c").invite())), [503]);
    line.advance(MINUTE);
    line.invited(&Call::new("d"));
}

/// A flood from outside keeps no call from its BYE; what one dialog sends is bounded as well.
#[test]
fn a_flood_of_transactions_leaves_room_for_dialogs() {
    let mut settings = Settings::new(US.parse().unwrap());
    (settings.max_transactions, settings.max_dialogs) = (1, 1);
    let mut line = Line::with(settings);
    let mut call = Call::new("a");
    line.established(&mut call);
    assert_eq!(statuses(&line.receive(Call::new("b").invite())), [503]);
    for cseq in 2..6 {
        assert_eq!(
            statuses(&line.receive(call.request("OPTIONS", cseq, &format!("o{cseq}"), "", ""))),
            [200],
            "{cseq}"
        );
    }
    assert_eq!(statuses(&line.receive(call.request("OPTIONS", 6, "o6", "", ""))), [503]);
    line.advance(MINUTE);
    assert_eq!(statuses(&line.receive(call.request("BYE", 7, "bye", "", ""))), [200]);
}

/// RFC 3581 and RFC 3261 §18.2.2.
#[test]
fn the_answer_goes_where_via_says() {
    let destination = |via: &str| {
        let text = Call::new("via").request("OPTIONS", 1, "o", "", "");
        let text = text.replace(&format!("{PEER};branch=z9hG4bKviao;rport"), via);
        match &Line::new().receive(text)[..] {
            [Action::Send { destination, .. }] => destination.address.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(destination("10.0.0.9:5088;branch=z9hG4bK1;rport"), PEER);
    assert_eq!(destination("10.0.0.9:5088;branch=z9hG4bK1"), "192.0.2.20:5088");
    assert_eq!(destination("phone.example.com;branch=z9hG4bK1;maddr=203.0.113.1"), "192.0.2.20:5060");
}

// ---- A call of ours --------------------------------------------------------------------------------------------------

fn dial(line: &mut Line) -> (LegId, Bytes) {
    let invite = Invite {
        target: format!("sip:*2363@{PEER}"),
        destination: Peer::udp(PEER.parse().unwrap()),
        from: "sip:test@example.com".to_owned(),
        offer: Bytes::from_static(OFFER.as_bytes()),
    };
    let mut leg = LegId(0);
    let actions = line.ask(|agent, now, out| leg = agent.invite(now, invite, out));
    let [Action::Send { destination, message: datagram }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(destination.address.to_string(), PEER);
    (leg, datagram.clone())
}

fn contact() -> String {
    format!("Contact: <sip:bob@{PEER}>\r\n")
}

#[test]
fn we_call_and_they_answer() {
    let mut line = Line::new();
    let (leg, invite) = dial(&mut line);
    assert_eq!(line.receive(response(&invite, 100, "", "", "")), []);
    let ringing = line.receive(response(&invite, 180, "far", "", ""));
    assert_eq!(ringing, [Action::Event(Event::Ringing { leg, status: 180, body: Bytes::new() })]);
    let routes = "Record-Route: <sip:192.0.2.2;lr>\r\nRecord-Route: <sip:192.0.2.1;lr>\r\n";
    let ok = response(&invite, 200, "far", &format!("{}{routes}", contact()), ANSWER);
    let actions = line.receive(ok.clone());
    let [Action::Send { destination, message: ack }, Action::Event(answered)] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(first_line(ack), format!("ACK sip:bob@{PEER}"));
    // RFC 3261 §12.1.2: the caller's route is Record-Route reversed.
    assert_eq!(
        (destination.to_string().as_str(), header(ack, "Route").as_deref()),
        ("udp:192.0.2.1:5060", Some("<sip:192.0.2.1;lr>"))
    );
    assert_eq!(header(ack, "CSeq").as_deref(), Some("1 ACK"));
    assert_eq!(*answered, Event::Answered { leg, body: Bytes::from_static(ANSWER.as_bytes()) });
    // The 200 comes again: so does the very same ACK, and no second event.
    assert_eq!(line.receive(ok), [actions[0].clone()]);
    let their_bye = format!(
        "BYE sip:contesta@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKb\r\nFrom: <sip:x@y>;tag=far\r\nTo: {}\r\n\
        Call-ID: {}\r\nCSeq: 1 BYE\r\n\r\n",
        header(&invite, "From").unwrap(),
        header(&invite, "Call-ID").unwrap()
    );
    let bye = line.receive(their_bye);
    assert_eq!((statuses(&bye), events(&bye)), (vec![200], vec![ended(leg, EndCause::RemoteBye)]));
    line.advance(MINUTE);
    assert_eq!(line.agent.transactions(), 0);
}

#[test]
fn they_refuse_or_never_answer() {
    let mut line = Line::new();
    let (leg, invite) = dial(&mut line);
    let busy = line.receive(response(&invite, 486, "far", "", ""));
    assert_eq!(first_lines(&busy), [format!("ACK sip:*2363@{PEER}")]);
    assert_eq!(header(&sent(&busy)[0], "Via"), header(&invite, "Via"));
    assert_eq!(events(&busy), [ended(leg, EndCause::RemoteRefused(486))]);
    assert_eq!(line.receive(response(&invite, 486, "far", "", "")), [busy[0].clone()]);
    line.advance(MINUTE);
    let (leg, _) = dial(&mut line);
    let passed = line.advance(MINUTE);
    assert_eq!(ladder(&passed).len(), 6);
    assert_eq!(happened(passed), [(92_000, ended(leg, EndCause::RemoteRefused(408)))]);
    assert_eq!((line.agent.dialogs(), line.agent.transactions()), (0, 0));
}

/// RFC 3261 §9.1.
#[test]
fn hangup_of_our_unanswered_call_waits_for_a_sign_of_life_then_cancels() {
    let mut line = Line::new();
    let (leg, invite) = dial(&mut line);
    assert_eq!(line.ask(|agent, now, out| agent.hangup(now, leg, "enough", out)), []);
    let actions = line.receive(response(&invite, 180, "far", "", ""));
    assert_eq!(first_lines(&actions), [format!("CANCEL sip:*2363@{PEER}")]);
    let cancel = &sent(&actions)[0];
    assert_eq!((header(cancel, "Via"), header(cancel, "CSeq").as_deref()), (header(&invite, "Via"), Some("1 CANCEL")));
    assert_eq!(events(&actions), []);
    assert_eq!(line.receive(response(cancel, 200, "far", "", "")), []);
    let actions = line.receive(response(&invite, 487, "far", "", ""));
    assert_eq!(events(&actions), [ended(leg, EndCause::LocalBye)]);
    line.advance(MINUTE);
    assert_eq!((line.agent.dialogs(), line.agent.transactions()), (0, 0));
}

#[test]
fn an_answer_that_crosses_our_cancel_is_ended_with_bye() {
    let mut line = Line::new();
    let (leg, invite) = dial(&mut line);
    line.receive(response(&invite, 180, "far", "", ""));
    line.ask(|agent, now, out| agent.hangup(now, leg, "enough", out));
    let actions = line.receive(response(&invite, 200, "far", &contact(), ANSWER));
    assert_eq!(first_lines(&actions), [format!("ACK sip:bob@{PEER}"), format!("BYE sip:bob@{PEER}")]);
    assert_eq!(events(&actions), []);
    let done = line.receive(response(&sent(&actions)[1], 200, "", "", ""));
    assert_eq!(events(&done), [ended(leg, EndCause::LocalBye)]);
    assert_eq!(events(&line.receive(response(&invite, 200, "far", &contact(), ANSWER))), []);
}

#[test]
fn a_cancel_that_nobody_heeds_ends_after_64_t1() {
    let mut line = Line::new();
    let (leg, invite) = dial(&mut line);
    line.receive(response(&invite, 183, "far", "", ""));
    line.ask(|agent, now, out| agent.hangup(now, leg, "", out));
    assert_eq!(happened(line.advance(MINUTE)), [(32_000, ended(leg, EndCause::LocalBye))]);
    assert_eq!((line.agent.dialogs(), line.agent.transactions()), (0, 0));
}

/// RFC 3261 §13.2.2.4: each fork that answers gets its ACK; all but the first get BYE.
#[test]
fn a_second_fork_is_acknowledged_and_ended() {
    let mut line = Line::new();
    let (leg, invite) = dial(&mut line);
    line.receive(response(&invite, 200, "first", &contact(), ANSWER));
    let actions = line.receive(response(&invite, 200, "second", &contact(), ANSWER));
    assert_eq!(first_lines(&actions), [format!("ACK sip:bob@{PEER}"), format!("BYE sip:bob@{PEER}")]);
    assert_eq!(line.agent.dialogs(), 1);
    let bye = line.ask(|agent, now, out| agent.hangup(now, leg, "", out));
    assert!(header(&sent(&bye)[0], "To").unwrap().ends_with(";tag=first"));
}

#[test]
fn an_unreadable_target_ends_the_leg_at_once() {
    let mut line = Line::new();
    let invite = |target: &str| Invite {
        target: target.to_owned(),
        destination: Peer::udp(PEER.parse().unwrap()),
        from: "sip:a@b".to_owned(),
        offer: Bytes::new(),
    };
    for target in ["", "not a uri", "sip:x@y\r\nVia: evil", "tel:+52"] {
        let mut leg = LegId(0);
        let actions = line.ask(|agent, now, out| leg = agent.invite(now, invite(target), out));
        assert_eq!(actions, [Action::Event(ended(leg, EndCause::RemoteRefused(400)))], "{target}");
    }
    assert_eq!(line.agent.dialogs(), 0);
}

// ---- Many ------------------------------------------------------------------------------------------------------------

#[test]
fn ten_thousand_idle_dialogs_want_nothing() {
    let mut line = Line::new();
    for number in 0..10_000 {
        line.established(&mut Call::new(&format!("n{number}")));
    }
    line.advance(MINUTE);
    assert_eq!((line.agent.dialogs(), line.agent.transactions(), line.agent.poll_timeout()), (10_000, 0, None));
}
