//! A policy as a route uses it: compiled once, asked per request.

use std::fmt;
use std::sync::Arc;

use http::HeaderName;
use portcullis_model::{Guard, Origin, PolicyId, Problem, Problems};

use super::decision::Decision;
use super::engine::PolicyEngine;
use super::fault::PolicyFault;
use super::input::{Document, PolicyInput, is_forbidden_header};
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
        let engine: Option<Arc<dyn PolicyEngine>> = match &plan.source {
            PolicySource::Rego { modules, data } => problems
                .collect(RegoEngine::compile(plan, modules, data))
                .map(|engine| Arc::new(engine) as Arc<dyn PolicyEngine>),
            PolicySource::Wasm { file, bytes, data } => problems
                .collect(WasmEngine::compile(plan, file, bytes, data))
                .map(|(engine, warnings)| {
                    problems.extend(warnings);
                    Arc::new(engine) as Arc<dyn PolicyEngine>
                }),
        };
        match engine {
            Some(engine) => problems.into_result(Self {
                id: plan.id.clone(),
                origin: plan.origin.clone(),
                guard: plan.guard,
                headers: plan.headers.clone(),
                reads_body: plan.reads_body,
                engine,
            }),
            None => Err(problems),
        }
    }

    /// Asks for one decision, within the policy's budget.
    ///
    /// # Errors
    /// Returns why there is no usable decision; the caller denies.
    pub fn decide(&self, input: &PolicyInput<'_>) -> Result<Decision, PolicyFault> {
        let document = Document::new(input, &self.headers, self.reads_body);
        Decision::parse(&self.engine.evaluate(&document)?)
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
