//! `contracts`, `policies` and `rate_limits`.

use std::io;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portcullis_admission::plan::{
    AdmissionPlan, ContractPlan, LimitPlan, PolicyPlan, PolicySource, RegoModule, UnknownOperations,
};
use portcullis_model::{ContractId, LimitId, PolicyId};
use serde_json::Value;

use super::Resolver;
use crate::file::GatewayFile;
use crate::file::admissions::{Contract, Policy, RateLimit};
use crate::file::guards::{exactly_one, guard};
use crate::file::scalars::FilePath;
use crate::file::section::{At, entries, items};
use crate::file::units::Rate;
use crate::sources::{Files, MAX_DATA, MAX_DOCUMENT};

/// Ten times what a realistic decision takes; a slower one is a mistake.
const DEFAULT_BUDGET: Duration = Duration::from_millis(5);
/// What decides when a policy names nothing.
const DEFAULT_REGO_DECISION: &str = "data.portcullis.authz.decision";
const DEFAULT_WASM_DECISION: &str = "portcullis/authz/decision";

pub(super) fn plan(file: &GatewayFile, resolver: &mut Resolver<'_, '_>) -> AdmissionPlan {
    AdmissionPlan {
        contracts: entries(&file.contracts)
            .filter_map(|entry| contract(&entry.name, entry.value.get()?, resolver))
            .collect(),
        limits: entries(&file.rate_limits)
            .filter_map(|entry| limit(&entry.name, entry.value.get()?, resolver))
            .collect(),
        policies: entries(&file.policies)
            .filter_map(|entry| policy(&entry.name, entry.value.get()?, resolver))
            .collect(),
    }
}

fn contract(name: &At<String>, contract: &Contract, resolver: &mut Resolver<'_, '_>) -> Option<ContractPlan> {
    let path = contract.openapi.at()?;
    let file = Files::name_beside(&path.origin, &path.value.0);
    let document = resolver.value(&file, ("OpenAPI document", MAX_DOCUMENT), &path.origin)?;
    if !document.is_object() {
        resolver.error(
            "bad-document",
            &path.origin,
            format!("{:?} is not an OpenAPI document", file.as_ref()),
        );
        return None;
    }
    Some(ContractPlan {
        id: ContractId::from(name.value.as_str()),
        origin: name.origin.clone(),
        file,
        document: Arc::new(document),
        guard: guard(&contract.mode, &contract.percent).unwrap_or_default(),
        unknown_operations: contract.unknown_operations.or(UnknownOperations::Deny),
    })
}

fn limit(name: &At<String>, limit: &RateLimit, resolver: &mut Resolver<'_, '_>) -> Option<LimitPlan> {
    let key: Vec<_> = limit.key.get()?.0.iter().map(|part| part.value.clone()).collect();
    if let (true, Some(at)) = (key.is_empty(), limit.key.at()) {
        if !at.value.0.broken {
            resolver.error("bad-value", &at.origin, "the key has no part");
        }
        return None;
    }
    let rate = *limit.limit.get()?;
    let burst = match limit.burst.get() {
        Some(burst) => u32::try_from(burst.0).ok().and_then(NonZeroU32::new)?,
        None => default_burst(rate),
    };
    Some(LimitPlan {
        id: LimitId::from(name.value.as_str()),
        origin: name.origin.clone(),
        key,
        count: rate.count,
        per: rate.per,
        burst,
        guard: guard(&limit.mode, &limit.percent).unwrap_or_default(),
    })
}

/// One second's worth, at least 1.
fn default_burst(rate: Rate) -> NonZeroU32 {
    let seconds = u32::try_from(rate.per.as_secs()).unwrap_or(u32::MAX).max(1);
    NonZeroU32::new(rate.count.get() / seconds).unwrap_or(NonZeroU32::MIN)
}

fn policy(name: &At<String>, policy: &Policy, resolver: &mut Resolver<'_, '_>) -> Option<PolicyPlan> {
    let written = [
        ("rego", !policy.rego.is_absent()),
        ("wasm", !policy.wasm.is_absent()),
    ];
    exactly_one(&written, policy.has_refused_keys, &name.origin, resolver.problems)?;
    let (source, default_decision) = if let Some(path) = policy.rego.at() {
        (rego(path, policy.data.at(), resolver)?, DEFAULT_REGO_DECISION)
    } else {
        (
            wasm(policy.wasm.at()?, policy.data.at(), resolver)?,
            DEFAULT_WASM_DECISION,
        )
    };
    let decision = policy.decision.get().map_or(default_decision, String::as_str);
    let is_rego = matches!(source, PolicySource::Rego { .. });
    if let Some(At { origin, .. }) = policy.decision.at() {
        check_decision(decision, is_rego, origin, resolver);
    }
    Some(PolicyPlan {
        id: PolicyId::from(name.value.as_str()),
        origin: name.origin.clone(),
        source,
        decision: Arc::from(decision),
        budget: policy.budget.get().map_or(DEFAULT_BUDGET, |period| period.0),
        headers: items(&policy.headers)
            .map(|header| header.value.clone())
            .collect(),
        reads_body: policy.body.or(false),
        remember: policy.remember.or(true),
        guard: guard(&policy.mode, &policy.percent).unwrap_or_default(),
    })
}

fn check_decision(
    decision: &str,
    is_rego: bool,
    origin: &portcullis_model::Origin,
    resolver: &mut Resolver<'_, '_>,
) {
    let is_path = decision.starts_with("data.") && !decision.contains('/');
    if is_rego && !is_path {
        let hint = format!(
            "write \"data.{}\"",
            decision.trim_start_matches("data.").replace('/', ".")
        );
        let message = format!("{decision:?} is not the path of a Rego rule");
        resolver.error_with_hint("bad-value", origin, message, hint);
    } else if !is_rego && (decision.starts_with("data.") || decision.contains('.')) {
        let hint = format!(
            "write {:?}",
            decision.trim_start_matches("data.").replace('.', "/")
        );
        let message = format!("{decision:?} is not the entrypoint of a Wasm module");
        resolver.error_with_hint("bad-value", origin, message, hint);
    }
}

fn rego(
    path: &At<FilePath>,
    data: Option<&At<FilePath>>,
    resolver: &mut Resolver<'_, '_>,
) -> Option<PolicySource> {
    let name = Files::name_beside(&path.origin, &path.value.0);
    let source = Path::new(name.as_ref());
    let is_folder = source.is_dir();
    let files = if is_folder {
        match modules(source, resolver) {
            Ok(files) => files,
            Err(error) => {
                let message = format!("cannot read the policy folder {:?}: {error}", name.as_ref());
                resolver.error("unreadable-file", &path.origin, message);
                return None;
            }
        }
    } else {
        vec![Arc::clone(&name)]
    };
    if files.is_empty() {
        let message = format!("the policy folder {:?} has no `.rego` file", name.as_ref());
        resolver.error("empty-file", &path.origin, message);
        return None;
    }
    let mut modules = Vec::new();
    let mut is_complete = true;
    for file in files {
        let kind = ("Rego module", MAX_DOCUMENT);
        match resolver
            .files
            .document(&file, kind, &path.origin, resolver.problems)
        {
            Some(text) => modules.push(RegoModule { file, text }),
            None => is_complete = false,
        }
    }
    let data = match data {
        Some(data) => self::data(&Files::name_beside(&data.origin, &data.value.0), data, resolver),
        None if is_folder => match data_beside(source) {
            Some(file) => self::data(&file, path, resolver),
            None => Some(empty_object()),
        },
        None => Some(empty_object()),
    }?;
    is_complete.then(|| PolicySource::Rego {
        modules,
        data: Arc::new(data),
    })
}

fn modules(folder: &Path, resolver: &mut Resolver<'_, '_>) -> io::Result<Vec<Arc<str>>> {
    let files = resolver.files.folder(folder, &[".rego"])?;
    Ok(files
        .into_iter()
        .map(|file| file.to_string_lossy().into_owned())
        .filter(|file| !file.ends_with("_test.rego"))
        .map(Arc::from)
        .collect())
}

fn data_beside(folder: &Path) -> Option<Arc<str>> {
    ["data.json", "data.yaml", "data.yml"]
        .into_iter()
        .map(|name| folder.join(name))
        .find(|path| path.is_file())
        .map(|path| Arc::from(path.to_string_lossy().as_ref()))
}

fn empty_object() -> Value {
    Value::Object(serde_json::Map::new())
}

fn data(file: &Arc<str>, path: &At<FilePath>, resolver: &mut Resolver<'_, '_>) -> Option<Value> {
    let value = resolver.value(file, ("policy data", MAX_DATA), &path.origin)?;
    if !value.is_object() {
        let message = format!("policy data {:?} is not an object", file.as_ref());
        resolver.error("bad-document", &path.origin, message);
        return None;
    }
    Some(value)
}

fn wasm(
    path: &At<FilePath>,
    data: Option<&At<FilePath>>,
    resolver: &mut Resolver<'_, '_>,
) -> Option<PolicySource> {
    let file = Files::name_beside(&path.origin, &path.value.0);
    let bytes = resolver
        .files
        .bytes(&file, ("Wasm module", MAX_DATA), &path.origin, resolver.problems);
    let data = match data {
        Some(data) => self::data(&Files::name_beside(&data.origin, &data.value.0), data, resolver)?,
        None => empty_object(),
    };
    let bytes = bytes?;
    if !bytes.starts_with(b"\0asm") {
        let message = format!("{:?} is not a Wasm module", file.as_ref());
        let hint = "a bundle made by `opa build -t wasm` holds it as policy.wasm: `tar xzf bundle.tar.gz /policy.wasm`";
        resolver.error_with_hint("bad-document", &path.origin, message, hint);
        return None;
    }
    Some(PolicySource::Wasm {
        file,
        bytes: Arc::from(bytes),
        data: Arc::new(data),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_one_seconds_worth_and_at_least_one() {
        let rate = |count, seconds| Rate {
            count: NonZeroU32::new(count).unwrap(),
            per: Duration::from_secs(seconds),
        };

        assert_eq!(default_burst(rate(100, 1)).get(), 100);
        assert_eq!(default_burst(rate(120, 60)).get(), 2);
        assert_eq!(default_burst(rate(5, 3600)).get(), 1);
    }
}
