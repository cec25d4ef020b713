//! `kill -9` at two hundred random moments while calls open cases: every folio that a caller heard exists, and no call opened
//! two cases.
//!
//! The flow answers, opens a case and reads its folio. Recorded words are 20 ms tones of the test's own and digits come without
//! pauses, so that a folio is heard in a quarter of a second: well before the store gives up waiting for a lock. In half of the rounds the test holds SQLite's write lock, so that
//! commits come late or cases go to the spool while callers wait: an engine that spoke before the write would be caught.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test of the whole program starts processes and threads"
)]

mod support;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use contesta::audio::g711::{self, Law};
use contesta::audio::recognise::recognise;
use contesta::audio::{Clip, Codec, wav};
use contesta::dtmf::Road;
use contesta::edge::phone::{self, Script};
use contesta::ids::Ids;
use contesta::sdp::{SrtpPolicy, Terms};
use contesta::speech;
use contesta::store::{CaseFilter, Store};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use support::{Engine, Folder};

/// Kills of each engine; four engines run side by side, each on data of its own.
const KILLS: usize = 50;
const ENGINES: u64 = 4;

/// Callers of each round, one call each.
const CALLERS: u64 = 5;

/// What was seen in an engine's rounds.
#[derive(Default)]
struct Tally {
    heard: Vec<String>,
    /// Folios that were heard while the spool alone had them.
    heard_from_spool: usize,
    /// Rounds that ended with cases in the spool.
    spooled: usize,
}

#[test]
fn every_folio_that_was_heard_exists_and_no_call_opened_two_cases() {
    let engines: Vec<_> = (0..ENGINES).map(|engine| std::thread::spawn(move || kill_again_and_again(engine))).collect();
    let tallies: Vec<Tally> = engines.into_iter().map(|engine| engine.join().unwrap()).collect();
    let heard: usize = tallies.iter().map(|tally| tally.heard.len()).sum();
    let from_spool: usize = tallies.iter().map(|tally| tally.heard_from_spool).sum();
    let spooled: usize = tallies.iter().map(|tally| tally.spooled).sum();
    println!(
        "{heard} folios heard over {} kills, {from_spool} of them from the spool, which {spooled} kills left full",
        KILLS * ENGINES as usize
    );
    assert!(heard > KILLS, "only {heard} folios were heard: the kills came before anything could be lost");
    assert!(spooled > KILLS / 10, "only {spooled} kills found cases in the spool");
    assert!(from_spool > KILLS / 10, "only {from_spool} folios were heard while the database was locked");
}

fn kill_again_and_again(engine: u64) -> Tally {
    let folder = Folder::new("kill");
    write_operator(folder.path());
    let data = folder.path().join("data");
    let mut random = Ids::from_seed(engine);
    let mut tally = Tally::default();
    for round in 0..KILLS {
        let running = Engine::start_with(
            &data,
            &[
                "--flows",
                &folder.path().join("flows").display().to_string(),
                "--prompts",
                &folder.path().join("prompts").display().to_string(),
            ],
        );
        let disturbance = Disturbance::of_round(round, &mut random);
        let lock = disturbance.lock(&data);
        let heard = a_round(running, disturbance, &mut random);
        let spool = std::fs::read_to_string(data.join("spool")).unwrap();
        tally.spooled += usize::from(!spool.is_empty());
        if disturbance == Disturbance::Throughout {
            for folio in &heard {
                assert!(spool.contains(folio.as_str()), "folio {folio} was heard before it was written anywhere");
            }
            tally.heard_from_spool += heard.len();
        }
        tally.heard.extend(heard);
        drop(lock);
    }
    let (stored, calls) = stored_cases(&data);
    for folio in &tally.heard {
        assert_eq!(stored.get(folio), Some(&1), "folio {folio} was heard and is stored {:?} times", stored.get(folio));
    }
    for (call, cases) in calls {
        assert_eq!(cases.len(), 1, "call {call} opened {cases:?}");
    }
    tally
}

/// Calls, the kill in their midst, and the folios that were heard whole.
fn a_round(running: Engine, disturbance: Disturbance, random: &mut Ids) -> Vec<String> {
    let server: SocketAddr = running.sip.parse().unwrap();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let script = script(server, disturbance);
            let seed = random.next_u64();
            std::thread::spawn(move || phone::call(script, Ids::from_seed(seed)).unwrap().heard)
        })
        .collect();
    // The moment of the kill: any from the first INVITE to a folio read to its end.
    let (_never, waiting) = mpsc::channel::<()>();
    let _elapsed = waiting.recv_timeout(Duration::from_millis(random.below(disturbance.latest_kill_ms())));
    running.kill();
    callers.into_iter().flat_map(|caller| folios(&caller.join().unwrap())).collect()
}

/// What happens to the database while a round's calls are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disturbance {
    None,
    /// Locked after so long, for so long.
    Between(Duration, Duration),
    /// Locked before the first call, until after the kill.
    Throughout,
}

impl Disturbance {
    fn of_round(round: usize, random: &mut Ids) -> Self {
        let mut below = |ms| Duration::from_millis(random.below(ms));
        match round % 4 {
            1 => Self::Between(below(800), below(2_000)),
            3 => Self::Throughout,
            _ => Self::None,
        }
    }

    fn lock(self, data: &Path) -> Option<Lock> {
        match self {
            Self::None => None,
            Self::Between(after, length) => Some(Lock::take(data, after, length)),
            Self::Throughout => {
                let lock = Lock::take(data, Duration::ZERO, Duration::from_secs(60));
                lock.taken.recv().unwrap();
                Some(lock)
            }
        }
    }

    /// The store waits 750 ms for a lock before it turns to the spool.
    fn latest_kill_ms(self) -> u64 {
        match self {
            Self::None => 1_000,
            Self::Between(..) => 1_900,
            Self::Throughout => 2_500,
        }
    }
}

/// SQLite's write lock in the hands of another process's connection; dropped, it is free when `drop` returns.
struct Lock {
    taken: mpsc::Receiver<()>,
    release: Option<mpsc::Sender<()>>,
    holder: Option<JoinHandle<()>>,
}

impl Lock {
    fn take(data: &Path, after: Duration, length: Duration) -> Self {
        let (release, released) = mpsc::channel::<()>();
        let (tell, taken) = mpsc::channel();
        let database: PathBuf = data.join("contesta.db");
        let holder = std::thread::spawn(move || {
            if released.recv_timeout(after) != Err(mpsc::RecvTimeoutError::Timeout) {
                return;
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let options = SqliteConnectOptions::new().filename(&database).busy_timeout(Duration::from_secs(5));
                let mut connection = options.connect().await.unwrap();
                sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
                let _listening = tell.send(());
                let _over = released.recv_timeout(length);
                sqlx::query("ROLLBACK").execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            });
        });
        Self { taken, release: Some(release), holder: Some(holder) }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(self.release.take());
        if let Some(holder) = self.holder.take() {
            let ended = holder.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the lock could not be taken");
        }
    }
}

fn script(server: SocketAddr, disturbance: Disturbance) -> Script {
    // Who hears nothing stays as long as the engine could need.
    let longest = Duration::from_millis(disturbance.latest_kill_ms() + 300);
    Script {
        target: format!("sip:900@{server}"),
        destination: contesta::sip::Peer::udp(server),
        name: None,
        ca: None,
        from: "5512345678".into(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        terms: Terms { codecs: vec![Codec::Pcmu], srtp: SrtpPolicy::Off, ..Terms::default() },
        road: Road::TelephoneEvent,
        keys: Vec::new(),
        patience: Duration::from_millis(500),
        linger: longest,
        longest,
    }
}

/// How often each folio of the database and the spool is there, and which folios each call opened. Opening the store replays
/// the spool.
fn stored_cases(data: &Path) -> (BTreeMap<String, usize>, BTreeMap<String, Vec<String>>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let database = data.join("contesta.db").display().to_string();
        // Opened and closed once for the spool, which is in the database when `close` is back.
        Store::open(&database, data).await.unwrap().close().await;
        let store = Store::open(&database, data).await.unwrap();
        let (mut stored, mut calls) = (BTreeMap::<_, usize>::new(), BTreeMap::<_, Vec<_>>::new());
        let filter = CaseFilter { limit: 1_000_000, ..CaseFilter::default() };
        for case in store.cases(&filter).await.unwrap() {
            let folio = case.folio.as_str().to_owned();
            *stored.entry(folio.clone()).or_default() += 1;
            calls.entry(case.open.call.0.to_string()).or_default().push(folio);
        }
        store.close().await;
        (stored, calls)
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
                (index, clip.g711(Law::Mu).iter().map(|byte| g711::decode(Law::Mu, *byte)).collect())
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

const TONE_SAMPLES: usize = 160;

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
prompt = [{ say = "digits", value = "${caso.folio}" }]
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
