//! Plan and previous snapshot → snapshot, with the problems of both steps in one list.

use std::sync::Arc;

use portcullis_model::Problems;
use portcullis_pipeline::{Boards, Snapshot};

use crate::load::{Loaded, Refused};

/// Compiles what was loaded, reusing what did not change; the warnings of loading and compiling come with it.
///
/// # Errors
/// Returns everything found, also while loading, when any of it keeps the plan from being served.
pub fn compile(
    loaded: &Loaded,
    previous: Option<&Snapshot>,
    boards: &Boards,
) -> Result<(Snapshot, Problems), Refused> {
    let mut problems = loaded.unfit.clone();
    problems.extend(loaded.warnings.clone());
    let compiled = portcullis_pipeline::compile(
        Arc::clone(&loaded.live),
        previous,
        boards,
        loaded.revision.clone(),
    );
    let snapshot = match compiled {
        Ok((snapshot, warnings)) => {
            problems.extend(warnings);
            Some(snapshot)
        }
        Err(more) => {
            problems.extend(more);
            None
        }
    };
    match snapshot {
        Some(snapshot) if !problems.has_errors() => Ok((snapshot, problems)),
        Some(_) | None => Err(Refused {
            problems,
            sources: loaded.sources.clone(),
        }),
    }
}
