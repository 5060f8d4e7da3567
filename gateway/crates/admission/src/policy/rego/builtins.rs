//! The built-in functions that a policy may call here, and our guards around those that can panic or hang.
//!
//! The engine's built-ins are not interruptible: one call with a value from a request could hold a thread for
//! seconds, take all memory or panic. Those with a safe range of arguments are replaced by an extension of the same
//! name that checks the range and then asks the engine's own; the others are refused when the policy is loaded.

use std::sync::Arc;

use regorus::{Engine, Value};

use super::catalogue::{PLAIN, REFUSED};
use super::glob::{GlobCache, GlobFault};

/// Numbers in one `numbers.range`, addresses in one `net.cidr_expand`.
const MAX_LIST: u64 = 10_000;

/// Width or precision in one `sprintf` verb.
const MAX_FORMAT_DIGITS: usize = 3;

/// Bits that `bits.lsh` may shift by.
const MAX_SHIFT: u64 = 4_096;

/// Built-ins whose arguments are checked first, with their number of arguments and the check.
const CHECKED: [(&str, usize, Check); 6] = [
    ("bits.lsh", 2, check_shift),
    ("net.cidr_expand", 1, check_network),
    ("numbers.range", 2, check_range),
    ("numbers.range_step", 3, check_range),
    ("sprintf", 2, check_format),
    ("time.parse_ns", 2, check_layout),
];

/// Built-ins of our own, with their number of arguments.
const OWN: [(&str, usize); 4] = [
    ("glob.match", 3),
    ("glob.quote_meta", 1),
    ("object.subset", 2),
    ("strings.count", 2),
];

type Check = fn(&[Value]) -> Result<(), BuiltinFault>;

/// A built-in refused its arguments; the decision fails with it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum BuiltinFault {
    #[error("glob.match: {0}")]
    Glob(#[from] GlobFault),
    #[error("{name}: argument {position} is not {expected}")]
    Argument {
        name: &'static str,
        position: usize,
        expected: &'static str,
    },
    #[error("{name}: the result would be larger than a decision may build")]
    TooLarge { name: &'static str },
    #[error("{0}")]
    Engine(String),
}

/// What a call's name stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Builtin {
    /// It may be called with this many arguments, and with one more that receives the result when `takes_output`.
    Known { arguments: usize, takes_output: bool },
    /// It may not be called.
    Refused(&'static str),
    /// There is no such built-in.
    Unknown,
}

/// Looks up a built-in by its name.
pub(super) fn find(name: &str) -> Builtin {
    if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        return Builtin::Refused(why);
    }
    let own = OWN.iter().map(|(name, arguments)| (*name, *arguments));
    let checked = CHECKED.iter().map(|(name, arguments, _)| (*name, *arguments));
    if let Some((_, arguments)) = own.chain(checked).find(|(known, _)| *known == name) {
        return Builtin::Known {
            arguments,
            takes_output: false,
        };
    }
    match PLAIN.iter().find(|(known, _)| *known == name) {
        Some((_, arguments)) => Builtin::Known {
            arguments: *arguments,
            takes_output: true,
        },
        None => Builtin::Unknown,
    }
}

/// Registers our built-ins and our guards with an engine.
pub(super) fn register(engine: &mut Engine) -> Result<(), String> {
    let mut globs = GlobCache::default();
    let own: [(&str, Box<dyn regorus::Extension>); 4] = [
        (
            "glob.match",
            Box::new(move |arguments: Vec<Value>| Ok(glob_match(&mut globs, &arguments)?)),
        ),
        (
            "glob.quote_meta",
            Box::new(|arguments: Vec<Value>| Ok(quote_meta(&arguments)?)),
        ),
        (
            "object.subset",
            Box::new(|arguments: Vec<Value>| Ok(object_subset(&arguments)?)),
        ),
        (
            "strings.count",
            Box::new(|arguments: Vec<Value>| Ok(strings_count(&arguments)?)),
        ),
    ];
    for (name, extension) in own {
        let arguments = OWN
            .iter()
            .find(|(own, _)| *own == name)
            .map_or(0, |(_, arguments)| *arguments);
        add(engine, name, arguments, extension)?;
    }
    for (name, arguments, check) in CHECKED {
        let mut original = Original::new(name, arguments)?;
        let guarded = move |values: Vec<Value>| {
            check(&values)?;
            Ok(original.call(values)?)
        };
        add(engine, name, arguments, Box::new(guarded))?;
    }
    Ok(())
}

fn add(
    engine: &mut Engine,
    name: &str,
    arguments: usize,
    extension: Box<dyn regorus::Extension>,
) -> Result<(), String> {
    let arguments = u8::try_from(arguments).unwrap_or(u8::MAX);
    engine
        .add_extension(name.into(), arguments, extension)
        .map_err(|error| error.to_string())
}

/// The engine's own implementation of a built-in that an extension hides, asked through an engine of its own.
#[derive(Clone)]
struct Original(Engine);

impl Original {
    const RULE: &str = "data.original.result";

    fn new(name: &str, arguments: usize) -> Result<Self, String> {
        let inputs: Vec<String> = (0..arguments)
            .map(|position| format!("input[{position}]"))
            .collect();
        let text = format!("package original\nresult := {name}({})\n", inputs.join(", "));
        let mut engine = Engine::new();
        engine
            .add_policy(format!("{name}.rego"), text)
            .map_err(|error| error.to_string())?;
        Ok(Self(engine))
    }

    fn call(&mut self, arguments: Vec<Value>) -> Result<Value, BuiltinFault> {
        self.0.set_input(Value::from(arguments));
        let result = self.0.eval_rule(Self::RULE.into());
        self.0.set_input(Value::Null);
        result.map_err(|error| {
            let text = error.to_string();
            BuiltinFault::Engine(text.rsplit("error: ").next().unwrap_or_default().to_owned())
        })
    }
}

fn argument<'a, T>(
    name: &'static str,
    arguments: &'a [Value],
    position: usize,
    expected: &'static str,
    read: impl Fn(&'a Value) -> Option<T>,
) -> Result<T, BuiltinFault> {
    let fault = BuiltinFault::Argument {
        name,
        position: position.saturating_add(1),
        expected,
    };
    arguments.get(position).and_then(read).ok_or(fault)
}

fn text<'a>(
    name: &'static str,
    arguments: &'a [Value],
    position: usize,
) -> Result<&'a Arc<str>, BuiltinFault> {
    argument(name, arguments, position, "a string", |value| {
        value.as_string().ok()
    })
}

fn whole(name: &'static str, arguments: &[Value], position: usize) -> Result<i64, BuiltinFault> {
    argument(name, arguments, position, "an integer in range", |value| {
        value.as_i64().ok()
    })
}

fn check_shift(arguments: &[Value]) -> Result<(), BuiltinFault> {
    let bits = whole("bits.lsh", arguments, 1)?.unsigned_abs();
    if bits > MAX_SHIFT {
        Err(BuiltinFault::TooLarge { name: "bits.lsh" })
    } else {
        Ok(())
    }
}

fn check_network(arguments: &[Value]) -> Result<(), BuiltinFault> {
    const NAME: &str = "net.cidr_expand";
    let network: ipnet::IpNet = argument(NAME, arguments, 0, "a network", |value| {
        value.as_string().ok()?.parse().ok()
    })?;
    let host_bits = network.max_prefix_len().saturating_sub(network.prefix_len());
    let addresses = 1_u64.checked_shl(host_bits.into()).unwrap_or(u64::MAX);
    if addresses > MAX_LIST {
        Err(BuiltinFault::TooLarge { name: NAME })
    } else {
        Ok(())
    }
}

/// The same for `numbers.range_step`: a step only makes the list shorter.
fn check_range(arguments: &[Value]) -> Result<(), BuiltinFault> {
    const NAME: &str = "numbers.range";
    let (first, last) = (whole(NAME, arguments, 0)?, whole(NAME, arguments, 1)?);
    if first.abs_diff(last) >= MAX_LIST {
        return Err(BuiltinFault::TooLarge { name: NAME });
    }
    if arguments.len() > 2 && whole(NAME, arguments, 2)? < 1 {
        return Err(BuiltinFault::Argument {
            name: NAME,
            position: 3,
            expected: "a positive step",
        });
    }
    Ok(())
}

/// No run of digits in the format is long enough to be a width that fills the memory.
fn check_format(arguments: &[Value]) -> Result<(), BuiltinFault> {
    const NAME: &str = "sprintf";
    let mut verbs = text(NAME, arguments, 0)?.split('%').skip(1);
    let has_long_width = verbs.any(|verb| {
        verb.chars()
            .take_while(|c| c.is_numeric() || ".+-# ".contains(*c))
            .filter(|c| c.is_numeric())
            .count()
            > MAX_FORMAT_DIGITS
    });
    if has_long_width {
        Err(BuiltinFault::TooLarge { name: NAME })
    } else {
        Ok(())
    }
}

/// The engine cuts the layout at byte positions, which panics inside a longer character.
fn check_layout(arguments: &[Value]) -> Result<(), BuiltinFault> {
    argument("time.parse_ns", arguments, 0, "an ASCII layout", |value| {
        value.as_string().ok().filter(|layout| layout.is_ascii())
    })?;
    argument("time.parse_ns", arguments, 1, "an ASCII time", |value| {
        value.as_string().ok().filter(|time| time.is_ascii())
    })?;
    Ok(())
}

/// `glob.match(pattern, delimiters, text)`: no list means no delimiter, an empty list means the dot, as in OPA.
fn glob_match(globs: &mut GlobCache, arguments: &[Value]) -> Result<Value, BuiltinFault> {
    const NAME: &str = "glob.match";
    let pattern = text(NAME, arguments, 0)?;
    let delimiters = argument(
        NAME,
        arguments,
        1,
        "null or a list of single characters",
        |value| match value {
            Value::Null => Some(Vec::new()),
            Value::Array(list) if list.iter().next().is_none() => Some(vec!['.']),
            Value::Array(list) => list.iter().map(single_character).collect(),
            _ => None,
        },
    )?;
    let glob = globs.compiled(pattern, &delimiters)?;
    Ok(Value::Bool(glob.matches(text(NAME, arguments, 2)?)))
}

fn single_character(value: &Value) -> Option<char> {
    let mut chars = value.as_string().ok()?.chars();
    let only = chars.next()?;
    if chars.next().is_some() { None } else { Some(only) }
}

fn quote_meta(arguments: &[Value]) -> Result<Value, BuiltinFault> {
    let mut quoted = String::new();
    for c in text("glob.quote_meta", arguments, 0)?.chars() {
        if "*?\\[]{}".contains(c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    Ok(Value::from(quoted))
}

/// How often a text is found, without overlaps; an empty one is found around every character, as in OPA.
fn strings_count(arguments: &[Value]) -> Result<Value, BuiltinFault> {
    let (text, wanted) = (
        text("strings.count", arguments, 0)?,
        text("strings.count", arguments, 1)?,
    );
    let count = if wanted.is_empty() {
        text.chars().count().saturating_add(1)
    } else {
        text.matches(&**wanted).count()
    };
    Ok(Value::from(count))
}

/// Whether the second value is contained in the first, as OPA defines it for objects, sets and lists.
fn object_subset(arguments: &[Value]) -> Result<Value, BuiltinFault> {
    let outer = argument("object.subset", arguments, 0, "given", Some)?;
    let inner = argument("object.subset", arguments, 1, "given", Some)?;
    let is_subset = match (outer, inner) {
        (Value::Array(outer), Value::Set(inner)) => inner.iter().all(|item| outer.contains(item)),
        (Value::Object(_), Value::Object(_))
        | (Value::Set(_), Value::Set(_))
        | (Value::Array(_), Value::Array(_)) => is_subset(outer, inner),
        _ => {
            return Err(BuiltinFault::Argument {
                name: "object.subset",
                position: 2,
                expected: "of the kind of the first",
            });
        }
    };
    Ok(Value::Bool(is_subset))
}

fn is_subset(outer: &Value, inner: &Value) -> bool {
    match (outer, inner) {
        (Value::Object(outer), Value::Object(inner)) => inner
            .iter()
            .all(|(key, value)| outer.get(key).is_some_and(|found| is_subset(found, value))),
        (Value::Set(outer), Value::Set(inner)) => inner.iter().all(|item| outer.contains(item)),
        (Value::Array(outer), Value::Array(inner)) => {
            let (outer, inner) = (outer.to_vec(), inner.to_vec());
            inner.is_empty()
                || outer
                    .windows(inner.len())
                    .any(|window| window == inner.as_slice())
        }
        _ => outer == inner,
    }
}

#[cfg(test)]
#[path = "builtins_tests.rs"]
mod tests;
