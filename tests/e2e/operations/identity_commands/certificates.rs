//! What `cert` and `cert list` say of certificates.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{ExtendedKeyUsagePurpose, SanType};
use serde_json::{Value, json};

use super::{DAY, HOUR, House, claims, configuration, failed, folder_like};
use crate::operations::commands::{Ended, portcullis};
use crate::support::lists::{Lists, list, overdue};
use crate::support::pki::seconds;
use crate::support::{Authority, Dial, Leaf, Seen, TestGateway, configure, folder};

/// Chains, with the check that each fails; none for the good one.
fn chains(house: &House) -> Vec<(Option<&'static str>, Leaf)> {
    let authority = &house.authority;
    let uri = |id: &str| SanType::URI(id.try_into().unwrap());
    let web = "spiffe://corp.example/web";
    vec![
        (None, authority.leaf(&[], Some(web))),
        (Some("workload"), authority.leaf(&["web.corp.example"], None)),
        (
            Some("workload"),
            authority.leaf_with(vec![uri(web), uri("spiffe://corp.example/b")]),
        ),
        (
            Some("workload"),
            authority.leaf(&[], Some("spiffe://CORP.example/web")),
        ),
        (
            Some("domain"),
            authority.leaf(&[], Some("spiffe://other.example/web")),
        ),
        (Some("chain"), Authority::new("strangers").leaf(&[], Some(web))),
        (Some("revocation"), house.revoked.clone()),
        (
            Some("deny-list"),
            authority.leaf(&[], Some("spiffe://corp.example/denied")),
        ),
        (
            Some("purpose"),
            authority.leaf_shaped(vec![uri(web)], |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            }),
        ),
        (
            Some("validity"),
            authority.leaf_shaped(vec![uri(web)], |params| {
                params.not_after = rcgen::date_time_ymd(2020, 1, 1);
            }),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn cert_says_of_every_chain_what_the_running_gateway_does_with_it() {
    let house = House::new();
    let gateway = TestGateway::start(folder_like(&house.folder));
    for (check, leaf) in chains(&house) {
        let (address, roots) = (gateway.address("public"), house.authority.roots());
        let dial = Dial::tls(address, "api.example.com", roots, Some(&leaf));
        let said = house.cert(&leaf.chain_pem, &["--format", "json"]);

        let view = said.json();
        let trust = &view["trusts"][0];
        match check {
            None => {
                let answer = dial.get("/certificates", &[]).await;
                assert_eq!((answer.status.as_u16(), said.code), (204, Some(0)), "{view:#}");
                assert_eq!(view["certificates"][0]["spiffe_id"], "spiffe://corp.example/web");
                assert_eq!(view["routes"][0]["accepted_by"], "mesh");
            }
            Some(check) => {
                assert_eq!(said.code, Some(1), "{check}: {view:#}");
                assert_eq!(failed(&trust["checks"])[0], check, "{view:#}");
                assert_eq!(view["routes"][0]["accepted_by"], Value::Null, "{check}");
            }
        }
        // With TLS 1.3 a client learns of the refusal when it reads.
        let is_let_in = match dial.connect().await {
            Ok(mut client) => client
                .send(http::Method::GET, "/certificates", &[], b"")
                .await
                .is_ok(),
            Err(_) => false,
        };
        assert_eq!(trust["passes_handshake"], is_let_in, "{check:?}: {view:#}");
        let accepted = view["listeners"][0]["accepted_by"].as_array().unwrap().len();
        assert_eq!(accepted == 1, is_let_in, "{check:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cert_fetches_lists_as_run_does_and_knows_a_late_one() {
    let (house, lists) = (House::new(), Lists::start().await);
    let good = house.authority.leaf(&[], Some("spiffe://corp.example/web"));
    lists.serve("/a.crl", &list(&house.authority, &[&house.revoked], HOUR));
    lists.serve("/late.crl", &overdue(&house.authority, &[]));
    let with = |path: &str| {
        let text =
            configuration("{ file: jwks.json }").replace("clients.crl", &format!("\"{}\"", lists.url(path)));
        configure(house.folder.path(), &text);
    };
    let reason = |ended: &Ended| ended.json()["trusts"][0]["reason"].clone();

    with("/a.crl");
    let fetched = house.cert(&good.chain_pem, &["--format", "json"]);
    let revoked = house.cert(&house.revoked.chain_pem, &["--format", "json"]);
    let offline = house.cert(&good.chain_pem, &["--offline", "--format", "json"]);
    with("/late.crl");
    let late = house.cert(&good.chain_pem, &["--format", "json"]);
    with("/nowhere.crl");
    let missing = house.cert(&good.chain_pem, &["--format", "json"]);

    assert_eq!(
        (fetched.code, revoked.code),
        (Some(0), Some(1)),
        "{}{}",
        fetched.out,
        fetched.err
    );
    assert_eq!(reason(&revoked), "certificate-revoked");
    assert!(
        fetched.json()["fetched"][0]
            .as_str()
            .unwrap()
            .contains("1 revoked"),
        "{}",
        fetched.out
    );
    assert_eq!(offline.json()["verdict"], "not judged");
    assert_eq!(offline.json()["trusts"][0]["passes_handshake"], Value::Null);
    for (unknown, why, code) in [
        // Nobody asked for the list, so nothing is known of what a gateway would say.
        (&offline, "would_have_fetched", 2),
        (&late, "fetched", 1),
        (&missing, "fetched", 1),
    ] {
        assert_eq!(
            (unknown.code, reason(unknown)),
            (Some(code), json!("certificate-status-unknown")),
            "{}",
            unknown.out
        );
        assert!(
            unknown.json()[why][0].as_str().unwrap().contains(".crl"),
            "{}",
            unknown.out
        );
    }
    assert!(
        missing.json()["fetched"][0].as_str().unwrap().contains("404"),
        "{}",
        missing.out
    );
}

#[test]
fn explain_tells_a_new_connection_from_one_that_is_open() {
    let house = House::new();
    fs::write(house.folder.path().join("revoked.pem"), &house.revoked.chain_pem).unwrap();
    let good = house.authority.leaf(&[], Some("spiffe://corp.example/web"));
    fs::write(house.folder.path().join("good.pem"), &good.chain_pem).unwrap();
    let explain = |file: &str, format: &str| {
        let url = "https://api.example.com/certificates";
        house.run(&[
            "explain", "request", "GET", url, "--cert", file, "--format", format,
        ])
    };

    let revoked = explain("revoked.pem", "text");
    let json = explain("revoked.pem", "json").json();
    let served = explain("good.pem", "text");

    assert_eq!((revoked.code, served.code), (Some(1), Some(0)), "{}", served.out);
    for words in [
        "TLS alert",
        "On a connection that is open already the client gets 401",
    ] {
        assert!(revoked.out.contains(words), "{words}: {}", revoked.out);
        assert!(!served.out.contains(words), "{words}: {}", served.out);
    }
    assert_eq!(json["handshake"], "refused");
    let steps = json["steps"].as_array().unwrap().iter();
    let missed: Vec<&str> = steps
        .filter(|step| step["detail"] == "not reached")
        .filter_map(|step| step["stage"].as_str())
        .take(3)
        .collect();
    assert_eq!(missed, ["normalize", "shed", "match_route"], "{json:#}");
    assert!(served.out.contains("The client gets 204"), "{}", served.out);
}

#[test]
fn a_bundle_and_keys_of_a_workload_api_are_not_known_here_and_no_command_says_refused() {
    let house = House::new();
    let text = configuration("{ file: jwks.json }")
        .replace(
            "gateway: {",
            "gateway: { workload_api: \"unix:///nowhere/agent.sock\",",
        )
        .replace(
            "{ spiffe: corp.example, pem: clients.pem, crl: [clients.crl] }",
            "{ spiffe: corp.example }",
        )
        .replace(
            "issuers:\n",
            "issuers:\n  mesh: { spiffe: corp.example, audiences: [api] }\n",
        )
        .replace("[{ jwt: idp }]", "[{ jwt: idp }, { jwt: mesh }]");
    configure(house.folder.path(), &text);
    let good = house.authority.leaf(&[], Some("spiffe://corp.example/web"));
    let other = house.authority.leaf(&[], Some("spiffe://other.example/web"));
    let mut workload = claims(json!({ "sub": "spiffe://corp.example/web" }));
    workload.as_object_mut().unwrap().remove("iss");
    let svid = house.issuer.sign(&workload);

    let refused = house.cert(&other.chain_pem, &["--format", "json"]);
    let cert = house.cert(&good.chain_pem, &[]);
    let url = "https://api.example.com/certificates";
    let explained = house.run(&["explain", "request", "GET", url, "--cert", "shown.pem"]);
    let token = house.token(&svid, &[]);
    let url = "https://api.example.com/tokens";
    let tokened = house.run(&["explain", "request", "GET", url, "--token", "token.jwt"]);

    assert_eq!(refused.code, Some(1), "{}{}", refused.out, refused.err);
    for (said, check) in [
        (&cert, "not known here  chain"),
        (&explained, "not known here  chain"),
        (&token, "not known here  keys"),
        (&tokened, "not known here  keys"),
    ] {
        assert_eq!(said.code, Some(2), "{check}: {}{}", said.out, said.err);
        for words in [check, "Not judged", "--admin URL", "Workload API"] {
            assert!(said.out.contains(words), "{words}: {}", said.out);
        }
        assert!(!said.out.contains("Refused"), "{}", said.out);
    }
}

#[test]
fn cert_reads_der_and_says_what_a_certificate_is_without_a_configuration() {
    let (house, elsewhere) = (House::new(), folder());
    let leaf = house
        .authority
        .leaf(&["web.corp.example"], Some("spiffe://corp.example/web"));
    fs::write(elsewhere.path().join("leaf.der"), &leaf.chain()[0]).unwrap();
    fs::write(elsewhere.path().join("nothing.pem"), "nothing").unwrap();

    let told = portcullis(elsewhere.path(), &["cert", "leaf.der"]);
    let nothing = portcullis(elsewhere.path(), &["cert", "nothing.pem"]);

    assert!(
        told.out.contains("spiffe://corp.example/web") && told.out.contains("clientAuth"),
        "{}",
        told.out
    );
    if !Path::new("/etc/portcullis").exists() {
        assert_eq!(told.code, Some(2), "not judged");
    }
    assert!(
        nothing.code == Some(2) && nothing.err.contains("holds no certificate"),
        "{}",
        nothing.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cert_list_puts_what_ends_first_on_top_and_the_admin_port_says_the_same() {
    let house = House::new();
    let short = house.authority.leaf_shaped(
        vec![SanType::DnsName("api.example.com".try_into().unwrap())],
        |params| params.not_after = (SystemTime::now() + Duration::from_secs(10 * DAY)).into(),
    );
    short.write(house.folder.path(), "server");

    let month = house.run(&["cert", "list", "--format", "json"]);
    let week = house.run(&["cert", "list", "--warn-within", "7d"]);

    assert_eq!(
        (month.code, week.code),
        (Some(1), Some(0)),
        "{}{}",
        month.out,
        week.err
    );
    let view = month.json();
    let holdings = view["holdings"].as_array().unwrap();
    let first = &holdings[1];
    assert_eq!(
        (&first["kind"], &first["state"]),
        (&json!("certificate"), &json!("soon")),
        "{view:#}"
    );
    assert_eq!(first["used_by"], "listener public");
    let kinds: Vec<&str> = holdings.iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["crl", "certificate", "anchor", "key-set"]);
    assert!(
        week.out.contains("in 9 d") && week.out.contains("DNS:api.example.com"),
        "{}",
        week.out
    );

    let gateway = TestGateway::start(folder_like(&house.folder));
    let admin = format!("http://{}", gateway.admin());
    let live =
        tokio::task::block_in_place(|| house.run(&["cert", "list", "--admin", &admin, "--format", "json"]));
    let seen = Seen::of(&gateway);

    assert_eq!(live.code, Some(1), "{}", live.err);
    let live = live.json();
    assert_eq!(live["holdings"][1]["sha256"], first["sha256"]);
    assert_eq!(live["issuers"][0]["keys"], 1);
    assert_eq!(live["holdings"], {
        let mut shown = seen.json("/identity").await["holdings"].clone();
        for (one, said) in shown
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .zip(live["holdings"].as_array().unwrap())
        {
            one["state"] = said["state"].clone();
            one["ends_in_seconds"] = said["ends_in_seconds"].clone();
        }
        shown
    });
    let name = "portcullis_identity_certificate_expiry_timestamp_seconds";
    let ends = seen.metric(name, &[r#"certificate="api.example.com""#]).await;
    let left = ends - seconds(SystemTime::now()) as f64;
    assert!((9.9..10.1).contains(&(left / DAY as f64)), "{left}");
    assert!(seen.metric(name, &[r#"certificate="trust mesh""#]).await > ends);
}

#[tokio::test(flavor = "multi_thread")]
async fn cert_list_calls_what_never_arrived_missing_and_without_a_gateway_not_loaded() {
    let house = House::new();
    // Nobody listens on the port of discarded bytes.
    let text = configuration(r#"{ url: "http://127.0.0.1:9/jwks" }"#)
        .replace("clients.crl", r#""http://127.0.0.1:9/a.crl""#);
    configure(house.folder.path(), &text);
    let gateway = TestGateway::start(folder_like(&house.folder));
    let admin = format!("http://{}", gateway.admin());
    let state = |ended: &Ended, kind: &str| {
        let view = ended.json();
        let mut holdings = view["holdings"].as_array().unwrap().iter();
        holdings.find(|one| one["kind"] == kind).unwrap()["state"].clone()
    };

    let asked = ["cert", "list", "--warn-within", "1h", "--format", "json"];
    let read = house.run(&asked);
    let live = tokio::task::block_in_place(|| house.run(&[&asked[..], &["--admin", &admin]].concat()));

    for (ended, code, word) in [(&read, 0, "not loaded"), (&live, 1, "missing")] {
        assert_eq!(ended.code, Some(code), "{}{}", ended.out, ended.err);
        for kind in ["crl", "key-set"] {
            assert_eq!(state(ended, kind), word, "{kind}: {}", ended.out);
        }
    }
}

#[test]
fn cert_list_says_what_it_cannot_list() {
    let house = House::new();
    fs::remove_file(house.folder.path().join("server.key")).unwrap();

    let listed = house.run(&["cert", "list"]);

    assert!(
        listed.err.contains("not listed") && listed.err.contains("server.key"),
        "{}",
        listed.err
    );
    assert!(!listed.out.contains("listener public"), "{}", listed.out);
}
