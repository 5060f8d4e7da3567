//! `listeners`: the doors.

use std::net::SocketAddr;

use portcullis_identity::plan::ClientCertificates;
use portcullis_model::{Origin, Problems};
use serde_json::{Value, json};

use super::guards::GuardReference;
use super::patterns::HostText;
use super::revocation::MisplacedRevocation;
use super::scalars::{FilePath, KeySource};
use super::section::{Definitions, List, Named, OneOrMany, Read, section, words};
use super::tree::{Node, NodeKind};
use super::units::{ByteRate, Bytes, Period, Rate, Whole};

section! {
    /// A door: where clients connect.
    struct Listener {
        /// One address with a port, or several.
        required listen: OneOrMany<SocketAddr>,
        /// Protocols offered under TLS, in order of preference; `[h2, http/1.1]` by default.
        optional protocols: List<Alpn>,
        /// Whether connections begin with a PROXY header.
        optional proxy_protocol: ProxyProtocol,
        /// Terminates TLS here; without it the listener is plain HTTP, on loopback only.
        optional tls: ListenerTls,
        /// Bounds on connections; every one has a default.
        optional limits: ConnectionBounds,
        /// Limits that are paid before the route is known; keys: client.address, client.sni, request.host.
        optional rate_limits: List<GuardReference>,
        /// Allows plain HTTP outside loopback.
        optional danger_plaintext: bool,
        /// Serves no route and answers 308 to the same URL over HTTPS, on port 443 or the one given.
        optional redirect_to_https: Redirection,
    }
}

/// An ALPN protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Alpn {
    Http2,
    Http11,
}

impl Alpn {
    /// The protocol's registered name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Http2 => "h2",
            Self::Http11 => "http/1.1",
        }
    }
}

words! { Alpn { "h2" => Self::Http2, "http/1.1" => Self::Http11 } later { "h3" } }

/// Whether connections begin with a PROXY header.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ProxyProtocol {
    Off,
}

words! { ProxyProtocol { "off" => Self::Off } later { "require" } }

/// `true`, `false` or `{ port: 8443 }`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Redirection {
    Off,
    To(u16),
}

section! {
    /// Where a redirecting listener sends clients.
    struct RedirectionKeys {
        /// The port of the HTTPS URL.
        required port: Whole<1, 65_535>,
    }
}

impl Read for Redirection {
    fn read(node: &Node, origin: &Origin, problems: &mut Problems) -> Option<Self> {
        if let NodeKind::Mapping(_) = &node.kind {
            let keys = RedirectionKeys::read(node, origin, problems)?;
            return keys
                .port
                .get()
                .and_then(|port| u16::try_from(port.0).ok())
                .map(Self::To);
        }
        Some(if bool::read(node, origin, problems)? {
            Self::To(443)
        } else {
            Self::Off
        })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({ "anyOf": [{ "type": "boolean" }, RedirectionKeys::schema(definitions)] })
    }
}

section! {
    /// The TLS side of a listener: TLS 1.3 and 1.2.
    struct ListenerTls {
        /// Chosen by SNI among their names; the first one serves clients without SNI.
        required certificates: List<ShownCertificate>,
        /// Whether clients are asked for a certificate.
        optional client_certificates: ClientCertificateRules,
        /// What single names ask instead.
        optional hosts: Named<HostTls>,
    }
}

section! {
    /// A certificate chain with its private key.
    struct Certificate {
        /// PEM file, leaf first.
        required chain: FilePath,
        /// PEM file of the private key; also `${file:…}` or `${env:…}`.
        required key: KeySource,
    }
}

section! {
    /// Our SVID, from the Workload API or from `identity.svid`, as it rotates.
    struct ShownSvid {
        /// `true`.
        required svid: bool,
        /// The host names it is shown for, as in `mesh.internal` or `*.mesh.internal`, because an SVID seldom carries any. Without them: every name that no other certificate of the listener covers.
        optional names: List<HostText>,
    }
}

/// `{ chain: …, key: … }` or `{ svid: true }`.
#[derive(Debug)]
pub(crate) enum ShownCertificate {
    Files(Certificate),
    Svid(ShownSvid),
}

impl Read for ShownCertificate {
    fn read(node: &Node, origin: &Origin, problems: &mut Problems) -> Option<Self> {
        let is_svid = match &node.kind {
            NodeKind::Mapping(written) => written.iter().any(|entry| entry.key == "svid"),
            NodeKind::Scalar { .. } | NodeKind::Sequence(_) => false,
        };
        if is_svid {
            return ShownSvid::read(node, origin, problems).map(Self::Svid);
        }
        Certificate::read(node, origin, problems).map(Self::Files)
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({ "anyOf": [Certificate::schema(definitions), ShownSvid::schema(definitions)] })
    }
}

section! {
    /// Whether clients are asked for a certificate, and by whose anchors it must verify.
    struct ClientCertificateRules {
        /// `off`, `request` or `require`.
        required mode: ClientCertificates,
        /// Names under `trust`.
        optional trust: List<String>,
        /// Not here: revocation lists hang on a `trust`.
        optional crl: MisplacedRevocation,
        /// Not here: it hangs on a `trust`.
        optional on_stale_crl: MisplacedRevocation,
    }
}

words! {
    ClientCertificates { "off" => Self::Off, "request" => Self::Request, "require" => Self::Require }
}

section! {
    /// What one name asks of clients.
    struct HostTls {
        /// Instead of the listener's.
        required client_certificates: ClientCertificateRules,
    }
}

section! {
    /// Bounds on a listener's connections.
    struct ConnectionBounds {
        /// From the first byte of a request head to its end; 10s.
        optional header_timeout: Period,
        /// For the TLS handshake; 10s.
        optional handshake_timeout: Period,
        /// Without a request; 60s.
        optional idle_timeout: Period,
        /// Least average rate of a request body; 1KiB/s.
        optional body_rate: ByteRate,
        /// Size of one request head; 32KiB.
        optional max_header_bytes: Bytes,
        /// Fields of one request head; 128.
        optional max_headers: Whole<8, 1024>,
        /// Connections of the listener; 100000.
        optional max_connections: Whole<1, 10_000_000>,
        /// Connections of one address; 200.
        optional per_address: Whole<1, 10_000_000>,
        /// Handshakes of one address; 50/s.
        optional handshakes_per_address: Rate,
        /// Requests of one connection; 10000.
        optional requests_per_connection: Whole<1, 4_000_000_000>,
        /// Age at which a connection is told to go; 1h.
        optional connection_age: Period,
    }
}
