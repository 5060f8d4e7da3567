//! Notices that the files of a configuration changed.
//!
//! Editors and Kubernetes replace files by renaming or by swapping a symlink, which a watch on the file itself does
//! not survive; so the folders are watched, of every path and of what each symlink on the way leads to.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::timeout;
use tracing::warn;

/// One save is several events; this long without one is the end of it.
const QUIET: Duration = Duration::from_millis(200);
/// A folder that never rests is looked at anyway.
const AT_LATEST: Duration = Duration::from_secs(2);

/// Watches the folders of a set of files.
pub(crate) struct FileWatch {
    watcher: Mutex<Watched>,
}

struct Watched {
    watcher: RecommendedWatcher,
    folders: BTreeSet<PathBuf>,
}

/// Tells of changes; many at once are one.
pub(crate) struct Changes(Receiver<()>);

impl FileWatch {
    /// A watch over nothing yet.
    ///
    /// # Errors
    /// Fails when the system gives no more watches.
    pub(crate) fn new() -> notify::Result<(Self, Changes)> {
        let (sender, receiver) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let is_change = event.is_ok_and(|event| !matches!(event.kind, EventKind::Access(_)));
            if is_change {
                // Full means that a change is already waiting to be told.
                let _ = sender.try_send(());
            }
        })?;
        let watched = Watched {
            watcher,
            folders: BTreeSet::new(),
        };
        Ok((
            Self {
                watcher: Mutex::new(watched),
            },
            Changes(receiver),
        ))
    }

    /// Watches these paths from now on, and no others.
    pub(crate) fn follow<'a>(&self, paths: impl Iterator<Item = &'a Path>) {
        let wanted: BTreeSet<PathBuf> = paths.flat_map(folders_of).collect();
        let mut watched = self
            .watcher
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let gone: Vec<PathBuf> = watched.folders.difference(&wanted).cloned().collect();
        for folder in gone {
            // A folder that was removed is not watched any more anyway.
            let _ = watched.watcher.unwatch(&folder);
            watched.folders.remove(&folder);
        }
        for folder in wanted {
            if watched.folders.contains(&folder) {
                continue;
            }
            match watched.watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    watched.folders.insert(folder);
                }
                Err(error) => {
                    warn!(folder = %folder.display(), %error, "cannot watch for changes, SIGHUP reloads")
                }
            }
        }
    }
}

impl Changes {
    /// Waits for the next change and until it is over.
    pub(crate) async fn next(&mut self) -> Option<()> {
        self.0.recv().await?;
        let _ = timeout(AT_LATEST, async {
            while let Ok(Some(())) = timeout(QUIET, self.0.recv()).await {}
        })
        .await;
        Some(())
    }
}

/// The folders in which a change of a path shows: of the path, of every symlink on the way, and of where it ends.
fn folders_of(path: &Path) -> Vec<PathBuf> {
    /// More symlinks in a row than any system follows.
    const MOST_LINKS: usize = 40;
    let mut folders = Vec::new();
    let mut next = path.to_owned();
    for _ in 0..MOST_LINKS {
        if next.is_dir() {
            folders.push(next.clone());
        }
        let Some(parent) = next.parent() else { break };
        folders.push(if parent.as_os_str().is_empty() {
            PathBuf::from(".")
        } else {
            parent.to_owned()
        });
        let Some(link) = link_on_the_way(&next) else { break };
        folders.push(link.stands_in);
        next = link.leads_to;
    }
    folders.retain(|folder| folder.is_dir());
    folders
}

/// A symlink on the way of a path.
struct Link {
    /// The folder in which it is swapped.
    stands_in: PathBuf,
    /// The path with the link replaced by its target.
    leads_to: PathBuf,
}

/// The last symlink on the way: the file itself or the nearest folder above it.
fn link_on_the_way(path: &Path) -> Option<Link> {
    path.ancestors()
        .filter(|part| !part.as_os_str().is_empty())
        .find_map(|part| {
            let target = std::fs::read_link(part).ok()?;
            let stands_in = match part.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
                Some(_) | None => PathBuf::from("."),
            };
            let rest = path.strip_prefix(part).ok()?;
            let target = stands_in.join(target);
            let leads_to = if rest.as_os_str().is_empty() {
                target
            } else {
                target.join(rest)
            };
            Some(Link { stands_in, leads_to })
        })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// For the system to tell; failing takes this long, passing milliseconds.
    const DEADLINE: Duration = Duration::from_secs(10);

    async fn is_told(changes: &mut Changes) -> bool {
        timeout(DEADLINE, changes.next()).await == Ok(Some(()))
    }

    #[tokio::test]
    async fn a_file_that_is_replaced_by_renaming_is_noticed_every_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portcullis.yaml");
        fs::write(&path, "one").unwrap();
        let (watch, mut changes) = FileWatch::new().unwrap();
        watch.follow([path.as_path()].into_iter());

        for text in ["two", "three"] {
            let aside = folder.path().join("aside");
            fs::write(&aside, text).unwrap();
            fs::rename(&aside, &path).unwrap();

            assert!(is_told(&mut changes).await, "{text}");
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_symlink_that_is_swapped_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two, link) = (
            folder.path().join("v1"),
            folder.path().join("v2"),
            folder.path().join("data"),
        );
        fs::create_dir(&one).unwrap();
        fs::create_dir(&two).unwrap();
        fs::write(one.join("portcullis.yaml"), "one").unwrap();
        fs::write(two.join("portcullis.yaml"), "two").unwrap();
        std::os::unix::fs::symlink("v1", &link).unwrap();
        let path = link.join("portcullis.yaml");
        let (watch, mut changes) = FileWatch::new().unwrap();
        watch.follow([path.as_path()].into_iter());

        let aside = folder.path().join("aside");
        std::os::unix::fs::symlink("v2", &aside).unwrap();
        fs::rename(&aside, &link).unwrap();

        assert!(is_told(&mut changes).await);
    }

    #[tokio::test]
    async fn a_folder_that_is_not_followed_any_more_is_silent() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (watch, mut changes) = FileWatch::new().unwrap();
        watch.follow([one.path()].into_iter());
        watch.follow([two.path()].into_iter());

        fs::write(one.path().join("a"), "a").unwrap();
        fs::write(two.path().join("b"), "b").unwrap();

        assert!(is_told(&mut changes).await);
        let watched = watch.watcher.lock().unwrap();
        assert!(!watched.folders.contains(one.path()));
    }
}
