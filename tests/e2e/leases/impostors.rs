//! What lives on relies on its endpoint too: one that would not be believed today gets nothing more.

use serde_json::json;

use super::{KINDS, Live, Source, write};
use crate::support::house::{HOST, LISTENERS};
use crate::support::{Authority, Dial, House, Seen};

fn text(sources: [(&str, &Source); 2]) -> String {
    let (mut pools, mut routes) = (String::new(), String::new());
    for (who, source) in sources {
        for (pool, address, more, protocol) in [
            ("socket", source.socket, ", upgrade: [websocket]", "auto"),
            ("http", source.http, "", "auto"),
            ("grpc", source.http, "", "h2"),
        ] {
            pools.push_str(&format!(
                "  {pool}-{who}: {{ protocol: {protocol}, endpoints: [{{ address: \"{address}\" }}], tls: {{ server_name: one.internal, ca: {who}.pem }} }}\n"
            ));
            routes.push_str(&format!(
                "  - {{ name: {pool}-{who}, match: {{ path: \"/{pool}/{who}/**\" }}, public: true, pool: {pool}-{who}{more} }}\n"
            ));
        }
    }
    format!("{LISTENERS}pools:\n{pools}routes:\n{routes}")
}

async fn open(house: &House, who: &str) -> Vec<Live> {
    let (address, roots) = (house.gateway.address("public"), house.edge.roots());
    let mut all = Vec::new();
    for kind in KINDS {
        let dial = if kind.is_h2() {
            Dial::h2(address, HOST, roots.clone(), None)
        } else {
            Dial::tls(address, HOST, roots.clone(), None)
        };
        all.push(Live::open(kind, &dial, who, None).await);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_no_longer_trusted_gets_nothing_more_of_what_lives() {
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let bad = Source::start_tls(&first.leaf(&["one.internal"], None)).await;
    let good = Source::start_tls(&second.leaf(&["one.internal"], None)).await;
    let house = House::open_with(&text([("bad", &bad), ("good", &good)]), |folder, _| {
        write(&folder.join("bad.pem"), &first.pem);
        write(&folder.join("good.pem"), &second.pem);
    });
    let doomed = open(&house, "bad").await;
    let mut neighbours = open(&house, "good").await;

    write(&house.gateway.path("bad.pem"), &second.pem);

    for one in doomed {
        let (kind, id) = (one.kind, one.request_id.clone());
        assert_eq!(
            one.end().await,
            kind.ended("endpoint-identity", 1012, "14"),
            "{kind:?}"
        );
        let line = house.gateway.access_line(&id);
        assert_eq!(
            (&line["reason"], &line["ending"]),
            (&json!("endpoint-identity"), &json!("lease-ended")),
            "{line}"
        );
    }
    for one in &mut neighbours {
        one.lives(&good).await;
    }
    let labels = ["reason=\"endpoint-identity\""];
    let ended = Seen::of(&house.gateway)
        .metric("portcullis_leases_ended_total", &labels)
        .await;
    assert_eq!(ended, KINDS.len() as f64);
}
