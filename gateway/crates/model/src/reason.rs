//! Every stage of a request and every reason one can end with: one table, from which code, response, metric
//! label, access log, `explain` and docs all take the same words.

use std::fmt;

use http::StatusCode;
use serde::{Serialize, Serializer};

macro_rules! stages {
    ($($(#[$doc:meta])* $name:ident = $code:literal),+ $(,)?) => {
        /// A step of the request's path, in order.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Stage { $($(#[$doc])* $name),+ }

        impl Stage {
            /// All stages in the order of the path.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The name used in code, metric labels, log fields, `explain` output and doc headings.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code),+ }
            }
        }
    };
}

stages! {
    /// The TLS handshake, once per connection.
    Handshake = "handshake",
    /// The bytes are one unambiguous request.
    Frame = "frame",
    /// One snapshot, a request id, a deadline.
    Begin = "begin",
    /// One canonical form of authority, path, query and fields.
    Normalize = "normalize",
    /// The listener's limits, before any costly work.
    Shed = "shed",
    /// Which route.
    MatchRoute = "match_route",
    /// Who is asking.
    Authenticate = "authenticate",
    /// How much they may ask.
    Limit = "limit",
    /// The head against the operation's contract.
    ValidateHead = "validate_head",
    /// Whether they may.
    Authorize = "authorize",
    /// The body against the operation's contract.
    ValidateBody = "validate_body",
    /// Where it goes.
    SelectEndpoint = "select_endpoint",
    /// The outgoing head.
    PrepareUpstream = "prepare_upstream",
    /// What the endpoint's answer says about the endpoint.
    Observe = "observe",
    /// Another attempt, or give up.
    Retry = "retry",
    /// One record, whatever happened.
    Record = "record",
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Stage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

macro_rules! reasons {
    ($($name:ident = $stage:ident, $status:ident, $code:literal, $title:literal;)+) => {
        /// Why a request ended before an endpoint's answer reached the client.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Reason { $(#[doc = $title] $name),+ }

        impl Reason {
            /// Every reason, in the order of the path.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The stable kebab-case code: response `code`, metric label, log field, docs table.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code),+ }
            }

            /// The stage that decides it.
            #[must_use]
            pub const fn stage(self) -> Stage {
                match self { $(Self::$name => Stage::$stage),+ }
            }

            /// The status it is answered with, unless a policy's decision names another 4xx.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status),+ }
            }

            /// The problem's `title`: fixed text, safe to show to anybody.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title),+ }
            }
        }
    };
}

reasons! {
    FrameMalformed = Frame, BAD_REQUEST, "frame-malformed", "The bytes are not one unambiguous HTTP request";
    HeadTimeout = Frame, REQUEST_TIMEOUT, "head-timeout", "The request head did not arrive in time";
    HeadTooLarge = Frame, REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large", "The request head is too large";
    VersionUnsupported = Frame, HTTP_VERSION_NOT_SUPPORTED, "version-unsupported", "The HTTP version is not supported";

    HostMissing = Normalize, BAD_REQUEST, "host-missing", "The request names no host";
    HostInvalid = Normalize, BAD_REQUEST, "host-invalid", "The host is not a valid name or address";
    HostAmbiguous = Normalize, BAD_REQUEST, "host-ambiguous", "The request names more than one host";
    Misdirected = Normalize, MISDIRECTED_REQUEST, "misdirected-request", "This connection may not ask for that host";
    TargetInvalid = Normalize, BAD_REQUEST, "target-invalid", "The request target is not an absolute path";
    MethodUnsupported = Normalize, NOT_IMPLEMENTED, "method-unsupported", "The method is not supported by the gateway";
    PathControl = Normalize, BAD_REQUEST, "path-control", "The path contains a control or forbidden byte";
    PathEncoding = Normalize, BAD_REQUEST, "path-encoding", "The path contains an invalid percent-encoding";
    PathDoubleEncoding = Normalize, BAD_REQUEST, "path-double-encoding", "The path is percent-encoded twice";
    PathUtf8 = Normalize, BAD_REQUEST, "path-utf8", "The path is not UTF-8";
    PathDotSegment = Normalize, BAD_REQUEST, "path-dot-segment", "The path contains a dot segment";
    PathEmptySegment = Normalize, BAD_REQUEST, "path-empty-segment", "The path contains an empty segment";
    PathEncodedSlash = Normalize, BAD_REQUEST, "path-encoded-slash", "The path contains an encoded slash";
    PathBackslash = Normalize, BAD_REQUEST, "path-backslash", "The path contains a backslash";
    PathSemicolon = Normalize, BAD_REQUEST, "path-semicolon", "The path contains a semicolon";
    PathFragment = Normalize, BAD_REQUEST, "path-fragment", "The request target contains a fragment";
    QueryEncoding = Normalize, BAD_REQUEST, "query-encoding", "The query is not valid percent-encoded UTF-8";
    FieldInvalid = Normalize, BAD_REQUEST, "field-invalid", "A header field is malformed or repeated where it must not be";

    ListenerRateLimited = Shed, TOO_MANY_REQUESTS, "listener-rate-limited", "Too many requests";

    RouteNotFound = MatchRoute, NOT_FOUND, "route-not-found", "No route matches this request";
    MethodNotAllowed = MatchRoute, METHOD_NOT_ALLOWED, "method-not-allowed", "The method is not allowed here";
    UpgradeNotAllowed = MatchRoute, BAD_REQUEST, "upgrade-not-allowed", "This route does not allow the requested upgrade";
    CorsRefused = MatchRoute, FORBIDDEN, "cors-refused", "The origin, method or field is not allowed by CORS";

    RateLimitedEarly = Authenticate, TOO_MANY_REQUESTS, "rate-limited-early", "Too many requests";
    CredentialsMissing = Authenticate, UNAUTHORIZED, "credentials-missing", "Credentials are required";
    TokenMalformed = Authenticate, UNAUTHORIZED, "token-malformed", "The token is malformed";
    TokenAlgorithm = Authenticate, UNAUTHORIZED, "token-algorithm", "The token's algorithm is not allowed";
    TokenIssuerUnknown = Authenticate, UNAUTHORIZED, "token-issuer-unknown", "The token's issuer is not accepted here";
    TokenKeyUnknown = Authenticate, UNAUTHORIZED, "token-key-unknown", "The token's key is not known";
    TokenSignature = Authenticate, UNAUTHORIZED, "token-signature", "The token's signature is not valid";
    TokenExpired = Authenticate, UNAUTHORIZED, "token-expired", "The token has expired";
    TokenNotYetValid = Authenticate, UNAUTHORIZED, "token-not-yet-valid", "The token is not valid yet";
    TokenAudience = Authenticate, UNAUTHORIZED, "token-audience", "The token is for another audience";
    TokenClaims = Authenticate, UNAUTHORIZED, "token-claims", "The token lacks a claim or has one of the wrong type";
    TokenType = Authenticate, UNAUTHORIZED, "token-type", "The token is of another type than an access token";
    TokenLifetime = Authenticate, UNAUTHORIZED, "token-lifetime", "The token is valid for longer than is allowed";
    TokenRevoked = Authenticate, UNAUTHORIZED, "token-revoked", "The token has been revoked";
    KeysUnavailable = Authenticate, SERVICE_UNAVAILABLE, "keys-unavailable", "The issuer's keys are not available";
    CertificateMissing = Authenticate, UNAUTHORIZED, "certificate-missing", "A client certificate is required";
    CertificateUntrusted = Authenticate, UNAUTHORIZED, "certificate-untrusted", "The client certificate is not trusted here";
    CertificateExpired = Authenticate, UNAUTHORIZED, "certificate-expired", "The client certificate has expired";
    CertificateSpiffeId = Authenticate, UNAUTHORIZED, "certificate-spiffe-id", "The client certificate does not carry exactly one SPIFFE ID";

    CertificateRevoked = Authenticate, UNAUTHORIZED, "certificate-revoked", "The client certificate has been revoked";
    CertificateStatusUnknown = Authenticate, UNAUTHORIZED, "certificate-status-unknown", "Whether the client certificate was revoked cannot be told now";

    RateLimited = Limit, TOO_MANY_REQUESTS, "rate-limited", "Too many requests";

    OperationUnknown = ValidateHead, NOT_FOUND, "operation-unknown", "The contract has no such operation";
    OperationMethod = ValidateHead, METHOD_NOT_ALLOWED, "operation-method", "The contract does not allow this method here";
    ParametersInvalid = ValidateHead, BAD_REQUEST, "parameters-invalid", "Parameters do not match the contract";
    MediaType = ValidateHead, UNSUPPORTED_MEDIA_TYPE, "media-type", "The contract does not accept this media type";
    BodyTooLargeDeclared = ValidateHead, PAYLOAD_TOO_LARGE, "body-too-large-declared", "The declared body is larger than the route allows";

    PolicyDenied = Authorize, FORBIDDEN, "policy-denied", "The policy denies this request";
    PolicyUndefined = Authorize, FORBIDDEN, "policy-undefined", "The policy gives no decision for this request";
    PolicyFault = Authorize, SERVICE_UNAVAILABLE, "policy-fault", "The policy could not be evaluated";
    PolicyTimeout = Authorize, SERVICE_UNAVAILABLE, "policy-timeout", "The policy took too long";
    NotAuthenticated = Authorize, FORBIDDEN, "not-authenticated", "A proven principal is required";
    ScopeMissing = Authorize, FORBIDDEN, "scope-missing", "A required scope is missing";
    RoleMissing = Authorize, FORBIDDEN, "role-missing", "A required role is missing";
    SpiffeNotAllowed = Authorize, FORBIDDEN, "spiffe-not-allowed", "This workload is not allowed here";

    BodyTooLarge = ValidateBody, PAYLOAD_TOO_LARGE, "body-too-large", "The body is larger than the route allows";
    BodyMalformed = ValidateBody, BAD_REQUEST, "body-malformed", "The body is not well-formed";
    BodyDuplicateKey = ValidateBody, BAD_REQUEST, "body-duplicate-key", "The body contains a duplicate key";
    BodyTooDeep = ValidateBody, BAD_REQUEST, "body-too-deep", "The body is nested too deeply";
    BodyMissing = ValidateBody, BAD_REQUEST, "body-missing", "The contract requires a body";
    BodyInvalid = ValidateBody, UNPROCESSABLE_ENTITY, "body-invalid", "The body does not match the contract";
    BodyIncomplete = ValidateBody, BAD_REQUEST, "body-incomplete", "The body ended before it was complete";
    BodyTimeout = ValidateBody, REQUEST_TIMEOUT, "body-timeout", "The body did not arrive in time";
    HeldBodiesFull = ValidateBody, SERVICE_UNAVAILABLE, "held-bodies-full", "The gateway holds too many bodies";

    ResidencyUnknown = SelectEndpoint, FORBIDDEN, "residency-unknown", "The request's residency is not known";
    ResidencyUnavailable = SelectEndpoint, SERVICE_UNAVAILABLE, "residency-unavailable", "No allowed region can serve this request now";
    NoEndpoint = SelectEndpoint, SERVICE_UNAVAILABLE, "no-endpoint", "No endpoint can serve this request now";
    PoolFull = SelectEndpoint, SERVICE_UNAVAILABLE, "pool-full", "The pool is at its limit";

    EndpointConnect = Retry, BAD_GATEWAY, "endpoint-connect", "The endpoint could not be reached";
    EndpointTls = Retry, BAD_GATEWAY, "endpoint-tls", "The endpoint's TLS handshake failed";
    EndpointIdentity = Retry, BAD_GATEWAY, "endpoint-identity", "The endpoint did not prove the expected identity";
    EndpointReset = Retry, BAD_GATEWAY, "endpoint-reset", "The endpoint closed the connection";
    EndpointProtocol = Retry, BAD_GATEWAY, "endpoint-protocol", "The endpoint's answer is not valid HTTP";
    EndpointTimeout = Retry, GATEWAY_TIMEOUT, "endpoint-timeout", "The endpoint did not answer in time";

    ClientClosed = Record, BAD_REQUEST, "client-closed", "The client went away";
    Internal = Record, INTERNAL_SERVER_ERROR, "internal", "The gateway failed";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_unique_and_kebab_case() {
        let codes: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();

        assert_eq!(codes.len(), Reason::ALL.len());
        assert!(codes.iter().all(|code| {
            code.chars()
                .all(|c| c.is_ascii_lowercase() || c == '-' || c.is_ascii_digit())
        }));
    }

    #[test]
    fn reasons_stand_in_the_order_of_the_path() {
        assert!(
            Reason::ALL
                .windows(2)
                .all(|pair| pair[0].stage() <= pair[1].stage())
        );
    }
}
