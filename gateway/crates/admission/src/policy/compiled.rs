//! A policy as a route uses it: compiled once, asked per request.

use std::fmt;
use std::sync::Arc;

use http::HeaderName;
use portcullis_model::{Guard, Origin, PolicyId, Problem, Problems};

use super::decision::Decision;
use super::engine::PolicyEngine;
use super::fault::PolicyFault;
use super::input::{Document, PolicyInput, is_forbidden_header};
use super::memory::{Memory, Obstacle, Recall, Remembering, terms};
use super::rego::RegoEngine;
use super::wasm::WasmEngine;
use crate::plan::{PolicyPlan, PolicySource};

/// A compiled policy; cheap to share, asked from any thread.
pub struct Policy {
    id: PolicyId,
    origin: Origin,
    guard: Guard,
    headers: Vec<HeaderName>,
    reads_body: bool,
    engine: Arc<dyn PolicyEngine>,
    pub(super) memory: Result<Memory, Vec<Obstacle>>,
}

/// How a policy is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ask {
    /// A remembered decision will do.
    Remembering,
    /// The policy is evaluated, and nothing is remembered of it: a rehearsal.
    Afresh,
}

impl Policy {
    /// Compiles a policy and checks all that can be known before the first request.
    ///
    /// # Errors
    /// Returns every problem found, those of Rego files with their file, line and column.
    pub fn compile(plan: &PolicyPlan) -> Result<(Self, Problems), Problems> {
        let mut problems = Problems::new();
        for name in plan.headers.iter().filter(|name| is_forbidden_header(name)) {
            problems.push(
                Problem::error(
                    "policy-header",
                    &plan.origin,
                    format!("policy {}: no policy may read {name}", plan.id),
                )
                .with_hint("what it proves is in input.principal"),
            );
        }
        let engine: Option<(Arc<dyn PolicyEngine>, _)> = match &plan.source {
            PolicySource::Rego { modules, data } => problems
                .collect(RegoEngine::compile(plan, modules, data))
                .map(|engine| {
                    let terms = terms(plan, Some(engine.reads()));
                    (Arc::new(engine) as Arc<dyn PolicyEngine>, terms)
                }),
            PolicySource::Wasm { file, bytes, data } => problems
                .collect(WasmEngine::compile(plan, file, bytes, data))
                .map(|(engine, warnings)| {
                    problems.extend(warnings);
                    (Arc::new(engine) as Arc<dyn PolicyEngine>, terms(plan, None))
                }),
        };
        match engine {
            Some((engine, terms)) => problems.into_result(Self {
                id: plan.id.clone(),
                origin: plan.origin.clone(),
                guard: plan.guard,
                headers: plan.headers.clone(),
                reads_body: plan.reads_body,
                engine,
                memory: terms.map(Memory::new),
            }),
            None => Err(problems),
        }
    }

    /// Evaluates one decision, within the policy's budget.
    ///
    /// # Errors
    /// Returns why there is no usable decision; the caller denies.
    pub fn decide(&self, input: &PolicyInput<'_>) -> Result<Decision, PolicyFault> {
        self.evaluate(&self.document(input))
    }

    /// Asks for one decision, which may have been made before for the same facts.
    ///
    /// # Errors
    /// Returns, beside where it comes from, why there is no usable decision; the caller denies.
    pub fn ask(&self, input: &PolicyInput<'_>, how: Ask) -> (Result<Arc<Decision>, PolicyFault>, Recall) {
        let document = self.document(input);
        match (&self.memory, how) {
            (Ok(memory), Ask::Remembering) => memory.recall(&document, || self.evaluate(&document)),
            (Ok(_), Ask::Afresh) => (self.evaluate(&document).map(Arc::new), Recall::Fresh),
            (Err(_), Ask::Remembering | Ask::Afresh) => {
                (self.evaluate(&document).map(Arc::new), Recall::Never)
            }
        }
    }

    fn document<'a>(&'a self, input: &'a PolicyInput<'a>) -> Document<'a> {
        Document::new(input, &self.headers, self.reads_body)
    }

    fn evaluate(&self, document: &Document<'_>) -> Result<Decision, PolicyFault> {
        Decision::parse(&self.engine.evaluate(document)?)
    }

    /// Whether its decisions are remembered, under what, or why not.
    #[must_use]
    pub fn remembering(&self) -> Remembering {
        match &self.memory {
            Ok(memory) => {
                Remembering::Under(memory.reads().paths().iter().map(ToString::to_string).collect())
            }
            Err(obstacles) => Remembering::Never(obstacles.clone()),
        }
    }

    /// How many decisions are remembered; nothing for a policy that is evaluated every time.
    #[must_use]
    pub fn remembered(&self) -> Option<usize> {
        self.memory.as_ref().ok().map(Memory::len)
    }

    /// Its name.
    #[must_use]
    pub const fn id(&self) -> &PolicyId {
        &self.id
    }

    /// Where it is defined.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Its mode, before a reference narrows it.
    #[must_use]
    pub const fn guard(&self) -> Guard {
        self.guard
    }

    /// True when it has to be asked after the body was read.
    #[must_use]
    pub const fn reads_body(&self) -> bool {
        self.reads_body
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("id", &self.id)
            .field("guard", &self.guard)
            .finish_non_exhaustive()
    }
}
