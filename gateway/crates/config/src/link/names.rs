//! Names: every reference exists, every definition is used, every name is fit for a metric label.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::{Problem, Problems};

use crate::file::GatewayFile;
use crate::file::routes::{Demand, Route};
use crate::file::section::{At, Key, Named, did_you_mean, entries, items, one_or_many};

/// Longer names make logs unreadable.
const LONGEST_NAME: usize = 64;
/// Words that stand where a policy's name may stand.
const RULE_WORDS: &[&str] = &["authenticated"];

/// The names of one section, and which of them are referred to.
struct Names<'a> {
    /// What one of them is, as in `pool`.
    kind: &'static str,
    defined: BTreeMap<&'a str, &'a At<String>>,
    used: BTreeSet<&'a str>,
    /// True when something referred to a name that is not there, and perhaps meant one that is.
    is_missed: bool,
}

impl<'a> Names<'a> {
    fn of<T>(kind: &'static str, section: &'a Key<Named<T>>, problems: &mut Problems) -> Self {
        let mut names = Self {
            kind,
            defined: BTreeMap::new(),
            used: BTreeSet::new(),
            is_missed: false,
        };
        for entry in entries(section) {
            check_name(kind, &entry.name, problems);
            names.defined.insert(&entry.name.value, &entry.name);
        }
        names
    }

    fn refer(&mut self, name: &'a At<String>, problems: &mut Problems) {
        self.refer_or(name, &[], problems);
    }

    /// `words` are not names but might have been meant.
    fn refer_or(&mut self, name: &'a At<String>, words: &[&str], problems: &mut Problems) {
        if self.defined.contains_key(name.value.as_str()) {
            self.used.insert(&name.value);
            return;
        }
        self.is_missed = true;
        let message = format!("unknown {} {:?}", self.kind, name.value);
        let problem = Problem::error("unknown-reference", &name.origin, message);
        let known = || self.defined.keys().copied().chain(words.iter().copied());
        let hint = did_you_mean(&name.value, known()).unwrap_or_else(|| {
            let list: Vec<_> = known().take(8).map(|name| format!("`{name}`")).collect();
            if list.is_empty() {
                format!("no {} is defined", self.kind)
            } else {
                format!("defined: {}", list.join(", "))
            }
        });
        problems.push(problem.with_hint(hint));
    }

    fn warn_of_unused(&self, problems: &mut Problems) {
        if self.is_missed {
            return;
        }
        for (name, at) in &self.defined {
            if !self.used.contains(name) {
                let message = format!("the {} {name:?} is not used", self.kind);
                problems.push(Problem::warning("unused", &at.origin, message));
            }
        }
    }
}

fn check_name(kind: &str, name: &At<String>, problems: &mut Problems) {
    let text = &name.value;
    let is_fit = text.len() <= LONGEST_NAME
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if !is_fit {
        let message = format!("{text:?} is not a name for a {kind}");
        let hint = format!("names have up to {LONGEST_NAME} letters, digits, `-`, `_` and `.`");
        problems.push(Problem::error("bad-name", &name.origin, message).with_hint(hint));
    }
}

struct All<'a> {
    listeners: Names<'a>,
    trust: Names<'a>,
    issuers: Names<'a>,
    contracts: Names<'a>,
    policies: Names<'a>,
    limits: Names<'a>,
    jurisdictions: Names<'a>,
    pools: Names<'a>,
}

pub(super) fn check(file: &GatewayFile, problems: &mut Problems) {
    let mut all = All {
        listeners: Names::of("listener", &file.listeners, problems),
        trust: Names::of("trust", &file.trust, problems),
        issuers: Names::of("issuer", &file.issuers, problems),
        contracts: Names::of("contract", &file.contracts, problems),
        policies: Names::of("policy", &file.policies, problems),
        limits: Names::of("rate limit", &file.rate_limits, problems),
        jurisdictions: Names::of("jurisdiction", &file.jurisdictions, problems),
        pools: Names::of("pool", &file.pools, problems),
    };
    for name in entries(&file.policies).map(|entry| &entry.name) {
        if RULE_WORDS.contains(&name.value.as_str()) {
            let message = format!("`{}` is a rule of its own and cannot name a policy", name.value);
            problems.push(Problem::error("bad-name", &name.origin, message));
        }
    }
    for region in entries(&file.regions) {
        check_name("region", &region.name, problems);
    }
    listeners(file, &mut all, problems);
    let mut seen: BTreeMap<&str, &At<String>> = BTreeMap::new();
    for route in items(&file.routes) {
        if let Some(name) = route.value.name.at() {
            check_name("route", name, problems);
            if let Some(first) = seen.insert(&name.value, name) {
                let message = format!("a second route has the name {:?}", name.value);
                let hint = format!("the first one is on line {}", first.origin.line);
                problems.push(Problem::error("duplicate-name", &name.origin, message).with_hint(hint));
            }
        }
        self::route(&route.value, &mut all, problems);
    }
    mark_bundles(file, &mut all);
    for names in [
        &all.trust,
        &all.issuers,
        &all.contracts,
        &all.policies,
        &all.limits,
        &all.pools,
    ] {
        names.warn_of_unused(problems);
    }
}

fn listeners<'a>(file: &'a GatewayFile, all: &mut All<'a>, problems: &mut Problems) {
    for listener in entries(&file.listeners).filter_map(|entry| entry.value.get()) {
        for limit in items(&listener.rate_limits) {
            all.limits.refer(&limit.value.name, problems);
        }
        let Some(tls) = listener.tls.get() else { continue };
        let hosts = entries(&tls.hosts).filter_map(|entry| entry.value.get()?.client_certificates.get());
        for rules in tls.client_certificates.get().into_iter().chain(hosts) {
            for name in items(&rules.trust) {
                all.trust.refer(name, problems);
            }
        }
    }
}

fn route<'a>(route: &'a Route, all: &mut All<'a>, problems: &mut Problems) {
    for name in items(&route.listeners) {
        all.listeners.refer(name, problems);
    }
    for scheme in items(&route.authenticate) {
        if let Some(issuer) = scheme.value.jwt.at() {
            all.issuers.refer(issuer, problems);
        }
        if let Some(trust) = scheme.value.mtls.at() {
            all.trust.refer(trust, problems);
        }
    }
    for limit in items(&route.rate_limits) {
        all.limits.refer(&limit.value.name, problems);
    }
    if let Some(contract) = route.contract.get() {
        all.contracts.refer(&contract.name, problems);
    }
    for rule in items(&route.authorize) {
        if let Demand::Policy(name) = &rule.value.demand {
            all.policies.refer_or(name, RULE_WORDS, problems);
        }
    }
    if let Some(pool) = route.pool.at() {
        all.pools.refer(pool, problems);
    }
    for name in route
        .residency
        .get()
        .into_iter()
        .flat_map(|residency| one_or_many(&residency.default))
    {
        all.jurisdictions.refer(name, problems);
    }
}

/// A trust bundle is also used by pools that expect an identity of its domain.
fn mark_bundles<'a>(file: &'a GatewayFile, all: &mut All<'a>) {
    let expected: Vec<_> = entries(&file.pools)
        .filter_map(|entry| entry.value.get()?.tls.get()?.expect.get())
        .map(|id| id.trust_domain())
        .collect();
    for entry in entries(&file.trust) {
        let domain = entry.value.get().and_then(|trust| trust.spiffe.get());
        if domain.is_some_and(|domain| expected.contains(&domain)) {
            all.trust.used.insert(&entry.name.value);
        }
    }
}
