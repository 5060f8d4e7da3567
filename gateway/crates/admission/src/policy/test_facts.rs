//! Requests and policies for the tests of this module.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use portcullis_model::{
    Attributes, Guard, Identity, IssuerId, JurisdictionId, Origin, PolicyId, Principal, Problems, Proof,
    Query, RegionId, RequestHead, RouteId, SpiffeId, Subject, UrlScheme,
};
use serde_json::{Value, json};

use super::{GatewayFacts, Policy, PolicyInput, RouteFacts};
use crate::plan::{PolicyPlan, PolicySource, RegoModule};

/// One request with everything a policy may be told.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    pub(super) principal: Principal,
    pub(super) route: RouteId,
    pub(super) params: Vec<(Arc<str>, String)>,
    pub(super) operation: Option<String>,
    pub(super) residency: Vec<JurisdictionId>,
    pub(super) region: RegionId,
    pub(super) body: Option<Value>,
}

impl Facts {
    /// An anonymous `GET /api/v1/appointments/42` at a gateway in eu-west.
    pub(super) fn new() -> Self {
        Self {
            method: Method::GET,
            path: "/api/v1/appointments/42".into(),
            query: Query::default(),
            headers: HeaderMap::new(),
            principal: Principal::anonymous(),
            route: "appointments".into(),
            params: vec![("id".into(), "42".into())],
            operation: Some("getAppointment".into()),
            residency: vec!["EU".into()],
            region: "eu-west".into(),
            body: None,
        }
    }

    pub(super) fn by(principal: Principal) -> Self {
        Self {
            principal,
            ..Self::new()
        }
    }

    pub(super) fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: &[u8]) -> Self {
        self.headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_bytes(value).unwrap(),
        );
        self
    }

    pub(super) fn input(&self) -> PolicyInput<'_> {
        PolicyInput {
            request_id: "req-1",
            head: RequestHead {
                method: &self.method,
                scheme: UrlScheme::Https,
                host: "api.example.com",
                path: &self.path,
                query: &self.query,
                headers: &self.headers,
                client: [203, 0, 113, 7].into(),
            },
            principal: &self.principal,
            certificate: None,
            route: RouteFacts {
                name: &self.route,
                class: "critical",
                params: &self.params,
                operation: self.operation.as_deref(),
                residency: &self.residency,
            },
            gateway: GatewayFacts {
                region: &self.region,
                revision: "abc123",
            },
            body: self.body.as_ref(),
        }
    }
}

/// A user of the issuer `customers`.
pub(super) fn user(
    name: &str,
    tenant: Option<&str>,
    roles: &[&str],
    scopes: &[&str],
    region: Option<&str>,
) -> Principal {
    let texts = |texts: &[&str]| texts.iter().map(|text| Arc::from(*text)).collect();
    Principal {
        identity: Identity::User(Subject {
            issuer: IssuerId::from("customers"),
            issuer_url: "https://login.example.com".into(),
            subject: name.into(),
        }),
        proof: Proof::Jwt,
        attributes: Arc::new(Attributes {
            tenant: tenant.map(Arc::from),
            roles: texts(roles),
            scopes: texts(scopes),
            region: region.map(Arc::from),
            claims: json!({ "sub": name, "age": 41, "ratio": 0.5, "nested": { "list": [1, "two", null, true] } }),
        }),
        expires_at: Some(UNIX_EPOCH + Duration::from_secs(1_790_000_000)),
    }
}

/// A workload by its SPIFFE ID.
pub(super) fn workload(id: &str) -> Principal {
    Principal {
        identity: Identity::Workload(SpiffeId::new(id).unwrap()),
        proof: Proof::Mtls,
        attributes: Arc::new(Attributes::default()),
        expires_at: Some(UNIX_EPOCH + Duration::from_secs(1_790_000_000)),
    }
}

/// A policy of one Rego file.
pub(super) fn rego_plan(text: &str, decision: &str) -> PolicyPlan {
    let modules = vec![RegoModule {
        file: "policies/p.rego".into(),
        text: text.into(),
    }];
    plan(
        PolicySource::Rego {
            modules,
            data: Arc::new(json!({})),
        },
        decision,
    )
}

pub(super) fn plan(source: PolicySource, decision: &str) -> PolicyPlan {
    PolicyPlan {
        id: PolicyId::from("p"),
        origin: Origin::of("policies.p"),
        source,
        decision: decision.into(),
        budget: Duration::from_secs(2),
        headers: vec![HeaderName::from_static("x-tenant")],
        reads_body: false,
        remember: true,
        guard: Guard::ENFORCE,
    }
}

/// Compiles what must be free of problems.
pub(super) fn compiled(plan: &PolicyPlan) -> Policy {
    match Policy::compile(plan) {
        Ok((policy, _)) => policy,
        Err(problems) => panic!("{problems}"),
    }
}

/// The policy `package p` with this body, whose decision is `data.p.decision`.
pub(super) fn policy(body: &str) -> Policy {
    compiled(&rego_plan(&format!("package p\n{body}\n"), "data.p.decision"))
}

/// The problems of a policy that must be refused.
pub(super) fn refused(body: &str) -> Problems {
    Policy::compile(&rego_plan(&format!("package p\n{body}\n"), "data.p.decision")).expect_err("refused")
}

/// The folder with the example policies.
pub(super) fn example_folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "..", "..", "policies"]
        .iter()
        .collect()
}

/// The example policies by file name, those that are tests or those that are not.
pub(super) fn example_modules(tests: bool) -> Vec<RegoModule> {
    let mut modules = BTreeMap::new();
    for entry in std::fs::read_dir(example_folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".rego") && (tests || !name.ends_with("_test.rego")) {
            modules.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
    modules
        .into_iter()
        .map(|(name, text)| RegoModule {
            file: format!("policies/{name}").into(),
            text: text.into(),
        })
        .collect()
}

/// The data of the example policies.
pub(super) fn example_data() -> Arc<Value> {
    Arc::new(serde_json::from_slice(&std::fs::read(example_folder().join("data.json")).unwrap()).unwrap())
}

/// The example policies as Rego text, asked for one of their decisions.
pub(super) fn example_policy(decision: &str) -> Policy {
    compiled(&plan(
        PolicySource::Rego {
            modules: example_modules(false),
            data: example_data(),
        },
        decision,
    ))
}
