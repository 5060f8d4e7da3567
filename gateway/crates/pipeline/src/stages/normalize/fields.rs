//! The header fields that guards and endpoints get: nothing that speaks about one connection only, and nothing by
//! which a client could claim to be somebody.

use std::net::IpAddr;

use http::header::{CONNECTION, COOKIE, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use portcullis_model::Reason;
use smallvec::SmallVec;

use super::names::{Crossing, crossing, is_guarded, is_singleton};
use crate::record::RequestId;

/// More nominations than any honest `Connection` field makes.
const MAX_NOMINATIONS: usize = 16;

/// Names that `Connection` nominates.
type Nominations = SmallVec<[HeaderName; 4]>;

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
    pub request_id: Option<RequestId>,
    /// True when the peer is a trusted proxy: what it says of a trace is believed.
    pub is_from_proxy: bool,
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
    let nominated = nominated(raw)?;
    let is_from_proxy = trusted.iter().any(|net| net.contains(&peer));
    let mut headers = HeaderMap::with_capacity(raw.len());
    let mut cookies: Vec<u8> = Vec::new();
    let mut accepts_trailers = false;
    let mut previous: Option<&HeaderName> = None;
    for (name, value) in raw {
        // HTTP/1 reads a value without the white space around it, and HTTP/2 forbids it (RFC 9113 section 8.2.1): a
        // guard that saw it would see another value than the endpoint.
        if value.as_bytes().trim_ascii().len() != value.len() {
            return Err(Reason::FieldInvalid);
        }
        // All values of a name come one after the other.
        if previous.replace(name) == Some(name) && is_singleton(name) {
            return Err(Reason::FieldInvalid);
        }
        match crossing(name) {
            Crossing::Always => {}
            Crossing::FromProxies if is_from_proxy => {}
            Crossing::FromProxies => continue,
            Crossing::Never => {
                accepts_trailers |= *name == TE && value.as_bytes().eq_ignore_ascii_case(b"trailers");
                continue;
            }
        }
        if nominated.contains(name) {
            continue;
        }
        if *name == COOKIE && is_split(raw, &COOKIE) {
            append_crumb(&mut cookies, value.as_bytes());
            continue;
        }
        headers.append(name.clone(), value.clone());
    }
    if !cookies.is_empty() {
        let value =
            HeaderValue::from_maybe_shared(bytes::Bytes::from(cookies)).map_err(|_| Reason::FieldInvalid)?;
        headers.insert(COOKIE, value);
    }
    let forwarded_for = is_from_proxy.then(|| forwarded_chain(raw)).flatten();
    let client = forwarded_for
        .as_deref()
        .map_or(peer, |chain| client_of(chain, peer, trusted));
    Ok(CanonicalFields {
        headers,
        client,
        forwarded_for,
        request_id: is_from_proxy.then(|| trusted_request_id(raw)).flatten(),
        is_from_proxy,
        accepts_trailers,
    })
}

fn is_split(raw: &HeaderMap, name: &HeaderName) -> bool {
    raw.get_all(name).iter().nth(1).is_some()
}

/// HTTP/2 may split cookies into crumbs; HTTP/1 has one field (RFC 9113 section 8.2.3).
fn append_crumb(cookies: &mut Vec<u8>, crumb: &[u8]) {
    if !cookies.is_empty() {
        cookies.extend_from_slice(b"; ");
    }
    cookies.extend_from_slice(crumb);
}

/// The names that `Connection` nominates; a client that nominates what guards read is refused.
fn nominated(raw: &HeaderMap) -> Result<Nominations, Reason> {
    let mut names = Nominations::new();
    let mut count = 0;
    for value in raw.get_all(CONNECTION) {
        let text = value.to_str().map_err(|_| Reason::FieldInvalid)?;
        for token in text.split(',').map(str::trim).filter(|token| !token.is_empty()) {
            count += 1;
            if count > MAX_NOMINATIONS {
                return Err(Reason::FieldInvalid);
            }
            // What nearly every `Connection` says, and what never crosses anyway.
            if ["keep-alive", "close", "upgrade", "te"]
                .iter()
                .any(|known| token.eq_ignore_ascii_case(known))
            {
                continue;
            }
            let name: HeaderName = token.parse().map_err(|_| Reason::FieldInvalid)?;
            if is_guarded(name.as_str()) {
                return Err(Reason::FieldInvalid);
            }
            names.push(name);
        }
    }
    Ok(names)
}

/// Removes what an endpoint's answer says about its own connection.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let mut doomed = Nominations::new();
    for value in headers.get_all(CONNECTION) {
        let names = value.to_str().unwrap_or_default().split(',');
        doomed.extend(names.filter_map(|token| token.trim().parse().ok()));
    }
    doomed.retain(|name| *name != UPGRADE && *name != TRANSFER_ENCODING);
    let of_the_connection = |name: &&HeaderName| {
        matches!(
            name.as_str(),
            "keep-alive" | "proxy-authenticate" | "proxy-connection" | "te"
        )
    };
    doomed.extend(headers.keys().filter(of_the_connection).cloned());
    for name in doomed {
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

fn trusted_request_id(raw: &HeaderMap) -> Option<RequestId> {
    let text = raw.get(crate::answer::REQUEST_ID)?.to_str().ok()?;
    let is_plain = text.len() >= 8
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    RequestId::new(text).filter(|_| is_plain)
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
        let once = canonical(&[("authorization", "Bearer a"), ("x-own", "1")], &[]).unwrap();
        assert_eq!(once.headers["authorization"], "Bearer a");
        let others = canonical(&[("x-own", "1"), ("x-own", "2")], &[]).unwrap();
        assert_eq!(others.headers.get_all("x-own").iter().count(), 2);
    }

    #[test]
    fn trailers_are_accepted_only_by_who_says_exactly_that() {
        let accepts = |fields: &[(&str, &str)]| canonical(fields, &[]).unwrap().accepts_trailers;

        assert!(accepts(&[("te", "trailers")]));
        assert!(accepts(&[("te", "Trailers"), ("te", "gzip"), ("upgrade", "x")]));
        assert!(!accepts(&[("te", "trailers, gzip")]));
        assert!(!accepts(&[("upgrade", "trailers"), ("accept", "*/*")]));
    }

    #[test]
    fn trace_fields_cross_from_trusted_proxies_only() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let fields = [("traceparent", "x"), ("x-envoy-force-trace", "1")];

        assert!(canonical(&fields, &[]).unwrap().headers.is_empty());
        let out = canonical(&fields, &trusted).unwrap();
        assert_eq!((out.headers.len(), out.is_from_proxy), (2, true));
    }

    #[test]
    fn a_trusted_proxys_request_id_is_taken_when_it_is_plain() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let id = |text: &str| {
            let out = canonical(&[("x-request-id", text)], &trusted).unwrap();
            out.request_id.map(|id| id.to_string())
        };

        assert_eq!(id("abc-1234").as_deref(), Some("abc-1234"));
        assert_eq!(id(&"a".repeat(64)).map(|id| id.len()), Some(64));
        for text in ["abc-123", "abc_1234", "abc 1234", &"a".repeat(65)] {
            assert_eq!(id(text), None, "{text}");
        }
        let untrusted = canonical(&[("x-request-id", "abc-1234")], &[]).unwrap();
        assert_eq!(untrusted.request_id, None);
    }

    #[test]
    fn at_most_sixteen_names_are_nominated_the_common_ones_counted() {
        let nominate = |names: &str| canonical(&[("connection", names)], &[]).map(drop);

        assert_eq!(nominate(&["x-a"; 16].join(",")), Ok(()));
        assert_eq!(nominate(&["close"; 17].join(",")), Err(Reason::FieldInvalid));
        assert_eq!(nominate("a b"), Err(Reason::FieldInvalid));
    }

    #[test]
    fn an_endpoints_answer_says_nothing_of_its_connection() {
        let mut answer = headers(&[
            ("connection", "X-Hop, upgrade, Transfer-Encoding"),
            ("x-hop", "1"),
            ("upgrade", "websocket"),
            ("transfer-encoding", "chunked"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("proxy-authenticate", "Basic"),
            ("proxy-connection", "close"),
            ("content-type", "text/plain"),
        ]);

        strip_hop_by_hop(&mut answer);

        let mut names: Vec<_> = answer.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            ["connection", "content-type", "transfer-encoding", "upgrade"]
        );
    }

    #[test]
    fn one_cookie_field_stays_as_it_is() {
        let out = canonical(&[("cookie", "a=1; b=2")], &[]).unwrap();

        assert_eq!(out.headers[COOKIE], "a=1; b=2");
    }

    #[test]
    fn cookie_crumbs_become_one_field() {
        let out = canonical(&[("cookie", "a=1"), ("cookie", "b=2")], &[]).unwrap();

        assert_eq!(out.headers[COOKIE], "a=1; b=2");
    }
}
