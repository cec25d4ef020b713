//! Trunks whose calls may share sockets: which calls may, and when one gets its own.

use super::*;

fn carrier(source: &str, audio: Audio) -> Sim {
    let trunk = Trunk { audio, ..Trunk::named("carrier", vec![source.parse().unwrap()]) };
    Sim::with(Setup { config: Config { trunks: vec![trunk], ..Config::default() }, ..Setup::default() })
}

#[test]
fn a_carriers_call_may_share_and_one_behind_a_nat_may_not() {
    for (source, audio, moves_to, shares) in [
        ("198.18.0.0/16", Audio::Shared, None, true),
        ("198.18.0.0/16", Audio::Own, None, false),
        ("198.18.0.0/16", Audio::Shared, Some("198.18.99.99"), true),
        ("198.18.0.0/16", Audio::Shared, Some("192.168.1.10"), false),
        ("0.0.0.0/0", Audio::Shared, None, true),
        ("0.0.0.0/0", Audio::Shared, Some("192.168.1.10"), false),
    ] {
        let mut sim = carrier(source, audio);
        let phone = sim.phone("caller");
        if let Some(ip) = moves_to {
            sim.phones[phone].rtp.set_ip(ip.parse().unwrap());
        }
        let far = sim.phones[phone].rtp;
        sim.invite(phone, "*2363");
        sim.advance(SECOND);
        assert_eq!(sim.opened, [Some(far).filter(|_| shares)], "{source} {audio:?} {moves_to:?}");
        sim.bye(phone);
        sim.assert_idle();
    }
}

/// RFC 3264 §8.3.1: the answer to a far end that moves names a port of the leg's own; the stream and its keys go on there.
#[test]
fn a_far_end_that_moves_gets_a_socket_of_its_own_once() {
    let mut sim = carrier("198.18.0.0/16", Audio::Shared);
    let phone = sim.talk("roams", "*2363");
    sim.until_heard(phone, "menu_principal");
    let port = |sim: &Sim| audio_port(&sim.phones[phone].last_response);
    let (far, shared) = (sim.opened[0], port(&sim));
    for direction in ["sendonly", "sendrecv"] {
        sim.reinvite(phone, direction);
        sim.advance(ms(100));
    }
    assert_eq!((&sim.opened[..], port(&sim)), (&[far][..], shared), "a hold moves nothing");
    let jumps = sim.phones[phone].rtp_jumps;
    for times in 1..=2 {
        sim.move_audio(phone);
        sim.reinvite(phone, "sendrecv");
        sim.advance(ms(100));
        assert_eq!((&sim.opened[..], sim.phones[phone].rtp_here), (&[far, None][..], 5), "moved {times} times");
        assert_ne!(port(&sim), shared);
    }
    assert_eq!((sim.phones[phone].rtp_breaks, sim.phones[phone].rtp_jumps), (0, jumps), "one stream throughout");
    sim.press(phone, "2");
    sim.until_heard(phone, "menu_informacion");
    sim.bye(phone);
    sim.assert_idle();
}

/// Without SDP we offer first, and cannot know what the answer will say.
#[test]
fn a_reinvite_without_sdp_is_offered_a_port_of_the_legs_own() {
    let mut sim = carrier("198.18.0.0/16", Audio::Shared);
    let phone = sim.talk("refresh", "*2363");
    let shared = audio_port(&sim.phones[phone].last_response);
    sim.phones[phone].offers = false;
    sim.ask(phone, "INVITE", "", "");
    sim.advance(ms(100));
    assert_eq!(sim.opened[1..], [None]);
    assert_ne!(audio_port(&sim.phones[phone].last_response), shared);
    sim.bye(phone);
    sim.assert_idle();
}

#[test]
fn without_a_socket_to_move_to_the_reinvite_is_refused_and_the_call_stays() {
    let mut sim = carrier("198.18.0.0/16", Audio::Shared);
    let phone = sim.talk("stays", "*2363");
    sim.sockets = Err("every port is taken".into());
    sim.move_audio(phone);
    sim.reinvite(phone, "sendrecv");
    sim.advance(ms(100));
    assert_eq!((sim.phones[phone].finals.last(), sim.exchange.calls()), (Some(&488), 1));
    sim.bye(phone);
    sim.assert_idle();
}

/// The port that our last description names.
fn audio_port(response: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(response);
    text.split("m=audio ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap()
}
