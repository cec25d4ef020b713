//! Keys by every road, alone and together, as telephones and gateways send them: one press is one key (pain 2, J10 d and e).

use super::*;

/// One packet of a telephone event, as a capture shows it: milliseconds since the first, marker, sequence, timestamp, key, end, duration.
type Row = (u64, bool, u16, u32, u8, bool, u16);

/// Sends captured packets in place of what the telephone says, at their moments.
fn replay(sim: &mut Sim, phone: usize, rows: &[Row]) {
    sim.phones[phone].speaks = false;
    let to = sim.phones[phone].talk.as_ref().unwrap().leg.destination();
    let from = sim.phones[phone].rtp;
    let mut passed = 0;
    for &(at, marker, sequence, timestamp, key, end, duration) in rows {
        sim.advance(ms(at - passed));
        passed = at;
        let header = RtpHeader {
            marker,
            payload_type: 101,
            sequence: SequenceNumber(sequence),
            timestamp: RtpTime(timestamp),
            ssrc: Ssrc(0xfa4),
        };
        let block = TelephoneEvent { event: key, end, volume: 10, duration }.to_bytes();
        sim.send_rtp(from, to, &[&header.to_bytes()[..], &block].concat());
    }
    sim.advance(ms(20));
    sim.phones[phone].speaks = true;
}

/// A press as RFC 4733 §2.5.1 wants it: a packet each 20 ms under one timestamp, the last three ends.
fn press(from_ms: u64, sequence: u16, timestamp: u32, key: u8, packets: u16) -> Vec<Row> {
    let row = |index: u16| {
        let duration = (index + 1).min(packets - 2) * 160;
        let at = from_ms + u64::from(index) * 20;
        (at, index == 0, sequence + index, timestamp, key, index >= packets - 3, duration)
    };
    (0..packets).map(row).collect()
}

/// What a call makes of captured packets, sent when it waits at its first menu.
fn taken(name: &str, rows: &[Row]) -> (String, u32) {
    let mut sim = Sim::new();
    let phone = sim.talk(name, "*2363");
    sim.listen(phone);
    replay(&mut sim, phone, rows);
    sim.listen(phone);
    sim.bye(phone);
    sim.assert_idle();
    (keys_taken(sim.record()), sim.record().media.digits)
}

fn one(key: &str) -> (String, u32) {
    (key.to_owned(), 1)
}

// ---- Captures that others have heard double -------------------------------------------------------------------------

/// RFC 4733 §2.5.1.3 wants one timestamp for all packets of a press; some gateways give each end a new one (J10d).
#[test]
fn three_ends_with_new_timestamps_are_one_key() {
    let mut rows = press(0, 500, 100_000, 2, 6);
    for (row, later) in rows[3..].iter_mut().zip([480, 640, 800]) {
        row.3 += later;
    }
    assert_eq!(taken("gateway", &rows), one("2"));
}

/// sipwise/rtpengine #1812: twelve packets of a press, the last two of them under timestamps of their own; it was heard three times.
#[test]
fn twelve_packets_of_which_the_last_two_have_new_timestamps_are_one_key() {
    for step in [1, 160, 960, 1_760, 48_000] {
        let mut rows = press(0, 500, 100_000, 2, 12);
        rows[10].3 += step;
        rows[11].3 += 2 * step;
        assert_eq!(taken("genesys", &rows), one("2"), "{step}");
    }
}

/// sipwise/rtpengine #1929: two ends of a press under two timestamps, not at every press.
#[test]
fn a_press_whose_second_end_has_a_new_timestamp_is_one_key_among_others() {
    let mut odd = press(0, 500, 100_000, 2, 8);
    odd[6].3 += 1_120;
    odd[7].3 += 1_120;
    let rows = [odd, press(240, 512, 101_920, 1, 8)].concat();
    assert_eq!(taken("carrier", &rows), ("21".to_owned(), 2));
}

/// unispeech/asterisk-unimrcp #44: durations of 160 and 320, then nothing until the end of 1696.
#[test]
fn a_long_press_without_updates_is_one_key() {
    let rows = [
        (0, true, 500, 100_000, 2, false, 160),
        (20, false, 501, 100_000, 2, false, 320),
        (212, false, 502, 100_000, 2, true, 1696),
        (232, false, 503, 100_000, 2, true, 1696),
        (252, false, 504, 100_000, 2, true, 1696),
    ];
    assert_eq!(taken("upstream", &rows), one("2"));
    // The same of a press of four seconds, and with audio between, which has numbers of its own.
    let mut rows = rows;
    for (row, (at, sequence)) in rows[2..].iter_mut().zip([(4_000, 690), (4_020, 691), (4_040, 692)]) {
        (row.0, row.2, row.6) = (at, sequence, 32_000);
    }
    assert_eq!(taken("upstream", &rows), one("2"));
}

/// ymartineau/peers #7: six packets, timestamp and duration both grow; "222222" was heard.
#[test]
fn a_timestamp_that_grows_with_the_duration_is_one_key() {
    let rows: Vec<Row> = (0..6_u16)
        .map(|index| {
            let later = u32::from(index) * 160;
            (u64::from(index) * 20, index == 0, 500 + index, 100_000 + later, 2, index == 5, (index + 1) * 160)
        })
        .collect();
    assert_eq!(taken("peers", &rows), one("2"));
}

/// livekit/sip #796, sipsorcery #669: the clock stands still behind a press, and the next key, the same one, has its timestamp.
#[test]
fn the_same_key_under_the_same_timestamp_is_pressed_again() {
    let rows = [press(0, 500, 100_000, 2, 7), press(300, 520, 100_000, 2, 7)].concat();
    assert_eq!(taken("stopped", &rows), ("22".to_owned(), 2));
}

// ---- Two roads at once ----------------------------------------------------------------------------------------------

/// J10e: telephone events and INFO.
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

/// An IMEI by events and INFO, or by tones and INFO, over a bad network: an INFO that is lost comes again half a second later, when
/// the next keys have been pressed, or three and a half.
#[test]
fn an_imei_by_two_roads_over_a_bad_network_has_fifteen_digits() {
    for seed in 0..8 {
        for formats in ["0 8 101", "8"] {
            let mut sim = Sim::with(Setup { seed, ..Setup::default() });
            sim.sip_weather = Weather { loss: 20, repeats: 5, delay: ms(30), jitter: ms(60) };
            sim.rtp_weather = Weather { loss: 0, repeats: 5, delay: ms(30), jitter: ms(60) };
            let phone = sim.phone("grandstream");
            sim.phones[phone].formats = formats;
            sim.invite(phone, "*2363");
            sim.until("answered", 20 * SECOND, |sim| sim.phones[phone].talk.is_some());
            for group in ["1", "1", "1", "490154203237518"] {
                sim.listen(phone);
                for key in group.chars() {
                    sim.press(phone, &key.to_string());
                    sim.advance(ms(100));
                    sim.info(phone, key);
                    sim.advance(ms(150));
                }
                sim.advance(5 * SECOND);
            }
            sim.until_heard(phone, "imei_marcado");
            sim.bye(phone);
            sim.assert_idle();
            assert_eq!(sim.record().media.digits, 3 + 15, "seed {seed}, {formats}: {}", told(sim.record()));
        }
    }
}

/// A gateway that stands an event in for a tone lets its beginning through: with events agreed on, nobody listens to tones.
#[test]
fn tones_that_leak_beside_telephone_events_are_no_keys() {
    let mut sim = Sim::new();
    let phone = sim.talk("gateway", "*2363");
    sim.listen(phone);
    sim.sound(phone, "2", 60);
    sim.press(phone, "2");
    sim.advance(ms(200));
    sim.sound(phone, "2", 200);
    sim.listen(phone);
    sim.bye(phone);
    sim.assert_idle();
    assert_eq!((keys_taken(sim.record()).as_str(), sim.record().media.digits), ("2", 1));
}

// ---- Tones in the audio ---------------------------------------------------------------------------------------------

/// A telephone without telephone events: the whole of J1's keys as tones, in either law.
#[test]
fn a_handset_is_blocked_with_tones_alone() {
    for formats in ["0", "8"] {
        let mut sim = Sim::new();
        let phone = sim.phone("analogue");
        sim.phones[phone].formats = formats;
        sim.invite(phone, "2226057239");
        sim.until("answered", 5 * SECOND, |sim| sim.phones[phone].talk.is_some());
        sim.keys(phone, "300,1,1,2225550102,1,490154203237518,1");
        sim.until_heard(phone, "su_reporte_es");
        sim.bye(phone);
        sim.assert_idle();
        let record = sim.record();
        assert_eq!((record.result.as_str(), record.folios.len()), ("bloqueo", 1), "{}", told(record));
        assert_eq!(record.media.digits, 3 + 1 + 1 + 10 + 1 + 15 + 1);
        let told_keys = |entry: &contesta::call::PathEntry| entry.what.ends_with(", keys in the audio");
        assert!(record.path.iter().any(told_keys), "{}", told(record));
    }
}

/// J6: the digits that prove who calls, as tones, are in the record no more than as events.
#[test]
fn secret_tones_are_not_in_the_record() {
    let mut sim = Sim::new();
    let phone = sim.phone("analogue");
    sim.phones[phone].formats = "8";
    sim.invite(phone, "*2363");
    sim.until("answered", 5 * SECOND, |sim| sim.phones[phone].talk.is_some());
    sim.keys(phone, "3,1,4821");
    sim.listen(phone);
    sim.bye(phone);
    sim.assert_idle();
    assert_eq!(sim.record().media.digits, 6);
    let told = told(sim.record());
    assert!(!told.contains("4821") && !told.contains("key 4"), "{told}");
}

/// A re-INVITE may take telephone events away and bring them back: each key comes by the road of its moment, and one that comes by both
/// is one.
#[test]
fn a_reinvite_changes_the_road_of_keys() {
    let mut sim = Sim::new();
    let phone = sim.talk("changes", "*2363");
    sim.keys(phone, "2");
    sim.phones[phone].formats = "0 8";
    sim.reinvite(phone, "sendrecv");
    sim.keys(phone, "1");
    sim.phones[phone].formats = "8 101";
    sim.reinvite(phone, "sendrecv");
    sim.keys(phone, "*");
    sim.listen(phone);
    sim.bye(phone);
    sim.assert_idle();
    assert_eq!((keys_taken(sim.record()).as_str(), sim.record().media.digits), ("21*", 3), "{}", told(sim.record()));
    let path = told(sim.record());
    assert!(path.contains("4000, keys in the audio\n") && path.contains("4000\n"), "{path}");
}

/// Without a packet of comfort or a hint of a pause, a fifth of them lost: no tone is heard twice.
#[test]
fn tones_through_loss_are_never_doubled() {
    for seed in 0..5 {
        let mut sim = Sim::with(Setup { seed, ..Setup::default() });
        sim.rtp_weather = Weather { loss: 20, repeats: 5, delay: ms(30), jitter: ms(40) };
        let phone = sim.phone("rain");
        sim.phones[phone].formats = "0";
        sim.invite(phone, "2226057239");
        sim.until("answered", 5 * SECOND, |sim| sim.phones[phone].talk.is_some());
        sim.listen(phone);
        sim.press(phone, "300");
        sim.advance(5 * SECOND);
        sim.bye(phone);
        sim.assert_idle();
        assert!((1..=3).contains(&sim.record().media.digits), "seed {seed}: {:?}", sim.record().media);
    }
}
