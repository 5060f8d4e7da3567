//! `trust`, `identity`, `issuers`, and the TLS sides of listeners and pools; a file for each.

mod bundle;
mod forwarding;
mod issuers;
mod listeners;
mod revocation;
mod trust;
mod upstreams;

use std::sync::Arc;

use portcullis_identity::plan::{IdentityPlan, UpstreamPeer};

use super::Resolver;
use super::pem::CertifiedKey;
use crate::file::GatewayFile;
use crate::file::section::entries;

pub(super) fn plan(file: &GatewayFile, resolver: &mut Resolver<'_, '_>) -> IdentityPlan {
    let (trust, key_sets) = trust::trust(file, resolver);
    let mut workload_api = file
        .gateway
        .get()
        .is_some_and(|gateway| !gateway.workload_api.is_absent());
    let mut svid = None;
    let own = file.identity.get();
    if let Some(at) = own.and_then(|own| own.svid.at()) {
        match resolver.certified_key(&at.value, &at.origin) {
            CertifiedKey::Is(plan) => svid = Some(plan),
            // Offline, our identity is treated like one that has not arrived yet.
            CertifiedKey::Missing => workload_api = true,
            CertifiedKey::Broken => {}
        }
    }
    let upstreams: Vec<_> = entries(&file.pools)
        .filter_map(|pool| {
            let tls = pool.value.get()?.tls.at()?;
            upstreams::upstream(&pool.name.value, tls, &trust, resolver)
        })
        .collect();
    let needs_roots = upstreams
        .iter()
        .any(|upstream| matches!(upstream.peer, UpstreamPeer::Https { ca: None, .. }));
    IdentityPlan {
        issuers: entries(&file.issuers)
            .filter_map(|issuer| issuers::issuer(&issuer.name, issuer.value.get()?, &key_sets, resolver))
            .collect(),
        svid,
        assertion: own
            .and_then(|own| own.assertion.at())
            .and_then(|at| forwarding::assertion(at, resolver)),
        forwards: entries(&file.pools)
            .filter_map(|pool| {
                let forward = pool.value.get()?.forward_identity.at()?;
                forwarding::forward(&pool.name.value, forward, resolver)
            })
            .collect(),
        workload_api,
        listeners: entries(&file.listeners)
            .filter_map(|listener| {
                listeners::listener_tls(&listener.name.value, listener.value.get()?, resolver)
            })
            .collect(),
        system_roots: Arc::new(if needs_roots {
            upstreams::system_roots(&upstreams, resolver)
        } else {
            Vec::new()
        }),
        trust,
        upstreams,
    }
}
