//! What lives on relies on its endpoint too: one that would not be believed today gets nothing more.

use serde_json::json;

use super::{KINDS, Kind, Live, Source, write};
use crate::denials::serial;
use crate::support::house::{HOST, LISTENERS};
use crate::support::{Authority, Behaviour, Dial, Endpoint, House, Seen, wait_until};

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

/// The request of one whose pool was removed: no configuration says any more whom to expect there.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_whose_pool_was_removed_is_still_judged_by_what_its_connection_was_made_by() {
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let leaf = first.leaf(&["one.internal"], None);
    let gone = Source::start_tls(&leaf).await;
    let good = Source::start_tls(&second.leaf(&["one.internal"], None)).await;
    let sections = "revocation: { deny_list: deny.json }\n";
    let text = format!("{sections}{}", text([("gone", &gone), ("good", &good)]));
    let house = House::open_with(&text, |folder, _| {
        write(&folder.join("gone.pem"), &first.pem);
        write(&folder.join("good.pem"), &second.pem);
        write(&folder.join("deny.json"), "[]");
    });
    let seen = Seen::of(&house.gateway);
    let dial = Dial::tls(house.gateway.address("public"), HOST, house.edge.roots(), None);
    let mut doomed = Live::open(Kind::Events, &dial, "gone", None).await;
    let mut neighbour = Live::open(Kind::Events, &dial, "good", None).await;
    let id = doomed.request_id.clone();

    let before = seen.revision().await;
    let file = std::fs::read_to_string(house.gateway.path("portcullis.yaml")).unwrap();
    let without: Vec<String> = file
        .lines()
        .filter(|line| !line.contains("-gone: {"))
        .map(|line| match line.split_once(", pool: ") {
            Some((route, pool)) => format!("{route}, pool: {}", pool.replace("-gone", "-good")),
            None => line.to_owned(),
        })
        .collect();
    house.gateway.configure(&format!("{}\n", without.join("\n")));
    seen.revision_after(&before).await;
    doomed.lives(&gone).await;

    let denied = json!([{ "serial": serial(&leaf) }]);
    write(&house.gateway.path("deny.json"), &denied.to_string());

    assert_eq!(
        doomed.end().await,
        Kind::Events.ended("endpoint-identity", 1012, "14")
    );
    assert_eq!(house.gateway.access_line(&id)["reason"], "endpoint-identity");
    neighbour.lives(&good).await;
}

/// What one attempt's endpoint proved says nothing about the next one's.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_after_a_reload_sends_nothing_to_an_endpoint_that_is_trusted_no_longer() {
    for trusts_both in [true, false] {
        let authorities = [Authority::new("first"), Authority::new("second")];
        let mut endpoints = Vec::new();
        for authority in &authorities {
            let leaf = authority.leaf(&["one.internal"], None);
            let endpoint = Endpoint::start_tls("one", &leaf, None).await;
            endpoint.behave(Behaviour::Hang);
            endpoints.push(endpoint);
        }
        let text = format!(
            "{LISTENERS}pools:\n  main: {{ endpoints: [{{ address: \"{}\" }}, {{ address: \"{}\" }}], tls: {{ server_name: one.internal, ca: ca.pem }} }}\nroutes:\n  - {{ name: open, match: {{ path: \"/open/**\" }}, public: true, pool: main }}\n",
            endpoints[0].address, endpoints[1].address
        );
        let both = format!("{}{}", authorities[0].pem, authorities[1].pem);
        let house = House::open_with(&text, |folder, _| write(&folder.join("ca.pem"), &both));
        let seen = Seen::of(&house.gateway);
        let dial = house.plain();
        let asked = tokio::spawn(async move { dial.get("/open/x", &[]).await });
        let at = wait_until("the first attempt", || async {
            endpoints.iter().position(|endpoint| endpoint.requests() == 1)
        })
        .await;
        wait_until("the request to be watched", || async {
            (seen.metric("portcullis_leases_live", &[]).await == 1.0).then_some(())
        })
        .await;

        let before = seen.revision().await;
        let trusted = match trusts_both {
            true => format!("{}{}", authorities[1].pem, authorities[0].pem),
            false => authorities[at].pem.clone(),
        };
        write(&house.gateway.path("ca.pem"), &trusted);
        seen.revision_after(&before).await;
        let other = &endpoints[1 - at];
        other.behave(Behaviour::Answer);
        endpoints[at].stop();

        let answer = asked.await.unwrap();
        if trusts_both {
            assert_eq!((answer.status.as_u16(), other.requests()), (200, 1));
        } else {
            house.assert_refused(&answer, 502, "endpoint-identity");
            assert_eq!(other.requests(), 0);
        }
    }
}
