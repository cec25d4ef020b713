//! Mutated SIP and SDP beside a call in progress: its caller hears all of it, and it ends as calls end.

use std::net::SocketAddr;

use contesta::sip::Peer;

use super::*;
use crate::peer::mutation::{corpus, mutate};

/// Rounds, each with a call of its own, and how many mutants come in each frame of it.
const ROUNDS: usize = 20;
const MUTANTS: u64 = 5_000;
const IN_A_FRAME: u64 = 20;

/// In the middle of 100,000 mutants, from its own peer's address and from strangers', a telephone misses no packet and its
/// keys count.
#[test]
fn a_call_in_progress_keeps_its_audio_beside_a_hundred_thousand_mutants() {
    let mut sim = Sim::with(Setup { calls: Some(60), ..Setup::default() });
    let mut dice = Ids::from_seed(3_261);
    let plain = corpus();
    let mut calls = 0;
    for round in 0..ROUNDS {
        let witness = sim.talk(&format!("witness{round}"), "*2363");
        let victim = sim.talk(&format!("victim{round}"), "*2363");
        sim.advance(SECOND);
        let wounded = of_a_dialog(&mut sim, victim);
        let before = (sim.phones[witness].rtp_packets, sim.ms());
        for number in 0..MUTANTS {
            let source = if dice.below(3) == 0 { &wounded } else { &plain };
            let mut bytes = source[usize::try_from(dice.below(source.len() as u64)).unwrap()].clone();
            mutate(&mut dice, &plain, &mut bytes);
            let [high, low] = u16::try_from(dice.below(65_536)).unwrap().to_be_bytes();
            let stranger = SocketAddr::from(([203, 0, high, low], 5060));
            let from = if dice.below(2) == 0 { sim.phones[witness].sip } else { stranger };
            sim.tell(Input::Message { source: Peer::udp(from), bytes: bytes.into() });
            if number % IN_A_FRAME == 0 {
                sim.advance(ms(20));
            }
        }
        let came = sim.phones[witness].rtp_packets - before.0;
        assert_eq!(came, (sim.ms() - before.1) / 20, "round {round}: packets are missing");
        sim.press(witness, "2");
        sim.until_heard(witness, "menu_informacion");
        let heard = &sim.phones[witness];
        assert_eq!((heard.rtp_breaks, heard.rtp_jumps), (0, 0), "round {round}");
        sim.bye(witness);
        sim.bye(victim);
        // Calls that mutants made end without their ACK.
        sim.advance(40 * SECOND);
        assert_eq!(sim.exchange.calls(), 0, "round {round}");
        assert_eq!(sim.phones[witness].finals, [200], "round {round}");
        let named = |record: &&CallRecord| record.sip_call_id == format!("witness{round}");
        let [record] = &sim.records.iter().filter(named).collect::<Vec<_>>()[..] else { panic!("one record each") };
        assert_eq!(record.cause, "the far end hung up", "round {round}");
        calls = sim.records.len();
    }
    sim.assert_idle();
    assert!(calls > 10 * ROUNDS, "only {calls} calls: the mutants must reach the inside");
    assert!(sim.records.iter().all(|record| !record.cause.starts_with("internal fault")), "a call's code panicked");
}

/// Valid requests within a telephone's call, each with its own CSeq.
fn of_a_dialog(sim: &mut Sim, phone: usize) -> Vec<Vec<u8>> {
    let caller = &sim.phones[phone];
    let (sdp, methods) = (caller.sdp("sendrecv"), ["INVITE", "ACK", "INFO", "UPDATE", "OPTIONS", "BYE"]);
    let request =
        |(cseq, method): (u32, &str)| caller.request(method, cseq, &format!("within{cseq}"), "", &sdp).into_bytes();
    (2..32).zip(methods.into_iter().cycle()).map(request).collect()
}
