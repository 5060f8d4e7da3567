//! `cert FILE`: what a certificate is, and by the rules of every trust which check fails and what would pass.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use portcullis_config::{Refused, Sources, problems_to_json};
use portcullis_identity::CertificateFacts;
use portcullis_model::{Origin, Problem};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;

use super::judged::Judged;
use super::lists;
use super::presented::Presented;
use crate::cli::{CertArgs, Format};
use crate::commands::input::{self, InputFault};
use crate::commands::{Exit, check, fail};
use crate::configuration::{Rehearsal, Selection};
use crate::output::{Output, chain};

/// The largest file that is read.
const MAX_FILE: u64 = 1024 * 1024;

/// Why there is nothing to judge.
#[derive(Debug, Error)]
enum CertFault {
    #[error(transparent)]
    Input(#[from] InputFault),
    #[error("\"{}\" holds no certificate, in PEM or in DER", .0.display())]
    NoCertificate(PathBuf),
    #[error("\"{}\" holds PEM that cannot be read", .0.display())]
    Pem(PathBuf, #[source] rustls::pki_types::pem::Error),
}

/// `cert FILE`: exit 0 when some trust accepts it, 1 when none does, 2 when it was not judged.
pub(super) fn file(path: &Path, args: &CertArgs, output: &mut Output) -> Exit {
    let at = args.at.unwrap_or_else(SystemTime::now);
    let presented = match read(path) {
        Ok(presented) => Presented::new(presented, at),
        Err(fault) => {
            fail("not-judged", &chain(&fault), args.format, output);
            return Exit::Usage;
        }
    };
    let rehearsal = match rehearse(args) {
        Ok(rehearsal) => rehearsal,
        Err(Refused { problems, sources }) => {
            // What it is can be told without a configuration.
            match args.format {
                Format::Json => {
                    let mut view = problems_to_json(&problems);
                    if let Some(view) = view.as_object_mut() {
                        view.insert("certificates".to_owned(), presented.certificates_view().into());
                    }
                    output.json(&view);
                }
                Format::Text => {
                    check::print(&problems, &sources, args.format, output);
                    output.text(presented.certificates_text());
                }
            }
            return Exit::Usage;
        }
    };
    let fetched = match args.offline {
        true => Ok(Vec::new()),
        false => lists::fetch(&rehearsal, &presented.chain, at),
    };
    let fetched = match fetched {
        Ok(fetched) => fetched,
        Err(fault) => {
            fail("not-judged", &chain(&fault), args.format, output);
            return Exit::Usage;
        }
    };
    let judged = Judged::new(&presented, &rehearsal, fetched);
    match args.format {
        Format::Json => output.json(&judged.view(&presented)),
        Format::Text => {
            output.text(presented.certificates_text());
            output.text(judged.text());
        }
    }
    judged.exit()
}

fn rehearse(args: &CertArgs) -> Result<Rehearsal, Refused> {
    let selection = Selection::from_args(&args.config, true).map_err(|fault| Refused {
        problems: Problem::error("not-judged", &Origin::default(), fault.to_string()).into(),
        sources: Sources::default(),
    })?;
    selection.rehearse()
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertFault> {
    let bytes = input::read(path, MAX_FILE)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|fault| CertFault::Pem(path.to_owned(), fault))?;
    if !found.is_empty() {
        return Ok(found);
    }
    match CertificateFacts::read(&bytes) {
        Some(_) => Ok(vec![CertificateDer::from(bytes)]),
        None => Err(CertFault::NoCertificate(path.to_owned())),
    }
}
