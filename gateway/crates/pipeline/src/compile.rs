//! Plan and previous snapshot → snapshot, reusing what did not change. All problems at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderMap;
use http::header::{CONTENT_TYPE, LOCATION};
use portcullis_admission::AdmissionRuntime;
use portcullis_admission::limit::LimitRef;
use portcullis_admission::plan::{GuardRef, RulePlan};
use portcullis_admission::policy::AuthorizeRule;
use portcullis_identity::{IdentityRuntime, Scheme};
use portcullis_model::{LimitId, Mode, Origin, Problem, Problems};
use portcullis_routing::RoutingRuntime;
use portcullis_routing::route_table::RouteTable;

use crate::boards::Boards;
use crate::plan::{ActionPlan, GatewayPlan, ListenerPlan, RoutePlan, SchemeKind};
use crate::snapshot::{Action, ContractBundle, ListenerBundle, RouteBundle, Snapshot};

/// The rooms' runtimes, before routes are put together from them.
struct Rooms {
    identity: IdentityRuntime,
    admission: AdmissionRuntime,
    routing: RoutingRuntime,
}

/// Compiles a plan; warnings come with the snapshot.
///
/// # Errors
/// Returns everything found when any of it keeps the plan from being served.
pub fn compile(
    plan: Arc<GatewayPlan>,
    previous: Option<&Snapshot>,
    boards: &Boards,
    revision: String,
) -> Result<(Snapshot, Problems), Problems> {
    let mut problems = Problems::new();
    let identity = portcullis_identity::compile(
        &plan.identity,
        previous.map(|old| &old.identity),
        &boards.identity,
    );
    let identity = keep(&mut problems, identity);
    let admission = portcullis_admission::compile(&plan.admission, previous.map(|old| &old.admission));
    let admission = keep(&mut problems, admission);
    let routing =
        portcullis_routing::compile(&plan.routing, previous.map(|old| &old.routing), &boards.routing);
    let routing = keep(&mut problems, routing);
    let (Some(identity), Some(admission), Some(routing)) = (identity, admission, routing) else {
        return Err(problems);
    };
    let rooms = Rooms {
        identity,
        admission,
        routing,
    };
    let routes: Vec<Arc<RouteBundle>> = plan
        .routes
        .iter()
        .filter_map(|route| compile_route(route, &rooms, &mut problems))
        .map(Arc::new)
        .collect();
    let mut listeners = BTreeMap::new();
    for listener in &plan.listeners {
        if let Some(bundle) = compile_listener(listener, &routes, &rooms, &mut problems) {
            listeners.insert(listener.id.clone(), bundle);
        }
    }
    let Rooms {
        identity,
        admission,
        routing,
    } = rooms;
    problems.into_result(Snapshot {
        revision: revision.into(),
        plan,
        listeners,
        identity,
        admission,
        routing,
        routes,
    })
}

fn keep<T>(problems: &mut Problems, result: Result<(T, Problems), Problems>) -> Option<T> {
    let (value, warnings) = problems.collect(result)?;
    problems.extend(warnings);
    Some(value)
}

fn compile_listener(
    plan: &ListenerPlan,
    routes: &[Arc<RouteBundle>],
    rooms: &Rooms,
    problems: &mut Problems,
) -> Option<ListenerBundle> {
    let rate_limits = compile_limits(&plan.rate_limits, rooms, problems);
    let entries = routes
        .iter()
        .filter(|route| route.plan.listeners.contains(&plan.id))
        .map(|route| (&route.plan.matches, Arc::clone(route)))
        .collect();
    let routes = problems.collect(RouteTable::build(entries))?;
    Some(ListenerBundle {
        role: plan.role.clone(),
        limits: plan.limits,
        rate_limits,
        routes,
    })
}

fn compile_route(plan: &RoutePlan, rooms: &Rooms, problems: &mut Problems) -> Option<RouteBundle> {
    let authenticator = if plan.public {
        None
    } else {
        let schemes: Vec<Scheme> = plan
            .authenticate
            .iter()
            .map(|scheme| match &scheme.scheme {
                SchemeKind::Jwt(issuer) => Scheme::Jwt(issuer.clone(), scheme.origin.clone()),
                SchemeKind::Mtls(trust) => Scheme::Mtls(trust.clone(), scheme.origin.clone()),
            })
            .collect();
        Some(problems.collect(rooms.identity.authenticator(&schemes))?)
    };
    let (limits, early_limits) = compile_limits(&plan.rate_limits, rooms, problems)
        .into_iter()
        .partition(|limit: &LimitRef| limit.limit.needs_principal());
    let authorize = compile_authorize(plan, rooms, problems)?;
    let asks_policy = plan
        .authorize
        .iter()
        .any(|entry| matches!(entry.rule, RulePlan::Policy(_)));
    let reads_body = authorize.iter().any(AuthorizeRule::reads_body);
    let contract = match &plan.contract {
        None => None,
        Some(reference) => Some(compile_contract(reference, rooms, problems)?),
    };
    let residency = plan
        .residency
        .as_ref()
        .map(|residency| rooms.routing.residency(residency));
    let action = compile_action(plan, rooms, problems)?;
    Some(RouteBundle {
        plan: plan.clone(),
        authenticator,
        early_limits,
        limits,
        contract,
        authorize,
        asks_policy,
        reads_body,
        residency,
        action,
    })
}

fn compile_limits(references: &[GuardRef<LimitId>], rooms: &Rooms, problems: &mut Problems) -> Vec<LimitRef> {
    let mut limits = Vec::with_capacity(references.len());
    for reference in references {
        match rooms.admission.limit(&reference.id) {
            Some(limit) => limits.push(LimitRef {
                guard: limit.guard().narrowed_by(reference.guard),
                origin: reference.origin.clone(),
                limit,
            }),
            None => problems.push(dangling(&reference.origin, "rate limit", reference.id.as_str())),
        }
    }
    limits
}

fn compile_authorize(plan: &RoutePlan, rooms: &Rooms, problems: &mut Problems) -> Option<Vec<AuthorizeRule>> {
    let mut rules = Vec::with_capacity(plan.authorize.len());
    for entry in &plan.authorize {
        rules.push(problems.collect(AuthorizeRule::compile(entry, |id| rooms.admission.policy(id)))?);
    }
    if !plan.public && rules.is_empty() {
        let message = format!("route \"{}\" authenticates but authorizes nobody", plan.id);
        problems.push(
            Problem::error("authorize-missing", &plan.origin, message)
                .with_hint("add `authorize: [authenticated]`"),
        );
        return None;
    }
    let is_enforced = rules.iter().any(|rule| rule.guard().mode == Mode::Enforce);
    if !plan.public && !is_enforced {
        let message = format!(
            "no rule of route \"{}\" is enforced: whoever authenticates is let in",
            plan.id
        );
        problems.push(
            Problem::warning("nothing-enforced", &plan.origin, message)
                .with_hint("write `authenticated` beside what is only observed, to say that this is meant"),
        );
    }
    Some(rules)
}

fn compile_contract(
    reference: &GuardRef<portcullis_model::ContractId>,
    rooms: &Rooms,
    problems: &mut Problems,
) -> Option<ContractBundle> {
    let Some(contract) = rooms.admission.contract(&reference.id) else {
        problems.push(dangling(&reference.origin, "contract", reference.id.as_str()));
        return None;
    };
    Some(ContractBundle {
        id: reference.id.clone(),
        guard: contract.guard().narrowed_by(reference.guard),
        origin: reference.origin.clone(),
        unknown_operations: contract.unknown_operations(),
        contract,
    })
}

fn compile_action(plan: &RoutePlan, rooms: &Rooms, problems: &mut Problems) -> Option<Action> {
    match &plan.action {
        ActionPlan::Pool(id) => {
            let Some(pool) = rooms.routing.pool(id) else {
                problems.push(dangling(&plan.origin, "pool", id.as_str()));
                return None;
            };
            let tls = rooms.identity.upstream_tls(id);
            if pool.plan().tls && tls.is_none() {
                problems.push(dangling(&plan.origin, "TLS material of pool", id.as_str()));
                return None;
            }
            let forwarding = rooms.identity.forwarding(id);
            Some(Action::Forward {
                pool,
                tls,
                forwarding,
            })
        }
        ActionPlan::KeySet => Some(Action::KeySet),
        ActionPlan::Respond {
            status,
            body,
            content_type,
        } => {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, content_type.clone());
            Some(Action::Answer {
                status: *status,
                headers,
                body: bytes::Bytes::copy_from_slice(body.as_bytes()),
            })
        }
        ActionPlan::Redirect { status, to } => {
            let mut headers = HeaderMap::new();
            headers.insert(LOCATION, to.clone());
            Some(Action::Answer {
                status: *status,
                headers,
                body: bytes::Bytes::new(),
            })
        }
    }
}

fn dangling(origin: &Origin, what: &str, name: &str) -> Problem {
    Problem::error("unknown-reference", origin, format!("unknown {what} \"{name}\""))
}
