//! `contesta load`: many calls at once, and how well they were served.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::audio::{self, AudioArgs};
use super::interrupt;
use crate::dtmf::Digit;
use crate::duration_text;
use crate::edge::load::{self, CALLS_MAX, Plan, RATE_MAX, Spread, Summary, WINDOW_MAX};
use crate::edge::{descriptors, entropy, sip_socket};
use crate::rtp::srtp::Suite;

/// Places many calls at once and measures how they are served.
///
/// Every caller speaks SIP and sends 50 packets a second, like a telephone. When all are up, a window opens in which packets are
/// counted and their spacing is measured by the kernel's own stamps; then all hang up. Call only what is yours: a few hundred
/// calls are an attack on whoever does not expect them. Ctrl-C hangs all calls up, a second one leaves at once.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Whom to call, as `sip:*2363@127.0.0.1` or `sip:*2363@127.0.0.1:5070`.
    pub uri: String,
    /// Calls to place, 20,000 at most.
    #[arg(long, default_value = "100", value_parser = clap::value_parser!(u32).range(1..=CALLS_MAX as i64))]
    pub calls: u32,
    /// New calls a second, 2,000 at most.
    #[arg(long, default_value = "50", value_parser = clap::value_parser!(u32).range(1..=i64::from(RATE_MAX)))]
    pub rate: u32,
    /// How long to measure once all calls are up, an hour at most.
    #[arg(long, default_value = "10s", value_parser = duration_text::parse)]
    pub measure: Duration,
    /// How long to wait before that, for the server to settle.
    #[arg(long, default_value = "2s", value_parser = duration_text::parse)]
    pub settle: Duration,
    /// Turnover: each call hangs up this long after its answer, in place of all at the end.
    #[arg(long, value_parser = duration_text::parse)]
    pub talk: Option<Duration>,
    /// Let all callers share so many RTP ports, so that far ends are equal; without it each has its own.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=CALLS_MAX as i64))]
    pub ports: Option<u32>,
    /// A key that each caller presses whenever the far end pauses; the time to the next prompt's first packet is measured.
    #[arg(long)]
    pub press: Option<char>,
    /// How long the far end must have been quiet for a pause.
    #[arg(long, default_value = "300ms", value_parser = duration_text::parse)]
    pub pause: Duration,
    /// The server's process id, if it runs on this machine: its CPU time and memory are measured.
    #[arg(long)]
    pub pid: Option<u32>,
    /// The callers' number; empty calls anonymously.
    #[arg(long, default_value = "2221234567")]
    pub from: String,
    #[command(flatten)]
    audio: AudioArgs,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Spacing that a listener's buffer takes without a thought: RTP at 20 ms, give or take this.
const SPACING: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(3));

/// Places the calls and prints what became of them.
///
/// # Errors
/// When the arguments make no calls, sockets cannot be had, or not every call was answered and lasted to its end.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let (target, destination) = super::call::destination(&args.uri)?;
    let press = args.press.map(|key| {
        let digit = Digit::from_char(key).with_context(|| format!("«{key}» is no key: 0-9, *, # or A-D"))?;
        anyhow::Ok((digit, args.pause))
    });
    let ports = args.ports.map(|ports| usize::try_from(ports).unwrap_or(CALLS_MAX));
    let plan = Plan {
        target,
        destination,
        address: sip_socket::address_towards(destination)
            .with_context(|| format!("there is no way to {destination}"))?,
        from: args.from.clone(),
        terms: args.audio.terms(),
        road: args.audio.road(),
        calls: usize::try_from(args.calls).unwrap_or(CALLS_MAX),
        rate: args.rate,
        ports,
        settle: args.settle.min(WINDOW_MAX),
        measure: args.measure.min(WINDOW_MAX),
        talk: args.talk.map(|talk| talk.min(WINDOW_MAX)),
        press: press.transpose()?,
        server: args.pid,
    };
    if let Some(pid) = plan.server {
        load::usage(pid).with_context(|| format!("cannot watch process {pid}"))?;
    }
    // A socket a caller; a limit that cannot be lifted shows itself as soon as it is met.
    let _limit = descriptors::lift_limit();
    let stop = interrupt::counted()?;
    let shows = !args.json && std::io::stderr().is_terminal();
    let progress = |placed, up| {
        if shows {
            eprintln!("{placed} of {} placed, {up} up", args.calls);
        }
    };
    let summary = load::run(&plan, entropy::ids()?, &stop, progress).context("no socket for every caller")?;
    if args.json {
        println!("{}", as_json(args, &summary));
    } else {
        print(args, &summary);
    }
    verdict(args, &summary)
}

/// What the exit status says: all calls were served to their end, or why not.
fn verdict(args: &Args, summary: &Summary) -> anyhow::Result<()> {
    if summary.unreachable {
        bail!("no answer from {}: is contesta running there? Try «contesta run»", args.uri);
    }
    if summary.interrupted {
        bail!("interrupted: {} of {} calls were placed, all were hung up", summary.placed, args.calls);
    }
    let refused: usize = summary.refused.values().sum();
    if refused > 0 {
        bail!("{refused} of {} calls were not answered: {}", summary.placed, refusals(summary));
    }
    if summary.broken_off > 0 {
        bail!("the far end broke off {} of {} calls", summary.broken_off, summary.answered);
    }
    if summary.silent > 0 {
        bail!("{} of {} calls heard nothing", summary.silent, summary.answered);
    }
    if summary.keys_refused > 0 {
        bail!("the far end refused {} of {} keys by INFO", summary.keys_refused, summary.presses);
    }
    Ok(())
}

fn refusals(summary: &Summary) -> String {
    let each = summary.refused.iter().map(|(status, calls)| match status {
        408 => format!("{calls} × 408 (no answer in time)"),
        488 => format!("{calls} × 488 (no audio in common)"),
        503 => format!("{calls} × 503 (busy or overloaded)"),
        _ => format!("{calls} × {status}"),
    });
    each.collect::<Vec<_>>().join(", ")
}

fn print(args: &Args, summary: &Summary) {
    let calls = summary.placed;
    println!("calls      {calls} placed, {} answered, {} broken off", summary.answered, summary.broken_off);
    if !summary.refused.is_empty() {
        println!("refused    {}", refusals(summary));
    }
    if summary.not_hung_up > 0 {
        println!("hang-up    {} BYEs were not answered", summary.not_hung_up);
    }
    for ((codec, suite), calls) in &summary.audio {
        println!("audio      {calls} calls in {}", audio::describe(*codec, *suite));
    }
    println!("INVITE→200 {}", spread(&summary.set_up));
    println!("200→audio  {}, {} calls heard nothing", spread(&summary.first_audio), summary.silent);
    let heard = summary.heard;
    if args.talk.is_none() {
        println!(
            "window     {:.1} s, {} calls: {} of {} packets came, the worst call got {:.2} %",
            summary.window.as_secs_f64(),
            summary.measured,
            heard.received,
            summary.expected,
            summary.worst_share * 100.0
        );
    }
    println!(
        "packets    {} lost, {} late, {} out of order; {} lost in our own queues; {} sent, {} not taken by our system",
        heard.lost, heard.late, heard.misordered, summary.lost_here, summary.sent, summary.unsent
    );
    if summary.forged > 0 {
        println!("forged     {} packets could not be authenticated", summary.forged);
    }
    println!(
        "spacing    {}, {:.3} % outside {} ± {} ms",
        spread(&summary.spacing),
        summary.spacing.share_outside(SPACING.0, SPACING.1) * 100.0,
        SPACING.0.as_millis(),
        SPACING.1.as_millis()
    );
    if args.press.is_some() {
        println!(
            "keys       {} pressed, {} unanswered; first packet→next prompt {}",
            summary.presses,
            summary.presses_unanswered,
            spread(&summary.reaction)
        );
    }
    if let Some(server) = summary.server {
        let cores = server.cpu.as_secs_f64() / summary.window.as_secs_f64().max(1e-9);
        println!("server     {:.1} % of a core, {} KB resident", cores * 100.0, server.memory_kb);
        if let (Some(cpu), Some(memory)) = (summary.cpu_us_per_call_second(), summary.memory_kb_per_call()) {
            println!("a call     {cpu:.0} µs of CPU a second, {memory:.1} KB");
        } else if summary.answered > 0 {
            println!("a call     {:.0} µs of CPU", server.cpu.as_secs_f64() * 1e6 / summary.answered as f64);
        }
    }
    println!(
        "generator  {:.1} % of a core, late by p99 {}",
        summary.own_cpu.as_secs_f64() / summary.window.as_secs_f64().max(1e-9) * 100.0,
        ms(summary.own_lateness.percentile_ms(99.0))
    );
}

fn spread(spread: &Spread) -> String {
    if spread.count() == 0 {
        return "–".into();
    }
    let [p50, p99] = [50.0, 99.0].map(|percent| ms(spread.percentile_ms(percent)));
    format!("p50 {p50}, p99 {p99}, longest {}", ms(spread.longest_ms()))
}

fn ms(ms: Option<f64>) -> String {
    ms.map_or_else(|| "–".into(), |ms| format!("{ms:.2} ms"))
}

fn as_json(args: &Args, summary: &Summary) -> Value {
    let spread = |spread: &Spread| {
        json!({
            "count": spread.count(), "p1_ms": spread.percentile_ms(1.0), "p50_ms": spread.percentile_ms(50.0),
            "p99_ms": spread.percentile_ms(99.0), "max_ms": spread.longest_ms(),
        })
    };
    let refused: serde_json::Map<String, Value> =
        summary.refused.iter().map(|(status, calls)| (status.to_string(), json!(calls))).collect();
    json!({
        "uri": args.uri,
        "calls": {
            "wanted": args.calls, "placed": summary.placed, "answered": summary.answered, "measured": summary.measured,
            "refused": refused, "broken_off": summary.broken_off, "silent": summary.silent,
            "not_hung_up": summary.not_hung_up,
        },
        "audio": summary.audio.iter().map(|((codec, suite), calls)| json!({
            "codec": codec.encoding_name(), "srtp": suite.map(Suite::name), "calls": calls,
        })).collect::<Vec<_>>(),
        "set_up": spread(&summary.set_up),
        "first_audio": spread(&summary.first_audio),
        "window_s": summary.window.as_secs_f64(),
        "packets": {
            "expected": summary.expected, "received": summary.heard.received, "lost": summary.heard.lost,
            "late": summary.heard.late, "misordered": summary.heard.misordered, "worst_share": summary.worst_share,
            "lost_here": summary.lost_here, "sent": summary.sent, "unsent": summary.unsent, "forged": summary.forged,
        },
        "spacing": spread(&summary.spacing),
        "spacing_outside": summary.spacing.share_outside(SPACING.0, SPACING.1),
        "keys": {
            "pressed": summary.presses, "refused": summary.keys_refused, "unanswered": summary.presses_unanswered, "reaction": spread(&summary.reaction),
        },
        "server": summary.server.map(|server| json!({
            "cpu_ms": server.cpu.as_secs_f64() * 1e3, "memory_kb": server.memory_kb,
            "cpu_us_per_call_second": summary.cpu_us_per_call_second(),
            "memory_kb_per_call": summary.memory_kb_per_call(),
        })),
        "generator": {
            "cpu_ms": summary.own_cpu.as_secs_f64() * 1e3, "late": spread(&summary.own_lateness),
        },
        "unreachable": summary.unreachable,
        "interrupted": summary.interrupted,
    })
}
