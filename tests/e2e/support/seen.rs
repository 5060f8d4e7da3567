//! What an operator sees on the admin port.

use http::StatusCode;
use serde_json::Value;

use super::client::{Answer, Dial};
use super::gateway::{TestGateway, wait_until};

/// The admin port of a gateway.
pub struct Seen(Dial);

impl Seen {
    pub fn of(gateway: &TestGateway) -> Self {
        Self(Dial::plain(gateway.admin()))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.0.get(path, &[]).await
    }

    pub async fn json(&self, path: &str) -> Value {
        self.get(path).await.json()
    }

    pub async fn revision(&self) -> String {
        self.json("/config").await["revision"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// `published`, `unchanged` or `kept`.
    pub async fn last_outcome(&self) -> String {
        self.json("/config").await["last_reload"]["outcome"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub async fn is_ready(&self) -> bool {
        self.get("/readyz").await.status == StatusCode::OK
    }

    pub async fn metrics(&self) -> String {
        let answer = self.get("/metrics").await;
        assert_eq!(answer.status, StatusCode::OK);
        String::from_utf8(answer.body.to_vec()).unwrap()
    }

    /// The sum of every sample of a metric whose labels contain all of `labels`, as in `route="orders"`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.metrics().await;
        let samples = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let is_it = rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label));
            is_it.then(|| rest.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        });
        samples.sum()
    }

    /// Waits until another revision serves, and gives it.
    pub async fn revision_after(&self, previous: &str) -> String {
        wait_until("the next revision", || async {
            let now = self.revision().await;
            (now != previous).then_some(now)
        })
        .await
    }

    /// Waits for an endpoint's state.
    pub async fn endpoint_state(&self, address: std::net::SocketAddr, state: &str) {
        wait_until(&format!("{address} to be {state}"), || async {
            let pools = self.json("/pools").await;
            let mut endpoints = pools["pools"]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(|pool| pool["endpoints"].as_array().unwrap());
            endpoints
                .any(|one| one["address"] == address.to_string() && one["state"] == state)
                .then_some(())
        })
        .await;
    }
}
