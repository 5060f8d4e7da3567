//! Rego text, evaluated by the regorus tree interpreter behind our own guards.
//!
//! The interpreter decides, not the bytecode machine (RVM) of the same crate: that one ignores `default` functions
//! and conflicting rules, so it can allow what OPA denies. What the interpreter cannot be trusted with is caught
//! before: nesting its parser cannot take (`source`), calls and recursion it would only notice at a request
//! (`check`), and built-ins that panic or hang (`builtins`).

mod builtins;
mod catalogue;
mod check;
mod glob;
pub(super) mod reads;
pub(super) mod source;
pub(super) mod syntax;

use std::num::{NonZeroU32, NonZeroUsize};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use portcullis_model::{Origin, Problem, Problems};
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, LimitError, PolicyLengthConfig};
use serde_json::Value;

use super::budget::Budget;
use super::engine::PolicyEngine;
use super::fault::PolicyFault;
use super::input::{Document, InputKeys, to_rego};
use crate::plan::{PolicyPlan, RegoModule};
use reads::Reads;
use syntax::Module;

/// The interpreter looks at the clock every so many units of work.
const TIMER_INTERVAL: NonZeroU32 = match NonZeroU32::new(64) {
    Some(interval) => interval,
    None => NonZeroU32::MIN,
};

/// Longer lines are refused; wide enough for a key set or a certificate on one line.
const MAX_COLUMNS: u32 = 8_192;

/// Compiled regular expressions the whole process keeps, instead of the engine's 256.
const REGEX_CACHE: usize = 4_096;

/// Evaluators kept for the next request; more are made when needed (about 1 us each) and not kept.
const MAX_IDLE: usize = 64;

/// Rego text, compiled once.
pub(super) struct RegoEngine {
    /// Prepared and never used itself: its clones share everything but the state of an evaluation.
    prepared: Engine,
    idle: Mutex<Vec<Engine>>,
    keys: InputKeys,
    budget: Duration,
    reads: Reads,
}

impl RegoEngine {
    const ENTRY: &str = "data.portcullis_entry.decision";
    const READY: &str = "data.portcullis_entry.ready";

    /// Compiles the modules of a policy.
    ///
    /// # Errors
    /// Returns every problem found in them, with its place.
    pub(super) fn compile(plan: &PolicyPlan, modules: &[RegoModule], data: &Value) -> Result<Self, Problems> {
        let mut parsed = parse(&plan.origin, modules)?;
        let reads = std::mem::take(&mut parsed.reads);
        check::check_decision(&plan.origin, &plan.decision, &parsed.modules)?;
        let entry = format!("decision := {}\n", plan.decision);
        let mut prepared = prepare(parsed, &plan.origin, modules, data, &entry)?.engine;
        prepared.set_execution_timer_config(timer(plan.budget));
        Ok(Self {
            prepared,
            idle: Mutex::new(Vec::new()),
            keys: InputKeys::new(),
            budget: plan.budget,
            reads,
        })
    }

    /// What the modules can read of a request.
    pub(super) const fn reads(&self) -> &Reads {
        &self.reads
    }

    fn evaluator(&self) -> Engine {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| self.prepared.clone())
    }

    fn keep(&self, engine: Engine) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(engine);
        }
    }
}

impl PolicyEngine for RegoEngine {
    /// An evaluator that failed is thrown away: the engine does not promise what state an error leaves behind.
    fn evaluate(&self, input: &Document<'_>) -> Result<Value, PolicyFault> {
        let budget = Budget::start(self.budget);
        let input = to_rego(input, &self.keys).map_err(|fault| PolicyFault::Engine(fault.to_string()))?;
        let mut engine = self.evaluator();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            engine.set_input(input);
            let value = engine.eval_rule(Self::ENTRY.into()).map_err(|error| {
                if is_timeout(error.downcast_ref()) || budget.is_spent() {
                    return PolicyFault::Timeout;
                }
                PolicyFault::Engine(one_line(&error.to_string()))
            })?;
            engine.set_input(regorus::Value::Null);
            // What a policy prints may be anybody's data: it is read and forgotten, never written to stderr.
            drop(engine.take_prints());
            as_json(&value).map(|value| (value, engine))
        }));
        let (value, engine) = outcome.map_err(|_| PolicyFault::Panic)??;
        self.keep(engine);
        if budget.is_spent() {
            Err(PolicyFault::Timeout)
        } else {
            Ok(value)
        }
    }
}

/// Modules that an engine has taken.
pub(super) struct Parsed {
    /// The engine.
    pub(super) engine: Engine,
    /// What the static checks know of them.
    pub(super) modules: Vec<Module>,
    /// What they read of the input.
    pub(super) reads: Reads,
}

/// Parses all modules and checks them; finds as many problems as it can in one go.
fn parse(policy: &Origin, modules: &[RegoModule]) -> Result<Parsed, Problems> {
    let mut problems = Problems::new();
    if modules.is_empty() {
        problems.push(
            Problem::error("policy-empty", policy, "the policy has no Rego file")
                .with_hint("files whose name ends in _test.rego are tests and do not count"),
        );
    }
    let mut engine = new_engine().map_err(|error| Problem::error("rego-engine", policy, error))?;
    for module in modules {
        if let Err(problem) = source::check_nesting(policy, module) {
            problems.push(problem);
        } else if let Err(error) = engine.add_policy(module.file.to_string(), module.text.to_string()) {
            problems.push(source::engine_problem(policy, &module.file, &error.to_string()));
        }
    }
    if problems.has_errors() {
        return Err(problems);
    }
    let (modules, reads) = read_tree(&engine).ok_or_else(|| {
        Problem::error(
            "rego-invalid",
            policy,
            "the syntax tree is nested too deeply to be checked",
        )
        .with_hint("give parts of long expressions names")
    })?;
    problems.extend(check::check(policy, &modules));
    if problems.has_errors() {
        Err(problems)
    } else {
        Ok(Parsed {
            engine,
            modules,
            reads,
        })
    }
}

fn read_tree(engine: &Engine) -> Option<(Vec<Module>, Reads)> {
    let tree = engine.get_ast_as_json().ok()?;
    let tree = serde_json::from_str(&tree).ok()?;
    Some((syntax::read_modules(&tree)?, reads::read(&tree)?))
}

/// Gives the engine its data and lets it analyse all modules, so that what it refuses is refused now.
fn prepare(
    parsed: Parsed,
    policy: &Origin,
    sources: &[RegoModule],
    data: &Value,
    entry: &str,
) -> Result<Parsed, Problems> {
    if !data.is_object() {
        return Err(Problem::error("policy-data", policy, "the policy's data is not an object").into());
    }
    let conflicts = check::check_data(policy, data, &parsed.modules);
    if conflicts.has_errors() {
        return Err(conflicts);
    }
    let Parsed {
        mut engine,
        modules,
        reads,
    } = parsed;
    let entry = format!("package {}\nready := true\n{entry}", check::RESERVED_PACKAGE);
    let data = regorus::Value::from(data.clone());
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        engine.add_policy("entry".into(), entry)?;
        engine.add_data(data)?;
        engine.set_input(regorus::Value::new_object());
        engine.eval_rule(RegoEngine::READY.into()).map(|_| engine)
    }));
    match outcome {
        Ok(Ok(engine)) => Ok(Parsed {
            engine,
            modules,
            reads,
        }),
        Ok(Err(error)) => {
            let error = error.to_string();
            let file = source::pointed_file(&error, sources).unwrap_or_default();
            Err(source::engine_problem(policy, file, &error).into())
        }
        Err(_) => Err(Problem::error(
            "rego-invalid",
            policy,
            "the engine panicked while analysing the policy",
        )
        .into()),
    }
}

/// Modules and their tests, ready to be asked rule by rule.
///
/// # Errors
/// Returns what would also refuse the modules as a policy.
pub(super) fn prepare_tests(
    policy: &Origin,
    modules: &[RegoModule],
    data: &Value,
    limit: Duration,
) -> Result<Parsed, Problems> {
    let mut prepared = prepare(parse(policy, modules)?, policy, modules, data, "")?;
    prepared.engine.set_execution_timer_config(timer(limit));
    Ok(prepared)
}

const fn timer(limit: Duration) -> ExecutionTimerConfig {
    ExecutionTimerConfig {
        limit,
        check_interval: TIMER_INTERVAL,
    }
}

/// An engine with our guards and nothing else.
fn new_engine() -> Result<Engine, String> {
    regorus::cache::configure(regorus::cache::Config {
        regex: REGEX_CACHE,
        glob: 0,
    });
    let mut engine = Engine::new();
    let limits = PolicyLengthConfig::default();
    engine.set_policy_length_config(PolicyLengthConfig {
        max_col: NonZeroU32::new(MAX_COLUMNS).unwrap_or(limits.max_col),
        max_file_bytes: NonZeroUsize::new(1 << 20).unwrap_or(limits.max_file_bytes),
        ..limits
    });
    engine.set_strict_builtin_errors(true);
    engine.set_gather_prints(true);
    builtins::register(&mut engine)?;
    Ok(engine)
}

/// The decision as JSON; sets become lists.
fn as_json(value: &regorus::Value) -> Result<Value, PolicyFault> {
    if *value == regorus::Value::Undefined {
        return Err(PolicyFault::Undefined);
    }
    serde_json::to_value(value).map_err(|error| PolicyFault::Shape(error.to_string()))
}

const fn is_timeout(error: Option<&LimitError>) -> bool {
    matches!(error, Some(LimitError::TimeLimitExceeded { .. }))
}

/// The engine's error without the source lines it quotes: its place and its message.
pub(super) fn one_line(error: &str) -> String {
    let place = error.lines().find_map(|line| line.strip_prefix("--> "));
    let message = error
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("error: "))
        .unwrap_or(error)
        .trim();
    place.map_or_else(|| message.to_owned(), |place| format!("{place}: {message}"))
}

#[cfg(test)]
#[path = "rego_tests.rs"]
mod tests;
