//! Which names a trailer may have, in HTTP/1 and HTTP/2.

use portcullis_framing::is_trailer_allowed;

#[test]
fn harmless_names_are_allowed() {
    for name in [
        "grpc-status",
        "grpc-message",
        "grpc-status-details-bin",
        "grpc_retry",
        "Server-Timing",
        "ETag",
        "Digest",
        "Content-Digest",
        "Repr-Digest",
        "Signature",
        "X-Checksum",
        "a",
        "hos",
        "hostx",
        "x-forwarded",
        "proxy",
        "content-lengths",
    ] {
        assert!(is_trailer_allowed(name.as_bytes()), "{name}");
    }
}

/// RFC 9110 section 6.5.1, and every field by which this gateway or an endpoint decides.
#[test]
fn framing_routing_and_identity_are_not_allowed() {
    for name in [
        "Content-Length",
        "transfer-encoding",
        "Trailer",
        "TE",
        "Upgrade",
        "Connection",
        "Host",
        "Max-Forwards",
        "Authorization",
        "authorization",
        "AUTHORIZATION",
        "Cookie",
        "Set-Cookie",
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Anything",
        "X-Real-IP",
        "Proxy-Authorization",
        "Proxy-Connection",
        "Traceparent",
        "Tracestate",
        "Baggage",
        "X-Request-Id",
        "Client-Cert",
        "Client-Cert-Chain",
        "X-Client-Cert",
        "X-SSL-Client-S-DN",
        "X-SPIFFE-ID",
        "X-Portcullis-Principal",
        "X-Amzn-Oidc-Data",
        "X-Original-URL",
        "X-HTTP-Method-Override",
        "Content-Type",
        "Content-Encoding",
        "Content-Range",
        "Range",
        "If-Match",
        "Expect",
        "Cache-Control",
        "Vary",
        "Location",
        "Date",
        "WWW-Authenticate",
        "Access-Control-Allow-Origin",
        "Sec-Fetch-Site",
    ] {
        assert!(!is_trailer_allowed(name.as_bytes()), "{name}");
        for mark in ["_", "."] {
            let look_alike = name.replace('-', mark);
            assert!(!is_trailer_allowed(look_alike.as_bytes()), "{look_alike}");
        }
    }
}

#[test]
fn no_name_is_no_trailer() {
    assert!(!is_trailer_allowed(b""));
}
