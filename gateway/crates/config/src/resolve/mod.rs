//! Sections of the file into sections of the plan: reads what they name, and gives defaults their value.
//!
//! Nothing here looks across sections; [`crate::link`] has already done that, and its problems keep a plan built
//! here from being used.

mod admission;
mod gateway;
mod identity;
mod listeners;
mod pem;
mod routes;
mod routing;

use std::path::Path;
use std::sync::Arc;

use portcullis_model::{Origin, Problem, Problems, RegionId};
use portcullis_pipeline::plan::{DenyListPlan, GatewayPlan};
use serde_json::Value;

use crate::boot::BootPlan;
use crate::file::GatewayFile;
use crate::file::section::At;
use crate::file::tree;
use crate::sources::Files;

pub(crate) use self::gateway::admin;
pub(crate) use self::routes::MAX_BODY_FOR_POLICY;

/// Everything that the sections share while they are resolved.
pub(crate) struct Resolver<'a, 'f> {
    pub(crate) files: &'a mut Files<'f>,
    pub(crate) problems: &'a mut Problems,
}

/// Both plans of a file; `None` only when something is missing without which there is none.
pub(crate) fn plans(
    file: &GatewayFile,
    region: &RegionId,
    files: &mut Files<'_>,
    problems: &mut Problems,
) -> Option<(BootPlan, GatewayPlan)> {
    let mut resolver = Resolver { files, problems };
    let identity = identity::plan(file, &mut resolver);
    let admission = admission::plan(file, &mut resolver);
    let routing = routing::plan(file, region, &mut resolver);
    let listeners = listeners::plan(file, &mut resolver);
    let routes = routes::plan(file, &mut resolver);
    let live = GatewayPlan {
        identity,
        admission,
        routing,
        listeners,
        routes,
        trusted_proxies: gateway::trusted_proxies(file),
        held_bodies: gateway::held_bodies(file),
        deny_list: deny_list(file),
    };
    Some((gateway::boot(file, region, &mut resolver), live))
}

/// Only where it is: it is read by whoever follows it.
fn deny_list(file: &GatewayFile) -> Option<DenyListPlan> {
    let path = file.revocation.get()?.deny_list.at()?;
    let name = Files::name_beside(&path.origin, &path.value.0);
    Some(DenyListPlan {
        path: Arc::from(Path::new(name.as_ref())),
        origin: path.origin.clone(),
    })
}

impl Resolver<'_, '_> {
    pub(crate) fn error(&mut self, code: &'static str, origin: &Origin, message: impl Into<String>) {
        self.problems.push(Problem::error(code, origin, message));
    }

    pub(crate) fn error_with_hint(
        &mut self,
        code: &'static str,
        origin: &Origin,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.problems
            .push(Problem::error(code, origin, message).with_hint(hint));
    }

    /// Reads a document that is JSON or, unless its name ends with `.json`, YAML.
    pub(crate) fn value(&mut self, name: &Arc<str>, kind: (&str, u64), origin: &Origin) -> Option<Value> {
        let text = self.files.document(name, kind, origin, self.problems)?;
        if name.ends_with(".json") {
            return match serde_json::from_str(&text) {
                Ok(value) => Some(value),
                Err(error) => {
                    let line = u32::try_from(error.line()).unwrap_or(0);
                    let column = u32::try_from(error.column()).unwrap_or(0);
                    let place = Origin {
                        file: Arc::clone(name),
                        line,
                        column,
                        ..origin.clone()
                    };
                    self.error(
                        "bad-json",
                        &place,
                        format!("{} is not valid JSON: {error}", kind.0),
                    );
                    None
                }
            };
        }
        match tree::parse(&text, name, self.problems) {
            Ok(Some(node)) => Some(node.to_json()),
            Ok(None) => {
                self.error(
                    "empty-file",
                    origin,
                    format!("{} {:?} is empty", kind.0, name.as_ref()),
                );
                None
            }
            Err(problem) => {
                self.problems.push(*problem);
                None
            }
        }
    }
}

/// The texts of a list, as shared texts.
pub(crate) fn shared<'a>(items: impl Iterator<Item = &'a At<String>>) -> Vec<Arc<str>> {
    items.map(|item| Arc::from(item.value.as_str())).collect()
}
