//! Many callers at once.

use super::*;

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
    // The longest a call can last from here on: its far end holds it, and never comes back.
    sim.advance(12 * MINUTE);
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
