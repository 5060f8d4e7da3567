//! Every file that a configuration was read from: for watching, for snippets and for the revision.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Every file that was read or looked for.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    texts: BTreeMap<Arc<str>, Arc<str>>,
    paths: Vec<PathBuf>,
}

impl Sources {
    /// Every file and directory whose change may change the configuration.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter().map(PathBuf::as_path)
    }

    /// The text of a configuration file or document, by its name in an `Origin`; never a key or a secret.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(AsRef::as_ref)
    }
}
