//! The revocation lists that the running gateway has and a command does not: fetched as `run` fetches them.

use std::time::{Duration, SystemTime};

use portcullis_identity::CrlStatus;
use thiserror::Error;
use tokio::time::{interval, timeout};

use crate::adapters::http_fetch::{ClientFault, HttpFetch};
use crate::app::egress_rules;
use crate::configuration::Rehearsal;
use rustls::pki_types::CertificateDer;

/// For all lists together: each has a bound of its own that is longer than people wait.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between looks at whether they are there.
const LOOK: Duration = Duration::from_millis(20);

/// Why nothing can be fetched at all.
#[derive(Debug, Error)]
pub(super) enum ListsFault {
    #[error(transparent)]
    Client(#[from] ClientFault),
    #[error("cannot start a runtime")]
    Runtime(#[source] std::io::Error),
}

/// What is not part of the configuration: lists behind URLs.
fn missing(rehearsal: &Rehearsal) -> Vec<CrlStatus> {
    let lists = rehearsal.boards.identity.crls.status();
    lists.into_iter().filter(|list| !list.was_tried).collect()
}

/// The lists that would be fetched, by name.
pub(in crate::commands) fn wanted(rehearsal: &Rehearsal) -> Vec<String> {
    missing(rehearsal).into_iter().map(|list| list.name).collect()
}

/// Fetches what judging this chain needs, and says of each list what came of it.
pub(super) fn fetch(
    rehearsal: &Rehearsal,
    chain: &[CertificateDer<'_>],
    at: SystemTime,
) -> Result<Vec<String>, ListsFault> {
    // Lists that certificates name are wanted once one of these certificates was judged.
    let _ = rehearsal.snapshot.identity.examine_certificate(chain, at);
    let names = wanted(rehearsal);
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let client = HttpFetch::new(egress_rules(&rehearsal.snapshot.plan, &rehearsal.boot))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ListsFault::Runtime)?;
    runtime.block_on(async {
        let arrived = async {
            let mut looks = interval(LOOK);
            while !missing(rehearsal).is_empty() {
                looks.tick().await;
            }
        };
        tokio::select! {
            () = rehearsal.boards.identity.crls.keep_fresh(&client) => {}
            // What has not come by then is said to be missing below.
            _ = timeout(PATIENCE, arrived) => {}
        }
    });
    let told = rehearsal.boards.identity.crls.status().into_iter();
    let told = told.filter(|list| names.contains(&list.name)).map(|list| {
        let outcome = match (list.last_fault, list.this_update) {
            (Some(fault), _) => fault,
            (None, Some(_)) => format!("{} revoked", list.revoked),
            (None, None) => "no answer in time".to_owned(),
        };
        format!("revocation list {}: {outcome}", list.name)
    });
    Ok(told.collect())
}
