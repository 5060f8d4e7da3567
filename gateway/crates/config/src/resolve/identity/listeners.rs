//! The TLS sides of listeners: certificates, what is asked of clients, and protocols.

use std::collections::BTreeMap;

use portcullis_identity::plan::{ClientCertificatesPlan, ListenerTlsPlan};
use portcullis_model::{ListenerId, TrustId};

use crate::file::listeners::{Alpn, ClientCertificateRules, Listener, ListenerTls};
use crate::file::patterns::canonical_host;
use crate::file::section::{entries, items};
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
        match resolver.certified_key(&certificate.value, &certificate.origin) {
            CertifiedKey::Is(plan) => certificates.push(plan),
            CertifiedKey::Missing => is_missing = true,
            CertifiedKey::Broken => {}
        }
    }
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
