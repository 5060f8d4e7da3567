//! The TLS sides of listeners: certificates, what is asked of clients, and protocols.

use std::collections::BTreeMap;
use std::net::IpAddr;

use portcullis_identity::plan::{ClientCertificatesPlan, ListenerTlsPlan, ShownPlan};
use portcullis_model::{ListenerId, Origin, TrustId};
use portcullis_routing::plan::HostPattern;

use crate::file::listeners::{
    Alpn, ClientCertificateRules, Listener, ListenerTls, ShownCertificate, ShownSvid,
};
use crate::file::patterns::canonical_host;
use crate::file::section::{At, entries, items};
use crate::resolve::Resolver;
use crate::resolve::pem::CertifiedKey;

pub(super) fn listener_tls(
    name: &str,
    listener: &Listener,
    resolver: &mut Resolver<'_, '_>,
) -> Option<ListenerTlsPlan> {
    let tls = listener.tls.at()?;
    let mut certificates = Vec::new();
    let mut is_missing = false;
    let list = tls.value.certificates.at()?;
    if list.value.items.is_empty() && !list.value.broken {
        resolver.error(
            "bad-value",
            &list.origin,
            "a TLS listener needs at least one certificate",
        );
    }
    for certificate in list.value.iter() {
        match &certificate.value {
            ShownCertificate::Files(files) => match resolver.certified_key(files, &certificate.origin) {
                CertifiedKey::Is(plan) => certificates.push(plan.into()),
                CertifiedKey::Missing => is_missing = true,
                CertifiedKey::Broken => {}
            },
            ShownCertificate::Svid(svid) => {
                certificates.extend(shown_svid(svid, &certificate.origin, resolver))
            }
        }
    }
    refuse_second_svid_without_names(&certificates, resolver);
    let hosts = hosts(&tls.value, resolver);
    let mut alpn: Vec<&'static str> = Vec::new();
    for protocol in items(&listener.protocols) {
        if alpn.contains(&protocol.value.as_str()) {
            let message = format!("`{}` stands here twice", protocol.value.as_str());
            resolver.error("bad-value", &protocol.origin, message);
            continue;
        }
        alpn.push(protocol.value.as_str());
    }
    match listener.protocols.at() {
        Some(list) if alpn.is_empty() && !list.value.broken => {
            resolver.error("bad-value", &list.origin, "no protocol is named");
        }
        Some(_) => {}
        None => alpn = vec![Alpn::Http2.as_str(), Alpn::Http11.as_str()],
    }
    // Offline and without one of its keys a listener has no TLS side to compile.
    if is_missing {
        return None;
    }
    Some(ListenerTlsPlan {
        listener: ListenerId::from(name),
        origin: tls.origin.clone(),
        certificates,
        client: client_certificates(tls.value.client_certificates.get()),
        hosts,
        alpn,
    })
}

fn shown_svid(svid: &ShownSvid, origin: &Origin, resolver: &mut Resolver<'_, '_>) -> Option<ShownPlan> {
    if let Some(At { value: false, origin }) = svid.svid.at() {
        let message = "`svid: false` shows nothing";
        resolver.error_with_hint("bad-value", origin, message, "take the entry out");
        return None;
    }
    svid.svid.get()?;
    let mut names = Vec::new();
    for name in items(&svid.names) {
        match &name.value.0 {
            HostPattern::Exact(host) if host.starts_with('[') || host.parse::<IpAddr>().is_ok() => {
                let message = format!("{host} is an address, which no client asks for by name");
                let hint = "the first certificate serves clients that name nothing";
                resolver.error_with_hint("bad-value", &name.origin, message, hint);
            }
            HostPattern::Exact(host) => names.push(host.clone()),
            HostPattern::Wildcard(parent) => names.push(format!("*.{parent}")),
        }
    }
    if let Some(list) = svid.names.at()
        && list.value.items.is_empty()
        && !list.value.broken
    {
        let hint = "leave `names` out to show the SVID for every name that no other certificate covers";
        resolver.error_with_hint("bad-value", &list.origin, "no name is named", hint);
    }
    if !svid.names.is_absent() && names.is_empty() {
        return None;
    }
    Some(ShownPlan::Svid {
        origin: origin.clone(),
        names,
    })
}

fn refuse_second_svid_without_names(certificates: &[ShownPlan], resolver: &mut Resolver<'_, '_>) {
    let without_names = certificates.iter().filter_map(|shown| match shown {
        ShownPlan::Svid { origin, names } if names.is_empty() => Some(origin),
        ShownPlan::Svid { .. } | ShownPlan::Certificate(_) => None,
    });
    for origin in without_names.skip(1) {
        let message = "the SVID stands here twice for every other name";
        resolver.error("bad-value", origin, message);
    }
}

fn hosts(tls: &ListenerTls, resolver: &mut Resolver<'_, '_>) -> BTreeMap<String, ClientCertificatesPlan> {
    let mut hosts = BTreeMap::new();
    for entry in entries(&tls.hosts) {
        let Some(host) = entry.value.get() else { continue };
        match canonical_host(&entry.name.value) {
            Ok(name) => {
                let rules = client_certificates(host.client_certificates.get());
                if hosts.insert(name.clone(), rules).is_some() {
                    let message = format!("the host {name:?} stands here twice");
                    resolver.error("duplicate-key", &entry.name.origin, message);
                }
            }
            Err(flaw) => resolver.problems.push(flaw.at(&entry.name.origin)),
        }
    }
    hosts
}

fn client_certificates(rules: Option<&ClientCertificateRules>) -> ClientCertificatesPlan {
    let Some(rules) = rules else {
        return ClientCertificatesPlan::default();
    };
    ClientCertificatesPlan {
        mode: rules.mode.get().copied().unwrap_or_default(),
        trust: items(&rules.trust)
            .map(|name| TrustId::from(name.value.as_str()))
            .collect(),
    }
}
