//! Every attack is refused for its reason and its neighbour passes; all of them are the fuzz targets' seeds, which hold
//! the laws where no nightly compiler is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{attacks, certificates, house, key_sets, laws, revocation_lists};

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/seeds")
        .join(target)
}

/// The seeds in the tree are these; with `UPDATE_GOLDEN` they are written.
fn keep(target: &str, seeds: &BTreeMap<String, Vec<u8>>) {
    let folder = folder(target);
    let is_update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for (name, bytes) in seeds {
        let path = folder.join(name);
        if is_update {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, bytes).unwrap();
        }
        let kept =
            fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}; run with UPDATE_GOLDEN=1"));
        assert_eq!(
            &kept, bytes,
            "{name} is another string now; run with UPDATE_GOLDEN=1"
        );
    }
    let count = fs::read_dir(&folder).unwrap().count();
    assert_eq!(count, seeds.len(), "{target} has seeds that nobody made");
}

#[test]
fn every_attack_on_a_token_is_refused_for_its_reason() {
    for class in attacks::TOKENS {
        for (header, claims, reason) in class.refused {
            let seed = attacks::seed(header, claims);
            let at = seed.iter().position(|byte| *byte == b'\n').unwrap();
            let token = house::sign(&seed[..at], &seed[at + 1..]);
            let verdict = house::ask(house::authenticator(), &token).unwrap();
            let found = verdict.map_err(|rejection| rejection.reason);
            assert_eq!(found.err(), Some(*reason), "{}: {header} {claims}", class.name);
        }
        for (header, claims) in class.accepted {
            let principal = laws::token(&attacks::seed(header, claims));
            assert!(principal.is_some(), "{}: {header} {claims}", class.name);
        }
    }
}

#[test]
fn every_token_is_a_seed_that_holds_the_laws() {
    let mut seeds = BTreeMap::new();
    for class in attacks::TOKENS {
        for (index, (header, claims, _)) in class.refused.iter().enumerate() {
            seeds.insert(
                format!("{}-refused-{index:02}", class.name),
                attacks::seed(header, claims),
            );
        }
        for (index, (header, claims)) in class.accepted.iter().enumerate() {
            seeds.insert(
                format!("{}-accepted-{index:02}", class.name),
                attacks::seed(header, claims),
            );
        }
    }
    for (index, text) in attacks::TEXTS.iter().enumerate() {
        seeds.insert(format!("text-{index:02}"), text.as_bytes().to_vec());
    }
    keep("jwt", &seeds);
    for bytes in seeds.values() {
        laws::token(bytes);
    }
}

#[test]
fn every_key_set_is_a_seed_that_holds_the_laws() {
    let mut seeds = BTreeMap::new();
    for case in key_sets::CASES {
        seeds.insert(case.name.to_owned(), case.document.as_bytes().to_vec());
    }
    keep("jwks", &seeds);
    for case in key_sets::CASES {
        assert_eq!(
            laws::key_set(case.document.as_bytes()),
            case.usable,
            "{}",
            case.name
        );
    }
}

/// Certificates and lists are signed with chance, so that their seeds are kept as they were made once.
fn replay(target: &str, made: Vec<(String, Vec<u8>)>, law: impl Fn(&[u8]) -> bool) {
    let folder = folder(target);
    let is_update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for (name, bytes) in &made {
        let path = folder.join(name);
        if is_update && !path.exists() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("the seeds are there") {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let is_accepted = law(&fs::read(entry.path()).unwrap());
        assert_eq!(is_accepted, name.starts_with("accepted-"), "{name}");
        count += 1;
    }
    assert_eq!(count, made.len());
}

#[test]
fn every_kept_certificate_holds_the_laws_and_is_read_as_its_name_says() {
    replay("spiffe_id", certificates::seeds(), |bytes| {
        laws::chain(bytes).is_some()
    });
}

#[test]
fn every_kept_revocation_list_holds_the_laws_and_is_read_as_its_name_says() {
    replay("crl", revocation_lists::seeds(), |bytes| {
        laws::revocation_list(bytes).is_some()
    });
}
