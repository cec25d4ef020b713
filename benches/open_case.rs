//! How long a caller waits for a folio: one caller alone pays a whole commit, many share one. SQLite with synchronous=FULL; the
//! floor is one write and one `fsync` of a small file in the same folder.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a bench that cannot begin has nothing to say")]

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use contesta::case;
use contesta::ids::CallKey;
use contesta::store::Store;
use contesta::value::{Value, Values};
use divan::Bencher;

fn main() {
    divan::main();
}

#[divan::bench(sample_count = 200)]
fn fsync_floor(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().unwrap();
    let mut file = OpenOptions::new().create(true).append(true).open(folder.path().join("floor")).unwrap();
    bencher.bench_local(|| {
        file.write_all(&[0; 1_024]).unwrap();
        file.sync_data().unwrap();
    });
}

/// Time for all `callers` to have their folio; divide by it for the cost of one.
#[divan::bench(args = [1, 10, 100], sample_count = 50)]
fn sqlite(bencher: Bencher<'_, '_>, callers: u64) {
    static KEY: AtomicU64 = AtomicU64::new(0);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = runtime.block_on(Store::open(&Store::default_url(folder.path()), folder.path())).unwrap();
    bencher.bench_local(|| {
        runtime.block_on(async {
            let tasks: Vec<_> = (0..callers)
                .map(|_| {
                    let (store, key) = (store.clone(), KEY.fetch_add(1, Ordering::Relaxed).to_string());
                    tokio::spawn(async move { store.open_case(&opening(key)).await.unwrap() })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
    });
}

fn opening(key: String) -> case::Open {
    case::Open {
        operator: "beneleit".into(),
        prefix: 2,
        kind: "bloqueo".into(),
        subkind: "robo".into(),
        fields: Values::from([("linea".into(), Value::Text("2221234567".into()))]),
        channel: "telefono".into(),
        call: CallKey(key.as_str().into()),
        received: jiff::Timestamp::UNIX_EPOCH,
        due: None,
        idempotency: key,
    }
}
