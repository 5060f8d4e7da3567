//! The admin port's entries between two runs: a JSON list in the folder for state, in the form of the deny list's file.

use portcullis_config::read_kept_entries;
use portcullis_identity::deny::DenyEntry;
use portcullis_model::{Problem, Problems};
use serde_json::Value;

use super::KeptFault;
use crate::admin::denials::entry_keys;
use crate::app::state::{StateDir, StateFault};

/// Its name in the folder.
const NAME: &str = "deny.json";
/// More than the admin port's entries can take.
const LIMIT: u64 = 64 << 20;

/// The entries of the last run.
pub(super) fn read(state: &StateDir) -> Result<Vec<DenyEntry>, KeptFault> {
    let path = state.path_of(NAME).display().to_string();
    let bytes = state
        .read(NAME, LIMIT)
        .map_err(|fault| KeptFault::State(Box::new(fault)))?;
    let Some(bytes) = bytes else {
        return Ok(Vec::new());
    };
    // What is not text is not what we wrote either; its problem is told by the reader.
    let text = String::from_utf8_lossy(&bytes);
    read_kept_entries(&text).map_err(|problems| KeptFault::Broken {
        path,
        problems: in_one_line(&problems),
    })
}

/// The problems as they stand within a sentence; the file is named there already.
fn in_one_line(problems: &Problems) -> String {
    let one = |problem: &Problem| match problem.origin.line {
        0 => problem.message.clone(),
        line => format!("line {line}: {}", problem.message),
    };
    problems.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Writes the entries of this run; with none of them there is no file.
pub(super) fn write(state: &StateDir, entries: &[DenyEntry]) -> Result<(), StateFault> {
    if entries.is_empty() {
        return state.remove(NAME);
    }
    let list = Value::Array(
        entries
            .iter()
            .map(|entry| Value::Object(entry_keys(entry)))
            .collect(),
    );
    state.write(NAME, list.to_string().as_bytes())
}
