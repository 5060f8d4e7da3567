//! What commands read: a file, or standard input under the name `-`.

use std::io::Read;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why there is nothing to work with.
#[derive(Debug, Error)]
pub(super) enum InputFault {
    #[error("cannot read \"{}\"", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    #[error("\"{}\" is larger than {} MiB", .0.display(), .1 / (1024 * 1024))]
    TooLarge(PathBuf, u64),
}

/// Everything in a file, at most `limit` bytes.
pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, InputFault> {
    let fault = |cause| InputFault::Read(path.to_owned(), cause);
    let mut bytes = Vec::new();
    let mut take = |source: &mut dyn Read| source.take(limit + 1).read_to_end(&mut bytes).map_err(fault);
    if path == Path::new("-") {
        take(&mut std::io::stdin().lock())?;
    } else {
        take(&mut std::fs::File::open(path).map_err(fault)?)?;
    }
    if bytes.len() as u64 > limit {
        Err(InputFault::TooLarge(path.to_owned(), limit))
    } else {
        Ok(bytes)
    }
}
