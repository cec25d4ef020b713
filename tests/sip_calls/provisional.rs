//! Provisional responses that are acknowledged (RFC 3262) in both roles, and the forks that send them.

use std::time::Duration;

use bytes::Bytes;
use contesta::ids::LegId;
use contesta::sip::{Action, EndCause, Event, Method, Settings, Why};

use super::{MINUTE, dial, ended, happened, ladder, refuse};
use crate::pair::{CALLED, CALLER, End, Pair, STORM};
use crate::peer::{
    ANSWER, Call, Line, OFFER, PEER, US, events, first_line, first_lines, header, response, sent, statuses, to_tag,
};

const SDP: &str = "Contact: <sip:alice@192.0.2.20:5062>\r\nContent-Type: application/sdp\r\n";

fn reliable(seed: u64, rings: &'static [(u16, bool)]) -> Pair {
    let mut pair = Pair::new(seed, STORM, |end, settings: &mut Settings| settings.reliable_progress = end == CALLED);
    pair.ends[CALLED].owner.rings = rings;
    pair
}

/// What this end was told that rings, in order.
fn rung(end: &End) -> Vec<(u16, bool)> {
    let rings = end.events.iter().filter_map(|(_, event)| {
        let Event::Ringing { status, body, .. } = event else { return None };
        Some((*status, !body.is_empty()))
    });
    rings.collect()
}

#[test]
fn each_provisional_response_arrives_once_and_in_order_over_a_bad_line() {
    const RINGS: &[(u16, bool)] = &[(180, false), (183, true), (181, false), (182, false)];
    for seed in 0..12 {
        let mut pair = reliable(seed, RINGS);
        pair.ends[CALLED].owner.accepts = false;
        pair.dial();
        pair.advance(MINUTE);
        assert_eq!(rung(&pair.ends[CALLER]), RINGS, "seed {seed}: {}", pair.picture());
        assert_eq!(pair.count(CALLED, |event| matches!(event, Event::Acknowledged { answer: None, .. })), 4);
        assert_eq!(pair.requests(CALLER, Method::Prack), [2, 3, 4, 5]);
        pair.ask(CALLED, |agent, now, leg, out| agent.accept(now, leg, ANSWER.into(), out));
        pair.advance(MINUTE);
        // The answer was acknowledged before: the 200 has none (RFC 3262 §5).
        assert!(pair.has(CALLER, |event| matches!(event, Event::Answered { body, .. } if body.is_empty())));
        pair.hangup(CALLER);
        pair.assert_over();
        assert_eq!(pair.requests(CALLER, Method::Bye), [6]);
        assert_eq!(pair.ended(CALLED).unwrap().1, EndCause::RemoteBye);
    }
}

/// RFC 3262 §3: the 2xx waits for the PRACK of SDP.
#[test]
fn the_answer_waits_for_the_prack_of_what_was_described() {
    for seed in 0..12 {
        let mut pair = reliable(seed, &[(183, true)]).talk();
        let answered = pair.ends[CALLED].messages.iter().filter(|message| first_line(message) == "200 OK");
        let methods: Vec<String> = answered.map(|message| header(message, "CSeq").unwrap()).collect();
        assert_eq!((methods[0].as_str(), methods.contains(&"1 INVITE".to_owned())), ("2 PRACK", true), "seed {seed}");
        assert_eq!(rung(&pair.ends[CALLER]), [(183, true)]);
        pair.hangup(CALLED);
        pair.assert_over();
        // Nothing was described: the answer need not wait.
        let mut pair = reliable(seed, &[(180, false), (183, true)]).talk();
        assert!(pair.has(CALLER, |event| matches!(event, Event::Answered { body, .. } if body == ANSWER)));
        pair.hangup(CALLED);
        pair.assert_over();
    }
}

/// An INVITE that requires reliable responses, rung with SDP.
fn required(headers: &str, body: &str) -> (Line, Call, LegId, Bytes) {
    let mut line = Line::new();
    let headers = format!("Require: 100rel\r\n{headers}");
    let mut call = Call { headers, body: body.to_owned(), ..Call::new("rel") };
    let leg = line.invited(&call);
    let actions = line.ask(|agent, now, out| agent.progress(now, leg, 183, ANSWER.into(), out));
    let progress = sent(&actions)[0].clone();
    assert_eq!(
        (first_line(&progress).as_str(), header(&progress, "Require").as_deref()),
        ("183 Session Progress", Some("100rel"))
    );
    call.to_tag = to_tag(&progress);
    (line, call, leg, progress)
}

fn rack(progress: &[u8]) -> String {
    format!("RAck: {} 1 INVITE\r\n", header(progress, "RSeq").unwrap())
}

#[test]
fn a_provisional_response_is_repeated_until_its_prack_or_the_call_is_refused() {
    let (mut line, _, leg, _) = required("", OFFER);
    assert_eq!(line.agent.poll_timeout(), Some((line.start + Duration::from_millis(500), Why::Retransmit1xx)));
    let passed = line.advance(Duration::from_secs(32));
    let mut expected: Vec<_> =
        [500, 1_500, 3_500, 7_500, 15_500, 31_500].map(|at| (at, "183 Session Progress".to_owned())).to_vec();
    expected.push((32_000, "504 Server Time-out".to_owned()));
    assert_eq!(ladder(&passed), expected);
    assert_eq!(happened(passed), [(32_000, ended(leg, EndCause::NoPrack))]);
    let (mut line, call, _, progress) = required("", OFFER);
    assert_eq!(first_lines(&line.receive(call.request("PRACK", 2, "p", &rack(&progress), ""))), ["200 OK"]);
    assert_eq!(line.advance(10 * MINUTE), []);
}

#[test]
fn a_prack_has_to_name_what_it_acknowledges() {
    let (mut line, call, leg, progress) = required("", OFFER);
    let rseq: u32 = header(&progress, "RSeq").unwrap().parse().unwrap();
    let wrong = [
        format!("RAck: {} 1 INVITE\r\n", rseq + 1),
        format!("RAck: {rseq} 2 INVITE\r\n"),
        format!("RAck: {rseq} 1 UPDATE\r\n"),
        "RAck: x\r\n".to_owned(),
        String::new(),
    ];
    for (cseq, headers) in (2..).zip(&wrong) {
        let actions = line.receive(call.request("PRACK", cseq, &format!("wrong{cseq}"), headers, ""));
        assert_eq!((statuses(&actions), events(&actions)), (vec![481], vec![]), "{headers}");
    }
    let right = call.request("PRACK", 9, "right", &rack(&progress), "");
    assert_eq!(events(&line.receive(right.clone())), [Event::Acknowledged { leg, answer: None }]);
    let again = line.receive(right);
    assert_eq!((statuses(&again), events(&again)), (vec![200], vec![]), "the same one, sent again");
    assert_eq!(statuses(&line.receive(call.request("PRACK", 10, "twice", &rack(&progress), ""))), [481]);
    assert_eq!(statuses(&line.receive(Call::new("stray").request("PRACK", 1, "stray", &rack(&progress), ""))), [481]);
}

#[test]
fn what_is_not_required_is_not_reliable_unless_it_is_wished() {
    for (headers, wished, expected) in [
        ("Supported: 100rel\r\n", false, false),
        ("Supported: timer, 100rel\r\n", true, true),
        ("Require: 100rel\r\n", false, true),
        ("", true, false),
    ] {
        let mut settings = Settings::new(US.parse().unwrap());
        settings.reliable_progress = wished;
        let mut line = Line::with(settings);
        let leg = line.invited(&Call { headers: headers.to_owned(), ..Call::new("wish") });
        let rung = line.ask(|agent, now, out| agent.progress(now, leg, 180, Bytes::new(), out));
        assert_eq!(header(&sent(&rung)[0], "RSeq").is_some(), expected, "{headers}");
    }
}

/// RFC 3262 §3: behind a final response the PRACK is welcome, and the response before it is not repeated any more.
#[test]
fn a_prack_that_crosses_the_answer_is_taken() {
    let mut line = Line::new();
    let mut call = Call { headers: "Require: 100rel\r\n".to_owned(), ..Call::new("cross") };
    let leg = line.invited(&call);
    let rung = line.ask(|agent, now, out| agent.progress(now, leg, 180, Bytes::new(), out));
    let ok = line.accept(leg);
    assert_eq!(first_lines(&ok), ["200 OK"]);
    call.to_tag = to_tag(&sent(&ok)[0]);
    let prack = line.receive(call.request("PRACK", 2, "p", &rack(&sent(&rung)[0]), ""));
    assert_eq!(statuses(&prack), [200]);
    line.receive(call.request("ACK", 1, "ack", "", ""));
    assert_eq!(line.advance(MINUTE), []);
    // Refused while it waits: a refusal is not held.
    let (mut line, _, leg, _) = required("", OFFER);
    line.accept(leg);
    let refused = line.ask(|agent, now, out| agent.hangup(now, leg, "", out));
    assert_eq!((statuses(&refused), events(&refused)), (vec![603], vec![ended(leg, EndCause::Refused(603))]));
    let (mut line, call, leg, _) = required("", OFFER);
    let cancelled = line.receive(Call { to_tag: String::new(), ..call }.request("CANCEL", 1, "invite", "", ""));
    assert_eq!((statuses(&cancelled), events(&cancelled)), (vec![200, 487], vec![ended(leg, EndCause::Cancelled)]));
}

/// RFC 3262 §5, RFC 3311 §5.2: once the first offer is answered, the next one may come before the call is.
#[test]
fn an_offer_by_prack_or_update_is_answered_before_the_invite_is() {
    let (mut line, call, leg, progress) = required("", OFFER);
    assert_eq!(statuses(&line.receive(call.request("UPDATE", 2, "soon", SDP, OFFER))), [500], "ours has no PRACK yet");
    assert_eq!(line.accept(leg), [], "the 200 waits");
    let headers = format!("{}Content-Type: application/sdp\r\n", rack(&progress));
    let offered = line.receive(call.request("PRACK", 3, "p", &headers, OFFER));
    let offer = Some(Bytes::from_static(OFFER.as_bytes()));
    let told = [Event::Reoffered { leg, offer: offer.clone() }, Event::Acknowledged { leg, answer: None }];
    assert_eq!((statuses(&offered), events(&offered)), (vec![], told.to_vec()));
    let both = line.accept(leg);
    let answers: Vec<_> =
        sent(&both).iter().map(|it| (header(it, "CSeq").unwrap(), it.ends_with(ANSWER.as_bytes()))).collect();
    assert_eq!(answers, [("3 PRACK".to_owned(), true), ("1 INVITE".to_owned(), false)]);
    // By UPDATE, and refused: the call goes on either way.
    let (mut line, call, leg, progress) = required("", OFFER);
    line.receive(call.request("PRACK", 2, "p", &rack(&progress), ""));
    let offered = line.receive(call.request("UPDATE", 3, "up", SDP, OFFER));
    assert_eq!((statuses(&offered), events(&offered)), (vec![], vec![Event::Reoffered { leg, offer }]));
    assert_eq!(statuses(&line.receive(call.request("UPDATE", 4, "up4", SDP, OFFER))), [500]);
    let refused = line.ask(|agent, now, out| agent.reject(now, leg, &refuse(488), out));
    assert_eq!((statuses(&refused), events(&refused)), (vec![488], vec![]));
    assert_eq!(statuses(&line.accept(leg)), [200]);
}

/// An INVITE without offer: ours goes into the 183, the PRACK brings the answer, and neither 200 nor ACK need say more.
#[test]
fn a_late_offer_may_be_answered_in_the_prack() {
    let (mut line, call, leg, progress) = required("", "");
    let headers = format!("{}Content-Type: application/sdp\r\n", rack(&progress));
    let acknowledged = line.receive(call.request("PRACK", 2, "p", &headers, ANSWER));
    let answer = Some(Bytes::from_static(ANSWER.as_bytes()));
    assert_eq!(
        (statuses(&acknowledged), events(&acknowledged)),
        (vec![200], vec![Event::Acknowledged { leg, answer }])
    );
    let ok = sent(&line.accept(leg))[0].clone();
    assert_eq!(header(&ok, "Content-Length").as_deref(), Some("0"));
    let confirmed = line.receive(call.request("ACK", 1, "ack", "", ""));
    assert_eq!(confirmed, [Action::Event(Event::Confirmed { leg, answer: None })]);
}

// ---- We call ---------------------------------------------------------------------------------------------------------

fn fork(number: u16, rseq: u32) -> String {
    format!(
        "Contact: <sip:fork@192.0.2.{number}>\r\nRequire: 100rel\r\nRSeq: {rseq}\r\nContent-Type: application/sdp\r\n"
    )
}

/// RFC 3261 §13.2.2.4, RFC 3262 §4: each fork has its dialog, its numbers and its PRACKs; the first 200 is taken, and later ones end with BYE.
#[test]
fn each_fork_is_acknowledged_and_one_of_them_is_taken() {
    let mut line = Line::new();
    let (leg, invite) = dial(&mut line);
    assert_eq!(header(&invite, "Supported").as_deref(), Some("100rel, timer"));
    let mut asked = Vec::new();
    for (tag, number, rseq) in [("a", 71, 1), ("b", 72, 500), ("a", 71, 2), ("a", 71, 3)] {
        let actions = line.receive(response(&invite, 183, tag, &fork(number, rseq), ANSWER));
        assert_eq!(
            events(&actions),
            [Event::Ringing { leg, status: 183, body: Bytes::from_static(ANSWER.as_bytes()) }]
        );
        let prack = &sent(&actions)[0];
        asked.push((first_line(prack), header(prack, "CSeq").unwrap(), header(prack, "RAck").unwrap()));
        line.receive(response(prack, 200, "", "", ""));
    }
    let expected = [
        ("PRACK sip:fork@192.0.2.71", "2 PRACK", "1 1 INVITE"),
        ("PRACK sip:fork@192.0.2.72", "2 PRACK", "500 1 INVITE"),
        ("PRACK sip:fork@192.0.2.71", "3 PRACK", "2 1 INVITE"),
        ("PRACK sip:fork@192.0.2.71", "4 PRACK", "3 1 INVITE"),
    ];
    assert_eq!(asked, expected.map(|(line, cseq, rack)| (line.to_owned(), cseq.to_owned(), rack.to_owned())));
    // Repeated, too early, and of no number: nobody is told, and nothing is acknowledged.
    for rseq in [3, 5, 1] {
        assert_eq!(line.receive(response(&invite, 183, "a", &fork(71, rseq), ANSWER)), [], "{rseq}");
    }
    let contact = |number: u16| format!("Contact: <sip:fork@192.0.2.{number}>\r\n");
    let taken = line.receive(response(&invite, 200, "b", &contact(72), ""));
    assert_eq!(first_lines(&taken), ["ACK sip:fork@192.0.2.72"]);
    assert_eq!(header(&sent(&taken)[0], "CSeq").as_deref(), Some("1 ACK"));
    let late = line.receive(response(&invite, 200, "a", &contact(71), ANSWER));
    assert_eq!(first_lines(&late), ["ACK sip:fork@192.0.2.71", "BYE sip:fork@192.0.2.71"]);
    assert_eq!(line.receive(response(&invite, 200, "b", &contact(72), "")), [taken[0].clone()], "acknowledged again");
    let bye = line.ask(|agent, now, out| agent.hangup(now, leg, "", out));
    assert_eq!(header(&sent(&bye)[0], "CSeq").as_deref(), Some("3 BYE"), "behind its PRACK");
}

/// Early media of a provisional response that is not reliable is told as often as it comes, and needs nothing.
#[test]
fn early_media_without_100rel_is_told() {
    let mut line = Line::new();
    let (leg, invite) = dial(&mut line);
    let early = format!("Contact: <sip:fork@{PEER}>\r\nContent-Type: application/sdp\r\n");
    for status in [180, 183] {
        let actions = line.receive(response(&invite, status, "x", &early, ANSWER));
        assert_eq!(
            actions,
            [Action::Event(Event::Ringing { leg, status, body: Bytes::from_static(ANSWER.as_bytes()) })]
        );
    }
}
