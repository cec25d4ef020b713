//! Calls over connections, message by message and in simulated time: what is said by which way, what is not said twice, and what
//! becomes of a call whose connection breaks.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

mod peer;

use std::time::Duration;

use bytes::Bytes;
use contesta::sip::{Action, EndCause, Event, Flow, Invite, Listener, Listeners, Peer, Rejection, Settings, Transport};
use peer::{ANSWER, Call, Line, OFFER, PEER, US, events, first_lines, header, response, sent, statuses};

const MINUTE: Duration = Duration::from_secs(60);

/// The first connection of the far end, and the one it opens when that is lost.
const FIRST: Flow = Flow { listener: 1, connection: 1 };
const SECOND: Flow = Flow { listener: 1, connection: 2 };

/// A user agent that listens on every transport, and a far end that comes over `transport`.
fn line(transport: Transport) -> Line {
    let address = |port: u16| format!("192.0.2.10:{port}").parse().unwrap();
    let ports = [(Transport::Tcp, 5060), (Transport::Tls, 5061), (Transport::Ws, 8080), (Transport::Wss, 8443)];
    let others = ports.map(|(transport, port)| Listener { transport, advertised: address(port) });
    let us = Listener { transport: Transport::Udp, advertised: US.parse().unwrap() };
    let mut line = Line::with(Settings::at(Listeners::new(us, others)));
    line.peer = by(transport, FIRST);
    line
}

/// The far end by one of its connections, from a port that nobody can connect to.
fn by(transport: Transport, flow: Flow) -> Peer {
    let address = format!("192.0.2.20:{}", 40_000 + flow.connection).parse().unwrap();
    let number = match transport {
        Transport::Udp => 0,
        Transport::Tcp => 1,
        Transport::Tls => 2,
        Transport::Ws => 3,
        Transport::Wss => 4,
    };
    Peer { transport, address, flow: Some(Flow { listener: number, ..flow }) }
}

/// The same text as over that transport.
fn over(transport: Transport, text: &str) -> String {
    text.replace("SIP/2.0/UDP", &format!("SIP/2.0/{}", transport.name()))
}

fn ways(actions: &[Action]) -> Vec<(String, Option<u64>)> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Send { destination, .. } => {
                Some((destination.to_string(), destination.flow.map(|flow| flow.connection)))
            }
            Action::Event(_) => None,
        })
        .collect()
}

/// RFC 3261 §18.2.2: all answers go by the connection of their request; §12.1.1: our Contact says how we are reached.
#[test]
fn a_call_over_each_transport_stays_on_its_connection() {
    for (transport, contact) in [
        (Transport::Tcp, "<sip:contesta@192.0.2.10:5060;transport=tcp>"),
        (Transport::Tls, "<sip:contesta@192.0.2.10:5061;transport=tls>"),
        (Transport::Ws, "<sip:contesta@192.0.2.10:8080;transport=ws>"),
        (Transport::Wss, "<sip:contesta@192.0.2.10:8443;transport=ws>"),
    ] {
        let mut line = line(transport);
        let mut call = Call::new("way");
        let invite = over(transport, &call.invite()).replace(&format!("@{PEER}>"), "@df7jal23ls0d.invalid>");
        let actions = line.receive(invite);
        let [Event::Invited { leg, invitation }] = &events(&actions)[..] else { panic!("{actions:?}") };
        assert_eq!(invitation.source, line.peer);
        let leg = *leg;
        let mut said = actions;
        said.extend(line.accept(leg));
        let ok = sent(&said)[1].clone();
        assert_eq!(header(&ok, "Contact").as_deref(), Some(contact));
        call.to_tag = peer::to_tag(&ok);
        line.receive(over(transport, &call.request("ACK", 1, "ack", "", "")));
        said.extend(line.ask(|agent, now, out| agent.hangup(now, leg, "menu ended", out)));
        assert_eq!(first_lines(&said), ["100 Trying", "200 OK", "BYE sip:alice@df7jal23ls0d.invalid"]);
        let scheme = transport.name().to_lowercase();
        let sent_by = format!("{scheme}:192.0.2.20:5062");
        let source = format!("{scheme}:192.0.2.20:40001");
        let expected = [(sent_by.clone(), Some(1)), (sent_by, Some(1)), (source, Some(1))];
        assert_eq!(ways(&said), expected, "{transport:?}");
        let bye = sent(&said)[2].clone();
        let via = header(&bye, "Via").unwrap();
        assert!(via.starts_with(&format!("SIP/2.0/{} 192.0.2.10:", transport.name())), "{via}");
        assert_eq!(line.advance(Duration::from_secs(31)), [], "nothing is said twice");
        let done = line.receive(response(&bye, 200, "", "", ""));
        assert_eq!(done, [Action::Event(Event::Ended { leg, cause: EndCause::LocalBye })]);
        line.advance(MINUTE);
        assert_eq!(line.agent.transactions(), 0);
    }
}

/// RFC 3261 §13.3.1.4: the 2xx alone is repeated over a connection too; the machine does not know which hop may lose it.
#[test]
fn a_2xx_is_repeated_over_tcp_and_a_refusal_is_not() {
    let mut answered = line(Transport::Tcp);
    let leg = answered.invited(&Call::new("ok"));
    answered.accept(leg);
    let repeated = answered.advance(Duration::from_secs(4));
    assert_eq!(repeated.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [500, 1500, 3500]);

    let mut refused = line(Transport::Tcp);
    let leg = refused.invited(&Call::new("busy"));
    let busy = Rejection { status: 486, retry_after: None, warning: None };
    refused.ask(|agent, now, out| agent.reject(now, leg, &busy, out));
    assert_eq!(refused.advance(Duration::from_millis(31_999)), []);
    assert_eq!(refused.agent.transactions(), 1);
    refused.advance(Duration::from_millis(1));
    assert_eq!(refused.agent.transactions(), 0, "timer H");
}

/// RFC 3261 §17.2.1, §17.2.2: timers I and J are zero.
#[test]
fn a_connection_leaves_no_transaction_waiting_for_repetitions() {
    let mut line = line(Transport::Tls);
    let call = Call::new("gone");
    let leg = line.invited(&call);
    let busy = Rejection { status: 486, retry_after: None, warning: None };
    let refused = line.ask(|agent, now, out| agent.reject(now, leg, &busy, out));
    let mut call = call;
    call.to_tag = peer::to_tag(&sent(&refused)[0]);
    line.receive(call.request("ACK", 1, "invite", "", ""));
    line.advance(Duration::ZERO);
    assert_eq!(line.agent.transactions(), 0);
}

/// RFC 3261 §12.1.1, §8.1.1.8.
#[test]
fn a_call_to_or_from_a_sips_uri_has_a_sips_contact() {
    let mut line = line(Transport::Tls);
    let invite = over(Transport::Tls, &Call::new("sips").invite()).replacen("INVITE sip:", "INVITE sips:", 1);
    let actions = line.receive(invite);
    let [Event::Invited { leg, .. }] = events(&actions)[..] else { panic!("{actions:?}") };
    let ok = sent(&line.accept(leg))[0].clone();
    assert_eq!(header(&ok, "Contact").as_deref(), Some("<sips:contesta@192.0.2.10:5061;transport=tcp>"));

    let (_, ours) = dial(&mut line, "sips", Transport::Tls);
    assert_eq!(header(&ours, "Contact").as_deref(), Some("<sips:contesta@192.0.2.10:5061;transport=tcp>"));
}

fn dial(line: &mut Line, scheme: &str, transport: Transport) -> (contesta::ids::LegId, Bytes) {
    let invite = Invite {
        target: format!("{scheme}:*2363@{PEER}"),
        destination: Peer::new(transport, PEER.parse().unwrap()),
        from: "sip:test@example.com".to_owned(),
        offer: Bytes::from_static(OFFER.as_bytes()),
    };
    let mut leg = contesta::ids::LegId(0);
    let actions = line.ask(|agent, now, out| leg = agent.invite(now, invite, out));
    (leg, sent(&actions)[0].clone())
}

/// RFC 3261 §17.1.1.2, §17.1.2.2: timers A and E are not set.
#[test]
fn our_own_requests_are_sent_once_over_a_connection() {
    let mut line = line(Transport::Tcp);
    let (leg, invite) = dial(&mut line, "sip", Transport::Tcp);
    assert!(header(&invite, "Via").unwrap().starts_with("SIP/2.0/TCP 192.0.2.10:5060;"), "{invite:?}");
    assert_eq!(line.advance(Duration::from_millis(31_999)), []);
    let ended = line.advance(Duration::from_millis(1));
    assert_eq!(ended, [(32_000, Action::Event(Event::Ended { leg, cause: EndCause::RemoteRefused(408) }))]);

    let (leg, invite) = dial(&mut line, "sip", Transport::Tcp);
    let refused = line.receive(response(&invite, 486, "far", "", ""));
    assert_eq!(events(&refused), [Event::Ended { leg, cause: EndCause::RemoteRefused(486) }]);
    assert_eq!(ways(&refused), [(format!("tcp:{PEER}"), Some(1))], "the ACK goes by the connection that answered");
    line.advance(Duration::ZERO);
    assert_eq!(line.agent.transactions(), 0, "timer D is zero");
}

/// The caller's connection breaks and it opens another: what it asks there is answered there, and what we ask goes there.
#[test]
fn a_call_goes_on_over_the_callers_next_connection() {
    let mut line = line(Transport::Tcp);
    let mut call = Call::new("lost");
    let tcp = |text: String| over(Transport::Tcp, &text);
    let actions = line.receive(tcp(call.invite()).replace(&format!("@{PEER}>"), "@192.0.2.20:5062;transport=tcp>"));
    let [Event::Invited { leg, .. }] = events(&actions)[..] else { panic!("{actions:?}") };
    line.peer = by(Transport::Tcp, SECOND);
    // It saw no answer to its INVITE before the first connection broke, and asks again (RFC 3261 §18.4).
    let again = line.receive(tcp(call.invite()));
    assert_eq!((first_lines(&again), ways(&again)[0].1), (vec!["100 Trying".to_owned()], Some(2)));
    let accepted = line.accept(leg);
    assert_eq!(ways(&accepted), [("tcp:192.0.2.20:5062".to_owned(), Some(2))]);
    call.to_tag = peer::to_tag(&sent(&accepted)[0]);
    line.receive(tcp(call.request("ACK", 1, "ack", "", "")));

    line.peer = by(Transport::Tcp, Flow { connection: 3, ..SECOND });
    let options = line.receive(tcp(call.request("OPTIONS", 2, "still", "", "")));
    assert_eq!((statuses(&options), ways(&options)[0].1), (vec![200], Some(3)));
    let bye = line.ask(|agent, now, out| agent.hangup(now, leg, "", out));
    assert_eq!(ways(&bye), [("tcp:192.0.2.20:5062".to_owned(), Some(3))]);
}

/// The far end answers our INVITE by a connection of its own (RFC 3261 §18.2.2): the branch is what counts.
#[test]
fn an_answer_by_a_new_connection_counts() {
    let mut line = line(Transport::Tcp);
    let (leg, invite) = dial(&mut line, "sip", Transport::Tcp);
    line.peer = by(Transport::Tcp, SECOND);
    let contact = "Contact: <sip:bob@192.0.2.20:5062;transport=tcp>\r\n";
    let actions = line.receive(response(&invite, 200, "far", contact, ANSWER));
    assert_eq!(first_lines(&actions), ["ACK sip:bob@192.0.2.20:5062;transport=tcp"]);
    assert_eq!(ways(&actions), [("tcp:192.0.2.20:5062".to_owned(), Some(2))]);
    assert_eq!(events(&actions), [Event::Answered { leg, body: Bytes::from_static(ANSWER.as_bytes()) }]);
}

/// An INVITE of ours whose offer makes it larger than a datagram should be.
fn dial_large(line: &mut Line) -> (contesta::ids::LegId, Vec<Action>) {
    let invite = Invite {
        target: format!("sip:*2363@{PEER}"),
        destination: Peer::udp(PEER.parse().unwrap()),
        from: "sip:test@example.com".to_owned(),
        offer: Bytes::from(format!("{OFFER}{}", "a=candidate:1 1 UDP 1 192.0.2.10 4000 typ host\r\n".repeat(30))),
    };
    let mut leg = contesta::ids::LegId(0);
    let actions = line.ask(|agent, now, out| leg = agent.invite(now, invite, out));
    (leg, actions)
}

fn undelivered(line: &mut Line, message: &Bytes) -> Vec<Action> {
    line.ask(|agent, now, out| agent.handle_undelivered(now, message.clone(), out))
}

/// RFC 3261 §18.1.1: over TCP with that in its Via; when there is none, over UDP after all, with its timers.
#[test]
fn a_large_request_goes_over_tcp_and_back_to_udp_where_there_is_none() {
    let mut line = line(Transport::Tcp);
    let (_, actions) = dial_large(&mut line);
    assert_eq!(ways(&actions), [(format!("tcp:{PEER}"), None)]);
    let tcp = sent(&actions)[0].clone();
    assert!(header(&tcp, "Via").unwrap().starts_with("SIP/2.0/TCP 192.0.2.10:5060;branch=z9hG4bK"), "{tcp:?}");
    assert_eq!(line.advance(Duration::from_secs(3)), [], "a connection is given its time");

    let actions = undelivered(&mut line, &tcp);
    assert_eq!(ways(&actions), [(format!("udp:{PEER}"), None)]);
    let udp = sent(&actions)[0].clone();
    assert_eq!(String::from_utf8_lossy(&tcp).replacen("/TCP", "/UDP", 1), String::from_utf8_lossy(&udp));
    let repeated = line.advance(Duration::from_secs(1));
    assert_eq!(repeated.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [3_500], "timer A from then on");
    assert_eq!(undelivered(&mut line, &tcp), [], "told of twice");

    // The host is known for that for a while.
    let (_, actions) = dial_large(&mut line);
    assert_eq!(ways(&actions), [(format!("udp:{PEER}"), None)]);
    line.advance(Duration::from_secs(600));
    let (leg, actions) = dial_large(&mut line);
    assert_eq!(ways(&actions), [(format!("tcp:{PEER}"), None)]);

    // Once it was answered, nothing goes back.
    let tcp = sent(&actions)[0].clone();
    let ringing = line.receive(response(&tcp, 180, "far", "", ""));
    assert_eq!(events(&ringing), [Event::Ringing { leg, status: 180, body: Bytes::new() }]);
    let cancel = line.ask(|agent, now, out| agent.hangup(now, leg, "", out));
    assert_eq!(ways(&cancel), [(format!("tcp:{PEER}"), Some(1))], "by the connection that the 180 came by");
    assert!(header(&sent(&cancel)[0], "Via").unwrap().starts_with("SIP/2.0/TCP "));
}

/// Whoever is not reachable by TCP cannot be answered there.
#[test]
fn without_a_tcp_listener_a_large_request_stays_on_udp() {
    let mut line = Line::new();
    assert_eq!(ways(&dial_large(&mut line).1), [(format!("udp:{PEER}"), None)]);
}

/// RFC 3261 §8.1.3.1: as if 503 had come. A BYE that cannot be delivered ends its leg at once.
#[test]
fn what_cannot_be_delivered_ends_without_waiting() {
    let mut line = line(Transport::Tcp);
    let (leg, invite) = dial(&mut line, "sip", Transport::Tcp);
    let ended = undelivered(&mut line, &invite);
    assert_eq!(ended, [Action::Event(Event::Ended { leg, cause: EndCause::RemoteRefused(503) })]);

    let mut call = Call::new("away");
    let leg = line.invited(&call);
    let accepted = line.accept(leg);
    let ok = sent(&accepted)[0].clone();
    assert_eq!(undelivered(&mut line, &ok), [], "a 200 is sent again by its own timer");
    call.to_tag = peer::to_tag(&ok);
    line.receive(call.request("ACK", 1, "ack", "", ""));
    assert_eq!(line.agent.flows_in_use(), [FIRST].into());
    let bye = line.ask(|agent, now, out| agent.hangup(now, leg, "", out));
    let ended = undelivered(&mut line, &sent(&bye)[0]);
    assert_eq!(ended, [Action::Event(Event::Ended { leg, cause: EndCause::LocalBye })]);
    assert_eq!(line.agent.flows_in_use(), [].into());
    line.advance(MINUTE);
    assert_eq!((line.agent.transactions(), line.agent.dialogs()), (0, 0));
}
