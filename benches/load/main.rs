//! The whole engine under a crowd of callers, beside what the kernel alone asks for the same crowd in the same run.
//!
//!     cargo bench --bench load                                  a short look: 300 calls, both kinds of audio
//!     cargo bench --bench load -- table                         the table of the README, about twenty minutes
//!     cargo bench --bench load -- calls AUDIO CALLS ROUNDS SECONDS
//!     cargo bench --bench load -- keys AUDIO CALLS ROUNDS SECONDS
//!     cargo bench --bench load -- rate CALLS SECONDS            calls that begin and end at once, so many a second ([`rate`])
//!     cargo bench --bench load -- flood INVITES SECONDS         50 calls a second of a trunk beside so many INVITEs of strangers
//!
//! A row is a server on core 0 and `contesta load` on core 1. The server is either the engine, whose callers hear a menu, or the
//! `floor` ([`floor`]): it answers SIP, and then does nothing but the system calls that move the same packets. Both are measured
//! by the same generator in the same way, and rows alternate, so that the ratio is of two neighbours in time and a noisy
//! machine shows as a spread. `AUDIO` is `own`, a socket a call, or `shared`, sockets that calls share.
//!
//! `CONTESTA=FILE` measures another build of the engine.
//!
//! Where the generator itself cannot go on (its core is full, its milliseconds come late, its queues overflow) the row says so,
//! and how much of the machine its host took away meanwhile.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a benchmark reads clocks and owns sockets")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on should say so and stop")]
#![allow(missing_docs, reason = "a program")]

mod engine;
mod floor;
mod rate;
mod server;

use std::process::{Command, Stdio};
use std::time::Duration;

use rate::Rates;
use serde_json::Value;

use server::{Audio, Server};

/// The generator is the limit when its core is as full as this, in percent, or its milliseconds are so late by p99.
const GENERATOR_CPU_MAX: f64 = 90.0;
const GENERATOR_LATE_MAX_MS: f64 = 10.0;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["floor-server", kind] => floor::run(kind),
        [] => {
            calls(Audio::Own, 300, 1, 3);
            calls(Audio::Shared, 300, 1, 3);
        }
        ["table"] => {
            for audio in [Audio::Own, Audio::Shared] {
                for number in [100, 500, 1_000, 2_000, 4_000] {
                    calls(audio, number, 3, 8);
                }
                keys(audio, 1_000, 1, 40);
            }
        }
        [row @ ("rate" | "flood"), rest @ ..] => {
            let number = |index: usize, default| rest.get(index).map_or(default, |text: &&str| text.parse().unwrap());
            let (rate, lasts) = (number(0, 2_000), Duration::from_secs(number(1, 40).into()));
            match *row {
                "rate" => rate::run(&engine::start(Audio::Own), Rates { calls: rate, flood: 0, lasts }),
                _ => rate::run(&engine::start_guarded(), Rates { calls: 50, flood: rate, lasts }),
            }
        }
        [row, audio, numbers @ ..] => {
            let audio = Audio::named(audio);
            let number = |index: usize, default| numbers.get(index).map_or(default, |text| text.parse().unwrap());
            match *row {
                "calls" => calls(audio, number(0, 500), number(1, 3), number(2, 8)),
                "keys" => keys(audio, number(0, 1_000), number(1, 1), number(2, 40)),
                other => panic!("no row «{other}»: table, calls or keys"),
            }
        }
        [other] => panic!("«{other}» alone is no row: table, rate, flood, or calls and keys with own or shared"),
    }
}

/// A row of the table: `rounds` times each floor and the engine.
fn calls(audio: Audio, calls: usize, rounds: usize, seconds: usize) {
    let kinds: &[&str] = match audio {
        Audio::Own => &["own", "asking"],
        Audio::Shared => &["shared"],
    };
    let mut floors = vec![Vec::new(); kinds.len()];
    let mut engines = Vec::new();
    for _ in 0..rounds {
        for (kind, floors) in kinds.iter().zip(&mut floors) {
            floors.push(row(&format!("floor {kind}"), &floor::start(kind), calls, seconds));
        }
        engines.push(row("engine", &engine::start(audio), calls, seconds));
    }
    println!(
        "{audio} {calls} calls: engine {} µs a call-second (least, median, most of {rounds})",
        spread(&engines, 0)
    );
    for (kind, floors) in kinds.iter().zip(&floors) {
        let ratios: Vec<f64> = engines.iter().zip(floors).map(|(engine, floor)| engine / floor).collect();
        println!("  {} times the floor «{kind}» of {} µs", spread(&ratios, 2), spread(floors, 0));
    }
}

/// Prints what callers of a menu saw of a server, and gives its CPU, in µs a call-second.
fn row(name: &str, server: &Server, calls: usize, seconds: usize) -> f64 {
    let before = stolen();
    let row = measure(server, "100", calls, seconds, &[]);
    println!("  {name:<13}{}; host took {:.1} CPU s", line(&row), stolen() - before);
    number(&row, "/server/cpu_us_per_call_second")
}

/// How soon a key is answered: callers press 1 in the pauses of a menu.
fn keys(audio: Audio, calls: usize, rounds: usize, seconds: usize) {
    for _ in 0..rounds {
        let row = measure(&engine::start(audio), "200", calls, seconds, &["--press", "1"]);
        println!("  engine       {}", line(&row));
        println!(
            "{audio} {calls} calls: {} keys, {} unanswered; first packet of a key to first packet of the next prompt: \
             p50 {:.2} p99 {:.2} longest {:.2} ms\n",
            number(&row, "/keys/pressed"),
            number(&row, "/keys/unanswered"),
            number(&row, "/keys/reaction/p50_ms"),
            number(&row, "/keys/reaction/p99_ms"),
            number(&row, "/keys/reaction/max_ms"),
        );
    }
}

/// Calls a server with `contesta load`, which tells what it saw.
fn measure(server: &Server, called: &str, calls: usize, seconds: usize, more: &[&str]) -> Value {
    let rate = (calls / 4).clamp(100, 500);
    let output = Command::new("taskset")
        .args([
            "-c",
            "1",
            env!("CARGO_BIN_EXE_contesta"),
            "load",
            &format!("sip:{called}@{}", server.address),
            "--json",
        ])
        .args(["--calls", &calls.to_string(), "--rate", &rate.to_string()])
        .args(["--settle", "2s", "--measure", &format!("{seconds}s"), "--pid", &server.id().to_string()])
        .args(more)
        .stderr(Stdio::inherit())
        .output()
        .expect("taskset (util-linux)");
    // Its exit status tells of refused calls, which the row shows.
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

fn line(row: &Value) -> String {
    let packets = |name: &str| number(row, &format!("/packets/{name}"));
    let generator = number(row, "/generator/cpu_ms") / number(row, "/window_s") / 10.0;
    let late = number(row, "/generator/late/p99_ms");
    let is_limit = generator > GENERATOR_CPU_MAX || late > GENERATOR_LATE_MAX_MS || packets("lost_here") > 0.0;
    format!(
        "{:>4} of {} calls: {:>4.0} µs a call-second, {:>5.1} KB a call; spacing p50 {:.2} p99 {:.2} ms, {:.3} % outside 20 ± 3; \
         {} of {} packets, {} lost, {} late; 200 after p50 {:.2} p99 {:.2}, audio after p50 {:.2} p99 {:.2} ms; refused {}; \
         generator {generator:.0} %, late p99 {late:.1} ms, {} lost there{}",
        number(row, "/calls/measured"),
        number(row, "/calls/wanted"),
        number(row, "/server/cpu_us_per_call_second"),
        number(row, "/server/memory_kb_per_call"),
        number(row, "/spacing/p50_ms"),
        number(row, "/spacing/p99_ms"),
        number(row, "/spacing_outside") * 100.0,
        packets("received"),
        packets("expected"),
        packets("lost"),
        packets("late"),
        number(row, "/set_up/p50_ms"),
        number(row, "/set_up/p99_ms"),
        number(row, "/first_audio/p50_ms"),
        number(row, "/first_audio/p99_ms"),
        row.pointer("/calls/refused").unwrap_or(&Value::Null),
        packets("lost_here"),
        if is_limit { " ← THE GENERATOR IS THE LIMIT" } else { "" },
    )
}

fn number(row: &Value, pointer: &str) -> f64 {
    row.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

/// Seconds of CPU that the host of this virtual machine has taken for others since its start (`steal` of proc_stat(5)).
fn stolen() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    stat.split_whitespace().nth(8).and_then(|ticks| ticks.parse::<f64>().ok()).map_or(f64::NAN, |ticks| ticks / 100.0)
}

/// Least, median and most.
fn spread(values: &[f64], digits: usize) -> String {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    let [least, median, most] = [0, values.len() / 2, values.len().saturating_sub(1)].map(at);
    format!("{least:.digits$} / {median:.digits$} / {most:.digits$}")
}
