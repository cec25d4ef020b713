//! Within the dialog: silence, hold, other addresses, other descriptions, ends that cross.

use super::*;

// ---- Silence, hold, another address ---------------------------------------------------------------------------------

#[test]
fn rtp_silence_ends_a_call_with_its_cause() {
    let mut sim = soon_silent();
    let phone = sim.talk("cut", "*2363");
    sim.keys(phone, "2");
    sim.advance(ms(40));
    sim.phones[phone].speaks = false;
    let from = sim.ms();
    sim.until("hung up", MINUTE, |sim| sim.phones[phone].bye.is_some());
    assert_eq!(sim.ms() - from, 8_000);
    sim.assert_idle();
    let record = sim.record();
    assert_eq!(record.cause, "no RTP from the caller: check the path of media, NAT and firewalls");
    assert_eq!(record.result, "abandono");
}

/// Within three seconds, in the record, with which side is silent and what to look at; and so is its return.
#[test]
fn audio_that_goes_one_way_is_told_while_it_happens() {
    let mut sim = soon_silent();
    let phone = sim.talk("cut", "*2363");
    sim.keys(phone, "2");
    sim.advance(ms(40));
    sim.phones[phone].speaks = false;
    let from = sim.ms();
    sim.advance(4 * SECOND);
    sim.phones[phone].speaks = true;
    sim.advance(SECOND);
    sim.phones[phone].speaks = false;
    sim.until("hung up", MINUTE, |sim| sim.phones[phone].bye.is_some());
    sim.assert_idle();
    let record = sim.record();
    let told: Vec<&contesta::call::PathEntry> =
        record.path.iter().filter(|entry| entry.place == "media" && entry.what.contains("far end")).collect();
    let [stopped, again, once_more] = told[..] else { panic!("{told:?}") };
    assert!(stopped.what.starts_with("one-way audio: the far end's RTP has stopped; check"), "{stopped:?}");
    assert!((2_400..=3_000).contains(&(stopped.at_ms - from)), "{stopped:?}, silent since {from}");
    assert!(again.what.starts_with("the far end is heard again after 4."), "{again:?}");
    assert_eq!((once_more.what.as_str(), record.media.quality.one_way), (stopped.what.as_str(), 2));
}

#[test]
fn a_held_call_is_not_ended_by_silence_and_goes_on_when_it_is_resumed() {
    for direction in ["sendonly", "inactive", "recvonly"] {
        let mut sim = soon_silent();
        let phone = sim.talk("holds", "*2363");
        sim.keys(phone, "2");
        let before = sim.phones[phone].rtp_packets;
        sim.reinvite(phone, direction);
        sim.phones[phone].speaks = false;
        sim.advance(10 * SECOND);
        let ok = sim.phones[phone].last_response.clone();
        let answered = match direction {
            "sendonly" => "a=recvonly",
            "inactive" => "a=inactive",
            _ => "a=sendonly",
        };
        assert!(String::from_utf8_lossy(&ok).contains(answered), "{direction}: {ok:?}");
        let came = sim.phones[phone].rtp_packets - before;
        assert_eq!(came > 400, direction == "recvonly", "{direction}: {came} packets");
        // Who sends only is expected to be heard.
        let ended = direction == "sendonly";
        assert_eq!(sim.exchange.calls(), usize::from(!ended), "{direction}");
        if ended {
            assert_eq!(sim.record().cause, "no RTP from the caller: check the path of media, NAT and firewalls");
            continue;
        }
        sim.phones[phone].speaks = true;
        sim.reinvite(phone, "sendrecv");
        sim.listen(phone);
        // One stream; its timestamps counted the quiet time (RFC 3550 §5.1).
        let jumps = u32::from(direction == "inactive");
        assert_eq!((sim.phones[phone].rtp_breaks, sim.phones[phone].rtp_jumps), (0, jumps), "{direction}");
        // Resumed, its silence counts again, from the beginning.
        sim.phones[phone].speaks = false;
        let from = sim.ms();
        sim.until("hung up", MINUTE, |sim| sim.phones[phone].bye.is_some());
        assert_eq!(sim.ms() - from, 8_000);
        sim.assert_idle();
        assert_eq!(sim.phones[phone].finals, [200, 200, 200]);
        assert_eq!(sim.record().cause, "no RTP from the caller: check the path of media, NAT and firewalls");
    }
}

#[test]
fn a_reinvite_moves_the_stream_which_goes_on() {
    let mut sim = Sim::new();
    let phone = sim.talk("roams", "*2363");
    sim.until_heard(phone, "menu_principal");
    let first = sim.phones[phone].last_rtp.unwrap();
    sim.move_audio(phone);
    sim.reinvite(phone, "sendrecv");
    sim.advance(ms(100));
    assert_eq!(sim.phones[phone].rtp_here, 5, "every packet comes to the new port");
    let moved = sim.phones[phone].last_rtp.unwrap();
    assert_eq!((moved.ssrc, sim.phones[phone].rtp_breaks, sim.phones[phone].rtp_jumps), (first.ssrc, 0, 0));
    assert_eq!(moved.timestamp.since(first.timestamp), i32::from(moved.sequence.since(first.sequence)) * 160);
    // Keys from there are heard.
    sim.press(phone, "2");
    sim.until_heard(phone, "menu_informacion");
    sim.bye(phone);
    sim.assert_idle();
    assert_scenario!("moved", format!("{}\n{}", sim.phones[phone].ladder(), told(sim.record())));
}

// ---- Within the dialog ----------------------------------------------------------------------------------------------

/// RFC 3261 §14.1, RFC 3264 §4: a re-INVITE without SDP asks for our offer; its answer comes in the ACK and counts.
#[test]
fn a_reinvite_without_sdp_gets_our_offer_and_its_answer_moves_the_stream() {
    let mut sim = soon_silent();
    let phone = sim.talk("refresh", "*2363");
    sim.until_heard(phone, "menu_principal");
    sim.move_audio(phone);
    sim.phones[phone].offers = false;
    sim.ask(phone, "INVITE", "", "");
    sim.advance(ms(100));
    let ok = sim.phones[phone].last_response.clone();
    assert!(String::from_utf8_lossy(&ok).contains("m=audio 10000 RTP/AVP 0 8 101"), "{ok:?}");
    assert_eq!(
        (sim.phones[phone].rtp_here, sim.phones[phone].rtp_breaks),
        (5, 0),
        "the stream goes on at the new port"
    );
    sim.press(phone, "2");
    sim.until_heard(phone, "menu_informacion");
    sim.bye(phone);
    sim.assert_idle();
    assert_eq!(sim.phones[phone].finals, [200, 200]);
}

#[test]
fn a_reinvite_that_cannot_be_taken_is_refused_and_the_call_goes_on() {
    let mut sim = Sim::new();
    let phone = sim.talk("g729", "*2363");
    sim.until_heard(phone, "menu_principal");
    sim.phones[phone].formats = "18 101";
    sim.reinvite(phone, "sendrecv");
    sim.advance(SECOND);
    sim.ask(phone, "INVITE", "Content-Type: application/sdp\r\n", "this is no description");
    sim.advance(SECOND);
    sim.phones[phone].formats = "8 101";
    sim.reinvite(phone, "sendrecv");
    sim.advance(SECOND);
    assert_eq!(sim.phones[phone].finals, [200, 488, 400, 200]);
    // RFC 3264 §8: the version grows by one with each description sent; a refusal sends none.
    let ok = String::from_utf8_lossy(&sim.phones[phone].last_response).into_owned();
    let origin = ok.lines().find(|line| line.starts_with("o=")).unwrap();
    assert_eq!(origin.split(' ').nth(2), Some("2"), "{origin}");
    sim.press(phone, "2");
    sim.until_heard(phone, "menu_informacion");
    assert_eq!((sim.phones[phone].rtp_breaks, sim.phones[phone].rtp_jumps), (0, 0));
    sim.bye(phone);
    sim.assert_idle();
    assert_eq!(sim.record().cause, "the far end hung up");
}

#[test]
fn byes_that_cross_end_the_call_once() {
    let mut sim = Sim::new();
    sim.sip_weather.delay = ms(100);
    let phone = sim.talk("crossing", "*2363");
    sim.advance(ms(5_000));
    sim.tell(Input::ShutDown);
    sim.bye(phone);
    sim.advance(10 * SECOND);
    sim.assert_idle();
    assert_eq!(sim.record().cause, "the engine stops");
    assert_scenario!("crossing_byes", sim.phones[phone].ladder());
}

#[test]
fn the_engine_stops_in_every_stage_of_a_call() {
    let mut sim = Sim::new();
    sim.sockets = Ok(ms(500));
    let opening = sim.dial("opening", "*2363");
    sim.advance(ms(100));
    sim.sockets = Ok(Duration::ZERO);
    let unconfirmed = sim.phone("unconfirmed");
    (sim.phones[unconfirmed].offers, sim.phones[unconfirmed].acks) = (false, false);
    sim.invite(unconfirmed, "*2363");
    let talking = sim.talk("talking", "*2363");
    sim.advance(ms(100));
    sim.tell(Input::ShutDown);
    sim.tell(Input::ShutDown);
    sim.advance(40 * SECOND);
    sim.assert_idle();
    let finals = [opening, unconfirmed, talking].map(|phone| sim.phones[phone].finals.clone());
    assert_eq!(finals, [vec![480], vec![200], vec![200]]);
    let ends: Vec<_> =
        sim.records.iter().map(|record| (&*record.sip_call_id, &*record.result, &*record.cause)).collect();
    assert_eq!(
        ends,
        [
            ("opening", "rechazada", "the engine stops"),
            ("talking", "abandono", "the engine stops"),
            ("unconfirmed", "abandono", NO_ACK)
        ]
    );
}

/// A caller cannot send its call anywhere, nor take another one's place: nothing is dialled, and both calls go on.
#[test]
fn a_caller_cannot_transfer_itself_nor_take_over_a_call() {
    let mut sim = Sim::new();
    let victim = sim.talk("victim", "*2363");
    let phone = sim.talk("refers", "*2363");
    for target in ["sip:+882161234567@192.0.2.10", "tel:+882161234567", "sip:900@198.51.100.66"] {
        sim.ask(phone, "REFER", &format!("Refer-To: <{target}>\r\nReferred-By: <sip:boss@192.0.2.10>\r\n"), "");
        sim.advance(ms(100));
        let refused = sim.phones[phone].last_response.clone();
        assert!(refused.starts_with(b"SIP/2.0 403 "), "{refused:?}");
    }
    let (to, from) = (sim.phones[victim].to_tag.clone(), "farvictim");
    let taker = sim.phone("takes");
    let headers = format!("Replaces: victim;to-tag={to};from-tag={from}\r\n");
    sim.phones[taker].invite_headers = Box::leak(headers.into_boxed_str());
    sim.invite(taker, "*2363");
    sim.advance(ms(100));
    let required = sim.phone("must");
    let headers = format!("Require: replaces\r\nReplaces: victim;to-tag={to};from-tag={from}\r\n");
    sim.phones[required].invite_headers = Box::leak(headers.into_boxed_str());
    sim.invite(required, "*2363");
    sim.advance(ms(100));
    for taker in [taker, required] {
        assert_eq!((sim.phones[taker].finals.as_slice(), sim.exchange.calls()), (&[403][..], 2));
    }
    for phone in [victim, phone] {
        sim.until_heard(phone, "menu_principal");
        assert!(sim.phones[phone].log.iter().all(|(_, ours, line)| *ours || !line.starts_with("INVITE")));
        sim.bye(phone);
    }
    sim.assert_idle();
}
