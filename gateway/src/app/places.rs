//! Where a change of a path shows: the folder it stands in, and that of every symlink on its way.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf, absolute};

/// More symlinks in a row than any system follows.
const MOST_LINKS: usize = 40;

/// The folders to watch, and the names in them that matter.
#[derive(Debug, Default)]
pub(super) struct Places {
    folders: BTreeMap<PathBuf, Names>,
    ignored: BTreeSet<PathBuf>,
}

#[derive(Debug)]
enum Names {
    /// Whatever happens in there: a folder that the configuration reads whole.
    Any,
    /// Only these.
    Some(BTreeSet<OsString>),
}

impl Places {
    /// The places of a set of paths; what happens to an `ignored` file never matters.
    pub(super) fn of<'a>(paths: impl Iterator<Item = &'a Path>, ignored: &BTreeSet<PathBuf>) -> Self {
        let mut places = Self {
            ignored: ignored.iter().filter_map(|path| absolute(path).ok()).collect(),
            ..Self::default()
        };
        for path in paths.filter_map(|path| absolute(path).ok()) {
            places.add(path);
        }
        places
    }

    /// The folders.
    pub(super) fn folders(&self) -> impl Iterator<Item = &Path> {
        self.folders.keys().map(PathBuf::as_path)
    }

    /// Whether something that happened to a path matters.
    pub(super) fn matter(&self, path: &Path) -> bool {
        if self.ignored.contains(path) {
            return false;
        }
        let of_parent = path.parent().and_then(|parent| self.folders.get(parent));
        match (of_parent, path.file_name()) {
            (Some(Names::Any), _) => true,
            (Some(Names::Some(names)), Some(name)) if names.contains(name) => true,
            // A watched folder itself: moved, or removed.
            _ => self.folders.contains_key(path),
        }
    }

    fn add(&mut self, path: PathBuf) {
        let mut next = path;
        for _ in 0..MOST_LINKS {
            if next.is_dir() {
                self.folders.insert(next.clone(), Names::Any);
            }
            self.add_name(&next);
            let Some((link, target)) = link_on_the_way(&next) else {
                return;
            };
            self.add_name(&link);
            next = target;
        }
    }

    /// The name in its folder; where the folder is missing, the missing part in the nearest folder that is there.
    fn add_name(&mut self, path: &Path) {
        let missing = path
            .ancestors()
            .find(|part| part.parent().is_some_and(Path::is_dir));
        let Some((folder, name)) = missing.and_then(|part| Some((part.parent()?, part.file_name()?))) else {
            return;
        };
        match self
            .folders
            .entry(folder.to_owned())
            .or_insert_with(|| Names::Some(BTreeSet::new()))
        {
            Names::Any => {}
            Names::Some(names) => {
                names.insert(name.to_owned());
            }
        }
    }
}

/// The last symlink on the way (the file itself or the nearest folder above it), and the path with its target.
fn link_on_the_way(path: &Path) -> Option<(PathBuf, PathBuf)> {
    path.ancestors().find_map(|part| {
        let target = std::fs::read_link(part).ok()?;
        let rest = path.strip_prefix(part).ok()?;
        let target = part.parent()?.join(target);
        let target = if rest.as_os_str().is_empty() {
            target
        } else {
            target.join(rest)
        };
        Some((part.to_owned(), target))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn places(paths: &[&Path], ignored: &[PathBuf]) -> Places {
        Places::of(paths.iter().copied(), &ignored.iter().cloned().collect())
    }

    #[test]
    fn only_the_named_files_of_a_folder_matter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portcullis.yaml");

        let places = places(&[&path], &[]);

        assert!(places.matter(&path));
        assert!(!places.matter(&folder.path().join("access.log")));
    }

    #[test]
    fn everything_in_a_folder_that_is_read_whole_matters_but_our_own_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("access.log");

        let places = places(&[folder.path()], std::slice::from_ref(&log));

        assert!(places.matter(&folder.path().join("new.yaml")));
        assert!(!places.matter(&log));
    }

    #[test]
    fn a_file_that_is_missing_with_its_folder_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();

        let places = places(&[&folder.path().join("certs/server.pem")], &[]);

        assert!(places.matter(&folder.path().join("certs")));
    }

    #[cfg(unix)]
    #[test]
    fn every_symlink_on_the_way_matters_where_it_stands() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("v1")).unwrap();
        fs::write(folder.path().join("v1/portcullis.yaml"), "one").unwrap();
        std::os::unix::fs::symlink("v1", folder.path().join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/portcullis.yaml", folder.path().join("portcullis.yaml")).unwrap();

        let places = places(&[&folder.path().join("portcullis.yaml")], &[]);

        for path in ["portcullis.yaml", "..data", "v1/portcullis.yaml"] {
            assert!(places.matter(&folder.path().join(path)), "{path}: {places:?}");
        }
    }
}
