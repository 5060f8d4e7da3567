//! HTTP/2 as others test it.

use std::process::Command;

use crate::support::tools::{find, skip};
use crate::support::{Authority, TestGateway, configure, folder};

/// h2spec opens a connection for every case; the default bounds would take it for a flood.
const CONFIGURATION: &str = r#"
version: 1
gateway: { admin: { listen: "127.0.0.1:0" } }
listeners:
  public:
    listen: "127.0.0.1:0"
    tls: { certificates: [{ chain: server.pem, key: server.key }] }
    limits: { handshakes_per_address: 100000/s, per_address: 10000 }
routes:
  - { name: pong, match: { path: "/**" }, public: true, respond: { status: 200, body: pong } }
"#;

/// One case is skipped by h2spec itself, in both forms.
#[test]
fn h2spec_finds_nothing_also_when_it_is_strict() {
    let Some(h2spec) = find("h2spec") else {
        return skip(1, "the tests with h2spec", "it was not found");
    };
    let folder = folder();
    Authority::new("edge")
        .leaf(&["localhost", "127.0.0.1"], None)
        .write(folder.path(), "server");
    configure(folder.path(), CONFIGURATION);
    let gateway = TestGateway::start(folder);
    let port = gateway.address("public").port().to_string();
    for (strictness, passed) in [
        (None, "145 passed, 1 skipped, 0 failed"),
        (Some("-S"), "146 passed, 1 skipped, 0 failed"),
    ] {
        let output = Command::new(&h2spec)
            .args(["-t", "-k", "-h", "127.0.0.1", "-p", &port, "-P", "/", "-o", "5"])
            .args(strictness)
            .output()
            .unwrap();

        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.contains(passed), "{told}");
        println!("h2spec {}: {passed}", strictness.unwrap_or("  "));
    }
}
