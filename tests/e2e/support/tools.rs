//! Real servers and conformance clients that a machine may have.

use std::fs;
use std::path::{Path, PathBuf};

/// A program: on the path, where the environment says, or beside the checkout.
pub fn find(program: &str) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .collect();
    folders.extend(std::env::var_os("PORTCULLIS_TEST_TOOLS").map(PathBuf::from));
    folders.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/tools/linux-amd64"));
    let mut paths = folders.into_iter().map(|folder| folder.join(program));
    paths
        .find(|path| path.is_file())
        .map(|path| fs::canonicalize(path).unwrap())
}
