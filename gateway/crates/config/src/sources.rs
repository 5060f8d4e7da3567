//! Every file that a configuration is read from: bounded, remembered for watching, snippets and the revision.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_model::{Origin, Problem, Problems};
use sha2::{Digest, Sha256};

use crate::file::scalars::SecretSource;
use crate::file::section::did_you_mean;

/// A configuration file; ten thousand routes take less than half of it.
pub(crate) const MAX_CONFIG_FILE: u64 = 4 << 20;
/// All configuration files of a directory together.
pub(crate) const MAX_CONFIG: usize = 16 << 20;
/// A PEM file: a bundle of a thousand CA certificates takes less than half of it.
pub(crate) const MAX_PEM: u64 = 4 << 20;
/// A revocation list: a million certificates take as much.
pub(crate) const MAX_CRL: u64 = 32 << 20;
/// An OpenAPI document, a key set or a Rego module.
pub(crate) const MAX_DOCUMENT: u64 = 16 << 20;
/// A policy's data or Wasm module.
pub(crate) const MAX_DATA: u64 = 64 << 20;
/// Files in one folder of configuration or of modules.
pub(crate) const MAX_FILES: usize = 1_000;

/// Every file that was read or looked for.
#[derive(Clone, Default)]
pub struct Sources {
    texts: BTreeMap<Arc<str>, Arc<str>>,
    paths: Vec<PathBuf>,
}

impl Sources {
    /// Every file and folder whose change may change the configuration, also those that were missing.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter().map(PathBuf::as_path)
    }

    /// Takes over what another reading read.
    pub fn extend(&mut self, other: Self) {
        self.texts.extend(other.texts);
        self.paths.extend(other.paths);
    }

    /// Keeps a text for snippets.
    pub(crate) fn show(&mut self, name: &Arc<str>, text: Arc<str>) {
        self.texts.insert(Arc::clone(name), text);
    }

    /// The text of a configuration file or document, by its name in an `Origin`; never a key or a secret.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(AsRef::as_ref)
    }
}

/// Names only: a configuration's text belongs into snippets, not into dumps.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("paths", &self.paths)
            .finish_non_exhaustive()
    }
}

/// A secret that was looked for.
pub(crate) enum Secret {
    /// Found.
    Is(String),
    /// Not there, which only an offline check may ignore; a warning says so.
    Missing,
    /// Not usable; a problem says why.
    Broken,
}

/// Reads files and secrets, and remembers what it read.
pub(crate) struct Files<'a> {
    pub(crate) sources: Sources,
    offline: bool,
    env: &'a dyn Fn(&str) -> Option<String>,
    digest: Sha256,
}

impl<'a> Files<'a> {
    pub(crate) fn new(offline: bool, env: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            sources: Sources::default(),
            offline,
            env,
            digest: Sha256::new(),
        }
    }

    /// True when secrets and keys may be missing.
    pub(crate) const fn is_offline(&self) -> bool {
        self.offline
    }

    /// The name of a file that the file of `origin` names: relative paths start at that file's folder.
    pub(crate) fn name_beside(origin: &Origin, path: &str) -> Arc<str> {
        let folder = Path::new(origin.file.as_ref())
            .parent()
            .unwrap_or_else(|| Path::new(""));
        Arc::from(folder.join(path).to_string_lossy().as_ref())
    }

    /// Reads bytes, or says as a problem why not.
    pub(crate) fn bytes(
        &mut self,
        name: &Arc<str>,
        (what, limit): (&str, u64),
        origin: &Origin,
        problems: &mut Problems,
    ) -> Option<Vec<u8>> {
        match self.read(Path::new(name.as_ref()), limit) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                problems.push(unreadable(name, what, &error, origin));
                None
            }
        }
    }

    /// Reads text that may be shown in a snippet.
    pub(crate) fn document(
        &mut self,
        name: &Arc<str>,
        kind: (&str, u64),
        origin: &Origin,
        problems: &mut Problems,
    ) -> Option<Arc<str>> {
        let bytes = self.bytes(name, kind, origin, problems)?;
        match String::from_utf8(bytes) {
            Ok(text) => {
                let text: Arc<str> = Arc::from(text);
                self.sources.texts.insert(Arc::clone(name), Arc::clone(&text));
                Some(text)
            }
            Err(_) => {
                let message = format!("{} {:?} is not UTF-8 text", kind.0, name.as_ref());
                problems.push(Problem::error("unreadable-file", origin, message));
                None
            }
        }
    }

    /// Reads a secret from its file or the environment.
    pub(crate) fn secret(
        &mut self,
        source: &SecretSource,
        what: &str,
        origin: &Origin,
        problems: &mut Problems,
    ) -> Secret {
        let found = match source {
            SecretSource::File(path) => {
                let name = Self::name_beside(origin, path);
                match self.read(Path::new(name.as_ref()), MAX_PEM) {
                    Ok(bytes) => String::from_utf8(bytes).map_err(|_| {
                        Problem::error(
                            "unreadable-file",
                            origin,
                            format!("{what} {:?} is not text", name.as_ref()),
                        )
                    }),
                    Err(error) if self.offline && error.kind() == io::ErrorKind::NotFound => {
                        return Self::left_out(what, &format!("{:?}", name.as_ref()), origin, problems);
                    }
                    Err(error) => Err(unreadable(&name, what, &error, origin)),
                }
            }
            SecretSource::Env(name) => match (self.env)(name) {
                Some(value) => {
                    self.digest.update(value.as_bytes());
                    Ok(value)
                }
                None if self.offline => {
                    return Self::left_out(what, &format!("the variable {name}"), origin, problems);
                }
                None => {
                    let message = format!("cannot read {what}: the variable {name} is not set");
                    Err(Problem::error("missing-variable", origin, message))
                }
            },
        };
        match found {
            Ok(text) => Secret::Is(text),
            Err(problem) => {
                problems.push(problem);
                Secret::Broken
            }
        }
    }

    fn left_out(what: &str, place: &str, origin: &Origin, problems: &mut Problems) -> Secret {
        let message = format!("{what} is left out: {place} is not there, and this check is offline");
        problems.push(Problem::warning("offline", origin, message));
        Secret::Missing
    }

    /// The files of a folder with one of some endings, by name; hidden ones are left out.
    pub(crate) fn folder(&mut self, folder: &Path, endings: &[&str]) -> io::Result<Vec<PathBuf>> {
        self.sources.paths.push(folder.to_owned());
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            if !name.starts_with('.') && endings.iter().any(|ending| name.ends_with(ending)) && path.is_file()
            {
                found.push(path);
            }
            if found.len() > MAX_FILES {
                return Err(io::Error::other(format!("more than {MAX_FILES} files")));
            }
        }
        found.sort();
        Ok(found)
    }

    fn read(&mut self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        self.sources.paths.push(path.to_owned());
        // A pipe or device could block or never end.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("not a file"));
        }
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
            return Err(io::Error::other(format!("larger than {} MiB", limit >> 20)));
        }
        // The name only: the same files in another folder, or named from elsewhere, are the same revision.
        self.digest
            .update(path.file_name().unwrap_or_default().as_encoded_bytes());
        self.digest.update(Sha256::digest(&bytes));
        Ok(bytes)
    }

    /// A short hash of everything that was read, and what was read.
    pub(crate) fn finish(self) -> (String, Sources) {
        let digest = self.digest.finalize();
        let revision = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        (revision, self.sources)
    }
}

fn unreadable(name: &str, what: &str, error: &io::Error, origin: &Origin) -> Problem {
    let reason = match error.kind() {
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    let problem = Problem::error(
        "unreadable-file",
        origin,
        format!("cannot read {what} {name:?}: {reason}"),
    );
    if error.kind() != io::ErrorKind::NotFound {
        return problem;
    }
    match sibling(Path::new(name)) {
        Some(hint) => problem.with_hint(hint),
        None => problem.with_hint("relative paths start at the folder of the file that names them"),
    }
}

fn sibling(path: &Path) -> Option<String> {
    let wanted = path.file_name()?.to_string_lossy();
    let folder = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    let names: Vec<String> = fs::read_dir(folder)
        .ok()?
        .take(MAX_FILES)
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    did_you_mean(&wanted, names.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_beyond_its_bound_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large");
        fs::write(&path, vec![b'x'; 11]).unwrap();
        let mut files = Files::new(false, &|_| None);

        assert!(files.read(&path, 11).is_ok());
        assert!(files.read(&path, 10).is_err());
        assert!(files.read(folder.path(), 10).is_err(), "a folder is not a file");
    }

    #[test]
    fn the_revision_follows_the_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let revision = |text: &str| {
            fs::write(&path, text).unwrap();
            let mut files = Files::new(false, &|_| None);
            files.read(&path, 10).unwrap();
            files.finish().0
        };

        assert_eq!(revision("1"), revision("1"));
        assert_ne!(revision("1"), revision("2"));
    }

    #[test]
    fn the_revision_does_not_tell_where_the_files_are() {
        let revision = || {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("portcullis.yaml");
            fs::write(&path, "1").unwrap();
            let mut files = Files::new(false, &|_| None);
            files.read(&path, 10).unwrap();
            files.finish().0
        };

        assert_eq!(revision(), revision());
    }
}
