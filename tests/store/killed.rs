//! `kill -9` at random moments while calls open cases: every folio that was answered exists exactly once.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use contesta::case::Folio;
use contesta::ids::Ids;
use contesta::store::{CaseFilter, Store};
use sqlx::Connection;

use crate::database::Database;
use crate::outage::locked;
use crate::suite::opening;

const CHILD: &str = "CONTESTA_TEST_KILLED";
const ROUNDS: usize = 60;
const CALLERS: usize = 12;

/// The test is its own victim: it starts itself again, with a data directory in the environment, and kills that. Every fifth
/// round the database is locked, so that the child lives on its spool.
#[test]
fn every_folio_answered_exists_exactly_once_after_kill_9() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if let Ok(child) = std::env::var(CHILD) {
        let (round, folder) = child.split_once(' ').unwrap();
        runtime.block_on(open_cases_until_killed(round.parse().unwrap(), Path::new(folder)));
        return;
    }
    let database = Database::sqlite();
    runtime.block_on(async { database.open().await.close().await });
    let mut ids = Ids::from_seed(20_260_315);
    let mut heard: BTreeMap<String, Folio> = BTreeMap::new();
    for round in 0..ROUNDS {
        let lock = (round % 5 == 4).then(|| runtime.block_on(locked(&database)));
        let lines = usize::try_from(ids.below(60)).unwrap();
        for (key, folio) in a_short_life(round, &database, lines) {
            // A repeated key gets the folio it got before, over any number of deaths.
            let first = heard.entry(key.clone()).or_insert_with(|| folio.clone());
            assert_eq!(*first, folio, "key {key}, round {round}");
        }
        if let Some(lock) = lock {
            runtime.block_on(lock.close()).unwrap();
        }
    }

    runtime.block_on(async {
        let store = database.open().await;
        store.close().await;
        let store = database.open().await;
        let all = store.cases(&CaseFilter { limit: u32::MAX, ..CaseFilter::default() }).await.unwrap();
        let mut stored: BTreeMap<String, Folio> = BTreeMap::new();
        for case in all {
            let twice = stored.insert(case.open.idempotency.clone(), case.folio);
            assert_eq!(twice, None, "key {} has two cases", case.open.idempotency);
        }
        assert!(heard.len() > ROUNDS, "only {} folios were heard", heard.len());
        for (key, folio) in &heard {
            assert_eq!(stored.get(key), Some(folio), "key {key}");
            let history = store.history(folio).await.unwrap();
            assert_eq!(history.len(), 1, "folio {folio}");
        }
        store.close().await;
    });
}

/// Starts the child, kills it after it has answered so many times (0: while it starts), and returns what it answered.
fn a_short_life(round: usize, database: &Database, lines: usize) -> Vec<(String, Folio)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "killed::every_folio_answered_exists_exactly_once_after_kill_9"])
        .env(CHILD, format!("{round} {}", database.data.path().display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut heard = Vec::new();
    let mut line = String::new();
    while heard.len() < lines && output.read_line(&mut line).unwrap() > 0 {
        heard.extend(answer(&line));
        line.clear();
    }
    assert_eq!(heard.len(), lines, "round {round}: the child stopped by itself");
    child.kill().unwrap();
    child.wait().unwrap();
    // What it said before it died counts as well; a line without its end was not heard.
    while output.read_line(&mut line).unwrap() > 0 {
        heard.extend(answer(&line));
        line.clear();
    }
    heard
}

/// `FOLIO <key> <folio>`, after whatever the test runner wrote on the same line.
fn answer(line: &str) -> Option<(String, Folio)> {
    let (key, folio) = line.strip_suffix('\n')?.split_once("FOLIO ")?.1.split_once(' ')?;
    Some((key.to_owned(), Folio::parse(folio).unwrap()))
}

/// The child: callers that ask for folios, and say each one they get. Some keys are those of the round before.
async fn open_cases_until_killed(round: usize, folder: &Path) {
    let store = Store::open(&folder.join("contesta.db").display().to_string(), folder).await.unwrap();
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let store = store.clone();
            tokio::spawn(async move {
                for number in round * 3.. {
                    let key = format!("c{caller}n{number}");
                    let folio = store.open_case(&opening("beneleit", &key)).await.unwrap().case.folio;
                    let line = format!("FOLIO {key} {folio}\n");
                    let mut out = std::io::stdout().lock();
                    out.write_all(line.as_bytes()).and_then(|()| out.flush()).unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
}
