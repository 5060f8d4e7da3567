//! A route's `authorize` list: every rule that applies must allow, and what no rule applies to is denied.

use std::sync::Arc;

use http::header::WWW_AUTHENTICATE;
use http::{HeaderName, HeaderValue, Method};
use portcullis_model::{
    Guard, Mode, Origin, PolicyId, Principal, Problem, Problems, Proof, Reason, Rejection,
};

use super::budget::Budget;
use super::compiled::{Ask, Policy};
use super::decision::Decision;
use super::fault::PolicyFault;
use super::input::PolicyInput;
use super::memory::Recall;
use super::spiffe_pattern::SpiffePattern;
use crate::observed::Observed;
use crate::plan::{AuthorizePlan, RulePlan};

/// One compiled entry of a route's `authorize`.
#[derive(Clone, Debug)]
pub struct AuthorizeRule {
    origin: Origin,
    name: Arc<str>,
    rule: Rule,
    methods: Vec<Method>,
    guard: Guard,
}

#[derive(Clone, Debug)]
enum Rule {
    Authenticated,
    Scope {
        scope: Arc<str>,
        challenge: Option<HeaderValue>,
    },
    Role(Arc<str>),
    Spiffe(Vec<SpiffePattern>),
    Policy(Arc<Policy>),
}

/// What `authorize` found.
#[derive(Debug)]
pub struct AuthorizeOutcome {
    /// The verdict.
    pub verdict: Result<Allowed, Rejection>,
    /// Rules in observe mode that would have refused.
    pub observed: Vec<Observed>,
    /// The rule that refused, or the last one that was obeyed.
    pub decided_by: Option<Origin>,
    /// Every rule that was looked at, in order; a refusal that is obeyed ends the list.
    pub trace: Vec<RuleTrace>,
}

/// The request may pass.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Allowed {
    /// Fields that policies add to the request.
    pub request_headers: Vec<(HeaderName, HeaderValue)>,
}

/// How one rule voted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RuleTrace {
    /// Where the rule is written.
    pub origin: Origin,
    /// `policy:baseline`, `rule:scope`, ….
    pub name: Arc<str>,
    /// Its vote.
    pub allowed: bool,
    /// Why it refuses.
    pub reason: Option<Reason>,
    /// The policy's own reason, or what went wrong; for operators.
    pub text: Option<String>,
    /// Whether the vote counted.
    pub mode: Mode,
    /// How long it took.
    pub micros: u64,
    /// Whether a policy's decision came out of memory; nothing for a built-in rule.
    pub recall: Option<Recall>,
}

impl AuthorizeRule {
    /// Compiles one entry; `policy` finds a policy by its name.
    ///
    /// # Errors
    /// Returns the problems: an unknown policy, an invalid pattern, an empty name.
    pub fn compile(
        plan: &AuthorizePlan,
        policy: impl Fn(&PolicyId) -> Option<Arc<Policy>>,
    ) -> Result<Self, Problems> {
        let mut defined = Guard::ENFORCE;
        let (name, rule) = match &plan.rule {
            RulePlan::Authenticated => ("rule:authenticated".into(), Rule::Authenticated),
            RulePlan::Scope(scope) => (
                "rule:scope".into(),
                Rule::Scope {
                    challenge: challenge(named("scope", scope, plan)?),
                    scope: scope.clone(),
                },
            ),
            RulePlan::Role(role) => {
                named("role", role, plan)?;
                ("rule:role".into(), Rule::Role(role.clone()))
            }
            RulePlan::Spiffe(patterns) => (
                "rule:spiffe".into(),
                Rule::Spiffe(compile_patterns(patterns, plan)?),
            ),
            RulePlan::Policy(id) => {
                let policy = policy(id).ok_or_else(|| {
                    Problem::error(
                        "unknown-reference",
                        &plan.origin,
                        format!("unknown policy \"{id}\""),
                    )
                })?;
                defined = policy.guard();
                (format!("policy:{id}").into(), Rule::Policy(policy))
            }
        };
        Ok(Self {
            origin: plan.origin.clone(),
            name,
            rule,
            methods: plan.methods.clone(),
            guard: defined.narrowed_by(plan.guard),
        })
    }

    /// `policy:baseline`, `rule:scope`, ….
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is written.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The guard that holds for it.
    #[must_use]
    pub const fn guard(&self) -> Guard {
        self.guard
    }

    /// True when it is asked for this method.
    #[must_use]
    pub fn applies_to(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }

    /// True when it has to be asked after the body was read.
    #[must_use]
    pub fn reads_body(&self) -> bool {
        match &self.rule {
            Rule::Policy(policy) => policy.reads_body(),
            Rule::Authenticated | Rule::Scope { .. } | Rule::Role(_) | Rule::Spiffe(_) => false,
        }
    }

    /// Asks the rule; a policy says in `recall` where its decision comes from.
    fn ask(
        &self,
        input: &PolicyInput<'_>,
        how: Ask,
        recall: &mut Option<Recall>,
    ) -> Result<Allowed, Rejection> {
        let attributes = &input.principal.attributes;
        match &self.rule {
            Rule::Authenticated => proven(input.principal).map(|_| Allowed::default()),
            Rule::Scope { scope, challenge } => {
                let principal = proven(input.principal)?;
                if attributes.scopes.contains(scope) {
                    return Ok(Allowed::default());
                }
                let refused =
                    Rejection::new(Reason::ScopeMissing).with_private(format!("needs the scope \"{scope}\""));
                Err(match challenge {
                    Some(value) if principal.proof == Proof::Jwt => {
                        refused.with_header(WWW_AUTHENTICATE, value.clone())
                    }
                    Some(_) | None => refused,
                })
            }
            Rule::Role(role) => {
                proven(input.principal)?;
                if attributes.roles.contains(role) {
                    return Ok(Allowed::default());
                }
                Err(Rejection::new(Reason::RoleMissing).with_private(format!("needs the role \"{role}\"")))
            }
            Rule::Spiffe(patterns) => {
                let id = proven(input.principal)?.spiffe_id();
                if id.is_some_and(|id| patterns.iter().any(|pattern| pattern.matches(id))) {
                    return Ok(Allowed::default());
                }
                let whom = id.map_or_else(|| "no workload".into(), ToString::to_string);
                Err(Rejection::new(Reason::SpiffeNotAllowed)
                    .with_private(format!("{whom} matches no pattern")))
            }
            Rule::Policy(policy) => {
                let (decision, from) = policy.ask(input, how);
                *recall = Some(from);
                obey(policy, decision)
            }
        }
    }
}

/// Asks every rule of a route in order; the first refusal that is obeyed ends it.
///
/// An empty list allows: only a public route has one. A list of which no entry is asked for the request's method
/// refuses, so that narrowing every rule by method cannot open the other methods. `roll` is the uniform draw
/// that decides about guards with a share below all of the traffic.
#[must_use]
pub fn authorize(rules: &[AuthorizeRule], input: &PolicyInput<'_>, roll: u64, how: Ask) -> AuthorizeOutcome {
    let mut outcome = AuthorizeOutcome {
        verdict: Ok(Allowed::default()),
        observed: Vec::new(),
        decided_by: None,
        trace: Vec::with_capacity(rules.len()),
    };
    let mut allowed = Allowed::default();
    let mut applied = rules.is_empty();
    for rule in rules.iter().filter(|rule| rule.applies_to(input.head.method)) {
        applied = true;
        let mode = rule.guard.mode_for(roll);
        if mode == Mode::Off {
            continue;
        }
        let stopwatch = Budget::start(std::time::Duration::MAX);
        let mut recall = None;
        let vote = rule.ask(input, how, &mut recall);
        outcome.trace.push(RuleTrace {
            recall,
            ..trace(rule, mode, &vote, stopwatch.micros())
        });
        match (vote, mode) {
            (Ok(extra), Mode::Enforce) => {
                allowed.request_headers.extend(extra.request_headers);
                outcome.decided_by = Some(rule.origin.clone());
            }
            (Ok(_), Mode::Observe | Mode::Off) | (Err(_), Mode::Off) => {}
            (Err(rejection), Mode::Observe) => outcome.observed.push(Observed {
                guard: rule.name.to_string(),
                origin: rule.origin.clone(),
                reason: rejection.reason,
                text: told(&rejection),
            }),
            (Err(rejection), Mode::Enforce) => {
                outcome.decided_by = Some(rule.origin.clone());
                outcome.verdict = Err(rejection.decided_by(&rule.origin));
                return outcome;
            }
        }
    }
    outcome.verdict = if applied {
        Ok(allowed)
    } else {
        Err(Rejection::new(Reason::PolicyUndefined)
            .with_private(format!("no rule is asked for {}", input.head.method)))
    };
    outcome
}

fn proven(principal: &Principal) -> Result<&Principal, Rejection> {
    if principal.is_proven() {
        Ok(principal)
    } else {
        Err(Rejection::new(Reason::NotAuthenticated))
    }
}

fn obey(policy: &Policy, decision: Result<Arc<Decision>, PolicyFault>) -> Result<Allowed, Rejection> {
    let decision = decision
        .map_err(|fault| Rejection::new(fault.reason()).with_private(format!("{}: {fault}", policy.id())))?;
    if decision.allow {
        return Ok(Allowed {
            request_headers: decision.request_headers.clone(),
        });
    }
    let mut rejection = Rejection::new(Reason::PolicyDenied);
    if decision.reason.is_some() || decision.status.is_some() || !decision.headers.is_empty() {
        let detail = rejection.detail_mut();
        detail.public.clone_from(&decision.reason);
        detail.status = decision.status;
        detail.headers.clone_from(&decision.headers);
    }
    Err(rejection)
}

fn trace(rule: &AuthorizeRule, mode: Mode, vote: &Result<Allowed, Rejection>, micros: u64) -> RuleTrace {
    RuleTrace {
        origin: rule.origin.clone(),
        name: rule.name.clone(),
        allowed: vote.is_ok(),
        reason: vote.as_ref().err().map(|rejection| rejection.reason),
        text: vote.as_ref().err().and_then(told),
        mode,
        micros,
        recall: None,
    }
}

fn told(rejection: &Rejection) -> Option<String> {
    let detail = rejection.detail.as_ref()?;
    detail.public.clone().or_else(|| detail.private.clone())
}

fn named<'a>(what: &str, name: &'a str, plan: &AuthorizePlan) -> Result<&'a str, Problem> {
    if name.is_empty() {
        return Err(Problem::error(
            "authorize-rule",
            &plan.origin,
            format!("the {what} is empty"),
        ));
    }
    Ok(name)
}

/// RFC 6750 section 3.1: what a client needs to know to ask for a better token.
fn challenge(scope: &str) -> Option<HeaderValue> {
    let is_scope_token = scope
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'));
    if !is_scope_token {
        return None;
    }
    HeaderValue::from_str(&format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"")).ok()
}

fn compile_patterns(patterns: &[Arc<str>], plan: &AuthorizePlan) -> Result<Vec<SpiffePattern>, Problems> {
    let mut problems = Problems::new();
    if patterns.is_empty() {
        problems.push(
            Problem::error(
                "authorize-rule",
                &plan.origin,
                "the list of SPIFFE ID patterns is empty",
            )
            .with_hint("an empty list would refuse everybody"),
        );
    }
    let mut compiled = Vec::with_capacity(patterns.len());
    for pattern in patterns {
        match SpiffePattern::parse(pattern) {
            Ok(pattern) => compiled.push(pattern),
            Err(fault) => problems.push(
                Problem::error(
                    "spiffe-pattern",
                    &plan.origin,
                    format!("SPIFFE ID pattern \"{pattern}\" {fault}"),
                )
                .with_hint("as in spiffe://corp.example/ns/*/api or spiffe://corp.example/billing/**"),
            ),
        }
    }
    if problems.is_empty() {
        Ok(compiled)
    } else {
        Err(problems)
    }
}

#[cfg(test)]
#[path = "authorize_tests.rs"]
mod tests;
