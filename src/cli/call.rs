//! `contesta call`: a real test call, and what was heard in it.
#![expect(clippy::disallowed_methods, reason = "the recording is written to a file")]

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::json;

use crate::audio::recognise::recognise;
use crate::audio::{Clip, g711, wav};
use crate::case::Folio;
use crate::cli::audio::{self, AudioArgs};
use crate::cli::folders::FoldersArgs;
use crate::cli::interrupt;
use crate::dtmf::Digit;
use crate::duration_text;
use crate::edge::entropy;
use crate::edge::files;
use crate::edge::phone::{self, Group, Report, Script};
use crate::edge::prompt_audio::PromptAudio;
use crate::edge::sip_socket::address_towards;
use crate::rtp::srtp::Suite;
use crate::sip::uri::{Host, Scheme, Uri};
use crate::sip::{EndCause, Peer, Transport};

/// Calls a number like a caller, presses keys, and tells what it heard.
///
/// The prompts are recognised by their audio, so the names are right for a contesta that plays the same files.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Whom to call, as `sip:*2363@127.0.0.1`, `sip:*2363@127.0.0.1:5070`, `'sip:*2363@127.0.0.1;transport=tcp'` or, over TLS,
    /// `sips:*2363@pbx.example.com`.
    pub uri: String,
    /// Keys to press: groups separated by commas, each pressed when the far end has been heard and falls quiet; a group that
    /// begins with `!` is pressed as soon as something is heard, through the prompt.
    #[arg(long, default_value = "")]
    pub keys: String,
    /// The caller's number; empty calls anonymously.
    #[arg(long, default_value = "2221234567")]
    pub from: String,
    /// Press every group as soon as something is heard, as if each began with `!`.
    #[arg(long)]
    pub barge_in: bool,
    /// Quiet that means that the far end waits for a key.
    #[arg(long, default_value = "1200ms", value_parser = duration_text::parse)]
    pub patience: Duration,
    /// Quiet after the last keys that ends the call from our side.
    #[arg(long, default_value = "3s", value_parser = duration_text::parse)]
    pub linger: Duration,
    /// No call lasts longer.
    #[arg(long, default_value = "5m", value_parser = duration_text::parse)]
    pub longest: Duration,
    #[command(flatten)]
    audio: AudioArgs,
    /// Where to save what was heard (8 kHz WAV).
    #[arg(long, default_value = "llamada.wav")]
    pub wav: PathBuf,
    #[command(flatten)]
    folders: FoldersArgs,
    /// Certificates to trust for TLS, a PEM file; without it, those that the system trusts.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// No test call is longer, whatever is asked for.
const LONGEST_MAX: Duration = Duration::from_secs(24 * 3_600);

/// A prompt that was heard.
struct HeardPrompt {
    at: Duration,
    key: String,
    /// Prompts that begin alike and were cut too early to be told apart.
    alike: Vec<String>,
    text: String,
    /// A recorded word, which is part of a sentence.
    word: bool,
    whole: bool,
}

/// Places the call and prints what became of it.
///
/// # Errors
/// When the arguments make no call, no socket can be had, the WAV cannot be written, or the call was not answered.
pub fn run(args: Args) -> anyhow::Result<()> {
    let FarEnd { target, peer, name: host } = far_end(&args.uri)?;
    let destination = peer.address;
    let address = address_towards(destination).with_context(|| format!("there is no way to {destination}"))?;
    check_writable(&args.wav).with_context(|| format!("cannot write {}", args.wav.display()))?;
    let script = Script {
        target,
        destination: peer,
        name: host,
        ca: args.ca.clone(),
        from: args.from.clone(),
        address,
        terms: args.audio.terms(),
        road: args.audio.road(),
        keys: groups(&args.keys, args.barge_in)?,
        patience: args.patience,
        linger: args.linger,
        longest: args.longest.min(LONGEST_MAX),
    };
    // Loaded before the call: a slow disk must not make the phone late.
    let known = known_prompts(&args);
    let stop = interrupt::counted()?;
    let shows = !args.json;
    if shows {
        eprintln!("calling {} …", args.uri);
    }
    let answered = || {
        if shows {
            eprintln!("answered; Ctrl-C hangs up and keeps what was heard");
        }
    };
    let report = phone::call_until(&stop, script, entropy::ids()?, answered).context("no socket for the call")?;
    // A call in which nothing was heard leaves an earlier recording alone.
    if !report.heard.is_empty() {
        std::fs::write(&args.wav, wav::write(&report.heard, 8_000))
            .with_context(|| format!("cannot write {}", args.wav.display()))?;
    }
    let heard = name(&report, &known);
    let folio = folio(&heard);
    if args.json {
        println!("{}", as_json(&args, &report, &heard, folio.as_ref()));
    } else {
        print(&args, &report, &heard, folio.as_ref());
    }
    if let (Some(why), 0 | 503) = (&report.unreachable, report.status) {
        bail!("no connection to {peer}: {why}");
    }
    match (report.status, report.keys_left) {
        (200, _) if report.agreed.is_none() => {
            bail!("the call was answered with audio that cannot be used: {}", report.refusal.unwrap_or_default())
        }
        _ if report.interrupted => bail!("interrupted: the call was hung up"),
        (200, _) if report.ended == Some(EndCause::Vanished) => {
            bail!("{destination} fell silent and does not answer any more: is contesta still running there?")
        }
        (200, _) if report.key_refused.is_some() => {
            let status = report.key_refused.unwrap_or_default();
            bail!("the far end refused a key with {status}: it takes none by INFO. Try --dtmf rfc4733")
        }
        (200, 0) => Ok(()),
        (200, left) => bail!("the call was over with {left} groups of keys still to press"),
        // 408 is also our own timer's verdict on a far end that never answered.
        (0 | 408, _) => bail!("no answer from {destination}: is contesta running there? Try «contesta run»"),
        (status, _) => match &report.refusal {
            Some(refusal) => bail!("the call was refused: {refusal}"),
            None => bail!("the call was refused with {status}"),
        },
    }
}

/// Whom a test call goes to.
pub(super) struct FarEnd {
    /// The Request-URI.
    target: String,
    /// Where the INVITE goes, and over what.
    peer: Peer,
    /// The host, when it is a name: its certificate must hold it.
    name: Option<String>,
}

/// The target of a call over UDP, with the address that its INVITE goes to.
pub(super) fn destination(uri: &str) -> anyhow::Result<(String, SocketAddr)> {
    let FarEnd { target, peer, .. } = far_end(uri)?;
    match peer.transport {
        Transport::Udp => Ok((target, peer.address)),
        other @ (Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss) => {
            bail!("«{uri}» asks for {}: a crowd calls over UDP", other.name())
        }
    }
}

/// Reads a URI, and looks its host up; without a port the transport's own.
fn far_end(uri: &str) -> anyhow::Result<FarEnd> {
    let parsed = Uri::parse(uri.as_bytes())
        .map_err(|error| anyhow::anyhow!("«{uri}» is no SIP address ({error}): write sip:*2363@127.0.0.1"))?;
    if !matches!(parsed.scheme, Scheme::Sip | Scheme::Sips) {
        bail!("«{uri}» cannot be called: test calls go to sip: and sips: addresses");
    }
    let transport = match Transport::of_uri(&parsed) {
        Ok(Some(transport @ (Transport::Udp | Transport::Tcp | Transport::Tls))) => transport,
        Ok(None) => Transport::Udp,
        Ok(Some(other)) => bail!("«{uri}» asks for {}: test calls go over UDP, TCP and TLS", other.name()),
        Err(other) => {
            bail!("«{uri}» asks for {}: test calls go over UDP, TCP and TLS", String::from_utf8_lossy(other))
        }
    };
    let host = match &parsed.host {
        Some(Host::Name(name)) => String::from_utf8_lossy(name).into_owned(),
        Some(host) => host.address().map(|address| address.to_string()).unwrap_or_default(),
        None => bail!("«{uri}» names no host: write sip:*2363@127.0.0.1"),
    };
    let address = (host.as_str(), parsed.port.unwrap_or(transport.default_port()))
        .to_socket_addrs()
        .with_context(|| format!("cannot find the host «{host}»"))?
        .next()
        .with_context(|| format!("the host «{host}» has no address"))?;
    let name = matches!(parsed.host, Some(Host::Name(_))).then_some(host);
    Ok(FarEnd { target: uri.to_owned(), peer: Peer::new(transport, address), name })
}

/// Finds out before the call whether its recording can be kept. What stands there stays as it is.
fn check_writable(path: &Path) -> std::io::Result<()> {
    if path.exists() {
        return std::fs::OpenOptions::new().append(true).open(path).map(drop);
    }
    std::fs::File::create_new(path)?;
    std::fs::remove_file(path)
}

fn groups(keys: &str, barge_in: bool) -> anyhow::Result<Vec<Group>> {
    if keys.trim().is_empty() {
        return Ok(Vec::new());
    }
    keys.split(',')
        .map(str::trim)
        .map(|part| {
            let keys = part.strip_prefix('!').unwrap_or(part);
            if keys.is_empty() {
                bail!("--keys has a group without keys");
            }
            let digit =
                |key| Digit::from_char(key).with_context(|| format!("«{key}» in --keys is no key: 0-9, *, # or A-D"));
            let digits = keys.chars().map(digit).collect::<anyhow::Result<Vec<Digit>>>()?;
            Ok(Group { digits, barge_in: barge_in || keys.len() < part.len() })
        })
        .collect()
}

/// A recording that may be heard.
struct Known {
    key: String,
    text: String,
    word: bool,
    clip: Arc<Clip>,
}

/// The recordings of every operator. None when the folders are not here: the call works all the same, only the names
/// are missing.
fn known_prompts(args: &Args) -> Vec<Known> {
    let Ok(folders) = args.folders.settle() else { return Vec::new() };
    let Ok((operators, _)) = files::load_operators(&folders.flows) else { return Vec::new() };
    let mut audio = PromptAudio::new(&folders.prompts);
    let mut known: Vec<Known> = Vec::new();
    for prompts in operators.iter().map(|operator| &operator.prompts) {
        for (id, clip) in prompts.ids().zip(audio.load(prompts).clips) {
            // Operators share the recorded words: one of each is enough.
            if !known.iter().any(|other| Arc::ptr_eq(&other.clip, &clip)) {
                let (key, text) = (prompts.key(id).to_owned(), prompts.text(id).to_owned());
                known.push(Known { key, text, word: prompts.is_word(id), clip });
            }
        }
    }
    known
}

fn name(report: &Report, names: &[Known]) -> Vec<HeardPrompt> {
    let law = report.agreed.as_ref().and_then(|agreed| agreed.codec.law());
    let samples: Vec<Vec<i16>> = names
        .iter()
        .map(|known| {
            let decoded = |law| known.clip.g711(law).iter().map(|byte| g711::decode(law, *byte)).collect();
            law.map(decoded).unwrap_or_default()
        })
        .collect();
    recognise(&report.heard, &samples)
        .into_iter()
        .filter_map(|heard| {
            let known = names.get(heard.recording)?;
            Some(HeardPrompt {
                at: Duration::from_millis(heard.at_sample as u64 / 8),
                key: known.key.clone(),
                // Two operators may say the same under one key.
                alike: heard
                    .alike
                    .iter()
                    .filter_map(|index| Some(names.get(*index)?.key.clone()))
                    .filter(|key| *key != known.key)
                    .collect(),
                text: known.text.clone(),
                word: known.word,
                whole: heard.samples >= known.clip.samples(),
            })
        })
        .collect()
}

/// The folio read out in the call: the last run of ten digits with a right check digit.
fn folio(heard: &[HeardPrompt]) -> Option<Folio> {
    const WORDS: [&str; 10] = ["cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve"];
    let digit = |prompt: &HeardPrompt| WORDS.iter().position(|word| *word == prompt.text.to_lowercase());
    let mut run = String::new();
    let mut found = None;
    for prompt in heard {
        match digit(prompt) {
            Some(digit) => run.push_str(&digit.to_string()),
            None => run.clear(),
        }
        if let Some(tail) = run.len().checked_sub(10).and_then(|start| run.get(start..))
            && let Ok(folio) = Folio::parse(tail)
        {
            found = Some(folio);
        }
    }
    found
}

fn print(args: &Args, report: &Report, heard: &[HeardPrompt], folio: Option<&Folio>) {
    let Some(answered) = report.answered_after else {
        return println!("not answered");
    };
    println!(
        "answered after {}, first audio {} after that",
        milliseconds(answered),
        match report.audio_after {
            Some(audio) => milliseconds(audio),
            None => "never came".into(),
        }
    );
    if let Some(agreed) = &report.agreed {
        println!("audio: {} with {}", audio::describe(agreed.codec, audio::suite(agreed)), agreed.remote);
    }
    let mut pressed = report.pressed.iter().peekable();
    let mut line: Option<(Duration, Vec<&str>)> = None;
    for prompt in heard {
        while let Some((at, digit)) = pressed.next_if(|(at, _)| *at <= prompt.at) {
            flush(&mut line);
            println!("{:>9}   key {digit}", seconds(*at));
        }
        // Recorded words make one sentence; a prompt is a sentence of its own.
        if !prompt.word {
            flush(&mut line);
        }
        let entry = line.get_or_insert_with(|| (prompt.at, Vec::new()));
        entry.1.push(&prompt.text);
        if !prompt.word || !prompt.whole {
            let (at, texts) = line.take().unwrap_or_default();
            let cut = if prompt.whole { "" } else { " […]" };
            let keys = std::iter::once(&prompt.key).chain(&prompt.alike).cloned().collect::<Vec<_>>().join(" or ");
            println!("{:>9} « {}{cut} »   [{keys}]", seconds(at), texts.join(" "));
        }
    }
    flush(&mut line);
    for (at, digit) in pressed {
        println!("{:>9}   key {digit}", seconds(*at));
    }
    let ended = report.ended.as_ref().map_or_else(|| "still up".into(), crate::sip::EndCause::explain);
    println!("{ended} after {}", seconds(report.lasted));
    if report.heard.is_empty() {
        return println!("heard: nothing");
    }
    println!("heard: {} ({})", args.wav.display(), seconds(Duration::from_millis(report.heard.len() as u64 / 8)));
    if let Some(folio) = folio {
        println!("folio: {folio}");
    }
}

fn flush(line: &mut Option<(Duration, Vec<&str>)>) {
    if let Some((at, texts)) = line.take() {
        println!("{:>9} « {} »", seconds(at), texts.join(" "));
    }
}

/// `0.4 ms`, `12 ms`: a tenth is told apart where it matters.
fn milliseconds(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1_000.0;
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

fn as_json(args: &Args, report: &Report, heard: &[HeardPrompt], folio: Option<&Folio>) -> serde_json::Value {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    json!({
        "status": report.status,
        "refusal": report.refusal,
        "codec": report.agreed.as_ref().map(|agreed| agreed.codec.encoding_name()),
        "srtp": report.agreed.as_ref().and_then(audio::suite).map(Suite::name),
        "answered_ms": report.answered_after.map(ms),
        "first_audio_ms": report.audio_after.map(ms),
        "heard": heard.iter().map(|prompt| json!({
            "at_ms": ms(prompt.at), "prompt": prompt.key, "alike": prompt.alike, "text": prompt.text, "whole": prompt.whole,
        })).collect::<Vec<_>>(),
        "keys": report.pressed.iter().map(|(at, digit)| json!({ "at_ms": ms(*at), "key": digit.to_string() }))
            .collect::<Vec<_>>(),
        "keys_left": report.keys_left,
        "key_refused": report.key_refused,
        "interrupted": report.interrupted,
        "folio": folio.map(ToString::to_string),
        "ended": report.ended.as_ref().map(crate::sip::EndCause::explain),
        "lasted_ms": ms(report.lasted),
        "wav": (!report.heard.is_empty()).then_some(&args.wav),
    })
}
