//! The engine as a whole, call by call, in simulated time: what crosses the line, what is heard, what is written.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking, and stages its world")]

mod peer;
mod shipped;
mod sim;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Once;
use std::time::Duration;

use contesta::call::CallRecord;
use contesta::config::{CalledFrom, Config, Strangers, Trunk};
use contesta::exchange::Input;
use contesta::flow::{Answer, RequestId};
use contesta::ids::{Ids, LegId, PlayId};
use contesta::media;
use contesta::rtp::{RtpHeader, RtpTime, SequenceNumber, Ssrc};
use contesta::value::Values;
use sim::{Setup, Sim, Weather};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Compares with `tests/scenarios/<name>.snap`.
macro_rules! assert_scenario {
    ($name:expr, $text:expr) => {
        insta::with_settings!({
            snapshot_path => "scenarios", prepend_module_to_snapshot => false, omit_expression => true
        }, { insta::assert_snapshot!($name, $text) })
    };
}

/// A record as people read it: how it ended, and its way.
fn told(record: &CallRecord) -> String {
    let CallRecord { operator, flow, called, caller, class, result, cause, folios, .. } = record;
    let after = |moment: jiff::Timestamp| moment.duration_since(record.began).as_millis();
    let answered = record.answered.map_or("never".to_owned(), |answered| format!("{} ms", after(answered)));
    let path = record.path.iter().map(|entry| format!("{:>6} {}: {}\n", entry.at_ms, entry.place, entry.what));
    format!(
        "{operator} {flow} {class}: {caller} → {called}, answered {answered}, ended {} ms\nresult {result}: {cause}\n\
        folios {folios:?}\n{:?}\n{}",
        after(record.ended),
        record.media,
        path.collect::<String>()
    )
}

// ---- 1. Abandoned ----------------------------------------------------------------------------------------------------

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

// ---- 2. Refused ------------------------------------------------------------------------------------------------------

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
    assert_eq!((record.result.as_str(), record.answered), ("rechazada", None));
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
    assert_eq!(sim.record().cause, "no media port: every port is taken");
}

#[test]
fn an_unknown_number_is_404_and_leaves_no_record() {
    let mut sim = Sim::new();
    let lost = sim.dial("lost", "5550000");
    sim.assert_idle();
    assert_eq!(sim.phones[lost].finals, [404]);
    assert_eq!(sim.records, []);
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
    Trunk { name: "carrier".into(), sources: vec![source.parse().unwrap()], called_from, advertised: None }
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

// ---- 4. The same INVITE again ----------------------------------------------------------------------------------------

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

// ---- 3. Descriptions -------------------------------------------------------------------------------------------------

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
    assert_eq!(causes[0], ("rechazada", "no RTP/AVP audio stream with PCMU or PCMA is offered"));
    assert_eq!(causes[1].0, "rechazada");
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

// ---- 5. No ACK -------------------------------------------------------------------------------------------------------

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

const NO_ACK: &str = "no ACK for our 200: check the peer's Contact, NAT and the advertised address";

// ---- 6. Silence, hold, another address -------------------------------------------------------------------------------

/// A centre that takes 8 s without RTP for a lost caller.
fn soon_silent() -> Sim {
    let mut config = Config::default();
    config.rtp.silence = 8 * SECOND;
    Sim::with(Setup { config, ..Setup::default() })
}

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

// ---- 7. Keys ---------------------------------------------------------------------------------------------------------

/// The keys that the flow took, in order, as the path tells them.
fn keys_taken(record: &CallRecord) -> String {
    record.path.iter().filter_map(|entry| entry.what.strip_prefix("key ")).collect()
}

#[test]
fn a_key_by_both_roads_is_one_and_info_alone_is_enough() {
    let mut sim = Sim::new();
    let phone = sim.talk("both", "*2363");
    sim.listen(phone);
    sim.press(phone, "2");
    sim.advance(ms(160));
    sim.info(phone, '2');
    sim.listen(phone);
    sim.info(phone, '5');
    sim.listen(phone);
    sim.bye(phone);
    sim.assert_idle();
    assert_eq!(keys_taken(sim.record()), "25");
    assert_eq!(sim.record().media.digits, 1);
    assert!(sim.phones[phone].has_heard("menu_equipos_planes"));
}

/// RFC 4733 §2.5.1.3 wants one timestamp for all packets of a press; some gateways give each end a new one (J10d).
#[test]
fn three_ends_with_new_timestamps_are_one_key() {
    let mut sim = Sim::new();
    let phone = sim.talk("gateway", "*2363");
    sim.listen(phone);
    sim.phones[phone].speaks = false;
    let to = sim.phones[phone].talk.as_ref().unwrap().leg.destination();
    let from = sim.phones[phone].rtp;
    let packets = [(0, 160, 0), (0, 320, 0), (0, 480, 0), (480, 480, 0x80), (640, 480, 0x80), (800, 480, 0x80)];
    for (sequence, (later, duration, end)) in (500_u16..).zip(packets) {
        let header = RtpHeader {
            marker: sequence == 500,
            payload_type: 101,
            sequence: SequenceNumber(sequence),
            timestamp: RtpTime(100_000 + later),
            ssrc: Ssrc(0xfa4),
        };
        let [high, low] = u16::to_be_bytes(duration);
        let packet = [&header.to_bytes()[..], &[2, end | 10, high, low]].concat();
        sim.send_rtp(from, to, &packet);
        sim.advance(ms(20));
    }
    sim.phones[phone].speaks = true;
    sim.listen(phone);
    sim.bye(phone);
    sim.assert_idle();
    assert_eq!((keys_taken(sim.record()).as_str(), sim.record().media.digits), ("2", 1));
}

#[test]
fn a_fifth_of_the_packets_lost_doubles_no_key_and_loses_none() {
    for seed in 0..10 {
        let mut sim = Sim::with(Setup { seed, ..Setup::default() });
        sim.rtp_weather = Weather { loss: 20, repeats: 5, delay: ms(30), jitter: ms(60) };
        let phone = sim.talk("rain", "2226057239");
        sim.keys(phone, "300,1,1,2225550102,1,490154203237518");
        sim.listen(phone);
        assert!(sim.phones[phone].has_heard("imei_marcado"), "seed {seed}: {}", sim.picture());
        sim.bye(phone);
        sim.assert_idle();
        assert_eq!(sim.record().media.digits, 3 + 1 + 1 + 10 + 1 + 15, "seed {seed}");
        assert!(sim.record().media.packets_lost > 20);
    }
}

#[test]
fn who_hangs_up_within_the_imei_blocks_nothing() {
    let mut sim = Sim::new();
    let phone = sim.talk("nine", "*2363");
    sim.keys(phone, "1,1,1,490154203");
    sim.bye(phone);
    sim.assert_idle();
    assert_eq!((sim.cases("beneleit").len(), sim.asked.clone()), (0, Vec::<String>::new()));
    let record = sim.record();
    assert_eq!((record.result.as_str(), record.cause.as_str()), ("abandono", "the far end hung up"));
    assert_eq!((record.media.digits, record.folios.len()), (12, 0));
    assert!(!told(record).contains("490154203"), "what was keyed of it stands nowhere");
}

// ---- 8. Silence, garbage, services that are away ---------------------------------------------------------------------

#[test]
fn a_silent_caller_is_asked_three_times_and_told_goodbye() {
    let mut sim = Sim::new();
    let phone = sim.talk("silent", "*2363");
    sim.until("hung up", 2 * MINUTE, |sim| sim.phones[phone].bye.is_some());
    sim.assert_idle();
    let menu = "menu_principal";
    assert_eq!(
        sim.phones[phone].keys(),
        ["bienvenida", "aviso_privacidad", menu, "no_escuche", menu, "no_escuche", menu, "despedida_silencio"]
    );
    assert_eq!(
        (sim.record().result.as_str(), sim.record().cause.as_str()),
        ("sin_respuesta", "the flow ended: hangup")
    );
}

#[test]
fn invalid_keys_have_their_own_words_and_lead_to_an_agent_or_goodbye() {
    let mut sim = Sim::new();
    let phone = sim.talk("wrong", "*2363");
    sim.keys(phone, "7,8,9");
    sim.until("hung up", 2 * MINUTE, |sim| sim.phones[phone].bye.is_some());
    sim.assert_idle();
    let (menu, options) = ("menu_principal", "asesor_opciones");
    assert_eq!(
        sim.phones[phone].keys(),
        [
            "bienvenida",
            "aviso_privacidad",
            menu,
            "opcion_no_valida",
            menu,
            "opcion_no_valida",
            menu,
            "asesor_no_disponible",
            options,
            "no_escuche",
            options,
            "no_escuche",
            options,
            "despedida"
        ]
    );
    assert_eq!(keys_taken(sim.record()), "");
}

/// J10h: suspension and block hang; the caller gets the folio in time, and the late answers change nothing.
#[test]
fn services_that_never_answer_do_not_take_the_folio_away() {
    let mut sim = Sim::new();
    sim.slow = vec![("line.suspend", 90 * SECOND), ("device.block", 90 * SECOND)];
    let phone = sim.talk("stolen", "*2363");
    sim.keys(phone, "1,1,1,490154203237518,1");
    sim.until_heard(phone, "su_reporte_es");
    let [case] = &sim.cases("beneleit")[..] else { panic!("one case") };
    assert!(sim.phones[phone].has_heard("linea_por_confirmar") && sim.phones[phone].has_heard("equipo_por_confirmar"));
    sim.listen(phone);
    sim.bye(phone);
    // Both orders are tried once more, silently, before the record is written.
    sim.advance(20 * SECOND);
    let before = sim.record().clone();
    assert_eq!((before.result.as_str(), before.folios.as_slice()), ("bloqueo", &[case.folio.to_string()][..]));
    // The answers come when nobody waits any more.
    sim.advance(2 * MINUTE);
    sim.assert_idle();
    assert_eq!(sim.record(), &before);
    assert_eq!(
        sim.asked,
        [
            "device.status",
            "open bloqueo",
            "line.suspend",
            "device.block",
            "update",
            "line.suspend",
            "device.block",
            "update"
        ]
    );
    // What was ordered late was ordered once.
    assert_eq!(sim.orders(&case.folio).len(), 2);
}

// ---- 9. Over is over -------------------------------------------------------------------------------------------------

#[test]
fn what_comes_for_a_call_that_is_over_changes_nothing() {
    let mut sim = Sim::new();
    let phone = sim.talk("gone", "*2363");
    sim.keys(phone, "2,2");
    sim.bye(phone);
    sim.advance(SECOND);
    let before = sim.record().clone();
    let leg = LegId(1);
    let answer = Answer::Result { result: "found".into(), values: Values::new() };
    for id in 0..10 {
        sim.tell(Input::Answered { leg, id: RequestId(id), answer: answer.clone() });
    }
    for event in [media::Event::Silent, media::Event::Played(PlayId(3)), media::Event::Closed(before.media)] {
        sim.tell(Input::Media(leg, event));
    }
    sim.tell(Input::MediaOpened { leg, local: Ok("192.0.2.10:10000".parse().unwrap()) });
    for method in ["BYE", "INFO", "INVITE"] {
        sim.ask(phone, method, "", "");
        sim.advance(SECOND);
        assert_eq!(peer::status(&sim.phones[phone].last_response), 481, "{method}");
    }
    sim.assert_idle();
    assert_eq!(sim.record(), &before);
}

#[test]
fn the_longest_call_allowed_ends_with_its_cause() {
    let mut config = Config::default();
    config.limits.max_call = 20 * SECOND;
    let mut sim = Sim::with(Setup { config, ..Setup::default() });
    let phone = sim.talk("long", "*2363");
    sim.keys(phone, "2,2");
    sim.until("hung up", MINUTE, |sim| sim.phones[phone].bye.is_some());
    assert_eq!(sim.ms(), 20_000);
    sim.assert_idle();
    assert_eq!(
        (sim.record().result.as_str(), sim.record().cause.as_str()),
        ("informacion", "the longest call allowed was reached")
    );
}

// ---- 10. Many --------------------------------------------------------------------------------------------------------

/// What a random caller does next, and when.
struct Whim {
    phone: usize,
    at: u64,
}

/// Ten minutes of two hundred callers, whose network and patience are bad: no call is stuck, each has one record. The same
/// seed tells the same story.
#[test]
fn two_hundred_callers_of_every_kind_leave_two_hundred_records() {
    let [once, again] = [two_hundred(42), two_hundred(42)];
    assert_eq!(once, again);
    for cause in ["the far end hung up", "the flow ended: hangup", "no RTP from the caller"] {
        assert!(once.contains(cause), "{once}");
    }
}

/// Plays it and gives back how many calls came to what.
fn two_hundred(seed: u64) -> String {
    let mut sim = Sim::with(Setup { seed, ..Setup::default() });
    let weather = Weather { loss: 3, repeats: 3, delay: ms(20), jitter: ms(50) };
    (sim.sip_weather, sim.rtp_weather) = (weather, weather);
    sim.slow = vec![("line.suspend", 5 * SECOND), ("packages.item", 6 * SECOND)];
    let mut dice = Ids::from_seed(seed + 100);
    let mut whims: Vec<Whim> = Vec::new();
    let numbers = ["*2363", "2226057239", "7676720827", "7775000232", "300"];
    let mut waiting: Vec<u64> = (0..200).map(|_| dice.below(400_000)).collect();
    waiting.sort_unstable();
    waiting.reverse();
    while sim.ms() < 600_000 {
        while waiting.last().is_some_and(|at| *at <= sim.ms()) {
            waiting.pop();
            let name = format!("caller{}", sim.phones.len());
            let number = numbers[usize::try_from(dice.below(5)).unwrap()];
            let phone = sim.dial(&name, number);
            whims.push(Whim { phone, at: sim.ms() + 500 + dice.below(4_000) });
        }
        let now = sim.ms();
        for whim in &mut whims {
            if whim.at > now || sim.phones[whim.phone].talk.is_none() {
                continue;
            }
            whim.at = now + 300 + dice.below(6_000);
            match dice.below(40) {
                0 => sim.bye(whim.phone),
                1 => sim.phones[whim.phone].speaks = false,
                2 => {
                    let direction = ["sendrecv", "sendonly", "inactive"][usize::try_from(dice.below(3)).unwrap()];
                    sim.reinvite(whim.phone, direction);
                }
                3..8 => sim.info(whim.phone, key(&mut dice)),
                8..12 => {
                    let keys: String = (0..1 + dice.below(16)).map(|_| key(&mut dice)).collect();
                    sim.press(whim.phone, &keys);
                }
                _ => {
                    let keys = key(&mut dice).to_string();
                    sim.press(whim.phone, &keys);
                }
            }
        }
        sim.advance(ms(100));
    }
    // Whoever is still there falls silent.
    for phone in &mut sim.phones {
        phone.speaks = false;
    }
    sim.advance(2 * MINUTE);
    assert_eq!(sim.phones.len(), 200);
    sim.assert_idle();
    let (mut keys, mut stored) = (sim.records.clone(), sim.stored_calls());
    keys.sort_by(|left, right| left.key.cmp(&right.key));
    stored.sort_by(|left, right| left.key.cmp(&right.key));
    assert!(keys == stored, "each record once, as the engine told it");
    keys.dedup_by(|left, right| left.sip_call_id == right.sip_call_id);
    assert_eq!(keys.len(), sim.records.len(), "one record a call");

    let calls = sim.phones.iter().filter(|phone| phone.finals.first() == Some(&200)).count();
    let sum = |of: fn(&CallRecord) -> u64| sim.records.iter().map(of).sum::<u64>();
    let heard: u64 = sim.phones.iter().map(|phone| phone.rtp_packets).sum();
    let sent = sum(|record| record.media.packets_sent);
    assert_eq!((calls, sim.records.len()), (200, 200));
    assert!(sent > 200_000 && heard > sent * 90 / 100 && heard < sent * 105 / 100, "{heard} of {sent} packets");
    assert!(sim.records.iter().all(|record| record.answered.is_some() && !record.cause.is_empty()));
    let folios: usize = sim.records.iter().map(|record| record.folios.len()).sum();
    let cases = sim.cases("beneleit").len() + sim.cases("bluepoint").len();
    assert!(cases <= folios, "{cases} cases, {folios} folios in the records");
    table(&sim.records)
}

fn key(dice: &mut Ids) -> char {
    // Low keys more often, as menus have them.
    char::from(b"11122233344556780*#"[usize::try_from(dice.below(19)).unwrap()])
}

/// How many calls came to which result, and from which cause.
fn table(records: &[CallRecord]) -> String {
    let mut counts: BTreeMap<(&str, &str, &str), u32> = BTreeMap::new();
    for record in records {
        *counts.entry((&record.operator, &record.result, &record.cause)).or_default() += 1;
    }
    counts
        .iter()
        .map(|((operator, result, cause), count)| format!("{count:>4} {operator} {result}: {cause}\n"))
        .collect()
}

// ---- A bug -----------------------------------------------------------------------------------------------------------

/// A log whose writing fails when the line comes that the thread has named: a panic in the midst of the code that wrote it.
struct BrokenLog;

thread_local! {
    static BREAKS_AT: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// While what it gives lives, this thread's log breaks at each line that begins so.
#[must_use]
fn break_log_at(line: &'static str) -> Mended {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| tracing::subscriber::set_global_default(BrokenLog).unwrap());
    BREAKS_AT.set(Some(line));
    Mended
}

/// Mends the log when it goes.
struct Mended;

impl Drop for Mended {
    fn drop(&mut self) {
        BREAKS_AT.set(None);
    }
}

impl tracing::Subscriber for BrokenLog {
    fn enabled(&self, about: &tracing::Metadata<'_>) -> bool {
        about.target().starts_with("contesta")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let Some(breaks_at) = BREAKS_AT.get() else { return };
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            let line = format!("{value:?}");
            assert!(field.name() != "message" || !line.starts_with(breaks_at), "the log is broken at «{line}»");
        });
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

const FAULT: &str = "internal fault: the call was ended, see the log";

#[test]
fn a_panic_in_the_midst_of_a_call_costs_that_call_only() {
    let _mended = break_log_at("no RTP from the caller");
    let mut sim = soon_silent();
    let [struck, other] = ["struck", "other"].map(|name| sim.talk(name, "*2363"));
    sim.keys(other, "2");
    sim.phones[struck].speaks = false;
    sim.until("hung up", MINUTE, |sim| sim.phones[struck].bye.is_some());
    sim.keys(other, "2");
    sim.until_heard(other, "menu_paquete");
    sim.bye(other);
    sim.assert_idle();
    let ends: Vec<_> = sim.records.iter().map(|record| (&*record.result, &*record.cause)).collect();
    assert_eq!(ends, [("abandono", FAULT), ("informacion", "the far end hung up")]);
}

/// The call is struck when it is made, when its socket is there, and when its flow has begun but not answered.
#[test]
fn a_panic_before_the_answer_is_500_and_one_record() {
    for (line, formats) in
        [("refused with 400", ""), ("refused with 488", "18 101"), ("enters answer", "0 101"), ("answered", "0 101")]
    {
        let _mended = break_log_at(line);
        let mut sim = Sim::new();
        let phone = sim.phone("struck");
        (sim.phones[phone].called, sim.phones[phone].to) = ("*2363".into(), "*2363".into());
        if formats.is_empty() {
            sim.ask(phone, "INVITE", "Content-Type: application/sdp\r\n", "this is no description");
        } else {
            sim.phones[phone].formats = formats;
            sim.invite(phone, "*2363");
        }
        sim.advance(SECOND);
        // Once the 200 is on its way, BYE follows its ACK.
        let expected = if line == "answered" { 200 } else { 500 };
        assert_eq!(sim.phones[phone].finals, [expected], "{line}");
        assert_eq!(sim.phones[phone].bye.is_some(), expected == 200, "{line}");
        sim.assert_idle();
        assert_eq!(sim.record().cause, FAULT, "{line}");
    }
}

// ---- Within the dialog -----------------------------------------------------------------------------------------------

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
