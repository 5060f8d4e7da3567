//! Generated policies and requests for the property tests: every way to read a fact, of every fact there is.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, Method};
use portcullis_model::{Identity, IssuerId, Principal, Proof, Query, SpiffeId, Subject, UrlScheme};
use serde_json::{Value, json};

use crate::plan::{PolicyPlan, PolicySource, RegoModule};
use crate::policy::test_facts::{Facts, plan, user};
use crate::policy::{ClientCertificate, PolicyInput};

/// A request, every fact of which can be chosen.
#[derive(Clone, Debug)]
pub(super) struct Request {
    facts: Facts,
    scheme: UrlScheme,
    host: &'static str,
    client: IpAddr,
    class: &'static str,
    revision: &'static str,
    certificate: Option<(SpiffeId, [u8; 32], u64)>,
}

impl Request {
    pub(super) fn input(&self) -> PolicyInput<'_> {
        let mut input = self.facts.input();
        input.head.scheme = self.scheme;
        input.head.host = self.host;
        input.head.client = self.client;
        input.route.class = self.class;
        input.gateway.revision = self.revision;
        input.certificate = self
            .certificate
            .as_ref()
            .map(|(id, fingerprint, expires)| ClientCertificate {
                spiffe_id: Some(id),
                fingerprint,
                not_after: UNIX_EPOCH + Duration::from_secs(*expires),
            });
        input
    }

    /// The request that every dimension's choice describes.
    pub(super) fn of(choices: &[usize; DIMENSIONS]) -> Self {
        let mut request = Self {
            facts: Facts::by(user("alice", Some("acme"), &[], &[], None)),
            scheme: UrlScheme::Https,
            host: "api.example.com",
            client: [203, 0, 113, 7].into(),
            class: "default",
            revision: "r1",
            certificate: None,
        };
        for (dimension, choice) in choices.iter().enumerate() {
            request.choose(dimension, *choice);
        }
        request
    }

    fn choose(&mut self, dimension: usize, choice: usize) {
        let texts = |lists: [&[&str]; CHOICES]| -> Vec<Arc<str>> {
            lists[choice].iter().map(|text| Arc::from(*text)).collect()
        };
        let facts = &mut self.facts;
        let attributes = Arc::make_mut(&mut facts.principal.attributes);
        match dimension {
            0 => facts.method = [Method::GET, Method::POST, Method::DELETE][choice].clone(),
            1 => self.scheme = [UrlScheme::Https, UrlScheme::Http, UrlScheme::Http][choice],
            2 => self.host = ["api.example.com", "b.example.com", "c.example.com"][choice],
            3 => facts.path = ["/", "/api/v1", "/api/v2/x"][choice].into(),
            4 => facts.query = query(choice),
            5 => facts.headers = headers(choice),
            6 => who(&mut facts.principal, choice),
            7 => attributes.tenant = [None, Some("acme"), Some("globex")][choice].map(Arc::from),
            8 => attributes.roles = texts([&[], &["editor"], &["admin", "editor"]]),
            9 => attributes.scopes = texts([&[], &["a:read"], &["a:write", "a:read"]]),
            10 => attributes.region = [None, Some("EU"), Some("US")][choice].map(Arc::from),
            11 => attributes.claims = claims(choice),
            12 => {
                facts.principal.expires_at =
                    [None, Some(5), Some(6)][choice].map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds))
            }
            13 => self.client = [IpAddr::from([1, 1, 1, 1]), [2, 2, 2, 2].into(), [0_u16; 8].into()][choice],
            14 => self.certificate = certificate(choice),
            15 => facts.route = ["appointments", "programs", "invoices"][choice].into(),
            16 => self.class = ["default", "critical", "sheddable"][choice],
            17 => {
                facts.params = [
                    vec![],
                    vec![("id".into(), "1".into())],
                    vec![("id".into(), "2".into()), ("tenant".into(), "t".into())],
                ][choice]
                    .clone()
            }
            18 => facts.operation = [None, Some("getA"), Some("putA")][choice].map(str::to_owned),
            19 => {
                facts.residency = [vec![], vec!["EU".into()], vec!["US".into(), "EU".into()]][choice].clone()
            }
            20 => facts.region = ["eu-west", "us-east", "eu-central"][choice].into(),
            21 => self.revision = ["r1", "r2", "r3"][choice],
            other => panic!("no dimension {other}"),
        }
    }
}

/// What can be different about two requests, and how many values each has.
pub(super) const DIMENSIONS: usize = 22;
pub(super) const CHOICES: usize = 3;

fn query(choice: usize) -> Query {
    const PAIRS: [&[(&str, &str)]; CHOICES] = [
        &[],
        &[("q", "1"), ("b c", "2")],
        &[("q", "2"), ("q", "1"), ("b c", "")],
    ];
    let pairs = PAIRS[choice].iter();
    Query {
        pairs: pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..Query::default()
    }
}

fn headers(choice: usize) -> HeaderMap {
    const TENANTS: [&[&str]; CHOICES] = [&[], &["a"], &["b", "a"]];
    let mut headers = HeaderMap::new();
    headers.insert("x-not-declared", HeaderValue::from_static("a"));
    for tenant in TENANTS[choice] {
        headers.append("x-tenant", HeaderValue::from_static(tenant));
    }
    headers
}

/// Attributes stay as they are: the dimensions are independent of each other.
fn who(principal: &mut Principal, choice: usize) {
    let subject = |subject: &str| {
        Identity::User(Subject {
            issuer: IssuerId::from("customers"),
            issuer_url: "https://login.example.com".into(),
            subject: subject.into(),
        })
    };
    let workload = || Identity::Workload(SpiffeId::new("spiffe://corp.example/billing").unwrap());
    (principal.identity, principal.proof) = match choice {
        0 => (subject("alice"), Proof::Jwt),
        1 => (subject("bob"), Proof::Jwt),
        _ => (workload(), Proof::Mtls),
    };
}

fn claims(choice: usize) -> Value {
    match choice {
        0 => json!(null),
        1 => json!({"deep": {"leaf": 1, "other": [1]}, "odd key": "x", "list": ["a", "b"]}),
        _ => json!({"deep": {"leaf": 1.5}, "odd key": null, "list": ["b", {"c": true}, 3]}),
    }
}

fn certificate(choice: usize) -> Option<(SpiffeId, [u8; 32], u64)> {
    let id = |text| SpiffeId::new(text).unwrap();
    match choice {
        0 => None,
        1 => Some((id("spiffe://corp.example/a"), [1; 32], 100)),
        _ => Some((id("spiffe://corp.example/b"), [2; 32], 200)),
    }
}

/// The steps of a path below `input`.
type Leaf = &'static [&'static str];

/// Facts that can be read. No two families tell the same, so that a path missing from a read-set is missed; within
/// one they do (`path` and `segments`), and a policy reads only one of them.
pub(super) const FAMILIES: [&[Leaf]; DIMENSIONS] = [
    &[&["request", "method"]],
    &[&["request", "scheme"]],
    &[&["request", "host"]],
    &[
        &["request", "path"],
        &["request", "segments"],
        &["request", "segments", "1"],
    ],
    &[
        &["request", "query"],
        &["request", "query", "q"],
        &["request", "query", "q", "0"],
        &["request", "query", "b c"],
    ],
    &[
        &["request", "headers"],
        &["request", "headers", "x-tenant"],
        &["request", "headers", "x-tenant", "0"],
    ],
    &[
        &["principal", "kind"],
        &["principal", "id"],
        &["principal", "subject"],
        &["principal", "scheme"],
        &["principal", "issuer"],
        &["principal", "spiffe_id"],
        &["principal", "trust_domain"],
    ],
    &[&["principal", "tenant"]],
    &[&["principal", "roles"], &["principal", "roles", "0"]],
    &[&["principal", "scopes"], &["principal", "scopes", "1"]],
    &[&["principal", "region"]],
    &[
        &["principal", "claims"],
        &["principal", "claims", "deep"],
        &["principal", "claims", "deep", "leaf"],
        &["principal", "claims", "odd key"],
        &["principal", "claims", "list", "1"],
    ],
    &[&["principal", "expires_at"]],
    &[&["client", "address"]],
    &[
        &["client", "certificate"],
        &["client", "certificate", "fingerprint"],
        &["client", "certificate", "expires_at"],
        &["client", "certificate", "spiffe_id"],
    ],
    &[&["route", "name"]],
    &[&["route", "class"]],
    &[&["route", "params"], &["route", "params", "id"]],
    &[&["route", "operation"]],
    &[&["route", "residency"], &["route", "residency", "0"]],
    &[&["gateway", "region"]],
    &[&["gateway", "revision"]],
];

/// One value that a generated policy works out.
#[derive(Clone, Debug)]
pub(super) struct Snippet {
    pub(super) family: usize,
    pub(super) leaf: usize,
    pub(super) construct: usize,
    /// Where the reference is cut for an alias, and whether it is written with brackets.
    pub(super) style: usize,
}

impl Snippet {
    /// The path that it depends on.
    pub(super) fn leaf(&self) -> Leaf {
        let family = FAMILIES[self.family];
        family[self.leaf % family.len()]
    }
}

/// How a fact is read. `{i}` is the number of the snippet, `{e}` the reference, `{p}` the reference without its last
/// step, `{k}` that step. Every one makes `v{i}`, which is different for different values of the fact.
pub(super) const CONSTRUCTS: [&str; 32] = [
    "v{i} := {e}",
    "v{i} := x if x := {e}",
    "v{i} := x if x = {e}",
    "v{i} := [x] if { [x, 1] = [{e}, 1] }",
    "v{i} := {e} if {e} != null",
    "v{i} := 1 if { {e} == 1 } else := {e} if { not {e} == 2 }",
    "v{i} := 1 if { 1 == 2 } else := {e}",
    "f{i}(x) := [x]\nv{i} := f{i}({e})",
    "f{i}(_) := {e}\nv{i} := f{i}(1)",
    "default f{i}(_) := 1\nf{i}(x) := x if x != 2\nv{i} := f{i}({e})",
    "f{i}(x) := x if { x == 1 } else := [x]\nv{i} := f{i}({e})",
    "v{i} := [x | x := {e}]",
    "v{i} := {x | x := {e}}",
    "v{i} := {\"a\": x | x := {e}}",
    "v{i} := [x | y := [{e}]; some x in y]",
    "v{i} := {k: x | some k, x in {\"a\": {e}}}",
    "v{i} := x if { every y in [1] { y != {e} }; x := [{e}] }",
    "w{i} if { every y in [{e}] { y != 7 } }\nv{i} := [{e}, w{i}]",
    "s{i} contains x if some x in [{e}]\nv{i} := s{i}",
    "s{i} contains {e}\nv{i} := [x | some x in s{i}]",
    "o{i}[\"k\"] := {e}\nv{i} := o{i}",
    "w{i} := {e}\nv{i} := x if { x := w{i} with data.nothing as 1 }",
    "w{i} := data.given\nv{i} := x if { x := w{i} with data.given as {e} }",
    "w{i} := [{e}, input.given]\nv{i} := x if { x := w{i} with input.given as 1 }",
    "w{i} := input.given.deep\nv{i} := x if { x := w{i} with input.given as {\"deep\": {e}} }",
    "g{i}(x) := x\nv{i} := x if { x := count([{e}]) with count as g{i} }",
    "v{i} := [[p, x] | walk({e}, [p, x])]",
    "v{i} := object.get({s}, {r}, 0)",
    "v{i} := [x | k := \"{k}\"; x := {p}[k]]",
    "v{i} := [[k, x] | some k; x := {p}[k]]",
    "v{i} := object.get({\"a\": {p}}, [\"a\"], 0)",
    "v{i} := sprintf(\"%v\", [{p}])",
];

/// The constructs that read the parent of a path as a whole.
const WIDENING: usize = 28;

/// A policy of these snippets, in two files of its package and one of another.
pub(super) fn policy(snippets: &[Snippet]) -> PolicyPlan {
    let (mut imports, mut first, mut second, mut other) =
        (BTreeSet::new(), String::new(), String::new(), String::new());
    let mut aliases = String::new();
    let mut headers = Vec::new();
    for (number, snippet) in snippets.iter().enumerate() {
        let (expression, alias) = reference(number, snippet, snippet.leaf());
        if let Some(alias) = alias {
            imports.insert(alias);
        }
        let text = construct(number, snippet, &expression);
        let _ = match snippet.style / 8 % 3 {
            0 => writeln!(first, "{text}"),
            1 => writeln!(second, "{text}"),
            // Packages share no imports, so that this one has its own.
            _ => {
                let (expression, alias) = reference(
                    number,
                    &Snippet {
                        style: snippet.style + 100,
                        ..snippet.clone()
                    },
                    snippet.leaf(),
                );
                aliases.extend(alias.map(|alias| format!("{alias}\n")));
                let text = construct(number, snippet, &expression);
                writeln!(first, "v{number} := data.q.v{number}")
                    .and_then(|()| writeln!(other, "default v{number} := \"none\"\n{text}"))
            }
        };
        let _ = writeln!(second, "default v{number} := \"none\"");
        headers.push(format!("\"x-{number}\": json.marshal(v{number})"));
    }
    let imports: Vec<String> = imports.into_iter().collect();
    let decision = format!(
        "decision := {{\"allow\": false, \"headers\": {{{}}}}}",
        headers.join(", ")
    );
    let modules = [
        ("a.rego", format!("package p\n{first}\n{decision}\n")),
        ("b.rego", format!("package p\n{}\n{second}", imports.join("\n"))),
        ("c.rego", format!("package q\n{aliases}\n{other}")),
    ];
    let modules = modules.into_iter().map(|(file, text)| RegoModule {
        file: file.into(),
        text: text.into(),
    });
    plan(
        PolicySource::Rego {
            modules: modules.collect(),
            data: Arc::new(json!({})),
        },
        "data.p.decision",
    )
}

fn construct(number: usize, snippet: &Snippet, expression: &str) -> String {
    let leaf = snippet.leaf();
    // Below `request` stands the id, so that reading all of it is another matter.
    let may_widen = leaf.len() > 2 || leaf.first() != Some(&"request");
    let choice = snippet.construct % CONSTRUCTS.len();
    let template = CONSTRUCTS[if may_widen { choice } else { choice % WIDENING }];
    let has_number = leaf.iter().any(|step| is_number(step));
    let (section, rest) = leaf.split_first().unwrap();
    // Keys that are numbers make it read all of the section.
    let template = match template.contains("{s}") && has_number && *section == "request" {
        true => CONSTRUCTS[0],
        false => template,
    };
    let (last, parent) = leaf.split_last().unwrap();
    let key = match is_number(last) {
        true => template.replace("\"{k}\"", last),
        false => template.replace("{k}", last),
    };
    let (parent, _) = reference(
        number,
        &Snippet {
            style: 100,
            ..snippet.clone()
        },
        parent,
    );
    key.replace("{s}", &format!("input.{section}"))
        .replace("{r}", &keys(rest))
        .replace("{i}", &number.to_string())
        .replace("{e}", expression)
        .replace("{p}", &parent)
}

fn keys(steps: &[&str]) -> String {
    let key = |step: &&str| match is_number(step) {
        true => (*step).to_owned(),
        false => format!("\"{step}\""),
    };
    format!("[{}]", steps.iter().map(key).collect::<Vec<_>>().join(", "))
}

fn is_number(step: &str) -> bool {
    step.bytes().all(|byte| byte.is_ascii_digit())
}

/// A reference as somebody may write it, and the import that it needs.
fn reference(number: usize, snippet: &Snippet, leaf: &[&str]) -> (String, Option<String>) {
    let style = snippet.style % 8;
    let brackets = style & 1 == 1;
    let mut written = vec!["input".to_owned()];
    for step in leaf {
        let is_word = step
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        written.push(match (is_number(step), brackets || !is_word) {
            (true, _) => format!("[{step}]"),
            (false, true) if style & 2 == 2 => format!("[`{step}`]"),
            (false, true) => format!("[\"{step}\"]"),
            (false, false) => format!(".{step}"),
        });
    }
    // Up to where the import goes: `input` itself, its section, or the field in it.
    let cut = style % 4;
    if snippet.style < 100 && style >= 4 && cut < leaf.len().min(3) && !written[..=cut].concat().contains('`')
    {
        let alias = format!("a{number}");
        let import = format!("import {} as {alias}", written[..=cut].concat());
        return (format!("{alias}{}", written[cut + 1..].concat()), Some(import));
    }
    (written.concat(), None)
}
