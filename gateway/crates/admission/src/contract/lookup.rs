//! A compiled OpenAPI document and how an operation is found in it.

use std::sync::Arc;

use http::Method;
use portcullis_model::{ContractId, Guard, Origin, Problems};

use super::compile::compile_operations;
use super::operation::{Operation, PathParams};
use super::template::{Found, PathTable};
use crate::plan::{ContractPlan, UnknownOperations};

/// A compiled OpenAPI document.
#[derive(Debug)]
pub struct Contract {
    plan: ContractPlan,
    paths: Arc<PathTable<PathItem>>,
}

/// The operations of one path.
#[derive(Debug, Default)]
pub(super) struct PathItem {
    pub(super) operations: Vec<(Method, Arc<Operation>)>,
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
    /// The values of the path's parameters.
    pub params: PathParams,
}

impl Contract {
    /// Compiles a document.
    ///
    /// # Errors
    /// Returns every problem of the document, each with its pointer.
    pub fn compile(plan: &ContractPlan) -> Result<(Self, Problems), Problems> {
        let (paths, warnings) = compile_operations(plan)?;
        Ok((
            Self {
                plan: plan.clone(),
                paths: Arc::new(paths),
            },
            warnings,
        ))
    }

    /// Compiles, taking over the operations of an equal document: a change of mode costs nothing.
    ///
    /// # Errors
    /// Returns every problem of the document.
    pub fn compile_reusing(
        plan: &ContractPlan,
        previous: Option<&Self>,
    ) -> Result<(Self, Problems), Problems> {
        match previous {
            Some(previous) if previous.plan.document == plan.document => Ok((
                Self {
                    plan: plan.clone(),
                    paths: Arc::clone(&previous.paths),
                },
                Problems::new(),
            )),
            Some(_) | None => Self::compile(plan),
        }
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

    /// Its own mode; a reference may narrow it.
    #[must_use]
    pub const fn guard(&self) -> Guard {
        self.plan.guard
    }

    /// What happens to operations that it does not have.
    #[must_use]
    pub const fn unknown_operations(&self) -> UnknownOperations {
        self.plan.unknown_operations
    }

    /// Finds the operation for a canonical path. `HEAD` is `GET` without a body where it is not an operation itself.
    #[must_use]
    pub fn operation(&self, method: &Method, path: &str) -> Lookup<'_> {
        let Some(Found { item, values }) = self.paths.find(path) else {
            return Lookup::Unknown;
        };
        match item.find(method) {
            Some(operation) => {
                let params = values
                    .into_iter()
                    .map(|(name, value)| (Arc::clone(name), value.to_owned()));
                Lookup::Found(OperationMatch {
                    operation,
                    params: PathParams(params.collect()),
                })
            }
            None => Lookup::MethodNotAllowed(item.methods()),
        }
    }
}

impl PathItem {
    fn find(&self, method: &Method) -> Option<&Arc<Operation>> {
        let own = |wanted: &Method| {
            self.operations
                .iter()
                .find(|(method, _)| method == wanted)
                .map(|(_, operation)| operation)
        };
        own(method).or_else(|| {
            if method == Method::HEAD {
                own(&Method::GET)
            } else {
                None
            }
        })
    }

    fn methods(&self) -> Vec<Method> {
        let mut methods: Vec<_> = self.operations.iter().map(|(method, _)| method.clone()).collect();
        if methods.contains(&Method::GET) && !methods.contains(&Method::HEAD) {
            methods.push(Method::HEAD);
        }
        methods
    }
}
