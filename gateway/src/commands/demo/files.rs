//! What the demo writes: its configuration folder, for a reader to look at and copy from.

use std::fs;
use std::io::Write;
use std::path::Path;

use super::DemoFault;

/// Writes a file that anybody may read.
pub(super) fn write_public(path: &Path, text: &str) -> Result<(), DemoFault> {
    make_parent(path)?;
    fs::write(path, text).map_err(|cause| DemoFault::Write(path.to_owned(), cause))
}

/// Writes a key or a token: readable by its owner alone, from the first byte on.
pub(super) fn write_secret(path: &Path, text: &str) -> Result<(), DemoFault> {
    make_parent(path)?;
    let fault = |cause| DemoFault::Write(path.to_owned(), cause);
    // An older file could be open to others, and its mode would stay.
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fault(error)),
        Ok(()) | Err(_) => {}
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(fault)?;
    file.write_all(text.as_bytes()).map_err(fault)
}

fn make_parent(path: &Path) -> Result<(), DemoFault> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    fs::create_dir_all(parent).map_err(|cause| DemoFault::Write(parent.to_owned(), cause))
}
