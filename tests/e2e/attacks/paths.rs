//! One canonical target for everybody: what policy saw is byte for byte what the endpoint got.

use http::Method;

use crate::support::house::{HOST, LISTENERS};
use crate::support::pki::write;
use crate::support::{Endpoint, House, RawConnection};

/// Tells the endpoint what it was shown.
const MIRROR: &str = r#"
package mirror

decision := {"allow": true, "request_headers": {
    "x-seen-path": input.request.path,
    "x-seen-query": json.marshal(input.request.query),
    "x-seen-host": input.request.host,
    "x-seen-route": input.route.name,
    "x-seen-segments": json.marshal(input.request.segments),
}}
"#;

async fn open() -> (House, Endpoint) {
    let endpoint = Endpoint::start("one").await;
    let text = format!(
        r#"{LISTENERS}
policies: {{ mirror: {{ rego: mirror.rego, decision: data.mirror.decision }} }}
pools: {{ main: {{ endpoints: [{{ address: "{}" }}] }} }}
routes:
  - {{ name: admin, match: {{ path: "/admin/**" }}, public: true, authorize: [mirror], pool: main }}
  - {{ name: rest, match: {{ path: "/**" }}, public: true, authorize: [mirror], pool: main }}
"#,
        endpoint.address
    );
    let house = House::open_with(&text, |folder, _| write(&folder.join("mirror.rego"), MIRROR));
    (house, endpoint)
}

/// A generator of its own, so that a failure can be played again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }

    /// A target of pieces that parsers disagree about.
    fn target(&mut self) -> String {
        const PIECES: &[&str] = &[
            "/", "/", "/", "admin", "Admin", "a", "b", ".", "..", "%2e", "%2E", "%2f", "%5c", "\\", ";",
            ";x=1", "%3b", "%25", "%2525", "%61", "%41", "%00", "%0d%0a", "%c3%a4", "%c0%af", "%ff", "%zz",
            "%", "~", "%7e", "-", "_", ":", "@", "%40", "+", "%20", "!", "$", "&", "'", "(", ")", "*", ",",
            "=", "|", "{", "}", "^", "\"", "<",
        ];
        const QUERIES: &[&str] = &[
            "",
            "",
            "?",
            "?a=b",
            "?a=b&a=c",
            "?a=%2e%2e",
            "?a=%zz",
            "?%61=b",
            "?a=b?c",
            "?a+b=%20",
        ];
        let mut target = "/".to_owned();
        for _ in 0..self.roll(7) {
            target.push_str(PIECES[self.roll(PIECES.len())]);
        }
        target.push_str(QUERIES[self.roll(QUERIES.len())]);
        target
    }
}

/// CVE-2021-29492, CVE-2026-26205 (`//x/admin`), CVE-2026-73551 (`..;x`) and their like, all at once.
#[tokio::test(flavor = "multi_thread")]
async fn what_policy_saw_is_byte_for_byte_what_the_endpoint_got() {
    let (house, endpoint) = open().await;
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut h1 = RawConnection::open(&house.plain()).await;
    let mut h2 = house.h2().connect().await.unwrap();
    let (mut passed, mut refused) = (0, 0);

    for _ in 0..600 {
        let target = dice.target();
        let seen = endpoint.requests();
        let request = format!("GET {target} HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
        let answer = h1.ask(request.as_bytes()).await;
        if answer
            .headers
            .get("connection")
            .is_some_and(|value| value == "close")
        {
            h1 = RawConnection::open(&house.plain()).await;
        }
        if answer.status != 200 {
            assert_eq!(answer.status, 400, "{target}: {answer:?}");
            assert_eq!(endpoint.requests(), seen, "{target}");
            refused += 1;
            continue;
        }
        passed += 1;
        assert_one_reading(&endpoint, &target);
        let over_h1 = endpoint.last().target;
        if http::uri::PathAndQuery::try_from(target.as_str()).is_ok() {
            let answer = h2.send(Method::GET, &target, &[], b"").await.unwrap();
            assert_eq!(answer.status, 200, "{target}: {answer:?}");
            assert_one_reading(&endpoint, &target);
            assert_eq!(
                endpoint.last().target,
                over_h1,
                "{target}: both protocols read the same"
            );
        }
    }

    println!("{passed} passed, {refused} refused");
    assert!(passed > 60 && refused > 60, "{passed} passed, {refused} refused");
}

fn assert_one_reading(endpoint: &Endpoint, target: &str) {
    let received = endpoint.last();
    let (path, query) = received.target.split_once('?').unwrap_or((&received.target, ""));
    let seen = |name: &str| received.headers[name].to_str().unwrap().to_owned();
    assert_eq!(seen("x-seen-path"), path, "{target}");
    assert_eq!(seen("x-seen-host"), HOST, "{target}");
    let is_admin = path == "/admin" || path.starts_with("/admin/");
    assert_eq!(
        seen("x-seen-route") == "admin",
        is_admin,
        "{target} became {path}"
    );
    assert!(
        !path.contains("//") && !path.contains("/../") && !path.ends_with("/.."),
        "{path}"
    );
    let names: serde_json::Value = serde_json::from_str(&seen("x-seen-query")).unwrap();
    let written = query.split('&').filter(|pair| !pair.is_empty()).count();
    let told: usize = names
        .as_object()
        .unwrap()
        .values()
        .map(|values| values.as_array().unwrap().len())
        .sum();
    assert_eq!(told, written, "{target}: {names} of {query}");
}

/// RFC 3986 6.2.2: letters written as escapes are the same letters, so a route cannot be walked around.
#[tokio::test(flavor = "multi_thread")]
async fn an_escaped_letter_is_the_letter_for_route_policy_and_endpoint() {
    let (house, endpoint) = open().await;
    let mut connection = RawConnection::open(&house.plain()).await;

    for (target, path) in [
        ("/%61dmin/x", "/admin/x"),
        ("/admi%6E/x", "/admin/x"),
        ("/%61%64%6d%69%6e", "/admin"),
        ("/admin/%7euser", "/admin/~user"),
        ("/admin/%c3%a4", "/admin/%C3%A4"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
        assert_eq!(connection.ask(request.as_bytes()).await.status, 200, "{target}");
        assert_eq!(endpoint.last().target, path);
        assert_eq!(endpoint.last().headers["x-seen-route"], "admin");
    }
}
