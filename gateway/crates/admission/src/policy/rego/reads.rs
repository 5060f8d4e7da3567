//! What a policy can read of `input`, and whether it would decide the same tomorrow, from the parser's syntax tree.
//!
//! The answer may be too much and never too little. Every reference in every module counts, reached or not. Scopes are
//! not followed: a name that an import of the package gives to a part of `input` stands for it everywhere in that
//! package, also where a local variable of the same name hides it. A path ends at the first part that is known only
//! when the policy runs (`input.request.headers[name]`), and what is handed on as a whole (`f(input.route)`,
//! `r := input.route`) is read as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::source::Place;
use super::syntax::{Path, package_path, start_of, text_of};
use crate::policy::memory::{FactPath, Step};

/// Built-ins that do not give the same for the same arguments. Most are refused when a policy is loaded; they stand
/// here all the same, so that allowing one of them cannot make its policies be remembered.
const IMPURE: [&str; 7] = [
    "http.send",
    "net.lookup_ip_addr",
    "opa.runtime",
    "rand.intn",
    "test.sleep",
    "time.now_ns",
    "uuid.rfc4122",
];

/// A place in a module.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::policy) struct Spot {
    pub(in crate::policy) file: Arc<str>,
    pub(in crate::policy) place: Place,
}

/// What all modules of a policy read, each with the first place where it is read.
#[derive(Clone, Debug, Default)]
pub(in crate::policy) struct Reads {
    /// Paths below `input`.
    pub(in crate::policy) facts: BTreeMap<FactPath, Spot>,
    /// Built-ins whose result is not a matter of their arguments.
    pub(in crate::policy) impure: BTreeMap<&'static str, Spot>,
}

/// The names that a package's imports give to parts of `input`. The engine looks an import up by package and name, so
/// that all modules of one package share theirs.
type Aliases = BTreeMap<(Path, String), Vec<FactPath>>;

/// Reads the syntax tree of all modules; `None` when it has not the form that is known here.
pub(super) fn read(tree: &Value) -> Option<Reads> {
    let modules = tree.as_array()?;
    let mut aliases = Aliases::new();
    for module in modules {
        collect_aliases(module, &mut aliases)?;
    }
    let has_object_get = !modules.iter().any(renames_object_get);
    let mut reads = Reads::default();
    for module in modules {
        let tree = module.get("ast")?;
        let mut reader = Reader {
            aliases: &aliases,
            has_object_get,
            package: package_path(tree)?,
            file: module.get("source")?.get("file")?.as_str()?.into(),
            reads: &mut reads,
        };
        tree.get("rules")?
            .as_array()?
            .iter()
            .try_for_each(|rule| reader.visit(rule))?;
    }
    Some(reads)
}

fn collect_aliases(module: &Value, aliases: &mut Aliases) -> Option<()> {
    let text = module.get("source")?.get("contents")?.as_str()?;
    let tree = module.get("ast")?;
    let package = package_path(tree)?;
    for import in tree.get("imports")?.as_array()? {
        let Reference { base, steps, .. } = reference(import.get("refr")?)?;
        if base.and_then(variable) != Some("input") {
            continue;
        }
        let alias = match (import.get("as"), steps.last()) {
            (Some(span), _) => text_of(span, text)?.to_owned(),
            (None, Some(Step::Field(name))) => name.to_string(),
            // `import input`, which changes nothing.
            (None, None) => continue,
            (None, Some(Step::Item(_))) => return None,
        };
        aliases
            .entry((package.clone(), alias))
            .or_default()
            .push(FactPath(steps));
    }
    Some(())
}

/// A reference taken apart: `base.step["step"][open]…`.
struct Reference<'a> {
    /// What it begins with.
    base: Option<&'a Value>,
    /// The steps that are known, up to the first that is not.
    steps: Vec<Step>,
    /// Index expressions that are evaluated.
    open: Vec<&'a Value>,
}

fn reference(node: &Value) -> Option<Reference<'_>> {
    let mut links = Vec::new();
    let mut node = node;
    let base = loop {
        let (kind, inner) = node.as_object()?.iter().next()?;
        let link = match kind.as_str() {
            "RefDot" => Link::Known(Step::Field(inner.get("field")?.get(1)?.as_str()?.into())),
            "RefBrack" => link(inner.get("index")?),
            _ => break node,
        };
        links.push(link);
        node = inner.get("refr")?;
    };
    let mut reference = Reference {
        base: Some(base),
        steps: Vec::new(),
        open: Vec::new(),
    };
    for link in links.into_iter().rev() {
        match link {
            Link::Known(step) if reference.open.is_empty() => reference.steps.push(step),
            Link::Known(_) => {}
            Link::Open(index) => reference.open.push(index),
        }
    }
    Some(reference)
}

enum Link<'a> {
    Known(Step),
    Open(&'a Value),
}

/// A text or a whole number is a known step, anything else is evaluated.
fn link(index: &Value) -> Link<'_> {
    let value = |kind| index.get(kind).and_then(|inner: &Value| inner.get("value"));
    let text = value("String")
        .or_else(|| value("RawString"))
        .and_then(Value::as_str);
    let number = value("Number").and_then(Value::as_u64);
    match (text, number) {
        (Some(name), _) => Link::Known(Step::Field(name.into())),
        (None, Some(position)) => Link::Known(Step::Item(position)),
        (None, None) => Link::Open(index),
    }
}

fn variable(node: &Value) -> Option<&str> {
    node.get("Var")?.get("value")?.as_str()
}

struct Reader<'a> {
    aliases: &'a Aliases,
    /// True when `object.get` means the built-in wherever it is called.
    has_object_get: bool,
    package: Path,
    file: Arc<str>,
    reads: &'a mut Reads,
}

impl Reader<'_> {
    fn visit(&mut self, node: &Value) -> Option<()> {
        match node {
            Value::Object(fields) if is_replacement(fields) => self.visit_replacement(node),
            Value::Object(fields) => fields.iter().try_for_each(|(kind, inner)| match kind.as_str() {
                "Call" => self.visit_call(inner),
                "Var" | "RefDot" | "RefBrack" => self.visit_reference(node),
                _ => self.visit(inner),
            }),
            Value::Array(items) => items.iter().try_for_each(|item| self.visit(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(()),
        }
    }

    /// `object.get(object, "key", default)` and `object.get(object, ["key", "key"], default)` read what is at the keys,
    /// as the reference would that they stand for.
    fn visit_call(&mut self, call: &Value) -> Option<()> {
        let parameters = call.get("params")?;
        let [object, key, default] = parameters.as_array()?.as_slice() else {
            return self.visit_parts(call);
        };
        let keys = known_keys(key).filter(|keys| !keys.is_empty() && self.has_object_get);
        match keys {
            Some(keys) if is_object_get(call.get("fcn")?) && is_reference(object) => {
                self.visit_reference_and(object, &keys)?;
                self.visit(default)
            }
            Some(_) | None => self.visit_parts(call),
        }
    }

    fn visit_parts(&mut self, call: &Value) -> Option<()> {
        self.visit(call.get("fcn")?)?;
        self.visit(call.get("params")?)
    }

    fn visit_reference(&mut self, node: &Value) -> Option<()> {
        self.visit_reference_and(node, &[])
    }

    /// A reference, and steps that go on from it.
    fn visit_reference_and(&mut self, node: &Value, further: &[Step]) -> Option<()> {
        let Reference {
            base,
            mut steps,
            open,
        } = reference(node)?;
        if open.is_empty() {
            steps.extend_from_slice(further);
        }
        for index in open {
            self.visit(index)?;
        }
        let base = base?;
        let Some(name) = variable(base) else {
            // It begins with an expression, as in `f(x).y` or `[input.a][0]`.
            return if std::ptr::eq(base, node) {
                None
            } else {
                self.visit(base)
            };
        };
        let spot = Spot {
            file: Arc::clone(&self.file),
            place: start_of(node)?,
        };
        if let Some(builtin) = impure(name, &steps) {
            self.reads.impure.entry(builtin).or_insert_with(|| spot.clone());
        }
        let aliases = self.aliases;
        let known = aliases.get(&(self.package.clone(), name.to_owned()));
        let input = (name == "input").then(FactPath::default);
        for prefix in known.into_iter().flatten().chain(&input) {
            let path = prefix.0.iter().chain(&steps).cloned().collect();
            self.reads
                .facts
                .entry(FactPath(path))
                .or_insert_with(|| spot.clone());
        }
        Some(())
    }

    /// `with target as replacement`. A target is not read; it counts nevertheless, because a real value may stand above
    /// it, except for `input` and its sections, above which there is nothing that differs between requests.
    fn visit_replacement(&mut self, node: &Value) -> Option<()> {
        let target = reference(node.get("refr")?)?;
        let is_section = target.base.and_then(variable) == Some("input") && target.steps.len() < 2;
        if !is_section || !target.open.is_empty() {
            self.visit(node.get("refr")?)?;
        }
        self.visit(node.get("as")?)
    }
}

fn is_reference(node: &Value) -> bool {
    ["Var", "RefDot", "RefBrack"]
        .iter()
        .any(|kind| node.get(kind).is_some())
}

fn is_object_get(name: &Value) -> bool {
    reference(name).is_some_and(|name| {
        name.open.is_empty()
            && name.base.and_then(variable) == Some("object")
            && name.steps == [Step::Field("get".into())]
    })
}

/// The keys of an `object.get` when they are written out.
fn known_keys(key: &Value) -> Option<Vec<Step>> {
    let keys = key
        .get("Array")
        .and_then(|list| list.get("items"))
        .and_then(Value::as_array);
    let known = |key| match link(key) {
        Link::Known(step @ Step::Field(_)) => Some(step),
        Link::Known(Step::Item(_)) | Link::Open(_) => None,
    };
    match keys {
        Some(keys) => keys.iter().map(known).collect(),
        None => known(key).map(|step| vec![step]),
    }
}

/// True when `object.get` may be something else: a package, a rule, an import or a target of `with` has that word in
/// its name.
fn renames_object_get(module: &Value) -> bool {
    let text = module
        .get("source")
        .and_then(|source| source.get("contents"))
        .and_then(Value::as_str);
    match (module.get("ast"), text) {
        (Some(tree), Some(text)) => gives_the_name(tree, text),
        (Some(_) | None, _) => true,
    }
}

fn gives_the_name(node: &Value, text: &str) -> bool {
    match node {
        Value::Object(fields) => {
            let is_part_of_reference = fields.contains_key("field") || fields.contains_key("index");
            let named = fields.get("refr").filter(|_| !is_part_of_reference);
            named.is_some_and(has_the_word)
                || fields
                    .get("as")
                    .is_some_and(|span| text_of(span, text) == Some("object"))
                || fields.values().any(|inner| gives_the_name(inner, text))
        }
        Value::Array(items) => items.iter().any(|item| gives_the_name(item, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn has_the_word(name: &Value) -> bool {
    reference(name).is_none_or(|name| {
        name.base.and_then(variable) == Some("object") || name.steps.contains(&Step::Field("object".into()))
    })
}

fn is_replacement(fields: &serde_json::Map<String, Value>) -> bool {
    ["refr", "as", "span"].iter().all(|key| fields.contains_key(*key))
}

/// The impure built-in that a reference names.
fn impure(name: &str, steps: &[Step]) -> Option<&'static str> {
    let mut words = vec![name];
    for step in steps {
        match step {
            Step::Field(field) => words.push(field),
            Step::Item(_) => return None,
        }
    }
    let written = words.join(".");
    IMPURE.into_iter().find(|builtin| *builtin == written)
}

#[cfg(test)]
#[path = "reads_tests.rs"]
mod tests;
