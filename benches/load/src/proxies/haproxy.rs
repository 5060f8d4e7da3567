//! HAProxy: one thread, one process.

use std::fmt::Write as _;

use super::Site;
use crate::keys::{AUDIENCE, Algorithm, ISSUER, ROLE};
use crate::scenario::Guard;

/// The configuration's file and text, and the arguments.
pub(super) fn configuration(site: &Site<'_>) -> (&'static str, String, Vec<String>) {
    let words = ["-db", "-f", "haproxy.cfg"];
    ("haproxy.cfg", text(site), words.map(str::to_owned).to_vec())
}

fn text(site: &Site<'_>) -> String {
    // Standard output is a file here.
    let (log, httplog) = if site.setup.is_logged {
        ("log stdout format raw local0", "log global\n  option httplog")
    } else {
        ("# no log", "# no log")
    };
    let mut text = format!(
        "global
  nbthread 1
  # Twice as many descriptors must be allowed.
  maxconn 8000
  {log}
  # TLS sessions that are kept for clients without tickets.
  tune.ssl.cachesize 20000
  # Streams of one h2 connection, as many as the others allow.
  tune.h2.max-concurrent-streams 256
  # Idle connections to the origin are all kept, whatever their number.
  tune.pool-low-fd-ratio 90
  tune.pool-high-fd-ratio 95
defaults
  mode http
  {httplog}
  option http-keep-alive
  # Any idle connection to the origin serves any request.
  http-reuse always
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
backend origin
  server origin {} pool-max-conn -1 pool-purge-delay 600s
",
        site.origin
    );
    front(&mut text, site, "main", site.port, 1_000_000_000);
    if site.setup.guard == Guard::Chain {
        front(&mut text, site, "tight", site.tight_port, 5);
    }
    text
}

fn front(text: &mut String, site: &Site<'_>, name: &str, port: u16, limit: u32) {
    let tls = if site.setup.is_tls {
        " ssl crt both.pem alpn h2,http/1.1"
    } else {
        ""
    };
    // Writing into a string does not fail.
    let _ = write!(
        text,
        "frontend {name}\n  bind 127.0.0.1:{port}{tls}\n  default_backend origin\n"
    );
    if let Some(algorithm) = site.setup.guard.algorithm() {
        text.push_str(&token_rules(algorithm));
    }
    if site.setup.guard == Guard::Chain {
        let _ = write!(
            text,
            "  # One counter for each subject, over ten seconds.
  stick-table type string len 64 size 100k expire 60s store http_req_rate(10s)
  http-request track-sc0 http_auth_bearer,jwt_payload_query('$.sub')
  http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt {limit} }}
  http-request deny deny_status 403 unless {{ http_auth_bearer,jwt_payload_query('$.role') -m str {ROLE} }}
"
        );
    }
}

/// HAProxy 2.6 remembers no token: it checks the signature every time.
fn token_rules(algorithm: Algorithm) -> String {
    format!(
        "  # The algorithm is ours to say, never the token's.
  http-request deny deny_status 401 unless {{ http_auth_bearer -m found }}
  http-request deny deny_status 401 unless {{ http_auth_bearer,jwt_header_query('$.alg') -m str {alg} }}
  http-request deny deny_status 401 unless {{ http_auth_bearer,jwt_payload_query('$.iss') -m str {ISSUER} }}
  http-request deny deny_status 401 unless {{ http_auth_bearer,jwt_payload_query('$.aud') -m str {AUDIENCE} }}
  http-request set-var(txn.now) date()
  http-request deny deny_status 401 if {{ http_auth_bearer,jwt_payload_query('$.exp','int'),sub(txn.now) -m int lt 0 }}
  http-request deny deny_status 401 unless {{ http_auth_bearer,jwt_verify('{alg}','{file}') 1 }}
",
        alg = algorithm.name(),
        file = algorithm.public_file(),
    )
}
