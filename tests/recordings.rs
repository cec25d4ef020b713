//! Recorded calls of the whole engine: what is in the file, what the record says of it, and what `kill -9` leaves.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test of the whole program starts processes and threads"
)]

mod support;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use contesta::audio::recognise::recognise;
use contesta::audio::{Clip, Codec, g711, wav};
use contesta::dtmf::{Digit, Road};
use contesta::edge::phone::{self, Group, Script};
use contesta::ids::Ids;
use contesta::sdp::{SrtpPolicy, Terms};
use contesta::speech;
use support::{Engine, Folder};

/// A prompt's length: a second, and of the long one twenty.
const SECOND: usize = 8_000;
const PROMPTS: [(&str, usize); 4] =
    [("antes", SECOND), ("clave", SECOND), ("despues", 2 * SECOND), ("largo", 20 * SECOND)];

#[test]
fn a_call_is_recorded_but_for_its_secret() {
    let folder = Folder::new("recorded");
    let engine = start(&folder);
    let heard = call(&engine, "900", "1234", Duration::from_secs(30)).heard;
    let spoken = |samples: &[i16]| -> Vec<&str> {
        let recognised = recognise(samples, &PROMPTS.map(|(key, length)| as_heard(&tone(key, length))));
        recognised.iter().map(|heard| PROMPTS[heard.recording].0).collect()
    };
    assert_eq!(spoken(&heard), ["antes", "clave", "despues"], "the caller hears everything");

    let record = record(engine, &folder);
    let recording = &record["recording"];
    assert!(recording["fault"].is_null() && recording["lost_seconds"] == 0.0, "{recording}");
    let file = data(&folder).join("recordings").join(recording["file"].as_str().unwrap());
    assert_eq!(file.file_stem().unwrap().to_str(), record["key"].as_str());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let [left, right] = sides(&file);
    assert_eq!(recording["seconds"].as_f64().unwrap(), right.len() as f64 / 8_000.0);
    assert_eq!(spoken(&right), ["antes", "despues"], "and the recording has silence while it is secret");
    assert_eq!(left.iter().filter(|sample| **sample != 0).count(), 0, "this caller says nothing but keys");
}

#[test]
fn kill_9_leaves_a_recording_that_plays_and_the_next_start_finishes_it() {
    let folder = Folder::new("cut-off");
    let engine = start(&folder);
    let server: SocketAddr = engine.sip.parse().unwrap();
    let caller =
        std::thread::spawn(move || phone::call(script(server, "901", "", Duration::from_secs(5)), Ids::from_seed(1)));
    // In the midst of twenty seconds of prompt.
    let (_never, waiting) = mpsc::channel::<()>();
    let _elapsed = waiting.recv_timeout(Duration::from_millis(3_300));
    engine.kill();
    let heard = caller.join().unwrap().unwrap().heard;
    let sounding = |samples: &[i16]| samples.iter().filter(|sample| **sample != 0).count();

    let unfinished = only_file(&data(&folder).join("recordings/unfinished"));
    let playable = sounding(&sides(&unfinished)[1]);
    let missing = sounding(&heard).saturating_sub(playable);
    assert!(sounding(&heard) > SECOND, "the call was cut off before it spoke");
    assert!(missing <= SECOND, "{missing} samples of {} are missing", sounding(&heard));

    assert!(start(&folder).stop());
    assert!(!unfinished.exists());
    let finished = data(&folder)
        .join("recordings")
        .join(unfinished.strip_prefix(data(&folder).join("recordings/unfinished")).unwrap());
    assert!(sounding(&sides(&finished)[1]) >= playable);
    let bytes = std::fs::read(&finished).unwrap();
    let counted = u32::from_le_bytes([bytes[40], bytes[41], bytes[42], bytes[43]]) as usize;
    assert!((wav::HEADER_LENGTH + counted..wav::HEADER_LENGTH + counted + 4).contains(&bytes.len()));
}

#[test]
fn a_folder_that_cannot_be_made_costs_the_recording_and_not_the_call() {
    let folder = Folder::new("no-folder");
    std::fs::create_dir_all(data(&folder)).unwrap();
    std::fs::write(data(&folder).join("recordings"), "a file in the way").unwrap();
    let engine = start(&folder);
    let report = call(&engine, "900", "1234", Duration::from_secs(30));
    assert_eq!(report.keys_left, 0);
    assert!(engine.log().contains("the call is not recorded"));
    let record = record(engine, &folder);
    assert_eq!(record["cause"], "the flow ended: hangup");
    let fault = record["recording"]["fault"].as_str().unwrap();
    assert!(fault.starts_with("not begun: "), "{fault}");
}

fn data(folder: &Folder) -> PathBuf {
    folder.path().join("data")
}

/// The one call's record, which is stored when the engine has stopped.
fn record(engine: Engine, folder: &Folder) -> serde_json::Value {
    assert!(engine.stop());
    let output = support::contesta().args(["calls", "list", "--json", "--data"]).arg(data(folder)).output().unwrap();
    serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()[0].clone()
}

/// The engine with an operator that records all calls.
fn start(folder: &Folder) -> Engine {
    write_operator(folder.path());
    let (flows, prompts) = (folder.path().join("flows"), folder.path().join("prompts"));
    let arguments = ["--flows", flows.to_str().unwrap(), "--prompts", prompts.to_str().unwrap()];
    Engine::start_with(&data(folder), &arguments)
}

fn call(engine: &Engine, number: &str, keys: &str, longest: Duration) -> phone::Report {
    phone::call(script(engine.sip.parse().unwrap(), number, keys, longest), Ids::from_seed(7)).unwrap()
}

fn script(server: SocketAddr, number: &str, keys: &str, longest: Duration) -> Script {
    let digits: Vec<Digit> = keys.chars().filter_map(Digit::from_char).collect();
    Script {
        target: format!("sip:{number}@{server}"),
        destination: contesta::sip::Peer::udp(server),
        name: None,
        ca: None,
        from: "5512345678".into(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        terms: Terms { codecs: vec![Codec::Pcmu], srtp: SrtpPolicy::Off, ..Terms::default() },
        road: Road::TelephoneEvent,
        keys: if digits.is_empty() { Vec::new() } else { vec![Group { digits, barge_in: false }] },
        longest,
        // Longer than the silence behind a prompt, so that the keys are the question's.
        patience: Duration::from_secs(2),
        linger: Duration::from_secs(10),
    }
}

/// Left and right of a stereo file.
fn sides(file: &Path) -> [Vec<i16>; 2] {
    let mut reader = hound::WavReader::open(file).unwrap();
    assert_eq!((reader.spec().channels, reader.spec().sample_rate), (2, 8_000));
    let samples: Vec<i16> = reader.samples::<i16>().map(Result::unwrap).collect();
    [0, 1].map(|side| samples.iter().skip(side).step_by(2).copied().collect())
}

/// The one file of the one folder in here.
fn only_file(folder: &Path) -> PathBuf {
    let only = |folder: &Path| {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(entries.len(), 1, "{entries:?}");
        entries.remove(0)
    };
    only(&only(folder))
}

/// A sound of its own for each word: noise from its name, never zero.
fn tone(word: &str, length: usize) -> Vec<i16> {
    let mut state =
        word.bytes().fold(12_345_u32, |hash, byte| hash.wrapping_mul(2_654_435_761).wrapping_add(byte.into()));
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 18) as i32 - 8_192) as i16 | 0x100
        })
        .collect()
}

/// What µ-law makes of it.
fn as_heard(samples: &[i16]) -> Vec<i16> {
    let clip = Clip::from_pcm(samples);
    clip.g711(g711::Law::Mu).iter().map(|byte| g711::decode(g711::Law::Mu, *byte)).collect()
}

fn write_operator(folder: &Path) {
    let flows = folder.join("flows/prueba");
    let words = folder.join("prompts/es-MX");
    let own = folder.join("prompts/prueba");
    for made in [&flows, &words, &own] {
        std::fs::create_dir_all(made).unwrap();
    }
    for (key, _) in speech::vocabulary() {
        std::fs::write(words.join(format!("{key}.wav")), wav::write(&tone(key, 160), 8_000)).unwrap();
    }
    for (key, length) in PROMPTS {
        std::fs::write(own.join(format!("{key}.wav")), wav::write(&tone(key, length), 8_000)).unwrap();
    }
    let files = [
        (
            "operator.toml",
            r#"schema = 1
[operator]
id = "prueba"
name = "Prueba"
time_zone = "America/Mexico_City"
folio_prefix = 8
class = "gratuito"
[recording]
calls = "all"
[[numbers]]
number = "900"
flow = "prueba.secreto"
[[numbers]]
number = "901"
flow = "prueba.largo"
"#,
        ),
        ("hours.toml", "schema = 1\n"),
        ("services.toml", "schema = 1\n"),
        (
            "prompts.toml",
            "schema = 1\n[prompts]\nantes = \"Antes.\"\nclave = \"Clave.\"\ndespues = \"Después.\"\nlargo = \"Largo.\"\n",
        ),
        (
            "largo.toml",
            r#"schema = 1
[flow]
id = "prueba.largo"
start = "contestar"
[steps.contestar.answer]
on.next = "hablar"
[steps.hablar.play]
prompt = ["largo"]
on.next = "fin"
[steps.fin.hangup]
"#,
        ),
        (
            "secreto.toml",
            r#"schema = 1
[flow]
id = "prueba.secreto"
start = "contestar"
[steps.contestar.answer]
on.next = "antes"
[steps.antes.play]
prompt = ["antes", { silence = "1200ms" }]
barge_in = false
on.next = "clave"
[steps.clave.collect]
into = "pin"
prompt = ["clave"]
barge_in = false
sensitive = true
min = 4
max = 4
on = { ok = "despues", max_attempts = "fin" }
[steps.despues.play]
prompt = [{ silence = "1200ms" }, "despues"]
on.next = "fin"
[steps.fin.hangup]
"#,
        ),
    ];
    for (name, text) in files {
        std::fs::write(flows.join(name), text).unwrap();
    }
}
