//! Signs what is said of a principal, once for as long as it holds.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::HeaderValue;
use portcullis_model::{Attributes, Identity, Principal, Proof, Reason, Rejection};
use prometheus::IntCounter;
use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};
use serde_json::Value;

use super::board::{AssertionBoard, Turns};
use super::claims::{Claims, Window};
use super::key::{KeyRefusal, SigningKey};
use crate::boards::Boards;
use crate::plan::AssertionPlan;

/// Longest assertion: with it a head stays within what common servers take (8 KiB), and a principal that needs
/// more is refused rather than described in part.
pub(crate) const MAX_ASSERTION: usize = 4096;
/// Memory for remembered assertions; about eight thousand common ones.
const MAX_WEIGHT: u64 = 16 * 1024 * 1024;
/// How many entries the table expects.
const EXPECTED: usize = 8 * 1024;
/// What an entry costs beside its texts.
const ENTRY: u64 = 768;

/// The keys of a signer.
#[derive(Clone, Debug)]
pub(crate) enum Keys {
    /// From files; the first signs.
    Given(Vec<Arc<SigningKey>>),
    /// Made here, each signing for this long.
    Made(Duration),
}

/// Signs assertions and remembers them; kept by a reload that changes nothing about them.
///
/// What is remembered is what one plan and one set of keys said, so it ends with them.
pub(crate) struct Signer {
    pub(crate) plan: AssertionPlan,
    keys: Keys,
    board: Arc<AssertionBoard>,
    remembered: Cache<Said, Remembered, ByWeight>,
    counters: Counters,
}

struct Counters {
    signed: IntCounter,
    remembered: IntCounter,
    refused: IntCounter,
}

/// Everything that the claims of an assertion depend on beside the signer's plan.
#[derive(Debug)]
struct Said {
    identity: Identity,
    proof: Proof,
    expires_at: Option<SystemTime>,
    /// Without the claims, which are not forwarded.
    attributes: Attributes,
    audience: Arc<str>,
}

/// A look-up that owns nothing.
struct Asked<'a> {
    principal: &'a Principal,
    audience: &'a str,
}

#[derive(Clone, Debug)]
struct Remembered {
    value: HeaderValue,
    /// From this second since the epoch on, another one is signed.
    renew: u64,
    /// It was signed in this one: before it, the clock was put back meanwhile.
    issued: u64,
}

impl Signer {
    pub(crate) fn new(plan: AssertionPlan, keys: Keys, boards: &Boards) -> Self {
        let counter = |outcome| boards.metrics.assertions.with_label_values(&[outcome]);
        Self {
            plan,
            keys,
            board: Arc::clone(&boards.assertions),
            remembered: Cache::with_weighter(EXPECTED, MAX_WEIGHT, ByWeight),
            counters: Counters {
                signed: counter("signed"),
                remembered: counter("remembered"),
                refused: counter("refused"),
            },
        }
    }

    /// The assertion of a principal for an audience; none for a principal of which nothing was proven.
    pub(crate) fn assertion(
        &self,
        principal: &Principal,
        audience: &Arc<str>,
        now: SystemTime,
    ) -> Result<Option<HeaderValue>, Rejection> {
        if !principal.is_proven() {
            return Ok(None);
        }
        let window = Window::from(now, self.plan.lifetime, principal.expires_at);
        let asked = Asked { principal, audience };
        if let Some(found) = self.remembered.get(&asked)
            && (found.issued..found.renew).contains(&window.issued)
        {
            self.counters.remembered.inc();
            return Ok(Some(found.value));
        }
        let value = self.sign(principal, audience, window).inspect_err(|_| {
            self.counters.refused.inc();
        })?;
        self.counters.signed.inc();
        let found = Remembered {
            value: value.clone(),
            renew: window.renew,
            issued: window.issued,
        };
        self.remembered.insert(Said::of(principal, audience), found);
        Ok(Some(value))
    }

    fn sign(&self, principal: &Principal, audience: &str, window: Window) -> Result<HeaderValue, Rejection> {
        let broken = |what: &dyn fmt::Display| {
            Rejection::new(Reason::Internal).with_private(format!("no identity assertion: {what}"))
        };
        let mut id = [0; 16];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| broken(&"the system gives no random numbers"))?;
        let id = URL_SAFE_NO_PAD.encode(id);
        let claims = Claims::of(principal, (&self.plan.issuer, audience), window, &id);
        let claims = serde_json::to_vec(&claims).map_err(|error| broken(&error))?;
        let key = self.signing_key().map_err(|refusal| broken(&refusal))?;
        let token = key
            .sign(&claims, window.end)
            .map_err(|refusal| broken(&refusal))?;
        if token.len() > MAX_ASSERTION {
            let size = token.len();
            return Err(broken(&format!(
                "it takes {size} bytes, and {MAX_ASSERTION} are sent at most; the principal has {} roles and {} scopes",
                principal.attributes.roles.len(),
                principal.attributes.scopes.len(),
            )));
        }
        let mut value = HeaderValue::from_maybe_shared(Bytes::from(token)).map_err(|error| broken(&error))?;
        // Never shown, and never indexed by HTTP/2, so that nobody can guess it byte by byte.
        value.set_sensitive(true);
        Ok(value)
    }

    fn signing_key(&self) -> Result<Arc<SigningKey>, KeyRefusal> {
        match &self.keys {
            Keys::Given(keys) => keys.first().cloned().ok_or(KeyRefusal::NotPem),
            Keys::Made(rotate) => self.board.signing(self.turns(*rotate)),
        }
    }

    const fn turns(&self, rotate: Duration) -> Turns {
        Turns {
            lifetime: self.plan.lifetime,
            rotate,
        }
    }

    /// The key set by which assertions are verified.
    pub(crate) fn key_set(&self) -> Value {
        match &self.keys {
            Keys::Given(keys) => self.board.key_set(keys),
            Keys::Made(rotate) => {
                // A key set that is asked for takes turns too: the next key is published in time. Without random
                // numbers there is no next key, and the present ones are still told.
                let _ = self.board.signing(self.turns(*rotate));
                self.board.made_key_set()
            }
        }
    }

    /// Another signer, or none, follows: what this one signed can be verified until it ends.
    pub(crate) fn retire(&self) {
        match &self.keys {
            Keys::Given(keys) => {
                for key in keys {
                    self.board.retire(key, self.plan.lifetime);
                }
            }
            Keys::Made(_) => self.board.retire_made(self.plan.lifetime),
        }
    }
}

impl Said {
    fn of(principal: &Principal, audience: &Arc<str>) -> Self {
        let attributes = &*principal.attributes;
        Self {
            identity: principal.identity.clone(),
            proof: principal.proof,
            expires_at: principal.expires_at,
            attributes: Attributes {
                tenant: attributes.tenant.clone(),
                roles: attributes.roles.clone(),
                scopes: attributes.scopes.clone(),
                region: attributes.region.clone(),
                claims: Value::Null,
            },
            audience: Arc::clone(audience),
        }
    }

    fn weight(&self) -> u64 {
        let texts = self.attributes.roles.iter().chain(&self.attributes.scopes);
        texts.map(|text| text.len() as u64 + 16).sum()
    }
}

impl Eq for Said {}

impl PartialEq for Said {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
            && self.proof == other.proof
            && self.expires_at == other.expires_at
            && self.audience == other.audience
            && say_the_same(&self.attributes, &other.attributes)
    }
}

impl Hash for Said {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.identity, self.proof, self.expires_at, &*self.audience).hash(state);
    }
}

impl Hash for Asked<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let principal = self.principal;
        (
            &principal.identity,
            principal.proof,
            principal.expires_at,
            self.audience,
        )
            .hash(state);
    }
}

impl Equivalent<Said> for Asked<'_> {
    fn equivalent(&self, said: &Said) -> bool {
        let principal = self.principal;
        said.identity == principal.identity
            && said.proof == principal.proof
            && said.expires_at == principal.expires_at
            && *said.audience == *self.audience
            && say_the_same(&said.attributes, &principal.attributes)
    }
}

/// True when the forwarded part of two sets of attributes is the same.
fn say_the_same(one: &Attributes, other: &Attributes) -> bool {
    one.tenant == other.tenant
        && one.region == other.region
        && one.roles == other.roles
        && one.scopes == other.scopes
}

#[derive(Clone)]
struct ByWeight;

impl Weighter<Said, Remembered> for ByWeight {
    fn weight(&self, said: &Said, remembered: &Remembered) -> u64 {
        ENTRY + said.weight() + remembered.value.len() as u64
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("issuer", &self.plan.issuer)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}
