//! The folder that outlives a restart (`gateway.state_dir`): small files, each written whole or not at all.
//!
//! What is in there speaks for the gateway, so that only its own user may look in. Everything here blocks: a caller
//! on a worker thread goes through `spawn_blocking`.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use portcullis_config::{StateDirFlaw, judge_state_dir};
use thiserror::Error;

/// Age at which a file that was never finished is surely nobody's: writing one takes milliseconds.
const ABANDONED: Duration = Duration::from_secs(60);
/// How the name of a file ends that is being written.
const UNFINISHED: &str = ".unfinished";

/// What can go wrong with a file that outlives a restart.
#[derive(Debug, Error)]
pub enum StateFault {
    /// The folder may not hold state.
    #[error("cannot keep state in {}: {flaw}", path.display())]
    Folder { path: PathBuf, flaw: StateDirFlaw },
    /// The folder or a file cannot be made, read or written.
    #[error("cannot {what} {}", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// A file is longer than anything we would have written.
    #[error("{} is longer than {limit} bytes", path.display())]
    TooLong { path: PathBuf, limit: u64 },
    /// A file is not ours alone.
    #[error("{} is not a file that only we can read", path.display())]
    Exposed { path: PathBuf },
}

/// A folder of ours.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    /// One write at a time: two of them would share an unfinished file.
    turn: Mutex<()>,
}

impl StateDir {
    /// The folder at `path`, made when it is missing.
    ///
    /// # Errors
    /// When it cannot be made, belongs to another user, or is open to others.
    pub(crate) fn open(path: &Path) -> Result<Self, StateFault> {
        let fault = |flaw| StateFault::Folder {
            path: path.to_owned(),
            flaw,
        };
        judge_state_dir(path).map_err(fault)?;
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
            Err(cause) => return Err(failed("make", path, cause)),
        }
        // Somebody may have been faster than we were in making it.
        judge_state_dir(path).map_err(fault)?;
        let opened = Self {
            path: path.to_owned(),
            turn: Mutex::new(()),
        };
        opened.sweep();
        Ok(opened)
    }

    /// The folder at `path` for whoever only reads; it may be missing.
    pub(crate) fn existing(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            turn: Mutex::new(()),
        }
    }

    /// A folder within this one.
    ///
    /// # Errors
    /// As [`StateDir::open`].
    pub(crate) fn folder(&self, name: &'static str) -> Result<Self, StateFault> {
        Self::open(&self.path.join(name))
    }

    /// Where a file of it stands, for messages.
    pub(crate) fn path_of(&self, name: &'static str) -> PathBuf {
        self.path.join(name)
    }

    /// A file's content; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read, is longer than `limit`, or others could have read or written it.
    pub(crate) fn read(&self, name: &'static str, limit: u64) -> Result<Option<Vec<u8>>, StateFault> {
        let path = self.path_of(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(failed("read", &path, cause)),
        };
        let found = file.metadata().map_err(|cause| failed("read", &path, cause))?;
        let folder = fs::metadata(&self.path).map_err(|cause| failed("read", &path, cause))?;
        if !found.is_file() || found.permissions().mode() & 0o077 != 0 || found.uid() != folder.uid() {
            return Err(StateFault::Exposed { path });
        }
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|cause| failed("read", &path, cause))?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
            return Err(StateFault::TooLong { path, limit });
        }
        Ok(Some(bytes))
    }

    /// Replaces a file whole, readable by us alone: a reader, and a crash at any moment, meet the old or the new one.
    ///
    /// # Errors
    /// When it cannot be written; the old one then stays.
    pub(crate) fn write(&self, name: &'static str, bytes: &[u8]) -> Result<(), StateFault> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // Two processes may share the folder while one takes over from the other.
        let aside = self
            .path
            .join(format!(".{name}.{}{UNFINISHED}", std::process::id()));
        let path = self.path_of(name);
        let written = write_aside(&aside, bytes).and_then(|()| fs::rename(&aside, &path));
        if written.is_err() {
            // What is left of it would be swept by the next start.
            let _ = fs::remove_file(&aside);
        }
        written
            .and_then(|()| File::open(&self.path)?.sync_all())
            .map_err(|cause| failed("write", &path, cause))
    }

    /// Removes a file; one that is missing is removed already.
    ///
    /// # Errors
    /// When it stays.
    pub(crate) fn remove(&self, name: &'static str) -> Result<(), StateFault> {
        let path = self.path_of(name);
        match fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(cause) => Err(failed("remove", &path, cause)),
        }
    }

    /// Removes what a crash left unfinished.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.path) else {
            return;
        };
        for entry in entries.flatten() {
            let is_unfinished = entry.file_name().to_string_lossy().ends_with(UNFINISHED);
            let written = entry.metadata().and_then(|found| found.modified());
            let is_abandoned = written.is_ok_and(|written| {
                SystemTime::now()
                    .duration_since(written)
                    .is_ok_and(|age| age > ABANDONED)
            });
            if is_unfinished && is_abandoned {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

fn write_aside(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn failed(what: &'static str, path: &Path, cause: io::Error) -> StateFault {
    StateFault::Io {
        what,
        path: path.to_owned(),
        cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> (tempfile::TempDir, StateDir) {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(&folder.path().join("state")).unwrap();
        (folder, state)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn restrict(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn folders_and_files_are_ours_alone() {
        let (folder, state) = opened();

        state.folder("trust").unwrap().write("svid.pem", b"key").unwrap();

        let root = folder.path().join("state");
        assert_eq!(mode(&root), 0o700);
        assert_eq!(mode(&root.join("trust")), 0o700);
        assert_eq!(mode(&root.join("trust/svid.pem")), 0o600);
    }

    #[test]
    fn what_was_written_last_is_read_and_nothing_else_is_left() {
        let (_folder, state) = opened();

        state.write("deny.json", b"first, which is longer").unwrap();
        state.write("deny.json", b"second").unwrap();

        assert_eq!(state.read("deny.json", 100).unwrap().unwrap(), b"second");
        assert_eq!(fs::read_dir(&state.path).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_file_is_none_and_may_be_removed() {
        let (_folder, state) = opened();

        assert!(state.read("deny.json", 100).unwrap().is_none());
        state.remove("deny.json").unwrap();
    }

    #[test]
    fn a_removed_file_is_gone() {
        let (_folder, state) = opened();
        state.write("deny.json", b"1").unwrap();

        state.remove("deny.json").unwrap();

        assert!(state.read("deny.json", 100).unwrap().is_none());
    }

    #[test]
    fn a_file_beyond_its_bound_is_refused() {
        let (_folder, state) = opened();
        state.write("deny.json", b"12345").unwrap();

        assert!(state.read("deny.json", 5).is_ok());
        assert!(matches!(
            state.read("deny.json", 4),
            Err(StateFault::TooLong { .. })
        ));
    }

    #[test]
    fn a_folder_or_file_that_others_can_read_is_refused() {
        let (_folder, state) = opened();
        state.write("deny.json", b"1").unwrap();

        restrict(&state.path_of("deny.json"), 0o640);
        assert!(matches!(
            state.read("deny.json", 5),
            Err(StateFault::Exposed { .. })
        ));
        restrict(&state.path, 0o750);
        assert!(matches!(
            StateDir::open(&state.path),
            Err(StateFault::Folder { .. })
        ));
    }

    #[test]
    fn what_a_crash_left_unfinished_is_swept_and_what_is_being_written_is_not() {
        let (_folder, state) = opened();
        let (old, new) = (
            state.path.join(".a.1.unfinished"),
            state.path.join(".b.2.unfinished"),
        );
        fs::write(&old, "half").unwrap();
        fs::write(&new, "half").unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(3600);
        File::options()
            .write(true)
            .open(&old)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();

        StateDir::open(&state.path).unwrap();

        assert!(!old.exists());
        assert!(new.exists());
    }
}
