//! Loading again while running.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail the test"
)]

mod support;

use portcullis_config::reload::{ReloadOutcome, Running, reload};
use portcullis_config::{BootPlan, compile};
use portcullis_pipeline::{Boards, SnapshotStore};
use support::{Folder, SMALLEST, boards, options};

/// A gateway that was started with the smallest file.
struct Started {
    folder: Folder,
    boot: BootPlan,
    store: SnapshotStore,
    boards: Boards,
}

impl Started {
    fn new() -> Self {
        let folder = Folder::with_everything();
        folder.write("portcullis.yaml", SMALLEST);
        let loaded = folder.load("portcullis.yaml").unwrap();
        let boards = boards();
        let (snapshot, _) = compile(&loaded, None, &boards).unwrap_or_else(|refused| panic!("{refused}"));
        Self {
            folder,
            boot: loaded.boot,
            store: SnapshotStore::new(snapshot),
            boards,
        }
    }

    fn reload(&self) -> ReloadOutcome {
        let running = Running {
            boot: &self.boot,
            store: &self.store,
            boards: &self.boards,
        };
        reload(
            &self.folder.path().join("portcullis.yaml"),
            &options(),
            &running,
            |_| {},
        )
        .outcome
    }

    fn revision(&self) -> String {
        self.store.load().revision.to_string()
    }
}

#[test]
fn an_equal_configuration_is_a_no_op() {
    let started = Started::new();
    let before = started.store.load();

    let outcome = started.reload();

    assert!(matches!(outcome, ReloadOutcome::Unchanged), "{outcome:?}");
    assert!(std::sync::Arc::ptr_eq(&before, &started.store.load()));
}

#[test]
fn a_changed_configuration_is_published() {
    let started = Started::new();
    started.folder.write(
        "portcullis.yaml",
        &SMALLEST.replace("127.0.0.1:3000", "127.0.0.1:3001"),
    );

    let ReloadOutcome::Published { revision, warnings } = started.reload() else {
        panic!("not published")
    };

    assert_eq!(revision, started.revision());
    assert!(warnings.is_empty());
}

#[test]
fn a_refused_configuration_leaves_the_old_one_serving() {
    let started = Started::new();
    let before = started.revision();
    for text in [
        "",
        "garbage",
        "version: 1\nlisteners: {",
        &SMALLEST.replace("pool: orders", "pool: ordrs"),
    ] {
        started.folder.write("portcullis.yaml", text);

        let outcome = started.reload();

        assert!(
            matches!(&outcome, ReloadOutcome::Kept { problems } if problems.has_errors()),
            "{outcome:?}"
        );
        assert_eq!(started.revision(), before);
    }
    std::fs::remove_file(started.folder.path().join("portcullis.yaml")).unwrap();
    assert!(matches!(started.reload(), ReloadOutcome::Kept { .. }));
    assert_eq!(started.revision(), before);
}

#[test]
fn a_change_of_an_address_asks_for_a_restart() {
    let started = Started::new();
    let before = started.revision();
    started.folder.write(
        "portcullis.yaml",
        &SMALLEST.replace("127.0.0.1:8443", "127.0.0.1:8444"),
    );

    let ReloadOutcome::Kept { problems } = started.reload() else {
        panic!("not kept")
    };

    assert_eq!(problems.iter().next().unwrap().code, "restart-needed");
    assert_eq!(started.revision(), before);
}

#[test]
fn what_was_read_is_told_also_when_it_is_refused() {
    let started = Started::new();
    started.folder.write("portcullis.yaml", "version: 1");
    let running = Running {
        boot: &started.boot,
        store: &started.store,
        boards: &started.boards,
    };

    let told = reload(
        &started.folder.path().join("portcullis.yaml"),
        &options(),
        &running,
        |_| {},
    );

    assert!(told.sources.paths().any(|path| path.ends_with("portcullis.yaml")));
}
