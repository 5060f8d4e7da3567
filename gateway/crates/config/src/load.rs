//! The one way from a path to a plan; `check`, `run`, `explain` and reload all take it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use portcullis_model::{Origin, Problem, Problems};
use portcullis_pipeline::plan::GatewayPlan;

use crate::boot::BootPlan;
use crate::sources::Sources;

/// How to load.
#[derive(Clone)]
pub struct LoadOptions<'a> {
    /// Private keys, secrets and environment variables may be missing: they are warned about and left out.
    pub offline: bool,
    /// The region of this gateway; wins over `gateway.region`.
    pub region: Option<String>,
    /// Looks up an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

/// A configuration that is valid.
#[derive(Debug)]
pub struct Loaded {
    /// What is fixed until restart.
    pub boot: BootPlan,
    /// What may change while the gateway runs.
    pub live: Arc<GatewayPlan>,
    /// What is probably not meant.
    pub warnings: Problems,
    /// Every file that was read.
    pub sources: Sources,
    /// A short hash of everything that was read.
    pub revision: String,
}

/// A configuration that is refused, with all of its problems.
#[derive(Debug)]
pub struct Refused {
    /// All of them; at least one is an error.
    pub problems: Problems,
    /// Every file that was read, for the snippets.
    pub sources: Sources,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has problems\n{}", self.problems)
    }
}

impl std::error::Error for Refused {}

/// Reads a file, or a directory of files, into a plan.
///
/// # Errors
/// Returns every problem found, when at least one of them is an error.
pub fn load(source: &Path, options: &LoadOptions<'_>) -> Result<Loaded, Refused> {
    let _ = options;
    let origin = Origin { file: source.to_string_lossy().as_ref().into(), ..Origin::default() };
    let problem = Problem::error("not-supported-yet", &origin, "the configuration cannot be read yet");
    Err(Refused { problems: problem.into(), sources: Sources::default() })
}
