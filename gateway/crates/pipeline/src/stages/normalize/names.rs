//! Which fields of a request cross the gateway, by their names alone.

use http::HeaderName;

/// Whether a field crosses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Crossing {
    /// As it came.
    Always,
    /// Only from a trusted proxy: it speaks for whoever wrote it.
    FromProxies,
    /// Never: it speaks about one connection, or only the gateway may write it.
    Never,
}

/// The longest name that is looked at as a look-alike; none of ours is as long.
const LONGEST: usize = 64;

/// Whether a field of this name crosses.
pub(super) fn crossing(name: &HeaderName) -> Crossing {
    let name = name.as_str();
    if name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        return crossing_of(name);
    }
    // `X_User` reaches some endpoints as `X-User`: a name with an underscore is a look-alike of another.
    if name.contains('_') {
        return Crossing::Never;
    }
    // CGI's environment turns every other mark into an underscore too, and an underscore reads like a hyphen there.
    let mut folded = [0; LONGEST];
    let Some(folded) = folded.get_mut(..name.len()) else {
        return Crossing::Always;
    };
    for (to, from) in folded.iter_mut().zip(name.bytes()) {
        *to = if from.is_ascii_alphanumeric() { from } else { b'-' };
    }
    match std::str::from_utf8(folded).map(crossing_of) {
        Ok(Crossing::Always) => Crossing::Always,
        Ok(Crossing::Never | Crossing::FromProxies) | Err(_) => Crossing::Never,
    }
}

fn crossing_of(name: &str) -> Crossing {
    if is_hop_by_hop(name)
        || name == "host"
        || is_override(name)
        || is_forwarding(name)
        || is_about_identity(name)
    {
        Crossing::Never
    } else if is_trace_control(name) {
        Crossing::FromProxies
    } else {
        Crossing::Always
    }
}

/// Fields that describe one connection (RFC 9110 section 7.6.1); an end never sees another connection's. A
/// request's trailers are not passed on, so nothing may announce them.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Fields by which some endpoints take another path or method than the request line's: than the one that was checked.
fn is_override(name: &str) -> bool {
    matches!(
        name,
        "x-http-method"
            | "x-http-method-override"
            | "x-method-override"
            | "x-original-method"
            | "x-original-uri"
            | "x-original-url"
            | "x-rewrite-url"
    )
}

/// Fields that say where a request came from: rewritten, and read only when the peer is a trusted proxy. Every
/// `x-forwarded-` field is one, those that name a user or a certificate too.
fn is_forwarding(name: &str) -> bool {
    name.starts_with("x-forwarded-")
        || matches!(
            name,
            "cf-connecting-ip"
                | "fastly-client-ip"
                | "forwarded"
                | "true-client-ip"
                | "x-client-ip"
                | "x-cluster-client-ip"
                | "x-real-ip"
                | "x-request-id"
        )
}

/// Fields by which endpoints are told who the client is: only the gateway writes them.
fn is_about_identity(name: &str) -> bool {
    let any = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    match name.as_bytes().first() {
        Some(b'x') => any(&[
            "x-portcullis-",
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
        ]),
        Some(b'c') => any(&["client-cert"]),
        Some(b's') => any(&["ssl-client-"]),
        Some(b'r') => any(&["remote-"]),
        _ => false,
    }
}

/// Fields by which a client could join somebody's trace, have itself sampled, or steer a mesh behind us.
fn is_trace_control(name: &str) -> bool {
    match name.as_bytes().first() {
        Some(b'x') => {
            ["x-b3-", "x-datadog-", "x-envoy-", "x-ot-span-"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
                || matches!(
                    name,
                    "x-amzn-trace-id" | "x-client-trace-id" | "x-cloud-trace-context"
                )
        }
        Some(b'b' | b'g' | b'j' | b's' | b't' | b'u') => {
            matches!(
                name,
                "b3" | "baggage"
                    | "grpc-trace-bin"
                    | "jaeger-baggage"
                    | "jaeger-debug-id"
                    | "sentry-trace"
                    | "traceparent"
                    | "tracestate"
                    | "uber-trace-id"
            )
        }
        _ => false,
    }
}

/// Fields of which a request may have one at most: two would let a guard and an endpoint each read another.
pub(super) fn is_singleton(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "authorization"
            | "content-length"
            | "content-type"
            | "host"
            | "traceparent"
            | "x-request-id"
            | "origin"
            | "access-control-request-method"
    )
}

/// Fields that guards read or that frame the message: a client that nominates one in `Connection`, to have it
/// removed behind the guard's back, is refused (CVE-2024-45410). What the gateway writes itself is written after
/// nominations were obeyed, and cannot be nominated away at all.
pub(super) fn is_guarded(name: &str) -> bool {
    matches!(
        name,
        "authorization" | "cookie" | "content-encoding" | "content-length" | "content-type" | "host"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> Crossing {
        crossing(&HeaderName::try_from(name).unwrap())
    }

    #[test]
    fn ordinary_fields_cross_and_those_of_a_connection_do_not() {
        for name in [
            "accept",
            "x-own",
            "x-tenant",
            "cookie",
            "authorization",
            "a",
            "x.own",
        ] {
            assert_eq!(of(name), Crossing::Always, "{name}");
        }
        for name in [
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
            "host",
        ] {
            assert_eq!(of(name), Crossing::Never, "{name}");
        }
    }

    #[test]
    fn what_common_endpoints_take_for_the_gateways_word_never_crosses() {
        for name in [
            "x-portcullis-principal",
            "client-cert",
            "client-cert-chain",
            "ssl-client-cert",
            "x-client-cert",
            "x-tls-client-cert",
            "x-ssl-client-verify",
            "x-spiffe-id",
            "x-arr-clientcert",
            "x-amzn-mtls-clientcert",
            "x-amzn-oidc-data",
            "x-apigateway-event",
            "x-auth-request-user",
            "x-authenticated-userid",
            "x-goog-authenticated-user-email",
            "x-goog-iap-jwt-assertion",
            "x-ms-client-principal",
            "x-remote-user",
            "remote-user",
            "x-forwarded-for",
            "x-forwarded-user",
            "x-forwarded-access-token",
            "x-forwarded-ssl",
            "forwarded",
            "cf-connecting-ip",
            "fastly-client-ip",
            "x-client-ip",
            "x-cluster-client-ip",
            "x-real-ip",
            "x-request-id",
            "true-client-ip",
            "x-original-url",
            "x-original-uri",
            "x-rewrite-url",
            "x-original-method",
            "x-http-method",
            "x-method-override",
            "x-http-method-override",
        ] {
            assert_eq!(of(name), Crossing::Never, "{name}");
        }
    }

    #[test]
    fn look_alikes_never_cross() {
        for name in [
            "x_user",
            "x_portcullis_principal",
            "x.forwarded.for",
            "x-forwarded.for",
            "x-remote!user",
            "remote+user",
            "transfer~encoding",
            "x.b3.sampled",
        ] {
            assert_eq!(of(name), Crossing::Never, "{name}");
        }
        assert_eq!(of(&format!("{}.b", "a".repeat(200))), Crossing::Always);
    }

    /// RFC 3875 section 4.1.18: these become `HTTP_X__PORTCULLIS_IDENTITY` and `HTTP_HTTP_X_PORTCULLIS_IDENTITY`, which
    /// are other variables than the one that ours becomes.
    #[test]
    fn names_that_stay_others_in_every_spelling_cross() {
        for name in [
            "x--portcullis-identity",
            "http-x-portcullis-identity",
            "portcullis-identity",
        ] {
            assert_eq!(of(name), Crossing::Always, "{name}");
        }
    }

    #[test]
    fn trace_control_crosses_from_proxies_alone() {
        for name in [
            "traceparent",
            "tracestate",
            "baggage",
            "b3",
            "grpc-trace-bin",
            "jaeger-baggage",
            "jaeger-debug-id",
            "sentry-trace",
            "uber-trace-id",
            "x-b3-sampled",
            "x-datadog-sampling-priority",
            "x-envoy-force-trace",
            "x-ot-span-context",
            "x-amzn-trace-id",
            "x-client-trace-id",
            "x-cloud-trace-context",
        ] {
            assert_eq!(of(name), Crossing::FromProxies, "{name}");
        }
    }
}
