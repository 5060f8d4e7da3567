//! Whom the gateway itself may call: pure rules, asked before a URL is opened and again for every address.
//!
//! A host is allowed because the configuration names it in a URL or in `gateway.egress.allow`. Link-local and
//! metadata addresses are never allowed, whatever name leads there, and plain HTTP goes to loopback only.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use portcullis_config::EgressHost;
use portcullis_identity::NamedBy;
use thiserror::Error;
use url::{Host, Url};

/// Metadata services that are not link-local: Alibaba, Azure's wire server, Amazon over IPv6, Oracle.
const METADATA_V4: &[Ipv4Addr] = &[
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];
const METADATA_V6: &[Ipv6Addr] = &[Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)];

/// Why a call is not made.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EgressFault {
    /// Not a URL that can be called.
    #[error("\"{0}\" is not an http or https URL with a host")]
    Url(String),
    /// The URL carries a user name or a password.
    #[error("a URL with credentials is not called")]
    Credentials,
    /// Plain HTTP beyond this machine.
    #[error("plain http goes to loopback only, not to \"{0}\"")]
    Plaintext(String),
    /// The host is named nowhere.
    #[error("\"{0}\" is not named in the configuration (add it to gateway.egress.allow)")]
    Host(String),
    /// A certificate names a port that nobody allowed.
    #[error(
        "a certificate leads to \"{0}\" at its scheme's own port only, not at {1} (add \"{0}:{1}\" to gateway.egress.allow)"
    )]
    Port(String, u16),
    /// An address that is never called.
    #[error("{0} is never called (link-local, metadata or not an address of one host)")]
    Address(IpAddr),
}

/// The rules of one configuration.
#[derive(Clone, Debug, Default)]
pub struct EgressRules {
    named: BTreeSet<String>,
    /// Hosts that are named for revocation lists alone.
    named_for_lists: BTreeSet<String>,
    allowed: Vec<EgressHost>,
}

impl EgressRules {
    /// Rules from the URLs that the configuration names and from `gateway.egress.allow`.
    pub fn new<'a>(urls: impl IntoIterator<Item = &'a str>, allowed: Vec<EgressHost>) -> Self {
        Self {
            named: hosts(urls),
            named_for_lists: BTreeSet::new(),
            allowed,
        }
    }

    /// The same with the URLs of revocation lists that the configuration names.
    #[must_use]
    pub fn with_lists<'a>(mut self, urls: impl IntoIterator<Item = &'a str>) -> Self {
        self.named_for_lists = hosts(urls);
        self
    }

    /// The parsed URL, when it may be called.
    ///
    /// # Errors
    /// Says which rule forbids it.
    pub fn check(&self, text: &str) -> Result<Url, EgressFault> {
        let (url, name, address) = callable(text)?;
        if url.scheme() == "http" && !address.map_or(name == "localhost", |address| address.is_loopback()) {
            return Err(EgressFault::Plaintext(name));
        }
        if self.named.contains(&name) || self.allows(&url, &name, address) != Allowed::Nowhere {
            Ok(url)
        } else {
            Err(EgressFault::Host(name))
        }
    }

    /// The parsed URL of a revocation list, when it may be called. Plain HTTP may leave the machine: a list is signed,
    /// and RFC 5280 section 8 asks for HTTP so that fetching a list needs no other list.
    ///
    /// # Errors
    /// Says which rule forbids it.
    pub fn check_list(&self, text: &str, named_by: NamedBy) -> Result<Url, EgressFault> {
        let (url, name, address) = callable(text)?;
        let allowed = self.allows(&url, &name, address);
        let is_allowed = match named_by {
            NamedBy::Configuration => self.named_for_lists.contains(&name) || allowed != Allowed::Nowhere,
            // Whoever gets a certificate signed chooses neither whom we call nor which of its services.
            NamedBy::Certificate => match (allowed, url.port()) {
                (Allowed::Host, Some(port)) => return Err(EgressFault::Port(name, port)),
                (Allowed::Host, None) | (Allowed::Port, _) => true,
                (Allowed::Nowhere, _) => false,
            },
        };
        if is_allowed {
            Ok(url)
        } else {
            Err(EgressFault::Host(name))
        }
    }

    /// How far the entries of `gateway.egress.allow` go for a URL with this host.
    fn allows(&self, url: &Url, name: &str, address: Option<IpAddr>) -> Allowed {
        let port = url.port_or_known_default();
        let entries = self.allowed.iter().map(|entry| {
            let (is_meant, how) = match entry {
                EgressHost::Name(allowed) => (allowed == name, Allowed::Host),
                EgressHost::Network(network) => {
                    let is_inside = address.is_some_and(|address| network.contains(&address));
                    (is_inside, Allowed::Host)
                }
                EgressHost::NameAt(allowed, at) => (allowed == name && port == Some(*at), Allowed::Port),
                EgressHost::AddressAt(allowed) => {
                    let is_it = address == Some(allowed.ip()) && port == Some(allowed.port());
                    (is_it, Allowed::Port)
                }
            };
            if is_meant { how } else { Allowed::Nowhere }
        });
        entries.max().unwrap_or(Allowed::Nowhere)
    }
}

/// How far `gateway.egress.allow` goes for one URL.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Allowed {
    /// No entry is about it.
    Nowhere,
    /// An entry is about its host.
    Host,
    /// An entry is about its host and port.
    Port,
}

fn hosts<'a>(urls: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    let hosts = urls.into_iter().filter_map(|url| Url::parse(url).ok());
    hosts
        .filter_map(|url| url.host_str().map(str::to_ascii_lowercase))
        .collect()
}

/// A URL that could be called, its host, and the address that the host is.
fn callable(text: &str) -> Result<(Url, String, Option<IpAddr>), EgressFault> {
    let url = Url::parse(text).map_err(|_| EgressFault::Url(text.to_owned()))?;
    let (Some(host), "http" | "https") = (url.host().map(|host| host.to_owned()), url.scheme()) else {
        return Err(EgressFault::Url(text.to_owned()));
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(EgressFault::Credentials);
    }
    let name = url.host_str().unwrap_or_default().to_ascii_lowercase();
    let address = match host {
        Host::Ipv4(address) => Some(IpAddr::V4(address)),
        Host::Ipv6(address) => Some(IpAddr::V6(address)),
        Host::Domain(_) => None,
    };
    if let Some(address) = address {
        check_address(address)?;
    }
    Ok((url, name, address))
}

/// Whether one resolved address may be called at all.
///
/// # Errors
/// Refuses link-local, metadata, unspecified, multicast and broadcast addresses, also inside IPv6.
pub fn check_address(address: IpAddr) -> Result<(), EgressFault> {
    let canonical = address.to_canonical();
    let is_refused = match canonical {
        IpAddr::V4(v4) => is_refused_v4(v4),
        IpAddr::V6(v6) => {
            v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unicast_link_local()
                || METADATA_V6.contains(&v6)
                || embedded_v4(v6).is_some_and(is_refused_v4)
        }
    };
    if is_refused {
        Err(EgressFault::Address(address))
    } else {
        Ok(())
    }
}

fn is_refused_v4(address: Ipv4Addr) -> bool {
    address.is_link_local()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_broadcast()
        || METADATA_V4.contains(&address)
}

/// The IPv4 address inside a NAT64 (RFC 6052), 6to4 or IPv4-compatible one: a translator would deliver there.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let from = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match (a, b, c, d, e, f) {
        (0x64, 0xff9b, 0, 0, 0, 0) => Some(from(g, h)),
        (0x2002, high, low, ..) => Some(from(high, low)),
        (0, 0, 0, 0, 0, 0) if g != 0 => Some(from(g, h)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> EgressRules {
        EgressRules::new(
            ["https://login.example.com", "http://127.0.0.1:9000/jwks"],
            vec![
                EgressHost::Name("keys.example.com".to_owned()),
                EgressHost::Network("10.1.0.0/16".parse().unwrap()),
            ],
        )
    }

    #[test]
    fn a_host_that_the_configuration_names_is_called() {
        assert!(
            rules()
                .check("https://login.example.com/.well-known/openid-configuration")
                .is_ok()
        );
        assert!(rules().check("https://KEYS.example.com/jwks").is_ok());
        assert!(rules().check("https://10.1.2.3/jwks").is_ok());
    }

    #[test]
    fn a_host_that_nobody_named_is_refused() {
        let fault = rules().check("https://evil.example.com/jwks").unwrap_err();

        assert_eq!(fault, EgressFault::Host("evil.example.com".to_owned()));
        assert!(rules().check("https://10.2.0.1/jwks").is_err());
    }

    #[test]
    fn plain_http_goes_to_loopback_only() {
        assert!(rules().check("http://127.0.0.1:9000/jwks").is_ok());
        assert!(matches!(
            rules().check("http://login.example.com/"),
            Err(EgressFault::Plaintext(_))
        ));
        assert!(matches!(
            rules().check("http://10.1.2.3/"),
            Err(EgressFault::Plaintext(_))
        ));
    }

    /// RFC 5280 section 8: a CA's HTTPS server may hang on the list that is fetched from it.
    #[test]
    fn lists_may_come_over_plain_http_from_hosts_that_are_named_for_them() {
        let rules = rules().with_lists(["http://pki.example.com/ca.crl"]);
        let list = |url, named_by| rules.check_list(url, named_by);

        assert!(list("http://pki.example.com/other.crl", NamedBy::Configuration).is_ok());
        assert!(
            rules.check("https://pki.example.com/jwks").is_err(),
            "for lists alone"
        );
        for metadata in ["http://169.254.169.254/ca.crl", "http://[fe80::1]/ca.crl"] {
            assert!(matches!(
                list(metadata, NamedBy::Configuration),
                Err(EgressFault::Address(_))
            ));
        }
    }

    #[test]
    fn what_a_certificate_names_is_called_only_where_the_operator_allows_it() {
        let rules = rules().with_lists(["http://pki.example.com/ca.crl"]);
        let list = |url| rules.check_list(url, NamedBy::Certificate);

        assert!(list("http://keys.example.com/ca.crl").is_ok());
        assert!(list("http://10.1.2.3/ca.crl").is_ok());
        for url in [
            "http://pki.example.com/ca.crl",
            "https://login.example.com/jwks",
            "http://127.0.0.1:9000/jwks",
            "http://evil.example.com/ca.crl",
        ] {
            assert!(matches!(list(url), Err(EgressFault::Host(_))), "{url}");
        }
        assert!(list("ldap://keys.example.com/ca").is_err());
        assert!(list("https://keys.example.com:443/ca.crl").is_ok());
        assert!(matches!(
            list("http://a:b@keys.example.com/"),
            Err(EgressFault::Credentials)
        ));
    }

    /// OWASP SSRF: behind the port beside a list's may be a service that nobody meant, as a gateway's admin port.
    #[test]
    fn a_certificate_chooses_no_port_that_nobody_allowed() {
        let rules = EgressRules::new(
            ["https://login.example.com"],
            vec![
                EgressHost::Name("keys.example.com".to_owned()),
                EgressHost::Network("127.0.0.0/8".parse().unwrap()),
                EgressHost::NameAt("pki.example.com".to_owned(), 8080),
                EgressHost::AddressAt("[::1]:8081".parse().unwrap()),
            ],
        );
        let list = |url, named_by| rules.check_list(url, named_by);

        for url in [
            "http://keys.example.com:80/ca.crl",
            "http://127.0.0.1/ca.crl",
            "http://PKI.example.com:8080/ca.crl",
            "http://[::1]:8081/ca.crl",
        ] {
            assert!(list(url, NamedBy::Certificate).is_ok(), "{url}");
        }
        for (url, host, port) in [
            ("http://127.0.0.1:9901/deny", "127.0.0.1", 9901),
            ("http://keys.example.com:443/ca.crl", "keys.example.com", 443),
            ("https://keys.example.com:80/ca.crl", "keys.example.com", 80),
            ("http://keys.example.com:6379/", "keys.example.com", 6379),
        ] {
            let refused = EgressFault::Port(host.to_owned(), port);
            assert_eq!(list(url, NamedBy::Certificate), Err(refused), "{url}");
            assert!(
                list(url, NamedBy::Configuration).is_ok(),
                "{url}: the operator wrote it"
            );
        }
        for url in [
            "http://pki.example.com/ca.crl",
            "http://pki.example.com:8081/ca.crl",
            "http://[::1]/ca.crl",
            "http://[::1]:8080/ca.crl",
        ] {
            for named_by in [NamedBy::Certificate, NamedBy::Configuration] {
                assert!(matches!(list(url, named_by), Err(EgressFault::Host(_))), "{url}");
            }
        }
        assert!(rules.check("https://pki.example.com:8080/jwks").is_ok());
        assert!(rules.check("https://pki.example.com/jwks").is_err());
    }

    #[test]
    fn metadata_and_link_local_addresses_are_never_called() {
        for address in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fe80::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "0.0.0.0",
            "224.0.0.1",
        ] {
            assert!(check_address(address.parse().unwrap()).is_err(), "{address}");
        }
        for address in ["127.0.0.1", "::1", "10.0.0.1", "203.0.113.7", "2001:db8::1"] {
            assert!(check_address(address.parse().unwrap()).is_ok(), "{address}");
        }
    }

    #[test]
    fn naming_a_metadata_address_does_not_open_it() {
        let rules = EgressRules::new(["https://169.254.169.254/latest"], Vec::new());

        assert!(matches!(
            rules.check("https://169.254.169.254/latest"),
            Err(EgressFault::Address(_))
        ));
    }

    #[test]
    fn odd_urls_are_refused() {
        assert!(matches!(
            rules().check("file:///etc/passwd"),
            Err(EgressFault::Url(_))
        ));
        assert!(matches!(
            rules().check("https://a:b@login.example.com/"),
            Err(EgressFault::Credentials)
        ));
    }
}
