//! What endpoints are told of a principal: how it is signed, and by which pools it is asked for.

use std::sync::Arc;
use std::time::Duration;

use portcullis_identity::assertion::KEY_SET_MAX_AGE;
use portcullis_identity::plan::{AssertionKeyPlan, AssertionKeys, AssertionPlan, ForwardPlan};
use portcullis_model::{Origin, PoolId, Redacted};

use crate::file::forwarding::{Assertion, ForwardIdentity};
use crate::file::guards::exactly_one;
use crate::file::section::{At, items};
use crate::resolve::Resolver;
use crate::sources::Secret;

/// Long enough for slow clocks and queues, short enough that a stolen one is of little use.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);
/// Shorter, and the clocks of endpoints would refuse what is right.
const SHORTEST_LIFETIME: Duration = Duration::from_secs(5);
/// Longer, and what is forwarded outlives what was revoked for too long.
const LONGEST_LIFETIME: Duration = Duration::from_secs(600);
const DEFAULT_ROTATION: Duration = Duration::from_secs(24 * 3600);
/// A rotation has an old, a present and a next key; more are left over.
const MAX_KEYS: usize = 8;

pub(super) fn assertion(at: &At<Assertion>, resolver: &mut Resolver<'_, '_>) -> Option<AssertionPlan> {
    let keys = &at.value;
    let lifetime = lifetime(keys, resolver);
    let plan_keys = assertion_keys(at, lifetime, resolver)?;
    Some(AssertionPlan {
        origin: at.origin.clone(),
        issuer: Arc::from(keys.issuer.get()?.written.as_str()),
        keys: plan_keys,
        lifetime,
    })
}

fn lifetime(keys: &Assertion, resolver: &mut Resolver<'_, '_>) -> Duration {
    let Some(at) = keys.lifetime.at() else {
        return DEFAULT_LIFETIME;
    };
    if !(SHORTEST_LIFETIME..=LONGEST_LIFETIME).contains(&at.value.0) {
        let message = "an assertion holds from 5s to 10m";
        resolver.error("out-of-range", &at.origin, message);
    }
    at.value.0
}

fn assertion_keys(
    at: &At<Assertion>,
    lifetime: Duration,
    resolver: &mut Resolver<'_, '_>,
) -> Option<AssertionKeys> {
    let keys = &at.value;
    let written = [
        ("keys", !keys.keys.is_absent()),
        ("generate", !keys.generate.is_absent()),
    ];
    exactly_one(&written, keys.has_refused_keys, &at.origin, resolver.problems)?;
    if let Some(generate) = keys.generate.at() {
        return made_keys(keys, generate, lifetime, resolver);
    }
    if let Some(rotate) = keys.rotate.at() {
        let message = "`rotate` is about keys that are made here, and these are given";
        let hint = "remove it; to rotate, put the new key first and keep the old one in the list";
        resolver.error_with_hint("conflicting-keys", &rotate.origin, message, hint);
    }
    let list = keys.keys.at()?;
    let count = list.value.items.len();
    if (count == 0 && !list.value.broken) || count > MAX_KEYS {
        let message = format!("{count} keys are named, and 1 to {MAX_KEYS} can be");
        resolver.error("bad-value", &list.origin, message);
    }
    let mut plans = Vec::new();
    for key in items(&keys.keys) {
        match resolver
            .files
            .secret(&key.value.0, "key of assertions", &key.origin, resolver.problems)
        {
            Secret::Is(pem) => plans.push(AssertionKeyPlan {
                origin: key.origin.clone(),
                pem: Redacted::new(Arc::from(pem)),
            }),
            // Offline, nothing is signed that anybody would verify.
            Secret::Missing => return Some(AssertionKeys::Made(DEFAULT_ROTATION)),
            Secret::Broken => {}
        }
    }
    (!plans.is_empty()).then_some(AssertionKeys::Given(plans))
}

fn made_keys(
    keys: &Assertion,
    generate: &At<bool>,
    lifetime: Duration,
    resolver: &mut Resolver<'_, '_>,
) -> Option<AssertionKeys> {
    if !generate.value {
        let message = "`generate: false` makes no keys";
        resolver.error_with_hint("bad-value", &generate.origin, message, "name `keys` instead");
        return None;
    }
    let problem = portcullis_model::Problem::warning(
        "generated-keys",
        &generate.origin,
        "every gateway has its own keys, and other ones after each start",
    );
    let hint = "fine for one gateway whose key set is asked for at the gateway itself; with several, give them \
                the same `keys`";
    resolver.problems.push(problem.with_hint(hint));
    let rotate = keys.rotate.get().map_or(DEFAULT_ROTATION, |period| period.0);
    // A key is published for one lifetime and one age of a key set before it signs, and as long after.
    let shortest = (lifetime + KEY_SET_MAX_AGE) * 2;
    if let Some(at) = keys.rotate.at()
        && rotate < shortest
    {
        let message = format!(
            "a key signs for {}s at least here: it is published before and after",
            shortest.as_secs()
        );
        resolver.error("out-of-range", &at.origin, message);
    }
    Some(AssertionKeys::Made(rotate))
}

pub(super) fn forward(
    pool: &str,
    at: &At<ForwardIdentity>,
    resolver: &mut Resolver<'_, '_>,
) -> Option<ForwardPlan> {
    let keys = &at.value;
    let tells_nothing = keys.assertion.is_absent() && !keys.client_certificate.or(true);
    let is_empty = keys.assertion.is_absent() && keys.client_certificate.is_absent();
    if (tells_nothing || is_empty) && !keys.has_refused_keys {
        says_nothing(&at.origin, resolver);
        return None;
    }
    let audience = keys
        .assertion
        .get()
        .and_then(|assertion| assertion.audience.get());
    Some(ForwardPlan {
        pool: PoolId::from(pool),
        origin: at.origin.clone(),
        audience: audience.map(|audience| Arc::from(audience.as_str())),
        client_certificate: keys.client_certificate.or(false),
    })
}

fn says_nothing(origin: &Origin, resolver: &mut Resolver<'_, '_>) {
    let hint = "write `assertion: { audience: … }`, `client_certificate: true`, or leave it out";
    resolver.error_with_hint("missing-key", origin, "the endpoints would be told nothing", hint);
}
