//! What this binary is: version, commit, features.

/// The version of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit it was built from; `unknown` for a build outside a git work tree.
pub const COMMIT: &str = env!("PORTCULLIS_COMMIT");

/// What `--version` prints after the name.
pub const LONG: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit: ",
    env!("PORTCULLIS_COMMIT"),
    "\nfeatures: rego wasm spiffe-workload-api post-quantum-key-exchange h2"
);
