//! Claims: typed before use, checked against the clock and the audience, mapped to what a principal carries.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portcullis_model::{Attributes, Reason};
use serde_json::{Map, Value};

use super::token::TokenRefusal;
use crate::plan::{ClaimPaths, IssuerPlan};

/// Longest `sub` that becomes a principal's name.
const MAX_SUBJECT: usize = 1024;

/// The claims that decide, with their types.
#[derive(Debug)]
pub(crate) struct Claims {
    /// The `sub` claim.
    pub(crate) subject: Arc<str>,
    /// From when the token may be used, tolerance included.
    pub(crate) not_before: SystemTime,
    /// Until when, tolerance included.
    pub(crate) not_after: SystemTime,
}

impl Claims {
    /// Reads and checks the claims of a token whose signature was verified.
    pub(crate) fn check(
        claims: &Map<String, Value>,
        plan: &IssuerPlan,
        now: SystemTime,
    ) -> Result<Self, TokenRefusal> {
        let skew = plan.clock_skew;
        let expires = moment(claims, "exp")?.ok_or_else(|| wrong("exp is missing"))?;
        let starts = moment(claims, "nbf")?.unwrap_or(SystemTime::UNIX_EPOCH);
        let issued = moment(claims, "iat")?.unwrap_or(SystemTime::UNIX_EPOCH);
        let subject = match claims.get("sub") {
            Some(Value::String(subject)) if !subject.is_empty() && subject.len() <= MAX_SUBJECT => subject,
            Some(_) => return Err(wrong("sub is not a non-empty, short string")),
            None => return Err(wrong("sub is missing")),
        };
        let checked = Self {
            subject: Arc::from(subject.as_str()),
            not_before: starts
                .max(issued)
                .checked_sub(skew)
                .unwrap_or(SystemTime::UNIX_EPOCH),
            not_after: expires.checked_add(skew).unwrap_or(expires),
        };
        check_audience(claims.get("aud"), &plan.audiences)?;
        check_time(checked.not_before, checked.not_after, now)?;
        Ok(checked)
    }
}

/// Whether the window is open now; used again whenever a remembered token comes back.
pub(crate) fn check_time(
    not_before: SystemTime,
    not_after: SystemTime,
    now: SystemTime,
) -> Result<(), TokenRefusal> {
    if now >= not_after {
        return Err(TokenRefusal::new(Reason::TokenExpired, "exp has passed"));
    }
    if now < not_before {
        return Err(TokenRefusal::new(
            Reason::TokenNotYetValid,
            "nbf or iat is in the future",
        ));
    }
    Ok(())
}

/// What the configured paths find in the claims.
pub(crate) fn attributes(claims: Map<String, Value>, paths: &ClaimPaths) -> Result<Attributes, TokenRefusal> {
    let claims = Value::Object(claims);
    let scopes = match &paths.scopes {
        Some(path) => words(find(&claims, path), "the scopes claim")?,
        None => match claims.get("scope") {
            Some(scope) => words(Some(scope), "scope")?,
            None => words(claims.get("scp"), "scp")?,
        },
    };
    let text = |path: &Option<Vec<Arc<str>>>, check: &'static str| match path.as_deref() {
        None => Ok(None),
        Some(path) => string(find(&claims, path), check),
    };
    let tenant = text(&paths.tenant, "the tenant claim is not a string")?;
    let region = text(&paths.region, "the region claim is not a string")?;
    let roles = match &paths.roles {
        None => Vec::new(),
        Some(path) => list(find(&claims, path))?,
    };
    Ok(Attributes {
        tenant,
        roles,
        scopes,
        region,
        claims,
    })
}

fn wrong(check: impl Into<std::borrow::Cow<'static, str>>) -> TokenRefusal {
    TokenRefusal::new(Reason::TokenClaims, check)
}

/// A NumericDate (RFC 7519 section 2). A string is refused, never skipped: CVE-2026-25537.
fn moment(claims: &Map<String, Value>, name: &'static str) -> Result<Option<SystemTime>, TokenRefusal> {
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

/// The value at a path of object members; absent where any step is.
fn find<'a>(claims: &'a Value, path: &[Arc<str>]) -> Option<&'a Value> {
    path.iter()
        .try_fold(claims, |value, step| value.as_object()?.get(step.as_ref()))
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
