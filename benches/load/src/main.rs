//! What a request costs over sockets: Portcullis and the peers that are installed, on one machine, in one run.
//!
//! Every proxy has one worker pinned to one CPU; the origin and the load share another. A run sends a fixed
//! number of requests and divides the CPU time that the scheduler counted for the proxy by them. Proxies take
//! turns round by round, so that whatever drifts drifts for all, and nothing is measured before every proxy has
//! proven that it does the work. Run: `cargo xtask bench load`. Results and method: `benches/README.md`.
//!
//! Start reading at [`run`], then `scenario`, `proof` and `measure`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "a program for people that prints, and has no outside"
)]

mod args;
mod child;
mod client;
mod h2load;
mod keys;
mod load;
mod machine;
mod measure;
mod origin;
mod proof;
mod proxies;
mod report;
mod scenario;

use std::process::ExitCode;

use args::{Args, Parsed};

/// What went wrong, in words; a bench stops at the first surprise.
pub(crate) type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let args = match args::parse(std::env::args().skip(1)) {
        Ok(Parsed::Run(args)) => args,
        Ok(Parsed::Help) => {
            print!("{}", args::HELP);
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("bench load: {problem}\n\n{}", args::HELP);
            return ExitCode::from(2);
        }
    };
    // Children die with the thread that started them, so everything is started from this one.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("bench load: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = run(&args) => outcome,
            () = told_to_stop() => Err("stopped by a signal".to_owned()),
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("bench load: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Ctrl-C or SIGTERM: what was started is dropped, and so ended.
async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

/// One whole run: find, prove, measure, report.
async fn run(args: &Args) -> Result<()> {
    let places = machine::Places::of_this_machine()?;
    places.pin_self()?;
    let found = proxies::find(args)?;
    if !args.is_proof_only {
        h2load::find()?;
    }
    let facts = report::Facts::gather(&places, &found);
    eprintln!("{}", facts.describe());
    let origin = origin::Origin::start()?;
    let keys = keys::Keys::make()?;
    let mut results = Vec::new();
    for scenario in scenario::chosen(&args.scenarios)? {
        let stage = measure::Stage {
            args,
            places: &places,
            origin: &origin,
            keys: &keys,
            found: &found,
        };
        match stage.run(scenario).await {
            Ok(result) => {
                if !args.is_proof_only {
                    eprint!("{}", report::scenario_lines(&result));
                }
                results.push(result);
            }
            Err(problem) => return Err(format!("{}: {problem}", scenario.name)),
        }
    }
    if args.is_proof_only {
        println!("every proxy did the work in {} scenarios", results.len());
        return Ok(());
    }
    if args.is_json {
        println!("{}", report::json(&facts, &results));
    } else {
        println!("{}", report::markdown(&facts, &results));
    }
    if let Some(file) = &args.write {
        report::write(file, &report::markdown(&facts, &results))?;
        eprintln!("wrote {}", file.display());
    }
    Ok(())
}
