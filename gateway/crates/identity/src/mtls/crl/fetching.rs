//! One fetch of a list, from the question to what is told of the answer.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use super::arrival::{Arrival, read_beside};
use super::board::{CrlBoard, CrlFetch};
use super::fault::CrlFault;
use super::slot::{CrlSlot, Place};
use crate::jwt::FetchFault;

/// Time for one fetch; the adapter's own bounds are tighter.
const FETCH_LIMIT: Duration = Duration::from_secs(60);

/// Why a list did not arrive.
#[derive(Debug, thiserror::Error)]
enum ArrivalFault {
    #[error("cannot fetch it: {0}")]
    Fetch(#[from] FetchFault),
    #[error("cannot use it: {0}")]
    List(#[from] CrlFault),
    #[error("fetching or reading it panicked")]
    Panicked,
}

impl CrlBoard {
    /// Fetches and installs.
    pub(super) async fn load(&self, slot: Arc<CrlSlot>, fetch: &dyn CrlFetch) {
        // A fetch that panics is one that failed; the other lists go on.
        let arrived = AssertUnwindSafe(self.arrive(&slot, fetch)).catch_unwind().await;
        let outcome = match arrived.unwrap_or(Err(ArrivalFault::Panicked)) {
            Ok(arrival) => self.take(&slot, arrival),
            Err(fault) => {
                if slot.fail(fault.to_string()) {
                    warn!(
                        list = slot.address(), error = %fault,
                        "no new revocation list, the present one stays until it ends"
                    );
                }
                match fault {
                    ArrivalFault::Fetch(FetchFault::Refused(_)) => "refused",
                    ArrivalFault::Fetch(_) | ArrivalFault::Panicked => "failed",
                    ArrivalFault::List(_) => "unusable",
                }
            }
        };
        let fetches = &self.metrics.crls.fetches;
        fetches.with_label_values(&[slot.name(), outcome]).inc();
    }

    async fn arrive(&self, slot: &Arc<CrlSlot>, fetch: &dyn CrlFetch) -> Result<Arrival, ArrivalFault> {
        let Place::Url(url, named_by) = &slot.place else {
            return Ok(Arrival::default());
        };
        let fetched = tokio::time::timeout(FETCH_LIMIT, fetch.fetch_list(url, *named_by)).await;
        let document = fetched.unwrap_or(Err(FetchFault::Timeout))?;
        if slot.holds(&document) {
            return Ok(Arrival::default());
        }
        // Megabytes are read and hashed where no request waits for it.
        let present = slot.loaded();
        let read = spawn_blocking(move || {
            let held = present.as_ref().map_or(&[][..], |present| &present.lists);
            read_beside(held, &document).map(|lists| (document, lists))
        });
        let (document, lists) = read.await.map_err(|_| ArrivalFault::Panicked)??;
        let (room, wall) = (self.room_for(slot), self.clock.wall());
        Ok(slot.install(document, lists, room, wall, || self.workload.next_generation()))
    }

    /// Tells what became of a document, and returns it as a word.
    fn take(&self, slot: &CrlSlot, arrival: Arrival) -> &'static str {
        let Arrival {
            is_changed,
            older,
            beyond,
        } = arrival;
        let fault = (beyond > 0).then(|| format!("there is no room for {beyond} of its lists"));
        if slot.succeed(fault) {
            warn!(
                list = slot.address(),
                beyond, "no room for some of its revocation lists"
            );
        }
        if older > 0 {
            warn!(
                list = slot.address(),
                older, "a revocation list is older than the one held, which stays"
            );
        }
        if is_changed {
            info!(list = slot.address(), lists = slot.len(), "new revocation list");
            self.publish(slot);
        }
        match (beyond, is_changed, older) {
            (1.., ..) => "too-many",
            (0, true, _) => "changed",
            (0, false, 1..) => "older",
            (0, false, 0) => "unchanged",
        }
    }
}
