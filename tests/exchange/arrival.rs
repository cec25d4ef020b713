//! How calls arrive, are refused, are answered, and are given up.

use super::*;

// ---- Abandoned ------------------------------------------------------------------------------------------------------

#[test]
fn a_call_abandoned_in_the_greeting_leaves_one_record_and_nothing_else() {
    let mut sim = Sim::new();
    let ana = sim.dial("ana", "*2363");
    sim.advance(ms(300));
    sim.bye(ana);
    sim.assert_idle();
    assert_eq!(sim.phones[ana].keys(), ["bienvenida"]);
    let record = sim.record();
    assert_eq!((record.result.as_str(), record.cause.as_str()), ("abandono", "the far end hung up"));
    assert_scenario!("abandoned", format!("{}\n{}", sim.phones[ana].ladder(), told(record)));
}

// ---- Refused --------------------------------------------------------------------------------------------------------

#[test]
fn cancel_before_the_invite_is_481_and_behind_the_answer_changes_nothing() {
    let mut sim = Sim::new();
    let early = sim.phone("early");
    (sim.phones[early].called, sim.phones[early].to) = ("*2363".into(), "*2363".into());
    sim.cancel(early);
    sim.advance(SECOND);
    assert_eq!(peer::status(&sim.phones[early].last_response), 481);

    // The flow answers at once: a CANCEL that follows the INVITE finds the call answered (RFC 3261 §9.2).
    let late = sim.dial("late", "*2363");
    sim.cancel(late);
    sim.advance(2 * SECOND);
    assert_eq!(sim.phones[late].finals, [200]);
    assert_eq!(sim.exchange.calls(), 1);
    sim.bye(late);
    sim.assert_idle();
    assert_eq!(sim.record().cause, "the far end hung up");
    assert_scenario!("cancelled_late", sim.phones[late].ladder());
}

#[test]
fn a_call_cancelled_before_its_answer_is_487_and_one_record() {
    let mut sim = Sim::new();
    sim.sockets = Ok(ms(500));
    let phone = sim.dial("impatient", "*2363");
    sim.advance(ms(100));
    sim.cancel(phone);
    sim.advance(ms(100));
    assert_eq!(sim.phones[phone].finals, [487]);
    sim.assert_idle();
    let record = sim.record();
    assert_eq!((record.result.as_str(), record.answered), ("abandono", None));
    assert_scenario!("cancelled", format!("{}\n{}", sim.phones[phone].ladder(), told(record)));
}

#[test]
fn without_a_port_for_media_a_call_is_told_to_come_back() {
    let mut sim = Sim::new();
    sim.sockets = Err("every port is taken".into());
    let phone = sim.dial("portless", "*2363");
    sim.advance(SECOND);
    assert_eq!(sim.phones[phone].finals, [503]);
    assert_eq!(peer::header(&sim.phones[phone].last_response, "Retry-After").as_deref(), Some("5"));
    sim.assert_idle();
    assert_eq!(sim.record().cause, "503: no media port: every port is taken");
}

#[test]
fn an_unknown_number_is_404_and_leaves_no_record() {
    let mut sim = Sim::new();
    let lost = sim.dial("lost", "5550000");
    sim.assert_idle();
    assert_eq!(sim.phones[lost].finals, [404]);
    assert_eq!(sim.records, []);
}

/// A From of `%1b%5b31mEVIL%0a` would write on the terminal of whoever lists the calls, and PostgreSQL refuses a `%00`.
#[test]
fn what_a_peer_writes_reaches_no_record_raw() {
    let mut sim = Sim::new();
    let mut records = Vec::new();
    for (name, from, called) in [
        ("evil", "%1b%5b31mEVIL%0a", "*2363"),
        ("nul", "555%00", "*2363;note=%1b"),
        (&*"n".repeat(300), &*"9".repeat(300), "+522226057239"),
    ] {
        let phone = sim.phone(name);
        sim.phones[phone].from = from.into();
        sim.invite(phone, called);
        sim.advance(SECOND);
        sim.bye(phone);
        sim.assert_idle();
        let record = sim.records.last().unwrap();
        records.push((record.sip_call_id.clone(), record.caller.clone(), record.called.clone()));
    }
    let record = |call_id: &str, called: &str| (call_id.to_owned(), String::new(), called.to_owned());
    assert_eq!(records, [record("evil", "*2363"), record("nul", "*2363"), record(&"n".repeat(128), "+522226057239")]);
    let lost = sim.dial("lost", "*2363%0a");
    sim.assert_idle();
    assert_eq!((sim.phones[lost].finals.clone(), sim.records.len()), (vec![404], 3));
}

#[test]
fn over_the_limit_and_while_draining_calls_are_told_when_to_come_back() {
    let mut sim = Sim::with(Setup { calls: Some(2), ..Setup::default() });
    let [one, two] = ["one", "two"].map(|name| sim.talk(name, "*2363"));
    let three = sim.dial("three", "*2363");
    sim.advance(SECOND);
    assert_eq!(sim.phones[three].finals, [503]);
    assert_eq!(peer::header(&sim.phones[three].last_response, "Retry-After").as_deref(), Some("5"));
    sim.bye(one);
    sim.advance(SECOND);
    let four = sim.talk("four", "*2363");

    sim.tell(Input::Drain { retry_after: 30 });
    sim.bye(two);
    sim.advance(SECOND);
    let five = sim.dial("five", "*2363");
    sim.advance(SECOND);
    assert_eq!(sim.phones[five].finals, [503]);
    assert_eq!(peer::header(&sim.phones[five].last_response, "Retry-After").as_deref(), Some("30"));
    assert_eq!(sim.exchange.calls(), 1, "the call under way goes on");
    sim.tell(Input::ShutDown);
    sim.assert_idle();
    assert!(sim.phones[four].bye.is_some());
    let causes: Vec<&str> = sim.records.iter().map(|record| record.cause.as_str()).collect();
    assert_eq!(causes, ["the far end hung up", "the far end hung up", "the engine stops"]);
}

fn trunk(source: &str, called_from: CalledFrom) -> Trunk {
    Trunk { called_from, ..Trunk::named("carrier", vec![source.parse().unwrap()]) }
}

#[test]
fn strangers_are_refused_or_ignored() {
    for (strangers, finals) in [(Strangers::Refuse, vec![403]), (Strangers::Ignore, vec![])] {
        let mut config = Config { trunks: vec![trunk("198.18.0.1/32", CalledFrom::RequestUri)], ..Config::default() };
        config.sip.strangers = strangers;
        let mut sim = Sim::with(Setup { config, ..Setup::default() });
        let known = sim.talk("known", "*2363");
        let stranger = sim.dial("stranger", "*2363");
        sim.advance(SECOND);
        assert_eq!(sim.phones[stranger].finals, finals);
        assert_eq!(sim.phones[stranger].last_response.is_empty(), strangers == Strangers::Ignore);
        assert_eq!(sim.exchange.calls(), 1);
        sim.bye(known);
        sim.assert_idle();
        assert_eq!(sim.records.len(), 1);
    }
}

#[test]
fn a_trunk_may_name_the_called_number_in_to() {
    let config = Config { trunks: vec![trunk("198.18.0.0/16", CalledFrom::To)], ..Config::default() };
    let mut sim = Sim::with(Setup { config, ..Setup::default() });
    let phone = sim.phone("account");
    sim.phones[phone].to = "7676720827".into();
    sim.invite(phone, "account4711");
    sim.advance(SECOND);
    sim.bye(phone);
    sim.assert_idle();
    let record = sim.record();
    assert_eq!((record.operator.as_str(), record.called.as_str()), ("bluepoint", "7676720827"));
}

/// RFC 7315 §4.2, RFC 5806, RFC 7044: where a network put its own address, or an account, into the request URI.
#[test]
fn a_trunk_may_name_the_called_number_in_a_header_of_its_own() {
    let diverted = "Diversion: <sip:+527676720827@x>;reason=unconditional, <sip:5@x>\r\n";
    let history = "History-Info: <sip:+527676720827@x?Reason=SIP%3Bcause%3D302>;index=1, <sip:5@x>;index=1.1\r\n";
    for (called_from, headers, operator) in [
        (CalledFrom::PCalledPartyId, "P-Called-Party-ID: <sip:7676720827@x>\r\n", "bluepoint"),
        (CalledFrom::Diversion, diverted, "bluepoint"),
        (CalledFrom::HistoryInfo, history, "bluepoint"),
        // What is not there, or cannot be read, leaves the request URI.
        (CalledFrom::Diversion, "", "beneleit"),
        (CalledFrom::PCalledPartyId, "P-Called-Party-ID: <<>\r\n", "beneleit"),
        (CalledFrom::RequestUri, diverted, "beneleit"),
    ] {
        let config = Config { trunks: vec![trunk("198.18.0.0/16", called_from)], ..Config::default() };
        let mut sim = Sim::with(Setup { config, ..Setup::default() });
        let phone = sim.phone("diverted");
        sim.phones[phone].invite_headers = headers;
        sim.invite(phone, "*2363");
        sim.advance(SECOND);
        sim.bye(phone);
        sim.assert_idle();
        assert_eq!(sim.record().operator, operator, "{called_from:?} {headers}");
    }
}

/// A carrier that writes numbers abroad without a +, and its own prefix in front of those that are called.
#[test]
fn numbers_are_read_as_their_trunk_writes_them() {
    let numbers = Numbers { format: Format::E164, strip: "77".into(), ..Numbers::default() };
    let carrier = Trunk { numbers, ..trunk("198.18.0.0/16", CalledFrom::RequestUri) };
    let mut sim =
        Sim::with(Setup { config: Config { trunks: vec![carrier], ..Config::default() }, ..Setup::default() });
    for (from, called, caller, operator) in [
        ("12125551234", "77527676720827", "+12125551234", "bluepoint"),
        ("525555123456", "7676720827", "5555123456", "bluepoint"),
        ("5555123456", "77*2363", "5555123456", "beneleit"),
    ] {
        let phone = sim.phone(called);
        sim.phones[phone].from = from.into();
        sim.invite(phone, called);
        sim.advance(SECOND);
        sim.bye(phone);
        sim.advance(SECOND);
        let record = sim.records.last().unwrap();
        assert_eq!((record.caller.as_str(), record.operator.as_str()), (caller, operator));
        assert_eq!(record.called, called, "as it came");
    }
}

/// What a carrier sold: the call beyond it is refused with what the carrier's operator has to know, and others are not held up by it.
#[test]
fn a_trunk_takes_as_many_calls_and_as_fast_as_its_settings_say() {
    let first =
        Trunk { max_calls: Some(3), calls_per_second: Some(2), ..trunk("198.18.0.0/29", CalledFrom::RequestUri) };
    let config = Config { trunks: vec![first, trunk("198.18.0.0/16", CalledFrom::RequestUri)], ..Config::default() };
    let mut sim = Sim::with(Setup { config, ..Setup::default() });
    // Addresses count up from 198.18.0.1: seven are the first trunk's.
    let phones: Vec<usize> = (0..3).map(|number| sim.dial(&format!("burst{number}"), "*2363")).collect();
    sim.advance(SECOND);
    assert_eq!(sim.phones[phones[2]].finals, [503]);
    let last = &sim.phones[phones[2]].last_response;
    assert_eq!(peer::header(last, "Retry-After").as_deref(), Some("1"));
    assert!(peer::header(last, "Warning").unwrap().contains("2 calls a second (calls_per_second)"), "{last:?}");
    let (third, fourth) = (sim.dial("third", "*2363"), sim.dial("fourth", "*2363"));
    sim.advance(SECOND);
    assert_eq!((sim.phones[third].finals.as_slice(), sim.phones[fourth].finals.as_slice()), (&[200][..], &[503][..]));
    let last = &sim.phones[fourth].last_response;
    assert!(peer::header(last, "Warning").unwrap().contains("3 calls (max_calls)"), "{last:?}");
    assert_eq!(sim.exchange.capacity().calls(0), 3);
    sim.bye(third);
    sim.advance(SECOND);
    let (fifth, _, others) = (sim.dial("fifth", "*2363"), sim.phone("sixth"), sim.dial("other", "*2363"));
    sim.advance(SECOND);
    assert_eq!((sim.phones[fifth].finals.as_slice(), sim.phones[others].finals.as_slice()), (&[200][..], &[200][..]));
    for phone in [phones[0], phones[1], fifth, others] {
        sim.bye(phone);
    }
    sim.assert_idle();
    assert_eq!((sim.exchange.capacity().calls(0), sim.exchange.capacity().calls(1)), (0, 0));
}

/// A trunk that reaches us elsewhere finds that address in Contact and in what we ask it, not in its audio alone.
#[test]
fn a_trunk_hears_the_address_that_it_reaches_us_at() {
    let carrier = Trunk { advertised: Some([203, 0, 113, 7].into()), ..trunk("198.18.0.1/32", CalledFrom::RequestUri) };
    let config = Config { trunks: vec![carrier, trunk("198.18.0.0/16", CalledFrom::RequestUri)], ..Config::default() };
    let mut sim = Sim::with(Setup { config, ..Setup::default() });
    for (name, contact) in [("one", "<sip:contesta@203.0.113.7:5060>"), ("two", "<sip:contesta@192.0.2.10:5060>")] {
        let phone = sim.dial(name, "*2363");
        sim.advance(SECOND);
        assert_eq!(peer::header(&sim.phones[phone].last_response, "Contact").as_deref(), Some(contact));
        sim.bye(phone);
    }
    sim.assert_idle();
}

// ---- The same INVITE again ------------------------------------------------------------------------------------------

#[test]
fn an_invite_repeated_five_times_and_merged_is_one_call() {
    let mut sim = Sim::new();
    let phone = sim.dial("again", "*2363");
    let invite = sim.invite_bytes(phone);
    for _ in 0..5 {
        sim.send_sip(phone, invite.clone());
        sim.advance(ms(15));
    }
    // RFC 3261 §8.2.2.2: by another way.
    sim.send_sip(phone, invite.replace("z9hG4bKagain1", "z9hG4bKmerged"));
    sim.advance(SECOND);
    assert_eq!(peer::status(&sim.phones[phone].last_response), 482);
    assert_eq!(sim.exchange.calls(), 1);
    sim.bye(phone);
    sim.assert_idle();
    assert_eq!(sim.record().cause, "the far end hung up");
    assert_scenario!("repeated_and_merged", sim.phones[phone].ladder());
}

// ---- Descriptions ---------------------------------------------------------------------------------------------------

#[test]
fn without_a_common_codec_488_and_without_sdp_400() {
    let mut sim = Sim::new();
    let foreign = sim.phone("g729");
    sim.phones[foreign].formats = "18 101";
    sim.invite(foreign, "*2363");
    sim.advance(SECOND);
    assert_eq!(sim.phones[foreign].finals, [488]);
    let garbled = sim.phone("garbled");
    (sim.phones[garbled].called, sim.phones[garbled].to) = ("*2363".into(), "*2363".into());
    sim.ask(garbled, "INVITE", "Content-Type: application/sdp\r\n", "this is no description");
    sim.assert_idle();
    assert_eq!(sim.phones[garbled].finals, [400]);
    let causes: Vec<_> = sim.records.iter().map(|record| (record.result.as_str(), record.cause.as_str())).collect();
    assert_eq!(causes[0], ("rechazada", "488: no codec in common: G729 was offered (SDP m=audio)"));
    let broken = "400: line 1: a session description begins with v=0 (SDP of the INVITE)";
    assert_eq!(causes[1], ("rechazada", broken));
    assert_eq!(causes.len(), 2);
}

#[test]
fn a_late_offer_begins_its_flow_with_the_answer_in_the_ack() {
    let mut sim = Sim::new();
    let phone = sim.phone("late");
    sim.phones[phone].offers = false;
    sim.phones[phone].acks = false;
    sim.invite(phone, "*2363");
    sim.advance(SECOND);
    let offer = sim.phones[phone].last_response.clone();
    assert!(String::from_utf8_lossy(&offer).contains("m=audio 10000 RTP/AVP 0 8 101"), "{offer:?}");
    assert_eq!(sim.phones[phone].heard, []);
    sim.phones[phone].acks = true;
    sim.until_heard(phone, "menu_principal");
    sim.press(phone, "2");
    sim.until_heard(phone, "menu_informacion");
    sim.bye(phone);
    sim.assert_idle();
    assert_scenario!("late_offer", format!("{}\n{}", sim.phones[phone].ladder(), told(sim.record())));
}

#[test]
fn a_late_offer_without_an_answer_in_the_ack_ends_with_its_cause() {
    let mut sim = Sim::new();
    let phone = sim.phone("mute");
    sim.phones[phone].offers = false;
    sim.phones[phone].acks = false;
    sim.invite(phone, "*2363");
    sim.advance(ms(100));
    let ack = sim.phones[phone].request("ACK", 1, "muteack", "", "");
    sim.send_sip(phone, ack);
    sim.assert_idle();
    assert!(sim.phones[phone].bye.is_some());
    assert_eq!(sim.record().cause, "the ACK brought no answer to our offer");
}

// ---- No ACK ---------------------------------------------------------------------------------------------------------

#[test]
fn without_ack_the_200_is_repeated_for_32_seconds_and_the_record_says_where_to_look() {
    let mut sim = Sim::new();
    let phone = sim.phone("deaf");
    sim.phones[phone].acks = false;
    sim.invite(phone, "*2363");
    sim.keys(phone, "2,1");
    sim.advance(Duration::from_secs(40));
    sim.assert_idle();
    let record = sim.record();
    assert_eq!(record.cause, NO_ACK);
    assert!(record.path.iter().any(|entry| entry.what == "note colgó quien llamó"), "on_hangup ran");
    assert_scenario!("no_ack", format!("{}\n{}", sim.phones[phone].ladder(), told(record)));
}

/// The flow ends of itself before the 200 has been given up: the missing ACK is still what ops must know.
#[test]
fn a_missing_ack_is_the_cause_although_the_flow_ended_first() {
    let mut sim = Sim::new();
    let phone = sim.phone("deaf");
    sim.phones[phone].acks = false;
    sim.invite(phone, "*2363");
    sim.advance(Duration::from_secs(40));
    sim.assert_idle();
    let record = sim.record();
    assert_eq!((record.result.as_str(), record.cause.as_str()), ("sin_respuesta", NO_ACK));
    let byes = sim.phones[phone].log.iter().filter(|(_, ours, line)| !ours && line.starts_with("BYE"));
    assert_eq!(byes.map(|(at, ..)| *at).collect::<Vec<_>>(), [32_000]);
}

/// What the media workers cannot carry is refused, so that the calls they have do not stutter; when they are well again, calls
/// are taken again.
#[test]
fn while_audio_comes_late_new_calls_get_503_and_the_old_ones_go_on() {
    let mut sim = Sim::new();
    let old = sim.talk("old", "*2363");
    sim.tell(Input::Overloaded(true));
    let refused = sim.dial("refused", "*2363");
    let lost = sim.dial("lost", "5550000");
    sim.advance(SECOND);
    assert_eq!((&sim.phones[refused].finals[..], &sim.phones[lost].finals[..]), (&[503][..], &[404][..]));
    assert_eq!(peer::header(&sim.phones[refused].last_response, "Retry-After").as_deref(), Some("10"));
    assert_eq!((sim.exchange.calls(), &sim.phones[old].bye), (1, &None));
    sim.tell(Input::Overloaded(false));
    let taken = sim.talk("taken", "*2363");
    for phone in [old, taken] {
        sim.bye(phone);
    }
    sim.assert_idle();
    assert_eq!(sim.records.len(), 2, "who was refused leaves no record");
}
