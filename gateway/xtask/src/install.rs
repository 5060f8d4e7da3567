//! How what is missing comes onto the machine: by the system's package manager where we may, otherwise by one
//! line for a person to paste.

use std::process::{Command, Stdio};

use crate::needs::Need;

/// A system's package manager.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Manager {
    /// Debian, Ubuntu.
    Apt,
    /// Fedora, RHEL.
    Dnf,
    /// Alpine.
    Apk,
    /// Arch.
    Pacman,
    /// openSUSE.
    Zypper,
    /// macOS; never run as root.
    Brew,
}

impl Manager {
    /// The first one found, the system's own before Homebrew.
    pub(crate) fn detect(has: &dyn Fn(&str) -> bool) -> Option<Self> {
        [
            ("apt-get", Self::Apt),
            ("dnf", Self::Dnf),
            ("apk", Self::Apk),
            ("pacman", Self::Pacman),
            ("zypper", Self::Zypper),
            ("brew", Self::Brew),
        ]
        .into_iter()
        .find_map(|(program, manager)| has(program).then_some(manager))
    }

    /// The commands that install these packages without asking anything.
    fn commands(self, packages: &[&str]) -> Vec<Vec<String>> {
        let line = |head: &[&str]| {
            head.iter()
                .chain(packages)
                .map(|&word| word.to_owned())
                .collect::<Vec<_>>()
        };
        match self {
            Self::Apt => vec![
                vec!["apt-get".to_owned(), "update".to_owned()],
                line(&["apt-get", "install", "--yes", "--no-install-recommends"]),
            ],
            Self::Dnf => vec![line(&["dnf", "install", "--assumeyes"])],
            Self::Apk => vec![line(&["apk", "add"])],
            Self::Pacman => vec![line(&[
                "pacman",
                "--sync",
                "--refresh",
                "--needed",
                "--noconfirm",
            ])],
            Self::Zypper => vec![line(&["zypper", "--non-interactive", "install"])],
            Self::Brew => vec![line(&["brew", "install"])],
        }
    }
}

/// What this process may do to the machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Privilege {
    /// It is root.
    Root,
    /// `sudo` works without a password.
    Sudo,
    /// It may not, or was told not to.
    None,
}

/// What follows from what is missing.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// Nothing is missing.
    Nothing,
    /// Run these, in order.
    Install(Vec<Vec<String>>),
    /// Ask for this line to be pasted.
    Paste(String),
    /// No package manager is known here: ask for these by name.
    ByHand(String),
}

/// Decides what to do; reads nothing and runs nothing.
pub(crate) fn decide(missing: &[&Need], manager: Option<Manager>, privilege: Privilege) -> Step {
    if missing.is_empty() {
        return Step::Nothing;
    }
    let Some(manager) = manager else {
        let names: Vec<_> = missing.iter().map(|need| need.name).collect();
        return Step::ByHand(names.join(", "));
    };
    let packages: Vec<&str> = missing
        .iter()
        .flat_map(|need| (need.packages)(manager))
        .copied()
        .collect();
    let commands = manager.commands(&packages);
    match (manager, privilege) {
        // Homebrew refuses to run as root and needs no privilege otherwise.
        (Manager::Brew, Privilege::Root | Privilege::None) => Step::Paste(paste_line(&commands, "")),
        (Manager::Brew, Privilege::Sudo) | (_, Privilege::Root) => Step::Install(commands),
        (_, Privilege::Sudo) => Step::Install(
            commands
                .into_iter()
                .map(|line| [vec!["sudo".to_owned(), "-n".to_owned()], line].concat())
                .collect(),
        ),
        (_, Privilege::None) => Step::Paste(paste_line(&commands, "sudo ")),
    }
}

/// The commands as one line of shell.
pub(crate) fn paste_line(commands: &[Vec<String>], prefix: &str) -> String {
    commands
        .iter()
        .map(|line| format!("{prefix}{}", line.join(" ")))
        .collect::<Vec<_>>()
        .join(" && ")
}

/// What this process may do, found out without asking for a password.
pub(crate) fn privilege(
    manager: Option<Manager>,
    is_forbidden: bool,
    has: &dyn Fn(&str) -> bool,
) -> Privilege {
    if is_forbidden {
        return Privilege::None;
    }
    let is_root = output_of("id", &["-u"]).is_some_and(|id| id.trim() == "0");
    if is_root {
        return Privilege::Root;
    }
    if manager == Some(Manager::Brew) || (has("sudo") && output_of("sudo", &["-n", "true"]).is_some()) {
        return Privilege::Sudo;
    }
    Privilege::None
}

fn output_of(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs the commands with their output shown; the error names the one that failed and how.
pub(crate) fn run(commands: &[Vec<String>]) -> Result<(), String> {
    for line in commands {
        let Some((program, args)) = line.split_first() else {
            continue;
        };
        println!("xtask: $ {}", line.join(" "));
        let status = Command::new(program)
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .status()
            .map_err(|error| format!("cannot run \"{program}\": {error}"))?;
        if !status.success() {
            return Err(format!("\"{}\" failed with {status}", line.join(" ")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::needs::{BUILD, missing};

    fn without_cmake() -> Vec<&'static Need> {
        missing(&[BUILD], &|program| program != "cmake", &|_| None)
    }

    #[test]
    fn nothing_missing_means_nothing_to_do() {
        assert_eq!(decide(&[], Some(Manager::Apt), Privilege::Root), Step::Nothing);
    }

    #[test]
    fn root_installs_at_once() {
        let step = decide(&without_cmake(), Some(Manager::Apk), Privilege::Root);

        assert_eq!(
            step,
            Step::Install(vec![vec!["apk".into(), "add".into(), "cmake".into()]])
        );
    }

    #[test]
    fn sudo_without_a_password_is_used() {
        let Step::Install(commands) = decide(&without_cmake(), Some(Manager::Apt), Privilege::Sudo) else {
            panic!()
        };

        assert!(
            commands
                .iter()
                .all(|line| line[..2] == ["sudo".to_owned(), "-n".to_owned()])
        );
        assert_eq!(commands.last().unwrap().last().unwrap(), "cmake");
    }

    #[test]
    fn without_a_right_one_line_is_printed_and_nothing_is_run() {
        let step = decide(&without_cmake(), Some(Manager::Apt), Privilege::None);

        assert_eq!(
            step,
            Step::Paste(
                "sudo apt-get update && sudo apt-get install --yes --no-install-recommends cmake".to_owned()
            )
        );
    }

    #[test]
    fn brew_is_run_without_sudo_and_never_as_root() {
        let install = decide(&without_cmake(), Some(Manager::Brew), Privilege::Sudo);

        assert_eq!(
            install,
            Step::Install(vec![vec!["brew".into(), "install".into(), "cmake".into()]])
        );
        assert_eq!(
            decide(&without_cmake(), Some(Manager::Brew), Privilege::Root),
            Step::Paste("brew install cmake".to_owned())
        );
    }

    #[test]
    fn an_unknown_system_is_told_names_instead_of_commands() {
        let step = decide(&missing(&[BUILD], &|_| false, &|_| None), None, Privilege::Root);

        assert_eq!(step, Step::ByHand("a C compiler, cmake, make".to_owned()));
    }

    #[test]
    fn the_systems_own_manager_comes_before_homebrew() {
        assert_eq!(
            Manager::detect(&|program| ["brew", "dnf"].contains(&program)),
            Some(Manager::Dnf)
        );
        assert_eq!(Manager::detect(&|_| false), None);
    }

    #[test]
    fn told_not_to_install_it_does_not() {
        assert_eq!(privilege(Some(Manager::Apt), true, &|_| true), Privilege::None);
    }

    #[test]
    fn a_failed_command_is_named() {
        let error = run(&[vec!["false".to_owned()]]).unwrap_err();

        assert!(error.starts_with("\"false\" failed with"), "{error}");
        assert!(
            run(&[vec!["no-such-program-here".to_owned()]])
                .unwrap_err()
                .contains("cannot run")
        );
    }
}
