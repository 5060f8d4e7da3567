//! `routes`: what is served, to whom, and from where.

use http::{HeaderName, Method, StatusCode};
use portcullis_model::{Guard, Mode, Origin, Problems};
use portcullis_pipeline::plan::{Class, HostRewrite, PathOddity};
use portcullis_routing::plan::RetryScope;
use serde_json::{Value, json};

use super::guards::{GuardReference, exactly_one, guard};
use super::patterns::{HostText, PathText, ValueText};
use super::scalars::{AnyText, FieldValue};
use super::section::{At, Definitions, Flaw, List, Named, OneOrMany, Read, Scalar, section, words};
use super::tree::{Node, NodeKind};
use super::units::{Bytes, GuardShare, Period, Tolerance, Whole};

section! {
    /// A route: either `authenticate` with `authorize`, or `public: true`; and one of `pool`, `respond`, `redirect`.
    struct Route {
        /// Its name, unique.
        required name: String,
        /// Which requests it is for; everything given must match.
        required matches as "match": Match,
        /// Names of listeners; by default every one that serves routes.
        optional listeners: List<String>,
        /// Ways to prove who is asking, in order: the first credential that is present decides.
        optional authenticate: List<Scheme>,
        /// Limits, paid once the principal is known; those without a principal in their key before.
        optional rate_limits: List<GuardReference>,
        /// The contract that requests must fit.
        optional contract: GuardReference,
        /// What may pass: all of these must allow.
        optional authorize: List<Rule>,
        /// Open to everybody.
        optional public: bool,
        /// The pool that answers.
        optional pool: String,
        /// A fixed answer.
        optional respond: Respond,
        /// A redirect.
        optional redirect: Redirect,
        /// `critical`, `default` or `sheddable`.
        optional class: Class,
        /// Where requests may be processed.
        optional residency: Residency,
        /// Deadlines.
        optional timeouts: Timeouts,
        /// The request body.
        optional body: Body,
        /// Second attempts.
        optional retry: Retry,
        /// Protocols a client may upgrade to.
        optional upgrade: List<Upgrade>,
        /// Cross-origin rules for browsers.
        optional cors: Cors,
        /// What a path may hold that is refused otherwise.
        optional path: PathKeys,
        /// What changes in the target and host.
        optional rewrite: Rewrite,
        /// Fields of the request to the endpoint.
        optional request_headers: Fields,
        /// Fields of the answer to the client.
        optional response_headers: Fields,
    }
    later { "affinity", "hedge", "mirror", "cache" }
}

words! { Class { "critical" => Self::Critical, "default" => Self::Default, "sheddable" => Self::Sheddable } }

section! {
    /// Which requests a route is for.
    struct Match {
        /// Hosts, or `*.example.com`; every host by default.
        optional host: OneOrMany<HostText>,
        /// `/a` is exact, `/a/**` is everything below too, `*` and `{id}` are one segment; or `{ regex: … }`.
        required path: PathText,
        /// Methods; every one by default. HEAD is allowed where GET is.
        optional methods: List<Method>,
        /// Fields that must be there, with their values.
        optional headers: Named<ValueText>,
        /// Query parameters that must be there, with their values.
        optional query: Named<ValueText>,
    }
}

section! {
    /// One way to prove who is asking; exactly one of these.
    struct Scheme {
        /// A bearer token of this issuer.
        optional jwt: String,
        /// A client certificate under these trust anchors.
        optional mtls: String,
    }
}

section! {
    /// A rule; exactly one of `name`, `scope`, `role`, `spiffe`, `authenticated`.
    struct RuleKeys {
        /// A policy.
        optional name: String,
        /// A scope the principal must have.
        optional scope: String,
        /// A role the principal must have.
        optional role: String,
        /// SPIFFE IDs that may pass; `*` is one path segment, a last `**` any number.
        optional spiffe: OneOrMany<SpiffePattern>,
        /// `true`: any proven principal.
        optional authenticated: bool,
        /// Asked for these methods only.
        optional methods: List<Method>,
        /// `off`, `observe` or `enforce`; never sharper than the policy's.
        optional mode: Mode,
        /// The share of requests it holds for; all by default.
        optional percent: GuardShare,
    }
}

/// A SPIFFE ID with wildcards.
#[derive(Clone, Debug)]
pub(crate) struct SpiffePattern(pub(crate) String);

impl Scalar for SpiffePattern {
    const EXPECTED: &'static str = "a SPIFFE ID like \"spiffe://corp.example/orders\"";

    fn parse(text: &str, _: bool) -> Result<Self, Flaw> {
        let bad = |why: &str| Flaw::new("bad-value", format!("{text:?} is not a SPIFFE pattern: {why}"));
        let Some(rest) = text.strip_prefix("spiffe://") else {
            return Err(bad("it does not start with spiffe://"));
        };
        let (domain, path) = rest
            .split_once('/')
            .map_or((rest, None), |(domain, path)| (domain, Some(path)));
        if domain.contains('*') {
            return Err(bad("a wildcard stands for the path only").with_hint("name the trust domain"));
        }
        let segments: Vec<&str> = path.into_iter().flat_map(|path| path.split('/')).collect();
        let last = segments.len().saturating_sub(1);
        for (index, segment) in segments.iter().enumerate() {
            let is_wildcard = *segment == "*" || (*segment == "**" && index == last);
            if segment.contains('*') && !is_wildcard {
                return Err(bad("`*` is a whole segment, `**` the last one"));
            }
        }
        let plain = text.trim_end_matches("/**").replace("/*", "/any");
        portcullis_model::SpiffeId::new(&plain).map_err(|error| bad(&error.to_string()))?;
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^spiffe://" })
    }
}

/// What a rule of `authorize` asks.
#[derive(Debug)]
pub(crate) enum Demand {
    Authenticated,
    Policy(At<String>),
    Scope(String),
    Role(String),
    Spiffe(Vec<String>),
}

/// A rule of `authorize`.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) demand: Demand,
    pub(crate) methods: Vec<Method>,
    pub(crate) guard: Option<Guard>,
}

impl Read for Rule {
    fn read(node: &Node, origin: &Origin, problems: &mut Problems) -> Option<Self> {
        if let NodeKind::Mapping(_) = &node.kind {
            let keys = RuleKeys::read(node, origin, problems)?;
            return Self::from_keys(&keys, origin, problems);
        }
        let name = String::read(node, origin, problems)?;
        let demand = if name == "authenticated" {
            Demand::Authenticated
        } else {
            Demand::Policy(At::new(name, origin.clone()))
        };
        Some(Self {
            demand,
            methods: Vec::new(),
            guard: None,
        })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({ "anyOf": [{ "type": "string", "minLength": 1 }, RuleKeys::schema(definitions)] })
    }
}

impl Rule {
    fn from_keys(keys: &RuleKeys, origin: &Origin, problems: &mut Problems) -> Option<Self> {
        let written = [
            ("name", !keys.name.is_absent()),
            ("scope", !keys.scope.is_absent()),
            ("role", !keys.role.is_absent()),
            ("spiffe", !keys.spiffe.is_absent()),
            ("authenticated", !keys.authenticated.is_absent()),
        ];
        exactly_one(&written, keys.has_refused_keys, origin, problems)?;
        let demand = if let Some(name) = keys.name.at() {
            Demand::Policy(name.clone())
        } else if let Some(scope) = keys.scope.get() {
            Demand::Scope(scope.clone())
        } else if let Some(role) = keys.role.get() {
            Demand::Role(role.clone())
        } else if let Some(spiffe) = keys.spiffe.get() {
            let patterns: Vec<_> = spiffe.0.iter().map(|pattern| pattern.value.0.clone()).collect();
            if patterns.is_empty() {
                let flaw = Flaw::new("bad-value", "no SPIFFE ID is named, so nobody could pass");
                problems.push(flaw.at(origin));
                return None;
            }
            Demand::Spiffe(patterns)
        } else {
            match keys.authenticated.at()? {
                At { value: true, .. } => Demand::Authenticated,
                At { value: false, origin } => {
                    problems.push(Flaw::new("bad-value", "`authenticated: false` asks nothing").at(origin));
                    return None;
                }
            }
        };
        let methods = super::section::items(&keys.methods)
            .map(|method| method.value.clone())
            .collect();
        Some(Self {
            demand,
            methods,
            guard: guard(&keys.mode, &keys.percent),
        })
    }
}

section! {
    /// A fixed answer.
    struct Respond {
        /// The status; 200 by default.
        optional status: StatusCode,
        /// The body; empty by default.
        optional body: AnyText,
        /// `text/plain; charset=utf-8` by default.
        optional content_type: String,
        /// `true`, alone: the key set by which endpoints verify identity assertions.
        optional jwks: bool,
    }
}

section! {
    /// A redirect.
    struct Redirect {
        /// An absolute URL or an absolute path.
        required to: String,
        /// 301, 302, 303, 307 or 308 (the default).
        optional status: StatusCode,
    }
}

section! {
    /// Where requests may be processed.
    struct Residency {
        /// What of the verified identity says the jurisdiction: `claim.region`, or `claim.` and the path of another claim.
        optional from: ResidencyFrom,
        /// Jurisdictions when the identity says none; without this such requests are refused.
        optional default: OneOrMany<String>,
    }
}

/// `claim.region` or another claim.
#[derive(Clone, Debug)]
pub(crate) struct ResidencyFrom(pub(crate) Vec<std::sync::Arc<str>>);

impl Scalar for ResidencyFrom {
    const EXPECTED: &'static str = "a claim like `claim.region`";

    fn parse(text: &str, plain: bool) -> Result<Self, Flaw> {
        let Some(claim) = text.strip_prefix("claim.") else {
            return Err(Flaw::new(
                "bad-value",
                format!("{text:?} is not part of a verified identity"),
            )
            .with_hint("write `claim.region`; a header can never say where a request may go"));
        };
        super::patterns::ClaimText::parse(claim, plain).map(|path| Self(path.0))
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^claim\\.." })
    }
}

section! {
    /// Deadlines.
    struct Timeouts {
        /// To the end of the response head; 15s by default.
        optional request: Period,
        /// Between bytes after it; 60s by default.
        optional idle: Period,
        /// For a connection to an endpoint, with its TLS handshake; 2s by default.
        optional connect: Period,
    }
}

section! {
    /// The request body.
    struct Body {
        /// Largest size; 1MiB by default with a contract, unlimited streaming without.
        optional max: Bytes,
    }
}

section! {
    /// Second attempts, of safe requests only.
    struct Retry {
        /// Paid attempts beyond the first, 0 to 2; 1 by default.
        optional attempts: Whole<0, 2>,
        /// `region` or `any` (the default); never outside `residency`.
        optional scope: RetryScope,
    }
    later { "on", "budget", "min_per_second" }
}

words! { RetryScope { "region" => Self::Region, "any" => Self::Any } later { "endpoint" } }

section! {
    /// What a path may hold that is refused otherwise, because endpoints read it in more than one way.
    struct PathKeys {
        /// What the endpoint reads as the gateway does: `encoded-slash` (`%2F` is part of a segment), `backslash` (a
        /// letter, sent as `%5C`), `semicolon` (a letter; nothing is cut off), `empty-segment` (`//` stays, and is not
        /// one slash), `double-encoding` (`%252F` is not decoded twice). None by default.
        required allow: List<PathOddity>,
    }
}

words! {
    PathOddity {
        "encoded-slash" => Self::EncodedSlash,
        "backslash" => Self::Backslash,
        "semicolon" => Self::Semicolon,
        "empty-segment" => Self::EmptySegment,
        "double-encoding" => Self::DoubleEncoding,
    }
}

/// A protocol to upgrade to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upgrade;

words! { Upgrade { "websocket" => Self } }

section! {
    /// Cross-origin rules for browsers.
    struct Cors {
        /// Exact origins like `https://app.example.com`; `"*"` alone: any, without credentials.
        required origins: List<String>,
        /// Methods beyond GET, HEAD and POST.
        optional methods: List<Method>,
        /// Request fields beyond the safelisted ones.
        optional headers: List<HeaderName>,
        /// Response fields a script may read.
        optional expose: List<HeaderName>,
        /// Whether credentials may be sent.
        optional credentials: bool,
        /// How long a preflight may be remembered; 10m by default.
        optional max_age: Tolerance,
    }
}

section! {
    /// What changes in the target and host.
    struct Rewrite {
        /// Replaces the matched literal prefix of the path.
        optional prefix: String,
        /// The outgoing Host: `keep` (the default: the client's, with its port), `pool` or a name.
        optional host: HostRewriteText,
    }
}

/// `keep`, `pool` or a name.
#[derive(Clone, Debug)]
pub(crate) struct HostRewriteText(pub(crate) HostRewrite);

impl Scalar for HostRewriteText {
    const EXPECTED: &'static str = "`keep`, `pool` or a host";

    fn parse(text: &str, _: bool) -> Result<Self, Flaw> {
        match text {
            "keep" => Ok(Self(HostRewrite::Keep)),
            "pool" => Ok(Self(HostRewrite::Pool)),
            name => {
                let is_authority = name
                    .parse::<http::uri::Authority>()
                    .is_ok_and(|authority| !authority.as_str().contains('@'));
                let value = http::HeaderValue::from_str(name).ok().filter(|_| is_authority);
                value
                    .map(|value| Self(HostRewrite::Name(value)))
                    .ok_or_else(|| Flaw::new("bad-value", format!("{name:?} is not a host")))
            }
        }
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1 })
    }
}

section! {
    /// Fields to set and to remove.
    struct Fields {
        /// Set, replacing what there was; a value may be `${file:…}` or `${env:…}`.
        optional set: Named<FieldValue>,
        /// Removed.
        optional remove: List<HeaderName>,
    }
}
