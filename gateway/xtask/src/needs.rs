//! What a build needs beside cargo, and how to see whether it is there.

use std::env;
use std::path::{Path, PathBuf};

use crate::install::Manager;

/// Something a build calls that cargo does not bring.
#[derive(Debug)]
pub(crate) struct Need {
    /// As a person says it.
    pub name: &'static str,
    /// What asks for it.
    pub why: &'static str,
    /// Any one of these on `PATH` will do.
    pub programs: &'static [&'static str],
    /// A variable that names another one, as C builds honour it.
    pub variable: Option<&'static str>,
    /// The packages that bring it.
    pub packages: fn(Manager) -> &'static [&'static str],
}

/// What a build needs.
pub(crate) const BUILD: &[Need] = &[
    Need {
        name: "a C compiler",
        why: "TLS (aws-lc), compression (zlib-ng) and the allocator (mimalloc) are written in C",
        programs: &["cc", "gcc", "clang"],
        variable: Some("CC"),
        packages: |manager| match manager {
            Manager::Apt => &["gcc", "libc6-dev"],
            Manager::Apk => &["gcc", "musl-dev", "linux-headers"],
            Manager::Dnf | Manager::Zypper => &["gcc", "glibc-devel"],
            Manager::Pacman | Manager::Brew => &["gcc"],
        },
    },
    Need {
        name: "cmake",
        why: "zlib-ng is built with it",
        programs: &["cmake"],
        variable: Some("CMAKE"),
        packages: |_| &["cmake"],
    },
    Need {
        name: "make",
        why: "cmake drives it",
        programs: &["make", "gmake", "ninja"],
        variable: None,
        packages: |_| &["make"],
    },
];

/// What the tests need besides; their servers and certificates they make themselves.
pub(crate) const TESTS: &[Need] = &[Need {
    name: "kill",
    why: "the tests send the gateway signals",
    programs: &["kill"],
    variable: None,
    packages: |manager| match manager {
        Manager::Apt | Manager::Apk | Manager::Zypper => &["procps"],
        Manager::Dnf | Manager::Pacman => &["procps-ng"],
        Manager::Brew => &["util-linux"],
    },
}];

/// What the load bench needs besides; the peers it measures are the user's to install.
pub(crate) const BENCH: &[Need] = &[Need {
    name: "h2load",
    why: "the load bench sends requests with it",
    programs: &["h2load"],
    variable: None,
    packages: |manager| match manager {
        Manager::Apt => &["nghttp2-client"],
        Manager::Apk | Manager::Dnf | Manager::Zypper | Manager::Pacman | Manager::Brew => &["nghttp2"],
    },
}];

/// A server or client that some tests talk to and no package manager has.
pub(crate) struct TestTool {
    /// The program.
    pub program: &'static str,
    /// What is skipped without it.
    pub suite: &'static str,
}

/// Looked for, never installed; a suite without its tool skips loudly.
pub(crate) const TEST_TOOLS: &[TestTool] = &[
    TestTool {
        program: "spire-server",
        suite: "SPIFFE Workload API against a real SPIRE",
    },
    TestTool {
        program: "spire-agent",
        suite: "SPIFFE Workload API against a real SPIRE",
    },
    TestTool {
        program: "h2spec",
        suite: "HTTP/2 conformance, of the longer suite",
    },
    TestTool {
        program: "slowhttptest",
        suite: "slow clients of slowhttptest, of the longer suite",
    },
    TestTool {
        program: "promtool",
        suite: "the metrics' form, judged by Prometheus",
    },
    TestTool {
        program: "opa",
        suite: "building the example policy.wasm again",
    },
];

/// The needs that nothing on this machine meets.
pub(crate) fn missing(
    needs: &[&'static [Need]],
    has: &dyn Fn(&str) -> bool,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Vec<&'static Need> {
    needs
        .iter()
        .copied()
        .flatten()
        .filter(|need| {
            let named = need
                .variable
                .and_then(variable)
                .is_some_and(|value| !value.trim().is_empty());
            !named && !need.programs.iter().any(|program| has(program))
        })
        .collect()
}

/// Where test tools may be: `PATH`, the folder the variable names, the folder beside the checkout.
pub(crate) fn test_tool_folders(root: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = env::var_os("PATH")
        .map(|path| env::split_paths(&path).collect())
        .unwrap_or_default();
    folders.extend(env::var_os("PORTCULLIS_TEST_TOOLS").map(PathBuf::from));
    folders.push(root.join("../shared/tools/linux-amd64"));
    folders
}

/// True when a program of this name can be run from `PATH`.
pub(crate) fn on_path(program: &str) -> bool {
    env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|folder| is_program(&folder.join(program))))
}

/// True when the file is there and may be run.
pub(crate) fn is_program(file: &Path) -> bool {
    let Ok(metadata) = file.metadata() else {
        return false;
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        metadata.is_file() && metadata.permissions().mode() & 0o111 != 0
    }
    #[cfg(not(unix))]
    metadata.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(needs: &[&Need]) -> Vec<&'static str> {
        needs.iter().map(|need| need.name).collect()
    }

    #[test]
    fn a_machine_with_everything_lacks_nothing() {
        let found = missing(
            &[BUILD],
            &|program| ["cc", "cmake", "make"].contains(&program),
            &|_| None,
        );

        assert!(found.is_empty());
    }

    #[test]
    fn an_empty_machine_lacks_everything() {
        assert_eq!(
            names(&missing(&[BUILD], &|_| false, &|_| None)),
            ["a C compiler", "cmake", "make"]
        );
    }

    #[test]
    fn the_tests_need_what_the_build_needs_and_more() {
        let found = missing(&[BUILD, TESTS], &|program| program != "kill", &|_| None);

        assert_eq!(names(&found), ["kill"]);
    }

    #[test]
    fn another_compiler_and_another_make_will_do() {
        let found = missing(
            &[BUILD],
            &|program| ["clang", "cmake", "ninja"].contains(&program),
            &|_| None,
        );

        assert!(found.is_empty());
    }

    #[test]
    fn a_variable_that_names_the_program_is_believed_and_an_empty_one_is_not() {
        let has = |program: &str| ["cmake", "make"].contains(&program);

        assert!(
            missing(&[BUILD], &has, &|name| (name == "CC")
                .then(|| "zig cc".to_owned()))
            .is_empty()
        );
        assert_eq!(
            names(&missing(&[BUILD], &has, &|name| (name == "CC").then(String::new))),
            ["a C compiler"]
        );
    }
}
