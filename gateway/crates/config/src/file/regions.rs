//! `regions` and `pools`: where requests may go.

use std::net::SocketAddr;

use portcullis_identity::plan::{CrlDepth, OnStaleCrl};
use portcullis_model::SpiffeId;
use portcullis_routing::plan::Protocol;

use super::forwarding::ForwardIdentity;
use super::patterns::HostText;
use super::revocation::CrlText;
use super::scalars::FilePath;
use super::section::{List, Named, OneOrMany, section, words};
use super::units::{Percent, Period, Whole};

section! {
    /// A region.
    struct Region {
        /// Where its traffic goes when it cannot serve, nearest first; never to a region that is not listed.
        optional failover: List<String>,
    }
}

section! {
    /// One service: its endpoints in every region. Either `endpoints` or `sites`.
    struct Pool {
        /// The endpoints, when there is one region.
        optional endpoints: List<Endpoint>,
        /// The endpoints of each region.
        optional sites: Named<Site>,
        /// `auto` (the default: ALPN under TLS, HTTP/1.1 in plaintext), `h1` or `h2`.
        optional protocol: Protocol,
        /// Reaches the endpoints over TLS.
        optional tls: PoolTls,
        /// Allows plaintext to endpoints outside loopback.
        optional danger_plaintext: bool,
        /// What the endpoints are told of the principal; nothing by default.
        optional forward_identity: ForwardIdentity,
        /// How health is found out.
        optional health: Health,
        /// Bounds on the pool, for each gateway.
        optional limits: PoolBounds,
        /// How many second attempts it may be asked for.
        optional retry: RetryBudget,
    }
    later { "steering", "hedge", "affinity", "capacity", "capacity_per_endpoint" }
}

words! { Protocol { "auto" => Self::Auto, "h1" => Self::H1, "h2" => Self::H2 } }

section! {
    /// A pool's endpoints in one region.
    struct Site {
        /// At least one.
        required endpoints: List<Endpoint>,
    }
    later { "capacity", "capacity_per_endpoint" }
}

section! {
    /// One endpoint; either `address` or `dns`.
    struct Endpoint {
        /// Address and port.
        optional address: SocketAddr,
        /// Name and port; every address the name gives is an endpoint.
        optional dns: DnsEndpoint,
        /// Its share among its site's endpoints, 1 to 1000; 100 by default.
        optional weight: Whole<1, 1000>,
    }
    later { "srv" }
}

/// `host:port`.
#[derive(Clone, Debug)]
pub(crate) struct DnsEndpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl super::section::Scalar for DnsEndpoint {
    const EXPECTED: &'static str = "a name with a port like \"orders.internal:8443\"";

    fn parse(text: &str, _: bool) -> Result<Self, super::section::Flaw> {
        use super::section::Flaw;
        let bad = |why: &str| {
            Flaw::new("bad-value", format!("{text:?} is not a name with a port: {why}"))
                .with_hint("write one like \"orders.internal:8443\"")
        };
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(bad("the port is missing"));
        };
        let Some(port) = port.parse::<u16>().ok().filter(|port| *port > 0) else {
            return Err(bad("the port is not a number from 1 to 65535"));
        };
        let host = super::patterns::canonical_host(host)?;
        if host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok() {
            return Err(
                Flaw::new("bad-value", format!("{text:?} is an address, not a name"))
                    .with_hint("write `address:` instead of `dns:`"),
            );
        }
        Ok(Self { host, port })
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string", "pattern": ":[0-9]+$" })
    }
}

section! {
    /// The TLS side of a pool's endpoints. `{}`: chain by the system's roots, name by each endpoint's DNS name.
    struct PoolTls {
        /// mTLS with our SVID: the endpoint must prove exactly this SPIFFE ID.
        optional expect: SpiffeId,
        /// The name that the endpoint's certificate must cover.
        optional server_name: HostText,
        /// PEM file of the CA that must have signed it.
        optional ca: FilePath,
        /// Revocation lists of the issuers: files (PEM or DER) or URLs, one or several. With `expect`, `trust` names them.
        optional crl: OneOrMany<CrlText>,
        /// `true`: the lists that certificates name are fetched too, from hosts in `gateway.egress.allow`; `false` by default.
        optional distribution_points: bool,
        /// Which certificates are looked up: `chain`, the default, or `leaf`.
        optional crl_depth: CrlDepth,
        /// What it means that no current list of an issuer is here: `deny`, the default, `warn` or `allow`.
        optional on_stale_crl: OnStaleCrl,
    }
}

section! {
    /// How a pool's health is found out.
    struct Health {
        /// The probe; without one, endpoints are up until requests fail.
        optional probe: Probe,
        /// Between probes; 2s.
        optional interval: Period,
        /// For one probe; 1s.
        optional timeout: Period,
        /// Failures in a row that take an endpoint down; 2.
        optional fall: Whole<1, 100>,
        /// Passes in a row that bring it up again; 2.
        optional rise: Whole<1, 100>,
    }
    later { "passive", "probers_per_region" }
}

section! {
    /// What a probe does; exactly one of these.
    struct Probe {
        /// `GET` of this path; any 2xx passes.
        optional http: String,
        /// `true`: a connection, with the TLS handshake where the pool has TLS.
        optional tcp: bool,
    }
    later { "grpc" }
}

section! {
    /// Bounds on a pool, for each gateway.
    struct PoolBounds {
        /// Requests in flight to the pool; one more is answered 503. 2048 by default.
        optional connections: Whole<1, 10_000_000>,
    }
    later { "pending", "inflight" }
}

section! {
    /// How many second attempts a pool may be asked for.
    struct RetryBudget {
        /// Share of the requests; 10% by default.
        optional budget: Percent,
        /// And so many per second beside; 10 by default.
        optional min_per_second: Whole<0, 1_000_000>,
    }
    later { "attempts", "scope", "on" }
}
