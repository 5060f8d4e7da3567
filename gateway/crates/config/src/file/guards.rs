//! The words that every guard has, and how one is referred to.

use portcullis_model::{Guard, Mode, Origin, Problem, Problems};
use serde_json::{Value, json};

use super::section::{At, Definitions, Key, Read, section, words};
use super::tree::{Node, NodeKind};
use super::units::GuardShare;

words! { Mode { "off" => Self::Off, "observe" => Self::Observe, "enforce" => Self::Enforce } }

/// The guard that `mode` and `percent` say; `None` when neither is written.
pub(crate) fn guard(mode: &Key<Mode>, percent: &Key<GuardShare>) -> Option<Guard> {
    if mode.is_absent() && percent.is_absent() {
        return None;
    }
    Some(Guard {
        mode: mode.or(Mode::Enforce),
        share: percent.get().map_or(Guard::FULL_SHARE, |share| share.0),
    })
}

section! {
    /// A guard by its name, softened here.
    struct GuardReferenceKeys {
        /// The guard's name.
        required name: String,
        /// `off`, `observe` or `enforce`; never sharper than the definition.
        optional mode: Mode,
        /// The share of requests it holds for; all by default.
        optional percent: GuardShare,
    }
}

/// A guard by its name: `baseline`, or `{ name: baseline, mode: observe, percent: 10 }`.
#[derive(Debug)]
pub(crate) struct GuardReference {
    pub(crate) name: At<String>,
    pub(crate) guard: Option<Guard>,
}

impl Read for GuardReference {
    fn read(node: &Node, origin: &Origin, problems: &mut Problems) -> Option<Self> {
        if let NodeKind::Mapping(_) = &node.kind {
            let keys = GuardReferenceKeys::read(node, origin, problems)?;
            return Some(Self {
                name: keys.name.at()?.clone(),
                guard: guard(&keys.mode, &keys.percent),
            });
        }
        let name = String::read(node, origin, problems)?;
        Some(Self {
            name: At::new(name, origin.clone()),
            guard: None,
        })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({ "anyOf": [{ "type": "string", "minLength": 1 }, GuardReferenceKeys::schema(definitions)] })
    }
}

/// Exactly one of some keys must be written; says which it is by its position. A section with refused keys is not
/// told that one is missing: it may be the refused one.
pub(crate) fn exactly_one(
    written: &[(&'static str, bool)],
    has_refused_keys: bool,
    origin: &Origin,
    problems: &mut Problems,
) -> Option<usize> {
    let mut present = written
        .iter()
        .enumerate()
        .filter(|(_, (_, is_written))| *is_written);
    let list = || {
        written
            .iter()
            .map(|(name, _)| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    match (present.next(), present.next()) {
        (Some((index, _)), None) => Some(index),
        (None, _) if has_refused_keys => None,
        (None, _) => {
            problems.push(Problem::error(
                "missing-key",
                origin,
                format!("one of {} is missing", list()),
            ));
            None
        }
        (Some((_, (first, _))), Some((_, (second, _)))) => {
            let message = format!("`{first}` and `{second}` exclude each other");
            problems.push(
                Problem::error("conflicting-keys", origin, message)
                    .with_hint(format!("give one of {}", list())),
            );
            None
        }
    }
}
