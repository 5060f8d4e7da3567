//! Where in the operator's files a thing was written, so that every decision can name its line.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// A place in a configuration file and the object that stands there.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq, Serialize)]
pub struct Origin {
    /// The object's path in the configuration, as in `routes[2].pool`.
    pub path: Arc<str>,
    /// The file, as the operator named it; empty for what was not read from a file.
    pub file: Arc<str>,
    /// One-based line; 0 when unknown.
    pub line: u32,
    /// One-based column; 0 when unknown.
    pub column: u32,
}

impl Origin {
    /// An origin that knows only the object's path, for plans built by hand.
    pub fn of(path: impl Into<Arc<str>>) -> Self {
        Self {
            path: path.into(),
            ..Self::default()
        }
    }
}

/// `file:line:column path`, leaving out what is unknown.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            write!(f, "{}", self.file)?;
            if self.line > 0 {
                write!(f, ":{}:{}", self.line, self.column)?;
            }
            f.write_str(" ")?;
        }
        f.write_str(&self.path)
    }
}
