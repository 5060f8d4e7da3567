//! What is checked in a Wasm module before it decides: what it needs from us, and what it offers.
//!
//! The module itself says both: it is instantiated once with built-ins that only trap, and asked for its list of
//! built-ins and of entrypoints.

use std::collections::BTreeMap;

use portcullis_model::{Origin, Problem, Problems};
use wasmtime::{Caller, Engine, Instance, Linker, Memory, Module, Store, StoreLimits};

use super::limits;

/// Instructions a module may spend on telling what it needs; the real ones spend some ten thousand.
const DESCRIBE_FUEL: u64 = 50_000_000;

/// The host functions that `opa-wasm` implements, cannot hang or panic, and give what OPA gives.
const PROVIDED: [&str; 29] = [
    "base64url.encode_no_pad",
    "crypto.hmac.md5",
    "crypto.hmac.sha1",
    "crypto.hmac.sha256",
    "crypto.hmac.sha512",
    "crypto.md5",
    "crypto.sha1",
    "crypto.sha256",
    "hex.decode",
    "hex.encode",
    "object.union_n",
    "semver.compare",
    "semver.is_valid",
    "sprintf",
    "time.add_date",
    "time.clock",
    "time.date",
    "time.diff",
    "time.now_ns",
    "time.parse_duration_ns",
    "time.parse_ns",
    "time.parse_rfc3339_ns",
    "time.weekday",
    "units.parse",
    "units.parse_bytes",
    "urlquery.decode",
    "urlquery.decode_object",
    "urlquery.encode",
    "urlquery.encode_object",
];

/// Host functions that exist and that no policy may have, and why.
const REFUSED: [(&str, &str); 4] = [
    ("http.send", "a decision may not wait for the network"),
    ("net.lookup_ip_addr", "a decision may not wait for the network"),
    (
        "opa.runtime",
        "it would hand the gateway's environment to the policy",
    ),
    ("rand.intn", "a decision must be the same for the same input"),
];

/// Checks that we have what the module needs and that it has the entrypoint.
///
/// # Errors
/// Returns every built-in that is missing or refused, or that the entrypoint is.
pub(super) fn check(
    policy: &Origin,
    file: &str,
    engine: &Engine,
    module: &Module,
    entrypoint: &str,
) -> Result<Problems, Problems> {
    let described = describe(engine, module).map_err(|error| {
        Problem::error(
            "wasm-invalid",
            policy,
            format!("{file} is not a policy that OPA made: {error:#}"),
        )
        .with_hint("make it with: opa build -t wasm -e portcullis/authz/decision …")
    })?;
    let mut problems = Problems::new();
    let mut missing = Vec::new();
    for name in described.builtins.keys() {
        match REFUSED.iter().find(|(refused, _)| refused == name) {
            Some((_, why)) => problems.push(
                Problem::error(
                    "wasm-forbidden-builtin",
                    policy,
                    format!("{file}: no policy may call {name}"),
                )
                .with_hint(*why),
            ),
            None if !PROVIDED.contains(&name.as_str()) => missing.push(name.as_str()),
            None => {}
        }
    }
    if !missing.is_empty() {
        let message = format!(
            "{file} needs built-ins that are not provided to Wasm: {}",
            missing.join(", ")
        );
        problems.push(
            Problem::error("wasm-missing-builtin", policy, message)
                .with_hint("use the policy as Rego text, or write it without them"),
        );
    }
    if described.builtins.contains_key("sprintf") {
        let message = format!("{file} calls sprintf, which runs outside of the time budget");
        problems.push(
            Problem::warning("wasm-sprintf", policy, message)
                .with_hint("never take its format from the request; concat() stays inside the budget"),
        );
    }
    if !described.entrypoints.contains_key(entrypoint) {
        let known: Vec<_> = described.entrypoints.keys().map(String::as_str).collect();
        let message = format!("{file} has no entrypoint \"{entrypoint}\"");
        problems.push(
            Problem::error("policy-decision", policy, message)
                .with_hint(format!("its entrypoints are {}", known.join(", "))),
        );
    }
    if problems.has_errors() {
        Err(problems)
    } else {
        Ok(problems)
    }
}

struct Described {
    builtins: BTreeMap<String, i32>,
    entrypoints: BTreeMap<String, i32>,
}

fn describe(engine: &Engine, module: &Module) -> wasmtime::Result<Described> {
    let mut store = Store::new(engine, limits());
    store.limiter(|limits| limits);
    store.set_fuel(DESCRIBE_FUEL)?;
    let memory_type = module
        .imports()
        .find(|import| import.module() == "env" && import.name() == "memory")
        .and_then(|import| import.ty().memory().cloned())
        .ok_or_else(|| wasmtime::Error::msg("it does not import env.memory"))?;
    let memory = Memory::new(&mut store, memory_type)?;
    let mut linker: Linker<StoreLimits> = Linker::new(engine);
    linker.define(&store, "env", "memory", memory)?;
    linker.func_wrap("env", "opa_abort", |_: Caller<'_, StoreLimits>, _: i32| {
        no_host::<()>()
    })?;
    linker.func_wrap("env", "opa_println", |_: i32| {})?;
    linker.func_wrap("env", "opa_builtin0", |_: i32, _: i32| no_host::<i32>())?;
    linker.func_wrap("env", "opa_builtin1", |_: i32, _: i32, _: i32| no_host::<i32>())?;
    linker.func_wrap("env", "opa_builtin2", |_: i32, _: i32, _: i32, _: i32| {
        no_host::<i32>()
    })?;
    linker.func_wrap("env", "opa_builtin3", |_: i32, _: i32, _: i32, _: i32, _: i32| {
        no_host::<i32>()
    })?;
    linker.func_wrap(
        "env",
        "opa_builtin4",
        |_: i32, _: i32, _: i32, _: i32, _: i32, _: i32| no_host::<i32>(),
    )?;
    let instance = linker.instantiate(&mut store, module)?;
    Ok(Described {
        builtins: read_names(&mut store, &instance, memory, "builtins")?,
        entrypoints: read_names(&mut store, &instance, memory, "entrypoints")?,
    })
}

fn no_host<T>() -> wasmtime::Result<T> {
    Err(wasmtime::Error::msg("called before it was asked for a decision"))
}

/// Calls an export that gives an OPA value and reads that value as names with numbers.
fn read_names(
    store: &mut Store<StoreLimits>,
    instance: &Instance,
    memory: Memory,
    export: &str,
) -> wasmtime::Result<BTreeMap<String, i32>> {
    let value = instance
        .get_typed_func::<(), i32>(&mut *store, export)?
        .call(&mut *store, ())?;
    let dump = instance.get_typed_func::<i32, i32>(&mut *store, "opa_json_dump")?;
    let address = usize::try_from(dump.call(&mut *store, value)?)?;
    let text = memory
        .data(&*store)
        .get(address..)
        .and_then(|bytes| bytes.split(|byte| *byte == 0).next());
    serde_json::from_slice(text.unwrap_or_default()).map_err(|error| wasmtime::Error::msg(error.to_string()))
}
