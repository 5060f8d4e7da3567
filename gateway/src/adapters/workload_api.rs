//! The SPIFFE Workload API: our X.509-SVID and every bundle, published on the board as they rotate.
//!
//! Start-up never waits for the agent, and an agent that goes away takes nothing with it: the last delivery stays.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portcullis_identity::{IdentityFault, Svid, WorkloadBoard, WorkloadIdentity};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use spiffe::{X509Context, X509Source, X509SourceBuilder};
use tracing::{error, info, warn};

use crate::output::chain;

/// Between attempts of the source itself: the agent is a local socket, and one that is back is noticed within 5 s.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(2));
/// Between new sources, after one ended for good.
const START_AGAIN: Duration = Duration::from_secs(1);
/// After which an agent that has not delivered is worth a line in the log.
const FIRST_DELIVERY: Duration = Duration::from_secs(10);

/// Follows the agent at `endpoint` (as in `unix:///run/spire/agent.sock`) until the task is dropped.
pub async fn follow(endpoint: String, board: Arc<WorkloadBoard>) {
    loop {
        match source(&endpoint).await {
            Ok(source) => publish_every_update(&source, &board).await,
            Err(fault) => {
                warn!(%endpoint, error = %chain(&fault), "workload API not usable yet, trying again")
            }
        }
        tokio::time::sleep(START_AGAIN).await;
    }
}

async fn source(endpoint: &str) -> Result<X509Source, spiffe::X509SourceError> {
    X509SourceBuilder::new()
        .endpoint(endpoint)
        .reconnect_backoff(RECONNECT.0, RECONNECT.1)
        .initial_sync_timeout(FIRST_DELIVERY)
        .build()
        .await
}

async fn publish_every_update(source: &X509Source, board: &WorkloadBoard) {
    let mut updates = source.updated();
    loop {
        match source.x509_context() {
            Ok(context) => publish(&context, board),
            Err(fault) => warn!(error = %chain(&fault), "workload API has no identity for us now"),
        }
        if updates.changed().await.is_err() {
            warn!("workload API source ended, starting it again");
            return;
        }
    }
}

fn publish(context: &X509Context, board: &WorkloadBoard) {
    let delivery = delivery(context);
    let id = delivery.svid.as_ref().map(|svid| svid.spiffe_id.to_string());
    let bundles = delivery.bundles.len();
    match board.publish(delivery) {
        Ok(generation) => {
            info!(
                spiffe_id = id.as_deref().unwrap_or("none"),
                bundles, generation, "workload identity received"
            );
        }
        Err(fault) => report(&fault),
    }
}

fn report(fault: &IdentityFault) {
    error!(error = %chain(fault), "workload identity refused, keeping the previous one");
}

fn delivery(context: &X509Context) -> WorkloadIdentity {
    let svid = context.default_svid().map(|svid| Svid {
        chain: svid
            .cert_chain()
            .iter()
            .map(|part| CertificateDer::from(part.as_bytes().to_vec()))
            .collect(),
        key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(svid.private_key().as_bytes().to_vec())),
        spiffe_id: svid.spiffe_id().clone(),
    });
    let bundles: BTreeMap<_, _> = context
        .bundle_set()
        .iter()
        .map(|(domain, bundle)| {
            let anchors = bundle
                .authorities()
                .iter()
                .map(|one| CertificateDer::from(one.as_bytes().to_vec()));
            (domain.clone(), anchors.collect())
        })
        .collect();
    WorkloadIdentity { svid, bundles }
}
