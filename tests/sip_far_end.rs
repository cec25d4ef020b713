//! Calls with a far end that is not ours: requests built and answers read by `rsip`, and every datagram we send judged by
//! `sipx-sip`. What two strangers agree on is no private dialect.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on must stop")]

mod peer;

use std::convert::TryFrom;

use bytes::Bytes;
use contesta::ids::LegId;
use contesta::sip::{Action, EndCause, Event, Invite, Peer};
use peer::{ANSWER, Line, OFFER, PEER, US, events, sent};
use rsip::headers::{CallId, ContentLength, ContentType, MaxForwards, ToTypedHeader, UntypedHeader};
use rsip::message::{HasHeaders, HeadersExt};
use rsip::{Header, Method, Request, Response, StatusCode};
use sipx_sip::{Limits, ResponseBuilder};

/// A request as rsip writes it.
fn request(method: Method, number: u32, to_tag: Option<&str>, body: &str) -> Bytes {
    let tag = to_tag.map_or_else(String::new, |tag| format!(";tag={tag}"));
    let branch = format!("z9hG4bK{method}{number}").to_lowercase().replace("z9hg4bk", "z9hG4bK");
    let mut headers: rsip::Headers = vec![
        rsip::headers::Via::new(format!("SIP/2.0/UDP {PEER};branch={branch};rport")).into(),
        MaxForwards::new("70").into(),
        rsip::headers::From::new("Bob <sips:bob@biloxi.example.com>;tag=a73kszlfl").into(),
        rsip::headers::To::new(format!("<sip:2363@{US}>{tag}")).into(),
        CallId::new("1j9FpLxk3uxtm8tn@biloxi.example.com").into(),
        rsip::headers::CSeq::new(format!("{number} {method}")).into(),
        rsip::headers::Contact::new(format!("<sip:bob@{PEER}>")).into(),
        ContentLength::new(body.len().to_string()).into(),
    ]
    .into();
    if !body.is_empty() {
        headers.push(ContentType::new("application/sdp").into());
    }
    let uri = rsip::Uri::try_from(format!("sip:2363@{US}")).unwrap();
    Request { method, uri, version: rsip::Version::V2, headers, body: body.as_bytes().to_vec() }.into()
}

/// Our datagrams, each found well formed by sipx.
fn judged(actions: &[Action]) -> Vec<Bytes> {
    let datagrams = sent(actions);
    for datagram in &datagrams {
        let message = sipx_sip::parse_datagram(datagram.clone(), &Limits::datagram()).expect("sipx reads it");
        assert_eq!(sipx_sip::validate(&message), [], "{}", String::from_utf8_lossy(datagram));
        assert_eq!(message.to_bytes(), datagram);
    }
    datagrams
}

fn read(datagram: &Bytes) -> Response {
    Response::try_from(datagram.as_ref()).expect("rsip reads it")
}

#[test]
fn rsip_calls_us() {
    let mut line = Line::new();
    let actions = line.receive(request(Method::Invite, 1, None, OFFER));
    assert_eq!(read(&judged(&actions)[0]).status_code, StatusCode::Trying);
    let [Event::Invited { leg, invitation }] = &events(&actions)[..] else { panic!("{actions:?}") };
    let leg = *leg;
    assert_eq!((invitation.request_user.as_str(), invitation.from_display.as_str()), ("2363", "Bob"));
    assert_eq!(invitation.offer, Some(Bytes::from_static(OFFER.as_bytes())));

    let ok = read(&judged(&line.accept(leg))[0]);
    assert_eq!((ok.status_code.clone(), ok.body.as_slice()), (StatusCode::OK, ANSWER.as_bytes()));
    let via = ok.via_header().unwrap().typed().unwrap();
    assert_eq!(via.branch().unwrap().value(), "z9hG4bKinvite1");
    assert_eq!(via.received().unwrap(), Some("192.0.2.20".parse().unwrap()));
    assert_eq!(ok.cseq_header().unwrap().typed().unwrap(), rsip::typed::CSeq { seq: 1, method: Method::Invite });
    assert_eq!(ok.from_header().unwrap().typed().unwrap().tag().unwrap().value(), "a73kszlfl");
    assert_eq!(
        ok.contact_header().unwrap().typed().unwrap().uri,
        rsip::Uri::try_from(format!("sip:contesta@{US}")).unwrap()
    );
    let to_tag = ok.to_header().unwrap().typed().unwrap().tag().unwrap().value().to_owned();

    let ack = line.receive(request(Method::Ack, 1, Some(&to_tag), ""));
    assert_eq!(ack, [Action::Event(Event::Confirmed { leg, answer: None })]);
    let options = read(&judged(&line.receive(request(Method::Options, 2, Some(&to_tag), "")))[0]);
    let allow = options.headers().iter().find_map(|header| {
        let Header::Allow(allow) = header else { return None };
        Some(allow.to_string())
    });
    assert_eq!(allow.as_deref(), Some("Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, PRACK, UPDATE"));
    let actions = line.receive(request(Method::Bye, 3, Some(&to_tag), ""));
    assert_eq!(read(&judged(&actions)[0]).status_code, StatusCode::OK);
    assert_eq!(events(&actions), [Event::Ended { leg, cause: EndCause::RemoteBye }]);
}

#[test]
fn rsip_understands_why_we_refuse() {
    let mut line = Line::new();
    let table = [
        (request(Method::Subscribe, 1, None, ""), StatusCode::MethodNotAllowed),
        (request(Method::Bye, 2, Some("nobody"), ""), StatusCode::CallTransactionDoesNotExist),
        (request(Method::Cancel, 3, None, ""), StatusCode::CallTransactionDoesNotExist),
    ];
    for (request, expected) in table {
        assert_eq!(read(&judged(&line.receive(request))[0]).status_code, expected);
    }
}

/// `sipx-sip` answers, `rsip` reads what we ask.
#[test]
fn we_call_sipx() {
    let mut line = Line::new();
    let invite = Invite {
        target: format!("sip:2363@{PEER}"),
        destination: Peer::udp(PEER.parse().unwrap()),
        from: "sip:test@example.com".to_owned(),
        offer: Bytes::from_static(OFFER.as_bytes()),
    };
    let mut leg = LegId(0);
    let actions = line.ask(|agent, now, out| leg = agent.invite(now, invite, out));
    let invite = judged(&actions)[0].clone();
    let read = Request::try_from(invite.as_ref()).expect("rsip reads it");
    assert_eq!((read.method, read.body.as_slice()), (Method::Invite, OFFER.as_bytes()));
    assert!(answer(&invite, 180, "").as_ref().starts_with(b"SIP/2.0 180 "));

    let ringing = line.receive(answer(&invite, 180, ""));
    assert_eq!(events(&ringing), [Event::Ringing { leg, status: 180, body: Bytes::new() }]);
    let actions = line.receive(answer(&invite, 200, ANSWER));
    let ack = Request::try_from(judged(&actions)[0].as_ref()).expect("rsip reads it");
    assert_eq!(ack.method, Method::Ack);
    assert_eq!(ack.to_header().unwrap().typed().unwrap().tag().unwrap().value(), "sipx");
    assert_eq!(events(&actions), [Event::Answered { leg, body: Bytes::from_static(ANSWER.as_bytes()) }]);

    let actions = line.ask(|agent, now, out| agent.hangup(now, leg, "¿algo más?", out));
    let bye = judged(&actions)[0].clone();
    let read = Request::try_from(bye.as_ref()).expect("rsip reads it");
    assert_eq!(read.cseq_header().unwrap().typed().unwrap(), rsip::typed::CSeq { seq: 2, method: Method::Bye });
    let actions = line.receive(answer(&bye, 200, ""));
    assert_eq!(actions, [Action::Event(Event::Ended { leg, cause: EndCause::LocalBye })]);
}

/// What sipx answers to a request of ours.
fn answer(request: &Bytes, status: u16, body: &'static str) -> Bytes {
    let message = sipx_sip::parse_datagram(request.clone(), &Limits::datagram()).unwrap();
    let request = message.as_request().unwrap();
    let to = request.headers.value(&sipx_sip::HeaderName::To).unwrap();
    let to = String::from_utf8(to.into_owned()).unwrap();
    let to = if to.contains(";tag=") { to } else { format!("{to};tag=sipx") };
    let response = ResponseBuilder::to_request(request, sipx_sip::StatusCode::new(status).unwrap(), "Fine")
        .and_then(|builder| builder.set_header(&sipx_sip::HeaderName::To, to))
        .and_then(|builder| builder.header(sipx_sip::HeaderName::Contact, format!("<sip:sipx@{PEER}>")))
        .unwrap();
    let mut out = Vec::new();
    response.body(body).build().write_to(&mut out);
    Bytes::from(out)
}
