//! The one way from a path to a plan; `check`, `run`, `explain` and reload all take it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_model::{Origin, Problem, Problems};
use portcullis_pipeline::plan::GatewayPlan;

use crate::boot::BootPlan;
use crate::file::GatewayFile;
use crate::file::section::Read as _;
use crate::file::tree::{self, Entry, Node, NodeKind};
use crate::link;
use crate::resolve;
use crate::sources::{Files, MAX_CONFIG, MAX_CONFIG_FILE, Sources};
use crate::state_dir::STATE_DIR;

/// How to load.
#[derive(Clone)]
pub struct LoadOptions<'a> {
    /// Private keys, secrets and environment variables may be missing: they are warned about and left out.
    pub offline: bool,
    /// The region of this gateway; wins over `gateway.region`.
    pub region: Option<String>,
    /// Looks up an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

/// A configuration that is valid, for a machine that may lack something.
#[derive(Debug)]
pub struct Loaded {
    /// What is fixed until restart.
    pub boot: BootPlan,
    /// What may change while the gateway runs.
    pub live: Arc<GatewayPlan>,
    /// What is probably not meant.
    pub warnings: Problems,
    /// Errors that lie in this machine, not in the files: nothing is served with them, but compiling goes on, so that
    /// they hide nothing that is wrong with the files.
    pub unfit: Problems,
    /// Every file that was read.
    pub sources: Sources,
    /// A short hash of everything that was read.
    pub revision: String,
}

/// A configuration that is refused, with all of its problems.
#[derive(Debug)]
pub struct Refused {
    /// All of them; at least one is an error.
    pub problems: Problems,
    /// Every file that was read, for the snippets.
    pub sources: Sources,
}

impl Refused {
    /// The same with the files of the configuration that named what is refused, for the snippets.
    #[must_use]
    pub fn with_sources_of(mut self, loaded: &Loaded) -> Self {
        self.sources.extend(loaded.sources.clone());
        self
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has problems\n{}", self.problems)
    }
}

impl std::error::Error for Refused {}

/// Reads a file, or a directory whose files are merged by section, into a plan.
///
/// # Errors
/// Returns every problem found, when at least one of them is an error.
pub fn load(source: &Path, options: &LoadOptions<'_>) -> Result<Loaded, Refused> {
    let mut files = Files::new(options.offline, options.env);
    let mut problems = Problems::new();
    let plans = read(source, &mut files, &mut problems)
        .and_then(|file| plans(&file, options.region.as_deref(), &mut files, &mut problems));
    let (revision, sources) = files.finish();
    sort(&mut problems);
    let unfit = take_unfit(&mut problems);
    match plans {
        Some((boot, live)) if !problems.has_errors() => Ok(Loaded {
            boot,
            live: Arc::new(live),
            warnings: problems,
            unfit,
            sources,
            revision,
        }),
        Some(_) | None => {
            problems.extend(unfit);
            sort(&mut problems);
            Err(Refused { problems, sources })
        }
    }
}

/// Takes out what does not keep a plan from being compiled.
fn take_unfit(problems: &mut Problems) -> Problems {
    let (mut unfit, mut rest) = (Problems::new(), Problems::new());
    for problem in std::mem::take(problems) {
        if problem.code == STATE_DIR {
            unfit.push(problem);
        } else {
            rest.push(problem);
        }
    }
    *problems = rest;
    unfit
}

fn plans(
    file: &GatewayFile,
    region: Option<&str>,
    files: &mut Files<'_>,
    problems: &mut Problems,
) -> Option<(BootPlan, GatewayPlan)> {
    let region = link::local_region(file, region, problems);
    link::check(file, region.as_ref(), problems);
    resolve::plans(file, &region?, files, problems)
}

/// Problems in the order in which an operator reads the files.
fn sort(problems: &mut Problems) {
    let mut all: Vec<Problem> = std::mem::take(problems).into_iter().collect();
    all.sort_by(|left, right| {
        let key = |problem: &Problem| {
            (
                problem.origin.file.clone(),
                problem.origin.line,
                problem.origin.column,
            )
        };
        key(left).cmp(&key(right))
    });
    for problem in all {
        problems.push(problem);
    }
}

fn read(source: &Path, files: &mut Files<'_>, problems: &mut Problems) -> Option<GatewayFile> {
    let name: Arc<str> = Arc::from(source.to_string_lossy().as_ref());
    let here = Origin {
        file: Arc::clone(&name),
        ..Origin::default()
    };
    let paths = if source.is_dir() {
        list(source, files, &here, problems)?
    } else {
        vec![source.to_owned()]
    };
    let mut merged: Option<Node> = None;
    let mut size = 0;
    for path in paths {
        let name: Arc<str> = Arc::from(path.to_string_lossy().as_ref());
        let origin = Origin {
            file: Arc::clone(&name),
            ..Origin::default()
        };
        let kind = ("configuration file", MAX_CONFIG_FILE);
        let Some(text) = files.document(&name, kind, &origin, problems) else {
            continue;
        };
        size += text.len();
        if size > MAX_CONFIG {
            let message = format!("the files are larger than {} MiB together", MAX_CONFIG >> 20);
            problems.push(Problem::error("too-large", &here, message));
            return None;
        }
        match tree::parse(&text, &name, problems) {
            Ok(Some(node)) => merge(&mut merged, node, problems),
            Ok(None) => problems.push(Problem::error("empty-file", &origin, "the file is empty")),
            Err(problem) => problems.push(*problem),
        }
    }
    let root = merged?;
    let origin = root.place.origin("");
    GatewayFile::read(&root, &origin, problems)
}

fn list(
    source: &Path,
    files: &mut Files<'_>,
    here: &Origin,
    problems: &mut Problems,
) -> Option<Vec<PathBuf>> {
    match files.folder(source, &[".yaml", ".yml"]) {
        Ok(paths) if paths.is_empty() => {
            let problem = Problem::error("empty-file", here, "the directory has no configuration file");
            problems.push(problem.with_hint("its files end with `.yaml` or `.yml`"));
            None
        }
        Ok(paths) => Some(paths),
        Err(error) => {
            problems.push(Problem::error(
                "unreadable-file",
                here,
                format!("cannot read the directory: {error}"),
            ));
            None
        }
    }
}

/// Adds a file's sections to those of the files before it; a name may stand in one of them only.
fn merge(into: &mut Option<Node>, node: Node, problems: &mut Problems) {
    let Some(root) = into else {
        *into = Some(node);
        return;
    };
    let place = node.place.clone();
    let (NodeKind::Mapping(sections), NodeKind::Mapping(added)) = (&mut root.kind, node.kind) else {
        let message = "expected keys with values, found something else";
        problems.push(Problem::error("wrong-type", &place.origin(""), message));
        return;
    };
    for entry in added {
        match sections.iter_mut().find(|section| section.key == entry.key) {
            None => sections.push(entry),
            Some(section) => merge_section(section, entry, problems),
        }
    }
}

fn merge_section(section: &mut Entry, added: Entry, problems: &mut Problems) {
    match (&mut section.value.kind, added.value.kind) {
        (NodeKind::Mapping(names), NodeKind::Mapping(more)) => {
            for entry in more {
                match names.iter().find(|name| name.key == entry.key) {
                    None => names.push(entry),
                    Some(first) => {
                        let path = tree::join(&added.key, &entry.key);
                        problems.push(twice(&entry.key, &entry.place.origin(path), &first.place));
                    }
                }
            }
        }
        (NodeKind::Sequence(items), NodeKind::Sequence(more)) => items.extend(more),
        (NodeKind::Scalar { text, .. }, NodeKind::Scalar { text: other, .. }) if *text == other => {}
        _ => {
            let problem = twice(
                &added.key,
                &added.place.origin(added.key.as_str()),
                &section.place,
            );
            problems.push(problem);
        }
    }
}

fn twice(name: &str, origin: &Origin, first: &tree::Place) -> Problem {
    Problem::error(
        "duplicate-name",
        origin,
        format!("{name:?} is defined a second time"),
    )
    .with_hint(format!(
        "the first one is in {} on line {}",
        first.file, first.line
    ))
}
