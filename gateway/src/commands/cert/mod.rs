//! `cert`: what a certificate is and who would accept it; and what of a configuration ends when.

mod file;
mod judged;
mod list;
pub(super) mod lists;
mod presented;

use crate::cli::{CertArgs, CertCommand};
use crate::commands::Exit;
use crate::output::Output;

/// `cert FILE`, or `cert list`.
pub(super) fn cert(args: &CertArgs, output: &mut Output) -> Exit {
    match (&args.command, &args.file) {
        (Some(CertCommand::List(args)), _) => list::list(args, output),
        (None, Some(path)) => file::file(path, args, output),
        // The command line asks for one of them.
        (None, None) => Exit::Usage,
    }
}
