//! What may be asked: the operations of an OpenAPI document.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use portcullis_model::{ContractId, Guard, Origin, Problems, Rejection, RequestHead};
use serde_json::Value;

use crate::plan::{ContractPlan, UnknownOperations};

/// A compiled OpenAPI document.
#[derive(Debug)]
pub struct Contract {
    plan: ContractPlan,
}

/// What a contract says about a method and a path.
#[derive(Debug)]
pub enum Lookup<'c> {
    /// The operation.
    Found(OperationMatch<'c>),
    /// The path exists, the method does not; the methods that do.
    MethodNotAllowed(Vec<Method>),
    /// No such path.
    Unknown,
}

/// An operation with the values of its path's parameters.
#[derive(Debug)]
pub struct OperationMatch<'c> {
    /// The operation.
    pub operation: &'c Arc<Operation>,
    /// The path's parameters.
    pub params: PathParams,
}

/// Values of a path's parameters, by name, still percent-encoded.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PathParams(Vec<(Arc<str>, String)>);

/// One operation.
#[derive(Debug)]
pub struct Operation {
    id: String,
}

/// Whether and how a request's body has to be judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyNeed {
    /// The contract has nothing more to say; the body may stream.
    None,
    /// The body must be pushed through [`Operation::body_gate`] before a byte goes on.
    Gate,
}

impl BodyNeed {
    /// True when the body goes through a gate.
    #[must_use]
    pub const fn judges_body(self) -> bool {
        matches!(self, Self::Gate)
    }
}

/// Strict JSON.
///
/// # Errors
/// Refuses what is not one well-formed value.
pub fn parse_strict(body: &[u8]) -> Result<Value, Rejection> {
    serde_json::from_slice(body).map_err(|_| Rejection::new(portcullis_model::Reason::BodyMalformed))
}

/// Holds a body until it is known to fit.
#[derive(Debug)]
pub struct BodyGate {
    held: Vec<u8>,
}

/// A body that fits.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldBody {
    /// The bytes, as received.
    pub bytes: Bytes,
    /// The JSON value, when the body is JSON.
    pub json: Option<Value>,
}

impl Contract {
    /// Compiles a document.
    ///
    /// # Errors
    /// Returns every problem of the document.
    pub fn compile(plan: &ContractPlan) -> Result<(Self, Problems), Problems> {
        Ok((Self { plan: plan.clone() }, Problems::new()))
    }

    /// Compiles, taking over the operations of an equal document.
    ///
    /// # Errors
    /// Returns every problem of the document.
    pub fn compile_reusing(plan: &ContractPlan, _previous: Option<&Self>) -> Result<(Self, Problems), Problems> {
        Self::compile(plan)
    }

    /// Its name.
    #[must_use]
    pub const fn id(&self) -> &ContractId {
        &self.plan.id
    }

    /// Where it is defined.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.plan.origin
    }

    /// Its own mode.
    #[must_use]
    pub const fn guard(&self) -> Guard {
        self.plan.guard
    }

    /// What happens to operations it does not have.
    #[must_use]
    pub const fn unknown_operations(&self) -> UnknownOperations {
        self.plan.unknown_operations
    }

    /// Looks an operation up by a canonical path.
    #[must_use]
    pub fn operation(&self, _method: &Method, _path: &str) -> Lookup<'_> {
        Lookup::Unknown
    }
}

impl Operation {
    /// Its `operationId`, or `GET /path`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Judges the head.
    ///
    /// # Errors
    /// Refuses with every violation found, at most 32.
    pub fn validate_head(&self, _head: &RequestHead<'_>, _params: &PathParams, _has_body: bool) -> Result<BodyNeed, Rejection> {
        Ok(BodyNeed::None)
    }

    /// The gate for a request's body, or `None` when it may stream.
    #[must_use]
    pub fn body_gate(self: &Arc<Self>, _head: &RequestHead<'_>, _max: u64) -> Option<BodyGate> {
        None
    }
}

impl BodyGate {
    /// Holds some more bytes.
    ///
    /// # Errors
    /// Refuses what is too large.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Rejection> {
        self.held.extend_from_slice(bytes);
        Ok(())
    }

    /// Bytes held now.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held.len()
    }

    /// Judges the whole body.
    ///
    /// # Errors
    /// Refuses what does not fit.
    pub fn finish(self) -> Result<HeldBody, Rejection> {
        Ok(HeldBody { bytes: self.held.into(), json: None })
    }
}
