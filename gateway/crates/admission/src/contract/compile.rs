//! An OpenAPI document becomes a table of operations; every problem is collected.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use http::Method;
use portcullis_model::Problems;

use super::document::{Document, Place};
use super::lookup::PathItem;
use super::operation::Operation;
use super::parameter::Parameter;
use super::schema::SchemaCompiler;
use super::template::{PathTable, Template};
use crate::plan::ContractPlan;

const METHODS: [(&str, Method); 8] = [
    ("get", Method::GET),
    ("put", Method::PUT),
    ("post", Method::POST),
    ("delete", Method::DELETE),
    ("options", Method::OPTIONS),
    ("head", Method::HEAD),
    ("patch", Method::PATCH),
    ("trace", Method::TRACE),
];

/// What a 3.1 document may name as the dialect of its schemas; both mean what we enforce.
const SCHEMA_DIALECTS: [&str; 2] = [
    "https://spec.openapis.org/oas/3.1/dialect/base",
    "https://json-schema.org/draft/2020-12/schema",
];

/// Compiles all operations of a document.
pub(super) fn compile_operations(plan: &ContractPlan) -> Result<(PathTable<PathItem>, Problems), Problems> {
    let document = Document::open(plan)?;
    let mut compiler = Compiler {
        document,
        schemas: SchemaCompiler::default(),
        ids: HashSet::new(),
    };
    let table = compiler.table();
    compiler.document.problems.into_result(table)
}

pub(super) struct Compiler<'d> {
    pub(super) document: Document<'d>,
    pub(super) schemas: SchemaCompiler,
    ids: HashSet<String>,
}

impl<'d> Compiler<'d> {
    fn table(&mut self) -> PathTable<PathItem> {
        let root = self.document.root();
        self.document.refuse_unknown_fields(
            &root,
            &[
                "openapi",
                "info",
                "servers",
                "paths",
                "webhooks",
                "components",
                "security",
                "tags",
                "externalDocs",
                "jsonSchemaDialect",
            ],
        );
        let dialect = root.get("jsonSchemaDialect");
        let is_known = |name: &str| SCHEMA_DIALECTS.contains(&name);
        if let Some(dialect) = dialect.filter(|dialect| !dialect.value.as_str().is_some_and(is_known)) {
            self.document.error(
                "contract-version",
                &dialect,
                "this schema dialect is not supported",
            );
        }
        let bases = self.bases(&root, None);
        let mut table = PathTable::default();
        let paths = root.get("paths");
        if paths
            .as_ref()
            .is_none_or(|paths| paths.members().next().is_none())
        {
            self.document
                .error("contract-empty", &root, "the document has no paths");
        }
        for (path, item) in paths
            .iter()
            .flat_map(Place::members)
            .filter(|(path, _)| !path.starts_with("x-"))
        {
            self.path(path, item, &bases, &mut table);
        }
        table
    }

    /// The base paths of `servers`, or those of the level above.
    fn bases(&mut self, place: &Place<'d>, above: Option<&[String]>) -> Vec<String> {
        let servers = place.get("servers");
        let mut bases = Vec::new();
        for server in servers.iter().flat_map(Place::items) {
            let url = server.text("url").unwrap_or_default();
            let path = match url.split_once("://") {
                Some((_, rest)) => rest.find('/').map_or("", |at| rest.split_at(at).1),
                None => url,
            };
            let path = path.trim_end_matches('/');
            if path.contains(['{', '?', '#']) || !(path.is_empty() || path.starts_with('/')) {
                let message = "the path of a server's URL must be absolute and without variables";
                self.document.error("contract-server", &server, message);
                continue;
            }
            if !bases.iter().any(|base| base == path) {
                bases.push(path.to_owned());
            }
        }
        match (bases.is_empty(), above) {
            (false, _) => bases,
            (true, Some(above)) => above.to_vec(),
            (true, None) => vec![String::new()],
        }
    }

    fn path(&mut self, path: &str, written: Place<'d>, bases: &[String], table: &mut PathTable<PathItem>) {
        let Some(item) = self.document.resolve(written.clone()) else {
            return;
        };
        let template = match Template::parse("", path) {
            Ok(template) => template,
            Err(message) => return self.document.error("contract-path", &written, message),
        };
        let mut known = vec!["summary", "description", "servers", "parameters"];
        known.extend(METHODS.iter().map(|(word, _)| *word));
        self.document.refuse_unknown_fields(&item, &known);
        let bases = self.bases(&item, Some(bases));
        let shared = self.parameter_places(&item);
        let mut by_base: BTreeMap<String, PathItem> = BTreeMap::new();
        for (word, method) in METHODS {
            let Some(place) = item.get(word) else {
                continue;
            };
            let Some(operation) = self.operation(&place, &method, (path, &template), &shared) else {
                continue;
            };
            let operation = Arc::new(operation);
            for base in self.bases(&place, Some(&bases)) {
                let entry = (method.clone(), Arc::clone(&operation));
                by_base.entry(base).or_default().operations.push(entry);
            }
        }
        for (base, item) in by_base {
            match Template::parse(&base, path) {
                Err(message) => self.document.error("contract-path", &written, message),
                Ok(template) => {
                    if table.insert(&template, item).is_err() {
                        self.document.error(
                            "contract-path",
                            &written,
                            "another path matches exactly the same",
                        );
                    }
                }
            }
        }
    }

    fn operation(
        &mut self,
        place: &Place<'d>,
        method: &Method,
        (path, template): (&str, &Template),
        shared: &[Place<'d>],
    ) -> Option<Operation> {
        self.document.refuse_unknown_fields(
            place,
            &[
                "tags",
                "summary",
                "description",
                "externalDocs",
                "operationId",
                "parameters",
                "requestBody",
                "responses",
                "callbacks",
                "deprecated",
                "security",
                "servers",
            ],
        );
        let id = place
            .text("operationId")
            .map_or_else(|| format!("{method} {path}"), str::to_owned);
        if !self.ids.insert(id.clone()) {
            self.document.error(
                "contract-operation",
                place,
                format!("there are two operations \"{id}\""),
            );
        }
        let parameters = self.parameters(place, template, shared);
        let body = match place.get("requestBody") {
            None => Some(None),
            Some(body) => {
                if matches!(*method, Method::GET | Method::HEAD | Method::TRACE) {
                    let message =
                        "a body has no defined meaning with this method, and many endpoints drop it";
                    self.document.warn("contract-body", &body, message);
                }
                self.body(body).map(Some)
            }
        };
        Some(Operation {
            id: id.into(),
            parameters: parameters?,
            body: body?,
        })
    }

    /// The parameters of an operation: its own, and those of its path that it does not write anew.
    fn parameters(
        &mut self,
        place: &Place<'d>,
        template: &Template,
        shared: &[Place<'d>],
    ) -> Option<Vec<Parameter>> {
        let own = self.parameter_places(place);
        let key = |place: &Place<'d>| {
            (
                place.text("name").map(str::to_owned),
                place.text("in").map(str::to_owned),
            )
        };
        let inherited = shared
            .iter()
            .filter(|shared| !own.iter().any(|own| key(own) == key(shared)));
        let places: Vec<_> = inherited.chain(&own).cloned().collect();
        let mut seen = HashSet::new();
        let mut is_sound = true;
        let mut parameters = Vec::with_capacity(places.len());
        for place in &places {
            if !seen.insert(key(place)) {
                self.document
                    .error("contract-parameter", place, "the parameter is there twice");
            }
            match self.parameter(place) {
                Ok(parameter) => parameters.extend(parameter),
                Err(_) => is_sound = false,
            }
        }
        for name in template.names() {
            let is_declared = places
                .iter()
                .any(|place| key(place) == (Some(name.to_string()), Some("path".to_owned())));
            if !is_declared {
                let message = format!("the path's parameter \"{name}\" is not declared");
                self.document.error("contract-parameter", place, message);
            }
        }
        for place in places.iter().filter(|place| place.text("in") == Some("path")) {
            if !template
                .names()
                .any(|name| Some(name.as_ref()) == place.text("name"))
            {
                self.document
                    .error("contract-parameter", place, "the path has no such parameter");
            }
        }
        is_sound.then_some(parameters)
    }

    fn parameter_places(&mut self, place: &Place<'d>) -> Vec<Place<'d>> {
        let written: Vec<_> = place.get("parameters").iter().flat_map(Place::items).collect();
        written
            .into_iter()
            .filter_map(|parameter| self.document.resolve(parameter))
            .collect()
    }
}
