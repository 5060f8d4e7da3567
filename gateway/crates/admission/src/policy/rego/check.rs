//! What can be said about the modules before the first request: every call resolves, nothing recurses, the decision
//! exists. The engine itself would only notice at the request that reaches the mistake.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::{Origin, Problem, Problems};
use serde_json::Value;

use super::builtins::{self, Builtin};
use super::source::{Place, origin_in};
use super::syntax::{Call, Module, Path, Rule};

/// The package that the engine's entry stands in.
pub(super) const RESERVED_PACKAGE: &str = "portcullis_entry";

/// Built-ins of OPA that exist there and not here, by their first word, with what to do instead.
const ELSEWHERE: [(&str, &str); 6] = [
    (
        "io",
        "the gateway has verified the token; its claims are in input.principal.claims",
    ),
    (
        "crypto",
        "the gateway has verified the certificate; see input.client.certificate and input.principal",
    ),
    ("yaml", "write the data as JSON"),
    ("graphql", "it is not available here"),
    ("rego", "it is not available here"),
    ("providers", "it is not available here"),
];

/// Checks all modules together.
pub(super) fn check(policy: &Origin, modules: &[Module]) -> Problems {
    let rules = RuleIndex::new(modules);
    let mut problems = Problems::new();
    for module in modules {
        if module.package.get(1).is_some_and(|name| name == RESERVED_PACKAGE) {
            let origin = origin_in(policy, &module.file, module.package_place);
            problems.push(Problem::error(
                "rego-package",
                &origin,
                format!("package {RESERVED_PACKAGE} is reserved"),
            ));
        }
        let scope = Scope {
            policy,
            module,
            rules: &rules,
        };
        for rule in &module.rules {
            for call in &rule.calls {
                scope.check_call(call, &mut problems);
            }
            for (path, place) in &rule.replacements {
                if let Builtin::Refused(why) = builtins::find(&path.join(".")) {
                    scope.refuse(*place, &path.join("."), why, &mut problems);
                }
            }
        }
    }
    check_recursion(policy, modules, &rules, &mut problems);
    problems
}

/// Checks that the decision is a rule, or something that rules make; functions and plain data decide nothing.
pub(super) fn check_decision(policy: &Origin, decision: &str, modules: &[Module]) -> Result<(), Problem> {
    let path: Path = decision.split('.').map(str::to_owned).collect();
    let is_well_formed = path.len() > 2
        && path.first().is_some_and(|root| root == "data")
        && path.iter().all(|part| is_identifier(part));
    if !is_well_formed {
        return Err(Problem::error(
            "policy-decision",
            policy,
            format!("\"{decision}\" is not the path of a rule"),
        )
        .with_hint("as in data.portcullis.authz.decision"));
    }
    let rules = || modules.iter().flat_map(|module| &module.rules);
    let is_made = rules().any(|rule| {
        rule.arguments.is_none() && (path.starts_with(&rule.path) || rule.path.starts_with(&path))
    });
    if is_made {
        return Ok(());
    }
    let known: BTreeSet<String> = rules()
        .filter(|rule| rule.arguments.is_none())
        .map(|rule| rule.path.join("."))
        .collect();
    let problem = Problem::error(
        "policy-decision",
        policy,
        format!("no rule makes the decision {decision}"),
    );
    Err(if known.is_empty() {
        problem
    } else {
        let shown: Vec<_> = known.iter().take(8).map(String::as_str).collect();
        problem.with_hint(format!("the rules are {}", shown.join(", ")))
    })
}

/// Checks that no rule stands where the data document has a value: one would silently hide the other.
pub(super) fn check_data(policy: &Origin, data: &Value, modules: &[Module]) -> Problems {
    let mut problems = Problems::new();
    let mut seen = BTreeSet::new();
    for module in modules {
        for rule in &module.rules {
            let inside = rule
                .path
                .iter()
                .skip(1)
                .try_fold(data, |value, part| value.get(part));
            if inside.is_some() && seen.insert(&rule.path) {
                let origin = origin_in(policy, &module.file, rule.place);
                let message = format!(
                    "the data document has a value at {}, where a rule stands",
                    rule.path.join(".")
                );
                problems.push(Problem::error("rego-data", &origin, message));
            }
        }
    }
    problems
}

fn is_identifier(part: &str) -> bool {
    let mut bytes = part.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// All rules by their path; for functions, with how many arguments each takes.
struct RuleIndex<'a> {
    rules: BTreeMap<&'a [String], Vec<&'a Rule>>,
}

impl<'a> RuleIndex<'a> {
    fn new(modules: &'a [Module]) -> Self {
        let mut rules: BTreeMap<&[String], Vec<&Rule>> = BTreeMap::new();
        for rule in modules.iter().flat_map(|module| &module.rules) {
            rules.entry(&rule.path).or_default().push(rule);
        }
        Self { rules }
    }

    /// The number of arguments of the function at a path.
    fn arguments(&self, path: &[String]) -> Option<usize> {
        self.rules.get(path)?.iter().find_map(|rule| rule.arguments)
    }

    /// The rules that a reference reaches: the one it names, those below it, and those it goes into.
    fn reached<'s>(&'s self, path: &'s [String]) -> impl Iterator<Item = &'a [String]> + 's {
        self.rules
            .keys()
            .copied()
            .filter(move |rule| rule.starts_with(path) || path.starts_with(rule))
    }
}

/// Where names are looked up.
struct Scope<'a> {
    policy: &'a Origin,
    module: &'a Module,
    rules: &'a RuleIndex<'a>,
}

impl Scope<'_> {
    /// What a name stands for as a path below `data`, whether or not anything is there.
    fn absolute(&self, name: &[String]) -> Path {
        absolute(self.module, name)
    }

    fn check_call(&self, call: &Call, problems: &mut Problems) {
        let name = call.name.join(".");
        if let Some(arguments) = self.rules.arguments(&self.absolute(&call.name)) {
            self.check_arguments(call, &name, arguments, true, problems);
            return;
        }
        match builtins::find(&name) {
            Builtin::Known {
                arguments,
                takes_output,
            } => {
                self.check_arguments(call, &name, arguments, takes_output, problems);
            }
            Builtin::Refused(why) => self.refuse(call.place, &name, why, problems),
            Builtin::Unknown if name == "print" => {}
            Builtin::Unknown => {
                let problem = Problem::error(
                    "rego-unknown-function",
                    &origin_in(self.policy, &self.module.file, call.place),
                    format!("there is no function or built-in \"{name}\""),
                );
                problems.push(match self.advice(call) {
                    Some(advice) => problem.with_hint(advice),
                    None => problem,
                });
            }
        }
    }

    fn check_arguments(
        &self,
        call: &Call,
        name: &str,
        expected: usize,
        takes_output: bool,
        problems: &mut Problems,
    ) {
        let is_right =
            call.arguments == expected || (takes_output && call.arguments == expected.saturating_add(1));
        if !is_right {
            problems.push(Problem::error(
                "rego-arguments",
                &origin_in(self.policy, &self.module.file, call.place),
                format!("{name} takes {expected} arguments, not {}", call.arguments),
            ));
        }
    }

    fn refuse(&self, place: Place, name: &str, why: &str, problems: &mut Problems) {
        let origin = origin_in(self.policy, &self.module.file, place);
        problems.push(
            Problem::error(
                "rego-forbidden-builtin",
                &origin,
                format!("no policy may call {name}"),
            )
            .with_hint(why),
        );
    }

    /// What may have been meant by a name that nothing has.
    fn advice(&self, call: &Call) -> Option<String> {
        let first = call.name.first()?;
        if let Some((_, instead)) = ELSEWHERE.iter().find(|(word, _)| word == first) {
            return Some((*instead).to_owned());
        }
        let wanted = call.name.last()?;
        self.rules
            .rules
            .iter()
            .filter(|(_, rules)| rules.iter().any(|rule| rule.arguments.is_some()))
            .find(|(path, _)| path.last() == Some(wanted))
            .map(|(path, _)| format!("did you mean {}", path.join(".")))
    }
}

fn absolute(module: &Module, name: &[String]) -> Path {
    match name.split_first() {
        Some((first, _)) if first == "data" => name.to_vec(),
        Some((first, rest)) => match module.imports.get(first) {
            Some(target) => target.iter().chain(rest).cloned().collect(),
            None => module.package.iter().chain(name).cloned().collect(),
        },
        None => Path::new(),
    }
}

/// Refuses rules that need themselves: the engine would go on until its stack or its budget ends.
fn check_recursion(policy: &Origin, modules: &[Module], rules: &RuleIndex<'_>, problems: &mut Problems) {
    let mut needs: BTreeMap<&[String], BTreeSet<&[String]>> = BTreeMap::new();
    let mut places: BTreeMap<&[String], (&str, Place)> = BTreeMap::new();
    for module in modules {
        for rule in &module.rules {
            places.entry(&rule.path).or_insert((&module.file, rule.place));
            let names = rule.calls.iter().map(|call| &call.name);
            let replacements = rule.replacements.iter().map(|(path, _)| path);
            for name in names.chain(&rule.references).chain(replacements) {
                let path = absolute(module, name);
                needs.entry(&rule.path).or_default().extend(rules.reached(&path));
            }
        }
    }
    let mut search = Search {
        needs: &needs,
        state: BTreeMap::new(),
        trail: Vec::new(),
    };
    for rule in needs.keys() {
        if let Some(cycle) = search.find_cycle(rule) {
            let first = cycle.first().copied().unwrap_or_default();
            let (file, place) = places.get(first).copied().unwrap_or(("", Place::default()));
            let names: Vec<String> = cycle.iter().map(|path| path.join(".")).collect();
            problems.push(Problem::error(
                "rego-recursion",
                &origin_in(policy, file, place),
                format!(
                    "the rule needs itself: {} -> {}",
                    names.join(" -> "),
                    first.join(".")
                ),
            ));
        }
    }
}

/// A depth-first search; its depth is the length of a chain of rules.
struct Search<'a> {
    needs: &'a BTreeMap<&'a [String], BTreeSet<&'a [String]>>,
    /// True while on the trail, false when done.
    state: BTreeMap<&'a [String], bool>,
    trail: Vec<&'a [String]>,
}

impl<'a> Search<'a> {
    /// The first cycle found from a rule that was not looked at before.
    fn find_cycle(&mut self, start: &'a [String]) -> Option<Vec<&'a [String]>> {
        let mut pending = vec![(start, false)];
        while let Some((rule, is_left)) = pending.pop() {
            if is_left {
                self.state.insert(rule, false);
                self.trail.pop();
                continue;
            }
            match self.state.get(rule) {
                Some(false) => continue,
                Some(true) => {
                    let cycle = self
                        .trail
                        .iter()
                        .skip_while(|passed| **passed != rule)
                        .copied()
                        .collect();
                    self.trail.iter().for_each(|passed| {
                        self.state.insert(passed, false);
                    });
                    self.trail.clear();
                    return Some(cycle);
                }
                None => {}
            }
            self.state.insert(rule, true);
            self.trail.push(rule);
            pending.push((rule, true));
            pending.extend(
                self.needs
                    .get(rule)
                    .into_iter()
                    .flatten()
                    .map(|next| (*next, false)),
            );
        }
        None
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
