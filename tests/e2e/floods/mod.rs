//! One client that costs as much as many: its connection ends, a counter says so, and the client beside it is served.

mod frames;
mod handshakes;
mod heads;
mod pieces;
mod slow;

use crate::support::house::LISTENERS;
use crate::support::process::resident;
use crate::support::{Behaviour, Client, Endpoint, House, Seen, wait_until};

/// HTTP/2 connections that the gateway ended, by cause.
const ENDED: &str = "portcullis_h2_connections_ended_total";
/// What one connection may cost, in KiB.
const BOUND: u64 = 64 * 1024;

/// A gateway under attack, its endpoint, and a good client that was there before.
struct Siege {
    house: House,
    endpoint: Endpoint,
    seen: Seen,
    good: Client,
    resident: u64,
}

impl Siege {
    async fn begin() -> Self {
        Self::begin_with(LISTENERS).await
    }

    async fn begin_with(listeners: &str) -> Self {
        Self::begin_beside(listeners, "", "").await
    }

    /// The same with another pool and another route, each a line of YAML.
    async fn begin_beside(listeners: &str, pool: &str, route: &str) -> Self {
        let endpoint = Endpoint::start("one").await;
        let house = House::open(&format!(
            r#"{listeners}
pools:
  main: {{ endpoints: [{{ address: "{}" }}] }}
  {pool}
routes:
  {route}
  - {{ name: open, match: {{ path: "/open/**" }}, public: true, pool: main, timeouts: {{ idle: 2s }} }}
  - {{ name: pong, match: {{ path: /pong }}, public: true, respond: {{ status: 200, body: pong }} }}
"#,
            endpoint.address
        ));
        let seen = Seen::of(&house.gateway);
        let mut good = house.h2().connect().await.unwrap();
        for _ in 0..20 {
            assert_served(&mut good).await;
        }
        let resident = resident(house.gateway.pid());
        Self {
            house,
            endpoint,
            seen,
            good,
            resident,
        }
    }

    /// Connections that were ended for one of these causes.
    async fn ended(&self, causes: &[&str]) -> f64 {
        let mut sum = 0.0;
        for cause in causes {
            sum += self.seen.metric(ENDED, &[&format!("cause=\"{cause}\"")]).await;
        }
        sum
    }

    /// The flooder's connection is counted under one of these causes.
    async fn assert_counted(&self, causes: &[&str]) {
        wait_until("a counter to move", || async {
            (self.ended(causes).await >= 1.0).then_some(())
        })
        .await;
    }

    /// The good client is served on its old connection and on new ones, and the memory is in bounds.
    async fn assert_good_is_served(&mut self) {
        self.endpoint.behave(Behaviour::Answer);
        assert_served(&mut self.good).await;
        let mut fresh = self.house.h2().connect().await.unwrap();
        assert_served(&mut fresh).await;
        self.assert_bounded();
    }

    fn assert_bounded(&self) {
        let now = resident(self.house.gateway.pid());
        assert!(
            now < self.resident + BOUND,
            "{} KiB became {now} KiB",
            self.resident
        );
    }
}

async fn assert_served(client: &mut Client) {
    for target in ["/open/good", "/pong"] {
        let answer = client.send(http::Method::GET, target, &[], b"").await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}
