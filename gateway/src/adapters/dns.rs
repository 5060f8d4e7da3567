//! Names of endpoints to addresses, by the system's resolver; the board keeps the last good answer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use portcullis_routing::AddressBoard;
use thiserror::Error;
use tokio::time::timeout;
use tracing::warn;

use crate::output::chain;

/// For one name: an answer that takes longer is a failure, and the last good one stands.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a name has no new addresses.
#[derive(Debug, Error)]
enum DnsFault {
    #[error("the resolver failed")]
    Lookup(#[source] std::io::Error),
    #[error("no answer within 3 s")]
    Silence,
}

/// Asks for every name once and writes each answer, or its absence, on the board.
pub async fn resolve_all(names: &[(Arc<str>, u16)], board: &AddressBoard) {
    join_all(names.iter().map(|(host, port)| resolve(host, *port, board))).await;
}

async fn resolve(host: &str, port: u16, board: &AddressBoard) {
    match lookup(host, port).await {
        Ok(addresses) => board.publish(host, port, &addresses),
        Err(fault) => {
            let text = chain(&fault);
            match board.addresses(host, port).len() {
                0 => warn!(host, error = %text, "cannot resolve, and there is no earlier answer"),
                addresses => warn!(host, addresses, error = %text, "cannot resolve, keeping the last answer"),
            }
            board.record_failure(host, port, &text);
        }
    }
}

async fn lookup(host: &str, port: u16) -> Result<Vec<IpAddr>, DnsFault> {
    let answer = timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host, port)))
        .await
        .map_err(|_| DnsFault::Silence)?
        .map_err(DnsFault::Lookup)?;
    Ok(answer.map(|address| address.ip()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_and_a_failure_both_reach_the_board() {
        let board = AddressBoard::new();
        let names = [
            (Arc::from("localhost"), 80),
            (Arc::from("no-such-host.invalid"), 80),
        ];

        resolve_all(&names, &board).await;

        assert!(
            board
                .addresses("localhost", 80)
                .iter()
                .all(|address| address.ip().is_loopback())
        );
        assert!(board.addresses("no-such-host.invalid", 80).is_empty());
        let failed = board
            .snapshot()
            .into_iter()
            .find(|(host, ..)| &**host == "no-such-host.invalid")
            .unwrap();
        assert!(failed.2.error.is_some());
    }
}
