//! Whether a folder may hold the gateway's state: what is in there speaks for the gateway, so nobody else may look in.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

/// The code of the problem with a folder.
pub(crate) const STATE_DIR: &str = "state-dir";
/// Permissions of the group and of everybody else.
const OTHERS: u32 = 0o077;

/// Why a folder may not hold the gateway's state.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StateDirFlaw {
    /// It is something else.
    NotAFolder,
    /// It cannot be looked at.
    Unreadable(io::ErrorKind),
    /// It is missing, and so is the folder it would be made in.
    NoParent,
    /// It belongs to another user.
    Foreign {
        /// The user it belongs to.
        owner: u32,
        /// The user we are.
        us: u32,
    },
    /// Other users may read, write or enter it.
    Open {
        /// Its permissions.
        mode: u32,
    },
}

/// Judges the folder at `path`: ours, and closed to everybody else. One that is missing passes when it can be made.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn judge_state_dir(path: &Path) -> Result<(), StateDirFlaw> {
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = path.parent().filter(|parent| *parent != Path::new(""));
            let has_parent = parent.is_none_or(Path::is_dir);
            return if has_parent {
                Ok(())
            } else {
                Err(StateDirFlaw::NoParent)
            };
        }
        Err(error) => return Err(StateDirFlaw::Unreadable(error.kind())),
    };
    if !found.is_dir() {
        return Err(StateDirFlaw::NotAFolder);
    }
    let (owner, us) = (found.uid(), rustix::process::geteuid().as_raw());
    if owner != us {
        return Err(StateDirFlaw::Foreign { owner, us });
    }
    let mode = found.permissions().mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(StateDirFlaw::Open { mode });
    }
    Ok(())
}

impl StateDirFlaw {
    /// What to do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::NotAFolder => "name a folder; the gateway makes it when it is missing",
            Self::Unreadable(_) => "every folder above it must be one that the gateway may enter",
            Self::NoParent => "make the folder above it first: the gateway makes only the last one",
            Self::Foreign { .. } => "it must belong to the user that the gateway runs as",
            Self::Open { .. } => {
                "make it 0700; where a volume's own permissions are fixed, name a folder inside of it"
            }
        }
    }
}

impl fmt::Display for StateDirFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAFolder => f.write_str("it is not a folder"),
            Self::Unreadable(kind) => write!(f, "it cannot be looked at: {kind}"),
            Self::NoParent => f.write_str("it is missing, and so is the folder above it"),
            Self::Foreign { owner, us } => {
                write!(f, "it belongs to user {owner}, and the gateway is user {us}")
            }
            Self::Open { mode } => write!(f, "other users may look into it (its mode is {mode:04o})"),
        }
    }
}

impl std::error::Error for StateDirFlaw {}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(mode: u32) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        folder
    }

    #[test]
    fn a_folder_of_ours_that_nobody_else_may_enter_passes() {
        assert_eq!(judge_state_dir(folder_with(0o700).path()), Ok(()));
    }

    #[test]
    fn a_folder_that_is_missing_passes_when_the_one_above_is_there() {
        let folder = folder_with(0o755);

        assert_eq!(judge_state_dir(&folder.path().join("state")), Ok(()));
        assert_eq!(
            judge_state_dir(&folder.path().join("missing/state")),
            Err(StateDirFlaw::NoParent)
        );
    }

    #[test]
    fn a_folder_that_others_may_read_write_or_enter_is_refused() {
        for mode in [0o750, 0o720, 0o710, 0o704, 0o702, 0o701, 0o777] {
            let folder = folder_with(mode);

            assert_eq!(judge_state_dir(folder.path()), Err(StateDirFlaw::Open { mode }));
        }
    }

    #[test]
    fn a_folder_of_another_user_is_refused() {
        // The root folder belongs to root; where the tests run as root, `nobody` owns one that we give away.
        let us = rustix::process::geteuid().as_raw();
        let folder = folder_with(0o700);
        let path = if us == 0 {
            std::os::unix::fs::chown(folder.path(), Some(65_534), None).unwrap();
            folder.path()
        } else {
            Path::new("/")
        };

        assert!(matches!(judge_state_dir(path), Err(StateDirFlaw::Foreign { .. })));
    }

    #[test]
    fn a_file_is_refused() {
        let folder = folder_with(0o700);
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();

        assert_eq!(judge_state_dir(&path), Err(StateDirFlaw::NotAFolder));
    }
}
