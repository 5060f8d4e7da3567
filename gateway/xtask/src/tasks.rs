//! The tasks that hand over to cargo.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};

use crate::install::{self, Manager, Step};
use crate::needs::{BUILD, Need, TEST_TOOLS, TESTS, is_program, missing, on_path, test_tool_folders};
use crate::skips::Skips;

/// Runs the gateway's demo in the release profile.
pub(crate) fn demo(root: &Path, args: &[String]) -> ExitCode {
    if let Err(code) = set_up(&[BUILD]) {
        return code;
    }
    println!("xtask: building the gateway (release; some minutes the first time), then running its demo");
    let mut command = cargo(root);
    command.args(["run", "--release", "--", "demo"]).args(args);
    become_command(command)
}

/// Runs every test of the workspace, and says at the end what was skipped.
pub(crate) fn test(root: &Path, args: &[String]) -> ExitCode {
    if let Err(code) = set_up(&[BUILD, TESTS]) {
        return code;
    }
    let folders = test_tool_folders(root);
    for tool in TEST_TOOLS {
        match folders
            .iter()
            .map(|folder| folder.join(tool.program))
            .find(|file| is_program(file))
        {
            Some(file) => println!("xtask: {} is {}", tool.program, file.display()),
            None => println!(
                "xtask: {} was not found, so the suite \"{}\" will be SKIPPED (put it on PATH)",
                tool.program, tool.suite
            ),
        }
    }
    let long = args.iter().position(|arg| arg == "--long");
    let Some(long) = long else {
        println!("xtask: building and running the tests (some minutes the first time)");
        let mut command = cargo(root);
        command.args(["test", "--workspace"]).args(args);
        return run_tests(command, root);
    };
    println!("xtask: building and running the longer suite, alone (some minutes each)");
    let (before, after) = args.split_at(long);
    let mut command = cargo(root);
    command.args(LONG).args(before).arg("--");
    command
        .args(["--test-threads", "1", "--nocapture"])
        .args(after.iter().skip(1));
    run_tests(command, root)
}

/// Ctrl-C reaches cargo and this program alike, so nothing is told of tests that somebody stopped.
fn run_tests(mut command: Command, root: &Path) -> ExitCode {
    let skips = match Skips::of(&mut command, root) {
        Ok(skips) => skips,
        Err(error) => return failed(&format!("cannot count what is skipped: {error}")),
    };
    let status = command.status();
    match skips.told() {
        Ok(told) => println!("xtask: {told}"),
        Err(error) => return failed(&format!("cannot count what was skipped: {error}")),
    }
    match status {
        Ok(status) => exit_code(status),
        Err(error) => failed(&format!("cannot run cargo: {error}")),
    }
}

/// The command's own code; one that a signal ended has none.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}

/// What measures is measured as it is shipped, and by itself.
const LONG: &[&str] = &["test", "--release", "--test", "long"];

/// Writes, or with `--check` compares, the configuration file's JSON Schema.
pub(crate) fn schema(root: &Path, args: &[String]) -> ExitCode {
    if let Err(code) = set_up(&[BUILD]) {
        return code;
    }
    let file = root.join("schemas/portcullis.schema.json");
    let output = match cargo(root)
        .args(["run", "--quiet", "--", "schema"])
        .stderr(std::process::Stdio::inherit())
        .output()
    {
        Ok(output) if output.status.success() => output.stdout,
        Ok(output) => return failed(&format!("`portcullis schema` failed with {}", output.status)),
        Err(error) => return failed(&format!("cannot run cargo: {error}")),
    };
    if fs::read(&file).is_ok_and(|present| present == output) {
        println!("xtask: {} is up to date", file.display());
        return ExitCode::SUCCESS;
    }
    if args.iter().any(|arg| arg == "--check") {
        return failed(&format!(
            "{} differs from the types; run `cargo xtask schema`",
            file.display()
        ));
    }
    match fs::write(&file, output) {
        Ok(()) => {
            println!("xtask: wrote {}", file.display());
            ExitCode::SUCCESS
        }
        Err(error) => failed(&format!("cannot write {}: {error}", file.display())),
    }
}

/// Brings what the build needs onto the machine, or says how.
pub(crate) fn set_up(needs: &[&'static [Need]]) -> Result<(), ExitCode> {
    let look = || missing(needs, &on_path, &|name| env::var(name).ok());
    let absent = look();
    for need in &absent {
        println!("xtask: {} is missing ({})", need.name, need.why);
    }
    let manager = Manager::detect(&on_path);
    let is_forbidden = env::var("PORTCULLIS_NO_INSTALL").is_ok_and(|value| !value.is_empty() && value != "0");
    let commands = match install::decide(
        &absent,
        manager,
        install::privilege(manager, is_forbidden, &on_path),
    ) {
        Step::Nothing => return Ok(()),
        Step::Paste(line) => {
            return Err(failed(&format!(
                "may not install packages here; paste this line, then try again:\n\n    {line}\n"
            )));
        }
        Step::ByHand(names) => {
            return Err(failed(&format!(
                "no package manager is known here; install {names}, then try again"
            )));
        }
        Step::Install(commands) => commands,
    };
    let advice = |reason: String| {
        let line = install::paste_line(&commands, "");
        failed(&format!(
            "{reason}\nInstall it by hand, then try again; this is what was tried:\n\n    {line}\n"
        ))
    };
    install::run(&commands).map_err(advice)?;
    let still: Vec<&Need> = look();
    if still.is_empty() {
        println!("xtask: everything the build needs is there");
        return Ok(());
    }
    let names: Vec<_> = still.iter().map(|need| need.name).collect();
    Err(advice(format!(
        "the packages were installed, but {} is still not on PATH",
        names.join(", ")
    )))
}

pub(crate) fn failed(message: &str) -> ExitCode {
    eprintln!("xtask: {message}");
    ExitCode::FAILURE
}

/// Cargo itself, in the workspace's folder.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(root);
    // `cargo run` describes xtask to its child; the next cargo must not take that for a description of its own.
    for (name, _) in env::vars_os() {
        let is_ours = name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"));
        if is_ours {
            command.env_remove(name);
        }
    }
    command
}

/// Becomes the command where the system can, so that Ctrl-C and the exit code are the command's own.
pub(crate) fn become_command(mut command: Command) -> ExitCode {
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;
        failed(&format!("cannot run cargo: {}", command.exec()))
    }
    #[cfg(not(unix))]
    match command.status() {
        Ok(status) => exit_code(status),
        Err(error) => failed(&format!("cannot run cargo: {error}")),
    }
}
