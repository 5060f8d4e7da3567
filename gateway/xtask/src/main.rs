//! What the README tells a newcomer to type, and what keeps the house in order.
//!
//! Two tasks set a machine up and hand over to cargo (`demo`, `test`), one checks the rules that no compiler
//! knows (`tidy`), one writes what is generated (`schema`). Nothing here is part of the gateway, and nothing
//! here needs more than the standard library and a JSON reader, so that it builds in seconds.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what a task is for"
)]

mod bench;
mod install;
mod needs;
mod skips;
mod tasks;
mod tidy;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

const HELP: &str = "\
Tasks of the Portcullis workspace

Usage: cargo xtask <TASK> [ARGS]

Tasks:
  demo [ARGS]     install what is missing, build the gateway and run its demo; ARGS go to `portcullis demo`
  test [ARGS]     install what is missing, run every test, and say at the end what was skipped and why; ARGS go to
                  `cargo test --workspace`
  test --long [ARGS]
                  the longer suite instead, one test after another in the release profile: crowds of slow and idle
                  clients, h2spec, slowhttptest; ARGS go to the test binary
  bench load [ARGS]  build and run the load bench: what a request costs, beside the peers that are installed
  tidy            check the rules of the house: floors, wrappers, licences, sizes, names, documents
  schema          write schemas/portcullis.schema.json from the configuration's types; --check only compares
  help            this text

Examples:
  cargo xtask demo                     three regions, a gateway and a guided tour, until Ctrl-C
  cargo xtask demo --once              run the tour itself and exit
  cargo xtask test                     all tests
  cargo xtask test --long h2spec       of the longer suite, the tests with this word in their name
  cargo xtask test -p portcullis-routing -- --nocapture

  cargo xtask bench load --short       a look at every scenario; --help says the rest

Environment:
  PORTCULLIS_NO_INSTALL=1      never install a package; print the line to paste instead
  PORTCULLIS_TEST_TOOLS=DIR    where spire-server, spire-agent and h2spec are, when they are not on PATH
";

fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let task = args.next();
    let rest: Vec<String> = args.collect();
    match task.as_deref() {
        Some("demo") => tasks::demo(&root(), &rest),
        Some("test") => tasks::test(&root(), &rest),
        Some("bench") => bench::bench(&root(), &rest),
        Some("tidy") => tidy::run(&root()),
        Some("schema") => tasks::schema(&root(), &rest),
        Some("help" | "--help" | "-h") => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        None => {
            eprint!("{HELP}");
            ExitCode::from(2)
        }
        Some(other) => {
            eprintln!("xtask: there is no task \"{other}\"\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

/// The workspace's folder, two above this package.
fn root() -> PathBuf {
    let package =
        env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    package
        .ancestors()
        .nth(2)
        .map_or_else(|| PathBuf::from("."), PathBuf::from)
}
