//! The TLS sides of pools: whom we expect at their endpoints.

use portcullis_identity::plan::{TrustPlan, UpstreamPeer, UpstreamTlsPlan};
use portcullis_model::PoolId;
use portcullis_routing::plan::HostPattern;
use rustls_pki_types::CertificateDer;

use super::revocation::{RevocationKeys, revocation_of};
use super::trust::anchors_of;
use crate::file::regions::PoolTls;
use crate::file::section::At;
use crate::resolve::Resolver;

pub(super) fn upstream(
    pool: &str,
    tls: &At<PoolTls>,
    trust: &[TrustPlan],
    resolver: &mut Resolver<'_, '_>,
) -> Option<UpstreamTlsPlan> {
    let PoolTls {
        expect,
        server_name,
        ca,
        crl,
        distribution_points,
        crl_depth,
        on_stale_crl,
        has_refused_keys: _,
    } = &tls.value;
    let revocation = RevocationKeys {
        crl,
        distribution_points,
        crl_depth,
        on_stale_crl,
    };
    if let Some(expected) = expect.at() {
        if !server_name.is_absent() || !ca.is_absent() {
            let message = "`expect` stands alone: a SPIFFE ID is verified by its own trust bundle";
            resolver.error_with_hint(
                "conflicting-keys",
                &tls.origin,
                message,
                "put the bundle under `trust`, as `{ spiffe: …, pem: … }`",
            );
            return None;
        }
        if !revocation.are_absent() {
            let message = "`expect` stands alone: its revocation lists hang on the trust of its domain";
            let hint = "write `crl` and its like under `trust`, beside `spiffe`";
            resolver.error_with_hint("conflicting-keys", &tls.origin, message, hint);
            return None;
        }
        let anchors = anchors_of(trust, expected.value.trust_domain());
        let peer = UpstreamPeer::Spiffe {
            expected: expected.value.clone(),
            anchors,
        };
        return Some(UpstreamTlsPlan {
            pool: PoolId::from(pool),
            origin: tls.origin.clone(),
            peer,
            revocation: revocation_of(trust, expected.value.trust_domain()),
        });
    }
    let server_name = match server_name.at().map(|name| (&name.value.0, &name.origin)) {
        None => None,
        Some((HostPattern::Exact(name), _)) => Some(name.clone()),
        Some((HostPattern::Wildcard(_), origin)) => {
            resolver.error("bad-value", origin, "`server_name` is one name, not a wildcard");
            return None;
        }
    };
    let ca = match ca.at() {
        None => None,
        Some(path) => Some(resolver.certificates(path, "CA")?),
    };
    let peer = UpstreamPeer::Https { server_name, ca };
    Some(UpstreamTlsPlan {
        pool: PoolId::from(pool),
        origin: tls.origin.clone(),
        peer,
        revocation: revocation.plan(resolver),
    })
}

pub(super) fn system_roots(
    upstreams: &[UpstreamTlsPlan],
    resolver: &mut Resolver<'_, '_>,
) -> Vec<CertificateDer<'static>> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty()
        && let Some(upstream) = upstreams.first()
        && !resolver.files.is_offline()
    {
        let reason = found
            .errors
            .first()
            .map_or_else(|| "none was found".to_owned(), ToString::to_string);
        resolver.error_with_hint(
            "no-system-roots",
            &upstream.origin,
            format!("cannot read the system's trust anchors: {reason}"),
            "install them (ca-certificates), or name a `ca`",
        );
    }
    found.certs
}
