//! What the static checks need to know of the modules, read from the parser's own syntax tree.
//!
//! The tree comes as JSON (`Engine::get_ast_as_json`). Names are not resolved in it: who a name means is worked out
//! here, the way the engine does it: local variables, then imports, then the rules of the package.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::source::Place;

/// A dotted path, as in `data.portcullis.authz.decision`.
pub(in crate::policy) type Path = Vec<String>;

/// One module.
#[derive(Debug, Default)]
pub(in crate::policy) struct Module {
    /// Its file.
    pub(in crate::policy) file: String,
    /// `data` and its package.
    pub(in crate::policy) package: Path,
    /// Where the package is named.
    pub(in crate::policy) package_place: Place,
    /// What its imports are called, and what they stand for.
    pub(in crate::policy) imports: BTreeMap<String, Path>,
    /// Its rules in order; a rule with several definitions is here several times.
    pub(in crate::policy) rules: Vec<Rule>,
}

/// One definition of a rule.
#[derive(Debug, Default)]
pub(in crate::policy) struct Rule {
    /// The package's path and the fixed part of the head.
    pub(in crate::policy) path: Path,
    /// The number of arguments of a function.
    pub(in crate::policy) arguments: Option<usize>,
    /// True when it makes one element of a set or object, so that several definitions make one thing together.
    pub(in crate::policy) is_partial: bool,
    /// Where it stands.
    pub(in crate::policy) place: Place,
    /// The calls in it.
    pub(in crate::policy) calls: Vec<Call>,
    /// What else it refers to, without its local variables.
    pub(in crate::policy) references: Vec<Path>,
    /// What it puts in the place of something else with `with … as`.
    pub(in crate::policy) replacements: Vec<(Path, Place)>,
}

/// A call.
#[derive(Debug)]
pub(in crate::policy) struct Call {
    /// What is called, as written.
    pub(in crate::policy) name: Path,
    /// With how many arguments.
    pub(in crate::policy) arguments: usize,
    /// Where.
    pub(in crate::policy) place: Place,
}

/// Reads the syntax tree of all modules; `None` when it has not the form that is known here.
pub(super) fn read_modules(tree: &Value) -> Option<Vec<Module>> {
    tree.as_array()?.iter().map(read_module).collect()
}

fn read_module(policy: &Value) -> Option<Module> {
    let source = policy.get("source")?;
    let text = source.get("contents")?.as_str()?;
    let tree = policy.get("ast")?;
    let package = tree.get("package")?;
    let mut module = Module {
        file: source.get("file")?.as_str()?.to_owned(),
        package: package_path(tree)?,
        package_place: place_of(package)?,
        ..Module::default()
    };
    for import in tree.get("imports")?.as_array()? {
        let target = fixed_path(import.get("refr")?)?.path;
        let alias = match import.get("as") {
            Some(span) => text_of(span, text)?.to_owned(),
            None => target.last()?.clone(),
        };
        module.imports.insert(alias, target);
    }
    for rule in tree.get("rules")?.as_array()? {
        module.rules.push(read_rule(rule, &module.package, text)?);
    }
    Some(module)
}

/// `data` and the package of a module.
pub(super) fn package_path(tree: &Value) -> Option<Path> {
    let name = fixed_path(tree.get("package")?.get("refr")?)?.path;
    Some(std::iter::once("data".to_owned()).chain(name).collect())
}

fn read_rule(rule: &Value, package: &[String], text: &str) -> Option<Rule> {
    let (kind, body) = rule.as_object()?.iter().next()?;
    let (form, head) = match kind.as_str() {
        "Default" => ("Default", body),
        _ => body
            .get("head")?
            .as_object()?
            .iter()
            .next()
            .map(|(form, head)| (form.as_str(), head))?,
    };
    let arguments = head.get("args").and_then(Value::as_array).map(Vec::len);
    let arguments = arguments.filter(|count| *count > 0 || form == "Func");
    let mut visitor = Visitor {
        text,
        locals: BTreeSet::new(),
        rule: Rule::default(),
    };
    visitor.declare_arguments(body);
    visitor.declare(body);
    visitor.visit_rule(head, body)?;
    let mut read = visitor.rule;
    let name = fixed_path(head.get("refr")?)?;
    read.is_partial = form == "Set" || !name.indexes.is_empty();
    read.path = package.iter().cloned().chain(name.path).collect();
    read.arguments = arguments;
    read.place = place_of(body)?;
    Some(read)
}

/// The fixed part at the start of a reference.
struct FixedPath<'a> {
    path: Path,
    /// Index expressions after which, or as which, other things stand.
    indexes: Vec<&'a Value>,
}

/// The fixed part of a variable or reference, `None` for anything else.
fn fixed_path(expression: &Value) -> Option<FixedPath<'_>> {
    let (kind, inner) = expression.as_object()?.iter().next()?;
    match kind.as_str() {
        "Var" => Some(FixedPath {
            path: vec![inner.get("value")?.as_str()?.to_owned()],
            indexes: Vec::new(),
        }),
        "RefDot" => {
            let mut base = fixed_path(inner.get("refr")?)?;
            if base.indexes.is_empty() {
                base.path.push(inner.get("field")?.get(1)?.as_str()?.to_owned());
            }
            Some(base)
        }
        "RefBrack" => {
            let mut base = fixed_path(inner.get("refr")?)?;
            let index = inner.get("index")?;
            match index
                .get("String")
                .and_then(|text| text.get("value"))
                .and_then(Value::as_str)
            {
                Some(name) if base.indexes.is_empty() => base.path.push(name.to_owned()),
                Some(_) | None => base.indexes.push(index),
            }
            Some(base)
        }
        _ => None,
    }
}

/// Where a reference begins.
pub(super) fn start_of(reference: &Value) -> Option<Place> {
    let inner = reference.as_object()?.values().next()?;
    match inner.get("refr") {
        Some(base) => start_of(base),
        None => place_of(inner),
    }
}

fn place_of(node: &Value) -> Option<Place> {
    place_at(node.get("span")?)
}

fn place_at(span: &Value) -> Option<Place> {
    let number = |name| {
        span.get(name)
            .and_then(Value::as_u64)
            .and_then(|number| u32::try_from(number).ok())
    };
    Some(Place {
        line: number("line")?,
        column: number("col")?,
    })
}

/// The text that a span covers.
pub(super) fn text_of<'a>(span: &Value, text: &'a str) -> Option<&'a str> {
    let offset = |name| {
        span.get(name)
            .and_then(Value::as_u64)
            .and_then(|number| usize::try_from(number).ok())
    };
    text.get(offset("start")?..offset("end")?)
}

struct Visitor<'a> {
    text: &'a str,
    locals: BTreeSet<String>,
    rule: Rule,
}

impl Visitor<'_> {
    fn declare_arguments(&mut self, body: &Value) {
        let head = body
            .get("head")
            .and_then(Value::as_object)
            .and_then(|head| head.values().next());
        for arguments in [body.get("args"), head.and_then(|head| head.get("args"))]
            .into_iter()
            .flatten()
        {
            self.declare_variables(arguments);
        }
    }

    /// Collects the local variables of the whole rule; that one of them is visible in a part only does not matter.
    fn declare(&mut self, node: &Value) {
        match node {
            Value::Object(fields) => {
                for (kind, inner) in fields {
                    match kind.as_str() {
                        "SomeVars" => self.declare_spans(inner.get("vars")),
                        "SomeIn" => {
                            self.declare_optional(inner.get("key"));
                            self.declare_optional(inner.get("value"));
                        }
                        "Every" => {
                            for span in [inner.get("key"), inner.get("value")].into_iter().flatten() {
                                self.declare_span(span);
                            }
                        }
                        "AssignExpr" if inner.get("op").and_then(Value::as_str) == Some("ColEq") => {
                            self.declare_optional(inner.get("lhs"));
                        }
                        _ => {}
                    }
                    self.declare(inner);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.declare(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn declare_spans(&mut self, spans: Option<&Value>) {
        for span in spans.and_then(Value::as_array).into_iter().flatten() {
            self.declare_span(span);
        }
    }

    fn declare_span(&mut self, span: &Value) {
        if let Some(name) = text_of(span, self.text) {
            self.locals.insert(name.to_owned());
        }
    }

    fn declare_optional(&mut self, pattern: Option<&Value>) {
        if let Some(pattern) = pattern {
            self.declare_variables(pattern);
        }
    }

    /// Every variable in a pattern.
    fn declare_variables(&mut self, pattern: &Value) {
        match pattern {
            Value::Object(fields) => {
                if let Some(name) = fields
                    .get("Var")
                    .and_then(|var| var.get("value"))
                    .and_then(Value::as_str)
                {
                    self.locals.insert(name.to_owned());
                }
                fields.values().for_each(|inner| self.declare_variables(inner));
            }
            Value::Array(items) => items.iter().for_each(|item| self.declare_variables(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// Visits all of a definition but the name that its head gives it.
    fn visit_rule(&mut self, head: &Value, body: &Value) -> Option<()> {
        for index in fixed_path(head.get("refr")?)?.indexes {
            self.visit(index);
        }
        for part in ["assign", "key"].iter().filter_map(|part| head.get(part)) {
            self.visit(part);
        }
        for part in ["bodies", "value"].iter().filter_map(|part| body.get(part)) {
            self.visit(part);
        }
        Some(())
    }

    fn visit(&mut self, node: &Value) {
        match node {
            Value::Object(fields) => {
                if fields.contains_key("refr") && fields.contains_key("as") && fields.contains_key("span") {
                    self.visit_with(node);
                    return;
                }
                for (kind, inner) in fields {
                    match kind.as_str() {
                        "Call" => self.visit_call(inner),
                        "Var" | "RefDot" | "RefBrack" => self.visit_reference(node),
                        _ => self.visit(inner),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.visit(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn visit_call(&mut self, call: &Value) {
        let parameters = call.get("params");
        if let Some((name, place)) = call
            .get("fcn")
            .and_then(|name| Some((fixed_path(name)?, start_of(name)?)))
        {
            let arguments = parameters.and_then(Value::as_array).map_or(0, Vec::len);
            self.rule.calls.push(Call {
                name: name.path,
                arguments,
                place,
            });
        }
        if let Some(parameters) = parameters {
            self.visit(parameters);
        }
    }

    fn visit_reference(&mut self, reference: &Value) {
        let Some(fixed) = fixed_path(reference) else {
            // The base is not a name but an expression, as in `f(x).y` or `[1, 2][i]`.
            if let Some(inner) = reference.as_object().and_then(|fields| fields.values().next()) {
                for part in ["refr", "index"] {
                    if let Some(part) = inner.get(part) {
                        self.visit(part);
                    }
                }
            }
            return;
        };
        for index in &fixed.indexes {
            self.visit(index);
        }
        if fixed
            .path
            .first()
            .is_some_and(|base| !self.locals.contains(base) && base != "input")
        {
            self.rule.references.push(fixed.path);
        }
    }

    /// `with target as replacement`: the target is not used, the replacement is.
    fn visit_with(&mut self, with: &Value) {
        let Some(replacement) = with.get("as") else {
            return;
        };
        if let (Some(fixed), Some(place)) = (fixed_path(replacement), place_of(with)) {
            self.rule.replacements.push((fixed.path, place));
        }
        self.visit(replacement);
    }
}
