//! `kill -9` at two hundred random moments while calls open cases: every folio that a caller heard exists, exactly once.
//!
//! The flow answers, opens a case and reads its folio. Recorded words are 60 ms tones of the test's own, so that a folio is heard
//! in less than a second and every moment of a call is hit.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test of the whole program starts processes and threads"
)]

mod support;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use contesta::audio::recognise::recognise;
use contesta::audio::{Clip, Codec, g711, wav};
use contesta::edge::phone::{self, Script};
use contesta::ids::Ids;
use contesta::speech;
use contesta::store::{CaseFilter, Store};
use support::{Engine, Folder};

/// Kills of each engine; four engines run side by side, each on data of its own.
const KILLS: usize = 50;
const ENGINES: u64 = 4;

/// Callers that call again and again until their engine is gone.
const CALLERS: u64 = 5;

#[test]
fn every_folio_that_was_heard_exists_once() {
    let engines: Vec<_> = (0..ENGINES).map(|engine| std::thread::spawn(move || kill_again_and_again(engine))).collect();
    let heard: usize = engines.into_iter().map(|engine| engine.join().unwrap()).sum();
    assert!(heard > KILLS, "only {heard} folios were heard: the kills came before anything could be lost");
    println!("{heard} folios heard over {} kills", KILLS * ENGINES as usize);
}

fn kill_again_and_again(engine: u64) -> usize {
    let folder = Folder::new("kill");
    write_operator(folder.path());
    let data = folder.path().join("data");
    let mut random = Ids::from_seed(engine);
    let mut heard = Vec::new();
    for _ in 0..KILLS {
        let running = Engine::start_with(
            &data,
            &[
                "--flows",
                &folder.path().join("flows").display().to_string(),
                "--prompts",
                &folder.path().join("prompts").display().to_string(),
            ],
        );
        let server: SocketAddr = running.sip.parse().unwrap();
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let seed = random.next_u64();
                std::thread::spawn(move || phone::call(script(server), Ids::from_seed(seed)).unwrap().heard)
            })
            .collect();
        // The moment of the kill: any from the first INVITE to a folio read to its end.
        let (_never, waiting) = mpsc::channel::<()>();
        let _elapsed = waiting.recv_timeout(Duration::from_millis(random.below(1_500)));
        running.kill();
        for caller in callers {
            heard.extend(folios(&caller.join().unwrap()));
        }
    }
    let stored = stored_folios(&data);
    for folio in &heard {
        assert_eq!(stored.get(folio), Some(&1), "folio {folio} was heard and is stored {:?} times", stored.get(folio));
    }
    heard.len()
}

fn script(server: SocketAddr) -> Script {
    Script {
        target: format!("sip:900@{server}"),
        destination: server,
        from: "5512345678".into(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        codec: Codec::Pcmu,
        keys: Vec::new(),
        patience: Duration::from_millis(500),
        linger: Duration::from_millis(600),
        longest: Duration::from_millis(1_800),
    }
}

/// All folios of the database and the spool, with how often each is there. Opening the store replays the spool.
fn stored_folios(data: &Path) -> BTreeMap<String, usize> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let database = data.join("contesta.db").display().to_string();
        let store = Store::open(&database, data).await.unwrap();
        let mut stored = BTreeMap::new();
        let filter = CaseFilter { limit: 1_000_000, ..CaseFilter::default() };
        for case in store.cases(&filter).await.unwrap() {
            *stored.entry(case.folio.as_str().to_owned()).or_default() += 1;
        }
        store.close().await;
        stored
    })
}

/// The whole folios in what was heard.
fn folios(samples: &[i16]) -> Vec<String> {
    let words: Vec<&str> = speech::vocabulary().iter().map(|(key, _)| *key).collect();
    let digits: Vec<(usize, Vec<i16>)> =
        ["num.0", "num.1", "num.2", "num.3", "num.4", "num.5", "num.6", "num.7", "num.8", "num.9"]
            .iter()
            .map(|key| {
                let index = words.iter().position(|word| word == key).unwrap();
                let clip = Clip::from_pcm(&tone(index));
                (index, clip.pcmu.iter().map(|byte| g711::decode(Codec::Pcmu, *byte)).collect())
            })
            .collect();
    let recordings: Vec<Vec<i16>> = digits.iter().map(|(_, samples)| samples.clone()).collect();
    let run: String = recognise(samples, &recordings)
        .iter()
        .filter(|heard| heard.samples >= TONE_SAMPLES)
        .map(|heard| char::from_digit(u32::try_from(heard.recording).unwrap(), 10).unwrap())
        .collect();
    contesta::case::Folio::parse(&run).map(|folio| folio.as_str().to_owned()).into_iter().collect()
}

const TONE_SAMPLES: usize = 480;

/// A sound of its own for each word: noise from its number.
fn tone(word: usize) -> Vec<i16> {
    let mut state = (word as u32).wrapping_mul(2_654_435_761).wrapping_add(12_345);
    (0..TONE_SAMPLES)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 18) as i32 - 8_192) as i16
        })
        .collect()
}

fn write_operator(folder: &Path) {
    let flows = folder.join("flows/prueba");
    let words = folder.join("prompts/es-MX");
    let own = folder.join("prompts/prueba");
    for made in [&flows, &words, &own] {
        std::fs::create_dir_all(made).unwrap();
    }
    for (index, (key, _)) in speech::vocabulary().iter().enumerate() {
        std::fs::write(words.join(format!("{key}.wav")), wav::write(&tone(index), 8_000)).unwrap();
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
[[numbers]]
number = "900"
flow = "prueba.folio"
[kinds.queja]
"#,
        ),
        ("hours.toml", "schema = 1\n"),
        ("services.toml", "schema = 1\n"),
        ("prompts.toml", "schema = 1\n[prompts]\ndisculpa = \"Disculpe.\"\n"),
        (
            "folio.toml",
            r#"schema = 1
[flow]
id = "prueba.folio"
start = "contestar"
[steps.contestar.answer]
on.next = "abrir"
[steps.abrir.case]
op = "open"
kind = "queja"
into = "caso"
on = { ok = "leer", error = "disculpa" }
[steps.leer.play]
prompt = [{ say = "folio", value = "${caso.folio}" }]
on.next = "fin"
[steps.disculpa.play]
prompt = ["disculpa"]
on.next = "fin"
[steps.fin.hangup]
"#,
        ),
    ];
    for (name, text) in files {
        std::fs::write(flows.join(name), text).unwrap();
    }
    std::fs::write(own.join("disculpa.wav"), wav::write(&tone(1_000), 8_000)).unwrap();
}
