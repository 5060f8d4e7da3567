//! When a file that may be written at any moment is worth reading: when it changed and then rested.
//!
//! The file is looked at, not listened to. A look costs one system call, and it sees what notices miss: a symlink
//! that was swapped, a mount that tells nothing, a limit on watches that was reached. Nothing here reads a clock or
//! the disk but [`Stamp::of`].

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// Between looks. A change is read after the first look at which it is as it was at the look before.
pub(super) const LOOK: Duration = Duration::from_millis(100);
/// A file that never rests is read anyway: a wrong reading of it leaves the last good list.
const AT_LATEST: Duration = Duration::from_secs(1);

/// What tells one content of a path from another without reading it; `None` inside: there is nothing to be read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Stamp(Option<Marks>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct Marks {
    length: u64,
    modified: Option<SystemTime>,
    /// Device, inode, and when the inode was changed: a file that took another's place, or was written within the
    /// same tick of the clock and given its old time back.
    identity: (u64, u64, i64, i64),
}

impl Stamp {
    /// The stamp of what is at a path now, symlinks followed.
    pub(crate) fn of(path: &Path) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let marks = std::fs::metadata(path).ok().map(|found| Marks {
            length: found.len(),
            modified: found.modified().ok(),
            identity: (found.dev(), found.ino(), found.ctime(), found.ctime_nsec()),
        });
        Self(marks)
    }
}

/// What was read last, and what has been seen since.
#[derive(Debug, Default)]
pub(super) struct Rest {
    read: Option<Stamp>,
    /// What the last look saw when it was something else, and since when the file differs from what was read.
    seen: Option<(Stamp, Instant)>,
}

impl Rest {
    /// What was read already.
    pub(super) const fn after(read: Stamp) -> Self {
        Self {
            read: Some(read),
            seen: None,
        }
    }

    /// A look; true when the file is to be read now.
    pub(super) fn is_due(&mut self, stamp: &Stamp, now: Instant) -> bool {
        if self.read.as_ref() == Some(stamp) {
            self.seen = None;
            return false;
        }
        match &self.seen {
            None => {
                self.seen = Some((stamp.clone(), now));
                false
            }
            Some((last, _)) if last == stamp => true,
            Some((_, since)) => {
                let since = *since;
                self.seen = Some((stamp.clone(), since));
                now.duration_since(since) >= AT_LATEST
            }
        }
    }

    /// The file was read between these two stamps. False when it changed meanwhile and should be read again once it
    /// rests; what was read then is not used, unless the file never rests.
    pub(super) fn was_read(&mut self, before: &Stamp, after: &Stamp, now: Instant) -> bool {
        let is_overdue = self
            .seen
            .as_ref()
            .is_some_and(|(_, since)| now.duration_since(*since) >= AT_LATEST);
        if before != after && !is_overdue {
            return false;
        }
        self.read = Some(before.clone());
        self.seen = None;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(length: u64) -> Stamp {
        Stamp(Some(Marks {
            length,
            modified: None,
            identity: (1, 2, 3, 4),
        }))
    }

    fn rest() -> (Rest, Instant) {
        (Rest::after(stamp(1)), Instant::now())
    }

    #[test]
    fn what_was_read_is_not_read_again() {
        let (mut rest, now) = rest();

        assert!(!rest.is_due(&stamp(1), now));
        assert!(!rest.is_due(&stamp(1), now + LOOK));
    }

    #[test]
    fn a_change_is_read_once_it_rests() {
        let (mut rest, now) = rest();

        assert!(!rest.is_due(&stamp(2), now));
        assert!(!rest.is_due(&stamp(3), now + LOOK));
        assert!(rest.is_due(&stamp(3), now + 2 * LOOK));
        assert!(rest.was_read(&stamp(3), &stamp(3), now + 2 * LOOK));
        assert!(!rest.is_due(&stamp(3), now + 3 * LOOK));
    }

    #[test]
    fn a_file_that_never_rests_is_read_within_a_second() {
        let (mut rest, now) = rest();
        let mut looks = 0..;

        let due =
            looks.find(|look| rest.is_due(&stamp(10 + look), now + LOOK * u32::try_from(*look).unwrap()));

        assert_eq!(LOOK * u32::try_from(due.unwrap()).unwrap(), AT_LATEST);
        assert!(rest.was_read(&stamp(50), &stamp(51), now + AT_LATEST));
    }

    #[test]
    fn a_reading_during_which_the_file_changed_is_not_used() {
        let (mut rest, now) = rest();
        rest.is_due(&stamp(2), now);
        assert!(rest.is_due(&stamp(2), now + LOOK));

        assert!(!rest.was_read(&stamp(2), &stamp(3), now + LOOK));

        assert!(!rest.is_due(&stamp(3), now + 2 * LOOK));
        assert!(rest.is_due(&stamp(3), now + 3 * LOOK));
    }

    #[test]
    fn a_file_that_vanished_is_a_change_and_so_is_its_return() {
        let (mut rest, now) = rest();
        let gone = Stamp::default();

        assert!(!rest.is_due(&gone, now));
        assert!(rest.is_due(&gone, now + LOOK));
        assert!(rest.was_read(&gone, &gone, now + LOOK));
        assert!(!rest.is_due(&stamp(1), now + 2 * LOOK));
        assert!(rest.is_due(&stamp(1), now + 3 * LOOK));
    }

    #[test]
    fn every_way_of_writing_a_file_changes_its_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let (path, aside) = (folder.path().join("deny.yaml"), folder.path().join("aside"));
        std::fs::write(&path, "- sub: a\n").unwrap();
        let first = Stamp::of(&path);

        std::fs::write(&aside, "- sub: b\n").unwrap();
        std::fs::rename(&aside, &path).unwrap();
        let renamed = Stamp::of(&path);
        std::os::unix::fs::symlink(&path, &aside).unwrap();
        std::fs::write(&path, "- sub: a\n- sub: b\n").unwrap();
        let longer = Stamp::of(&path);

        assert_ne!(first, renamed);
        assert_ne!(renamed, longer);
        assert_eq!(Stamp::of(&aside), longer);
        assert_eq!(Stamp::of(&folder.path().join("missing")), Stamp::default());
    }
}
