//! What `opa build -t wasm` made.

use portcullis_model::Problems;
use serde_json::Value;

use super::engine::PolicyEngine;
use super::fault::PolicyFault;
use super::input::Document;
use crate::plan::PolicyPlan;

pub(super) struct WasmEngine;

impl WasmEngine {
    pub(super) fn compile(_: &PolicyPlan, _: &str, _: &[u8], _: &Value) -> Result<Self, Problems> {
        Ok(Self)
    }
}

impl PolicyEngine for WasmEngine {
    fn evaluate(&self, _: &Document<'_>) -> Result<Value, PolicyFault> {
        Err(PolicyFault::Undefined)
    }
}
