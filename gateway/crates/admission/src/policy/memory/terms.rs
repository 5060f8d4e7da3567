//! Whether a policy's decisions can be remembered, and the sentences that say so to operators.

use std::fmt;
use std::sync::Arc;

use super::read_set::{FactPath, ReadSet};
use crate::plan::{PolicyPlan, PolicySource};
use crate::policy::rego::reads::{Reads, Spot};

/// Whether a policy's decisions are remembered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Remembering {
    /// Under the values of these facts, each a path below `input`. No path: the policy decides the same for everybody.
    Under(Vec<String>),
    /// It is evaluated every time, for these reasons.
    Never(Vec<Obstacle>),
}

/// Why a policy's decisions are not remembered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Obstacle {
    /// `remember: false`.
    SwitchedOff,
    /// A Wasm module does not say what it reads.
    Wasm,
    /// `body: true`: bodies are large, and seldom the same.
    Body,
    /// The request's id is in what it reads, so that no two requests are alike.
    RequestId {
        /// What is read: the id, or something that it is part of.
        path: String,
        /// Where.
        place: String,
    },
    /// It calls a built-in that gives something else every time.
    Impure {
        /// The built-in.
        builtin: &'static str,
        /// Where.
        place: String,
    },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SwitchedOff => f.write_str("remember is false"),
            Self::Wasm => f.write_str("a Wasm module does not say what it reads"),
            Self::Body => f.write_str("reads the body"),
            Self::RequestId { path, place } if *path == request_id().to_string() => {
                write!(f, "reads request.id ({place})")
            }
            Self::RequestId { path, place } => {
                write!(f, "reads request.id, because it uses {path} as a whole ({place})")
            }
            Self::Impure { builtin, place } => write!(f, "calls {builtin} ({place})"),
        }
    }
}

/// The one fact that no two requests share.
fn request_id() -> FactPath {
    FactPath::of(&["request", "id"])
}

/// What a Rego policy's decisions are remembered under.
pub(in crate::policy) fn terms(plan: &PolicyPlan, reads: Option<&Reads>) -> Result<ReadSet, Vec<Obstacle>> {
    let mut obstacles = Vec::new();
    if !plan.remember {
        obstacles.push(Obstacle::SwitchedOff);
    }
    match &plan.source {
        PolicySource::Wasm { .. } => obstacles.push(Obstacle::Wasm),
        PolicySource::Rego { .. } => {}
    }
    if plan.reads_body {
        obstacles.push(Obstacle::Body);
    }
    let id = request_id();
    for (path, spot) in reads.iter().flat_map(|reads| &reads.facts) {
        if path.covers(&id) || id.covers(path) {
            obstacles.push(Obstacle::RequestId {
                path: path.to_string(),
                place: place(spot),
            });
        }
    }
    for (builtin, spot) in reads.iter().flat_map(|reads| &reads.impure) {
        obstacles.push(Obstacle::Impure {
            builtin,
            place: place(spot),
        });
    }
    match reads {
        Some(reads) if obstacles.is_empty() => Ok(ReadSet::new(reads.facts.keys().cloned())),
        Some(_) | None => Err(obstacles),
    }
}

fn place(spot: &Spot) -> String {
    let file: &Arc<str> = &spot.file;
    format!("{file}:{}:{}", spot.place.line, spot.place.column)
}
