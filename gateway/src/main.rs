//! Arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use portcullis::cli::{Cli, Command};
use portcullis::commands::{self, Exit};
use portcullis::output::{Output, chain};
use portcullis_telemetry::log;

/// Request heads and records are many small allocations from many threads.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // First of all: every TLS client and server of this process uses this one provider.
    let is_first = rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_ok();
    let cli = Cli::parse();
    let mut output = Output::standard();
    if !is_first {
        output.error("another TLS provider was installed before ours");
        return Exit::Problems.into();
    }
    // Commands that print an answer are quiet beside it.
    let quiet = (!matches!(cli.command, Command::Run(_))).then_some("warn");
    if let Err(fault) = log::init(cli.log.as_deref().or(quiet), cli.log_format) {
        output.error(chain(&fault));
        return Exit::Usage.into();
    }
    commands::execute(cli.command, &mut output).into()
}
