//! The fuzz targets' seeds: every attack string is one, and each holds the laws where no nightly compiler is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use portcullis_framing::Asked;

use crate::attacks::{self, Class};
use crate::laws;

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/seeds")
        .join(target)
}

fn seeds(classes: &[&Class]) -> BTreeMap<String, &'static [u8]> {
    let mut seeds = BTreeMap::new();
    for class in classes {
        for (kind, list) in [("refused", class.refused), ("accepted", class.accepted)] {
            for (index, bytes) in list.iter().enumerate() {
                seeds.insert(format!("{}-{kind}-{index:02}", class.name), *bytes);
            }
        }
    }
    seeds
}

fn keep(target: &str, classes: &[&Class]) {
    let folder = folder(target);
    let is_update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for (name, bytes) in seeds(classes) {
        let path = folder.join(&name);
        if is_update {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, bytes).unwrap();
        }
        let kept =
            fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}; run with UPDATE_GOLDEN=1"));
        assert_eq!(
            kept, bytes,
            "{name} is another string now; run with UPDATE_GOLDEN=1"
        );
    }
}

fn replay(target: &str, law: impl Fn(&[u8])) {
    let mut count = 0;
    for entry in fs::read_dir(folder(target)).expect("the seeds are there") {
        law(&fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 20, "only {count} seeds for {target}");
}

#[test]
fn every_attack_is_a_seed() {
    keep("request_head", attacks::REQUESTS);
    keep("response_head", attacks::ANSWERS);
    keep("body_reader", attacks::BODIES);
    keep("websocket", &[&attacks::WEBSOCKETS]);
}

#[test]
fn every_seed_of_the_fuzz_targets_holds_the_laws() {
    replay("request_head", |bytes| {
        let _ = laws::request_head(bytes);
    });
    replay("response_head", |bytes| {
        for asked in [Asked::Head, Asked::Upgrade, Asked::Other] {
            let _ = laws::response_head(bytes, asked);
        }
    });
    replay("body_reader", |bytes| {
        let _ = laws::chunked_body(bytes);
    });
    replay("websocket", |bytes| {
        laws::websocket(bytes);
    });
}
