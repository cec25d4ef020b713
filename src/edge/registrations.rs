//! Registrations on their way to the store: in their order, many in one transaction, and never waited for.

use std::convert::Infallible;

use tokio::sync::mpsc;
use tracing::warn;

use crate::store::{RegistrationChange, Store};

/// Changes that may wait to be written: a REGISTER from each phone of a large centre, ten times over.
const WAITING_MAX: usize = 16_384;

/// Changes of one transaction.
const BATCH_MAX: usize = 256;

/// Where changes are told.
pub struct Registrations {
    sender: mpsc::Sender<RegistrationChange>,
    lost: u64,
}

impl Registrations {
    /// Starts the task that writes. It ends when this is dropped and all is written, and drops `writing` then.
    #[must_use]
    pub fn start(runtime: &tokio::runtime::Handle, store: Store, writing: mpsc::Sender<Infallible>) -> Self {
        let (sender, waiting) = mpsc::channel(WAITING_MAX);
        runtime.spawn(async move {
            write(waiting, &store).await;
            drop(writing);
        });
        Self { sender, lost: 0 }
    }

    /// Tells a change. One too many is lost, as is one that the database does not take: the phone's next REGISTER tells it again.
    pub fn tell(&mut self, change: RegistrationChange) {
        if self.sender.try_send(change).is_err() {
            self.lost += 1;
            if self.lost.is_power_of_two() {
                warn!("{} changes of registrations were not stored: the database is too slow, or away", self.lost);
            }
        }
    }
}

async fn write(mut waiting: mpsc::Receiver<RegistrationChange>, store: &Store) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    let mut failing = false;
    while waiting.recv_many(&mut batch, BATCH_MAX).await > 0 {
        match store.change_registrations(&batch).await {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                warn!("registrations are not stored until the database takes them again: {error:#}");
                failing = true;
            }
            Err(_) => {}
        }
        batch.clear();
    }
}
