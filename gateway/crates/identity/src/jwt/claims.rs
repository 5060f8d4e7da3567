//! Claims: typed before use, checked against the clock and the configuration, mapped to what a principal carries.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portcullis_model::{Attributes, Identity, Reason, Subject};
use serde_json::{Map, Value};

use super::examination::CheckName;
use super::shown;
use super::token::TokenRefusal;
use super::watch::Watch;
use crate::mtls::parse_workload;
use crate::plan::{ClaimPath, ClaimPaths, IssuerKind, IssuerPlan, RequiredClaim, Wanted};

/// Longest `sub` that becomes a principal's name.
const MAX_SUBJECT: usize = 1024;
/// The claims beside `sub` by which an entry of the deny list names tokens.
const NAMES: [&str; 2] = ["jti", "sid"];

/// What the claims of a token prove once its signature was verified.
#[derive(Debug)]
pub(crate) struct Claims {
    /// Who.
    pub(crate) identity: Identity,
    /// From when the token may be used, tolerance included.
    pub(crate) not_before: SystemTime,
    /// Until when, tolerance included.
    pub(crate) not_after: SystemTime,
    /// What the configured paths found.
    pub(crate) attributes: Attributes,
}

impl Claims {
    /// Reads and checks the claims; `None` where the watch goes on after a refusal.
    pub(crate) fn check<W: Watch>(
        claims: &Map<String, Value>,
        plan: &IssuerPlan,
        now: SystemTime,
        watch: &mut W,
    ) -> Result<Option<Self>, TokenRefusal> {
        let at = |name: &'static str| move || shown::moment(claims.get(name), now);
        let identity = watch.saw(
            CheckName::Subject,
            identity(claims, plan),
            || shown::wanted_subject(&plan.kind),
            || shown::value(claims.get("sub")),
        )?;
        let audience = watch.saw(
            CheckName::Audience,
            check_audience(claims.get("aud"), &plan.audiences),
            || format!("aud is or holds one of {}", shown::list(&plan.audiences)),
            || shown::value(claims.get("aud")),
        )?;
        let not_after = watch.saw(
            CheckName::Expiry,
            expiry(claims, plan.clock_skew, now),
            || {
                let skew = shown::span(plan.clock_skew);
                format!("exp is a number of seconds, and not {skew} ago or longer")
            },
            at("exp"),
        )?;
        let not_before = watch.saw(
            CheckName::Start,
            start(claims, plan.clock_skew, now),
            || {
                let skew = shown::span(plan.clock_skew);
                format!("nbf and iat are absent, or numbers of seconds and at most {skew} ahead")
            },
            || format!("nbf {}, iat {}", at("nbf")(), at("iat")()),
        )?;
        let lifetime = watch.saw(
            CheckName::Lifetime,
            check_lifetime(claims, plan.max_lifetime, now),
            || {
                format!(
                    "from iat (or now) to exp it is at most {}",
                    shown::span(plan.max_lifetime)
                )
            },
            || format!("iat {}, exp {}", at("iat")(), at("exp")()),
        )?;
        let mut says_all = Some(());
        for required in &plan.required {
            let said = watch.saw(
                CheckName::RequiredClaim,
                check_required(claims, required),
                || shown::wanted_claim(required),
                || shown::value(find(claims, &required.path)),
            )?;
            says_all = says_all.and(said);
        }
        let nameable = watch.saw(
            CheckName::Names,
            check_names(claims),
            || shown::WANTED_NAMES.to_owned(),
            || shown::named(claims, &NAMES),
        )?;
        let attributes = watch.saw(
            CheckName::Attributes,
            attributes(claims, &plan.claims),
            || shown::WANTED_ATTRIBUTES.to_owned(),
            || shown::attributes(claims, &plan.claims),
        )?;
        let all = audience.and(lifetime).and(says_all).and(nameable);
        Ok(match (identity, not_before, not_after, attributes, all) {
            (Some(identity), Some(not_before), Some(not_after), Some(attributes), Some(())) => Some(Self {
                identity,
                not_before,
                not_after,
                attributes,
            }),
            _ => None,
        })
    }
}

/// Whether the window is open now; used again whenever a remembered token comes back.
pub(crate) fn check_time(
    not_before: SystemTime,
    not_after: SystemTime,
    now: SystemTime,
) -> Result<(), TokenRefusal> {
    check_end(not_after, now)?;
    check_start(not_before, now)
}

/// The value at a path of object members; absent where any step is.
pub(super) fn find<'a>(claims: &'a Map<String, Value>, path: &[Arc<str>]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(claims.get(first.as_ref())?, |value, step| {
        value.as_object()?.get(step.as_ref())
    })
}

fn wrong(check: impl Into<std::borrow::Cow<'static, str>>) -> TokenRefusal {
    TokenRefusal::new(Reason::TokenClaims, check)
}

/// Of whom the token speaks.
fn identity(claims: &Map<String, Value>, plan: &IssuerPlan) -> Result<Identity, TokenRefusal> {
    let subject = match claims.get("sub") {
        Some(Value::String(subject)) => subject,
        Some(_) => return Err(wrong("sub is not a text")),
        None => return Err(wrong("sub is missing")),
    };
    match &plan.kind {
        IssuerKind::Url(_) if subject.is_empty() || subject.len() > MAX_SUBJECT => {
            Err(wrong("sub is empty or too long"))
        }
        IssuerKind::Url(issuer) => Ok(Identity::User(Subject {
            issuer: plan.id.clone(),
            issuer_url: Arc::clone(issuer),
            subject: Arc::from(subject.as_str()),
        })),
        // JWT-SVID section 3.1: `sub` is the SPIFFE ID of the workload.
        IssuerKind::Spiffe(domain) => match parse_workload(subject) {
            Ok(id) if id.is_member_of(domain) => Ok(Identity::Workload(id)),
            Ok(_) => Err(wrong("sub is a SPIFFE ID of another trust domain")),
            Err(_) => Err(wrong("sub is not the SPIFFE ID of a workload")),
        },
    }
}

/// Until when the token may be used.
fn expiry(claims: &Map<String, Value>, skew: Duration, now: SystemTime) -> Result<SystemTime, TokenRefusal> {
    let expires = moment(claims, "exp")?.ok_or_else(|| wrong("exp is missing"))?;
    let not_after = expires.checked_add(skew).unwrap_or(expires);
    check_end(not_after, now)?;
    Ok(not_after)
}

/// From when it may be used: a token from the future was made by a clock or an issuer that we do not know.
fn start(claims: &Map<String, Value>, skew: Duration, now: SystemTime) -> Result<SystemTime, TokenRefusal> {
    let starts = moment(claims, "nbf")?.unwrap_or(SystemTime::UNIX_EPOCH);
    let issued = moment(claims, "iat")?.unwrap_or(SystemTime::UNIX_EPOCH);
    let not_before = starts
        .max(issued)
        .checked_sub(skew)
        .unwrap_or(SystemTime::UNIX_EPOCH);
    check_start(not_before, now)?;
    Ok(not_before)
}

fn check_end(not_after: SystemTime, now: SystemTime) -> Result<(), TokenRefusal> {
    if now < not_after {
        return Ok(());
    }
    Err(TokenRefusal::new(Reason::TokenExpired, "exp has passed"))
}

fn check_start(not_before: SystemTime, now: SystemTime) -> Result<(), TokenRefusal> {
    if now >= not_before {
        return Ok(());
    }
    Err(TokenRefusal::new(
        Reason::TokenNotYetValid,
        "nbf or iat is in the future",
    ))
}

/// A token that is valid for years is a password; without `iat` what is left of it counts.
fn check_lifetime(
    claims: &Map<String, Value>,
    longest: Duration,
    now: SystemTime,
) -> Result<(), TokenRefusal> {
    let expires = moment(claims, "exp")?.ok_or_else(|| wrong("exp is missing"))?;
    let issued = moment(claims, "iat")?.unwrap_or(now);
    match expires.duration_since(issued) {
        Ok(lifetime) if lifetime > longest => Err(TokenRefusal::new(
            Reason::TokenLifetime,
            "the time from iat (or now) to exp is too long",
        )),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// A NumericDate (RFC 7519 section 2). A string is refused, never skipped: CVE-2026-25537.
pub(super) fn moment(
    claims: &Map<String, Value>,
    name: &'static str,
) -> Result<Option<SystemTime>, TokenRefusal> {
    let refused = || wrong(format!("{name} is not a number of seconds"));
    let duration = match claims.get(name) {
        None => return Ok(None),
        Some(Value::Number(number)) => match number.as_u64() {
            Some(seconds) => Duration::from_secs(seconds),
            None => number
                .as_f64()
                .and_then(|s| Duration::try_from_secs_f64(s).ok())
                .ok_or_else(refused)?,
        },
        Some(_) => return Err(refused()),
    };
    SystemTime::UNIX_EPOCH
        .checked_add(duration)
        .map(Some)
        .ok_or_else(refused)
}

/// One accepted audience must be among the token's (RFC 7519 section 4.1.3).
fn check_audience(claim: Option<&Value>, accepted: &[Arc<str>]) -> Result<(), TokenRefusal> {
    let is_accepted = |audience: &str| accepted.iter().any(|ours| ours.as_ref() == audience);
    let found = match claim {
        None => return Err(TokenRefusal::new(Reason::TokenAudience, "aud is missing")),
        Some(Value::String(audience)) => is_accepted(audience),
        Some(Value::Array(audiences)) => {
            let mut found = false;
            for audience in audiences {
                let audience = audience
                    .as_str()
                    .ok_or_else(|| wrong("aud holds something else than strings"))?;
                found |= is_accepted(audience);
            }
            found
        }
        Some(_) => return Err(wrong("aud is neither a string nor an array")),
    };
    if found {
        Ok(())
    } else {
        Err(TokenRefusal::new(
            Reason::TokenAudience,
            "aud holds none of the accepted audiences",
        ))
    }
}

/// A claim that the operator requires: there, or one of some values, or a list that holds one of them.
fn check_required(claims: &Map<String, Value>, required: &RequiredClaim) -> Result<(), TokenRefusal> {
    let found = find(claims, &required.path).filter(|value| !value.is_null());
    let name = || shown::path(&required.path);
    let Some(found) = found else {
        return Err(wrong(format!("the claim {} is missing", name())));
    };
    let is_wanted = match (&required.wanted, found) {
        (Wanted::Present, _) => true,
        (Wanted::OneOf(values), Value::Array(items)) => items.iter().any(|item| values.contains(item)),
        (Wanted::OneOf(values), value) => values.contains(value),
    };
    if is_wanted {
        Ok(())
    } else {
        Err(wrong(format!("the claim {} has another value", name())))
    }
}

/// What names one token or one session must be a name that an entry of the deny list can have, to the letter: a number
/// that does not fit is another one by now, and neither a fraction nor an exponent has one spelling.
fn check_names(claims: &Map<String, Value>) -> Result<(), TokenRefusal> {
    for name in NAMES {
        match claims.get(name) {
            None | Some(Value::Null | Value::String(_)) => {}
            Some(Value::Number(number)) if number.is_u64() || number.is_i64() => {}
            Some(Value::Number(_) | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
                return Err(wrong(format!("{name} is no text and no whole number of 64 bits")));
            }
        }
    }
    Ok(())
}

/// What the configured paths find in the claims.
fn attributes(claims: &Map<String, Value>, paths: &ClaimPaths) -> Result<Attributes, TokenRefusal> {
    let scopes = match &paths.scopes {
        Some(path) => words(find(claims, path), "the scopes claim")?,
        None => match claims.get("scope") {
            Some(scope) => words(Some(scope), "scope")?,
            None => words(claims.get("scp"), "scp")?,
        },
    };
    let text = |path: &Option<ClaimPath>, check: &'static str| match path.as_deref() {
        None => Ok(None),
        Some(path) => string(find(claims, path), check),
    };
    let tenant = text(&paths.tenant, "the tenant claim is not a string")?;
    let region = text(&paths.region, "the region claim is not a string")?;
    let roles = match &paths.roles {
        None => Vec::new(),
        Some(path) => list(find(claims, path))?,
    };
    Ok(Attributes {
        tenant,
        roles,
        scopes,
        region,
        claims: Value::Object(claims.clone()),
    })
}

fn string(value: Option<&Value>, check: &'static str) -> Result<Option<Arc<str>>, TokenRefusal> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(Arc::from(text.as_str()))),
        Some(_) => Err(wrong(check)),
    }
}

/// A string, or an array of strings, each one name.
fn list(value: Option<&Value>) -> Result<Vec<Arc<str>>, TokenRefusal> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![Arc::from(text.as_str())]),
        Some(Value::Array(items)) => {
            strings(items).ok_or_else(|| wrong("the roles claim holds more than strings"))
        }
        Some(_) => Err(wrong("the roles claim is neither a string nor an array")),
    }
}

/// A string of words (RFC 6749 section 3.3), or an array of strings.
fn words(value: Option<&Value>, name: &'static str) -> Result<Vec<Arc<str>>, TokenRefusal> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(text
            .split(' ')
            .filter(|word| !word.is_empty())
            .map(Arc::from)
            .collect()),
        Some(Value::Array(items)) => {
            strings(items).ok_or_else(|| wrong(format!("{name} holds more than strings")))
        }
        Some(_) => Err(wrong(format!("{name} is neither a string nor an array"))),
    }
}

fn strings(items: &[Value]) -> Option<Vec<Arc<str>>> {
    items.iter().map(|item| item.as_str().map(Arc::from)).collect()
}
