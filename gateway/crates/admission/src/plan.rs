//! What `admission` is told: contracts, rate limits, policies, and what a route asks of them.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method};
use portcullis_model::{ContractId, Guard, LimitId, Origin, PolicyId};
use serde_json::Value;

/// Everything the room is told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AdmissionPlan {
    /// OpenAPI documents.
    pub contracts: Vec<ContractPlan>,
    /// Rate limits.
    pub limits: Vec<LimitPlan>,
    /// Policies.
    pub policies: Vec<PolicyPlan>,
}

/// An OpenAPI document that requests must fit.
#[derive(Clone, Debug, PartialEq)]
pub struct ContractPlan {
    /// Its name.
    pub id: ContractId,
    /// Where it is written in the configuration.
    pub origin: Origin,
    /// The document's file, as named by the operator; used in problems about the document.
    pub file: Arc<str>,
    /// The document, read from JSON or YAML.
    pub document: Arc<Value>,
    /// Its mode.
    pub guard: Guard,
    /// What happens to an operation the document does not have.
    pub unknown_operations: UnknownOperations,
}

/// What happens to an operation that a contract does not have.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum UnknownOperations {
    /// 404, or 405 where the path exists.
    #[default]
    Deny,
    /// Passed on unchecked.
    Allow,
}

/// A rate limit (GCRA).
#[derive(Clone, Debug, PartialEq)]
pub struct LimitPlan {
    /// Its name.
    pub id: LimitId,
    /// Where it is written.
    pub origin: Origin,
    /// Who shares a bucket: all parts together are the key; never empty.
    pub key: Vec<KeyPart>,
    /// Requests in `per`.
    pub count: NonZeroU32,
    /// The period: 1 s, 1 min, 1 h or 1 d.
    pub per: Duration,
    /// How many may come at once; defaults to `count` capped at one second's worth, at least 1.
    pub burst: NonZeroU32,
    /// Its mode.
    pub guard: Guard,
}

/// A part of a limit's key.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum KeyPart {
    /// `client.address`; IPv6 by its /64.
    ClientAddress,
    /// `client.sni`.
    Sni,
    /// `request.host`.
    Host,
    /// `route`.
    Route,
    /// `principal`: the proven identity.
    Principal,
    /// `principal.tenant`.
    Tenant,
    /// `principal.claim.<path>`.
    Claim(Vec<Arc<str>>),
    /// `header.<name>`: all values together; absent counts as one key.
    Header(HeaderName),
}

impl KeyPart {
    /// True when the part is only known after `authenticate`.
    #[must_use]
    pub const fn needs_principal(&self) -> bool {
        match self {
            Self::Principal | Self::Tenant | Self::Claim(_) => true,
            Self::ClientAddress | Self::Sni | Self::Host | Self::Route | Self::Header(_) => false,
        }
    }

    /// True when the part is known before a route is matched.
    #[must_use]
    pub const fn is_known_before_the_route(&self) -> bool {
        matches!(self, Self::ClientAddress | Self::Sni | Self::Host)
    }
}

/// A set of Rego modules, or a Wasm module that OPA made.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyPlan {
    /// Its name.
    pub id: PolicyId,
    /// Where it is written.
    pub origin: Origin,
    /// The program.
    pub source: PolicySource,
    /// The decision: `data.a.b.rule` for Rego, the entrypoint `a/b/rule` for Wasm.
    pub decision: Arc<str>,
    /// How long one decision may take.
    pub budget: Duration,
    /// Which header fields the policy may read.
    pub headers: Vec<HeaderName>,
    /// Whether the policy reads the body.
    pub reads_body: bool,
    /// Whether decisions may be remembered, where the policy is one that can be.
    pub remember: bool,
    /// Its mode.
    pub guard: Guard,
}

/// A policy's program with its data.
#[derive(Clone, Debug, PartialEq)]
pub enum PolicySource {
    /// Rego text; `*_test.rego` files are left out.
    Rego {
        /// The modules, ordered by file name.
        modules: Vec<RegoModule>,
        /// The data document; an object.
        data: Arc<Value>,
    },
    /// What `opa build -t wasm` made.
    Wasm {
        /// The file, as named by the operator.
        file: Arc<str>,
        /// The module.
        bytes: Arc<[u8]>,
        /// The data document; an object.
        data: Arc<Value>,
    },
}

/// One Rego file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RegoModule {
    /// The file, as named by the operator.
    pub file: Arc<str>,
    /// Its text.
    pub text: Arc<str>,
}

/// One entry of a route's `authorize`: all must allow.
#[derive(Clone, Debug, PartialEq)]
pub struct AuthorizePlan {
    /// Where it is written.
    pub origin: Origin,
    /// The rule.
    pub rule: RulePlan,
    /// The methods it is asked for; empty: all.
    pub methods: Vec<Method>,
    /// A narrower guard than the definition's.
    pub guard: Option<Guard>,
}

/// What an entry of `authorize` asks.
#[derive(Clone, Debug, PartialEq)]
pub enum RulePlan {
    /// Any proven principal.
    Authenticated,
    /// One scope.
    Scope(Arc<str>),
    /// One role.
    Role(Arc<str>),
    /// A SPIFFE ID that matches one of these patterns: exact, or with `*` for one path segment or a last `**`.
    Spiffe(Vec<Arc<str>>),
    /// A policy by name.
    Policy(PolicyId),
}

/// A named guard as a listener or a route refers to it.
#[derive(Clone, Debug, PartialEq)]
pub struct GuardRef<Id> {
    /// The definition.
    pub id: Id,
    /// Where the reference is written.
    pub origin: Origin,
    /// A narrower guard than the definition's.
    pub guard: Option<Guard>,
}
