# What a developer types. Each recipe is one line, so that it can be typed without `just` too.

# List the recipes.
default:
    @just --list

# The gateway in front of three regions of a sample API, with a tour.
demo *ARGS:
    cargo xtask demo {{ARGS}}

# Every test; installs what a new machine lacks.
test *ARGS:
    cargo xtask test {{ARGS}}

# One room while working on it, as in `just room routing`.
room NAME:
    cargo fmt -p portcullis-{{NAME}} && cargo clippy -p portcullis-{{NAME}} --all-targets && cargo test -p portcullis-{{NAME}}

# What every commit must pass.
check: fmt tidy lint test

# Formatting.
fmt:
    cargo fmt --all --check

# The shared lints, as errors.
lint:
    cargo clippy --workspace --all-targets -- -D warnings

# Floors, wrappers, sizes, names, documents.
tidy:
    cargo xtask tidy

# The configuration file's JSON Schema, from its types.
schema:
    cargo xtask schema

# Bans, licences and sources with cargo-deny, offline.
deny:
    cargo deny --offline check bans licenses sources

# Known advisories; needs the network and cargo-deny.
audit:
    cargo deny check advisories

# The criterion benches.
bench *ARGS:
    cargo bench --workspace {{ARGS}}

# What a request costs over sockets, beside nginx, HAProxy and Envoy.
bench-load *ARGS:
    cargo xtask bench load {{ARGS}}

# One fuzz target for a minute, as in `just fuzz spiffe_id`; needs nightly and cargo-fuzz.
fuzz TARGET:
    cargo +nightly fuzz run --fuzz-dir gateway/fuzz {{TARGET}} -- -max_total_time=60
