//! One line of the deny list: who, until when, why, and who said so.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use portcullis_model::{Origin, Reason, Rejection};

use super::name::DenyName;

/// An entry of the deny list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DenyEntry {
    /// What it names.
    pub name: DenyName,
    /// When it ends; `None` never does.
    pub until: Option<SystemTime>,
    /// Why, for operators; no client is ever told.
    pub reason: Option<Arc<str>>,
    /// Who said so.
    pub source: DenySource,
}

/// Where an entry comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DenySource {
    /// The operator's file.
    File {
        /// The file, as the operator named it.
        file: Arc<str>,
        /// One-based line.
        line: u32,
        /// One-based column.
        column: u32,
    },
    /// The admin port.
    Admin {
        /// What it is taken back by.
        id: Arc<str>,
    },
}

impl DenyEntry {
    /// True while it denies.
    #[must_use]
    pub fn holds(&self, now: SystemTime) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// The refusal that it decides: the operator reads which entry, the client does not.
    pub(crate) fn rejection(&self, reason: Reason) -> Rejection {
        Rejection::new(reason)
            .with_private(self.to_string())
            .decided_by(&self.origin())
    }

    /// True when it denies at least as long as the other one.
    pub(super) fn outlasts(&self, other: &Self) -> bool {
        match (self.until, other.until) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(mine), Some(theirs)) => mine >= theirs,
        }
    }

    /// Where it is written: the line that decides when it denies.
    #[must_use]
    pub fn origin(&self) -> Origin {
        match &self.source {
            DenySource::File { file, line, column } => Origin {
                path: Arc::from(self.name.kind().as_str()),
                file: Arc::clone(file),
                line: *line,
                column: *column,
            },
            DenySource::Admin { id } => Origin::of(format!("the admin port's deny list, entry {id}")),
        }
    }
}

/// For operators: `denied by sub "alice" of corp (deny.yaml:3:5 sub): left the company`.
impl fmt::Display for DenyEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "denied by {} ({})", self.name, self.origin())?;
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}
