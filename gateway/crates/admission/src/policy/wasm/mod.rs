//! What `opa build -t wasm` made, run by the `opa-wasm` crate on wasmtime.
//!
//! An instance answers one request at a time and is pooled; one that failed or ran out of time is thrown away. The
//! time budget needs no background thread: the module gives control back after every few ten thousand instructions
//! (wasmtime's fuel, as a yield and not as a limit), and the caller looks at the clock and goes on or drops it.

mod module;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use portcullis_model::{Problem, Problems};
use serde_json::Value;
use tokio::task::unconstrained;
use wasmtime::{Config, Engine, Module, Store, StoreLimits, StoreLimitsBuilder};

use super::budget::Budget;
use super::engine::PolicyEngine;
use super::fault::PolicyFault;
use super::input::Document;
use crate::plan::PolicyPlan;

/// A larger module is refused; what OPA makes of a large policy has a few hundred kilobytes.
const MAX_MODULE_BYTES: usize = 16 << 20;

/// Memory of one instance, data included.
const MAX_MEMORY_BYTES: usize = 64 << 20;

/// Instances of one policy at most: each holds its own copy of the data.
const MAX_INSTANCES: usize = 64;

/// Instructions between two looks at the clock: some 50 us, so that a budget is kept to within that.
const YIELD_INTERVAL: u64 = 50_000;

/// How long a module may take to start and to read its data; only for the first instance and after a failure.
const START_BUDGET: Duration = Duration::from_secs(10);

/// A policy module, compiled once, with its instances.
pub(super) struct WasmEngine {
    engine: Engine,
    module: Module,
    data: Arc<Value>,
    entrypoint: Arc<str>,
    budget: Duration,
    pool: Mutex<Pool>,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Instance>,
    in_use: usize,
}

struct Instance {
    store: Store<StoreLimits>,
    policy: opa_wasm::Policy<opa_wasm::DefaultContext>,
}

/// The share of the pool that one evaluation holds.
struct Place<'e>(&'e WasmEngine);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut pool = self.0.pool();
        pool.in_use = pool.in_use.saturating_sub(1);
    }
}

impl WasmEngine {
    /// Compiles the module, checks what it needs and starts a first instance with the data.
    ///
    /// # Errors
    /// Returns what is wrong with the module; all missing built-ins at once.
    pub(super) fn compile(
        plan: &PolicyPlan,
        file: &str,
        bytes: &[u8],
        data: &Arc<Value>,
    ) -> Result<(Self, Problems), Problems> {
        let invalid = |what: String| Problem::error("wasm-invalid", &plan.origin, format!("{file}: {what}"));
        if bytes.len() > MAX_MODULE_BYTES {
            return Err(invalid(format!("the module has more than {MAX_MODULE_BYTES} bytes")).into());
        }
        let mut config = Config::new();
        config.consume_fuel(true);
        let engine = Engine::new(&config).map_err(|error| invalid(format!("{error:#}")))?;
        let module = Module::new(&engine, bytes).map_err(|error| invalid(format!("{error:#}")))?;
        let warnings = module::check(&plan.origin, file, &engine, &module, &plan.decision)?;
        let compiled = Self {
            engine,
            module,
            data: Arc::clone(data),
            entrypoint: Arc::clone(&plan.decision),
            budget: plan.budget,
            pool: Mutex::default(),
        };
        let first = compiled
            .start()
            .map_err(|fault| invalid(format!("it does not start: {fault}")))?;
        compiled.pool().idle.push(first);
        Ok((compiled, warnings))
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An instance and the right to use it.
    fn take(&self) -> Result<(Place<'_>, Instance), PolicyFault> {
        let idle = {
            let mut pool = self.pool();
            if pool.in_use >= MAX_INSTANCES {
                return Err(PolicyFault::Exhausted(MAX_INSTANCES));
            }
            pool.in_use = pool.in_use.saturating_add(1);
            pool.idle.pop()
        };
        let place = Place(self);
        let instance = match idle {
            Some(instance) => instance,
            None => self.start()?,
        };
        Ok((place, instance))
    }

    /// A new instance with the data in its memory.
    fn start(&self) -> Result<Instance, PolicyFault> {
        let mut store = Store::new(&self.engine, limits());
        store.limiter(|limits| limits);
        let fuel = store
            .set_fuel(u64::MAX)
            .and_then(|()| store.fuel_async_yield_interval(Some(YIELD_INTERVAL)));
        fuel.map_err(|error| PolicyFault::Engine(format!("{error:#}")))?;
        let policy = run(Budget::start(START_BUDGET), async {
            let runtime = opa_wasm::Runtime::new(&mut store, &self.module).await?;
            runtime.with_data(&mut store, &*self.data).await
        })?
        .map_err(|error| PolicyFault::Engine(format!("{error:#}")))?;
        Ok(Instance { store, policy })
    }
}

impl PolicyEngine for WasmEngine {
    fn evaluate(&self, input: &Document<'_>) -> Result<Value, PolicyFault> {
        let (_place, mut instance) = self.take()?;
        let budget = Budget::start(self.budget);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let Instance { store, policy } = &mut instance;
            let evaluation = policy.evaluate::<_, Vec<ResultEntry>, _>(store, &self.entrypoint, input);
            run(budget, evaluation)?
                .map(|results| (results, instance))
                .map_err(|error| PolicyFault::Engine(format!("{error:#}")))
        }));
        let (mut results, instance) = outcome.map_err(|_| PolicyFault::Panic)??;
        self.pool().idle.push(instance);
        match (results.pop(), results.is_empty()) {
            (Some(entry), true) => Ok(entry.result),
            (None, _) => Err(PolicyFault::Undefined),
            (Some(_), false) => Err(PolicyFault::Shape("more than one result".into())),
        }
    }
}

/// One element of what a module returns; no element means undefined.
#[derive(serde::Deserialize)]
struct ResultEntry {
    result: Value,
}

fn limits() -> StoreLimits {
    StoreLimitsBuilder::new()
        .memory_size(MAX_MEMORY_BYTES)
        .instances(1)
        .memories(1)
        .tables(4)
        .build()
}

/// Runs a future that waits for nothing to its end, or up to the budget.
///
/// It is pending only where the module gave control back. `unconstrained` matters: `opa-wasm` takes a tokio lock per
/// evaluation, which would be pending for ever in a connection task that has used up its cooperative budget.
fn run<T>(budget: Budget, future: impl Future<Output = T>) -> Result<T, PolicyFault> {
    let mut future = pin!(unconstrained(future));
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Ok(output);
        }
        if budget.is_spent() {
            return Err(PolicyFault::Timeout);
        }
    }
}

#[cfg(test)]
#[path = "wasm_tests.rs"]
mod tests;
