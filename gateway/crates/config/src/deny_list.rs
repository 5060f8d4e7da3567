//! The deny list: a file of its own, because a revocation must not wait for a sound configuration.
//!
//! The app reads it at the start, where a wrong one is a problem like any other, and again whenever it changes, where
//! a wrong one leaves the last good list in force. Entries of the admin port are read by the same rules.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use portcullis_identity::deny::{DenyEntry, DenyKind, DenyName, DenyNameFault, DenySource};
use portcullis_identity::plan::IdentityPlan;
use portcullis_model::{Origin, Problem, Problems};
use portcullis_pipeline::plan::DenyListPlan;

use crate::file::denials::{AnyName, Denial};
use crate::file::guards::exactly_one;
use crate::file::section::{Key, Read as _};
use crate::file::tree::{self, Node, Stop};
use crate::load::Refused;
use crate::sources::Files;

mod json;
mod lines;

/// Most entries of a file.
pub const MAX_DENY_ENTRIES: usize = 1_000_000;
/// The largest file: room for that many entries with a long name each.
const MAX_DENY_FILE: u64 = 128 << 20;
/// A file with more problems than this is not the file that was meant; who corrects it needs no longer list.
const MOST_PROBLEMS: usize = 100;
/// Reasons and names that entries share, so that a million of them hold each once.
const MOST_SHARED: usize = 1_024;

/// Reads the file that `revocation.deny_list` names.
///
/// # Errors
/// Returns its problems, at most about a hundred, with the file's text for the snippets.
pub fn read_deny_list(plan: &DenyListPlan) -> Result<Vec<DenyEntry>, Refused> {
    let name: Arc<str> = Arc::from(plan.path.to_string_lossy().as_ref());
    let mut problems = Problems::new();
    let mut files = Files::new(false, &|_| None);
    let kind = ("deny list", MAX_DENY_FILE);
    let entries = files
        .bytes(&name, kind, &plan.origin, &mut problems)
        .and_then(|bytes| match String::from_utf8(bytes) {
            Ok(text) => {
                let entries = entries(&text, &name, &mut problems);
                if !problems.has_errors() && !is_finished(&text) {
                    problems.push(unfinished(&text, &name));
                }
                if problems.has_errors() {
                    files.sources.show(&name, text.into());
                }
                entries
            }
            Err(_) => {
                let message = format!("deny list {:?} is not UTF-8 text", name.as_ref());
                problems.push(Problem::error("unreadable-file", &plan.origin, message));
                None
            }
        });
    match entries {
        Some(entries) if !problems.has_errors() => Ok(entries),
        Some(_) | None => Err(Refused {
            problems,
            sources: files.finish().1,
        }),
    }
}

/// Reads one entry as the admin port gets it, a JSON object of texts; its source is the admin port.
///
/// # Errors
/// Returns what is wrong with it.
pub fn read_deny_entry(text: &str) -> Result<DenyEntry, Problems> {
    let mut problems = Problems::new();
    let name: Arc<str> = Arc::from("entry");
    if text.trim_ascii().is_empty() {
        return Err(Problem::error("empty-file", &Origin::default(), "there is no entry").into());
    }
    let node = json::read(text, &name).map_err(|problem| *problem)?;
    let origin = node.place.origin("");
    let entry = Reader::default().entry(&node, &origin, &mut problems);
    match entry {
        Some(entry) if !problems.has_errors() => Ok(DenyEntry {
            source: DenySource::Admin {
                id: Arc::from(entry.name.id()),
            },
            ..entry
        }),
        Some(_) | None => Err(problems),
    }
}

/// Reads entries that the admin port's side wrote down before a restart: a JSON list.
///
/// # Errors
/// Returns what is wrong with them.
pub fn read_kept_entries(text: &str) -> Result<Vec<DenyEntry>, Problems> {
    let mut problems = Problems::new();
    let read = entries(text, &Arc::from("deny.json"), &mut problems);
    let from_admin = |entry: DenyEntry| DenyEntry {
        source: DenySource::Admin {
            id: Arc::from(entry.name.id()),
        },
        ..entry
    };
    match read {
        Some(entries) if !problems.has_errors() => Ok(entries.into_iter().map(from_admin).collect()),
        Some(_) | None => Err(problems),
    }
}

/// Warns of entries that deny nobody: those within an issuer or a trust that the configuration does not have, and
/// those that name a user as the access log does, with the issuer before the subject.
#[must_use]
pub fn unknown_names(entries: &[DenyEntry], identity: &IdentityPlan) -> Problems {
    let issuers: BTreeSet<&str> = identity.issuers.iter().map(|issuer| issuer.id.as_str()).collect();
    let trusts: BTreeSet<&str> = identity.trust.iter().map(|trust| trust.id.as_str()).collect();
    let mut said = BTreeSet::new();
    let mut problems = Problems::new();
    let mut as_logged = 0;
    for entry in entries {
        if as_logged < MOST_PROBLEMS
            && let Some(warning) = named_as_logged(entry, &issuers)
        {
            as_logged += 1;
            problems.push(warning);
            continue;
        }
        let Some(within) = entry.name.within() else {
            continue;
        };
        let (kind, known) = match entry.name.kind() {
            DenyKind::Jti | DenyKind::Sub | DenyKind::Sid => ("issuer", &issuers),
            DenyKind::Serial | DenyKind::Spiffe => ("trust", &trusts),
        };
        if known.contains(&**within) || said.len() >= MOST_PROBLEMS || !said.insert((kind, within)) {
            continue;
        }
        let message = format!(
            "the configuration has no {kind} {:?}: this entry denies nobody",
            &**within
        );
        let known: Vec<&str> = known.iter().copied().collect();
        let hint = match known.as_slice() {
            [] => format!("it has no {kind} at all"),
            known => format!("there are {}", known.join(", ")),
        };
        problems.push(Problem::warning("unknown-reference", &entry.origin(), message).with_hint(hint));
    }
    problems
}

/// `corp:alice` is how the log writes a principal; no token of the issuer `corp` has it as its `sub`.
fn named_as_logged(entry: &DenyEntry, issuers: &BTreeSet<&str>) -> Option<Problem> {
    if entry.name.kind() != DenyKind::Sub {
        return None;
    }
    let (issuer, subject) = entry.name.value().split_once(':')?;
    issuers.contains(issuer).then(|| {
        let message = format!(
            "{:?} is a user as the access log writes one, issuer and `sub`: this entry denies nobody",
            tree::shorten(entry.name.value())
        );
        let subject = tree::shorten(subject);
        Problem::warning("principal-as-sub", &entry.origin(), message).with_hint(format!(
            "write `--sub {subject} --issuer {issuer}`, in a file `{{ sub: {subject}, issuer: {issuer} }}`"
        ))
    })
}

fn entries(text: &str, name: &Arc<str>, problems: &mut Problems) -> Option<Vec<DenyEntry>> {
    lines::read(text, name).or_else(|| read_yaml(text, name, problems))
}

/// False when the last line is not ended, and what comes next in it could be missing: `- sub: ali` is a good entry,
/// and not the one that was meant. A list in brackets ends with its own.
fn is_finished(text: &str) -> bool {
    let mut content = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with(['#', '%']) && *line != "---");
    text.ends_with('\n') || content.next().is_some_and(|line| line.starts_with('['))
}

fn unfinished(text: &str, name: &Arc<str>) -> Problem {
    let last = Origin {
        file: Arc::clone(name),
        line: u32::try_from(text.lines().count()).unwrap_or(u32::MAX),
        column: 1,
        ..Origin::default()
    };
    Problem::error(
        "unfinished-file",
        &last,
        "the last line of the deny list is not ended",
    )
    .with_hint("end it with a newline, and write the file aside and rename it, so that no part of it is read")
}

fn read_yaml(text: &str, name: &Arc<str>, problems: &mut Problems) -> Option<Vec<DenyEntry>> {
    let mut reader = Reader::default();
    let mut entries = Vec::new();
    let read = tree::each_item(text, name, problems, |index, node, problems| {
        if index >= MAX_DENY_ENTRIES {
            let message = format!("more than {MAX_DENY_ENTRIES} entries");
            return Err(Stop::new(Problem::error(
                "too-large",
                &node.place.origin(""),
                message,
            )));
        }
        let origin = node.place.origin(format!("[{index}]"));
        entries.extend(reader.entry(node, &origin, problems));
        if problems.iter().len() >= MOST_PROBLEMS {
            let message = "that many problems are enough: the rest of the file is not looked at";
            return Err(Stop::new(Problem::error("too-many-problems", &origin, message)));
        }
        Ok(())
    });
    match read {
        Ok(true) => Some(entries),
        Ok(false) => {
            // A file that was truncated to be written anew is empty for a moment, and nobody's revocation may end there.
            let here = Origin {
                file: Arc::clone(name),
                ..Origin::default()
            };
            problems.push(
                Problem::error("empty-file", &here, "the deny list is empty")
                    .with_hint("a list without entries is `[]`"),
            );
            None
        }
        Err(stop) => {
            problems.push(*stop);
            None
        }
    }
}

/// Texts that many entries have in common, each held once.
#[derive(Default)]
struct Shared(HashSet<Arc<str>>);

impl Shared {
    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(shared) = self.0.get(text) {
            return Arc::clone(shared);
        }
        let text = Arc::from(text);
        if self.0.len() < MOST_SHARED {
            self.0.insert(Arc::clone(&text));
        }
        text
    }
}

/// Reads entries from nodes.
#[derive(Default)]
struct Reader {
    shared: Shared,
}

impl Reader {
    fn entry(&mut self, node: &Node, origin: &Origin, problems: &mut Problems) -> Option<DenyEntry> {
        let denial = Denial::read(node, origin, problems)?;
        let name = self.name(&denial, origin, problems)?;
        let is_whole = !matches!(denial.until, Key::Broken) && !matches!(denial.reason, Key::Broken);
        is_whole.then(|| DenyEntry {
            name,
            until: denial.until.get().map(|until| until.0),
            reason: denial.reason.get().map(|reason| self.shared.text(&reason.0)),
            source: DenySource::File {
                file: Arc::clone(&origin.file),
                line: origin.line,
                column: origin.column,
            },
        })
    }

    fn name(&mut self, denial: &Denial, origin: &Origin, problems: &mut Problems) -> Option<DenyName> {
        let keys: [(DenyKind, &Key<AnyName>); 5] = [
            (DenyKind::Jti, &denial.jti),
            (DenyKind::Sub, &denial.sub),
            (DenyKind::Sid, &denial.sid),
            (DenyKind::Serial, &denial.serial),
            (DenyKind::Spiffe, &denial.spiffe),
        ];
        let written = keys.map(|(kind, key)| (kind.as_str(), !key.is_absent()));
        let chosen = exactly_one(&written, denial.has_refused_keys, origin, problems)?;
        let (kind, key) = keys.get(chosen)?;
        let within = self.within(*kind, denial, problems)?;
        let value = key.at()?;
        match DenyName::parse(*kind, &value.value.0, within) {
            Ok(name) => Some(name),
            Err(fault) => {
                problems.push(flawed(&value.value.0, fault, &value.origin));
                None
            }
        }
    }

    /// What narrows the name; `None` for one that does not belong there.
    fn within(
        &mut self,
        kind: DenyKind,
        denial: &Denial,
        problems: &mut Problems,
    ) -> Option<Option<Arc<str>>> {
        let (fitting, wrong, hint) = match kind {
            DenyKind::Jti | DenyKind::Sub | DenyKind::Sid => (
                Some(&denial.issuer),
                [("trust", &denial.trust)].to_vec(),
                "tokens are narrowed by `issuer`",
            ),
            DenyKind::Serial => (
                Some(&denial.trust),
                [("issuer", &denial.issuer)].to_vec(),
                "certificates are narrowed by `trust`, the name of an entry there",
            ),
            DenyKind::Spiffe => (
                None,
                [("issuer", &denial.issuer), ("trust", &denial.trust)].to_vec(),
                "a SPIFFE ID says its trust domain itself",
            ),
        };
        for (name, key) in wrong {
            if let Some(at) = key.at() {
                let message = format!("`{name}` does not go with `{}`", kind.as_str());
                problems.push(Problem::error("conflicting-keys", &at.origin, message).with_hint(hint));
                return None;
            }
        }
        match fitting {
            None | Some(Key::Absent) => Some(None),
            Some(Key::Broken) => None,
            Some(Key::Is(at)) => Some(Some(self.shared.text(&at.value.0))),
        }
    }
}

fn flawed(text: &str, fault: DenyNameFault, origin: &Origin) -> Problem {
    let problem = Problem::error("bad-value", origin, format!("{:?} {fault}", tree::shorten(text)));
    match fault {
        DenyNameFault::Serial => {
            problem.with_hint("write it as `openssl x509 -serial` prints it, in quotes: \"0A:1B:2C\"")
        }
        DenyNameFault::NotSpiffe => problem.with_hint("write it like spiffe://corp.example/billing"),
        DenyNameFault::DomainAlone => problem.with_hint(format!("the whole trust domain is {text}/**")),
        DenyNameFault::Wildcard => {
            problem.with_hint("the last segment may be `*` (any one segment) or `**` (one or more)")
        }
        DenyNameFault::Empty | DenyNameFault::TooLong | DenyNameFault::Control | DenyNameFault::Within => {
            problem
        }
    }
}

#[cfg(test)]
#[path = "deny_list_tests.rs"]
mod tests;
