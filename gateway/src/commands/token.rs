//! `token`: which check of a token fails, what would pass, and who it proves; judged by what judges the traffic.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use portcullis_config::{Loaded, Refused};
use portcullis_identity::plan::{IdentityPlan, IssuerKind, IssuerPlan, KeySource};
use portcullis_identity::{
    Authenticator, Boards, Clock, IdentityRuntime, KeyFetch, Scheme, TokenExamination,
};
use portcullis_model::{IssuerId, Problems};
use portcullis_telemetry::timestamp::rfc3339;
use serde_json::{Value, json};
use thiserror::Error;

use super::checks::{self, Check};
use super::input::{self, InputFault};
use super::{Exit, check, fail};
use crate::adapters::http_fetch::{ClientFault, HttpFetch};
use crate::admin::views::place;
use crate::app::egress_rules;
use crate::cli::{Format, TokenArgs};
use crate::configuration::{NoFetch, Selection};
use crate::output::{Output, chain};

/// The largest file that is read: what is no token should be told so, and not read for minutes.
const MAX_FILE: u64 = 1024 * 1024;

/// Why there is no examination.
#[derive(Debug, Error)]
enum TokenFault {
    #[error(transparent)]
    Input(#[from] InputFault),
    #[error("the file holds bytes that no token has")]
    NotText,
    #[error("no issuer \"{0}\" (there are {1})")]
    UnknownIssuer(String, String),
    #[error("the configuration names no token issuer")]
    NoIssuers,
    #[error(transparent)]
    Client(#[from] ClientFault),
    #[error("cannot start a runtime")]
    Runtime(#[source] std::io::Error),
    #[error("the issuers cannot be used: {0}")]
    Issuers(String),
    #[error("the configuration has problems")]
    Refused(Box<Refused>),
}

/// `token`: exit 0 when the token is accepted, 1 when it is refused, 2 when it was not judged.
pub(super) fn token(args: &TokenArgs, output: &mut Output) -> Exit {
    let selection = match Selection::from_args(&args.config, true) {
        Ok(selection) => selection,
        Err(fault) => return usage(&fault.to_string(), args.format, output),
    };
    let loaded = match selection.load() {
        Ok(loaded) => loaded,
        Err(refused) => {
            check::print(&refused.problems, &refused.sources, args.format, output);
            return Exit::Usage;
        }
    };
    let found = match examine(args, &selection, &loaded) {
        Ok(found) => found,
        Err(TokenFault::Refused(refused)) => {
            check::print(&refused.problems, &refused.sources, args.format, output);
            return Exit::Usage;
        }
        Err(fault) => return usage(&chain(&fault), args.format, output),
    };
    match args.format {
        Format::Json => output.json(&found.view()),
        Format::Text => output.text(found.text()),
    }
    match found.examination.verdict {
        Ok(_) => Exit::Clean,
        Err(_) if found.examination.is_judged() => Exit::Problems,
        Err(_) => Exit::Usage,
    }
}

fn usage(text: &str, format: Format, output: &mut Output) -> Exit {
    fail("not-judged", text, format, output);
    Exit::Usage
}

/// An examination and what was done for it.
struct Found {
    at: SystemTime,
    examination: TokenExamination,
    /// The keys that were fetched, and what came of it.
    fetched: Vec<String>,
    would_have_fetched: Vec<String>,
}

fn examine(args: &TokenArgs, selection: &Selection, loaded: &Loaded) -> Result<Found, TokenFault> {
    let text = String::from_utf8(input::read(&args.file, MAX_FILE)?).map_err(|_| TokenFault::NotText)?;
    let text = bare(&text);
    let at = args.at.unwrap_or_else(SystemTime::now);
    let plan = &loaded.live.identity;
    let issuers = asked(plan, args.issuer.as_deref())?;

    // Whom the token names is found first, so that no other issuer is called.
    let (runtime, boards) = compiled(plan, &issuers, Arc::new(NoFetch))?;
    selection
        .deny_list(loaded, &boards)
        .map_err(Box::new)
        .map_err(TokenFault::Refused)?;
    let mut found = Found {
        at,
        examination: authenticator(&runtime, &issuers)?.examine(text, at),
        fetched: Vec::new(),
        would_have_fetched: Vec::new(),
    };
    let named = found.examination.issuer.clone();
    let Some(issuer) = issuers.into_iter().find(|one| Some(&one.id) == named.as_ref()) else {
        return Ok(found);
    };
    let Some(source) = fetched_from(&issuer) else {
        return Ok(found);
    };
    if args.offline || matches!(issuer.keys, KeySource::WorkloadApi(_)) {
        found.would_have_fetched.push(source);
        return Ok(found);
    }
    let fetch = HttpFetch::new(egress_rules(&loaded.live, &loaded.boot))?;
    let issuers = [issuer];
    let (runtime, boards) = compiled(plan, &issuers, Arc::new(fetch))?;
    selection
        .deny_list(loaded, &boards)
        .map_err(Box::new)
        .map_err(TokenFault::Refused)?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(TokenFault::Runtime)?
        .block_on(boards.keys.finish_due(Instant::now()));
    found.examination = authenticator(&runtime, &issuers)?.examine(text, at);
    let status = runtime.issuers_status().into_iter().next();
    let outcome = status.map_or_else(String::new, |status| match status.last_fault {
        None => format!("{} keys", status.keys),
        Some(fault) => fault,
    });
    found.fetched.push(format!("{source}: {outcome}"));
    Ok(found)
}

/// The token alone: people copy the field with its scheme, and editors end files with a line.
fn bare(text: &str) -> &str {
    let text = text.trim();
    let scheme = text
        .get(..7)
        .filter(|scheme| scheme.eq_ignore_ascii_case("bearer "));
    scheme.map_or(text, |scheme| {
        text.get(scheme.len()..).unwrap_or_default().trim_start()
    })
}

/// The issuers by whose rules the token may be judged.
fn asked(plan: &IdentityPlan, name: Option<&str>) -> Result<Vec<IssuerPlan>, TokenFault> {
    if plan.issuers.is_empty() {
        return Err(TokenFault::NoIssuers);
    }
    let Some(name) = name else {
        return Ok(plan.issuers.clone());
    };
    let found: Vec<IssuerPlan> = plan
        .issuers
        .iter()
        .filter(|one| one.id.as_str() == name)
        .cloned()
        .collect();
    if found.is_empty() {
        let known: Vec<&str> = plan.issuers.iter().map(|one| one.id.as_str()).collect();
        return Err(TokenFault::UnknownIssuer(name.to_owned(), known.join(", ")));
    }
    Ok(found)
}

/// These issuers and nothing else of the plan, over a fetch.
fn compiled(
    plan: &IdentityPlan,
    issuers: &[IssuerPlan],
    fetch: Arc<dyn KeyFetch>,
) -> Result<(IdentityRuntime, Boards), TokenFault> {
    let boards = Boards::new(fetch, Clock::new(Instant::now, SystemTime::now));
    let only = IdentityPlan {
        issuers: issuers.to_vec(),
        workload_api: plan.workload_api,
        ..IdentityPlan::default()
    };
    let (runtime, _) = portcullis_identity::compile(&only, None, &boards).map_err(unusable)?;
    Ok((runtime, boards))
}

fn authenticator(runtime: &IdentityRuntime, issuers: &[IssuerPlan]) -> Result<Authenticator, TokenFault> {
    let schemes: Vec<Scheme> = issuers
        .iter()
        .map(|issuer| Scheme::Jwt(issuer.id.clone(), issuer.origin.clone()))
        .collect();
    runtime.authenticator(&schemes).map_err(unusable)
}

fn unusable(problems: Problems) -> TokenFault {
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    TokenFault::Issuers(problems.join("; "))
}

/// Where an issuer's keys come from, when they are not part of the configuration.
pub(super) fn fetched_from(issuer: &IssuerPlan) -> Option<String> {
    let id: &IssuerId = &issuer.id;
    match (&issuer.keys, &issuer.kind) {
        (KeySource::Document(_), _) => None,
        (KeySource::Url(url), _) => Some(format!("the keys of issuer \"{id}\" from {url}")),
        (KeySource::WorkloadApi(domain), _) | (KeySource::Discovery, IssuerKind::Spiffe(domain)) => {
            Some(format!("the keys of {domain} from the Workload API"))
        }
        (KeySource::Discovery, IssuerKind::Url(issuer)) => {
            let issuer = issuer.trim_end_matches('/');
            Some(format!(
                "the keys of issuer \"{id}\" by {issuer}/.well-known/openid-configuration"
            ))
        }
    }
}

impl Found {
    fn checks(&self) -> Vec<Check> {
        self.examination.checks.iter().map(Check::from).collect()
    }

    fn view(&self) -> Value {
        let principal = self.examination.verdict.as_ref().ok().map(|principal| {
            let attributes = &principal.attributes;
            json!({
                "name": principal.to_string(),
                "tenant": attributes.tenant,
                "roles": attributes.roles,
                "scopes": attributes.scopes,
                "region": attributes.region,
                "expires_at": principal.expires_at.map(|at| rfc3339(at).to_string()),
            })
        });
        let refused = self.examination.verdict.as_ref().err();
        json!({
            "verdict": match (refused, self.examination.is_judged()) {
                (None, _) => "accepted",
                (Some(_), true) => "refused",
                (Some(_), false) => "not judged",
            },
            "reason": refused.map(|reason| reason.code()),
            "issuer": self.examination.issuer,
            "written": self.examination.by.as_ref().and_then(place),
            "at": rfc3339(self.at).to_string(),
            "checks": self.checks(),
            "principal": principal,
            "fetched": self.fetched,
            "would_have_fetched": self.would_have_fetched,
        })
    }

    fn text(&self) -> String {
        let issuer = match (
            &self.examination.issuer,
            self.examination.by.as_ref().and_then(place),
        ) {
            (Some(issuer), Some(place)) => format!("by the rules of issuer {issuer} ({place})"),
            (Some(issuer), None) => format!("by the rules of issuer {issuer}"),
            (None, _) => "by no issuer of this configuration".to_owned(),
        };
        let mut text = format!("A token judged {issuer} as of {}\n\n", rfc3339(self.at));
        text.push_str(&checks::text(&self.checks(), 2));
        text.push('\n');
        match &self.examination.verdict {
            Ok(principal) => {
                let attributes = &principal.attributes;
                text.push_str(&format!(
                    "Accepted: {} {}\n",
                    principal.kind(),
                    checks::printable(&principal.to_string())
                ));
                for (name, value) in [
                    ("tenant", attributes.tenant.as_deref().unwrap_or("-").to_owned()),
                    ("region", attributes.region.as_deref().unwrap_or("-").to_owned()),
                    ("roles", list(&attributes.roles)),
                    ("scopes", list(&attributes.scopes)),
                ] {
                    text.push_str(&format!("  {name:<6}  {}\n", checks::printable(&value)));
                }
            }
            Err(reason) if self.examination.is_judged() => {
                text.push_str(&format!("Refused with {}: {}.\n", reason.code(), reason.title()));
            }
            Err(_) => text.push_str(
                "Not judged: the keys that decide it are not known here. `portcullis cert list --admin URL` shows whether a running gateway has them; the live request tells its verdict.\n",
            ),
        }
        for fetched in &self.fetched {
            text.push_str(&format!("Asked for {fetched}.\n"));
        }
        for fetched in &self.would_have_fetched {
            text.push_str(&format!("Would have fetched {fetched}.\n"));
        }
        text
    }
}

fn list(items: &[Arc<str>]) -> String {
    match items {
        [] => "-".to_owned(),
        items => items.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_taken_as_people_copy_it() {
        for text in ["a.b.c", "a.b.c\n", "Bearer a.b.c", "  bearer   a.b.c \r\n"] {
            assert_eq!(bare(text), "a.b.c", "{text:?}");
        }
        assert_eq!(bare("Bearer"), "Bearer");
        assert_eq!(bare("Bearér a"), "Bearér a");
    }
}
