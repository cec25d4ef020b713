//! The detector of in-band digits against a generated grid of ITU-T Q.24's figures and hours of speech, beside spandsp's on the
//! same samples.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "the talk-off test runs a speech synthesiser on threads of its own")]

#[path = "tones/signal.rs"]
mod signal;
#[path = "tones/spandsp.rs"]
mod spandsp;
#[path = "tones/speech.rs"]
mod speech;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use contesta::dtmf::{Digit, ToneDetector, ToneGenerator};
use signal::{KEYS, Press, Random};
use spandsp::Spandsp;

const FREQUENCIES: [(&str, f64, f64); 5] = [
    ("both exact", 0.0, 0.0),
    ("both +1.5 %", 0.015, 0.015),
    ("both -1.5 %", -0.015, -0.015),
    ("row +1.5 %, column -1.5 %", 0.015, -0.015),
    ("row -1.5 %, column +1.5 %", -0.015, 0.015),
];
const OFF_FREQUENCIES: [(&str, f64, f64); 6] = [
    ("row +3.5 %", 0.035, 0.0),
    ("row -3.5 %", -0.035, 0.0),
    ("column +3.5 %", 0.0, 0.035),
    ("column -3.5 %", 0.0, -0.035),
    ("row +1.5 %, column +3.5 %", 0.015, 0.035),
    ("row -3.5 %, column -1.5 %", -0.035, -0.015),
];
/// Column over row, in dB.
const TWISTS: [(&str, f64); 3] = [("column 8 dB below row", -8.0), ("equal", 0.0), ("column 4 dB above row", 4.0)];
const LEVELS: [(&str, Level); 3] = [
    ("stronger tone at 0 dBm0", Level::Strongest(0.0)),
    ("stronger tone at -12 dBm0", Level::Strongest(-12.0)),
    ("weaker tone at -29 dBm0", Level::Weakest(-29.0)),
];
const LENGTHS: [(&str, f64); 3] = [("40 ms", 40.0), ("50 ms", 50.0), ("100 ms", 100.0)];
const TOO_SHORT: [(&str, f64); 1] = [("23 ms", 23.0)];
const NOISES: [(&str, Option<f64>); 2] = [("none", None), ("15 dB below the pair", Some(15.0))];

#[derive(Clone, Copy)]
enum Level {
    Strongest(f64),
    Weakest(f64),
}

/// What one property of the signals came to: how many there were, and how many each detector heard as that one digit.
#[derive(Clone, Copy, Default)]
struct Count {
    signals: u32,
    ours: u32,
    spandsp: u32,
}

/// Rows of a table, by dimension and value, in the order they were first met.
#[derive(Default)]
struct Table {
    rows: Vec<((&'static str, &'static str), Count)>,
    wrong_digits: u32,
}

impl Table {
    fn enter(&mut self, values: &[(&'static str, &'static str)], ours: bool, spandsp: bool) {
        for value in values.iter().chain(&[("all", "")]) {
            let index = self.rows.iter().position(|(row, _)| row == value).unwrap_or_else(|| {
                self.rows.push((*value, Count::default()));
                self.rows.len() - 1
            });
            let count = &mut self.rows[index].1;
            count.signals += 1;
            count.ours += u32::from(ours);
            count.spandsp += u32::from(spandsp);
        }
    }

    fn print(&self, title: &str, into: &mut String) {
        writeln!(into, "{title:<50} signals  ours  spandsp").unwrap();
        let dimensions = ["frequency", "twist", "level", "length", "pause", "noise", "all"];
        let mut rows = self.rows.clone();
        rows.sort_by_key(|((dimension, _), _)| dimensions.iter().position(|known| known == dimension));
        for ((dimension, value), count) in &rows {
            let percent = f64::from(count.spandsp) * 100.0 / f64::from(count.signals);
            writeln!(into, "  {dimension:<10} {value:<37} {:>7} {:>5} {percent:>6.0} %", count.signals, count.ours)
                .unwrap();
        }
        writeln!(into, "  wrong digits among ours: {}\n", self.wrong_digits).unwrap();
    }
}

fn ours(samples: &[i16]) -> String {
    let mut detector = ToneDetector::new();
    let mut digits = String::new();
    for frame in samples.chunks(160) {
        detector.handle_samples(frame, |digit| digits.push(digit.as_char()));
    }
    digits
}

/// Runs every combination of the dimensions through both detectors.
fn grid(
    frequencies: &[(&'static str, f64, f64)],
    lengths: &[(&'static str, f64)],
    spandsp: &Spandsp,
    random: &mut Random,
) -> Table {
    let mut table = Table::default();
    for (key, row, column) in KEYS {
        for &(frequency, row_offset, column_offset) in frequencies {
            for (twist_name, twist) in TWISTS {
                for (level_name, level) in LEVELS {
                    for &(length_name, length_ms) in lengths {
                        for (noise, noise_below) in NOISES {
                            let stronger = match level {
                                Level::Strongest(level) => level,
                                Level::Weakest(level) => level + f64::abs(twist),
                            };
                            let press = Press {
                                row: row * (1.0 + row_offset),
                                column: column * (1.0 + column_offset),
                                row_dbm0: stronger - f64::max(twist, 0.0),
                                column_dbm0: stronger + f64::min(twist, 0.0),
                                length_ms,
                                noise_below,
                            };
                            // Begun anywhere within two frames, and followed by what a release takes.
                            let lead = 50.0 + random.uniform() * 40.0;
                            let samples = signal::coded(&press.samples(lead, 60.0, random));
                            let (found, theirs) = (ours(&samples), spandsp.digits(&samples));
                            let expected = key.to_string();
                            table.wrong_digits += u32::from(found.chars().any(|digit| digit != key));
                            let values = [
                                ("frequency", frequency),
                                ("twist", twist_name),
                                ("level", level_name),
                                ("length", length_name),
                                ("noise", noise),
                            ];
                            // Of what must be refused, any digit is one too many.
                            let refusing = length_ms < 40.0 || frequency.contains("3.5");
                            let heard = |digits: &str| if refusing { !digits.is_empty() } else { digits == expected };
                            table.enter(&values, heard(&found), heard(&theirs));
                        }
                    }
                }
            }
        }
    }
    table
}

/// Two stretches of a key with a pause between them: how many detections were exactly `expected` digits.
fn pauses(spandsp: &Spandsp, random: &mut Random) -> Table {
    let mut table = Table::default();
    for (key, row, column) in KEYS {
        for (pause, pause_ms, presses) in [("40 ms part two presses", 40.0, 2), ("10 ms interrupt one", 10.0, 1)] {
            for (noise, noise_below) in NOISES {
                for _ in 0..10 {
                    let press =
                        Press { row, column, row_dbm0: -10.0, column_dbm0: -10.0, length_ms: 50.0, noise_below };
                    let lead = 50.0 + random.uniform() * 40.0;
                    let mut samples = press.samples(lead, pause_ms, random);
                    samples.extend(press.samples(0.0, 60.0, random));
                    let samples = signal::coded(&samples);
                    let expected = key.to_string().repeat(presses);
                    let found = ours(&samples);
                    table.wrong_digits += u32::from(found.chars().any(|digit| digit != key));
                    let values = [("pause", pause), ("noise", noise)];
                    table.enter(&values, found == expected, spandsp.digits(&samples) == expected);
                }
            }
        }
    }
    table
}

/// ITU-T Q.24, AT&T's column, in every combination of its figures.
#[test]
fn every_press_of_the_grid_is_heard_and_nothing_that_must_be_refused() {
    let (spandsp, mut random) = (Spandsp::load(), Random::new(0x5eed));
    let mut text = String::new();
    grid(&FREQUENCIES, &LENGTHS, &spandsp, &mut random).print("to be heard, once", &mut text);
    grid(&OFF_FREQUENCIES, &LENGTHS, &spandsp, &mut random).print("to be refused: off frequency", &mut text);
    grid(&FREQUENCIES, &TOO_SHORT, &spandsp, &mut random).print("to be refused: too short", &mut text);
    pauses(&spandsp, &mut random).print("told apart", &mut text);
    print!("{text}");
    insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!("q24_grid", text) });
}

/// Five hours of synthetic Spanish, in men's and women's voices, slow and fast, low and high: no digit, and after each portion
/// the detector still hears one.
#[test]
fn five_hours_of_speech_hold_no_digit() {
    let jobs = speech::jobs();
    let folder = tempfile::tempdir().unwrap();
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let heard: Vec<(speech::Job, f64, String, String)> = std::thread::scope(|scope| {
        let (jobs, folder) = (&jobs, folder.path());
        let handles: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    let spandsp = Spandsp::load();
                    let mine = jobs.iter().skip(thread).step_by(threads);
                    mine.map(|job| {
                        let mut samples = job.render(folder);
                        let seconds = samples.len() as f64 / 8_000.0;
                        let mut key = [0; 800];
                        ToneGenerator::new(Digit::STAR, 640, 8_000).fill(&mut key);
                        samples.extend([0; 800]);
                        samples.extend(key);
                        (*job, seconds, ours(&samples), spandsp.digits(&samples))
                    })
                    .collect::<Vec<_>>()
                })
            })
            .collect();
        handles.into_iter().flat_map(|handle| handle.join().unwrap()).collect()
    });
    let mut voices: BTreeMap<&str, (f64, usize, usize)> = BTreeMap::new();
    for (job, seconds, ours, spandsp) in &heard {
        let voice = voices.entry(job.voice).or_default();
        voice.0 += seconds / 3_600.0;
        voice.1 += ours.len() - 1;
        voice.2 += spandsp.len() - 1;
        assert_eq!(ours, "*", "false digits, or a detector gone deaf: {job:?}");
    }
    println!("voice            hours  false digits: ours  spandsp");
    for (voice, (hours, ours, spandsp)) in &voices {
        println!("{voice:<16} {hours:>5.2}  {ours:>18}  {spandsp:>7}");
    }
    let hours: f64 = voices.values().map(|voice| voice.0).sum();
    assert!((5.0..8.0).contains(&hours), "{hours} hours of speech");
}

/// Each hears what the other generates: neither is right in its own ears alone.
#[test]
fn spandsp_hears_our_tones_and_we_hear_its() {
    let spandsp = Spandsp::load();
    let keys = "1234567890*#ABCD";
    let mut samples = vec![0; 400];
    for key in keys.chars() {
        let mut press = [0; 900];
        ToneGenerator::new(Digit::from_char(key).unwrap(), 480, 8_000).fill(&mut press);
        samples.extend(press);
    }
    assert_eq!(spandsp.digits(&samples), keys);
    assert_eq!(ours(&spandsp.tones(keys)), keys);
}
