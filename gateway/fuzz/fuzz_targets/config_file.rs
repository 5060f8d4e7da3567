//! A configuration file of any bytes: every problem is reported and drawn, nothing panics, nothing takes long.

#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use portcullis_config::{LoadOptions, load, render};

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("portcullis.yaml");
    fs::write(&file, bytes).expect("a file");
    let options = LoadOptions { offline: true, region: None, env: &|_| None };
    match load(&file, &options) {
        Ok(loaded) => assert!(!loaded.warnings.has_errors()),
        Err(refused) => {
            assert!(refused.problems.has_errors());
            assert!(!render(&refused.problems, &refused.sources, false).is_empty());
        }
    }
});
