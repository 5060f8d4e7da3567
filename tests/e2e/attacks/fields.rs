//! Fields: what is said about the client is said by the gateway, and every value is seen.

use serde_json::json;

use crate::support::house::{CONTRACT, HOST, LISTENERS};
use crate::support::pki::write;
use crate::support::{Endpoint, House, RawConnection};

const ROLES: &str = r#"
package roles

# Any value that is not "guest" is refused: a policy that sees only the first one would let the second pass.
decision := {"allow": count(bad) == 0, "reason": "not a guest"}

bad contains value if {
    some value in input.request.headers["x-role"]
    value != "guest"
}
"#;

async fn open() -> (House, Endpoint) {
    let endpoint = Endpoint::start("one").await;
    let text = format!(
        r#"{LISTENERS}{CONTRACT}
policies: {{ roles: {{ rego: roles.rego, decision: data.roles.decision, headers: [x-role] }} }}
pools: {{ main: {{ endpoints: [{{ address: "{}" }}] }} }}
routes:
  - {{ name: open, match: {{ path: "/open/**" }}, public: true, pool: main, request_headers: {{ set: {{ x-tier: gold }} }} }}
  - {{ name: roles, match: {{ path: /roles }}, public: true, authorize: [roles], pool: main }}
  - {{ name: api, match: {{ path: "/api/**" }}, public: true, contract: orders, pool: main }}
"#,
        endpoint.address
    );
    let house = House::open_with(&text, |folder, _| write(&folder.join("roles.rego"), ROLES));
    (house, endpoint)
}

fn get(target: &str, fields: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nhost: {HOST}\r\n{fields}\r\n").into_bytes()
}

/// RFC 9110 7.6.1: fields of one hop end here.
#[tokio::test(flavor = "multi_thread")]
async fn fields_of_one_hop_and_nominated_ones_go_no_further() {
    let (house, endpoint) = open().await;
    let mut connection = RawConnection::open(&house.plain()).await;
    let fields = "connection: keep-alive, X-Mine, x-other\r\nconnection: x-third\r\nkeep-alive: timeout=5\r\n\
                  proxy-connection: keep-alive\r\nte: trailers, gzip\r\ntrailer: x-sum\r\nx-mine: 1\r\nx-other: 2\r\n\
                  x-third: 3\r\nproxy-authorization: Basic eDp5\r\nproxy-authenticate: Basic\r\nhttp2-settings: AAMAAABk\r\nx-stays: 4\r\n";

    assert_eq!(connection.ask(&get("/open/x", fields)).await.status, 200);

    let headers = endpoint.last().headers;
    for gone in [
        "keep-alive",
        "proxy-connection",
        "trailer",
        "x-mine",
        "x-other",
        "x-third",
        "proxy-authorization",
        "proxy-authenticate",
        "http2-settings",
        "upgrade",
    ] {
        assert!(!headers.contains_key(gone), "{gone}: {headers:?}");
    }
    assert!(headers.get("te").is_none_or(|te| te == "trailers"), "{headers:?}");
    assert_eq!(headers["x-stays"], "4");
}

/// Traefik CVE-2024-45410: what the gateway writes cannot be nominated away.
#[tokio::test(flavor = "multi_thread")]
async fn fields_of_ours_cannot_be_nominated_away() {
    let (house, endpoint) = open().await;
    let mut connection = RawConnection::open(&house.plain()).await;
    let ours = [
        "x-request-id",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "traceparent",
        "x-tier",
    ];
    assert_eq!(connection.ask(&get("/open/x", "")).await.status, 200);
    assert!(
        ours.iter()
            .all(|name| endpoint.last().headers.contains_key(*name))
    );

    for name in ours {
        for spelling in [name.to_owned(), name.to_uppercase(), name.replace('-', "_")] {
            let fields = format!("connection: {spelling}\r\nX-Tier: lead\r\n");
            let answer = connection.ask(&get("/open/x", &fields)).await;
            assert_eq!(answer.status, 200, "{spelling}: {answer:?}");
            let headers = endpoint.last().headers;
            assert!(headers.contains_key(name), "{spelling}: {headers:?}");
            assert_eq!(headers["x-tier"], "gold", "{spelling}");
            assert_eq!(headers.get_all("x-tier").iter().count(), 1);
        }
    }
}

/// APISIX CVE-2026-31908 and its like: names that CGI and WSGI read as another (RFC 3875 4.1.18).
#[tokio::test(flavor = "multi_thread")]
async fn names_with_an_underscore_and_identity_fields_never_pass() {
    let (house, endpoint) = open().await;
    let mut connection = RawConnection::open(&house.plain()).await;
    let names = [
        "x_forwarded_for",
        "X_Forwarded-For",
        "x-forwarded_proto",
        "x_real_ip",
        "x_request_id",
        "x_tier",
        "any_name",
        "x-forwarded-client-cert",
        "x-real-ip",
        "x-client-cert",
        "client-cert",
        "client-cert-chain",
        "ssl-client-cert",
        "x-ssl-client-verify",
        "x-spiffe-id",
        "x-remote-user",
        "remote-user",
        "x-original-url",
        "x-rewrite-url",
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
        "forwarded",
        "true-client-ip",
        "cf-connecting-ip",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-forwarded-server",
        "x-envoy-original-path",
        "x-portcullis-principal",
        "x-portcullis-anything",
    ];

    for name in names {
        let fields = format!("{name}: spoofed\r\n{}: spoofed\r\n", name.to_uppercase());
        let answer = connection.ask(&get("/open/x", &fields)).await;
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        let headers = endpoint.last().headers;
        assert!(
            headers
                .values()
                .all(|value| !value.as_bytes().windows(7).any(|part| part == b"spoofed")),
            "{name}: {headers:?}"
        );
    }
}

/// RFC 7239 and W3C Trace Context: from somebody who is no trusted proxy they are no facts.
#[tokio::test(flavor = "multi_thread")]
async fn forwarding_fields_and_ids_of_strangers_are_not_believed() {
    let (house, endpoint) = open().await;
    let mut connection = RawConnection::open(&house.plain()).await;
    let fields = "x-forwarded-for: 6.6.6.6\r\nx-forwarded-for: 7.7.7.7\r\nx-forwarded-proto: https\r\n\
                  x-forwarded-host: other.example\r\nx-request-id: mine\r\ntraceparent: 00-00000000000000000000000000000000-0000000000000000-01\r\n";

    let answer = connection.ask(&get("/open/x", fields)).await;

    let headers = endpoint.last().headers;
    let one = |name: &str| {
        assert_eq!(headers.get_all(name).iter().count(), 1, "{name}: {headers:?}");
        headers[name].to_str().unwrap().to_owned()
    };
    assert_eq!(one("x-forwarded-for"), "127.0.0.1");
    assert_eq!(one("x-forwarded-proto"), "http");
    assert_eq!(one("x-forwarded-host"), HOST);
    assert_eq!(one("x-request-id"), answer.request_id());
    assert_ne!(answer.request_id(), "mine");
    assert!(!one("traceparent").contains("00000000000000000000000000000000"));
    assert_eq!(
        house.gateway.access_line(&answer.request_id())["client"],
        json!("127.0.0.1")
    );
}

/// Envoy CVE-2026-26308, Istio CVE-2026-31838: only the first of several values checked; CVE-2026-73552: not text.
#[tokio::test(flavor = "multi_thread")]
async fn every_value_of_a_repeated_field_is_seen_by_policy_and_contract() {
    let (house, endpoint) = open().await;
    let dial = house.plain();
    let raw = |target: &str, before: &str, value: &[u8]| {
        [
            format!("GET {target} HTTP/1.1\r\nhost: {HOST}\r\n{before}").as_bytes(),
            value,
            b"\r\n\r\n",
        ]
        .concat()
    };

    for (target, before, value, allowed) in [
        ("/roles", "x-role: ", &b"guest"[..], true),
        ("/roles", "x-role: guest\r\nx-role: ", b"guest", true),
        ("/roles", "x-role: guest\r\nx-role: ", b"admin", false),
        ("/roles", "x-role: guest\r\nX-ROLE: ", b"admin", false),
        ("/roles", "x-role: ", b"guest, admin", false),
        ("/roles", "x-role: guest\r\nx-role: ", b"", false),
        ("/roles", "x-role: guest\r\nx-role: ", b"\xff", false),
        ("/roles", "x-role: ", b"\xc0\x80", false),
        ("/api/orders", "x-shop: ", b"abc", true),
        ("/api/orders", "x-shop: abc\r\nx-shop: ", b"BAD", false),
        ("/api/orders", "x-shop: ", b"\xff", false),
    ] {
        let seen = endpoint.requests();
        let mut connection = RawConnection::open(&dial).await;
        let answer = connection.ask(&raw(target, before, value)).await;
        let told = String::from_utf8_lossy(value);
        assert_eq!(
            answer.status == 200,
            allowed,
            "{target} {before:?}{told:?}: {answer:?}"
        );
        assert_eq!(
            endpoint.requests(),
            seen + usize::from(allowed),
            "{target} {before:?}{told:?}"
        );
        if !allowed {
            assert!([400, 403].contains(&answer.status.as_u16()), "{answer:?}");
            let next = connection.ask(&get("/open/next", "")).await;
            assert_eq!(next.status, 200);
        }
    }
}

/// RFC 9110 5.3: fields of which there is one. Two of them have two readings.
#[tokio::test(flavor = "multi_thread")]
async fn a_field_of_which_there_is_one_is_refused_twice() {
    let (house, endpoint) = open().await;

    for (fields, code) in [
        (
            "authorization: Bearer a\r\nauthorization: Bearer b\r\n",
            "field-invalid",
        ),
        (
            "content-type: text/plain\r\ncontent-type: application/json\r\n",
            "field-invalid",
        ),
        ("connection: authorization\r\n", "field-invalid"),
        ("connection: Cookie\r\n", "field-invalid"),
        ("connection: host\r\n", "field-invalid"),
        ("connection: content-length\r\n", "field-invalid"),
        ("connection: content-type\r\n", "field-invalid"),
    ] {
        let seen = endpoint.requests();
        let mut connection = RawConnection::open(&house.plain()).await;
        let answer = connection.ask(&get("/open/x", fields)).await;
        house.assert_refused(&answer, 400, code);
        assert_eq!(endpoint.requests(), seen);
        assert_eq!(
            connection.ask(&get("/open/next", "")).await.status,
            200,
            "{fields:?}"
        );
    }
}
