//! Notices that the files of a configuration changed.
//!
//! Editors and Kubernetes replace files by renaming or by swapping a symlink, which a watch on the file itself does
//! not survive; so the folders are watched, of every path and of what each symlink on the way leads to
//! (`places`), and what happens to other files in them is passed over.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::timeout;
use tracing::warn;

use super::places::Places;

/// One save is several events; this long without one is the end of it.
const QUIET: Duration = Duration::from_millis(200);
/// A folder that never rests is looked at anyway.
const AT_LATEST: Duration = Duration::from_secs(2);

/// Watches the folders of a set of files.
pub(crate) struct FileWatch {
    watched: Mutex<Watched>,
    places: Arc<Mutex<Places>>,
    ignored: BTreeSet<PathBuf>,
}

struct Watched {
    watcher: RecommendedWatcher,
    folders: BTreeSet<PathBuf>,
}

/// Tells of changes; many at once are one.
pub(crate) struct Changes(Receiver<()>);

impl FileWatch {
    /// A watch over nothing yet; what happens to `ignored` files (our own log) is never told.
    ///
    /// # Errors
    /// Fails when the system gives no more watches.
    pub(crate) fn new(ignored: BTreeSet<PathBuf>) -> notify::Result<(Self, Changes)> {
        let (sender, receiver) = mpsc::channel(1);
        let places: Arc<Mutex<Places>> = Arc::default();
        let seen = Arc::clone(&places);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| is_change(&event, &lock(&seen))) {
                // Full means that a change is already waiting to be told.
                let _ = sender.try_send(());
            }
        })?;
        let watched = Mutex::new(Watched {
            watcher,
            folders: BTreeSet::new(),
        });
        Ok((
            Self {
                watched,
                places,
                ignored,
            },
            Changes(receiver),
        ))
    }

    /// Watches these paths from now on, and no others.
    pub(crate) fn follow<'a>(&self, paths: impl Iterator<Item = &'a Path>) {
        let places = Places::of(paths, &self.ignored);
        let wanted: BTreeSet<PathBuf> = places.folders().map(Path::to_owned).collect();
        *lock(&self.places) = places;
        let mut watched = lock(&self.watched);
        let gone: Vec<PathBuf> = watched.folders.difference(&wanted).cloned().collect();
        for folder in gone {
            // A folder that was removed is not watched any more anyway.
            let _ = watched.watcher.unwatch(&folder);
            watched.folders.remove(&folder);
        }
        // A folder that was replaced under the same name needs a new watch, and watching twice costs nothing.
        for folder in wanted {
            match watched.watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    watched.folders.insert(folder);
                }
                Err(error) => {
                    warn!(folder = %folder.display(), %error, "cannot watch for changes, SIGHUP reloads");
                }
            }
        }
    }
}

fn is_change(event: &Event, places: &Places) -> bool {
    let is_read = matches!(event.kind, EventKind::Access(_));
    // Without a path the system has lost count: look.
    !is_read && (event.paths.is_empty() || event.paths.iter().any(|path| places.matter(path)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        let (watch, mut changes) = FileWatch::new(BTreeSet::new()).unwrap();
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
        let (watch, mut changes) = FileWatch::new(BTreeSet::new()).unwrap();
        watch.follow([path.as_path()].into_iter());

        let aside = folder.path().join("aside");
        std::os::unix::fs::symlink("v2", &aside).unwrap();
        fs::rename(&aside, &link).unwrap();

        assert!(is_told(&mut changes).await);
    }

    #[tokio::test]
    async fn a_folder_that_is_not_followed_any_more_is_silent() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (watch, mut changes) = FileWatch::new(BTreeSet::new()).unwrap();
        watch.follow([one.path()].into_iter());
        watch.follow([two.path()].into_iter());

        fs::write(one.path().join("a"), "a").unwrap();
        fs::write(two.path().join("b"), "b").unwrap();

        assert!(is_told(&mut changes).await);
        let watched = watch.watched.lock().unwrap();
        assert!(!watched.folders.contains(one.path()));
    }
}
