//! The header fields that guards and endpoints get: nothing that speaks about one connection only, and nothing by
//! which a client could claim to be somebody.

use std::net::IpAddr;

use http::header::{CONNECTION, COOKIE, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use portcullis_model::Reason;

/// More nominations than any honest `Connection` field makes.
const MAX_NOMINATIONS: usize = 16;

/// Fields that describe one connection (RFC 9110 section 7.6.1); an end never sees another connection's. A
/// request's trailers are not passed on, so nothing may announce them.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Fields by which endpoints are told who the client is: only the gateway writes them.
const IDENTITY_PREFIXES: [&str; 18] = [
    "x-portcullis-",
    "client-cert",
    "ssl-client-",
    "x-client-cert",
    "x-tls-client-",
    "x-ssl-",
    "x-spiffe",
    "x-arr-",
    "x-amzn-mtls-",
    "x-amzn-oidc-",
    "x-apigateway-",
    "x-auth-request-",
    "x-authenticated-",
    "x-goog-authenticated-",
    "x-goog-iap-",
    "x-ms-client-principal",
    "x-remote-",
    "remote-",
];

/// Fields that say where a request came from: rewritten, and read only when the peer is a trusted proxy. Every
/// `x-forwarded-` field is one, those that name a user or a certificate too.
const FORWARDING_PREFIX: &str = "x-forwarded-";
const FORWARDING: [&str; 8] = [
    "cf-connecting-ip",
    "fastly-client-ip",
    "forwarded",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-real-ip",
    "x-request-id",
];

/// Fields by which some endpoints take another path or method than the request line's: than the one that was checked.
const OVERRIDES: [&str; 7] = [
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
];

/// Fields of which a request may have one at most: two would let a guard and an endpoint each read another.
const SINGLETONS: [&str; 8] = [
    "authorization",
    "content-length",
    "content-type",
    "host",
    "traceparent",
    "x-request-id",
    "origin",
    "access-control-request-method",
];

/// What `normalize` makes of the fields.
#[derive(Debug)]
pub(super) struct CanonicalFields {
    /// The fields that every guard sees and that the endpoint gets.
    pub headers: HeaderMap,
    /// The client's address.
    pub client: IpAddr,
    /// The addresses a trusted proxy reported, as they go on in `X-Forwarded-For`.
    pub forwarded_for: Option<String>,
    /// The `x-request-id` of a trusted proxy.
    pub request_id: Option<String>,
    /// True when the client accepts trailers (`TE: trailers`).
    pub accepts_trailers: bool,
}

/// Brings the fields to their canonical form.
///
/// # Errors
/// Returns a reason for repeated singletons and for `Connection` fields no honest client sends.
pub(super) fn canonical_fields(
    raw: &HeaderMap,
    peer: IpAddr,
    trusted: &[IpNet],
) -> Result<CanonicalFields, Reason> {
    for name in SINGLETONS {
        if raw.get_all(name).iter().nth(1).is_some() {
            return Err(Reason::FieldInvalid);
        }
    }
    let nominated = nominated(raw)?;
    let mut headers = HeaderMap::with_capacity(raw.len());
    let mut cookies: Vec<u8> = Vec::new();
    for (name, value) in raw {
        if is_dropped(name) || nominated.contains(name) {
            continue;
        }
        if name == COOKIE {
            if !cookies.is_empty() {
                cookies.extend_from_slice(b"; ");
            }
            cookies.extend_from_slice(value.as_bytes());
            continue;
        }
        headers.append(name.clone(), value.clone());
    }
    if !cookies.is_empty() {
        let value =
            HeaderValue::from_maybe_shared(bytes::Bytes::from(cookies)).map_err(|_| Reason::FieldInvalid)?;
        headers.insert(COOKIE, value);
    }
    let is_trusted = trusted.iter().any(|net| net.contains(&peer));
    let forwarded_for = is_trusted.then(|| forwarded_chain(raw)).flatten();
    let client = forwarded_for
        .as_deref()
        .map_or(peer, |chain| client_of(chain, peer, trusted));
    let request_id = if is_trusted { trusted_request_id(raw) } else { None };
    let accepts_trailers = raw
        .get_all(TE)
        .iter()
        .any(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"));
    Ok(CanonicalFields {
        headers,
        client,
        forwarded_for,
        request_id,
        accepts_trailers,
    })
}

/// True for fields that never cross the gateway, in either direction of trust.
fn is_dropped(name: &HeaderName) -> bool {
    let name = name.as_str();
    // `X_User` reaches some endpoints as `X-User`: a name with an underscore is a look-alike of another.
    name.contains('_')
        || name == "host"
        || HOP_BY_HOP.contains(&name)
        || FORWARDING.contains(&name)
        || OVERRIDES.contains(&name)
        || name.starts_with(FORWARDING_PREFIX)
        || IDENTITY_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The names that `Connection` nominates. Ours and the ones that guards read cannot be nominated away
/// (CVE-2024-45410): a client that tries is refused.
fn nominated(raw: &HeaderMap) -> Result<Vec<HeaderName>, Reason> {
    let mut names = Vec::new();
    for value in raw.get_all(CONNECTION) {
        let text = value.to_str().map_err(|_| Reason::FieldInvalid)?;
        for token in text.split(',').map(str::trim).filter(|token| !token.is_empty()) {
            let name: HeaderName = token.parse().map_err(|_| Reason::FieldInvalid)?;
            if names.len() == MAX_NOMINATIONS {
                return Err(Reason::FieldInvalid);
            }
            let is_guarded = matches!(
                name.as_str(),
                "authorization" | "cookie" | "content-type" | "content-length" | "host"
            );
            if is_guarded {
                return Err(Reason::FieldInvalid);
            }
            names.push(name);
        }
    }
    Ok(names)
}

/// Removes what an endpoint's answer says about its own connection.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let nominated: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .filter_map(|token| token.trim().parse().ok())
        .collect();
    for name in nominated {
        if name != UPGRADE && name != TRANSFER_ENCODING {
            headers.remove(name);
        }
    }
    for name in ["keep-alive", "proxy-authenticate", "proxy-connection", "te"] {
        headers.remove(name);
    }
}

fn forwarded_chain(raw: &HeaderMap) -> Option<String> {
    let mut chain = Vec::new();
    for value in raw.get_all("x-forwarded-for") {
        chain.extend(value.to_str().ok()?.split(',').map(|part| part.trim().to_owned()));
    }
    if chain.is_empty() {
        for value in raw.get_all("forwarded") {
            for element in value.to_str().ok()?.split(',') {
                let node = element.split(';').find_map(|pair| {
                    let (name, value) = pair.trim().split_once('=')?;
                    name.eq_ignore_ascii_case("for")
                        .then(|| value.trim_matches('"').to_owned())
                })?;
                chain.push(node);
            }
        }
    }
    let chain: Option<Vec<String>> = chain
        .iter()
        .map(|node| address(node).map(|ip| ip.to_string()))
        .collect();
    chain
        .filter(|chain| !chain.is_empty())
        .map(|chain| chain.join(", "))
}

/// An address as it stands in `X-Forwarded-For` or a `for` parameter (RFC 7239 section 6).
fn address(node: &str) -> Option<IpAddr> {
    if let Some(rest) = node.strip_prefix('[') {
        return rest.split(']').next()?.parse().ok();
    }
    node.parse()
        .ok()
        .or_else(|| node.rsplit_once(':')?.0.parse().ok())
}

/// The last address that is not one of our own proxies.
fn client_of(chain: &str, peer: IpAddr, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer;
    for node in chain.rsplit(", ") {
        let Ok(address) = node.parse() else {
            return client;
        };
        client = address;
        if !trusted.iter().any(|net| net.contains(&address)) {
            return client;
        }
    }
    client
}

fn trusted_request_id(raw: &HeaderMap) -> Option<String> {
    let text = raw.get("x-request-id")?.to_str().ok()?;
    let is_plain = (8..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_plain.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(
                HeaderName::try_from(*name).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        map
    }

    fn canonical(fields: &[(&str, &str)], trusted: &[IpNet]) -> Result<CanonicalFields, Reason> {
        canonical_fields(&headers(fields), "10.0.0.9".parse().unwrap(), trusted)
    }

    #[test]
    fn identity_fields_and_their_look_alikes_never_cross() {
        let fields = [
            ("x-forwarded-client-cert", "By=spiffe://x"),
            ("x-portcullis-principal", "root"),
            ("x_portcullis_principal", "root"),
            ("x_user", "root"),
            ("x-ssl-client-verify", "SUCCESS"),
            ("accept", "*/*"),
        ];

        let out = canonical(&fields, &[]).unwrap();

        assert_eq!(out.headers.len(), 1);
        assert!(out.headers.contains_key("accept"));
    }

    #[test]
    fn what_common_endpoints_take_for_the_gateways_word_never_crosses() {
        let names = [
            "client-cert",
            "client-cert-chain",
            "ssl-client-cert",
            "x-tls-client-cert",
            "x-arr-clientcert",
            "x-amzn-oidc-data",
            "x-goog-iap-jwt-assertion",
            "x-ms-client-principal",
            "x-auth-request-user",
            "x-remote-user",
            "remote-user",
            "x-forwarded-user",
            "x-forwarded-access-token",
            "x-forwarded-ssl",
            "x-client-ip",
            "true-client-ip",
            "x-original-url",
            "x-rewrite-url",
            "x-original-method",
            "x-http-method-override",
            "http2-settings",
            "trailer",
        ];
        for name in names {
            let out = canonical(&[(name, "forged"), ("x-own", "1")], &[]).unwrap();
            assert_eq!(out.headers.keys_len(), 1, "{name}");
        }
    }

    #[test]
    fn forwarding_fields_are_believed_from_trusted_proxies_only() {
        let fields = [("x-forwarded-for", "203.0.113.7, 10.0.0.1")];
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];

        assert_eq!(canonical(&fields, &[]).unwrap().client.to_string(), "10.0.0.9");
        assert_eq!(
            canonical(&fields, &trusted).unwrap().client.to_string(),
            "203.0.113.7"
        );
    }

    #[test]
    fn a_client_cannot_prepend_an_address_it_likes() {
        let fields = [("x-forwarded-for", "1.1.1.1, 203.0.113.7, 10.0.0.1")];
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];

        assert_eq!(
            canonical(&fields, &trusted).unwrap().client.to_string(),
            "203.0.113.7"
        );
    }

    #[test]
    fn forwarded_nodes_are_read_with_brackets_and_ports() {
        let fields = [(
            "forwarded",
            "for=\"[2001:db8::1]:4711\";proto=https, for=10.0.0.1",
        )];
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];

        assert_eq!(
            canonical(&fields, &trusted).unwrap().client.to_string(),
            "2001:db8::1"
        );
    }

    #[test]
    fn nominated_fields_go_but_guarded_ones_cannot_be_nominated() {
        let out = canonical(
            &[("connection", "close, X-Hop"), ("x-hop", "1"), ("x-stay", "1")],
            &[],
        )
        .unwrap();
        assert!(!out.headers.contains_key("x-hop") && out.headers.contains_key("x-stay"));

        let refused = canonical(
            &[("connection", "Authorization"), ("authorization", "Bearer x")],
            &[],
        );
        assert_eq!(refused.unwrap_err(), Reason::FieldInvalid);
    }

    #[test]
    fn repeated_singletons_are_refused() {
        let refused = canonical(
            &[("authorization", "Bearer a"), ("authorization", "Bearer b")],
            &[],
        );

        assert_eq!(refused.unwrap_err(), Reason::FieldInvalid);
    }

    #[test]
    fn cookie_crumbs_become_one_field() {
        let out = canonical(&[("cookie", "a=1"), ("cookie", "b=2")], &[]).unwrap();

        assert_eq!(out.headers[COOKIE], "a=1; b=2");
    }
}
