//! The engine as a whole, call by call, in simulated time: what crosses the line, what is heard, what is written.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking, and stages its world")]

mod peer;
mod shipped;
mod sim;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Once;
use std::time::Duration;

use contesta::call::CallRecord;
use contesta::config::numbers::Format;
use contesta::config::{Audio, CalledFrom, Config, Numbers, Strangers, Trunk};
use contesta::dtmf::TelephoneEvent;
use contesta::exchange::Input;
use contesta::flow::{Answer, RequestId};
use contesta::ids::{Ids, LegId, PlayId};
use contesta::media;
use contesta::rtp::{RtpHeader, RtpTime, SequenceNumber, Ssrc};
use contesta::value::Values;
use sim::{Setup, Sim, Weather};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Compares with `tests/scenarios/<name>.snap`.
macro_rules! assert_scenario {
    ($name:expr, $text:expr) => {
        insta::with_settings!({
            snapshot_path => "../scenarios", prepend_module_to_snapshot => false, omit_expression => true
        }, { insta::assert_snapshot!($name, $text) })
    };
}

/// A record as people read it: how it ended, and its way.
fn told(record: &CallRecord) -> String {
    let CallRecord { operator, flow, called, caller, class, result, cause, folios, .. } = record;
    let after = |moment: jiff::Timestamp| moment.duration_since(record.began).as_millis();
    let answered = record.answered.map_or("never".to_owned(), |answered| format!("{} ms", after(answered)));
    let path = record.path.iter().map(|entry| format!("{:>6} {}: {}\n", entry.at_ms, entry.place, entry.what));
    format!(
        "{operator} {flow} {class}: {caller} → {called}, answered {answered}, ended {} ms\nresult {result}: {cause}\n\
        folios {folios:?}\n{:?}\n{}",
        after(record.ended),
        record.media,
        path.collect::<String>()
    )
}

const NO_ACK: &str = "no ACK for our 200: check the peer's Contact, NAT and the advertised address";

/// A centre that takes 8 s without RTP for a lost caller.
fn soon_silent() -> Sim {
    let mut config = Config::default();
    config.rtp.silence = 8 * SECOND;
    Sim::with(Setup { config, ..Setup::default() })
}

/// The keys that the flow took, in order, as the path tells them.
fn keys_taken(record: &CallRecord) -> String {
    record.path.iter().filter_map(|entry| entry.what.strip_prefix("key ")).collect()
}

#[path = "exchange/arrival.rs"]
mod arrival;
#[path = "exchange/audio.rs"]
mod audio;
#[path = "exchange/caller.rs"]
mod caller;
#[path = "exchange/company.rs"]
mod company;
#[path = "exchange/crowd.rs"]
mod crowd;
#[path = "exchange/dialog.rs"]
mod dialog;
#[path = "exchange/fault.rs"]
mod fault;
#[path = "exchange/hold.rs"]
mod hold;
#[path = "exchange/keys.rs"]
mod keys;
#[path = "exchange/ladder.rs"]
mod ladder;
#[path = "exchange/mutants.rs"]
mod mutants;
#[path = "exchange/registration.rs"]
mod registration;
#[path = "exchange/session.rs"]
mod session;
#[path = "exchange/shared_audio.rs"]
mod shared_audio;
#[path = "exchange/transfers.rs"]
mod transfers;
#[path = "exchange/trunks.rs"]
mod trunks;
