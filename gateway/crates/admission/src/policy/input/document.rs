//! The document itself: one shape, from which both engines build their own form.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName};
use portcullis_model::{JurisdictionId, Principal, SpiffeId};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::{ClientCertificate, PolicyInput};

/// Fields that carry credentials or somebody's identity: no policy sees them, whatever it declares.
const FORBIDDEN_HEADERS: [&str; 10] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-forwarded-client-cert",
    "client-cert",
    "client-cert-chain",
    "ssl-client-cert",
    "x-ssl-client-cert",
    "x-client-cert",
];

/// The gateway's own fields, which from outside are a claim and not a fact.
const FORBIDDEN_PREFIX: &str = "x-portcullis-";

/// True for a field that no policy may read.
pub(in crate::policy) fn is_forbidden_header(name: &HeaderName) -> bool {
    FORBIDDEN_HEADERS.contains(&name.as_str()) || name.as_str().starts_with(FORBIDDEN_PREFIX)
}

/// The `input` document of one policy for one request. Absent things are `null` or empty, never missing.
#[derive(Serialize)]
pub(in crate::policy) struct Document<'a> {
    request: Request<'a>,
    principal: Who<'a>,
    client: Client<'a>,
    route: Route<'a>,
    gateway: Gateway<'a>,
}

#[derive(Serialize)]
struct Request<'a> {
    id: &'a str,
    method: &'a str,
    scheme: &'a str,
    host: &'a str,
    path: &'a str,
    segments: Segments<'a>,
    query: Query<'a>,
    headers: Headers<'a>,
    body: Option<&'a serde_json::Value>,
}

#[derive(Serialize)]
struct Who<'a> {
    kind: &'a str,
    scheme: &'a str,
    id: Text<&'a Principal>,
    issuer: Option<&'a str>,
    subject: Option<&'a str>,
    spiffe_id: Option<Text<&'a SpiffeId>>,
    trust_domain: Option<&'a str>,
    tenant: Option<&'a str>,
    roles: &'a [Arc<str>],
    scopes: &'a [Arc<str>],
    region: Option<&'a str>,
    claims: Claims<'a>,
    expires_at: Option<u64>,
}

#[derive(Serialize)]
struct Client<'a> {
    address: Text<IpAddr>,
    certificate: Option<Certificate<'a>>,
}

#[derive(Serialize)]
struct Certificate<'a> {
    spiffe_id: Option<Text<&'a SpiffeId>>,
    fingerprint: Text<Hex<'a>>,
    expires_at: u64,
}

#[derive(Serialize)]
struct Route<'a> {
    name: &'a str,
    class: &'a str,
    params: Params<'a>,
    operation: Option<&'a str>,
    residency: &'a [JurisdictionId],
}

#[derive(Serialize)]
struct Gateway<'a> {
    region: &'a str,
    revision: &'a str,
}

impl<'a> Document<'a> {
    /// The document for a policy that reads `headers` and, with `reads_body`, the body.
    pub(in crate::policy) fn new(
        input: &'a PolicyInput<'a>,
        headers: &'a [HeaderName],
        reads_body: bool,
    ) -> Self {
        let principal = input.principal;
        let attributes = &principal.attributes;
        let subject = principal.subject();
        let spiffe_id = principal.spiffe_id();
        Self {
            request: Request {
                id: input.request_id,
                method: input.head.method.as_str(),
                scheme: input.head.scheme.as_str(),
                host: input.head.host,
                path: input.head.path,
                segments: Segments(input.head.path),
                query: Query(&input.head.query.pairs),
                headers: Headers {
                    names: headers,
                    map: input.head.headers,
                },
                body: if reads_body { input.body } else { None },
            },
            principal: Who {
                kind: principal.kind(),
                scheme: principal.proof.as_str(),
                id: Text(principal),
                issuer: subject.map(|subject| subject.issuer.as_str()),
                subject: subject.map(|subject| &*subject.subject),
                spiffe_id: spiffe_id.map(Text),
                trust_domain: spiffe_id.map(SpiffeId::trust_domain_name),
                tenant: attributes.tenant.as_deref(),
                roles: &attributes.roles,
                scopes: &attributes.scopes,
                region: attributes.region.as_deref(),
                claims: Claims(&attributes.claims),
                expires_at: principal.expires_at.map(unix_seconds),
            },
            client: Client {
                address: Text(input.head.client),
                certificate: input.certificate.map(Certificate::from),
            },
            route: Route {
                name: input.route.name.as_str(),
                class: input.route.class,
                params: Params(input.route.params),
                operation: input.route.operation,
                residency: input.route.residency,
            },
            gateway: Gateway {
                region: input.gateway.region.as_str(),
                revision: input.gateway.revision,
            },
        }
    }
}

impl<'a> From<ClientCertificate<'a>> for Certificate<'a> {
    fn from(certificate: ClientCertificate<'a>) -> Self {
        Self {
            spiffe_id: certificate.spiffe_id.map(Text),
            fingerprint: Text(Hex(certificate.fingerprint)),
            expires_at: unix_seconds(certificate.not_after),
        }
    }
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Bytes that print themselves in lower-case hexadecimal digits.
struct Hex<'a>(&'a [u8; 32]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What prints itself.
struct Text<T>(T);

impl<T: std::fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// The path's segments, decoded: what an author compares is the text that was meant.
struct Segments<'a>(&'a str);

impl Serialize for Segments<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(portcullis_model::path::segments(self.0).map(portcullis_model::path::decode))
    }
}

/// The query's names with every value each of them has, in order.
struct Query<'a>(&'a [(String, String)]);

impl Serialize for Query<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (position, (name, _)) in self.0.iter().enumerate() {
            if self.0.iter().take(position).all(|(earlier, _)| earlier != name) {
                map.serialize_entry(name, &QueryValues { pairs: self.0, name })?;
            }
        }
        map.end()
    }
}

struct QueryValues<'a> {
    pairs: &'a [(String, String)],
    name: &'a str,
}

impl Serialize for QueryValues<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            self.pairs
                .iter()
                .filter(|(name, _)| name == self.name)
                .map(|(_, value)| value),
        )
    }
}

/// The declared fields that the request has, every value of each.
struct Headers<'a> {
    names: &'a [HeaderName],
    map: &'a HeaderMap,
}

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for name in self
            .names
            .iter()
            .filter(|name| self.map.contains_key(*name) && !is_forbidden_header(name))
        {
            map.serialize_entry(name.as_str(), &HeaderValues { map: self.map, name })?;
        }
        map.end()
    }
}

struct HeaderValues<'a> {
    map: &'a HeaderMap,
    name: &'a HeaderName,
}

impl Serialize for HeaderValues<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for value in self.map.get_all(self.name) {
            list.serialize_element(&field_text(value.as_bytes()))?;
        }
        list.end()
    }
}

/// A field's value as text: UTF-8, otherwise one character per byte (ISO 8859-1), so that no value is ever left out.
fn field_text(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(
        |_| Cow::Owned(bytes.iter().copied().map(char::from).collect()),
        Cow::Borrowed,
    )
}

/// The decoded path parameters.
struct Params<'a>(&'a [(Arc<str>, String)]);

impl Serialize for Params<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (&**name, value)))
    }
}

/// The claims, an empty object where there are none.
struct Claims<'a>(&'a serde_json::Value);

impl Serialize for Claims<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_null() {
            return serializer.serialize_map(Some(0))?.end();
        }
        self.0.serialize(serializer)
    }
}
